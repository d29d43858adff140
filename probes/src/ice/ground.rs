//! What carries an ICE session's messages: datagrams, or TCP connections.

use natbox_host::Host;
use natbox_wire::Time;

use super::agent::Way;
use super::datagrams::Datagrams;
use super::description::Description;
use super::streams::Streams;
use crate::ProbeError;
use crate::contact::Setting;
use crate::path::Transport;

/// A message that came over a way.
pub(super) struct Came {
    pub(super) message: Vec<u8>,
    pub(super) way: Way,
    pub(super) at: Time,
}

/// What gathering has found.
pub(super) struct Gathered {
    /// What the peer is told.
    pub(super) told: Vec<is::Candidate>,
    /// What checks go out from.
    pub(super) checked_from: Vec<is::Candidate>,
    /// What could not be had, and why.
    pub(super) remarks: Vec<String>,
}

#[allow(clippy::large_enum_variant, reason = "one for each session, which never moves")]
pub(super) enum Ground<H: Host> {
    Udp(Datagrams<H>),
    Tcp(Streams<H>),
}

impl<H: Host> Ground<H> {
    pub(super) async fn open(host: &H, setting: &Setting, transport: Transport) -> Result<Ground<H>, ProbeError> {
        Ok(match transport {
            Transport::Udp => Ground::Udp(Datagrams::open(host, setting).await?),
            Transport::Tcp => Ground::Tcp(Streams::new(host)),
        })
    }

    /// Candidates (RFC 8445 section 5.1.1, RFC 6544 section 5); those of an earlier generation are of no use any more.
    pub(super) async fn gather(&mut self, setting: &Setting) -> Gathered {
        match self {
            Ground::Udp(datagrams) => datagrams.gather(setting).await,
            Ground::Tcp(streams) => streams.gather(setting).await,
        }
    }

    /// Permits the peer's addresses to send to the relay (RFC 8445 section 7.2.4), beside everything else: checks through
    /// the relay are repeated until that is done. Takes note of what may be connected to.
    pub(super) fn expect(&mut self, peer: &Description) {
        match self {
            Ground::Udp(datagrams) => datagrams.permit(peer),
            Ground::Tcp(streams) => streams.expect(peer),
        }
    }

    /// What cannot be sent is lost: checks are repeated, and data is nobody's promise.
    pub(super) async fn transmit(&self, message: &[u8], way: Way) {
        match self {
            Ground::Udp(datagrams) => datagrams.transmit(message, way).await,
            Ground::Tcp(streams) => streams.transmit(message, way),
        }
    }

    /// What comes next; nothing if something went wrong with it.
    pub(super) async fn next(&mut self) -> Option<Came> {
        match self {
            Ground::Udp(datagrams) => datagrams.next().await,
            Ground::Tcp(streams) => streams.next().await,
        }
    }

    /// What became of the connections that were tried, one line each.
    pub(super) fn attempts(&self) -> Vec<String> {
        match self {
            Ground::Udp(_) => Vec::new(),
            Ground::Tcp(streams) => streams.attempts(),
        }
    }
}
