//! Fragments: RFC 4787 REQ-14 in every mode, and what they may cost.

mod common;

use std::time::Duration;

use common::pieces::{Seen, behavior, cut, datagram, same_datagram};
use common::*;
use natbox_nat::behavior::{Filtering, FragmentMode, FragmentRules, Hairpin, Ipv6, TranslationKind};
use natbox_nat::{Behavior, Side, Verdict};
use natbox_wire::build::{self, IpFields};
use natbox_wire::{DropReason, Packet, Protocol};
use proptest::prelude::*;
use proptest::sample::Index;

use FragmentMode::{InOrder, OutOfOrder, Reassemble};

const BOTH: [Side; 2] = [Side::Inside, Side::Outside];

/// A NAT through which X1 has sent to Y1, and the external endpoint of X1.
fn open(behavior: Behavior) -> (Rig, String) {
    let mut rig = Rig::new(behavior);
    let external = rig.send(udp(X1, Y1)).to_string();
    (rig, external)
}

/// A datagram between X1 and Y1 from one side, in fragments, and as it should arrive.
fn crossing(rig: &mut Rig, from: Side, external: &str, id: u16, length: usize, mtu: usize) -> (Vec<Packet>, Packet) {
    let mut whole = match from {
        Side::Inside => datagram(X1, Y1, id, length),
        Side::Outside => datagram(Y1, external, id, length),
    };
    let pieces = cut(&whole, mtu);
    match from {
        Side::Inside => forwarded(rig.outbound(&mut whole)),
        Side::Outside => forwarded(rig.inbound(&mut whole)),
    };
    (pieces, whole)
}

/// Fragments in this order.
fn ordered(pieces: &[Packet], order: &[usize]) -> Vec<Packet> {
    order.iter().map(|index| pieces[*index].clone()).collect()
}

#[test]
fn early_fragments_are_held_and_go_on_behind_the_first_in_the_order_of_offsets() {
    for from in BOTH {
        let (mut rig, external) = open(behavior(OutOfOrder));
        let (pieces, whole) = crossing(&mut rig, from, &external, 9, 100, 48);
        let mut seen = Seen::of(&mut rig, from, ordered(&pieces, &[3, 1, 2]));
        assert_eq!((seen.out.len(), seen.held.len()), (0, 3));
        seen.take(&mut rig, from, pieces[0].clone());
        assert_eq!((seen.offsets(), seen.held.len()), (vec![0, 24, 48, 72], 0));
        seen.take(&mut rig, from, pieces[4].clone());
        assert!(same_datagram(&seen.joined().expect("a whole datagram"), &whole));
    }
}

#[test]
fn fragments_are_put_together_and_go_on_as_one_packet_which_the_next_link_may_cut() {
    for from in BOTH {
        let (mut rig, external) = open(behavior(Reassemble));
        let (pieces, whole) = crossing(&mut rig, from, &external, 9, 3000, 1500);
        let seen = Seen::of(&mut rig, from, ordered(&pieces, &[2, 0, 1]));
        assert_eq!((seen.out.len(), seen.held.len(), seen.dropped.len()), (1, 0, 0));
        assert!(same_datagram(&seen.out[0], &whole) && !seen.out[0].is_fragment());
        assert_eq!(cut(&seen.out[0], 1000).len(), 4);
    }
}

#[test]
fn a_box_that_holds_none_drops_what_comes_before_the_first_and_passes_the_rest_in_any_order() {
    for from in BOTH {
        let (mut rig, external) = open(behavior(InOrder));
        let (pieces, whole) = crossing(&mut rig, from, &external, 9, 100, 48);
        let mut seen = Seen::of(&mut rig, from, ordered(&pieces, &[1]));
        assert_eq!((seen.dropped.as_slice(), rig.nat.poll_wake()), (&[DropReason::FragmentWithoutFirst][..], None));
        ordered(&pieces, &[0, 3, 2, 4, 1]).into_iter().for_each(|piece| seen.take(&mut rig, from, piece));
        assert_eq!(seen.offsets(), [0, 72, 48, 96, 24]);
        assert!(same_datagram(&seen.joined().expect("a whole datagram"), &whole));
    }
}

