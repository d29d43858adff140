//! What holds of every NAT: properties over random packets, and over behaviours of all axes.

#[path = "common/axes.rs"]
mod axes;
mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axes::{address, all_behaviors};
use common::*;
use natbox_nat::behavior::*;
use natbox_nat::{Behavior, HoldId, Nat, Output, Side, Verdict};
use natbox_wire::build::{self, IpFields};
use natbox_wire::{IcmpError, Packet, Protocol, TcpFlags, Time, Word};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn word<W: Word + std::fmt::Debug>() -> impl Strategy<Value = W> {
    prop::sample::select(W::ALL)
}

prop_compose! {
    fn translating()(
        mapping in word::<Mapping>(), session_affinity in word(), allocation in word(), pooling in word(),
        range in prop::sample::select(vec![1024..=65535_u16, 1..=40]),
    ) -> Behavior {
        Behavior {
            mapping: mapping.into(), session_affinity, pooling, ports: Ports { allocation, range: range.into(), ..Ports::default() }, ipv6: Ipv6::Napt, ..Behavior::default()
        }
    }
}

/// A packet from inside to a remote, of either version.
fn leaving() -> impl Strategy<Value = (Protocol, SocketAddr, SocketAddr)> {
    let protocol = prop::sample::select(vec![Protocol::Udp, Protocol::Tcp, Protocol::Icmp]);
    (protocol, any::<bool>(), 1..4_u8, 1..u16::MAX, 1..3_u8, 1..u16::MAX).prop_map(
        |(protocol, ipv6, host, port, remote, to)| {
            let (inside, outside) = match ipv6 {
                false => (format!("10.0.0.{host}:{port}"), format!("192.0.2.{remote}:{to}")),
                true => (format!("[fd00::{host}]:{port}"), format!("[2001:db8:1::{remote}]:{to}")),
            };
            (protocol, at(&inside), at(&outside))
        },
    )
}

const POOL: [&str; 4] = ["198.51.100.1", "198.51.100.2", "2001:db8::1", "2001:db8::2"];

