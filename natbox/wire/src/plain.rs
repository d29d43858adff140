//! The commonest packet: a whole UDP datagram in IPv4 without options. Its fields lie at fixed places, so that it is
//! read and edited without asking where.
//!
//! Says and does nothing that [`Packet::transport`] and [`Packet::rewrite_ipv4`] do not say and do.

use std::net::Ipv4Addr;

use crate::checksum::Change;
use crate::field::{array, be16, ipv4, ports, put16, udp};
use crate::layout::Layout;
use crate::{Packet, Side};

/// IPv4 and UDP header.
const HEADERS: usize = ipv4::HEADER + udp::HEADER;

/// The endpoints of a plain UDP datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainUdp {
    /// The source address.
    pub source: Ipv4Addr,
    /// The source port.
    pub source_port: u16,
    /// The destination address.
    pub destination: Ipv4Addr,
    /// The destination port.
    pub destination_port: u16,
}

impl Packet {
    /// The endpoints of a whole UDP datagram in IPv4 without options; `None` for other packets.
    #[inline(always)]
    pub fn plain_udp(&self) -> Option<PlainUdp> {
        let headers = self.plain_headers()?;
        Some(PlainUdp {
            source: array::<4>(headers, ipv4::SOURCE).into(),
            source_port: be16(headers, ipv4::HEADER + ports::SOURCE),
            destination: array::<4>(headers, ipv4::DESTINATION).into(),
            destination_port: be16(headers, ipv4::HEADER + ports::DESTINATION),
        })
    }

    #[inline(always)]
    fn plain_headers(&self) -> Option<&[u8; HEADERS]> {
        if self.layout.is_plain_udp() { self.bytes.first_chunk() } else { None }
    }

    /// Replaces an endpoint of a plain UDP datagram, mending both checksums; other packets stay as they are.
    #[inline(always)]
    pub fn rewrite_plain_udp(&mut self, side: Side, address: Ipv4Addr, port: u16) {
        if !self.layout.is_plain_udp() {
            return;
        }
        let Some(headers) = self.bytes.first_chunk_mut::<HEADERS>() else { return };
        let (address_at, port_at) = match side {
            Side::Source => (ipv4::SOURCE, ipv4::HEADER + ports::SOURCE),
            Side::Destination => (ipv4::DESTINATION, ipv4::HEADER + ports::DESTINATION),
        };
        let mut change = Change::default();
        change.write(headers, address_at, address.octets());
        let checksum = change.apply(be16(headers, ipv4::CHECKSUM));
        put16(headers, ipv4::CHECKSUM, checksum);
        change.write(headers, port_at, port.to_be_bytes());
        let old = be16(headers, ipv4::HEADER + udp::CHECKSUM);
        // A checksum of 0 means that there is none; a computed 0 is written 0xFFFF (RFC 768).
        let new = match change.apply(old) {
            _ if old == 0 => 0,
            0 => 0xFFFF,
            new => new,
        };
        put16(headers, ipv4::HEADER + udp::CHECKSUM, new);
    }
}

impl Layout {
    /// Whether this is IPv4 without options, not a fragment, with a UDP header in it.
    #[inline(always)]
    pub(crate) fn is_plain_udp(self) -> bool {
        self.is_ipv4_with(crate::layout::Kind::Udp, ipv4::HEADER as u16)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Transport;

    proptest! {
        #[test]
        fn a_plain_datagram_is_read_and_edited_as_any_other(
            source: [u8; 4], from: u16, to: u16, payload in prop::collection::vec(any::<u8>(), 0..40), checked: bool,
            address: [u8; 4], port: u16, at_source: bool,
        ) {
            let ends = [[10, source[1], source[2], source[3]], [192, 0, 2, 1]].map(std::net::IpAddr::from);
            let [from_end, to_end] = [(ends[0], from).into(), (ends[1], to).into()];
            let packet = crate::build::udp(from_end, to_end, crate::build::IpFields::default(), &payload);
            let mut packet = packet.expect("a datagram");
            if !checked {
                put16(&mut packet.bytes, ipv4::HEADER + udp::CHECKSUM, 0);
            }
            let plain = packet.plain_udp().expect("it is plain");
            prop_assert_eq!(packet.ipv4_addresses(), Some((plain.source, plain.destination)));
            let ports = Transport::Udp { source: plain.source_port, destination: plain.destination_port };
            prop_assert_eq!(packet.transport(), ports);
            let side = if at_source { Side::Source } else { Side::Destination };
            let mut other = packet.clone();
            other.rewrite_ipv4(side, address.into(), port);
            packet.rewrite_plain_udp(side, address.into(), port);
            prop_assert_eq!(&packet, &other);
            prop_assert!(packet.transport_checksum_ok());
        }
    }

    #[test]
    fn nothing_else_is_plain() {
        let [v4, v4_to] = ["10.0.0.1:1", "192.0.2.1:2"].map(|end| end.parse().expect("an endpoint"));
        let [v6, v6_to] = ["[fd00::1]:1", "[2001:db8::1]:2"].map(|end| end.parse().expect("an endpoint"));
        let fields = crate::build::IpFields::default();
        let large = crate::build::udp(v4, v4_to, fields, &[0; 3000]).expect("a datagram");
        let others = crate::build::fragments(large, 1500, 0).expect("it may be cut");
        let v6 = crate::build::udp(v6, v6_to, fields, b"").expect("a datagram");
        let gre =
            crate::build::ip([10, 0, 0, 1].into(), [192, 0, 2, 1].into(), 47, fields, &[0; 20]).expect("a packet");
        for packet in others.into_iter().chain([v6, gre]) {
            let mut edited = packet.clone();
            assert_eq!(edited.plain_udp(), None);
            edited.rewrite_plain_udp(Side::Source, [1, 2, 3, 4].into(), 5);
            assert_eq!(edited, packet);
        }
    }
}
