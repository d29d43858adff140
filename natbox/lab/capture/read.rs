//! From a capture to frames: natbox's own captures and any other pcapng file of raw IP or Ethernet.
//!
//! Streams: one block at a time, with limits on what is kept (interfaces, names). Never panics; the first broken
//! block ends the reading with an error.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::net::IpAddr;

use natbox_wire::Time;
use pcap_file::pcapng::blocks::block_common::{
    ENHANCED_PACKET_BLOCK, INTERFACE_DESCRIPTION_BLOCK, INTERFACE_STATISTIC_BLOCK, NAME_RESOLUTION_BLOCK, PACKET_BLOCK,
    SECTION_HEADER_BLOCK, SIMPLE_PACKET_BLOCK,
};
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption};
use pcap_file::pcapng::blocks::interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption};
use pcap_file::pcapng::blocks::name_resolution::{NameResolutionBlock, Record as Name};
use pcap_file::pcapng::blocks::opt_common::CommonOption;
use pcap_file::pcapng::blocks::section_header::SectionHeaderOption;
use pcap_file::pcapng::{Block, PcapNgReadError, PcapNgReader, RawBlock};
use pcap_file::{DataLink, Endianness};

use super::stream::WHILE_IT_RAN;
use super::write::PACKET_ID_OPTION;
use super::{CaptureError, Content, Direction, Frame};

/// The largest block that is read: far more than a packet and its comments need.
pub const MAX_BLOCK_BYTES: usize = 4 << 20;

/// Interfaces and their descriptions, together, that one section may have.
const MAX_INTERFACES: usize = 65_536;
const MAX_INTERFACE_BYTES: usize = 16 << 20;
/// Names of addresses that are remembered; those after them are not.
const MAX_NAMES: usize = 65_536;

/// An interface of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceInfo {
    /// Its name; `interface-N` if the capture gives none.
    pub name: String,
    /// What the capture says about it.
    pub description: Option<String>,
    link_type: DataLink,
}

/// Reads the frames of a capture, in order. Ends at the first error.
pub struct Reader<R: Read> {
    blocks: PcapNgReader<io::Chain<Cursor<Vec<u8>>, R>>,
    application: Option<String>,
    interfaces: Vec<InterfaceInfo>,
    interface_bytes: usize,
    names: BTreeMap<IpAddr, String>,
    /// Written while its lab ran.
    grown: bool,
    /// Its last block need not be whole.
    unfinished: bool,
    closed: bool,
    /// Packets of each interface that are not in the capture.
    missing: BTreeMap<u32, u64>,
    /// The block read last, from 1.
    block: u64,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the beginning of a capture.
    pub fn new(mut input: R) -> Result<Reader<R>, CaptureError> {
        let mut magic = Vec::new();
        input.by_ref().take(4).read_to_end(&mut magic)?;
        recognise(&magic)?;
        let input = Cursor::new(magic).chain(input);
        let blocks = PcapNgReader::with_capacity(input, MAX_BLOCK_BYTES).map_err(|error| broken(1, &error))?;
        let mut reader = Reader {
            blocks,
            application: None,
            interfaces: Vec::new(),
            interface_bytes: 0,
            names: BTreeMap::new(),
            grown: false,
            unfinished: false,
            closed: false,
            missing: BTreeMap::new(),
            block: 1,
            ended: false,
        };
        reader.begin_section();
        Ok(reader)
    }

    /// The program that wrote the capture, if it says.
    pub fn application(&self) -> Option<&str> {
        self.application.as_deref()
    }

    /// Whether natbox wrote the capture.
    pub fn is_natbox(&self) -> bool {
        self.application().is_some_and(|name| name.starts_with("natbox "))
    }

    /// The interfaces described so far.
    pub fn interfaces(&self) -> &[InterfaceInfo] {
        &self.interfaces
    }

    /// The names of addresses told so far.
    pub fn names(&self) -> &BTreeMap<IpAddr, String> {
        &self.names
    }

    /// Takes a last block that is not whole for the end: of a capture that is being written. It is so anyhow for
    /// those that [grow](Reader::is_grown).
    #[must_use]
    pub fn unfinished(self) -> Reader<R> {
        Reader { unfinished: true, ..self }
    }

    /// Whether the capture was written by natbox while its lab ran.
    pub fn is_grown(&self) -> bool {
        self.grown
    }