proptest! {
    /// `Rig` verifies every checksum of every packet on the way.
    #[test]
    fn what_comes_back_is_what_was_sent(behavior in translating(), packets in prop::collection::vec(leaving(), 1..60)) {
        let mut rig = Rig::with_addresses(behavior, &POOL);
        for (protocol, internal, remote) in packets {
            let mut out = packet(protocol, internal, remote, SYN);
            if let Verdict::Drop(_) = rig.outbound(&mut out) {
                continue;
            }
            prop_assert!(POOL.contains(&out.source().to_string().as_str()));
            // The answer is the packet turned round: translated, it is the one sent, turned round.
            let (external, there) = (out.source_endpoint(), out.destination_endpoint());
            let mut back = packet(protocol, SocketAddr::new(there.ip(), there.port()), external, SYN_ACK);
            if protocol == Protocol::Icmp {
                back.rewrite_source(SocketAddr::new(there.ip(), external.port()));
            }
            prop_assert!(matches!(rig.inbound(&mut back), Verdict::Forward(_)));
            prop_assert_eq!(back.destination_endpoint(), internal);
            prop_assert_eq!(back.source(), remote.ip());
        }
    }

    #[test]
    fn no_two_live_mappings_of_a_protocol_share_an_external_endpoint(
        behavior in translating(), packets in prop::collection::vec((leaving(), 0..40_u64), 1..120),
    ) {
        let mut rig = Rig::with_addresses(behavior, &POOL);
        for ((protocol, internal, remote), seconds) in packets {
            rig.outbound(&mut packet(protocol, internal, remote, SYN));
            rig.wait_seconds(seconds);
            let live = rig.nat.mappings();
            let externals: BTreeSet<(Protocol, SocketAddr)> = live.iter().map(|one| (one.protocol, one.external)).collect();
            prop_assert_eq!(externals.len(), live.len());
            prop_assert!(live.iter().all(|one| one.protocol == Protocol::Icmp || one.external.port() != 0));
        }
    }

    #[test]
    fn an_idle_nat_ends_everything_by_its_deadlines_alone(
        behavior in translating(), packets in prop::collection::vec((leaving(), 0..40_u64), 1..60),
    ) {
        let mut rig = Rig::with_addresses(behavior, &POOL);
        let mut ended = 0;
        for ((protocol, internal, remote), seconds) in packets {
            rig.outbound(&mut packet(protocol, internal, remote, SYN));
            ended += rig.wait_seconds(seconds).len();
        }
        let opened = rig.nat.mappings().last().map_or(ended, |newest| newest.id.0 as usize);
        ended += rig.wait_seconds(10_000).len();
        prop_assert_eq!(ended, opened);
        prop_assert!(rig.nat.mappings().is_empty());
        prop_assert_eq!(rig.nat.poll_timeout(), None);
    }

    #[test]
    fn the_timeout_handler_is_silent_before_the_deadline(
        behavior in translating(), packets in prop::collection::vec((leaving(), 0..40_u64), 1..60),
    ) {
        let mut rig = Rig::with_addresses(behavior, &POOL);
        for ((protocol, internal, remote), seconds) in packets {
            rig.outbound(&mut packet(protocol, internal, remote, SYN));
            rig.wait_seconds(seconds);
            let Some(due) = rig.nat.poll_timeout() else { continue };
            let before = natbox_wire::Time::from_nanos(due.as_nanos() - 1);
            let live = rig.nat.mappings();
            rig.nat.handle_timeout(before, &mut |one| panic!("{one:?} before {due}"));
            prop_assert_eq!(rig.nat.mappings(), live);
            prop_assert_eq!(rig.nat.poll_timeout(), Some(due));
        }
    }

    #[test]
    fn nothing_that_parses_makes_a_nat_panic(bytes in prop::collection::vec(any::<u8>(), 0..120), ipv6 in any::<bool>()) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = if ipv6 { 0x60 } else { 0x45 };
        }
        if let Ok(packet) = natbox_wire::Packet::parse(bytes) {
            let mut rig = Rig::with_addresses(Behavior { ipv6: Ipv6::Napt, ..Behavior::default() }, &POOL);
            rig.outbound(&mut packet.clone());
            rig.inbound(&mut packet.clone());
        }
    }
}

/// One thing that happens to a box of any behaviour.
#[derive(Clone, Debug)]
enum Event {
    /// A packet between a host and a remote (or an external endpoint seen before), perhaps in pieces.
    Cross {
        out: bool,
        host: u8,
        port: usize,
        far: usize,
        protocol: Protocol,
        flags: TcpFlags,
        text: usize,
        pieces: Pieces,
    },
    /// An ICMP error about something that was delivered.
    Error {
        inbound: bool,
        about: usize,
    },
    /// Time passes up to the next deadline, or by so many milliseconds, and what is due is handled.
    Wait {
        millis: Option<u64>,
    },
    Readdress(u8),
    Reboot,
    /// It is to behave as another of its behaviours.
    Reconfigure(usize),
}

/// How a datagram is cut: not, in order, backwards, without its first.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Pieces {
    Whole,
    InOrder,
    Backwards,
    NoFirst,
}

/// Ports that ALGs listen to among others; and what they, or naive rewriters, may look at.
const PORTS: [u16; 6] = [5000, 5001, 900, 21, 5060, 69];
const TEXTS: [&[u8]; 6] = [
    b"natbox, in enough words to be cut",
    b"PORT 10,0,2,1,19,136\r\n",
    b"227 Entering Passive Mode (10,0,2,1,19,136)\r\n",
    b"INVITE sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.2.1:5060\r\nContact: <sip:b@10.0.2.1>\r\nContent-Length: 0\r\n\r\n",
    b"\0\x01file\0octet\0",
    b"\x0a\0\x02\x01 and 10.0.2.1 and 198.0.2.1",
];

