//! The packet that an ICMP error quotes (RFC 792, RFC 4443), and its translation (RFC 5508 sections 4 and 5).
//!
//! A quote holds eight bytes of the transport at least (RFC 792) and may be cut anywhere behind them. RFC 4884 extensions
//! may follow it: their length field, padding and objects are never touched, nor taken for a part of the quoted packet.
//! Padding that stands where a TCP checksum would is known by the data offset before it, which no TCP header has as 0.
//!
//! Whether the quoted IP header's checksum is right is told, and is nobody's condition here: hosts do not look at it, and
//! of NATs only good ones (RFC 5508 REQ-3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::checksum::{self, Change};
use crate::field::{array, be16, icmp, ipv4, ipv6, number, ports, tcp};
use crate::layout::{self, Ip, Kind};
use crate::rewrite::{Place, Side, edit, mend};
use crate::{DropReason, Packet, Quoted};

impl Packet {
    /// The packet that this ICMP error quotes; `None` when this is no error or the quote shows no session
    /// (fewer than eight bytes of its transport, a later fragment, an ICMP error, no IP header).
    pub fn quoted(&self) -> Option<Quoted> {
        let place = self.quote()?;
        Some(Quoted {
            protocol: place.kind.protocol()?,
            source: self.quoted_endpoint(place, Side::Source),
            destination: self.quoted_endpoint(place, Side::Destination),
        })
    }

    /// Whether the IP checksum of the packet that this ICMP error quotes is right; true in IPv6, which has none, and where
    /// [`Packet::quoted`] is `None`.
    pub fn quoted_ip_checksum_ok(&self) -> bool {
        let of_ipv4 = self.quote().filter(|place| !place.ipv6);
        of_ipv4.is_none_or(|place| checksum::sum(&self.bytes[place.ip_at..place.transport_at]) == 0xFFFF)
    }

    /// The IPv4 checksum in the header of the packet that this ICMP error quotes.
    pub fn quoted_ip_checksum(&self) -> Option<u16> {
        let place = self.quote().filter(|place| !place.ipv6)?;
        Some(be16(&self.bytes, place.ip_at + ipv4::CHECKSUM))
    }

    /// Overwrites that checksum, right or wrong, as boxes leave it that do not mend it; mends the ICMP checksum.
    pub fn set_quoted_ip_checksum(&mut self, checksum: u16) {
        let Some(place) = self.quote().filter(|place| !place.ipv6) else { return };
        let mut change = Change::default();
        change.write(&mut self.bytes, place.ip_at + ipv4::CHECKSUM, checksum.to_be_bytes());
        mend(&mut self.bytes, usize::from(self.layout.ip().payload_at) + icmp::CHECKSUM, change);
    }

    /// Whether the packet that this ICMP error quotes asks for source routing (RFC 791 section 3.1).
    pub fn quoted_source_route(&self) -> bool {
        let Some(place) = self.quote().filter(|place| !place.ipv6) else { return false };
        let options = &self.bytes[place.ip_at + ipv4::HEADER..place.transport_at];
        matches!(layout::check_ipv4_options(options), Err(DropReason::SourceRoute))
    }

    /// The transport part of the packet that this ICMP error quotes, as far as the quote holds it, eight bytes at
    /// least. `None` where [`Packet::quoted`] is.
    pub fn quoted_transport(&self) -> Option<&[u8]> {
        let place = self.quote()?;
        self.bytes.get(place.transport_at..place.end)
    }

    /// In an ICMP error, replaces the quoted packet's source, mending the inner IP checksum, the inner transport
    /// checksum where the quote holds it, and the ICMP checksum. Changes nothing where [`Packet::quoted`] is `None`.
    pub fn rewrite_quoted_source(&mut self, endpoint: SocketAddr) {
        self.rewrite_quoted(Side::Source, endpoint);
    }

    /// In an ICMP error, replaces the quoted packet's destination. As [`Packet::rewrite_quoted_source`].
    pub fn rewrite_quoted_destination(&mut self, endpoint: SocketAddr) {
        self.rewrite_quoted(Side::Destination, endpoint);
    }

    fn rewrite_quoted(&mut self, side: Side, endpoint: SocketAddr) {
        let Some(place) = self.quote() else { return };
        let change = match endpoint {
            SocketAddr::V4(new) if !place.ipv6 => edit(&mut self.bytes, place, side, new.ip().octets(), new.port()),
            SocketAddr::V6(new) if place.ipv6 => edit(&mut self.bytes, place, side, new.ip().octets(), new.port()),
            _ => return,
        };
        mend(&mut self.bytes, usize::from(self.layout.ip().payload_at) + icmp::CHECKSUM, change);
    }

