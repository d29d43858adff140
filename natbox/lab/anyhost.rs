//! A host that is of one of two kinds: simulated, or real. Programs written against [`Host`] need not know which.
//!
//! Where nothing is real, the second kind never occurs.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::Either;
use natbox_host::{EchoAnswer, EchoSocket, Host, IcmpReport, Received, TcpListener, TcpOptions, TcpStream, UdpSocket};
use natbox_wire::Time;
use natbox_world::VirtualHost;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is real of a lab; nothing is where there are no live labs.
#[cfg(target_os = "linux")]
pub(crate) type RealHost = crate::live::Resident;
#[cfg(not(target_os = "linux"))]
pub(crate) type RealHost = VirtualHost;

/// A host of a lab.
pub(crate) type AnyHost = Any<VirtualHost, RealHost>;

/// One of two kinds of a thing.
#[derive(Clone, Debug)]
pub(crate) enum Any<V, R> {
    /// Simulated.
    Virtual(V),
    /// The operating system's.
    Real(R),
}

/// Does the same with either kind.
macro_rules! either {
    ($any:expr, $inner:ident => $act:expr) => {
        match $any {
            Any::Virtual($inner) => $act,
            Any::Real($inner) => $act,
        }
    };
}

/// Waits for the same of either kind.
macro_rules! both {
    ($any:expr, $inner:ident => $future:expr) => {
        match $any {
            Any::Virtual($inner) => Either::Left($future),
            Any::Real($inner) => Either::Right($future),
        }
    };
}

/// Makes the same of either kind.
macro_rules! made {
    ($any:expr, $inner:ident => $future:expr) => {
        match $any {
            Any::Virtual($inner) => $future.await.map(Any::Virtual),
            Any::Real($inner) => $future.await.map(Any::Real),
        }
    };
}

impl<V: Host, R: Host<Random = V::Random>> Host for Any<V, R> {
    type Udp = Any<V::Udp, R::Udp>;
    type Tcp = Any<V::Tcp, R::Tcp>;
    type Listener = Any<V::Listener, R::Listener>;
    type Echo = Any<V::Echo, R::Echo>;
    type Random = V::Random;

    fn name(&self) -> String {
        either!(self, host => host.name())
    }

    fn addresses(&self) -> Vec<IpAddr> {
        either!(self, host => host.addresses())
    }

    fn default_gateway(&self, ipv6: bool) -> Option<IpAddr> {
        either!(self, host => host.default_gateway(ipv6))
    }

    fn is_neighbour(&self, address: IpAddr) -> bool {
        either!(self, host => host.is_neighbour(address))
    }

    fn source_for(&self, destination: IpAddr) -> io::Result<IpAddr> {
        either!(self, host => host.source_for(destination))
    }

    fn now(&self) -> Time {
        either!(self, host => host.now())
    }

    fn sleep_until(&self, deadline: Time) -> impl Future<Output = ()> {
        both!(self, host => host.sleep_until(deadline))
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> {
        both!(self, host => host.sleep(duration))
    }

    fn spawn(&self, program: impl Future<Output = ()> + 'static) {
        either!(self, host => host.spawn(program));
    }

    fn random(&self) -> V::Random {
        either!(self, host => host.random())
    }

    async fn udp_bind(&self, local: SocketAddr) -> io::Result<Self::Udp> {
        made!(self, host => host.udp_bind(local))
    }

    async fn tcp_connect(&self, remote: SocketAddr, options: TcpOptions) -> io::Result<Self::Tcp> {
        made!(self, host => host.tcp_connect(remote, options))
    }

    async fn tcp_listen(&self, local: SocketAddr, options: TcpOptions) -> io::Result<Self::Listener> {
        made!(self, host => host.tcp_listen(local, options))
    }

    async fn echo_socket(&self, local: IpAddr) -> io::Result<Self::Echo> {
        made!(self, host => host.echo_socket(local))
    }
}

impl<V: UdpSocket, R: UdpSocket> UdpSocket for Any<V, R> {
    fn local_addr(&self) -> SocketAddr {
        either!(self, socket => socket.local_addr())
    }

    fn connect(&self, remote: SocketAddr) -> io::Result<()> {
        either!(self, socket => socket.connect(remote))
    }

    fn set_ttl(&self, ttl: u8) -> io::Result<()> {
        either!(self, socket => socket.set_ttl(ttl))
    }

    fn set_dont_fragment(&self, dont_fragment: bool) -> io::Result<()> {
        either!(self, socket => socket.set_dont_fragment(dont_fragment))
    }

    fn set_receive_errors(&self, receive_errors: bool) -> io::Result<()> {
        either!(self, socket => socket.set_receive_errors(receive_errors))
    }

    fn take_icmp_report(&self) -> Option<IcmpReport> {
        either!(self, socket => socket.take_icmp_report())
    }

    fn join_multicast(&self, group: IpAddr, interface: IpAddr) -> io::Result<()> {
        either!(self, socket => socket.join_multicast(group, interface))
    }

    fn send_to(&self, payload: &[u8], destination: SocketAddr) -> impl Future<Output = io::Result<usize>> {
        both!(self, socket => socket.send_to(payload, destination))
    }

    fn recv_from(&self, buffer: &mut [u8]) -> impl Future<Output = io::Result<Received>> {
        both!(self, socket => socket.recv_from(buffer))
    }
}

impl<V: TcpListener, R: TcpListener> TcpListener for Any<V, R> {
    type Stream = Any<V::Stream, R::Stream>;

    fn local_addr(&self) -> SocketAddr {
        either!(self, listener => listener.local_addr())
    }

    async fn accept(&self) -> io::Result<Self::Stream> {
        made!(self, listener => listener.accept())
    }
}

impl<V: TcpStream, R: TcpStream> TcpStream for Any<V, R> {
    fn local_addr(&self) -> SocketAddr {
        either!(self, stream => stream.local_addr())
    }

    fn peer_addr(&self) -> SocketAddr {
        either!(self, stream => stream.peer_addr())
    }
}

impl<V: AsyncRead + Unpin, R: AsyncRead + Unpin> AsyncRead for Any<V, R> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_read(context, buffer))
    }
}

impl<V: AsyncWrite + Unpin, R: AsyncWrite + Unpin> AsyncWrite for Any<V, R> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(context))
    }
}

impl<V: EchoSocket, R: EchoSocket> EchoSocket for Any<V, R> {
    fn identifier(&self) -> u16 {
        either!(self, socket => socket.identifier())
    }

    fn set_ttl(&self, ttl: u8) -> io::Result<()> {
        either!(self, socket => socket.set_ttl(ttl))
    }

    fn send(&self, destination: IpAddr, sequence: u16, payload: &[u8]) -> impl Future<Output = io::Result<()>> {
        both!(self, socket => socket.send(destination, sequence, payload))
    }

    fn recv(&self) -> impl Future<Output = io::Result<EchoAnswer>> {
        both!(self, socket => socket.recv())
    }
}
