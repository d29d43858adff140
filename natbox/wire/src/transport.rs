//! What IP carries, by name.

use std::fmt;

use crate::IcmpError;
use crate::field::number;

/// The transports that a NAT keeps sessions for. For [`Protocol::Icmp`] (ICMP queries, ICMPv6 echo) the identifier
/// stands where the others have a port (RFC 5508 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// ICMP queries with an identifier, or ICMPv6 echo.
    Icmp,
}

impl Protocol {
    /// The protocol's name in files, reports and captures: `udp`, `tcp`, `icmp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Udp => "udp",
            Protocol::Tcp => "tcp",
            Protocol::Icmp => "icmp",
        }
    }

    /// Its IP protocol number: 17, 6, and 1 (ICMP) or 58 (ICMPv6).
    pub fn number(self, ipv6: bool) -> u8 {
        match self {
            Protocol::Udp => number::UDP,
            Protocol::Tcp => number::TCP,
            Protocol::Icmp if ipv6 => number::ICMPV6,
            Protocol::Icmp => number::ICMP,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The control flags of a TCP segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TcpFlags {
    /// Synchronise.
    pub syn: bool,
    /// Acknowledge.
    pub ack: bool,
    /// Finish.
    pub fin: bool,
    /// Reset.
    pub rst: bool,
    /// Push.
    pub psh: bool,
}

impl TcpFlags {
    /// The flags in the fourteenth byte of a TCP header.
    #[inline]
    pub(crate) fn read(byte: u8) -> TcpFlags {
        TcpFlags {
            fin: byte & 0x01 != 0,
            syn: byte & 0x02 != 0,
            rst: byte & 0x04 != 0,
            psh: byte & 0x08 != 0,
            ack: byte & 0x10 != 0,
        }
    }
}

/// The flags' names joined by commas, `syn,ack`; `none` where there is none.
impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = [(self.syn, "syn"), (self.fin, "fin"), (self.rst, "rst"), (self.psh, "psh"), (self.ack, "ack")];
        let mut names = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name);
        f.write_str(names.next().unwrap_or("none"))?;
        names.try_for_each(|name| write!(f, ",{name}"))
    }
}

/// What follows the IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A UDP datagram.
    Udp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
    },
    /// A TCP segment.
    Tcp {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
        /// Control flags.
        flags: TcpFlags,
    },
    /// An ICMP or ICMPv6 echo request or reply.
    Echo {
        /// A request, else a reply.
        request: bool,
        /// The identifier, which a NAT treats as a port.
        identifier: u16,
        /// The sequence number.
        sequence: u16,
    },
    /// Another ICMP query with an identifier, or the reply to one: timestamp (13, 14), information (15, 16; RFC 792) or
    /// address mask (17, 18; RFC 950).
    Query {
        /// ICMP type: odd for requests.
        kind: u8,
        /// The identifier, which a NAT treats as a port.
        identifier: u16,
    },
    /// An ICMP or ICMPv6 error, which quotes another packet.
    IcmpError(IcmpError),
    /// Any other ICMP or ICMPv6 message.
    OtherIcmp {
        /// ICMP type.
        kind: u8,
        /// ICMP code.
        code: u8,
    },
    /// A fragment other than the first: no transport header in it.
    LaterFragment,
    /// Any other protocol.
    Other,
}
