//! What sockets ask of the stack: the system calls for UDP, echo and addresses.
//!
//! Every call gives the `errno` that Linux would give. Nothing here blocks: what would is `None`, and the waker given
//! is woken when asking again makes sense.

use std::net::{IpAddr, SocketAddr};
use std::task::Waker;

use natbox_host::{EchoAnswer, IcmpReport, Received};
use natbox_wire::{DropReason, Time, build};
use rand_core::Rng;

use super::errno::Errno;
use super::udp::UdpSocket;
use super::{Stack, with_address};
use crate::attach::InterfaceAddress;

impl Stack {
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        self.routes.addresses().collect()
    }

    pub(crate) fn default_gateway(&self, ipv6: bool) -> Option<IpAddr> {
        self.routes.default_gateway(ipv6)
    }

    pub(crate) fn is_neighbour(&self, address: IpAddr) -> bool {
        self.routes.is_neighbour(address)
    }

    pub(crate) fn source_for(&self, destination: IpAddr) -> Result<IpAddr, Errno> {
        self.routes.route(None, destination).map(|route| route.source)
    }

    /// Gives an uplink other addresses and default gateways (IPv4, IPv6). Sockets on the old ones stay.
    pub(crate) fn readdress(&mut self, uplink: usize, addresses: Vec<InterfaceAddress>, gateways: [Option<IpAddr>; 2]) {
        self.routes.readdress(uplink, addresses, gateways);
    }

    /// From now on the default gateway of this uplink is tried first.
    pub(crate) fn prefer(&mut self, uplink: usize) {
        self.routes.prefer(uplink);
    }

    /// Opens a UDP socket; gives its key.
    pub(crate) fn udp_bind(&mut self, local: SocketAddr) -> Result<u32, Errno> {
        self.check_bindable(local.ip())?;
        let local = match local.port() {
            0 => {
                let is_free = |stack: &Stack, port| stack.udp_is_free(SocketAddr::new(local.ip(), port));
                // Linux says EADDRINUSE when no port is left (inet_autobind says EAGAIN, bind does not).
                SocketAddr::new(local.ip(), self.ephemeral_port(is_free).ok_or(Errno::ADDRINUSE)?)
            }
            port => SocketAddr::new(local.ip(), port),
        };
        if !self.udp_is_free(local) {
            return Err(Errno::ADDRINUSE);
        }
        Ok(self.udp.insert(local))
    }

    /// Whether a socket may be bound to this address.
    pub(super) fn check_bindable(&self, address: IpAddr) -> Result<(), Errno> {
        if address.is_unspecified() || self.routes.is_own(address) { Ok(()) } else { Err(Errno::ADDRNOTAVAIL) }
    }

    /// A port is taken on an address if a socket has it there or on all addresses; on all addresses, if a socket has
    /// it anywhere. (`SO_REUSEADDR` is for TCP here.)
    fn udp_is_free(&self, local: SocketAddr) -> bool {
        let taken = |address| self.udp.is_bound(with_address(local, address));
        if local.ip().is_unspecified() {
            !taken(local.ip()) && !self.routes.bindable(local.is_ipv6()).any(taken)
        } else {
            !taken(local.ip()) && !self.udp.is_bound(super::udp::unspecified(local))
        }
    }

    pub(crate) fn udp_close(&mut self, key: u32) {
        self.udp.remove(key);
        if let Some(rare) = &mut self.rare {
            rare.groups.retain(|(_, _, owner)| *owner != key);
        }
    }

    /// A UDP socket. Keys live as long as their sockets, so asking with a dead one is `EBADF`'s case, which safe code
    /// cannot reach.
    pub(crate) fn udp_socket(&mut self, key: u32) -> Result<&mut UdpSocket, Errno> {
        self.udp.get(key).ok_or(Errno::BADF)
    }

    pub(crate) fn udp_set_ttl(&mut self, key: u32, ttl: u8) -> Result<(), Errno> {
        self.udp_socket(key)?.ttl = check_ttl(ttl)?;
        Ok(())
    }

    /// Connects a UDP socket; a socket on all addresses gets the one that it will send from, as in Linux.
    pub(crate) fn udp_connect(&mut self, key: u32, remote: SocketAddr) -> Result<(), Errno> {
        let local = self.udp_socket(key)?.local;
        let route = self.routes.route(Some(local.ip()), remote.ip())?;
        if remote.port() == 0 {
            return Err(Errno::INVAL);
        }
        if local.ip().is_unspecified() {
            self.udp.rebind(key, with_address(local, route.source));
        }
        self.udp_socket(key)?.remote = Some(remote);
        Ok(())
    }

    /// Joins a group on the uplink that `interface` belongs to.
    pub(crate) fn udp_join(&mut self, key: u32, group: IpAddr, interface: IpAddr) -> Result<(), Errno> {
        if !group.is_multicast() || group.is_ipv6() != interface.is_ipv6() {
            return Err(Errno::INVAL);
        }
        let uplink = self.routes.uplink_of(interface).ok_or(Errno::NODEV)?;
        let groups = &mut self.rare.get_or_insert_default().groups;
        if groups.contains(&(uplink, group, key)) {
            return Err(Errno::ADDRINUSE);
        }
        if groups.iter().filter(|(_, _, owner)| *owner == key).count() >= MEMBERSHIP_LIMIT {
            return Err(Errno::NOBUFS);
        }
        groups.push((uplink, group, key));
        Ok(())
    }

    /// Whether packets to a broadcast or multicast address are taken from this uplink. All hosts and nodes are
    /// members of their all-systems group (RFC 1112, RFC 4291 section 2.8).
    pub(super) fn is_member(&self, uplink: usize, group: IpAddr) -> bool {
        let always = match group {
            IpAddr::V4(group) => !group.is_multicast() || group.octets() == [224, 0, 0, 1],
            IpAddr::V6(group) => group.segments() == [0xff02, 0, 0, 0, 0, 0, 0, 1],
        };
        always || self.has_joined(uplink, group)
    }

    /// Whether a socket of this host has joined a group there. Then it also gets what the host itself sends
    /// (`IP_MULTICAST_LOOP`).
    pub(super) fn has_joined(&self, uplink: usize, group: IpAddr) -> bool {
        let joined = |rare: &super::Rare| rare.groups.iter().any(|(on, of, _)| *on == uplink && *of == group);
        self.rare.as_deref().is_some_and(joined)
    }

    /// Sends a datagram. A pending ICMP error is returned instead, once.
    pub(crate) fn udp_send(
        &mut self,
        key: u32,
        payload: &[u8],
        destination: SocketAddr,
        now: Time,
    ) -> Result<usize, Errno> {
        let socket = self.udp_socket(key)?;
        let (local, ttl, dont_fragment) = (socket.local, socket.ttl, socket.dont_fragment);
        if destination.port() == 0 {
            return Err(Errno::INVAL);
        }
        if let Some(error) = socket.take_error() {
            return Err(error);
        }
        let route = match self.routes.route(Some(local.ip()), destination.ip()) {
            Ok(route) => route,
            Err(errno) => return Err(self.refuse_unroutable(local, payload, destination, errno)),
        };
        let fields = self.ip_fields(ttl, dont_fragment);
        let source = with_address(local, route.source);
        let packet = build::udp(source, destination, fields, payload).ok_or(Errno::MSGSIZE)?;
        // IPv6 packets carry no such flag: whether to fragment is for the socket to say.
        if dont_fragment && packet.bytes().len() > self.routes.mtu_bytes(route.uplink, destination.ip(), now) {
            self.drops.push_back((packet, None, DropReason::TooBig));
            return Err(Errno::MSGSIZE);
        }
        self.transmit(route.uplink, packet, None, now)?;
        self.settle(now);
        Ok(payload.len())
    }

    /// Shows the datagram that no route leads to, if it would have had a source.
    fn refuse_unroutable(&mut self, local: SocketAddr, payload: &[u8], destination: SocketAddr, errno: Errno) -> Errno {
        let source =
            self.routes.bindable(destination.is_ipv6()).find(|own| local.ip().is_unspecified() || *own == local.ip());
        let datagram =
            |source| build::udp(with_address(local, source), destination, build::IpFields::default(), payload);
        if let Some(packet) = source.and_then(datagram) {
            self.drops.push_back((packet, None, DropReason::NoRoute));
        }
        errno
    }

    /// Receives a datagram. A pending ICMP error comes first, once.
    pub(crate) fn udp_receive(
        &mut self,
        key: u32,
        buffer: &mut [u8],
        waker: &Waker,
    ) -> Option<Result<Received, Errno>> {
        let socket = match self.udp_socket(key) {
            Ok(socket) => socket,
            Err(errno) => return Some(Err(errno)),
        };
        if let Some(error) = socket.take_error() {
            return Some(Err(error));
        }
        let Some(datagram) = socket.take_datagram() else {
            socket.register(waker);
            return None;
        };
        let (packet, payload) = (&datagram.packet, datagram.packet.payload());
        let length = payload.len().min(buffer.len());
        buffer[..length].copy_from_slice(&payload[..length]);
        Some(Ok(Received {
            length,
            source: packet.source_endpoint(),
            destination: packet.destination_endpoint(),
            at: datagram.at,
            ttl: packet.ttl(),
        }))
    }

    pub(crate) fn udp_take_report(&mut self, key: u32) -> Option<IcmpReport> {
        self.udp.get(key)?.take_report()
    }

    /// Opens an echo socket; gives its key and identifier.
    pub(crate) fn echo_open(&mut self, local: IpAddr) -> Result<(u32, u16), Errno> {
        self.check_bindable(local)?;
        let wanted = self.random.next_u32() as u16;
        let echo = &mut self.rare.get_or_insert_default().echo;
        let key = echo.insert(local, wanted).ok_or(Errno::AGAIN)?;
        Ok((key, echo.get(key).map_or(wanted, |socket| socket.identifier)))
    }

    pub(crate) fn echo_close(&mut self, key: u32) {
        if let Some(rare) = &mut self.rare {
            rare.echo.remove(key);
        }
    }

    pub(crate) fn echo_set_ttl(&mut self, key: u32, ttl: u8) -> Result<(), Errno> {
        let socket = self.rare.as_mut().and_then(|rare| rare.echo.get(key)).ok_or(Errno::BADF)?;
        socket.ttl = check_ttl(ttl)?;
        Ok(())
    }

    pub(crate) fn echo_send(
        &mut self,
        key: u32,
        destination: IpAddr,
        sequence: u16,
        payload: &[u8],
        now: Time,
    ) -> Result<(), Errno> {
        let socket = self.rare.as_mut().and_then(|rare| rare.echo.get(key)).ok_or(Errno::BADF)?;
        let (local, identifier, ttl) = (socket.local, socket.identifier, socket.ttl);
        let route = self.routes.route(Some(local), destination)?;
        let fields = self.ip_fields(ttl, false);
        let packet = build::echo(true, route.source, destination, fields, identifier, sequence, payload);
        self.transmit(route.uplink, packet.ok_or(Errno::MSGSIZE)?, None, now)?;
        self.settle(now);
        Ok(())
    }

    pub(crate) fn echo_receive(&mut self, key: u32, waker: &Waker) -> Option<Result<EchoAnswer, Errno>> {
        let Some(socket) = self.rare.as_mut().and_then(|rare| rare.echo.get(key)) else {
            return Some(Err(Errno::BADF));
        };
        let answer = socket.take_answer();
        if answer.is_none() {
            socket.register(waker);
        }
        answer.map(Ok)
    }
}

/// Linux refuses 0 with `EINVAL`.
pub(crate) fn check_ttl(ttl: u8) -> Result<u8, Errno> {
    if ttl == 0 { Err(Errno::INVAL) } else { Ok(ttl) }
}

/// Linux's `net.ipv4.igmp_max_memberships`.
const MEMBERSHIP_LIMIT: usize = 20;
