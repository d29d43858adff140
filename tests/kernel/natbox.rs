//! natbox as a box with two sides, in virtual time, with the behaviour that a variant asks of it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use natbox_nat::behavior::{InvalidOutbound, Pooling, Switch, Timeouts};
use natbox_nat::{Answer, Behavior, Nat, Output, Side as NatSide, Verdict, preset};
use natbox_wire::build::{self, IpFields};
use natbox_wire::{IcmpError, Packet, Time, Transport};
use natbox_world::pings::{self, Collected, Part, Pings};

use crate::lane::{BOX_INSIDE, Lane};
use crate::play::{Device, Play, Side};
use crate::script::{SLOT_MILLISECONDS, Script};
use crate::variant;

/// A NAT and the time that it is.
struct Emulated {
    nat: Nat,
    /// Those to the box itself that come in fragments, as natbox's gateway has them.
    pings: Pings<()>,
    now: Time,
}

impl Device for Emulated {
    fn pass(&mut self, from: Side, packet: &Packet) -> Vec<(Side, Packet)> {
        let mut packet = packet.clone();
        if from == Side::Inside && packet.ttl() <= 1 && !self.nat.external().contains(&packet.destination()) {
            let error = build::icmp_error(IcmpError::TtlExceeded, BOX_INSIDE.into(), &packet);
            return error.map(|error| (from, error)).into_iter().collect();
        }
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
    fn carry_out(&mut self, from: Side, mut packet: Packet, verdict: Verdict) -> Vec<(Side, Packet)> {
        if matches!(verdict, Verdict::Pass | Verdict::Forward(_)) {
            packet.decrement_ttl();
        }
        match verdict {
            Verdict::Pass | Verdict::Forward(_) if from == Side::Inside => vec![(Side::Outside, packet)],
            Verdict::Pass | Verdict::Forward(_) | Verdict::Hairpin { .. } => vec![(Side::Inside, packet)],
            Verdict::Hold(_) => Vec::new(),
            Verdict::Drop(refusal) => {
                let told = refusal.answer.and_then(|answer| self.answer(&packet, answer));
                let answer = told.or_else(|| match pings::refused_part(&packet, refusal.reason) {
                    Some(part) => self.answer_part(part, packet),
                    None if packet.is_fragment() => None,
                    None => self.answer_ping(&packet),
                });
                answer.map(|answer| (from, answer)).into_iter().collect()
            }
        }
    }

    /// What the sender of a refused packet is told, by the address that it wrote to if that is the box's own.
    fn answer(&self, packet: &Packet, answer: Answer) -> Option<Packet> {
        match answer {
            Answer::Icmp(error) => {
                let own = self.nat.external().contains(&packet.destination());
                build::icmp_error(error, if own { packet.destination() } else { BOX_INSIDE.into() }, packet)
            }
            Answer::Reset => build::reset(packet),
        }
    }

    /// The box's own answer to a ping that nothing wants, as natbox's gateway gives it.
    fn answer_ping(&self, packet: &Packet) -> Option<Packet> {
        let Transport::Echo { request: true, identifier, sequence } = packet.transport() else { return None };
        let (from, to) = (packet.destination(), packet.source());
        self.answers_pings(packet)
            .then(|| build::echo(false, from, to, IpFields::default(), identifier, sequence, packet.payload()))
            .flatten()
    }

    /// As [`Emulated::answer_ping`], of a fragment.
    fn answer_part(&mut self, part: Part, packet: Packet) -> Option<Packet> {
        if !self.answers_pings(&packet) {
            return None;
        }
        let collected = self.pings.receive(part, packet, (), self.now);
        self.pings.take_lost();
        match collected {
            Collected::Whole(whole) => self.answer_ping(&whole),
            Collected::Held | Collected::Refused | Collected::Dropped(_) => None,
        }
    }

    fn answers_pings(&self, packet: &Packet) -> bool {
        let wanted = self.nat.behavior().answer_ping == Switch::On;
        wanted && self.nat.external().contains(&packet.destination())
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

/// How natbox behaves when it is to be like a variant, in compressed time; `None` where it has no words for it.
pub(crate) fn behavior(variant: &str) -> Option<Behavior> {
    let (nat, input) = variant.split_once(", ")?;
    let (input, invalid) = match input {
        "invalid forwarded" => ("input drop", preset("linux-masquerade").invalid_outbound),
        _ => (input, InvalidOutbound::Drop),
    };
    let mut behavior = match nat {
        "masquerade" => preset("linux-masquerade"),
        "masquerade random" | "masquerade fully-random" => preset("linux-masquerade-random"),
        "masquerade to four ports" => {
            let mut behavior = preset("linux-masquerade");
            behavior.ports.range = (20000..=20003).into();
            behavior
        }
        "snat to three" => Behavior { pooling: Pooling::HashSourceDestination, ..preset("linux-masquerade") },
        "snat to three persistent" => Behavior { pooling: Pooling::HashSource, ..preset("linux-masquerade") },
        _ => return None,
    };
    // What the box does with packets for itself is another preset's, whatever the translation.
    let own = match input {
        "input drop" => preset("linux-masquerade"),
        "input accept" => preset("linux-masquerade-open"),
        "input reject" => preset("openwrt"),
        _ => return None,
    };
    behavior.early_inbound = own.early_inbound;
    // Of OpenWrt's rules the witness has the rejection, not `Allow-Ping`.
    behavior.answer_ping = if input == "input reject" { Switch::Off } else { own.answer_ping };
    behavior.unsolicited_syn = own.unsolicited_syn;
    behavior.unsolicited_udp = own.unsolicited_udp;
    behavior.invalid_outbound = invalid;
    behavior.timeouts = compressed(&behavior.timeouts);
    Some(behavior)
}

fn preset(name: &str) -> Behavior {
    preset::find(name).unwrap_or_else(|| panic!("natbox has no preset {name}")).behavior
}

/// The timers of a preset, which are to be those that the kernel ships with, as the kernel is given them here.
fn compressed(preset: &Timeouts) -> Timeouts {
    let of = |name: &str, has: Duration| {
        let timer = variant::TIMERS.iter().find(|timer| timer.sysctl == name).expect("a timer of the table");
        assert_eq!(has, Duration::from_secs(timer.shipped_seconds.into()), "the preset's value for {name}");
        Duration::from_secs(timer.compressed_seconds.into())
    };
    assert_eq!(preset.udp_stream_after, Duration::from_secs(2), "the kernel's constant (nf_conntrack_proto_udp.c)");
    Timeouts {
        udp: of("udp_timeout", preset.udp),
        udp_unreplied: Some(of("udp_timeout", preset.udp_unreplied())),
        udp_stream: Some(of("udp_timeout_stream", preset.udp_stream())),
        icmp: of("icmp_timeout", preset.icmp),
        tcp_opening: of("tcp_timeout_syn_sent", preset.tcp_opening),
        tcp_partial_open: Some(of("tcp_timeout_syn_recv", preset.tcp_partial_open())),
        tcp_established: of("tcp_timeout_established", preset.tcp_established),
        tcp_unacknowledged: Some(of("tcp_timeout_unacknowledged", preset.tcp_unacknowledged())),
        tcp_half_closed: Some(of("tcp_timeout_fin_wait", preset.tcp_half_closed())),
        tcp_close_wait: Some(of("tcp_timeout_close_wait", preset.tcp_close_wait())),
        tcp_closing: of("tcp_timeout_last_ack", preset.tcp_closing),
        tcp_time_wait: Some(of("tcp_timeout_time_wait", preset.tcp_time_wait())),
        tcp_reset: Some(of("tcp_timeout_close", preset.tcp_reset())),
        early_inbound: of("udp_timeout", preset.early_inbound),
        ..preset.clone()
    }
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
    let lane = Lane(variant::STRIDE);
    let pool = variant::index(&script.variant).is_some_and(|index| variant::ALL[index].has_pool());
    let external: Vec<IpAddr> = match pool {
        true => lane.pool().map(IpAddr::from).to_vec(),
        false => vec![lane.external().into()],
    };
    let nat = Nat::new(behavior.clone(), &external, seed);
    let mut device = Emulated { nat, pings: Pings::default(), now: Time::ZERO };
    let mut play = Play::new(&script, lane);
    for slot in 0..=script.last_slot() {
        let now = Time::ZERO + Duration::from_millis(SLOT_MILLISECONDS) * slot;
        while let Some(due) = device.nat.poll_timeout().filter(|due| *due <= now) {
            device.now = device.now.max(due);
            device.nat.handle_timeout(device.now, &mut |_| ());
            device.drain(&mut Vec::new());
        }
        device.now = now;
        device.pings.handle_timeout(now);
        play.play_slot(slot, &mut device);
    }
    play.finish()
}
