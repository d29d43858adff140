//! Datagrams of one flow that follow each other, gathered in one packet: what [`Packet::into_wire`] takes apart.
//!
//! A kernel that is handed one packet that stands for many does most of its work once (what network cards call UDP GRO).
//! Only datagrams whose checksum is still to be computed are gathered: what a sender has computed goes on as it is.

use std::num::NonZeroU16;

use crate::checksum;
use crate::field::{be16, ipv4, ipv6, put16, udp};
use crate::layout::Kind;
use crate::{Offload, Packet};

/// A gathered packet stands for no more than so many.
const MOST: usize = 64;
/// Largest gathered packet: what the length field of IPv4 counts.
const LARGEST_BYTES: usize = 65_535;

impl Packet {
    /// The same packet, in memory that was another's.
    #[must_use]
    pub fn copy_in(&self, mut memory: Vec<u8>) -> Packet {
        memory.clear();
        memory.extend_from_slice(&self.bytes);
        Packet { bytes: memory, layout: self.layout, offload: self.offload }
    }

    /// Whether this may be the first of datagrams that are gathered: whole, without options or extension headers, not
    /// empty, its checksum not computed yet, and not gathered already.
    pub fn may_gather(&self) -> bool {
        let plain = if self.is_ipv6() { ipv6::HEADER } else { ipv4::HEADER };
        self.layout.kind() == Kind::Udp
            && !self.layout.ip().fragment
            && usize::from(self.layout.ip().payload_at) == plain
            && self.bytes.len() > plain + udp::HEADER
            && self.offload == (Offload { segment_bytes: None, partial_checksum: true })
    }

    /// Appends the datagram that follows this one, if it differs in nothing but payload (of the same length; the last
    /// one's may be shorter), checksum and identification. The identifications of IPv4 packets that may not be fragmented mean
    /// nothing (RFC 6864); others must count on. The checksum field is not written:
    /// [`Packet::restate_partial_checksum`]. False if the two do not belong together; then nothing has happened.
    pub fn gather(&mut self, next: &Packet) -> bool {
        let header = usize::from(self.layout.ip().payload_at) + udp::HEADER;
        let gathered = self.bytes.len() - header;
        let segment = self.offload.segment_bytes.map_or(gathered, |segment| usize::from(segment.get()));
        let added = next.bytes.len().saturating_sub(header);
        let fits = gathered.is_multiple_of(segment.max(1))
            && (1..=segment).contains(&added)
            && gathered / segment < MOST
            && self.bytes.len() + added <= LARGEST_BYTES;
        let begun = self.may_gather() || self.offload.segment_bytes.is_some();
        if !fits || !begun || !next.may_gather() || !self.is_alike(next, gathered / segment) {
            return false;
        }
        self.bytes.extend_from_slice(&next.bytes[header..]);
        self.offload.segment_bytes = NonZeroU16::new(segment as u16);
        let length = self.bytes.len();
        match self.is_ipv6() {
            true => put16(&mut self.bytes, ipv6::PAYLOAD_LENGTH, (length - ipv6::HEADER) as u16),
            false => {
                put16(&mut self.bytes, ipv4::TOTAL_LENGTH, length as u16);
                put16(&mut self.bytes, ipv4::CHECKSUM, 0);
                let sum = checksum::checksum(&self.bytes[..ipv4::HEADER]);
                put16(&mut self.bytes, ipv4::CHECKSUM, sum);
            }
        }
        put16(&mut self.bytes, header - udp::HEADER + udp::LENGTH, (length + udp::HEADER - header) as u16);
        true
    }

