//! A capture that is written while the lab runs: notes in, whole blocks out.
//!
//! What a NAT did to a packet shows only when the packet has left it: a packet that was translated is held back until
//! then, and those behind it too. For [`HELD_BACK`] and [`MAX_HELD`] records at the most; it is written all the same after that, and its comment
//! says less. What has been written is forgotten, but for what explains later drops, so that memory is
//! bounded however long the lab runs. Knows no thread and no clock.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use natbox_wire::Time;
use natbox_world::note::{InterfaceId, NodeId, Note, Outcome};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption};

use super::write::{Tap, Taps, Written, failed, packet, resolution, section_with};
use super::{CaptureError, Frame};
use crate::record::{Limits, Log, Names, Record, Step};

/// How long a packet waits for the rest of its story.
pub const HELD_BACK: Duration = Duration::from_millis(200);
/// How many records wait at the most.
const MAX_HELD: usize = 4096;
/// Records that are kept after they were written: what comes of a packet at a node comes soon.
const REMEMBERED: usize = 4096;
/// Packet bytes that wait at the most.
const HELD_BYTES: usize = 16 << 20;
/// Blocks are handed to the file in portions of this size: one that is killed between two of them leaves whole blocks.
const PORTION_BYTES: usize = 1 << 20;
/// How the section of such a capture begins its comment.
pub(super) const WHILE_IT_RAN: &str = "written while the lab ran";

/// A capture under way.
pub struct Stream<W: Write> {
    file: W,
    blocks: PcapNgWriter<Vec<u8>>,
    log: Log,
    names: Names,
    taps: Taps,
    /// So many records of the log have been written.
    done: usize,
    newest: Time,
    counts: BTreeMap<u32, Written>,
    /// The interfaces whose losses have changed since they were last told.
    changed: bool,
    /// Bytes that the file has taken.
    taken: u64,
}

