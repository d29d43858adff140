//! Captures: pcapng files in which every packet says what happened to it.
//!
//! One interface per attachment of a host or NAT to a network, raw IP, nanoseconds of virtual time from 0, names of
//! addresses, a comment and a packet number on each packet. The router of a network has no interface of its own
//! there; what it drops, sends and takes itself stands on one named after the network, and what it passes on shows on
//! both sides of it. Written captures depend on the record alone: no
//! clock, no machine's name, always little-endian.
//!
//! Everything that knows `pcap-file` is in this folder.

mod follow;
mod growing;
mod inspect;
mod ladder;
mod read;
mod select;
mod stream;
mod write;

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use natbox_wire::{DropReason, Time};
use serde::Serialize;

use crate::record::{DropSite, Facts, dropped};

pub use follow::follow;
pub use growing::Growing;
pub use inspect::{Format, InspectError, inspect, text};
pub(crate) use inspect::{Widths, clock, line};
pub(crate) use ladder::drawn;
pub use read::{InterfaceInfo, MAX_BLOCK_BYTES, Reader};
pub use select::Filter;
pub use stream::{HELD_BACK, Stream};
pub(crate) use write::placed_frames;
pub use write::{Written, frames, save, write};

/// Which way a packet crossed an interface, seen from its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// To the node.
    In,
    /// From the node.
    Out,
}

impl Direction {
    /// `in` or `out`.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::In => "in",
            Direction::Out => "out",
        }
    }
}

/// One packet of a capture.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame<'a> {
    /// When, from the beginning of the lab; in a foreign capture, from 1970.
    pub at: Time,
    /// The interface's name.
    pub interface: String,
    /// Which way it went, if the capture says.
    pub direction: Option<Direction>,
    /// The packet's number, if the capture says: the same on every interface that it crossed.
    pub packet: Option<u64>,
    /// What its headers say.
    pub content: Content,
    /// Its bytes, from the IP header on; empty if they were not kept.
    pub bytes: Cow<'a, [u8]>,
    /// What happened to it.
    pub comment: Option<String>,
}

/// What a frame carries.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// An IP packet.
    Ip(Facts),
    /// Bytes that should be an IP packet and are not.
    Malformed(DropReason),
    /// An Ethernet frame of another protocol, by its EtherType.
    NotIp(u16),
}

impl Content {
    /// Reads an IP packet.
    pub fn of_ip(bytes: &[u8]) -> Content {
        Facts::of(bytes, true).map_or_else(Content::Malformed, Content::Ip)
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Ip(facts) => facts.fmt(f),
            Content::Malformed(reason) => write!(f, "no packet: {reason}"),
            Content::NotIp(ether_type) => write!(f, "not IP: EtherType {ether_type:#06x}"),
        }
    }
}

impl Frame<'_> {
    /// The node that the interface belongs to: its name up to the colon.
    pub fn node(&self) -> &str {
        node_of(&self.interface)
    }

    /// Source and destination, of an IP packet.
    pub fn endpoints(&self) -> Option<(SocketAddr, SocketAddr)> {
        match &self.content {
            Content::Ip(facts) => Some((facts.source, facts.destination)),
            Content::Malformed(_) | Content::NotIp(_) => None,
        }
    }

    /// Where and why it was dropped, if it was.
    pub fn dropped(&self) -> Option<(DropSite, DropReason)> {
        dropped(self.comment.as_deref()?)
    }
}

/// The node of an interface called `node` or `node:side`.
pub(crate) fn node_of(interface: &str) -> &str {
    interface.split_once(':').map_or(interface, |(node, _)| node)
}

/// Why a capture could not be written or read.
#[derive(Debug)]
pub enum CaptureError {
    /// The file system or the output failed.
    Io(io::Error),
    /// The file is no pcapng file; why it is not.
    NotPcapng(String),
    /// A block is broken.
    Malformed {
        /// Its number, from 1.
        block: u64,
        /// What is wrong with it.
        what: String,
    },
    /// A packet of a link type that is not read.
    LinkType {
        /// The interface.
        interface: String,
        /// Its link type.
        link_type: String,
    },
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CaptureError::Io(error) => error.fmt(f),
            CaptureError::NotPcapng(why) => write!(f, "not a pcapng capture: {why}"),
            CaptureError::Malformed { block, what } => write!(f, "block {block} of the capture is broken: {what}"),
            CaptureError::LinkType { interface, link_type } => {
                write!(f, "interface `{interface}` has link type {link_type}; only raw IP and Ethernet can be read")
            }
        }
    }
}

impl std::error::Error for CaptureError {}

impl From<io::Error> for CaptureError {
    fn from(error: io::Error) -> CaptureError {
        CaptureError::Io(error)
    }
}
