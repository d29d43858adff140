//! Through a relay (TURN over UDP, RFC 8656), and nothing else.
//!
//! ```text
//! caller             relay             directory             callee
//!   | Allocate ------> |                   |                    |    the callee has a relay of its own, if it may
//!   | CreatePermission |                   |                    |
//!   | -- introduce -----------------------> | -- invitation ---> |    each is told the other's relayed address
//!   |                  | <------------------------------ check  |    from the callee's socket to the caller's relay
//!   | <- Data -------- |                   |                    |
//!   | answer --------> | -----------------------------------> |    through the relay
//! ```
//!
//! One relay is enough, the caller's: it knows permissions for addresses, not for ports, so that any NAT in front of the
//! callee is served. Where the caller has none, the callee's does the same the other way round. Works with every NAT
//! that lets UDP out. Fails where a side's UDP is blocked (see [`streams`]), or where neither is granted a relay.

pub mod streams;
pub mod tcp;

use natbox_host::Host;

use crate::contact::{Contact, Failure, Setting};
use crate::path::{Path, Paths};
use crate::punch::{self, PunchConfig};

/// Comes to talk to `peer`, who waits in [`answer`], through the relay of either.
///
/// # Errors
/// [`Failure`] with the step that failed, or with what became of every endpoint that was tried.
pub async fn call<H: Host>(host: &H, setting: &Setting, peer: &str) -> Result<Contact<H>, Failure> {
    punch::technique::call_as(host, &config(setting), peer).await
}

/// Registers, and waits for one caller.
///
/// # Errors
/// [`Failure`]: nobody called, or neither relay could be used.
pub async fn answer<H: Host>(host: &H, setting: &Setting) -> Result<Contact<H>, Failure> {
    punch::technique::answer_as(host, &config(setting), setting).await
}

fn config(setting: &Setting) -> PunchConfig {
    let relayed = Paths::of(&[Path::Relayed]);
    PunchConfig { relay: setting.relay.clone(), allow: relayed, tries: relayed, ..setting.into() }
}
