//! Hairpinning of every kind, for UDP, TCP, echo and ICMP errors (RFC 4787 REQ-9, RFC 5382 REQ-8, RFC 5508 REQ-7), and
//! the answers' way back.

mod common;

use std::net::SocketAddr;

use common::*;
use natbox_nat::behavior::*;
use natbox_nat::{Answer, Behavior, Refusal, Verdict};
use natbox_wire::{DropReason, IcmpError, Packet};

const ROUTER: &str = "10.0.0.1";

fn hairpin(hairpin: Hairpin) -> Rig {
    strict(hairpin, Filtering::EndpointIndependent)
}

fn strict(hairpin: Hairpin, filtering: Filtering) -> Rig {
    let mut nat = Rig::new(Behavior { hairpin: hairpin.into(), filtering: filtering.into(), ..Behavior::default() });
    nat.nat.set_inside(&[ip(ROUTER)]);
    nat
}

/// The external endpoints of X1 and X2.
fn both(nat: &mut Rig) -> (SocketAddr, SocketAddr) {
    (nat.send(udp(X1, Y1)), nat.send(udp(X2, Y1)))
}

fn turned(nat: &mut Rig, mut packet: Packet) -> Packet {
    let verdict = nat.outbound(&mut packet);
    assert!(matches!(verdict, Verdict::Hairpin { .. }), "{verdict:?}");
    packet
}

#[test]
fn the_receiver_is_shown_the_sender_by_kind() {
    for (kind, shown) in [
        (Hairpin::ExternalSource, None),
        (Hairpin::InternalSource, Some(at(X1))),
        (Hairpin::RouterSource, Some(at("10.0.0.1:0"))),
    ] {
        let mut nat = hairpin(kind);
        let (first, second) = both(&mut nat);
        let mut expected = shown.unwrap_or(first);
        if expected.port() == 0 {
            expected.set_port(first.port());
        }
        assert_eq!(nat.hairpin(udp(X1, second)), Ok((expected, at(X2))), "{kind}");
    }
    let mut nat = hairpin(Hairpin::Off);
    let (_, second) = both(&mut nat);
    assert_eq!(nat.hairpin(udp(X1, second)), Err(DropReason::HairpinOff));
}

#[test]
fn the_router_as_source_needs_an_inside_address() {
    let mut nat = Rig::new(Behavior { hairpin: Hairpin::RouterSource.into(), ..Behavior::default() });
    let (first, second) = both(&mut nat);
    assert_eq!(nat.hairpin(udp(X1, second)), Ok((first, at(X2))));
}

#[test]
fn an_answer_to_an_external_source_comes_back_through_the_nat() {
    let mut nat = strict(Hairpin::ExternalSource, Filtering::AddressAndPortDependent);
    let (first, second) = both(&mut nat);
    assert_eq!(nat.hairpin(udp(X1, second)), Err(DropReason::Filtered), "the first half opened a session all the same");
    assert_eq!(nat.hairpin(udp(X2, first)), Ok((second, at(X1))), "both have sent");
    assert_eq!(nat.hairpin(udp(X1, second)), Ok((first, at(X2))));
}

#[test]
fn an_answer_to_the_router_comes_back_through_the_nat() {
    let mut nat = strict(Hairpin::RouterSource, Filtering::EndpointIndependent);
    let (_, second) = both(&mut nat);
    let (shown, _) = nat.hairpin(udp(X1, second)).expect("hairpinned");
    let answer = udp(X2, shown);
    assert!(nat.nat.is_hairpin_answer(&answer));
    assert_eq!(nat.hairpin(answer), Ok((second, at(X1))), "from where X1 has sent to");
    assert_eq!(nat.hairpin(udp(X1, second)), Ok((shown, at(X2))), "the same port for the next packet");
}

#[test]
fn a_packet_to_the_router_that_answers_nobody_is_the_gateways() {
    let mut nat = hairpin(Hairpin::RouterSource);
    let (_, second) = both(&mut nat);
    assert!(!nat.nat.is_hairpin_answer(&udp(X2, "10.0.0.1:53")));
    let (shown, _) = nat.hairpin(udp(X1, second)).expect("hairpinned");
    assert!(!nat.nat.is_hairpin_answer(&udp("10.0.0.3:9", shown)), "from another port");
    assert!(!nat.nat.is_hairpin_answer(&udp(X2, SocketAddr::new(ip(ROUTER), shown.port() ^ 1))), "to another port");
    assert!(!nat.nat.is_hairpin_answer(&tcp(X2, shown, ACK)), "of another protocol");
    assert!(nat.nat.is_hairpin_answer(&udp(X2, shown)));
    nat.wait_seconds(301);
    assert!(!nat.nat.is_hairpin_answer(&udp(X2, shown)), "the session is over");
}

