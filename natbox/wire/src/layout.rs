//! Where in its bytes a packet's headers lie, and whether they are well-formed.
//!
//! Knows no checksum but that of the IPv4 header. Hop-by-hop and destination options are checked for their shape;
//! what they ask for is nobody's business here. IPsec and other protocols are opaque.

use std::fmt;
use std::net::Ipv4Addr;

use etherparse::{Ipv6FragmentHeaderSlice, Ipv6HeaderSlice, Ipv6RawExtHeaderSlice, TcpHeaderSlice};

use crate::field::{array, be16, icmp, ipv4, ipv6, number, tcp, udp};
use crate::{DropReason, Protocol, address, checksum, icmp::is_error_kind};

/// More extension headers than this are no honest packet's. RFC 8200 section 4.1 foresees six.
const MAX_EXTENSION_HEADERS: usize = 8;

/// What stands at the beginning of the IP payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Udp,
    Tcp,
    Echo,
    /// Another ICMP query with an identifier, or its reply.
    Query,
    IcmpError,
    OtherIcmp,
    LaterFragment,
    Other,
}

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layout").field("ip", &self.ip()).field("kind", &self.kind()).finish()
    }
}

impl Kind {
    /// The transport whose sessions NATs keep, if this is one.
    #[inline]
    pub(crate) fn protocol(self) -> Option<Protocol> {
        match self {
            Kind::Udp => Some(Protocol::Udp),
            Kind::Tcp => Some(Protocol::Tcp),
            Kind::Echo | Kind::Query => Some(Protocol::Icmp),
            _ => None,
        }
    }
}

/// An IP header with its options or extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ip {
    pub(crate) ipv6: bool,
    /// Part of a datagram of more than one fragment. An atomic fragment (RFC 6946) is none.
    pub(crate) fragment: bool,
    /// A fragment other than the first.
    pub(crate) later: bool,
    /// Of what follows the IP header and its extension headers.
    pub(crate) protocol: u8,
    /// Where that number stands.
    pub(crate) protocol_at: u16,
    /// Where the IPv6 fragment header stands; 0 without one.
    pub(crate) fragment_header_at: u16,
    /// Where the IP payload begins.
    pub(crate) payload_at: u16,
}

impl Ip {
    /// What an IPv4 header states that [`check_ipv4_header`] has found right.
    #[inline]
    pub(crate) fn of_ipv4(bytes: &[u8]) -> Ip {
        let fragment = be16(bytes, ipv4::FRAGMENT);
        Ip {
            ipv6: false,
            fragment: fragment & (ipv4::MORE_FRAGMENTS | ipv4::OFFSET) != 0,
            later: fragment & ipv4::OFFSET != 0,
            protocol: bytes[ipv4::PROTOCOL],
            protocol_at: ipv4::PROTOCOL as u16,
            fragment_header_at: 0,
            payload_at: ipv4_header_length(bytes) as u16,
        }
    }
}

/// The headers of a well-formed packet, packed into one word: as one it goes from parsing to reading in a register,
/// where a structure of small fields goes through memory and waits there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout(u64);

impl Layout {
    #[inline(always)]
    fn pack(ip: Ip, kind: Kind) -> Layout {
        let flags = u8::from(ip.ipv6) | u8::from(ip.fragment) << 1 | u8::from(ip.later) << 2;
        let bytes = u64::from(flags) | u64::from(kind as u8) << 3 | u64::from(ip.protocol) << 8;
        let places =
            u64::from(ip.protocol_at) | u64::from(ip.fragment_header_at) << 16 | u64::from(ip.payload_at) << 32;
        Layout(bytes | places << 16)
    }

    /// The IP header.
    #[inline(always)]
    pub(crate) fn ip(self) -> Ip {
        Ip {
            ipv6: self.0 & 1 != 0,
            fragment: self.0 & 2 != 0,
            later: self.0 & 4 != 0,
            protocol: (self.0 >> 8) as u8,
            protocol_at: (self.0 >> 16) as u16,
            fragment_header_at: (self.0 >> 32) as u16,
            payload_at: (self.0 >> 48) as u16,
        }
    }

    /// Whether this is IPv4, no fragment, with this kind of payload at this place.
    #[inline(always)]
    pub(crate) fn is_ipv4_with(self, kind: Kind, payload_at: u16) -> bool {
        self.0 & 0xFFFF_0000_0000_00FF == u64::from(kind as u8) << 3 | u64::from(payload_at) << 48
    }

    /// What stands at the beginning of the IP payload.
    #[inline(always)]
    pub(crate) fn kind(self) -> Kind {
        match self.0 >> 3 & 7 {
            0 => Kind::Udp,
            1 => Kind::Tcp,
            2 => Kind::Echo,
            3 => Kind::Query,
            4 => Kind::IcmpError,
            5 => Kind::OtherIcmp,
            6 => Kind::LaterFragment,
            _ => Kind::Other,
        }
    }

    /// Reads the headers of a whole packet that is not IPv4, and its length by its own account.
    pub(crate) fn read_other(bytes: &[u8]) -> Result<(Layout, usize), DropReason> {
        match bytes.first().map(|first| first >> 4) {
            None => Err(DropReason::Truncated),
            Some(6) => read_ipv6(bytes),
            Some(_) => Err(DropReason::BadVersion),
        }
    }

