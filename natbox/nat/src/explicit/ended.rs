//! How explicit mappings end. What the inside began goes on without them, unless it is to end with them; what only the
//! outside began ends.

use natbox_wire::{ControlEvent, Protocol, Time, Traffic};

use super::Hold;
use super::asked::other;
use crate::key::{Address, Endpoint};
use crate::realm::{Realm, Shared};
use crate::record::Mapping;
use crate::tcp::Stage;
use crate::verdict::{Ended, MappingEnd, MappingId};

impl<A: Address> Realm<A> {
    /// Gives up the explicit mapping of this number, for one remote or for all; whether there was one.
    pub(crate) fn unmap(
        &mut self,
        nat: &mut Shared,
        mapping: MappingId,
        remote: Option<Endpoint<A>>,
        traffic: Traffic,
        now: Time,
    ) -> bool {
        self.expire(nat, now);
        let holds = self.explicit.0.iter().flat_map(|holds| &holds.holds);
        let mut found = holds.filter(|(_, hold)| hold.id == mapping && hold.remote == remote);
        let Some((index, on)) = found.next().map(|(index, hold)| (*index, hold.mapping)) else { return false };
        drop(found);
        if traffic == Traffic::Ends {
            self.reset_connections(nat, on);
        }
        self.end_hold(nat, index, ControlEvent::Deleted);
        let left = self.explicit.is_on(on) || self.table.find_by_id(on, mapping).is_none();
        if traffic == Traffic::Ends && !left {
            self.end_mapping(nat, on, MappingEnd::Unmapped);
        }
        true
    }

    /// A hold's time has come, or it is given up. Its mapping ends unless somebody else holds it.
    fn end_hold(&mut self, nat: &mut Shared, index: u32, event: ControlEvent) {
        let Some(hold) = self.explicit.remove(index) else { return };
        let sessions = self.counted_sessions(nat, hold.mapping);
        let closed = self.table.close_session(index);
        self.give_up_pair(&hold);
        nat.control.push((hold.view(), event));
        if let Some(mapping) = closed {
            self.discount_sessions(mapping.internal.address, sessions);
            self.release(nat, &mapping, nat.now);
            self.pair_again(&mapping);
            let why = if event == ControlEvent::Deleted { MappingEnd::Unmapped } else { MappingEnd::Expired };
            nat.ended.push(Ended { mapping: mapping.view(), why });
        } else {
            self.keep_alive_no_more(nat, &hold);
        }
    }

    /// A session whose deadline has come is a hold, which ends, or is kept alive by one; whether that is so.
    pub(crate) fn end_due_hold(&mut self, nat: &mut Shared, session: u32) -> bool {
        let record = self.table.session(session);
        if record.is_hold() {
            self.end_hold(nat, session, ControlEvent::Expired);
            return true;
        }
        let over = matches!(record.tcp.stage(), Stage::Closing | Stage::TimeWait | Stage::Transitory);
        let (key, mapping) = ((record.protocol, record.internal, record.remote), self.table.mapping_of(session));
        let udp = record.protocol == Protocol::Udp;
        let Some(hold) = self.explicit.keeper(mapping, key).filter(|_| udp || !over) else { return false };
        let lives = self.table.set_due(session, hold.until.unwrap_or(Time::MAX));
        hold.kept_until = Some(self.table.session(session).deadline);
        lives
    }

    /// A session that was alive by a hold alone ends with it: nothing has passed since.
    fn keep_alive_no_more(&mut self, nat: &mut Shared, hold: &Hold<A>) {
        let Some((remote, until)) = hold.remote.zip(hold.kept_until) else { return };
        if let Some(session) = self.table.find_on(hold.mapping, remote)
            && self.table.session(session).deadline == until
        {
            self.end_session(nat, session, MappingEnd::Expired);
        }
    }

    /// A mapping has left the table for another reason: what was asked for is lost with it.
    pub(crate) fn lose_holds(&mut self, nat: &mut Shared, index: u32, mapping: &Mapping<A>) {
        let lost: Vec<u32> = self.explicit.on(index).map(|(hold, _)| hold).collect();
        for hold in lost {
            let Some(hold) = self.explicit.remove(hold) else { continue };
            self.give_up_pair(&hold);
            nat.control.push((hold.view(), ControlEvent::Lost));
        }
        self.pair_again(mapping);
    }

    /// The other protocol's port need not be kept any more on this hold's account.
    fn give_up_pair(&mut self, hold: &Hold<A>) {
        let other = other(hold.protocol);
        if hold.pair && self.explicit.keep_no_more(other, hold.external) {
            self.pool.keep_no_more(other, hold.external);
        }
    }

    /// A mapping has ended whose port may have to be kept on the other protocol's account.
    fn pair_again(&mut self, mapping: &Mapping<A>) {
        // Or every mapping's end would wait for a search.
        if self.explicit.len() == 0 {
            return;
        }
        let Some(beside) = self.table.find_endpoint(other(mapping.protocol), mapping.external) else { return };
        let host = mapping.internal.address;
        let keeps = self.explicit.on(beside).any(|(_, hold)| hold.pair && hold.internal.address == host);
        if keeps {
            self.keep_pair(other(mapping.protocol), host, mapping.external);
        }
    }

    /// Tells both ends of a mapping's open connections that they are over, where their numbers are known.
    fn reset_connections(&mut self, nat: &mut Shared, mapping: u32) {
        for session in self.table.sessions_of(mapping).collect::<Vec<u32>>() {
            let record = self.table.session(session);
            let open = matches!(
                record.tcp.stage(),
                Stage::Established | Stage::PickedUp | Stage::HalfClosed | Stage::CloseWait
            );
            if record.protocol == Protocol::Tcp && open {
                self.reset_both(nat, session);
            }
        }
    }
}
