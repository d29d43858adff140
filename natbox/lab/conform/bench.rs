//! A NAT, a clock, and packets to send through it. Whatever goes otherwise than asked is a sentence.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use natbox_nat::{Behavior, MappingView, Nat, Output, Refusal, Verdict};
use natbox_wire::{MapRequest, Packet, Protocol, Time};

use super::packets::{ACK, SYN_ACK, X1, Y1, opener, tcp};
use super::{Outcome, not_applicable};

/// What a NAT does of its own accord, later.
pub(super) struct Later {
    pub(super) at: Time,
    pub(super) output: Output,
}

/// A NAT and a clock.
pub(super) struct Bench {
    nat: Nat,
    now: Time,
    later: Vec<Later>,
}

impl Bench {
    /// A NAT with four external addresses, for pools and one-to-one translation.
    pub(super) fn pool(behavior: &Arc<Behavior>) -> Bench {
        let external: [IpAddr; 4] = std::array::from_fn(|index| IpAddr::from([198, 51, 100, 1 + index as u8]));
        Bench::with_external(behavior, &external)
    }

    /// A NAT with these external addresses.
    pub(super) fn with_external(behavior: &Arc<Behavior>, external: &[IpAddr]) -> Bench {
        Bench { nat: Nat::new(behavior.clone(), external, 1), now: Time::ZERO, later: Vec::new() }
    }

    /// A NAT with one external address, or as many as one-to-one translation needs.
    pub(super) fn new(behavior: &Arc<Behavior>) -> Bench {
        if is_one_to_one(behavior) {
            return Bench::pool(behavior);
        }
        Bench::with_external(behavior, &[IpAddr::from([198, 51, 100, 1])])
    }

    /// Lets time pass.
    pub(super) fn wait(&mut self, duration: Duration) {
        let until = self.now + duration;
        while let Some(due) = self.nat.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.nat.handle_timeout(self.now, &mut |_| {});
            self.drain();
        }
        self.now = until;
    }

    pub(super) fn wait_seconds(&mut self, seconds: u64) {
        self.wait(Duration::from_secs(seconds));
    }

    fn drain(&mut self) {
        while let Some(output) = self.nat.poll_output() {
            self.later.push(Later { at: self.now, output });
        }
    }

    /// What the NAT has done of its own accord since it was last asked.
    pub(super) fn later(&mut self) -> Vec<Later> {
        std::mem::take(&mut self.later)
    }

    /// Asks for an explicit mapping; its external endpoint.
    pub(super) fn map(&mut self, request: &MapRequest) -> Result<SocketAddr, String> {
        let asked = || format!("{} asked for a mapping", request.internal);
        self.nat.map(request, self.now).map(|made| made.external).map_err(|why| format!("{}: {why:?}", asked()))
    }

    /// Whether each internal address has external ports by arithmetic, as the NAT would show its operator.
    pub(super) fn is_planned(&self) -> bool {
        self.nat.port_plan().is_some()
    }

    /// The mappings that the NAT would show its operator.
    pub(super) fn mappings(&self) -> Vec<MappingView> {
        self.nat.mappings()
    }

    /// The bare verdict on a packet from inside.
    pub(super) fn verdict_out(&mut self, packet: &mut Packet) -> Verdict {
        let verdict = self.nat.outbound(packet, self.now);
        self.drain();
        verdict
    }

    /// The bare verdict on a packet from outside.
    pub(super) fn verdict_in(&mut self, packet: &mut Packet) -> Verdict {
        let verdict = self.nat.inbound(packet, self.now);
        self.drain();
        verdict
    }

    /// Sends a packet out; how it left.
    pub(super) fn out(&mut self, mut packet: Packet) -> Result<Packet, String> {
        let sent = name(&packet);
        match self.verdict_out(&mut packet) {
            Verdict::Forward(_) | Verdict::Pass => Ok(packet),
            other => Err(format!("{sent}, sent out, {}", fate(other))),
        }
    }

    /// Sends a packet out; the external endpoint that it got.
    pub(super) fn send(&mut self, packet: Packet) -> Result<SocketAddr, String> {
        self.out(packet).map(|packet| packet.source_endpoint())
    }

    /// Sends a packet in; how it arrived.
    pub(super) fn deliver(&mut self, mut packet: Packet) -> Result<Packet, String> {
        let sent = name(&packet);
        match self.verdict_in(&mut packet) {
            Verdict::Forward(_) | Verdict::Pass => Ok(packet),
            other => Err(format!("{sent}, sent in, {}", fate(other))),
        }
    }

    /// Sends a packet in, which must reach `to`.
    pub(super) fn reaches(&mut self, packet: Packet, to: SocketAddr) -> Result<(), String> {
        let sent = name(&packet);
        let got = self.deliver(packet)?.destination_endpoint();
        if got == to { Ok(()) } else { Err(format!("{sent} reached {got} instead of {to}")) }
    }

    /// Sends a packet from inside to an external endpoint; how it came back in.
    pub(super) fn turn(&mut self, mut packet: Packet) -> Result<Packet, String> {
        let sent = name(&packet);
        match self.verdict_out(&mut packet) {
            Verdict::Hairpin { .. } => Ok(packet),
            other => Err(format!("{sent}, sent from inside, {}", fate(other))),
        }
    }

    /// Opens a flow; its external endpoint. TCP connections are established.
    pub(super) fn open(&mut self, protocol: Protocol, from: SocketAddr, to: SocketAddr) -> Result<SocketAddr, String> {
        let external = self.send(opener(protocol, from, to))?;
        if protocol == Protocol::Tcp {
            self.reaches(tcp(to, external, SYN_ACK), from)?;
            self.send(tcp(from, to, ACK))?;
        }
        Ok(external)
    }
}

/// What was sent, in a few words.
fn name(packet: &Packet) -> String {
    let what = match packet.protocol() {
        _ if packet.quoted().is_some() => "an ICMP error",
        Some(Protocol::Udp) => "a datagram",
        Some(Protocol::Tcp) => "a segment",
        _ => "a packet",
    };
    format!("{what} from {} to {}", packet.source_endpoint(), packet.destination_endpoint())
}

/// What became of it instead.
pub(super) fn fate(verdict: Verdict) -> String {
    match verdict {
        Verdict::Drop(Refusal { reason, .. }) => format!("was dropped ({reason})"),
        Verdict::Hold(_) => "was held back".to_owned(),
        Verdict::Hairpin { .. } => "was turned round".to_owned(),
        Verdict::Forward(_) | Verdict::Pass => "was forwarded".to_owned(),
    }
}

/// Whether one external address serves one host only.
pub(super) fn is_one_to_one(behavior: &Arc<Behavior>) -> bool {
    behavior.translation == natbox_nat::behavior::TranslationKind::Basic
}

/// Whether this transport gets out, and is translated: else nothing is asked of it.
pub(super) fn translates(behavior: &Arc<Behavior>, protocol: Protocol) -> Outcome {
    match Bench::new(behavior).send(opener(protocol, X1, Y1)) {
        Ok(external) if external.ip() == X1.ip() => not_applicable("it translates no addresses"),
        Ok(_) => Ok(()),
        Err(observed) => not_applicable(format!("its policy lets no {} out: {observed}", word(protocol))),
    }
}

fn word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Udp => "UDP",
        Protocol::Tcp => "TCP",
        Protocol::Icmp => "ICMP query",
    }
}
