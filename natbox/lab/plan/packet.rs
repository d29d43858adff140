//! The packets of a `send`, from what it says: built when it is sent, and once before, so that what cannot be is a mistake
//! of the file.
//!
//! Pure: knows endpoints and bytes, not who has them.

use std::net::SocketAddr;

use natbox_wire::build::{self, IpFields, Segment as TcpSegment};
use natbox_wire::checksum::checksum;
use natbox_wire::{IcmpError, Packet, TcpFlags, Transport};

use super::message::{Craft, Message, Segment};
use super::step::Send;
use crate::words::{EchoKind, Flag, Rejection};

/// Why a packet cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Impossible {
    /// The key of the `send` that is to blame; below `fragments`, with a dot.
    pub(crate) key: &'static str,
    /// Why.
    pub(crate) why: String,
}

impl Impossible {
    fn new(key: &'static str, why: impl Into<String>) -> Impossible {
        Impossible { key, why: why.into() }
    }
}

/// The packets that are put on the wire, in order. `offender` is what an ICMP error is about.
pub(crate) fn pieces(
    send: &Send,
    from: SocketAddr,
    to: SocketAddr,
    offender: Option<&Packet>,
    identification: u16,
) -> Result<Vec<Packet>, Impossible> {
    let Craft { dont_fragment, wrong_checksum, fragments } = &send.craft;
    if from.is_ipv6() != to.is_ipv6() {
        return Err(Impossible::new("from", format!("from {} to {}: they are of two IP versions", from.ip(), to.ip())));
    }
    if *dont_fragment && from.is_ipv6() {
        return Err(Impossible::new("dont_fragment", "over IPv6 nobody but the sender fragments (RFC 8200 section 5)"));
    }
    let mut packet = whole(send, from, to, offender, identification)?;
    if *wrong_checksum {
        packet = with_wrong_checksum(packet);
    }
    let Some(cut) = fragments else { return Ok(vec![packet]) };
    let (length, mtu_bytes) = (packet.bytes().len(), cut.mtu_bytes);
    if length <= mtu_bytes {
        return Err(Impossible::new(
            "fragments.mtu",
            format!("the packet has {length} bytes: it fits, and is not cut"),
        ));
    }
    let pieces = build::fragments(packet, mtu_bytes, identification.into()).ok_or_else(|| {
        Impossible::new(
            "fragments.mtu",
            format!("cannot be cut into fragments of {mtu_bytes} bytes: its headers do not fit"),
        )
    })?;
    if cut.order.is_empty() {
        return Ok(pieces);
    }
    let piece = |number: &usize| {
        let piece = number.checked_sub(1).and_then(|index| pieces.get(index)).cloned();
        piece.ok_or_else(|| {
            Impossible::new("fragments.order", format!("no fragment {number}: it comes in {}", pieces.len()))
        })
    };
    cut.order.iter().map(piece).collect()
}

fn whole(
    send: &Send,
    from: SocketAddr,
    to: SocketAddr,
    offender: Option<&Packet>,
    identification: u16,
) -> Result<Packet, Impossible> {
    let fields = IpFields { ttl: send.ttl, dont_fragment: send.craft.dont_fragment, identification };
    let payload = send.carried();
    let too_large = || Impossible::new("size", "no IP packet can be so large");
    match &send.message {
        Message::Udp => build::udp(from, to, fields, &payload).ok_or_else(too_large),
        Message::Tcp(segment) => {
            let options = options(segment);
            let header = TcpSegment {
                flags: tcp_flags(&segment.flags),
                sequence: segment.sequence,
                acknowledgement: segment.acknowledgement,
                window: segment.window_bytes,
                options: &options,
            };
            build::segment(from, to, fields, header, &payload).ok_or_else(too_large)
        }
        Message::Echo { kind, identifier } => {
            let identifier = identifier.unwrap_or(to.port());
            let echo = |request| build::echo(request, from.ip(), to.ip(), fields, identifier, 0, &payload);
            match kind {
                EchoKind::Request => echo(true).ok_or_else(too_large),
                EchoKind::Reply => echo(false).ok_or_else(too_large),
                EchoKind::Timestamp => query(13, 12, identifier, from, to, fields),
                EchoKind::Information => query(15, 0, identifier, from, to, fields),
                EchoKind::AddressMask => query(17, 4, identifier, from, to, fields),
            }
        }
        Message::Error { error, about, mtu_bytes } => {
            let made = || build::icmp_error(icmp_error(*error, *mtu_bytes)?, from.ip(), offender?);
            let nothing = || Impossible::new("icmp", format!("nobody may send an ICMP error about `{about}`"));
            let mut packet = made().ok_or_else(nothing)?;
            packet.set_ttl(send.ttl);
            Ok(packet)
        }
    }
}

