//! The engine against a reference of under 400 lines: lists and linear search, nothing to be clever about.
//!
//! The reference (`model/reference.rs`) predicts every verdict with its notes, every packet to the last checksum, every
//! ending with its reason, and what becomes of held SYNs; only where a rule draws an endpoint, the engine draws, and a
//! property (`model/endpoints.rs`) says whether it may. ICMP errors are held to a property too (`model/errors.rs`): what
//! comes out is the error about the packet as its sender knows it.
//!
//! `NATBOX_MODEL_CASES=N` runs N cases, `NATBOX_MODEL_SEED=N` others. What ever failed is kept, shrunk, in `proptest-regressions`.
//!
//! What the reference leaves out, and what is held to account for it instead. `invariants` draws all of these.
//!
//! | axis | instead |
//! | ---- | ------- |
//! | which of the endpoints that fit; `conflict: next-free`, `other-address`, `override-old` | `ports`, `allocation`, `rfc4787`, and the unit tests of `ports/choose.rs` |
//! | `block`, `deterministic` allocation, `contiguity`, `quarantine`, `basic` translation | `ports`, `rfc6888`, `rfc7422`, `rfc7857`, `addresses` |
//! | `conflict: overload`, `overlap`, `protocol_sharing`, `degraded` | `rfc4787`, `rfc7857`, `affinity` |
//! | `quota`, `exhausted: evict-...`, `table_size` | `limits`, `rfc6888` |
//! | `mapping` and `filtering: connection-dependent`, `tcp_simopen` but `ok`, `tcp_reopen` on a shared mapping | `tcp`, `rfc5382` |
//! | `tcp_machine: netfilter`, `tcp_window`, `invalid_outbound` | `tests/kernel`, packet by packet; `tcp` |
//! | `expiry_notify`, `early_inbound`, `refresh_on_filtered` | `timers`, `tcp`, `early_inbound`, `rfc7857` |
//! | `icmp_query`, `icmp_verify`, quirks of errors, `refresh_on_error`, `icmp_kills_mapping` | `rfc5508`, `icmp_quirks` |
//! | `outbound`, `bypass`, `aliases` | `policy`, `twice` |
//! | `fragments`, `alg`, `hairpin: router-source` | `fragments`, `alg`, `hairpin`, `invariants` |
//! | `ttl`, `too_big`, `answer_ping`, `overlapping_realms` | the gateway's, in `natbox-world` |

#[path = "common/axes.rs"]
mod axes;
mod common;
#[path = "model/endpoints.rs"]
mod endpoints;
#[path = "model/errors.rs"]
mod errors;
#[path = "model/reference.rs"]
mod reference;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axes::{address, behaviors};
use common::{ACK, FIN, NONE, RST, SYN, SYN_ACK, check};
use natbox_nat::behavior::*;
use natbox_nat::{Behavior, Ended, HoldId, Nat, Output, Refusal, Side, Verdict};
use natbox_wire::build::{self, IpFields};
use natbox_wire::{DropReason, IcmpError, Packet, Protocol, TcpFlags, Time};
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, RngSeed};
use reference::Model;

/// A packet of a session; of a query both ports are the identifier, and `query` is its ICMP type.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Flow {
    protocol: Protocol,
    source: SocketAddr,
    destination: SocketAddr,
    flags: TcpFlags,
    query: u8,
}

impl Flow {
    /// Whether it may begin a session.
    fn opens(&self) -> bool {
        match self.protocol {
            Protocol::Udp => true,
            Protocol::Tcp => self.flags.syn && !self.flags.ack && !self.flags.rst,
            Protocol::Icmp => matches!(self.query, 8 | 13 | 15 | 17 | 128),
        }
    }

    /// An end as the remote of a session: a query's has no port.
    fn remote(&self, end: SocketAddr) -> SocketAddr {
        if self.protocol == Protocol::Icmp { SocketAddr::new(end.ip(), 0) } else { end }
    }

    /// The same from another source. A query has one identifier.
    fn from(self, source: SocketAddr) -> Flow {
        let port = if self.protocol == Protocol::Icmp { source.port() } else { self.destination.port() };
        Flow { source, destination: SocketAddr::new(self.destination.ip(), port), ..self }
    }

