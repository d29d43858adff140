//! What holds of every NAT: properties over random packets.

mod common;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use common::*;
use natbox_nat::behavior::*;
use natbox_nat::{Behavior, Verdict};
use natbox_wire::{Protocol, Word};
use proptest::prelude::*;

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
