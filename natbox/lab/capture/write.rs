//! From a record to a capture.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufWriter, Write};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use natbox_world::note::{InterfaceId, NodeId, Outcome};
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
};
use pcap_file::pcapng::blocks::name_resolution::{Ipv4Record, Ipv6Record, NameResolutionBlock, Record as Name};
use pcap_file::pcapng::blocks::opt_common::{CommonOption, UnknownOption};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::{PcapNgWriteError, PcapNgWriter};
use pcap_file::{DataLink, Endianness};

use super::{CaptureError, Content, Direction, Frame};
use crate::output::write_file;
use crate::record::{Log, Names, NodeKind, Record, Sighting, Step, comment};

/// The pcapng option that ties together the sightings of one packet (epb_packetid).
pub(super) const PACKET_ID_OPTION: u16 = 5;

/// What a capture holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Packets in it.
    pub packets: u64,
    /// Packets that are missing because the record had no room for them.
    pub missing: u64,
}

/// Writes a capture file, whole or not at all.
pub fn save(path: &Path, log: &Log, names: &Names) -> Result<Written, CaptureError> {
    write_file(path, |out| write(out, log, names))
}

/// Writes a capture. Packets whose bytes were not kept are left out, and counted.
pub fn write(out: impl Write, log: &Log, names: &Names) -> Result<Written, CaptureError> {
    let taps = Taps::of(log, names);
    let mut writer = PcapNgWriter::with_section_header(BufWriter::new(out), section(log)).map_err(failed)?;
    for interface in taps.descriptions(names) {
        writer.write_pcapng_block(interface).map_err(failed)?;
    }
    if let Some(block) = resolution(names) {
        writer.write_pcapng_block(block).map_err(failed)?;
    }
    let mut written = Written { packets: 0, missing: log.missed().records };
    for record in log.records() {
        let Some((tap, frame)) = taps.frame(record, names) else { continue };
        if frame.bytes.is_empty() {
            written.missing += 1;
            continue;
        }
        writer.write_pcapng_block(packet(tap, frame)).map_err(failed)?;
        written.packets += 1;
    }
    writer.get_mut().flush()?;
    Ok(written)
}

/// The packets of a record, as a capture shows them.
pub fn frames<'a>(log: &'a Log, names: &'a Names) -> impl Iterator<Item = Frame<'a>> {
    placed_frames(log, names).filter_map(|(_, frame)| frame)
}

/// Every record, with its packet if a capture shows one.
pub(crate) fn placed_frames<'a>(
    log: &'a Log,
    names: &'a Names,
) -> impl Iterator<Item = (&'a Record, Option<Frame<'a>>)> {
    let taps = Taps::of(log, names);
    log.records().iter().map(move |record| (record, taps.frame(record, names).map(|(_, frame)| frame)))
}

pub(super) fn failed(error: PcapNgWriteError) -> CaptureError {
    match error {
        PcapNgWriteError::Io(error) => CaptureError::Io(error),
        other => CaptureError::Io(std::io::Error::other(other)),
    }
}

fn section(log: &Log) -> SectionHeaderBlock<'static> {
    let missed = log.missed();
    let missing = missed.records + missed.packets;
    section_with(log.truncated().then(|| format!("cut short: there was no room for {missing} more packets")))
}

pub(super) fn section_with(comment: Option<String>) -> SectionHeaderBlock<'static> {
    let application = concat!("natbox ", env!("CARGO_PKG_VERSION"));
    let mut options = vec![SectionHeaderOption::UserApplication(application.into())];
    options.extend(comment.map(|comment| SectionHeaderOption::Common(CommonOption::Comment(comment.into()))));
    SectionHeaderBlock { endianness: Endianness::Little, options, ..SectionHeaderBlock::default() }
}

/// Where packets were seen: the interfaces of the capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tap {
    Interface(InterfaceId),
    /// A node without an interface of its own: the router of a network.
    Node(NodeId),
}

