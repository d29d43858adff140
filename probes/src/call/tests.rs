use std::time::Duration;

use natbox_wire::Time;
use proptest::prelude::*;

use super::frame::Input;
use super::meter::Heard;
use super::*;
use crate::connect::{Replies, Service, SessionId};

const MS: Duration = Duration::from_millis(1);

#[test]
fn duplicates_and_stragglers_are_counted_once() {
    let mut meter = Meter::default();
    for sequence in [0, 1, 3, 2, 3, 1, 200, 199, 100] {
        meter.take(sequence, MS);
    }
    // 100 is further back than duplicates are recognised: it does not count.
    assert_eq!(meter.received(), 6);
}

#[test]
fn delays_are_summed_up_and_jitter_is_rfc_3550s() {
    let mut meter = Meter::default();
    for (sequence, delay) in [(0, 10), (1, 26), (2, 10)] {
        meter.take(sequence, delay * MS);
    }
    let stream = meter.stream().of(4);
    assert_eq!((stream.sent, stream.received, stream.lost_share()), (4, 3, 0.25));
    let delay = stream.delay.unwrap();
    assert_eq!((delay.least, delay.most), (10 * MS, 26 * MS));
    assert_eq!(delay.mean.as_millis(), 15);
    // 16/16 ms, then 1 + (16 - 1)/16 ms.
    assert_eq!(stream.jitter, Duration::from_nanos(1_937_500));
}

#[test]
fn a_direction_in_which_nothing_arrived_has_no_delay() {
    let stream = Meter::default().stream().of(5);
    assert_eq!((stream.delay, stream.lost_share()), (None, 1.0));
}

#[test]
fn the_answering_side_sends_at_the_callers_rate_and_reports() {
    let (mut responder, mut replies) = (Responder::default(), Replies::default());
    let session = SessionId(1);
    let terms = Terms { interval: 20 * MS, size_bytes: 100, count: 3 };
    responder.received(session, &Frame::Start { id: 9, terms }.encode(0), Time::ZERO, &mut replies);
    responder.received(session, &Frame::Start { id: 9, terms }.encode(0), Time::ZERO + MS, &mut replies);
    let mut times = vec![];
    while let Some(due) = responder.next_deadline() {
        times.push(due.since(Time::ZERO).as_millis());
        responder.tick(&mut replies, due);
    }
    assert_eq!(times, [0, 20, 40]);
    let voice = Frame::Voice { id: 9, sequence: 0, at: Time::ZERO };
    responder.received(session, &voice.encode(100), Time::ZERO + 7 * MS, &mut replies);
    let mut report = Replies::default();
    responder.received(session, &Frame::Finish { id: 9 }.encode(0), Time::ZERO + 60 * MS, &mut report);
    let text = format!("{report:?}");
    let mut heard = Meter::default();
    heard.take(0, 7 * MS);
    let mut expected = Replies::default();
    expected.send(session, &Frame::Report { id: 9, sent: 3, heard: heard.stream() }.encode(0));
    assert_eq!(text, format!("{expected:?}"));
}

#[test]
fn what_is_no_call_is_echoed() {
    let (mut responder, mut replies, mut expected) = (Responder::default(), Replies::default(), Replies::default());
    responder.received(SessionId(1), b"hello", Time::ZERO, &mut replies);
    expected.send(SessionId(1), b"hello");
    assert_eq!(format!("{replies:?}"), format!("{expected:?}"));
}

proptest! {
    #[test]
    fn frames_survive_their_bytes(id: u64, nanos: u64, size: u16, count: u32, padding in 0usize..200) {
        let mut meter = Meter::default();
        meter.take(count, Duration::from_nanos(nanos));
        let terms = Terms { interval: Duration::from_nanos(nanos), size_bytes: size, count };
        for frame in [
            Frame::Start { id, terms }, Frame::Started { id },
            Frame::Voice { id, sequence: count, at: Time::from_nanos(nanos) },
            Frame::Finish { id }, Frame::Report { id, sent: count, heard: meter.stream() },
        ] {
            prop_assert_eq!(Frame::decode(&frame.encode(padding)), Some(frame));
        }
    }

    #[test]
    fn no_datagram_makes_the_responder_panic(payload in proptest::collection::vec(any::<u8>(), 0..80), kind in 0u8..7) {
        let (mut responder, mut replies) = (Responder::default(), Replies::default());
        let mut framed = b"call".to_vec();
        framed.push(kind);
        framed.extend(&payload);
        for bytes in [&framed, &payload] {
            responder.received(SessionId(1), bytes, Time::ZERO, &mut replies);
        }
        let _ = Heard::decode(&mut Input(&payload));
    }
}