    /// Whether whoever wrote it while its lab ran has said so far that this is the end.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Packets that are not in the capture, for want of room, as far as it has said so far.
    pub fn missing(&self) -> u64 {
        self.missing.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    fn begin_section(&mut self) {
        self.closed = false;
        self.missing.clear();
        self.grown = self.blocks.section().options.iter().any(|option| {
            matches!(option, SectionHeaderOption::Common(CommonOption::Comment(text)) if text.starts_with(WHILE_IT_RAN))
        });
        self.interfaces.clear();
        self.interface_bytes = 0;
        self.application = self.blocks.section().options.iter().find_map(|option| match option {
            SectionHeaderOption::UserApplication(name) => Some(one_line(name)),
            _ => None,
        });
    }

    /// The next frame; `None` at the end of the file.
    fn advance(&mut self) -> Result<Option<Frame<'static>>, CaptureError> {
        loop {
            let number = self.block + 1;
            let Some(next) = self.blocks.next_raw_block() else { return Ok(None) };
            let (raw, state) = match next {
                Ok(next) => next,
                Err(error) if (self.grown || self.unfinished) && is_end(&error) => return Ok(None),
                Err(error) => return Err(broken(number, &error)),
            };
            self.block = number;
            let malformed = |what: String| CaptureError::Malformed { block: number, what };
            match raw.type_ {
                SECTION_HEADER_BLOCK => self.begin_section(),
                INTERFACE_DESCRIPTION_BLOCK => {
                    self.interface_bytes += raw.body.len();
                    let described = self.blocks.interfaces().last();
                    let info = described.map(|described| interface(described, self.interfaces.len()));
                    self.interfaces.extend(info);
                    if self.interfaces.len() > MAX_INTERFACES || self.interface_bytes > MAX_INTERFACE_BYTES {
                        return Err(malformed(format!("more than {MAX_INTERFACES} interfaces")));
                    }
                }
                NAME_RESOLUTION_BLOCK => {
                    // Names are a help, not the content: a block that cannot be read is passed over.
                    if let Ok(Block::NameResolution(block)) = raw.try_into_block(state) {
                        learn_names(&mut self.names, &block);
                    }
                }
                INTERFACE_STATISTIC_BLOCK => {
                    // They are a help too.
                    if let Ok(Block::InterfaceStatistics(block)) = raw.try_into_block(state) {
                        self.closed |= learn_statistics(&mut self.missing, &block);
                    }
                }
                ENHANCED_PACKET_BLOCK | SIMPLE_PACKET_BLOCK | PACKET_BLOCK => {
                    let little = state.endianness() == Endianness::Little;
                    let block = convert(raw, |raw| raw.try_into_block(state)).map_err(malformed)?;
                    return packet(block, &self.interfaces, little).map(Some);
                }
                _ => {}
            }
        }
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Frame<'static>, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.advance().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

/// Tells a pcapng file from its neighbours by its first bytes.
fn recognise(magic: &[u8]) -> Result<(), CaptureError> {
    let why = match magic {
        [0x0a, 0x0d, 0x0d, 0x0a] => return Ok(()),
        [] => "the file is empty",
        [0xd4, 0xc3, 0xb2, 0xa1] | [0xa1, 0xb2, 0xc3, 0xd4] | [0x4d, 0x3c, 0xb2, 0xa1] | [0xa1, 0xb2, 0x3c, 0x4d] => {
            "it is a pcap file; `editcap -F pcapng OLD NEW` converts it"
        }
        [0x1f, 0x8b, ..] => "it is compressed; unpack it with `gunzip` first",
        _ => "it does not begin with a section header",
    };
    Err(CaptureError::NotPcapng(why.to_owned()))
}

/// Whether the file ended inside of a block.
fn is_end(error: &PcapNgReadError) -> bool {
    matches!(error, PcapNgReadError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof)
}

fn broken(block: u64, error: &PcapNgReadError) -> CaptureError {
    let what = match error {
        PcapNgReadError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            format!("the file ends inside it, or it is larger than {} MiB", MAX_BLOCK_BYTES >> 20)
        }
        PcapNgReadError::Io(error) => return CaptureError::Io(io::Error::new(error.kind(), error.to_string())),
        other => with_causes(other),
    };
    CaptureError::Malformed { block, what }
}

/// An error with the errors that it stems from.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

fn convert<'a, E: std::error::Error>(
    raw: RawBlock<'a>,
    into_block: impl FnOnce(RawBlock<'a>) -> Result<Block<'a>, E>,
) -> Result<Block<'a>, String> {
    into_block(raw).map_err(|error| with_causes(&error))
}

fn interface(described: &InterfaceDescriptionBlock<'_>, number: usize) -> InterfaceInfo {
    let (mut name, mut description) = (format!("interface-{number}"), None);
    for option in &described.options {
        match option {
            InterfaceDescriptionOption::IfName(given) => name = one_line(given),
            InterfaceDescriptionOption::IfDescription(given) => description = Some(one_line(given)),
            _ => {}
        }
    }
    InterfaceInfo { name, description, link_type: described.linktype }
}