fn events() -> impl Strategy<Value = Vec<Event>> {
    let protocol = prop_oneof![4 => Just(Protocol::Udp), 3 => Just(Protocol::Tcp), 1 => Just(Protocol::Icmp)];
    let flags = prop::sample::select(vec![SYN, SYN, SYN_ACK, ACK, ACK, FIN, RST, NONE]);
    let pieces = prop_oneof![
        6 => Just(Pieces::Whole), 1 => Just(Pieces::InOrder), 1 => Just(Pieces::Backwards), 1 => Just(Pieces::NoFirst),
    ];
    let cross = (any::<bool>(), 0..3_u8, 0..PORTS.len(), 0..8_usize, (protocol, flags), 0..TEXTS.len(), pieces)
        .prop_map(|(out, host, port, far, (protocol, flags), text, pieces)| Event::Cross {
            out,
            host,
            port,
            far,
            protocol,
            flags,
            text,
            pieces,
        });
    let event = prop_oneof![
        16 => cross,
        2 => (any::<bool>(), 0..6_usize).prop_map(|(inbound, about)| Event::Error { inbound, about }),
        4 => prop::option::of(0..20_000_u64).prop_map(|millis| Event::Wait { millis }),
        1 => (1..4_u8).prop_map(Event::Readdress),
        1 => Just(Event::Reboot),
        1 => (0..3_usize).prop_map(Event::Reconfigure),
    ];
    prop::collection::vec(event, 1..60)
}

/// A box of any behaviour, and what has been seen of it.
struct Watched {
    ipv6: bool,
    now: Time,
    nat: Nat,
    /// How it may be told to behave.
    behaviors: Vec<Behavior>,
    /// Whether it has ever let hosts share endpoints that they should not.
    overloads: bool,
    externals: Vec<SocketAddr>,
    delivered: [Vec<Packet>; 2],
    held: BTreeMap<HoldId, Packet>,
    /// Who has sent to whom, ever.
    sent: BTreeSet<(Protocol, SocketAddr, SocketAddr)>,
    /// Whose a tuple is: since time last passed, and while its mapping lives.
    owners: BTreeMap<(Protocol, SocketAddr, SocketAddr), (natbox_nat::MappingId, SocketAddr)>,
}

impl Watched {
    fn new(behaviors: Vec<Behavior>, ipv6: bool, seed: u64) -> Watched {
        let behavior = behaviors[0].clone();
        let overloads = overloads(&behavior, ipv6);
        let pool: Vec<IpAddr> = (1..3).map(|host| address(ipv6, 198, host)).collect();
        let mut nat = Nat::new(Arc::new(behavior), &pool, seed);
        nat.set_inside(&[address(ipv6, 10, 254)]);
        let (externals, delivered, held) = (Vec::new(), [Vec::new(), Vec::new()], BTreeMap::new());
        let (sent, owners) = (BTreeSet::new(), BTreeMap::new());
        let now = Time::ZERO;
        Watched { ipv6, now, nat, behaviors, overloads, externals, delivered, held, sent, owners }
    }

