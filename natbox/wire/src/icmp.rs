//! ICMP and ICMPv6 errors under one set of names.

use std::fmt;

use crate::field::{be16, be32, icmp};

/// An ICMP (RFC 792, RFC 1191) or ICMPv6 (RFC 4443) error, named alike for both versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IcmpError {
    /// Network unreachable (3/0; ICMPv6 1/0).
    NetUnreachable,
    /// Host unreachable (3/1; ICMPv6 1/3).
    HostUnreachable,
    /// Protocol unreachable (3/2; ICMPv6 4/1).
    ProtocolUnreachable,
    /// Port unreachable (3/3; ICMPv6 1/4).
    PortUnreachable,
    /// Fragmentation needed (3/4) or packet too big (ICMPv6 2/0), with the next hop's MTU in bytes.
    PacketTooBig {
        /// MTU of the next hop, in bytes; 0 from routers older than RFC 1191.
        mtu: u32,
    },
    /// Communication administratively prohibited (3/13; ICMPv6 1/1).
    AdminProhibited,
    /// Time to live or hop limit exceeded (11/0; ICMPv6 3/0).
    TtlExceeded,
    /// Fragment reassembly time exceeded (11/1; ICMPv6 3/1).
    ReassemblyTimeExceeded,
    /// Any other error, by its type and code.
    Other {
        /// ICMP type.
        kind: u8,
        /// ICMP code.
        code: u8,
    },
}

impl IcmpError {
    /// The error of this type and code; `None` if the type is none of an error. `mtu` is read for packets too big
    /// only. Receivers ignore the code of an ICMPv6 packet too big (RFC 4443 section 3.2).
    pub fn from_type_and_code(ipv6: bool, kind: u8, code: u8, mtu: u32) -> Option<IcmpError> {
        if !is_error_kind(ipv6, kind) {
            return None;
        }
        Some(match (ipv6, kind, code) {
            (false, 3, 0) | (true, 1, 0) => IcmpError::NetUnreachable,
            (false, 3, 1) | (true, 1, 3) => IcmpError::HostUnreachable,
            (false, 3, 2) | (true, 4, 1) => IcmpError::ProtocolUnreachable,
            (false, 3, 3) | (true, 1, 4) => IcmpError::PortUnreachable,
            (false, 3, 4) | (true, 2, _) => IcmpError::PacketTooBig { mtu },
            (false, 3, 13) | (true, 1, 1) => IcmpError::AdminProhibited,
            (false, 11, 0) | (true, 3, 0) => IcmpError::TtlExceeded,
            (false, 11, 1) | (true, 3, 1) => IcmpError::ReassemblyTimeExceeded,
            _ => IcmpError::Other { kind, code },
        })
    }

    /// The type and code that stand for this error in ICMP, or in ICMPv6.
    pub fn type_and_code(self, ipv6: bool) -> (u8, u8) {
        match (self, ipv6) {
            (IcmpError::NetUnreachable, false) => (3, 0),
            (IcmpError::NetUnreachable, true) => (1, 0),
            (IcmpError::HostUnreachable, false) => (3, 1),
            (IcmpError::HostUnreachable, true) => (1, 3),
            (IcmpError::ProtocolUnreachable, false) => (3, 2),
            (IcmpError::ProtocolUnreachable, true) => (4, 1),
            (IcmpError::PortUnreachable, false) => (3, 3),
            (IcmpError::PortUnreachable, true) => (1, 4),
            (IcmpError::PacketTooBig { .. }, false) => (3, 4),
            (IcmpError::PacketTooBig { .. }, true) => (2, 0),
            (IcmpError::AdminProhibited, false) => (3, 13),
            (IcmpError::AdminProhibited, true) => (1, 1),
            (IcmpError::TtlExceeded, false) => (11, 0),
            (IcmpError::TtlExceeded, true) => (3, 0),
            (IcmpError::ReassemblyTimeExceeded, false) => (11, 1),
            (IcmpError::ReassemblyTimeExceeded, true) => (3, 1),
            (IcmpError::Other { kind, code }, _) => (kind, code),
        }
    }

    /// The error's name in files, reports and captures: `port-unreachable`; `other` for an unnamed one.
    pub fn as_str(self) -> &'static str {
        match self {
            IcmpError::NetUnreachable => "net-unreachable",
            IcmpError::HostUnreachable => "host-unreachable",
            IcmpError::ProtocolUnreachable => "protocol-unreachable",
            IcmpError::PortUnreachable => "port-unreachable",
            IcmpError::PacketTooBig { .. } => "packet-too-big",
            IcmpError::AdminProhibited => "admin-prohibited",
            IcmpError::TtlExceeded => "ttl-exceeded",
            IcmpError::ReassemblyTimeExceeded => "reassembly-time-exceeded",
            IcmpError::Other { .. } => "other",
        }
    }

    /// The error that an ICMP message of at least eight bytes states.
    pub(crate) fn read(ipv6: bool, message: &[u8]) -> Option<IcmpError> {
        let mtu = if ipv6 { be32(message, icmp::REST) } else { u32::from(be16(message, icmp::REST + 2)) };
        IcmpError::from_type_and_code(ipv6, message[icmp::KIND], message[icmp::CODE], mtu)
    }
}

/// Whether this ICMP type quotes the packet it is about: in ICMP destination unreachable, source quench, redirect,
/// time exceeded and parameter problem (RFC 1122 section 3.2.2); in ICMPv6 every type below 128 (RFC 4443 section 2.1).
#[inline]
pub(crate) fn is_error_kind(ipv6: bool, kind: u8) -> bool {
    if ipv6 { kind < 128 } else { matches!(kind, 3 | 4 | 5 | 11 | 12) }
}

/// The error's name; an unnamed error by its numbers, `type-5-code-1`.
impl fmt::Display for IcmpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IcmpError::Other { kind, code } => write!(f, "type-{kind}-code-{code}"),
            named => f.pad(named.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_and_code_lead_back_to_the_error() {
        for ipv6 in [false, true] {
            for kind in 0..=255 {
                for code in 0..=255 {
                    let Some(error) = IcmpError::from_type_and_code(ipv6, kind, code, 1400) else {
                        assert!(!is_error_kind(ipv6, kind));
                        continue;
                    };
                    let ignored_code = ipv6 && kind == 2;
                    let expected = if ignored_code { (2, 0) } else { (kind, code) };
                    assert_eq!(error.type_and_code(ipv6), expected, "{error}");
                }
            }
        }
    }

    #[test]
    fn names_are_words() {
        assert_eq!(IcmpError::PacketTooBig { mtu: 1280 }.to_string(), "packet-too-big");
        assert_eq!(IcmpError::PortUnreachable.to_string(), "port-unreachable");
        assert_eq!(IcmpError::Other { kind: 5, code: 1 }.to_string(), "type-5-code-1");
    }
}
