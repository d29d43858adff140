use std::time::Duration;

use natbox_wire::{DropReason, IcmpError, Packet, Time, Transport, build};
use proptest::prelude::*;

use super::support::*;
use crate::note::{Outcome, PacketId};
use crate::stack::Stack;

const PORT: u16 = 9;

fn pieces_of(length: usize, identification: u16, ipv6: bool) -> (Vec<Packet>, Vec<u8>) {
    let (from, to) = if ipv6 { (B6, A6) } else { (B, A) };
    let bytes: Vec<u8> = (0..length).map(|n| (n % 241) as u8).collect();
    let fields = build::IpFields { identification, ..build::IpFields::default() };
    let whole = build::udp(end(from, 5000), end(to, PORT), fields, &bytes).unwrap();
    (build::fragments(whole, 576, identification.into()).unwrap(), bytes)
}

fn listener() -> (Stack, u32, u32) {
    let mut a = host(&[A, A6], 1);
    let four = a.udp_bind(end(A, PORT)).unwrap();
    let six = a.udp_bind(end(A6, PORT)).unwrap();
    (a, four, six)
}

fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![vec![]];
    }
    let shorter = orders(count - 1);
    let insert = |order: &Vec<usize>, at: usize| {
        let mut order = order.clone();
        order.insert(at, count - 1);
        order
    };
    shorter.iter().flat_map(|order| (0..=order.len()).map(move |at| insert(order, at))).collect()
}

#[test]
fn four_fragments_come_together_in_each_of_their_24_orders() {
    for ipv6 in [false, true] {
        for order in orders(4) {
            let (mut a, four, six) = listener();
            let (pieces, bytes) = pieces_of(2000, 1, ipv6);
            assert_eq!(pieces.len(), 4);
            for (step, index) in order.iter().enumerate() {
                let outcome = a.receive(0, pieces[*index].clone(), PacketId(step as u64), Time::ZERO);
                assert_eq!(outcome, if step == 3 { Outcome::Delivered } else { Outcome::Held }, "{order:?}");
            }
            assert_eq!(payload(&mut a, if ipv6 { six } else { four }), Some(bytes));
            assert_eq!(a.poll_timeout(), None);
            assert_eq!(all_drops(&mut a), []);
        }
    }
}

#[test]
fn overlapping_fragments_kill_the_whole_datagram_and_what_comes_later() {
    for ipv6 in [false, true] {
        let (mut a, ..) = listener();
        let (mut small, _) = pieces_of(2000, 7, ipv6);
        // The same datagram cut elsewhere: its second piece overlaps the first of the other cut.
        let fields = build::IpFields { identification: 7, ..build::IpFields::default() };
        let (from, to) = if ipv6 { (B6, A6) } else { (B, A) };
        let whole = build::udp(end(from, 5000), end(to, PORT), fields, &[9; 2000]).unwrap();
        let other = build::fragments(whole, 400, 7).unwrap();
        let receive = |a: &mut Stack, packet| a.receive(0, packet, PacketId(1), Time::ZERO);
        assert_eq!(receive(&mut a, small.remove(0)), Outcome::Held);
        assert_eq!(receive(&mut a, other[1].clone()), Outcome::Dropped(DropReason::FragmentOverlap));
        assert_eq!(all_drops(&mut a), [DropReason::FragmentOverlap]);
        for piece in small {
            assert_eq!(receive(&mut a, piece), Outcome::Dropped(DropReason::FragmentOverlap));
        }
        a.handle_timeout(Time::ZERO + Duration::from_secs(60));
        assert_eq!((all_drops(&mut a).len(), a.outbox().is_none(), a.poll_timeout()), (0, true, None));
    }
}

#[test]
fn a_repeated_fragment_is_no_overlap_but_one_with_other_bytes_is() {
    let (mut a, four, _) = listener();
    let (pieces, bytes) = pieces_of(1000, 1, false);
    for piece in [&pieces[0], &pieces[0]] {
        assert_eq!(a.receive(0, piece.clone(), PacketId(1), Time::ZERO), Outcome::Held);
    }
    assert_eq!(a.receive(0, pieces[1].clone(), PacketId(2), Time::ZERO), Outcome::Delivered);
    assert_eq!(payload(&mut a, four), Some(bytes));
    a.receive(0, pieces[0].clone(), PacketId(3), Time::ZERO);
    let mut forged = pieces[0].clone().into_bytes();
    *forged.last_mut().unwrap() ^= 1;
    let forged = Packet::parse(forged).unwrap();
    assert_eq!(a.receive(0, forged, PacketId(4), Time::ZERO), Outcome::Dropped(DropReason::FragmentOverlap));
}

