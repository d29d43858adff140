//! Relay first, then something better, and back to the relay when that dies: the pattern of Tailscale's DERP.
//!
//! ```text
//! caller             relay               callee
//!   | <=== data =====> | <=== data ======> |     at once: the first message needs one round trip through the relay
//!   | check ------------------------------> |     meanwhile every other pair of endpoints is checked
//!   | <============ data =================> |     the best that answers takes over
//!   | heartbeat every 3 s ----------------> |     authenticated, on the path in use, and on the relay beside it
//!   |            X  no answer for 6.5 s     |
//!   | <=== data =====> | <=== data ======> |     back to the relay; a minute later the better ways are tried again
//! ```
//!
//! The relay is kept as long as the connection. Timers are those of magicsock: `heartbeatInterval` 3 s,
//! `trustUDPAddrDuration` 6.5 s, `upgradeUDPDirectInterval` 1 min. Works wherever the relay does: where UDP is blocked, over TCP or TLS, as
//! `connect` has it. Leaves out HTTPS, which DERP has always, and several relays at once.

use natbox_host::Host;

use crate::connect::{self, Config};
use crate::contact::{Contact, Failure, Setting};

/// Comes to talk to `peer`, who waits in [`answer`].
///
/// # Errors
/// [`Failure`] with the step that failed, or with what became of every endpoint that was tried.
pub async fn call<H: Host>(host: &H, setting: &Setting, peer: &str) -> Result<Contact<H>, Failure> {
    connect::technique::call_as(host, setting, config(setting), peer).await
}

/// Registers, and waits for one caller.
///
/// # Errors
/// [`Failure`]: nobody called, or the caller could not be reached.
pub async fn answer<H: Host>(host: &H, setting: &Setting) -> Result<Contact<H>, Failure> {
    connect::technique::answer(host, setting).await
}

fn config(setting: &Setting) -> Config {
    let mut config = Config::from(setting);
    (config.checks.relay_first, config.checks.keep_relay) = (true, true);
    config
}