#[test]
fn later_fragments_do_not_leave_by_an_address_that_the_nat_has_lost() {
    let (mut rig, external) = open(behavior(OutOfOrder));
    let (pieces, _) = crossing(&mut rig, Side::Inside, &external, 9, 100, 48);
    let mut seen = Seen::of(&mut rig, Side::Inside, ordered(&pieces, &[0, 1]));
    assert_eq!(seen.out.len(), 2);
    rig.nat.readdress(&[ip("198.51.100.9")], &mut |_| {});
    seen.take(&mut rig, Side::Inside, pieces[2].clone());
    assert_eq!((seen.out.len(), seen.held.len()), (2, 1), "it waits for a first that will not come");
}

#[test]
fn a_box_that_knows_whole_packets_only_drops_every_fragment() {
    for from in BOTH {
        let (mut rig, external) = open(behavior(FragmentMode::None));
        let (pieces, _) = crossing(&mut rig, from, &external, 9, 100, 48);
        let seen = Seen::of(&mut rig, from, pieces);
        assert_eq!(seen.dropped, [DropReason::FragmentUntranslatable; 5]);
    }
}

#[test]
fn each_direction_has_its_own_mode() {
    let fragments = FragmentRules { inbound: FragmentMode::None, outbound: Reassemble, ..FragmentRules::default() };
    let (mut rig, external) = open(Behavior { fragments, ..Behavior::default() });
    let (pieces, _) = crossing(&mut rig, Side::Inside, &external, 9, 100, 48);
    assert_eq!(Seen::of(&mut rig, Side::Inside, pieces).out.len(), 1);
    let (pieces, _) = crossing(&mut rig, Side::Outside, &external, 9, 100, 48);
    assert_eq!(Seen::of(&mut rig, Side::Outside, pieces).dropped.len(), 5);
}

#[test]
fn all_fragments_of_a_datagram_keep_one_identification() {
    for mode in [OutOfOrder, InOrder] {
        let (mut rig, external) = open(behavior(mode));
        let (pieces, _) = crossing(&mut rig, Side::Inside, &external, 9, 100, 48);
        let seen = Seen::of(&mut rig, Side::Inside, pieces);
        let known: std::collections::BTreeSet<_> = seen.out.iter().map(Packet::identification).collect();
        assert_eq!((seen.out.len(), known.len()), (5, 1));
    }
}

#[test]
fn a_first_fragment_opens_a_session_like_any_packet_and_the_later_ones_use_it() {
    let mut rig = Rig::new(behavior(OutOfOrder));
    let mut pieces = cut(&datagram(X1, Y1, 9, 100), 48);
    let verdicts: Vec<Verdict> = pieces.iter_mut().map(|piece| rig.outbound(piece)).collect();
    let new: Vec<bool> = verdicts.into_iter().map(|verdict| forwarded(verdict).new_mapping).collect();
    assert_eq!(new, [true, false, false, false, false]);
    assert_eq!(rig.nat.mappings().len(), 1);
}

#[test]
fn what_is_refused_is_refused_as_a_whole_for_one_reason() {
    let strict = |mode| Behavior { filtering: Filtering::AddressAndPortDependent.into(), ..behavior(mode) };
    for (mode, order) in [(OutOfOrder, [1, 0, 2]), (Reassemble, [2, 1, 0]), (InOrder, [0, 2, 1])] {
        let (mut rig, external) = open(strict(mode));
        let pieces = cut(&datagram(Y2, &external, 9, 60), 48);
        let seen = Seen::of(&mut rig, Side::Outside, ordered(&pieces, &order));
        assert_eq!((seen.dropped.as_slice(), seen.held.len()), (&[DropReason::Filtered; 3][..], 0), "{mode}");
    }
}

