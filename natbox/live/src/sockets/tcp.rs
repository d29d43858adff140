//! TCP of the system.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use natbox_host::{TcpListener, TcpOptions, TcpStream};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpSocket;

/// Connections that may wait for being accepted.
const BACKLOG: u32 = 128;

fn socket(ipv6: bool, options: TcpOptions) -> io::Result<TcpSocket> {
    let socket = if ipv6 { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    if ipv6 {
        SockRef::from(&socket).set_only_v6(true)?;
    }
    if options.reuse_port {
        socket.set_reuseaddr(true)?;
        socket.set_reuseport(true)?;
    }
    match (options.ttl, ipv6) {
        (Some(ttl), true) => SockRef::from(&socket).set_unicast_hops_v6(ttl.into())?,
        (Some(ttl), false) => SockRef::from(&socket).set_ttl_v4(ttl.into())?,
        (None, _) => {}
    }
    Ok(socket)
}

/// A TCP connection of the system.
#[derive(Debug)]
pub struct OsStream {
    stream: tokio::net::TcpStream,
    local: SocketAddr,
    remote: SocketAddr,
}

impl OsStream {
    /// A socket that is to be connected to `remote`.
    pub(super) fn socket(remote: SocketAddr, options: TcpOptions) -> io::Result<TcpSocket> {
        let socket = socket(remote.is_ipv6(), options)?;
        if let Some(local) = options.local {
            socket.bind(local)?;
        }
        Ok(socket)
    }

    pub(super) async fn connect(socket: TcpSocket, remote: SocketAddr, options: TcpOptions) -> io::Result<OsStream> {
        let connecting = socket.connect(remote);
        let stream = match options.connect_timeout {
            Some(limit) => tokio::time::timeout(limit, connecting).await.map_err(|_| io::ErrorKind::TimedOut)??,
            None => connecting.await?,
        };
        OsStream::new(stream, remote)
    }

    fn new(stream: tokio::net::TcpStream, remote: SocketAddr) -> io::Result<OsStream> {
        Ok(OsStream { local: stream.local_addr()?, stream, remote })
    }
}

impl TcpStream for OsStream {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn peer_addr(&self) -> SocketAddr {
        self.remote
    }
}

impl AsyncRead for OsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for OsStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A TCP listener of the system.
#[derive(Debug)]
pub struct OsListener {
    listener: tokio::net::TcpListener,
    local: SocketAddr,
}

impl OsListener {
    pub(super) fn listen(local: SocketAddr, options: TcpOptions) -> io::Result<OsListener> {
        let socket = socket(local.is_ipv6(), options)?;
        socket.bind(local)?;
        let listener = socket.listen(BACKLOG)?;
        Ok(OsListener { local: listener.local_addr()?, listener })
    }
}

impl TcpListener for OsListener {
    type Stream = OsStream;

    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    async fn accept(&self) -> io::Result<OsStream> {
        let (stream, remote) = self.listener.accept().await?;
        OsStream::new(stream, remote)
    }
}
