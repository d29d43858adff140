//! What the measurements share: a filled NAT, random traffic, and the bare loop that natbox is held against: one hash
//! look-up in a table of that size, a header rewrite, an RFC 1624 update.

use std::net::SocketAddr;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use natbox_nat::{Behavior, Nat, Verdict};
use natbox_wire::build::{self, IpFields};
use natbox_wire::{Packet, Time};
use rand_core::Rng;
use rand_pcg::Pcg64Mcg;

pub(crate) const REMOTE: ([u8; 4], u16) = ([192, 0, 2, 1], 3478);
/// Packets a round: enough to visit the table at random, few enough to stay in the cache themselves.
pub(crate) const ROUND: usize = 1024;

pub(crate) fn internal(flow: usize) -> SocketAddr {
    let [_, high, low, port] = (flow as u32).to_be_bytes();
    SocketAddr::from(([10, 0, high, low], 5000 + u16::from(port)))
}

pub(crate) fn datagram(source: SocketAddr, destination: SocketAddr) -> Packet {
    // As Linux sends it: it may not be fragmented, so that the box need not give it an identification.
    let fields = IpFields { dont_fragment: true, ..IpFields::default() };
    build::udp(source, destination, fields, &[7; 64]).expect("a datagram")
}

/// A NAT with so many mappings, and each one's external endpoint.
pub(crate) fn filled(flows: usize) -> (Nat, Vec<SocketAddr>) {
    let external: Vec<std::net::IpAddr> = (1..=32).map(|host| [198, 51, 100, host].into()).collect();
    let mut nat = Nat::new(Arc::new(Behavior::default()), &external, 1);
    let externals = (0..flows).map(|flow| {
        let mut packet = datagram(internal(flow), REMOTE.into());
        assert!(matches!(nat.outbound(&mut packet, Time::ZERO), Verdict::Forward(_)));
        packet.source_endpoint()
    });
    let externals = externals.collect();
    (nat, externals)
}

/// Packets of random flows: the bytes, and whether they go out.
pub(crate) fn traffic(externals: &[SocketAddr], random: &mut Pcg64Mcg) -> Vec<(Vec<u8>, bool)> {
    let packets = (0..ROUND).map(|turn| {
        let flow = ((u64::from(random.next_u32()) * externals.len() as u64) >> 32) as usize;
        let outbound = turn % 2 == 0;
        let packet = match outbound {
            true => datagram(internal(flow), REMOTE.into()),
            false => datagram(REMOTE.into(), externals[flow]),
        };
        (packet.into_bytes(), outbound)
    });
    packets.collect()
}

/// The bare loop's table: both endpoints of a packet as they stand in it, to the endpoint to write.
pub(crate) type Bare = HashMap<(u64, u32), (u32, u16), FixedState>;

/// Where things lie in the packets of this benchmark: IPv4 without options, then UDP.
pub(crate) mod at {
    pub(crate) const IP_CHECKSUM: usize = 10;
    pub(crate) const SOURCE: usize = 12;
    pub(crate) const DESTINATION: usize = 16;
    pub(crate) const SOURCE_PORT: usize = 20;
    pub(crate) const DESTINATION_PORT: usize = 22;
    pub(crate) const UDP_CHECKSUM: usize = 26;
}

pub(crate) fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("a field")
}

pub(crate) fn key(bytes: &[u8]) -> (u64, u32) {
    (u64::from_ne_bytes(field(bytes, at::SOURCE)), u32::from_ne_bytes(field(bytes, at::SOURCE_PORT)))
}

/// The bare loop's tables: for packets that go out, and for those that come in.
pub(crate) type Tables = [Bare; 2];

pub(crate) fn bare_tables(externals: &[SocketAddr]) -> Tables {
    let table = || Bare::with_capacity_and_hasher(externals.len(), FixedState::with_seed(1));
    let value = |endpoint: SocketAddr| match endpoint {
        SocketAddr::V4(v4) => (v4.ip().to_bits(), v4.port()),
        SocketAddr::V6(_) => unreachable!("the benchmark is of IPv4"),
    };
    let (mut outbound, mut inbound) = (table(), table());
    for (flow, external) in externals.iter().enumerate() {
        outbound.insert(key(datagram(internal(flow), REMOTE.into()).bytes()), value(*external));
        inbound.insert(key(datagram(REMOTE.into(), *external).bytes()), value(internal(flow)));
    }
    [outbound, inbound]
}

/// Looks a packet's flow up, writes the other endpoint, and mends both checksums: no more than any NAT must do.
pub(crate) fn bare(tables: &Tables, bytes: &mut [u8], outbound: bool) {
    let (table, address_at, port_at) = match outbound {
        true => (&tables[0], at::SOURCE, at::SOURCE_PORT),
        false => (&tables[1], at::DESTINATION, at::DESTINATION_PORT),
    };
    let (address, port) = table[&key(bytes)];
    let old = u32::from_be_bytes(field(bytes, address_at));
    let of_address = u64::from(!old) + u64::from(address);
    let of_port = u64::from(!u16::from_be_bytes(field(bytes, port_at))) + u64::from(port);
    bytes[address_at..address_at + 4].copy_from_slice(&address.to_be_bytes());
    bytes[port_at..port_at + 2].copy_from_slice(&port.to_be_bytes());
    mend(bytes, at::IP_CHECKSUM, of_address);
    mend(bytes, at::UDP_CHECKSUM, of_address + of_port);
}

/// RFC 1624 equation 3: HC' = ~(~HC + ~m + m').
pub(crate) fn mend(bytes: &mut [u8], at: usize, change: u64) {
    let mut sum = u64::from(!u16::from_be_bytes(field(bytes, at))) + change;
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    bytes[at..at + 2].copy_from_slice(&(!sum as u16).to_be_bytes());
}
