//! What a gateway tells the senders of packets that it does not forward, and of what it says nothing (RFC 5508 REQ-8 to
//! REQ-10 and section 7, RFC 4787 REQ-13).

use std::collections::BTreeSet;
use std::sync::Arc;

use natbox_nat::Behavior;
use natbox_nat::behavior::*;
use natbox_wire::build::{self, IpFields};
use natbox_wire::{DropReason, IcmpError, Packet, TcpFlags, Transport, Word};
use natbox_world::note::Outcome;
use natbox_world::{LinkConfig, PacketId};

use crate::support::*;

fn home_with(behavior: Behavior) -> Home {
    home(1, Links::default(), Arc::new(behavior))
}

fn narrow(mtu_bytes: usize) -> LinkConfig {
    LinkConfig { mtu_bytes, ..LinkConfig::default() }
}

fn error_of(packet: &Packet) -> IcmpError {
    match packet.transport() {
        Transport::IcmpError(error) => error,
        other => panic!("expected an ICMP error, got {other:?}"),
    }
}

const SERVER: &str = "198.18.0.9:9";
const ALICE: &str = "10.0.0.2:5000";

fn expiring(source: &str, destination: &str) -> Vec<u8> {
    udp(source, destination, IpFields { ttl: 1, ..IpFields::default() }, 4)
}

