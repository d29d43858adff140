//! One attempt: TCP and QUIC side by side, until one is up.

use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures::lock::Mutex;
use futures::{FutureExt, select_biased};
use natbox_host::{Host, UdpSocket};
use natbox_wire::Time;
use rand_core::Rng;

use super::wire::Address;
use super::{NOISE, NOISE_BYTES, Ports, READ_BYTES};
use crate::contact::{Contact, Setting};
use crate::path::{Path, Transport};
use crate::punch::Role;
use crate::rendezvous::Token;
use crate::talk::proof::{Proof, Taken};
use crate::talk::{Ends, Goal, Pipe, Talk, TcpPipe, UdpPipe, prove};
use crate::tcp_punch::{Dialing, Plan};
use crate::wait::receive;

/// A client that has heard nothing sends its Initial again after its probe timeout: 333 ms + 4 * 333 / 2 ms (RFC 9002
/// section 6.2.2).
const INITIAL_AGAIN: Duration = Duration::from_millis(999);

/// A connection that is up and chosen.
pub(super) enum Way<H: Host> {
    Tcp(TcpPipe<H::Tcp>, Proof, Path),
    Quic(UdpPipe<H::Udp>, Proof, Path),
}

impl<H: Host> Way<H> {
    pub(super) fn into_contact(self, host: &H, peer: &str, setting: &Setting, elapsed: Duration) -> Contact<H> {
        let keep_alive = setting.options.keep_alive;
        match self {
            Way::Tcp(pipe, proof, path) => {
                Contact::new(host.clone(), Talk::new(host, pipe, proof, peer, path, keep_alive), elapsed)
            }
            Way::Quic(pipe, proof, path) => {
                Contact::new(host.clone(), Talk::new(host, pipe, proof, peer, path, keep_alive), elapsed)
            }
        }
    }
}

pub(super) struct Attempt<'a, H: Host> {
    host: &'a H,
    role: Role,
    token: Token,
    tcp: Option<(Dialing<'a, H>, Ends)>,
    udp: Option<(Rc<H::Udp>, Ends)>,
    until: Time,
    /// Of several ways A chooses one at a time.
    choosing: Rc<Mutex<()>>,
}

impl<'a, H: Host> Attempt<'a, H> {
    pub(super) fn new(
        host: &'a H,
        ports: &Ports<H>,
        role: Role,
        token: Token,
        theirs: &[Address],
        until: Time,
    ) -> Attempt<'a, H> {
        let choosing = Rc::new(Mutex::new(()));
        let tcp = ports.tcp.as_ref().and_then(|own| {
            let ends = ends(role, Transport::Tcp, own.local, own.mapped, theirs)?;
            let plan = Plan { until, again: None, choosing: choosing.clone() };
            Some((Dialing::new(host, &ends, own.local, token, plan), ends))
        });
        let udp = ports.udp.as_ref().and_then(|(socket, mapped)| {
            Some((socket.clone(), ends(role, Transport::Udp, socket.local_addr(), *mapped, theirs)?))
        });
        Attempt { host, role, token, tcp, udp, until, choosing }
    }

    /// The first that is up; `None` if none is when the time is over.
    pub(super) async fn run(&self) -> Option<Way<H>> {
        let mut tcp = pin!(self.tcp().fuse());
        let mut quic = pin!(self.quic().fuse());
        let mut end = pin!(self.host.sleep_until(self.until).fuse());
        let mut failed = 0;
        while failed < 2 {
            select_biased! {
                way = tcp => match way {
                    Some(way) => return Some(way),
                    None => failed += 1,
                },
                way = quic => match way {
                    Some(way) => return Some(way),
                    None => failed += 1,
                },
                () = end => return None,
            }
        }
        None
    }

    /// What became of it.
    pub(super) fn lines(&self) -> Vec<String> {
        let tcp = self.tcp.iter().flat_map(|(dialing, _)| dialing.lines());
        let udp = self.udp.iter().map(|(_, ends)| format!("quic {}: no answer", ends.peer_mapped));
        tcp.chain(udp).collect()
    }

    async fn tcp(&self) -> Option<Way<H>> {
        let (dialing, ends) = self.tcp.as_ref()?;
        let met = dialing.run(None).await.ok()?;
        let path = ends.path(self.host, met.pipe.remote(), met.proof.seen().unwrap_or(ends.mapped));
        Some(Way::Tcp(met.pipe, met.proof, path))
    }

    async fn quic(&self) -> Option<Way<H>> {
        let (socket, ends) = self.udp.as_ref()?;
        let mut proof = Proof::new(self.role, self.token, &mut self.host.random());
        let (socket, remote) = (socket.clone(), ends.peer_mapped);
        let mut pipe = UdpPipe { socket, remote, again: INITIAL_AGAIN };
        let (until, host) = (self.until, self.host);
        if self.role == Role::Callee {
            pipe.remote = self.be_dialled(&pipe.socket, remote, &mut proof).await?;
            prove(host, &mut pipe, &mut proof, Goal::Chosen, until).await.ok()?;
        } else {
            prove(host, &mut pipe, &mut proof, Goal::Proven, until).await.ok()?;
            let _turn = self.choosing.lock().await;
            proof.choose();
            prove(host, &mut pipe, &mut proof, Goal::Chosen, until).await.ok()?;
        }
        let path = ends.path(host, pipe.remote, proof.seen().unwrap_or(ends.mapped));
        Some(Way::Quic(pipe, proof, path))
    }

    /// B: sends random bytes to where A is said to be, until A's first packet comes; from where.
    async fn be_dialled(&self, socket: &H::Udp, remote: SocketAddr, proof: &mut Proof) -> Option<SocketAddr> {
        let mut random = self.host.random();
        let mut buffer = [0; READ_BYTES];
        while self.host.now() < self.until {
            let mut noise = [0; NOISE_BYTES];
            random.fill_bytes(&mut noise);
            // What cannot be sent now may be the next time.
            let _ = socket.send_to(&noise, remote).await;
            let [least, most] = NOISE.map(|wait| wait.as_micros() as u64);
            let wait = Duration::from_micros(least + random.next_u64() % (most - least + 1));
            let next = self.until.min(self.host.now() + wait);
            while let Ok(Some(received)) = receive(self.host, socket, &mut buffer, next).await {
                let message = &buffer[..received.length.min(READ_BYTES)];
                if let Taken::Answer(answer) = proof.take(message, received.source) {
                    let _ = socket.send_to(&answer, received.source).await;
                    return Some(received.source);
                }
            }
            // Where the socket has told of an error instead.
            self.host.sleep_until(next).await;
        }
        None
    }
}

/// Both ends on one transport; `None` if the peer has told no address of it.
fn ends(role: Role, transport: Transport, local: SocketAddr, mapped: SocketAddr, theirs: &[Address]) -> Option<Ends> {
    let mut theirs = theirs.iter().filter(|(their, _)| *their == transport).map(|(_, at)| *at);
    let peer_mapped = theirs.next()?;
    Some(Ends { role, local: vec![local], mapped, peer_local: theirs.collect(), peer_mapped })
}
