//! The engine against a model of it: lists and linear search, nothing to be clever about.
//!
//! The model predicts every verdict, every packet to the last checksum, every ending with its reason, every packet of
//! the NAT's own making, and every endpoint that is given out; only where a rule draws, the engine draws, and the
//! model says whether it may.
//!
//! `NATBOX_MODEL_CASES=N` runs N cases, `NATBOX_MODEL_SEED=N` others. What ever failed is kept, shrunk, in `proptest-regressions`.
//!
//! What the model does not know, and what is held to account for it instead:
//!
//! | axis | why | instead |
//! | ---- | --- | ------- |
//! | `fragments` | a cache of its own before the NAT | `fragments::a_datagram_cut_anywhere_in_any_order_with_repetitions_arrives_as_if_it_had_been_whole` |
//! | `alg` | it speaks protocols | `alg::no_text_breaks_an_alg`, `alg::a_connection_whose_text_changes_arrives_as_one_stream_whatever_is_sent_again` |
//! | `tcp_machine: netfilter` | Linux is the model | `tests/kernel`, packet by packet |
//! | `tcp_window` | sequence spaces are as long as the model | `tcp::every_segment_of_two_well_behaved_ends_passes`, and `tests/kernel` |
//! | `hairpin: router-source` | a second NAT on the inner face | `invariants::whom_router_source_hides_is_reached_through_the_mask` |
//! | `session_affinity: off` where one endpoint has several mappings under one rule (`ports.overlap`, connection-dependent, `early_inbound: remap`, a mistranslated SYN/ACK) | nothing says which of them leads | `invariants` draws them too, but judges no more than it says |
//! | `conflict: overload`, but with address-and-port-dependent mapping | of two sessions on one tuple, the table's order says which gets an answer | `rfc4787` and `ports`, by example |
//! | `degraded`, and `conflict: other-address`, with addresses by chance or hash | what is counted depends on an address that nobody sees | the same with pooling `paired` |
//! | `ttl`, `too_big`, `answer_ping`, `overlapping_realms` | the gateway's, in `natbox-world` | its tests |
//!
//! All of these are drawn in `invariants.rs`.

#[path = "common/axes.rs"]
mod axes;
mod common;
#[rustfmt::skip]
#[path = "model/reference.rs"]
mod reference;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axes::{address, behaviors};
use common::{ACK, FIN, NONE, RST, SYN, SYN_ACK, check};
use natbox_nat::behavior::*;
use natbox_nat::{Behavior, Ended, HoldId, Nat, Output, Side, Verdict};
use natbox_wire::build::{self, IpFields};
use natbox_wire::{IcmpError, Packet, Protocol, TcpFlags, Time};
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
        crooked: u8,
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

const ERRORS: [IcmpError; 4] = [
    IcmpError::PortUnreachable,
    IcmpError::TtlExceeded,
    IcmpError::PacketTooBig { mtu: 1400 },
    IcmpError::Other { kind: 4, code: 0 },
];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Mostly the same endpoints: only packets that meet one another's sessions tell anything.
    let few = |most: usize| prop_oneof![2 => Just(0_usize), 1 => 0..most];
    let protocol = || prop_oneof![4 => Just(Protocol::Udp), 4 => Just(Protocol::Tcp), 1 => Just(Protocol::Icmp)];
    let flags = || prop::sample::select(vec![SYN, SYN, SYN_ACK, SYN_ACK, ACK, ACK, FIN, FIN, RST, NONE]);
    let query = || prop_oneof![4 => Just(8_u8), 3 => Just(0), 1 => 13..19_u8];
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
        13 => (few(3), few(4), 0..8_usize, kind(), any::<bool>())
            .prop_map(|(host, port, to, kind, batch)| Step::Out { host, port, to, kind, batch }),
        12 => (0..5_usize, few(6), kind(), any::<bool>())
            .prop_map(|(remote, to, kind, batch)| Step::In { remote, to, kind, batch }),
        3 => (any::<bool>(), 0..8_usize, any::<bool>(), prop_oneof![3 => Just(0), 1 => 0..ERRORS.len()], prop_oneof![6 => Just(0_u8), 1 => 1..3_u8])
            .prop_map(|(inbound, about, router, kind, crooked)| Step::Error { inbound, about, router, kind, crooked }),
        6 => (wait, any::<bool>()).prop_map(|(wait, handled)| Step::Wait { wait, handled }),
        3 => (few(3), any::<bool>()).prop_map(|(host, closed)| Step::Connect { host, closed }),
        1 => (0..POOLS.len()).prop_map(Step::Readdress),
        1 => Just(Step::Reboot),
    ];
    prop::collection::vec(step, 1..80)
}

