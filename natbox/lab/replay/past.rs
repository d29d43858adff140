//! What a capture tells of packets that hosts sent: their bytes, their times, what became of them, and which external
//! endpoints their flows had.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use natbox_wire::{Offload, Packet, Protocol, Time};
use natbox_world::InterfaceId;

use super::fate::Fate;
use super::{Exit, MAX_BYTES, MAX_PACKETS, ReplayError};
use crate::build::Built;
use crate::capture::{Content, Direction, Frame, Reader};
use crate::plan::Plan;
use crate::suggest::did_you_mean;

/// A packet that a host sent; in pieces, if it went out as fragments.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    /// Its number in the capture.
    pub(super) packet: u64,
    pub(super) host: String,
    pub(super) at: Time,
    pub(super) summary: String,
    pub(super) source: Option<SocketAddr>,
    pub(super) destination: Option<SocketAddr>,
    pub(super) then: Fate,
    /// The packet whose external endpoint this one was sent to.
    pub(super) towards: Option<Towards>,
}

/// Whose external endpoint a packet was sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Towards {
    pub(super) unit: usize,
    pub(super) nat: String,
}

/// One packet to be sent.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) at: Time,
    pub(super) unit: usize,
    pub(super) interface: InterfaceId,
    pub(super) bytes: Vec<u8>,
    pub(super) offload: Offload,
}

/// What is to be sent, and what became of it.
#[derive(Clone)]
pub(super) struct Past {
    pub(super) units: Rc<Vec<Unit>>,
    pub(super) pieces: Rc<Vec<Piece>>,
    pub(super) hosts: Rc<BTreeSet<String>>,
}

impl Past {
    pub(super) fn last_sent(&self) -> Duration {
        self.pieces.iter().map(|piece| piece.at.since(Time::ZERO)).max().unwrap_or_default()
    }

    pub(super) fn read(capture: impl Read, plan: &Plan, built: &Built) -> Result<Past, ReplayError> {
        let mut reader = Reader::new(capture)?;
        if !reader.is_natbox() {
            let why = "it was not written by natbox: which packets its hosts sent is not known".to_owned();
            return Err(ReplayError::Unfit(why));
        }
        let mut reading = Reading::new(plan, built);
        while let Some(frame) = reader.next() {
            let frame = frame?;
            reading.meet(reader.interfaces().iter().map(|known| (known.name.as_str(), known.description.as_deref())));
            reading.frame(&frame)?;
        }
        if reading.pieces.is_empty() {
            return Err(ReplayError::Unfit("no host sends anything in this capture".to_owned()));
        }
        // Captures are in the order of time but for what was held back.
        reading.pieces.sort_by_key(|piece| piece.at);
        Ok(Past { units: Rc::new(reading.units), pieces: Rc::new(reading.pieces), hosts: Rc::new(reading.hosts) })
    }
}

/// A capture under study.
struct Reading<'a> {
    plan: &'a Plan,
    built: &'a Built,
    /// Who is a host in the capture.
    hosts: BTreeSet<String>,
    interfaces: usize,
    units: Vec<Unit>,
    pieces: Vec<Piece>,
    by_packet: BTreeMap<u64, usize>,
    bytes: usize,
    /// Where a packet came into a NAT from inside: from which endpoint.
    entered: BTreeMap<(u64, String), SocketAddr>,
    /// The flows that have had an external endpoint: the packet that was given it first, of the flow that had it last.
    owners: BTreeMap<(Protocol, SocketAddr), Owner>,
    /// From where hosts were sent packets last: which one showed them an external endpoint.
    shown: BTreeMap<(String, Protocol, SocketAddr), Towards>,
}

struct Owner {
    internal: SocketAddr,
    towards: Towards,
}

