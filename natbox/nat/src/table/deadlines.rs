//! When sessions end: their deadlines, and which comes next.

use natbox_wire::Time;

use crate::key::Address;
use crate::record::session as of_session;
use crate::table::Table;

impl<A: Address> Table<A> {
    /// Moves a session's deadline, but not behind its absolute end.
    #[inline]
    pub(crate) fn set_deadline(&mut self, index: u32, deadline: Time) {
        let record = &mut self.records[index];
        let mut deadline = deadline;
        if record.is(of_session::ENDS) {
            deadline = self.ends.get(index).map_or(deadline, |end| deadline.min(*end));
        }
        record.deadline = deadline;
        if deadline < record.armed {
            record.armed = deadline;
            self.expiry.arm(deadline, index);
        }
    }

    /// Gives a session that has come up another deadline; whether that is still to come, its absolute end considered.
    pub(crate) fn set_due(&mut self, index: u32, deadline: Time) -> bool {
        let before = std::mem::replace(&mut self.records[index].armed, Time::MAX);
        self.set_deadline(index, deadline);
        self.session(index).deadline > before
    }

    /// Gives a session an absolute end, which no packet moves.
    pub(crate) fn set_end(&mut self, index: u32, end: Time) {
        self.ends.set(index, end);
        let record = &mut self.records[index];
        record.session |= of_session::ENDS;
        let deadline = record.deadline;
        self.set_deadline(index, deadline);
    }

    /// When the next entry comes up; perhaps earlier than the next end.
    #[inline]
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.expiry.next()
    }

    /// Whether an entry has come up.
    #[inline(always)]
    pub(crate) fn is_due(&self, now: Time) -> bool {
        self.expiry.is_due(now)
    }

    /// The next session whose deadline has come, without removing it.
    pub(crate) fn next_due(&mut self, now: Time) -> Option<u32> {
        while let Some((armed, index)) = self.pop(now) {
            let Some(record) = self.records.get_mut(index) else { continue };
            if record.armed != armed {
                continue;
            }
            // One that packets have prolonged waits for its turn, also if that has come: ends are in order of deadlines.
            if record.deadline <= armed {
                return Some(index);
            }
            record.armed = record.deadline;
            self.expiry.arm(record.deadline, index);
        }
        None
    }

    /// The session whose deadline comes next, without removing it: the one to sacrifice where there is no room. What
    /// it searches, it need not search again until packets have prolonged it.
    pub(crate) fn soonest(&mut self) -> Option<u32> {
        while let Some((armed, index)) = self.pop(Time::MAX) {
            let Some(record) = self.records.get_mut(index) else { continue };
            if record.armed != armed {
                continue;
            }
            record.armed = record.deadline;
            self.expiry.arm(record.deadline, index);
            if record.deadline == armed {
                return Some(index);
            }
        }
        None
    }

    /// Takes an entry that has come up by `now`. When the expiry opens its next slot, all that the ends of its sessions
    /// need is brought near in stages: first every record, then the places of every mapping's keys, which the records
    /// name. So the processor waits for many at once.
    #[inline]
    fn pop(&mut self, now: Time) -> Option<(Time, u32)> {
        let Table { expiry, records, hash, by_rule, by_endpoint, .. } = self;
        expiry.pop(now, |entries| {
            entries.iter().for_each(|entry| records.prefetch(entry.session));
            let ends = entries.iter().filter_map(|entry| records.get(entry.session));
            // One whose deadline has moved will only be armed again.
            for record in ends.filter(|record| record.deadline == record.armed) {
                by_rule.prefetch_change(hash.two(record.protocol, record.internal, record.towards()));
                by_endpoint.prefetch_change(hash.one(record.protocol, record.external));
            }
        })
    }
}
