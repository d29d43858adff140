//! Datagrams in pieces: cutting them, sending the pieces through a NAT, and joining what comes out.

use std::collections::VecDeque;

use natbox_nat::behavior::{FragmentMode, FragmentRules};
use natbox_nat::{Behavior, HoldId, Output, Refusal, Side, Verdict};
use natbox_wire::build::{self, IpFields};
use natbox_wire::{DropReason, Packet};

use super::{Rig, at};

/// What came out of a NAT, and what became of the rest.
#[derive(Default)]
pub(crate) struct Seen {
    /// What went on, in order.
    pub(crate) out: Vec<Packet>,
    /// Why something died, at once or later.
    pub(crate) dropped: Vec<DropReason>,
    /// What is held.
    pub(crate) held: Vec<HoldId>,
}

pub(crate) fn behavior(mode: FragmentMode) -> Behavior {
    let fragments = FragmentRules { inbound: mode, outbound: mode, ..FragmentRules::default() };
    Behavior { fragments, ..Behavior::default() }
}

/// A datagram of this many different bytes.
pub(crate) fn datagram(source: &str, destination: &str, identification: u16, length: usize) -> Packet {
    let payload: Vec<u8> = (0..length).map(|at| (at * 7 + at / 256) as u8).collect();
    let fields = IpFields { identification, ..IpFields::default() };
    build::udp(at(source), at(destination), fields, &payload).expect("endpoints of one version")
}

/// Its fragments.
pub(crate) fn cut(packet: &Packet, mtu_bytes: usize) -> Vec<Packet> {
    let identification = packet.identification().map_or(77, u32::from);
    build::fragments(packet.clone(), mtu_bytes, identification).expect("it may be cut")
}

impl Seen {
    /// What the NAT says about a packet, and what it does besides.
    pub(crate) fn take(&mut self, rig: &mut Rig, from: Side, mut packet: Packet) {
        let before = packet.clone();
        let verdict = match from {
            Side::Inside => rig.nat.outbound(&mut packet, rig.now),
            Side::Outside => rig.nat.inbound(&mut packet, rig.now),
        };
        assert!(packet == before || !matches!(verdict, Verdict::Drop(_) | Verdict::Hold(_)), "{verdict:?}");
        match verdict {
            Verdict::Drop(Refusal { reason, .. }) => self.dropped.push(reason),
            Verdict::Hold(hold) => self.held.push(hold),
            Verdict::Pass | Verdict::Forward(_) | Verdict::Hairpin { .. } => self.out.push(packet),
        }
        self.drain(rig);
    }

    /// What the NAT does of its own accord.
    pub(crate) fn drain(&mut self, rig: &mut Rig) {
        while let Some(output) = rig.nat.poll_output() {
            let mut settle = |hold| {
                let index = self.held.iter().position(|held| *held == hold).expect("one that was held");
                self.held.remove(index);
            };
            match output {
                Output::Joined { hold } => settle(hold),
                Output::Release { hold, packet, .. } => {
                    settle(hold);
                    self.out.push(packet);
                }
                Output::Discard { hold, refusal, .. } => {
                    settle(hold);
                    self.dropped.push(refusal.reason);
                }
                Output::Send { packet, .. } => panic!("nobody asked for {packet:?}"),
            }
        }
    }

    /// Sends packets through a NAT, one after the other.
    pub(crate) fn of(rig: &mut Rig, from: Side, packets: impl IntoIterator<Item = Packet>) -> Seen {
        let mut seen = Seen::default();
        packets.into_iter().for_each(|packet| seen.take(rig, from, packet));
        seen
    }

    /// Where the fragments that went on belong, in bytes; 0 for a whole packet.
    pub(crate) fn offsets(&self) -> Vec<u16> {
        self.out.iter().map(|packet| packet.fragment().map_or(0, |fragment| fragment.offset_bytes)).collect()
    }

    /// What their receiver makes of them: the first datagram that is whole.
    pub(crate) fn joined(&self) -> Option<Packet> {
        if let Some(whole) = self.out.iter().find(|packet| !packet.is_fragment()) {
            return Some(whole.clone());
        }
        let mut pieces: VecDeque<&Packet> = self.out.iter().collect();
        pieces.make_contiguous().sort_by_key(|packet| packet.fragment().map(|fragment| fragment.offset_bytes));
        let mut payload = Vec::new();
        for piece in &pieces {
            if piece.fragment().map(|fragment| usize::from(fragment.offset_bytes)) == Some(payload.len()) {
                payload.extend_from_slice(piece.fragment_data());
            }
        }
        pieces.iter().any(|piece| piece.fragment().is_some_and(|fragment| !fragment.more)).then_some(())?;
        build::join(pieces.front()?, &payload)
    }
}

/// Whether a packet carries what another does, between the same endpoints, with a right checksum.
pub(crate) fn same_datagram(one: &Packet, other: &Packet) -> bool {
    let ends = |packet: &Packet| (packet.source_endpoint(), packet.destination_endpoint());
    ends(one) == ends(other) && one.ip_payload() == other.ip_payload() && one.transport_checksum_ok()
}
