//! A packet: its bytes, and where in them the headers lie.
//!
//! A [`Packet`] exists only for bytes that parse, so accessors cannot fail and cannot panic. Rewriting happens in
//! place and mends every checksum incrementally (RFC 1624), never by recomputation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use etherparse::{TcpHeaderSlice, TcpOptionElement};

use crate::checksum::{pseudo_header_sum, sum};
use crate::field::{array, be16, be32, icmp, ipv4, ipv6, ports, tcp, udp};
use crate::layout::{Kind, Layout, fragment_offset};
use crate::{DropReason, IcmpError, Offload, Protocol, TcpFlags, Transport};

/// A packet's place in a fragmented datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The datagram's identification (16 bits in IPv4, 32 in IPv6).
    pub identification: u32,
    /// Where this fragment's bytes belong, in bytes.
    pub offset_bytes: u16,
    /// Whether more fragments follow.
    pub more: bool,
}

/// The packet that an ICMP error quotes, as far as the quote shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Transport of the quoted packet.
    pub protocol: Protocol,
    /// Its source endpoint; for ICMP queries, address and identifier.
    pub source: SocketAddr,
    /// Its destination endpoint; for ICMP queries, address and identifier.
    pub destination: SocketAddr,
}

/// Bytes that are no well-formed packet, given back with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// What is wrong with them.
    pub reason: DropReason,
    /// The bytes, unchanged.
    pub bytes: Vec<u8>,
}

/// A well-formed IPv4 or IPv6 packet. Its [`Display`](std::fmt::Display) is one line for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub(crate) bytes: Vec<u8>,
    pub(crate) layout: Layout,
    pub(crate) offload: Offload,
}

impl Packet {
    /// Reads a packet. Bytes beyond the IP length field (link padding) are cut off. Verifies the IPv4 header
    /// checksum, lengths and options; not the transport checksum, which is the receiver's business
    /// ([`Packet::transport_checksum_ok`]).
    #[inline(always)]
    pub fn parse(bytes: Vec<u8>) -> Result<Packet, Malformed> {
        match bytes.first() {
            Some(0x40..=0x4F) => Packet::with(Layout::read_ipv4(&bytes), bytes),
            _ => Packet::parse_other(bytes),
        }
    }

    /// Out of line, so that IPv4 packets are read and built in registers.
    #[inline(never)]
    fn parse_other(bytes: Vec<u8>) -> Result<Packet, Malformed> {
        Packet::with(Layout::read_other(&bytes), bytes)
    }

    #[inline(always)]
    fn with(read: Result<(Layout, usize), DropReason>, mut bytes: Vec<u8>) -> Result<Packet, Malformed> {
        match read {
            Ok((layout, length)) => {
                bytes.truncate(length);
                Ok(Packet { bytes, layout, offload: Offload::NONE })
            }
            Err(reason) => Err(Malformed { reason, bytes }),
        }
    }

    /// The whole packet, from the first byte of the IP header.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Gives the bytes up.
    #[inline]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Whether this is IPv6.
    #[inline]
    pub fn is_ipv6(&self) -> bool {
        self.layout.ip().ipv6
    }

    /// The IP source.
    #[inline]
    pub fn source(&self) -> IpAddr {
        self.address(ipv4::SOURCE, ipv6::SOURCE)
    }

    /// The IP destination.
    #[inline]
    pub fn destination(&self) -> IpAddr {
        self.address(ipv4::DESTINATION, ipv6::DESTINATION)
    }

    /// Source and destination of an IPv4 packet.
    #[inline(always)]
    pub fn ipv4_addresses(&self) -> Option<(Ipv4Addr, Ipv4Addr)> {
        let at = |at| Ipv4Addr::from(array::<4>(&self.bytes, at));
        (!self.is_ipv6()).then(|| (at(ipv4::SOURCE), at(ipv4::DESTINATION)))
    }

