//! TCP seen from the stack: segments that come, ICMP errors, and the system calls.

use std::net::{IpAddr, SocketAddr};
use std::task::Waker;

use natbox_host::{IcmpReport, TcpOptions};
use natbox_wire::{DropReason, IcmpError, Packet, Protocol, Quoted, TcpFlags, Time, Transport, build};
use rand_core::Rng;

use super::connection::{Connection, Path, Phase};
use super::ports::Claim;
use super::{CONNECT_TIMEOUT, Effects, Listener, Opening, Tcp};
use crate::note::{Outcome, PacketId};
use crate::stack::calls::check_ttl;
use crate::stack::errno::{self, Errno};
use crate::stack::{Arrival, Stack};

/// What segments carry unless told otherwise.
const DEFAULT_TTL: u8 = 64;

/// Segments and errors that come.
impl Stack {
    pub(in crate::stack) fn receive_tcp(&mut self, packet: Packet, arrival: Arrival) -> Outcome {
        let Transport::Tcp { flags, .. } = packet.transport() else {
            return Outcome::Dropped(DropReason::BadTransportHeader);
        };
        if arrival.to_many {
            return Outcome::Dropped(DropReason::NotForThisHost);
        }
        let (local, remote) = (packet.destination_endpoint(), packet.source_endpoint());
        if let Some(key) = self.tcp.as_mut().and_then(|tcp| tcp.find_for(local, remote, flags)) {
            self.with_tcp(arrival.id, arrival.now, |tcp, effects| tcp.run(key, Some(packet), effects));
            return Outcome::Delivered;
        }
        let listener = self.tcp.as_ref().and_then(|tcp| tcp.listener_for(local));
        match listener.filter(|_| flags.syn && !flags.ack && !flags.rst) {
            Some(listener) => self.open(listener, packet, arrival),
            None if self.is_raw(Protocol::Tcp, local.port()) => Outcome::Delivered,
            None => self.refuse(&packet, flags, arrival),
        }
    }

    fn open(&mut self, listener: u32, syn: Packet, arrival: Arrival) -> Outcome {
        let (local, remote) = (syn.destination_endpoint(), syn.source_endpoint());
        let Ok(route) = self.routes.route(Some(local.ip()), remote.ip()) else {
            return Outcome::Dropped(DropReason::NoRoute);
        };
        let mtu_bytes = self.routes.mtu_bytes(route.uplink, remote.ip(), arrival.now);
        let path = Path { local, remote, uplink: route.uplink, mtu_bytes, ttl: DEFAULT_TTL };
        let seed = self.random.next_u64();
        match self.with_tcp(arrival.id, arrival.now, |tcp, effects| tcp.open(listener, path, syn, seed, effects)) {
            Opening::Opened => Outcome::Delivered,
            Opening::QueueFull => Outcome::Dropped(DropReason::BufferFull),
        }
    }

    /// Nobody is there: a RST, unless it was one (RFC 9293 section 3.10.7.1).
    fn refuse(&mut self, packet: &Packet, flags: TcpFlags, arrival: Arrival) -> Outcome {
        if !flags.rst {
            let length = packet.payload().len() as u32 + u32::from(flags.syn) + u32::from(flags.fin);
            let sequence = packet.tcp_sequence().unwrap_or(0);
            let (answer, sequence, acknowledgement) = match flags.ack {
                true => (TcpFlags { rst: true, ..TcpFlags::default() }, packet.tcp_acknowledgement().unwrap_or(0), 0),
                false => (TcpFlags { rst: true, ack: true, ..TcpFlags::default() }, 0, sequence.wrapping_add(length)),
            };
            let (source, destination) = (packet.destination_endpoint(), packet.source_endpoint());
            let fields = self.ip_fields(DEFAULT_TTL, true);
            let rst = build::tcp(source, destination, fields, answer, sequence, acknowledgement, 0, &[]);
            let route = self.routes.route(Some(source.ip()), destination.ip());
            if let (Some(rst), Ok(route)) = (rst, route) {
                // Forty bytes fit every link that carries IP.
                let _ = self.transmit(route.uplink, rst, arrival.id, arrival.now);
            }
        }
        Outcome::Dropped(DropReason::PortUnreachable)
    }

