//! Hairpinning: packets, queries and errors between two hosts behind one NAT.

use std::sync::Arc;

use natbox_nat::Behavior;
use natbox_wire::{Packet, Protocol};

use super::bench::{Bench, is_one_to_one};
use super::errors::shows;
use super::packets::{X1, X2_OTHER_PORT as X2, Y1, error, opener, ping, pong, udp};
use super::{Outcome, Shortfall, not_applicable, require, violated};

/// A packet from inside to an external endpoint comes back in; and as `source` asks, from its sender's external endpoint.
pub(super) fn packets(behavior: &Arc<Behavior>, protocol: Protocol, source: bool) -> Outcome {
    let mut bench = Bench::new(behavior);
    let (first, second) = (bench.send(opener(protocol, X1, Y1))?, bench.send(opener(protocol, X2, Y1))?);
    // The first packet one way may be filtered, as from outside, and opens the way back; each NAT has a second chance.
    let mut tried = [(X1, first, X2, second), (X2, second, X1, first)].into_iter().map(|(from, own, to, external)| {
        bench.turn(opener(protocol, from, external)).map(|came| (from, own, to, came))
    });
    let came = tried.by_ref().find_map(Result::ok);
    let Some((from, own, to, packet)) = came else {
        let last = bench.turn(opener(protocol, X1, second)).err().unwrap_or_default();
        return if source { not_applicable("nothing hairpins") } else { violated(last) };
    };
    let (showed, got) = (packet.source_endpoint(), packet.destination_endpoint());
    require(got == to, || format!("a packet to {to} by its external endpoint reached {got}"))?;
    // Endpoint-independent mapping or not: the external address at least is what the outside sees.
    let hidden = showed == own || (showed.ip() == own.ip() && showed != from);
    require(!source || hidden, || format!("a hairpinned packet of {from} showed the source {showed}, not {own}"))
}

/// Basic NAT turns queries round, and their replies.
pub(super) fn queries(behavior: &Arc<Behavior>) -> Outcome {
    if !is_one_to_one(behavior) {
        return not_applicable("it is asked of Basic NAT alone: an echo has one identifier for both its ends");
    }
    let mut bench = Bench::new(behavior);
    let (first, second) = (bench.send(ping(X1, Y1))?, bench.send(ping(X2, Y1))?);
    bench.turn(ping(X2, first)).ok();
    let came = bench.turn(ping(X1, second))?;
    require(came.destination() == X2.ip(), || format!("a hairpinned query went to {}", came.destination()))?;
    let back = bench.turn(pong(X2, came.source_endpoint()))?;
    require(back.destination() == X1.ip(), || format!("the reply to a hairpinned query went to {}", back.destination()))
}

/// An error about a hairpinned datagram, as it came back; and the datagram as it was sent.
fn turned(behavior: &Arc<Behavior>) -> Result<(Packet, Packet), Shortfall> {
    let skip = |why: &str| Err(Shortfall::NotApplicable(why.to_owned()));
    let mut bench = Bench::new(behavior);
    let (first, second) = (bench.send(udp(X1, Y1))?, bench.send(udp(X2, Y1))?);
    // Both have sent to the other: no filter is in the way of the second packet.
    bench.turn(udp(X2, first)).ok();
    let sent = udp(X1, second);
    let Ok(came) = bench.turn(sent.clone()) else { return skip("datagrams do not hairpin") };
    if came.source() == X1.ip() {
        return skip("hairpinned packets show their internal source: errors about them go there directly");
    }
    Ok((bench.turn(error(X2.ip(), &came))?, sent))
}

pub(super) fn errors(behavior: &Arc<Behavior>) -> Outcome {
    let (back, sent) = turned(behavior)?;
    shows(&back, &sent)
}

/// The outer destination is the sender that the quote shows.
pub(super) fn errors_arrive(behavior: &Arc<Behavior>) -> Outcome {
    let (back, _) = turned(behavior)?;
    require(back.destination() == X1.ip(), || format!("a hairpinned error went to {}", back.destination()))
}
