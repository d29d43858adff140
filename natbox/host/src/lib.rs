//! What a program may ask of the machine it runs on: traits and nothing else.
//!
//! A program written against [`Host`] runs on a simulated host in virtual time and on a real one unchanged. It
//! cannot look inside the network: no NAT, no link and no other host is visible from here.
//!
//! What a platform cannot do answers [`std::io::ErrorKind::Unsupported`]. Errors are the `io::Error`s that Linux
//! would give: `ConnectionRefused` for an ICMP port unreachable on a connected socket, `AddrInUse`, and so on.
//! Futures are not `Send`: a host's programs share one thread.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use natbox_wire::{ExplicitMapping, IcmpError, MapRefusal, MapRequest, Protocol, Time, Traffic};
use rand_core::Rng;
use tokio::io::{AsyncRead, AsyncWrite};

/// A machine that programs run on.
pub trait Host: Clone + 'static {
    /// UDP sockets of this machine.
    type Udp: UdpSocket;
    /// TCP connections of this machine.
    type Tcp: TcpStream;
    /// TCP listeners of this machine.
    type Listener: TcpListener<Stream = Self::Tcp>;
    /// ICMP echo sockets of this machine.
    type Echo: EchoSocket;
    /// This program's source of chance.
    type Random: Rng;

    /// The machine's name.
    fn name(&self) -> String;

    /// The machine's addresses, in the order of its uplinks; no loopback.
    fn addresses(&self) -> Vec<IpAddr>;

    /// The default gateway for IPv4 (`ipv6` false) or IPv6.
    fn default_gateway(&self, ipv6: bool) -> Option<IpAddr>;

    /// Whether `address` is on a network that the machine is attached to, so that no router lies between.
    fn is_neighbour(&self, address: IpAddr) -> bool;

    /// The address from which a packet to `destination` would be sent.
    fn source_for(&self, destination: IpAddr) -> io::Result<IpAddr>;

    /// The time.
    fn now(&self) -> Time;

    /// Waits until `deadline`; at once if it has passed.
    fn sleep_until(&self, deadline: Time) -> impl Future<Output = ()>;

    /// Runs a program beside this one.
    fn spawn(&self, program: impl Future<Output = ()> + 'static);

    /// A stream of chance of this machine's own, another one at each call; seeded where the platform is.
    fn random(&self) -> Self::Random;

    /// A UDP socket on `local`; port 0 takes a free one, an unspecified address takes packets for all addresses.
    /// `AddrInUse` if it is taken, `AddrNotAvailable` if the address is not this machine's.
    fn udp_bind(&self, local: SocketAddr) -> impl Future<Output = io::Result<Self::Udp>>;

    /// Connects to `remote`, from `options.local` if given.
    fn tcp_connect(&self, remote: SocketAddr, options: TcpOptions) -> impl Future<Output = io::Result<Self::Tcp>>;

    /// Listens on `local`. With `options.reuse_port` the port may be shared with outgoing connections, as TCP hole
    /// punching needs it.
    fn tcp_listen(&self, local: SocketAddr, options: TcpOptions) -> impl Future<Output = io::Result<Self::Listener>>;

    /// A socket for ICMP echo from `local` (an unspecified address: whichever fits).
    fn echo_socket(&self, local: IpAddr) -> impl Future<Output = io::Result<Self::Echo>>;

    /// Waits for `duration`.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> {
        self.sleep_until(self.now() + duration)
    }
}

/// A datagram that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// How many bytes of it are in the buffer; the rest is lost, as in `recvfrom`.
    pub length: usize,
    /// Who sent it.
    pub source: SocketAddr,
    /// The local endpoint that it was addressed to.
    pub destination: SocketAddr,
    /// When it arrived at the machine.
    pub at: Time,
    /// Its TTL or hop limit on arrival.
    pub ttl: u8,
}

/// An ICMP error about a datagram that a socket sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpReport {
    /// The error.
    pub error: IcmpError,
    /// The machine that reported it.
    pub reporter: IpAddr,
    /// Where the datagram was going.
    pub destination: SocketAddr,
    /// When the error arrived.
    pub at: Time,
}

