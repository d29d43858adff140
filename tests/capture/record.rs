//! The record of a run: order, queries, limits.

use natbox::record::{Limits, Step};
use natbox_wire::DropReason;
use natbox_world::note::{Outcome, PacketId};

use super::scene::*;

#[test]
fn a_packet_is_followed_in_order_through_the_nat() {
    let log = walk(Limits::TIMELINE);
    let way = log.packet(PacketId(1)).into_iter().map(|record| record.node).collect::<Vec<_>>();
    assert_eq!(way, [ALICE, HOME_A, HOME_A, INTERNET, INTERNET, RELAY]);
    let last = log.packet(PacketId(1)).pop().unwrap().sighting().unwrap().clone();
    assert!(last.delivered() && last.step == Step::Received(Outcome::Delivered));
    assert!(log.packet(PacketId(99)).is_empty());
}

#[test]
fn an_arrival_knows_what_the_nat_made_of_it() {
    let log = walk(Limits::TIMELINE);
    let arrival = log.packet(PacketId(1))[1].sighting().unwrap().clone();
    assert_eq!(arrival.facts.unwrap().source, endpoint(INTERNAL));
    assert_eq!(arrival.beyond.unwrap().source, endpoint(EXTERNAL));
    let departure = log.packet(PacketId(1))[2].sighting().unwrap().clone();
    assert_eq!(departure.facts.unwrap().source, endpoint(EXTERNAL));
    assert_eq!(departure.beyond.unwrap().source, endpoint(INTERNAL));
}

#[test]
fn drops_are_found_by_reason_and_by_node() {
    let log = walk(Limits::TIMELINE);
    let reasons = |node| log.drops(None, node).map(|(_, _, drop)| drop.reason).collect::<Vec<_>>();
    assert_eq!(reasons(Some(HOME_A)), [DropReason::Filtered, DropReason::Loss, DropReason::NoMapping]);
    assert_eq!(reasons(Some(ALICE)), [DropReason::NoRoute]);
    assert_eq!(reasons(None).len(), 5);
    let (record, sighting, drop) = log.drops(Some(DropReason::Filtered), None).next().unwrap();
    assert_eq!((record.at, sighting.id, drop.mapping.unwrap().0, drop.on_link), (ms(25), PacketId(2), 4, false));
    assert!(log.drops(Some(DropReason::Loss), None).all(|(_, _, drop)| drop.on_link));
}

#[test]
fn milestones_are_new_mappings_and_ends() {
    let times = walk(Limits::TIMELINE).milestones().map(|record| record.at).collect::<Vec<_>>();
    assert_eq!(times, [ms(5), ms(70)]);
}

#[test]
fn past_its_limit_a_record_counts_what_it_misses() {
    let log = walk(Limits { records: 4, bytes: 0, summaries: false });
    assert_eq!(log.records().len(), 4);
    assert!(log.truncated());
    assert_eq!(log.missed().records, 11);
    let packet = udp(INTERNAL, RELAY_7777).len();
    let log = walk(Limits { records: 100, bytes: 2 * packet, summaries: false });
    let kept = log.records().iter().filter_map(|record| record.sighting()).filter(|s| s.bytes.is_some()).count();
    assert_eq!((kept, log.missed().packets, log.missed().records), (2, 12, 0));
}

#[test]
fn a_timeline_keeps_no_bytes_and_is_not_called_truncated() {
    let log = walk(Limits::TIMELINE);
    assert!(log.records().iter().filter_map(|record| record.sighting()).all(|sighting| sighting.bytes.is_none()));
    assert!(!log.truncated());
}

#[test]
fn bytes_that_are_no_packet_are_recorded_with_their_reason() {
    let mut diary = Diary::new(Limits::CAPTURE);
    diary.received(HOME_A, OUTSIDE, 1, &[0x45, 0, 0], Outcome::Dropped(DropReason::Truncated));
    let log = diary.log();
    let sighting = log.records()[0].sighting().unwrap();
    assert_eq!(sighting.facts, Err(DropReason::Truncated));
    assert_eq!(sighting.bytes.as_deref(), Some(&[0x45, 0, 0][..]));
}

#[test]
fn taking_the_log_leaves_an_empty_recorder_with_the_same_limits() {
    let mut diary = Diary::new(Limits { records: 1, bytes: 0, summaries: false });
    diary.sent(ALICE, AT_ALICE, 1, &udp(INTERNAL, RELAY_7777));
    assert_eq!(diary.log().records().len(), 1);
    diary.sent(ALICE, AT_ALICE, 2, &udp(INTERNAL, RELAY_7777));
    diary.sent(ALICE, AT_ALICE, 3, &udp(INTERNAL, RELAY_7777));
    let log = diary.log();
    assert_eq!((log.records().len(), log.missed().records), (1, 1));
}
