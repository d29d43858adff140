//! The two streams of a TCP connection whose text a box has changed: which sequence number inside is which outside.
//!
//! A change replaces bytes at a place in the sender's stream. Every later byte moves by the difference, in whatever segments
//! it comes, also when it is sent again: what was replaced once is replaced the same way wherever a segment covers it, and
//! what once went through as it was, or came too late, stays as it is. The last [`MAX_CHANGES`] are remembered; what is sent
//! again from before them moves as the oldest of them says.

use std::collections::VecDeque;

use super::Edit;

/// Changes that are remembered of one stream.
const MAX_CHANGES: usize = 64;

/// One direction of a connection.
#[derive(Default)]
pub(super) struct Stream {
    /// In the order of the stream.
    changes: VecDeque<Change>,
    /// By how much what comes before the first change is moved.
    base: u32,
    /// The end of what has gone through.
    highest: Option<u32>,
}

/// Bytes replaced by others.
struct Change {
    /// Where they begin in the sender's numbers.
    start: u32,
    length: u32,
    new: Vec<u8>,
    /// By how much what comes before them is moved.
    moved: u32,
}

impl Change {
    fn end(&self) -> u32 {
        self.start.wrapping_add(self.length)
    }

    /// By how much what comes behind is moved.
    fn moved_after(&self) -> u32 {
        self.moved.wrapping_add(self.new.len() as u32).wrapping_sub(self.length)
    }

    fn new_start(&self) -> u32 {
        self.start.wrapping_add(self.moved)
    }
}

/// Whether a sequence number comes before another (RFC 9293 section 3.4).
fn before(one: u32, other: u32) -> bool {
    (one.wrapping_sub(other) as i32) < 0
}

impl Stream {
    /// Where the receiver has a byte of the sender's.
    pub(super) fn forth(&self, sequence: u32) -> u32 {
        let Some(change) = self.changes.iter().rev().find(|change| !before(sequence, change.start)) else {
            return sequence.wrapping_add(self.base);
        };
        if before(sequence, change.end()) {
            let into = sequence.wrapping_sub(change.start).min(change.new.len() as u32);
            return change.new_start().wrapping_add(into);
        }
        sequence.wrapping_add(change.moved_after())
    }

    /// What the receiver acknowledges, in the sender's numbers: the most of which nothing is missing.
    pub(super) fn back(&self, acknowledgement: u32) -> u32 {
        let Some(change) = self.changes.iter().rev().find(|change| !before(acknowledgement, change.new_start())) else {
            return acknowledgement.wrapping_sub(self.base);
        };
        let into = acknowledgement.wrapping_sub(change.new_start());
        match into < change.new.len() as u32 {
            true => change.start.wrapping_add(into.min(change.length.saturating_sub(1))),
            false => acknowledgement.wrapping_sub(change.moved_after()),
        }
    }

    /// How many bytes of a segment lie before what has gone through already. They are not to be changed any more: what
    /// followed them would be in the wrong place.
    pub(super) fn known(&self, sequence: u32, length: usize) -> usize {
        match self.highest {
            Some(highest) if before(sequence, highest) => length.min(highest.wrapping_sub(sequence) as usize),
            _ => 0,
        }
    }

    /// A segment goes through. One without bytes says nothing: it may have overtaken those before it.
    pub(super) fn see(&mut self, sequence: u32, length: usize) {
        let end = sequence.wrapping_add(length as u32);
        if length > 0 && self.highest.is_none_or(|highest| before(highest, end)) {
            self.highest = Some(end);
        }
    }

    /// Whether nothing was ever changed.
    pub(super) fn is_untouched(&self) -> bool {
        self.changes.is_empty()
    }

    /// Remembers edits of a segment, in its bytes' order, all behind the last change.
    pub(super) fn change(&mut self, sequence: u32, edits: Vec<Edit>) {
        for Edit { at, new } in edits {
            let moved = self.changes.back().map_or(self.base, Change::moved_after);
            let (start, length) = (sequence.wrapping_add(at.start as u32), at.len() as u32);
            self.changes.push_back(Change { start, length, new, moved });
            if self.changes.len() > MAX_CHANGES
                && let Some(oldest) = self.changes.pop_front()
            {
                self.base = oldest.moved_after();
            }
        }
    }

