//! TCP hole punching: both ends connect to each other at once.
//!
//! ```text
//! caller      its NAT            directory            its NAT      callee
//!   | connect, from port p ------> |                                  |     TCP: where is port p seen?
//!   |                              | <------- connect, from port q -- |
//!   | offer (signalled) ---------- | -------------------------------> |     both tell their endpoints
//!   | <--------------------------- | ------------- offer (signalled)  |
//!   | go (signalled), and RTT / 2 later:  --------------------------> |     at once:
//!   | SYN from p to q' -->|--------------------> |X (no hole yet)     |
//!   |                     | <------------------- |<-- SYN from q to p' |     its way out is the other's way in
//!   | SYN|ACK ----------->|--------------------> |------------------>  |     a simultaneous open (RFC 9293 section 3.5)
//! ```
//!
//! Ford, Srisuresh and Kegel, USENIX ATC 2005, section 4: one local port for the connection to the server, for those to
//! the peer, and, if there is one, for a listener (`SO_REUSEADDR`, `SO_REUSEPORT`). A connection that is refused is tried
//! again a second later, until the deadline. There the server tells both at once; here the caller says when, and waits
//! for half of the round trip through the directory, so that both begin at the same moment. NATs owe this a mapping for all remotes (RFC 5382 REQ-1), simultaneous opens
//! (REQ-2), and silence or six seconds for a SYN that comes too early (REQ-4).
//!
//! | technique | besides |
//! | --- | --- |
//! | `tcp-punch` | nothing: the SYNs must meet connections that are being opened between the same endpoints |
//! | `tcp-punch-listen` | a listener on the same port: also a SYN from an endpoint that nobody told of is welcome |
//! | `tcp-punch-low-ttl` | the first SYN of each side dies between the NATs, and the second is sent when both have |
//!
//! Which NATs fail it: those that map by the remote endpoint (`tcp-punch-listen` gets by with one such side where the
//! other filters by nothing or by address), those that break simultaneous opens, and those that answer with a RST or an
//! error a SYN that comes before their own host's, where one host is that much farther from its NAT. That ends the
//! connection of whoever was early, and the hole with it; `tcp-punch-low-ttl` is for these. (Two hosts that try again in
//! different rhythms may meet in the end, too.) It is of no use where a NAT tracks sequence numbers as Linux does: the
//! second SYN is another connection's, and once the peer's SYN has passed, it is outside the window of the first.
//!
//! Each TCP connection that comes about proves who its other end is (`talk`): one that is not the peer is
//! dropped. Leaves out raw sockets, and with them forged SYN|ACKs and exchanged sequence numbers (NATBLASTER, STUNT);
//! and guesses at the ports of NATs that map by the remote endpoint.

mod dial;
mod endpoint;
mod offer;

use std::time::Duration;

use natbox_host::Host;
use natbox_wire::Time;

use crate::contact::{Contact, Fact, Facts, Failure, Setting};
use crate::punch::Role;
use crate::signal::Signal;
use crate::talk::{Ends, Talk};
use crate::{ProbeError, low_ttl};
pub(crate) use dial::{Dialing, Plan};
pub(crate) use endpoint::Own;
use offer::Offer;

/// How long connections are tried at most: longer than a NAT that knows RFC 5382 holds a SYN.
const DIALS: Duration = Duration::from_secs(15);
/// What is left of the time to say what went wrong.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Which of the three techniques it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// `tcp-punch`.
    Connect,
    /// `tcp-punch-listen`.
    Listen,
    /// `tcp-punch-low-ttl`.
    LowTtl,
}

/// Comes to talk to `peer`, who waits in [`answer`].
///
/// # Errors
/// [`Failure`] with the step that failed, or with what became of every endpoint that was tried.
pub async fn call<H: Host>(host: &H, manner: Manner, setting: &Setting, peer: &str) -> Result<Contact<H>, Failure> {
    let began = host.now();
    let deadline = setting.options.deadline(began);
    let signal = Signal::call(host, setting.directory, &setting.me, peer, deadline).await;
    let signal = signal.map_err(|error| Failure::early(error, host.now().since(began)))?;
    Meeting { host, manner, setting, began, facts: Facts::new() }.run(signal).await
}

/// Registers, and waits for one caller.
///
/// # Errors
/// [`Failure`]: nobody called, or the caller could not be reached.
pub async fn answer<H: Host>(host: &H, manner: Manner, setting: &Setting) -> Result<Contact<H>, Failure> {
    let waits = host.now();
    let deadline = setting.options.deadline(waits);
    let signal = Signal::answer(host, setting.directory, &setting.me, deadline).await;
    let signal = signal.map_err(|error| Failure::early(error, host.now().since(waits)))?;
    Meeting { host, manner, setting, began: host.now(), facts: Facts::new() }.run(signal).await
}

/// One attempt to meet.
struct Meeting<'a, H: Host> {
    host: &'a H,
    manner: Manner,
    setting: &'a Setting,
    began: Time,
    facts: Facts,
}

