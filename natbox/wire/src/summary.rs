//! A packet in one line for people: captures and `inspect` show it.

use std::fmt;

use crate::{IcmpError, Packet, Transport};

/// `UDP 10.0.0.2:5000 > 198.18.0.3:3478, 28 bytes`: the bytes are those of the payload.
impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (source, destination) = (self.source_endpoint(), self.destination_endpoint());
        let (from, to) = (self.source(), self.destination());
        let icmp = if self.is_ipv6() { "ICMPv6" } else { "ICMP" };
        match self.transport() {
            Transport::Udp { .. } => write!(f, "UDP {source} > {destination}")?,
            Transport::Tcp { flags, .. } => write!(f, "TCP {source} > {destination}, {flags}")?,
            Transport::Echo { request, identifier, sequence } => {
                let what = if request { "request" } else { "reply" };
                write!(f, "{icmp} echo {what} {from} > {to}, id {identifier}, seq {sequence}")?;
            }
            Transport::Query { kind, identifier } => {
                let subject = match kind {
                    13 | 14 => "timestamp",
                    15 | 16 => "information",
                    _ => "address mask",
                };
                let what = if kind % 2 == 1 { "request" } else { "reply" };
                write!(f, "{icmp} {subject} {what} {from} > {to}, id {identifier}")?;
            }
            Transport::IcmpError(error) => return self.write_error(f, icmp, error),
            Transport::OtherIcmp { kind, code } => write!(f, "{icmp} type {kind} code {code} {from} > {to}")?,
            Transport::LaterFragment => return self.write_later_fragment(f),
            Transport::Other => write!(f, "protocol {} {from} > {to}", self.protocol_number())?,
        }
        write!(f, ", {} bytes", self.payload().len())?;
        match self.fragment() {
            Some(fragment) => write!(f, ", first fragment of datagram {}", fragment.identification),
            None => Ok(()),
        }
    }
}

impl Packet {
    /// The packet in one line for people, as its [`Display`](fmt::Display) shows it.
    pub fn summary(&self) -> String {
        self.to_string()
    }

    fn write_error(&self, f: &mut fmt::Formatter<'_>, icmp: &str, error: IcmpError) -> fmt::Result {
        write!(f, "{icmp} {error} {} > {}", self.source(), self.destination())?;
        if let IcmpError::PacketTooBig { mtu } = error {
            write!(f, ", MTU {mtu} bytes")?;
        }
        match self.quoted() {
            Some(quoted) => {
                let protocol = quoted.protocol.as_str().to_uppercase();
                write!(f, ", about {protocol} {} > {}", quoted.source, quoted.destination)
            }
            None => write!(f, ", about a packet of no session"),
        }
    }

    fn write_later_fragment(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (protocol, from, to) = (self.protocol_number(), self.source(), self.destination());
        write!(f, "fragment of protocol {protocol} {from} > {to}, {} bytes", self.fragment_data().len())?;
        match self.fragment() {
            Some(fragment) => {
                let last = if fragment.more { "" } else { ", the last" };
                write!(f, " at {} of datagram {}{last}", fragment.offset_bytes, fragment.identification)
            }
            None => Ok(()),
        }
    }
}
