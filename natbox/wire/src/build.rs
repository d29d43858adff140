//! Packets from their parts: what hosts send and routers answer.
//!
//! Every packet built here parses, and its checksums are right.

use std::net::{IpAddr, SocketAddr};

use crate::{IcmpError, Packet, TcpFlags};

/// The IP header fields that a sender chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpFields {
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// IPv4 don't-fragment flag; IPv6 packets never carry one.
    pub dont_fragment: bool,
    /// IPv4 identification.
    pub identification: u16,
}

impl Default for IpFields {
    /// TTL 64, fragmentation allowed, identification 0.
    fn default() -> IpFields {
        IpFields { ttl: 64, dont_fragment: false, identification: 0 }
    }
}

/// A UDP datagram of at most 65,507 (IPv4) or 65,527 (IPv6) payload bytes; `None` if it is larger or if the
/// endpoints' versions differ. The result may be larger than any link carries: see [`fragments`].
pub fn udp(source: SocketAddr, destination: SocketAddr, ip: IpFields, payload: &[u8]) -> Option<Packet> {
    todo!()
}

/// A TCP segment without options.
#[allow(clippy::too_many_arguments, reason = "the header's own fields")]
pub fn tcp(
    source: SocketAddr,
    destination: SocketAddr,
    ip: IpFields,
    flags: TcpFlags,
    sequence: u32,
    acknowledgement: u32,
    window: u16,
    payload: &[u8],
) -> Option<Packet> {
    todo!()
}

/// One IP packet around a finished transport part (its checksum is not touched).
pub fn ip(source: IpAddr, destination: IpAddr, protocol_number: u8, ip: IpFields, payload: &[u8]) -> Option<Packet> {
    todo!()
}

/// An ICMP or ICMPv6 echo request or reply.
pub fn echo(
    request: bool,
    source: IpAddr,
    destination: IpAddr,
    ip: IpFields,
    identifier: u16,
    sequence: u16,
    payload: &[u8],
) -> Option<Packet> {
    todo!()
}

/// The ICMP error that `from` owes the sender of `offender`, quoting as much of it as RFC 1812 section 4.3.2.3
/// (576 bytes in all) or RFC 4443 section 3 (1,280) allows. `None` where no error may be sent (RFC 1122 section
/// 3.2.2, RFC 4443 section 2.4e): about ICMP errors, later fragments, multicast or broadcast destinations, and
/// sources that are not one host.
pub fn icmp_error(error: IcmpError, from: IpAddr, offender: &Packet) -> Option<Packet> {
    todo!()
}

/// Cuts a packet into fragments that fit `mtu_bytes`; the packet itself if it fits. IPv6 packets get a fragment
/// header with `identification`; IPv4 packets keep their own identification. `None` if a fragment could not hold
/// eight bytes of payload, or if the packet must not be fragmented (IPv4 don't-fragment).
pub fn fragments(packet: Packet, mtu_bytes: usize, identification: u32) -> Option<Vec<Packet>> {
    todo!()
}
