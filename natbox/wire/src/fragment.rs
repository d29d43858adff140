//! Datagrams in pieces (RFC 791 section 3.2, RFC 8200 section 4.5): cutting and joining.
//!
//! Remembers no fragments: collecting them is the business of whoever receives them.

use crate::Packet;
use crate::checksum::checksum;
use crate::field::{be16, ipv4, ipv6, number, put16};

/// Fragments but the last carry a multiple of this.
const UNIT_BYTES: usize = 8;

/// Cuts a packet into fragments that fit `mtu_bytes`; the packet itself if it fits. IPv6 packets get a fragment
/// header with `identification`; IPv4 packets keep their own identification. `None` if a fragment could not hold
/// eight bytes of payload or the first not the whole TCP header (RFC 1858), or if the packet must not be fragmented
/// (IPv4 don't-fragment, IPv6 fragments).
pub fn fragments(packet: Packet, mtu_bytes: usize, identification: u32) -> Option<Vec<Packet>> {
    if packet.bytes().len() <= mtu_bytes {
        return Some(vec![packet]);
    }
    let pieces = if packet.is_ipv6() {
        ipv6_fragments(&packet, mtu_bytes, identification)?
    } else {
        ipv4_fragments(&packet, mtu_bytes)?
    };
    // A packet without data that is larger than the MTU cannot be cut at all.
    let pieces: Option<Vec<Packet>> = pieces.into_iter().map(|bytes| Packet::parse(bytes).ok()).collect();
    pieces.filter(|pieces| !pieces.is_empty())
}

/// The whole packet, from its first fragment and the complete data of all fragments ([`Packet::fragment_data`], in
/// order). `None` if `first` is not a first fragment, or if the whole is too large or not well-formed.
pub fn join(first: &Packet, payload: &[u8]) -> Option<Packet> {
    let ip = first.layout.ip();
    if !ip.fragment || ip.later {
        return None;
    }
    let bytes = if ip.ipv6 { joined_ipv6(first, payload)? } else { joined_ipv4(first, payload)? };
    Packet::parse(bytes).ok()
}

fn ipv4_fragments(packet: &Packet, mtu_bytes: usize) -> Option<Vec<Vec<u8>>> {
    if packet.dont_fragment() {
        return None;
    }
    let first_header = &packet.bytes()[..usize::from(packet.layout.ip().payload_at)];
    let later_header = copied_options_only(first_header);
    let (begin, more_follow) = packet.fragment().map_or((0, false), |place| (place.offset_bytes.into(), place.more));
    let mut data = packet.ip_payload();
    let mut offset_bytes: usize = begin;
    let mut pieces = Vec::new();
    while !data.is_empty() {
        let header = if pieces.is_empty() { first_header } else { &later_header };
        let (piece, rest) = cut(data, mtu_bytes.checked_sub(header.len())?)?;
        let more = more_follow || !rest.is_empty();
        pieces.push(ipv4_packet(header, u16::try_from(offset_bytes).ok()?, more, piece)?);
        offset_bytes += piece.len();
        data = rest;
    }
    Some(pieces)
}

/// As much as fits: all of it, or a multiple of eight bytes, but not nothing.
fn cut(data: &[u8], room_bytes: usize) -> Option<(&[u8], &[u8])> {
    if data.len() <= room_bytes {
        return Some((data, &[]));
    }
    let length = room_bytes / UNIT_BYTES * UNIT_BYTES;
    (length > 0).then(|| data.split_at(length))
}

fn ipv4_packet(header: &[u8], offset_bytes: u16, more: bool, data: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(header.len() + data.len());
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(data);
    put16(&mut bytes, ipv4::TOTAL_LENGTH, u16::try_from(header.len() + data.len()).ok()?);
    let flags = be16(header, ipv4::FRAGMENT) & !(ipv4::MORE_FRAGMENTS | ipv4::OFFSET);
    let more = if more { ipv4::MORE_FRAGMENTS } else { 0 };
    put16(&mut bytes, ipv4::FRAGMENT, flags | more | (offset_bytes / UNIT_BYTES as u16));
    put16(&mut bytes, ipv4::CHECKSUM, 0);
    let sum = checksum(&bytes[..header.len()]);
    put16(&mut bytes, ipv4::CHECKSUM, sum);
    Some(bytes)
}