/// An ICMP query that is no echo, its fields all zero.
fn query(
    kind: u8,
    fields_bytes: usize,
    identifier: u16,
    from: SocketAddr,
    to: SocketAddr,
    ip: IpFields,
) -> Result<Packet, Impossible> {
    const ICMP: u8 = 1;
    let [high, low] = identifier.to_be_bytes();
    let mut message = vec![kind, 0, 0, 0, high, low, 0, 0];
    message.resize(message.len() + fields_bytes, 0);
    let sum = checksum(&message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    let built = build::ip(from.ip(), to.ip(), ICMP, ip, &message).filter(|_| from.is_ipv4());
    built.ok_or_else(|| Impossible::new("icmp", "ICMPv6 has no such query"))
}

/// The options of a SYN, padded to whole words (RFC 9293 section 3.2, RFC 7323 section 2.2).
fn options(segment: &Segment) -> Vec<u8> {
    const NO_OPERATION: u8 = 1;
    let mut options = Vec::new();
    if let Some([high, low]) = segment.mss_bytes.map(u16::to_be_bytes) {
        options.extend([2, 4, high, low]);
    }
    if let Some(shift) = segment.window_scale {
        options.extend([3, 3, shift, NO_OPERATION]);
    }
    options
}

fn tcp_flags(flags: &[Flag]) -> TcpFlags {
    let has = |flag| flags.contains(&flag);
    TcpFlags {
        syn: has(Flag::Syn) || has(Flag::SynAck),
        ack: has(Flag::Ack) || has(Flag::SynAck),
        fin: has(Flag::Fin),
        rst: has(Flag::Rst),
        psh: has(Flag::Psh),
    }
}

/// The same packet with a wrong transport checksum, which is not UDP's zero for none either.
fn with_wrong_checksum(packet: Packet) -> Packet {
    let at = packet.bytes().len() - packet.ip_payload().len()
        + match packet.transport() {
            Transport::Udp { .. } => 6,
            Transport::Tcp { .. } => 16,
            _ => 2,
        };
    let mut bytes = packet.bytes().to_vec();
    if let Some(checksum) = bytes.get_mut(at..at + 2) {
        checksum[0] ^= if checksum[0] == 0x55 { 0xAA } else { 0x55 };
    }
    Packet::parse(bytes).unwrap_or(packet)
}

/// The ICMP error of a word; none for a RST.
fn icmp_error(word: Rejection, mtu_bytes: u16) -> Option<IcmpError> {
    Some(match word {
        Rejection::Rst => return None,
        Rejection::NetUnreachable => IcmpError::NetUnreachable,
        Rejection::HostUnreachable => IcmpError::HostUnreachable,
        Rejection::PortUnreachable => IcmpError::PortUnreachable,
        Rejection::TtlExceeded => IcmpError::TtlExceeded,
        Rejection::AdminProhibited => IcmpError::AdminProhibited,
        Rejection::PacketTooBig => IcmpError::PacketTooBig { mtu: mtu_bytes.into() },
        Rejection::ReassemblyTimeExceeded => IcmpError::ReassemblyTimeExceeded,
    })
}
