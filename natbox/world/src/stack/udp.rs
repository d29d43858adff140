//! UDP sockets of one host, found by hash (RFC 768).
//!
//! A datagram looks for a socket bound to its destination address and port, then for one bound to the port alone, as
//! Linux scores them; a socket that is connected to somebody else does not count. So a look-up costs at most two
//! probes, however many sockets there are. Sockets are of one IP version (as with `IPV6_V6ONLY`). Knows no routes and
//! builds no packets.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::task::Waker;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use natbox_host::IcmpReport;
use natbox_wire::{Packet, Time};
use prefetch_index::prefetch_index;
use slab::Slab;

use super::errno::{self, Errno, SocketError};
use crate::state::bring;

/// Linux's `net.core.rmem_default`.
const RECEIVE_BUFFER_BYTES: usize = 212_992;
/// What a datagram counts beyond its bytes, so that empty ones are bounded too: about Linux's `sk_buff`.
const OVERHEAD_BYTES: usize = 256;
/// ICMP errors kept for `take_icmp_report`; later ones are lost, as when Linux's error queue is full.
const REPORT_LIMIT: usize = 64;

/// A datagram that waits for its reader.
#[derive(Debug)]
pub(crate) struct Datagram {
    pub(crate) packet: Packet,
    pub(crate) at: Time,
}

/// One UDP socket.
#[derive(Debug)]
pub(crate) struct UdpSocket {
    pub(crate) local: SocketAddr,
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) ttl: u8,
    pub(crate) dont_fragment: bool,
    pub(crate) receive_errors: bool,
    error: Option<Errno>,
    queued_bytes: usize,
    queue: VecDeque<Datagram>,
    reports: VecDeque<IcmpReport>,
    readers: Vec<Waker>,
}

impl UdpSocket {
    fn new(local: SocketAddr) -> UdpSocket {
        UdpSocket {
            local,
            remote: None,
            ttl: 64,
            dont_fragment: false,
            receive_errors: false,
            error: None,
            queued_bytes: 0,
            queue: VecDeque::new(),
            reports: VecDeque::new(),
            readers: Vec::new(),
        }
    }

    /// The pending error, once.
    pub(crate) fn take_error(&mut self) -> Option<Errno> {
        self.error.take()
    }

    /// The oldest datagram.
    pub(crate) fn take_datagram(&mut self) -> Option<Datagram> {
        let datagram = self.queue.pop_front()?;
        self.queued_bytes -= datagram.packet.bytes().len() + OVERHEAD_BYTES;
        Some(datagram)
    }

    /// The oldest ICMP error. The next one becomes the pending error, as in Linux's `sock_dequeue_err_skb`.
    pub(crate) fn take_report(&mut self) -> Option<IcmpReport> {
        let report = self.reports.pop_front()?;
        let next = self.reports.front();
        let error = next.and_then(|next| errno::from_icmp(next.error, next.destination.is_ipv6()));
        self.error = error.map(|error| error.errno);
        Some(report)
    }

    /// Wakes this task when something comes.
    pub(crate) fn register(&mut self, waker: &Waker) {
        super::register(&mut self.readers, waker);
    }

    /// Queues a datagram; says whether there was room.
    fn push(&mut self, datagram: Datagram, wakes: &mut Vec<Waker>) -> bool {
        let cost = datagram.packet.bytes().len() + OVERHEAD_BYTES;
        if self.queued_bytes + cost > RECEIVE_BUFFER_BYTES {
            return false;
        }
        self.queued_bytes += cost;
        super::push(&mut self.queue, datagram);
        wakes.append(&mut self.readers);
        true
    }

    /// Tells the socket of an ICMP error, as `__udp4_lib_err` does: with `IP_RECVERR` every error is queued and
    /// becomes the pending error; without, only a connected socket hears, and only of hard errors.
    fn report(&mut self, report: IcmpReport, error: SocketError, wakes: &mut Vec<Waker>) {
        if self.receive_errors {
            if self.reports.len() < REPORT_LIMIT {
                self.reports.push_back(report);
            }
        } else if self.remote.is_none() || !error.hard {
            return;
        }
        self.error = Some(error.errno);
        wakes.append(&mut self.readers);
    }
}

/// Why a datagram found no reader.
#[derive(Debug)]
pub(crate) enum Undelivered {
    /// No socket is there for it.
    NoSocket(Packet),
    /// The socket's buffer is full.
    BufferFull,
}

/// The UDP sockets of a host. Boxed, so that a host with one socket stays small.
#[derive(Debug, Default)]
pub(crate) struct UdpSockets {
    sockets: Slab<Box<UdpSocket>>,
    by_local: HashTable<u32>,
    #[cfg(test)]
    probes: std::cell::Cell<u64>,
}

impl UdpSockets {
    pub(crate) fn get(&mut self, key: u32) -> Option<&mut UdpSocket> {
        self.sockets.get_mut(key as usize).map(Box::as_mut)
    }