    fn happens(&mut self, event: &Event) {
        match event {
            Event::Cross { out, host, port, far, protocol, flags, text, pieces } => {
                let host = SocketAddr::new(address(self.ipv6, 10, host + 1), PORTS[*port]);
                let remote = SocketAddr::new(address(self.ipv6, 192, *far as u8 % 3 + 1), PORTS[*far % PORTS.len()]);
                let external = self.externals.iter().rev().nth(*far / 2).copied();
                let external = external.unwrap_or(SocketAddr::new(address(self.ipv6, 198, 1), 5000));
                let (from, source, destination) = match (*out, far % 4) {
                    (true, 3) => (Side::Inside, host, external),
                    (true, _) => (Side::Inside, host, remote),
                    (false, _) => (Side::Outside, remote, external),
                };
                let packet = made(*protocol, source, destination, *flags, TEXTS[*text]);
                self.cut(packet, *pieces).into_iter().for_each(|piece| self.cross(from, piece));
            }
            Event::Error { inbound, about } => {
                let Some(offender) = self.delivered[usize::from(*inbound)].iter().rev().nth(*about) else { return };
                let error = build::icmp_error(IcmpError::PortUnreachable, offender.destination(), offender);
                let from = if *inbound { Side::Outside } else { Side::Inside };
                error.into_iter().for_each(|error| self.cross(from, error));
            }
            Event::Wait { millis } => self.wait(*millis),
            Event::Readdress(host) => {
                self.nat.readdress(&[address(self.ipv6, 198, *host)], &mut |_| {});
                self.owners.clear();
            }
            Event::Reboot => {
                self.nat.reboot(&mut |_| {});
                self.held.clear();
                self.sent.clear();
                self.owners.clear();
            }
            Event::Reconfigure(which) => self.reconfigure(*which),
        }
        self.outputs();
    }

    /// What there is stays, to the last endpoint, unless it would be too old.
    fn reconfigure(&mut self, which: usize) {
        let Behavior { translation, ipv6, filtering, .. } = self.nat.behavior().as_ref().clone();
        let mut behavior = Behavior { translation, ipv6, ..self.behaviors[which].clone() };
        if behavior.filtering.udp == Filtering::Off || filtering.udp == Filtering::Off {
            behavior.filtering = filtering;
        }
        self.overloads |= overloads(&behavior, self.ipv6);
        self.nat.handle_timeout(self.now, &mut |_| {});
        self.outputs();
        let before = self.nat.mappings();
        self.nat.reconfigure(Arc::new(behavior), self.now).expect("nothing of this is fixed");
        assert_eq!(self.nat.mappings(), before);
        self.nat.handle_timeout(self.now, &mut |_| {});
        let now = self.now;
        assert!(self.nat.sessions().iter().all(|session| session.deadline > now));
    }

