//! Packets from their parts: what hosts send and routers answer.
//!
//! Every packet built here parses, and its checksums are right. Nothing that would not parse is built: a source
//! that no packet may carry ([`crate::address::is_bad_source`]) gives `None`.

use std::net::{IpAddr, SocketAddr};

use etherparse::{IpNumber, Ipv4Header, Ipv6Header, TcpHeader, UdpHeader};

pub use crate::fragment::{fragments, join};

use crate::checksum::{checksum, transport_checksum};
use crate::field::{icmp, number, put16, tcp, udp};
use crate::layout::Kind;
use crate::{IcmpError, Packet, TcpFlags, Transport, address};

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
    let length = u16::try_from(udp::HEADER + payload.len()).ok()?;
    let header =
        UdpHeader { source_port: source.port(), destination_port: destination.port(), length, checksum: 0 }.to_bytes();
    let mut draft = Draft::new(source.ip(), destination.ip(), number::UDP, ip, 0, &[&header, payload])?;
    // RFC 768: a computed checksum of 0 is sent as all ones.
    match draft.transport_checksum() {
        0 => draft.set_checksum(udp::CHECKSUM, 0xFFFF),
        sum => draft.set_checksum(udp::CHECKSUM, sum),
    }
    draft.finish()
}

/// A TCP segment without options; `None` as for [`udp`].
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
    segment(source, destination, ip, Segment { flags, sequence, acknowledgement, window, options: &[] }, payload)
}

/// What a TCP header says beside its ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Flags.
    pub flags: TcpFlags,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledgement: u32,
    /// Window, unscaled.
    pub window: u16,
    /// Options as they stand in the header, at most 40 bytes; padded with zeros to whole words.
    pub options: &'a [u8],
}

/// A TCP segment; `None` as for [`udp`], or if the options do not fit.
pub fn segment(
    source: SocketAddr,
    destination: SocketAddr,
    ip: IpFields,
    segment: Segment<'_>,
    payload: &[u8],
) -> Option<Packet> {
    let Segment { flags, sequence, acknowledgement, window, options } = segment;
    let mut header = TcpHeader::new(source.port(), destination.port(), sequence, window);
    header.acknowledgment_number = acknowledgement;
    TcpFlags { syn: header.syn, ack: header.ack, fin: header.fin, rst: header.rst, psh: header.psh } = flags;
    header.set_options_raw(options).ok()?;
    let mut draft = Draft::new(source.ip(), destination.ip(), number::TCP, ip, 0, &[&header.to_bytes(), payload])?;
    let sum = draft.transport_checksum();
    draft.set_checksum(tcp::CHECKSUM, sum);
    draft.finish()
}

/// One IP packet around a finished transport part (its checksum is not touched). `None` if it is too large, if the
/// addresses' versions differ or if the part is not what `protocol_number` promises.
pub fn ip(source: IpAddr, destination: IpAddr, protocol_number: u8, ip: IpFields, payload: &[u8]) -> Option<Packet> {
    Draft::new(source, destination, protocol_number, ip, 0, &[payload])?.finish()
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
    let kind = match (source.is_ipv6(), request) {
        (false, true) => 8,
        (false, false) => 0,
        (true, true) => 128,
        (true, false) => 129,
    };
    let mut header = [kind, 0, 0, 0, 0, 0, 0, 0];
    put16(&mut header, icmp::IDENTIFIER, identifier);
    put16(&mut header, icmp::SEQUENCE, sequence);
    icmp_message(source, destination, ip, 0, &[&header, payload])
}

/// The ICMP error that `from` owes the sender of `offender`, quoting as much of it as RFC 1812 section 4.3.2.3
/// (576 bytes in all) or RFC 4443 section 3 (1,280) allows.
///
/// `None` where no error may be sent (RFC 1122 section 3.2.2, RFC 4443 section 2.4e): about ICMP errors and ICMPv6
/// redirects, later fragments (IPv4 only: RFC 4443 has no such rule, and a path's MTU concerns all fragments),
/// multicast (but for ICMPv6 packet too big) or broadcast destinations, and sources that are not one host; also if
/// `from` is of another version, and for an [`IcmpError::Other`] whose type is none of an error.
///
/// The DS field is the offender's (RFC 5508 REQ-10d) without its ECN bits, the TTL 64. Don't-fragment is off, for
/// nobody reports an error that was too big; the identification is the offender's, since an error's source has no
/// counter here, and the offender's sender keeps its own apart (RFC 6864 section 4.3).
pub fn icmp_error(error: IcmpError, from: IpAddr, offender: &Packet) -> Option<Packet> {
    let ipv6 = offender.is_ipv6();
    let (kind, code) = error.type_and_code(ipv6);
    if from.is_ipv6() != ipv6 || !crate::icmp::is_error_kind(ipv6, kind) || !may_be_reported(error, offender) {
        return None;
    }
    let [b4, b5, b6, b7] = error_word(error, offender).to_be_bytes();
    let header = [kind, code, 0, 0, b4, b5, b6, b7];
    let quote_limit_bytes = if ipv6 { 1280 - 40 - icmp::HEADER } else { 576 - 20 - icmp::HEADER };
    let quote = &offender.bytes()[..offender.bytes().len().min(quote_limit_bytes)];
    let fields = IpFields { identification: offender.identification().unwrap_or(0), ..IpFields::default() };
    const ECN: u8 = 0b11;
    icmp_message(from, offender.source(), fields, offender.traffic_class() & !ECN, &[&header, quote])
}

