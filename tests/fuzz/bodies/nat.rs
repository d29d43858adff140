//! A NAT of any behaviour, and a sequence of packets from both sides, waits, explicit mappings, new addresses and power cuts.
//!
//! A model would repeat the engine; what is held against it here is what must be true of every behaviour.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use natbox::nat::behavior::{GenericAlg, IcmpErrors, PortConflict, PortOverlap, Switch, TranslationKind};
use natbox::nat::{Behavior, Ended, HoldId, MappingView, Nat, Output, Side, Verdict};
use natbox::wire::build::{self, IpFields};
use natbox::wire::{
    ExplicitMapping, IcmpError, MapRequest, MappedBy, Packet, Protocol, RemoteFilter, TcpFlags, Time, Traffic,
};

use super::behaviors::behavior;
use super::input::Input;
use super::packets::{assert_sound, mended};

const PORTS: [u16; 8] = [5000, 5001, 5002, 900, 65535, 21, 5060, 0];
const REMOTE_PORTS: [u16; 8] = [1000, 1001, 5000, 53, 21, 69, 5060, 3478];
const POOLS: [&[u8]; 4] = [&[1], &[1, 2, 3], &[2], &[3, 1]];
/// What boxes look for in payloads: FTP, SIP, TFTP, and addresses where they stand in binary.
const PAYLOADS: [&[u8]; 6] = [
    b"natbox",
    b"PORT 10,0,2,1,19,136\r\n",
    b"227 Entering Passive Mode (10,0,2,1,19,136)\r\n",
    b"INVITE sip:b@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.2.1:5000\r\nContact: <sip:a@10.0.2.1:5000>\r\nContent-Length: 48\r\n\r\nc=IN IP4 10.0.2.1\r\nm=audio 5000 RTP/AVP 0\r\n\r\n\r\n\r\n",
    b"\0\x01file\0octet\0",
    b"\x01\x01\0\x0c!\x12\xa4B............\0\x01\0\x08\0\x01\x13\x88\x0a\0\x02\x01",
];
/// No session outlives this silence.
const AGES: Duration = Duration::from_secs(30 * 86_400);

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let behavior = behavior(&mut input);
    let seed = input.byte();
    let nat = Nat::new(behavior, &pool(1), seed.into());
    let (now, packets, asked) = (Time::ZERO, 0, 0);
    let (outside, inside, held, ended) = Default::default();
    let mut bench = Bench { nat, now, outside, inside, held, packets, asked, ended };
    while !input.is_empty() {
        bench.step(&mut input);
        bench.look();
    }
    bench.silence();
}

/// An address of the internal (10), external (198) or remote (192) network, of either version.
fn address(ipv6: bool, network: u8, host: u8) -> IpAddr {
    match ipv6 {
        false => [network, 0, 2, host].into(),
        true => [0x2001, 0xdb8, u16::from(network), 0, 0, 0, 0, u16::from(host)].into(),
    }
}

fn pool(choice: usize) -> Vec<IpAddr> {
    let hosts = POOLS[choice].iter();
    hosts.flat_map(|host| [address(false, 198, *host), address(true, 198, *host)]).collect()
}

struct Bench {
    nat: Nat,
    now: Time,
    /// Packets as delivered outside, and inside.
    outside: Vec<Packet>,
    inside: Vec<Packet>,
    /// Packets that the NAT keeps.
    held: BTreeMap<HoldId, (Side, Packet)>,
    packets: usize,
    /// How often an explicit mapping was asked for.
    asked: usize,
    /// The mappings that are gone.
    ended: BTreeSet<u64>,
}

