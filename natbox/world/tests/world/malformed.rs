//! Bytes that are no packets, from every interface.

use natbox_world::note::{LinkFate, Outcome};
use proptest::prelude::*;

use crate::support::*;

/// Every packet that was sent and not lost was received, and everything that was received has an outcome; so it is
/// enough that each arrival is matched.
fn accounted_for(home: &Home) -> bool {
    let (mut expected, mut received) = (0, 0);
    for seen in home.notes.all() {
        match seen {
            Seen::Sent { fate: LinkFate::Carried { .. }, .. } => expected += 1,
            Seen::Received { .. } => received += 1,
            _ => {}
        }
    }
    expected == received
}

#[test]
fn every_truncation_dies_with_a_reason_at_every_interface() {
    for whole in [ping("10.0.0.2", "198.18.0.9", 64), ping("2001:db8:1::2", "2001:db8::9", 64)] {
        for length in 0..whole.len() {
            let mut home = home(1, Links::default(), open_behavior());
            for interface in home.world.interfaces() {
                let id = home.send(interface, whole[..length].to_vec());
                let drops =
                    home.notes.outcomes(id).into_iter().map(|(_, outcome)| matches!(outcome, Outcome::Dropped(_)));
                let died = drops.collect::<Vec<_>>();
                assert!(died.iter().all(|died| *died), "{length} bytes from {interface:?}");
                assert_eq!(died.len() + home.notes.drops_of(id).len(), 1, "{length} bytes from {interface:?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_dropped_with_a_reason_or_go_their_way(
        bytes in proptest::collection::vec(any::<u8>(), 0..120),
    ) {
        let mut home = home(1, Links::default(), open_behavior());
        for interface in home.world.interfaces() {
            home.send(interface, bytes.clone());
        }
        prop_assert!(accounted_for(&home));
    }

    #[test]
    fn a_packet_with_a_wrong_byte_or_two_harms_nobody(
        ipv6: bool, places in proptest::collection::vec((0usize..70, any::<u8>()), 0..3),
    ) {
        let mut home = home(1, Links::default(), open_behavior());
        let mut bytes = match ipv6 {
            true => udp("[2001:db8:1::2]:5000", "[2001:db8::9]:9", Default::default(), 20),
            false => udp("10.0.0.2:5000", "198.18.0.9:9", Default::default(), 20),
        };
        let length = bytes.len();
        places.into_iter().for_each(|(place, value)| bytes[place % length] ^= value);
        for interface in home.world.interfaces() {
            home.send(interface, bytes.clone());
        }
        let flooded = home.notes.all().into_iter().any(|seen| matches!(seen, Seen::Sent { ref bytes, .. }
            if bytes.len() >= 20 && (bytes[16] & 0xe0 == 0xe0 || (bytes[0] >> 4 == 6 && bytes[24] == 0xff))));
        prop_assert!(flooded || accounted_for(&home));
    }
}
