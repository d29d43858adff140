//! Two stacks and a wire between them.

use std::net::{IpAddr, SocketAddr};
use std::task::Waker;
use std::time::Duration;

use natbox_host::Received;
use natbox_wire::{DropReason, Packet, Time};

use crate::attach::InterfaceAddress;
use crate::note::{Outcome, PacketId};
use crate::stack::errno::Errno;
use crate::stack::{Stack, UplinkConfig};

pub(super) const A: &str = "10.0.0.1";
pub(super) const B: &str = "10.0.0.2";
pub(super) const A6: &str = "fd00::1";
pub(super) const B6: &str = "fd00::2";

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn end(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip(address), port)
}

pub(super) fn uplink(addresses: &[&str], mtu_bytes: usize) -> UplinkConfig {
    let prefix = |address: IpAddr| if address.is_ipv6() { 64 } else { 24 };
    let own = |text: &&str| InterfaceAddress { address: ip(text), prefix_len: prefix(ip(text)) };
    UplinkConfig {
        addresses: addresses.iter().map(own).collect(),
        gateway_v4: Some(ip("10.0.0.254")),
        gateway_v6: Some(ip("fd00::fe")),
        mtu_bytes,
    }
}

pub(super) fn host(addresses: &[&str], seed: u64) -> Stack {
    Stack::new(vec![uplink(addresses, 1500)], seed)
}

/// Two hosts on a wire that delays every packet by a millisecond.
pub(super) struct Pair {
    pub(super) a: Stack,
    pub(super) b: Stack,
    pub(super) now: Time,
    /// Packets under way: when, to B or to A, the packet.
    pub(super) wire: Vec<(Time, bool, Packet)>,
    /// What became of each packet that arrived: at B or at A, and how.
    pub(super) outcomes: Vec<(bool, Outcome)>,
    /// Decides whether a packet is lost; by its number and direction.
    pub(super) lose: fn(u64, &Packet) -> bool,
    pub(super) sent: u64,
    pub(super) wakes: usize,
}

pub(super) const DELAY: Duration = Duration::from_millis(1);

impl Pair {
    pub(super) fn new() -> Pair {
        Pair::with_mtus(1500, 1500)
    }

    pub(super) fn with_mtus(a: usize, b: usize) -> Pair {
        Pair {
            a: Stack::new(vec![uplink(&[A, A6], a)], 1),
            b: Stack::new(vec![uplink(&[B, B6], b)], 2),
            now: Time::ZERO,
            wire: Vec::new(),
            outcomes: Vec::new(),
            lose: |_, _| false,
            sent: 0,
            wakes: 0,
        }
    }

    fn collect(&mut self) {
        for to_b in [true, false] {
            let stack = if to_b { &mut self.a } else { &mut self.b };
            self.wakes += stack.take_wakes().len();
            while let Some(out) = stack.outbox() {
                self.sent += 1;
                if !(self.lose)(self.sent, &out.packet) {
                    self.wire.push((self.now + DELAY, to_b, out.packet));
                }
            }
        }
    }

    /// Takes one step: the next arrival or timer. False if nothing is left to happen before `until`.
    pub(super) fn step(&mut self, until: Time) -> bool {
        self.collect();
        let arrival = self.wire.iter().map(|(at, ..)| *at).min();
        let timers = [self.a.poll_timeout(), self.b.poll_timeout()];
        let Some(next) = arrival.into_iter().chain(timers.into_iter().flatten()).min() else { return false };
        if next > until {
            return false;
        }
        self.now = self.now.max(next);
        match self.wire.iter().position(|(at, ..)| *at <= self.now) {
            Some(index) => {
                let (_, to_b, packet) = self.wire.remove(index);
                let stack = if to_b { &mut self.b } else { &mut self.a };
                let outcome = stack.receive(0, packet, PacketId(self.sent), self.now);
                self.outcomes.push((to_b, outcome));
            }
            None => {
                self.a.handle_timeout(self.now);
                self.b.handle_timeout(self.now);
            }
        }
        self.collect();
        true
    }

    /// Runs until nothing happens any more within `span`.
    pub(super) fn run_for(&mut self, span: Duration) {
        let until = self.now + span;
        let mut steps = 0;
        while self.step(until) {
            steps += 1;
            assert!(steps < 1_000_000, "the pair does not come to rest");
        }
        self.now = until;
    }

    pub(super) fn run(&mut self) {
        self.run_for(Duration::from_millis(100));
    }

    /// The last outcome at B.
    pub(super) fn outcome_at_b(&self) -> Option<Outcome> {
        self.outcomes.iter().rev().find(|(at_b, _)| *at_b).map(|(_, outcome)| *outcome)
    }
}

pub(super) fn recv(stack: &mut Stack, key: u32) -> Option<Result<(Received, Vec<u8>), Errno>> {
    let mut buffer = vec![0; 70_000];
    let received = stack.udp_receive(key, &mut buffer, Waker::noop())?;
    Some(received.map(|received| (received, buffer[..received.length].to_vec())))
}

pub(super) fn payload(stack: &mut Stack, key: u32) -> Option<Vec<u8>> {
    recv(stack, key).map(|received| received.expect("no pending error").1)
}

/// A waker with an identity of its own (the no-op waker is not always equal to itself).
struct NamedWaker;

impl std::task::Wake for NamedWaker {
    fn wake(self: std::sync::Arc<Self>) {}
}

pub(super) fn named_waker() -> Waker {
    std::sync::Arc::new(NamedWaker).into()
}

pub(super) fn all_drops(stack: &mut Stack) -> Vec<DropReason> {
    std::iter::from_fn(|| stack.drops()).map(|(_, _, reason)| reason).collect()
}
