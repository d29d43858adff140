//! What goes the long way through the NAT, beside plain roads: a datagram that opens a mapping, a segment of an open
//! connection, an ICMP error from outside about a datagram.
//!
//! The plain roads use the same table, packets, TCP machine and checks of errors. A plain opening pairs hosts with
//! external addresses in a map and keeps ports in bits, and takes a random port that is free: what the default behaviour asks
//! for, and nothing that others may.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use natbox_wire::build::{self, IpFields};
use natbox_wire::{IcmpError, Packet, Protocol, Quoted, Side as End, TcpFlags, Time, Transport};
use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::inside::key::{Address, Endpoint};
use crate::inside::record::{Mapping, Opening};
use crate::inside::tcp::{Step, Tcp};
use crate::{Behavior, LIFETIME, MappingId, Nat, Side, Translation, Verdict, bare, median, timed};

/// Rounds measured for each figure.
const ROUNDS: usize = 100;

pub(crate) fn measure() {
    println!("\nthe long way, ns a packet (median of {ROUNDS} rounds, for openings of all rounds that fill a table)\n");
    println!("{:<28}{:>9}{:>12}{:>12}{:>8}", "", "mappings", "plain road", "natbox", "ratio");
    for flows in [10_000, 100_000] {
        print("opens a mapping", flows, openings(flows));
    }
    for flows in [1_000, 100_000] {
        print("segment, both ways", flows, segments(flows));
        print("error from outside", flows, errors(flows));
    }
}

fn print(what: &str, flows: usize, [plain, natbox]: [f64; 2]) {
    println!("{what:<28}{flows:>9}{plain:>12.1}{natbox:>12.1}{:>8.2}", natbox / plain);
}

fn externals() -> Vec<IpAddr> {
    (1..=32).map(|host| [198, 51, 100, host].into()).collect()
}

/// The plain pool.
struct Own {
    /// By internal address, the place of the external one, and how many mappings there are.
    hosts: HashMap<Ipv4Addr, (usize, u32), FixedState>,
    taken: Vec<[u64; 1024]>,
    random: Pcg64Mcg,
    opened: u64,
}

impl Own {
    fn new() -> Own {
        let hosts = HashMap::with_hasher(FixedState::with_seed(1));
        Own { hosts, taken: vec![[0; 1024]; 32], random: Pcg64Mcg::seed_from_u64(1), opened: 0 }
    }

    fn take(&mut self, host: Ipv4Addr) -> Endpoint<Ipv4Addr> {
        let next = self.hosts.len() % self.taken.len();
        let (place, mappings) = self.hosts.entry(host).or_insert((next, 0));
        *mappings += 1;
        let place = *place;
        loop {
            let port = 1024 + ((u64::from(self.random.next_u32()) * 64_512) >> 32) as u16;
            let word = &mut self.taken[place][usize::from(port / 64)];
            if *word >> (port % 64) & 1 == 0 {
                *word |= 1 << (port % 64);
                return Endpoint { address: Ipv4Addr::new(198, 51, 100, 1 + place as u8), port };
            }
        }
    }
}

fn open_plainly(nat: &mut Nat, own: &mut Own, packet: &mut Packet, now: Time) -> Option<Verdict> {
    let realm = nat.v4.as_mut()?;
    let (internal, remote) = <Ipv4Addr as Address>::plain_udp(packet)?;
    if realm.table.is_due(now) || realm.pool.owns(remote.address) {
        return None;
    }
    let table = &mut realm.table;
    let hash = table.outbound_hash(Protocol::Udp, internal, remote);
    table.settle_before(Side::Inside, hash);
    if table.find_plain_outbound(hash, internal, remote).is_some() {
        return None;
    }
    let external = own.take(internal.address);
    own.opened += 1;
    let (protocol, id) = (Protocol::Udp, MappingId(own.opened));
    let new = Mapping { protocol, internal, external, towards: None, findable: true, id, created: now };
    let mapping = table.open_mapping(new);
    let deadline = Time::from_nanos(now.as_nanos().saturating_add(LIFETIME));
    let (tcp, permits, holds, leads) = (Tcp::NONE, true, true, true);
    let session = table.open_session(Opening { mapping, remote, tcp, permits, holds, leads, deadline });
    external.write_plain(End::Source, packet);
    table.remember(session);
    Some(Verdict::Forward(Translation { mapping: id, new_mapping: true, quoted: false }))
}

