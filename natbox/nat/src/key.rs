//! Packed endpoints, and how the tables hash them.
//!
//! The tables are generic over the address family, so that an IPv4 endpoint takes 6 bytes and not the 32 of a
//! `SocketAddr`. Knows nothing of sessions or mappings.

use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use foldhash::fast::FixedState;
use natbox_wire::{Packet, Protocol, Side};

/// An IP address of one family.
pub(crate) trait Address: Copy + Ord + 'static {
    /// The address, if it is of this family.
    fn from_ip(ip: IpAddr) -> Option<Self>;
    /// The address as the outside of this crate sees it.
    fn to_ip(self) -> IpAddr;
    /// The unspecified address: a placeholder where a rule looks at no address.
    fn unspecified() -> Self;
    /// Whether this names more than one host: multicast or broadcast.
    fn is_multicast(self) -> bool;
    /// Source and destination of a packet, if it is of this family.
    fn both(packet: &Packet) -> Option<(Self, Self)>;
    /// Writes an endpoint of this family into a packet of this family.
    fn write(self, port: u16, side: Side, packet: &mut Packet);
    /// The endpoints of a plain UDP datagram of this family, source first.
    fn plain_udp(packet: &Packet) -> Option<(Endpoint<Self>, Endpoint<Self>)>;
    /// Writes an endpoint of this family into a plain UDP datagram.
    fn write_plain(self, port: u16, side: Side, packet: &mut Packet);
    /// Feeds an endpoint of this family to a hasher, with eight bits more.
    fn feed(self, port: u16, tag: u8, hasher: &mut impl Hasher);
}

impl Address for Ipv4Addr {
    #[inline]
    fn from_ip(ip: IpAddr) -> Option<Ipv4Addr> {
        match ip {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }
    }

    #[inline]
    fn to_ip(self) -> IpAddr {
        IpAddr::V4(self)
    }

    #[inline]
    fn unspecified() -> Ipv4Addr {
        Ipv4Addr::UNSPECIFIED
    }

    #[inline]
    fn is_multicast(self) -> bool {
        Ipv4Addr::is_multicast(&self) || self == Ipv4Addr::BROADCAST
    }

    #[inline(always)]
    fn both(packet: &Packet) -> Option<(Ipv4Addr, Ipv4Addr)> {
        packet.ipv4_addresses()
    }

    #[inline(always)]
    fn write(self, port: u16, side: Side, packet: &mut Packet) {
        packet.rewrite_ipv4(side, self, port);
    }

    #[inline(always)]
    fn plain_udp(packet: &Packet) -> Option<(Endpoint<Ipv4Addr>, Endpoint<Ipv4Addr>)> {
        let plain = packet.plain_udp()?;
        let source = Endpoint { address: plain.source, port: plain.source_port };
        Some((source, Endpoint { address: plain.destination, port: plain.destination_port }))
    }

    #[inline(always)]
    fn write_plain(self, port: u16, side: Side, packet: &mut Packet) {
        packet.rewrite_plain_udp(side, self, port);
    }

    #[inline]
    fn feed(self, port: u16, tag: u8, hasher: &mut impl Hasher) {
        hasher.write_u64(u64::from(self.to_bits()) << 32 | u64::from(port) << 8 | u64::from(tag));
    }
}

impl Address for Ipv6Addr {
    #[inline]
    fn from_ip(ip: IpAddr) -> Option<Ipv6Addr> {
        match ip {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(address),
        }
    }

    #[inline]
    fn to_ip(self) -> IpAddr {
        IpAddr::V6(self)
    }

    #[inline]
    fn unspecified() -> Ipv6Addr {
        Ipv6Addr::UNSPECIFIED
    }

    #[inline]
    fn is_multicast(self) -> bool {
        Ipv6Addr::is_multicast(&self)
    }

    #[inline(always)]
    fn both(packet: &Packet) -> Option<(Ipv6Addr, Ipv6Addr)> {
        packet.ipv6_addresses()
    }

    #[inline(always)]
    fn write(self, port: u16, side: Side, packet: &mut Packet) {
        packet.rewrite_ipv6(side, self, port);
    }