#[test]
fn two_senders_of_one_external_port_get_two_ports_of_the_router() {
    let ports = Ports { allocation: PortAllocation::Preserve, ..Ports::default() };
    let behavior = Behavior { hairpin: Hairpin::RouterSource.into(), ports, ..Behavior::default() };
    let mut nat = Rig::with_addresses(behavior, &["198.51.100.1", "198.51.100.2"]);
    nat.nat.set_inside(&[ip(ROUTER)]);
    let third = "10.0.0.4:6000";
    let externals = [X1, X2, third].map(|internal| nat.send(udp(internal, Y1)));
    assert_eq!(externals[0].port(), externals[1].port());
    assert_ne!(externals[0].ip(), externals[1].ip());
    let (one, _) = nat.hairpin(udp(X1, externals[2])).expect("hairpinned");
    let (other, _) = nat.hairpin(udp(X2, externals[2])).expect("hairpinned");
    assert_eq!((one, other), (at("10.0.0.1:5000"), at("10.0.0.1:5001")));
    assert_eq!(nat.hairpin(udp(third, one)), Ok((externals[2], at(X1))));
    assert_eq!(nat.hairpin(udp(third, other)), Ok((externals[2], at(X2))));
    assert_eq!(nat.hairpin(udp(X2, externals[2])), Ok((other, at(third))), "it keeps its port");
}

#[test]
fn masks_that_are_over_make_room() {
    let mut nat = hairpin(Hairpin::RouterSource);
    for round in 0..40u16 {
        let (_, second) = both(&mut nat);
        for port in 0..20 {
            let sender = format!("10.0.0.2:{}", 6000 + round * 20 + port);
            let (shown, _) = nat.hairpin(udp(&sender, second)).expect("hairpinned");
            assert_eq!(nat.hairpin(udp(X2, shown)), Ok((second, at(&sender))));
        }
        nat.wait_seconds(400);
    }
}

#[test]
fn rfc5382_req_08_both_handshakes_turn_round() {
    for kind in [Hairpin::ExternalSource, Hairpin::RouterSource] {
        for simultaneous in [false, true] {
            let mut nat = hairpin(kind);
            let (first, second) = (nat.send(tcp(X1, Y1, SYN)), nat.send(tcp(X2, Y1, SYN)));
            let (shown, receiver) = nat.hairpin(tcp(X1, second, SYN)).expect("the SYN");
            assert_eq!((receiver, shown.port()), (at(X2), first.port()));
            if simultaneous {
                let (of_second, _) = nat.hairpin(tcp(X2, first, SYN)).expect("the other SYN");
                assert_eq!(of_second.port(), second.port());
                nat.hairpin(tcp(X1, of_second, SYN_ACK)).expect("the SYN/ACK");
            }
            let (source, sender) = nat.hairpin(tcp(X2, shown, SYN_ACK)).expect("the SYN/ACK");
            assert_eq!((source, sender), (second, at(X1)), "{kind}");
            assert_eq!(nat.hairpin(tcp(X1, second, ACK)), Ok((shown, at(X2))));
            nat.wait_seconds(7000);
            assert_eq!(nat.hairpin(tcp(X2, shown, ACK)), Ok((second, at(X1))), "established on both halves");
        }
    }
}

#[test]
fn a_hairpinned_syn_with_its_internal_source_asks_for_an_answer_that_its_sender_does_not_know() {
    let mut nat = hairpin(Hairpin::InternalSource);
    let second = nat.send(tcp(X2, Y1, SYN));
    assert_eq!(nat.hairpin(tcp(X1, second, SYN)), Ok((at(X1), at(X2))), "X2 answers X1 without the NAT");
}

#[test]
fn a_napt_hairpins_no_echo_of_whatever_kind() {
    for kind in [Hairpin::ExternalSource, Hairpin::InternalSource, Hairpin::RouterSource] {
        let mut nat = hairpin(kind);
        nat.send(ping(X2, "192.0.2.1"));
        assert_eq!(nat.hairpin(ping(X1, EXTERNAL)), Err(DropReason::NoMapping), "one identifier cannot name both ends");
    }
}

