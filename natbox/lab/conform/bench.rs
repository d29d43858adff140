//! A NAT, a clock, and packets to send through it. Whatever goes otherwise than asked is a sentence.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use natbox_nat::{Behavior, Nat, Output, Refusal, Verdict};
use natbox_wire::build::{self, IpFields};
use natbox_wire::{IcmpError, Packet, Protocol, TcpFlags, Time};

use super::{Outcome, not_applicable};

const NONE: TcpFlags = TcpFlags { syn: false, ack: false, fin: false, rst: false, psh: false };
pub(super) const SYN: TcpFlags = TcpFlags { syn: true, ..NONE };
pub(super) const SYN_ACK: TcpFlags = TcpFlags { syn: true, ack: true, ..NONE };
pub(super) const ACK: TcpFlags = TcpFlags { ack: true, ..NONE };
pub(super) const FIN: TcpFlags = TcpFlags { fin: true, ack: true, ..NONE };
pub(super) const RST: TcpFlags = TcpFlags { rst: true, ack: true, ..NONE };

/// Endpoints: two hosts inside on one port, two remotes outside, and the first remote's other port. The remote ports are those that strict networks let out.
pub(super) const X1: SocketAddr = endpoint([10, 0, 0, 2], 5000);
pub(super) const X2: SocketAddr = endpoint([10, 0, 0, 3], 5000);
pub(super) const Y1: SocketAddr = endpoint([192, 0, 2, 1], 443);
pub(super) const Y1_OTHER_PORT: SocketAddr = endpoint([192, 0, 2, 1], 80);
pub(super) const Y2: SocketAddr = endpoint([192, 0, 2, 2], 443);
/// A router on the way.
pub(super) const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 77));

pub(super) const fn endpoint(address: [u8; 4], port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(address[0], address[1], address[2], address[3])), port)
}

/// An internal endpoint: the `number`th host.
pub(super) fn host(number: u16, port: u16) -> SocketAddr {
    let [high, low] = number.to_be_bytes();
    endpoint([10, 1, high, low], port)
}

/// A packet of any transport; for echo the source's port is the identifier of a request, and the destination's that of a reply.
pub(super) fn packet(protocol: Protocol, from: SocketAddr, to: SocketAddr, flags: TcpFlags) -> Packet {
    let fields = IpFields::default();
    let built = match protocol {
        Protocol::Udp => build::udp(from, to, fields, b"natbox"),
        Protocol::Tcp => {
            // SYNs are number 7, all else 8; both sides acknowledge 8.
            build::tcp(from, to, fields, flags, 8 - u32::from(flags.syn), if flags.ack { 8 } else { 0 }, 1000, b"")
        }
        Protocol::Icmp if flags.syn => build::echo(true, from.ip(), to.ip(), fields, from.port(), 1, b"natbox"),
        Protocol::Icmp => build::echo(false, from.ip(), to.ip(), fields, to.port(), 1, b"natbox"),
    };
    built.expect("good sources of one version")
}

pub(super) fn udp(from: SocketAddr, to: SocketAddr) -> Packet {
    packet(Protocol::Udp, from, to, NONE)
}

pub(super) fn tcp(from: SocketAddr, to: SocketAddr, flags: TcpFlags) -> Packet {
    packet(Protocol::Tcp, from, to, flags)
}

pub(super) fn ping(from: SocketAddr, to: SocketAddr) -> Packet {
    packet(Protocol::Icmp, from, to, SYN)
}

pub(super) fn pong(from: SocketAddr, to: SocketAddr) -> Packet {
    packet(Protocol::Icmp, from, to, NONE)
}

/// The first packet of a flow.
pub(super) fn opener(protocol: Protocol, from: SocketAddr, to: SocketAddr) -> Packet {
    packet(protocol, from, to, SYN)
}

/// The first answer to it.
pub(super) fn answer(protocol: Protocol, from: SocketAddr, to: SocketAddr) -> Packet {
    match protocol {
        Protocol::Icmp => pong(from, to),
        other => packet(other, from, to, SYN_ACK),
    }
}

/// Port unreachable, about a packet.
pub(super) fn error(from: IpAddr, offender: &Packet) -> Packet {
    build::icmp_error(IcmpError::PortUnreachable, from, offender).expect("packets that may be answered")
}

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
        Bench { nat: Nat::new(behavior.clone(), &external, 1), now: Time::ZERO, later: Vec::new() }
    }

    /// A NAT with one external address, or as many as one-to-one translation needs.
    pub(super) fn new(behavior: &Arc<Behavior>) -> Bench {
        if is_one_to_one(behavior) {
            return Bench::pool(behavior);
        }
        let external = [IpAddr::from([198, 51, 100, 1])];
        Bench { nat: Nat::new(behavior.clone(), &external, 1), now: Time::ZERO, later: Vec::new() }
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
fn fate(verdict: Verdict) -> String {
    match verdict {
        Verdict::Drop(Refusal { reason, .. }) => format!("was dropped ({reason})"),
        Verdict::Hold(_) => "was held back".to_owned(),
        Verdict::Hairpin { .. } => "was turned round".to_owned(),
        Verdict::Forward(_) | Verdict::Pass => "was forwarded".to_owned(),
    }
}

/// Whether one external address serves one host only.
fn is_one_to_one(behavior: &Arc<Behavior>) -> bool {
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

/// For how many whole seconds of silence the answer to a flow's first packet is let in: at most `limit`.
pub(super) fn lifetime_seconds(behavior: &Arc<Behavior>, protocol: Protocol, limit: u64) -> u64 {
    let lives = |seconds| {
        let mut bench = Bench::new(behavior);
        let Ok(external) = bench.send(opener(protocol, X1, Y1)) else { return false };
        bench.wait_seconds(seconds);
        bench.reaches(answer(protocol, Y1, external), X1).is_ok()
    };
    let (mut alive, mut gone) = (0, limit + 1);
    while gone - alive > 1 {
        let middle = alive + (gone - alive) / 2;
        if lives(middle) { alive = middle } else { gone = middle }
    }
    alive
}

/// What a NAT does when it has no port left.
pub(super) struct Full {
    /// What the first flow too many was told; none: nothing was refused.
    pub(super) refusal: Option<Refusal>,
    /// Flows that no longer had their external endpoint, of the first thousand.
    pub(super) lost: usize,
}

/// Opens flows of many hosts until one is refused, or there are more than there are ports.
pub(super) fn fill(behavior: &Arc<Behavior>) -> Result<Full, String> {
    let mut bench = Bench::new(behavior);
    let (mut first, mut refusal) = (Vec::new(), None);
    // Few flows of each host, so that no quota is met.
    'full: for number in 1..=700 {
        for port in 5000..5100 {
            let from = host(number, port);
            let mut packet = udp(from, Y1);
            match bench.verdict_out(&mut packet) {
                Verdict::Forward(_) if first.len() < 1000 => first.push((from, packet.source_endpoint())),
                Verdict::Forward(_) => {}
                Verdict::Drop(why) => {
                    refusal = Some(why);
                    break 'full;
                }
                other => return Err(format!("a new flow {}", fate(other))),
            }
        }
    }
    let lost = first.iter().filter(|(from, external)| bench.reaches(udp(Y1, *external), *from).is_err()).count();
    Ok(Full { refusal, lost })
}