#[test]
fn the_sender_of_a_refused_datagram_is_told_at_most_once() {
    for mode in [OutOfOrder, Reassemble, InOrder] {
        let mut rig = Rig::with_addresses(behavior(mode), &["2001:db8::1"]);
        let pieces = cut(&datagram(X1, Y1, 9, 60), 48);
        let mut answers = 0;
        for mut piece in ordered(&pieces, &[1, 0, 2]) {
            let verdict = rig.nat.outbound(&mut piece, rig.now);
            answers += usize::from(matches!(verdict, Verdict::Drop(refusal) if refusal.answer.is_some()));
            while let Some(output) = rig.nat.poll_output() {
                answers += usize::from(
                    matches!(output, natbox_nat::Output::Discard { refusal, .. } if refusal.answer.is_some()),
                );
            }
        }
        assert!(answers <= 1, "{mode}: {answers}");
    }
}

#[test]
fn an_overlap_kills_the_datagram_and_what_comes_of_it_later() {
    for mode in [OutOfOrder, Reassemble] {
        let (mut rig, external) = open(behavior(mode));
        let (small, _) = crossing(&mut rig, Side::Inside, &external, 9, 100, 48);
        let (other, _) = crossing(&mut rig, Side::Inside, &external, 9, 100, 60);
        let overlap = vec![small[1].clone(), other[1].clone(), small[0].clone(), small[3].clone()];
        let seen = Seen::of(&mut rig, Side::Inside, overlap);
        assert_eq!(seen.dropped, [DropReason::FragmentOverlap; 4], "{mode}");
        assert_eq!((seen.out.len(), seen.held.len()), (0, 0));
    }
}

#[test]
fn a_repetition_is_no_overlap_but_other_bytes_in_the_same_place_are() {
    let (mut rig, external) = open(behavior(OutOfOrder));
    let (pieces, _) = crossing(&mut rig, Side::Inside, &external, 9, 100, 48);
    let mut seen = Seen::of(&mut rig, Side::Inside, ordered(&pieces, &[1, 1]));
    assert_eq!((seen.dropped.as_slice(), seen.held.len()), (&[DropReason::FragmentRepeated][..], 1));
    ordered(&pieces, &[0, 0, 1]).into_iter().for_each(|piece| seen.take(&mut rig, Side::Inside, piece));
    assert_eq!(seen.offsets(), [0, 24, 0, 24], "what has gone through goes through again");
    let mut forged = pieces[1].clone().into_bytes();
    *forged.last_mut().expect("a byte") ^= 1;
    seen.take(&mut rig, Side::Inside, Packet::parse(forged).expect("a packet"));
    assert_eq!(seen.dropped.last(), Some(&DropReason::FragmentOverlap));
}

#[test]
fn two_ends_of_one_datagram_contradict_each_other() {
    let (mut rig, external) = open(behavior(OutOfOrder));
    let (short, _) = crossing(&mut rig, Side::Inside, &external, 9, 100, 48);
    let (long, _) = crossing(&mut rig, Side::Inside, &external, 9, 200, 48);
    let seen = Seen::of(&mut rig, Side::Inside, vec![short[4].clone(), long[6].clone()]);
    assert_eq!(seen.dropped, [DropReason::FragmentOverlap; 2]);
}

/// An IPv4 fragment by its fields.
fn fragment(protocol: u8, offset_bytes: u16, more: bool, data: &[u8]) -> Vec<u8> {
    let whole = build::ip(ip("10.0.0.2"), ip("192.0.2.1"), 253, IpFields::default(), data).expect("a packet");
    let mut bytes = whole.into_bytes();
    bytes[9] = protocol;
    bytes[6..8].copy_from_slice(&((offset_bytes / 8) | (u16::from(more) << 13)).to_be_bytes());
    bytes[10..12].fill(0);
    let sum = natbox_wire::checksum::checksum(&bytes[..20]);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes
}

#[test]
fn crooked_fragments_and_those_past_the_largest_datagram_are_dropped() {
    let crooked = [fragment(17, 8, true, &[0; 9]), fragment(17, 8, false, &[]), fragment(17, 65_528, false, &[0; 8])];
    for bytes in crooked {
        let mut rig = Rig::new(behavior(OutOfOrder));
        let seen = Seen::of(&mut rig, Side::Inside, [Packet::parse(bytes).expect("a packet")]);
        assert_eq!(seen.dropped, [DropReason::BadFragment]);
    }
    let largest = Packet::parse(fragment(17, 65_504, false, &[0; 11])).expect("a packet");
    assert_eq!(Seen::of(&mut Rig::new(behavior(OutOfOrder)), Side::Inside, [largest]).held.len(), 1);
}

