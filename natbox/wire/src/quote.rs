//! The packet that an ICMP error quotes (RFC 792, RFC 4443), and its translation (RFC 5508 sections 4 and 5).
//!
//! A quote may be cut anywhere behind the transport's first bytes, and RFC 4884 extensions may follow it: their
//! length field, padding and objects are never touched, nor taken for a part of the quoted packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::field::{array, be16, icmp, ipv4, ipv6, number, ports};
use crate::layout::{self, Ip, Kind};
use crate::rewrite::{Place, Side, edit, mend};
use crate::{Packet, Quoted};

impl Packet {
    /// The packet that this ICMP error quotes; `None` when this is no error or the quote shows no session
    /// (cut before the ports, a later fragment, an ICMP error, a bad inner IP checksum).
    pub fn quoted(&self) -> Option<Quoted> {
        let place = self.quote()?;
        Some(Quoted {
            protocol: place.kind.protocol()?,
            source: self.quoted_endpoint(place, Side::Source),
            destination: self.quoted_endpoint(place, Side::Destination),
        })
    }

    /// The transport part of the packet that this ICMP error quotes, as far as the quote holds it: ports at least, or
    /// an echo header as far as its identifier. `None` where [`Packet::quoted`] is.
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
        let port_at = if place.kind == Kind::Echo { icmp::IDENTIFIER } else { port_at };
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
        Some(Place { ip_at, transport_at, end: ip_at + end, ipv6: ip.ipv6, kind })
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
    layout::check_ipv4_header(quote).ok()?;
    let total = usize::from(be16(quote, ipv4::TOTAL_LENGTH));
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

/// The kind of a session's packet of which at least the ports or the identifier are there.
fn quoted_kind(ip: &Ip, transport: &[u8]) -> Option<Kind> {
    if ip.later {
        return None;
    }
    let (kind, needed) = match (ip.protocol, ip.ipv6) {
        (number::UDP, _) => (Kind::Udp, ports::DESTINATION + 2),
        (number::TCP, _) => (Kind::Tcp, ports::DESTINATION + 2),
        (number::ICMP, false) | (number::ICMPV6, true) => {
            (layout::icmp_kind(ip.ipv6, *transport.first()?), icmp::IDENTIFIER + 2)
        }
        _ => return None,
    };
    (kind.protocol().is_some() && transport.len() >= needed).then_some(kind)
}
