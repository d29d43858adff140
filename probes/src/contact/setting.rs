//! What both sides know before they meet.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use natbox_wire::Time;

use crate::path::Paths;
use crate::portmap::Method;
use crate::tls::KnownBy;
use crate::turn;

/// A TURN server that this host may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// The server.
    pub server: SocketAddr,
    /// What it knows this host by.
    pub credentials: turn::Credentials,
    /// How it is reached over TLS, if it is.
    pub tls: Option<RelayTls>,
}

/// A TURN server over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayTls {
    /// Its endpoints, in the order in which they are tried.
    pub endpoints: Vec<SocketAddr>,
    /// What it is known by.
    pub known_by: KnownBy,
}

impl Relay {
    /// A server that is reached at one endpoint, over UDP and TCP.
    pub fn new(server: SocketAddr, credentials: turn::Credentials) -> Relay {
        Relay { server, credentials, tls: None }
    }
}

/// What a side knows before it meets the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The directory.
    pub directory: SocketAddr,
    /// This host's name there.
    pub me: String,
    /// Every endpoint of the STUN server: its usual one first; two addresses and two ports each if it has them.
    pub stun: Vec<SocketAddr>,
    /// How this host may ask its gateway for mappings, in order; not at all if empty. Read by techniques for which a mapping
    /// is one way among others.
    pub asks: Vec<Method>,
    /// The relay that this host may use, if there is one.
    pub relay: Option<Relay>,
    /// What the technique may spend.
    pub options: Options,
}

impl Setting {
    /// As `me`, through `directory`; no STUN, no relay, the usual options.
    pub fn new(directory: SocketAddr, me: impl Into<String>) -> Setting {
        Setting {
            directory,
            me: me.into(),
            stun: Vec::new(),
            asks: Vec::new(),
            relay: None,
            options: Options::default(),
        }
    }
}

/// What a technique may spend, and what it is to try. Each has the name of its key in topology files; which of them a
/// technique reads, `Technique::reads` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long all of it may take; the answering side waits as long for somebody to call. 30 s.
    pub timeout: Duration,
    /// The time between two keep-alives (RFC 8445 section 11: 15 s at least). 15 s.
    pub keep_alive: Duration,
    /// The paths that a caller tries. Every one.
    pub allow: Paths,
    /// Whether talk begins over the relay and moves when a better path is found. Off.
    pub relay_first: bool,
    /// Whether endpoints are learned from packets that come from there. On.
    pub peer_reflexive: bool,
    /// The TTL of the first packets, which are to cross this side's NATs and to die before the other's; found out if
    /// absent.
    pub low_ttl: Option<u8>,
    /// How many sockets the side with the unpredictable NAT opens. 256.
    pub sockets: u16,
    /// How many probes a side sends at most. 2,048.
    pub probes: u32,
    /// How many ports on either side of a predicted one are tried. 5.
    pub window: u16,
    /// The ports among which the peer's are guessed: those that its NAT gives out, for whoever knows them. 1025 to 65535.
    pub ports: RangeInclusive<u16>,
}

/// The names of the [`Options`].
pub const OPTIONS: &[&str] = &[
    "timeout",
    "keep_alive",
    "allow",
    "relay_first",
    "peer_reflexive",
    "low_ttl",
    "sockets",
    "probes",
    "window",
    "ports",
];

impl Default for Options {
    fn default() -> Options {
        Options {
            timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(15),
            allow: Paths::ALL,
            relay_first: false,
            peer_reflexive: true,
            low_ttl: None,
            sockets: 256,
            probes: 2048,
            window: 5,
            ports: 1025..=u16::MAX,
        }
    }
}

impl Options {
    /// When a technique that begins now has to be done.
    pub fn deadline(&self, now: Time) -> Time {
        now + self.timeout
    }
}
