//! A capture that is still being written, shown as it grows.
//!
//! Whether somebody writes it still is known by the lock on the file: natbox's own captures end when their writer has
//! let go of them, killed or not; captures that grow under another program's hands have no end. With a filter that
//! follows packets through NATs, a packet's first lines are kept until it is known to be chosen, and come with the line
//! that says so.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::inspect::{Format, FrameJson, InspectError, MAX_COLUMNS, Survey, to_json};
use super::ladder::Ladder;
use super::select::{Filter, Follower, Verdict};
use super::{CaptureError, Frame, Reader};
use crate::paint::Paint;

/// How often a file is looked at that has not grown.
const PATIENCE: Duration = Duration::from_millis(50);
/// Frames that wait for whether they are chosen.
const MAX_WAITING: usize = 10_000;

/// Shows a capture from its beginning, and what comes, until its writer has ended it. JSON is one packet a line.
///
/// # Errors
/// As [`inspect`](super::inspect); a block that is not whole yet is no error.
pub fn follow(
    path: &Path,
    filter: &Filter,
    format: Format,
    paint: Paint,
    out: &mut dyn Write,
) -> Result<(), InspectError> {
    let open = || File::open(path);
    let survey = Survey::so_far(&open)?;
    let mut follower = Follower::of(filter, &survey)?;
    let mut show = Show::new(format, &survey, paint, out)?;
    let may_end = Rc::new(Cell::new(false));
    let growing = Growth { file: open().map_err(CaptureError::Io)?, may_end: may_end.clone() };
    let mut reader = Reader::new(growing)?;
    may_end.set(reader.is_natbox());
    let mut waiting = VecDeque::<(u64, Frame<'static>)>::new();
    for (number, frame) in (1..).zip(reader.by_ref()) {
        let frame = frame?;
        match follower.judge(&frame, number) {
            Verdict::No => {}
            Verdict::Chosen => show.frame(&frame)?,
            Verdict::NotYet => {
                waiting.push_back((follower.key(&frame, number), frame));
                if waiting.len() > MAX_WAITING {
                    waiting.pop_front();
                }
            }
            verdict @ (Verdict::ChosenNow | Verdict::ChosenBefore) => {
                let key = follower.key(&frame, number);
                let (mine, others) = waiting.drain(..).partition::<Vec<_>, _>(|(of, _)| *of == key);
                waiting = others.into();
                mine.iter().try_for_each(|(_, frame)| show.frame(frame))?;
                if verdict == Verdict::ChosenNow {
                    show.frame(&frame)?;
                }
            }
        }
    }
    let cut_off = reader.is_grown() && !reader.is_closed();
    show.end(reader.missing(), cut_off)
}

/// How chosen frames are shown.
struct Show<'a> {
    format: Format,
    survey: &'a Survey,
    paint: Paint,
    ladder: Option<Ladder>,
    out: &'a mut dyn Write,
}

impl<'a> Show<'a> {
    fn new(format: Format, survey: &'a Survey, paint: Paint, out: &'a mut dyn Write) -> Result<Show<'a>, InspectError> {
        let ladder = match format {
            Format::Ladder if survey.nodes.len() > MAX_COLUMNS => {
                let message =
                    format!("a ladder has room for {MAX_COLUMNS} nodes, and this lab has more: follow its list");
                return Err(InspectError::Filter(message));
            }
            Format::Ladder => Some(survey.ladder(paint)),
            _ => None,
        };
        let mut show = Show { format, survey, paint, ladder, out };
        if let Some(ladder) = &show.ladder {
            let head = ladder.head();
            show.line(&head)?;
        }
        Ok(show)
    }

    fn frame(&mut self, frame: &Frame<'_>) -> Result<(), InspectError> {
        let line = match (&mut self.ladder, self.format) {
            (Some(ladder), _) => ladder.arrow_line(frame),
            (None, Format::Json) => Some(to_json(&FrameJson::of(frame))?),
            (None, _) => Some(self.survey.line(frame, self.paint)),
        };
        line.map_or(Ok(()), |line| self.line(&line))
    }

    /// Each line is seen at once.
    fn line(&mut self, line: &str) -> Result<(), InspectError> {
        writeln!(self.out, "{line}")?;
        Ok(self.out.flush()?)
    }

    fn end(&mut self, missing: u64, cut_off: bool) -> Result<(), InspectError> {
        if self.format != Format::Text {
            return Ok(());
        }
        let end = if cut_off { "cut off: whoever wrote it is gone" } else { "the capture has ended" };
        let missing = if missing > 0 { format!(", {missing} more packets had no room") } else { String::new() };
        let line = self.paint.faint(format!("{end}{missing}"));
        self.line(&line)
    }
}

/// A file whose end is only the end once nobody writes it any more.
struct Growth {
    file: File,
    may_end: Rc<Cell<bool>>,
}

impl Growth {
    /// Whether nobody writes it. Where there are no locks, nobody knows.
    fn is_over(&self) -> bool {
        if !self.may_end.get() {
            return false;
        }
        match self.file.try_lock_shared() {
            Ok(()) => self.file.unlock().is_ok(),
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(_)) => false,
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a file that grows under another program's hands knows no virtual time")]
fn wait() {
    std::thread::sleep(PATIENCE);
}

impl Read for Growth {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.file.read(into)? {
                // What was written before the writer let go is still to be read.
                0 if self.is_over() => return self.file.read(into),
                0 => wait(),
                some => return Ok(some),
            }
        }
    }
}

/// Of the packets chosen, the latest: numbers rise.
#[derive(Default)]
pub(super) struct Latest<V>(BTreeMap<u64, V>);

/// So many packets are remembered.
const MAX_PACKETS: usize = 65_536;

impl<V: Default> Latest<V> {
    pub(super) fn of(&mut self, packet: u64) -> &mut V {
        if self.0.len() >= MAX_PACKETS && !self.0.contains_key(&packet) {
            self.0.pop_first();
        }
        self.0.entry(packet).or_default()
    }
}