    /// Reads the headers of a whole packet of version 4, and its length by its own account.
    #[inline(always)]
    pub(crate) fn read_ipv4(bytes: &[u8]) -> Result<(Layout, usize), DropReason> {
        check_ipv4_header(bytes)?;
        let (ip, total) = (Ip::of_ipv4(bytes), usize::from(be16(bytes, ipv4::TOTAL_LENGTH)));
        if total > bytes.len() {
            return Err(DropReason::Truncated);
        }
        if usize::from(ip.payload_at) > ipv4::HEADER {
            check_ipv4_options(&bytes[ipv4::HEADER..usize::from(ip.payload_at)])?;
        }
        if address::is_bad_source(Ipv4Addr::from(array(bytes, ipv4::SOURCE)).into()) {
            return Err(DropReason::BadSource);
        }
        Layout::of(ip, bytes, total)
    }

    #[inline(always)]
    fn of(ip: Ip, bytes: &[u8], end: usize) -> Result<(Layout, usize), DropReason> {
        let kind = kind(&ip, bytes, &bytes[usize::from(ip.payload_at)..end])?;
        Ok((Layout::pack(ip, kind), end))
    }
}

/// Whether bytes of version 4 begin with a whole IPv4 header of plausible lengths whose checksum is right.
///
/// Every packet comes by here; hence no parser that reads more than these few fields.
#[inline]
fn check_ipv4_header(bytes: &[u8]) -> Result<(), DropReason> {
    let Some(fixed) = bytes.first_chunk::<{ ipv4::HEADER }>() else { return Err(DropReason::Truncated) };
    let (length, total) = (ipv4_header_length(fixed), usize::from(be16(fixed, ipv4::TOTAL_LENGTH)));
    if length < ipv4::HEADER {
        return Err(DropReason::BadHeaderLength);
    }
    if total < ipv4::HEADER {
        return Err(DropReason::BadLength);
    }
    if total < length {
        return Err(DropReason::BadHeaderLength);
    }
    let header = bytes.get(..length).ok_or(DropReason::Truncated)?;
    if sums_up(fixed, &header[ipv4::HEADER..]) { Ok(()) } else { Err(DropReason::BadIpChecksum) }
}

#[inline]
fn ipv4_header_length(header: &[u8]) -> usize {
    usize::from(header[0] & 0x0F) * 4
}

/// Whether an IPv4 header's checksum is right. Most have no options: then this is a short sum of known length.
#[inline]
fn sums_up(fixed: &[u8; ipv4::HEADER], options: &[u8]) -> bool {
    let options = if options.is_empty() { 0 } else { checksum::sum(options) };
    matches!(u32::from(checksum::sum(fixed)) + u32::from(options), 0xFFFF | 0x1_FFFE)
}

/// RFC 791 section 3.1: single-byte options 0 (end) and 1 (no operation); all others carry their length.
pub(crate) fn check_ipv4_options(mut options: &[u8]) -> Result<(), DropReason> {
    const LOOSE_SOURCE_ROUTE: u8 = 131;
    const STRICT_SOURCE_ROUTE: u8 = 137;
    loop {
        options = match options {
            [] | [0, ..] => return Ok(()),
            [1, rest @ ..] => rest,
            [kind, length, ..] if *length >= 2 && usize::from(*length) <= options.len() => {
                if matches!(*kind, LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE) {
                    return Err(DropReason::SourceRoute);
                }
                &options[usize::from(*length)..]
            }
            _ => return Err(DropReason::BadOptions),
        }
    }
}

fn read_ipv6(bytes: &[u8]) -> Result<(Layout, usize), DropReason> {
    let header = Ipv6HeaderSlice::from_slice(bytes).map_err(|_| DropReason::Truncated)?;
    let end = ipv6::HEADER + usize::from(header.payload_length());
    if end > bytes.len() {
        return Err(DropReason::Truncated);
    }
    if address::is_bad_source(header.source_addr().into()) {
        return Err(DropReason::BadSource);
    }
    Layout::of(walk_ipv6(&bytes[..end])?, bytes, end)
}

/// Walks the extension headers of an IPv6 packet that ends with `bytes`, which hold the IPv6 header.
///
/// A routing header with segments left is refused whatever its type: the destination in the IPv6 header is then not
/// the one that transport checksums cover (RFC 8200 section 8.1).
pub(crate) fn walk_ipv6(bytes: &[u8]) -> Result<Ip, DropReason> {
    let mut ip = Ip {
        ipv6: true,
        fragment: false,
        later: false,
        protocol: bytes[ipv6::NEXT_HEADER],
        protocol_at: ipv6::NEXT_HEADER as u16,
        fragment_header_at: 0,
        payload_at: ipv6::HEADER as u16,
    };
    for _ in 0..=MAX_EXTENSION_HEADERS {
        let at = usize::from(ip.payload_at);
        match ip.protocol {
            number::HOP_BY_HOP if at != ipv6::HEADER => return Err(DropReason::BadOptions),
            number::HOP_BY_HOP | number::DESTINATION_OPTIONS | number::ROUTING => {
                step_over_extension(&mut ip, &bytes[at..])?;
            }
            number::FRAGMENT => step_over_fragment(&mut ip, &bytes[at..])?,
            _ => return Ok(ip),
        }
        if ip.later {
            return Ok(ip);
        }
    }
    Err(DropReason::BadOptions)
}