    /// Source and destination of an IPv6 packet.
    #[inline(always)]
    pub fn ipv6_addresses(&self) -> Option<(Ipv6Addr, Ipv6Addr)> {
        let at = |at| Ipv6Addr::from(array::<16>(&self.bytes, at));
        self.is_ipv6().then(|| (at(ipv6::SOURCE), at(ipv6::DESTINATION)))
    }

    /// Source address with source port (UDP, TCP) or identifier (ICMP queries); port 0 where there is neither.
    #[inline]
    pub fn source_endpoint(&self) -> SocketAddr {
        SocketAddr::new(self.source(), self.port(ports::SOURCE))
    }

    /// Destination address with destination port (UDP, TCP) or identifier (ICMP queries); port 0 where there is neither.
    #[inline]
    pub fn destination_endpoint(&self) -> SocketAddr {
        SocketAddr::new(self.destination(), self.port(ports::DESTINATION))
    }

    /// Time to live, or hop limit.
    #[inline]
    pub fn ttl(&self) -> u8 {
        self.bytes[if self.is_ipv6() { ipv6::HOP_LIMIT } else { ipv4::TTL }]
    }

    /// The differentiated services field with its two ECN bits (RFC 2474, RFC 3168): the IPv4 TOS byte, the IPv6
    /// traffic class.
    pub fn traffic_class(&self) -> u8 {
        match self.is_ipv6() {
            true => (be16(&self.bytes, 0) >> 4) as u8,
            false => self.bytes[ipv4::DS_FIELD],
        }
    }

    /// The IPv4 identification; `None` in IPv6, where only fragments have one ([`Packet::fragment`]).
    pub fn identification(&self) -> Option<u16> {
        (!self.is_ipv6()).then(|| be16(&self.bytes, ipv4::IDENTIFICATION))
    }

    /// The IPv4 don't-fragment flag; always true for IPv6, which only its source may fragment.
    pub fn dont_fragment(&self) -> bool {
        self.is_ipv6() || be16(&self.bytes, ipv4::FRAGMENT) & ipv4::DONT_FRAGMENT != 0
    }

    /// Whether this packet neither is a fragment nor may become several (RFC 6864 section 4); true for IPv6, whose
    /// packets have no identification outside of fragments.
    #[inline(always)]
    pub fn is_atomic(&self) -> bool {
        self.is_ipv6() || be16(&self.bytes, ipv4::FRAGMENT) & !ipv4::RESERVED == ipv4::DONT_FRAGMENT
    }

    /// Whether this is a part of a datagram of several fragments.
    #[inline]
    pub fn is_fragment(&self) -> bool {
        self.layout.ip().fragment
    }

    /// The packet's place in a fragmented datagram, if it is a fragment. An atomic fragment (RFC 6946: an IPv6
    /// fragment header, but the whole datagram) is none.
    #[inline]
    pub fn fragment(&self) -> Option<Fragment> {
        let ip = self.layout.ip();
        if !ip.fragment {
            return None;
        }
        let offset_bytes = fragment_offset(&ip, &self.bytes) * 8;
        let header = usize::from(ip.fragment_header_at);
        Some(match ip.ipv6 {
            true => Fragment {
                identification: be32(&self.bytes, header + 4),
                offset_bytes,
                more: self.bytes[header + 3] & 1 != 0,
            },
            false => Fragment {
                identification: be16(&self.bytes, ipv4::IDENTIFICATION).into(),
                offset_bytes,
                more: be16(&self.bytes, ipv4::FRAGMENT) & ipv4::MORE_FRAGMENTS != 0,
            },
        })
    }

    /// The bytes of the datagram that this fragment carries: what lies behind the IPv6 fragment header, or behind
    /// the IPv4 header. The same as [`Packet::ip_payload`] unless extension headers follow the fragment header.
    pub fn fragment_data(&self) -> &[u8] {
        match usize::from(self.layout.ip().fragment_header_at) {
            0 => self.ip_payload(),
            at => &self.bytes[at + ipv6::FRAGMENT_HEADER..],
        }
    }

