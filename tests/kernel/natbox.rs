//! natbox as a box with two sides, in virtual time, with the behaviour that a variant asks of it.

use std::sync::Arc;
use std::time::Duration;

use natbox_nat::behavior::{
    EarlyInbound, Exhausted, Filtering, Hairpin, IcmpIdentifier, Mapping, PortAllocation, PortClass, PortConflict,
    PortOverlap, Refresh, TcpEstablishedOn, TcpNoState, TcpWindow, UnsolicitedSyn, UnsolicitedUdp,
};
use natbox_nat::{Answer, Behavior, Nat, Output, Side as NatSide, Verdict};
use natbox_wire::build::{self, IpFields};
use natbox_wire::{Packet, TcpFlags, Time, Transport};

use crate::lane::{BOX_INSIDE, Lane};
use crate::play::{Device, Play, Side};
use crate::script::{SLOT_MILLISECONDS, Script};
use crate::variant;

/// A NAT and the time that it is.
struct Emulated {
    nat: Nat,
    now: Time,
}

impl Device for Emulated {
    fn pass(&mut self, from: Side, packet: &Packet) -> Vec<(Side, Packet)> {
        let mut packet = packet.clone();
        let verdict = match from {
            Side::Inside => self.nat.outbound(&mut packet, self.now),
            Side::Outside => self.nat.inbound(&mut packet, self.now),
        };
        let mut out = self.carry_out(from, packet, verdict);
        self.drain(&mut out);
        out
    }
}

impl Emulated {
    /// What a driver does with a verdict.
    fn carry_out(&self, from: Side, packet: Packet, verdict: Verdict) -> Vec<(Side, Packet)> {
        match verdict {
            Verdict::Pass | Verdict::Forward(_) if from == Side::Inside => vec![(Side::Outside, packet)],
            Verdict::Pass | Verdict::Forward(_) | Verdict::Hairpin { .. } => vec![(Side::Inside, packet)],
            Verdict::Hold(_) => Vec::new(),
            Verdict::Drop(refusal) => {
                let answer = refusal.answer.and_then(|answer| self.answer(from, &packet, answer));
                answer.map(|answer| (from, answer)).into_iter().collect()
            }
        }
    }

    /// What the sender of a refused packet is told.
    fn answer(&self, from: Side, packet: &Packet, answer: Answer) -> Option<Packet> {
        match answer {
            Answer::Icmp(error) => {
                let external = self.nat.external()[0];
                build::icmp_error(error, if from == Side::Inside { BOX_INSIDE.into() } else { external }, packet)
            }
            Answer::Reset => reset(packet),
        }
    }

    fn drain(&mut self, out: &mut Vec<(Side, Packet)>) {
        let side = |side| if side == NatSide::Inside { Side::Inside } else { Side::Outside };
        while let Some(output) = self.nat.poll_output() {
            match output {
                Output::Release { from, packet, verdict, .. } => {
                    out.extend(self.carry_out(side(from), packet, verdict))
                }
                Output::Discard { from, packet, refusal, .. } => {
                    out.extend(self.carry_out(side(from), packet, Verdict::Drop(refusal)));
                }
                Output::Joined { .. } => {}
                Output::Send { to, packet, .. } => out.push((side(to), packet)),
            }
        }
    }
}

/// The RST that answers a segment (RFC 9293 section 3.10.7.1).
fn reset(segment: &Packet) -> Option<Packet> {
    let Transport::Tcp { flags, .. } = segment.transport() else { return None };
    let none = TcpFlags::default();
    let length = segment.payload().len() as u32 + u32::from(flags.syn) + u32::from(flags.fin);
    let after = segment.tcp_sequence()?.wrapping_add(length);
    let (flags, sequence, acknowledgement) = match flags.ack {
        true => (TcpFlags { rst: true, ..none }, segment.tcp_acknowledgement()?, 0),
        false => (TcpFlags { rst: true, ack: true, ..none }, 0, after),
    };
    let (from, to) = (segment.destination_endpoint(), segment.source_endpoint());
    build::tcp(from, to, IpFields::default(), flags, sequence, acknowledgement, 0, b"")
}

/// How natbox behaves when it is to be like a variant; `None` where it has no words for it.
pub(crate) fn behavior(variant: &str) -> Option<Behavior> {
    let compared = variant::ALL.iter().find(|one| one.name == variant && one.compared)?;
    Some(compressed(linux(compared.name.contains("random"), compared.name.contains("accept"))))
}