/// The interfaces of a capture, numbered.
pub(super) struct Taps {
    numbers: BTreeMap<Tap, u32>,
    first_of_node: BTreeMap<NodeId, InterfaceId>,
}

impl Taps {
    fn of(log: &Log, names: &Names) -> Taps {
        let mut taps = Taps { numbers: BTreeMap::new(), first_of_node: first_of_node(names) };
        let mut seen = names.interfaces().map(|(id, _)| Tap::Interface(id)).collect::<BTreeSet<_>>();
        let sightings = log.records().iter().filter_map(|record| Some((record, record.sighting()?)));
        seen.extend(sightings.filter_map(|(record, sighting)| taps.tap(record, sighting, names)));
        taps.numbers = seen.into_iter().zip(0..).collect();
        taps
    }

    /// Where a sighting stands in the capture; `None` for what routers merely pass on, and for what is shown as sent.
    fn tap(&self, record: &Record, sighting: &Sighting, names: &Names) -> Option<Tap> {
        if names.is_network(record.node) && passed_on(sighting) || shown_as_sent(sighting) {
            return None;
        }
        let own = sighting.interface.filter(|&id| names.owner(id).is_none_or(|owner| owner == record.node));
        let fallback = if sighting.interface.is_none() { self.first_of_node.get(&record.node).copied() } else { None };
        Some(own.or(fallback).map_or(Tap::Node(record.node), Tap::Interface))
    }

    fn frame<'a>(&self, record: &'a Record, names: &Names) -> Option<(u32, Frame<'a>)> {
        let (tap, frame) = self.placed(record, names)?;
        Some((*self.numbers.get(&tap)?, frame))
    }

    pub(super) fn placed<'a>(&self, record: &'a Record, names: &Names) -> Option<(Tap, Frame<'a>)> {
        let sighting = record.sighting()?;
        let tap = self.tap(record, sighting, names)?;
        let interface = tap_name(tap, names);
        let content = sighting.facts.clone().map_or_else(Content::Malformed, Content::Ip);
        let direction = match sighting.step {
            Step::Sent(_) => Some(Direction::Out),
            Step::Received(_) => Some(Direction::In),
            Step::Dropped(_) | Step::Released(_) | Step::Made(_) => None,
        };
        let frame = Frame {
            at: record.at,
            interface,
            direction,
            packet: Some(sighting.id.0),
            content,
            bytes: Cow::Borrowed(sighting.bytes.as_deref().unwrap_or_default()),
            comment: Some(comment(record, names)),
        };
        Some((tap, frame))
    }

    /// Where packets stand that nothing more is known of.
    pub(super) fn of_missed(&self, node: NodeId, interface: Option<InterfaceId>, names: &Names) -> Tap {
        let own = interface.filter(|&id| names.owner(id).is_none_or(|owner| owner == node));
        own.or(self.first_of_node.get(&node).copied()).map_or(Tap::Node(node), Tap::Interface)
    }

    /// The interfaces that are known beforehand.
    pub(super) fn beforehand(names: &Names) -> Taps {
        let mut taps = Taps { numbers: BTreeMap::new(), first_of_node: first_of_node(names) };
        let routers = names.nodes().map(|(id, _)| id).filter(|id| names.is_network(*id)).map(Tap::Node);
        taps.numbers = names.interfaces().map(|(id, _)| Tap::Interface(id)).chain(routers).zip(0..).collect();
        taps
    }

    /// A tap's number, and its description if it is new.
    pub(super) fn number(&mut self, tap: Tap, names: &Names) -> (u32, Option<InterfaceDescriptionBlock<'static>>) {
        let next = self.numbers.len() as u32;
        let number = *self.numbers.entry(tap).or_insert(next);
        (number, (number == next).then(|| description(tap, names)))
    }

    /// In the order of their numbers, while no tap has been added.
    pub(super) fn descriptions(&self, names: &Names) -> Vec<InterfaceDescriptionBlock<'static>> {
        self.numbers.keys().map(|&tap| description(tap, names)).collect()
    }
}