    /// The same to another destination.
    fn to(self, destination: SocketAddr) -> Flow {
        let port = if self.protocol == Protocol::Icmp { destination.port() } else { self.source.port() };
        Flow { destination, source: SocketAddr::new(self.source.ip(), port), ..self }
    }

    fn packet(&self) -> Packet {
        let Flow { protocol, source, destination, flags, query } = *self;
        if protocol != Protocol::Icmp || matches!(query, 0 | 8 | 128 | 129) {
            let flags = if protocol == Protocol::Icmp {
                TcpFlags { syn: query % 128 == 8 || query == 128, ..NONE }
            } else {
                flags
            };
            return common::packet(protocol, source, destination, flags);
        }
        let [high, low] = source.port().to_be_bytes();
        let mut message = [query, 0, 0, 0, high, low, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let [first, second] = natbox_wire::checksum::checksum(&message).to_be_bytes();
        (message[2], message[3]) = (first, second);
        build::ip(source.ip(), destination.ip(), 1, IpFields::default(), &message).expect("a query")
    }
}

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    /// A packet from a host; `to` below the number of remotes names a remote, else an external endpoint seen so far.
    Out {
        host: usize,
        port: usize,
        to: usize,
        kind: Kind,
        batch: bool,
    },
    /// A packet from a remote to an external endpoint seen so far, or to one that nobody has.
    In {
        remote: usize,
        to: usize,
        kind: Kind,
        batch: bool,
    },
    /// An ICMP error about a packet delivered outside (`inbound`) or inside, from its receiver or from a router.
    Error {
        inbound: bool,
        about: usize,
        router: bool,
        kind: usize,
    },
    /// Time passes; `handled` says whether the driver comes in time.
    Wait {
        wait: Wait,
        handled: bool,
    },
    /// A connection is opened to the first remote, and perhaps closed by one side.
    Connect {
        host: usize,
        closed: bool,
    },
    /// Datagrams both ways, and from both sides again after so many milliseconds.
    Talk {
        host: usize,
        millis: u64,
    },
    Readdress(usize),
    Reboot,
}

#[derive(Clone, Copy, Debug)]
struct Kind {
    protocol: Protocol,
    flags: TcpFlags,
    query: u8,
}

#[derive(Clone, Debug)]
enum Wait {
    ToTheDeadline,
    JustBefore,
    Millis(u64),
}

const ERRORS: [IcmpError; 3] =
    [IcmpError::PortUnreachable, IcmpError::TtlExceeded, IcmpError::PacketTooBig { mtu: 1400 }];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Mostly the same endpoints: only packets that meet one another's sessions tell anything.
    let few = |most: usize| prop_oneof![2 => Just(0_usize), 1 => 0..most];
    let protocol = || prop_oneof![4 => Just(Protocol::Udp), 4 => Just(Protocol::Tcp), 1 => Just(Protocol::Icmp)];
    let flags = || prop::sample::select(vec![SYN, SYN, SYN_ACK, SYN_ACK, ACK, ACK, FIN, FIN, RST, NONE]);
    let query = || prop_oneof![4 => Just(8_u8), 3 => Just(0), 1 => prop::sample::select(vec![13_u8, 14, 17, 18])];
    let kind =
        move || (protocol(), flags(), query()).prop_map(|(protocol, flags, query)| Kind { protocol, flags, query });
    let wait = prop_oneof![
        3 => Just(Wait::ToTheDeadline),
        2 => Just(Wait::JustBefore),
        1 => (0..1500_u64).prop_map(Wait::Millis),
        3 => (0..15_u64).prop_map(|seconds| Wait::Millis(seconds * 1000)),
        1 => Just(Wait::Millis(120_000)),
    ];
    let step = prop_oneof![
        13 => (few(3), few(6), 0..8_usize, kind(), any::<bool>())
            .prop_map(|(host, port, to, kind, batch)| Step::Out { host, port, to, kind, batch }),
        12 => (0..5_usize, few(6), kind(), any::<bool>())
            .prop_map(|(remote, to, kind, batch)| Step::In { remote, to, kind, batch }),
        3 => (any::<bool>(), 0..8_usize, any::<bool>(), 0..ERRORS.len())
            .prop_map(|(inbound, about, router, kind)| Step::Error { inbound, about, router, kind }),
        6 => (wait, any::<bool>()).prop_map(|(wait, handled)| Step::Wait { wait, handled }),
        3 => (few(3), any::<bool>()).prop_map(|(host, closed)| Step::Connect { host, closed }),
        2 => (few(3), 0..5000_u64).prop_map(|(host, millis)| Step::Talk { host, millis }),
        1 => (0..POOLS.len()).prop_map(Step::Readdress),
        1 => Just(Step::Reboot),
    ];
    prop::collection::vec(step, 1..80)
}

