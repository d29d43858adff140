//! Conformance by observation: presets that conform, quirks that do not, and the ledger in docs/conformance.md.

#![allow(missing_docs, reason = "tests")]

#[path = "../common/golden.rs"]
mod golden;
mod quirks;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use natbox::conform::{Finding, Judgement, Level, Rfc, judge};
use natbox::nat::behavior::*;
use natbox::nat::{Behavior, preset};
use natbox::report::conform::markdown;

use crate::quirks::Quirk;

fn named(name: &str) -> Arc<Behavior> {
    Arc::new(preset::find(name).expect("a preset").behavior)
}

/// What is violated at these levels.
fn violated(judgements: &[Judgement], level: Level) -> Vec<&'static str> {
    let of = |one: &&Judgement| one.level <= level && matches!(one.finding, Finding::Violated(_));
    judgements.iter().filter(of).map(|one| one.id).collect()
}

#[test]
fn rfc4787_meets_every_must_of_the_rfcs_on_any_nat() {
    let judgements = judge(&named("rfc4787"), &Rfc::ANY_NAT);
    assert_eq!(violated(&judgements, Level::Recommended), [""; 0], "{judgements:#?}");
    assert!(judgements.iter().filter(|one| one.finding == Finding::Met).count() > 90);
}

#[test]
fn rfc6888_meets_every_must_of_rfc_6888() {
    let judgements = judge(&named("rfc6888"), &[Rfc::Rfc6888]);
    assert_eq!(violated(&judgements, Level::Recommended), [""; 0], "{judgements:#?}");
}

#[test]
fn nothing_is_asked_of_a_box_that_translates_nothing() {
    for name in ["none", "symmetric-udp-firewall"] {
        for one in judge(&named(name), &Rfc::ALL) {
            assert_eq!(
                one.finding,
                Finding::NotApplicable("it translates no addresses".to_owned()),
                "{name} {}",
                one.id
            );
        }
    }
}

#[test]
fn linux_violates_its_timers_and_does_not_hairpin() {
    let judgements = judge(&named("linux-masquerade"), &Rfc::ANY_NAT);
    let musts = ["RFC4787 REQ-5", "RFC4787 REQ-9", "RFC5382 REQ-5 (transitory)", "RFC5382 REQ-8", "RFC5508 REQ-2"];
    assert_eq!(violated(&judgements, Level::Must), musts);
    assert!(violated(&judgements, Level::Should).contains(&"RFC7857 2.2 (wait)"), "10 s after a RST");
}