#[test]
fn rfc1858_tiny_first_fragments_and_those_over_tcp_flags_are_no_packets() {
    let tiny = [fragment(6, 0, true, &[0x50; 8]), fragment(6, 0, true, &[0x50; 16]), fragment(6, 8, false, &[0; 8])];
    for bytes in tiny {
        assert_eq!(Packet::parse(bytes).expect_err("too short").reason, DropReason::BadTransportHeader);
    }
}

#[test]
fn a_whole_that_is_no_packet_dies_whole() {
    let mut rig = Rig::new(behavior(Reassemble));
    // The UDP length field announces more than there is.
    let mut first = vec![0x13, 0x88, 0x03, 0xE8, 0x40, 0x00, 0, 0];
    first.resize(24, 0);
    let pieces = [fragment(17, 24, false, &[0; 8]), fragment(17, 0, true, &first)];
    let seen = Seen::of(&mut rig, Side::Inside, pieces.map(|bytes| Packet::parse(bytes).expect("a packet")));
    assert_eq!((seen.dropped.as_slice(), seen.held.len()), (&[DropReason::BadFragment; 2][..], 0));
}

#[test]
fn fragments_that_may_not_be_fragmented_pass() {
    for (mode, packets) in [(OutOfOrder, 2), (Reassemble, 1), (InOrder, 2)] {
        let mut rig = Rig::new(behavior(mode));
        let pieces = cut(&datagram(X1, Y1, 9, 60), 60).into_iter().map(|piece| {
            let mut bytes = piece.into_bytes();
            bytes[6] |= 0x40;
            bytes[10..12].fill(0);
            let sum = natbox_wire::checksum::checksum(&bytes[..20]);
            bytes[10..12].copy_from_slice(&sum.to_be_bytes());
            Packet::parse(bytes).expect("a packet")
        });
        let seen = Seen::of(&mut rig, Side::Inside, pieces);
        assert_eq!(seen.out.len(), packets, "{mode}");
        assert!(mode == Reassemble || seen.out.iter().all(Packet::dont_fragment));
    }
}

#[test]
fn hairpinned_fragments_turn_back_like_whole_packets() {
    for mode in [OutOfOrder, Reassemble, InOrder] {
        let mut rig = Rig::new(Behavior { hairpin: Hairpin::ExternalSource.into(), ..behavior(mode) });
        let receiver = rig.send(udp(X2, Y1)).to_string();
        let whole = datagram(X1, &receiver, 9, 100);
        let pieces = cut(&whole, 48);
        let seen = Seen::of(&mut rig, Side::Inside, ordered(&pieces, &[0, 2, 1, 4, 3]));
        let joined = seen.joined().expect("a whole datagram");
        assert_eq!((joined.source().to_string(), joined.destination_endpoint()), (EXTERNAL.to_owned(), at(X2)));
        assert!(joined.payload() == whole.payload() && joined.transport_checksum_ok());
    }
}

#[test]
fn a_fragmented_ping_passes_both_ways() {
    for mode in [OutOfOrder, Reassemble, InOrder] {
        let mut rig = Rig::new(behavior(mode));
        let fields = IpFields { identification: 5, ..IpFields::default() };
        let request = build::echo(true, ip("10.0.0.2"), ip("192.0.2.1"), fields, 7, 1, &[1; 60]).expect("a packet");
        let joined = Seen::of(&mut rig, Side::Inside, cut(&request, 48)).joined().expect("a whole datagram");
        assert!(joined.transport_checksum_ok() && joined.source() == ip(EXTERNAL));
        let back =
            build::echo(false, ip("192.0.2.1"), ip(EXTERNAL), fields, joined.source_endpoint().port(), 1, &[1; 60]);
        let joined = Seen::of(&mut rig, Side::Outside, cut(&back.expect("a packet"), 48)).joined().expect("a whole");
        assert!(joined.transport_checksum_ok() && joined.destination_endpoint() == at("10.0.0.2:7"));
    }
}