const POOLS: [&[u8]; 5] = [&[1], &[1, 2, 3], &[2], &[3, 1], &[]];
const PORTS: [u16; 6] = [5000, 5001, 900, 5002, 511, 512];
const REMOTES: [(u8, u16); 5] = [(1, 1000), (1, 1001), (2, 1000), (3, 1000), (3, 5000)];

fn pool(ipv6: bool, choice: usize) -> Vec<IpAddr> {
    POOLS[choice].iter().map(|host| address(ipv6, 198, *host)).collect()
}

/// The behaviour, with the axes that the reference leaves out as they are by default.
fn modelled(of: Behavior) -> Behavior {
    let usual = Behavior::default();
    let each =
        |mapping| if mapping == Mapping::ConnectionDependent { Mapping::AddressAndPortDependent } else { mapping };
    let PerProtocol { udp, tcp, icmp } = of.mapping;
    let mapping = PerProtocol { udp: each(udp), tcp: each(tcp), icmp: each(icmp) };
    let filter = |one| match one {
        Filtering::ConnectionDependent | Filtering::Off => Filtering::AddressAndPortDependent,
        other => other,
    };
    let PerProtocol { udp, tcp, icmp } = of.filtering;
    let filtering = PerProtocol { udp: filter(udp), tcp: filter(tcp), icmp: filter(icmp) };
    let translation = if of.translation == TranslationKind::Basic { TranslationKind::Napt } else { of.translation };
    let errors = |one| if one == IcmpErrors::Drop { one } else { IcmpErrors::Translate };
    let (inbound, outbound) = (errors(of.icmp_error.inbound), errors(of.icmp_error.outbound));
    let exhausted = match of.exhausted {
        Exhausted::EvictLru | Exhausted::EvictUnassured => Exhausted::DropSilent,
        other => other,
    };
    Behavior {
        translation,
        mapping,
        filtering,
        ports: modelled_ports(of.ports),
        exhausted,
        icmp_error: PerDirection { inbound, outbound },
        protocol_sharing: usual.protocol_sharing,
        degraded: usual.degraded,
        quota: usual.quota,
        early_inbound: usual.early_inbound,
        aliases: usual.aliases,
        bypass: usual.bypass,
        refresh_on_error: usual.refresh_on_error,
        refresh_on_filtered: usual.refresh_on_filtered,
        tcp_simopen: usual.tcp_simopen,
        expiry_notify: usual.expiry_notify,
        icmp_verify: usual.icmp_verify,
        icmp_kills_mapping: usual.icmp_kills_mapping,
        icmp_query: usual.icmp_query,
        outbound: usual.outbound,
        ..of
    }
}

fn modelled_ports(of: Ports) -> Ports {
    let usual = Ports::default();
    let allocation = match of.allocation {
        PortAllocation::Block => PortAllocation::Preserve,
        PortAllocation::Deterministic => PortAllocation::Random,
        other => other,
    };
    let conflict = match of.conflict {
        PortConflict::OtherAddress | PortConflict::OverrideOld | PortConflict::Overload => PortConflict::Random,
        other => other,
    };
    let (overlap, contiguity, quarantine) = (usual.overlap, usual.contiguity, usual.quarantine);
    Ports { allocation, conflict, overlap, contiguity, quarantine, ..of }
}

/// A packet as it was delivered, and the flow that it is of.
#[derive(Clone)]
struct Seen {
    flow: Flow,
    packet: Packet,
}

