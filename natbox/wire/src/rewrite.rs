//! Edits in place, every checksum mended incrementally (RFC 1624).
//!
//! Checksums that were wrong stay wrong, so that a receiver still notices; no length ever changes. UDP-Lite and
//! DCCP, whose checksums cover the addresses too, are opaque here.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::Packet;
use crate::checksum::{Change, sum};
use crate::field::{array, be16, icmp, ipv4, ipv6, ports, put16, tcp, udp};
use crate::layout::Kind;

/// Which endpoint of a packet to replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that it comes from.
    Source,
    /// The one that it goes to.
    Destination,
}

/// Where in some bytes a packet, or the beginning of a quoted one, can be edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Where the IP header begins.
    pub(crate) ip_at: usize,
    /// Where the transport header begins.
    pub(crate) transport_at: usize,
    /// Where the packet, or its quote, ends.
    pub(crate) end: usize,
    pub(crate) ipv6: bool,
    pub(crate) kind: Kind,
}

impl Packet {
    /// Takes one from the TTL, mending the IPv4 header checksum. At 0 it stays 0.
    pub fn decrement_ttl(&mut self) {
        self.set_ttl(self.ttl().saturating_sub(1));
    }

    /// Replaces time to live, or hop limit.
    pub fn set_ttl(&mut self, ttl: u8) {
        if self.is_ipv6() {
            self.bytes[ipv6::HOP_LIMIT] = ttl;
        } else {
            let protocol = self.bytes[ipv4::PROTOCOL];
            self.edit_ipv4_header(ipv4::TTL, [ttl, protocol]);
        }
    }

    /// Replaces the IPv4 identification (RFC 6864 section 5.3.1). IPv6 packets have none and stay as they are.
    pub fn rewrite_identification(&mut self, identification: u16) {
        if !self.is_ipv6() {
            self.edit_ipv4_header(ipv4::IDENTIFICATION, identification.to_be_bytes());
        }
    }

    /// Clears the IPv4 don't-fragment flag, as NATs do that break path MTU discovery. IPv6 packets have none and
    /// stay as they are.
    pub fn clear_dont_fragment(&mut self) {
        if !self.is_ipv6() {
            let field = be16(&self.bytes, ipv4::FRAGMENT) & !ipv4::DONT_FRAGMENT;
            self.edit_ipv4_header(ipv4::FRAGMENT, field.to_be_bytes());
        }
    }

    /// Replaces source address and source port or identifier (ignored where there is none). The address must be
    /// of the packet's version; an endpoint of the other version changes nothing.
    pub fn rewrite_source(&mut self, endpoint: SocketAddr) {
        self.rewrite(Side::Source, endpoint);
    }

    /// Replaces destination address and destination port or identifier. As [`Packet::rewrite_source`].
    pub fn rewrite_destination(&mut self, endpoint: SocketAddr) {
        self.rewrite(Side::Destination, endpoint);
    }

    fn rewrite(&mut self, side: Side, endpoint: SocketAddr) {
        match endpoint {
            SocketAddr::V4(endpoint) => self.rewrite_ipv4(side, *endpoint.ip(), endpoint.port()),
            SocketAddr::V6(endpoint) => self.rewrite_ipv6(side, *endpoint.ip(), endpoint.port()),
        }
    }

    /// Replaces an endpoint of an IPv4 packet; other packets stay as they are. As [`Packet::rewrite_source`], for who
    /// knows the version.
    #[inline(always)]
    pub fn rewrite_ipv4(&mut self, side: Side, address: Ipv4Addr, port: u16) {
        if !self.is_ipv6() {
            let place = self.place();
            edit(&mut self.bytes, Place { ipv6: false, ..place }, side, address.octets(), port);
        }
    }

    /// Replaces an endpoint of an IPv6 packet; other packets stay as they are. As [`Packet::rewrite_source`], for who
    /// knows the version.
    #[inline]
    pub fn rewrite_ipv6(&mut self, side: Side, address: Ipv6Addr, port: u16) {
        if self.is_ipv6() {
            let place = self.place();
            edit(&mut self.bytes, Place { ipv6: true, ..place }, side, address.octets(), port);
        }
    }

    #[inline(always)]
    fn place(&self) -> Place {
        let (ip, kind) = (self.layout.ip(), self.layout.kind());
        Place { ip_at: 0, transport_at: usize::from(ip.payload_at), end: self.bytes.len(), ipv6: ip.ipv6, kind }
    }

