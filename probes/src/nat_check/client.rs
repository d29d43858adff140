//! The client: its two UDP sockets, and its TCP port that listens and connects.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::join;
use natbox_host::{Host, TcpListener, TcpOptions, TcpStream, UdpSocket};
use rand_core::Rng;

use super::message::{LONGEST_BYTES, Message};
use super::{Finding, Servers};
use crate::ProbeError;
use crate::stream::{Framed, before};
use crate::wait::receive;

/// How often a datagram is sent, and how long each time an answer may take.
const UDP: (u32, Duration) = (4, Duration::from_millis(500));
/// How long server 1 may take over TCP.
const ANSWER: Duration = Duration::from_secs(5);
/// How long server 2 may take: it waits for server 3.
const GO: Duration = Duration::from_secs(15);
/// How long connections to server 3 and to the client itself may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Checks the NAT in front of `host`. Silence is a finding.
///
/// # Errors
/// When the machine cannot open its sockets.
pub async fn check<H: Host>(host: &H, servers: Servers) -> Result<Finding, ProbeError> {
    let local = host.source_for(servers.one.ip()).map_err(ProbeError::io("find a way to the servers"))?;
    let client = Client { host, servers, any_port: SocketAddr::new(local, 0), id: host.random().next_u64() };
    let mut finding = Finding::default();
    client.udp(&mut finding).await.map_err(ProbeError::io("check UDP"))?;
    client.tcp(&mut finding).await.map_err(ProbeError::io("check TCP"))?;
    Ok(finding)
}

struct Client<'a, H: Host> {
    host: &'a H,
    servers: Servers,
    any_port: SocketAddr,
    id: u64,
}

impl<H: Host> Client<'_, H> {
    async fn udp(&self, finding: &mut Finding) -> io::Result<()> {
        let (first, second) = (self.host.udp_bind(self.any_port).await?, self.host.udp_bind(self.any_port).await?);
        let hello = Message::Hello(self.id);
        finding.udp.0 = self.until_seen(&first, (&first, hello, self.servers.one), finding).await;
        finding.udp.1 = self.until_seen(&first, (&first, hello, self.servers.two), finding).await;
        if let Some(own) = finding.udp.1 {
            self.until_seen(&first, (&second, Message::Hairpin(self.id), own), finding).await;
        }
        Ok(())
    }

    /// Sends from a socket, until its answer comes to the first one: where that was seen; nothing for what hairpins.
    async fn until_seen(
        &self,
        first: &H::Udp,
        (from, message, to): (&H::Udp, Message, SocketAddr),
        finding: &mut Finding,
    ) -> Option<SocketAddr> {
        let mut buffer = [0; LONGEST_BYTES];
        for _ in 0..UDP.0 {
            // A NAT that refuses says so by silence or by an error: neither ends the check.
            let _ = from.send_to(&message.encode(), to).await;
            let deadline = self.host.now() + UDP.1;
            loop {
                let received = match receive(self.host, first, &mut buffer, deadline).await {
                    Ok(None) => break,
                    Err(_) if self.host.now() >= deadline => break,
                    Err(_) => continue,
                    Ok(Some(received)) => received,
                };
                match Message::decode(&buffer[..received.length]) {
                    Some(Message::Seen(id, endpoint, None)) if id == self.id && received.source == to => {
                        return Some(endpoint);
                    }
                    Some(Message::Unsolicited(id)) if id == self.id && received.source == self.servers.three => {
                        finding.udp_unsolicited = true;
                    }
                    Some(Message::Hairpin(id)) if id == self.id => {
                        finding.udp_hairpin = true;
                        return None;
                    }
                    _ => {}
                }
            }
        }
        None
    }

    async fn tcp(&self, finding: &mut Finding) -> io::Result<()> {
        let shared = TcpOptions { reuse_port: true, ..TcpOptions::default() };
        let listener = self.host.tcp_listen(self.any_port, shared).await?;
        let own = listener.local_addr();
        let one = self.ask(own, self.servers.one, ANSWER).await;
        finding.tcp.0 = one.as_ref().ok().map(|(_, seen, _)| *seen);
        let two = self.ask(own, self.servers.two, GO).await;
        if let Ok((_, seen, fate)) = &two {
            (finding.tcp.1, finding.tcp_syn) = (Some(*seen), *fate);
        }
        finding.tcp_connected = self.accepted(&listener, Message::Hello(self.id)).await
            || (two.is_ok() && self.connected(own).await.is_ok());
        if let Ok((_, seen, _)) = &two {
            let (accepted, _) = join!(self.accepted(&listener, Message::Hairpin(self.id)), self.to_itself(*seen));
            finding.tcp_hairpin = accepted;
        }
        Ok(())
    }

    /// Connects from the common port to a server, and asks where from. The connection stays open.
    async fn ask(
        &self,
        own: SocketAddr,
        server: SocketAddr,
        patience: Duration,
    ) -> io::Result<(Framed<H::Tcp>, SocketAddr, Option<super::Fate>)> {
        let until = self.host.now() + patience;
        let stream = before(self.host, until, self.host.tcp_connect(server, self.from(own))).await?;
        let mut framed = Framed::new(stream, LONGEST_BYTES);
        let answer = before(self.host, until, async {
            framed.send(&Message::Hello(self.id).encode()).await?;
            framed.recv().await
        });
        match Message::decode(&answer.await?) {
            Some(Message::Seen(id, endpoint, fate)) if id == self.id => Ok((framed, endpoint, fate)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn from(&self, own: SocketAddr) -> TcpOptions {
        TcpOptions { local: Some(own), reuse_port: true, connect_timeout: Some(CONNECT), ttl: None }
    }

    /// Connects from the common port to server 3, which says whose check it is.
    async fn connected(&self, own: SocketAddr) -> io::Result<()> {
        let until = self.host.now() + CONNECT;
        let connect = self.host.tcp_connect(self.servers.three, self.from(own));
        let mut framed = Framed::new(before(self.host, until, connect).await?, LONGEST_BYTES);
        let said = before(self.host, until, framed.recv()).await?;
        (Message::decode(&said) == Some(Message::Hello(self.id))).then_some(()).ok_or(io::ErrorKind::InvalidData.into())
    }

    /// Connects from another port to the own external endpoint.
    async fn to_itself(&self, external: SocketAddr) -> io::Result<()> {
        let until = self.host.now() + CONNECT;
        let options = TcpOptions { connect_timeout: Some(CONNECT), ..TcpOptions::default() };
        let stream = before(self.host, until, self.host.tcp_connect(external, options)).await?;
        let mut framed = Framed::new(stream, LONGEST_BYTES);
        framed.send(&Message::Hairpin(self.id).encode()).await?;
        before(self.host, until, framed.recv()).await.map(drop)
    }

    /// Whether a connection comes whose first message is this one.
    async fn accepted(&self, listener: &H::Listener, wanted: Message) -> bool {
        // What came in the five seconds of server 3 waits already; what hairpins takes a way out and back.
        let patience = if matches!(wanted, Message::Hello(_)) { Duration::from_millis(100) } else { CONNECT };
        let until = self.host.now() + patience;
        loop {
            let Ok(stream) = before(self.host, until, listener.accept()).await else { return false };
            let expected = matches!(wanted, Message::Hairpin(_)) || stream.peer_addr() == self.servers.three;
            let mut framed = Framed::new(stream, LONGEST_BYTES);
            let said = before(self.host, until, framed.recv()).await;
            if expected && said.is_ok_and(|said| Message::decode(&said) == Some(wanted)) {
                return true;
            }
        }
    }
}
