//! Every way to come to talk, by name: the caller runs [`call`], the other side [`answer`] with the same technique.
//!
//! A technique has succeeded when an authenticated message went both ways over the path. Every wait is bounded by
//! [`Options::timeout`], and a [`Failure`] says what was tried and why it ended.
//!
//! To add one: a module of its own with `call` and `answer`, one row in [`Technique`], one arm in each of the functions
//! below.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::time::Duration;

use futures::{FutureExt, select_biased};
use natbox_host::Host;
use natbox_wire::words;

pub use crate::contact::{Channel, Contact, Datagram, Fact, Facts, Failure, OPTIONS, Options, Relay, Setting};
use crate::{ProbeError, connect, punch};

words! {
    /// A way to come to talk.
    pub enum Technique: "technique" {
        Punch = "punch", "UDP hole punching";
        Connect = "connect", "everything that is allowed; the best path wins";
    }
}

impl Technique {
    /// The options that it reads, by their names in [`Options`] and in topology files.
    pub fn reads(self) -> &'static [&'static str] {
        match self {
            Technique::Punch => &["timeout", "keep_alive", "peer_reflexive"],
            Technique::Connect => &["timeout", "keep_alive", "allow", "relay_first"],
        }
    }

    /// Whether the caller cannot do without a relay.
    pub fn needs_relay(self) -> bool {
        match self {
            Technique::Punch | Technique::Connect => false,
        }
    }
}

/// Comes to talk to `peer`, who is registered and waits in [`answer`].
///
/// # Errors
/// [`Failure`]: what was tried, and why it ended.
pub async fn call<H: Host>(
    host: &H,
    technique: Technique,
    setting: &Setting,
    peer: &str,
) -> Result<Contact<H>, Failure> {
    let called: Attempt<'_, H> = match technique {
        Technique::Punch => Box::pin(punch::technique::call(host, setting, peer)),
        Technique::Connect => Box::pin(connect::technique::call(host, setting, peer)),
    };
    within(host, setting.options.timeout, setting.directory, called).await
}

/// Registers, waits for the first that calls, and comes to talk to it: one session.
///
/// # Errors
/// [`Failure`]: nobody called, or what was tried and why it ended.
pub async fn answer<H: Host>(host: &H, technique: Technique, setting: &Setting) -> Result<Contact<H>, Failure> {
    let answered: Attempt<'_, H> = match technique {
        Technique::Punch => Box::pin(punch::technique::answer(host, setting)),
        Technique::Connect => Box::pin(connect::technique::answer(host, setting)),
    };
    // Once somebody has called, it takes as long as it may.
    within(host, setting.options.timeout.saturating_mul(2), setting.directory, answered).await
}

type Attempt<'a, H> = Pin<Box<dyn Future<Output = Result<Contact<H>, Failure>> + 'a>>;

/// What comes of it, unless it takes longer than this: the last resort, as every technique keeps to its own budgets.
async fn within<H: Host>(
    host: &H,
    limit: Duration,
    from: SocketAddr,
    attempt: Attempt<'_, H>,
) -> Result<Contact<H>, Failure> {
    let mut attempt = attempt.fuse();
    let mut end = pin!(host.sleep(limit).fuse());
    select_biased! {
        output = attempt => output,
        () = end => {
            let silence = ProbeError::Silence { expected: "a path to the peer", from, waited: limit, sent: 1 };
            Err(Failure::early(silence, limit))
        }
    }
}
