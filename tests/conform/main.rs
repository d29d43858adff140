//! Conformance by observation: presets that conform, quirks that do not, and the ledger in docs/conformance.md.

#![allow(missing_docs, reason = "tests")]

#[path = "../common/golden.rs"]
mod golden;

use std::sync::Arc;
use std::time::Duration;

use natbox::conform::{Finding, Judgement, Level, Rfc, judge};
use natbox::nat::behavior::*;
use natbox::nat::{Behavior, preset};
use natbox::report::conform::markdown;

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
    assert_eq!(violated(&judgements, Level::Should), [""; 0], "{judgements:#?}");
    assert!(judgements.iter().filter(|one| one.finding == Finding::Met).count() > 40);
}

#[test]
fn rfc6888_meets_every_must_of_rfc_6888() {
    let judgements = judge(&named("rfc6888"), &[Rfc::Rfc6888]);
    assert_eq!(violated(&judgements, Level::Should), [""; 0], "{judgements:#?}");
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
    let musts = ["RFC4787 REQ-5", "RFC4787 REQ-9", "RFC5382 REQ-5", "RFC5382 REQ-8", "RFC5508 REQ-2"];
    assert_eq!(violated(&judgements, Level::Must), musts);
    assert!(violated(&judgements, Level::Should).contains(&"RFC7857 2.2 (wait)"), "10 s after a RST");
}

/// What a quirk on an otherwise conforming NAT violates, of MUSTs and SHOULDs.
fn with(quirk: impl FnOnce(&mut Behavior)) -> Vec<&'static str> {
    let mut behavior = Behavior::default();
    quirk(&mut behavior);
    violated(&judge(&Arc::new(behavior), &Rfc::ANY_NAT), Level::Should)
}

#[test]
fn a_quirk_of_mapping_or_filtering_violates_what_forbids_it() {
    for mapping in [Mapping::AddressDependent, Mapping::AddressAndPortDependent, Mapping::ConnectionDependent] {
        let violated = with(|it| it.mapping = mapping.into());
        assert_eq!(violated, ["RFC4787 REQ-1", "RFC5382 REQ-1", "RFC5508 REQ-1a"], "{mapping}");
    }
    for filtering in [Filtering::AddressDependent, Filtering::AddressAndPortDependent] {
        assert_eq!(with(|it| it.filtering = filtering.into()), [""; 0], "{filtering}");
    }
    let degraded = |it: &mut Behavior| {
        it.ports.allocation = PortAllocation::Preserve;
        let worst = Mapping::AddressAndPortDependent;
        it.degraded = vec![Degraded { mapping: worst, filtering: Filtering::EndpointIndependent }];
    };
    assert_eq!(with(degraded), ["RFC4787 REQ-11"]);
}

#[test]
fn a_quirk_of_ports_or_addresses_violates_what_forbids_it() {
    let taken = ["RFC4787 REQ-3", "RFC5382 REQ-7", "RFC7857 3"];
    for conflict in [PortConflict::Overload, PortConflict::OverrideOld] {
        let violated = with(|it| (it.ports.allocation, it.ports.conflict) = (PortAllocation::Preserve, conflict));
        for id in taken {
            assert!(violated.contains(&id), "{conflict}: {violated:?}");
        }
    }
    assert_eq!(with(|it| it.ports.class = PortClass::All), ["RFC4787 REQ-3a"]);
    assert_eq!(with(|it| it.ports.allocation = PortAllocation::Sequential), ["RFC7857 9"]);
    for pooling in [Pooling::Arbitrary, Pooling::ArbitraryRoundRobin, Pooling::HashSourceDestination] {
        assert_eq!(with(|it| it.pooling = pooling), ["RFC4787 REQ-2"], "{pooling}");
    }
    for exhausted in [Exhausted::DropIcmp1, Exhausted::DropSilent] {
        assert_eq!(with(|it| it.exhausted = exhausted), ["RFC5508 REQ-8"], "{exhausted}");
    }
    assert_eq!(with(|it| it.exhausted = Exhausted::EvictLru), ["RFC5508 REQ-8 (live)"]);
    let shared = |it: &mut Behavior| it.protocol_sharing = ProtocolSharing::Mapping;
    assert_eq!(with(shared), ["RFC7857 5"]);
    assert_eq!(with(|it| it.protocol_sharing = ProtocolSharing::Filtering), ["RFC7857 6"]);
}

#[test]
fn a_quirk_of_hairpinning_violates_what_forbids_it() {
    assert_eq!(with(|it| it.hairpin = Hairpin::Off.into()), ["RFC4787 REQ-9", "RFC5382 REQ-8"]);
    let internal = with(|it| it.hairpin = Hairpin::InternalSource.into());
    assert_eq!(internal, ["RFC4787 REQ-9a", "RFC5382 REQ-8a"]);
}

