//! A capture as a list for people, or as JSON: every packet with what happened to it, filtered.
//!
//! Reads the capture more than once instead of holding it: once for names and widths, once more where a filter
//! follows packets through NATs, and once to print.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::IpAddr;

use natbox_wire::{DropReason, Time};
use serde::Serialize;

use super::ladder::Ladder;
use super::select::{Filter, Selection};
use super::{CaptureError, Content, Direction, Frame, Reader, node_of};
use crate::paint::Paint;
use crate::record::DropSite;

/// How to show them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One line a packet and interface, and how many died of what.
    Text,
    /// The lines alone.
    Lines,
    /// Columns are nodes, arrows are packets.
    Ladder,
    /// One JSON document.
    Json,
}

/// Why a capture could not be shown.
#[derive(Debug)]
pub enum InspectError {
    /// It could not be read.
    Capture(CaptureError),
    /// A filter names something that is not in it.
    Filter(String),
    /// The output failed.
    Output(io::Error),
}

impl fmt::Display for InspectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InspectError::Capture(error) => error.fmt(f),
            InspectError::Filter(what) => f.write_str(what),
            InspectError::Output(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for InspectError {}

impl From<CaptureError> for InspectError {
    fn from(error: CaptureError) -> InspectError {
        InspectError::Capture(error)
    }
}

/// An output error; errors of the capture never come this way.
impl From<io::Error> for InspectError {
    fn from(error: io::Error) -> InspectError {
        InspectError::Output(error)
    }
}

/// Shows a capture. `open` gives it from its beginning each time.
pub fn inspect<R: Read>(
    open: &dyn Fn() -> io::Result<R>,
    filter: &Filter,
    format: Format,
    paint: Paint,
    out: &mut dyn Write,
) -> Result<(), InspectError> {
    let survey = Survey::of(open)?;
    let selection = Selection::of(filter, &survey, open)?;
    let chosen = read_chosen(open, &selection)?;
    match format {
        Format::Text => list(chosen, &survey, paint, true, out),
        Format::Lines => list(chosen, &survey, paint, false, out),
        Format::Ladder => {
            let columns = columns(read_chosen(open, &selection)?, survey.natbox)?;
            Ladder::new(&columns, survey.start, paint).draw(chosen, out)
        }
        Format::Json => json(chosen, &survey, out),
    }
}

/// The one-line-a-packet text of a whole capture: what stands beside a reference capture.
pub fn text<R: Read>(open: &dyn Fn() -> io::Result<R>, out: &mut dyn Write) -> Result<(), InspectError> {
    inspect(open, &Filter::default(), Format::Lines, Paint::PLAIN, out)
}

pub(super) fn read<R: Read>(open: &dyn Fn() -> io::Result<R>) -> Result<Reader<R>, CaptureError> {
    Reader::new(open()?)
}

fn read_chosen<'a, R: Read + 'a>(
    open: &dyn Fn() -> io::Result<R>,
    selection: &'a Selection,
) -> Result<impl Iterator<Item = Numbered> + use<'a, R>, CaptureError> {
    Ok(read(open)?.zip(1..).filter(|(frame, number)| match frame {
        Ok(frame) => selection.admits(frame, *number),
        Err(_) => true,
    }))
}