    /// A segment's bytes as the receiver gets them; `None` if they are the same.
    pub(super) fn rewrite(&self, sequence: u32, payload: &[u8]) -> Option<Vec<u8>> {
        let end = sequence.wrapping_add(payload.len() as u32);
        let covered = |change: &&Change| before(sequence, change.end()) && before(change.start, end);
        let mut changes = self.changes.iter().filter(covered).peekable();
        changes.peek()?;
        let (mut new, mut at) = (Vec::with_capacity(payload.len() + 16), 0);
        for change in changes {
            // A segment may begin or end within what was replaced.
            let skipped = if before(change.start, sequence) { sequence.wrapping_sub(change.start) as usize } else { 0 };
            let start = change.start.wrapping_sub(sequence) as usize;
            let start = if skipped > 0 { 0 } else { start };
            let rest = change.length as usize - skipped;
            let stop = (start + rest).min(payload.len());
            new.extend_from_slice(&payload[at..start]);
            let whole = stop - start == rest;
            let from = skipped.min(change.new.len());
            let to = if whole { change.new.len() } else { (skipped + stop - start).min(change.new.len()) };
            new.extend_from_slice(&change.new[from..to]);
            at = stop;
        }
        new.extend_from_slice(&payload[at..]);
        Some(new)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A stream whose text `old` was changed to `new` at these places, and both wholes.
    fn changed(start: u32, parts: &[(usize, usize, usize)]) -> (Stream, Vec<u8>, Vec<u8>) {
        let (mut stream, mut old, mut new) = (Stream::default(), Vec::new(), Vec::new());
        for (index, (gap, length, other)) in parts.iter().enumerate() {
            let kept: Vec<u8> = (0..*gap).map(|at| (at + index) as u8).collect();
            old.extend_from_slice(&kept);
            new.extend_from_slice(&kept);
            let replacement = vec![200 + (index % 50) as u8; *other];
            let at = old.len();
            stream.change(start, vec![Edit { at: at..at + length, new: replacement.clone() }]);
            old.extend(std::iter::repeat_n(100, *length));
            new.extend(replacement);
        }
        old.extend_from_slice(b"end");
        new.extend_from_slice(b"end");
        (stream, old, new)
    }

    proptest! {
        #[test]
        fn any_segment_of_a_changed_stream_carries_what_the_receiver_has_there(
            start: u32, parts in prop::collection::vec((0_usize..9, 1_usize..9, 1_usize..12), 0..20), from: prop::sample::Index, length in 0_usize..60,
        ) {
            let (stream, old, new) = changed(start, &parts);
            let from = from.index(old.len());
            let to = (from + length).min(old.len());
            let sequence = start.wrapping_add(from as u32);
            let sent = stream.rewrite(sequence, &old[from..to]).unwrap_or_else(|| old[from..to].to_vec());
            let at = stream.forth(sequence).wrapping_sub(start) as usize;
            prop_assert_eq!(&new[at..at + sent.len()], &sent[..]);
            let end = stream.forth(sequence.wrapping_add((to - from) as u32)).wrapping_sub(start) as usize;
            prop_assert_eq!(at + sent.len(), end, "the next segment begins where this one ends");
        }

        #[test]
        fn an_acknowledgement_says_the_most_that_has_wholly_come(
            start: u32, parts in prop::collection::vec((0_usize..9, 1_usize..9, 1_usize..12), 0..20), to: prop::sample::Index,
        ) {
            let (stream, old, new) = changed(start, &parts);
            let acknowledged = start.wrapping_add(to.index(new.len() + 1) as u32);
            let back = stream.back(acknowledged);
            prop_assert!(!before(acknowledged, stream.forth(back)), "no more than has come");
            let all = (0..=old.len() as u32).map(|at| start.wrapping_add(at));
            let most = all.rev().find(|at| !before(acknowledged, stream.forth(*at)));
            prop_assert_eq!(Some(back), most);
        }
    }

    #[test]
    fn old_changes_are_folded_into_one_difference() {
        let parts = vec![(3, 1, 2); 3 * MAX_CHANGES];
        let (stream, old, new) = changed(7, &parts);
        assert_eq!(stream.changes.len(), MAX_CHANGES);
        assert_eq!(stream.forth(7 + old.len() as u32), 7 + new.len() as u32);
        assert_eq!(stream.back(7 + new.len() as u32), 7 + old.len() as u32);
    }
}