impl Bench {
    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() % 16 {
            0..=3 => {
                let packet = self.leaving(input);
                self.send(packet);
            }
            4..=6 => {
                let packet = self.coming(input);
                self.receive(packet);
            }
            7 => {
                let packet = turned(&self.outside, input);
                self.receive(packet);
            }
            8 => {
                let packet = turned(&self.inside, input);
                self.send(packet);
            }
            9 => {
                let packet = error(&self.outside, input, 192);
                self.receive(packet);
            }
            10 => {
                let packet = error(&self.inside, input, 10);
                self.send(packet);
            }
            11 => {
                let inbound = input.flag();
                let packet = Packet::parse(mended(input.bytes())).ok();
                if inbound { self.receive(packet) } else { self.send(packet) }
            }
            12 => self.wait(input),
            13 => {
                let addresses = pool(input.pick(&[0, 1, 2, 3]));
                let told = collect(|told| self.nat.readdress(&addresses, told));
                self.note(told);
            }
            14 => match input.byte() % 8 {
                0 => self.reboot(),
                1..=4 => self.map(input),
                _ => self.unmap(input),
            },
            _ => self.fragments(input),
        }
    }

    /// A packet of a host inside; its destination is a remote, or an external endpoint seen before.
    fn leaving(&self, input: &mut Input<'_>) -> Option<Packet> {
        let which = input.byte();
        let ipv6 = which & 0x80 != 0;
        let source = SocketAddr::new(address(ipv6, 10, which % 3 + 1), input.pick(&PORTS));
        let destination = match which >> 2 & 3 {
            0 => self.external(ipv6, input),
            1 if which & 0x20 != 0 => SocketAddr::new(address(ipv6, 10, 77), 5000),
            _ => remote(ipv6, input),
        };
        packet(source, destination, input)
    }

    /// A packet of a remote, to an external endpoint seen before, or to an internal one.
    fn coming(&self, input: &mut Input<'_>) -> Option<Packet> {
        let which = input.byte();
        let ipv6 = which & 0x80 != 0;
        let source = remote(ipv6, input);
        let destination = match which & 7 {
            0 => SocketAddr::new(address(ipv6, 10, 1), input.pick(&PORTS)),
            1 => SocketAddr::new(address(ipv6, 198, 1), input.short()),
            _ => self.external(ipv6, input),
        };
        packet(source, destination, input)
    }

    fn external(&self, ipv6: bool, input: &mut Input<'_>) -> SocketAddr {
        let stranger = SocketAddr::new(address(ipv6, 198, 1), 4999);
        let seen = self.outside.iter().rev().map(Packet::source_endpoint).filter(|seen| seen.is_ipv6() == ipv6);
        seen.take(8).nth(usize::from(input.byte() & 7)).unwrap_or(stranger)
    }

    fn send(&mut self, packet: Option<Packet>) {
        let Some(mut packet) = packet else { return };
        let before = packet.clone();
        let verdict = self.nat.outbound(&mut packet, self.now);
        self.judge(Side::Inside, before, packet, verdict);
    }

    fn receive(&mut self, packet: Option<Packet>) {
        let Some(mut packet) = packet else { return };
        let before = packet.clone();
        let verdict = self.nat.inbound(&mut packet, self.now);
        self.judge(Side::Outside, before, packet, verdict);
    }

    fn judge(&mut self, from: Side, before: Packet, after: Packet, verdict: Verdict) {
        self.packets += 1;
        match verdict {
            Verdict::Drop(_) | Verdict::Pass | Verdict::Hold(_) => {
                assert_eq!(before, after, "{verdict:?} leaves a packet as it is");
            }
            // The last fragment to come goes on as the whole datagram (`fragments: reassemble`).
            Verdict::Forward(_) | Verdict::Hairpin { .. } if before.is_fragment() && !after.is_fragment() => {
                assert_eq!(Packet::parse(after.bytes().to_vec()).as_ref(), Ok(&after));
            }
            Verdict::Forward(_) | Verdict::Hairpin { .. } if rewrites_payloads(self.nat.behavior()) => {
                assert_eq!(Packet::parse(after.bytes().to_vec()).as_ref(), Ok(&after));
                assert_eq!(before.transport_checksum_ok(), after.transport_checksum_ok());
            }
            Verdict::Forward(_) | Verdict::Hairpin { .. } => assert_sound(&before, &after),
        }
        if let Verdict::Hold(hold) = verdict {
            assert!(self.held.insert(hold, (from, before)).is_none(), "{hold:?} is held twice");
        }
        self.deliver(from, after, verdict);
        self.outputs();
    }

    /// A packet goes where a verdict sends it; the mappings that it names are there.
    fn deliver(&mut self, from: Side, packet: Packet, verdict: Verdict) {
        let used = match verdict {
            Verdict::Forward(translation) => vec![translation],
            Verdict::Hairpin { source, destination } => vec![source, destination],
            Verdict::Pass => Vec::new(),
            Verdict::Hold(_) | Verdict::Drop(_) => return,
        };
        for translation in used {
            let view = self.nat.mapping(translation.mapping);
            let alive = view.is_some_and(|view| view.created <= self.now);
            // An error may be the last thing that passes (`icmp_kills_mapping`). Later fragments follow their first one's
            // translation, also when its mapping has ended.
            let follows = packet.fragment().is_some_and(|place| place.offset_bytes != 0);
            assert!(alive || translation.quoted || follows, "{translation:?} of a mapping that is not there");
            let leaves = from == Side::Inside && matches!(verdict, Verdict::Forward(_));
            let own = self.nat.external().contains(&packet.source())
                || packet.is_ipv6()
                || self.nat.behavior().translation == TranslationKind::None;
            assert!(!leaves || own, "{packet:?} leaves with an address that the NAT has lost");
        }
        let hairpinned = matches!(verdict, Verdict::Hairpin { .. });
        assert!(!hairpinned || from == Side::Inside, "a packet from outside does not turn back");
        if from == Side::Outside || hairpinned { self.inside.push(packet) } else { self.outside.push(packet) }
    }

    /// A power cut: what a person has configured comes back.
    fn reboot(&mut self) {
        let told = collect(|told| self.nat.reboot(told));
        self.note(told);
        self.held.clear();
        let explicit = self.nat.explicit();
        assert!(explicit.iter().all(|one| one.by == MappedBy::Static), "{explicit:?} outlive a reboot");
        let known = |one: &MappingView| explicit.iter().any(|explicit| explicit.mapping == one.id.0);
        assert!(self.nat.mappings().iter().all(known), "mappings that outlive a reboot");
    }

    /// An explicit mapping is asked for. A refusal changes nothing; what is given is what was asked for.
    fn map(&mut self, input: &mut Input<'_>) {
        let (which, wish) = (input.byte(), input.byte());
        let ipv6 = which & 0x80 != 0;
        let filter =
            RemoteFilter { address: remote(ipv6, input).ip(), prefix_len: input.byte(), port: u16::from(wish) };
        let request = MapRequest {
            protocol: [Protocol::Udp, Protocol::Tcp, Protocol::Udp, Protocol::Icmp][usize::from(which >> 2 & 3)],
            internal: SocketAddr::new(address(ipv6, 10, which % 3 + 1), input.pick(&PORTS)),
            external_address: (wish & 1 != 0).then(|| address(ipv6, 198, wish >> 1 & 3)),
            external_port: input.pick(&PORTS),
            exact: wish & 8 != 0,
            remote: (wish & 16 != 0).then(|| remote(ipv6, input)),
            filters: if wish & 32 != 0 { vec![filter] } else { Vec::new() },
            lifetime: (wish & 0xC0 != 0).then(|| Duration::from_secs(input.byte().into())),
            pair: which & 16 != 0,
            by: input.pick(&[MappedBy::Static, MappedBy::NatPmp, MappedBy::Pcp, MappedBy::Upnp]),
        };
        self.asked += 1;
        self.handle();
        let before = self.nat.explicit();
        match self.nat.map(&request, self.now) {
            Err(_) => assert_eq!(self.nat.explicit(), before, "a refusal changes nothing"),
            Ok(made) => {
                assert_eq!((made.protocol, made.internal), (request.protocol, request.internal));
                let wanted = request.external_port == 0 || made.external.port() == request.external_port;
                assert!(!request.exact || wanted, "{made:?} is not what was asked for: {request:?}");
                assert!(self.nat.explicit().contains(&made) || made.until <= Some(self.now), "{made:?} is not there");
            }
        }
        self.outputs();
    }

    /// One of the explicit mappings is given up, with its traffic or without.
    fn unmap(&mut self, input: &mut Input<'_>) {
        self.handle();
        let (which, all) = (input.byte(), self.nat.explicit());
        if let Some(one) = all.get(usize::from(which & 0x7F) % all.len().max(1)) {
            self.give_up(one, if which & 0x80 != 0 { Traffic::Ends } else { Traffic::Stays });
        }
    }

    fn give_up(&mut self, one: &ExplicitMapping, traffic: Traffic) {
        let mut found = false;
        let told = collect(|told| found = self.nat.unmap(one, traffic, self.now, told));
        assert!(found, "{one:?} was there");
        self.note(told);
        self.outputs();
        let left = self.nat.explicit();
        assert!(
            !left.iter().any(|left| (left.mapping, left.remote) == (one.mapping, one.remote)),
            "{one:?} is still there"
        );
    }

    /// What the NAT does of its own accord, and with what it held.
    fn outputs(&mut self) {
        let mut count = 0;
        while let Some(output) = self.nat.poll_output() {
            count += 1;
            assert!(count <= 4 * (self.packets + self.asked) + 16, "outputs without end");
            match output {
                Output::Release { hold, from, packet, verdict } => {
                    let (side, _) = self.held.remove(&hold).unwrap_or_else(|| panic!("{hold:?} was not held"));
                    assert_eq!(side, from);
                    assert!(matches!(verdict, Verdict::Forward(_) | Verdict::Hairpin { .. }), "{verdict:?}");
                    assert_eq!(Packet::parse(packet.bytes().to_vec()).as_ref(), Ok(&packet));
                    self.deliver(from, packet, verdict);
                }
                Output::Discard { hold, from, packet, .. } => {
                    let (side, came) = self.held.remove(&hold).unwrap_or_else(|| panic!("{hold:?} was not held"));
                    assert_eq!(side, from);
                    assert_eq!(came, packet, "a held packet dies as it came");
                }
                Output::Joined { hold } => {
                    assert!(self.held.remove(&hold).is_some(), "{hold:?} was not held");
                }
                Output::Send { packet, .. } => {
                    assert_eq!(Packet::parse(packet.bytes().to_vec()).as_ref(), Ok(&packet));
                    assert!(packet.transport_checksum_ok(), "{packet:?}");
                }
            }
        }
    }

    /// A large datagram in pieces, in some order, some of them perhaps twice or never, from either side.
    fn fragments(&mut self, input: &mut Input<'_>) {
        let (inbound, mtu_bytes) = (input.flag(), input.pick(&[68, 100, 576]));
        let packet = if inbound { self.coming(input) } else { self.leaving(input) };
        let Some(pieces) = packet.and_then(|packet| build::fragments(packet, mtu_bytes, 7)) else { return };
        for _ in 0..pieces.len().min(16) + 1 {
            let piece = Some(pieces[usize::from(input.byte()) % pieces.len()].clone());
            if inbound { self.receive(piece) } else { self.send(piece) }
        }
    }

    fn wait(&mut self, input: &mut Input<'_>) {
        let (kind, next) = (input.byte(), self.nat.poll_timeout());
        self.now = match kind % 4 {
            0 => next.unwrap_or(self.now).max(self.now),
            1 => next.map_or(self.now, |next| Time::from_nanos(next.as_nanos().saturating_sub(1))).max(self.now),
            2 => self.now + Duration::from_millis(input.byte().into()),
            _ => self.now + Duration::from_secs(input.byte().into()),
        };
        if kind & 0x80 == 0 {
            self.handle();
        }
    }

    /// Handles what is due; nothing may happen where nothing is.
    fn handle(&mut self) {
        let (due, live) = (self.nat.poll_timeout(), self.nat.mappings());
        let told = collect(|told| self.nat.handle_timeout(self.now, told));
        if due.is_none_or(|due| due > self.now) {
            let silence = (told.is_empty(), self.nat.mappings(), self.nat.poll_timeout(), self.nat.poll_output());
            assert_eq!(silence, (true, live, due, None), "silence before the deadline");
        }
        self.note(told);
        self.outputs();
        assert!(self.nat.poll_timeout().is_none_or(|due| due > self.now), "what was due is done");
    }

    /// Every mapping ends once.
    fn note(&mut self, told: Vec<Ended>) {
        for one in told {
            assert!(self.ended.insert(one.mapping.id.0), "{one:?} ended before");
            assert_eq!(self.nat.mapping(one.mapping.id), None, "what ended is gone");
        }
    }

    fn look(&self) {
        let live = self.nat.mappings();
        // A hairpinned packet may open one for either end.
        let most = 2 * self.packets + self.asked;
        assert!(live.len() <= most, "{} mappings of {} packets and {} requests", live.len(), self.packets, self.asked);
        assert!(live.iter().all(|one| !self.ended.contains(&one.id.0) && one.created <= self.now));
        let ids: BTreeSet<u64> = live.iter().map(|one| one.id.0).collect();
        let externals: BTreeSet<(Protocol, SocketAddr)> = live.iter().map(|one| (one.protocol, one.external)).collect();
        assert_eq!(ids.len(), live.len(), "one number, one mapping");
        let shared = may_share(self.nat.behavior());
        assert!(shared || externals.len() == live.len(), "two mappings share an external endpoint: {live:?}");
        let owned =
            |one: &MappingView| one.external == one.internal || self.nat.external().contains(&one.external.ip());
        assert!(live.iter().all(owned), "an external endpoint that is not the NAT's: {live:?}");
        for one in self.nat.explicit() {
            let on = live.iter().find(|mapping| mapping.id.0 == one.mapping);
            assert_eq!(
                on.map(|on| (on.protocol, on.internal, on.external)),
                Some((one.protocol, one.internal, one.external))
            );
        }
    }

    /// Without packets, everything ends by the announced deadlines alone, but for what has no end until it is given up.
    fn silence(mut self) {
        self.handle();
        for one in self.nat.explicit().iter().filter(|one| one.until.is_none()) {
            self.give_up(one, Traffic::Stays);
        }
        let end = self.now + AGES;
        let mut turns = 0;
        while let Some(due) = self.nat.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.handle();
            turns += 1;
            assert!(turns <= 100 * (self.packets + self.asked + 1), "deadlines that end nothing, again and again");
        }
        assert_eq!(self.nat.mappings(), [], "mappings that outlive {AGES:?} of silence");
        assert!(self.held.is_empty(), "packets that are held for ever: {:?}", self.held);
    }
}

