//! Edits of what UDP and TCP carry, and of TCP's numbers: what application-layer gateways do.
//!
//! Lengths follow. Checksums are mended incrementally, as in `rewrite`: one that was wrong stays wrong, and a UDP
//! checksum of 0 stays 0. Knows no stream: which sequence number belongs to which byte is its caller's business.

use crate::Packet;
use crate::checksum::{Change, sum};
use crate::field::{be16, be32, ipv4, ipv6, put16, tcp, udp};
use crate::layout::Kind;
use crate::rewrite::{mend, mend_udp};

impl Packet {
    /// Replaces what a whole UDP datagram or TCP segment carries; bytes beyond the UDP length are cut off. False, and
    /// the packet as it was, if it is anything else or would be longer than its length fields can say.
    pub fn replace_payload(&mut self, payload: &[u8]) -> bool {
        let (ip, kind) = (self.layout.ip(), self.layout.kind());
        let old = self.payload();
        let header = match kind {
            Kind::Udp => usize::from(ip.payload_at) + udp::HEADER,
            Kind::Tcp => self.bytes.len() - old.len(),
            _ => return false,
        };
        let beyond_length = if ip.ipv6 { ipv6::HEADER } else { 0 };
        let Ok(length) = u16::try_from(header + payload.len() - beyond_length) else { return false };
        if ip.fragment || u16::try_from(header + payload.len() - usize::from(ip.payload_at)).is_err() {
            return false;
        }
        let mut change = Change::default();
        change.replace(sum(old), sum(payload));
        let (before, after) = (header + old.len(), header + payload.len());
        self.bytes.truncate(header);
        self.bytes.extend_from_slice(payload);
        self.write_ip_length(length);
        self.mend_length(before, after, change);
        true
    }

    /// Replaces the sequence number of a TCP segment, and its acknowledgement number; other packets stay as they are.
    pub fn rewrite_tcp_numbers(&mut self, sequence: u32, acknowledgement: u32) {
        if self.layout.kind() != Kind::Tcp {
            return;
        }
        let at = usize::from(self.layout.ip().payload_at);
        let mut change = Change::default();
        change.write(&mut self.bytes, at + tcp::SEQUENCE, sequence.to_be_bytes());
        change.write(&mut self.bytes, at + tcp::ACKNOWLEDGEMENT, acknowledgement.to_be_bytes());
        mend(&mut self.bytes, at + tcp::CHECKSUM, change);
    }

    /// Replaces every edge of a TCP segment's selective acknowledgements (RFC 2018); other packets stay as they are.
    pub fn rewrite_tcp_sack(&mut self, mut edge: impl FnMut(u32) -> u32) {
        if self.layout.kind() != Kind::Tcp {
            return;
        }
        let at = usize::from(self.layout.ip().payload_at);
        let (begin, end) = (at + tcp::HEADER, self.bytes.len() - self.payload().len());
        // Edges may lie at odd offsets, so the options count as a whole.
        let old = sum(&self.bytes[begin..end]);
        let mut next = begin;
        while next < end {
            let (kind, length) = (self.bytes[next], self.bytes.get(next + 1).map_or(0, |length| usize::from(*length)));
            next = match (kind, length) {
                (0, _) => break,
                (1, _) => next + 1,
                (_, 0 | 1) => break,
                (_, length) if next + length > end => break,
                (tcp::SACK, length) => {
                    for edge_at in (next + 2..next + length).step_by(4).filter(|edge_at| edge_at + 4 <= next + length) {
                        let new = edge(be32(&self.bytes, edge_at));
                        self.bytes[edge_at..edge_at + 4].copy_from_slice(&new.to_be_bytes());
                    }
                    next + length
                }
                (_, length) => next + length,
            };
        }
        let mut change = Change::default();
        change.replace(old, sum(&self.bytes[begin..end]));
        mend(&mut self.bytes, at + tcp::CHECKSUM, change);
    }

    fn write_ip_length(&mut self, length: u16) {
        if self.is_ipv6() {
            return put16(&mut self.bytes, ipv6::PAYLOAD_LENGTH, length);
        }
        let mut change = Change::default();
        change.write(&mut self.bytes, ipv4::TOTAL_LENGTH, length.to_be_bytes());
        mend(&mut self.bytes, ipv4::CHECKSUM, change);
    }

    /// Writes the transport's length and mends its checksum. `before` and `after` are the packet's lengths as far as
    /// the transport's goes.
    fn mend_length(&mut self, before: usize, after: usize, mut change: Change) {
        let at = usize::from(self.layout.ip().payload_at);
        // They were lengths of 16 bits and have been checked to be.
        let (before, after) = ((before - at) as u16, (after - at) as u16);
        change.replace(before, after);
        if self.layout.kind() == Kind::Tcp {
            mend(&mut self.bytes, at + tcp::CHECKSUM, change);
            return;
        }
        change.replace(be16(&self.bytes, at + udp::LENGTH), after);
        put16(&mut self.bytes, at + udp::LENGTH, after);
        mend_udp(&mut self.bytes, at + udp::CHECKSUM, change);
    }
}