impl<'a> Reading<'a> {
    fn new(plan: &'a Plan, built: &'a Built) -> Reading<'a> {
        Reading {
            plan,
            built,
            hosts: plan.hosts.iter().map(|host| host.name.clone()).collect(),
            interfaces: 0,
            units: Vec::new(),
            pieces: Vec::new(),
            by_packet: BTreeMap::new(),
            bytes: 0,
            entered: BTreeMap::new(),
            owners: BTreeMap::new(),
            shown: BTreeMap::new(),
        }
    }

    fn meet<'b>(&mut self, interfaces: impl ExactSizeIterator<Item = (&'b str, Option<&'b str>)>) {
        if interfaces.len() != self.interfaces {
            self.interfaces = interfaces.len();
            let hosts = interfaces.filter_map(|(_, about)| about?.strip_prefix("host ").map(str::to_owned));
            self.hosts.extend(hosts);
        }
    }

    fn frame(&mut self, frame: &Frame<'_>) -> Result<(), ReplayError> {
        let Some(packet) = frame.packet else { return Ok(()) };
        if frame.direction == Some(Direction::Out) && self.hosts.contains(frame.node()) {
            self.sent(frame, packet)?;
        }
        let Some(&unit) = self.by_packet.get(&packet) else { return Ok(()) };
        self.units[unit].then.see(frame, &self.hosts);
        if let Content::Ip(facts) = &frame.content
            && let Some(protocol) = facts.protocol()
        {
            self.learn(frame, packet, unit, protocol, facts.source);
        }
        Ok(())
    }

    /// Which external endpoints a flow has, and who gets to see them.
    fn learn(&mut self, frame: &Frame<'_>, packet: u64, unit: usize, protocol: Protocol, source: SocketAddr) {
        let node = frame.node().to_owned();
        match (frame.direction, frame.interface.rsplit_once(':')) {
            (Some(Direction::In), _) if self.hosts.contains(&node) => {
                let nat = self.owners.get(&(protocol, source)).map(|owner| owner.towards.nat.clone());
                if let Some(nat) = nat {
                    self.shown.insert((node, protocol, source), Towards { unit, nat });
                }
            }
            (Some(Direction::In), Some((_, "inside"))) => drop(self.entered.insert((packet, node), source)),
            (Some(Direction::Out), Some((_, "outside"))) => {
                let Some(internal) = self.entered.remove(&(packet, node.clone())) else { return };
                let known = self.owners.get(&(protocol, source)).is_some_and(|owner| owner.internal == internal);
                if internal != source && !known {
                    let towards = Towards { unit, nat: node };
                    self.owners.insert((protocol, source), Owner { internal, towards });
                }
            }
            _ => {}
        }
    }

    /// A host sends a packet, or another piece of one.
    fn sent(&mut self, frame: &Frame<'_>, packet: u64) -> Result<(), ReplayError> {
        let interface = self.interface(frame)?;
        self.bytes += frame.bytes.len();
        if self.pieces.len() >= MAX_PACKETS || self.bytes > MAX_BYTES {
            return Err(ReplayError::Unfit(format!(
                "hosts send more than {MAX_PACKETS} packets or {} MiB in it: replay a part (`editcap -A`, `-B`)",
                MAX_BYTES >> 20
            )));
        }
        let unit = match self.by_packet.get(&packet) {
            Some(unit) => *unit,
            None => self.unit(frame, packet),
        };
        let mtu = self.mtu(frame.node(), &frame.interface);
        let (bytes, offload) = unfinished(frame.bytes.to_vec(), mtu);
        self.pieces.push(Piece { at: frame.at, unit, interface, bytes, offload });
        Ok(())
    }

    fn unit(&mut self, frame: &Frame<'_>, packet: u64) -> usize {
        let facts = match &frame.content {
            Content::Ip(facts) => Some(facts),
            Content::Malformed(_) | Content::NotIp(_) => None,
        };
        let protocol = facts.and_then(|facts| facts.protocol());
        let (source, destination) = (facts.map(|facts| facts.source), facts.map(|facts| facts.destination));
        let host = frame.node().to_owned();
        let towards = protocol.zip(destination).and_then(|(protocol, to)| {
            let seen = self.shown.get(&(host.clone(), protocol, to));
            seen.or_else(|| self.owners.get(&(protocol, to)).map(|owner| &owner.towards)).cloned()
        });
        let summary = frame.content.to_string();
        let (at, then) = (frame.at, Fate::default());
        self.units.push(Unit { packet, host, at, summary, source, destination, then, towards });
        self.by_packet.insert(packet, self.units.len() - 1);
        self.units.len() - 1
    }

    /// The interface of this name, of the host of this name.
    fn interface(&self, frame: &Frame<'_>) -> Result<InterfaceId, ReplayError> {
        let host = frame.node();
        let known = || self.plan.hosts.iter().map(|host| host.name.as_str());
        let uplinks = self.built.machine(host).map(|machine| machine.uplinks.as_slice()).unwrap_or_default();
        if uplinks.is_empty() || !known().any(|name| name == host) {
            let hint = did_you_mean(host, known()).map(|near| format!("did you mean `{near}`?"));
            let hint = hint.unwrap_or_else(|| format!("it has {}", known().collect::<Vec<_>>().join(", ")));
            return Err(ReplayError::Unfit(format!(
                "`{host}` sends packets in the capture, and is no host of the topology; {hint}"
            )));
        }
        let named = |id: &&InterfaceId| self.built.names.interface(**id) == frame.interface;
        uplinks.iter().find(named).copied().or_else(|| (uplinks.len() == 1).then(|| uplinks[0])).ok_or_else(|| {
            let there: Vec<String> = uplinks.iter().map(|id| self.built.names.interface(*id)).collect();
            ReplayError::Unfit(format!(
                "`{host}` sends through `{}` in the capture; expected one of its uplinks in the topology: {}",
                frame.interface,
                there.join(", ")
            ))
        })
    }

    fn mtu(&self, host: &str, interface: &str) -> usize {
        let host = self.plan.hosts.iter().find(|known| known.name == host);
        let uplinks = host.map(|host| host.uplinks.as_slice()).unwrap_or_default();
        let named = |index: &usize| {
            let ids = host.and_then(|host| self.built.machine(&host.name)).map(|machine| machine.uplinks.as_slice());
            ids.and_then(|ids| ids.get(*index)).is_some_and(|id| self.built.names.interface(*id) == interface)
        };
        let index = (0..uplinks.len()).find(named).unwrap_or(0);
        uplinks.get(index).map_or(usize::MAX, |uplink| uplink.link.mtu_bytes)
    }
}