    fn cut(&self, packet: Packet, pieces: Pieces) -> Vec<Packet> {
        let mtu_bytes = if self.ipv6 { 1280 } else { 44 };
        // Only pieces of like datagrams have the same number, or what is put together would be nobody's.
        let number =
            packet.bytes().iter().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte))) & 0xffff;
        let mut numbered = packet.clone();
        numbered.rewrite_identification(number as u16);
        let cut = if pieces == Pieces::Whole { None } else { build::fragments(numbered, mtu_bytes, number) };
        let mut cut = cut.unwrap_or_else(|| vec![packet]);
        match pieces {
            Pieces::Backwards => cut.reverse(),
            Pieces::NoFirst if cut.len() > 1 => _ = cut.remove(0),
            _ => {}
        }
        cut
    }

    fn cross(&mut self, from: Side, packet: Packet) {
        let (before, mut packet) = (packet.clone(), packet);
        let verdict = match from {
            Side::Inside => self.nat.outbound(&mut packet, self.now),
            Side::Outside => self.nat.inbound(&mut packet, self.now),
        };
        match verdict {
            Verdict::Drop(_) => assert_eq!(packet, before, "{verdict:?}"),
            Verdict::Hold(hold) => {
                assert_eq!(packet, before, "{verdict:?}");
                assert_eq!(self.held.insert(hold, packet), None);
            }
            _ => self.goes_on(from, before, packet, verdict),
        }
    }

    /// A packet goes on: it is sound, and nobody gets it who may not.
    fn goes_on(&mut self, from: Side, before: Packet, after: Packet, verdict: Verdict) {
        self.is_sound(&after);
        // A later fragment shows no port.
        let later = after.fragment().is_some_and(|fragment| fragment.offset_bytes > 0);
        let plain = !later && after.quoted().is_none();
        if let (Verdict::Forward(told), Some(protocol), true) = (verdict, after.protocol(), plain) {
            match from {
                Side::Inside => {
                    // Of a datagram that was put together, the last fragment shows no port.
                    let internal = self.nat.mapping(told.mapping).map_or(before.source_endpoint(), |one| one.internal);
                    let external = after.source_endpoint();
                    self.owns(protocol, external, after.destination_endpoint(), (told.mapping, internal));
                    self.externals.push(external);
                    self.sent.insert((protocol, internal, ends_at(protocol, after.destination_endpoint())));
                }
                Side::Outside => {
                    let remote = SocketAddr::new(before.source(), after.source_endpoint().port());
                    self.was_sent_to(protocol, after.destination_endpoint(), remote);
                }
            }
        }
        let inside = from == Side::Outside || matches!(verdict, Verdict::Hairpin { .. });
        self.delivered[usize::from(!inside)].push(after);
    }

    fn is_sound(&self, packet: &Packet) {
        let again = Packet::parse(packet.bytes().to_vec()).expect("what goes on parses");
        assert_eq!(&again, packet);
        let whole = !packet.is_fragment();
        let behavior = self.nat.behavior();
        // A quote that is mended wrongly on purpose leaves the checksum over it right all the same.
        assert!(!whole || packet.transport_checksum_ok(), "{packet:?} of {behavior:?}");
    }

    /// No two internal endpoints are behind one external one towards one remote.
    fn owns(
        &mut self,
        protocol: Protocol,
        external: SocketAddr,
        remote: SocketAddr,
        by: (natbox_nat::MappingId, SocketAddr),
    ) {
        let former = self.owners.insert((protocol, external, ends_at(protocol, remote)), by);
        let lives = |id| self.nat.mapping(id).is_some();
        let shared = former.filter(|(mapping, internal)| *internal != by.1 && lives(*mapping));
        assert!(shared.is_none() || self.overloads, "{external} towards {remote}: {shared:?} and {by:?}");
    }

    /// Whoever is let in to a filter that looks at remotes has been sent to, by one protocol or the other.
    fn was_sent_to(&self, protocol: Protocol, internal: SocketAddr, remote: SocketAddr) {
        let behavior = self.nat.behavior();
        let looks = |filtering: &Filtering| !matches!(filtering, Filtering::EndpointIndependent | Filtering::Off);
        let opens_holes =
            behavior.alg.ftp == Switch::On || behavior.alg.sip == Switch::On || behavior.alg.tftp == Switch::On;
        if opens_holes || !behavior.filtering.all().into_iter().all(looks) || !behavior.degraded.is_empty() {
            return;
        }
        let by_address = behavior.filtering.all().contains(&&Filtering::AddressDependent);
        let shares = matches!(behavior.protocol_sharing, ProtocolSharing::Filtering | ProtocolSharing::Both);
        let remote = ends_at(protocol, remote);
        let fits = |(of, from, to): &(Protocol, SocketAddr, SocketAddr)| {
            (*of == protocol || shares) && *from == internal && (*to == remote || by_address && to.ip() == remote.ip())
        };
        assert!(self.sent.iter().any(fits), "{remote} reached {internal}, which never sent to it");
    }

    /// Before an announced deadline nothing happens; at one, perhaps.
    fn wait(&mut self, millis: Option<u64>) {
        let until = match (millis, self.nat.poll_timeout()) {
            (Some(millis), _) => self.now + Duration::from_millis(millis),
            (None, due) => due.unwrap_or(self.now).max(self.now),
        };
        while let Some(due) = self.nat.poll_timeout().filter(|due| *due <= until) {
            let before = Time::from_nanos(due.as_nanos().saturating_sub(1)).max(self.now);
            if before < due {
                let live = self.nat.mappings();
                self.nat.handle_timeout(before, &mut |ended| panic!("{ended:?} before {due}"));
                assert_eq!((self.nat.mappings(), self.nat.poll_output()), (live, None), "before {due}");
                assert_eq!(self.nat.poll_timeout(), Some(due));
            }
            assert!(self.nat.poll_wake().is_none_or(|wake| wake >= due), "nobody wakes before something is due");
            self.now = due.max(self.now);
            self.nat.handle_timeout(self.now, &mut |_| {});
            self.outputs();
        }
        self.now = until;
        self.owners.clear();
    }

    /// What was held goes on once, or dies as it came.
    fn outputs(&mut self) {
        while let Some(output) = self.nat.poll_output() {
            match output {
                Output::Release { hold, from, packet, verdict } => {
                    let before = self.held.remove(&hold).expect("it was held");
                    assert!(!matches!(verdict, Verdict::Drop(_) | Verdict::Hold(_)), "{verdict:?} is no release");
                    self.goes_on(from, before, packet, verdict);
                }
                // Of what was put together and held again, the whole dies, and its last fragment is what came.
                Output::Discard { hold, packet, .. } => match self.held.remove(&hold) {
                    Some(came) if came.is_fragment() && !packet.is_fragment() => self.is_sound(&packet),
                    // Held under a number of its own, after a fragment that was held before.
                    None => assert!(packet.is_fragment(), "{packet:?} was never held"),
                    came => assert_eq!(came, Some(packet)),
                },
                Output::Joined { hold } => _ = self.held.remove(&hold).expect("it was held"),
                Output::Send { packet, .. } => self.is_sound(&packet),
            }
        }
    }
}

