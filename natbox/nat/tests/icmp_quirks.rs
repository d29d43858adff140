//! What boxes do wrong with ICMP errors, an axis at a time: `icmp_error`, `icmp_kills_mapping`, `icmp_source_filter`,
//! `refresh_on_error`.

mod common;

use std::time::Duration;

use common::*;
use natbox_nat::behavior::*;
use natbox_nat::{Behavior, MappingEnd, Verdict};
use natbox_wire::{DropReason, Packet};

const ROUTER: &str = "203.0.113.77";

fn errors(inbound: IcmpErrors, outbound: IcmpErrors) -> Behavior {
    Behavior { icmp_error: PerDirection { inbound, outbound }, ip_id: IpId::Copy, ..Behavior::default() }
}

/// What an error about X1's packet to Y1 looks like inside.
fn told_inside(behavior: Behavior) -> Result<Packet, DropReason> {
    let mut nat = Rig::new(behavior);
    let mut sent = udp(X1, Y1);
    nat.outbound(&mut sent);
    let mut told = error(ROUTER, &sent);
    match nat.inbound(&mut told) {
        Verdict::Drop(refusal) => Err(refusal.reason),
        verdict => {
            forwarded(verdict);
            Ok(told)
        }
    }
}

/// What an error about Y1's packet to X1 looks like outside, and where that packet was sent.
fn told_outside(behavior: Behavior) -> (Result<Packet, DropReason>, Packet) {
    let mut nat = Rig::new(behavior);
    let external = nat.send(udp(X1, Y1));
    let mut came = udp(Y1, external);
    let before = came.clone();
    nat.inbound(&mut came);
    let mut told = error("10.0.0.2", &came);
    let told = match nat.outbound(&mut told) {
        Verdict::Drop(refusal) => Err(refusal.reason),
        verdict => {
            forwarded(verdict);
            Ok(told)
        }
    };
    (told, before)
}

#[test]
fn errors_are_dropped_in_the_direction_that_says_so() {
    use IcmpErrors::{Drop, Translate};
    assert_eq!(told_inside(errors(Drop, Translate)), Err(DropReason::IcmpErrorOff));
    assert!(told_outside(errors(Drop, Translate)).0.is_ok());
    assert_eq!(told_outside(errors(Translate, Drop)).0, Err(DropReason::IcmpErrorOff));
    assert!(told_inside(errors(Translate, Drop)).is_ok());
}

#[test]
fn outer_only_leaves_the_quote_as_the_other_side_knows_it() {
    let told = told_inside(errors(IcmpErrors::OuterOnly, IcmpErrors::Translate)).expect("forwarded");
    assert_eq!(told.destination(), ip("10.0.0.2"));
    assert_eq!(told.quoted().expect("a quote").source.ip(), ip(EXTERNAL));
    assert!(told.transport_checksum_ok());
    let (told, came) = told_outside(errors(IcmpErrors::Translate, IcmpErrors::OuterOnly));
    let told = told.expect("forwarded");
    assert_eq!((told.source(), told.quoted().expect("a quote").destination), (ip(EXTERNAL), at(X1)));
    assert_ne!(told.payload(), came.bytes());
}

#[test]
fn bad_inner_checksum_translates_the_quote_and_leaves_its_checksum() {
    let told = told_inside(errors(IcmpErrors::BadInnerChecksum, IcmpErrors::Translate)).expect("forwarded");
    assert_eq!(told.quoted().expect("a quote").source, at(X1));
    assert!(told.transport_checksum_ok() && !told.quoted_ip_checksum_ok());
    let (told, came) = told_outside(errors(IcmpErrors::Translate, IcmpErrors::BadInnerChecksum));
    let told = told.expect("forwarded");
    assert_eq!(told.quoted().expect("a quote").destination, came.destination_endpoint());
    assert!(told.transport_checksum_ok() && !told.quoted_ip_checksum_ok());
}

