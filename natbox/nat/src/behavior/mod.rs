//! How a NAT behaves: closed lists of choices, one value per axis.
//!
//! The words are those of RFC 4787 and its kin; the same word stands in Rust, YAML, JSON and captures. The lists lie in
//! files by theme; `axes` shows a behaviour in words, `contradictions` says what cannot be meant together.

mod address;
mod axes;
mod contradictions;
mod icmp;
mod policy;
mod ports;
mod tcp;
mod timers;

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use natbox_wire::Protocol;

pub use address::*;
pub use icmp::*;
pub use policy::*;
pub use ports::*;
pub use tcp::*;
pub use timers::*;

/// One value for each protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerProtocol<T> {
    /// For UDP.
    pub udp: T,
    /// For TCP.
    pub tcp: T,
    /// For ICMP queries.
    pub icmp: T,
}

impl<T> PerProtocol<T> {
    /// The value for this protocol.
    #[inline]
    pub fn of(&self, protocol: Protocol) -> &T {
        match protocol {
            Protocol::Udp => &self.udp,
            Protocol::Tcp => &self.tcp,
            Protocol::Icmp => &self.icmp,
        }
    }

    /// The three values.
    pub fn all(&self) -> [&T; 3] {
        [&self.udp, &self.tcp, &self.icmp]
    }
}

impl<T: Copy> From<T> for PerProtocol<T> {
    /// The same for all.
    fn from(value: T) -> PerProtocol<T> {
        PerProtocol { udp: value, tcp: value, icmp: value }
    }
}

impl<T: Copy + Eq + fmt::Display> fmt::Display for PerProtocol<T> {
    /// One word where the three agree, else `udp WORD, tcp WORD, icmp WORD`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.udp == self.tcp && self.tcp == self.icmp {
            true => self.udp.fmt(f),
            false => write!(f, "udp {}, tcp {}, icmp {}", self.udp, self.tcp, self.icmp),
        }
    }
}

/// One value for each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerDirection<T> {
    /// For packets from outside.
    pub inbound: T,
    /// For packets from inside.
    pub outbound: T,
}

impl<T: Copy> From<T> for PerDirection<T> {
    /// The same for both.
    fn from(value: T) -> PerDirection<T> {
        PerDirection { inbound: value, outbound: value }
    }
}

/// An outside host that goes by another address inside (RFC 2663 section 4.3: Twice NAT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alias {
    /// How the inside calls it.
    pub inside: IpAddr,
    /// Its address outside.
    pub outside: IpAddr,
}

/// How a host behaves once `preserve` has failed for it: NATs whose behaviour changes under conflict (RFC 4787 REQ-11
/// forbids them).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Degraded {
    /// Its mapping behaviour.
    pub mapping: Mapping,
    /// Its filtering behaviour.
    pub filtering: Filtering,
}

