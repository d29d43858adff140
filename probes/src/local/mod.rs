//! Two hosts on one network try each other's own addresses (Ford, Srisuresh and Kegel 2005, section 3.3; the host
//! candidates of RFC 8445 section 5.1.1.1).
//!
//! ```text
//! caller              directory            callee, on the same network
//!   | -- introduce ----> | -- invitation --> |     each is told the other's own addresses
//!   | check --------------------------------> |
//!   | <-------------------------------- check  |     both at once
//!   | <----------------- answers -----------> |     authenticated by the token of the introduction
//! ```
//!
//! Works on one network, whatever its NAT does. Fails on two networks, also where another host of the caller's network has
//! the callee's private address: it does not know the token, and is not mistaken for the callee (section 3.4). Fails where
//! the network keeps its hosts apart. Leaves out names of multicast DNS.

use natbox_host::Host;

use crate::contact::{Contact, Failure, Setting};
use crate::path::{Path, Paths};
use crate::punch::{self, PunchConfig};

/// Comes to talk to `peer`, who waits in [`answer`].
///
/// # Errors
/// [`Failure`] with the step that failed, or with what became of every endpoint that was tried.
pub async fn call<H: Host>(host: &H, setting: &Setting, peer: &str) -> Result<Contact<H>, Failure> {
    let (allow, tries) = (Paths::of(&[Path::Local]), Paths::of(&[Path::Local]));
    punch::technique::call_as(host, &PunchConfig { allow, tries, ..setting.into() }, peer).await
}

/// Registers, and waits for one caller.
///
/// # Errors
/// [`Failure`]: nobody called, or the caller could not be reached.
pub async fn answer<H: Host>(host: &H, setting: &Setting) -> Result<Contact<H>, Failure> {
    let tries = Paths::of(&[Path::Local]);
    punch::technique::answer_as(host, &PunchConfig { tries, ..setting.into() }, setting).await
}
