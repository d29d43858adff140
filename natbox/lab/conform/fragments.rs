//! Fragments: those that come, and those that are made.

use std::collections::BTreeSet;
use std::sync::Arc;

use natbox_nat::{Behavior, Output, Verdict};
use natbox_wire::Packet;
use natbox_wire::build::IpFields;

use super::bench::Bench;
use super::packets::{X1, Y1, Y2, datagram, pieces, udp, with_header};
use super::rig::Rig;
use super::{Outcome, not_applicable, require, violated};

/// How many bytes behind the IP header came in, of these fragments.
fn arrived(bench: &mut Bench, pieces: impl IntoIterator<Item = Packet>) -> usize {
    let length = |packet: &Packet| packet.ip_payload().len();
    let mut bytes = 0;
    for mut piece in pieces {
        if matches!(bench.verdict_in(&mut piece), Verdict::Forward(_)) {
            bytes += length(&piece);
        }
        bytes += released(bench).map(|packet| length(&packet)).sum::<usize>();
    }
    bytes
}

pub(super) fn any_order(behavior: &Arc<Behavior>) -> Outcome {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut bench = Bench::new(behavior);
        let external = bench.send(udp(X1, Y1))?;
        let pieces = pieces(external, Y1, 7, 3000);
        let bytes = arrived(&mut bench, order.map(|index| pieces[index].clone()));
        require(bytes >= 3008, || {
            format!("of a datagram whose fragments came in the order {order:?}, {bytes} of 3008 bytes passed")
        })?;
    }
    Ok(())
}

/// Later fragments of 2,000 datagrams, none with a first.
pub(super) fn flood(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let external = bench.send(udp(X1, Y1))?;
    bench.send(udp(X1, Y2))?;
    let last = pieces(external, Y2, 0, 1400).pop().ok_or("no fragment".to_owned())?;
    for identification in 0..2000_u16 {
        let bytes = with_header(&last, |bytes| bytes[4..6].copy_from_slice(&identification.to_be_bytes()));
        arrived(&mut bench, Packet::parse(bytes));
    }
    bench.reaches(udp(Y1, external), X1).map_err(|observed| format!("under a flood of fragments, {observed}"))?;
    if arrived(&mut bench, pieces(external, Y1, 9000, 3000)) >= 3008 {
        return Ok(());
    }
    let mut calm = Bench::new(behavior);
    let external = calm.send(udp(X1, Y1))?;
    match arrived(&mut calm, pieces(external, Y1, 1, 3000)) {
        3008.. => violated("under a flood of fragments, fragments in order did not pass"),
        _ => not_applicable("no fragments pass, flood or none"),
    }
}

/// A datagram that is too big for the outside's link, and may be cut: all of it gets there, and where `order` is asked
/// for, from its begin on.
pub(super) fn cut(behavior: &Arc<Behavior>, order: bool) -> Outcome {
    const LENGTH: usize = 1300;
    let mut rig = Rig::new(behavior, 600);
    let sent = datagram(X1, Y1, IpFields { identification: 7, ..IpFields::default() }, LENGTH);
    let id = rig.send(X1, sent.into_bytes());
    let came = rig.arrived(id, Y1);
    let bytes: usize = came.iter().map(|piece| piece.ip_payload().len()).sum();
    require(came.len() > 1 && bytes == LENGTH, || {
        format!("of a datagram of {LENGTH} bytes for a link of 600, {bytes} bytes arrived in {} packets", came.len())
    })?;
    let offsets: Vec<usize> = came.iter().filter_map(Packet::fragment).map(|piece| piece.offset_bytes.into()).collect();
    require(!order || offsets.is_sorted(), || format!("its fragments were sent in the order {offsets:?}"))
}

/// Whether the fragments that a host sends have one identification outside, though it is not the host's own.
pub(super) fn one_identification(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let mut left = Vec::new();
    for mut piece in pieces(Y1, X1, 7, 3000) {
        if matches!(bench.verdict_out(&mut piece), Verdict::Forward(_)) {
            left.push(piece);
        }
        left.extend(released(&mut bench));
    }
    if left.is_empty() {
        return not_applicable("no fragments get out");
    }
    let seen: BTreeSet<_> = left.iter().map(Packet::identification).collect();
    require(seen.len() == 1, || format!("the fragments of one datagram had {} identifications", seen.len()))
}

/// What the NAT had held, and now sends on.
fn released(bench: &mut Bench) -> impl Iterator<Item = Packet> {
    bench.later().into_iter().filter_map(|later| match later.output {
        Output::Release { packet, .. } => Some(packet),
        _ => None,
    })
}
