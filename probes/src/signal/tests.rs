use std::time::Duration;

use natbox_wire::Time;
use proptest::prelude::*;

use super::order::{Order, SENDINGS, WINDOW};

fn at(millis: u64) -> Time {
    Time::ZERO + Duration::from_millis(millis)
}

#[test]
fn a_message_is_sent_again_until_it_is_heard() {
    let mut order = Order::default();
    order.push(b"one".to_vec(), at(0));
    assert_eq!(order.due(at(0)), Some((0, b"one".to_vec())));
    assert_eq!(order.due(at(499)), None);
    assert_eq!(order.next_deadline(), Some(at(500)));
    assert_eq!(order.due(at(500)), Some((0, b"one".to_vec())));
    order.heard(1);
    assert!(order.all_heard());
    assert_eq!((order.due(at(60_000)), order.next_deadline()), (None, None));
}

#[test]
fn a_message_that_nobody_hears_is_lost_after_eight_sendings() {
    let mut order = Order::default();
    order.push(b"one".to_vec(), at(0));
    let mut sent = Vec::new();
    while let Some(due) = order.next_deadline() {
        if order.is_lost(due) {
            assert_eq!(due, at(39_500));
            break;
        }
        assert!(order.due(due).is_some());
        sent.push(due.as_nanos() / 1_000_000);
    }
    assert_eq!(sent, [0, 500, 1500, 3500, 7500, 15_500, 23_500, 31_500]);
    assert_eq!(sent.len(), SENDINGS as usize);
}

#[test]
fn hearing_what_was_never_sent_changes_nothing() {
    let mut order = Order::default();
    order.push(b"one".to_vec(), at(0));
    order.heard(7);
    assert!(!order.all_heard());
    order.heard(u32::MAX);
    assert!(!order.all_heard());
}

#[test]
fn what_comes_from_beyond_the_window_is_not_kept() {
    let mut order = Order::default();
    order.came(WINDOW as u32, b"far".to_vec());
    order.came(WINDOW as u32 - 1, b"last".to_vec());
    for sequence in 0..WINDOW as u32 - 1 {
        order.came(sequence, b"near".to_vec());
    }
    let taken = std::iter::from_fn(|| order.take()).collect::<Vec<_>>();
    assert_eq!(taken.len(), WINDOW);
    assert_eq!(taken.last().map(Vec::as_slice), Some(&b"last"[..]));
}

proptest! {
    /// Messages over a network that loses, repeats and reorders: once each, in order.
    #[test]
    fn messages_arrive_once_and_in_order_whatever_the_network_does(
        count in 1usize..60,
        fates in prop::collection::vec((0u8..4, any::<usize>()), 1..400),
    ) {
        let (mut here, mut there) = (Order::default(), Order::default());
        let (mut pushed, mut came, mut network) = (0, Vec::new(), Vec::new());
        let mut now = at(0);
        for (fate, which) in fates.into_iter().chain(std::iter::repeat_n((3, 0), 400)) {
            while pushed < count && here.has_room() {
                here.push(vec![pushed as u8], now);
                pushed += 1;
            }
            while let Some(sent) = here.due(now) {
                network.push(sent);
            }
            if !network.is_empty() {
                let index = which % network.len();
                match fate {
                    0 => drop(network.remove(index)),
                    1 => there.came(network[index].0, network[index].1.clone()),
                    _ => {
                        let (sequence, payload) = network.remove(index);
                        there.came(sequence, payload);
                    }
                }
            }
            came.extend(std::iter::from_fn(|| there.take()).flatten());
            if fate > 1 {
                here.heard(there.next_in());
            }
            now = now + Duration::from_millis(40);
        }
        prop_assert!(came.iter().copied().eq(0..came.len() as u8));
        prop_assert!(here.all_heard() || here.is_lost(now) || came.len() < count);
        prop_assert!(came.len() == count || !here.all_heard());
    }
}