#[test]
fn fragments_pass_a_firewall_of_ipv6_and_a_nat_of_ipv6() {
    let inside = "[2001:db8:1::2]:5000";
    let remote = "[2001:db8:9::1]:1000";
    for ipv6 in [Ipv6::Firewall, Ipv6::Napt] {
        for mode in [OutOfOrder, Reassemble, InOrder] {
            let mut rig = Rig::with_addresses(Behavior { ipv6, ..behavior(mode) }, &["2001:db8::1"]);
            let whole = datagram(inside, remote, 0, 3000);
            let pieces = cut(&whole, 1280);
            let order = if mode == InOrder { [0, 2, 1] } else { [2, 0, 1] };
            let seen = Seen::of(&mut rig, Side::Inside, ordered(&pieces, &order));
            assert_eq!((seen.out.len(), seen.held.len(), seen.out[0].transport_checksum_ok()), (3, 0, true));
            let joined = seen.joined().expect("a whole datagram");
            assert!(joined.payload() == whole.payload() && joined.transport_checksum_ok());
            assert_eq!(joined.source() == at(inside).ip(), ipv6 == Ipv6::Firewall);
            assert_eq!(rig.receive(udp(remote, joined.source_endpoint())), Ok(at(inside)));
        }
    }
}

#[test]
fn an_ipv6_datagram_that_is_refused_dies_whole_when_it_is_whole() {
    let behavior = Behavior { filtering: Filtering::AddressDependent.into(), ..behavior(Reassemble) };
    let mut rig = Rig::with_addresses(behavior, &["2001:db8::1"]);
    let pieces = cut(&datagram("[2001:db8:9::1]:1000", "[2001:db8:1::2]:5000", 0, 3000), 1280);
    let seen = Seen::of(&mut rig, Side::Outside, ordered(&pieces, &[1, 0, 2]));
    assert_eq!((seen.dropped.as_slice(), seen.held.len()), (&[DropReason::Filtered; 3][..], 0));
}

#[test]
fn a_router_passes_fragments_untouched() {
    let filtering = Filtering::Off.into();
    let mut rig = Rig::new(Behavior { translation: TranslationKind::None, filtering, ..behavior(FragmentMode::None) });
    for mut piece in cut(&datagram(X1, Y1, 9, 100), 48) {
        assert_eq!(rig.outbound(&mut piece), Verdict::Pass);
    }
}

// What it may cost.

#[test]
fn what_is_held_dies_at_the_timeout_which_is_announced() {
    for mode in [OutOfOrder, Reassemble] {
        let mut rules = behavior(mode);
        rules.fragments.timeout = Duration::from_secs(7);
        let (mut rig, external) = open(rules);
        let (pieces, _) = crossing(&mut rig, Side::Inside, &external, 9, 60, 48);
        let mut seen = Seen::of(&mut rig, Side::Inside, ordered(&pieces, &[1, 2]));
        assert_eq!(rig.nat.poll_wake(), Some(seconds(7)));
        rig.wait(Duration::from_nanos(6_999_999_999));
        seen.drain(&mut rig);
        assert_eq!(seen.dropped, []);
        rig.wait(Duration::from_nanos(1));
        seen.drain(&mut rig);
        assert_eq!((seen.dropped.as_slice(), seen.held.len()), (&[DropReason::ReassemblyTimeout; 2][..], 0));
        assert_eq!(rig.nat.poll_wake(), None);
    }
}

#[test]
fn what_was_decided_is_forgotten_at_the_timeout_or_when_every_byte_was_seen() {
    let (mut rig, external) = open(behavior(InOrder));
    let (pieces, _) = crossing(&mut rig, Side::Inside, &external, 9, 60, 48);
    let seen = Seen::of(&mut rig, Side::Inside, ordered(&pieces, &[0, 1, 2, 2]));
    assert_eq!((seen.out.len(), seen.dropped.as_slice()), (3, &[DropReason::FragmentWithoutFirst][..]));
    let seen = Seen::of(&mut rig, Side::Inside, ordered(&pieces, &[0, 1]));
    assert_eq!(seen.out.len(), 2);
    rig.wait_seconds(30);
    let seen = Seen::of(&mut rig, Side::Inside, ordered(&pieces, &[2]));
    assert_eq!(seen.dropped, [DropReason::FragmentWithoutFirst]);
}