    pub(in crate::stack) fn report_to_tcp(&mut self, quoted: Quoted, report: IcmpReport) -> Outcome {
        let Some(key) = self.tcp.as_ref().and_then(|tcp| tcp.find(quoted.source, quoted.destination)) else {
            return match self.is_raw(Protocol::Tcp, quoted.source.port()) {
                true => Outcome::Delivered,
                false => Outcome::Dropped(DropReason::IcmpUnconcerned),
            };
        };
        let error = errno::from_icmp(report.error, quoted.source.is_ipv6());
        if let (Some(error), false) = (error, matches!(report.error, IcmpError::PacketTooBig { .. })) {
            self.with_tcp(None, report.at, |tcp, effects| tcp.report(key, error.errno, effects));
        }
        Outcome::Delivered
    }

    /// Remembers what the path to `destination` carries, and tells the connections that go there.
    pub(in crate::stack) fn learn_path_mtu(&mut self, destination: IpAddr, mtu_bytes: u32, now: Time) {
        if !self.routes.learn_path_mtu(destination, mtu_bytes, now) {
            return;
        }
        let Ok(route) = self.routes.route(None, destination) else { return };
        let learned = self.routes.mtu_bytes(route.uplink, destination, now);
        if let Some(tcp) = &mut self.tcp {
            tcp.lower_mtu(destination, learned, now);
        }
    }

    pub(in crate::stack) fn tcp_handle_timeout(&mut self, now: Time) {
        if self.tcp.as_ref().is_some_and(|tcp| tcp.poll_timeout().is_some_and(|due| due <= now)) {
            self.with_tcp(None, now, Tcp::handle_timeout);
        }
    }

    /// Does something with TCP, which begins to exist by it, and sends what follows.
    fn with_tcp<R>(&mut self, cause: Option<PacketId>, now: Time, f: impl FnOnce(&mut Tcp, &mut Effects) -> R) -> R {
        let wakes = std::mem::take(&mut self.wakes);
        let mut effects = Effects { now, segments: Vec::new(), wakes };
        let result = f(self.tcp.get_or_insert_default(), &mut effects);
        self.wakes = effects.wakes;
        for (uplink, segment) in effects.segments {
            // What does not fit is among the drops; the connection learns of it by silence.
            let _ = self.transmit(uplink, segment, cause, now);
        }
        result
    }

    /// As [`Stack::with_tcp`], for a program.
    fn call_tcp<R>(&mut self, now: Time, f: impl FnOnce(&mut Tcp, &mut Effects) -> R) -> R {
        let result = self.with_tcp(None, now, f);
        self.settle(now);
        result
    }
}