/// Everything that makes one NAT differ from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behavior {
    /// Whether IPv4 addresses are rewritten. Where nothing is translated, mapping, ports, pooling and hairpinning
    /// have no meaning: every endpoint is its own external endpoint.
    pub translation: TranslationKind,
    /// What happens to IPv6.
    pub ipv6: Ipv6,
    /// When an internal endpoint keeps its external endpoint.
    pub mapping: PerProtocol<Mapping>,
    /// Which remotes may send to an external endpoint.
    pub filtering: PerProtocol<Filtering>,
    /// What permissions are tied to.
    pub filter_scope: FilterScope,
    /// Whether replies use the mapping that let the packet in.
    pub session_affinity: SessionAffinity,
    /// What UDP and TCP share.
    pub protocol_sharing: ProtocolSharing,
    /// Secondary and tertiary behaviour, of hosts whose port was taken once or twice; none: RFC 4787 REQ-11 is met.
    pub degraded: Vec<Degraded>,
    /// How external ports are chosen.
    pub ports: Ports,
    /// How external addresses are chosen.
    pub pooling: Pooling,
    /// What happens when the external address of a pair is full.
    pub pool_exhausted: PoolExhausted,
    /// What happens when no port, address or quota is left.
    pub exhausted: Exhausted,
    /// Sessions that the table of one IP version holds at most, a mapping without one counted as one; 4,194,304 if absent,
    /// and no more than that.
    pub table_size: Option<u32>,
    /// What happens when the table is full.
    pub table_full: TableFull,
    /// What one internal address may have.
    pub quota: Quota,
    /// Packets from inside to an external address of this NAT.
    pub hairpin: PerProtocol<Hairpin>,
    /// Whether hairpinned packets are filtered.
    pub hairpin_filter: HairpinFilter,
    /// What an unsolicited packet does to a port that is about to be used.
    pub early_inbound: EarlyInbound,
    /// What becomes of an inside that has the prefix of the outside.
    pub overlapping_realms: OverlappingRealms,
    /// Outside hosts that go by other addresses inside.
    pub aliases: Vec<Alias>,
    /// Destinations to which packets leave untranslated (RFC 6888 REQ-6).
    pub bypass: Vec<IpNet>,
    /// Which packets restart idle timers.
    pub refresh: Refresh,
    /// Whether ICMP errors restart them (RFC 5508 REQ-6, RFC 7857 section 7.1 forbid it).
    pub refresh_on_error: Switch,
    /// Whether packets that the filter refuses restart them (RFC 7857 section 7 forbids it).
    pub refresh_on_filtered: Switch,
    /// How long idle sessions live.
    pub timeouts: Timeouts,
    /// SYNs from outside that nobody asked for.
    pub unsolicited_syn: UnsolicitedSyn,
    /// Datagrams from outside that nobody asked for.
    pub unsolicited_udp: UnsolicitedUdp,
    /// Segments of no session.
    pub tcp_no_state: TcpNoState,
    /// Whose state machine follows connections.
    pub tcp_machine: TcpMachine,
    /// When a connection counts as established.
    pub tcp_established_on: TcpEstablishedOn,
    /// What the box makes of a simultaneous open.
    pub tcp_simopen: TcpSimultaneousOpen,
    /// Whether sequence numbers are looked at.
    pub tcp_window: TcpWindow,
    /// Whether a closed connection's endpoints may be used again at once.
    pub tcp_reopen: TcpReopen,
    /// What becomes of packets from inside that belong to no session and open none.
    pub invalid_outbound: InvalidOutbound,
    /// Whom the box tells that a connection has expired.
    pub expiry_notify: ExpiryNotify,
    /// ICMP errors about sessions.
    pub icmp_error: PerDirection<IcmpErrors>,
    /// Whether errors with a wrong checksum, outer or of the quoted IP header, are dropped (RFC 5508 REQ-3).
    pub icmp_verify: Switch,
    /// Whether an ICMP error from outside ends the mapping (RFC 4787 REQ-12, RFC 5382 REQ-10 forbid it).
    pub icmp_kills_mapping: Switch,
    /// Whether ICMP errors from addresses that the session does not concern are dropped (RFC 4787 REQ-12a).
    pub icmp_source_filter: Switch,
    /// Whether the box originates ICMP errors at all (RFC 5508 REQ-9).
    pub icmp_originate: Switch,
    /// Whether the box answers pings from outside to its own address that nothing inside wants (RFC 1812 section
    /// 4.3.3.6 asks for it; a Linux box with a dropping INPUT chain does not).
    pub answer_ping: Switch,
    /// Which queries pass.
    pub icmp_query: IcmpQuery,
    /// Which identifier a query gets.
    pub icmp_identifier: IcmpIdentifier,
    /// Packets that are too big.
    pub too_big: TooBig,
    /// The time to live.
    pub ttl: Ttl,
    /// The identification of IPv4 packets.
    pub ip_id: IpId,
    /// Fragments.
    pub fragments: FragmentRules,
    /// What may leave.
    pub outbound: Outbound,
    /// Payload rewriters.
    pub alg: Alg,
}

impl Behavior {
    /// Whether sessions that have seen a reply are told from others when something must give way.
    pub(crate) fn spares_assured(&self) -> bool {
        self.exhausted == Exhausted::EvictUnassured || self.table_full == TableFull::EvictUnassured
    }
}

