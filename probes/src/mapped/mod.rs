//! Through a port mapping that a host has asked its gateway for (RFC 6886, RFC 6887, UPnP-IGD; Perkins and Cheshire, RFC
//! 6886 section 1).
//!
//! ```text
//! caller              directory            the callee's NAT             callee
//!   |                     |                       | <-- map my port ------ |
//!   |                     |                       | -- 198.18.0.2:40000 -> |
//!   |                     | <-- register, reached at 198.18.0.2:40000 ---- |
//!   | -- introduce -----> | -- invitation ------------------------------> |
//!   | check to 198.18.0.2:40000 ----------------> | ---------------------> |
//!   | <-------------------------------------------------- answer, likewise |
//! ```
//!
//! Either side asks, and each checks the other's mapped endpoint. Works where the gateway of one side speaks the protocol
//! and has a public address, whatever both NATs do else. Fails behind a NAT behind another, whose inner one maps to an
//! address that nobody outside knows; and where a box answers success and maps nothing.

use natbox_host::Host;

use crate::contact::{Contact, Failure, Setting};
use crate::path::{Path, Paths};
use crate::portmap::Method;
use crate::punch::{self, PunchConfig};

/// Comes to talk to `peer`, who waits in [`answer`].
///
/// # Errors
/// [`Failure`] with the step that failed, or with what became of every endpoint that was tried.
pub async fn call<H: Host>(host: &H, method: Method, setting: &Setting, peer: &str) -> Result<Contact<H>, Failure> {
    punch::technique::call_as(host, &config(method, setting), peer).await
}

/// Registers, and waits for one caller.
///
/// # Errors
/// [`Failure`]: nobody called, or the caller could not be reached.
pub async fn answer<H: Host>(host: &H, method: Method, setting: &Setting) -> Result<Contact<H>, Failure> {
    punch::technique::answer_as(host, &config(method, setting), setting).await
}

/// A mapping is the only way.
fn config(method: Method, setting: &Setting) -> PunchConfig {
    let (allow, tries) = (Paths::of(&[Path::Mapped]), Paths::of(&[Path::Mapped]));
    PunchConfig { allow, tries, asks: vec![method], ..setting.into() }
}
