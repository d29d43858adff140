//! TCP of a virtual host. Dropping a stream closes it gracefully; dropping a listener closes its port.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use natbox_host::{TcpListener, TcpOptions, TcpStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::VirtualHost;
use crate::stack::errno::Errno;

/// A TCP connection of a virtual host.
#[derive(Debug)]
pub struct VirtualStream {
    host: VirtualHost,
    key: u32,
    local: SocketAddr,
    remote: SocketAddr,
}

impl VirtualStream {
    pub(super) async fn connect(
        host: &VirtualHost,
        remote: SocketAddr,
        options: TcpOptions,
    ) -> io::Result<VirtualStream> {
        let (key, local) = host.stack(|stack, now| stack.tcp_connect(remote, options, now))?;
        // From here on dropping the stream, as when this future is dropped, closes the socket.
        let stream = VirtualStream { host: host.clone(), key, local, remote };
        poll_fn(|context| ready(host.stack(|stack, _| stack.tcp_poll_connect(key, context.waker())))).await?;
        Ok(stream)
    }
}

fn ready<T>(result: Option<Result<T, Errno>>) -> Poll<io::Result<T>> {
    result.map_or(Poll::Pending, |result| Poll::Ready(result.map_err(io::Error::from)))
}

impl Drop for VirtualStream {
    fn drop(&mut self) {
        self.host.close(|stack, now| stack.tcp_close(self.key, now));
    }
}

impl TcpStream for VirtualStream {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn peer_addr(&self) -> SocketAddr {
        self.remote
    }
}

impl AsyncRead for VirtualStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.host.poll_turn(context));
        let room = buffer.initialize_unfilled();
        let read = self.host.stack(|stack, now| stack.tcp_read(self.key, room, context.waker(), now));
        ready(read).map_ok(|length| buffer.advance(length))
    }
}

impl AsyncWrite for VirtualStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        std::task::ready!(self.host.poll_turn(context));
        ready(self.host.stack(|stack, now| stack.tcp_write(self.key, bytes, context.waker(), now)))
    }

    /// At once: what is written is sent as soon as the connection can.
    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.host.stack(|stack, now| stack.tcp_shutdown(self.key, now)).map_err(io::Error::from))
    }
}

/// A TCP listener of a virtual host.
#[derive(Debug)]
pub struct VirtualListener {
    host: VirtualHost,
    key: u32,
    local: SocketAddr,
}

impl VirtualListener {
    pub(super) fn listen(host: &VirtualHost, local: SocketAddr, options: TcpOptions) -> io::Result<VirtualListener> {
        let (key, local) = host.stack(|stack, _| stack.tcp_listen(local, options))?;
        Ok(VirtualListener { host: host.clone(), key, local })
    }
}

impl Drop for VirtualListener {
    fn drop(&mut self) {
        self.host.close(|stack, now| stack.tcp_unlisten(self.key, now));
    }
}

impl TcpListener for VirtualListener {
    type Stream = VirtualStream;

    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    async fn accept(&self) -> io::Result<VirtualStream> {
        self.host.turn().await;
        let accepted =
            poll_fn(|context| ready(self.host.stack(|stack, _| stack.tcp_accept(self.key, context.waker()))));
        let (key, local, remote) = accepted.await?;
        Ok(VirtualStream { host: self.host.clone(), key, local, remote })
    }
}