/// Holds what quirks violate against what they are said to.
fn hold(base: &str, rfcs: &[Rfc], quirks: &[Quirk]) {
    let base = preset::find(base).expect("a preset").behavior;
    let mut wrong = String::new();
    for (name, quirk, expected) in quirks {
        let mut behavior = base.clone();
        quirk(&mut behavior);
        assert_eq!(behavior.contradictions(), [""; 0], "{name}");
        let judgements = judge(&Arc::new(behavior), rfcs);
        let found = violated(&judgements, Level::Recommended);
        if found != *expected {
            writeln!(wrong, "{name}:\n  said {expected:?}\n  is   {found:?}").unwrap();
            for one in judgements.iter().filter(|one| found.contains(&one.id) != expected.contains(&one.id)) {
                writeln!(wrong, "    {}: {:?}", one.id, one.finding).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_quirk_of_mapping_or_filtering_violates_what_forbids_it() {
    hold("rfc4787", &Rfc::ANY_NAT, quirks::MAPPING_AND_FILTERING);
}

#[test]
fn a_quirk_of_ports_or_addresses_violates_what_forbids_it() {
    hold("rfc4787", &Rfc::ANY_NAT, quirks::PORTS_AND_ADDRESSES);
}

#[test]
fn a_quirk_of_hairpinning_violates_what_forbids_it() {
    hold("rfc4787", &Rfc::ANY_NAT, quirks::HAIRPINNING);
}

#[test]
fn a_quirk_of_timers_violates_what_forbids_it() {
    hold("rfc4787", &Rfc::ANY_NAT, quirks::TIMERS);
}

#[test]
fn a_quirk_of_tcp_violates_what_forbids_it() {
    hold("rfc4787", &Rfc::ANY_NAT, quirks::TCP);
}

#[test]
fn a_quirk_of_icmp_or_fragments_violates_what_forbids_it() {
    hold("rfc4787", &Rfc::ANY_NAT, quirks::ICMP_AND_FRAGMENTS);
}

#[test]
fn a_quirk_of_a_carrier_violates_what_forbids_it() {
    hold("rfc6888", &[Rfc::Rfc6888], quirks::CARRIER);
}

/// Every row can come out otherwise: a quirk above violates it, or it says why none can. A MAY is none to violate.
#[test]
fn every_requirement_is_violated_by_a_quirk_or_says_why_none_can() {
    let tables = [
        quirks::MAPPING_AND_FILTERING,
        quirks::PORTS_AND_ADDRESSES,
        quirks::HAIRPINNING,
        quirks::TIMERS,
        quirks::TCP,
        quirks::ICMP_AND_FRAGMENTS,
        quirks::CARRIER,
    ];
    let named: BTreeSet<&str> = tables.into_iter().flatten().flat_map(|(_, _, ids)| ids.iter().copied()).collect();
    let rows = judge(&named_once(), &Rfc::ALL);
    let untouched =
        rows.iter().filter(|row| row.level != Level::May && row.inherent.is_some() == named.contains(row.id));
    assert_eq!(untouched.map(|row| row.id).collect::<Vec<_>>(), [""; 0], "in none of the two, or in both");
    let ids: BTreeSet<&str> = rows.iter().map(|row| row.id).collect();
    assert_eq!(ids.len(), rows.len(), "every id once");
    assert!(named.is_subset(&ids));
}

/// Where nothing is let out nothing is judged: the rows alone.
fn named_once() -> Arc<Behavior> {
    named("none")
}

#[test]
fn choices_are_met_by_those_who_make_them() {
    let met = |id: &str, quirk: fn(&mut Behavior)| {
        let mut behavior = Behavior::default();
        quirk(&mut behavior);
        let rfc = Rfc::ALL.into_iter().find(|rfc| id.starts_with(&format!("RFC{}", rfc.number()))).expect("an RFC");
        let judgements = judge(&Arc::new(behavior), &[rfc]);
        let one = judgements.iter().find(|one| one.id == id).expect("a row");
        assert_eq!((one.level, &one.finding), (Level::May, &Finding::Met), "{id}");
    };
    met("RFC4787 REQ-4", |it| it.ports.parity = PortParity::Preserve);
    met("RFC4787 REQ-5a", |it| it.timeouts.udp_ports = vec![(53, Duration::from_secs(10))]);
    met("RFC4787 REQ-6a", |it| it.refresh = Refresh::Both);
    met("RFC6888 REQ-8b", |it| {
        it.ports.allocation = PortAllocation::Deterministic;
        it.ports.deterministic.first = Some(std::net::Ipv4Addr::new(10, 0, 0, 0));
        it.ports.quarantine = Duration::from_secs(120);
    });
    met("RFC7857 2 (8)", |it| it.tcp_window = TcpWindow::Liberal);
    met("RFC7857 3 (overlap)", |it| {
        (it.ports.allocation, it.ports.overlap) = (PortAllocation::Preserve, PortOverlap::ByDestination);
        it.mapping = Mapping::AddressAndPortDependent.into();
    });
}

#[test]
fn choices_that_are_not_made_are_not_violated() {
    let judgements = judge(&named("rfc4787"), &[Rfc::Rfc4787]);
    let parity = judgements.iter().find(|one| one.id == "RFC4787 REQ-4").expect("a row");
    assert!(
        matches!(&parity.finding, Finding::NotApplicable(why) if why.starts_with("a choice that it does not make"))
    );
}

/// The ledger of three presets, as `natbox conform` sees them.
#[test]
fn the_ledger_is_what_conform_finds_today() {
    let nats = ["rfc4787", "rfc6888", "linux-masquerade"].map(|name| (name, judge(&named(name), &Rfc::ALL)));
    let mut text = format!("{HEAD}\n{}\nNever violated:\n\n", markdown(&nats));
    for row in &nats[0].1 {
        if let Some(why) = row.inherent {
            writeln!(text, "* {} ({}, {}): {why}", row.id, row.level.word(), row.asks).unwrap();
        }
    }
    golden::golden("docs/conformance.md", text.as_bytes());
}

const HEAD: &str = "\
# Conformance

What `natbox conform` finds out about three presets, by observation: packets are sent through the NAT, time passes, and what comes
out is compared with what the RFCs require (RFC 4787, RFC 5382, RFC 5508, RFC 7857 by section, RFC 6888). A MUST NOT counts as a
MUST, a SHOULD NOT as a SHOULD. A test writes this page anew (`NATBOX_BLESS=1 cargo test --test conform`) and fails where it is stale.

`rfc4787` is meant to meet RFC 4787 to RFC 7857 and `rfc6888` RFC 6888; `linux-masquerade` is what Linux does. Where the two RFCs
contradict each other (RFC 5508 REQ-8 and RFC 6888 REQ-11b name two codes for one event) no NAT meets both.

RFC 6888 REQ-13 to REQ-15 compete, too: each is judged for itself.

Not applicable is what asks nothing of the NAT, or a choice (MAY) that it does not make. Port control (RFC 6888 REQ-9, RFC 7857
section 8) is judged by the request at which NAT-PMP, PCP and UPnP-IGD all end. What an RFC wants to be configurable is configured otherwise and looked at again; a log
is judged by what the list of mappings holds. RFC 7857 section 2 asks for a state machine: ten probes tell whether it is that one.

Some rows no configuration of natbox violates; they are listed last, with the reason. For every other MUST and SHOULD a test
shows a NAT that violates it.
";
