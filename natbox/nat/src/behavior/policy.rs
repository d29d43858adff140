//! Words of policy: what may leave at all, and what is done to payloads.

use natbox_wire::words;

use super::icmp::Switch;
use super::ports::PortRanges;

/// Which remote ports of one protocol may be reached from inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All of them.
    All,
    /// None: the protocol is blocked.
    Nothing,
    /// These alone.
    Ports(PortRanges),
}

impl Reach {
    /// Whether packets to this remote port may leave.
    pub fn contains(&self, port: u16) -> bool {
        match self {
            Reach::All => true,
            Reach::Nothing => false,
            Reach::Ports(ports) => ports.contains(port),
        }
    }
}

impl std::fmt::Display for Reach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reach::All => f.pad("on"),
            Reach::Nothing => f.pad("off"),
            Reach::Ports(ports) => ports.fmt(f),
        }
    }
}

/// What may leave: a firewall's rules for packets from inside, apart from translation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// UDP.
    pub udp: Reach,
    /// TCP.
    pub tcp: Reach,
    /// ICMP queries. Those that turn round inside do not leave, and pass; `icmp_query: deny` forbids them too.
    pub icmp: Switch,
}

words! {
    /// What an application-layer gateway that knows no protocol does to payloads (RFC 4787 REQ-10).
    pub enum GenericAlg: "generic ALG" {
        Off = "off", "nothing";
        RewriteBinary = "rewrite-binary", "every four bytes that equal the address being translated are rewritten with it";
        RewriteText = "rewrite-text", "every dotted decimal that equals it is rewritten";
    }
}

/// Application-layer gateways, each to be switched alone (RFC 4787 REQ-10a).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alg {
    /// FTP (RFC 959, RFC 2428): PORT, EPRT, PASV and EPSV, with sequence numbers mended.
    pub ftp: Switch,
    /// SIP over UDP (RFC 3261) with SDP: addresses in the text, ports for the media.
    pub sip: Switch,
    /// TFTP (RFC 1350): the answer from another port of the server is let in.
    pub tftp: Switch,
    /// Whatever looks like the address.
    pub generic: GenericAlg,
}