/// The system calls.
impl Stack {
    /// Begins to connect; gives the connection's key and its local endpoint.
    pub(crate) fn tcp_connect(
        &mut self,
        remote: SocketAddr,
        options: TcpOptions,
        now: Time,
    ) -> Result<(u32, SocketAddr), Errno> {
        let ttl = check_ttl(options.ttl.unwrap_or(DEFAULT_TTL))?;
        // Without scope and flow label: endpoints are compared.
        let remote = SocketAddr::new(remote.ip(), remote.port());
        if remote.ip().is_multicast() || remote.ip() == std::net::Ipv4Addr::BROADCAST {
            return Err(Errno::NETUNREACH);
        }
        if let Some(local) = options.local {
            self.check_bindable(local.ip())?;
        }
        let route = self.routes.route(options.local.map(|local| local.ip()), remote.ip())?;
        let wanted = SocketAddr::new(route.source, options.local.map_or(0, |local| local.port()));
        // The port is bound on the address that was asked for: all, perhaps.
        let bound = options.local.map_or(route.source, |local| local.ip());
        let claim = self.tcp_claim(SocketAddr::new(bound, wanted.port()), options.reuse_port, Errno::ADDRNOTAVAIL)?;
        let local = SocketAddr::new(route.source, claim.local.port());
        if self.tcp.as_ref().is_some_and(|tcp| tcp.find(local, remote).is_some()) {
            return Err(Errno::ADDRNOTAVAIL);
        }
        let mtu_bytes = self.routes.mtu_bytes(route.uplink, remote.ip(), now);
        let path = Path { local, remote, uplink: route.uplink, mtu_bytes, ttl };
        let seed = {
            let (tcp, random) = (self.tcp.get_or_insert_default(), &mut self.random);
            let number_of = |seed| Connection::connect(path, seed, now)?.run(None, now).first()?.tcp_sequence();
            tcp.initial.seed((local, remote), now, || random.next_u64(), number_of)
        };
        // Port 0 is nobody's.
        let connection = Connection::connect(path, seed, now).ok_or(Errno::CONNREFUSED)?;
        let until = now + options.connect_timeout.unwrap_or(CONNECT_TIMEOUT);
        let key = self.call_tcp(now, |tcp, effects| {
            let key = tcp.insert(connection, claim, until);
            tcp.run(key, None, effects);
            if let Some(number) = effects.segments.last().and_then(|(_, syn)| syn.tcp_sequence()) {
                tcp.initial.note((local, remote), number, now);
            }
            key
        });
        Ok((key, local))
    }

    /// The right to use a local endpoint, with a port chosen if it is 0; `exhausted` if there is none to choose.
    fn tcp_claim(&mut self, local: SocketAddr, share: bool, exhausted: Errno) -> Result<Claim, Errno> {
        let is_free = |stack: &Stack, claim| stack.tcp.as_ref().is_none_or(|tcp| tcp.ports.is_free(claim));
        let at = |port, share| Claim { local: SocketAddr::new(local.ip(), port), share };
        if local.port() == 0 {
            // A chosen port is nobody else's, and may be shared from now on if that is wanted.
            let port = self.ephemeral_port(|stack, port| is_free(stack, at(port, false))).ok_or(exhausted)?;
            return Ok(at(port, share));
        }
        let claim = at(local.port(), share);
        if is_free(self, claim) { Ok(claim) } else { Err(Errno::ADDRINUSE) }
    }

    /// Whether the connection is there.
    pub(crate) fn tcp_poll_connect(&mut self, key: u32, waker: &Waker) -> Option<Result<(), Errno>> {
        let Some(connection) = self.tcp.as_mut().and_then(|tcp| tcp.connection(key)) else {
            return Some(Err(Errno::BADF));
        };
        if let Some(error) = connection.error.take() {
            return Some(Err(error));
        }
        if connection.connected {
            return Some(Ok(()));
        }
        connection.writer = Some(waker.clone());
        None
    }

    pub(crate) fn tcp_read(
        &mut self,
        key: u32,
        buffer: &mut [u8],
        waker: &Waker,
        now: Time,
    ) -> Option<Result<usize, Errno>> {
        let Some(connection) = self.tcp.as_mut().and_then(|tcp| tcp.connection(key)) else {
            return Some(Err(Errno::BADF));
        };
        let read = connection.read(buffer);
        match read {
            None => connection.reader = Some(waker.clone()),
            // The window may have opened.
            Some(Ok(length)) if length > 0 => self.call_tcp(now, |tcp, effects| tcp.run(key, None, effects)),
            Some(_) => {}
        }
        read
    }

    pub(crate) fn tcp_write(
        &mut self,
        key: u32,
        bytes: &[u8],
        waker: &Waker,
        now: Time,
    ) -> Option<Result<usize, Errno>> {
        let Some(connection) = self.tcp.as_mut().and_then(|tcp| tcp.connection(key)) else {
            return Some(Err(Errno::BADF));
        };
        let written = connection.write(bytes);
        match written {
            None => connection.writer = Some(waker.clone()),
            Some(Ok(_)) => self.call_tcp(now, |tcp, effects| tcp.run(key, None, effects)),
            Some(Err(_)) => {}
        }
        written
    }

