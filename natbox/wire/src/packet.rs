//! A packet: its bytes, and where in them the headers lie.
//!
//! A [`Packet`] exists only for bytes that parse, so accessors cannot fail and cannot panic. Rewriting happens in
//! place and mends every checksum incrementally (RFC 1624), never by recomputation.

use std::net::{IpAddr, SocketAddr};

use crate::{DropReason, IcmpError};

/// The transports that a NAT keeps sessions for. For [`Protocol::Icmp`] (ICMP and ICMPv6 echo) the identifier
/// stands where the others have a port (RFC 5508 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// ICMP or ICMPv6 echo.
    Icmp,
}

/// The control flags of a TCP segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TcpFlags {
    /// Synchronise.
    pub syn: bool,
    /// Acknowledge.
    pub ack: bool,
    /// Finish.
    pub fin: bool,
    /// Reset.
    pub rst: bool,
    /// Push.
    pub psh: bool,
}

/// What follows the IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A UDP datagram.
    Udp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// A TCP segment.
    Tcp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
        /// Control flags.
        flags: TcpFlags,
    },
    /// An ICMP or ICMPv6 echo request or reply.
    Echo {
        /// A request, else a reply.
        request: bool,
        /// The identifier, which a NAT treats as a port.
        identifier: u16,
        /// The sequence number.
        sequence: u16,
    },
    /// An ICMP or ICMPv6 error, which quotes another packet.
    IcmpError(IcmpError),
    /// Any other ICMP or ICMPv6 message.
    OtherIcmp {
        /// ICMP type.
        kind: u8,
        /// ICMP code.
        code: u8,
    },
    /// A fragment other than the first: no transport header in it.
    LaterFragment,
    /// Any other protocol.
    Other,
}

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
    /// Its source endpoint; for echo, address and identifier.
    pub source: SocketAddr,
    /// Its destination endpoint; for echo, address and identifier.
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

/// A well-formed IPv4 or IPv6 packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    bytes: Vec<u8>,
    // the wire room adds the cached layout here: header offsets, version, protocol, transport
}

impl Packet {
    /// Reads a packet. Bytes beyond the IP length field (link padding) are cut off. Verifies the IPv4 header
    /// checksum, lengths and options; not the transport checksum, which is the receiver's business
    /// ([`Packet::transport_checksum_ok`]).
    pub fn parse(bytes: Vec<u8>) -> Result<Packet, Malformed> {
        todo!()
    }

    /// The whole packet, from the first byte of the IP header.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Gives the bytes up.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Whether this is IPv6.
    pub fn is_ipv6(&self) -> bool {
        todo!()
    }

    /// The IP source.
    pub fn source(&self) -> IpAddr {
        todo!()
    }

    /// The IP destination.
    pub fn destination(&self) -> IpAddr {
        todo!()
    }

    /// Source address with source port (UDP, TCP) or identifier (echo); port 0 where there is neither.
    pub fn source_endpoint(&self) -> SocketAddr {
        todo!()
    }

    /// Destination address with destination port (UDP, TCP) or identifier (echo); port 0 where there is neither.
    pub fn destination_endpoint(&self) -> SocketAddr {
        todo!()
    }

    /// Time to live, or hop limit.
    pub fn ttl(&self) -> u8 {
        todo!()
    }

    /// Takes one from the TTL, mending the IPv4 header checksum. At 0 it stays 0.
    pub fn decrement_ttl(&mut self) {
        todo!()
    }

    /// The IPv4 don't-fragment flag; always true for IPv6, which only its source may fragment.
    pub fn dont_fragment(&self) -> bool {
        todo!()
    }

    /// The packet's place in a fragmented datagram, if it is a fragment.
    pub fn fragment(&self) -> Option<Fragment> {
        todo!()
    }

    /// The IP protocol number of what follows the IP header and its extension headers.
    pub fn protocol_number(&self) -> u8 {
        todo!()
    }

    /// What follows the IP header.
    pub fn transport(&self) -> Transport {
        todo!()
    }

    /// Everything behind the IP header and its extension headers: transport header and payload.
    pub fn ip_payload(&self) -> &[u8] {
        todo!()
    }

    /// What a UDP datagram, a TCP segment, an echo message carries (behind the transport header).
    pub fn payload(&self) -> &[u8] {
        todo!()
    }

    /// Whether the UDP, TCP or ICMP checksum is right. True for fragments and for what has no checksum
    /// (IPv4 UDP with checksum 0); false for IPv6 UDP with checksum 0 (RFC 8200 section 8.1).
    pub fn transport_checksum_ok(&self) -> bool {
        todo!()
    }

    /// Replaces source address and source port or identifier (ignored where there is none). The address must be
    /// of the packet's version.
    pub fn rewrite_source(&mut self, endpoint: SocketAddr) {
        todo!()
    }

    /// Replaces destination address and destination port or identifier. As [`Packet::rewrite_source`].
    pub fn rewrite_destination(&mut self, endpoint: SocketAddr) {
        todo!()
    }

    /// The packet that this ICMP error quotes; `None` when this is no error or the quote shows no session
    /// (cut before the ports, a later fragment, an ICMP error, a bad inner IP checksum).
    pub fn quoted(&self) -> Option<Quoted> {
        todo!()
    }

    /// In an ICMP error, replaces the quoted packet's source, mending the inner IP checksum, the inner transport
    /// checksum where the quote holds it, and the ICMP checksum.
    pub fn rewrite_quoted_source(&mut self, endpoint: SocketAddr) {
        todo!()
    }

    /// In an ICMP error, replaces the quoted packet's destination. As [`Packet::rewrite_quoted_source`].
    pub fn rewrite_quoted_destination(&mut self, endpoint: SocketAddr) {
        todo!()
    }
}
