//! Plays a script's steps on a box, whichever it is, and writes down what comes out.
//!
//! Knows neither the kernel nor natbox: both are a [`Device`]. What came out is written with the names of the script, and
//! ports that the script does not name are numbered in the order in which they are first seen. Two boxes agree when
//! their texts are equal: that is the bijection between their random ports, and their classes.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use natbox_wire::build::{self, IpFields};
use natbox_wire::{IcmpError, Packet, Protocol, Transport};

use crate::lane::Lane;
use crate::script::{Action, Cut, End, ErrorKind, Options, Script, What, Wrap, letters};
use crate::variant;

/// A side of the box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Inside,
    Outside,
}

/// A box with two sides.
pub(crate) trait Device {
    /// Gives it a packet on one side, and takes what comes out of it, on either.
    fn pass(&mut self, from: Side, packet: &Packet) -> Vec<(Side, Packet)>;
}

/// A script in progress.
pub(crate) struct Play<'a> {
    script: &'a Script,
    lane: Lane,
    next: usize,
    slot: u32,
    /// The external endpoint under which a flow was last seen: by protocol, source and destination as sent.
    mapped: BTreeMap<(Protocol, SocketAddr, SocketAddr), SocketAddr>,
    /// What came out of a step, translated, by label.
    came: BTreeMap<u32, Packet>,
    names: Names,
    outcomes: Vec<Vec<String>>,
}