fn linux(random: bool, accepts: bool) -> Behavior {
    let mut behavior = Behavior {
        mapping: if random { Mapping::AddressAndPortDependent } else { Mapping::EndpointIndependent }.into(),
        filtering: Filtering::AddressAndPortDependent.into(),
        hairpin: Hairpin::Off.into(),
        refresh: Refresh::Both,
        exhausted: Exhausted::DropSilent,
        early_inbound: if accepts { EarlyInbound::Remap } else { EarlyInbound::Ignore },
        unsolicited_syn: if accepts { UnsolicitedSyn::RstNow } else { UnsolicitedSyn::Drop },
        unsolicited_udp: if accepts { UnsolicitedUdp::Icmp } else { UnsolicitedUdp::Drop },
        tcp_no_state: TcpNoState::Pickup,
        tcp_established_on: TcpEstablishedOn::AckBothWays,
        tcp_window: TcpWindow::Strict,
        icmp_identifier: if random { IcmpIdentifier::Random } else { IcmpIdentifier::Preserve },
        ..Behavior::default()
    };
    behavior.ports.allocation = if random { PortAllocation::Random } else { PortAllocation::Preserve };
    behavior.ports.conflict = PortConflict::Random;
    behavior.ports.overlap = PortOverlap::ByDestination;
    behavior.ports.class = PortClass::Netfilter;
    behavior
}

/// The same behaviour with the timers that the kernel is given here.
fn compressed(mut behavior: Behavior) -> Behavior {
    let of = |name: &str| {
        let timer = variant::TIMERS.iter().find(|timer| timer.sysctl == name);
        Duration::from_secs(timer.map_or(0, |timer| timer.compressed_seconds).into())
    };
    let timeouts = &mut behavior.timeouts;
    timeouts.udp = of("udp_timeout");
    timeouts.udp_unreplied = Some(of("udp_timeout"));
    timeouts.udp_stream = Some(of("udp_timeout_stream"));
    timeouts.udp_stream_after = Duration::from_secs(2);
    timeouts.icmp = of("icmp_timeout");
    timeouts.tcp_opening = of("tcp_timeout_syn_sent");
    timeouts.tcp_partial_open = Some(of("tcp_timeout_syn_recv"));
    timeouts.tcp_established = of("tcp_timeout_established");
    timeouts.tcp_half_closed = Some(of("tcp_timeout_fin_wait"));
    timeouts.tcp_close_wait = Some(of("tcp_timeout_close_wait"));
    timeouts.tcp_closing = of("tcp_timeout_last_ack");
    timeouts.tcp_time_wait = Some(of("tcp_timeout_time_wait"));
    timeouts.tcp_reset = Some(of("tcp_timeout_close"));
    timeouts.early_inbound = of("udp_timeout");
    behavior
}

/// Plays a script on natbox; `None` if natbox has no behaviour for its variant.
pub(crate) fn play(script: &Script) -> Option<Script> {
    Some(play_with(script, &Arc::new(behavior(&script.variant)?), 1))
}

/// Whether natbox does what the script's outcomes say, with any of a few seeds: random ports coincide now and then.
pub(crate) fn agrees(said: &Script) -> bool {
    let Some(behavior) = behavior(&said.variant).map(Arc::new) else { return false };
    (1..=3).any(|seed| play_with(said, &behavior, seed).steps == said.steps)
}

fn play_with(script: &Script, behavior: &Arc<Behavior>, seed: u64) -> Script {
    let script = script.without_outcomes();
    let lane = Lane(8);
    let mut device = Emulated { nat: Nat::new(behavior.clone(), &[lane.external().into()], seed), now: Time::ZERO };
    let mut play = Play::new(&script, lane);
    for slot in 0..=script.last_slot() {
        let now = Time::ZERO + Duration::from_millis(SLOT_MILLISECONDS) * slot;
        while let Some(due) = device.nat.poll_timeout().filter(|due| *due <= now) {
            device.now = device.now.max(due);
            device.nat.handle_timeout(device.now, &mut |_| ());
            device.drain(&mut Vec::new());
        }
        device.now = now;
        play.play_slot(slot, &mut device);
    }
    play.finish()
}