/// Whether two hosts may have one tuple.
fn overloads(behavior: &Behavior, ipv6: bool) -> bool {
    let has_ports = ipv6 || behavior.translation != TranslationKind::Basic;
    has_ports && behavior.ports.conflict == PortConflict::Overload
}

/// An end as a session's: a query's has no port.
fn ends_at(protocol: Protocol, end: SocketAddr) -> SocketAddr {
    if protocol == Protocol::Icmp { SocketAddr::new(end.ip(), 0) } else { end }
}

fn made(protocol: Protocol, source: SocketAddr, destination: SocketAddr, flags: TcpFlags, text: &[u8]) -> Packet {
    let fields = IpFields::default();
    let built = match protocol {
        Protocol::Udp => build::udp(source, destination, fields, text),
        Protocol::Tcp => build::tcp(source, destination, fields, flags, 8 - u32::from(flags.syn), 8, 1000, text),
        Protocol::Icmp => {
            let identifier = if flags.syn { source.port() } else { destination.port() };
            build::echo(flags.syn, source.ip(), destination.ip(), fields, identifier, 1, text)
        }
    };
    built.expect("endpoints of one version")
}

/// The same cases in every run; `NATBOX_MODEL_CASES` and `NATBOX_MODEL_SEED` ask for more, and for others.
fn cases() -> ProptestConfig {
    let number = |name: &str, usual| std::env::var(name).ok().and_then(|one| one.parse().ok()).unwrap_or(usual);
    let rng_seed = RngSeed::Fixed(u64::from(number("NATBOX_MODEL_SEED", 1)));
    ProptestConfig { rng_seed, ..ProptestConfig::with_cases(number("NATBOX_MODEL_CASES", 500)) }
}

