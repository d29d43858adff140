//! Random sequences, the same for the same seed.
//!
//! They stay near what happens: few hosts, few ports, few remotes, so that flows collide, are answered, closed, begun
//! again and let expire. TCP ends keep count of their sequence numbers; in the `wild` profile they sometimes do not.

use std::collections::BTreeMap;

use natbox_wire::TcpFlags;
use rand_core::{Rng as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;

use crate::script::{Action, Cut, End, ErrorKind, MOST_PIECES, Options, Script, Segment, Step, What, Wrap};

/// What a sequence is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// UDP, echo and ICMP errors.
    Datagrams,
    /// TCP whose ends count right, and ICMP errors about it; a little UDP.
    Tcp,
    /// TCP with segments out of order, out of the window, and of no sense.
    WildTcp,
}

impl Profile {
    pub(crate) const ALL: [Profile; 3] = [Profile::Datagrams, Profile::Tcp, Profile::WildTcp];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Profile::Datagrams => "datagrams",
            Profile::Tcp => "tcp",
            Profile::WildTcp => "wild-tcp",
        }
    }
}

/// The longest sequence, in slots: longer than the longest timer.
const LONGEST_SLOTS: u32 = 8;

/// A random sequence for a variant.
pub(crate) fn script(variant: &str, profile: Profile, seed: u64) -> Script {
    let mut maker = Maker {
        random: Pcg64Mcg::seed_from_u64(seed),
        profile,
        steps: Vec::new(),
        label: 0,
        slots: 0,
        flows: Vec::new(),
        connections: BTreeMap::new(),
        sent: Vec::new(),
    };
    let length = 8 + maker.below(25);
    for _ in 0..length {
        maker.step();
    }
    let steps = without_waits_after_crossing(maker.steps);
    Script { title: String::new(), variant: variant.to_owned(), natbox_differs: None, steps }
}

/// No sysctl compresses the timer of crossed SYNs (SYN_SENT2, 120 s): after a SYN from outside no time passes.
fn without_waits_after_crossing(steps: Vec<Step>) -> Vec<Step> {
    let mut crossed = false;
    let mut kept = Vec::new();
    for step in steps {
        if let Action::Send { inbound: true, what: What::Tcp(Segment { flags, .. }), .. } = &step.action {
            crossed |= flags.syn && !flags.ack;
        }
        if !(crossed && matches!(step.action, Action::Wait { .. })) {
            kept.push(step);
        }
    }
    kept
}

/// Both ends of a flow.
type Pair = ((u8, u16), (u8, u16));

/// What one end of a connection has sent so far.
#[derive(Clone, Copy)]
struct Speaker {
    first: u32,
    next: u32,
}

/// Both ends of a connection, the inner one first.
#[derive(Clone, Copy)]
struct Connection {
    speakers: [Speaker; 2],
    /// What each offers in its SYN.
    options: [Options; 2],
    stage: u32,
    last: Option<(bool, Segment)>,
}

struct Maker {
    random: Pcg64Mcg,
    profile: Profile,
    steps: Vec<Step>,
    label: u32,
    slots: u32,
    /// UDP and echo flows that began: whether echo, and their ends.
    flows: Vec<(bool, Pair)>,
    connections: BTreeMap<Pair, Connection>,
    /// Labels of packets, and whether they were inbound.
    sent: Vec<(u32, bool)>,
}

