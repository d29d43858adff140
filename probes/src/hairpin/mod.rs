//! Two hosts behind one NAT meet at its external endpoints, by hairpinning (RFC 4787 section 6; Ford, Srisuresh and
//! Kegel 2005, section 3.5).
//!
//! ```text
//! caller            the NAT of both                  callee, behind the same NAT or behind a NAT behind it
//!   | -- introduce ----> directory -- invitation -----> |    both know the external endpoints
//!   | check to the callee's external endpoint --> turned round --> |
//!   | <-- turned round <-- check to the caller's external endpoint |    with the external source, or nothing counts
//! ```
//!
//! Works where the NAT hairpins with the external source of the packets (RFC 4787 REQ-9), the filter included, and hosts
//! have one external address. Fails where it hairpins with the internal source: the answer comes from elsewhere and
//! does not count. Fails behind two NATs that have nothing in common.

use natbox_host::Host;

use crate::contact::{Contact, Failure, Setting};
use crate::path::{Path, Paths};
use crate::punch::{self, PunchConfig};

/// Comes to talk to `peer`, who waits in [`answer`].
///
/// # Errors
/// [`Failure`] with the step that failed, or with what became of every endpoint that was tried.
pub async fn call<H: Host>(host: &H, setting: &Setting, peer: &str) -> Result<Contact<H>, Failure> {
    let (allow, tries) = (Paths::of(&[Path::Hairpinned]), Paths::of(&[Path::Hairpinned]));
    punch::technique::call_as(host, &PunchConfig { allow, tries, ..setting.into() }, peer).await
}

/// Registers, and waits for one caller.
///
/// # Errors
/// [`Failure`]: nobody called, or the caller could not be reached.
pub async fn answer<H: Host>(host: &H, setting: &Setting) -> Result<Contact<H>, Failure> {
    let tries = Paths::of(&[Path::Hairpinned]);
    punch::technique::answer_as(host, &PunchConfig { tries, ..setting.into() }, setting).await
}