#[test]
fn held_bytes_are_bounded_and_the_heaviest_source_gives_way() {
    let mut rules = behavior(OutOfOrder);
    rules.fragments = FragmentRules { max_bytes: 20_000, per_source: 1000, ..rules.fragments };
    let (mut rig, external) = open(rules);
    let other = cut(&datagram(Y2, &external, 1, 1000), 576);
    let mut seen = Seen::of(&mut rig, Side::Outside, [other[1].clone()]);
    for id in 0..100 {
        let later = cut(&datagram(Y1, &external, id, 1900), 1500).remove(1);
        seen.take(&mut rig, Side::Outside, later);
    }
    let held = seen.held.len();
    assert!((15..=45).contains(&held), "{held} held");
    assert!(seen.dropped.iter().all(|reason| *reason == DropReason::ReassemblyLimit));
    assert_eq!(seen.dropped.len(), 101 - held);
    seen.take(&mut rig, Side::Outside, other[0].clone());
    assert_eq!(seen.out.len(), 2, "the other source's fragment was still held");
}

#[test]
fn a_datagram_larger_than_the_memory_displaces_nobody() {
    let mut rules = behavior(OutOfOrder);
    rules.fragments.max_bytes = 3000;
    let (mut rig, external) = open(rules);
    let other = cut(&datagram(Y2, &external, 1, 1000), 576);
    let mut seen = Seen::of(&mut rig, Side::Outside, [other[1].clone()]);
    let large = cut(&datagram(Y1, &external, 2, 20_000), 1500);
    large.into_iter().skip(1).for_each(|piece| seen.take(&mut rig, Side::Outside, piece));
    assert!(!seen.dropped.is_empty() && seen.dropped.iter().all(|reason| *reason == DropReason::ReassemblyLimit));
    seen.take(&mut rig, Side::Outside, other[0].clone());
    assert_eq!(seen.out.len(), 2);
}

#[test]
fn datagrams_are_bounded_and_the_source_with_most_gives_way() {
    let mut rules = behavior(OutOfOrder);
    rules.fragments = FragmentRules { max_datagrams: 10, per_source: 1000, ..rules.fragments };
    let (mut rig, external) = open(rules);
    let other = cut(&datagram(Y2, &external, 1, 100), 60);
    let mut seen = Seen::of(&mut rig, Side::Outside, [other[1].clone()]);
    for id in 0..100 {
        seen.take(&mut rig, Side::Outside, cut(&datagram(Y1, &external, id, 100), 60).remove(1));
    }
    assert_eq!((seen.held.len(), seen.dropped.len()), (10, 91));
    seen.take(&mut rig, Side::Outside, other[0].clone());
    assert_eq!(seen.out.len(), 2);
}

#[test]
fn one_source_has_its_share_and_loses_its_own_oldest() {
    let mut rules = behavior(OutOfOrder);
    rules.fragments.per_source = 3;
    let (mut rig, external) = open(rules);
    let mut seen = Seen::default();
    for id in 0..5 {
        seen.take(&mut rig, Side::Outside, cut(&datagram(Y1, &external, id, 100), 60).remove(1));
    }
    assert_eq!((seen.held.len(), seen.dropped.as_slice()), (3, &[DropReason::ReassemblyLimit; 2][..]));
    seen.take(&mut rig, Side::Outside, cut(&datagram(Y1, &external, 4, 100), 60).remove(0));
    assert_eq!(seen.out.len(), 2, "the youngest is still there");
    seen.take(&mut rig, Side::Outside, cut(&datagram(Y1, &external, 0, 100), 60).remove(0));
    assert_eq!(seen.out.len(), 3, "the oldest is not");
}

#[test]
fn limits_of_nothing_let_nothing_be_held() {
    for change in [0, 1, 2] {
        let mut rules = behavior(OutOfOrder);
        match change {
            0 => rules.fragments.max_bytes = 0,
            1 => rules.fragments.max_datagrams = 0,
            _ => rules.fragments.per_source = 0,
        }
        let (mut rig, external) = open(rules);
        let seen = Seen::of(&mut rig, Side::Outside, cut(&datagram(Y1, &external, 1, 100), 60));
        assert!(seen.dropped.iter().all(|reason| *reason == DropReason::ReassemblyLimit) && seen.out.is_empty());
        assert_eq!(rig.receive(udp(Y1, &external)), Ok(at(X1)));
    }
}

