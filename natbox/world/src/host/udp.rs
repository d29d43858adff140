//! UDP and echo sockets of a virtual host. Dropping one closes it.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::Poll;

use natbox_host::{EchoAnswer, EchoSocket, IcmpReport, Received, UdpSocket};
use natbox_wire::Time;

use super::VirtualHost;
use crate::stack::Stack;
use crate::stack::errno::Errno;

/// A UDP socket of a virtual host.
#[derive(Debug)]
pub struct VirtualUdp {
    host: VirtualHost,
    key: u32,
}

impl VirtualUdp {
    pub(super) fn bind(host: &VirtualHost, local: SocketAddr) -> io::Result<VirtualUdp> {
        let key = host.stack(|stack, _| stack.udp_bind(local))?;
        Ok(VirtualUdp { host: host.clone(), key })
    }

    fn call<R>(&self, f: impl FnOnce(&mut Stack, u32, Time) -> Result<R, Errno>) -> io::Result<R> {
        Ok(self.host.stack(|stack, now| f(stack, self.key, now))?)
    }
}

impl Drop for VirtualUdp {
    fn drop(&mut self) {
        self.host.close(|stack, _| stack.udp_close(self.key));
    }
}

impl UdpSocket for VirtualUdp {
    fn local_addr(&self) -> SocketAddr {
        self.call(|stack, key, _| Ok(stack.udp_socket(key)?.local)).unwrap_or(SocketAddr::from(([0; 4], 0)))
    }

    fn connect(&self, remote: SocketAddr) -> io::Result<()> {
        self.call(|stack, key, _| stack.udp_connect(key, remote))
    }

    fn set_ttl(&self, ttl: u8) -> io::Result<()> {
        self.call(|stack, key, _| stack.udp_set_ttl(key, ttl))
    }

    fn set_dont_fragment(&self, dont_fragment: bool) -> io::Result<()> {
        self.call(|stack, key, _| {
            stack.udp_socket(key)?.dont_fragment = dont_fragment;
            Ok(())
        })
    }

    fn set_receive_errors(&self, receive_errors: bool) -> io::Result<()> {
        self.call(|stack, key, _| {
            stack.udp_socket(key)?.receive_errors = receive_errors;
            Ok(())
        })
    }

    fn take_icmp_report(&self) -> Option<IcmpReport> {
        self.host.stack(|stack, _| stack.udp_take_report(self.key))
    }

    fn join_multicast(&self, group: IpAddr, interface: IpAddr) -> io::Result<()> {
        self.call(|stack, key, _| stack.udp_join(key, group, interface))
    }

    async fn send_to(&self, payload: &[u8], destination: SocketAddr) -> io::Result<usize> {
        self.host.turn().await;
        self.call(|stack, key, now| stack.udp_send(key, payload, destination, now))
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.host.turn().await;
        poll_fn(|context| match self.host.stack(|stack, _| stack.udp_receive(self.key, buffer, context.waker())) {
            Some(received) => Poll::Ready(received.map_err(io::Error::from)),
            None => Poll::Pending,
        })
        .await
    }
}

/// An ICMP echo socket of a virtual host.
#[derive(Debug)]
pub struct VirtualEcho {
    host: VirtualHost,
    key: u32,
    identifier: u16,
}

impl VirtualEcho {
    pub(super) fn open(host: &VirtualHost, local: IpAddr) -> io::Result<VirtualEcho> {
        let (key, identifier) = host.stack(|stack, _| stack.echo_open(local))?;
        Ok(VirtualEcho { host: host.clone(), key, identifier })
    }
}

impl Drop for VirtualEcho {
    fn drop(&mut self) {
        self.host.close(|stack, _| stack.echo_close(self.key));
    }
}

impl EchoSocket for VirtualEcho {
    fn identifier(&self) -> u16 {
        self.identifier
    }

    fn set_ttl(&self, ttl: u8) -> io::Result<()> {
        Ok(self.host.stack(|stack, _| stack.echo_set_ttl(self.key, ttl))?)
    }

    async fn send(&self, destination: IpAddr, sequence: u16, payload: &[u8]) -> io::Result<()> {
        self.host.turn().await;
        Ok(self.host.stack(|stack, now| stack.echo_send(self.key, destination, sequence, payload, now))?)
    }

    async fn recv(&self) -> io::Result<EchoAnswer> {
        self.host.turn().await;
        poll_fn(|context| match self.host.stack(|stack, _| stack.echo_receive(self.key, context.waker())) {
            Some(answer) => Poll::Ready(answer.map_err(io::Error::from)),
            None => Poll::Pending,
        })
        .await
    }
}