    /// Closes the sending side.
    pub(crate) fn tcp_shutdown(&mut self, key: u32, now: Time) -> Result<(), Errno> {
        let connection = self.tcp.as_mut().and_then(|tcp| tcp.connection(key)).ok_or(Errno::BADF)?;
        if connection.phase() == Phase::Over {
            return Err(Errno::NOTCONN);
        }
        connection.shut();
        self.call_tcp(now, |tcp, effects| tcp.run(key, None, effects));
        Ok(())
    }

    /// The stream was dropped: a FIN, or a RST if there is unread data (RFC 2525 section 2.17).
    pub(crate) fn tcp_close(&mut self, key: u32, now: Time) {
        self.call_tcp(now, |tcp, effects| tcp.close(key, effects));
    }

    /// Opens a listener; gives its key and endpoint.
    pub(crate) fn tcp_listen(&mut self, local: SocketAddr, options: TcpOptions) -> Result<(u32, SocketAddr), Errno> {
        let ttl = check_ttl(options.ttl.unwrap_or(DEFAULT_TTL))?;
        self.check_bindable(local.ip())?;
        let claim = self.tcp_claim(local, options.reuse_port, Errno::ADDRINUSE)?;
        let tcp = self.tcp.get_or_insert_default();
        let endpoint = (claim.local.ip(), claim.local.port());
        if tcp.by_endpoint.contains_key(&endpoint) {
            return Err(Errno::ADDRINUSE);
        }
        tcp.ports.take(claim);
        let listener = Listener { claim, ttl, opening: 0, queue: Default::default(), acceptors: Vec::new() };
        let key = tcp.listeners.insert(listener) as u32;
        tcp.by_endpoint.insert(endpoint, key);
        Ok((key, claim.local))
    }

    /// The oldest connection to be accepted: its key and endpoints.
    pub(crate) fn tcp_accept(
        &mut self,
        key: u32,
        waker: &Waker,
    ) -> Option<Result<(u32, SocketAddr, SocketAddr), Errno>> {
        let Some(tcp) = &mut self.tcp else { return Some(Err(Errno::BADF)) };
        let Some(listener) = tcp.listeners.get_mut(key as usize) else { return Some(Err(Errno::BADF)) };
        let Some(child) = listener.queue.pop_front() else {
            crate::stack::register(&mut listener.acceptors, waker);
            return None;
        };
        let connection = tcp.connection(child)?;
        connection.parent = None;
        Some(Ok((child, connection.path.local, connection.path.remote)))
    }

    /// The listener was dropped.
    pub(crate) fn tcp_unlisten(&mut self, key: u32, now: Time) {
        self.call_tcp(now, |tcp, effects| tcp.unlisten(key, effects));
    }
}

impl Tcp {
    fn close(&mut self, key: u32, effects: &mut Effects) {
        let Some(connection) = self.connection(key) else { return };
        connection.orphaned = true;
        connection.reader = None;
        connection.writer = None;
        match connection.phase() {
            Phase::Over => return self.retire(key),
            // Nothing is owed to one who has not answered.
            Phase::Opening if !connection.connected => return self.retire(key),
            _ if connection.has_unread() => connection.abort(),
            _ => connection.shut(),
        }
        self.run(key, None, effects);
    }

    /// Half-open connections are forgotten, those that wait to be accepted are reset (Linux's
    /// `inet_csk_listen_stop`).
    fn unlisten(&mut self, key: u32, effects: &mut Effects) {
        let Some(listener) = self.listeners.try_remove(key as usize) else { return };
        self.by_endpoint.remove(&(listener.claim.local.ip(), listener.claim.local.port()));
        self.ports.release(listener.claim);
        for child in listener.queue {
            if let Some(connection) = self.connection(child) {
                connection.orphaned = true;
                connection.abort();
            }
            self.run(child, None, effects);
            self.retire(child);
        }
        let of_it = |entry: &super::Entry| entry.connection.parent == Some(key);
        let half_open: Vec<u32> =
            self.connections.iter().filter(|(_, entry)| of_it(entry)).map(|(child, _)| child as u32).collect();
        for child in half_open {
            self.retire(child);
        }
    }
}
