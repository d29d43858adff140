//! Fragments: only the first has ports, and all must go the way that it goes (RFC 4787 REQ-14, RFC 8900 section 3.4).
//!
//! The first fragment takes the road of every packet: it opens a session, is filtered, is rewritten, its checksum mended by
//! what changed, whatever the rest of the datagram holds. The later ones get its addresses and its identification, or its
//! refusal. What was decided is remembered until every byte of the datagram has been seen, or for the time that the
//! rules give. By mode:
//!
//! * *out-of-order*: what comes before the first is held, and goes on behind it in the order of offsets.
//! * *reassemble*: all are held until the datagram is whole. In IPv4 it then goes on in one piece, which the next link
//!   may cut anew; its don't-fragment flag is cleared, for it had been cut. In IPv6, where nobody may cut it on the way,
//!   its fragments go on as they came, the first first.
//! * *collect*: the same, but in IPv4 too they go on as they came, the first first (Linux: nf_defrag_ipv4, and ip_fragment at
//!   the size of the largest).
//! * *in-order*: what comes before the first is dropped.
//! * *none*: every fragment is dropped.
//!
//! A datagram whose fragments overlap is dropped from the overlap on (RFC 5722; for IPv4 as Linux does); an exact
//! repetition, which a duplicating link makes, is none. First fragments too short for their transport header, and TCP
//! fragments that would overwrite its flags (RFC 1858, RFC 3128), are no packets to begin with: `natbox-wire` refuses them.
//!
//! No ICMP error tells of fragments that came in vain: a box in the middle is not the one that puts datagrams together
//! (RFC 1122 section 3.3.2 has the destination host speak). An ICMP error that quotes a later fragment speaks of no session
//! that could be known, and is dropped; RFC 1122 section 3.2.2 forbids sending one.

mod cache;
mod datagram;

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};

use foldhash::quality::FixedState;
use natbox_wire::{DropReason, Packet, Time, build};

use self::cache::{Cache, Filed};
use self::datagram::{Decision, Key, Place, Way};
use crate::behavior::{FragmentMode, FragmentRules};
use crate::verdict::{HoldId, Output, Refusal, Side, Translation, Verdict, refuse};

/// The most that an IP packet holds, header included.
const MAX_PACKET_BYTES: usize = 65_535;

/// What the fragments of a NAT need of the rest of it.
pub(crate) trait Road {
    /// Takes the road of a packet that is whole, or a first fragment.
    fn travel(&mut self, from: Side, packet: &mut Packet, now: Time) -> Verdict;
    /// Gives a first fragment from inside, which has its external source, the identification of its datagram.
    fn identify(&mut self, first: &mut Packet);
    /// A number for a packet that is held.
    fn hold(&mut self) -> HoldId;
    /// Where outputs go.
    fn output(&mut self) -> &mut VecDeque<Output>;
}

/// The fragments of one NAT.
#[derive(Default)]
pub(crate) struct Fragments {
    cache: Cache,
}

/// A fragment that came.
struct Coming<'a> {
    key: Key,
    place: Place,
    rules: &'a FragmentRules,
    now: Time,
}

impl Coming<'_> {
    fn is_first(&self) -> bool {
        self.place.start == 0
    }
}