/// Whether mappings may have one external endpoint together.
fn may_share(behavior: &Behavior) -> bool {
    behavior.ports.overlap != PortOverlap::None || behavior.ports.conflict == PortConflict::Overload
}

/// Whether what a packet carries may change, and its length with it; or an error's quote may be left as it was.
fn rewrites_payloads(behavior: &Behavior) -> bool {
    let alg = &behavior.alg;
    let errors = [behavior.icmp_error.inbound, behavior.icmp_error.outbound];
    [alg.ftp, alg.sip, alg.tftp].contains(&Switch::On)
        || alg.generic != GenericAlg::Off
        || errors.iter().any(|errors| *errors != IcmpErrors::Translate)
}

fn remote(ipv6: bool, input: &mut Input<'_>) -> SocketAddr {
    let which = input.byte();
    SocketAddr::new(address(ipv6, 192, which % 3 + 1), REMOTE_PORTS[usize::from(which >> 4) % REMOTE_PORTS.len()])
}

fn packet(source: SocketAddr, destination: SocketAddr, input: &mut Input<'_>) -> Option<Packet> {
    let (kind, fields) = (input.byte(), input.byte());
    let fields = IpFields {
        ttl: [64, 2, 1, 0][usize::from(fields) & 3],
        dont_fragment: fields & 4 != 0,
        identification: fields.into(),
    };
    let payload = match kind >> 4 & 7 {
        6 => &[0x55; 700],
        7 => input.bytes(),
        known => PAYLOADS[usize::from(known)],
    };
    match kind & 15 {
        0..=6 => build::udp(source, destination, fields, payload),
        7..=12 => {
            let bits = input.byte();
            let flag = |bit: u8| bits >> bit & 1 != 0;
            let flags = TcpFlags { syn: flag(0), ack: flag(1), fin: flag(2), rst: flag(3), psh: flag(4) };
            let (sequence, acknowledgement) = (u32::from(input.short()) << 16, u32::from(input.short()));
            build::tcp(source, destination, fields, flags, sequence, acknowledgement, 1000, payload)
        }
        13 => build::echo(true, source.ip(), destination.ip(), fields, source.port(), 1, payload),
        14 => build::echo(false, source.ip(), destination.ip(), fields, destination.port(), 1, payload),
        _ => build::ip(source.ip(), destination.ip(), input.byte(), fields, payload),
    }
}

