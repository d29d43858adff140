//! UDP sockets of the system.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use natbox_host::{IcmpReport, Received, UdpSocket};
use nix::sys::socket::sockopt::{
    Ipv4PacketInfo, Ipv4RecvErr, Ipv4RecvTtl, Ipv6RecvErr, Ipv6RecvHopLimit, Ipv6RecvPacketInfo,
};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt};
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net;

use super::home::Home;
use super::{Clock, interfaces, os_error, report};

/// Room for what the system tells beside a datagram, in bytes.
const BESIDE_BYTES: usize = 256;

/// A UDP socket of the system, of one IP version.
#[derive(Debug)]
pub struct OsUdp {
    socket: net::UdpSocket,
    /// The local endpoint when it was bound.
    bound: SocketAddr,
    clock: Clock,
    home: Home,
}

impl OsUdp {
    pub(super) fn bind(local: SocketAddr, clock: Clock, home: Home) -> io::Result<OsUdp> {
        let socket = Socket::new(Domain::for_address(local), Type::DGRAM.nonblocking().cloexec(), None)?;
        if local.is_ipv6() {
            socket.set_only_v6(true)?;
            setsockopt(&socket, Ipv6RecvPacketInfo, &true).map_err(os_error)?;
            setsockopt(&socket, Ipv6RecvHopLimit, &true).map_err(os_error)?;
        } else {
            setsockopt(&socket, Ipv4PacketInfo, &true).map_err(os_error)?;
            setsockopt(&socket, Ipv4RecvTtl, &true).map_err(os_error)?;
        }
        socket.bind(&local.into())?;
        let bound = socket.local_addr()?.as_socket().unwrap_or(local);
        Ok(OsUdp { socket: watched(socket)?, bound, clock, home })
    }

    fn is_ipv6(&self) -> bool {
        self.bound.is_ipv6()
    }
}

/// A datagram socket in the reactor's care.
pub(super) fn watched(socket: Socket) -> io::Result<net::UdpSocket> {
    net::UdpSocket::from_std(socket.into())
}

/// What `read` gives once the socket has something to give: a datagram, or an error.
pub(super) async fn when_readable<R>(
    socket: &net::UdpSocket,
    mut read: impl FnMut(&net::UdpSocket) -> io::Result<R>,
) -> io::Result<R> {
    loop {
        let ready = socket.ready(Interest::READABLE | Interest::ERROR).await?;
        // The reactor clears the readiness that was tried, of one kind at a time.
        let kind = if ready.is_error() { Interest::ERROR } else { Interest::READABLE };
        match socket.try_io(kind, || read(socket)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
    }
}

/// The endpoint that the system's address means.
pub(super) fn endpoint(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))
}

/// What stands beside a datagram: the address that it was sent to, and its TTL or hop limit.
#[derive(Clone, Copy, Default)]
pub(super) struct Beside {
    pub(super) destination: Option<IpAddr>,
    pub(super) ttl: Option<u8>,
}

/// Reads a datagram: how long it is, from whom, and what stands beside it.
pub(super) fn read(socket: &net::UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, Option<SocketAddr>, Beside)> {
    let mut control = vec![0; BESIDE_BYTES];
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let message =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags).map_err(os_error)?;
    let mut beside = Beside::default();
    for told in message.cmsgs().map_err(os_error)? {
        match told {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                beside.destination = Some(IpAddr::from(info.ipi_addr.s_addr.to_ne_bytes()));
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                beside.destination = Some(IpAddr::from(info.ipi6_addr.s6_addr));
            }
            ControlMessageOwned::Ipv4Ttl(ttl) | ControlMessageOwned::Ipv6HopLimit(ttl) => {
                beside.ttl = u8::try_from(ttl).ok();
            }
            _ => {}
        }
    }
    Ok((message.bytes, message.address.as_ref().and_then(endpoint), beside))
}

impl UdpSocket for OsUdp {
    fn local_addr(&self) -> SocketAddr {
        self.socket.local_addr().unwrap_or(self.bound)
    }

    fn connect(&self, remote: SocketAddr) -> io::Result<()> {
        SockRef::from(&self.socket).connect(&remote.into())
    }

    fn set_ttl(&self, ttl: u8) -> io::Result<()> {
        set_ttl(&self.socket, self.is_ipv6(), ttl)
    }

    fn set_dont_fragment(&self, dont_fragment: bool) -> io::Result<()> {
        let socket = &self.socket;
        match (self.is_ipv6(), dont_fragment) {
            (false, true) => set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::DO),
            (false, false) => set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::DONT),
            (true, true) => set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::DO),
            (true, false) => set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::DONT),
        }
        .map_err(io::Error::from)
    }

    fn set_receive_errors(&self, receive_errors: bool) -> io::Result<()> {
        let socket = &self.socket;
        match self.is_ipv6() {
            true => setsockopt(socket, Ipv6RecvErr, &receive_errors),
            false => setsockopt(socket, Ipv4RecvErr, &receive_errors),
        }
        .map_err(os_error)
    }

    fn take_icmp_report(&self) -> Option<IcmpReport> {
        report::take(&self.socket, self.is_ipv6(), self.clock.now()).map(|(report, _)| report)
    }

    fn join_multicast(&self, group: IpAddr, interface: IpAddr) -> io::Result<()> {
        let socket = SockRef::from(&self.socket);
        match (group, interface) {
            (IpAddr::V4(group), IpAddr::V4(interface)) => socket.join_multicast_v4(&group, &interface),
            (IpAddr::V6(group), interface) => {
                socket.join_multicast_v6(&group, self.home.there(move || interfaces::index_of(interface))??)
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "the group and the interface differ in IP version")),
        }
    }

    async fn send_to(&self, payload: &[u8], destination: SocketAddr) -> io::Result<usize> {
        self.socket.send_to(payload, destination).await
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let (length, source, beside) = when_readable(&self.socket, |socket| read(socket, buffer)).await?;
        let local = self.local_addr();
        let nobody = || io::Error::new(io::ErrorKind::InvalidData, "a datagram without a source");
        Ok(Received {
            length,
            source: source.ok_or_else(nobody)?,
            destination: SocketAddr::new(beside.destination.unwrap_or(local.ip()), local.port()),
            at: self.clock.now(),
            ttl: beside.ttl.unwrap_or(0),
        })
    }
}

/// The TTL or hop limit of what a socket sends.
pub(super) fn set_ttl(socket: &net::UdpSocket, ipv6: bool, ttl: u8) -> io::Result<()> {
    let socket = SockRef::from(socket);
    match (ttl, ipv6) {
        (0, _) => Err(io::Error::new(io::ErrorKind::InvalidInput, "a TTL is 1 to 255")),
        (ttl, true) => socket.set_unicast_hops_v6(ttl.into()),
        (ttl, false) => socket.set_ttl_v4(ttl.into()),
    }
}
