//! What happened to each packet, in one line.

use natbox::capture::frames;
use natbox::record::{DropSite, Limits, Log, Names, What, comment, dropped};
use natbox_nat::behavior::{FilterScope, Filtering};
use natbox_nat::{Behavior, MappingEnd, MappingId};
use natbox_wire::build::{self, IpFields};
use natbox_wire::{DropReason, Time, Word};
use natbox_world::note::{Event, LinkFate, Note, Observer as _, Outcome, PacketId, PacketRef};

use super::scene::*;

fn comments(log: &Log, names: &Names) -> Vec<String> {
    log.records().iter().map(|record| comment(record, names)).collect()
}

#[test]
fn every_step_of_a_walk_says_what_happened() {
    let told = comments(&walk(Limits::TIMELINE), &names());
    let expected = [
        "sent by alice",
        "10.0.0.2:5000 -> 198.18.0.3:40001, new mapping #4",
        "10.0.0.2:5000 -> 198.18.0.3:40001, new mapping #4",
        "routed by internet",
        "routed by internet",
        "delivered to relay",
        "sent by relay",
        "dropped at home-a: filtered (address-and-port-dependent): 198.18.0.9:7778 has not been contacted from #4",
        "sent by alice",
        "10.0.0.2:5000 -> 198.18.0.3:40001, mapping #4",
        "dropped on the link of home-a:outside: loss: lost by the link's configured chance",
        "dropped at internet: private-destination: 10.1.0.2 is a private address (RFC 1918), which means nothing here",
        "mapping #4 10.0.0.2:5000 -> 198.18.0.3:40001 of home-a ended: it was idle for its whole lifetime",
        "dropped at home-a: no-mapping: 198.18.0.3:40001 was mapping #4, which ended at 0.070s: it was idle for its \
         whole lifetime",
        "dropped at alice: no-route: no route to 203.0.113.1",
    ];
    assert_eq!(told, expected);
}

#[test]
fn an_inbound_packet_shows_the_destination_that_changed() {
    let mut diary = Diary::new(Limits::TIMELINE);
    diary.received(HOME_A, OUTSIDE, 1, &udp(RELAY_7777, EXTERNAL), Outcome::Translated(by_mapping(4, false)));
    diary.sent(HOME_A, INSIDE, 1, &udp(RELAY_7777, INTERNAL));
    let told = comments(&diary.log(), &names());
    assert_eq!(told, ["198.18.0.3:40001 -> 10.0.0.2:5000, mapping #4"; 2]);
}

#[test]
fn a_hairpinned_packet_shows_both_mappings() {
    let mut diary = Diary::new(Limits::TIMELINE);
    let outcome = Outcome::Hairpinned { source: by_mapping(4, true), destination: by_mapping(5, false) };
    diary.received(HOME_A, INSIDE, 1, &udp(INTERNAL, "198.18.0.3:40002"), outcome);
    diary.sent(HOME_A, INSIDE, 1, &udp(EXTERNAL, "10.0.0.3:6000"));
    let told = comments(&diary.log(), &names());
    let line = "hairpinned: 10.0.0.2:5000 -> 198.18.0.3:40001, new mapping #4; \
                198.18.0.3:40002 -> 10.0.0.3:6000, mapping #5";
    assert_eq!(told, [line; 2]);
}

#[test]
fn a_translated_echo_shows_the_side_that_changed_though_its_identifier_stands_for_both() {
    let echo = |request, from: &str, to: &str, id| {
        build::echo(request, address(from), address(to), IpFields::default(), id, 0, b"").unwrap().into_bytes()
    };
    let mut diary = Diary::new(Limits::TIMELINE);
    let (inside, outside) = (echo(true, "10.0.0.2", "198.18.0.9", 7), echo(true, "198.18.0.3", "198.18.0.9", 9));
    diary.received(HOME_A, INSIDE, 1, &inside, Outcome::Translated(by_mapping(4, true)));
    diary.sent(HOME_A, OUTSIDE, 1, &outside);
    let (outside, inside) = (echo(false, "198.18.0.9", "198.18.0.3", 9), echo(false, "198.18.0.9", "10.0.0.2", 7));
    diary.received(HOME_A, OUTSIDE, 2, &outside, Outcome::Translated(by_mapping(4, false)));
    diary.sent(HOME_A, INSIDE, 2, &inside);
    let (there, back) = ("10.0.0.2:7 -> 198.18.0.3:9, new mapping #4", "198.18.0.3:9 -> 10.0.0.2:7, mapping #4");
    assert_eq!(comments(&diary.log(), &names()), [there, there, back, back]);
}