impl Default for Behavior {
    /// What RFC 4787, 5382, 5508 and 7857 require, and recommend where they leave a choice.
    fn default() -> Behavior {
        Behavior {
            translation: TranslationKind::Napt,
            ipv6: Ipv6::Firewall,
            mapping: Mapping::EndpointIndependent.into(),
            filtering: Filtering::EndpointIndependent.into(),
            filter_scope: FilterScope::Mapping,
            session_affinity: SessionAffinity::On,
            protocol_sharing: ProtocolSharing::Off,
            degraded: Vec::new(),
            ports: Ports::default(),
            pooling: Pooling::Paired,
            pool_exhausted: PoolExhausted::Drop,
            exhausted: Exhausted::DropIcmp13,
            table_size: None,
            table_full: TableFull::Drop,
            quota: Quota::default(),
            hairpin: Hairpin::ExternalSource.into(),
            hairpin_filter: HairpinFilter::Apply,
            early_inbound: EarlyInbound::Ignore,
            overlapping_realms: OverlappingRealms::Translate,
            aliases: Vec::new(),
            bypass: Vec::new(),
            refresh: Refresh::Outbound,
            refresh_on_error: Switch::Off,
            refresh_on_filtered: Switch::Off,
            timeouts: Timeouts::default(),
            unsolicited_syn: UnsolicitedSyn::IcmpAfter6s,
            unsolicited_udp: UnsolicitedUdp::Drop,
            tcp_no_state: TcpNoState::Drop,
            tcp_machine: TcpMachine::Rfc7857,
            tcp_established_on: TcpEstablishedOn::ServerSyn,
            tcp_simopen: TcpSimultaneousOpen::Ok,
            tcp_window: TcpWindow::Off,
            tcp_reopen: TcpReopen::On,
            invalid_outbound: InvalidOutbound::Drop,
            expiry_notify: ExpiryNotify::None,
            icmp_error: IcmpErrors::Translate.into(),
            icmp_verify: Switch::On,
            icmp_kills_mapping: Switch::Off,
            icmp_source_filter: Switch::Off,
            icmp_originate: Switch::On,
            answer_ping: Switch::On,
            icmp_query: IcmpQuery::Permit,
            icmp_identifier: IcmpIdentifier::Random,
            too_big: TooBig::FragNeeded,
            ttl: Ttl::Decrement,
            ip_id: IpId::Unique,
            fragments: FragmentRules::default(),
            outbound: Outbound { udp: Reach::All, tcp: Reach::All, icmp: Switch::On },
            alg: Alg { ftp: Switch::Off, sip: Switch::Off, tftp: Switch::Off, generic: GenericAlg::Off },
        }
    }
}

impl Default for Ports {
    /// Random ports of the same class; parity and contiguity as RFC 7857 section 8 leaves them.
    fn default() -> Ports {
        Ports {
            allocation: PortAllocation::Random,
            conflict: PortConflict::Random,
            overlap: PortOverlap::None,
            range: (1..=65535).into(),
            class: PortClass::Same,
            parity: PortParity::Ignore,
            contiguity: PortContiguity::None,
            delta: 1,
            increment: 500,
            table_length: 10,
            counter: PortCounter::Global,
            block_size: 64,
            blocks_per_host: 4,
            deterministic: Deterministic::default(),
            quarantine: Duration::ZERO,
            quarantine_max: None,
        }
    }
}

impl Default for Deterministic {
    /// The example of RFC 7422 section 2.3: 14 internal addresses to an external one, and two parts dynamic.
    fn default() -> Deterministic {
        Deterministic {
            first: None,
            compression: 14,
            dynamic_factor: 2,
            max_ports: None,
            algorithm: DeterministicAlgorithm::Sequential,
        }
    }
}

impl Default for FragmentRules {
    /// Any order, at most a megabyte and 1,024 datagrams, 64 of one source, for as long as Linux waits (30 s).
    fn default() -> FragmentRules {
        FragmentRules {
            inbound: FragmentMode::OutOfOrder,
            outbound: FragmentMode::OutOfOrder,
            max_bytes: 1 << 20,
            max_datagrams: 1024,
            per_source: 64,
            timeout: Duration::from_secs(30),
        }
    }
}
