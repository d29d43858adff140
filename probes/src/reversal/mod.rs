//! Connection reversal: the callee calls back, as the caller can be reached and it cannot (RFC 5128 section 3.2; Ford,
//! Srisuresh and Kegel 2005, section 2.3).
//!
//! ```text
//! caller              directory            callee, behind any NAT
//!   | -- introduce ----> | -- invitation --> |     over the mapping that the callee keeps open to the directory
//!   | <--------------------------------- check |     to the caller's own addresses, again and again
//!   | answer, and a check back -------------> |     through the mapping that the callee's check has opened
//! ```
//!
//! Works where nothing stands in front of the caller, whatever the callee is behind. Fails where the caller is behind a
//! NAT: it waits in vain. The caller sends nothing of itself.

use natbox_host::Host;

use crate::contact::{Contact, Failure, Setting};
use crate::path::{Path, Paths};
use crate::punch::{self, PunchConfig};

/// Comes to talk to `peer`, who waits in [`answer`].
///
/// # Errors
/// [`Failure`] with the step that failed, or with what became of every endpoint that was tried.
pub async fn call<H: Host>(host: &H, setting: &Setting, peer: &str) -> Result<Contact<H>, Failure> {
    let (allow, tries) = (Paths::of(&[Path::Reversed, Path::Direct, Path::Local]), Paths::of(&[]));
    punch::technique::call_as(host, &PunchConfig { allow, tries, ..setting.into() }, peer).await
}

/// Registers, and waits for one caller.
///
/// # Errors
/// [`Failure`]: nobody called, or the caller could not be reached.
pub async fn answer<H: Host>(host: &H, setting: &Setting) -> Result<Contact<H>, Failure> {
    let tries = Paths::of(&[Path::Reversed, Path::Local]);
    punch::technique::answer_as(host, &PunchConfig { tries, ..setting.into() }, setting).await
}