impl Maker {
    fn below(&mut self, bound: u32) -> u32 {
        self.random.next_u32() % bound
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u32) as usize]
    }

    fn step(&mut self) {
        let tcp = if self.profile == Profile::Datagrams { 0 } else { 65 };
        match self.below(100) {
            0..13 => self.wait(),
            13..22 => self.error(),
            22..26 => self.hairpin(),
            percent if percent >= 100 - tcp => self.tcp(),
            _ => self.datagram(),
        }
    }

    fn wait(&mut self) {
        let slots = self.pick(&[1, 1, 1, 2, 2, 3, 4, 5]).min(LONGEST_SLOTS - self.slots);
        let after_wait = matches!(self.steps.last(), Some(Step { action: Action::Wait { .. }, .. }) | None);
        if slots > 0 && !after_wait {
            self.slots += slots;
            self.push(Action::Wait { slots });
        }
    }

    fn push(&mut self, action: Action) {
        self.steps.push(Step { action, outcome: Vec::new() });
    }

    fn send(&mut self, inbound: bool, what: What, from: End, to: End) {
        let wrap = match self.below(100) {
            0..6 => self.numbers(),
            6..14 if !matches!(what, What::Tcp(_)) => self.cut(),
            _ => Wrap::default(),
        };
        self.send_wrapped(inbound, what, from, to, wrap);
    }

    /// A time to live that lasts for a hop, and an identification.
    fn numbers(&mut self) -> Wrap {
        let (ttl, identification) = (Some(self.pick(&[2, 64, 255])), Some(self.pick(&[0, 1, 77, 65535])));
        Wrap { ttl, identification, dont_fragment: self.chance(30), ..Wrap::default() }
    }

    /// Fragments in any order; now and then one comes twice or not at all.
    fn cut(&mut self) -> Wrap {
        let (bytes, size) = (self.pick(&[60, 100, 200]), self.pick(&[48, 64, 104]));
        let pieces = (8_u16 + bytes).div_ceil(size) as u8;
        let mut order = [0; MOST_PIECES];
        order.iter_mut().zip(1..=pieces).for_each(|(place, piece)| *place = piece);
        let sent = &mut order[..usize::from(pieces)];
        for at in 1..sent.len() {
            sent.swap(at, self.random.next_u32() as usize % (at + 1));
        }
        if self.chance(15) {
            sent[0] = self.pick(sent);
        } else if self.chance(15) && usize::from(pieces) < MOST_PIECES {
            order[usize::from(pieces)] = order[0];
        }
        let identification = Some(1000 + self.label as u16);
        Wrap { bytes: Some(bytes), cut: Some(Cut { bytes: size, order }), identification, ..Wrap::default() }
    }

    fn send_wrapped(&mut self, inbound: bool, what: What, from: End, to: End, wrap: Wrap) {
        self.label += 1;
        let label = self.label;
        self.sent.push((label, inbound));
        self.push(Action::Send { label, inbound, what, from, to, wrap });
    }

    fn error(&mut self) {
        if self.sent.is_empty() {
            return;
        }
        let back = self.below(self.sent.len().min(8) as u32) as usize;
        let (about, was_inbound) = self.sent[self.sent.len() - 1 - back];
        let kinds = [
            ErrorKind::PortUnreachable,
            ErrorKind::HostUnreachable,
            ErrorKind::TtlExceeded,
            ErrorKind::TooBig,
            ErrorKind::AdminProhibited,
        ];
        let (error, number) = (self.pick(&kinds), self.pick(&[1, 2, 9]));
        self.label += 1;
        let from = if was_inbound { End::Host(number, 0) } else { End::Remote(number, 0) };
        self.push(Action::Error { label: self.label, inbound: !was_inbound, error, from, about });
    }

    fn hairpin(&mut self) {
        let (host, port) = (self.below(3) as u8 + 1, self.pick(&[5000, 5001]));
        let to = match self.flows.iter().find(|(echo, _)| !echo) {
            Some((_, (host, remote))) => End::Mapped { host: *host, remote: *remote },
            None => End::External(5000),
        };
        self.send(false, What::Udp, End::Host(host, port), to);
    }

    fn datagram(&mut self) {
        let known = !self.flows.is_empty() && self.chance(55);
        let (echo, pair) = if known {
            let index = self.below(self.flows.len() as u32) as usize;
            self.flows[index]
        } else {
            let echo = self.chance(20);
            let ports: &[u16] = if echo { &[77, 77, 78] } else { &[5000, 5000, 5000, 5001, 500, 700] };
            let host = (self.below(3) as u8 + 1, self.pick(ports));
            let remote = (self.below(3) as u8 + 1, if echo { 0 } else { self.pick(&[7000, 7000, 7001]) });
            (echo, (host, remote))
        };
        let (host, remote) = pair;
        let mapped = End::Mapped { host, remote };
        match (self.below(100), echo) {
            (0..60, false) if !known => {
                self.send(false, What::Udp, End::Host(host.0, host.1), End::Remote(remote.0, remote.1))
            }
            (0..60, true) if !known => {
                self.send(false, What::Echo { request: true }, End::Host(host.0, host.1), End::Remote(remote.0, 0))
            }
            (0..35, false) => self.send(false, What::Udp, End::Host(host.0, host.1), End::Remote(remote.0, remote.1)),
            (0..35, true) => {
                self.send(false, What::Echo { request: true }, End::Host(host.0, host.1), End::Remote(remote.0, 0))
            }
            (35..80, false) => self.send(true, What::Udp, End::Remote(remote.0, remote.1), mapped),
            (35..75, true) => self.send(true, What::Echo { request: false }, End::Remote(remote.0, 0), mapped),
            (75..80, true) => {
                self.send(true, What::Echo { request: true }, End::Remote(remote.0, host.1), End::External(0))
            }
            (80..90, false) => {
                let stranger = End::Remote(self.below(4) as u8 + 1, self.pick(&[7000, 7001, 7002]));
                self.send(true, What::Udp, stranger, mapped);
            }
            (80..90, true) => {
                let stranger = End::Remote(self.below(4) as u8 + 1, 0);
                self.send(true, What::Echo { request: false }, stranger, mapped);
            }
            (_, false) => {
                let port = self.pick(&[5000, 5001, 500, 6000]);
                self.send(true, What::Udp, End::Remote(remote.0, remote.1), End::External(port));
            }
            (_, true) => {
                self.send(true, What::Echo { request: false }, End::Remote(remote.0, 0), End::External(host.1))
            }
        }
        if !known {
            self.flows.push((echo, pair));
        }
    }

    fn tcp(&mut self) {
        let known = !self.connections.is_empty() && self.chance(85);
        let pair = if known {
            let index = self.below(self.connections.len() as u32) as usize;
            *self.connections.keys().nth(index).expect("an index below the length")
        } else {
            let host = (self.below(3) as u8 + 1, self.pick(&[5000, 5000, 5001, 600]));
            (host, (self.below(2) as u8 + 1, self.pick(&[80, 80, 443])))
        };
        let options = [0; 2].map(|_| Options {
            scale: self.chance(20).then(|| self.pick(&[0, 3, 14])),
            sack_permitted: self.chance(50),
            ..Options::default()
        });
        let speakers = [Speaker::at(1000), Speaker::at(500_000)];
        let fresh = Connection { speakers, options, stage: 0, last: None };
        let mut connection = *self.connections.entry(pair).or_insert(fresh);
        let wild = self.profile == Profile::WildTcp && self.chance(25);
        let (inbound, segment) = match wild {
            true => self.wild(&mut connection),
            false => self.tame(&mut connection),
        };
        connection.last = Some((inbound, segment));
        self.connections.insert(pair, connection);
        let (host, remote) = pair;
        let (inner, outer) = (End::Host(host.0, host.1), End::Remote(remote.0, remote.1));
        match inbound {
            false => self.send(false, What::Tcp(segment), inner, outer),
            true => self.send(true, What::Tcp(segment), outer, End::Mapped { host, remote }),
        }
    }

    /// A segment whose numbers are right, mostly the one that is due.
    fn tame(&mut self, connection: &mut Connection) -> (bool, Segment) {
        if self.chance(75) { self.natural(connection) } else { self.any(connection) }
    }

    /// The next step of a connection that begins, talks and ends.
    fn natural(&mut self, connection: &mut Connection) -> (bool, Segment) {
        connection.stage += 1;
        match connection.stage {
            1 => (false, connection.open(false, false)),
            2 if self.chance(12) => (true, connection.open(true, false)),
            2 => (true, connection.open(true, true)),
            3 => (false, connection.say(false, ACK, 0)),
            4..8 => {
                let inbound = self.chance(50);
                let length = self.pick(&[0, 0, 10, 100]);
                (inbound, connection.say(inbound, ACK, length))
            }
            8..12 => {
                let flags = match connection.stage {
                    8 => FIN,
                    9 | 10 => self.pick(&[ACK, FIN, FIN, RST]),
                    _ => ACK,
                };
                let inbound = self.chance(50);
                (inbound, connection.say(inbound, flags, 0))
            }
            _ => {
                *connection = connection.again();
                connection.stage = 1;
                (false, connection.open(false, false))
            }
        }
    }

    /// Any segment whose numbers are right.
    fn any(&mut self, connection: &mut Connection) -> (bool, Segment) {
        let inbound = self.chance(50);
        let segment = match self.below(14) {
            0 => connection.open(inbound, false),
            1 => connection.open(inbound, true),
            2..5 => connection.say(inbound, ACK, 0),
            5 | 6 => {
                let length = self.pick(&[1, 10, 1000]);
                connection.say(inbound, ACK, length)
            }
            7 | 8 => connection.say(inbound, FIN, 0),
            9 => connection.say(inbound, RST, 0),
            10 => connection.say(inbound, RST_ACK, 0),
            11 | 12 => self.selective(connection, inbound),
            _ => return connection.last.unwrap_or((false, connection.open(false, false))),
        };
        (inbound, segment)
    }

    /// An acknowledgement of what came behind a gap.
    fn selective(&mut self, connection: &mut Connection, inbound: bool) -> Segment {
        let mut segment = connection.say(inbound, ACK, 0);
        let end = segment.acknowledgement;
        segment.acknowledgement = end.wrapping_sub(self.pick(&[10, 100, 1000]));
        let first = end.wrapping_sub(5);
        let before = (segment.acknowledgement.wrapping_add(1), segment.acknowledgement.wrapping_add(3));
        segment.options.sack =
            if self.chance(50) { [Some((first, end)), None] } else { [Some(before), Some((first, end))] };
        segment
    }

    /// A segment with wrong numbers or flags.
    fn wild(&mut self, connection: &mut Connection) -> (bool, Segment) {
        let (inbound, mut segment) = self.any(connection);
        match self.below(8) {
            6 | 7 => {
                let beyond = self.pick(&[1, 1000, 9000, 1 << 30, 3 << 30]);
                let block = (segment.acknowledgement, segment.acknowledgement.wrapping_add(beyond));
                segment.options.sack = [Some(block), segment.options.sack[0]];
            }
            0 => segment.sequence = segment.sequence.wrapping_add(self.pick(&[1, 5000, 20_000, 1 << 30])),
            1 => segment.sequence = segment.sequence.wrapping_sub(self.pick(&[1, 100, 20_000, 1 << 30])),
            2 => segment.acknowledgement = segment.acknowledgement.wrapping_add(self.pick(&[1, 5000, 1 << 30])),
            3 => segment.acknowledgement = segment.acknowledgement.wrapping_sub(self.pick(&[1, 5000, 1 << 30])),
            4 => segment.window_bytes = self.pick(&[0, 1, 100, 65535]),
            _ => {
                let (syn, ack, fin, rst) = (self.chance(40), self.chance(40), self.chance(40), self.chance(25));
                segment.flags = TcpFlags { syn, ack, fin, rst, psh: false };
            }
        }
        (inbound, segment)
    }
}

