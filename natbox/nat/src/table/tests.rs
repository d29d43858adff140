//! The table against lists, with mappings that share keys as no behaviour lets them yet.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::tcp::Tcp;
use crate::verdict::MappingId;

type End = Endpoint<Ipv4Addr>;

const UDP: Protocol = Protocol::Udp;

fn end(network: u8, host: u8, port: u16) -> End {
    Endpoint { address: Ipv4Addr::new(network, 0, 2, host), port }
}

fn seconds(seconds: u64) -> Time {
    Time::from_nanos(seconds * 1_000_000_000)
}

fn table(rule: Rule) -> Table<Ipv4Addr> {
    Table::new(Hash::with_seed(1), [rule; 3], true, None)
}

fn mapping(number: u64, internal: End, external: End, towards: Option<End>, findable: bool) -> Mapping<Ipv4Addr> {
    Mapping { protocol: UDP, internal, external, towards, findable, id: MappingId(number), created: seconds(number) }
}

fn opening(mapping: u32, remote: End, deadline: Time, leads: bool) -> Opening<Ipv4Addr> {
    Opening { mapping, remote, tcp: Tcp::NONE, permits: true, holds: true, leads, deadline }
}

#[derive(Clone, Debug)]
enum Step {
    Mapping { internal: u8, external: u8, remote: u8, findable: bool },
    Session { mapping: usize, remote: u8 },
    CloseSession(usize),
    CloseMapping(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..3_u8, 0..3_u8, 0..3_u8, any::<bool>())
            .prop_map(|(internal, external, remote, findable)| Step::Mapping { internal, external, remote, findable }),
        3 => (0..9_usize, 0..3_u8).prop_map(|(mapping, remote)| Step::Session { mapping, remote }),
        3 => (0..9_usize).prop_map(Step::CloseSession),
        1 => (0..9_usize).prop_map(Step::CloseMapping),
    ];
    prop::collection::vec(step, 1..60)
}

/// The table, and lists that say what must be in it.
struct Lists {
    table: Table<Ipv4Addr>,
    /// Index, number, internal, external, towards, findable; oldest first.
    mappings: Vec<(u32, u64, End, End, End, bool)>,
    /// Index, mapping's index, remote; oldest first.
    sessions: Vec<(u32, u32, End)>,
}

impl Lists {
    fn step(&mut self, number: u64, step: &Step) {
        match *step {
            Step::Mapping { internal, external, remote, findable } => {
                let (internal, external, remote) = (end(10, internal, 1), end(198, external, 2), remote_end(remote));
                let towards = self.table.towards(UDP, remote);
                let index = self.table.open_mapping(mapping(number, internal, external, towards, findable));
                let towards = towards.unwrap_or(Endpoint::unspecified());
                self.mappings.push((index, number, internal, external, towards, findable));
                self.open(index, remote);
            }
            Step::Session { mapping, remote } => {
                if let Some((index, ..)) = self.mappings.get(mapping).copied()
                    && self.table.find_on(index, remote_end(remote)).is_none()
                {
                    self.open(index, remote_end(remote));
                }
            }
            Step::CloseSession(at) if at < self.sessions.len() => {
                let (index, mapping, _) = self.sessions.remove(at);
                let last = self.sessions.iter().all(|(_, of, _)| *of != mapping);
                assert_eq!(self.table.close_session(index).is_some(), last);
                self.mappings.retain(|one| one.0 != mapping || !last);
            }
            Step::CloseMapping(at) if at < self.mappings.len() => {
                let (index, number, internal, external, ..) = self.mappings.remove(at);
                self.sessions.retain(|(_, of, _)| *of != index);
                let closed = self.table.close_mapping(index);
                assert!((closed.id, closed.created) == (MappingId(number), seconds(number)));
                assert!((closed.internal, closed.external) == (internal, external));
            }
            Step::CloseSession(_) | Step::CloseMapping(_) => {}
        }
    }

    fn open(&mut self, mapping: u32, remote: End) {
        let internal = self.table.mapping(mapping).internal;
        let leads = self.table.find_outbound(UDP, internal, remote).is_none();
        let index = self.table.open_session(opening(mapping, remote, seconds(9), leads));
        self.sessions.push((index, mapping, remote));
    }