/// The engine and the reference, side by side.
struct Bench {
    ipv6: bool,
    now: Time,
    nat: Nat,
    model: Model,
    /// External endpoints seen so far, the newest last.
    externals: Vec<SocketAddr>,
    /// Packets as delivered outside, and inside.
    outside: Vec<Seen>,
    inside: Vec<Seen>,
    held: BTreeMap<HoldId, Packet>,
    /// Source, destination, protocol and identification of what has left.
    identified: BTreeSet<(IpAddr, IpAddr, u8, u16)>,
}

impl Bench {
    fn new(behavior: Behavior, ipv6: bool, addresses: usize, seed: u64) -> Bench {
        let nat = Nat::new(Arc::new(behavior), &pool(ipv6, addresses), seed);
        let model = Model::new(nat.behavior().clone(), nat.external(), ipv6);
        let (externals, outside, inside) = (Vec::new(), Vec::new(), Vec::new());
        let (held, identified) = (BTreeMap::new(), BTreeSet::new());
        Bench { ipv6, now: Time::ZERO, nat, model, externals, outside, inside, held, identified }
    }

    fn step(&mut self, step: &Step) {
        if !matches!(step, Step::Wait { .. }) {
            // No two things happen at once: what falls due together does so in no order that means anything.
            self.now = self.now + Duration::from_nanos(1);
        }
        match step {
            Step::Out { host, port, to, kind, batch } => {
                let source = SocketAddr::new(address(self.ipv6, 10, *host as u8 + 1), PORTS[*port]);
                let destination = match REMOTES.get(*to) {
                    Some(_) => self.remote(*to),
                    None => self.external(*to - REMOTES.len()),
                };
                self.cross(Side::Inside, self.flow(kind, source, destination, source), *batch);
            }
            Step::In { remote, to, kind, batch } => {
                let (source, destination) = (self.remote(*remote), self.external(*to));
                self.cross(Side::Outside, self.flow(kind, source, destination, destination), *batch);
            }
            Step::Error { inbound, about, router, kind } => self.error(*inbound, *about, *router, ERRORS[*kind]),
            Step::Wait { wait, handled } => self.wait(wait, *handled),
            Step::Connect { host, closed } => return self.connect(*host, *closed),
            Step::Talk { host, millis } => return self.talk(*host, *millis),
            Step::Readdress(choice) => {
                let external = pool(self.ipv6, *choice);
                let told = collect(|ended| self.nat.readdress(&external, ended));
                self.model.readdress(&external);
                assert_eq!(told, self.model.ended());
            }
            Step::Reboot => {
                let told = collect(|ended| self.nat.reboot(ended));
                self.held.clear();
                self.identified.clear();
                self.model.reboot();
                assert_eq!(told, self.model.ended());
            }
        }
        assert_eq!(self.nat.mappings(), self.model.mappings);
        self.outputs();
        let (due, wake) = self.model.next();
        let announced = |told: Option<Time>, due: Option<Time>| due.is_none() || told <= due && told.is_some();
        assert!(announced(self.nat.poll_timeout(), due), "{due:?} is not announced");
        assert!(announced(self.nat.poll_wake(), wake), "{wake:?} is not announced to those who wait");
    }

    fn connect(&mut self, host: usize, closed: bool) {
        let kind = |flags| Kind { protocol: Protocol::Tcp, flags, query: 0 };
        let out = |flags| Step::Out { host, port: 0, to: 0, kind: kind(flags), batch: false };
        self.step(&out(SYN));
        self.step(&Step::In { remote: 0, to: 0, kind: kind(SYN_ACK), batch: false });
        self.step(&out(ACK));
        if closed {
            self.step(&out(FIN));
        }
    }

    fn talk(&mut self, host: usize, millis: u64) {
        let kind = Kind { protocol: Protocol::Udp, flags: NONE, query: 0 };
        let both =
            [Step::Out { host, port: 0, to: 0, kind, batch: false }, Step::In { remote: 0, to: 0, kind, batch: false }];
        both.iter().for_each(|step| self.step(step));
        self.step(&Step::Wait { wait: Wait::Millis(millis), handled: false });
        both.iter().for_each(|step| self.step(step));
    }

