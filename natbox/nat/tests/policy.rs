//! What may leave: outbound rules, of boxes that translate and of firewalls that do not, in IPv4 and IPv6.

mod common;

use common::*;
use natbox_nat::behavior::*;
use natbox_nat::{Answer, Behavior, Verdict};
use natbox_wire::{DropReason, IcmpError, Packet};

fn outbound(udp: Reach, tcp: Reach, icmp: Switch) -> Behavior {
    Behavior { outbound: Outbound { udp, tcp, icmp }, ..Behavior::default() }
}

/// The same rules on a NAT, on an IPv4 firewall and on an IPv6 firewall, with a host and a server there.
fn boxes(behavior: &Behavior) -> [(Rig, &'static str, &'static str); 3] {
    let firewall = Behavior { translation: TranslationKind::None, ..behavior.clone() };
    [
        (Rig::new(behavior.clone()), "10.0.0.2", "192.0.2.1"),
        (Rig::new(firewall), "10.0.0.2", "192.0.2.1"),
        (Rig::new(behavior.clone()), "[2001:db8:1::2]", "[2001:db8::1]"),
    ]
}

fn blocked(nat: &mut Rig, mut packet: Packet) {
    let Verdict::Drop(refusal) = nat.outbound(&mut packet) else { panic!("{packet:?} was to be blocked") };
    assert_eq!(refusal.reason, DropReason::OutboundBlocked);
    assert_eq!(refusal.answer, Some(Answer::Icmp(IcmpError::AdminProhibited)));
    assert_eq!(refusal.mapping, None);
}

fn echo(host: &str, server: &str) -> Packet {
    ping(format!("{host}:7"), server.trim_matches(['[', ']']))
}

#[test]
fn a_box_that_blocks_udp_lets_everything_else_out() {
    let behavior = outbound(Reach::Nothing, Reach::All, Switch::On);
    for (mut nat, host, server) in boxes(&behavior) {
        blocked(&mut nat, udp(format!("{host}:5000"), format!("{server}:3478")));
        assert_eq!(nat.nat.mappings(), [], "nothing was opened");
        nat.send(tcp(format!("{host}:5000"), format!("{server}:3478"), SYN));
        nat.send(echo(host, server));
    }
}

#[test]
fn a_box_that_lets_some_ports_out_blocks_the_others() {
    let web = Reach::Ports(PortRanges::new([80..=80, 443..=443]));
    let behavior = outbound(Reach::Ports((53..=53).into()), web, Switch::Off);
    for (mut nat, host, server) in boxes(&behavior) {
        let from = format!("{host}:5000");
        nat.send(udp(&from, format!("{server}:53")));
        blocked(&mut nat, udp(&from, format!("{server}:54")));
        for (port, open) in [(79, false), (80, true), (443, true), (444, false)] {
            let syn = tcp(&from, format!("{server}:{port}"), SYN);
            match open {
                true => assert!(nat.send(syn).port() != 0),
                false => blocked(&mut nat, syn),
            }
        }
        blocked(&mut nat, echo(host, server));
    }
}

#[test]
fn what_was_opened_from_outside_is_answered() {
    for session_affinity in [SessionAffinity::On, SessionAffinity::Off] {
        let allowed = Outbound { udp: Reach::Ports((53..=53).into()), ..Behavior::default().outbound };
        let behavior = Behavior { outbound: allowed, session_affinity, ..Behavior::default() };
        for (mut nat, host, server) in boxes(&behavior) {
            let from = format!("{host}:5000");
            let external = nat.send(udp(&from, format!("{server}:53")));
            let caller = format!("{server}:6000");
            blocked(&mut nat, udp(&from, &caller));
            assert_eq!(nat.receive(udp(&caller, external)), Ok(at(&from)));
            assert_eq!(nat.send(udp(&from, &caller)), external, "affinity {session_affinity}");
            nat.wait_seconds(301);
            blocked(&mut nat, udp(&from, &caller));
        }
    }
}

#[test]
fn hairpinned_packets_do_not_leave() {
    let mut nat = Rig::new(outbound(Reach::Ports((1000..=1000).into()), Reach::All, Switch::On));
    let second = nat.send(udp(X2, Y1));
    assert_eq!(nat.hairpin(udp(X1, second)).map(|(_, receiver)| receiver), Ok(at(X2)));
}

#[test]
fn errors_about_sessions_leave_where_queries_may_not() {
    let mut nat = Rig::new(outbound(Reach::All, Reach::All, Switch::Off));
    let external = nat.send(udp(X1, Y1));
    let mut arrived = udp(Y1, external);
    nat.inbound(&mut arrived);
    assert!(matches!(nat.outbound(&mut error("10.0.0.2", &arrived)), Verdict::Forward(_)));
}

#[test]
fn a_box_without_state_judges_every_packet_alone() {
    let behavior = Behavior {
        translation: TranslationKind::None,
        filtering: Filtering::Off.into(),
        ..outbound(Reach::Nothing, Reach::All, Switch::On)
    };
    for (host, server) in [("10.0.0.2", "192.0.2.1"), ("[2001:db8:1::2]", "[2001:db8::1]")] {
        let mut nat = Rig::new(behavior.clone());
        let (inner, outer) = (format!("{host}:5000"), format!("{server}:53"));
        blocked(&mut nat, udp(&inner, &outer));
        assert_eq!(nat.inbound(&mut udp(&outer, &inner)), Verdict::Pass);
        blocked(&mut nat, udp(&inner, &outer));
        assert_eq!(nat.outbound(&mut tcp(&inner, &outer, ACK)), Verdict::Pass);
    }
}

#[test]
fn a_query_that_turns_round_inside_passes_where_none_may_leave_and_not_where_queries_are_denied() {
    let lets_none_out = outbound(Reach::All, Reach::All, Switch::Off);
    let denies = Behavior { icmp_query: IcmpQuery::Deny, ..Behavior::default() };
    for (behavior, leaves, turns) in [
        (lets_none_out, DropReason::OutboundBlocked, None),
        (denies, DropReason::QueryDenied, Some(DropReason::QueryDenied)),
    ] {
        let behavior = Behavior { translation: TranslationKind::Basic, ..behavior };
        let mut nat = Rig::with_addresses(behavior, &["198.51.100.1", "198.51.100.2"]);
        let [asker, other] = [udp(X1, Y1), udp(X2, Y1)].map(|packet| nat.send(packet).ip().to_string());
        assert_eq!(nat.refusal(ping(X1, "192.0.2.1")), leaves, "{asker}");
        let turned = nat.hairpin(ping(X1, &other));
        assert_eq!(turned.map(|(_, to)| to.ip()).err(), turns);
    }
}
