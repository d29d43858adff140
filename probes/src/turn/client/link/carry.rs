//! The programs that read a client's socket, or have its connection, until the link is stopped.

use std::io;
use std::pin::pin;
use std::rc::Rc;

use futures::channel::mpsc;
use futures::future::{Either, select};
use futures::{FutureExt, StreamExt, select_biased};
use natbox_host::{Host, UdpSocket};
use stun_types::message::MessageClass;
use turn_types::message::{CONNECTION_ATTEMPT, DATA};

use super::Link;
use crate::turn::Error;
use crate::turn::message::{Kind, kind, parse, parse_channel_data};
use crate::turn::stream::Messages;

const BUFFER_BYTES: usize = 65_535;
/// Errors in a row after which the socket counts as broken.
const MAX_ERRORS: u32 = 16;

/// What a connection carried.
enum Carried {
    In(io::Result<Vec<u8>>),
    Out(Option<Vec<u8>>),
}

impl<H: Host> Link<H> {
    /// Reads the socket until the link is stopped.
    pub(super) async fn read(link: Rc<Link<H>>, socket: Rc<H::Udp>) {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut errors = 0;
        while !link.stopped.get() && errors < MAX_ERRORS {
            let changed = link.changed.changed();
            let received = match select(pin!(socket.recv_from(&mut buffer)), pin!(changed)).await {
                Either::Left((received, _)) => received,
                Either::Right(_) => continue,
            };
            match received {
                Ok(received) => {
                    errors = 0;
                    if received.source == link.server {
                        link.take(buffer.get(..received.length).unwrap_or_default());
                    }
                }
                Err(error) => {
                    errors += 1;
                    while socket.take_icmp_report().is_some() {}
                    link.fail_waiting(&error);
                }
            }
        }
        if !link.stopped.get() {
            link.lose("the socket to the TURN server broke".to_owned());
        }
    }

    /// Carries messages over a connection until the link is stopped or the connection ends.
    pub(super) async fn carry(link: Rc<Link<H>>, mut messages: Messages, mut outgoing: mpsc::Receiver<Vec<u8>>) {
        while !link.stopped.get() {
            let carried = {
                let mut came = pin!(messages.recv().fuse());
                let mut changed = pin!(link.changed.changed().fuse());
                select_biased! {
                    came = came => Carried::In(came),
                    going = outgoing.next() => Carried::Out(going),
                    () = changed => continue,
                }
            };
            let done = match carried {
                Carried::In(Ok(message)) => {
                    link.take(&message);
                    Ok(())
                }
                Carried::Out(Some(message)) => messages.send(&message).await,
                Carried::In(Err(error)) => Err(error),
                Carried::Out(None) => return,
            };
            if let Err(error) = done {
                return link.disconnected(&error);
            }
        }
    }

    /// The connection has ended, and the allocation with it (RFC 8656 section 3.1).
    fn disconnected(&self, error: &io::Error) {
        for (_, waiting) in self.waiting.take() {
            let _ = waiting.answer.send(Err(Error::io("talk to the TURN server", error)));
        }
        if !self.stopped.get() {
            self.lose(format!("the connection to the TURN server has ended: {error}"));
        }
    }

    /// A port, host or network unreachable ends the transactions under way; anything milder is waited out.
    fn fail_waiting(&self, error: &io::Error) {
        use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
        if matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable) {
            for (_, waiting) in self.waiting.take() {
                let _ = waiting.answer.send(Err(Error::io("reach the TURN server", error)));
            }
        }
    }

    fn take(&self, datagram: &[u8]) {
        match kind(datagram) {
            Kind::Channel => {
                let Some((number, payload)) = parse_channel_data(datagram) else { return };
                if let Some(peer) = self.with_lease(|lease| lease.peer_of(number)).flatten() {
                    self.inbox.push(payload, peer);
                }
            }
            Kind::Stun => {
                let Some(message) = parse(datagram) else { return };
                match message.class() {
                    MessageClass::Success | MessageClass::Error => self.take_answer(&message),
                    MessageClass::Indication if message.method() == DATA => self.inbox.push_indication(&message),
                    MessageClass::Indication if message.method() == CONNECTION_ATTEMPT => {
                        self.inbox.push_attempt(&message);
                    }
                    MessageClass::Indication | MessageClass::Request => {}
                }
            }
            Kind::Other => {}
        }
    }
}
