//! How sessions and mappings get older or younger, apart from the plain timers, and how they end: stages, absolute
//! lifetimes, packets that restart timers though they pass nothing, and what is due.
//!
//! `timers` and `udp` know how long; the table knows when.

use natbox_wire::{Protocol, Time};

use crate::behavior::ExpiryNotify;
use crate::key::Address;
use crate::realm::{Realm, Shared};
use crate::udp::Datagrams;
use crate::uses::Uses;
use crate::verdict::{Ended, MappingEnd, Side};

impl<A: Address> Realm<A> {
    /// A session that a packet from `side` has opened: what its timers need to remember.
    #[inline]
    pub(crate) fn began(&mut self, nat: &Shared, session: u32, side: Side, now: Time) {
        if nat.timers.stages.is_some() || nat.timers.absolute.is_some() {
            self.began_anew(nat, session, side, now);
        }
    }

    #[cold]
    fn began_anew(&mut self, nat: &Shared, session: u32, side: Side, now: Time) {
        if nat.timers.stages.is_some() && self.table.session(session).protocol == Protocol::Udp {
            self.datagrams.set(session, Datagrams::opened_from(side, now));
        }
        let mapping = self.table.mapping_of(session);
        if let Some(absolute) = nat.timers.absolute.filter(|_| !self.explicit.is_on(mapping)) {
            let end = self.table.created(mapping) + absolute;
            self.table.set_end(session, end);
        }
    }

    /// A datagram of a known session, where UDP has stages: when the session now ends, if the datagram moves that.
    #[inline(never)]
    pub(crate) fn after_datagram(&mut self, nat: &Shared, session: u32, side: Side, now: Time) -> Option<Time> {
        let (stages, kept) = (nat.timers.stages.as_ref()?, self.datagrams.get_mut(session)?);
        let lifetime = stages.after(kept, self.table.session(session).remote.port, side, now);
        nat.timers.restarts(side).then(|| now + lifetime)
    }

    /// An ICMP error about a session has passed, from `side`. It restarts timers as a packet from there would, on a box
    /// of which RFC 5508 REQ-6 and RFC 7857 section 7.1 say that it should not; on others nothing happens.
    pub(crate) fn error_passed(&mut self, nat: &Shared, session: u32, side: Side, now: Time) {
        if nat.uses.any(Uses::REFRESH_ON_ERROR) {
            self.restart(nat, session, side, now);
        }
    }

    /// The filter has refused a packet that was sent to this mapping. It restarts the timers of its sessions as an
    /// admitted packet would, on a box of which RFC 7857 section 7 says that it should not.
    pub(crate) fn restart_mapping(&mut self, nat: &Shared, mapping: u32, now: Time) {
        for session in self.table.sessions_of(mapping).collect::<Vec<u32>>() {
            self.restart(nat, session, Side::Outside, now);
        }
    }

    /// Restarts a session's timer, if packets from `side` may; its stage or state stays as it is.
    fn restart(&mut self, nat: &Shared, session: u32, side: Side, now: Time) {
        let record = self.table.session(session);
        let staged = nat.timers.stages.as_ref().zip(self.datagrams.get(session));
        let deadline = match staged.filter(|_| record.protocol == Protocol::Udp) {
            Some((stages, kept)) => nat.timers.restarts(side).then(|| now + stages.current(kept, record.remote.port)),
            None => nat.timers.restarted(record.tcp, record.protocol, side, now),
        };
        if let Some(deadline) = deadline {
            self.table.set_deadline(session, deadline);
            self.moved(session);
        }
    }

    /// A session whose deadline has come ends; its mapping with all its sessions if that has reached its age.
    /// A connection may get another chance.
    pub(crate) fn end_due(&mut self, nat: &mut Shared, session: u32, now: Time) {
        if self.end_due_hold(nat, session) {
            return;
        }
        let mapping = self.table.mapping_of(session);
        let end = nat
            .timers
            .absolute
            .filter(|_| !self.explicit.is_on(mapping))
            .map(|absolute| self.table.created(mapping) + absolute);
        match end.is_some_and(|end| self.table.session(session).deadline >= end) {
            true => self.end_mapping(nat, mapping, MappingEnd::Aged),
            false if self.outlives(nat, session, now) => {}
            false => self.end_session(nat, session, MappingEnd::Expired),
        }
    }

    /// Ends what is due.
    #[inline]
    pub(crate) fn expire(&mut self, nat: &mut Shared, now: Time) {
        nat.now = now;
        if self.table.next_deadline().is_some_and(|next| next <= now) || self.syns.is_due(now) {
            self.expire_due(nat, now);
        }
    }

    /// When something will be due next.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        [self.table.next_deadline(), self.syns.next_deadline()].into_iter().flatten().min()
    }

    /// When a packet that is held may go on or die next, or one of the NAT's own making may leave.
    pub(crate) fn next_output(&self, nat: &Shared) -> Option<Time> {
        let tells = nat.behavior.expiry_notify != ExpiryNotify::None;
        let notice = self.table.next_deadline().filter(|_| tells);
        [notice, self.syns.next_deadline()].into_iter().flatten().min()
    }

    #[cold]
    fn expire_due(&mut self, nat: &mut Shared, now: Time) {
        self.syns.expire(nat, now);
        while let Some(index) = self.table.next_due(now) {
            self.end_due(nat, index, now);
        }
    }

    /// Ends a session, and tells if its mapping ends with it, and why.
    pub(crate) fn end_session(&mut self, nat: &mut Shared, index: u32, why: MappingEnd) {
        let (mapping, internal) = (self.table.mapping_of(index), self.table.session(index).internal.address);
        let sessions = self.counted_sessions(nat, mapping);
        let closed = self.table.close_session(index);
        self.discount_sessions(internal, if closed.is_some() { sessions } else { sessions.min(1) });
        if let Some(closed) = closed {
            self.release(nat, &closed, nat.now);
            self.lose_holds(nat, mapping, &closed);
            nat.ended.push(Ended { mapping: closed.view(), why });
        }
    }

    /// Ends a mapping with all its sessions, and tells why.
    pub(crate) fn end_mapping(&mut self, nat: &mut Shared, index: u32, why: MappingEnd) {
        let sessions = self.counted_sessions(nat, index);
        let mapping = self.table.close_mapping(index);
        self.discount_sessions(mapping.internal.address, sessions);
        self.release(nat, &mapping, nat.now);
        self.lose_holds(nat, index, &mapping);
        nat.ended.push(Ended { mapping: mapping.view(), why });
    }
}