impl Fragments {
    /// When held fragments are given up next.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.cache.next_deadline()
    }

    /// Gives up what is due.
    pub(crate) fn expire(&mut self, now: Time, output: &mut VecDeque<Output>) {
        self.cache.expire(now, output);
    }

    /// Waits for no datagram's fragments longer than until then.
    pub(crate) fn hasten(&mut self, latest: Time) {
        self.cache.hasten(latest);
    }

    /// The NAT has other external addresses: fragments of datagrams that went by one that is gone have no first any more.
    pub(crate) fn readdress(&mut self, external: &[IpAddr]) {
        self.cache.forget_ways(|key, way| match key.from {
            Side::Inside => way.source != key.source && !external.contains(&way.source),
            Side::Outside => way.destination != key.destination && !external.contains(&key.destination),
        });
    }

    /// A fragment from one side.
    pub(crate) fn receive(
        &mut self,
        road: &mut impl Road,
        rules: &FragmentRules,
        from: Side,
        packet: &mut Packet,
        now: Time,
    ) -> Verdict {
        self.cache.expire(now, road.output());
        let mode = match from {
            Side::Inside => rules.outbound,
            Side::Outside => rules.inbound,
        };
        if mode == FragmentMode::None {
            return drop(DropReason::FragmentUntranslatable);
        }
        let Some((key, place)) = place(from, packet) else { return drop(DropReason::BadFragment) };
        if mode == FragmentMode::InOrder && place.start != 0 && self.cache.find(key).is_none() {
            return drop(DropReason::FragmentWithoutFirst);
        }
        let coming = Coming { key, place, rules, now };
        let serial = match self.cache.file(key, place, now, rules, road.output()) {
            Ok(Filed::New(serial)) => serial,
            Ok(Filed::Again(serial)) => return self.again(road, serial, &coming, packet),
            Err(reason) => return drop(reason),
        };
        match self.cache.decision(serial) {
            Decision::Open(way) if !coming.is_first() => self.follow(serial, way, packet),
            Decision::Refused(refusal) => self.end(serial, Verdict::Drop(refusal)),
            Decision::Waiting if matches!(mode, FragmentMode::Reassemble | FragmentMode::Collect) => {
                self.collect(road, serial, &coming, mode, packet)
            }
            Decision::Open(_) | Decision::Waiting if coming.is_first() => self.lead(road, serial, &coming, packet),
            Decision::Open(_) | Decision::Waiting => self.hold(road, serial, &coming, packet),
        }
    }

    /// A fragment that has come before. What has gone through goes through again, as on a link that duplicates.
    fn again(&mut self, road: &mut impl Road, serial: u64, coming: &Coming<'_>, packet: &mut Packet) -> Verdict {
        match self.cache.decision(serial) {
            Decision::Open(way) if coming.is_first() => {
                let verdict = road.travel(coming.key.from, packet, coming.now);
                identify(way, packet);
                verdict
            }
            Decision::Open(way) => follow(way, packet),
            Decision::Refused(refusal) => Verdict::Drop(refusal),
            Decision::Waiting => drop(DropReason::FragmentRepeated),
        }
    }

    /// The first fragment decides for all; those that were held follow it.
    fn lead(&mut self, road: &mut impl Road, serial: u64, coming: &Coming<'_>, packet: &mut Packet) -> Verdict {
        let verdict = road.travel(coming.key.from, packet, coming.now);
        if matches!((coming.key.from, verdict), (Side::Inside, Verdict::Forward(_) | Verdict::Hairpin { .. })) {
            road.identify(packet);
        }
        let Some(decision) = decision(verdict, packet) else { return verdict };
        self.cache.decide(serial, decision);
        let held = self.cache.take_held(serial);
        flush(road, coming.key.from, held, decision);
        self.end(serial, verdict)
    }

    /// A later fragment goes the way of the first.
    fn follow(&mut self, serial: u64, way: Way, packet: &mut Packet) -> Verdict {
        let verdict = follow(way, packet);
        self.end(serial, verdict)
    }

    /// A fragment is kept.
    fn hold(&mut self, road: &mut impl Road, serial: u64, coming: &Coming<'_>, packet: &Packet) -> Verdict {
        let hold = road.hold();
        match self.cache.hold(serial, coming.place, (hold, packet.clone()), coming.rules, road.output()) {
            Ok(()) => Verdict::Hold(hold),
            Err(reason) => drop(reason),
        }
    }

    /// A fragment is kept until the datagram is whole.
    fn collect(
        &mut self,
        road: &mut impl Road,
        serial: u64,
        coming: &Coming<'_>,
        mode: FragmentMode,
        packet: &mut Packet,
    ) -> Verdict {
        if !self.cache.is_complete(serial) {
            return self.hold(road, serial, coming, packet);
        }
        let held = self.cache.take_held(serial);
        self.cache.forget(serial);
        match packet.is_ipv6() || mode == FragmentMode::Collect {
            false => join(road, coming, held, packet),
            true => march(road, coming, held, packet),
        }
    }

    /// After a fragment: nothing need be remembered of a datagram whose every byte was seen.
    fn end(&mut self, serial: u64, verdict: Verdict) -> Verdict {
        if self.cache.is_complete(serial) {
            self.cache.forget(serial);
        }
        verdict
    }
}

/// The datagram goes on in one piece. If it is no packet, or refused, all its fragments die.
fn join(road: &mut impl Road, coming: &Coming<'_>, held: Vec<(HoldId, Packet)>, packet: &mut Packet) -> Verdict {
    let verdict = match joined(&held, coming.place, packet) {
        Some(mut whole) => {
            let verdict = road.travel(coming.key.from, &mut whole, coming.now);
            // One that is held is held whole: the fragment is part of it, and stays as it came.
            if !matches!(verdict, Verdict::Drop(_) | Verdict::Hold(_)) {
                *packet = whole;
            }
            verdict
        }
        None => drop(DropReason::BadFragment),
    };
    let output = road.output();
    match verdict {
        Verdict::Drop(refusal) => {
            output.extend(held.into_iter().map(|one| discard(coming.key.from, one, silent(refusal))));
        }
        _ => output.extend(held.into_iter().map(|(hold, _)| Output::Joined { hold })),
    }
    verdict
}

/// The whole datagram: the held fragments in the order of their offsets, and the one that has just come.
fn joined(held: &[(HoldId, Packet)], place: Place, packet: &Packet) -> Option<Packet> {
    let (mut first, mut payload, mut pending) = (None, Vec::new(), Some(packet));
    for (_, piece) in held {
        let offset = usize::from(piece.fragment()?.offset_bytes);
        if offset > place.start {
            append(pending.take(), &mut first, &mut payload);
        }
        append(Some(piece), &mut first, &mut payload);
    }
    append(pending, &mut first, &mut payload);
    let mut whole = build::join(first?, &payload)?;
    whole.clear_dont_fragment();
    Some(whole)
}