type Numbered = (Result<Frame<'static>, CaptureError>, u64);

/// What must be known of a capture before its first line can be printed.
pub(super) struct Survey {
    application: Option<String>,
    /// Virtual time begins at 0; in a foreign capture, times are shown from its first packet.
    start: Time,
    interface_width: usize,
    summary_width: usize,
    /// The nodes, in the order of their interfaces.
    pub(super) nodes: Vec<String>,
    /// The same, to look them up: a capture may have very many.
    known: BTreeSet<String>,
    pub(super) nats: BTreeSet<String>,
    pub(super) names: BTreeMap<IpAddr, String>,
    natbox: bool,
    /// The longest name of an interface, whether a packet crossed it or not.
    widest: usize,
    /// Packets that had no room in the capture.
    missing: u64,
    /// Its writer did not come to its end.
    cut_off: bool,
}

/// Columns that still fit a wide terminal.
pub(super) const MAX_COLUMNS: usize = 16;
/// Names of interfaces up to here are aligned: a foreign capture's may be of any length.
const MAX_INTERFACE_WIDTH: usize = 64;
/// Summaries up to here are aligned; longer ones push their comments to the right.
const MAX_SUMMARY_WIDTH: usize = 64;

impl Survey {
    fn of<R: Read>(open: &dyn Fn() -> io::Result<R>) -> Result<Survey, CaptureError> {
        Survey::made(read(open)?)
    }

    /// Of a capture that is being written: its last block need not be whole.
    pub(super) fn so_far<R: Read>(open: &dyn Fn() -> io::Result<R>) -> Result<Survey, CaptureError> {
        Survey::made(read(open)?.unfinished()).map(|mut survey| {
            survey.interface_width = survey.widest.min(MAX_INTERFACE_WIDTH);
            survey
        })
    }

    fn made<R: Read>(mut reader: Reader<R>) -> Result<Survey, CaptureError> {
        let mut survey = Survey {
            application: reader.application().map(str::to_owned),
            start: Time::ZERO,
            interface_width: 0,
            summary_width: 0,
            nodes: Vec::new(),
            known: BTreeSet::new(),
            nats: BTreeSet::new(),
            names: BTreeMap::new(),
            natbox: reader.is_natbox(),
            widest: 0,
            missing: 0,
            cut_off: false,
        };
        let mut first = true;
        for frame in reader.by_ref() {
            let frame = frame?;
            if first && !survey.natbox {
                survey.start = frame.at;
            }
            first = false;
            survey.meet(&frame);
        }
        for interface in reader.interfaces() {
            survey.meet_interface(&interface.name);
        }
        survey.names = reader.names().clone();
        survey.missing = reader.missing();
        survey.cut_off = reader.is_grown() && !reader.is_closed();
        Ok(survey)
    }

    fn meet(&mut self, frame: &Frame<'_>) {
        self.interface_width = self.interface_width.max(frame.interface.len()).min(MAX_INTERFACE_WIDTH);
        let summary = frame.content.to_string().len();
        self.summary_width = self.summary_width.max(summary).min(MAX_SUMMARY_WIDTH);
        self.meet_interface(&frame.interface);
    }

    fn meet_interface(&mut self, interface: &str) {
        self.widest = self.widest.max(interface.len());
        let node = node_of(interface);
        if !self.known.contains(node) {
            self.known.insert(node.to_owned());
            self.nodes.push(node.to_owned());
        }
        if interface.ends_with(":inside") || interface.ends_with(":outside") {
            self.nats.insert(node.to_owned());
        }
    }

    /// With a column for each node.
    pub(super) fn ladder(&self, paint: Paint) -> Ladder {
        Ladder::new(&self.nodes, self.start, paint)
    }

    pub(super) fn line(&self, frame: &Frame<'_>, paint: Paint) -> String {
        let widths = Widths { interface: self.interface_width, summary: self.summary_width };
        line(frame, self.start, widths, paint)
    }
}

/// What a ladder's columns are called, in order of appearance: nodes, or the addresses of a foreign capture.
fn columns(frames: impl Iterator<Item = Numbered>, natbox: bool) -> Result<Vec<String>, InspectError> {
    let mut columns = Vec::<String>::new();
    for (frame, _) in frames {
        let frame = frame?;
        let seen = match (natbox, frame.endpoints()) {
            (true, _) => vec![frame.node().to_owned()],
            (false, Some((source, destination))) => vec![source.ip().to_string(), destination.ip().to_string()],
            (false, None) => Vec::new(),
        };
        for name in seen {
            if !columns.contains(&name) {
                columns.push(name);
            }
        }
        if columns.len() > MAX_COLUMNS {
            let message = format!("a ladder has room for {MAX_COLUMNS} nodes; narrow it down with --host or --flow");
            return Err(InspectError::Filter(message));
        }
    }
    Ok(columns)
}

/// The widths of a list's columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Widths {
    pub(crate) interface: usize,
    pub(crate) summary: usize,
}

/// A time since `start` in seconds, to the microsecond, so that times stand below one another.
pub(crate) fn clock(at: Time, start: Time) -> String {
    let micros = at.since(start).as_micros();
    format!("{}.{:06}s", micros / 1_000_000, micros % 1_000_000)
}