fn first_of_node(names: &Names) -> BTreeMap<NodeId, InterfaceId> {
    let mut first = BTreeMap::new();
    for (id, interface) in names.interfaces() {
        first.entry(interface.node).or_insert(id);
    }
    first
}

/// Whether a router merely passed a packet on: the nodes on both sides show that.
fn passed_on(sighting: &Sighting) -> bool {
    match sighting.step {
        Step::Received(outcome) => outcome == Outcome::Routed,
        Step::Sent(_) => sighting.beyond.is_some() && sighting.dropped().is_none(),
        Step::Dropped(_) | Step::Released(_) | Step::Made(_) => false,
    }
}

/// Whether this packet stands in the capture as it leaves, and had not come just then.
fn shown_as_sent(sighting: &Sighting) -> bool {
    matches!(sighting.step, Step::Released(_) | Step::Made(_)) && sighting.dropped().is_none()
}

fn tap_name(tap: Tap, names: &Names) -> String {
    match tap {
        Tap::Interface(id) => names.interface(id),
        Tap::Node(id) => names.node(id),
    }
}

fn description(tap: Tap, names: &Names) -> InterfaceDescriptionBlock<'static> {
    let node = match tap {
        Tap::Interface(id) => names.owner(id),
        Tap::Node(id) => Some(id),
    };
    let about = node.and_then(|id| Some((names.kind(id)?, names.node(id)))).map(|(kind, name)| match kind {
        NodeKind::Host => format!("host {name}"),
        NodeKind::Network => format!("router of {name}: what it dropped, sent and took itself"),
        NodeKind::Nat(behavior) => {
            format!("NAT {name}: {} mapping, {} filtering", behavior.mapping, behavior.filtering)
        }
    });
    let mut options = vec![InterfaceDescriptionOption::IfName(tap_name(tap, names).into())];
    options.extend(about.map(|about| InterfaceDescriptionOption::IfDescription(about.into())));
    options.push(InterfaceDescriptionOption::IfTsResol(InterfaceTsResolution::NANO));
    InterfaceDescriptionBlock { linktype: DataLink::RAW, snaplen: 0, options }
}

/// The names of addresses. One that several hosts have, each in a home of its own, carries all their names.
pub(super) fn resolution(names: &Names) -> Option<NameResolutionBlock<'static>> {
    let records = names.addresses().into_iter().map(|(address, owners)| {
        let names = vec![Cow::Owned(owners.join("/"))];
        match address {
            IpAddr::V4(ip_addr) => Name::Ipv4(Ipv4Record { ip_addr, names }),
            IpAddr::V6(ip_addr) => Name::Ipv6(Ipv6Record { ip_addr, names }),
        }
    });
    let records = records.collect::<Vec<_>>();
    (!records.is_empty()).then(|| NameResolutionBlock { records, options: Vec::new() })
}

pub(super) fn packet<'a>(interface_id: u32, frame: Frame<'a>) -> EnhancedPacketBlock<'a> {
    let mut options = Vec::new();
    options.extend(frame.comment.map(|text| EnhancedPacketOption::Common(CommonOption::Comment(text.into()))));
    options.extend(frame.direction.map(|direction| {
        // epb_flags, bits 0 and 1.
        EnhancedPacketOption::Flags(match direction {
            Direction::In => 1,
            Direction::Out => 2,
        })
    }));
    options.extend(frame.packet.map(|id| {
        let value = Cow::Owned(id.to_le_bytes().to_vec());
        EnhancedPacketOption::Common(CommonOption::Unknown(UnknownOption { code: PACKET_ID_OPTION, value }))
    }));
    EnhancedPacketBlock {
        interface_id,
        timestamp: Duration::from_nanos(frame.at.as_nanos()),
        original_len: frame.bytes.len() as u32,
        data: frame.bytes,
        options,
    }
}
