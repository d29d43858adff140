//! Other rules for a table that is in use: sessions are put where the new rules look for them.

use natbox_wire::Time;

use crate::behavior::Mapping as Rule;
use crate::filter::Permissions;
use crate::key::Address;
use crate::record::session as of_session;
use crate::table::Table;
use crate::tcp::Tcp;

impl<A: Address> Table<A> {
    /// Finds mappings by other rules. Mappings and sessions stay, those that lead too; a session whose mapping's own record
    /// is no more where the search for it begins gets one of its own. The old and new indices of these.
    pub(crate) fn reconfigure(&mut self, rules: [Rule; 3], affinity: bool) -> Vec<(u32, u32)> {
        (self.rules, self.affinity) = (rules, affinity);
        let own = self.mappings().filter(|(_, record)| record.is(of_session::LIVE));
        let mut astray: Vec<u32> =
            own.filter(|(index, record)| !self.leads_to(*index, record.remote)).map(|(index, _)| index).collect();
        astray.sort_unstable_by_key(|index| self.mapping(*index).id);
        astray.into_iter().map(|mapping| (mapping, self.move_out(mapping))).collect()
    }

    /// Moves the session in a mapping's own record to one of its own; its index.
    fn move_out(&mut self, mapping: u32) -> u32 {
        let record = &mut self.records[mapping];
        let (remote, tcp, session, marks, deadline) =
            (record.remote, record.tcp, record.session, record.marks, record.deadline);
        (record.session, record.tcp, record.marks) = (0, Tcp::NONE, 0);
        (record.deadline, record.armed) = (Time::MAX, Time::MAX);
        let index = self.add_record(mapping, remote);
        let record = &mut self.records[index];
        (record.tcp, record.session, record.marks) = (tcp, session, marks);
        (record.deadline, record.armed) = (deadline, deadline);
        self.expiry.arm(deadline, index);
        self.ends.rename(mapping, index);
        index
    }

    /// Replaces the permissions by remote address by others, and fills them in.
    pub(crate) fn admit_by(&mut self, permissions: Option<Permissions<A>>) {
        self.permissions = permissions;
        let Some(permissions) = &mut self.permissions else { return };
        for (index, record) in self.records.iter() {
            if record.is(of_session::LIVE | of_session::PERMITS) && !record.is_hold() {
                permissions.add(record, index);
            }
        }
    }

    /// Whether some mappings share an external endpoint.
    pub(crate) fn shares_endpoints(&self) -> bool {
        !self.behind_endpoint.is_empty()
    }

    /// Takes a session's absolute end away. Its deadline stays until something moves it.
    pub(crate) fn clear_end(&mut self, index: u32) {
        self.ends.clear(index);
        self.records[index].session &= !of_session::ENDS;
    }
}