    /// Brings the first socket near, in steps 1 to 3.
    pub(crate) fn bring(&self, step: u32) {
        let Some(socket) = self.sockets.get(0) else { return };
        match step {
            1 => {
                bring(&socket.local);
                bring(&socket.remote);
                bring(&socket.ttl);
                bring(&socket.queue);
                bring(&socket.readers);
            }
            2 => {
                prefetch_index(&socket.readers, 0);
                socket.queue.as_slices().0.iter().take(1).for_each(bring);
            }
            _ => {}
        }
    }

    /// Whether a socket is bound to exactly this endpoint.
    pub(crate) fn is_bound(&self, local: SocketAddr) -> bool {
        self.find(local).is_some()
    }

    /// Opens a socket on `local`, which must not be bound.
    pub(crate) fn insert(&mut self, local: SocketAddr) -> u32 {
        if self.sockets.capacity() == 0 {
            self.sockets = Slab::with_capacity(1);
        }
        let key = self.sockets.insert(Box::new(UdpSocket::new(local))) as u32;
        self.index(key, local);
        key
    }

    /// Closes a socket.
    pub(crate) fn remove(&mut self, key: u32) {
        if let Some(socket) = self.sockets.try_remove(key as usize) {
            self.unindex(key, socket.local);
        }
    }

    /// Gives a socket another local endpoint, which must not be bound.
    pub(crate) fn rebind(&mut self, key: u32, local: SocketAddr) {
        let Some(socket) = self.sockets.get_mut(key as usize) else { return };
        let old = std::mem::replace(&mut socket.local, local);
        self.unindex(key, old);
        self.index(key, local);
    }

    fn index(&mut self, key: u32, local: SocketAddr) {
        let sockets = &self.sockets;
        let rehash = |&key: &u32| sockets.get(key as usize).map_or(0, |socket| hash(socket.local));
        self.by_local.insert_unique(hash(local), key, rehash);
    }

    fn unindex(&mut self, key: u32, local: SocketAddr) {
        if let Ok(entry) = self.by_local.find_entry(hash(local), |&other| other == key) {
            entry.remove();
        }
    }

    fn find(&self, local: SocketAddr) -> Option<u32> {
        let is_it = |&key: &u32| {
            #[cfg(test)]
            self.probes.set(self.probes.get() + 1);
            self.sockets.get(key as usize).is_some_and(|socket| same(socket.local, local))
        };
        self.by_local.find(hash(local), is_it).copied()
    }

    /// The socket that talks from `local` to `remote`: the best match, as Linux scores it.
    fn find_for(&self, local: SocketAddr, remote: SocketAddr) -> Option<u32> {
        let fits = |key: &u32| {
            let socket = self.sockets.get(*key as usize);
            socket.is_some_and(|socket| socket.remote.is_none_or(|connected| same(connected, remote)))
        };
        let exact = self.find(local).filter(fits);
        exact.or_else(|| self.find(unspecified(local)).filter(fits))
    }

    /// Gives a datagram to the socket that it is for. Broadcast and multicast reach sockets on all addresses alone.
    pub(crate) fn deliver(
        &mut self,
        datagram: Datagram,
        to_many: bool,
        wakes: &mut Vec<Waker>,
    ) -> Result<(), Undelivered> {
        let (local, remote) = (datagram.packet.destination_endpoint(), datagram.packet.source_endpoint());
        let key = if to_many { self.find_for(unspecified(local), remote) } else { self.find_for(local, remote) };
        let socket = key.and_then(|key| self.sockets.get_mut(key as usize));
        let Some(socket) = socket else { return Err(Undelivered::NoSocket(datagram.packet)) };
        if socket.push(datagram, wakes) { Ok(()) } else { Err(Undelivered::BufferFull) }
    }

    /// Tells the socket that sent from `local` to `remote` of an ICMP error. Says whether there is one.
    pub(crate) fn report(
        &mut self,
        local: SocketAddr,
        report: IcmpReport,
        error: Option<SocketError>,
        wakes: &mut Vec<Waker>,
    ) -> bool {
        let Some(key) = self.find_for(local, report.destination) else { return false };
        let Some(socket) = self.sockets.get_mut(key as usize) else { return false };
        if let Some(error) = error.and_then(|error| adjust_too_big(error, socket.dont_fragment)) {
            socket.report(report, error, wakes);
        }
        true
    }
}

#[cfg(test)]
impl UdpSockets {
    pub(super) fn heap_bytes(&self) -> usize {
        let slots = self.sockets.capacity() * (size_of::<Box<UdpSocket>>() + size_of::<usize>());
        let queued = |socket: &UdpSocket| {
            socket.queue.capacity() * size_of::<Datagram>() + socket.readers.capacity() * size_of::<Waker>()
        };
        let queues: usize = self.sockets.iter().map(|(_, socket)| queued(socket)).sum();
        slots + self.sockets.len() * size_of::<UdpSocket>() + self.by_local.allocation_size() + queues
    }
}

/// Too-big is for sockets that forbid fragmentation, and hard for them (`__udp4_lib_err`, `__udp6_lib_err`); the
/// others fragment to the learnt path MTU and need not know.
fn adjust_too_big(error: SocketError, dont_fragment: bool) -> Option<SocketError> {
    if error.errno != Errno::MSGSIZE {
        return Some(error);
    }
    dont_fragment.then_some(SocketError { hard: true, ..error })
}

