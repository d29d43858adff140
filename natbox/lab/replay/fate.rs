//! What became of a packet, as the frames of a capture tell.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde::Serialize;

use crate::capture::{Direction, Frame};
use crate::record::DropSite;

/// Where a packet's way ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "end", rename_all = "kebab-case")]
pub enum End {
    /// Nothing was seen of its end.
    #[default]
    Unseen,
    /// It came to a host, or was taken by a NAT or router itself.
    Arrived {
        /// Where.
        at: String,
    },
    /// It was dropped.
    Dropped {
        /// The node, or the interface whose link lost it.
        at: String,
        /// Whether a link lost it.
        on_link: bool,
        /// Why.
        reason: &'static str,
    },
}

/// What became of a packet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Fate {
    /// Where its way ended.
    #[serde(flatten)]
    pub end: End,
    /// Its source endpoint where it was seen last: what NATs had made of it.
    pub source: Option<SocketAddr>,
    /// The sentence about its end, of a drop.
    pub why: Option<String>,
}

impl Fate {
    /// The drop reason, if it was dropped.
    pub fn reason(&self) -> Option<&'static str> {
        match self.end {
            End::Dropped { reason, .. } => Some(reason),
            End::Arrived { .. } | End::Unseen => None,
        }
    }

    /// Adds what a frame tells. The first arrival counts, then the first drop.
    pub(super) fn see(&mut self, frame: &Frame<'_>, hosts: &BTreeSet<String>) {
        if matches!(self.end, End::Arrived { .. }) {
            return;
        }
        let node = frame.node();
        let at_host = frame.direction == Some(Direction::In) && hosts.contains(node);
        let taken = frame.comment.as_deref().is_some_and(|comment| comment.starts_with("delivered to "));
        if at_host || taken {
            *self = Fate { end: End::Arrived { at: node.to_owned() }, source: self.source, why: None };
        } else if let Some((site, reason)) = frame.dropped()
            && self.end == End::Unseen
        {
            let (at, on_link) = match site {
                DropSite::Node(node) => (node, false),
                DropSite::Link(interface) => (interface, true),
            };
            self.end = End::Dropped { at, on_link, reason: natbox_wire::Word::as_str(reason) };
            self.why = frame.comment.clone();
        }
        if let Some((source, _)) = frame.endpoints() {
            self.source = Some(source);
        }
    }
}