    /// A packet; a query has the identifier of `named`.
    fn flow(&self, kind: &Kind, source: SocketAddr, destination: SocketAddr, named: SocketAddr) -> Flow {
        let Kind { protocol, flags, query } = *kind;
        if protocol != Protocol::Icmp {
            return Flow { protocol, source, destination, flags, query: 0 };
        }
        let query = match (self.ipv6, query) {
            (true, 0) => 129,
            (true, _) => 128,
            (false, query) => query,
        };
        let end = |of: SocketAddr| SocketAddr::new(of.ip(), named.port());
        Flow { protocol, source: end(source), destination: end(destination), flags: NONE, query }
    }

    fn remote(&self, index: usize) -> SocketAddr {
        let (host, port) = REMOTES[index];
        SocketAddr::new(address(self.ipv6, 192, host), port)
    }

    /// The external endpoint of that age; one that nobody was given, if there is none so old.
    fn external(&self, age: usize) -> SocketAddr {
        let stranger = SocketAddr::new(address(self.ipv6, 198, 1), 4999);
        self.externals.iter().rev().nth(age).copied().unwrap_or(stranger)
    }

    fn cross(&mut self, from: Side, flow: Flow, batch: bool) {
        let before = flow.packet();
        let mut after = before.clone();
        let verdict = self.drive(from, &mut after, batch);
        check(&before, &after, verdict);
        let (expected, shown) = self.expected(from, flow, verdict);
        assert_eq!(verdict, expected, "{flow:?} from {from:?}");
        let kept = matches!(verdict, Verdict::Drop(_) | Verdict::Hold(_));
        self.compare(from, verdict, if kept { before } else { shown.packet() }, &after);
        match verdict {
            Verdict::Forward(_) if from == Side::Inside => {
                self.externals.push(after.source_endpoint());
                self.outside.push(Seen { flow: shown, packet: after });
            }
            Verdict::Forward(_) | Verdict::Hairpin { .. } => self.inside.push(Seen { flow: shown, packet: after }),
            Verdict::Hold(hold) => _ = self.held.insert(hold, after),
            Verdict::Pass | Verdict::Drop(_) => {}
        }
    }

    fn drive(&mut self, from: Side, packet: &mut Packet, batch: bool) -> Verdict {
        match (batch, from) {
            (false, Side::Inside) => self.nat.outbound(packet, self.now),
            (false, Side::Outside) => self.nat.inbound(packet, self.now),
            (true, _) => {
                let (mut packets, mut verdicts) = ([(from, packet.clone())], Vec::new());
                self.nat.batch(&mut packets, self.now, &mut verdicts);
                let [(_, after)] = packets;
                *packet = after;
                verdicts[0]
            }
        }
    }

    /// What the reference says of a packet, told what the engine has drawn for it.
    fn expected(&mut self, from: Side, flow: Flow, verdict: Verdict) -> (Verdict, Flow) {
        if from == Side::Outside {
            return self.model.inbound(flow, self.now);
        }
        // What fell due before the packet is out of the way of what it is given.
        self.model.expire(self.now);
        let next = self.model.last_id + 1;
        let new = self.nat.mappings().into_iter().find(|mapping| mapping.id.0 == next);
        let nat = &self.nat;
        let asked = endpoints::Asked {
            rules: nat.behavior(),
            external: nat.external(),
            mappings: &self.model.mappings,
            flow: &flow,
        };
        let translates = new.is_some_and(|new| new.external != new.internal);
        let given = match (new, verdict) {
            (Some(new), _) => {
                assert!(!translates || asked.may_get(new.external), "{new:?} for {flow:?}");
                Ok(new.external)
            }
            (None, Verdict::Drop(refusal)) if is_of_endpoints(refusal) => {
                assert!(asked.may_be_refused(refusal), "{refusal:?} of {flow:?}");
                Err(refusal)
            }
            (None, _) => Err(Refusal { reason: DropReason::NoRoute, mapping: None, answer: None }),
        };
        self.model.outbound(flow, given, self.now)
    }