/// What a kernel left to its card, as a capture shows it: a checksum over the pseudo-header alone, a segment longer than
/// the link carries. How long the segments were to be, a capture does not say: as long as they can be.
fn unfinished(bytes: Vec<u8>, mtu: usize) -> (Vec<u8>, Offload) {
    let Ok(packet) = Packet::parse(bytes.clone()) else { return (bytes, Offload::NONE) };
    if !matches!(packet.protocol(), Some(Protocol::Udp | Protocol::Tcp))
        || packet.is_fragment()
        || packet.transport_checksum_ok()
    {
        return (bytes, Offload::NONE);
    }
    let mut restated = packet.with_offload(Offload { segment_bytes: None, partial_checksum: true });
    restated.restate_partial_checksum();
    if restated.bytes() != bytes {
        // It was sent broken.
        return (bytes, Offload::NONE);
    }
    let room = mtu.saturating_sub(restated.header_bytes());
    let long = bytes.len() > mtu;
    let segment_bytes = if long { u16::try_from(room).ok().and_then(std::num::NonZeroU16::new) } else { None };
    (bytes, Offload { segment_bytes, partial_checksum: true })
}

/// The external endpoint of a flow at a NAT.
pub(super) fn exit_at<'a>(exits: &'a [Exit], nat: &str) -> Option<&'a Exit> {
    exits.iter().rev().find(|exit| exit.nat == nat)
}