    fn quoted_endpoint(&self, place: Place, side: Side) -> SocketAddr {
        let address = |in_ipv4: usize, in_ipv6: usize| -> IpAddr {
            match place.ipv6 {
                true => Ipv6Addr::from(array::<16>(&self.bytes, place.ip_at + in_ipv6)).into(),
                false => Ipv4Addr::from(array::<4>(&self.bytes, place.ip_at + in_ipv4)).into(),
            }
        };
        let (address, port_at) = match side {
            Side::Source => (address(ipv4::SOURCE, ipv6::SOURCE), ports::SOURCE),
            Side::Destination => (address(ipv4::DESTINATION, ipv6::DESTINATION), ports::DESTINATION),
        };
        let port_at = if matches!(place.kind, Kind::Echo | Kind::Query) { icmp::IDENTIFIER } else { port_at };
        SocketAddr::new(address, be16(&self.bytes, place.transport_at + port_at))
    }

    /// Where the quoted packet can be read and edited, if it shows a session.
    fn quote(&self) -> Option<Place> {
        if self.layout.kind() != Kind::IcmpError {
            return None;
        }
        let ip_at = usize::from(self.layout.ip().payload_at) + icmp::HEADER;
        let quote = &self.bytes[ip_at..];
        let quote = &quote[..self.original_datagram_length().unwrap_or(quote.len()).min(quote.len())];
        let (ip, end) = if self.is_ipv6() { quoted_ipv6(quote)? } else { quoted_ipv4(quote)? };
        let transport = &quote[usize::from(ip.payload_at).min(end)..end];
        let kind = quoted_kind(&ip, transport)?;
        let transport_at = ip_at + usize::from(ip.payload_at);
        let end = if kind == Kind::Tcp { end_of_segment(transport) } else { transport.len() };
        Some(Place { ip_at, transport_at, end: transport_at + end, ipv6: ip.ipv6, kind })
    }

    /// The length attribute of an RFC 4884 message, in bytes; `None` where the quote fills the message.
    fn original_datagram_length(&self) -> Option<usize> {
        let message = self.ip_payload();
        let length = match (self.is_ipv6(), message[icmp::KIND]) {
            (false, 3 | 11 | 12) => usize::from(message[5]) * 4,
            (true, 1 | 3) => usize::from(message[4]) * 8,
            _ => 0,
        };
        (length != 0).then_some(length)
    }
}

/// A quoted IPv4 header, and where the quoted packet ends, be it by its own length or by the quote's.
fn quoted_ipv4(quote: &[u8]) -> Option<(Ip, usize)> {
    if quote.first()? >> 4 != 4 {
        return None;
    }
    let fixed = quote.get(..ipv4::HEADER)?;
    let (length, total) = (usize::from(fixed[0] & 0x0F) * 4, usize::from(be16(fixed, ipv4::TOTAL_LENGTH)));
    if length < ipv4::HEADER || length > total.min(quote.len()) {
        return None;
    }
    Some((Ip::of_ipv4(quote), total.min(quote.len())))
}

/// As [`quoted_ipv4`].
fn quoted_ipv6(quote: &[u8]) -> Option<(Ip, usize)> {
    if quote.len() < ipv6::HEADER || quote[0] >> 4 != 6 {
        return None;
    }
    let total = ipv6::HEADER + usize::from(be16(quote, ipv6::PAYLOAD_LENGTH));
    let end = total.min(quote.len());
    Some((layout::walk_ipv6(&quote[..end]).ok()?, end))
}

/// Where a quoted TCP segment ends: before what stands in place of a data offset, if that is none but padding.
fn end_of_segment(segment: &[u8]) -> usize {
    const LEAST_DATA_OFFSET: u8 = 5;
    match segment.get(tcp::DATA_OFFSET) {
        Some(offset) if offset >> 4 < LEAST_DATA_OFFSET => tcp::DATA_OFFSET,
        _ => segment.len(),
    }
}

/// The kind of a session's packet of which at least as much is there as RFC 792 asks for.
fn quoted_kind(ip: &Ip, transport: &[u8]) -> Option<Kind> {
    const LEAST_BYTES: usize = 8;
    if ip.later || transport.len() < LEAST_BYTES {
        return None;
    }
    let kind = match (ip.protocol, ip.ipv6) {
        (number::UDP, _) => Kind::Udp,
        (number::TCP, _) => Kind::Tcp,
        (number::ICMP, false) | (number::ICMPV6, true) => layout::icmp_kind(ip.ipv6, transport[icmp::KIND]),
        _ => return None,
    };
    kind.protocol().is_some().then_some(kind)
}