#[test]
fn a_packet_that_was_held_tells_what_became_of_it_and_stands_once_in_a_capture() {
    let mut diary = Diary::new(Limits::CAPTURE);
    let (before, after) = (udp(INTERNAL, RELAY_7777), udp(EXTERNAL, RELAY_7777));
    let released = |id, bytes, outcome| {
        let packet = PacketRef { id: PacketId(id), cause: None, bytes };
        Event::Released { packet, outcome }
    };
    diary.received(HOME_A, INSIDE, 1, &before, Outcome::Held);
    diary.at(70).note(HOME_A, released(1, &before, Outcome::Translated(by_mapping(4, false))));
    diary.sent(HOME_A, OUTSIDE, 1, &after);
    diary.received(HOME_A, INSIDE, 2, &before, Outcome::Held);
    diary.note(HOME_A, released(2, &before, refused(DropReason::ReassemblyTimeout, None)));
    diary.note(HOME_A, released(3, &before, Outcome::Dropped(DropReason::Rebooted)));
    let packet = PacketRef { id: PacketId(4), cause: None, bytes: &after };
    diary.note(HOME_A, Event::Made { packet, mapping: MappingId(4) });
    diary.sent(HOME_A, OUTSIDE, 4, &after);
    let (log, translated) = (diary.log(), "10.0.0.2:5000 -> 198.18.0.3:40001, mapping #4");
    let told = comments(&log, &names());
    assert_eq!(
        told,
        [
            "held at home-a",
            translated,
            translated,
            "held at home-a",
            "dropped at home-a: reassembly-timeout: the other fragments did not come in time",
            "dropped at home-a: rebooted: held by a box that has rebooted",
            "made by home-a on account of mapping #4",
            "sent by home-a on account of mapping #4",
        ]
    );
    let drops: Vec<DropReason> = log.drops(None, None).map(|(_, _, drop)| drop.reason).collect();
    assert_eq!(drops, [DropReason::ReassemblyTimeout, DropReason::Rebooted]);
    let names = names();
    assert_eq!(frames(&log, &names).count(), 6, "what goes on is shown as it leaves, not twice");
}

#[test]
fn an_instant_is_told_to_the_microsecond_at_most() {
    let mut diary = Diary::new(Limits::TIMELINE);
    let at = Time::from_nanos(70_000_999);
    diary.recorder.clone().note(&Note { at, node: HOME_A, event: Event::MappingEnded(ended(4, MappingEnd::Expired)) });
    diary.at(80).received(HOME_A, OUTSIDE, 5, &udp(RELAY_7777, EXTERNAL), refused(DropReason::NoMapping, None));
    let told = comments(&diary.log(), &names()).pop().unwrap();
    assert!(told.contains("was mapping #4, which ended at 0.070s: "), "{told}");
}

#[test]
fn a_firewall_that_changes_no_address_says_so() {
    let mut diary = Diary::new(Limits::TIMELINE);
    let bytes = udp("[2001:db8:1::2]:5000", "[2001:db8::9]:7777");
    diary.received(HOME_A, INSIDE, 1, &bytes, Outcome::Translated(by_mapping(1, true)));
    diary.sent(HOME_A, OUTSIDE, 1, &bytes);
    assert_eq!(comments(&diary.log(), &names()), ["addresses unchanged, new mapping #1"; 2]);
}

#[test]
fn a_fragment_cut_off_behind_the_nat_shows_changed_addresses_only() {
    let mut diary = Diary::new(Limits::TIMELINE);
    diary.received(HOME_A, INSIDE, 1, &udp(INTERNAL, RELAY_7777), Outcome::Translated(by_mapping(4, false)));
    let whole = natbox_wire::Packet::parse(udp(EXTERNAL, RELAY_7777)).unwrap();
    let later = natbox_wire::build::fragments(whole, 28, 0).unwrap().pop().unwrap();
    diary.sent(HOME_A, OUTSIDE, 1, later.bytes());
    let told = comments(&diary.log(), &names());
    assert_eq!(told[1], "10.0.0.2 -> 198.18.0.3, mapping #4");
}