    fn edit_ipv4_header(&mut self, at: usize, new: [u8; 2]) {
        let mut change = Change::default();
        change.write(&mut self.bytes, at, new);
        mend(&mut self.bytes, ipv4::CHECKSUM, change);
    }
}

/// Replaces an endpoint, and tells what that and the mending did to a checksum that covers all of it. The address must
/// be of the place's version.
#[inline(always)]
pub(crate) fn edit<const N: usize>(bytes: &mut [u8], place: Place, side: Side, address: [u8; N], port: u16) -> Change {
    let mut total = Change::default();
    let mut new = Change::default();
    let at = match (place.ipv6, side) {
        (false, Side::Source) => ipv4::SOURCE,
        (false, Side::Destination) => ipv4::DESTINATION,
        (true, Side::Source) => ipv6::SOURCE,
        (true, Side::Destination) => ipv6::DESTINATION,
    };
    new.write(bytes, place.ip_at + at, address);
    if !place.ipv6 {
        total.add(mend(bytes, place.ip_at + ipv4::CHECKSUM, new));
    }
    let port = write_port(bytes, place, side, port);
    total.add(new);
    total.add(port);
    total.add(mend_transport(bytes, place, new, port));
    total
}

#[inline(always)]
fn write_port(bytes: &mut [u8], place: Place, side: Side, port: u16) -> Change {
    let at = match (place.kind, side) {
        (Kind::Udp | Kind::Tcp, Side::Source) => ports::SOURCE,
        (Kind::Udp | Kind::Tcp, Side::Destination) => ports::DESTINATION,
        (Kind::Echo | Kind::Query, _) => icmp::IDENTIFIER,
        _ => return Change::default(),
    };
    let mut change = Change::default();
    change.write(bytes, place.transport_at + at, port.to_be_bytes());
    change
}

/// Mends the transport checksum, if there is one and a quote was not cut before it.
#[inline(always)]
fn mend_transport(bytes: &mut [u8], place: Place, address: Change, port: Change) -> Change {
    let (at, pseudo_header) = match place.kind {
        Kind::Udp => (udp::CHECKSUM, true),
        Kind::Tcp => (tcp::CHECKSUM, true),
        Kind::Echo | Kind::Query | Kind::IcmpError | Kind::OtherIcmp => (icmp::CHECKSUM, place.ipv6),
        Kind::LaterFragment | Kind::Other => return Change::default(),
    };
    let at = place.transport_at + at;
    if at + 2 > place.end {
        return Change::default();
    }
    let mut change = port;
    if pseudo_header {
        change.add(address);
    }
    match place.kind {
        Kind::Udp => mend_udp(bytes, at, change),
        Kind::Echo if !pseudo_header => mend_echo(bytes, place, at, change),
        _ => mend(bytes, at, change),
    }
}

/// Applies edits to the checksum at `at`, and tells what that did to a checksum that covers this one.
#[inline(always)]
pub(crate) fn mend(bytes: &mut [u8], at: usize, change: Change) -> Change {
    let mended = change.apply(be16(bytes, at));
    let mut itself = Change::default();
    itself.write(bytes, at, mended.to_be_bytes());
    itself
}

/// A UDP checksum of 0 means that there is none, and stays; a computed 0 is written 0xFFFF (RFC 768).
#[inline(always)]
pub(crate) fn mend_udp(bytes: &mut [u8], at: usize, change: Change) -> Change {
    let old = array::<2>(bytes, at);
    if old == [0, 0] {
        return Change::default();
    }
    let mended = match change.apply(u16::from_be_bytes(old)) {
        0 => 0xFFFF,
        mended => mended,
    };
    put16(bytes, at, mended);
    let mut itself = Change::default();
    itself.replace(u16::from_be_bytes(old), mended);
    itself
}

/// An echo reply of nothing but zeros has the checksum 0xFFFF. Everywhere else the two zeros of one's complement are
/// alike; an update, which sees nothing but the edit, comes to 0.
#[inline(always)]
fn mend_echo(bytes: &mut [u8], place: Place, at: usize, change: Change) -> Change {
    let old = be16(bytes, at);
    let itself = mend(bytes, at, change);
    if be16(bytes, at) == 0 { settle_zero(bytes, place, at, old) } else { itself }
}

#[cold]
fn settle_zero(bytes: &mut [u8], place: Place, at: usize, old: u16) -> Change {
    let new = if sum(&bytes[place.transport_at..place.end]) == 0 { 0xFFFF } else { 0 };
    put16(bytes, at, new);
    let mut itself = Change::default();
    itself.replace(old, new);
    itself
}