fn learn_names(names: &mut BTreeMap<IpAddr, String>, block: &NameResolutionBlock<'_>) {
    for record in &block.records {
        let (address, first) = match record {
            Name::Ipv4(record) => (IpAddr::V4(record.ip_addr), record.names.first()),
            Name::Ipv6(record) => (IpAddr::V6(record.ip_addr), record.names.first()),
            Name::End | Name::Unknown(_) => continue,
        };
        if let Some(name) = first
            && names.len() < MAX_NAMES
        {
            names.insert(address, one_line(name));
        }
    }
}

/// Takes an interface's latest statistics; says whether they are the last.
fn learn_statistics(missing: &mut BTreeMap<u32, u64>, block: &InterfaceStatisticsBlock<'_>) -> bool {
    let mut last = false;
    for option in &block.options {
        match option {
            // Interfaces are known, and of a bounded number, wherever statistics can be read.
            InterfaceStatisticsOption::IsbIfDrop(count) => drop(missing.insert(block.interface_id, *count)),
            InterfaceStatisticsOption::IsbEndTime(_) => last = true,
            _ => {}
        }
    }
    last
}

/// A packet block of any kind, as a frame.
fn packet(block: Block<'_>, interfaces: &[InterfaceInfo], little: bool) -> Result<Frame<'static>, CaptureError> {
    let block = match block {
        Block::EnhancedPacket(block) => block,
        // These two carry less: no time, or options of no interest here.
        Block::SimplePacket(block) => EnhancedPacketBlock { data: block.data, ..EnhancedPacketBlock::default() },
        Block::Packet(block) => EnhancedPacketBlock {
            interface_id: u32::from(block.interface_id),
            timestamp: block.timestamp,
            data: block.data,
            ..EnhancedPacketBlock::default()
        },
        _ => EnhancedPacketBlock::default(),
    };
    let unknown = || CaptureError::LinkType { interface: block.interface_id.to_string(), link_type: "none".to_owned() };
    let interface = interfaces.get(block.interface_id as usize).ok_or_else(unknown)?;
    let (content, bytes) = strip(interface, &block.data)?;
    let mut frame = Frame {
        at: Time::from_nanos(u64::try_from(block.timestamp.as_nanos()).unwrap_or(u64::MAX)),
        interface: interface.name.clone(),
        direction: None,
        packet: None,
        content,
        bytes: Cow::Owned(bytes.to_vec()),
        comment: None,
    };
    for option in &block.options {
        read_option(option, &mut frame, little);
    }
    Ok(frame)
}

fn read_option(option: &EnhancedPacketOption<'_>, frame: &mut Frame<'_>, little: bool) {
    match option {
        EnhancedPacketOption::Flags(flags) => {
            frame.direction = match flags & 3 {
                1 => Some(Direction::In),
                2 => Some(Direction::Out),
                _ => None,
            };
        }
        EnhancedPacketOption::Common(CommonOption::Comment(text)) if frame.comment.is_none() => {
            frame.comment = Some(one_line(text));
        }
        EnhancedPacketOption::Common(CommonOption::Unknown(option)) if option.code == PACKET_ID_OPTION => {
            let bytes = <[u8; 8]>::try_from(&*option.value).ok();
            frame.packet = bytes.map(|id| if little { u64::from_le_bytes(id) } else { u64::from_be_bytes(id) });
        }
        _ => {}
    }
}

/// A foreign capture's texts may hold anything, terminals' commands too: one line of each is shown, without control
/// characters.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

const ETHERNET_HEADER_BYTES: usize = 14;
const ETHER_TYPE_IPV4: u16 = 0x0800;
const ETHER_TYPE_IPV6: u16 = 0x86dd;
const ETHER_TYPE_VLAN: u16 = 0x8100;
const ETHER_TYPE_SERVICE_VLAN: u16 = 0x88a8;

/// The IP packet behind the link header.
fn strip<'a>(interface: &InterfaceInfo, data: &'a [u8]) -> Result<(Content, &'a [u8]), CaptureError> {
    match interface.link_type {
        DataLink::RAW | DataLink::IPV4 | DataLink::IPV6 => Ok((Content::of_ip(data), data)),
        DataLink::ETHERNET => Ok(strip_ethernet(data)),
        other => Err(CaptureError::LinkType { interface: interface.name.clone(), link_type: format!("{other:?}") }),
    }
}

fn strip_ethernet(data: &[u8]) -> (Content, &[u8]) {
    let mut header = ETHERNET_HEADER_BYTES;
    loop {
        let Some((before, rest)) = data.split_at_checked(header) else {
            return (Content::Malformed(natbox_wire::DropReason::Truncated), data);
        };
        match u16::from_be_bytes([before[header - 2], before[header - 1]]) {
            ETHER_TYPE_IPV4 | ETHER_TYPE_IPV6 => return (Content::of_ip(rest), rest),
            ETHER_TYPE_VLAN | ETHER_TYPE_SERVICE_VLAN => header += 4,
            other => return (Content::NotIp(other), rest),
        }
    }
}