/// The IPv4 header's checksum put right after an edit.
fn mended(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[10..12].fill(0);
    let sum = natbox_wire::checksum::checksum(&bytes[..20]);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// A datagram from alice to the server that has made a mapping; its external endpoint.
fn mapped(home: &mut Home) -> String {
    home.send(home.alice_interface, udp(ALICE, SERVER, IpFields::default(), 4));
    home.world.mappings(home.home)[0].external.to_string()
}

#[test]
fn rfc5508_req_08_whom_the_nat_refuses_is_told_from_the_address_that_faces_them() {
    let mut home = home_with(Behavior { icmp_query: IcmpQuery::Deny, ..Behavior::default() });
    let sent = ping("10.0.0.2", "198.18.0.9", 64);
    let id = home.send(home.alice_interface, sent.clone());
    let (node, outcome) = home.notes.outcomes(id)[0];
    assert!(matches!(outcome, Outcome::Refused(refusal) if refusal.reason == DropReason::QueryDenied));
    let (answer, sender, packet) = home.notes.answer_to(id).expect("an answer");
    assert_eq!((sender, node), (home.home, home.home));
    assert_eq!((packet.source(), packet.destination()), (ip("10.0.0.1"), ip("10.0.0.2")));
    assert_eq!(error_of(&packet), IcmpError::AdminProhibited);
    assert_eq!(packet.payload(), sent, "quoted as it was sent, its TTL too");
    assert_eq!(home.notes.outcomes(answer)[0].0, home.alice);
}

#[test]
fn rfc5508_req_08_and_rfc6888_req_11b_whom_no_port_is_left_for_is_told_by_the_axis() {
    for (exhausted, told) in [
        (Exhausted::DropIcmp13, Some(IcmpError::AdminProhibited)),
        (Exhausted::DropIcmp1, Some(IcmpError::HostUnreachable)),
        (Exhausted::DropSilent, None),
    ] {
        let ports = Ports { range: (40_001..=40_001).into(), ..Ports::default() };
        let mut home = home_with(Behavior { exhausted, ports, ..Behavior::default() });
        mapped(&mut home);
        let id = home.send(home.alice_interface, udp("10.0.0.2:6000", SERVER, IpFields::default(), 4));
        assert_eq!(home.notes.answer_to(id).map(|(_, _, packet)| error_of(&packet)), told, "{exhausted}");
    }
}

#[test]
fn unsolicited_packets_are_answered_from_the_external_endpoint_that_they_were_sent_to() {
    let (unsolicited_udp, unsolicited_syn) = (UnsolicitedUdp::Icmp, UnsolicitedSyn::RstNow);
    let mut home = home_with(Behavior { unsolicited_udp, unsolicited_syn, ..Behavior::default() });
    let id = home.send(home.server_interface, udp(SERVER, "198.18.0.2:2", IpFields::default(), 4));
    let (_, sender, packet) = home.notes.answer_to(id).expect("an error");
    assert_eq!((sender, packet.source()), (home.home, ip("198.18.0.2")));
    assert_eq!(error_of(&packet), IcmpError::PortUnreachable);
    let syn = TcpFlags { syn: true, ..TcpFlags::default() };
    let (from, to) = (endpoint(SERVER), endpoint("198.18.0.2:80"));
    let segment = build::tcp(from, to, IpFields::default(), syn, 7, 0, 1000, &[]).expect("one version");
    let id = home.send(home.server_interface, segment.into_bytes());
    let (_, sender, packet) = home.notes.answer_to(id).expect("a RST");
    assert_eq!((sender, packet.source_endpoint(), packet.destination_endpoint()), (home.home, to, from));
    assert_eq!(packet.tcp_acknowledgement(), Some(8));
}

#[test]
fn a_segment_of_no_session_is_reset_in_the_name_of_whom_it_was_sent_to() {
    let mut home = home_with(Behavior { tcp_no_state: TcpNoState::Rst, ..Behavior::default() });
    let ack = TcpFlags { ack: true, ..TcpFlags::default() };
    let (from, to) = (endpoint(ALICE), endpoint(SERVER));
    let segment = build::tcp(from, to, IpFields::default(), ack, 7, 99, 1000, &[]).expect("one version");
    let id = home.send(home.alice_interface, segment.into_bytes());
    let (_, sender, packet) = home.notes.answer_to(id).expect("a RST");
    assert_eq!((sender, packet.source_endpoint(), packet.tcp_sequence()), (home.home, to, Some(99)));
}

#[test]
fn rfc5508_req_09_a_box_that_originates_no_icmp_drops_the_same_packets_in_silence() {
    for icmp_originate in [Switch::On, Switch::Off] {
        let behavior = Behavior { icmp_originate, icmp_query: IcmpQuery::Deny, ..Behavior::default() };
        let links = Links { home: narrow(600), ..Links::default() };
        let mut home = home(1, links, Arc::new(behavior));
        let whole = IpFields { dont_fragment: true, ..IpFields::default() };
        let dying = [
            ping("10.0.0.2", "198.18.0.9", 64),
            expiring(ALICE, SERVER),
            udp(ALICE, SERVER, whole, 800),
            udp(ALICE, "10.0.0.1:53", IpFields::default(), 4),
        ];
        for bytes in dying {
            let id = home.send(home.alice_interface, bytes);
            assert_eq!(home.notes.outcomes(id).len(), 1, "it dies at the gateway");
            assert_eq!(home.notes.answer_to(id).is_some(), icmp_originate == Switch::On);
        }
        let id = home.send(home.alice_interface, ping("10.0.0.2", "10.0.0.1", 64));
        assert!(home.notes.answer_to(id).is_some(), "an echo reply is no error");
    }
}

#[test]
fn rfc5508_req_10d_an_error_has_the_ds_field_of_what_it_is_about() {
    let mut home = home_with(Behavior::default());
    let mut bytes = expiring(ALICE, SERVER);
    bytes[1] = 0xB8 | 0b01; // expedited forwarding, ECN-capable
    let id = home.send(home.alice_interface, mended(bytes));
    let (_, _, packet) = home.notes.answer_to(id).expect("an answer");
    assert_eq!(packet.traffic_class(), 0xB8);
}

#[test]
fn rfc5508_req_10e_some_packets_are_dropped_in_silence() {
    let about = |home: &mut Home, bytes: Vec<u8>| {
        let id = home.send(home.alice_interface, bytes);
        let dropped = home.notes.outcomes(id).into_iter().any(|(node, outcome)| {
            node == home.home
                && matches!(outcome, Outcome::Dropped(DropReason::TtlExpired | DropReason::NotForThisHost))
        });
        assert!(dropped, "{:?}", home.notes.outcomes(id));
        home.notes.answer_to(id).is_some()
    };
    let mut home = home_with(Behavior::default());
    assert!(about(&mut home, expiring(ALICE, SERVER)), "the plain case is told");
    let offender = Packet::parse(expiring(SERVER, ALICE)).expect("a packet");
    let mut error = build::icmp_error(IcmpError::PortUnreachable, ip("10.0.0.2"), &offender).expect("an error");
    error.set_ttl(1);
    assert!(!about(&mut home, error.into_bytes()), "an error");
    let mut later = expiring(ALICE, SERVER);
    later[7] = 1;
    assert!(!about(&mut home, mended(later)), "a later fragment");
    assert!(!about(&mut home, expiring(ALICE, "224.0.1.1:9")), "multicast");
    assert!(!about(&mut home, expiring(ALICE, "255.255.255.255:9")), "broadcast");
    assert!(!about(&mut home, expiring(ALICE, "10.0.0.255:9")), "directed broadcast");
    assert!(!about(&mut home, expiring("10.0.0.255:5000", SERVER)), "a source that is many");
    assert!(!about(&mut home, expiring("0.1.2.3:5000", SERVER)), "a source on no network");
}

#[test]
fn rfc5508_req_10f_errors_beyond_the_rate_are_withheld_and_noted() {
    let mut home = home_with(Behavior::default());
    let ids: Vec<PacketId> =
        (0..60).map(|_| home.world.inject(home.alice_interface, expiring(ALICE, SERVER))).collect();
    home.world.run_for(MS * 500).expect("no storm");
    let told = |home: &Home| ids.iter().filter(|id| home.notes.answer_to(**id).is_some()).count();
    assert_eq!(told(&home), 50);
    let limited = |seen: &Seen| matches!(seen, Seen::Dropped { reason: DropReason::RateLimited, .. });
    assert_eq!(home.notes.all().iter().filter(|seen| limited(seen)).count(), 10);
    let later = home.send(home.alice_interface, expiring(ALICE, SERVER));
    assert!(home.notes.answer_to(later).is_some());
}

#[test]
fn rfc5508_section_7_2_a_ttl_runs_out_by_the_axis() {
    for ttl in Ttl::ALL {
        let mut home = home_with(Behavior { ttl: *ttl, ..Behavior::default() });
        let external = mapped(&mut home);
        let out = home.send(home.alice_interface, expiring(ALICE, SERVER));
        // The core takes one, so that the gateway sees one left.
        let fields = IpFields { ttl: 2, ..IpFields::default() };
        let back = home.send(home.server_interface, udp(SERVER, &external, fields, 4));
        let died = |id| home.notes.outcomes(id).contains(&(home.home, Outcome::Dropped(DropReason::TtlExpired)));
        let told = |id| home.notes.answer_to(id).is_some_and(|(_, node, _)| node == home.home);
        let expected = match ttl {
            Ttl::Decrement => (true, true),
            Ttl::DecrementSilent => (true, false),
            Ttl::Transparent => (false, false),
        };
        assert_eq!([(died(out), told(out)), (died(back), told(back))], [expected; 2], "{ttl}");
    }
}

#[test]
fn a_transparent_box_takes_nothing_from_the_ttl() {
    let mut home = home_with(Behavior { ttl: Ttl::Transparent, ..Behavior::default() });
    let external = mapped(&mut home);
    home.send(home.server_interface, udp(SERVER, &external, IpFields::default(), 4));
    let at_server = home.notes.received_by(home.server)[0].1.ttl();
    let at_alice = home.notes.received_by(home.alice).last().expect("the answer").1.ttl();
    assert_eq!((at_server, at_alice), (63, 63), "the core takes one");
}

/// A datagram of 1,000 bytes with don't-fragment set, and what came of it.
struct Large {
    home: Home,
    id: PacketId,
    told: Option<IcmpError>,
}

impl Large {
    /// Out through a narrow link.
    fn out(too_big: TooBig) -> Large {
        let behavior = Behavior { too_big, ..Behavior::default() };
        let home = home(1, Links { home: narrow(600), ..Links::default() }, Arc::new(behavior));
        let from = home.alice_interface;
        Large::send(home, from, ALICE, SERVER)
    }

    /// In to a host with a narrow link.
    fn back(too_big: TooBig) -> Large {
        let behavior = Behavior { too_big, ..Behavior::default() };
        let mut home = home(1, Links { alice: narrow(600), ..Links::default() }, Arc::new(behavior));
        let external = mapped(&mut home);
        let from = home.server_interface;
        Large::send(home, from, SERVER, &external)
    }

    /// From the gateway's neighbour, hairpinned to the same host.
    fn round(too_big: TooBig) -> Large {
        let behavior = Behavior { too_big, ..Behavior::default() };
        let mut home = home(1, Links { alice: narrow(600), ..Links::default() }, Arc::new(behavior));
        let external = mapped(&mut home);
        let lan = home.world.network_of(home.alice_interface);
        let wide = LinkConfig::default();
        let bob = home.world.host("bob", vec![attachment(lan, "bob", &["10.0.0.3/24"], wide)]).node();
        let from = home.world.interfaces_of(bob).next().expect("an interface");
        Large::send(home, from, "10.0.0.3:6000", &external)
    }

    fn send(mut home: Home, from: natbox_world::InterfaceId, source: &str, destination: &str) -> Large {
        let fields = IpFields { dont_fragment: true, identification: 99, ..IpFields::default() };
        let id = home.send(from, udp(source, destination, fields, 972));
        let told = home.notes.answer_to(id).filter(|(_, node, _)| *node == home.home);
        let told = told.map(|(_, _, packet)| error_of(&packet));
        Large { home, id, told }
    }

    fn died(&self) -> bool {
        self.home.notes.outcomes(self.id).contains(&(self.home.home, Outcome::Dropped(DropReason::TooBig)))
    }
}

#[test]
fn rfc4787_req_13_what_is_too_big_is_told_hushed_up_cleared_or_told_wrongly_in_every_direction() {
    for make in [Large::out, Large::back, Large::round] {
        let large = make(TooBig::FragNeeded);
        assert_eq!((large.died(), large.told), (true, Some(IcmpError::PacketTooBig { mtu: 600 })));
        let large = make(TooBig::WrongMtu);
        assert_eq!((large.died(), large.told), (true, Some(IcmpError::PacketTooBig { mtu: 0 })));
        let large = make(TooBig::SilentDrop);
        assert_eq!((large.died(), large.told), (true, None));
        let large = make(TooBig::ClearDf);
        assert!(!large.died());
        let notes = &large.home.notes;
        let whole = notes.outcomes(large.id).into_iter().filter(|(_, outcome)| *outcome == Outcome::Held).count();
        assert_eq!(whole, 1, "two fragments: one waits at the host, the other completes it");
    }
}

#[test]
fn rfc4787_req_13_an_error_about_what_was_too_big_quotes_it_as_it_was_sent() {
    for (large, from, to) in [(Large::out(TooBig::FragNeeded), ALICE, SERVER), {
        let large = Large::round(TooBig::FragNeeded);
        (large, "10.0.0.3:6000", "")
    }] {
        let (_, _, packet) = large.home.notes.answer_to(large.id).expect("told");
        let quoted = packet.quoted().expect("a quote");
        assert_eq!((packet.source(), quoted.source), (ip("10.0.0.1"), endpoint(from)));
        let external = large.home.notes.received_by(large.home.home).into_iter().find(|(id, _)| *id == large.id);
        let came = external.expect("it came").1;
        assert!(to.is_empty() || quoted.destination == endpoint(to));
        assert_eq!(packet.payload(), &came.bytes()[..packet.payload().len()], "TTL and identification too");
    }
}

#[test]
fn rfc4787_req_13a_what_may_be_fragmented_is_and_leaves_in_order() {
    for (too_big, links, alice) in [
        (TooBig::FragNeeded, Links { home: narrow(600), ..Links::default() }, false),
        (TooBig::SilentDrop, Links { alice: narrow(600), ..Links::default() }, true),
    ] {
        let mut home = home(1, links, Arc::new(Behavior { too_big, ..Behavior::default() }));
        let external = mapped(&mut home);
        let id = match alice {
            false => home.send(home.alice_interface, udp(ALICE, SERVER, IpFields::default(), 1400)),
            true => home.send(home.server_interface, udp(SERVER, &external, IpFields::default(), 1400)),
        };
        let receiver = if alice { home.alice } else { home.server };
        let came: Vec<_> = home.notes.received_by(receiver).into_iter().filter(|(of, _)| *of == id).collect();
        let offsets: Vec<u16> = came.iter().map(|(_, one)| one.fragment().expect("a fragment").offset_bytes).collect();
        assert_eq!(offsets, [0, 576, 1152]);
        let identifications: BTreeSet<Option<u16>> = came.iter().map(|(_, one)| one.identification()).collect();
        assert_eq!(identifications.len(), 1);
    }
}

#[test]
fn a_ping_that_nothing_inside_wants_is_answered_by_the_box_if_it_answers_pings() {
    for answer_ping in [Switch::On, Switch::Off] {
        for filtering in [Filtering::EndpointIndependent, Filtering::AddressAndPortDependent] {
            let mut home = home_with(Behavior { answer_ping, filtering: filtering.into(), ..Behavior::default() });
            let id = home.send(home.server_interface, ping("198.18.0.9", "198.18.0.2", 64));
            let answered = home.notes.answer_to(id).map(|(_, node, packet)| (node, packet.source()));
            let expected = (answer_ping == Switch::On).then_some((home.home, ip("198.18.0.2")));
            assert_eq!(answered, expected);
            let outcome = home.notes.outcomes(id)[1].1;
            match answer_ping {
                Switch::On => assert_eq!(outcome, Outcome::Delivered),
                Switch::Off => assert!(matches!(outcome, Outcome::Refused(_))),
            }
            assert_eq!(home.world.mappings(home.home), []);
        }
    }
}

#[test]
fn a_ping_that_a_mapping_wants_is_its_hosts() {
    let mut home = home_with(Behavior { icmp_identifier: IcmpIdentifier::Preserve, ..Behavior::default() });
    home.send(home.alice_interface, ping("10.0.0.2", "198.18.0.77", 64));
    let id = home.send(home.server_interface, ping("198.18.0.9", "198.18.0.2", 64));
    assert_eq!(home.notes.outcomes(id).last().map(|(node, _)| *node), Some(home.alice));
    let (reply, sender, _) = home.notes.answer_to(id).expect("a reply");
    assert_eq!(sender, home.alice);
    assert_eq!(home.notes.outcomes(reply).last().map(|(node, _)| *node), Some(home.server));
}

#[test]
fn pings_from_inside_to_any_address_of_the_box_are_answered() {
    for hairpin in [Hairpin::ExternalSource, Hairpin::Off] {
        let behavior = Behavior { hairpin: hairpin.into(), answer_ping: Switch::Off, ..Behavior::default() };
        let mut home = home_with(behavior);
        for own in ["10.0.0.1", "198.18.0.2"] {
            let id = home.send(home.alice_interface, ping("10.0.0.2", own, 64));
            assert_eq!(home.notes.outcomes(id), [(home.home, Outcome::Delivered)]);
            let (_, _, reply) = home.notes.answer_to(id).expect("a reply");
            assert_eq!((reply.source(), reply.destination()), (ip(own), ip("10.0.0.2")));
        }
    }
}

#[test]
fn a_segment_to_a_closed_port_of_the_box_is_reset() {
    let mut home = home_with(Behavior { icmp_originate: Switch::Off, ..Behavior::default() });
    let syn = TcpFlags { syn: true, ..TcpFlags::default() };
    let (from, to) = (endpoint(ALICE), endpoint("10.0.0.1:80"));
    let segment = build::tcp(from, to, IpFields::default(), syn, 7, 0, 1000, &[]).expect("one version");
    let id = home.send(home.alice_interface, segment.into_bytes());
    assert_eq!(home.notes.outcomes(id), [(home.home, Outcome::Dropped(DropReason::PortUnreachable))]);
    let (_, _, answer) = home.notes.answer_to(id).expect("an answer");
    assert_eq!((answer.source_endpoint(), answer.destination_endpoint()), (to, from));
    assert!(matches!(answer.transport(), Transport::Tcp { flags: TcpFlags { rst: true, ack: true, .. }, .. }));
    assert_eq!(answer.tcp_acknowledgement(), Some(8));
}

#[test]
fn rfc7857_req_10_what_the_box_sends_itself_shares_no_identification_with_what_it_translates() {
    let mut home = home_with(Behavior::default());
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        home.send(home.alice_interface, ping("10.0.0.2", "198.18.0.9", 64));
        home.send(home.server_interface, ping("198.18.0.9", "198.18.0.2", 64));
    }
    for (_, packet) in home.notes.received_by(home.server) {
        assert!(seen.insert(packet.identification()), "{packet}");
    }
    assert_eq!(seen.len(), 40, "twenty requests of alice's, and twenty replies of the box's");
}
