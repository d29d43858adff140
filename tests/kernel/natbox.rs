//! natbox as a box with two sides, in virtual time, with the behaviour that a variant asks of it.

use std::sync::Arc;
use std::time::Duration;

use natbox_nat::{Behavior, Nat, Verdict};
use natbox_wire::{Packet, Time};

use crate::lane::Lane;
use crate::play::{Device, Play, Side};
use crate::script::{SLOT_MILLISECONDS, Script};

/// A NAT and the time that it is.
struct Emulated {
    nat: Nat,
    now: Time,
}

impl Device for Emulated {
    fn pass(&mut self, from: Side, packet: &Packet) -> Vec<(Side, Packet)> {
        let mut packet = packet.clone();
        let (verdict, over) = match from {
            Side::Inside => (self.nat.outbound(&mut packet, self.now), Side::Outside),
            Side::Outside => (self.nat.inbound(&mut packet, self.now), Side::Inside),
        };
        match verdict {
            Verdict::Pass | Verdict::Forward(_) => vec![(over, packet)],
            Verdict::Hairpin { .. } => vec![(Side::Inside, packet)],
            Verdict::Drop(_) => Vec::new(),
        }
    }
}

/// Plays a script on natbox.
pub(crate) fn play(script: &Script, behavior: &Arc<Behavior>, seed: u64) -> Script {
    let lane = Lane(8);
    let mut device = Emulated { nat: Nat::new(behavior.clone(), &[lane.external().into()], seed), now: Time::ZERO };
    let mut play = Play::new(script, lane);
    for slot in 0..=script.last_slot() {
        let now = Time::ZERO + Duration::from_millis(SLOT_MILLISECONDS) * slot;
        while let Some(due) = device.nat.poll_timeout().filter(|due| *due <= now) {
            device.now = device.now.max(due);
            device.nat.handle_timeout(device.now, &mut |_| ());
        }
        device.now = now;
        play.play_slot(slot, &mut device);
    }
    play.finish()
}