#[test]
fn req_07_errors_about_hairpinned_packets_come_back_whatever_source_was_shown() {
    for kind in [Hairpin::ExternalSource, Hairpin::RouterSource] {
        let mut nat = hairpin(kind);
        let (first, second) = both(&mut nat);
        let sent = udp(X1, second);
        let arrived = turned(&mut nat, sent.clone());
        let told = turned(&mut nat, error("10.0.0.3", &arrived));
        assert_eq!((told.source(), told.destination()), (second.ip(), ip("10.0.0.2")), "{kind}");
        let quoted = told.quoted().expect("a quote");
        assert_eq!((quoted.source, quoted.destination), (sent.source_endpoint(), sent.destination_endpoint()));

        // And about the answer, from the one who asked.
        let answer = udp(X2, arrived.source_endpoint());
        let arrived = turned(&mut nat, answer.clone());
        let told = turned(&mut nat, error("10.0.0.2", &arrived));
        let shown = if kind == Hairpin::RouterSource { ip(ROUTER) } else { first.ip() };
        assert_eq!((told.source(), told.destination()), (shown, ip("10.0.0.3")), "{kind}");
        let quoted = told.quoted().expect("a quote");
        assert_eq!((quoted.source, quoted.destination), (answer.source_endpoint(), answer.destination_endpoint()));
        assert!(told.transport_checksum_ok());
    }
}

#[test]
fn an_error_to_the_router_about_nobodys_packet_is_the_gateways() {
    let mut nat = hairpin(Hairpin::RouterSource);
    both(&mut nat);
    let told = error("10.0.0.3", &udp("10.0.0.1:99", X2));
    assert!(!nat.nat.is_hairpin_answer(&told));
}

#[test]
fn a_packet_to_oneself_turns_round() {
    for (kind, shown) in
        [(Hairpin::ExternalSource, EXTERNAL), (Hairpin::InternalSource, "10.0.0.2"), (Hairpin::RouterSource, ROUTER)]
    {
        let mut nat = strict(kind, Filtering::AddressAndPortDependent);
        let own = nat.send(udp(X1, Y1));
        let (source, receiver) = nat.hairpin(udp(X1, own)).expect("its own packet is its permission");
        assert_eq!((source.ip(), receiver), (ip(shown), at(X1)), "{kind}");
    }
}

#[test]
fn a_packet_to_a_port_that_has_expired_dies() {
    for kind in [Hairpin::ExternalSource, Hairpin::InternalSource, Hairpin::RouterSource] {
        let mut nat = hairpin(kind);
        let (_, second) = both(&mut nat);
        nat.wait_seconds(300);
        assert_eq!(nat.hairpin(udp(X1, second)), Err(DropReason::NoMapping));
    }
}

#[test]
fn the_filter_judges_hairpinned_packets_only_where_it_is_applied() {
    for (hairpin_filter, outcome) in [(HairpinFilter::Apply, false), (HairpinFilter::Bypass, true)] {
        for protocol in [udp as fn(_, _) -> _, |a: &str, b: SocketAddr| tcp(a, b, SYN)] {
            let mut nat = Rig::new(Behavior {
                filtering: Filtering::AddressAndPortDependent.into(),
                hairpin_filter,
                unsolicited_syn: UnsolicitedSyn::Drop,
                ..Behavior::default()
            });
            let second = nat.send(protocol(X2, at(Y1)));
            assert_eq!(nat.hairpin(protocol(X1, second)).is_ok(), outcome);
        }
    }
}

/// Whether two peers behind one NAT that know each other's external endpoints alone get through, after both have sent.
fn peers_meet(mapping: Mapping, filtering: Filtering, hairpin_filter: HairpinFilter) -> bool {
    let mut nat = Rig::new(Behavior {
        mapping: mapping.into(),
        filtering: filtering.into(),
        hairpin_filter,
        ..Behavior::default()
    });
    let (first, second) = both(&mut nat);
    let _ = nat.hairpin(udp(X1, second));
    match nat.hairpin(udp(X2, first)) {
        // To whoever a packet came from one can answer.
        Ok((source, _)) => nat.hairpin(udp(X1, source)).is_ok(),
        Err(_) => nat.hairpin(udp(X1, second)).is_ok(),
    }
}

