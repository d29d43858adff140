//! Plays a script's steps on a box, whichever it is, and writes down what comes out.
//!
//! Knows neither the kernel nor natbox: both are a [`Device`]. What came out is written with the names of the script, and
//! ports that the script does not name are numbered in the order in which they are first seen. Two boxes agree when
//! their texts are equal: that is the bijection between their random ports, and their classes.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use natbox_wire::build::{self, IpFields};
use natbox_wire::{IcmpError, Packet, Protocol, Transport};

use crate::lane::Lane;
use crate::script::{Action, End, ErrorKind, Script, What, letters};

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
    /// The external port under which a flow was last seen: by protocol, source and destination as sent.
    mapped: BTreeMap<(Protocol, SocketAddr, SocketAddr), u16>,
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
                Action::Send { label, inbound, what, from, to } => {
                    let packet = self.packet(*what, *from, *to);
                    self.pass(*label, *inbound, packet, device)
                }
                Action::Error { label, inbound, error, from, about } => match self.error(*error, *from, *about) {
                    Some(packet) => self.pass(*label, *inbound, packet, device),
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

    fn pass(&mut self, label: u32, inbound: bool, packet: Packet, device: &mut impl Device) -> Vec<String> {
        let from = if inbound { Side::Outside } else { Side::Inside };
        let out = device.pass(from, &packet);
        for (side, came) in out.iter().filter(|(side, came)| *side != from && came.protocol() == packet.protocol()) {
            if *side == Side::Outside
                && let Some(protocol) = packet.protocol()
            {
                let flow = (protocol, packet.source_endpoint(), self.destination(&packet));
                self.mapped.insert(flow, came.source_endpoint().port());
            }
            self.came.insert(label, came.clone());
        }
        if out.is_empty() {
            return vec!["nothing".to_owned()];
        }
        out.iter().map(|(side, came)| self.names.line(*side, came, &packet)).collect()
    }

    /// A packet's destination as scripts write it: echo has no port there.
    fn destination(&self, packet: &Packet) -> SocketAddr {
        match packet.protocol() {
            Some(Protocol::Icmp) => SocketAddr::new(packet.destination(), 0),
            _ => packet.destination_endpoint(),
        }
    }

    fn packet(&self, what: What, from: End, to: End) -> Packet {
        let (from, to) = (self.endpoint(what, from), self.endpoint(what, to));
        let fields = IpFields { identification: 1, ..IpFields::default() };
        let built = match what {
            What::Udp => build::udp(from, to, fields, b"natbox"),
            What::Echo { request } => {
                let identifier = if request { from.port() } else { to.port() };
                build::echo(request, from.ip(), to.ip(), fields, identifier, 1, b"natbox")
            }
            What::Tcp(segment) => build::tcp(
                from,
                to,
                fields,
                segment.flags,
                segment.sequence,
                segment.acknowledgement,
                segment.window_bytes,
                &vec![b'n'; usize::from(segment.length_bytes)],
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
                let port = self.mapped.get(&flow).copied().unwrap_or(host.1);
                SocketAddr::new(self.lane.external().into(), port)
            }
        }
    }
}

/// Words for what came out.
struct Names {
    lane: Lane,
    /// The numbers that the script names, by protocol.
    named: BTreeMap<Protocol, Vec<u16>>,
    /// Other numbers, in the order in which they are first seen.
    seen: BTreeMap<Protocol, Vec<u16>>,
}

impl Names {
    fn of(script: &Script, lane: Lane) -> Names {
        let all = [Protocol::Udp, Protocol::Tcp, Protocol::Icmp];
        let named = all.iter().map(|protocol| (*protocol, script.named_ports(*protocol))).collect();
        Names { lane, named, seen: BTreeMap::new() }
    }

    /// One packet that came out when `sent` was put in.
    fn line(&mut self, side: Side, came: &Packet, sent: &Packet) -> String {
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
        let same = error || came.protocol() != sent.protocol() || came.payload() == sent.payload();
        let payload = if same { "" } else { " altered" };
        format!("{side} {}{extra}{payload}", self.packet(came))
    }

    fn packet(&mut self, packet: &Packet) -> String {
        let bad = if packet.transport_checksum_ok() { "" } else { " bad-checksum" };
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
                let (from, to) = (self.lane.name(source.ip()), self.lane.name(destination.ip()));
                format!("echo-{kind} {from} > {to} id {}", self.port(Protocol::Icmp, identifier))
            }
            Transport::IcmpError(error) => {
                let (kind, code) = error.type_and_code(false);
                let (from, to) = (self.lane.name(source.ip()), self.lane.name(destination.ip()));
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
        let name = self.lane.name(end.ip());
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