#[test]
fn a_short_timer_violates_what_forbids_it() {
    let seconds = Duration::from_secs;
    assert_eq!(with(|it| it.timeouts.udp = seconds(180)), ["RFC4787 REQ-5c"]);
    assert_eq!(with(|it| it.timeouts.udp = seconds(60)), ["RFC4787 REQ-5", "RFC4787 REQ-5c"]);
    assert_eq!(with(|it| it.timeouts.tcp_established = seconds(3600)), ["RFC5382 REQ-5"]);
    assert_eq!(with(|it| it.timeouts.tcp_opening = seconds(60)), ["RFC5382 REQ-5"]);
    assert_eq!(with(|it| it.timeouts.tcp_closing = seconds(60)), ["RFC5382 REQ-5", "RFC7857 2.2 (wait)"]);
    assert_eq!(with(|it| it.timeouts.tcp_reset = Some(seconds(10))), ["RFC7857 2.2 (wait)"]);
    assert_eq!(with(|it| it.timeouts.icmp = seconds(30)), ["RFC5508 REQ-2"]);
    assert_eq!(with(|it| it.refresh = Refresh::Inbound), ["RFC4787 REQ-6"]);
    assert_eq!(with(|it| it.tcp_established_on = TcpEstablishedOn::AckBothWays), ["RFC7857 2"]);
    assert_eq!(with(|it| it.refresh_on_error = Switch::On), ["RFC7857 7.1"], "inbound packets refresh nothing");
    let errors = with(|it| (it.refresh, it.refresh_on_error) = (Refresh::Both, Switch::On));
    assert_eq!(errors, ["RFC5508 REQ-6", "RFC7857 7.1"]);
    let refused = |it: &mut Behavior| {
        (it.refresh, it.refresh_on_filtered) = (Refresh::Both, Switch::On);
        it.filtering = Filtering::AddressDependent.into();
    };
    assert_eq!(with(refused), ["RFC7857 7"]);
}

#[test]
fn a_quirk_of_tcp_icmp_or_fragments_violates_what_forbids_it() {
    use TcpSimultaneousOpen::{BlockInSyn, BlockOutSynack, MistranslateOutSynack};
    for quirk in [BlockInSyn, BlockOutSynack, MistranslateOutSynack] {
        assert_eq!(with(|it| it.tcp_simopen = quirk), ["RFC5382 REQ-2a"], "{quirk}");
    }
    for quirk in [UnsolicitedSyn::IcmpNow, UnsolicitedSyn::RstNow] {
        assert_eq!(with(|it| it.unsolicited_syn = quirk), ["RFC5382 REQ-4"], "{quirk}");
    }
    let killed = with(|it| it.icmp_kills_mapping = Switch::On);
    assert_eq!(killed, ["RFC4787 REQ-12", "RFC4787 REQ-12a", "RFC5382 REQ-10", "RFC5508 REQ-6"]);
    assert_eq!(with(|it| it.icmp_source_filter = Switch::On), ["RFC4787 REQ-12a"]);
    assert_eq!(with(|it| it.icmp_verify = Switch::Off), ["RFC5508 REQ-3"]);
    assert_eq!(with(|it| it.ip_id = IpId::Copy), ["RFC7857 10"]);
    assert_eq!(with(|it| it.alg.generic = GenericAlg::RewriteText), ["RFC4787 REQ-10", "RFC5382 REQ-6"]);
    for mode in [FragmentMode::InOrder, FragmentMode::None] {
        assert_eq!(with(|it| it.fragments.inbound = mode), ["RFC4787 REQ-14"], "{mode}");
    }
    for errors in [IcmpErrors::Drop, IcmpErrors::OuterOnly] {
        let violated = with(|it| it.icmp_error = errors.into());
        for id in ["RFC5382 REQ-9", "RFC5508 REQ-4a", "RFC5508 REQ-5"] {
            assert!(violated.contains(&id), "{errors}: {violated:?}");
        }
    }
}

#[test]
fn a_quirk_of_a_carrier_violates_what_forbids_it() {
    let with = |quirk: &dyn Fn(&mut Behavior)| {
        let mut behavior = preset::find("rfc6888").expect("a preset").behavior;
        quirk(&mut behavior);
        violated(&judge(&Arc::new(behavior), &[Rfc::Rfc6888]), Level::Should)
    };
    assert_eq!(with(&|it| it.quota = Quota::default()), ["RFC6888 REQ-4"]);
    assert_eq!(with(&|it| it.ports.quarantine = Duration::ZERO), ["RFC6888 REQ-8"]);
    assert_eq!(with(&|it| it.pooling = Pooling::Arbitrary), ["RFC6888 REQ-2"]);
    assert_eq!(with(&|it| it.exhausted = Exhausted::DropIcmp13), ["RFC6888 REQ-11b"]);
    assert_eq!(with(&|it| it.filtering = Filtering::AddressDependent.into()), ["RFC6888 REQ-7"]);
    // Ports that are taken away rest, too: in the end there is none to take.
    assert_eq!(with(&|it| it.exhausted = Exhausted::EvictLru), ["RFC6888 REQ-11b", "RFC6888 REQ-11d"]);
}

/// The ledger of three presets, as `natbox conform` sees them.
#[test]
fn the_ledger_is_what_conform_finds_today() {
    let nats = ["rfc4787", "rfc6888", "linux-masquerade"].map(|name| (name, judge(&named(name), &Rfc::ALL)));
    let text = format!("{HEAD}\n{}", markdown(&nats));
    golden::golden("docs/conformance.md", text.as_bytes());
}

const HEAD: &str = "\
# Conformance

What `natbox conform` finds out about three presets, by observation: packets are sent through the NAT, time passes, and what comes
out is compared with what the RFCs require (RFC 4787, RFC 5382, RFC 5508, RFC 7857 by section, RFC 6888). A MUST NOT counts as a
MUST, a SHOULD NOT as a SHOULD. A test writes this page anew (`NATBOX_BLESS=1 cargo test --test conform`) and fails where it is stale.

`rfc4787` is meant to meet RFC 4787 to RFC 7857 and `rfc6888` RFC 6888; `linux-masquerade` is what Linux does. Where the two RFCs
contradict each other (RFC 5508 REQ-8 and RFC 6888 REQ-11b name two codes for one event) no NAT meets both.

What is not judged: links and overlapping realms, which are the gateway's (RFC 4787 REQ-7 and REQ-13, RFC 5508 REQ-10), and port
control (RFC 6888 REQ-9).
";