#[test]
fn peers_behind_one_nat_meet_as_appendix_c4_says() {
    use Filtering as F;
    use Mapping as M;
    for mapping in [M::EndpointIndependent, M::AddressDependent, M::AddressAndPortDependent] {
        for filtering in [F::EndpointIndependent, F::AddressDependent, F::AddressAndPortDependent] {
            let independent = mapping == M::EndpointIndependent || filtering == F::EndpointIndependent;
            // A mapping per address is one for all that share the NAT's only address, and so is a permission.
            let meets = peers_meet(mapping, filtering, HairpinFilter::Apply);
            if mapping != M::AddressDependent && filtering != F::AddressDependent {
                assert_eq!(meets, independent, "{mapping} {filtering}");
            }
            assert!(peers_meet(mapping, filtering, HairpinFilter::Bypass), "{mapping} {filtering}, filter bypassed");
        }
    }
}

#[test]
fn a_box_that_does_not_hairpin_answers_for_itself_if_it_answers_at_all() {
    let answering = Behavior {
        hairpin: Hairpin::Off.into(),
        unsolicited_udp: UnsolicitedUdp::Icmp,
        unsolicited_syn: UnsolicitedSyn::RstNow,
        tcp_no_state: TcpNoState::Rst,
        ..Behavior::default()
    };
    let silent = Behavior { hairpin: Hairpin::Off.into(), ..Behavior::default() };
    let error = Some(Answer::Icmp(IcmpError::PortUnreachable));
    for (packet, answer) in [
        (udp(X1, "198.51.100.1:9"), error),
        (tcp(X1, "198.51.100.1:9", SYN), Some(Answer::Reset)),
        (tcp(X1, "198.51.100.1:9", ACK), Some(Answer::Reset)),
        (tcp(X1, "198.51.100.1:9", RST), None),
    ] {
        for (behavior, answer) in [(&answering, answer), (&silent, None)] {
            let verdict = Rig::new(behavior.clone()).outbound(&mut packet.clone());
            assert_eq!(verdict, Verdict::Drop(Refusal { reason: DropReason::HairpinOff, mapping: None, answer }));
        }
    }
}

/// Basic NAT with an external address for each of three hosts.
fn basic(hairpin: Hairpin) -> Rig {
    let behavior = Behavior { translation: TranslationKind::Basic, hairpin: hairpin.into(), ..Behavior::default() };
    let mut nat = Rig::with_addresses(behavior, &["198.51.100.1", "198.51.100.2", "198.51.100.3"]);
    nat.nat.set_inside(&[ip(ROUTER)]);
    nat
}

#[test]
fn rfc5508_req_07_basic_nat_hairpins_echo_and_shows_the_sender_by_kind() {
    for (kind, shown) in [
        (Hairpin::ExternalSource, "198.51.100.1"),
        (Hairpin::InternalSource, "10.0.0.2"),
        (Hairpin::RouterSource, ROUTER),
    ] {
        let mut nat = basic(kind);
        let (first, second) = (nat.send(ping("10.0.0.2:7", "192.0.2.1")), nat.send(ping("10.0.0.3:7", "192.0.2.1")));
        assert_eq!((first.ip(), first.port(), second.port()), (ip("198.51.100.1"), 7, 7), "identifiers stay");
        let request = turned(&mut nat, ping("10.0.0.2:7", &second.ip().to_string()));
        assert_eq!((request.source(), request.destination()), (ip(shown), ip("10.0.0.3")), "{kind}");
        if kind != Hairpin::InternalSource {
            let reply = turned(&mut nat, pong("10.0.0.3", SocketAddr::new(ip(shown), 7)));
            assert_eq!((reply.source(), reply.destination_endpoint()), (second.ip(), at("10.0.0.2:7")), "{kind}");
        }
    }
}

#[test]
fn the_fragments_of_an_answer_to_the_router_come_back_through_the_nat() {
    let mut nat = hairpin(Hairpin::RouterSource);
    let (_, second) = both(&mut nat);
    let (shown, _) = nat.hairpin(udp(X1, second)).expect("hairpinned");
    let fields = natbox_wire::build::IpFields { identification: 7, ..Default::default() };
    let whole = natbox_wire::build::udp(at(X2), shown, fields, &[0; 2000]).expect("IPv4");
    let fragments = natbox_wire::build::fragments(whole, 1000, 7).expect("fragments");
    assert!(fragments.len() > 1);
    for mut fragment in fragments {
        assert!(nat.nat.is_hairpin_answer(&fragment));
        let verdict = nat.nat.outbound(&mut fragment, nat.now);
        assert!(matches!(verdict, Verdict::Hairpin { .. }), "{verdict:?}");
        assert_eq!((fragment.source(), fragment.destination()), (second.ip(), ip("10.0.0.2")));
    }
}
