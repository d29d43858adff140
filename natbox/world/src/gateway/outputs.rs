//! What a gateway's NAT does with packets that it held, and of its own accord.

use natbox_nat::{HoldId, MappingId, Output, Side};
use natbox_wire::{Packet, Time};

use super::{Endpoints, Gateway};
use crate::network::Fabric;
use crate::note::{InterfaceId, PacketId};
use crate::router::Step;

/// What is known of a packet that the NAT holds, but for its content.
pub(crate) struct Held {
    pub(crate) through: InterfaceId,
    pub(crate) id: PacketId,
    pub(crate) cause: Option<PacketId>,
    endpoints: Endpoints,
    /// Its bytes as they came, for the note; empty if nobody observed it coming.
    pub(crate) bytes: Vec<u8>,
}

impl Held {
    /// What is to be known of a packet that came and has not been changed.
    pub(crate) fn new(
        through: InterfaceId,
        id: PacketId,
        cause: Option<PacketId>,
        packet: &Packet,
        bytes: Vec<u8>,
    ) -> Held {
        Held { through, id, cause, endpoints: Endpoints::of(packet), bytes }
    }
}

/// A packet that a gateway sends, or drops, and that did not come just then.
pub(crate) enum Departure {
    /// It was held.
    Held(Box<Held>, Packet, Step),
    /// The NAT made it on a mapping's account; it leaves through this interface.
    Made(InterfaceId, Packet, MappingId),
}

impl Gateway {
    /// Takes note of a packet that the NAT holds.
    pub(crate) fn hold(&mut self, hold: HoldId, held: Held) {
        self.held.insert(hold, Box::new(held));
    }

    /// The next of the NAT's outputs, brought on its way.
    pub(crate) fn next_departure(&mut self, fabric: &Fabric, now: Time) -> Option<Departure> {
        loop {
            let departure = match self.nat.poll_output()? {
                Output::Send { to: Side::Inside, packet, mapping } => {
                    Some(Departure::Made(self.inside, packet, mapping))
                }
                Output::Send { to: Side::Outside, packet, mapping } => {
                    Some(Departure::Made(self.outside, packet, mapping))
                }
                Output::Joined { hold } => {
                    self.held.remove(&hold);
                    None
                }
                Output::Discard { hold, packet, refusal, .. } => self.held.remove(&hold).map(|held| {
                    let step = self.refused_or_part(fabric, held.through, refusal, &packet, now);
                    Departure::Held(held, packet, step)
                }),
                Output::Release { hold, from, mut packet, verdict } => self.held.remove(&hold).map(|held| {
                    let step = match from {
                        Side::Inside => self.leaves_late(fabric, verdict, held.endpoints, &mut packet, now),
                        Side::Outside => self.enters(fabric, verdict, held.endpoints, &mut packet, now),
                    };
                    Departure::Held(held, packet, step)
                }),
            };
            if departure.is_some() {
                return departure;
            }
        }
    }
}
