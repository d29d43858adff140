//! Port prediction: punching the port that the peer's NAT will give out next.
//!
//! ```text
//! caller                 STUN server               callee
//!   | requests to 4 endpoints -> |  5000, 5001, 5002, 5003    one socket; a step of 1
//!   | "stepping, next 5004" ====> through the directory =====> |    and the other way
//!   | check to the callee's endpoint -----> its NAT            |    this takes 5004
//!   |      <------- checks to 5004, 5005, 5003, ... 4999 ----- |    the predicted port, and `window` to either side of it
//! ```
//!
//! Ford, Srisuresh and Kegel 2005, section 5.1. Works for NATs that map by the remote endpoint and give out ports one
//! after the other, against a peer with one mapping for all, and against one like it. Every mapping that another host behind
//! the NAT has made in the meantime moves the port on by a step: more of them than the window has room for, and it fails, as
//! it does for ports that follow no rule. Then the last port that was seen is tried, which opens a filter by address.
//!
//! Leaves out scanning from both sides (Klinec and Matyas 2014), and a second try.

use std::net::SocketAddr;

use natbox_host::Host;

use crate::contact::{Contact, Facts, Failure, Setting};
use crate::observe::{self, Meeting, Rule};
use crate::punch::{Attempt, Outcome};

/// Comes to talk to `peer`, who waits in [`answer`].
///
/// # Errors
/// [`Failure`] with the step that failed, or with what became of every endpoint that was tried.
pub async fn call<H: Host>(host: &H, setting: &Setting, peer: &str) -> Result<Contact<H>, Failure> {
    punch(host, setting, observe::call(host, setting, peer).await?).await
}

/// Registers, and waits for one caller.
///
/// # Errors
/// [`Failure`]: nobody called, or the caller could not be reached.
pub async fn answer<H: Host>(host: &H, setting: &Setting) -> Result<Contact<H>, Failure> {
    punch(host, setting, observe::answer(host, setting).await?).await
}

async fn punch<H: Host>(
    host: &H,
    setting: &Setting,
    (meeting, socket): (Meeting<H>, H::Udp),
) -> Result<Contact<H>, Failure> {
    let window = if meeting.peer.rule == Rule::Stepping { setting.options.window } else { 0 };
    let endpoints = around(meeting.peer.next, window);
    let mut facts = meeting.own.facts();
    facts.insert("predicted", meeting.peer.next.into());
    facts.insert("peer_rule", natbox_wire::Word::as_str(meeting.peer.rule).into());
    facts.insert("age", host.now().since(meeting.own.at).into());
    let came = meeting.punch(host, setting, socket, &endpoints).await;
    let attempts = match &came {
        Ok(punched) => punched.attempts(),
        Err(failure) => failure.attempts.clone(),
    };
    count(&mut facts, &attempts);
    observe::outcome(came, facts)
}

/// How many checks were sent, and to how many endpoints they came through.
fn count(facts: &mut Facts, attempts: &[Attempt]) {
    let hits = attempts.iter().filter(|attempt| matches!(attempt.outcome, Outcome::Valid(_))).count();
    facts.insert("probes", attempts.iter().map(|attempt| attempt.checks_sent).sum::<u32>().into());
    facts.insert("hits", hits.into());
}

/// An endpoint and its neighbours, nearest first.
fn around(centre: SocketAddr, window: u16) -> Vec<SocketAddr> {
    let neighbours = (1..=window).flat_map(|away| [centre.port().checked_add(away), centre.port().checked_sub(away)]);
    let ports = std::iter::once(Some(centre.port())).chain(neighbours);
    ports.flatten().filter(|port| *port > 0).map(|port| SocketAddr::new(centre.ip(), port)).collect()
}
