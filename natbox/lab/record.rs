//! The record of a run: the world's notes, kept in order and asked questions afterwards.
//!
//! A [`Recorder`] is handed to the world as its observer; its [`Log`] is what captures, text and JSON read. Knows
//! notes, not worlds: names come from a [`Names`] table, and nothing here decides whether a run went well.
//!
//! Bounded: past [`Limits::records`] nothing more is kept, past [`Limits::bytes`] no more packet bytes, and
//! [`Log::missed`] says how much is not there.

mod comment;
mod facts;
mod log;
mod names;

use std::cell::{Ref, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use natbox_nat::{Behavior, Ended, MappingEnd, MappingId};
use natbox_wire::{ControlEvent, DropReason, ExplicitMapping, Time};
use natbox_world::note::{InterfaceId, LinkFate, NodeId, Note, Observer, Outcome, PacketId};

pub use comment::{DropSite, comment, dropped};
pub use facts::Facts;
pub use log::Log;
pub use names::{InterfaceName, Names, NodeKind, NodeName};

/// How much a recorder keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Records.
    pub records: usize,
    /// Packet bytes, over all records. 0 keeps none: enough for everything but captures.
    pub bytes: usize,
    /// Whether packets are summed up in a line for people; else only their endpoints are shown.
    pub summaries: bool,
}

impl Limits {
    /// Half a million records (some 250 MiB at the most), no packet bytes: for timelines and verdicts.
    pub const TIMELINE: Limits = Limits { records: 500_000, bytes: 0, summaries: false };
    /// As many with what people want to read: for lists of packets.
    pub const PACKETS: Limits = Limits { records: 500_000, bytes: 0, summaries: true };
    /// As many with up to 512 MiB of packets: for captures.
    pub const CAPTURE: Limits = Limits { records: 500_000, bytes: 512 << 20, summaries: true };
}

/// What a recorder had no room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// Notes that were not kept.
    pub records: u64,
    /// Packets whose bytes were not kept.
    pub packets: u64,
}

/// One note, owned.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// When.
    pub at: Time,
    /// Where.
    pub node: NodeId,
    /// What.
    pub what: What,
}

/// What a record is about.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A packet was sent, received or dropped.
    Packet(Box<Sighting>),
    /// A mapping of this gateway's NAT ended.
    MappingEnded(Ended),
    /// Something happened to a mapping of this gateway's NAT that had been asked for.
    Control(Box<ExplicitMapping>, ControlEvent),
    /// The gateway rebooted.
    Rebooted,
    /// The gateway has other external addresses.
    Readdressed,
    /// The gateway's NAT behaved like the first, and behaves like the second from now on.
    Reconfigured(Arc<Behavior>, Arc<Behavior>),
    /// An interface's link has other properties.
    Relinked(InterfaceId),
    /// An interface's link was cut.
    Cut(InterfaceId),
    /// A host's uplink was taken to another network.
    Moved(InterfaceId),
    /// A host's default route leads through this interface.
    Preferred(InterfaceId),
    /// An interface's link was mended.
    Mended(InterfaceId),
}

/// A mapping that had been asked for, and what happened to it.
pub type Asked = (ExplicitMapping, ControlEvent);

/// A packet, seen at a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    /// Its number.
    pub id: PacketId,
    /// The packet on whose account it was sent.
    pub cause: Option<PacketId>,
    /// The interface; `None` for what a node dropped by itself.
    pub interface: Option<InterfaceId>,
    /// What happened.
    pub step: Step,
    /// What its headers say; `Err` with the reason for bytes that are no packet.
    pub facts: Result<Facts, DropReason>,
    /// For a packet that the node sent on: the same packet on the other side of the node.
    pub beyond: Option<Beyond>,
    /// For a packet that the node's NAT has just made: the mapping on whose account.
    pub made_for: Option<MappingId>,
    /// For the answer to a request for a mapping: what the request did.
    pub control: Option<Box<Asked>>,
    /// What had happened before that explains a drop.
    pub history: Option<History>,
    /// How the NAT behaves here, where it did not always.
    pub behavior: Option<Arc<Behavior>>,
    /// Its bytes, from the IP header on, if they were kept.
    pub bytes: Option<Box<[u8]>>,
}