fn step_over_extension(ip: &mut Ip, rest: &[u8]) -> Result<(), DropReason> {
    let header = Ipv6RawExtHeaderSlice::from_slice(rest).map_err(|_| DropReason::BadOptions)?;
    match (ip.protocol, header.payload()) {
        (number::ROUTING, [kind, segments_left, ..]) if *kind == 0 || *segments_left != 0 => {
            return Err(DropReason::SourceRoute);
        }
        (number::ROUTING, _) => {}
        (_, options) => check_ipv6_options(options)?,
    }
    ip.protocol = header.next_header().0;
    ip.protocol_at = ip.payload_at;
    ip.payload_at += header.slice().len() as u16;
    Ok(())
}

/// RFC 8200 section 4.2: option 0 is a single byte; all others carry the length of their data.
fn check_ipv6_options(mut options: &[u8]) -> Result<(), DropReason> {
    loop {
        options = match options {
            [] => return Ok(()),
            [0, rest @ ..] => rest,
            [_, length, rest @ ..] if usize::from(*length) <= rest.len() => &rest[usize::from(*length)..],
            _ => return Err(DropReason::BadOptions),
        }
    }
}

fn step_over_fragment(ip: &mut Ip, rest: &[u8]) -> Result<(), DropReason> {
    if ip.fragment_header_at != 0 {
        return Err(DropReason::BadOptions);
    }
    let header = Ipv6FragmentHeaderSlice::from_slice(rest).map_err(|_| DropReason::BadOptions)?;
    ip.later = header.fragment_offset().value() != 0;
    ip.fragment = header.is_fragmenting_payload();
    ip.protocol = header.next_header().0;
    ip.protocol_at = ip.payload_at;
    ip.fragment_header_at = ip.payload_at;
    ip.payload_at += ipv6::FRAGMENT_HEADER as u16;
    Ok(())
}

/// Where this fragment's bytes belong, in units of eight bytes; 0 in what is no fragment.
#[inline]
pub(crate) fn fragment_offset(ip: &Ip, bytes: &[u8]) -> u16 {
    match ip.ipv6 {
        false => be16(bytes, ipv4::FRAGMENT) & ipv4::OFFSET,
        true if ip.fragment_header_at == 0 => 0,
        true => be16(bytes, usize::from(ip.fragment_header_at) + 2) >> 3,
    }
}

#[inline(always)]
fn kind(ip: &Ip, bytes: &[u8], payload: &[u8]) -> Result<Kind, DropReason> {
    if ip.later {
        // Offset 1 would overwrite a TCP header's flags (RFC 3128).
        let over_tcp_flags = ip.protocol == number::TCP && fragment_offset(ip, bytes) == 1;
        return if over_tcp_flags { Err(DropReason::BadTransportHeader) } else { Ok(Kind::LaterFragment) };
    }
    let (kind, well_formed) = match (ip.protocol, ip.ipv6) {
        (number::UDP, _) => (Kind::Udp, udp_is_well_formed(payload, ip.fragment)),
        (number::TCP, _) => (Kind::Tcp, tcp_is_well_formed(payload)),
        (number::ICMP, false) | (number::ICMPV6, true) => match payload.get(icmp::KIND) {
            Some(&kind) => (icmp_kind(ip.ipv6, kind), payload.len() >= icmp::HEADER),
            None => (Kind::OtherIcmp, false),
        },
        _ => (Kind::Other, true),
    };
    if well_formed { Ok(kind) } else { Err(DropReason::BadTransportHeader) }
}

/// As Linux reads it: a length beyond the packet is an error, a shorter one trims the payload. In a first fragment
/// the rest is still to come.
#[inline]
fn udp_is_well_formed(datagram: &[u8], fragment: bool) -> bool {
    if datagram.len() < udp::HEADER {
        return false;
    }
    let length = usize::from(be16(datagram, udp::LENGTH));
    length >= udp::HEADER && (length <= datagram.len() || fragment)
}

/// The whole header must be there, in a first fragment too (RFC 1858, RFC 3128).
#[inline]
fn tcp_is_well_formed(segment: &[u8]) -> bool {
    segment.len() >= tcp::HEADER && TcpHeaderSlice::from_slice(segment).is_ok()
}

/// The kinds of the query types and of the errors. ICMPv6 has no query but echo whose header has an identifier.
#[inline]
pub(crate) fn icmp_kind(ipv6: bool, kind: u8) -> Kind {
    match (ipv6, kind) {
        (false, 0 | 8) | (true, 128 | 129) => Kind::Echo,
        (false, 13..=18) => Kind::Query,
        _ if is_error_kind(ipv6, kind) => Kind::IcmpError,
        _ => Kind::OtherIcmp,
    }
}
