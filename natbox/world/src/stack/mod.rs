//! One host's network stack, sans-IO: packets with the time go in, packets and drops are drained.
//!
//! UDP, ICMP, fragments and their errors are a small model of what Linux does, with hash look-ups; TCP segments go to
//! [`tcp`], which exists once a program uses TCP. Knows no links, no next hops and no other host. After every call
//! the owner drains [`Stack::outbox`], [`Stack::drops`] and [`Stack::take_wakes`], and asks [`Stack::poll_timeout`].
//!
//! Left out: ICMP rate limits, source quench and redirects, IP options, `SO_RCVBUF`, broadcast permission
//! (`SO_BROADCAST`), dual-stack IPv6 sockets, loopback addresses, forwarding. Datagrams may be fragmented on their way
//! unless the socket forbids it (`IP_PMTUDISC_DONT`; Linux's own default forbids it where the datagram fits).

mod calls;
mod echo;
pub(crate) mod errno;
mod icmp;
mod raw;
pub(crate) mod reassembly;
mod route;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::task::Waker;

use natbox_wire::{DropReason, IcmpError, Packet, Time, Transport, build};
use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::note::{Outcome, PacketId};
use crate::state::bring;
use errno::Errno;
use reassembly::{Reassembly, Step};
pub(crate) use route::UplinkConfig;
use route::{Reach, Routes};

/// A packet that the host sends.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// Through which uplink.
    pub(crate) uplink: usize,
    /// The packet.
    pub(crate) packet: Packet,
    /// The packet that it answers.
    pub(crate) cause: Option<PacketId>,
}

/// A packet that the host dropped by itself: its own before sending, or one that it had held.
pub(crate) type Drop = (Packet, Option<PacketId>, DropReason);

/// The network stack of one host. Idle parts are not allocated.
#[derive(Debug)]
pub(crate) struct Stack {
    routes: Routes,
    random: Pcg64Mcg,
    /// The next IPv4 identification, and the low half of the next IPv6 one.
    identification: u32,
    udp: udp::UdpSockets,
    rare: Option<Box<Rare>>,
    tcp: Option<Box<tcp::Tcp>>,
    outbox: VecDeque<Outgoing>,
    /// Packets to the host itself, in the order of sending.
    loopback: VecDeque<Packet>,
    drops: VecDeque<Drop>,
    wakes: Vec<Waker>,
}

/// What few hosts need.
#[derive(Debug, Default)]
struct Rare {
    echo: echo::EchoSockets,
    reassembly: Reassembly<Option<PacketId>>,
    /// Multicast groups by uplink, with the socket that joined.
    groups: Vec<(usize, IpAddr, u32)>,
    /// Protocols and numbers that raw programs take.
    raw: BTreeSet<(&'static str, u16)>,
}

/// How a packet came.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    id: Option<PacketId>,
    /// Whether it was sent to a group or to everybody: then nothing may be answered.
    to_many: bool,
    now: Time,
}

impl Stack {
    pub(crate) fn new(uplinks: Vec<UplinkConfig>, seed: u64) -> Stack {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        Stack {
            routes: Routes::new(uplinks),
            identification: random.next_u32(),
            random,
            udp: udp::UdpSockets::default(),
            rare: None,
            tcp: None,
            outbox: VecDeque::new(),
            loopback: VecDeque::new(),
            drops: VecDeque::new(),
            wakes: Vec::new(),
        }
    }

    /// Takes a packet that came through an uplink.
    pub(crate) fn receive(&mut self, uplink: usize, packet: Packet, id: PacketId, now: Time) -> Outcome {
        let destination = packet.destination();
        let to_many = match self.routes.reach(destination, uplink) {
            Reach::Own => false,
            Reach::Many if self.is_member(uplink, destination) => true,
            Reach::Many | Reach::Foreign => return Outcome::Dropped(DropReason::NotForThisHost),
        };
        let outcome = self.accept(packet, Arrival { id: Some(id), to_many, now });
        self.settle(now);
        outcome
    }

    /// Brings near what the next packet or call needs, step by step: of many hosts the first, then of all the second.
    pub(crate) fn bring(&self, step: u32) {
        if step == 0 {
            bring(&self.routes);
            bring(&self.random);
            bring(&self.udp);
            bring(&self.outbox);
            bring(&self.drops);
            bring(&self.wakes);
            return;
        }
        if step == 1 {
            self.routes.bring();
        }
        self.udp.bring(step);
    }

