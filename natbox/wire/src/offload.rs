//! Packets that a kernel left unfinished for the next card to finish: one segment that stands for many, and a checksum
//! that covers the pseudo-header alone (TSO, USO and checksum offload, as Linux hands them out at a TUN device).
//!
//! Such a packet goes through rewriting like any other: what rewriting does to its checksum field does not matter, because
//! it is written anew from the headers before the packet is handed on ([`Packet::restate_partial_checksum`]), or
//! computed when it is cut into what a wire carries ([`Packet::into_wire`]). Knows no device and no header of one.

use std::num::NonZeroU16;

use crate::checksum::{pseudo_header_sum, transport_checksum};
use crate::field::{be16, be32, ipv4, ipv6, put16, tcp, udp};
use crate::layout::Kind;
use crate::{Packet, checksum};

/// What a packet's sender has left to others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// How many bytes of payload each packet on the wire carries, the last one maybe fewer; `None` if this is one packet.
    pub segment_bytes: Option<NonZeroU16>,
    /// Whether the transport checksum field holds no checksum yet.
    pub partial_checksum: bool,
}

impl Offload {
    /// A finished packet.
    pub const NONE: Offload = Offload { segment_bytes: None, partial_checksum: false };
}

impl Packet {
    /// The same bytes, with what their sender left to be done. Only whole UDP datagrams and TCP segments can be unfinished:
    /// of others, this is as if nothing had been said.
    #[must_use]
    pub fn with_offload(mut self, offload: Offload) -> Packet {
        let may = matches!(self.layout.kind(), Kind::Udp | Kind::Tcp) && !self.layout.ip().fragment;
        self.offload = if may { offload } else { Offload::NONE };
        self
    }

    /// What is left to be done before this packet can go over a wire.
    #[inline]
    pub fn offload(&self) -> Offload {
        self.offload
    }

    /// Length of the IP and transport headers, in bytes.
    pub fn header_bytes(&self) -> usize {
        self.bytes.len() - self.ip_payload().len()
            + match self.layout.kind() {
                Kind::Udp => udp::HEADER,
                Kind::Tcp => usize::from(self.ip_payload()[tcp::DATA_OFFSET] >> 4) * 4,
                _ => 0,
            }
    }

    /// Length of the largest packet that this one becomes on a wire, in bytes: what an MTU is about.
    #[inline]
    pub fn largest_bytes(&self) -> usize {
        match self.offload.segment_bytes {
            None => self.bytes.len(),
            Some(segment) => self.bytes.len().min(self.header_bytes() + usize::from(segment.get())),
        }
    }

    /// Where the transport part begins, and where in it its checksum stands, in bytes; for UDP and TCP.
    pub fn checksum_place(&self) -> Option<(u16, u16)> {
        let at = match self.layout.kind() {
            Kind::Udp => udp::CHECKSUM,
            Kind::Tcp => tcp::CHECKSUM,
            _ => return None,
        };
        Some((self.layout.ip().payload_at, at as u16))
    }

    /// Writes what belongs into the checksum field of a packet whose checksum is still to be computed: the sum of its
    /// pseudo-header, not complemented. Nothing happens to other packets.
    pub fn restate_partial_checksum(&mut self) {
        let Some((start, at)) = self.checksum_place().filter(|_| self.offload.partial_checksum) else { return };
        let part = self.bytes.len() - usize::from(start);
        let sum = pseudo_header_sum(self.source(), self.destination(), self.protocol_number(), part);
        put16(&mut self.bytes, usize::from(start + at), sum);
    }

    /// The finished packets that this one stands for, in order: itself, if nothing was left to be done.
    pub fn into_wire(mut self) -> Vec<Packet> {
        let offload = std::mem::take(&mut self.offload);
        if let Some(segment) = offload.segment_bytes {
            let segment = usize::from(segment.get());
            if self.bytes.len() > self.header_bytes() + segment {
                return self.cut(segment);
            }
        }
        if offload.partial_checksum {
            self.compute_checksum();
        }
        vec![self]
    }