/// One of the last packets on a side.
fn seen<'a>(packets: &'a [Packet], input: &mut Input<'_>) -> Option<&'a Packet> {
    packets.iter().rev().nth(usize::from(input.byte() & 7))
}

/// The answer to a packet that arrived: its endpoints exchanged; for TCP with other flags, for echo the reply.
fn turned(packets: &[Packet], input: &mut Input<'_>) -> Option<Packet> {
    let seen = seen(packets, input)?;
    let (source, destination) = (seen.destination_endpoint(), seen.source_endpoint());
    match seen.protocol()? {
        Protocol::Icmp => {
            build::echo(false, source.ip(), destination.ip(), IpFields::default(), destination.port(), 1, b"natbox")
        }
        _ => packet(source, destination, input),
    }
}

/// An error about a packet that arrived, from its receiver or a router, its quote perhaps cut.
fn error(packets: &[Packet], input: &mut Input<'_>, network: u8) -> Option<Packet> {
    let offender = seen(packets, input)?;
    let which = input.byte();
    let from = if which & 1 != 0 { address(offender.is_ipv6(), network, 77) } else { offender.destination() };
    let kinds = [
        IcmpError::PortUnreachable,
        IcmpError::HostUnreachable,
        IcmpError::PacketTooBig { mtu: 1280 },
        IcmpError::TtlExceeded,
        IcmpError::AdminProhibited,
        IcmpError::ProtocolUnreachable,
    ];
    let error = build::icmp_error(kinds[usize::from(which >> 1) % kinds.len()], from, offender)?;
    if which & 0x80 == 0 {
        return Some(error);
    }
    let header = if error.is_ipv6() { 48 } else { 28 };
    let cut = error.bytes().len().min(header + usize::from(input.byte()));
    Packet::parse(mended(&error.bytes()[..cut])).ok()
}

fn collect(drive: impl FnOnce(&mut dyn FnMut(Ended))) -> Vec<Ended> {
    let mut told = Vec::new();
    drive(&mut |one| told.push(one));
    told
}