    /// The next packet that the host sends.
    pub(crate) fn outbox(&mut self) -> Option<Outgoing> {
        self.outbox.pop_front()
    }

    /// The next packet that the host dropped by itself.
    pub(crate) fn drops(&mut self) -> Option<Drop> {
        self.drops.pop_front()
    }

    /// Whether there is anything to drain.
    #[inline]
    pub(crate) fn has_output(&self) -> bool {
        !(self.outbox.is_empty() && self.drops.is_empty() && self.wakes.is_empty())
    }

    /// The tasks to wake. The owner wakes them when it holds no borrow of the stack.
    pub(crate) fn take_wakes(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakes)
    }

    /// Gives the emptied list of tasks back, so that the next one need not be made anew.
    pub(crate) fn keep_wakes(&mut self, wakes: Vec<Waker>) {
        if self.wakes.is_empty() {
            self.wakes = wakes;
        }
    }

    /// When [`Stack::handle_timeout`] is due.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        let reassembly = self.rare.as_ref().and_then(|rare| rare.reassembly.poll_timeout());
        let tcp = self.tcp.as_ref().and_then(|tcp| tcp.poll_timeout());
        reassembly.into_iter().chain(tcp).min()
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        if let Some(rare) = &mut self.rare {
            rare.reassembly.handle_timeout(now);
        }
        self.tcp_handle_timeout(now);
        self.drop_abandoned(now);
        self.settle(now);
    }

    /// Delivers what the host sent to itself, until nothing is left.
    fn settle(&mut self, now: Time) {
        while let Some(packet) = self.loopback.pop_front() {
            let arrival = Arrival { id: None, to_many: !self.routes.is_own(packet.destination()), now };
            let copy = packet.clone();
            if let Outcome::Dropped(reason) = self.accept(packet, arrival) {
                self.drops.push_back((copy, None, reason));
            }
        }
    }

    /// The road of a packet that is for this host.
    fn accept(&mut self, packet: Packet, arrival: Arrival) -> Outcome {
        let packet = match packet.fragment() {
            None => packet,
            Some(_) => match self.reassemble(packet, arrival) {
                Ok(whole) => whole,
                Err(outcome) => return outcome,
            },
        };
        if !packet.transport_checksum_ok() {
            return Outcome::Dropped(DropReason::BadTransportChecksum);
        }
        match packet.transport() {
            Transport::Udp { .. } => self.receive_udp(packet, arrival),
            Transport::Tcp { .. } => self.receive_tcp(packet, arrival),
            Transport::Echo { request: true, identifier, sequence } => {
                self.answer_echo(&packet, identifier, sequence, arrival)
            }
            Transport::Echo { request: false, identifier, sequence } => {
                self.receive_echo_reply(&packet, identifier, sequence, arrival)
            }
            Transport::IcmpError(error) => self.receive_icmp_error(&packet, error, arrival),
            Transport::Query { .. } | Transport::OtherIcmp { .. } => Outcome::Dropped(DropReason::IcmpUnconcerned),
            Transport::LaterFragment => Outcome::Dropped(DropReason::BadFragment),
            Transport::Other => {
                self.send_icmp_error(IcmpError::ProtocolUnreachable, &packet, arrival);
                Outcome::Dropped(DropReason::ProtocolUnreachable)
            }
        }
    }

    /// Holds a fragment, or gives the datagram that it completes.
    fn reassemble(&mut self, packet: Packet, arrival: Arrival) -> Result<Packet, Outcome> {
        let rare = self.rare.get_or_insert_default();
        let step = rare.reassembly.receive(packet, arrival.id, arrival.now);
        self.drop_abandoned(arrival.now);
        match step {
            Step::Held => Err(Outcome::Held),
            Step::Complete(whole) => Ok(whole),
            Step::Dropped(reason) => Err(Outcome::Dropped(reason)),
        }
    }

    /// Reports the fragments that were given up, and answers those that timed out (RFC 792, RFC 4443 section 3.3).
    fn drop_abandoned(&mut self, now: Time) {
        let Some(rare) = &mut self.rare else { return };
        for abandoned in rare.reassembly.take_abandoned() {
            if abandoned.timed_out_first {
                let arrival = Arrival { id: abandoned.tag, to_many: false, now };
                self.send_icmp_error(IcmpError::ReassemblyTimeExceeded, &abandoned.packet, arrival);
            }
            self.drops.push_back((abandoned.packet, abandoned.tag, abandoned.reason));
        }
    }

    fn receive_udp(&mut self, packet: Packet, arrival: Arrival) -> Outcome {
        let datagram = udp::Datagram { packet, at: arrival.now };
        match self.udp.deliver(datagram, arrival.to_many, &mut self.wakes) {
            Ok(()) => Outcome::Delivered,
            Err(udp::Undelivered::BufferFull) => Outcome::Dropped(DropReason::BufferFull),
            Err(udp::Undelivered::NoSocket(packet)) => {
                self.send_icmp_error(IcmpError::PortUnreachable, &packet, arrival);
                Outcome::Dropped(DropReason::PortUnreachable)
            }
        }
    }

    /// Sends a finished packet of the host's own through `uplink`: whole, in fragments, or to itself.
    fn transmit(&mut self, uplink: usize, packet: Packet, cause: Option<PacketId>, now: Time) -> Result<(), Errno> {
        let destination = packet.destination();
        if self.routes.is_own(destination) {
            self.loopback.push_back(packet);
            return Ok(());
        }
        if self.has_joined(uplink, destination) {
            self.loopback.push_back(packet.clone());
        }
        let mtu_bytes = self.routes.mtu_bytes(uplink, destination, now);
        if packet.bytes().len() <= mtu_bytes {
            push(&mut self.outbox, Outgoing { uplink, packet, cause });
            return Ok(());
        }
        let identification = self.next_identification();
        match build::fragments(packet.clone(), mtu_bytes, identification) {
            Some(pieces) => {
                self.outbox.extend(pieces.into_iter().map(|packet| Outgoing { uplink, packet, cause }));
                Ok(())
            }
            None => {
                self.drops.push_back((packet, None, DropReason::TooBig));
                Err(Errno::MSGSIZE)
            }
        }
    }

    fn next_identification(&mut self) -> u32 {
        self.identification = self.identification.wrapping_add(1);
        self.identification
    }

    /// The header fields of the next packet.
    fn ip_fields(&mut self, ttl: u8, dont_fragment: bool) -> build::IpFields {
        // Linux leaves 0 where nothing may fragment (RFC 6864); a counter shows a NAT's rewriting better.
        let identification = self.next_identification() as u16;
        build::IpFields { ttl, dont_fragment, identification }
    }

    /// A free port for `local`'s address: from a random one on upwards, in Linux's range.
    fn ephemeral_port(&mut self, is_free: impl Fn(&Stack, u16) -> bool) -> Option<u16> {
        let count = EPHEMERAL_LAST - EPHEMERAL_FIRST + 1;
        let start = ((u64::from(self.random.next_u32()) * u64::from(count)) >> 32) as u16;
        (0..count)
            .map(|step| EPHEMERAL_FIRST + ((u32::from(start) + u32::from(step)) % u32::from(count)) as u16)
            .find(|port| is_free(self, *port))
    }
}

