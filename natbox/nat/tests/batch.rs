//! A batch is nothing but its packets one after the other.

mod common;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use common::{ACK, SYN, at, ip, packet};
use natbox_nat::behavior::*;
use natbox_nat::verdict::Side;
use natbox_nat::{Behavior, Ended, Nat};
use natbox_wire::{IcmpError, Packet, Protocol, Time, Word, build};
use proptest::prelude::*;

fn word<W: Word + std::fmt::Debug>() -> impl Strategy<Value = W> {
    prop::sample::select(W::ALL)
}

prop_compose! {
    fn behaviors()(
        mapping in word::<Mapping>(), filtering in word::<Filtering>(), filter_scope in word(), session_affinity in word(),
        refresh in word(), pooling in word(), hairpin in word::<Hairpin>(),
    ) -> Behavior {
        let mut behavior = Behavior {
            mapping: mapping.into(), filtering: filtering.into(), hairpin: hairpin.into(),
            filter_scope, session_affinity, refresh, pooling, ..Behavior::default()
        };
        // So that packets from outside can name external endpoints, and sessions end on the way.
        behavior.ports.allocation = PortAllocation::Preserve;
        behavior.timeouts.udp = Duration::from_secs(9);
        behavior
    }
}

const EXTERNAL: [&str; 2] = ["198.51.100.1", "198.51.100.2"];

/// Packets of few flows, so that those of one batch open, use and share one another's sessions.
fn arrivals() -> impl Strategy<Value = (Side, Packet)> {
    let side = prop::sample::select(vec![Side::Inside, Side::Outside]);
    let protocol = prop_oneof![6 => Just(Protocol::Udp), 1 => Just(Protocol::Tcp), 1 => Just(Protocol::Icmp)];
    (side, protocol, 1..3_u8, 1..4_u16, 1..4_u8, 0..7_u8).prop_map(|(side, protocol, host, port, remote, odd)| {
        let inside = at(&format!("10.0.0.{host}:{}", 5000 + port));
        let outside = SocketAddr::new(ip(&format!("192.0.2.{}", remote / 2)), 7000 + u16::from(remote % 2));
        let external = SocketAddr::new(ip(EXTERNAL[usize::from(host % 2)]), 5000 + port);
        let flags = if odd < 2 { ACK } else { SYN };
        let packet = match (side, odd) {
            (Side::Inside, 0) => packet(protocol, inside, external, flags),
            (Side::Inside, _) => packet(protocol, inside, outside, flags),
            (Side::Outside, _) => packet(protocol, outside, external, flags),
        };
        let router = ip(if side == Side::Inside { "10.0.0.9" } else { "192.0.2.9" });
        match build::icmp_error(IcmpError::PortUnreachable, router, &packet).filter(|_| odd == 1) {
            Some(error) => (side, error),
            None => (side, packet),
        }
    })
}

fn ended(nat: &mut Nat, now: Time) -> Vec<Ended> {
    let mut all = Vec::new();
    nat.handle_timeout(now, &mut |one| all.push(one));
    all
}

proptest! {
    #[test]
    fn a_batch_is_its_packets_one_after_the_other(
        behavior in behaviors(),
        batches in prop::collection::vec((prop::collection::vec(arrivals(), 0..70), 0..6_u64, any::<bool>()), 1..8),
    ) {
        let external: Vec<IpAddr> = EXTERNAL.iter().map(|one| ip(one)).collect();
        let behavior = Arc::new(behavior);
        let [mut one_by_one, mut batched] = [(); 2].map(|()| Nat::new(behavior.clone(), &external, 1));
        let (mut now, mut verdicts) = (Time::ZERO, Vec::new());
        for (mut batch, seconds, handled) in batches {
            now = now + Duration::from_secs(seconds);
            if handled {
                prop_assert_eq!(ended(&mut one_by_one, now), ended(&mut batched, now));
            }
            let mut singles = batch.clone();
            let expected: Vec<natbox_nat::Verdict> = singles.iter_mut().map(|(side, packet)| match side {
                Side::Inside => one_by_one.outbound(packet, now),
                Side::Outside => one_by_one.inbound(packet, now),
            }).collect();
            verdicts.clear();
            batched.batch(&mut batch, now, &mut verdicts);
            prop_assert_eq!(&verdicts, &expected);
            prop_assert_eq!(batch, singles);
            prop_assert_eq!(one_by_one.mappings(), batched.mappings());
            prop_assert_eq!(one_by_one.poll_timeout(), batched.poll_timeout());
            loop {
                let output = one_by_one.poll_output();
                prop_assert_eq!(&output, &batched.poll_output());
                if output.is_none() {
                    break;
                }
            }
        }
    }
}
