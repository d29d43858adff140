//! The program that keeps one end of a channel going.

use std::pin::pin;
use std::time::Duration;

use futures::channel::{mpsc, oneshot};
use futures::{FutureExt, StreamExt, select_biased};
use natbox_host::Host;
use natbox_wire::Time;
use rand_core::Rng;

use super::KEEP_ALIVE;
use super::order::{Order, SENDINGS};
use super::wire::Wire;
use crate::ProbeError;
use crate::punch::Role;
use crate::rendezvous::{self, Body, Message, RequestId, Token};

/// How long an end whose owner has gone still answers, so that the other end does not repeat itself in vain.
const LINGERS: Duration = Duration::from_secs(5);

/// What the owner of an end asks for.
pub(super) enum Command {
    Send(Vec<u8>),
    /// Tells when everything has been heard.
    Flush(oneshot::Sender<()>),
}

pub(super) struct Driver<H: Host> {
    host: H,
    wire: Wire<H>,
    callee: bool,
    token: Token,
    random: H::Random,
    order: Order,
    inbox: mpsc::Sender<Vec<u8>>,
    flushing: Vec<oneshot::Sender<()>>,
    last_sent: Time,
    /// When the owner went.
    left: Option<Time>,
}

enum Event {
    Message(Option<Message>),
    Command(Option<Command>),
}

impl<H: Host> Driver<H> {
    pub(super) fn new(host: H, wire: Wire<H>, role: Role, token: Token, inbox: mpsc::Sender<Vec<u8>>) -> Driver<H> {
        let (random, last_sent, callee) = (host.random(), host.now(), role == Role::Callee);
        let (order, flushing) = Default::default();
        Driver { host, wire, callee, token, random, order, inbox, flushing, last_sent, left: None }
    }

    /// Runs until the owner has gone, or the channel is broken.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) -> Result<(), ProbeError> {
        loop {
            while let Some((sequence, payload)) = self.order.due(self.host.now()) {
                let (token, callee) = (self.token, self.callee);
                self.say(Body::Signal { token, callee, sequence, payload }).await?;
            }
            if self.order.all_heard() {
                // Whoever does not wait any more need not know.
                for flushing in self.flushing.drain(..) {
                    let _ = flushing.send(());
                }
            }
            match self.next(&mut commands).await? {
                Event::Message(Some(message)) => self.take(message).await?,
                Event::Message(None) => {
                    let now = self.host.now();
                    if self.left.is_some_and(|left| now >= left + LINGERS && self.order.all_heard()) {
                        return Ok(());
                    }
                    if self.order.is_lost(now) {
                        return Err(self.lost(now));
                    }
                    if self.left.is_none() && now >= self.last_sent + KEEP_ALIVE {
                        self.tell_heard().await?;
                    }
                }
                Event::Command(Some(Command::Send(payload))) => self.order.push(payload, self.host.now()),
                Event::Command(Some(Command::Flush(flushing))) => self.flushing.push(flushing),
                Event::Command(None) => self.left = Some(self.host.now()),
            }
        }
    }

    async fn next(&mut self, commands: &mut mpsc::Receiver<Command>) -> Result<Event, ProbeError> {
        let own = match self.left {
            Some(left) => left + LINGERS,
            None => self.last_sent + KEEP_ALIVE,
        };
        let due = self.order.next_deadline();
        // Whoever has left and waits for nothing but its own messages has no other deadline.
        let own = if self.left.is_some() && !self.order.all_heard() { Time::MAX } else { own };
        let deadline = due.map_or(own, |due| due.min(own));
        let listening = self.left.is_none() && self.order.has_room();
        let mut message = pin!(self.wire.recv(&self.host, deadline).fuse());
        if !listening {
            return message.await.map(Event::Message);
        }
        select_biased! {
            message = message => message.map(Event::Message),
            command = commands.next() => Ok(Event::Command(command)),
        }
    }

    async fn take(&mut self, message: Message) -> Result<(), ProbeError> {
        match message.body {
            Body::Signal { token, callee, sequence, payload } if token == self.token && callee != self.callee => {
                self.order.came(sequence, payload);
                self.deliver();
                self.tell_heard().await
            }
            Body::Heard { token, callee, next } if token == self.token && callee != self.callee => {
                self.order.heard(next);
                Ok(())
            }
            // The directory has not heard the first time.
            Body::Invitation { token, .. } if token == self.token => {
                self.wire.send(&self.host, &Message { id: message.id, body: Body::Accepted }).await
            }
            Body::Error { code } => Err(rendezvous::refused(code, self.wire.directory())),
            _ => Ok(()),
        }
    }

    /// Hands on what has come in order, as far as the owner has room for it; an owner who has gone wants nothing.
    fn deliver(&mut self) {
        while let Some(payload) = self.order.front() {
            if self.inbox.try_send(payload.clone()).is_err_and(|error| error.is_full()) {
                return;
            }
            self.order.take();
        }
    }

    async fn tell_heard(&mut self) -> Result<(), ProbeError> {
        let (token, callee, next) = (self.token, self.callee, self.order.next_in());
        self.say(Body::Heard { token, callee, next }).await
    }

    async fn say(&mut self, body: Body) -> Result<(), ProbeError> {
        self.last_sent = self.host.now();
        let id = RequestId(self.random.next_u64());
        self.wire.send(&self.host, &Message { id, body }).await
    }

    fn lost(&self, now: Time) -> ProbeError {
        let waited = now.since(self.last_sent);
        ProbeError::Silence {
            expected: "the other end to hear a signal",
            from: self.wire.directory(),
            waited,
            sent: SENDINGS,
        }
    }
}
