//! How long mappings live, and what prolongs them.

use std::net::SocketAddr;
use std::sync::Arc;

use natbox_nat::Behavior;
use natbox_wire::{Packet, Protocol};

use super::bench::Bench;
use super::packets::{X1, Y1, answer, opener, udp};

/// For how many whole seconds of silence the answer to a flow's first packet is let in: at most `limit`.
pub(super) fn lifetime_seconds(behavior: &Arc<Behavior>, protocol: Protocol, limit: u64) -> u64 {
    lifetime_towards(behavior, protocol, Y1, limit)
}

/// The same of a flow to this remote; none where policy does not let it out.
pub(super) fn lifetime_towards(behavior: &Arc<Behavior>, protocol: Protocol, to: SocketAddr, limit: u64) -> u64 {
    let lives = |seconds| {
        let mut bench = Bench::new(behavior);
        let Ok(external) = bench.send(opener(protocol, X1, to)) else { return false };
        bench.wait_seconds(seconds);
        bench.reaches(answer(protocol, to, external), X1).is_ok()
    };
    let (mut alive, mut gone) = (0, limit + 1);
    while gone - alive > 1 {
        let middle = alive + (gone - alive) / 2;
        if lives(middle) { alive = middle } else { gone = middle }
    }
    alive
}

/// Something that is done while a mapping waits for its end: with the reply that came, and the external endpoint.
pub(super) type Poke<'a> = &'a mut dyn FnMut(&mut Bench, &Packet, SocketAddr);

/// Whether something that is done every third of a mapping's life keeps it for longer; and how long it lives without.
pub(super) fn prolongs(behavior: &Arc<Behavior>, poke: Poke<'_>) -> Result<(bool, u64), String> {
    // The reply that errors are about counts in some timers: measure with it.
    let ends = |poke: Poke<'_>, seconds: u64| -> Result<bool, String> {
        let mut bench = Bench::new(behavior);
        let external = bench.send(udp(X1, Y1))?;
        let came = bench.deliver(udp(Y1, external))?;
        for _ in 0..3 {
            bench.wait_seconds(seconds / 3);
            poke(&mut bench, &came, external);
        }
        bench.wait_seconds(seconds - seconds / 3 * 3);
        Ok(bench.reaches(udp(Y1, external), X1).is_err())
    };
    let limit = lifetime_seconds(behavior, Protocol::Udp, 7200).max(3) * 4 + 12;
    let (mut alive, mut gone) = (0, limit);
    while gone - alive > 1 {
        let middle = alive + (gone - alive) / 2;
        if ends(&mut |_, _, _| {}, middle)? { gone = middle } else { alive = middle }
    }
    // Where the mapping dies in the middle of it, the last one finds none.
    Ok((!ends(poke, gone + 1)?, gone))
}