    /// Segments of so many bytes of payload, finished (RFC 9293; for UDP, datagrams).
    fn cut(&self, segment: usize) -> Vec<Packet> {
        let (header, payload) = self.bytes.split_at(self.header_bytes());
        let last = payload.len().div_ceil(segment) - 1;
        let pieces = payload.chunks(segment).enumerate().map(|(number, data)| {
            let mut bytes = Vec::with_capacity(header.len() + data.len());
            bytes.extend_from_slice(header);
            bytes.extend_from_slice(data);
            let mut piece = Packet { bytes, layout: self.layout, offload: Offload::NONE };
            piece.restate_lengths(number);
            piece.restate_place(number * segment, number == 0, number == last);
            piece.compute_checksum();
            piece
        });
        pieces.collect()
    }

    /// Lengths in the IP and UDP headers, and the identification of the `number`th piece, which counts on as Linux has it.
    fn restate_lengths(&mut self, number: usize) {
        let length = self.bytes.len();
        match self.is_ipv6() {
            true => put16(&mut self.bytes, ipv6::PAYLOAD_LENGTH, (length - ipv6::HEADER) as u16),
            false => {
                let identification = be16(&self.bytes, ipv4::IDENTIFICATION).wrapping_add(number as u16);
                put16(&mut self.bytes, ipv4::TOTAL_LENGTH, length as u16);
                put16(&mut self.bytes, ipv4::IDENTIFICATION, identification);
                put16(&mut self.bytes, ipv4::CHECKSUM, 0);
                let header = usize::from(self.bytes[0] & 0xF) * 4;
                let sum = checksum::checksum(&self.bytes[..header]);
                put16(&mut self.bytes, ipv4::CHECKSUM, sum);
            }
        }
        let start = usize::from(self.layout.ip().payload_at);
        if self.layout.kind() == Kind::Udp {
            put16(&mut self.bytes, start + udp::LENGTH, (length - start) as u16);
        }
    }

    /// A TCP segment's place in the stream, and the flags that only the first or the last of many may have.
    fn restate_place(&mut self, offset_bytes: usize, first: bool, last: bool) {
        const FIN_AND_PSH: u8 = 0x09;
        const CWR: u8 = 0x80;
        if self.layout.kind() != Kind::Tcp {
            return;
        }
        let start = usize::from(self.layout.ip().payload_at);
        let sequence = be32(&self.bytes, start + tcp::SEQUENCE).wrapping_add(offset_bytes as u32);
        self.bytes[start + tcp::SEQUENCE..start + tcp::SEQUENCE + 4].copy_from_slice(&sequence.to_be_bytes());
        let flags = &mut self.bytes[start + tcp::FLAGS];
        *flags &= if last { 0xFF } else { !FIN_AND_PSH };
        *flags &= if first { 0xFF } else { !CWR };
    }