/// What happened to a packet at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It was sent, and the link did this.
    Sent(LinkFate),
    /// It came, and the node did this.
    Received(Outcome),
    /// The node dropped it, and it came through no interface just then.
    Dropped(DropReason),
    /// The node had held it, and now did this.
    Released(Outcome),
    /// The node's NAT made it on this mapping's account.
    Made(MappingId),
}

/// A forwarded packet on the other side of the node that forwarded it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beyond {
    /// Its source there.
    pub source: SocketAddr,
    /// Its destination there.
    pub destination: SocketAddr,
    /// What the node did when it came.
    pub outcome: Outcome,
}

/// Something earlier that explains why a NAT refused a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// The external endpoint had a mapping once.
    Ended {
        /// That mapping.
        mapping: MappingId,
        /// When it ended.
        at: Time,
        /// Why.
        why: MappingEnd,
    },
    /// The remote's address had been contacted, last at this time: the permission has ended since.
    Contacted {
        /// When.
        at: Time,
        /// Whether its port too.
        exactly: bool,
    },
}

/// A drop: a packet's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drop {
    /// Why.
    pub reason: DropReason,
    /// Whether a link lost it, rather than the node itself.
    pub on_link: bool,
    /// The mapping that it was addressed to, where a NAT dropped it and there is one.
    pub mapping: Option<MappingId>,
}

impl Sighting {
    /// The drop, if this is one.
    pub fn dropped(&self) -> Option<Drop> {
        let drop = |reason| Some(Drop { reason, on_link: false, mapping: None });
        match self.step {
            Step::Sent(LinkFate::Dropped(reason)) => Some(Drop { reason, on_link: true, mapping: None }),
            Step::Received(Outcome::Refused(refusal)) | Step::Released(Outcome::Refused(refusal)) => {
                Some(Drop { reason: refusal.reason, on_link: false, mapping: refusal.mapping })
            }
            Step::Received(Outcome::Dropped(reason))
            | Step::Released(Outcome::Dropped(reason))
            | Step::Dropped(reason) => drop(reason),
            Step::Sent(_) | Step::Received(_) | Step::Released(_) | Step::Made(_) => None,
        }
    }

    /// Whether the packet reached a socket here.
    pub fn delivered(&self) -> bool {
        self.step == Step::Received(Outcome::Delivered)
    }

    /// Whether the packet left this node.
    pub fn sent(&self) -> bool {
        matches!(self.step, Step::Sent(_))
    }
}

impl Record {
    /// The packet, if the record is about one.
    pub fn sighting(&self) -> Option<&Sighting> {
        match &self.what {
            What::Packet(sighting) => Some(sighting),
            _ => None,
        }
    }
}

/// Records the notes of a world. Clones share one log: hand one to the world, keep the other.
#[derive(Clone, Debug)]
pub struct Recorder(Rc<RefCell<Log>>);

impl Recorder {
    /// An empty recorder.
    pub fn new(limits: Limits) -> Recorder {
        Recorder(Rc::new(RefCell::new(Log::new(limits))))
    }

    /// The log so far. The world must not run while this is held.
    pub fn log(&self) -> Ref<'_, Log> {
        self.0.borrow()
    }

    /// The log, taken out; the recorder goes on with an empty one.
    pub fn take(&self) -> Log {
        let limits = self.0.borrow().limits();
        self.0.replace(Log::new(limits))
    }
}

impl Observer for Recorder {
    fn note(&mut self, note: &Note<'_>) {
        self.0.borrow_mut().add(note);
    }
}

/// An instant for people: to the millisecond, to the microsecond where it needs that. Cut off, as lists of packets do
/// it, so that it is found there.
pub(crate) fn moment(at: Time) -> String {
    Time::from_nanos(at.as_nanos() / 1_000 * 1_000).to_string()
}

/// An endpoint as people write it: without the port where there is none.
pub(crate) fn endpoint(endpoint: SocketAddr) -> String {
    if endpoint.port() == 0 { endpoint.ip().to_string() } else { endpoint.to_string() }
}

/// An address as it stands in an endpoint without a port.
pub(crate) fn bare(address: IpAddr) -> SocketAddr {
    SocketAddr::new(address, 0)
}
