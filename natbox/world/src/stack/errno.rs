//! Linux error numbers, and which of them an ICMP error becomes.
//!
//! The numbers are those of every Linux architecture that natbox runs on (asm-generic); kinds follow from them where
//! the platform is Linux. Knows no sockets: who is told is decided where the sockets are.

use std::io;

use natbox_wire::IcmpError;

/// A Linux error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(i32);

impl Errno {
    pub(crate) const BADF: Errno = Errno(9);
    pub(crate) const AGAIN: Errno = Errno(11);
    pub(crate) const ACCES: Errno = Errno(13);
    pub(crate) const NODEV: Errno = Errno(19);
    pub(crate) const INVAL: Errno = Errno(22);
    pub(crate) const PIPE: Errno = Errno(32);
    pub(crate) const NONET: Errno = Errno(64);
    pub(crate) const PROTO: Errno = Errno(71);
    pub(crate) const MSGSIZE: Errno = Errno(90);
    pub(crate) const NOPROTOOPT: Errno = Errno(92);
    pub(crate) const OPNOTSUPP: Errno = Errno(95);
    pub(crate) const AFNOSUPPORT: Errno = Errno(97);
    pub(crate) const ADDRINUSE: Errno = Errno(98);
    pub(crate) const ADDRNOTAVAIL: Errno = Errno(99);
    pub(crate) const NETUNREACH: Errno = Errno(101);
    pub(crate) const CONNRESET: Errno = Errno(104);
    pub(crate) const NOBUFS: Errno = Errno(105);
    pub(crate) const NOTCONN: Errno = Errno(107);
    pub(crate) const TIMEDOUT: Errno = Errno(110);
    pub(crate) const CONNREFUSED: Errno = Errno(111);
    pub(crate) const HOSTDOWN: Errno = Errno(112);
    pub(crate) const HOSTUNREACH: Errno = Errno(113);
}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno.0)
    }
}

/// What a socket makes of an ICMP error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketError {
    /// The error number.
    pub(crate) errno: Errno,
    /// Whether a connected socket without `IP_RECVERR` is told. Transient errors are for those who asked.
    pub(crate) hard: bool,
}

const fn hard(errno: Errno) -> Option<SocketError> {
    Some(SocketError { errno, hard: true })
}

const fn soft(errno: Errno) -> Option<SocketError> {
    Some(SocketError { errno, hard: false })
}

/// The error that Linux makes of an ICMP error: `icmp_err_convert` and `__udp4_lib_err` for IPv4,
/// `icmpv6_err_convert` for IPv6. `None` for what no socket is ever told (source quench, redirects).
pub(crate) fn from_icmp(error: IcmpError, ipv6: bool) -> Option<SocketError> {
    match error {
        IcmpError::NetUnreachable => soft(Errno::NETUNREACH),
        IcmpError::HostUnreachable => soft(Errno::HOSTUNREACH),
        IcmpError::ProtocolUnreachable if ipv6 => hard(Errno::PROTO),
        IcmpError::ProtocolUnreachable => hard(Errno::NOPROTOOPT),
        IcmpError::PortUnreachable => hard(Errno::CONNREFUSED),
        IcmpError::PacketTooBig { .. } => soft(Errno::MSGSIZE),
        IcmpError::AdminProhibited if ipv6 => hard(Errno::ACCES),
        IcmpError::AdminProhibited => hard(Errno::HOSTUNREACH),
        IcmpError::TtlExceeded | IcmpError::ReassemblyTimeExceeded => soft(Errno::HOSTUNREACH),
        IcmpError::Other { kind, code } if ipv6 => other_v6(kind, code),
        IcmpError::Other { kind, code } => other_v4(kind, code),
    }
}

fn other_v4(kind: u8, code: u8) -> Option<SocketError> {
    match (kind, code) {
        (3, 5) => soft(Errno::OPNOTSUPP),
        (3, 6 | 9) => hard(Errno::NETUNREACH),
        (3, 7) => hard(Errno::HOSTDOWN),
        (3, 8) => hard(Errno::NONET),
        (3, 10 | 14 | 15) => hard(Errno::HOSTUNREACH),
        (3, 11) => soft(Errno::NETUNREACH),
        (3, _) | (11, _) => soft(Errno::HOSTUNREACH),
        (12, _) => hard(Errno::PROTO),
        _ => None,
    }
}

