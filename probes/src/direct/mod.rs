//! The caller sends to the own addresses of the callee, who does nothing to let it in (RFC 5128 section 3).
//!
//! ```text
//! caller              directory            callee
//!   | -- introduce ----> | -- invitation --> |     the directory only tells the callee's addresses
//!   | check --------------------------------> |     to each of them, again and again
//!   | <-------------------------------- answer |     authenticated by the token of the introduction
//! ```
//!
//! Works where nothing stands in front of the callee, whatever the caller is behind. Fails where the callee is behind a
//! NAT, or behind a firewall that lets in only what was asked for. Leaves out port forwardings, of which a callee that
//! did not ask for them knows nothing.

use natbox_host::Host;

use crate::contact::{Contact, Failure, Setting};
use crate::path::{Path, Paths};
use crate::punch::{self, PunchConfig};

/// Comes to talk to `peer`, who waits in [`answer`].
///
/// # Errors
/// [`Failure`] with the step that failed, or with what became of every endpoint that was tried.
pub async fn call<H: Host>(host: &H, setting: &Setting, peer: &str) -> Result<Contact<H>, Failure> {
    let (allow, tries) = (Paths::of(&[Path::Direct, Path::Local]), Paths::of(&[Path::Direct, Path::Local]));
    punch::technique::call_as(host, &PunchConfig { allow, tries, ..setting.into() }, peer).await
}

/// Registers, and waits for one caller.
///
/// # Errors
/// [`Failure`]: nobody called, or the caller could not be reached.
pub async fn answer<H: Host>(host: &H, setting: &Setting) -> Result<Contact<H>, Failure> {
    let tries = Paths::of(&[]);
    punch::technique::answer_as(host, &PunchConfig { tries, ..setting.into() }, setting).await
}