    /// The IP protocol number of what follows the IP header and its extension headers.
    #[inline]
    pub fn protocol_number(&self) -> u8 {
        self.layout.ip().protocol
    }

    /// The transport, if it is one that NATs keep sessions for and its ports or identifier are in the packet.
    #[inline]
    pub fn protocol(&self) -> Option<Protocol> {
        self.layout.kind().protocol()
    }

    /// What follows the IP header.
    #[inline(always)]
    pub fn transport(&self) -> Transport {
        let part = self.ip_payload();
        match self.layout.kind() {
            Kind::Udp => {
                Transport::Udp { source: be16(part, ports::SOURCE), destination: be16(part, ports::DESTINATION) }
            }
            Kind::Tcp => Transport::Tcp {
                source: be16(part, ports::SOURCE),
                destination: be16(part, ports::DESTINATION),
                flags: TcpFlags::read(part[tcp::FLAGS]),
            },
            Kind::Echo => Transport::Echo {
                request: matches!(part[icmp::KIND], 8 | 128),
                identifier: be16(part, icmp::IDENTIFIER),
                sequence: be16(part, icmp::SEQUENCE),
            },
            Kind::Query => Transport::Query { kind: part[icmp::KIND], identifier: be16(part, icmp::IDENTIFIER) },
            Kind::IcmpError | Kind::OtherIcmp => self.icmp(),
            Kind::LaterFragment => Transport::LaterFragment,
            Kind::Other => Transport::Other,
        }
    }

    #[inline(never)]
    fn icmp(&self) -> Transport {
        let part = self.ip_payload();
        match IcmpError::read(self.is_ipv6(), part) {
            Some(error) => Transport::IcmpError(error),
            None => Transport::OtherIcmp { kind: part[icmp::KIND], code: part[icmp::CODE] },
        }
    }

    /// The sequence number of a TCP segment.
    pub fn tcp_sequence(&self) -> Option<u32> {
        (self.layout.kind() == Kind::Tcp).then(|| be32(self.ip_payload(), tcp::SEQUENCE))
    }

    /// The acknowledgement number of a TCP segment, whether or not its ACK flag makes it count.
    pub fn tcp_acknowledgement(&self) -> Option<u32> {
        (self.layout.kind() == Kind::Tcp).then(|| be32(self.ip_payload(), tcp::ACKNOWLEDGEMENT))
    }

    /// The window field of a TCP segment, unscaled.
    pub fn tcp_window(&self) -> Option<u16> {
        (self.layout.kind() == Kind::Tcp).then(|| be16(self.ip_payload(), tcp::WINDOW))
    }

    /// The window scale option of a TCP segment (RFC 7323 section 2.2); `None` also where the options are malformed
    /// before it.
    pub fn tcp_window_scale(&self) -> Option<u8> {
        let header = TcpHeaderSlice::from_slice(self.ip_payload()).ok().filter(|_| self.layout.kind() == Kind::Tcp)?;
        let options = header.options_iterator().map_while(Result::ok);
        options
            .filter_map(|option| if let TcpOptionElement::WindowScale(shift) = option { Some(shift) } else { None })
            .next()
    }

    /// Whether a TCP segment allows selective acknowledgements (RFC 2018 section 2).
    pub fn tcp_sack_permitted(&self) -> bool {
        self.tcp_options().any(|(kind, data)| kind == tcp::SACK_PERMITTED && data.is_empty())
    }

    /// The blocks of the first selective acknowledgement of a TCP segment (RFC 2018 section 3): first sequence number, and
    /// one past the last.
    pub fn tcp_sack_blocks(&self) -> impl Iterator<Item = (u32, u32)> {
        let whole = |(kind, data): &(u8, &[u8])| *kind == tcp::SACK && !data.is_empty() && data.len().is_multiple_of(8);
        let blocks = self.tcp_options().find(whole).map_or(&[][..], |(_, data)| data);
        blocks.chunks_exact(8).map(|block| (be32(block, 0), be32(block, 4)))
    }