#[test]
fn a_missing_fragment_times_out_and_the_sender_hears_of_it_if_the_first_is_there() {
    for (ipv6, seconds) in [(false, 30), (true, 60)] {
        for first_came in [true, false] {
            let (mut a, ..) = listener();
            let (pieces, _) = pieces_of(1500, 1, ipv6);
            let came = if first_came { &pieces[0] } else { &pieces[1] };
            a.receive(0, came.clone(), PacketId(5), Time::ZERO);
            let deadline = Time::ZERO + Duration::from_secs(seconds);
            assert_eq!(a.poll_timeout(), Some(deadline));
            a.handle_timeout(deadline);
            let (dropped, id, reason) = a.drops().unwrap();
            assert_eq!((&dropped, id, reason), (came, Some(PacketId(5)), DropReason::ReassemblyTimeout));
            let answer = a.outbox();
            assert_eq!(answer.is_some(), first_came);
            if let Some(answer) = answer {
                assert_eq!(answer.packet.transport(), Transport::IcmpError(IcmpError::ReassemblyTimeExceeded));
                assert_eq!(answer.cause, Some(PacketId(5)));
            }
            assert_eq!(a.poll_timeout(), None);
        }
    }
}

#[test]
fn a_flood_of_first_fragments_is_bounded_and_evicts_the_oldest() {
    let (mut a, four, _) = listener();
    for n in 0..20_000u16 {
        let (pieces, _) = pieces_of(1000, n, false);
        assert_eq!(a.receive(0, pieces[0].clone(), PacketId(n.into()), Time::ZERO), Outcome::Held);
    }
    let evicted: Vec<_> = std::iter::from_fn(|| a.drops()).collect();
    assert!(evicted.iter().all(|(_, _, reason)| *reason == DropReason::ReassemblyLimit));
    let kept = 20_000 - evicted.len();
    assert!(kept * 576 < 4 << 20 && kept > 3000, "{kept} kept");
    assert_eq!(evicted[0].1, Some(PacketId(0)));
    let (last, bytes) = pieces_of(1000, 19_999, false);
    assert_eq!(a.receive(0, last[1].clone(), PacketId(1), Time::ZERO), Outcome::Delivered);
    assert_eq!(payload(&mut a, four), Some(bytes));
}

#[test]
fn a_fragment_past_the_end_is_bad() {
    let (mut a, ..) = listener();
    let (pieces, _) = pieces_of(1500, 1, false);
    a.receive(0, pieces[2].clone(), PacketId(1), Time::ZERO);
    let (longer, _) = pieces_of(3000, 1, false);
    let outcome = a.receive(0, longer[4].clone(), PacketId(2), Time::ZERO);
    assert_eq!(outcome, Outcome::Dropped(DropReason::FragmentOverlap));
}

proptest! {
    #[test]
    fn shuffled_and_repeated_fragments_give_the_datagram_back(
        length in 600usize..9000,
        ipv6: bool,
        shuffle in proptest::collection::vec(any::<prop::sample::Index>(), 40),
    ) {
        let (mut a, four, six) = listener();
        let (mut pieces, bytes) = pieces_of(length, 3, ipv6);
        for (at, index) in shuffle.iter().enumerate().take(pieces.len()) {
            let other = index.index(pieces.len());
            pieces.swap(at, other);
        }
        let delivered = pieces.iter().enumerate().map(|(at, piece)| {
            if at + 1 < pieces.len() {
                a.receive(0, piece.clone(), PacketId(0), Time::ZERO);
            }
            a.receive(0, piece.clone(), PacketId(0), Time::ZERO)
        });
        let delivered = delivered.filter(|outcome| *outcome == Outcome::Delivered).count();
        prop_assert_eq!(delivered, 1);
        prop_assert_eq!(payload(&mut a, if ipv6 { six } else { four }), Some(bytes));
    }
}
