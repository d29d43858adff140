//! Fragments: those that come, and those that are made.

use std::sync::Arc;

use natbox_nat::{Behavior, Output, Verdict};
use natbox_wire::Packet;
use natbox_wire::build::IpFields;

use super::bench::Bench;
use super::packets::{X1, Y1, Y2, datagram, pieces, udp};
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
        for later in bench.later() {
            if let Output::Release { packet, .. } = &later.output {
                bytes += length(packet);
            }
        }
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

/// Later fragments of 5,000 datagrams, none with a first.
pub(super) fn flood(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let external = bench.send(udp(X1, Y1))?;
    bench.send(udp(X1, Y2))?;
    for identification in 0..5000 {
        let last = pieces(external, Y2, identification, 1400).pop().expect("a fragment");
        arrived(&mut bench, [last]);
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
    let mut seen = Vec::new();
    for piece in pieces(Y1, X1, 7, 3000) {
        // What policy or a fragment rule drops has none.
        let Ok(left) = bench.out(piece) else { return not_applicable("no fragments pass") };
        seen.push(left.identification());
    }
    let one = seen.windows(2).all(|pair| pair[0] == pair[1]);
    require(one, || format!("the fragments of one datagram had the identifications {seen:?}"))
}
