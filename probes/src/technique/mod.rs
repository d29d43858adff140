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

pub use crate::contact::{
    Channel, Contact, Datagram, Fact, Facts, Failure, OPTIONS, Options, Relay, RelayTls, Setting,
};
use crate::portmap::Method;
use crate::tcp_punch::Manner;
use crate::turn::Carrier;
use crate::{
    ProbeError, bep55, birthday, connect, dcutr, direct, hairpin, ice, local, low_ttl, mapped, predict, punch, quic,
    relay_first, relayed, reversal, tcp_punch,
};

words! {
    /// A way to come to talk.
    pub enum Technique: "technique" {
        Direct = "direct", "the caller sends to the callee's own addresses";
        Reversal = "reversal", "the callee calls back to the caller's own addresses";
        Local = "local", "both try each other's own addresses on their network";
        Hairpin = "hairpin", "both meet at the external endpoints of the NAT that they share";
        Punch = "punch", "UDP hole punching";
        PunchLowTtl = "punch-low-ttl", "UDP hole punching whose first packets die between the NATs";
        TcpPunch = "tcp-punch", "TCP hole punching: both ends connect at once";
        TcpPunchListen = "tcp-punch-listen", "TCP hole punching with a listener on the punched port";
        TcpPunchLowTtl = "tcp-punch-low-ttl", "TCP hole punching whose first SYNs die between the NATs";
        Ice = "ice", "ICE (RFC 8445): all pairs of candidates are checked, the best is nominated";
        IceTcp = "ice-tcp", "ICE over TCP (RFC 6544): active, passive and simultaneous-open candidates";
        Predict = "predict", "UDP hole punching of the ports that come next, by what STUN servers saw before";
        Birthday = "birthday", "UDP hole punching of many random ports, one of which is one of many sockets'";
        Dcutr = "dcutr", "libp2p's upgrade of a relayed connection, over TCP and QUIC";
        Bep55 = "bep55", "BitTorrent's holepunch extension, over uTP";
        Turn = "turn", "through a relay, over UDP";
        TurnTcp = "turn-tcp", "through relays that both reach over TCP";
        TurnTls = "turn-tls", "through relays that both reach over TLS";
        TurnTcpAllocation = "turn-tcp-allocation", "through a relay that one side connects to by TCP, the other over TCP or TLS";
        RelayFirst = "relay-first", "a relay at once, then the best path, and back when that dies";
        Quic = "quic", "a QUIC connection whose handshake punches, and which outlives rebinding";
        NatPmp = "nat-pmp", "through a mapping that either asks its gateway for by NAT-PMP";
        Pcp = "pcp", "through a mapping that either asks its gateway for by PCP";
        Upnp = "upnp", "through a mapping that either asks its gateway for by UPnP-IGD";
        Connect = "connect", "everything that is allowed; the best path wins";
    }
}