    /// No IPv6 packet is plain: the short way is for IPv4.
    #[inline(always)]
    fn plain_udp(_: &Packet) -> Option<(Endpoint<Ipv6Addr>, Endpoint<Ipv6Addr>)> {
        None
    }

    #[inline(always)]
    fn write_plain(self, port: u16, side: Side, packet: &mut Packet) {
        self.write(port, side, packet);
    }

    #[inline]
    fn feed(self, port: u16, tag: u8, hasher: &mut impl Hasher) {
        hasher.write_u128(self.to_bits());
        hasher.write_u64(u64::from(port) << 8 | u64::from(tag));
    }
}

/// An address with a port (UDP, TCP) or an identifier (echo).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Endpoint<A> {
    pub(crate) address: A,
    pub(crate) port: u16,
}

impl From<std::net::SocketAddrV4> for Endpoint<Ipv4Addr> {
    fn from(endpoint: std::net::SocketAddrV4) -> Endpoint<Ipv4Addr> {
        Endpoint { address: *endpoint.ip(), port: endpoint.port() }
    }
}

impl<A: Address> Endpoint<A> {
    /// The endpoint, if it is of this family.
    pub(crate) fn from_socket(endpoint: SocketAddr) -> Option<Endpoint<A>> {
        Some(Endpoint { address: A::from_ip(endpoint.ip())?, port: endpoint.port() })
    }

    /// The endpoint as the outside of this crate sees it.
    #[inline]
    pub(crate) fn to_socket(self) -> SocketAddr {
        SocketAddr::new(self.address.to_ip(), self.port)
    }

    /// Writes the endpoint into a packet of this family, mending all checksums.
    #[inline(always)]
    pub(crate) fn write(self, side: Side, packet: &mut Packet) {
        self.address.write(self.port, side, packet);
    }

    /// Writes the endpoint into a plain UDP datagram of this family.
    #[inline(always)]
    pub(crate) fn write_plain(self, side: Side, packet: &mut Packet) {
        self.address.write_plain(self.port, side, packet);
    }

    /// Stands where a rule looks at no endpoint.
    pub(crate) fn unspecified() -> Endpoint<A> {
        Endpoint { address: A::unspecified(), port: 0 }
    }

    /// The endpoint as the remote of a session: an echo's remote has no port (RFC 5508 section 3.1), so that
    /// address-and-port-dependent means address-dependent for echo.
    #[inline]
    pub(crate) fn as_remote(self, protocol: Protocol) -> Endpoint<A> {
        match protocol {
            Protocol::Icmp => Endpoint { port: 0, ..self },
            Protocol::Udp | Protocol::Tcp => self,
        }
    }
}

/// A seeded hash: the same seed gives the same tables in every run.
#[derive(Clone)]
pub(crate) struct Hash(FixedState);

impl Hash {
    pub(crate) fn with_seed(seed: u64) -> Hash {
        Hash(FixedState::with_seed(seed))
    }

    /// Hashes a protocol and one endpoint.
    #[inline]
    pub(crate) fn one<A: Address>(&self, protocol: Protocol, endpoint: Endpoint<A>) -> u64 {
        let mut hasher = self.0.build_hasher();
        endpoint.address.feed(endpoint.port, protocol as u8, &mut hasher);
        hasher.finish()
    }

    /// Hashes a protocol and two endpoints.
    #[inline]
    pub(crate) fn two<A: Address>(&self, protocol: Protocol, first: Endpoint<A>, second: Endpoint<A>) -> u64 {
        let mut hasher = self.0.build_hasher();
        first.address.feed(first.port, protocol as u8, &mut hasher);
        second.address.feed(second.port, 0, &mut hasher);
        hasher.finish()
    }

    /// Hashes a number and an address.
    pub(crate) fn number<A: Address>(&self, number: u32, address: A) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write_u64(u64::from(number));
        address.feed(0, 0, &mut hasher);
        hasher.finish()
    }

    /// Hashes an address alone.
    pub(crate) fn address<A: Address>(&self, address: A) -> u64 {
        let mut hasher = self.0.build_hasher();
        address.feed(0, 0, &mut hasher);
        hasher.finish()
    }
}
