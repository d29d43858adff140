//! Properties: nothing panics, nothing grows without bound, nothing happens between the announced deadlines.

use super::*;
use proptest::prelude::*;
use turn_types::attribute::EvenPort;

fn valid_datagrams(table: &mut Table) -> Vec<Vec<u8>> {
    let udp = RequestedTransport::new(RequestedTransport::UDP);
    let id = table.id();
    let peer = XorPeerAddress::new(addr(PEER), id);
    let send = Writer::new(MessageClass::Indication, SEND, id).with(&peer).with(&Data::new(b"payload"));
    vec![
        table.request(ALLOCATE, &[&udp, &EvenPort::new(true), &Lifetime::new(900)]),
        table.request(REFRESH, &[&Lifetime::new(700)]),
        table.request_as(id, CREATE_PERMISSION, &[&peer]),
        table.request_as(id, CHANNEL_BIND, &[&ChannelNumber::new(0x4000), &peer]),
        send.finish(None, true),
        b"\x40\x00\x00\x07payload".to_vec(),
    ]
}

proptest! {
    #[test]
    fn arbitrary_datagrams_never_panic(datagrams in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..20)) {
        let mut table = Table::new();
        table.allocated();
        for datagram in datagrams {
            let _ = table.send(&datagram);
        }
        prop_assert_eq!(table.server.allocation_count(), 1);
    }

    #[test]
    fn mutated_datagrams_never_panic_and_never_pass_for_authentic(
        which in 0usize..6, at in any::<prop::sample::Index>(), flip in 1u8..=255, cut in any::<prop::sample::Index>(),
    ) {
        let mut table = Table::new();
        let valid = valid_datagrams(&mut table).swap_remove(which);
        let mut flipped = valid.clone();
        let at = at.index(valid.len());
        flipped[at] ^= flip;
        let _ = table.send(&flipped);
        // A change behind MESSAGE-INTEGRITY, or of the fingerprint into something else, leaves the request authentic.
        if at < valid.len().saturating_sub(32) {
            prop_assert_eq!(table.server.allocation_count(), 0);
        }
        let _ = table.send(&valid[..cut.index(valid.len())]);
    }

    #[test]
    fn a_changed_length_or_type_of_an_attribute_never_panics(which in 0usize..6, at in 20usize..60, value in any::<u16>()) {
        let mut table = Table::new();
        table.allocated();
        let mut datagram = valid_datagrams(&mut table).swap_remove(which);
        if let Some(bytes) = datagram.get_mut(at / 2 * 2..at / 2 * 2 + 2) {
            bytes.copy_from_slice(&value.to_be_bytes());
        }
        let _ = table.send(&datagram);
    }

    #[test]
    fn nothing_happens_between_announced_deadlines(
        steps in proptest::collection::vec((0usize..6, 0u64..400_000, 0u16..4), 1..30),
        share in 0u64..1000,
    ) {
        let mut table = Table::new();
        for (which, wait_ms, client) in steps {
            table.client = SocketAddr::new(addr(CLIENT).ip(), 5000 + client);
            let datagram = valid_datagrams(&mut table).swap_remove(which);
            let _ = table.send(&datagram);
            let counts = (table.server.allocation_count(), table.server.reservation_count());
            let deadline = table.server.next_deadline();
            prop_assert_eq!(deadline.is_none(), counts == (0, 0));
            // Somewhere before the deadline: silence.
            let until = deadline.unwrap_or(table.now + seconds(10_000));
            let between = (until - table.now).mul_f64(share as f64 / 1001.0);
            table.server.handle_timeout(table.now + between);
            prop_assert_eq!(table.server.poll_output(), None);
            prop_assert_eq!((table.server.allocation_count(), table.server.reservation_count()), counts);
            prop_assert_eq!(table.server.next_deadline(), deadline);
            // At the deadline: something ends.
            if let Some(deadline) = deadline.filter(|deadline| *deadline <= table.now + Duration::from_millis(wait_ms)) {
                table.now = deadline;
                table.server.handle_timeout(deadline);
                prop_assert!((table.server.allocation_count(), table.server.reservation_count()) < counts
                    || table.server.reservation_count() < counts.1);
                table.drain();
            } else {
                table.now = table.now + Duration::from_millis(wait_ms);
            }
        }
    }

    #[test]
    fn the_state_stays_within_the_quotas(ports in proptest::collection::vec((any::<u16>(), any::<u16>()), 1..60)) {
        let quotas = super::super::Quotas { allocations: 3, allocations_per_user: 3, permissions: 4, channels: 4, ..Default::default() };
        let mut table = Table::with(ServerConfig { quotas, ..config() });
        for (client, peer) in ports {
            table.client = SocketAddr::new(addr(CLIENT).ip(), client | 1);
            let answer = table.allocate(&[]);
            prop_assert!(matches!(answer.code(), None | Some(437 | 486 | 508)));
            let peer = SocketAddr::new([203, 0, (peer >> 8) as u8, peer as u8].into(), 1);
            prop_assert!(matches!(table.permit(&[peer]).code(), None | Some(437 | 508)));
            prop_assert!(matches!(table.bind(0x4000 | (peer.port() & 0xFFF), peer).code(), None | Some(400 | 437 | 508)));
            prop_assert!(table.server.allocation_count() <= 3);
        }
    }
}