fn other_v6(kind: u8, code: u8) -> Option<SocketError> {
    match (kind, code) {
        (1, 5 | 6) => hard(Errno::ACCES),
        (1, 2) | (3, _) => soft(Errno::HOSTUNREACH),
        (1, _) => soft(Errno::PROTO),
        (4, _) => hard(Errno::PROTO),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(error: IcmpError) -> Option<SocketError> {
        from_icmp(error, false)
    }

    fn v6(error: IcmpError) -> Option<SocketError> {
        from_icmp(error, true)
    }

    #[test]
    fn ipv4_errors_become_what_icmp_err_convert_says() {
        assert_eq!(v4(IcmpError::NetUnreachable), soft(Errno::NETUNREACH));
        assert_eq!(v4(IcmpError::HostUnreachable), soft(Errno::HOSTUNREACH));
        assert_eq!(v4(IcmpError::ProtocolUnreachable), hard(Errno::NOPROTOOPT));
        assert_eq!(v4(IcmpError::PortUnreachable), hard(Errno::CONNREFUSED));
        assert_eq!(v4(IcmpError::PacketTooBig { mtu: 1400 }), soft(Errno::MSGSIZE));
        assert_eq!(v4(IcmpError::AdminProhibited), hard(Errno::HOSTUNREACH));
        assert_eq!(v4(IcmpError::TtlExceeded), soft(Errno::HOSTUNREACH));
        assert_eq!(v4(IcmpError::ReassemblyTimeExceeded), soft(Errno::HOSTUNREACH));
        let other = |code| v4(IcmpError::Other { kind: 3, code });
        assert_eq!(other(5), soft(Errno::OPNOTSUPP));
        assert_eq!(other(6), hard(Errno::NETUNREACH));
        assert_eq!(other(7), hard(Errno::HOSTDOWN));
        assert_eq!(other(8), hard(Errno::NONET));
        assert_eq!(other(9), hard(Errno::NETUNREACH));
        assert_eq!(other(10), hard(Errno::HOSTUNREACH));
        assert_eq!(other(11), soft(Errno::NETUNREACH));
        assert_eq!(other(12), soft(Errno::HOSTUNREACH));
        assert_eq!(other(14), hard(Errno::HOSTUNREACH));
        assert_eq!(other(15), hard(Errno::HOSTUNREACH));
        assert_eq!(v4(IcmpError::Other { kind: 12, code: 0 }), hard(Errno::PROTO));
        assert_eq!(v4(IcmpError::Other { kind: 4, code: 0 }), None, "source quench (RFC 6633)");
        assert_eq!(v4(IcmpError::Other { kind: 5, code: 1 }), None, "redirect");
    }

    #[test]
    fn ipv6_errors_become_what_icmpv6_err_convert_says() {
        assert_eq!(v6(IcmpError::NetUnreachable), soft(Errno::NETUNREACH));
        assert_eq!(v6(IcmpError::HostUnreachable), soft(Errno::HOSTUNREACH));
        assert_eq!(v6(IcmpError::ProtocolUnreachable), hard(Errno::PROTO));
        assert_eq!(v6(IcmpError::PortUnreachable), hard(Errno::CONNREFUSED));
        assert_eq!(v6(IcmpError::PacketTooBig { mtu: 1280 }), soft(Errno::MSGSIZE));
        assert_eq!(v6(IcmpError::AdminProhibited), hard(Errno::ACCES));
        assert_eq!(v6(IcmpError::TtlExceeded), soft(Errno::HOSTUNREACH));
        assert_eq!(v6(IcmpError::Other { kind: 1, code: 2 }), soft(Errno::HOSTUNREACH));
        assert_eq!(v6(IcmpError::Other { kind: 1, code: 5 }), hard(Errno::ACCES));
        assert_eq!(v6(IcmpError::Other { kind: 1, code: 6 }), hard(Errno::ACCES));
        assert_eq!(v6(IcmpError::Other { kind: 4, code: 0 }), hard(Errno::PROTO));
        assert_eq!(v6(IcmpError::Other { kind: 137, code: 0 }), None, "redirect");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_numbers_have_the_kinds_that_linux_gives_them() {
        use std::io::ErrorKind::*;
        let kinds = [
            (Errno::AGAIN, WouldBlock),
            (Errno::ACCES, PermissionDenied),
            (Errno::INVAL, InvalidInput),
            (Errno::PIPE, BrokenPipe),
            (Errno::ADDRINUSE, AddrInUse),
            (Errno::ADDRNOTAVAIL, AddrNotAvailable),
            (Errno::NETUNREACH, NetworkUnreachable),
            (Errno::CONNRESET, ConnectionReset),
            (Errno::NOTCONN, NotConnected),
            (Errno::TIMEDOUT, TimedOut),
            (Errno::CONNREFUSED, ConnectionRefused),
            (Errno::HOSTUNREACH, HostUnreachable),
        ];
        for (errno, kind) in kinds {
            assert_eq!(io::Error::from(errno).kind(), kind, "{errno:?}");
        }
    }
}
