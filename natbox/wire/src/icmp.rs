//! ICMP and ICMPv6 errors under one set of names.

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
