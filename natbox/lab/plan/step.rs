//! The steps of a scenario, with every name looked up.

mod sent;

use std::net::IpAddr;
use std::time::Duration;

use natbox_probes::Path;
use natbox_probes::discovery::{Classic, Filtering, Hairpin, Mapping};
use natbox_probes::technique::{Options, Technique};
use natbox_wire::DropReason;

use super::Network;
use super::change::{Axes, LinkChange};
use super::control::Map;
use super::measure::Measure;
use super::program::{Await, Run};
use crate::topology::Allowed;
use crate::words::{Family, Switch};

pub use sent::{EndpointPattern, ExpectMapped, ExpectSend, Goal, Place, Send};

/// How long a packet is followed at most.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Its line in the topology file.
    pub line: u32,
    /// What it is called, if it is.
    pub name: Option<String>,
    /// What it does, and what is expected of it.
    pub action: Action,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Sends a datagram and follows it.
    Send(Send),
    /// Sends echo requests.
    Ping(Ping),
    /// Finds out the behaviour of the NATs in front of a host.
    Discover(Discover),
    /// Measures the NATs in front of a host.
    Measure(Measure),
    /// Punches a UDP hole.
    Punch(Punch),
    /// Tries everything that is allowed.
    Connect(Connect),
    /// Connects, and sends at a constant rate.
    Call(Call),
    /// Asks a gateway for a mapping.
    Map(Map),
    /// Talks over a connection that was kept.
    Talk(Talk),
    /// Starts a real program.
    Run(Run),
    /// Waits for a real program.
    Await(Await),
    /// Lets time pass.
    Wait(Duration),
    /// Makes the NAT of this name lose its state.
    Reboot(String),
    /// Gives a NAT other external addresses.
    Readdress {
        /// The NAT.
        nat: String,
        /// Its new external addresses.
        addresses: Vec<IpAddr>,
    },
    /// Gives axes of a NAT other values.
    Set(Set),
    /// Gives links other properties.
    Link(Relink),
    /// Takes a host to another network.
    Move(Move),
    /// Lets time pass until a mapping ends.
    Expire(Expire),
    /// Counts what a NAT has and has done.
    Count(Count),
    /// Cuts links.
    Cut(Cable),
    /// Mends links.
    Mend(Cable),
}

impl Action {
    /// The action's key in topology files.
    pub fn word(&self) -> &'static str {
        match self {
            Action::Send(_) => "send",
            Action::Ping(_) => "ping",
            Action::Discover(_) => "discover",
            Action::Measure(_) => "measure",
            Action::Punch(_) => "punch",
            Action::Connect(_) => "connect",
            Action::Call(_) => "call",
            Action::Map(_) => "map",
            Action::Talk(_) => "talk",
            Action::Run(_) => "run",
            Action::Await(_) => "await",
            Action::Wait(_) => "wait",
            Action::Reboot(_) => "reboot",
            Action::Readdress { .. } => "readdress",
            Action::Set(_) => "set",
            Action::Link(_) => "link",
            Action::Move(_) => "move",
            Action::Expire(_) => "expire",
            Action::Count(_) => "count",
            Action::Cut(_) => "cut",
            Action::Mend(_) => "mend",
        }
    }
}

/// Echo requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Ping {
    /// The host that asks.
    pub from: String,
    /// Who is asked.
    pub to: Place,
    /// As the file writes it.
    pub to_text: String,
    /// How many requests.
    pub count: u16,
    /// From one request to the next.
    pub interval: Duration,
    /// Payload, in bytes.
    pub size_bytes: usize,
    /// What is expected.
    pub expect: Option<ExpectPing>,
}

/// What is expected of echo requests.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ExpectPing {
    /// Every round-trip time.
    pub rtt: Option<Allowed<Duration>>,
    /// Share without a reply.
    pub loss: Option<Allowed<f64>>,
}

/// A discovery.
#[derive(Clone, Debug, PartialEq)]
pub struct Discover {
    /// The host that wants to know.
    pub from: String,
    /// The STUN server.
    pub via: String,
    /// Over which IP version.
    pub family: Family,
    /// Whether the lifetime is searched for.
    pub lifetime: bool,
    /// What is expected.
    pub expect: Option<ExpectDiscover>,
}

/// What is expected of a discovery.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ExpectDiscover {
    /// Mapping behaviour.
    pub mapping: Option<Mapping>,
    /// Filtering behaviour.
    pub filtering: Option<Filtering>,
    /// Hairpinning.
    pub hairpin: Option<Hairpin>,
    /// The name that RFC 3489 has for it.
    pub classic: Option<Classic>,
    /// Whether something on the way rewrites payloads.
    pub payload_rewritten: Option<Switch>,
    /// Lifetime of an idle mapping.
    pub lifetime: Option<Allowed<Duration>>,
}