#[test]
fn open_datagrams_are_the_last_to_go() {
    let mut rules = behavior(OutOfOrder);
    rules.fragments = FragmentRules { max_datagrams: 4, per_source: 4, ..rules.fragments };
    let (mut rig, external) = open(rules);
    let begun = cut(&datagram(Y1, &external, 1000, 100), 60);
    let mut seen = Seen::of(&mut rig, Side::Outside, [begun[0].clone()]);
    for id in 0..50 {
        seen.take(&mut rig, Side::Outside, cut(&datagram(Y1, &external, id, 100), 60).remove(1));
    }
    seen.take(&mut rig, Side::Outside, begun[1].clone());
    assert_eq!(seen.out.len(), 2, "the flood of its own source has not displaced it");
    for id in 2000..2010 {
        seen.take(&mut rig, Side::Outside, cut(&datagram(Y1, &external, id, 100), 60).remove(0));
    }
    seen.take(&mut rig, Side::Outside, begun[2].clone());
    assert_eq!((seen.out.len(), seen.offsets().last()), (12, Some(&0)), "ten open ones of its source have");
}

#[test]
fn a_reboot_forgets_fragments_without_a_word() {
    let (mut rig, external) = open(behavior(OutOfOrder));
    let (pieces, _) = crossing(&mut rig, Side::Inside, &external, 9, 60, 48);
    Seen::of(&mut rig, Side::Inside, ordered(&pieces, &[1]));
    rig.nat.reboot(&mut |_| ());
    assert_eq!((rig.nat.poll_wake(), rig.nat.poll_output()), (None, None));
    assert_eq!(Seen::of(&mut rig, Side::Inside, ordered(&pieces, &[0])).out.len(), 1);
}

/// A whole packet of any transport between X1 and Y1.
fn any_whole(protocol: Protocol, from: Side, external: &str, length: usize) -> Packet {
    let (source, destination) = match from {
        Side::Inside => (at(X1), at(Y1)),
        Side::Outside => (at(Y1), at(external)),
    };
    let payload: Vec<u8> = (0..length).map(|at| (at * 31) as u8).collect();
    let fields = IpFields { identification: 4321, ..IpFields::default() };
    let flags = natbox_wire::TcpFlags { psh: true, ..ACK };
    let built = match protocol {
        Protocol::Udp => build::udp(source, destination, fields, &payload),
        Protocol::Tcp => build::tcp(source, destination, fields, flags, 7, 9, 1000, &payload),
        Protocol::Icmp => {
            let id = if from == Side::Inside { source.port() } else { destination.port() };
            build::echo(from == Side::Inside, source.ip(), destination.ip(), fields, id, 1, &payload)
        }
    };
    built.expect("a packet")
}

/// A session of this protocol, and its external endpoint.
fn session(rig: &mut Rig, protocol: Protocol) -> String {
    let external = match protocol {
        Protocol::Udp => rig.send(udp(X1, Y1)),
        Protocol::Tcp => rig.send(tcp(X1, Y1, SYN)),
        Protocol::Icmp => rig.send(ping(X1, "192.0.2.1")),
    };
    if protocol == Protocol::Tcp {
        assert_eq!(rig.receive(tcp(Y1, external, SYN_ACK)), Ok(at(X1)));
    }
    external.to_string()
}

/// Cuts a packet at these places, which need not be ordered.
fn cut_at(packet: &Packet, cuts: &[Index]) -> Vec<Packet> {
    // No first fragment shorter than a TCP header with its first data.
    let units = packet.ip_payload().len() / 8;
    let mut at: Vec<usize> = cuts.iter().map(|cut| (3 + cut.index(units.saturating_sub(3).max(1))) * 8).collect();
    at.retain(|at| *at < packet.ip_payload().len());
    at.sort_unstable();
    at.dedup();
    let header = packet.bytes().len() - packet.ip_payload().len();
    let (mut rest, mut done, mut pieces) = (packet.clone(), 0, Vec::new());
    for cut in at {
        // What is left is cut in two: at the place, and all behind it.
        let mut halves = build::fragments(rest.clone(), header + cut - done, 0).expect("it may be cut").into_iter();
        pieces.extend(halves.next());
        let behind: Vec<u8> = halves.flat_map(|half| half.ip_payload().to_vec()).collect();
        rest = piece(packet, cut, &behind);
        done = cut;
    }
    pieces.push(rest);
    pieces
}

