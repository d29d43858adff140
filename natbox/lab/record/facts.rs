//! What a packet's headers say, small enough to keep for every packet.

use std::fmt;
use std::net::SocketAddr;

use natbox_wire::{DropReason, Fragment, Packet, Protocol, Transport};

/// What a packet's headers say. Its `Display` is one line for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Source address and port or identifier; port 0 where there is neither.
    pub source: SocketAddr,
    /// Destination address and port or identifier.
    pub destination: SocketAddr,
    /// What follows the IP header.
    pub transport: Transport,
    /// The IP protocol number.
    pub protocol_number: u8,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// The whole packet's length.
    pub length_bytes: u32,
    /// The length of what the transport carries.
    pub payload_bytes: u32,
    /// Its place in a fragmented datagram.
    pub fragment: Option<Fragment>,
    /// The packet's own one-line summary, if it was asked for.
    pub summary: Option<Box<str>>,
}

impl Facts {
    /// Reads them, with a summary or without; the reason if the bytes are no packet.
    pub fn of(bytes: &[u8], summary: bool) -> Result<Facts, DropReason> {
        Facts::of_owned(bytes.to_vec(), summary).0
    }

    /// As [`Facts::of`], and gives the bytes back if they are a packet.
    pub(super) fn of_owned(bytes: Vec<u8>, summary: bool) -> (Result<Facts, DropReason>, Option<Vec<u8>>) {
        let packet = match Packet::parse(bytes) {
            Ok(packet) => packet,
            Err(malformed) => return (Err(malformed.reason), None),
        };
        let facts = Facts {
            source: packet.source_endpoint(),
            destination: packet.destination_endpoint(),
            transport: packet.transport(),
            protocol_number: packet.protocol_number(),
            ttl: packet.ttl(),
            length_bytes: packet.bytes().len() as u32,
            payload_bytes: packet.payload().len() as u32,
            fragment: packet.fragment(),
            summary: summary.then(|| packet.summary().into()),
        };
        (Ok(facts), Some(packet.into_bytes()))
    }

    /// The protocol of the session that it belongs to, if it shows one.
    pub fn protocol(&self) -> Option<Protocol> {
        match self.transport {
            Transport::Udp { .. } => Some(Protocol::Udp),
            Transport::Tcp { .. } => Some(Protocol::Tcp),
            Transport::Echo { .. } | Transport::Query { .. } => Some(Protocol::Icmp),
            _ => None,
        }
    }

    /// The protocol's name.
    pub fn protocol_name(&self) -> &'static str {
        match (self.transport, self.protocol_number) {
            (Transport::Udp { .. }, _) | (_, 17) => "UDP",
            (Transport::Tcp { .. }, _) | (_, 6) => "TCP",
            (_, 1) => "ICMP",
            (_, 58) => "ICMPv6",
            _ => "IP",
        }
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.summary {
            Some(summary) => f.write_str(summary),
            None => write!(f, "{} {} > {}", self.protocol_name(), self.source, self.destination),
        }
    }
}