proptest! {
    #![proptest_config(cases())]
    #[test]
    fn whatever_a_box_is_its_packets_are_sound_its_tuples_its_own_and_its_filters_kept(
        behaviors in prop::collection::vec(all_behaviors(), 3), ipv6 in prop::bool::weighted(0.2), seed in any::<u64>(), events in events(),
    ) {
        let mut watched = Watched::new(behaviors, ipv6, seed);
        events.iter().for_each(|event| watched.happens(event));
        // Left alone, everything ends.
        watched.wait(Some(100_000_000));
        prop_assert_eq!((watched.nat.mappings(), watched.nat.poll_timeout()), (vec![], None));
        prop_assert!(watched.held.is_empty(), "{:?} are held for ever", watched.held);
    }

    #[test]
    fn whom_router_source_hides_is_reached_through_the_mask(
        mapping in word::<Mapping>(), filtering in prop::sample::select(vec![Filtering::EndpointIndependent, Filtering::AddressDependent, Filtering::AddressAndPortDependent]),
        allocation in prop::sample::select(vec![PortAllocation::Preserve, PortAllocation::Sequential, PortAllocation::Random, PortAllocation::Block]), pooling in word(), senders in prop::collection::vec((2..5_u8, 5000..5003_u16), 1..12), protocol in prop::sample::select(vec![Protocol::Udp, Protocol::Tcp]),
    ) {
        let ports = Ports { allocation, range: (4000..=4400).into(), ..Ports::default() };
        let mut rig = Rig::with_addresses(Behavior { hairpin: Hairpin::RouterSource.into(), hairpin_filter: HairpinFilter::Bypass, mapping: mapping.into(), filtering: filtering.into(), pooling, ports, ..Behavior::default() }, &POOL);
        rig.nat.set_inside(&[ip("10.0.0.254")]);
        let receiver = at("10.0.0.9:7000");
        let mut opened = packet(protocol, receiver, at(Y1), SYN);
        prop_assert!(matches!(rig.outbound(&mut opened), Verdict::Forward(_)));
        let mut shown = BTreeMap::new();
        for (host, port) in senders {
            let sender = SocketAddr::new([10, 0, 0, host].into(), port);
            let mut there = packet(protocol, sender, opened.source_endpoint(), SYN);
            let Verdict::Hairpin { .. } = rig.outbound(&mut there) else { continue };
            prop_assert_eq!((there.source(), there.destination_endpoint()), (ip("10.0.0.254"), receiver));
            let known = shown.insert(there.source_endpoint(), sender);
            prop_assert!(known.is_none_or(|known| known == sender), "one mask for two");
            let mut back = packet(protocol, receiver, there.source_endpoint(), SYN_ACK);
            prop_assert!(rig.nat.is_hairpin_answer(&back));
            let verdict = rig.outbound(&mut back);
            prop_assert!(matches!(verdict, Verdict::Hairpin { .. }), "{verdict:?}");
            prop_assert_eq!((back.source_endpoint(), back.destination_endpoint()), (opened.source_endpoint(), sender));
        }
    }
}

#[test]
fn contradictory_behaviours_still_answer_every_packet() {
    let mut behavior = Behavior { filtering: Filtering::Off.into(), ..Behavior::default() };
    behavior.ports.range = std::ops::RangeInclusive::new(9, 8).into();
    let mut rig = Rig::new(behavior);
    assert_eq!(rig.refusal(udp(X1, Y1)), natbox_wire::DropReason::PortsExhausted);
    let mut behavior = Behavior::default();
    behavior.timeouts.udp = std::time::Duration::ZERO;
    let mut rig = Rig::new(behavior);
    let external = rig.send(udp(X1, Y1));
    assert_eq!(rig.receive(udp(Y1, external)), Err(natbox_wire::DropReason::NoMapping));
    assert_eq!(rig.wait_seconds(0).len(), 1);
}

#[test]
fn what_a_nat_does_not_translate_is_refused_with_a_reason() {
    use natbox_wire::DropReason;
    use natbox_wire::build::{self, IpFields};
    let mut rig = Rig::new(Behavior::default());
    let gre = build::ip(ip("10.0.0.2"), ip("192.0.2.1"), 47, IpFields::default(), &[0; 8]).expect("a packet");
    assert_eq!(rig.refusal(gre), DropReason::UnsupportedProtocol);
    assert_eq!(rig.refusal(udp(X1, "224.0.0.251:5353")), DropReason::UnsupportedProtocol);
}
