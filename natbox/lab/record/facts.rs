//! What a packet's headers say, small enough to keep for every packet.

use std::fmt;
use std::net::SocketAddr;

use natbox_wire::{DropReason, Fragment, IcmpError, Packet, Protocol, Quoted, TcpFlags, Transport};

/// What a packet's headers say. Its `Display` is the packet's summary, one line.
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
    /// What an ICMP error quotes.
    pub quoted: Option<Box<Quoted>>,
}

impl Facts {
    /// Reads them; the reason if the bytes are no packet.
    pub fn of(bytes: &[u8]) -> Result<Facts, DropReason> {
        let packet = Packet::parse(bytes.to_vec()).map_err(|malformed| malformed.reason)?;
        Ok(Facts {
            source: packet.source_endpoint(),
            destination: packet.destination_endpoint(),
            transport: packet.transport(),
            protocol_number: packet.protocol_number(),
            ttl: packet.ttl(),
            length_bytes: packet.bytes().len() as u32,
            payload_bytes: packet.payload().len() as u32,
            fragment: packet.fragment(),
            quoted: packet.quoted().map(Box::new),
        })
    }

    /// The protocol of the session that it belongs to, if it shows one.
    pub fn protocol(&self) -> Option<Protocol> {
        match self.transport {
            Transport::Udp { .. } => Some(Protocol::Udp),
            Transport::Tcp { .. } => Some(Protocol::Tcp),
            Transport::Echo { .. } => Some(Protocol::Icmp),
            _ => None,
        }
    }

    /// The protocol's name, for people and for JSON.
    pub fn protocol_name(&self) -> &'static str {
        match self.transport {
            Transport::Udp { .. } => "UDP",
            Transport::Tcp { .. } => "TCP",
            Transport::Echo { .. } | Transport::IcmpError(_) | Transport::OtherIcmp { .. } => "ICMP",
            Transport::LaterFragment | Transport::Other => match self.protocol_number {
                1 | 58 => "ICMP",
                6 => "TCP",
                17 => "UDP",
                _ => "IP",
            },
        }
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, payload) = (self.protocol_name(), self.payload_bytes);
        let (from, to) = (self.source, self.destination);
        match self.transport {
            Transport::Udp { .. } => write!(f, "{name} {from} > {to}, {payload} bytes"),
            Transport::Tcp { flags, .. } => {
                write!(f, "{name} {from} > {to}, {}", flag_names(flags))?;
                if payload > 0 { write!(f, ", {payload} bytes") } else { Ok(()) }
            }
            Transport::Echo { request, identifier, sequence } => {
                let kind = if request { "request" } else { "reply" };
                write!(f, "{name} {} > {}, echo {kind}, id {identifier}, seq {sequence}", from.ip(), to.ip())
            }
            Transport::IcmpError(error) => {
                write!(f, "{name} {} > {}, {}", from.ip(), to.ip(), error_name(error))?;
                match &self.quoted {
                    Some(quoted) => write!(f, " about {} > {}", quoted.source, quoted.destination),
                    None => Ok(()),
                }
            }
            Transport::OtherIcmp { kind, code } => {
                write!(f, "{name} {} > {}, type {kind}, code {code}", from.ip(), to.ip())
            }
            Transport::LaterFragment => write!(f, "{name} {} > {}, {payload} bytes", from.ip(), to.ip()),
            Transport::Other => {
                let number = self.protocol_number;
                write!(f, "{name} {} > {}, protocol {number}, {} bytes", from.ip(), to.ip(), self.length_bytes)
            }
        }?;
        match self.fragment {
            Some(Fragment { identification, offset_bytes, more }) => {
                let last = if more { "" } else { ", the last" };
                write!(f, ", fragment of {identification} at {offset_bytes}{last}")
            }
            None => Ok(()),
        }
    }
}

fn flag_names(flags: TcpFlags) -> String {
    let all = [(flags.syn, "SYN"), (flags.fin, "FIN"), (flags.rst, "RST"), (flags.psh, "PSH"), (flags.ack, "ACK")];
    let set = all.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect::<Vec<_>>();
    if set.is_empty() { "no flags".to_owned() } else { set.join("+") }
}

/// The error as people say it.
fn error_name(error: IcmpError) -> String {
    match error {
        IcmpError::NetUnreachable => "network unreachable".to_owned(),
        IcmpError::HostUnreachable => "host unreachable".to_owned(),
        IcmpError::ProtocolUnreachable => "protocol unreachable".to_owned(),
        IcmpError::PortUnreachable => "port unreachable".to_owned(),
        IcmpError::PacketTooBig { mtu } => format!("packet too big, MTU {mtu}"),
        IcmpError::AdminProhibited => "administratively prohibited".to_owned(),
        IcmpError::TtlExceeded => "TTL exceeded".to_owned(),
        IcmpError::ReassemblyTimeExceeded => "reassembly time exceeded".to_owned(),
        IcmpError::Other { kind, code } => format!("error type {kind}, code {code}"),
    }
}