    /// Whether the headers are those of one flow, `next` being so many packets later. Both are plain.
    fn is_alike(&self, next: &Packet, later: usize) -> bool {
        let same = |from: usize, to: usize| self.bytes[from..to] == next.bytes[from..to];
        if self.is_ipv6() != next.is_ipv6() {
            return false;
        }
        if self.is_ipv6() {
            return same(0, ipv6::PAYLOAD_LENGTH) && same(ipv6::NEXT_HEADER, ipv6::HEADER + udp::LENGTH);
        }
        let identification = |packet: &Packet| be16(&packet.bytes, ipv4::IDENTIFICATION);
        let counts_on = identification(self).wrapping_add(later as u16) == identification(next);
        same(0, ipv4::TOTAL_LENGTH)
            && same(ipv4::FRAGMENT, ipv4::CHECKSUM)
            && same(ipv4::SOURCE, ipv4::HEADER + udp::LENGTH)
            && (counts_on || self.dont_fragment())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::{self, IpFields};
    use proptest::prelude::*;
    use std::net::SocketAddr;

    const PAIRS: [(&str, &str); 2] =
        [("192.168.1.2:4000", "203.0.113.5:80"), ("[2001:db8:1::2]:4000", "[2001:db8:2::5]:80")];

    fn datagram(ipv6: bool, identification: u16, data: &[u8]) -> Packet {
        let (from, to) = PAIRS[usize::from(ipv6)];
        let (from, to): (SocketAddr, SocketAddr) =
            (from.parse().expect("an endpoint"), to.parse().expect("an endpoint"));
        let fields = IpFields { identification, ..IpFields::default() };
        let packet = build::udp(from, to, fields, data).expect("a datagram");
        let mut packet = packet.with_offload(Offload { segment_bytes: None, partial_checksum: true });
        packet.restate_partial_checksum();
        packet
    }

    proptest! {
        #[test]
        fn what_is_gathered_becomes_the_same_datagrams_again(
            ipv6: bool, bytes in 1_usize..1400, last in 1_usize..1400, count in 1_usize..60, first: u16,
        ) {
            let lengths = (0..count).map(|_| bytes).chain(std::iter::once(last.min(bytes)));
            let datagrams: Vec<Packet> = lengths.enumerate()
                .map(|(number, length)| datagram(ipv6, first.wrapping_add(number as u16), &vec![number as u8; length]))
                .collect();
            let mut gathered = datagrams[0].copy_in(vec![1; 9]);
            let taken = datagrams[1..].iter().take_while(|next| gathered.gather(next)).count();
            prop_assert!(taken == count || 28 + (taken + 2) * bytes > LARGEST_BYTES - 20, "{taken} of {count}");
            gathered.restate_partial_checksum();
            let alone = Packet::parse(gathered.bytes().to_vec()).map(|packet| packet.with_offload(gathered.offload()));
            prop_assert_eq!(alone.as_ref(), Ok(&gathered));
            let expected: Vec<Packet> = datagrams[..=taken].iter().flat_map(|one| one.clone().into_wire()).collect();
            prop_assert_eq!(gathered.into_wire(), expected);
        }
    }

    #[test]
    fn a_shorter_datagram_is_the_last_and_a_longer_one_is_not_taken() {
        let mut gathered = datagram(false, 0, &[1; 100]);
        assert!(!gathered.gather(&datagram(false, 1, &[1; 101])));
        assert!(gathered.gather(&datagram(false, 1, &[1; 100])));
        assert!(gathered.gather(&datagram(false, 2, &[1; 50])));
        assert!(!gathered.gather(&datagram(false, 3, &[1; 50])));
        assert!(!gathered.gather(&datagram(false, 3, &[1; 100])));
        assert_eq!(gathered.payload().len(), 250);
    }

    #[test]
    fn what_differs_in_its_headers_is_not_taken() {
        let alike = |change: &dyn Fn(&mut Packet)| {
            let (mut first, mut next) = (datagram(false, 7, b"data"), datagram(false, 8, b"data"));
            change(&mut next);
            next.restate_partial_checksum();
            let before = first.clone();
            let taken = first.gather(&next);
            assert!(taken || first == before);
            taken
        };
        assert!(alike(&|_| {}));
        assert!(!alike(&|next| next.set_ttl(9)));
        assert!(!alike(&|next| next.rewrite_source("192.168.1.2:4001".parse().expect("an endpoint"))));
        assert!(!alike(&|next| next.rewrite_source("192.168.1.3:4000".parse().expect("an endpoint"))));
        assert!(!alike(&|next| *next = datagram(false, 9, b"data")));
        assert!(!alike(&|next| *next = datagram(true, 8, b"data")));
        assert!(!alike(&|next| *next = datagram(false, 8, b"")));
        assert!(!alike(&|next| *next = next.clone().with_offload(Offload::NONE)));
    }

    #[test]
    fn a_computed_checksum_stays_as_it_is() {
        let computed = datagram(false, 0, b"data").with_offload(Offload::NONE);
        assert!(!computed.may_gather());
        assert!(!computed.clone().gather(&computed));
    }

    #[test]
    fn no_more_are_gathered_than_a_kernel_takes_apart() {
        let mut gathered = datagram(true, 0, b"1");
        assert_eq!((0..200).take_while(|_| gathered.gather(&datagram(true, 0, b"1"))).count(), MOST - 1);
    }
}