fn openings(flows: usize) -> [f64; 2] {
    let mut measured = [Vec::new(), Vec::new()];
    for _ in 0..(ROUNDS * 20_000).div_ceil(flows * 2).max(4) {
        let mut nats = [0, 1].map(|_| Nat::new(Arc::new(Behavior::default()), &externals(), 1));
        // The plain road does not make what is made with the first packet.
        _ = nats[0].realms_for(false);
        let mut own = Own::new();
        for first in (0..flows).step_by(bare::ROUND) {
            let new = |flow| (Side::Inside, bare::datagram(bare::internal(flow), bare::REMOTE.into()));
            let round = || (first..flows.min(first + bare::ROUND)).map(new).collect::<Vec<_>>();
            let now = Time::from_nanos(first as u64 * 1_000);
            let plain = timed(&mut nats[0], round(), |nat, _, packet, _| {
                open_plainly(nat, &mut own, packet, now).expect("a new flow")
            });
            let natbox = timed(&mut nats[1], round(), |nat, _, packet, _| nat.outbound(packet, now));
            measured[0].push(plain);
            measured[1].push(natbox);
        }
        assert_eq!(nats[0].mappings().len(), nats[1].mappings().len());
    }
    measured.map(|nanos| nanos.iter().sum::<f64>() / nanos.len() as f64)
}

fn segment(from: SocketAddr, to: SocketAddr, flags: TcpFlags) -> Packet {
    let fields = IpFields { dont_fragment: true, ..IpFields::default() };
    build::tcp(from, to, fields, flags, 1, 1, 65_535, &[7; 64]).expect("a segment")
}

const SYN: TcpFlags = TcpFlags { syn: true, ack: false, fin: false, rst: false, psh: false };
const ACK: TcpFlags = TcpFlags { syn: false, ack: true, ..SYN };

fn segment_plainly(nat: &mut Nat, from: Side, packet: &mut Packet, now: Time) -> Option<Verdict> {
    let realm = nat.v4.as_mut()?;
    let Transport::Tcp { source, destination, flags } = packet.transport() else { return None };
    let (from_address, to_address) = Ipv4Addr::both(packet)?;
    let source = Endpoint { address: from_address, port: source };
    let destination = Endpoint { address: to_address, port: destination };
    if realm.table.is_due(now) || from == Side::Inside && realm.pool.owns(destination.address) {
        return None;
    }
    let table = &mut realm.table;
    let index = match from {
        Side::Inside => table.find_outbound(Protocol::Tcp, source, destination),
        Side::Outside => table.find_inbound(Protocol::Tcp, destination, source),
    }?;
    let Step::To(after, timer) = table.session(index).tcp.step(from, flags, &nat.shared.behavior) else { return None };
    table.session_mut(index).tcp = after;
    if let Some(lifetime) = nat.shared.timers.tcp.after(timer, after.stage()) {
        table.set_deadline(index, now + lifetime);
    }
    let session = table.session(index);
    match from {
        Side::Inside => session.external.write(End::Source, packet),
        Side::Outside => session.internal.write(End::Destination, packet),
    }
    let mapping = session.id;
    table.remember(index);
    Some(Verdict::Forward(Translation { mapping, new_mapping: false, quoted: false }))
}