impl<'a> Play<'a> {
    pub(crate) fn new(script: &'a Script, lane: Lane) -> Play<'a> {
        let names = Names::of(script, lane);
        Play {
            script,
            lane,
            next: 0,
            slot: 0,
            mapped: BTreeMap::new(),
            came: BTreeMap::new(),
            names,
            outcomes: Vec::new(),
        }
    }

    /// Plays all steps that belong to `slot`; earlier slots have been played.
    pub(crate) fn play_slot(&mut self, slot: u32, device: &mut impl Device) {
        while self.slot <= slot
            && let Some(step) = self.script.steps.get(self.next)
        {
            let outcome = match &step.action {
                Action::Wait { slots } => {
                    self.slot += slots;
                    Vec::new()
                }
                Action::Send { label, inbound, what, from, to, wrap } => {
                    let packet = self.packet(*what, *from, *to, *wrap);
                    self.pass(*label, *inbound, packet, *wrap, device)
                }
                Action::Error { label, inbound, error, from, about } => match self.error(*error, *from, *about) {
                    Some(packet) => self.pass(*label, *inbound, packet, Wrap::default(), device),
                    None => vec!["nothing to quote".to_owned()],
                },
            };
            self.outcomes.push(outcome);
            self.next += 1;
        }
    }

    /// What came out, step by step.
    pub(crate) fn finish(self) -> Script {
        self.script.with_outcomes(self.outcomes)
    }

    fn pass(&mut self, label: u32, inbound: bool, packet: Packet, wrap: Wrap, device: &mut impl Device) -> Vec<String> {
        let from = if inbound { Side::Outside } else { Side::Inside };
        let mut out = Vec::new();
        for piece in pieces(&packet, wrap.cut) {
            out.extend(device.pass(from, &piece));
        }
        for (side, came) in out.iter().filter(|(side, came)| *side != from && came.protocol() == packet.protocol()) {
            if *side == Side::Outside
                && let Some(protocol) = packet.protocol()
            {
                let flow = (protocol, packet.source_endpoint(), self.destination(&packet));
                // What leaked untranslated is looked for at the box's own address all the same.
                let own =
                    if self.names.is_external(came.source()) { came.source() } else { self.lane.external().into() };
                self.mapped.insert(flow, SocketAddr::new(own, came.source_endpoint().port()));
            }
            // What leaked with an address that nobody outside can answer is not spoken of there.
            if *side == Side::Inside || self.names.is_external(came.source()) {
                self.came.insert(label, came.clone());
            }
        }
        if out.is_empty() {
            return vec!["nothing".to_owned()];
        }
        out.iter().map(|(side, came)| self.names.line(*side, came, &packet, wrap)).collect()
    }

    /// A packet's destination as scripts write it: echo has no port there.
    fn destination(&self, packet: &Packet) -> SocketAddr {
        match packet.protocol() {
            Some(Protocol::Icmp) => SocketAddr::new(packet.destination(), 0),
            _ => packet.destination_endpoint(),
        }
    }

    fn packet(&self, what: What, from: End, to: End, wrap: Wrap) -> Packet {
        let (from, to) = (self.endpoint(what, from), self.endpoint(what, to));
        let usual = IpFields::default();
        let fields = IpFields {
            ttl: wrap.ttl.unwrap_or(usual.ttl),
            identification: wrap.identification.unwrap_or(1),
            dont_fragment: wrap.dont_fragment,
        };
        let payload = wrap.bytes.map_or(b"natbox".to_vec(), |bytes| (0..bytes).map(|at| at as u8).collect());
        let built = match what {
            What::Udp => build::udp(from, to, fields, &payload),
            What::Echo { request } => {
                let identifier = if request { from.port() } else { to.port() };
                build::echo(request, from.ip(), to.ip(), fields, identifier, 1, &payload)
            }
            What::Tcp(segment) => with_options(
                segment.options,
                fields,
                build::tcp(
                    from,
                    to,
                    fields,
                    segment.flags,
                    segment.sequence,
                    segment.acknowledgement,
                    segment.window_bytes,
                    &vec![b'n'; usize::from(segment.length_bytes)],
                ),
            ),
        };
        built.expect("lanes have good addresses")
    }

    fn error(&self, error: ErrorKind, from: End, about: u32) -> Option<Packet> {
        let error = match error {
            ErrorKind::PortUnreachable => IcmpError::PortUnreachable,
            ErrorKind::HostUnreachable => IcmpError::HostUnreachable,
            ErrorKind::TtlExceeded => IcmpError::TtlExceeded,
            ErrorKind::TooBig => IcmpError::PacketTooBig { mtu: 1300 },
            ErrorKind::AdminProhibited => IcmpError::AdminProhibited,
        };
        build::icmp_error(error, self.endpoint(What::Udp, from).ip(), self.came.get(&about)?)
    }

    fn endpoint(&self, what: What, end: End) -> SocketAddr {
        match end {
            End::Host(host, port) => self.lane.host(host, port),
            End::Remote(remote, port) => self.lane.remote(remote, port),
            End::External(port) => SocketAddr::new(self.lane.external().into(), port),
            End::Mapped { host, remote } => {
                let flow = (what.protocol(), self.lane.host(host.0, host.1), self.lane.remote(remote.0, remote.1));
                // A flow that was never seen outside would have kept its port.
                let unseen = SocketAddr::new(self.lane.external().into(), host.1);
                self.mapped.get(&flow).copied().unwrap_or(unseen)
            }
        }
    }
}

/// What goes over the wire of a packet that is cut.
fn pieces(packet: &Packet, cut: Option<Cut>) -> Vec<Packet> {
    let Some(cut) = cut else { return vec![packet.clone()] };
    let identification = packet.identification().unwrap_or(1).into();
    let whole = build::fragments(packet.clone(), 20 + usize::from(cut.bytes), identification);
    let whole = whole.expect("cuts that leave room for eight bytes");
    cut.order.iter().filter_map(|piece| whole.get(usize::from(*piece).checked_sub(1)?).cloned()).collect()
}

/// A segment with options behind its header.
fn with_options(options: Options, fields: IpFields, plain: Option<Packet>) -> Option<Packet> {
    let plain = plain?;
    let mut bytes: Vec<u8> = Vec::new();
    if let Some(scale) = options.scale {
        bytes.extend([3, 3, scale]);
    }
    if options.sack_permitted {
        bytes.extend([4, 2]);
    }
    let blocks: Vec<u8> = options
        .sack
        .iter()
        .flatten()
        .flat_map(|(first, end)| [first.to_be_bytes(), end.to_be_bytes()].concat())
        .collect();
    if !blocks.is_empty() {
        bytes.extend([5, 2 + blocks.len() as u8]);
        bytes.extend(blocks);
    }
    bytes.resize(bytes.len().next_multiple_of(4), 1);
    let (header, payload) = plain.ip_payload().split_at(20);
    let mut part = [header, &bytes, payload].concat();
    part[12] = ((20 + bytes.len() as u8) / 4) << 4;
    part[16..18].fill(0);
    let (source, destination) = (plain.source(), plain.destination());
    let checksum = natbox_wire::checksum::transport_checksum(source, destination, 6, &part);
    part[16..18].copy_from_slice(&checksum.to_be_bytes());
    build::ip(source, destination, 6, fields, &part)
}

/// Words for what came out.
struct Names {
    lane: Lane,
    /// The numbers that the script names, by protocol.
    named: BTreeMap<Protocol, Vec<u16>>,
    /// Other numbers, in the order in which they are first seen.
    seen: BTreeMap<Protocol, Vec<u16>>,
    /// Where the box has a pool, the addresses of it that have been seen, likewise.
    pool: Option<Vec<IpAddr>>,
}

impl Names {
    fn of(script: &Script, lane: Lane) -> Names {
        let all = [Protocol::Udp, Protocol::Tcp, Protocol::Icmp];
        let named = all.iter().map(|protocol| (*protocol, script.named_ports(*protocol))).collect();
        let has_pool = variant::index(&script.variant).is_some_and(|index| variant::ALL[index].has_pool());
        Names { lane, named, seen: BTreeMap::new(), pool: has_pool.then(Vec::new) }
    }

    /// Whether an address is one of the box's outside.
    fn is_external(&self, address: IpAddr) -> bool {
        match self.pool {
            None => address == self.lane.external(),
            Some(_) => self.lane.pool().into_iter().any(|own| address == own),
        }
    }

