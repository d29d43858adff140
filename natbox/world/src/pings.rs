//! Pings to a router's own addresses that come in fragments, which it puts together to answer them (RFC 1812 section
//! 4.3.3.6, RFC 792).
//!
//! A NAT may refuse the fragments on their way in, each by itself and in any order, as nobody inside wants them; the box
//! that the NAT is part of has addresses nevertheless. It takes what its NAT refuses, if that may be of a ping. Fragments of
//! other ICMP messages stay refused, also those that came before it was known. Bounded as a host's reassembly is. Knows no
//! NAT and sends nothing.

use natbox_wire::{DropReason, Packet, Time, Transport};

use crate::stack::reassembly::{Abandoned, Reassembly, Step};

/// What a fragment that was refused may be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Of a ping, as far as it can be seen.
    Ping,
    /// Of another ICMP message: of which nothing is kept.
    Other,
}

/// What came of a fragment.
#[derive(Debug)]
pub enum Collected {
    /// It waits for the others.
    Held,
    /// It was the last one missing: the ping.
    Whole(Packet),
    /// It is of something that is no ping: refused as before.
    Refused,
    /// It is no use.
    Dropped(DropReason),
}

/// A fragment that was held and is dropped after all, with what its owner knows of it.
#[derive(Debug)]
pub struct Lost<T> {
    /// The fragment.
    pub packet: Packet,
    /// What its owner knows of it.
    pub tag: T,
    /// Why it is dropped; `None` if it is of something that is no ping.
    pub reason: Option<DropReason>,
    /// Its sender is owed an ICMP error: the first fragment of a ping that timed out (RFC 792).
    pub owed: bool,
}

/// The pings of which some fragments have come, each fragment with what its owner knows of it.
#[derive(Debug)]
pub struct Pings<T> {
    reassembly: Reassembly<T>,
}

impl<T> Default for Pings<T> {
    fn default() -> Pings<T> {
        Pings { reassembly: Reassembly::default() }
    }
}

/// What marks a datagram that is no ping.
const NO_PING: DropReason = DropReason::NotForThisHost;

/// What a fragment may be of; `None` for what is no fragment of an ICMP message.
pub fn part(packet: &Packet) -> Option<Part> {
    let fragment = packet.fragment().filter(|_| is_icmp(packet))?;
    let ping = fragment.offset_bytes > 0 || matches!(packet.transport(), Transport::Echo { request: true, .. });
    Some(if ping { Part::Ping } else { Part::Other })
}

/// As [`part`], of a packet that a NAT refuses with a reason. What it gave up as a fragment stays given up.
pub fn refused_part(packet: &Packet, reason: DropReason) -> Option<Part> {
    match reason {
        DropReason::ReassemblyTimeout
        | DropReason::ReassemblyLimit
        | DropReason::FragmentOverlap
        | DropReason::FragmentRepeated
        | DropReason::BadFragment => None,
        _ => part(packet),
    }
}

fn is_icmp(packet: &Packet) -> bool {
    packet.protocol_number() == if packet.is_ipv6() { 58 } else { 1 }
}

impl<T> Pings<T> {
    /// Takes a fragment that may be of a ping, or of none.
    pub fn receive(&mut self, part: Part, packet: Packet, tag: T, now: Time) -> Collected {
        if part == Part::Other {
            self.reassembly.refuse(&packet, NO_PING, now);
            return Collected::Refused;
        }
        match self.reassembly.receive(packet, tag, now) {
            Step::Held => Collected::Held,
            Step::Complete(whole) => Collected::Whole(whole),
            Step::Dropped(NO_PING) => Collected::Refused,
            Step::Dropped(reason) => Collected::Dropped(reason),
        }
    }

    /// When the next ping times out.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.reassembly.poll_timeout()
    }

    /// Gives up the pings whose time is over.
    pub fn handle_timeout(&mut self, now: Time) {
        self.reassembly.handle_timeout(now);
    }

    /// Forgets everything.
    pub fn forget(&mut self, reason: DropReason) {
        self.reassembly.abandon_all(reason);
    }

    /// The fragments that were held and are now dropped. To be asked for after every call.
    pub fn take_lost(&mut self) -> Vec<Lost<T>> {
        self.reassembly.take_abandoned().into_iter().map(Lost::of).collect()
    }
}

impl<T> Lost<T> {
    fn of(abandoned: Abandoned<T>) -> Lost<T> {
        let Abandoned { packet, tag, reason, timed_out_first } = abandoned;
        Lost { packet, tag, reason: (reason != NO_PING).then_some(reason), owed: timed_out_first }
    }
}