fn segments(flows: usize) -> [f64; 2] {
    let mut nat = Nat::new(Arc::new(Behavior::default()), &externals(), 1);
    let remote = SocketAddr::from(bare::REMOTE);
    let connect = |flow| {
        let mut syn = segment(bare::internal(flow), remote, SYN);
        assert!(matches!(nat.outbound(&mut syn, Time::ZERO), Verdict::Forward(_)));
        let external = syn.source_endpoint();
        let mut answer = segment(remote, external, TcpFlags { ack: true, ..SYN });
        assert!(matches!(nat.inbound(&mut answer, Time::ZERO), Verdict::Forward(_)));
        external
    };
    let externals: Vec<SocketAddr> = (0..flows).map(connect).collect();
    let round = |random: &mut Pcg64Mcg| {
        let packet = |turn| match (turn % 2 == 0, below(random, flows)) {
            (true, flow) => (Side::Inside, segment(bare::internal(flow), remote, ACK)),
            (false, flow) => (Side::Outside, segment(remote, externals[flow], ACK)),
        };
        (0..bare::ROUND).map(packet).collect()
    };
    compare(&mut nat, round, segment_plainly)
}

fn error_plainly(nat: &mut Nat, _: Side, packet: &mut Packet, now: Time) -> Option<Verdict> {
    let table = &mut nat.v4.as_mut()?.table;
    if table.is_due(now) || !packet.transport_checksum_ok() || !packet.quoted_ip_checksum_ok() {
        return None;
    }
    let of_the_hop = matches!(packet.transport(), Transport::IcmpError(IcmpError::Other { kind: 4 | 5, .. }));
    let Quoted { protocol, source, destination } = packet.quoted()?;
    if of_the_hop || packet.quoted_source_route() || packet.destination() != source.ip() {
        return None;
    }
    let (external, remote) = (Endpoint::from_socket(source)?, Endpoint::from_socket(destination)?);
    let index = table.find_inbound(protocol, external, remote)?;
    let (internal, mapping) = (table.session(index).internal.to_socket(), table.session(index).id);
    packet.rewrite_quoted_source(internal);
    packet.rewrite_destination(internal);
    table.remember(index);
    Some(Verdict::Forward(Translation { mapping, new_mapping: false, quoted: true }))
}

fn errors(flows: usize) -> [f64; 2] {
    let (mut nat, externals) = bare::filled(flows);
    let remote = SocketAddr::from(bare::REMOTE);
    let round = |random: &mut Pcg64Mcg| {
        let packet = |_| {
            let offender = bare::datagram(externals[below(random, flows)], remote);
            let error = build::icmp_error(IcmpError::PortUnreachable, remote.ip(), &offender);
            (Side::Outside, error.expect("an error"))
        };
        (0..bare::ROUND).map(packet).collect()
    };
    compare(&mut nat, round, error_plainly)
}

fn below(random: &mut Pcg64Mcg, flows: usize) -> usize {
    ((u64::from(random.next_u32()) * flows as u64) >> 32) as usize
}

/// Both roads in turn, on packets of their own; and, on the same ones, whether they do the same.
fn compare(
    nat: &mut Nat,
    round: impl Fn(&mut Pcg64Mcg) -> Vec<(Side, Packet)>,
    plain: impl Fn(&mut Nat, Side, &mut Packet, Time) -> Option<Verdict>,
) -> [f64; 2] {
    let plain = |nat: &mut Nat, from, packet: &mut Packet, now| plain(nat, from, packet, now).expect("a known flow");
    let mut random = Pcg64Mcg::seed_from_u64(7);
    let mut measured = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (from, mut packet) in round(&mut random) {
            let mut other = packet.clone();
            assert_eq!(plain(nat, from, &mut packet, Time::ZERO), nat.take(from, &mut other, Time::ZERO));
            assert_eq!(packet, other);
        }
        measured[0].push(timed(nat, round(&mut random), plain));
        measured[1].push(timed(nat, round(&mut random), Nat::take));
    }
    measured.map(median)
}