impl<W: Write> Stream<W> {
    /// Begins a capture: what is known beforehand is written at once.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn new(file: W, names: Names) -> Result<Stream<W>, CaptureError> {
        let comment = format!("{WHILE_IT_RAN}: its last blocks are statistics with an end time, unless it was cut off");
        let mut blocks = PcapNgWriter::with_section_header(Vec::new(), section_with(Some(comment))).map_err(failed)?;
        let taps = Taps::beforehand(&names);
        for interface in taps.descriptions(&names) {
            blocks.write_pcapng_block(interface).map_err(failed)?;
        }
        if let Some(block) = resolution(&names) {
            blocks.write_pcapng_block(block).map_err(failed)?;
        }
        let log = Log::new(Limits { records: usize::MAX, bytes: usize::MAX, summaries: false });
        let (done, newest, counts, changed, taken) = (0, Time::ZERO, BTreeMap::new(), false, 0);
        let mut stream = Stream { file, blocks, log, names, taps, done, newest, counts, changed, taken };
        stream.hand_over()?;
        Ok(stream)
    }

    /// Something has happened: what is complete now is written.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn note(&mut self, note: &Note<'_>) -> Result<(), CaptureError> {
        self.newest = self.newest.max(note.at);
        self.log.add(note);
        self.write(false)
    }

    /// From here on, things are called so.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn rename(&mut self, names: Names) -> Result<(), CaptureError> {
        self.write(true)?;
        self.names = names;
        resolution(&self.names).map_or(Ok(()), |block| self.blocks.write_pcapng_block(block).map(drop)).map_err(failed)
    }

    /// So many more packets were not noted, for want of room.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn missed(&mut self, node: NodeId, interface: Option<InterfaceId>, packets: u64) -> Result<(), CaptureError> {
        let tap = self.taps.of_missed(node, interface, &self.names);
        let number = self.number(tap)?;
        self.counts.entry(number).or_default().missing += packets;
        self.changed = true;
        Ok(())
    }

    /// Hands over to the file what is complete; with `settle`, also what waits.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn flush(&mut self, settle: bool) -> Result<(), CaptureError> {
        self.write(settle)?;
        if self.changed {
            self.statistics(false)?;
        }
        self.hand_over()?;
        Ok(self.file.flush()?)
    }

    /// How many records are in memory.
    pub fn remembered(&self) -> usize {
        self.log.records().len()
    }

    /// Whether something waits for the rest of its story.
    pub fn waits(&self) -> bool {
        self.done < self.log.records().len()
    }

    /// Ends the capture: everything is written, and statistics say that this is the end.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(&mut self) -> Result<Written, CaptureError> {
        self.write(true)?;
        self.statistics(true)?;
        self.flush(true)?;
        let add = |sum: Written, one: &Written| Written {
            packets: sum.packets + one.packets,
            missing: sum.missing + one.missing,
        };
        Ok(self.counts.values().fold(Written::default(), add))
    }

    /// The file, and how many bytes of it are whole blocks.
    pub(super) fn file(&mut self) -> (&mut W, u64) {
        (&mut self.file, self.taken)
    }

    fn write(&mut self, settle: bool) -> Result<(), CaptureError> {
        while let Some(record) = self.log.records().get(self.done) {
            if !settle && self.is_to_wait(record) {
                break;
            }
            self.write_record()?;
            self.log.release_bytes(self.done);
            self.done += 1;
        }
        if self.done >= 2 * REMEMBERED {
            self.log.forget(self.done - REMEMBERED);
            self.done = REMEMBERED;
        }
        Ok(())
    }

    fn is_to_wait(&self, record: &Record) -> bool {
        let open = record.sighting().is_some_and(|sighting| {
            let on = matches!(
                sighting.step,
                Step::Received(Outcome::Translated(_) | Outcome::Hairpinned { .. })
                    | Step::Released(Outcome::Translated(_) | Outcome::Hairpinned { .. })
            );
            on && sighting.beyond.is_none()
        });
        let young = self.newest.since(record.at) < HELD_BACK;
        let few = self.log.records().len() - self.done < MAX_HELD && self.log.kept_bytes() < HELD_BYTES;
        open && young && few
    }

    fn write_record(&mut self) -> Result<(), CaptureError> {
        let record = &self.log.records()[self.done];
        let Some((tap, frame)) = self.taps.placed(record, &self.names) else { return Ok(()) };
        let (number, new) = self.taps.number(tap, &self.names);
        if let Some(description) = new {
            self.blocks.write_pcapng_block(description).map_err(failed)?;
        }
        let frame: Frame<'_> = frame;
        self.blocks.write_pcapng_block(packet(number, frame)).map_err(failed)?;
        self.counts.entry(number).or_default().packets += 1;
        if self.blocks.get_ref().len() >= PORTION_BYTES { self.hand_over() } else { Ok(()) }
    }

    fn number(&mut self, tap: Tap) -> Result<u32, CaptureError> {
        let (number, new) = self.taps.number(tap, &self.names);
        if let Some(description) = new {
            self.blocks.write_pcapng_block(description).map_err(failed)?;
        }
        Ok(number)
    }

    /// How many packets of each interface are in the capture and how many are not; at the end, of all interfaces.
    fn statistics(&mut self, end: bool) -> Result<(), CaptureError> {
        self.changed = false;
        let now = Duration::from_nanos(self.newest.as_nanos());
        for interface_id in 0..self.blocks.interfaces().len() as u32 {
            let count = self.counts.get(&interface_id).copied().unwrap_or_default();
            if !end && count.missing == 0 {
                continue;
            }
            let mut options = vec![
                InterfaceStatisticsOption::IsbIfRecv(count.packets + count.missing),
                InterfaceStatisticsOption::IsbIfDrop(count.missing),
            ];
            options.extend(end.then_some(InterfaceStatisticsOption::IsbEndTime(now)));
            let block = InterfaceStatisticsBlock { interface_id, timestamp: now, options };
            self.blocks.write_pcapng_block(block).map_err(failed)?;
        }
        Ok(())
    }

    /// Whole blocks, in one piece.
    fn hand_over(&mut self) -> Result<(), CaptureError> {
        self.file.write_all(self.blocks.get_ref())?;
        self.taken += self.blocks.get_ref().len() as u64;
        self.blocks.get_mut().clear();
        Ok(())
    }
}