impl<H: Host> Meeting<'_, H> {
    async fn run(mut self, mut signal: Signal<H>) -> Result<Contact<H>, Failure> {
        match self.meet(&mut signal).await {
            Ok(Ok(talk)) => {
                Ok(Contact::new(self.host.clone(), talk, self.host.now().since(self.began)).with_facts(self.facts))
            }
            Ok(Err(attempts)) => {
                let elapsed = self.host.now().since(self.began);
                Err(Failure { attempts, ..Failure::vain("no TCP connection came about", elapsed) }
                    .with_facts(self.facts))
            }
            Err(error) => Err(Failure::early(error, self.host.now().since(self.began)).with_facts(self.facts)),
        }
    }

    /// The way that was chosen, or what became of every endpoint.
    async fn meet(
        &mut self,
        signal: &mut Signal<H>,
    ) -> Result<Result<Talk<H, dial::Stream<H>>, Vec<String>>, ProbeError> {
        let deadline = Time::from_nanos(
            self.setting.options.deadline(self.began).as_nanos().saturating_sub(LAST_WORDS.as_nanos() as u64),
        );
        let own = Own::open(self.host, self.setting.directory, deadline).await?;
        let ttl = match self.manner {
            Manner::LowTtl => Some(low_ttl::choose(self.host, self.setting, &mut self.facts).await?),
            Manner::Connect | Manner::Listen => None,
        };
        let offer = Offer { mapped: own.mapped, local: vec![own.local] };
        let theirs = exchange(signal, &offer, deadline).await?;
        self.facts.insert("mapped", own.mapped.into());
        self.facts.insert("peer_mapped", theirs.mapped.into());
        let ends = Ends {
            role: signal.role(),
            local: offer.local,
            mapped: own.mapped,
            peer_local: theirs.local,
            peer_mapped: theirs.mapped,
        };
        if let Some(ttl) = ttl {
            dial::open_hole(self.host, own.local, ends.peer_mapped, ttl).await;
        }
        let listener = match self.manner {
            Manner::Listen => Some(own.listen(self.host).await?),
            Manner::Connect | Manner::LowTtl => None,
        };
        begin_together(self.host, signal, deadline).await?;
        let until = deadline.min(self.host.now() + DIALS);
        let dialing = Dialing::new(self.host, &ends, own.local, signal.token(), Plan::until(until));
        let met = dialing.run(listener).await;
        self.facts.insert("dials", dialing.dials().into());
        self.facts.insert("refused", dialing.refused().into());
        Ok(met.map(|met| {
            self.facts.insert("opened_by", Fact::from(met.opened_by));
            let path = ends.path(self.host, met.pipe_remote(), met.seen().unwrap_or(ends.mapped));
            Talk::new(self.host, met.pipe, met.proof, signal.peer(), path, self.setting.options.keep_alive)
        }))
    }
}

/// Tells the peer of this end, and hears of the peer.
async fn exchange<H: Host>(signal: &mut Signal<H>, offer: &Offer, deadline: Time) -> Result<Offer, ProbeError> {
    signal.send(&offer.to_bytes()).await?;
    expect(signal, "the peer's TCP endpoints", deadline, Offer::from_bytes).await
}

/// Waits until both ends are ready, and then for the moment at which both begin.
async fn begin_together<H: Host>(host: &H, signal: &mut Signal<H>, deadline: Time) -> Result<(), ProbeError> {
    const READY: &[u8] = b"ready";
    const GO: &[u8] = b"go";
    let is = |word: &'static [u8]| move |message: &[u8]| (message == word).then_some(());
    let mut asked_at = host.now();
    // The first answer comes when the peer is ready; the second tells the round trip.
    for _ in 0..2 {
        asked_at = host.now();
        if signal.role() == Role::Caller {
            signal.send(READY).await?;
        }
        expect(signal, "that the peer is ready", deadline, is(READY)).await?;
        if signal.role() == Role::Callee {
            signal.send(READY).await?;
        }
    }
    match signal.role() {
        Role::Caller => {
            let round_trip = host.now().since(asked_at);
            signal.send(GO).await?;
            host.sleep(round_trip / 2).await;
        }
        Role::Callee => expect(signal, "the word to begin", deadline, is(GO)).await?,
    }
    Ok(())
}

/// The next message that `read` understands.
async fn expect<H: Host, T>(
    signal: &mut Signal<H>,
    expected: &'static str,
    deadline: Time,
    read: impl Fn(&[u8]) -> Option<T>,
) -> Result<T, ProbeError> {
    let from = signal.directory();
    match signal.recv(deadline).await? {
        Some(message) => {
            let came = || ProbeError::Unexpected { expected, from, came: format!("{} bytes", message.len()) };
            read(&message).ok_or_else(came)
        }
        None => Err(ProbeError::Silence { expected, from, waited: DIALS, sent: 1 }),
    }
}