    /// Compares packets byte by byte, but for the identification that the box gives.
    fn compare(&mut self, from: Side, verdict: Verdict, mut expected: Packet, after: &Packet) {
        let leaves = from == Side::Inside && matches!(verdict, Verdict::Forward(_) | Verdict::Hairpin { .. });
        let translates = self.nat.behavior().translation != TranslationKind::None;
        if let Some(identification) = after.identification()
            && leaves
            && translates
            && self.nat.behavior().ip_id != IpId::Copy
        {
            expected.rewrite_identification(identification);
            let new = self.identified.insert((
                expected.source(),
                expected.destination(),
                expected.protocol_number(),
                identification,
            ));
            assert!(new || matches!(verdict, Verdict::Hairpin { .. }), "an identification that was used");
        }
        assert_eq!(after.bytes(), expected.bytes(), "{after:?}, and not {expected:?}");
    }

    fn wait(&mut self, wait: &Wait, handled: bool) {
        let next = self.nat.poll_timeout();
        self.now = match wait {
            Wait::ToTheDeadline => next.unwrap_or(self.now).max(self.now),
            Wait::JustBefore => {
                let before = next.map(|next| Time::from_nanos(next.as_nanos().saturating_sub(2)));
                before.unwrap_or(self.now).max(self.now)
            }
            Wait::Millis(millis) => self.now + Duration::from_millis(*millis),
        };
        if !handled {
            return;
        }
        let told = collect(|ended| self.nat.handle_timeout(self.now, ended));
        assert!(told.is_empty() || next.is_some_and(|next| next <= self.now), "nothing happens before the deadline");
        self.model.expire(self.now);
        assert_eq!(told, self.model.ended());
    }

    /// What the NAT does of its own accord: of what falls due together, in whatever order.
    fn outputs(&mut self) {
        let told: Vec<Output> = std::iter::from_fn(|| self.nat.poll_output()).collect();
        let mut told: Vec<String> = told.into_iter().map(|one| self.shape(one, true)).collect();
        let expected = std::mem::take(&mut self.model.output);
        let mut expected: Vec<String> = expected.into_iter().map(|one| self.shape(one, false)).collect();
        told.sort();
        expected.sort();
        assert_eq!(told, expected);
    }

    /// An output in words. A packet that dies does so as it came.
    fn shape(&mut self, output: Output, real: bool) -> String {
        let Output::Discard { hold, from, packet, refusal } = output else { panic!("nobody asked for {output:?}") };
        if real {
            assert_eq!(self.held.remove(&hold), Some(packet));
        }
        format!("{hold:?} from {from:?}: {refusal:?}")
    }
}

fn is_of_endpoints(refusal: Refusal) -> bool {
    matches!(refusal.reason, DropReason::NoRoute | DropReason::PortTaken | DropReason::PortsExhausted)
}

fn collect(drive: impl FnOnce(&mut dyn FnMut(Ended))) -> Vec<Ended> {
    let mut told = Vec::new();
    drive(&mut |one| told.push(one));
    told
}

fn cases() -> ProptestConfig {
    let cases = std::env::var("NATBOX_MODEL_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1000);
    let kept =
        FileFailurePersistence::Direct(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proptest-regressions/model.txt"));
    // The same cases in every run, unless somebody asks for others.
    let seed = std::env::var("NATBOX_MODEL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let rng_seed = RngSeed::Fixed(seed);
    ProptestConfig { failure_persistence: Some(Box::new(kept)), rng_seed, ..ProptestConfig::with_cases(cases) }
}

proptest! {
    #![proptest_config(cases())]
    #[test]
    fn the_engine_does_what_the_model_says(
        behavior in behaviors(), ipv6 in prop::bool::weighted(0.2), addresses in 0..4_usize, seed in any::<u64>(), steps in steps(),
    ) {
        let mut bench = Bench::new(modelled(behavior), ipv6, addresses, seed);
        for step in &steps {
            bench.step(step);
        }
    }
}

#[test]
fn the_reference_is_short_enough_to_be_read() {
    let lines = include_str!("model/reference.rs").lines();
    assert!(lines.clone().count() < 400, "{} lines", lines.count());
    assert!(lines.clone().all(|line| line.len() <= 120), "and formatted as everything else");
}
