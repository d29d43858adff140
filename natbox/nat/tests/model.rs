//! The engine against a model of it: lists and linear search, nothing to be clever about.
//!
//! The model predicts every verdict, the endpoints of every translated packet, and every ending. Only the choice of
//! a port is left to the engine, and then checked against the rule.

mod common;
#[path = "model/reference.rs"]
mod reference;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use common::{ACK, FIN, NONE, RST, SYN, SYN_ACK, check, packet};
use natbox_nat::behavior::*;
use natbox_nat::{Behavior, Ended, Nat, Verdict};
use natbox_wire::{IcmpError, Packet, Protocol, TcpFlags, Time, Word, build};
use proptest::prelude::*;
use reference::{Flow, Model};

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    /// A packet from a host; `to` below the number of remotes names a remote, else an external endpoint seen so far.
    Out {
        host: usize,
        port: usize,
        to: usize,
        protocol: Protocol,
        flags: TcpFlags,
    },
    /// A packet from a remote to an external endpoint seen so far, or to one that nobody has.
    In {
        remote: usize,
        to: usize,
        protocol: Protocol,
        flags: TcpFlags,
    },
    /// An ICMP error about a packet delivered outside (`inbound`) or inside, from its receiver or from a router.
    Error {
        inbound: bool,
        about: usize,
        router: bool,
    },
    /// Time passes; `handled` says whether the driver comes in time.
    Wait {
        wait: Wait,
        handled: bool,
    },
    Readdress(usize),
    Reboot,
}

#[derive(Clone, Debug)]
enum Wait {
    ToTheDeadline,
    JustBefore,
    Seconds(u64),
}

fn word<W: Word + std::fmt::Debug>() -> impl Strategy<Value = W> {
    prop::sample::select(W::ALL)
}

// What the model knows of axes that have more.
const MAPPINGS: &[Mapping] =
    &[Mapping::EndpointIndependent, Mapping::AddressDependent, Mapping::AddressAndPortDependent];
const FILTERINGS: &[Filtering] =
    &[Filtering::EndpointIndependent, Filtering::AddressDependent, Filtering::AddressAndPortDependent, Filtering::Off];
const ALLOCATIONS: &[PortAllocation] = &[PortAllocation::Preserve, PortAllocation::Sequential, PortAllocation::Random];
const POOLINGS: &[Pooling] = &[Pooling::Paired, Pooling::Arbitrary];
const HAIRPINS: &[Hairpin] = &[Hairpin::ExternalSource, Hairpin::InternalSource, Hairpin::Off];