/// A UDP socket. Dropping it closes it.
pub trait UdpSocket: 'static {
    /// The local endpoint; its address is unspecified if the socket was bound so.
    fn local_addr(&self) -> SocketAddr;

    /// Talks to `remote` alone from now on: others' datagrams are refused, and ICMP errors become this socket's errors.
    fn connect(&self, remote: SocketAddr) -> io::Result<()>;

    /// The TTL or hop limit of what is sent from now on (1-255).
    fn set_ttl(&self, ttl: u8) -> io::Result<()>;

    /// Whether what is sent from now on forbids fragmentation: then `send_to` answers `EMSGSIZE` for what is
    /// larger than the path's known MTU.
    fn set_dont_fragment(&self, dont_fragment: bool) -> io::Result<()>;

    /// Takes ICMP errors on an unconnected socket too, as Linux's `IP_RECVERR` does.
    fn set_receive_errors(&self, receive_errors: bool) -> io::Result<()>;

    /// The oldest ICMP error not yet read (only with [`set_receive_errors`](UdpSocket::set_receive_errors)).
    fn take_icmp_report(&self) -> Option<IcmpReport>;

    /// Joins a multicast group on the local network of the uplink that `interface` belongs to.
    fn join_multicast(&self, group: IpAddr, interface: IpAddr) -> io::Result<()>;

    /// Sends a datagram.
    fn send_to(&self, payload: &[u8], destination: SocketAddr) -> impl Future<Output = io::Result<usize>>;

    /// Receives a datagram. A pending ICMP error is returned first, as an error, once.
    fn recv_from(&self, buffer: &mut [u8]) -> impl Future<Output = io::Result<Received>>;
}

/// How to open a TCP connection or listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpOptions {
    /// The local endpoint to connect from.
    pub local: Option<SocketAddr>,
    /// Share the local port with other sockets (`SO_REUSEADDR` and `SO_REUSEPORT`).
    pub reuse_port: bool,
    /// Give up connecting after this long (the platform's own limit if none).
    pub connect_timeout: Option<Duration>,
    /// TTL or hop limit of the segments (the platform's default if none).
    pub ttl: Option<u8>,
}

/// A TCP connection.
pub trait TcpStream: AsyncRead + AsyncWrite + Unpin + 'static {
    /// The local endpoint.
    fn local_addr(&self) -> SocketAddr;
    /// The remote endpoint.
    fn peer_addr(&self) -> SocketAddr;
}

/// A TCP listener. Dropping it closes it.
pub trait TcpListener: 'static {
    /// What it accepts.
    type Stream: TcpStream;

    /// The local endpoint.
    fn local_addr(&self) -> SocketAddr;
    /// The next connection.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>>;
}

/// An echo reply that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EchoReply {
    /// Who answered.
    pub source: IpAddr,
    /// The sequence number of the request.
    pub sequence: u16,
    /// When it arrived.
    pub at: Time,
    /// Its TTL or hop limit on arrival.
    pub ttl: u8,
    /// How many payload bytes it carried.
    pub length: usize,
}

/// What comes back for an echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EchoAnswer {
    /// The reply.
    Reply(EchoReply),
    /// An ICMP error about the request with this sequence number.
    Error {
        /// The error and who reported it.
        report: IcmpReport,
        /// The request's sequence number.
        sequence: u16,
    },
}

/// A socket that sends ICMP echo requests under one identifier, as Linux's ping sockets do.
pub trait EchoSocket: 'static {
    /// The identifier of its requests.
    fn identifier(&self) -> u16;

    /// The TTL or hop limit of what is sent from now on (1-255).
    fn set_ttl(&self, ttl: u8) -> io::Result<()>;

    /// Sends an echo request.
    fn send(&self, destination: IpAddr, sequence: u16, payload: &[u8]) -> impl Future<Output = io::Result<()>>;

    /// The next answer.
    fn recv(&self) -> impl Future<Output = io::Result<EchoAnswer>>;
}

/// What the machine of a gateway can do beside: ask its NAT for mappings, as the servers of NAT-PMP, PCP and UPnP do on
/// behalf of hosts inside.
pub trait PortControl: Clone + 'static {
    /// Makes or renews an explicit mapping.
    ///
    /// # Errors
    /// Why there is none; nothing has changed then.
    fn map(&self, request: &MapRequest) -> Result<ExplicitMapping, MapRefusal>;

    /// Gives up an explicit mapping; false if it is not there any more.
    fn unmap(&self, mapping: &ExplicitMapping, traffic: Traffic) -> bool;

    /// The live explicit mappings, in the order of their numbers.
    fn explicit(&self) -> Vec<ExplicitMapping>;

    /// The oldest explicit mapping of an internal endpoint that is not for one remote alone.
    fn explicit_of(&self, protocol: Protocol, internal: SocketAddr) -> Option<ExplicitMapping>;

    /// Whether an internal endpoint has any mapping, explicit or made by its packets.
    fn is_mapped(&self, protocol: Protocol, internal: SocketAddr) -> bool;

    /// The first external address for IPv4 (`ipv6` false) or IPv6; `None` where the NAT has none or does not translate.
    fn external_address(&self, ipv6: bool) -> Option<IpAddr>;

    /// Since when the NAT has not lost its memory.
    fn up_since(&self) -> Time;

    /// Waits until the NAT has lost its memory or its external addresses, from this call on.
    fn changed(&self) -> impl Future<Output = ()>;
}