/// An IPv4 header with only the options that every fragment carries: those with the copied flag (RFC 791).
fn copied_options_only(header: &[u8]) -> Vec<u8> {
    const COPIED: u8 = 0x80;
    let mut kept = header[..ipv4::HEADER].to_vec();
    let mut options = &header[ipv4::HEADER..];
    while let [kind, rest @ ..] = options {
        // Parsing has checked the options: 0 ends them, 1 stands alone, the others' lengths are right.
        let length = match (kind, rest) {
            (0, _) => break,
            (1, _) => 1,
            (_, [length, ..]) => usize::from(*length).clamp(1, options.len()),
            (_, []) => break,
        };
        if kind & COPIED != 0 {
            kept.extend_from_slice(&options[..length]);
        }
        options = &options[length..];
    }
    kept.resize(kept.len().next_multiple_of(4), 0);
    kept[0] = 0x40 | (kept.len() / 4) as u8;
    kept
}

fn joined_ipv4(first: &Packet, payload: &[u8]) -> Option<Vec<u8>> {
    let header = &first.bytes()[..usize::from(first.layout.ip().payload_at)];
    ipv4_packet(header, 0, false, payload)
}

fn ipv6_fragments(packet: &Packet, mtu_bytes: usize, identification: u32) -> Option<Vec<Vec<u8>>> {
    if packet.layout.ip().fragment_header_at != 0 {
        return None;
    }
    let (end, next_header_at) = unfragmentable_part(packet.bytes());
    let (unfragmentable, mut data) = packet.bytes().split_at(end);
    let room_bytes = mtu_bytes.checked_sub(end + ipv6::FRAGMENT_HEADER)?;
    let mut offset_bytes = 0;
    let mut pieces = Vec::new();
    while !data.is_empty() {
        let (piece, rest) = cut(data, room_bytes)?;
        let mut bytes = Vec::with_capacity(end + ipv6::FRAGMENT_HEADER + piece.len());
        bytes.extend_from_slice(unfragmentable);
        bytes.extend_from_slice(&[bytes[next_header_at], 0]);
        bytes[next_header_at] = number::FRAGMENT;
        bytes.extend_from_slice(&(u16::try_from(offset_bytes).ok()? | u16::from(!rest.is_empty())).to_be_bytes());
        bytes.extend_from_slice(&identification.to_be_bytes());
        bytes.extend_from_slice(piece);
        pieces.push(with_ipv6_length(bytes)?);
        offset_bytes += piece.len();
        data = rest;
    }
    Some(pieces)
}

/// How long the part of an IPv6 packet is that every fragment repeats, and where in it the next header field is that
/// names what follows: all up to a routing header, or else the hop-by-hop options (RFC 8200 section 4.5).
fn unfragmentable_part(bytes: &[u8]) -> (usize, usize) {
    let (mut at, mut next, mut named_at) = (ipv6::HEADER, bytes[ipv6::NEXT_HEADER], ipv6::NEXT_HEADER);
    let mut part = (at, named_at);
    while matches!(next, number::HOP_BY_HOP | number::ROUTING | number::DESTINATION_OPTIONS) {
        let Some([following, units]) = bytes.get(at..at + 2).and_then(|header| header.first_chunk()) else { break };
        let length = (usize::from(*units) + 1) * 8;
        named_at = at;
        at += length;
        if next != number::DESTINATION_OPTIONS {
            part = (at, named_at);
        }
        next = *following;
    }
    part
}

fn joined_ipv6(first: &Packet, payload: &[u8]) -> Option<Vec<u8>> {
    let header_at = usize::from(first.layout.ip().fragment_header_at);
    let (before, fragment_header) = first.bytes().split_at(header_at);
    let mut bytes = Vec::with_capacity(before.len() + payload.len());
    bytes.extend_from_slice(before);
    bytes.extend_from_slice(payload);
    bytes[next_header_field_before(before)] = fragment_header[0];
    with_ipv6_length(bytes)
}

/// Where the last next header field is in the headers that precede a fragment header.
fn next_header_field_before(headers: &[u8]) -> usize {
    let (mut at, mut named_at) = (ipv6::HEADER, ipv6::NEXT_HEADER);
    while let Some([_, units]) = headers.get(at..).and_then(|header| header.first_chunk()) {
        named_at = at;
        at += (usize::from(*units) + 1) * 8;
    }
    named_at
}

fn with_ipv6_length(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let length = u16::try_from(bytes.len() - ipv6::HEADER).ok()?;
    put16(&mut bytes, ipv6::PAYLOAD_LENGTH, length);
    Some(bytes)
}