    fn check(&self) {
        let table = &self.table;
        let mapping = |index: u32| self.mappings.iter().find(|one| one.0 == index).expect("a session's mapping");
        for &(index, number, internal, external, towards, _) in &self.mappings {
            let named = self.mappings.iter().filter(|one| (one.2, one.4, one.5) == (internal, towards, true));
            assert!(table.find_rules(UDP, internal, towards).eq(named.map(|one| one.0)));
            let on = self.mappings.iter().filter(|one| one.3 == external);
            assert!(table.find_endpoints(UDP, external).eq(on.map(|one| one.0)));
            assert_eq!(table.view(MappingId(number)).map(|view| view.id), Some(MappingId(number)));
            let sessions = self.sessions.iter().filter(|one| one.1 == index).map(|one| one.0);
            let mut found: Vec<u32> = table.sessions_of(index).collect();
            found.sort_unstable();
            let mut expected: Vec<u32> = sessions.collect();
            expected.sort_unstable();
            assert_eq!(found, expected);
        }
        for &(index, of, remote) in &self.sessions {
            let &(.., internal, external, _, _) = mapping(of);
            assert_eq!(table.find_on(of, remote), Some(index));
            assert_eq!(table.mapping_of(index), of);
            let inbound = table.find_inbound(UDP, external, remote).expect("a session of that remote");
            assert!(table.session(inbound).external == external && table.session(inbound).remote == remote);
            let outbound = table.find_outbound(UDP, internal, remote).expect("one leads");
            assert!(table.session(outbound).internal == internal && table.session(outbound).remote == remote);
            let same = |one: &&(u32, u32, End)| mapping(one.1).2 == internal && one.2 == remote;
            let leading = self.sessions.iter().filter(same).filter(|one| table.session(one.0).leads());
            assert_eq!(leading.count(), 1);
        }
        assert_eq!(table.mappings().count(), self.mappings.len());
    }
}

fn remote_end(remote: u8) -> End {
    end(192, remote / 2, u16::from(remote))
}

proptest! {
    #[test]
    fn mappings_that_share_keys_are_all_found(
        rule in prop::sample::select(vec![Rule::EndpointIndependent, Rule::AddressDependent, Rule::AddressAndPortDependent]),
        steps in steps(),
    ) {
        let mut lists = Lists { table: table(rule), mappings: Vec::new(), sessions: Vec::new() };
        for (number, step) in (1..).zip(&steps) {
            lists.step(number, step);
            lists.check();
        }
    }
}

#[test]
fn a_mapping_with_one_session_takes_one_record_of_a_cache_line() {
    assert_eq!(size_of::<Record<Ipv4Addr>>(), 64);
    let mut table = table(Rule::EndpointIndependent);
    let index = table.open_mapping(mapping(1, end(10, 1, 1), end(198, 1, 1), None, true));
    assert_eq!(table.open_session(opening(index, end(192, 1, 1), seconds(5), true)), index);
    assert_eq!(table.records.len(), 1);
    assert!(table.by_internal.is_empty() && table.by_external.is_empty());
}

#[test]
fn the_session_that_ends_next_is_found_whatever_packets_prolonged() {
    let mut table = table(Rule::EndpointIndependent);
    let index = table.open_mapping(mapping(1, end(10, 1, 1), end(198, 1, 1), None, true));
    let [first, second, third] =
        [5, 6, 7].map(|at| table.open_session(opening(index, end(192, 1, at), seconds(at.into()), true)));
    assert_eq!(table.soonest(), Some(first));
    table.set_deadline(first, seconds(100));
    assert_eq!(table.soonest(), Some(second));
    assert_eq!(table.soonest(), Some(second), "asking changes nothing");
    assert!(table.close_session(second).is_none());
    assert_eq!(table.soonest(), Some(third));
    let fourth = table.open_session(opening(index, end(192, 1, 1), seconds(1), true));
    assert_eq!(table.soonest(), Some(fourth));
    assert_eq!(table.next_due(seconds(1)), Some(fourth));
    assert!(table.close_session(fourth).is_none());
    assert_eq!(table.next_due(seconds(6)), None);
    assert_eq!(table.next_due(seconds(7)), Some(third));
}

#[test]
fn no_packet_moves_an_absolute_end() {
    let mut table = table(Rule::EndpointIndependent);
    let index = table.open_mapping(mapping(1, end(10, 1, 1), end(198, 1, 1), None, true));
    let session = table.open_session(opening(index, end(192, 1, 1), seconds(5), true));
    table.set_end(session, seconds(7));
    table.set_deadline(session, seconds(6));
    assert_eq!(table.session(session).deadline, seconds(6));
    table.set_deadline(session, seconds(12));
    assert_eq!(table.session(session).deadline, seconds(7));
    assert_eq!(table.next_due(seconds(7)), Some(session));
    assert!(table.close_session(session).is_some());
    let again = table.open_mapping(mapping(2, end(10, 1, 1), end(198, 1, 1), None, true));
    let session = table.open_session(opening(again, end(192, 1, 1), seconds(8), true));
    table.set_deadline(session, seconds(20));
    assert_eq!(table.session(session).deadline, seconds(20), "the end went with its session");
}