/// The hosts whose services two hosts use to meet, and over which IP version.
#[derive(Clone, Debug, PartialEq)]
pub struct Via {
    /// Where STUN runs.
    pub stun: String,
    /// Where the rendezvous runs.
    pub rendezvous: String,
    /// Where TURN runs, if anywhere.
    pub turn: Option<String>,
    /// The IP version of everything that the two send.
    pub family: Family,
}

/// A punch.
#[derive(Clone, Debug, PartialEq)]
pub struct Punch {
    /// The host that begins.
    pub from: String,
    /// The host that it wants to talk to.
    pub to: String,
    /// How they meet.
    pub via: Via,
    /// Whether endpoints are learned from packets that come from them.
    pub peer_reflexive: bool,
    /// What is expected.
    pub expect: Option<ExpectPath>,
}

/// A connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Connect {
    /// The host that begins.
    pub from: String,
    /// The host that it wants to talk to.
    pub to: String,
    /// How they meet.
    pub via: Via,
    /// By which technique.
    pub technique: Technique,
    /// What that may spend, and what it is to try; those that it reads.
    pub options: Options,
    /// The name under which the connection is kept for later steps.
    pub label: Option<String>,
    /// What is expected.
    pub expect: Option<ExpectPath>,
}

/// What is expected of a punch or a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ExpectPath {
    /// How the hosts come to talk.
    pub path: Option<Path>,
    /// How soon, at most.
    pub within: Option<Duration>,
}

/// Messages over a connection that was kept, and their echoes.
#[derive(Clone, Debug, PartialEq)]
pub struct Talk {
    /// The connection.
    pub label: String,
    /// How long messages are sent.
    pub length: Duration,
    /// From one message to the next.
    pub interval: Duration,
    /// What is expected.
    pub expect: Option<ExpectTalk>,
}

/// What is expected of a connection that was kept.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ExpectTalk {
    /// The path in the end.
    pub path: Option<Path>,
    /// The share of messages without an echo.
    pub loss: Option<Allowed<f64>>,
    /// The longest time without an echo.
    pub outage: Option<Allowed<Duration>>,
}

/// A call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// How the hosts connect; nothing is expected of that alone.
    pub connect: Connect,
    /// How long the datagrams flow.
    pub length: Duration,
    /// From one datagram to the next, each way.
    pub interval: Duration,
    /// Payload, in bytes.
    pub size_bytes: usize,
    /// What is expected.
    pub expect: Option<ExpectCall>,
}

/// What is expected of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ExpectCall {
    /// The path at its end.
    pub path: Option<Path>,
    /// Share of datagrams that did not arrive.
    pub loss: Option<Allowed<f64>>,
    /// Every one-way delay.
    pub delay: Option<Allowed<Duration>>,
}

/// Uplinks of one node.
#[derive(Clone, Debug, PartialEq)]
pub struct Cable {
    /// The host or NAT.
    pub node: String,
    /// The indices of its uplinks.
    pub uplinks: Vec<usize>,
    /// As the file writes it.
    pub text: String,
}

/// A NAT that behaves otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Set {
    /// The NAT.
    pub nat: String,
    /// What changes.
    pub axes: Axes,
}

/// Links that have other properties.
#[derive(Clone, Debug, PartialEq)]
pub struct Relink {
    /// The links.
    pub cable: Cable,
    /// What changes.
    pub change: LinkChange,
}

/// A host that goes to another network.
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    /// The host.
    pub host: String,
    /// The NAT that it is behind then; the public network if absent.
    pub behind: Option<String>,
    /// The network.
    pub network: Network,
    /// The index of the uplink that it has there already, which its default route takes then; its first one moves if absent.
    pub uplink: Option<usize>,
    /// Its addresses there.
    pub addresses: Vec<IpAddr>,
}

/// The end of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct Expire {
    /// The label of the packet that was given it.
    pub label: String,
    /// How long it is expected to live.
    pub after: Option<Allowed<Duration>>,
}

/// A count.
#[derive(Clone, Debug, PartialEq)]
pub struct Count {
    /// The NAT.
    pub nat: String,
    /// What is expected.
    pub expect: Option<ExpectCount>,
}

/// What is expected of a count.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExpectCount {
    /// Mappings that live.
    pub mappings: Option<usize>,
    /// Mappings that somebody asked for.
    pub explicit: Option<usize>,
    /// Sessions that live.
    pub sessions: Option<usize>,
    /// Packets that died there.
    pub dropped: Option<usize>,
    /// Packets that died there for these reasons.
    pub drops: Vec<(DropReason, usize)>,
}