/// The RST that a segment of no connection is owed, from the endpoint that it was sent to (RFC 9293 section 3.10.7.1).
///
/// `None` about a RST, a fragment, a segment whose checksum is wrong, what is sent to many, and what is no TCP segment.
/// Its identification is 0 and don't-fragment on, as Linux sends it.
pub fn reset(segment: &Packet) -> Option<Packet> {
    let Transport::Tcp { flags, .. } = segment.transport() else { return None };
    let destination = segment.destination();
    let to_many = address::is_broadcast(destination) || address::is_multicast(destination);
    if flags.rst || to_many || segment.is_fragment() || !segment.transport_checksum_ok() {
        return None;
    }
    let rst = TcpFlags { rst: true, ..TcpFlags::default() };
    let (flags, sequence, acknowledgement) = match flags.ack {
        true => (rst, segment.tcp_acknowledgement()?, 0),
        false => {
            let length = segment.payload().len() as u32 + u32::from(flags.syn) + u32::from(flags.fin);
            (TcpFlags { ack: true, ..rst }, 0, segment.tcp_sequence()?.wrapping_add(length))
        }
    };
    let fields = IpFields { dont_fragment: true, ..IpFields::default() };
    let (from, to) = (segment.destination_endpoint(), segment.source_endpoint());
    tcp(from, to, fields, flags, sequence, acknowledgement, 0, &[])
}

fn may_be_reported(error: IcmpError, offender: &Packet) -> bool {
    const ICMPV6_REDIRECT: u8 = 137;
    let ipv6 = offender.is_ipv6();
    let too_big = matches!(error, IcmpError::PacketTooBig { .. });
    let about_error = match offender.layout.kind() {
        Kind::IcmpError => true,
        Kind::OtherIcmp => ipv6 && offender.ip_payload()[icmp::KIND] == ICMPV6_REDIRECT,
        Kind::LaterFragment => !ipv6,
        _ => false,
    };
    let to_many = address::is_broadcast(offender.destination())
        || address::is_multicast(offender.destination()) && !(ipv6 && too_big);
    !about_error && !to_many
}

/// The second word of an error: the next hop's MTU (RFC 1191, RFC 4443 section 3.2), or the offset of the next
/// header field that was not understood (RFC 4443 section 3.4).
fn error_word(error: IcmpError, offender: &Packet) -> u32 {
    match error {
        IcmpError::PacketTooBig { mtu } if offender.is_ipv6() => mtu,
        IcmpError::PacketTooBig { mtu } => mtu.min(0xFFFF),
        IcmpError::ProtocolUnreachable if offender.is_ipv6() => offender.layout.ip().protocol_at.into(),
        _ => 0,
    }
}

fn icmp_message(
    source: IpAddr,
    destination: IpAddr,
    ip: IpFields,
    traffic_class: u8,
    parts: &[&[u8]],
) -> Option<Packet> {
    let ipv6 = source.is_ipv6();
    let number = if ipv6 { number::ICMPV6 } else { number::ICMP };
    let mut draft = Draft::new(source, destination, number, ip, traffic_class, parts)?;
    let sum = if ipv6 { draft.transport_checksum() } else { checksum(draft.transport()) };
    draft.set_checksum(icmp::CHECKSUM, sum);
    draft.finish()
}

/// A packet whose transport checksum is still to come.
struct Draft {
    source: IpAddr,
    destination: IpAddr,
    protocol_number: u8,
    transport_at: usize,
    bytes: Vec<u8>,
}

impl Draft {
    /// IP header and transport part, the latter in pieces. IPv4 header checksum included.
    fn new(
        source: IpAddr,
        destination: IpAddr,
        protocol_number: u8,
        ip: IpFields,
        traffic_class: u8,
        parts: &[&[u8]],
    ) -> Option<Draft> {
        let payload_length = u16::try_from(parts.iter().map(|part| part.len()).sum::<usize>()).ok()?;
        let mut bytes;
        match (source, destination) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let number = IpNumber(protocol_number);
                let mut header = Ipv4Header::new(payload_length, ip.ttl, number, from.octets(), to.octets()).ok()?;
                header.dont_fragment = ip.dont_fragment;
                header.identification = ip.identification;
                let mut header = header.to_bytes();
                header[crate::field::ipv4::DS_FIELD] = traffic_class;
                put16(&mut header, crate::field::ipv4::CHECKSUM, 0);
                let sum = checksum(&header);
                put16(&mut header, crate::field::ipv4::CHECKSUM, sum);
                bytes = Vec::with_capacity(header.len() + usize::from(payload_length));
                bytes.extend_from_slice(&header);
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let header = Ipv6Header {
                    traffic_class,
                    payload_length,
                    next_header: IpNumber(protocol_number),
                    hop_limit: ip.ttl,
                    source: from.octets(),
                    destination: to.octets(),
                    ..Ipv6Header::default()
                };
                bytes = Vec::with_capacity(Ipv6Header::LEN + usize::from(payload_length));
                bytes.extend_from_slice(&header.to_bytes());
            }
            _ => return None,
        }
        let transport_at = bytes.len();
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        Some(Draft { source, destination, protocol_number, transport_at, bytes })
    }

    fn transport(&self) -> &[u8] {
        &self.bytes[self.transport_at..]
    }

    fn transport_checksum(&self) -> u16 {
        transport_checksum(self.source, self.destination, self.protocol_number, self.transport())
    }

    fn set_checksum(&mut self, at: usize, checksum: u16) {
        put16(&mut self.bytes, self.transport_at + at, checksum);
    }

    fn finish(self) -> Option<Packet> {
        Packet::parse(self.bytes).ok()
    }
}
