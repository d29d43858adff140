//! A packet of a script, and what is expected of it.

use std::net::IpAddr;
use std::time::Duration;

use natbox_wire::DropReason;

use crate::plan::message::{Craft, Message};
use crate::topology::Allowed;
use crate::words::{Parity, PortClass, Rejection};

/// A packet of a script.
#[derive(Clone, Debug, PartialEq)]
pub struct Send {
    /// What it is.
    pub message: Message,
    /// The host that sends it.
    pub host: String,
    /// The address that it is sent from; by the host's routing if absent.
    pub address: Option<IpAddr>,
    /// The port that it is sent from; 0 for ICMP.
    pub port: u16,
    /// Where it goes.
    pub to: Goal,
    /// The destination as the file writes it.
    pub to_text: String,
    /// Its label, for later steps.
    pub label: Option<String>,
    /// What it carries.
    pub payload: Vec<u8>,
    /// How many bytes of that, again and again; once if absent.
    pub size_bytes: Option<usize>,
    /// Its time to live, or hop limit.
    pub ttl: u8,
    /// What is unusual about it.
    pub craft: Craft,
    /// What is expected.
    pub expect: Option<Box<ExpectSend>>,
}

impl Send {
    /// Whether a UDP socket can send it.
    pub(crate) fn is_plain(&self) -> bool {
        self.message == Message::Udp && self.craft == Craft::default()
    }

    /// The bytes that it carries.
    pub fn carried(&self) -> Vec<u8> {
        match self.size_bytes {
            None => self.payload.clone(),
            Some(size_bytes) => self.payload.iter().copied().cycle().take(size_bytes).collect(),
        }
    }
}

/// Where a datagram goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Goal {
    /// To a port of a machine; for echo, with this identifier.
    Endpoint(Place, u16),
    /// To the external endpoint that the packet with this label was given.
    Mapped(String),
    /// To whom the packet with this label seemed to come from: an error about it.
    Offender(String),
}

/// What is expected of a datagram.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExpectSend {
    /// The host that receives it.
    pub delivered: Option<String>,
    /// The source that the receiver sees: one of these addresses, and this port if it matters.
    pub from: Option<EndpointPattern>,
    /// Why it dies.
    pub dropped: Option<DropReason>,
    /// The host, NAT or `internet` where it dies.
    pub at: Option<String>,
    /// The ICMP error or RST that comes back.
    pub rejected: Option<Rejection>,
    /// The host or NAT that holds it.
    pub held: Option<String>,
    /// How long it is under way until its end.
    pub after: Option<Allowed<Duration>>,
    /// How long the mapping that it used lives from then on, at these NATs; without a name at the last that knew one.
    pub expires: Vec<(Option<String>, Allowed<Duration>)>,
    /// The external endpoint that it is given.
    pub mapped: Option<ExpectMapped>,
}

/// What an endpoint may be. The owner is named so that addresses are looked up when they matter: they may change.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointPattern {
    /// Whose address, or which.
    pub place: Place,
    /// Its port; any if absent.
    pub port: Option<u16>,
}

/// A machine by its name or its address.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// A host or NAT.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// What is expected of an external endpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExpectMapped {
    /// As that of the packet with this label.
    pub same_as: Option<String>,
    /// Another than that of the packet with this label.
    pub different_from: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// Its address.
    pub address: Option<Place>,
    /// The range that its port is in.
    pub class: Option<PortClass>,
    /// Whether its port is even.
    pub parity: Option<Parity>,
}
