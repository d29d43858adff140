//! A capture as a ladder: columns are nodes, time runs down, arrows are packets.
//!
//! An arrow stands at the time of its arrival, from the node that sent the packet last; one that ends in `x` was
//! lost on the way, one that ends in `X` was dropped where it came.

use std::collections::BTreeMap;
use std::io::Write;

use natbox_wire::Time;

use super::inspect::{InspectError, clock};
use super::{CaptureError, Content, Direction, Frame};
use crate::paint::Paint;
use crate::record::DropSite;

/// Room for an arrow with a label such as `p12 UDP`.
const MIN_COLUMN_WIDTH: usize = 20;
const MARGIN: usize = 14;
/// Packets that are remembered as sent.
const MAX_UNDER_WAY: usize = 1 << 20;

pub(super) struct Ladder {
    columns: Vec<String>,
    width: usize,
    start: Time,
    paint: Paint,
    /// For each packet under way, the columns from which its copies left.
    under_way: BTreeMap<u64, usize>,
}

/// How an arrow ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Arrived,
    DroppedThere,
    LostOnTheWay,
}

struct Arrow {
    from: usize,
    to: usize,
    end: End,
}

impl Ladder {
    pub(super) fn new(columns: &[String], start: Time, paint: Paint) -> Ladder {
        let longest = columns.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let width = (longest + 2).max(MIN_COLUMN_WIDTH);
        Ladder { columns: columns.to_vec(), width, start, paint, under_way: BTreeMap::new() }
    }

    pub(super) fn draw(
        mut self,
        frames: impl Iterator<Item = (Result<Frame<'static>, CaptureError>, u64)>,
        out: &mut dyn Write,
    ) -> Result<(), InspectError> {
        writeln!(out, "{}", self.head())?;
        for (frame, _) in frames {
            if let Some(line) = self.arrow_line(&frame?) {
                writeln!(out, "{line}")?;
            }
        }
        Ok(())
    }

    /// The line of a frame, if it stands for an arrow.
    pub(super) fn arrow_line(&mut self, frame: &Frame<'_>) -> Option<String> {
        // Packets are followed for as long as they may be under way; numbers rise.
        while self.under_way.len() > MAX_UNDER_WAY {
            self.under_way.pop_first();
        }
        let arrow = self.arrow(frame)?;
        Some(self.line(frame, &arrow))
    }

    /// The names, each over its column.
    pub(super) fn head(&self) -> String {
        let mut head = vec![' '; MARGIN + self.columns.len() * self.width];
        for (column, name) in self.columns.iter().enumerate() {
            let begin = (self.at(column) + MARGIN).saturating_sub(name.chars().count() / 2);
            put(&mut head, begin, name);
        }
        self.paint.strong(text(&head))
    }

    /// Where a column's line stands, counted from the margin.
    fn at(&self, column: usize) -> usize {
        self.width / 2 + column * self.width
    }

    fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }

    /// The arrow that a frame stands for; none for a packet that has just left.
    fn arrow(&mut self, frame: &Frame<'_>) -> Option<Arrow> {
        let Some(here) = self.column(frame.node()) else { return self.foreign_arrow(frame) };
        let drop = frame.dropped().map(|(site, _)| site);
        let sender = frame.packet.and_then(|id| self.under_way.get(&id).copied());
        match (frame.direction, drop) {
            (Some(Direction::Out), Some(DropSite::Link(_))) => {
                let to = if here + 1 < self.columns.len() { here + 1 } else { here.saturating_sub(1) };
                Some(Arrow { from: here, to, end: End::LostOnTheWay })
            }
            (Some(Direction::Out), _) => {
                if let Some(id) = frame.packet {
                    self.under_way.insert(id, here);
                }
                None
            }
            (_, drop) => {
                let end = if drop.is_some() { End::DroppedThere } else { End::Arrived };
                Some(Arrow { from: sender.unwrap_or(here), to: here, end })
            }
        }
    }

    /// Without nodes, the columns are addresses, and every frame goes from one to the other.
    fn foreign_arrow(&self, frame: &Frame<'_>) -> Option<Arrow> {
        let (source, destination) = frame.endpoints()?;
        let from = self.column(&source.ip().to_string())?;
        Some(Arrow { from, to: self.column(&destination.ip().to_string())?, end: End::Arrived })
    }

    fn line(&self, frame: &Frame<'_>, arrow: &Arrow) -> String {
        let mut line = vec![' '; self.columns.len() * self.width];
        for column in 0..self.columns.len() {
            line[self.at(column)] = '|';
        }
        let (from, to) = (self.at(arrow.from), self.at(arrow.to));
        draw_arrow(&mut line, from, to, arrow.end, &label(frame));
        let at = clock(frame.at, self.start);
        let line = text(&line);
        let margin = MARGIN - 2;
        match &frame.comment {
            None => format!("{at:>margin$}  {}", line.trim_end()),
            Some(comment) if arrow.end == End::Arrived => format!("{at:>margin$}  {line}{comment}"),
            Some(comment) => format!("{at:>margin$}  {line}{}", self.paint.bad(comment)),
        }
    }
}

/// A whole ladder as text, of frames that need no reading. The columns are given, in their order.
pub(crate) fn drawn<'a>(columns: &[String], frames: impl Iterator<Item = Frame<'a>>) -> String {
    let mut ladder = Ladder::new(columns, Time::ZERO, Paint::PLAIN);
    let mut text = format!("{}\n", ladder.head().trim_end());
    for frame in frames {
        if let Some(arrow) = ladder.arrow(&frame) {
            text.push_str(&ladder.line(&frame, &arrow));
            text.push('\n');
        }
    }
    text
}

/// What fits on an arrow.
fn label(frame: &Frame<'_>) -> String {
    let what = match &frame.content {
        Content::Ip(facts) => facts.protocol_name(),
        Content::Malformed(_) => "malformed",
        Content::NotIp(_) => "not IP",
    };
    frame.packet.map_or_else(|| what.to_owned(), |id| format!("p{id} {what}"))
}

fn draw_arrow(line: &mut [char], from: usize, to: usize, end: End, label: &str) {
    if from == to {
        // A node's own doing, or a packet whose sender the capture does not show.
        put(line, to, if end == End::Arrived { "o" } else { "X" });
        put(line, to + 2, label);
        return;
    }
    let (left, right) = (from.min(to) + 1, from.max(to));
    let reach = match end {
        // It does not get there.
        End::LostOnTheWay => right - 3,
        End::Arrived | End::DroppedThere => right,
    };
    let (left, right) = if from < to { (left, reach) } else { (left + (right - reach), right) };
    line[left..right].fill('-');
    let tip = match end {
        End::LostOnTheWay => 'x',
        End::DroppedThere => 'X',
        End::Arrived if from < to => '>',
        End::Arrived => '<',
    };
    line[if from < to { right - 1 } else { left }] = tip;
    let room = right - left;
    let length = label.chars().count() + 2;
    if length + 2 <= room {
        put(line, left + (room - length) / 2, &format!(" {label} "));
    }
}

/// Overwrites what fits.
fn put(line: &mut [char], begin: usize, text: &str) {
    for (place, c) in line.iter_mut().skip(begin).zip(text.chars()) {
        *place = c;
    }
}

fn text(line: &[char]) -> String {
    line.iter().collect()
}