    /// The options of a TCP segment up to the first malformed one: kind and data.
    fn tcp_options(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let part = if self.layout.kind() == Kind::Tcp { self.ip_payload() } else { &[] };
        let mut rest = part.get(tcp::HEADER..).map_or(&[][..], |_| &part[tcp::HEADER..tcp_header_length(part)]);
        std::iter::from_fn(move || {
            while let [1, after @ ..] = rest {
                rest = after;
            }
            let (kind, length) = (*rest.first()?, usize::from(*rest.get(1)?));
            let data = rest.get(2..length).filter(|_| kind != 0)?;
            rest = &rest[length..];
            Some((kind, data))
        })
    }

    /// Everything behind the IP header and its extension headers: transport header and payload.
    #[inline]
    pub fn ip_payload(&self) -> &[u8] {
        &self.bytes[usize::from(self.layout.ip().payload_at)..]
    }

    /// What a UDP datagram, a TCP segment, an ICMP message carries (behind the transport header).
    pub fn payload(&self) -> &[u8] {
        let part = self.ip_payload();
        match self.layout.kind() {
            Kind::Udp => &self.udp_datagram()[udp::HEADER..],
            Kind::Tcp => &part[tcp_header_length(part)..],
            Kind::Echo | Kind::Query | Kind::IcmpError | Kind::OtherIcmp => &part[icmp::HEADER..],
            Kind::LaterFragment | Kind::Other => part,
        }
    }

    /// Whether the UDP, TCP or ICMP checksum is right. True for fragments and for what has no checksum
    /// (IPv4 UDP with checksum 0) or none yet ([`Offload`]); false for IPv6 UDP with checksum 0 (RFC 8200 section 8.1).
    pub fn transport_checksum_ok(&self) -> bool {
        let part = self.ip_payload();
        if self.layout.ip().fragment || self.offload.partial_checksum {
            return true;
        }
        match self.layout.kind() {
            Kind::Udp if be16(part, udp::CHECKSUM) == 0 => !self.is_ipv6(),
            Kind::Udp => self.sums_up(self.udp_datagram()),
            Kind::Tcp => self.sums_up(part),
            Kind::Echo | Kind::Query | Kind::IcmpError | Kind::OtherIcmp if self.is_ipv6() => self.sums_up(part),
            Kind::Echo | Kind::Query | Kind::IcmpError | Kind::OtherIcmp => sum(part) == 0xFFFF,
            Kind::LaterFragment | Kind::Other => true,
        }
    }

    /// Whether a transport part and its pseudo-header sum to what a right checksum makes of them.
    fn sums_up(&self, part: &[u8]) -> bool {
        let pseudo = pseudo_header_sum(self.source(), self.destination(), self.protocol_number(), part.len());
        let total = u32::from(pseudo) + u32::from(sum(part));
        total == 0xFFFF || total == 0x1FFFE
    }

    /// The IP payload as far as the UDP length field goes.
    fn udp_datagram(&self) -> &[u8] {
        let part = self.ip_payload();
        &part[..usize::from(be16(part, udp::LENGTH)).min(part.len())]
    }

    #[inline]
    fn address(&self, at_in_ipv4: usize, at_in_ipv6: usize) -> IpAddr {
        match self.is_ipv6() {
            true => Ipv6Addr::from(array::<16>(&self.bytes, at_in_ipv6)).into(),
            false => Ipv4Addr::from(array::<4>(&self.bytes, at_in_ipv4)).into(),
        }
    }

    #[inline]
    fn port(&self, at: usize) -> u16 {
        let transport = usize::from(self.layout.ip().payload_at);
        match self.layout.kind() {
            Kind::Udp | Kind::Tcp => be16(&self.bytes, transport + at),
            Kind::Echo | Kind::Query => be16(&self.bytes, transport + icmp::IDENTIFIER),
            _ => 0,
        }
    }
}

/// The data offset of a TCP segment, in bytes.
fn tcp_header_length(segment: &[u8]) -> usize {
    usize::from(segment[tcp::DATA_OFFSET] >> 4) * 4
}