#[test]
fn an_answer_names_the_packet_that_caused_it() {
    let mut diary = Diary::new(Limits::TIMELINE);
    let fate = LinkFate::Duplicated { arrives: ms(1), again: ms(2) };
    diary.sent_with(RELAY, AT_RELAY, (9, Some(7)), &udp(RELAY_7777, EXTERNAL), fate);
    let log = diary.log();
    assert_eq!(comments(&log, &names()), ["sent by relay because of packet 7; the link delivers it twice"]);
    assert_eq!(log.effects(natbox_world::note::PacketId(7)), [natbox_world::note::PacketId(9)]);
}

fn refusal_after_contact(behavior: Behavior, contacted: &str, from: &str) -> String {
    let mut diary = Diary::new(Limits::TIMELINE);
    let outcome = Outcome::Translated(by_mapping(4, true));
    diary.at(1200).received(HOME_A, INSIDE, 1, &udp(INTERNAL, contacted), outcome);
    let outcome = refused(DropReason::Filtered, Some(4));
    diary.at(200_000).received(HOME_A, OUTSIDE, 2, &udp(from, EXTERNAL), outcome);
    comments(&diary.log(), &names_with(behavior)).pop().unwrap()
}

#[test]
fn a_permission_that_ended_is_told_from_one_that_never_was() {
    let by_port = Behavior { filtering: Filtering::AddressAndPortDependent.into(), ..Behavior::default() };
    let by_address = Behavior { filtering: Filtering::AddressDependent.into(), ..Behavior::default() };
    let told = refusal_after_contact(by_port.clone(), RELAY_7777, RELAY_7777);
    assert!(told.ends_with("198.18.0.9:7777 was last contacted from #4 at 1.200s, too long ago"), "{told}");
    let told = refusal_after_contact(by_port, "198.18.0.9:7778", RELAY_7777);
    assert!(told.ends_with("198.18.0.9:7777 has not been contacted from #4"), "{told}");
    let told = refusal_after_contact(by_address.clone(), "198.18.0.9:7778", RELAY_7777);
    assert!(told.ends_with("198.18.0.9 was last contacted from #4 at 1.200s, too long ago"), "{told}");
    let told = refusal_after_contact(by_address, "198.18.0.8:54", RELAY_7777);
    assert!(told.ends_with("(address-dependent): 198.18.0.9 has not been contacted from #4"), "{told}");
}

#[test]
fn permissions_kept_by_endpoint_are_explained_by_endpoint() {
    let by_endpoint = Behavior { filter_scope: FilterScope::Endpoint, ..behavior() };
    let told = refusal_after_contact(by_endpoint, "198.18.0.8:54", RELAY_7777);
    assert!(told.ends_with("has not been contacted from the internal endpoint of #4"), "{told}");
}

#[test]
fn every_reason_can_be_read_back_out_of_its_comment() {
    for &reason in DropReason::ALL {
        let mut diary = Diary::new(Limits::TIMELINE);
        let bytes = udp(RELAY_7777, EXTERNAL);
        diary.received(HOME_A, OUTSIDE, 1, &bytes, Outcome::Dropped(reason));
        diary.received(HOME_A, OUTSIDE, 2, &bytes, refused(reason, Some(4)));
        diary.sent_with(HOME_A, OUTSIDE, (3, None), &bytes, LinkFate::Dropped(reason));
        diary.dropped(HOME_A, 4, &bytes, reason);
        diary.received(HOME_A, OUTSIDE, 5, &bytes[..7], Outcome::Dropped(reason));
        let told = comments(&diary.log(), &names());
        let read = told.iter().map(|comment| dropped(comment)).collect::<Vec<_>>();
        let node = Some((DropSite::Node("home-a".to_owned()), reason));
        let link = Some((DropSite::Link("home-a:outside".to_owned()), reason));
        assert_eq!(read, [node.clone(), node.clone(), link, node.clone(), node], "{told:?}");
    }
    assert_eq!(dropped("delivered to relay"), None);
    assert_eq!(dropped("dropped at home-a: no-such-reason: really"), None);
}

