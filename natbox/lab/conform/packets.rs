//! Who speaks to whom on the test bed, and the packets that they send.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use natbox_wire::build::{self, IpFields};
use natbox_wire::{IcmpError, Packet, Protocol, TcpFlags, checksum};

const NONE: TcpFlags = TcpFlags { syn: false, ack: false, fin: false, rst: false, psh: false };
pub(super) const SYN: TcpFlags = TcpFlags { syn: true, ..NONE };
pub(super) const SYN_ACK: TcpFlags = TcpFlags { syn: true, ack: true, ..NONE };
pub(super) const ACK: TcpFlags = TcpFlags { ack: true, ..NONE };
pub(super) const FIN: TcpFlags = TcpFlags { fin: true, ack: true, ..NONE };
pub(super) const RST: TcpFlags = TcpFlags { rst: true, ack: true, ..NONE };

/// Endpoints: two hosts inside on one port, two remotes outside, and the first remote's other port. The remote ports are those that strict networks let out.
pub(super) const X1: SocketAddr = endpoint([10, 0, 0, 2], 5000);
pub(super) const X2: SocketAddr = endpoint([10, 0, 0, 3], 5000);
/// The second host's other port, which no other host has.
pub(super) const X2_OTHER_PORT: SocketAddr = endpoint([10, 0, 0, 3], 5001);
pub(super) const Y1: SocketAddr = endpoint([192, 0, 2, 1], 443);
pub(super) const Y1_OTHER_PORT: SocketAddr = endpoint([192, 0, 2, 1], 80);
pub(super) const Y2: SocketAddr = endpoint([192, 0, 2, 2], 443);
/// A router on the way.
pub(super) const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 77));

pub(super) const fn endpoint(address: [u8; 4], port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(address[0], address[1], address[2], address[3])), port)
}

/// An internal endpoint: the `number`th host.
pub(super) fn host(number: u16, port: u16) -> SocketAddr {
    let [high, low] = number.to_be_bytes();
    endpoint([10, 1, high, low], port)
}

/// A packet of any transport; for echo the source's port is the identifier of a request, and the destination's that of a reply.
pub(super) fn packet(protocol: Protocol, from: SocketAddr, to: SocketAddr, flags: TcpFlags) -> Packet {
    let fields = IpFields::default();
    let built = match protocol {
        Protocol::Udp => build::udp(from, to, fields, b"natbox"),
        Protocol::Tcp => {
            // SYNs are number 7, all else 8; both sides acknowledge 8.
            build::tcp(from, to, fields, flags, 8 - u32::from(flags.syn), if flags.ack { 8 } else { 0 }, 1000, b"")
        }
        Protocol::Icmp if flags.syn => build::echo(true, from.ip(), to.ip(), fields, from.port(), 1, b"natbox"),
        Protocol::Icmp => build::echo(false, from.ip(), to.ip(), fields, to.port(), 1, b"natbox"),
    };
    built.expect("good sources of one version")
}

pub(super) fn udp(from: SocketAddr, to: SocketAddr) -> Packet {
    packet(Protocol::Udp, from, to, NONE)
}

pub(super) fn tcp(from: SocketAddr, to: SocketAddr, flags: TcpFlags) -> Packet {
    packet(Protocol::Tcp, from, to, flags)
}

pub(super) fn ping(from: SocketAddr, to: SocketAddr) -> Packet {
    packet(Protocol::Icmp, from, to, SYN)
}

pub(super) fn pong(from: SocketAddr, to: SocketAddr) -> Packet {
    packet(Protocol::Icmp, from, to, NONE)
}

/// The first packet of a flow.
pub(super) fn opener(protocol: Protocol, from: SocketAddr, to: SocketAddr) -> Packet {
    packet(protocol, from, to, SYN)
}

/// The first answer to it.
pub(super) fn answer(protocol: Protocol, from: SocketAddr, to: SocketAddr) -> Packet {
    match protocol {
        Protocol::Icmp => pong(from, to),
        other => packet(other, from, to, SYN_ACK),
    }
}

/// Port unreachable, about a packet.
pub(super) fn error(from: IpAddr, offender: &Packet) -> Packet {
    build::icmp_error(IcmpError::PortUnreachable, from, offender).expect("packets that may be answered")
}

/// A datagram of so many bytes behind the IP header, with these header fields.
pub(super) fn datagram(from: SocketAddr, to: SocketAddr, fields: IpFields, length: usize) -> Packet {
    build::udp(from, to, fields, &vec![7; length - 8]).expect("good sources of one version")
}

/// A datagram that may travel so many hops.
pub(super) fn mortal(from: SocketAddr, to: SocketAddr, ttl: u8) -> Packet {
    datagram(from, to, IpFields { ttl, ..IpFields::default() }, 32)
}

/// The fragments of a datagram of this many bytes of payload: three for 3,000.
pub(super) fn pieces(to: SocketAddr, from: SocketAddr, identification: u16, length: usize) -> Vec<Packet> {
    let fields = IpFields { identification, ..IpFields::default() };
    let whole = build::udp(from, to, fields, &vec![7; length]).expect("one version");
    build::fragments(whole, 1500.min(length / 2 + 300), u32::from(identification)).expect("it may be cut")
}

/// An ICMP message of this type and code; `rest` is what follows its checksum.
pub(super) fn icmp(from: IpAddr, to: IpAddr, kind: u8, code: u8, rest: &[u8]) -> Packet {
    let mut message = [&[kind, code, 0, 0], rest].concat();
    let sum = checksum::checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    build::ip(from, to, 1, IpFields::default(), &message).expect("one version")
}

/// Port unreachable from the first remote, quoting these bytes.
pub(super) fn quoting(to: IpAddr, quote: &[u8]) -> Packet {
    icmp(Y1.ip(), to, 3, 3, &[&[0; 4], quote].concat())
}

/// The bytes of an IPv4 packet with other header bytes, and the header's checksum made right.
pub(super) fn with_header(packet: &Packet, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = packet.bytes().to_vec();
    change(&mut bytes);
    let header = usize::from(bytes[0] & 15) * 4;
    bytes[10..12].fill(0);
    let sum = checksum::checksum(&bytes[..header]);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// The same with IP options, of whole words; the length is made right.
pub(super) fn with_options(packet: &Packet, options: &[u8]) -> Vec<u8> {
    with_header(packet, |bytes| {
        bytes.splice(20..20, options.iter().copied());
        bytes[0] += (options.len() / 4) as u8;
        let length = bytes.len() as u16;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
    })
}