    /// What an address is called: which one of a pool it is, is the box's own affair.
    fn address(&mut self, address: IpAddr) -> String {
        let own = self.is_external(address);
        let Some(seen) = self.pool.as_mut().filter(|_| own) else { return self.lane.name(address) };
        let at = seen.iter().position(|one| *one == address).unwrap_or_else(|| {
            seen.push(address);
            seen.len() - 1
        });
        format!("pool#{}", at + 1)
    }

    /// One packet that came out when `sent` was put in.
    fn line(&mut self, side: Side, came: &Packet, sent: &Packet, wrap: Wrap) -> String {
        let side = match side {
            Side::Inside => "inside",
            Side::Outside => "outside",
        };
        let extra = if came.protocol() != Some(Protocol::Tcp) || same_tcp(came, sent) {
            ""
        } else {
            &format!(" seq {} ack {}", came.tcp_sequence().unwrap_or(0), came.tcp_acknowledgement().unwrap_or(0))
        };
        let error = matches!(sent.transport(), Transport::IcmpError(_));
        let cut = came.fragment();
        let same = cut.is_some() || error || came.protocol() != sent.protocol() || came.payload() == sent.payload();
        let payload = if same { "" } else { " altered" };
        let mut fields = String::new();
        // What the box itself says has numbers of its own.
        let answered = came.destination() == sent.source();
        let asked = if came.protocol() == sent.protocol() && !answered { wrap } else { Wrap::default() };
        if asked.ttl.is_some() {
            fields += &format!(" ttl {}", came.ttl());
        }
        if let Some(identification) = came.identification().filter(|_| asked.identification.is_some()) {
            fields += &format!(" id {identification}");
        }
        if asked.dont_fragment && came.dont_fragment() {
            fields += " df";
        }
        if let Some(piece) = cut {
            let more = if piece.more { " more" } else { "" };
            fields += &format!(" part {}+{}{more}", piece.offset_bytes, came.fragment_data().len());
        }
        format!("{side} {}{extra}{payload}{fields}", self.packet(came))
    }

    fn packet(&mut self, packet: &Packet) -> String {
        if packet.fragment().is_some_and(|piece| piece.offset_bytes > 0) {
            return format!("later {} > {}", self.address(packet.source()), self.address(packet.destination()));
        }
        let bad = if packet.is_fragment() || packet.transport_checksum_ok() { "" } else { " bad-checksum" };
        let (source, destination) = (packet.source_endpoint(), packet.destination_endpoint());
        let text = match packet.transport() {
            Transport::Udp { .. } => {
                format!("udp {} > {}", self.end(Protocol::Udp, source), self.end(Protocol::Udp, destination))
            }
            Transport::Tcp { flags, .. } => {
                let ends = (self.end(Protocol::Tcp, source), self.end(Protocol::Tcp, destination));
                format!("tcp {} > {} {}", ends.0, ends.1, letters(flags))
            }
            Transport::Echo { request, identifier, .. } => {
                let kind = if request { "request" } else { "reply" };
                let (from, to) = (self.address(source.ip()), self.address(destination.ip()));
                format!("echo-{kind} {from} > {to} id {}", self.port(Protocol::Icmp, identifier))
            }
            Transport::IcmpError(error) => {
                let (kind, code) = error.type_and_code(false);
                let (from, to) = (self.address(source.ip()), self.address(destination.ip()));
                let quoted = match Packet::parse(packet.payload().to_vec()) {
                    Ok(quoted) => self.packet(&quoted),
                    Err(malformed) => format!("malformed: {:?}", malformed.reason),
                };
                format!("error {kind}/{code} {from} > {to} [{quoted}]")
            }
            other => format!("{other:?}"),
        };
        text + bad
    }

    fn end(&mut self, protocol: Protocol, end: SocketAddr) -> String {
        let name = self.address(end.ip());
        format!("{name}:{}", self.port(protocol, end.port()))
    }

    fn port(&mut self, protocol: Protocol, port: u16) -> String {
        if self.named.get(&protocol).is_some_and(|named| named.contains(&port)) {
            return port.to_string();
        }
        let seen = self.seen.entry(protocol).or_default();
        let at = seen.iter().position(|one| *one == port).unwrap_or_else(|| {
            seen.push(port);
            seen.len() - 1
        });
        format!("#{} in {}", at + 1, class(protocol, port))
    }
}

/// The class that a number lies in: those of Linux (net/netfilter/nf_nat_core.c), and the rest.
fn class(protocol: Protocol, port: u16) -> &'static str {
    match port {
        _ if protocol == Protocol::Icmp => "0-65535",
        0 => "0",
        1..=511 => "1-511",
        512..=599 => "512-599",
        600..=1023 => "600-1023",
        1024.. => "1024-65535",
    }
}

/// Whether a segment says the same as another, but for its ports.
fn same_tcp(one: &Packet, other: &Packet) -> bool {
    let parts = |packet: &Packet| (packet.tcp_sequence(), packet.tcp_acknowledgement(), packet.tcp_window());
    parts(one) == parts(other)
}