fn append<'a>(piece: Option<&'a Packet>, first: &mut Option<&'a Packet>, payload: &mut Vec<u8>) {
    if let Some(piece) = piece {
        first.get_or_insert(piece);
        payload.extend_from_slice(piece.fragment_data());
    }
}

/// The fragments of a whole datagram go on one by one. The one that came last is held for a moment, as it may not be
/// the first.
fn march(road: &mut impl Road, coming: &Coming<'_>, mut held: Vec<(HoldId, Packet)>, packet: &Packet) -> Verdict {
    let hold = road.hold();
    let offset = |packet: &Packet| packet.fragment().map_or(0, |fragment| fragment.offset_bytes);
    let index = held.partition_point(|(_, piece)| offset(piece) < offset(packet));
    held.insert(index, (hold, packet.clone()));
    let (first, before) = held.remove(0);
    let mut after = before.clone();
    let verdict = road.travel(coming.key.from, &mut after, coming.now);
    let output = match verdict {
        Verdict::Drop(refusal) => discard(coming.key.from, (first, before), refusal),
        // Somebody else holds it under a number of its own.
        Verdict::Hold(_) => Output::Joined { hold: first },
        _ => Output::Release { hold: first, from: coming.key.from, packet: after.clone(), verdict },
    };
    road.output().push_back(output);
    flush(road, coming.key.from, held, decision(verdict, &after).unwrap_or(Decision::Waiting));
    Verdict::Hold(hold)
}

/// Held fragments go on or die as the first one did.
fn flush(road: &mut impl Road, from: Side, held: Vec<(HoldId, Packet)>, decision: Decision) {
    let output = road.output();
    for (hold, mut packet) in held {
        output.push_back(match decision {
            Decision::Open(way) => {
                let verdict = follow(way, &mut packet);
                Output::Release { hold, from, packet, verdict }
            }
            Decision::Refused(refusal) => discard(from, (hold, packet), refusal),
            Decision::Waiting => discard(from, (hold, packet), refuse(DropReason::FragmentUntranslatable)),
        });
    }
}

/// What the first fragment's verdict means for the others. `None` if it is itself kept by somebody.
fn decision(verdict: Verdict, first: &Packet) -> Option<Decision> {
    let again = |translation: Translation| Translation { new_mapping: false, ..translation };
    let verdict = match verdict {
        Verdict::Drop(refusal) => return Some(Decision::Refused(silent(refusal))),
        Verdict::Hold(_) => return None,
        Verdict::Pass => Verdict::Pass,
        Verdict::Forward(translation) => Verdict::Forward(again(translation)),
        Verdict::Hairpin { source, destination } => {
            Verdict::Hairpin { source: again(source), destination: again(destination) }
        }
    };
    let (source, destination, identification) = (first.source(), first.destination(), first.identification());
    Some(Decision::Open(Way { verdict, source, destination, identification }))
}

/// A later fragment gets what the first got.
fn follow(way: Way, packet: &mut Packet) -> Verdict {
    packet.rewrite_source(SocketAddr::new(way.source, 0));
    packet.rewrite_destination(SocketAddr::new(way.destination, 0));
    identify(way, packet);
    way.verdict
}

/// All fragments of a datagram have one identification.
fn identify(way: Way, packet: &mut Packet) {
    if let Some(identification) = way.identification.filter(|known| packet.identification() != Some(*known)) {
        packet.rewrite_identification(identification);
    }
}

/// The sender is told once.
fn silent(refusal: Refusal) -> Refusal {
    Refusal { answer: None, ..refusal }
}

fn drop(reason: DropReason) -> Verdict {
    Verdict::Drop(refuse(reason))
}

/// Which datagram a fragment belongs to, and where in it; `None` if it is crooked.
fn place(from: Side, packet: &Packet) -> Option<(Key, Place)> {
    let fragment = packet.fragment()?;
    let data = packet.fragment_data();
    let start = usize::from(fragment.offset_bytes);
    let (end, header) = (start + data.len(), packet.bytes().len() - data.len());
    if end + header > MAX_PACKET_BYTES || data.is_empty() || (fragment.more && !data.len().is_multiple_of(8)) {
        return None;
    }
    let key = Key {
        from,
        source: packet.source(),
        destination: packet.destination(),
        protocol: if packet.is_ipv6() { 0 } else { packet.protocol_number() },
        identification: fragment.identification,
    };
    Some((key, Place { start, end, last: !fragment.more, digest: FixedState::with_seed(0).hash_one(data) }))
}

/// A held fragment dies.
fn discard(from: Side, (hold, packet): (HoldId, Packet), refusal: Refusal) -> Output {
    Output::Discard { hold, from, packet, refusal }
}