#[test]
fn every_milestone_has_a_line() {
    let mut diary = Diary::new(Limits::TIMELINE);
    diary.note(HOME_A, Event::Rebooted);
    diary.note(HOME_A, Event::Readdressed);
    let (before, mut after) = (Behavior::default(), Behavior::default());
    after.filtering = Filtering::AddressDependent.into();
    diary.note(HOME_A, Event::Reconfigured { before: &before.into(), after: &after.into() });
    diary.note(HOME_A, Event::Relinked(OUTSIDE));
    diary.note(HOME_A, Event::Cut(OUTSIDE));
    diary.note(HOME_A, Event::Mended(OUTSIDE));
    diary.note(HOME_A, Event::MappingEnded(ended(1, MappingEnd::Rebooted)));
    diary.note(HOME_A, Event::MappingEnded(ended(2, MappingEnd::Readdressed)));
    let log = diary.log();
    assert!(log.records().iter().all(|record| !matches!(record.what, What::Packet(_))));
    assert_eq!(log.milestones().count(), 8);
    assert_eq!(
        comments(&log, &names()),
        [
            "home-a rebooted and lost its mappings",
            "home-a has other external addresses",
            "home-a behaves otherwise: filtering address-dependent",
            "the link of home-a:outside is another",
            "the link of home-a:outside was cut",
            "the link of home-a:outside was mended",
            "mapping #1 10.0.0.2:5000 -> 198.18.0.3:40001 of home-a ended: the NAT rebooted",
            "mapping #2 10.0.0.2:5000 -> 198.18.0.3:40001 of home-a ended: the NAT lost its external address",
        ]
    );
}

#[test]
fn a_capture_shows_each_packet_where_it_was_and_each_death_once() {
    let log = walk(Limits::CAPTURE);
    let names = names();
    let shown = frames(&log, &names)
        .map(|frame| format!("{} {} {:?}", frame.packet.unwrap(), frame.interface, frame.direction))
        .collect::<Vec<_>>();
    // What the core routed (packet 1) is not there; what it dropped (packet 4) is.
    let expected = [
        "1 alice Some(Out)",
        "1 home-a:inside Some(In)",
        "1 home-a:outside Some(Out)",
        "1 relay Some(In)",
        "2 relay Some(Out)",
        "2 home-a:outside Some(In)",
        "3 alice Some(Out)",
        "3 home-a:inside Some(In)",
        "3 home-a:outside Some(Out)",
        "4 internet Some(In)",
        "5 home-a:outside Some(In)",
        "6 alice None",
    ];
    assert_eq!(shown, expected);
    let deaths = frames(&log, &names).filter(|frame| frame.dropped().is_some()).map(|frame| frame.packet.unwrap());
    assert_eq!(deaths.collect::<Vec<_>>(), [2, 3, 4, 5, 6]);
}

#[test]
fn what_a_router_says_itself_is_in_the_capture() {
    let mut diary = Diary::new(Limits::CAPTURE);
    let bytes = udp(EXTERNAL, "10.1.0.2:7000");
    diary.received(INTERNET, OUTSIDE, 1, &bytes, Outcome::Dropped(DropReason::PrivateDestination));
    let fate = LinkFate::Carried { arrives: ms(1) };
    diary.sent_with(INTERNET, OUTSIDE, (2, Some(1)), &udp("198.18.0.1:1", EXTERNAL), fate);
    let (log, names) = (diary.log(), names());
    let shown = frames(&log, &names).map(|frame| (frame.interface.clone(), frame.comment.unwrap())).collect::<Vec<_>>();
    assert_eq!(shown[1], ("internet".to_owned(), "sent by internet because of packet 1".to_owned()));
}

#[test]
fn a_firewall_without_state_explains_itself_by_the_internal_endpoint() {
    let mut diary = Diary::new(Limits::TIMELINE);
    let bytes = udp(RELAY_7777, EXTERNAL);
    diary.received(HOME_A, OUTSIDE, 1, &bytes, refused(DropReason::Filtered, None));
    diary.at(70).note(HOME_A, Event::MappingEnded(ended(4, MappingEnd::Expired)));
    diary.received(HOME_A, OUTSIDE, 2, &bytes, refused(DropReason::Filtered, None));
    let told = comments(&diary.log(), &names());
    let how = "dropped at home-a: filtered (address-and-port-dependent): ";
    assert_eq!(told[0], format!("{how}198.18.0.9:7777 has not been contacted from 198.18.0.3:40001"));
    let ended = "198.18.0.3:40001 was mapping #4, which ended at 0.070s: it was idle for its whole lifetime";
    assert_eq!(told[2], format!("{how}{ended}"));
}