/// Equal as endpoints: scope and flow label do not matter.
fn same(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() == other.port() && one.ip() == other.ip()
}

/// The same port on all addresses.
pub(super) fn unspecified(endpoint: SocketAddr) -> SocketAddr {
    let address: IpAddr = match endpoint {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    SocketAddr::new(address, endpoint.port())
}

/// A fixed seed: the same tables in every run.
fn hash(endpoint: SocketAddr) -> u64 {
    let address = match endpoint.ip() {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    FixedState::with_seed(0).hash_one((address, endpoint.port(), endpoint.is_ipv6()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use natbox_wire::build;

    fn endpoint(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn datagram(source: &str, destination: &str, payload: &[u8]) -> Datagram {
        let fields = build::IpFields::default();
        let packet = build::udp(endpoint(source), endpoint(destination), fields, payload).unwrap();
        Datagram { packet, at: Time::ZERO }
    }

    #[test]
    fn a_bound_address_beats_all_addresses_and_a_connection_to_another_does_not_count() {
        let mut sockets = UdpSockets::default();
        let wild = sockets.insert(endpoint("0.0.0.0:5000"));
        let exact = sockets.insert(endpoint("10.0.0.2:5000"));
        let find = |sockets: &UdpSockets, remote| sockets.find_for(endpoint("10.0.0.2:5000"), endpoint(remote));
        assert_eq!(find(&sockets, "198.18.0.9:53"), Some(exact));
        assert_eq!(sockets.find_for(endpoint("10.0.0.3:5000"), endpoint("198.18.0.9:53")), Some(wild));
        sockets.get(exact).unwrap().remote = Some(endpoint("198.18.0.9:53"));
        assert_eq!(find(&sockets, "198.18.0.9:53"), Some(exact));
        assert_eq!(find(&sockets, "198.18.0.9:54"), Some(wild));
        sockets.remove(wild);
        assert_eq!(find(&sockets, "198.18.0.9:54"), None);
    }

    #[test]
    fn ten_thousand_sockets_cost_a_datagram_no_more_probes_than_one() {
        let mut sockets = UdpSockets::default();
        for port in 10_000..20_000u16 {
            sockets.insert(SocketAddr::new("10.0.0.2".parse().unwrap(), port));
        }
        sockets.probes.set(0);
        let mut wakes = Vec::new();
        for port in 10_000..20_000u16 {
            let to = format!("10.0.0.2:{port}");
            assert!(sockets.deliver(datagram("198.18.0.9:53", &to, b"x"), false, &mut wakes).is_ok());
        }
        // One key comparison finds the socket; a rare collision of seven hash bits costs one more.
        assert!(sockets.probes.get() < 11_000, "{} comparisons for 10,000 datagrams", sockets.probes.get());
    }

    #[test]
    fn a_full_buffer_drops_and_room_returns_with_reading() {
        let mut sockets = UdpSockets::default();
        let key = sockets.insert(endpoint("10.0.0.2:5000"));
        let mut wakes = Vec::new();
        let mut send = |sockets: &mut UdpSockets| {
            let datagram = datagram("198.18.0.9:53", "10.0.0.2:5000", &[0; 1000]);
            sockets.deliver(datagram, false, &mut wakes)
        };
        let taken = (0..1000).take_while(|_| send(&mut sockets).is_ok()).count();
        assert_eq!(taken, RECEIVE_BUFFER_BYTES / (1028 + OVERHEAD_BYTES));
        assert!(matches!(send(&mut sockets), Err(Undelivered::BufferFull)));
        assert_eq!(sockets.get(key).unwrap().take_datagram().unwrap().packet.payload(), [0; 1000]);
        assert!(send(&mut sockets).is_ok());
    }

    #[test]
    fn the_error_queue_is_bounded() {
        let mut sockets = UdpSockets::default();
        let key = sockets.insert(endpoint("10.0.0.2:5000"));
        sockets.get(key).unwrap().receive_errors = true;
        let report = IcmpReport {
            error: natbox_wire::IcmpError::PortUnreachable,
            reporter: "198.18.0.9".parse().unwrap(),
            destination: endpoint("198.18.0.9:53"),
            at: Time::ZERO,
        };
        let error = Some(SocketError { errno: Errno::CONNREFUSED, hard: true });
        for _ in 0..1000 {
            assert!(sockets.report(endpoint("10.0.0.2:5000"), report, error, &mut Vec::new()));
        }
        let socket = sockets.get(key).unwrap();
        assert_eq!(socket.take_error(), Some(Errno::CONNREFUSED));
        assert_eq!(socket.take_error(), None);
        assert_eq!(socket.take_report(), Some(report));
        assert_eq!(socket.take_error(), Some(Errno::CONNREFUSED), "the next report's");
        assert_eq!(std::iter::from_fn(|| socket.take_report()).count(), REPORT_LIMIT - 1);
        assert_eq!(socket.take_error(), None);
    }
}