const NONE: TcpFlags = TcpFlags { syn: false, ack: false, fin: false, rst: false, psh: false };
const ACK: TcpFlags = TcpFlags { ack: true, ..NONE };
const FIN: TcpFlags = TcpFlags { fin: true, ack: true, ..NONE };
const RST: TcpFlags = TcpFlags { rst: true, ..NONE };
const RST_ACK: TcpFlags = TcpFlags { rst: true, ack: true, ..NONE };

impl Speaker {
    fn at(first: u32) -> Speaker {
        Speaker { first, next: first }
    }
}

impl Connection {
    /// A SYN, or SYN/ACK.
    fn open(&mut self, inbound: bool, ack: bool) -> Segment {
        let acknowledgement = if ack { self.speakers[usize::from(!inbound)].next } else { 0 };
        let options = self.options[usize::from(inbound)];
        let speaker = &mut self.speakers[usize::from(inbound)];
        speaker.next = speaker.first.wrapping_add(1);
        Segment {
            flags: TcpFlags { syn: true, ack, ..NONE },
            sequence: speaker.first,
            acknowledgement,
            window_bytes: 8192,
            length_bytes: 0,
            options,
        }
    }

    /// The next thing that one end says.
    fn say(&mut self, inbound: bool, flags: TcpFlags, length_bytes: u16) -> Segment {
        let acknowledgement = if flags.ack { self.speakers[usize::from(!inbound)].next } else { 0 };
        let speaker = &mut self.speakers[usize::from(inbound)];
        let sequence = speaker.next;
        speaker.next = speaker.next.wrapping_add(u32::from(length_bytes) + u32::from(flags.fin));
        Segment { flags, sequence, acknowledgement, window_bytes: 8192, length_bytes, options: Options::default() }
    }

    /// The same endpoints, another connection.
    fn again(&self) -> Connection {
        let speakers = self.speakers.map(|speaker| Speaker::at(speaker.next.wrapping_add(100_000)));
        Connection { speakers, stage: 0, last: None, ..*self }
    }
}