/// Linux's `net.ipv4.ip_local_port_range`.
const EPHEMERAL_FIRST: u16 = 32_768;
const EPHEMERAL_LAST: u16 = 60_999;

/// The same endpoint with another address.
fn with_address(endpoint: SocketAddr, address: IpAddr) -> SocketAddr {
    SocketAddr::new(address, endpoint.port())
}

/// Appends to a queue. The first place is the only one at first: most queues of most hosts never hold two.
fn push<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.capacity() == 0 {
        queue.reserve_exact(1);
    }
    queue.push_back(item);
}

/// Adds a task to those waiting, once.
fn register(waiting: &mut Vec<Waker>, waker: &Waker) {
    if !waiting.iter().any(|known| known.will_wake(waker)) {
        waiting.push(waker.clone());
    }
}

#[cfg(test)]
impl Stack {
    /// What an idle host holds on the heap, from the capacities of its parts.
    fn heap_bytes_estimate(&self) -> usize {
        let uplinks = std::mem::size_of_val(self.routes.uplinks());
        let addresses: usize =
            self.routes.uplinks().iter().map(|uplink| std::mem::size_of_val(uplink.addresses.as_slice())).sum();
        let queues = self.outbox.capacity() * size_of::<Outgoing>()
            + self.loopback.capacity() * size_of::<Packet>()
            + self.drops.capacity() * size_of::<Drop>()
            + self.wakes.capacity() * size_of::<Waker>();
        uplinks + addresses + queues + self.udp.heap_bytes() + self.rare.as_ref().map_or(0, |_| size_of::<Rare>())
    }
}