    /// Computes the transport checksum of a whole UDP datagram or TCP segment.
    fn compute_checksum(&mut self) {
        let Some((start, at)) = self.checksum_place() else { return };
        let (start, at) = (usize::from(start), usize::from(start + at));
        put16(&mut self.bytes, at, 0);
        let (source, destination) = (self.source(), self.destination());
        let sum = transport_checksum(source, destination, self.protocol_number(), &self.bytes[start..]);
        // RFC 768: a computed checksum of 0 is sent as all ones.
        let sum = if sum == 0 && self.layout.kind() == Kind::Udp { 0xFFFF } else { sum };
        put16(&mut self.bytes, at, sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TcpFlags;
    use crate::build::{self, IpFields, Segment};
    use proptest::prelude::*;
    use std::net::SocketAddr;

    const PAIRS: [(&str, &str); 2] =
        [("192.168.1.2:4000", "203.0.113.5:80"), ("[2001:db8:1::2]:4000", "[2001:db8:2::5]:80")];

    fn endpoints(ipv6: bool) -> (SocketAddr, SocketAddr) {
        let (from, to) = PAIRS[usize::from(ipv6)];
        (from.parse().expect("an endpoint"), to.parse().expect("an endpoint"))
    }

    fn left(segment: u16) -> Offload {
        Offload { segment_bytes: NonZeroU16::new(segment), partial_checksum: true }
    }

    /// As a kernel hands it out: the checksum field holds the pseudo-header's sum.
    fn handed_out(packet: Packet, segment: u16) -> Packet {
        let mut packet = packet.with_offload(left(segment));
        packet.restate_partial_checksum();
        packet
    }

    fn stream(ipv6: bool, data: &[u8]) -> Packet {
        let (from, to) = endpoints(ipv6);
        let flags = TcpFlags { ack: true, psh: true, fin: true, ..TcpFlags::default() };
        let options = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
        let segment = Segment { flags, sequence: u32::MAX - 9, acknowledgement: 5, window: 500, options: &options };
        let fields = IpFields { dont_fragment: true, identification: 0xFFFF, ttl: 61 };
        build::segment(from, to, fields, segment, data).expect("a segment")
    }

    proptest! {
        #[test]
        fn the_segments_of_a_large_one_are_what_its_sender_would_have_sent(
            ipv6: bool, data in proptest::collection::vec(any::<u8>(), 1..5000), segment in 1_u16..3000,
        ) {
            let pieces = handed_out(stream(ipv6, &data), segment).into_wire();
            let mut sequence = u32::MAX - 9;
            for (number, piece) in pieces.iter().enumerate() {
                let last = number + 1 == pieces.len();
                prop_assert_eq!(Packet::parse(piece.bytes().to_vec()), Ok(piece.clone()));
                prop_assert!(piece.transport_checksum_ok());
                prop_assert_eq!(piece.tcp_sequence(), Some(sequence));
                prop_assert!(piece.payload().len() <= usize::from(segment));
                let crate::Transport::Tcp { flags, .. } = piece.transport() else { panic!("TCP") };
                prop_assert_eq!((flags.fin, flags.psh, flags.ack), (last, last, true));
                prop_assert_eq!(piece.identification(), (!ipv6).then_some(0xFFFF_u16.wrapping_add(number as u16)));
                sequence = sequence.wrapping_add(piece.payload().len() as u32);
            }
            prop_assert_eq!(pieces.iter().flat_map(|piece| piece.payload().to_vec()).collect::<Vec<u8>>(), data);
        }

        #[test]
        fn datagrams_in_one_become_as_many_with_checksums_of_their_own(
            ipv6: bool, data in proptest::collection::vec(any::<u8>(), 1..5000), segment in 1_u16..3000,
        ) {
            let (from, to) = endpoints(ipv6);
            let whole = build::udp(from, to, IpFields::default(), &data).expect("a datagram");
            let pieces = handed_out(whole, segment).into_wire();
            for piece in &pieces {
                prop_assert_eq!(Packet::parse(piece.bytes().to_vec()), Ok(piece.clone()));
                prop_assert!(piece.transport_checksum_ok());
            }
            prop_assert_eq!(pieces.iter().flat_map(|piece| piece.payload().to_vec()).collect::<Vec<u8>>(), data);
        }

        #[test]
        fn rewriting_an_unfinished_packet_and_finishing_it_is_finishing_and_rewriting_it(
            ipv6: bool, data in proptest::collection::vec(any::<u8>(), 0..3000), address: u8, port: u16, ttl in 2_u8..,
        ) {
            let to = |mut packet: Packet| {
                let (from, _) = endpoints(ipv6);
                let mut from = from;
                from.set_port(port);
                if let SocketAddr::V4(v4) = &mut from { v4.set_ip([203, 0, 113, address].into()) }
                packet.rewrite_source(from);
                packet.set_ttl(ttl);
                packet
            };
            let before = to(stream(ipv6, &data));
            let mut after = to(handed_out(stream(ipv6, &data), 6000));
            after.restate_partial_checksum();
            let sum = pseudo_header_sum(after.source(), after.destination(), 6, after.ip_payload().len());
            prop_assert_eq!(be16(after.ip_payload(), tcp::CHECKSUM), sum);
            prop_assert_eq!(after.into_wire(), vec![before]);
        }
    }

    #[test]
    fn a_large_one_is_as_large_as_its_segments_where_an_mtu_is_concerned() {
        let large = handed_out(stream(false, &[7; 4000]), 1448);
        assert_eq!((large.bytes().len(), large.largest_bytes()), (4052, 1500));
        assert_eq!(handed_out(stream(false, &[7; 100]), 1448).largest_bytes(), 152);
    }

    #[test]
    fn only_udp_and_tcp_in_one_piece_can_be_unfinished() {
        let (from, to) = endpoints(false);
        let ping = build::echo(true, from.ip(), to.ip(), IpFields::default(), 1, 1, b"ping").expect("a ping");
        assert_eq!(ping.with_offload(left(1)).offload(), Offload::NONE);
    }
}