/// The end of a packet from an offset on.
fn piece(packet: &Packet, offset_bytes: usize, data: &[u8]) -> Packet {
    let header = packet.bytes().len() - packet.ip_payload().len();
    let mut bytes = packet.bytes()[..header].to_vec();
    bytes.extend_from_slice(data);
    let length = bytes.len() as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    bytes[6..8].copy_from_slice(&((offset_bytes / 8) as u16).to_be_bytes());
    bytes[10..12].fill(0);
    let sum = natbox_wire::checksum::checksum(&bytes[..header]);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    Packet::parse(bytes).expect("a packet")
}

proptest! {
    #[test]
    fn a_datagram_cut_anywhere_in_any_order_with_repetitions_arrives_as_if_it_had_been_whole(
        outbound: bool, reassemble: bool, protocol in prop::sample::select(vec![Protocol::Udp, Protocol::Tcp, Protocol::Icmp]),
        length in 40_usize..3000, cuts in prop::collection::vec(any::<Index>(), 1..6),
        order in prop::collection::vec(any::<Index>(), 0..12), last in prop::collection::vec(any::<Index>(), 12),
    ) {
        let from = if outbound { Side::Inside } else { Side::Outside };
        let mut rig = Rig::new(behavior(if reassemble { Reassemble } else { OutOfOrder }));
        let external = session(&mut rig, protocol);
        let mut whole = any_whole(protocol, from, &external, length);
        let pieces = cut_at(&whole, &cuts);
        // Some at random, repetitions among them; then all that are missing, in any order.
        let mut way: Vec<usize> = order.iter().map(|index| index.index(pieces.len())).collect();
        let mut missing: Vec<usize> = (0..pieces.len()).filter(|index| !way.contains(index)).collect();
        for index in last {
            if !missing.is_empty() {
                way.push(missing.remove(index.index(missing.len())));
            }
        }
        let seen = Seen::of(&mut rig, from, ordered(&pieces, &way));
        match from {
            Side::Inside => forwarded(rig.nat.outbound(&mut whole, rig.now)),
            Side::Outside => forwarded(rig.nat.inbound(&mut whole, rig.now)),
        };
        let joined = seen.joined();
        prop_assert!(joined.is_some(), "{way:?}: {:?} {:?}", seen.offsets(), seen.dropped);
        prop_assert!(same_datagram(&joined.expect("checked"), &whole), "{way:?}");
        prop_assert!(seen.dropped.iter().all(|reason| *reason == DropReason::FragmentRepeated), "{:?}", seen.dropped);
    }

    #[test]
    fn any_bytes_as_fragments_are_bounded_and_never_panic(
        fragments in prop::collection::vec((0_u16..40, any::<bool>(), 0_usize..40, 0_u8..3, any::<bool>()), 0..200),
        mode in prop::sample::select(vec![OutOfOrder, Reassemble, InOrder]),
    ) {
        let mut rules = behavior(mode);
        rules.fragments = FragmentRules { max_bytes: 2000, max_datagrams: 5, per_source: 3, ..rules.fragments };
        let mut rig = Rig::new(rules);
        let mut seen = Seen::default();
        for (unit, more, length, protocol, outbound) in fragments {
            let Ok(packet) = Packet::parse(fragment([17, 6, 1][usize::from(protocol)], unit * 8, more, &vec![8; length])) else { continue };
            if packet.is_fragment() {
                seen.take(&mut rig, if outbound { Side::Inside } else { Side::Outside }, packet);
                prop_assert!(seen.held.len() * 64 <= 2000);
            }
        }
        rig.wait_seconds(31);
        seen.drain(&mut rig);
        prop_assert_eq!(seen.held.len(), 0);
    }
}
