//! The rendezvous directory: its messages out of bytes, and a sequence of them against its tables.

use std::net::SocketAddr;
use std::time::Duration;

use natbox::probes::Paths;
use natbox::probes::rendezvous::{Body, Candidate, CandidateKind, Directory, Limits, Message, RequestId, Token, Way};
use natbox::wire::{Time, Word};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::SeedableRng;

use super::input::Input;

const LIMITS: Limits = Limits { names: 3, introductions: 3, lifetime: Duration::from_secs(600) };
/// An invitation is sent five times within this, and then forgotten.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs one input: it is a message, and it is a sequence of them.
pub fn run(data: &[u8]) {
    message(data);
    let mut input = Input::new(data);
    let mut random = Pcg64Mcg::seed_from_u64(1);
    let (mut directory, mut now) = (Directory::new(LIMITS), Time::ZERO);
    let (mut last, mut tokens) = (Vec::new(), vec![Token([0; 16])]);
    while !input.is_empty() {
        let kind = input.byte();
        let source = Way::udp(([192, 0, 2, kind >> 6], 4000 + u16::from(kind >> 5 & 1)).into());
        let datagram = match kind & 7 {
            0..=2 => request(&mut input).encode(),
            3 => signal(&mut input, &tokens).encode(),
            4 => input.bytes().to_vec(),
            5 => last.clone(),
            _ => {
                now = wait(&mut directory, &mut input, now);
                continue;
            }
        };
        message(&datagram);
        directory.handle(&datagram, source, &mut random, now);
        for transmit in directory.drain().collect::<Vec<_>>() {
            let Some(answer) = Message::decode(&transmit.datagram) else { panic!("{transmit:?} is no message") };
            match answer.body {
                Body::Introduced { token, .. } => tokens.push(token),
                // Only what carries the token of an introduction goes to somebody else.
                Body::Signal { token, .. } | Body::Heard { token, .. } => {
                    assert!(tokens[1..].contains(&token) && transmit.datagram == datagram, "{transmit:?}");
                    continue;
                }
                Body::Invitation { .. } => {}
                _ => assert_eq!(transmit.to, source, "{transmit:?}"),
            }
            // The callee's acceptance carries the invitation's number.
            last = Message { id: answer.id, body: Body::Accepted }.encode();
        }
    }
    let end = now + PATIENCE;
    while let Some(due) = directory.next_deadline() {
        assert!(due <= end, "an invitation that is sent for ever");
        directory.tick(due);
        assert!(directory.drain().count() <= LIMITS.introductions);
    }
}

/// What is read can be written, and is read again as it was.
fn message(datagram: &[u8]) {
    let Some(message) = Message::decode(datagram) else { return };
    let written = message.encode();
    assert_eq!(written.len(), datagram.len());
    assert_eq!(Message::decode(&written), Some(message));
}

fn request(input: &mut Input<'_>) -> Message {
    let id = RequestId(u64::from(input.byte() & 3));
    let kind = input.byte();
    let candidates = (0..kind >> 4).map(|_| candidate(input)).collect();
    let body = match kind & 7 {
        0..=2 => {
            let lifetime = Duration::from_secs(u64::from(input.byte()) * 4);
            Body::Register { name: name(input), lifetime, candidates }
        }
        3 => Body::Lookup { name: name(input) },
        4..=6 => {
            let (own, wanted, paths) = (name(input), name(input), Paths::from_bits(input.byte()));
            Body::Introduce { own, wanted, paths, candidates }
        }
        _ => Body::Accepted,
    };
    Message { id, body }
}

/// A signal, or its acknowledgement, of a session that there is or is not.
fn signal(input: &mut Input<'_>, tokens: &[Token]) -> Message {
    let (id, which) = (RequestId(u64::from(input.byte())), input.byte());
    let token = tokens[usize::from(which >> 1) % tokens.len()];
    let (callee, number) = (which & 1 == 1, u32::from(input.byte()));
    let body = match number & 1 {
        0 => Body::Signal { token, callee, sequence: number, payload: input.bytes().to_vec() },
        _ => Body::Heard { token, callee, next: number },
    };
    Message { id, body }
}

fn candidate(input: &mut Input<'_>) -> Candidate {
    let address = if input.flag() { [10, 0, 0, 2].into() } else { [0x2001, 0xdb8, 0, 0, 0, 0, 0, 2].into() };
    Candidate { kind: input.pick(CandidateKind::ALL), endpoint: SocketAddr::new(address, input.short()) }
}

fn name(input: &mut Input<'_>) -> String {
    let which = input.byte();
    match which & 7 {
        7 => "\u{e9}".repeat(usize::from(which >> 3) * 2 + 1),
        which => char::from(b'a' + which).to_string(),
    }
}

fn wait(directory: &mut Directory, input: &mut Input<'_>, now: Time) -> Time {
    let (kind, next) = (input.byte(), directory.next_deadline());
    let then = match kind & 1 {
        0 => next.unwrap_or(now).max(now),
        _ => now + Duration::from_millis(u64::from(input.byte()) * 200),
    };
    while let Some(due) = directory.next_deadline().filter(|due| *due <= then) {
        directory.tick(due);
        assert!((1..=LIMITS.introductions).contains(&directory.drain().count()), "an invitation at the deadline");
    }
    directory.tick(then);
    assert_eq!(directory.drain().count(), 0, "silence before the deadline");
    then
}