impl Technique {
    /// The options that it reads, by their names in [`Options`] and in topology files.
    pub fn reads(self) -> &'static [&'static str] {
        match self {
            Technique::Direct
            | Technique::NatPmp
            | Technique::Pcp
            | Technique::Upnp
            | Technique::Reversal
            | Technique::Local
            | Technique::Hairpin
            | Technique::Turn
            | Technique::TurnTcp
            | Technique::TurnTls
            | Technique::TurnTcpAllocation
            | Technique::RelayFirst
            | Technique::Quic
            | Technique::TcpPunch
            | Technique::Dcutr
            | Technique::Bep55
            | Technique::TcpPunchListen => &["timeout", "keep_alive"],
            Technique::TcpPunchLowTtl => &["timeout", "keep_alive", "low_ttl"],
            Technique::Ice | Technique::IceTcp => &["timeout"],
            Technique::Punch => &["timeout", "keep_alive", "peer_reflexive"],
            Technique::PunchLowTtl => &["timeout", "keep_alive", "peer_reflexive", "low_ttl"],
            Technique::Predict => &["timeout", "keep_alive", "window"],
            Technique::Birthday => &["timeout", "keep_alive", "sockets", "probes", "ports"],
            Technique::Connect => &["timeout", "keep_alive", "allow", "relay_first", "peer_reflexive"],
        }
    }

    /// Whether the caller cannot do without a relay.
    pub fn needs_relay(self) -> bool {
        use Technique::{RelayFirst, Turn, TurnTcp, TurnTcpAllocation, TurnTls};
        matches!(self, Turn | TurnTcp | TurnTls | TurnTcpAllocation | RelayFirst)
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
        Technique::Direct => Box::pin(direct::call(host, setting, peer)),
        Technique::Reversal => Box::pin(reversal::call(host, setting, peer)),
        Technique::Local => Box::pin(local::call(host, setting, peer)),
        Technique::Hairpin => Box::pin(hairpin::call(host, setting, peer)),
        Technique::Punch => Box::pin(punch::technique::call(host, setting, peer)),
        Technique::PunchLowTtl => Box::pin(low_ttl::call(host, setting, peer)),
        Technique::TcpPunch => Box::pin(tcp_punch::call(host, Manner::Connect, setting, peer)),
        Technique::TcpPunchListen => Box::pin(tcp_punch::call(host, Manner::Listen, setting, peer)),
        Technique::TcpPunchLowTtl => Box::pin(tcp_punch::call(host, Manner::LowTtl, setting, peer)),
        Technique::Ice => Box::pin(ice::call(host, setting, peer)),
        Technique::IceTcp => Box::pin(ice::call_with(host, setting, peer, ice::Config::tcp())),
        Technique::Predict => Box::pin(predict::call(host, setting, peer)),
        Technique::Birthday => Box::pin(birthday::call(host, setting, peer)),
        Technique::Dcutr => Box::pin(dcutr::call(host, setting, peer)),
        Technique::Bep55 => Box::pin(bep55::call(host, setting, peer)),
        Technique::Turn => Box::pin(relayed::call(host, setting, peer)),
        Technique::TurnTcp => Box::pin(relayed::streams::call(host, &[Carrier::Tcp], setting, peer)),
        Technique::TurnTls => Box::pin(relayed::streams::call(host, &[Carrier::Tls], setting, peer)),
        Technique::TurnTcpAllocation => Box::pin(relayed::tcp::call(host, setting, peer)),
        Technique::RelayFirst => Box::pin(relay_first::call(host, setting, peer)),
        Technique::Quic => Box::pin(quic::technique::call(host, setting, peer)),
        Technique::NatPmp => Box::pin(mapped::call(host, Method::NatPmp, setting, peer)),
        Technique::Pcp => Box::pin(mapped::call(host, Method::Pcp, setting, peer)),
        Technique::Upnp => Box::pin(mapped::call(host, Method::Upnp, setting, peer)),
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
        Technique::Direct => Box::pin(direct::answer(host, setting)),
        Technique::Reversal => Box::pin(reversal::answer(host, setting)),
        Technique::Local => Box::pin(local::answer(host, setting)),
        Technique::Hairpin => Box::pin(hairpin::answer(host, setting)),
        Technique::Punch => Box::pin(punch::technique::answer(host, setting)),
        Technique::PunchLowTtl => Box::pin(low_ttl::answer(host, setting)),
        Technique::TcpPunch => Box::pin(tcp_punch::answer(host, Manner::Connect, setting)),
        Technique::TcpPunchListen => Box::pin(tcp_punch::answer(host, Manner::Listen, setting)),
        Technique::TcpPunchLowTtl => Box::pin(tcp_punch::answer(host, Manner::LowTtl, setting)),
        Technique::Ice => Box::pin(ice::answer(host, setting)),
        Technique::IceTcp => Box::pin(ice::answer_with(host, setting, ice::Config::tcp())),
        Technique::Predict => Box::pin(predict::answer(host, setting)),
        Technique::Birthday => Box::pin(birthday::answer(host, setting)),
        Technique::Dcutr => Box::pin(dcutr::answer(host, setting)),
        Technique::Bep55 => Box::pin(bep55::answer(host, setting)),
        Technique::Turn => Box::pin(relayed::answer(host, setting)),
        Technique::TurnTcp => Box::pin(relayed::streams::answer(host, &[Carrier::Tcp], setting)),
        Technique::TurnTls => Box::pin(relayed::streams::answer(host, &[Carrier::Tls], setting)),
        Technique::TurnTcpAllocation => Box::pin(relayed::tcp::answer(host, setting)),
        Technique::RelayFirst => Box::pin(relay_first::answer(host, setting)),
        Technique::Quic => Box::pin(quic::technique::answer(host, setting)),
        Technique::NatPmp => Box::pin(mapped::answer(host, Method::NatPmp, setting)),
        Technique::Pcp => Box::pin(mapped::answer(host, Method::Pcp, setting)),
        Technique::Upnp => Box::pin(mapped::answer(host, Method::Upnp, setting)),
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