/// One packet, one line.
pub(crate) fn line(frame: &Frame<'_>, start: Time, widths: Widths, paint: Paint) -> String {
    let packet = frame.packet.map_or_else(String::new, |id| format!("p{id}"));
    let direction = frame.direction.map_or("", Direction::as_str);
    let (interface, content) = (&frame.interface, frame.content.to_string());
    let (iw, sw) = (widths.interface, widths.summary);
    let head = format!("{:>12}  {packet:>5}  {interface:<iw$}  {direction:<3}  {content:<sw$}", clock(frame.at, start));
    match &frame.comment {
        None => head.trim_end().to_owned(),
        Some(comment) if frame.dropped().is_some() => format!("{head}  {}", paint.bad(comment)),
        Some(comment) if comment.contains("new mapping #") => format!("{head}  {}", paint.notable(comment)),
        Some(comment) => format!("{head}  {}", paint.faint(comment)),
    }
}

fn list(
    frames: impl Iterator<Item = Numbered>,
    survey: &Survey,
    paint: Paint,
    totals: bool,
    out: &mut dyn Write,
) -> Result<(), InspectError> {
    let (mut lines, mut reasons) = (0_u64, BTreeMap::<DropReason, u64>::new());
    for (frame, _) in frames {
        let frame = frame?;
        writeln!(out, "{}", survey.line(&frame, paint))?;
        lines += 1;
        if let Some((_, reason)) = frame.dropped() {
            *reasons.entry(reason).or_default() += 1;
        }
    }
    if !totals {
        return Ok(());
    }
    let drops = reasons.values().sum::<u64>();
    let reasons = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect::<Vec<_>>().join(", ");
    let reasons = if drops == 0 { "none dropped".to_owned() } else { format!("{drops} dropped: {reasons}") };
    let missing = match survey.missing {
        0 => String::new(),
        missing => format!("; {missing} more packets had no room in the capture"),
    };
    let cut_off = if survey.cut_off { "; not closed: its lab still runs, or was killed" } else { "" };
    writeln!(out, "{}", paint.faint(format!("{lines} lines, {reasons}{missing}{cut_off}")))?;
    Ok(())
}

/// A packet in JSON: the same fields in `inspect` and in reports.
#[derive(Debug, Serialize)]
pub(crate) struct FrameJson<'a> {
    time_ns: u64,
    packet: Option<u64>,
    interface: &'a str,
    node: &'a str,
    direction: Option<Direction>,
    protocol: Option<&'static str>,
    source: Option<String>,
    destination: Option<String>,
    length_bytes: usize,
    summary: String,
    comment: Option<&'a str>,
    dropped: Option<DropJson>,
}

#[derive(Debug, Serialize)]
struct DropJson {
    reason: &'static str,
    /// The node, or the interface whose link lost it.
    at: String,
    on_link: bool,
}

impl<'a> FrameJson<'a> {
    pub(crate) fn of(frame: &'a Frame<'_>) -> FrameJson<'a> {
        let facts = match &frame.content {
            Content::Ip(facts) => Some(facts),
            Content::Malformed(_) | Content::NotIp(_) => None,
        };
        let dropped = frame.dropped().map(|(site, reason)| {
            let (at, on_link) = match site {
                DropSite::Node(node) => (node, false),
                DropSite::Link(interface) => (interface, true),
            };
            DropJson { reason: natbox_wire::Word::as_str(reason), at, on_link }
        });
        FrameJson {
            time_ns: frame.at.as_nanos(),
            packet: frame.packet,
            interface: &frame.interface,
            node: frame.node(),
            direction: frame.direction,
            protocol: facts.map(|facts| facts.protocol_name()),
            source: facts.map(|facts| facts.source.to_string()),
            destination: facts.map(|facts| facts.destination.to_string()),
            length_bytes: facts.map_or(frame.bytes.len(), |facts| facts.length_bytes as usize),
            summary: frame.content.to_string(),
            comment: frame.comment.as_deref(),
            dropped,
        }
    }
}

/// One document, written packet by packet.
fn json(frames: impl Iterator<Item = Numbered>, survey: &Survey, out: &mut dyn Write) -> Result<(), InspectError> {
    let application = to_json(&survey.application)?;
    write!(out, "{{\n  \"natbox\": 1,\n  \"application\": {application},\n  \"packets\": [")?;
    let mut separator = "\n    ";
    for (frame, _) in frames {
        let frame = frame?;
        write!(out, "{separator}{}", to_json(&FrameJson::of(&frame))?)?;
        separator = ",\n    ";
    }
    writeln!(out, "\n  ]\n}}")?;
    Ok(())
}

pub(super) fn to_json(value: &impl Serialize) -> io::Result<String> {
    serde_json::to_string(value).map_err(io::Error::other)
}