prop_compose! {
    fn behaviors()(
        translation in prop::sample::select(vec![TranslationKind::Napt, TranslationKind::Napt, TranslationKind::None]),
        ipv6 in word(), mapping in prop::sample::select(MAPPINGS), filtering in prop::sample::select(FILTERINGS), filter_scope in word(), session_affinity in word(),
        allocation in prop::sample::select(ALLOCATIONS), range in prop::sample::select(vec![1024..=65535_u16, 4998..=5003, 40_000..=40_003]),
        pooling in prop::sample::select(POOLINGS), hairpin in prop::sample::select(HAIRPINS), hairpin_filter in word(), refresh in word(), icmp_identifier in word(), ip_id in word(),
        icmp_kills_mapping in word(), icmp_source_filter in word(),
    ) -> Behavior {
        let [udp, icmp, tcp_opening, tcp_established, tcp_closing] = [30, 10, 20, 100, 40].map(Duration::from_secs);
        Behavior {
            translation, ipv6, mapping: mapping.into(), filtering: filtering.into(), filter_scope, session_affinity, ports: Ports { allocation, range: range.into(), class: PortClass::All, ..Ports::default() },
            pooling, hairpin: hairpin.into(), hairpin_filter, refresh, icmp_identifier, ip_id, icmp_kills_mapping, icmp_source_filter,
            timeouts: Timeouts { udp, icmp, tcp_opening, tcp_established, tcp_closing, ..Timeouts::default() },
            // What the model does not know of.
            unsolicited_syn: UnsolicitedSyn::Drop, tcp_reopen: TcpReopen::Off, exhausted: Exhausted::DropSilent,
            icmp_originate: Switch::Off,
            ..Behavior::default()
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Mostly the same endpoints: only packets that meet one another's sessions tell anything.
    let few = |most: usize| prop_oneof![2 => Just(0_usize), 1 => 0..most];
    let protocol = || prop_oneof![4 => Just(Protocol::Udp), 3 => Just(Protocol::Tcp), 1 => Just(Protocol::Icmp)];
    let flags = || prop::sample::select(vec![SYN, SYN, SYN_ACK, ACK, FIN, FIN, RST, NONE]);
    let wait = prop_oneof![
        3 => Just(Wait::ToTheDeadline),
        2 => Just(Wait::JustBefore),
        3 => (0..15_u64).prop_map(Wait::Seconds),
        1 => Just(Wait::Seconds(120)),
    ];
    let step = prop_oneof![
        12 => (few(3), few(3), 0..8_usize, protocol(), flags())
            .prop_map(|(host, port, to, protocol, flags)| Step::Out { host, port, to, protocol, flags }),
        12 => (0..5_usize, few(6), protocol(), flags())
            .prop_map(|(remote, to, protocol, flags)| Step::In { remote, to, protocol, flags }),
        3 => (any::<bool>(), 0..8_usize, any::<bool>())
            .prop_map(|(inbound, about, router)| Step::Error { inbound, about, router }),
        6 => (wait, any::<bool>()).prop_map(|(wait, handled)| Step::Wait { wait, handled }),
        1 => (0..POOLS.len()).prop_map(Step::Readdress),
        1 => Just(Step::Reboot),
    ];
    prop::collection::vec(step, 1..80)
}

const POOLS: [&[u8]; 4] = [&[1], &[1, 2, 3], &[2], &[3, 1]];
const PORTS: [u16; 3] = [5000, 5001, 900];
const REMOTES: [(u8, u16); 5] = [(1, 1000), (1, 1001), (2, 1000), (3, 1000), (3, 5000)];

/// An address of the internal (10), external (198) or remote (192) network, of either version.
fn address(ipv6: bool, network: u8, host: u8) -> IpAddr {
    match ipv6 {
        false => [network, 0, 2, host].into(),
        true => [0x2001, 0xdb8, u16::from(network), 0, 0, 0, 0, u16::from(host)].into(),
    }
}

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
}

impl Bench {
    fn new(behavior: Behavior, ipv6: bool, seed: u64) -> Bench {
        let external = pool(ipv6, 1);
        let nat = Nat::new(Arc::new(behavior.clone()), &external, seed);
        let model = Model::new(behavior, ipv6, external);
        Bench { ipv6, now: Time::ZERO, nat, model, externals: Vec::new(), outside: Vec::new(), inside: Vec::new() }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Out { host, port, to, protocol, flags } => {
                let source = SocketAddr::new(address(self.ipv6, 10, *host as u8 + 1), PORTS[*port]);
                let destination = match REMOTES.get(*to) {
                    Some(_) => self.remote(*to),
                    None => self.external(*to - REMOTES.len()),
                };
                self.send(packet(*protocol, source, destination, *flags), *flags);
            }
            Step::In { remote, to, protocol, flags } => {
                let (source, destination) = (self.remote(*remote), self.external(*to));
                // An echo carries one identifier: the one that it is addressed to.
                let source =
                    if *protocol == Protocol::Icmp { SocketAddr::new(source.ip(), destination.port()) } else { source };
                self.receive(packet(*protocol, source, destination, *flags), *flags);
            }
            Step::Error { inbound, about, router } => self.error(*inbound, *about, *router),
            Step::Wait { wait, handled } => self.wait(wait, *handled),
            Step::Readdress(choice) => {
                let external = pool(self.ipv6, *choice);
                let told = collect(|ended| self.nat.readdress(&external, ended));
                assert_eq!(told, self.model.readdress(external));
            }
            Step::Reboot => {
                let told = collect(|ended| self.nat.reboot(ended));
                assert_eq!(told, self.model.reboot());
            }
        }
        assert_eq!(self.nat.mappings(), self.model.views());
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

    fn send(&mut self, mut packet: Packet, flags: TcpFlags) {
        let before = packet.clone();
        let verdict = self.nat.outbound(&mut packet, self.now);
        check(&before, &packet, verdict);
        let choice = self.nat.mappings().into_iter().max_by_key(|mapping| mapping.id).map(|newest| newest.external);
        let expected = self.model.outbound(&flow(&before, flags), choice, self.now);
        assert_eq!((verdict, flow(&packet, flags)), expected, "{before:?} out");
        match verdict {
            Verdict::Forward(_) => {
                self.externals.push(packet.source_endpoint());
                self.outside.push(packet);
            }
            Verdict::Hairpin { .. } => self.inside.push(packet),
            Verdict::Pass | Verdict::Hold(_) | Verdict::Drop(_) => {}
        }
    }

    fn receive(&mut self, mut packet: Packet, flags: TcpFlags) {
        let before = packet.clone();
        let verdict = self.nat.inbound(&mut packet, self.now);
        check(&before, &packet, verdict);
        assert_eq!(
            (verdict, flow(&packet, flags)),
            self.model.inbound(&flow(&before, flags), self.now),
            "{before:?} in"
        );
        if matches!(verdict, Verdict::Forward(_)) {
            self.inside.push(packet);
        }
    }

    fn error(&mut self, inbound: bool, about: usize, router: bool) {
        let seen = if inbound { &self.outside } else { &self.inside };
        let Some(offender) = seen.iter().rev().nth(about) else { return };
        let network = if inbound { 192 } else { 10 };
        let from = if router { address(self.ipv6, network, 77) } else { offender.destination() };
        let Some(mut packet) = build::icmp_error(IcmpError::PortUnreachable, from, offender) else { return };
        let before = packet.clone();
        let verdict = match inbound {
            true => self.nat.inbound(&mut packet, self.now),
            false => self.nat.outbound(&mut packet, self.now),
        };
        check(&before, &packet, verdict);
        let expected = self.model.error(inbound, &before, self.now);
        let after = packet.quoted().map(|quote| (quote.source, quote.destination));
        assert_eq!((verdict, packet.source(), packet.destination(), after), expected, "{before:?}");
    }

    fn wait(&mut self, wait: &Wait, handled: bool) {
        let next = self.nat.poll_timeout();
        self.now = match wait {
            Wait::ToTheDeadline => next.unwrap_or(self.now).max(self.now),
            Wait::JustBefore => {
                let before = next.map(|next| Time::from_nanos(next.as_nanos().saturating_sub(1)));
                before.unwrap_or(self.now).max(self.now)
            }
            Wait::Seconds(seconds) => self.now + Duration::from_secs(*seconds),
        };
        if !handled {
            return;
        }
        let told = collect(|ended| self.nat.handle_timeout(self.now, ended));
        assert!(told.is_empty() || next.is_some_and(|next| next <= self.now), "nothing happens before the deadline");
        assert_eq!(told, self.model.handle_timeout(self.now));
        let end = self.model.next_end();
        assert!(end.is_none() || self.nat.poll_timeout() <= end, "an end that nobody announces");
    }
}

fn collect(drive: impl FnOnce(&mut dyn FnMut(Ended))) -> Vec<Ended> {
    let mut told = Vec::new();
    drive(&mut |one| told.push(one));
    told
}

fn flow(packet: &Packet, flags: TcpFlags) -> Flow {
    let protocol = packet.protocol().expect("a packet of a session");
    Flow { protocol, source: packet.source_endpoint(), destination: packet.destination_endpoint(), flags }
}

proptest! {
    #[test]
    fn the_engine_does_what_the_model_says(
        behavior in behaviors(), ipv6 in prop::bool::weighted(0.2), seed in any::<u64>(), steps in steps(),
    ) {
        let mut bench = Bench::new(behavior, ipv6, seed);
        for step in &steps {
            bench.step(step);
        }
    }
}
