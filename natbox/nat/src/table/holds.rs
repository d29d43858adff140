//! Holds: sessions of no packet's, which only keep their mapping alive until their deadline. No packet finds them, as
//! they stand in no index, and nothing that asks for a mapping's sessions sees them.

use natbox_wire::Time;

use crate::key::{Address, Endpoint};
use crate::record::{NONE, Record, Role, session as of_session};
use crate::table::Table;
use crate::verdict::MappingId;

impl<A: Address> Table<A> {
    /// Puts a hold on a mapping.
    pub(crate) fn open_hold(&mut self, mapping: u32, deadline: Time) -> u32 {
        let &Record { internal, external, protocol, id, next, .. } = self.mapping(mapping);
        let index = self.records.insert(Record {
            internal,
            external,
            remote: Endpoint::unspecified(),
            protocol,
            tcp: crate::tcp::Tcp::NONE,
            session: of_session::LIVE | of_session::HOLDS | of_session::HOLD,
            mapping: 0,
            marks: 0,
            role: Role::Further { mapping, previous: mapping },
            next,
            id,
            deadline,
            armed: deadline,
        });
        self.records[mapping].next = index;
        if next != NONE {
            self.set_previous(next, index);
        }
        self.count_holders(mapping, 1);
        self.expiry.arm(deadline, index);
        index
    }

    /// The mapping at this index, if it still has this number.
    pub(crate) fn find_by_id(&self, index: u32, id: MappingId) -> Option<&Record<A>> {
        self.records.get(index).filter(|record| record.is_mapping() && record.id == id)
    }
}