/// A hairpinned error about X1's packet to X2, as X1 gets it.
fn turned_round(behavior: Behavior) -> Result<Packet, DropReason> {
    let mut nat = Rig::new(behavior);
    let second = nat.send(udp(X2, Y1));
    let mut arrived = udp(X1, second);
    nat.outbound(&mut arrived);
    let mut told = error("10.0.0.3", &arrived);
    match nat.outbound(&mut told) {
        Verdict::Drop(refusal) => Err(refusal.reason),
        Verdict::Hairpin { .. } => Ok(told),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_hairpinned_error_is_treated_as_both_directions_say() {
    use IcmpErrors::{Drop, OuterOnly, Translate};
    assert!(turned_round(errors(Translate, Translate)).is_ok());
    assert_eq!(turned_round(errors(Translate, Drop)), Err(DropReason::IcmpErrorOff));
    assert_eq!(turned_round(errors(Drop, Translate)), Err(DropReason::IcmpErrorOff));
    let quote = turned_round(errors(OuterOnly, Translate)).expect("hairpinned").quoted().expect("a quote");
    assert_eq!((quote.source.ip(), quote.destination.ip()), (ip(EXTERNAL), ip(EXTERNAL)), "the way in edits nothing");
    let quote = turned_round(errors(Translate, OuterOnly)).expect("hairpinned").quoted().expect("a quote");
    assert_eq!((quote.source, quote.destination), (at(X1), at(X2)), "the way out edits nothing");
}

#[test]
fn rfc4787_req_12_no_error_ends_a_mapping_unless_the_box_is_so_broken() {
    for (icmp_kills_mapping, ends) in [(Switch::Off, 0), (Switch::On, 1)] {
        let mut nat = Rig::new(Behavior { icmp_kills_mapping, ..Behavior::default() });
        let mut sent = udp(X1, Y1);
        nat.outbound(&mut sent);
        let external = sent.source_endpoint();
        forwarded(nat.inbound(&mut error(ROUTER, &sent)));
        let ended = nat.wait(Duration::ZERO);
        assert_eq!(ended.len(), ends);
        assert!(ended.iter().all(|one| one.why == MappingEnd::Killed && one.mapping.external == external));
        let still = nat.receive(udp(Y1, external));
        assert_eq!(still, if ends == 0 { Ok(at(X1)) } else { Err(DropReason::NoMapping) });
        assert_eq!(nat.send(udp(X1, Y1)) == external, ends == 0);
    }
}

#[test]
fn an_error_that_dies_itself_kills_nothing() {
    let mut nat = Rig::new(Behavior { icmp_kills_mapping: Switch::On, ..Behavior::default() });
    let mut sent = udp(X1, Y1);
    nat.outbound(&mut sent);
    let mut spoilt = error(ROUTER, &sent).into_bytes();
    *spoilt.last_mut().expect("bytes") ^= 1;
    nat.inbound(&mut Packet::parse(spoilt).expect("a packet"));
    assert!(nat.wait(Duration::ZERO).is_empty() && nat.nat.mappings().len() == 1);
}

#[test]
fn rfc4787_req_12a_errors_come_from_anybody_unless_their_source_is_filtered() {
    for (icmp_source_filter, stranger) in [(Switch::Off, None), (Switch::On, Some(DropReason::Filtered))] {
        let mut nat = Rig::new(Behavior { icmp_source_filter, ..Behavior::default() });
        let mut sent = udp(X1, Y1);
        nat.outbound(&mut sent);
        forwarded(nat.inbound(&mut error("192.0.2.1", &sent)));
        match (nat.inbound(&mut error(ROUTER, &sent)), stranger) {
            (Verdict::Forward(_), None) => {}
            (Verdict::Drop(refusal), Some(reason)) => {
                assert_eq!((refusal.reason, refusal.mapping), (reason, Some(nat.nat.mappings()[0].id)));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn rfc5508_req_06_and_rfc7857_req_07_1_errors_restart_no_timer_unless_the_box_is_so_broken() {
    for outward in [false, true] {
        for refresh_on_error in [Switch::Off, Switch::On] {
            // The error counts as a packet from its side would, where any from there counts.
            let refresh = if outward { Refresh::Outbound } else { Refresh::Inbound };
            let mut nat = Rig::new(Behavior { refresh_on_error, refresh, ..Behavior::default() });
            let mut sent = udp(X1, Y1);
            nat.outbound(&mut sent);
            let mut came = udp(Y1, sent.source_endpoint());
            nat.inbound(&mut came);
            nat.wait_seconds(200);
            let told = if outward {
                nat.outbound(&mut error("10.0.0.2", &came))
            } else {
                nat.inbound(&mut error(ROUTER, &sent))
            };
            forwarded(told);
            nat.wait_seconds(299);
            let alive = !nat.nat.mappings().is_empty();
            assert_eq!(alive, refresh_on_error == Switch::On, "outward {outward}");
            nat.wait_seconds(1);
            assert!(nat.nat.mappings().is_empty());
        }
    }
}