const POOLS: [&[u8]; 5] = [&[1], &[1, 2, 3], &[2], &[3, 1], &[]];
const PORTS: [u16; 4] = [5000, 5001, 900, 5002];
const REMOTES: [(u8, u16); 5] = [(1, 1000), (1, 1001), (2, 1000), (3, 1000), (3, 5000)];

fn pool(ipv6: bool, choice: usize) -> Vec<IpAddr> {
    POOLS[choice].iter().map(|host| address(ipv6, 198, *host)).collect()
}

/// The engine and its model, side by side.
struct Bench {
    ipv6: bool,
    now: Time,
    nat: Nat,
    model: Model,
    /// External endpoints seen so far, the newest last.
    externals: Vec<SocketAddr>,
    /// Packets as delivered outside, and inside.
    outside: Vec<Packet>,
    inside: Vec<Packet>,
    held: BTreeMap<HoldId, Packet>,
    /// Source, destination, protocol and identification of what has left.
    identified: BTreeSet<(IpAddr, IpAddr, u8, u16)>,
}

impl Bench {
    fn new(behavior: Behavior, ipv6: bool, addresses: usize, seed: u64) -> Bench {
        let nat = Nat::new(Arc::new(behavior), &pool(ipv6, addresses), seed);
        let model = Model::new(&nat, ipv6);
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
                    // By its alias, if it has one.
                    Some(_) => self.across(Side::Outside, self.remote(*to)),
                    None => self.external(*to - REMOTES.len()),
                };
                self.cross(Side::Inside, self.flow(kind, source, destination, source), *batch);
            }
            Step::In { remote, to, kind, batch } => {
                let (source, destination) = (self.remote(*remote), self.external(*to));
                self.cross(Side::Outside, self.flow(kind, source, destination, destination), *batch);
            }
            Step::Error { inbound, about, router, kind, crooked } => {
                self.error(*inbound, *about, *router, ERRORS[*kind], *crooked)
            }
            Step::Wait { wait, handled } => self.wait(wait, *handled),
            Step::Connect { host, closed } => return self.connect(*host, *closed),
            Step::Readdress(choice) => {
                let external = pool(self.ipv6, *choice);
                let told = collect(|ended| self.nat.readdress(&external, ended));
                assert_eq!(told, self.model.readdress(&self.nat));
            }
            Step::Reboot => {
                let told = collect(|ended| self.nat.reboot(ended));
                self.held.clear();
                self.identified.clear();
                assert_eq!(told, self.model.reboot());
            }
        }
        assert_eq!(self.nat.mappings(), self.model.views());
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

    /// What stands around the translation: an outside host's name on the other side.
    fn across(&self, from: Side, host: SocketAddr) -> SocketAddr {
        let names =
            |one: &Alias| if from == Side::Inside { (one.inside, one.outside) } else { (one.outside, one.inside) };
        let mut names = self.nat.behavior().aliases.iter().map(names);
        SocketAddr::new(names.find(|(here, _)| *here == host.ip()).map_or(host.ip(), |(_, there)| there), host.port())
    }

    /// Whether a packet to or from this host crosses the box as if it were a router.
    fn bypassed(&self, host: IpAddr, destination: IpAddr) -> bool {
        let listed = self.nat.behavior().bypass.iter().any(|net| net.contains(&host));
        listed && !self.nat.external().contains(&destination)
    }

    fn cross(&mut self, from: Side, flow: Flow, batch: bool) {
        let before = flow.packet();
        let mut after = before.clone();
        let verdict = self.drive(from, &mut after, batch);
        if verdict != Verdict::Pass || self.nat.behavior().aliases.is_empty() {
            check(&before, &after, verdict);
        }
        let (expected, shown) = self.expected(from, flow);
        assert_eq!(verdict, expected, "{flow:?} from {from:?}");
        let kept = matches!(verdict, Verdict::Drop(_) | Verdict::Hold(_));
        self.compare(from, verdict, if kept { before } else { shown.packet() }, &after);
        match verdict {
            Verdict::Forward(_) if from == Side::Inside => {
                self.externals.push(after.source_endpoint());
                self.outside.push(after);
            }
            Verdict::Forward(_) | Verdict::Hairpin { .. } => self.inside.push(after),
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

    /// What the model says of a packet, with what stands around it.
    fn expected(&mut self, from: Side, flow: Flow) -> (Verdict, Flow) {
        let far = if from == Side::Inside { flow.destination } else { flow.source };
        if self.bypassed(far.ip(), flow.destination.ip()) {
            return (Verdict::Pass, flow);
        }
        if from == Side::Outside {
            let (verdict, flow) = self.model.inbound(flow, self.now);
            return (verdict, Flow { source: self.across(from, flow.source), ..flow });
        }
        let next = self.model.last_id + 1;
        let choice = self.nat.mappings().into_iter().find(|mapping| mapping.id.0 == next).map(|newest| newest.external);
        let named = Flow { destination: self.across(from, flow.destination), ..flow };
        self.model.outbound(named, choice, self.now)
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

    fn error(&mut self, inbound: bool, about: usize, router: bool, kind: IcmpError, crooked: u8) {
        let seen = if inbound { &self.outside } else { &self.inside };
        let Some(offender) = seen.iter().rev().nth(about) else { return };
        let network = if inbound { 192 } else { 10 };
        let from = if router { address(self.ipv6, network, 77) } else { offender.destination() };
        let Some(packet) = build::icmp_error(kind, from, offender) else { return };
        let before = spoilt(packet, crooked);
        let from = if inbound { Side::Outside } else { Side::Inside };
        let mut after = before.clone();
        let verdict = self.drive(from, &mut after, false);
        let plain = verdict != Verdict::Pass || self.nat.behavior().aliases.is_empty();
        if plain && self.nat.behavior().icmp_error == IcmpErrors::Translate.into() {
            check(&before, &after, verdict);
        }
        let mut expected = before.clone();
        let quoted = before.quoted().expect("a quote");
        let far = if inbound { [before.source(), quoted.destination.ip()] } else { [before.destination(); 2] };
        let named = if far.iter().any(|far| self.bypassed(*far, before.destination())) {
            Verdict::Pass
        } else {
            if !inbound {
                self.rename(from, &mut expected);
            }
            let verdict = self.model.error(from, &mut expected, self.now);
            match verdict {
                Verdict::Drop(_) => expected = before.clone(),
                _ if inbound => self.rename(from, &mut expected),
                _ => {}
            }
            verdict
        };
        assert_eq!(verdict, named, "{before:?} from {from:?}");
        self.compare(from, verdict, expected, &after);
    }

    fn rename(&self, from: Side, packet: &mut Packet) {
        let quoted = packet.quoted().expect("a quote");
        match from {
            Side::Inside => {
                packet.rewrite_destination(self.across(from, packet.destination_endpoint()));
                packet.rewrite_quoted_source(self.across(from, quoted.source));
            }
            Side::Outside => {
                packet.rewrite_source(self.across(from, packet.source_endpoint()));
                packet.rewrite_quoted_destination(self.across(from, quoted.destination));
            }
        }
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
        assert_eq!(told, self.model.handle_timeout(self.now));
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

    /// An output in words. Numbers of the box's own segments are not compared, nor who held packets were.
    fn shape(&mut self, output: Output, real: bool) -> String {
        match output {
            Output::Discard { hold, from, packet, refusal } => {
                if real {
                    assert_eq!(self.held.remove(&hold), Some(packet), "it dies as it came");
                }
                format!("{hold:?} from {from:?}: {refusal:?}")
            }
            Output::Send { to, packet, mapping } => {
                assert!(packet.transport_checksum_ok());
                let source = packet.source_endpoint();
                let source = if real || to == Side::Outside { source } else { self.across(Side::Outside, source) };
                format!("to {to:?}: {source} {} {mapping:?} {:?}", packet.destination_endpoint(), packet.transport())
            }
            other => panic!("nobody asked for {other:?}"),
        }
    }
}

/// The same with a wrong checksum: its own (1), or of the IP header that it quotes (2).
fn spoilt(packet: Packet, how: u8) -> Packet {
    let mut packet = packet;
    match (how, packet.quoted_ip_checksum(), packet.is_ipv6()) {
        (2, Some(checksum), _) => packet.set_quoted_ip_checksum(checksum ^ 1),
        (1, _, false) => {
            let mut bytes = packet.into_bytes();
            bytes[22] ^= 1;
            packet = Packet::parse(bytes).expect("a packet");
        }
        _ => {}
    }
    packet
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
        let mut bench = Bench::new(behavior, ipv6, addresses, seed);
        for step in &steps {
            bench.step(step);
        }
    }
}
