//! Ports by arithmetic (RFC 7422): which external ports an internal address has, and whose an external port is.
//!
//! With N usable ports on each of A external addresses, each of the C·A internal addresses gets P = N / (C + D) ports; what
//! is left over on each address, N − P·C ports or more, is the dynamic pool where D is not 0. Ports are counted by their
//! index in the range of usable ports, so that reserved ports (R) are those that the range leaves out. Each algorithm
//! deals out the same P·C first indices of every address, one to one, so that both directions are arithmetic.
//!
//! Algorithms 2 and 3 spread a host over the external addresses: RFC 6888 REQ-2 (paired) is not met with them. The
//! permutation of algorithm 4 is keyed and reversible, and not cryptographic. RFC 7422 section 2.2 leaves the dealing in
//! algorithm 3 open; here each of a host's ports is on the address after that of the port before it.

use std::net::{IpAddr, Ipv4Addr};

use crate::behavior::{self, DeterministicAlgorithm as Algorithm, PortAllocation, PortParity, PortRanges};
use crate::key::{Address, Endpoint, Hash};
use crate::ports::candidates::Candidates;
use crate::ports::choose::mixed;
use crate::ports::set::Parity;

/// The arithmetic, over numbers: hosts, addresses and ports are counted from 0.
#[derive(Clone)]
pub(crate) struct Arithmetic {
    /// The first host's address, as a number.
    first: u32,
    /// Hosts to an address (C).
    compression: u32,
    addresses: u32,
    /// Ports of a host (P).
    pub(crate) per_host: u32,
    algorithm: Algorithm,
    hash: Hash,
    usable: Candidates,
    /// Ports of an address that belong to nobody, for even internal ports and for odd ones.
    dynamic: [Candidates; 2],
    /// Ports that one host may use in all.
    pub(crate) most: u32,
}

impl Arithmetic {
    /// The arithmetic of a behaviour; `None` if its ports are chosen otherwise.
    pub(crate) fn of(ports: &behavior::Ports, addresses: usize, hash: &Hash) -> Option<Arithmetic> {
        let rules = &ports.deterministic;
        if ports.allocation != PortAllocation::Deterministic {
            return None;
        }
        let range = crate::ports::candidates::intersection(&ports.range, &(1..=u16::MAX));
        let usable = Candidates::new(&range, Parity::Any);
        let parts = rules.compression.saturating_add(rules.dynamic_factor);
        let (compression, per_host) = match rules.first {
            Some(_) => (rules.compression, usable.count().checked_div(parts).unwrap_or(0)),
            None => (0, 0),
        };
        let first_dynamic = if rules.dynamic_factor == 0 { None } else { usable.at(per_host * compression) };
        let dynamic = first_dynamic.filter(|_| per_host * compression < usable.count());
        let dynamic = dynamic
            .map_or(PortRanges::new([]), |first| crate::ports::candidates::intersection(&range, &(first..=u16::MAX)));
        Some(Arithmetic {
            first: rules.first.map_or(0, Ipv4Addr::to_bits),
            compression,
            addresses: addresses as u32,
            per_host,
            algorithm: rules.algorithm,
            hash: hash.clone(),
            usable,
            dynamic: match ports.parity {
                PortParity::Ignore => [Parity::Any; 2],
                PortParity::Preserve => [Parity::Even, Parity::Odd],
            }
            .map(|parity| Candidates::new(&dynamic, parity)),
            most: rules.max_ports.unwrap_or(per_host),
        })
    }

    /// The dynamic ports that an internal port may get.
    pub(crate) fn dynamic(&self, internal: u16) -> &Candidates {
        &self.dynamic[usize::from(internal % 2)]
    }

    /// The number of an internal address; `None` if it has no ports of its own.
    pub(crate) fn host<A: Address>(&self, address: A) -> Option<u32> {
        let IpAddr::V4(address) = address.to_ip() else { return None };
        let number = address.to_bits().checked_sub(self.first)?;
        (u64::from(number) < u64::from(self.compression) * u64::from(self.addresses)).then_some(number)
    }

    /// The address and port of the `index`th port of a host.
    pub(crate) fn external(&self, host: u32, index: u32) -> Option<(u32, u16)> {
        let (c, p) = (self.compression, self.per_host);
        (p > 0).then_some(())?;
        let (address, place) = match self.algorithm {
            Algorithm::Sequential => (host / c, host % c * p + index),
            Algorithm::Staggered => (host / c, index * c + host % c),
            Algorithm::RoundRobin => {
                let slot = u64::from(host) * u64::from(p) + u64::from(index);
                ((slot % u64::from(self.addresses)) as u32, (slot / u64::from(self.addresses)) as u32)
            }
            Algorithm::Interlaced => ((host / c + index) % self.addresses, index * c + host % c),
            Algorithm::Random => (host / c, self.permuted(host % c * p + index, false)),
        };
        Some((address, self.usable.at(place)?))
    }

    /// Whose an external port is.
    pub(crate) fn inside(&self, address: u32, port: u16) -> Option<u32> {
        let (c, p) = (self.compression, self.per_host);
        let place = self.usable.index_of(port).filter(|place| *place < c * p)?;
        Some(match self.algorithm {
            Algorithm::Sequential => address * c + place / p,
            Algorithm::Staggered => address * c + place % c,
            Algorithm::RoundRobin => {
                let slot = u64::from(place) * u64::from(self.addresses) + u64::from(address);
                (slot / u64::from(p)) as u32
            }
            Algorithm::Interlaced => {
                let turn = place / c % self.addresses;
                (address + self.addresses - turn) % self.addresses * c + place % c
            }
            Algorithm::Random => address * c + self.permuted(place, true) / p,
        })
    }

    /// A keyed permutation of the numbers below P·C: four rounds of a Feistel network over the least even number of bits
    /// that holds them, walked until the number is small enough (RFC 6431 section 2.2 asks for a reversible keyed
    /// function).
    fn permuted(&self, number: u32, inverse: bool) -> u32 {
        let limit = self.compression * self.per_host;
        let half = (u32::BITS - (limit - 1).leading_zeros()).div_ceil(2).max(1);
        let mut number = number;
        loop {
            number = self.feistel(number, half, inverse);
            if number < limit {
                return number;
            }
        }
    }

    fn feistel(&self, number: u32, half: u32, inverse: bool) -> u32 {
        let mask = (1 << half) - 1;
        let (mut left, mut right) = (number >> half, number & mask);
        for turn in 0..4 {
            let round = if inverse { 3 - turn } else { turn };
            let key = |half: u32| mixed(self.hash.number(half, Ipv4Addr::from_bits(round))) & mask;
            (left, right) = match inverse {
                false => (right, left ^ key(right)),
                true => (right ^ key(left), left),
            };
        }
        left << half | right
    }
}

/// The deterministic ports of one NAT, looked up both ways: what an operator asks instead of a log (RFC 7422
/// section 2.3).
#[derive(Clone)]
pub struct PortPlan {
    arithmetic: Arithmetic,
    external: Vec<Ipv4Addr>,
}

impl PortPlan {
    /// The plan of a NAT with these rules, external addresses and seed; `None` where ports are chosen otherwise.
    pub fn new(ports: &behavior::Ports, external: &[Ipv4Addr], seed: u64) -> Option<PortPlan> {
        let mut distinct: Vec<Ipv4Addr> = Vec::new();
        for address in external {
            if !distinct.contains(address) {
                distinct.push(*address);
            }
        }
        let arithmetic = Arithmetic::of(ports, distinct.len(), &Hash::with_seed(seed))?;
        Some(PortPlan { arithmetic, external: distinct })
    }

    /// The external ports of an internal address, by external address; empty if it has none of its own.
    pub fn outside(&self, inside: Ipv4Addr) -> Vec<(Ipv4Addr, PortRanges)> {
        let Some(host) = self.arithmetic.host(inside) else { return Vec::new() };
        let mut ports: Vec<Vec<u16>> = vec![Vec::new(); self.external.len()];
        let all = (0..self.arithmetic.per_host).filter_map(|index| self.arithmetic.external(host, index));
        all.for_each(|(address, port)| ports[address as usize].push(port));
        let of_address = self.external.iter().zip(ports).filter(|(_, ports)| !ports.is_empty());
        of_address.map(|(address, ports)| (*address, PortRanges::new(ports.iter().map(|port| *port..=*port)))).collect()
    }

    /// The internal address that an external endpoint belongs to; `None` if it is nobody's, reserved or dynamic.
    pub fn inside(&self, address: Ipv4Addr, port: u16) -> Option<Ipv4Addr> {
        let index = self.external.iter().position(|one| *one == address)?;
        let host = self.arithmetic.inside(index as u32, port)?;
        Some(Ipv4Addr::from_bits(self.arithmetic.first.checked_add(host)?))
    }

    /// The ports of each external address that are dealt out as they are needed.
    pub fn dynamic(&self) -> PortRanges {
        let all = self.arithmetic.dynamic.iter().flat_map(|some| (0..some.count()).filter_map(|index| some.at(index)));
        PortRanges::new(all.map(|port| port..=port))
    }
}

/// Whether an endpoint is one of a host's own.
pub(crate) fn is_own<A: Address>(
    plan: &Arithmetic,
    address: Option<usize>,
    internal: A,
    external: Endpoint<A>,
) -> bool {
    let owner = address.and_then(|address| plan.inside(address as u32, external.port));
    owner.is_some() && owner == plan.host(internal)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use natbox_wire::Word;
    use proptest::prelude::*;

    use super::*;
    use crate::behavior::Deterministic;

    fn plan(rules: Deterministic, range: PortRanges, addresses: u8) -> PortPlan {
        let ports = behavior::Ports {
            allocation: PortAllocation::Deterministic,
            range,
            deterministic: rules,
            ..Default::default()
        };
        let external: Vec<Ipv4Addr> = (1..=addresses).map(|host| [198, 51, 100, host].into()).collect();
        PortPlan::new(&ports, &external, 7).expect("deterministic")
    }

    fn example(algorithm: Algorithm) -> Deterministic {
        Deterministic { first: Some([10, 0, 0, 1].into()), algorithm, ..Deterministic::default() }
    }

    /// RFC 7422 section 2.3's example: 14 hosts, D = 2, 1,024 reserved ports.
    #[test]
    fn the_example_of_rfc7422() {
        let plan = plan(example(Algorithm::Sequential), (1024..=65_535).into(), 1);
        let external = Ipv4Addr::from([198, 51, 100, 1]);
        let range = |host: u8| plan.outside([10, 0, 0, host].into());
        assert_eq!(range(1), [(external, PortRanges::from(1024..=5055))]);
        assert_eq!(range(2), [(external, PortRanges::from(5056..=9087))]);
        assert_eq!(range(14), [(external, PortRanges::from(53_440..=57_471))]);
        assert_eq!(range(15), []);
        assert_eq!(plan.dynamic(), PortRanges::from(57_472..=65_535));
        assert_eq!(plan.inside(external, 2001), Some([10, 0, 0, 1].into()));
        assert_eq!([plan.inside(external, 1023), plan.inside(external, 57_472)], [None, None]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn the_two_functions_are_each_others_inverse_over_all_ports(
            algorithm in prop::sample::select(Algorithm::ALL), compression in 1..40_u32, dynamic_factor in 0..4_u32,
            addresses in 1..6_u8, first in 1..30_000_u16, reserved in 100..30_000_u16,
        ) {
            let rules = Deterministic { compression, dynamic_factor, ..example(algorithm) };
            let range = PortRanges::new([first..=first + 50, first + reserved..=first + reserved + 2000]);
            let plan = plan(rules, range.clone(), addresses);
            let mut owned = BTreeSet::new();
            for host in 0..compression * u32::from(addresses) {
                let inside = Ipv4Addr::from_bits(u32::from_be_bytes([10, 0, 0, 1]) + host);
                let of_host: u32 = plan.outside(inside).iter().map(|(_, ports)| ports.count()).sum();
                prop_assert_eq!(of_host, range.count() / (compression + dynamic_factor));
                for (address, ports) in plan.outside(inside) {
                    for port in ports.ranges().iter().cloned().flatten() {
                        prop_assert_eq!(plan.inside(address, port), Some(inside));
                        prop_assert!(range.contains(port) && owned.insert((address, port)), "{}:{}", address, port);
                    }
                }
            }
            let nobodys = plan.dynamic();
            for port in 0..=u16::MAX {
                let owners = plan.external.iter().filter(|address| plan.inside(**address, port).is_some()).count();
                prop_assert!(owners == 0 || owners == usize::from(addresses));
                prop_assert!(owners == 0 || !nobodys.contains(port));
            }
        }
    }

    #[test]
    fn algorithms_deal_as_they_say() {
        let of = |algorithm, host: u8| {
            let rules = Deterministic { compression: 4, dynamic_factor: 0, ..example(algorithm) };
            let plan = plan(rules, (1024..=1039).into(), 2);
            let ranges = plan.outside([10, 0, 0, host].into());
            let shown = ranges.iter().map(|(address, ports)| format!("{}: {ports}", address.octets()[3]));
            shown.collect::<Vec<String>>().join("; ")
        };
        assert_eq!(of(Algorithm::Sequential, 2), "1: 1028-1031");
        assert_eq!(of(Algorithm::Sequential, 6), "2: 1028-1031");
        assert_eq!(of(Algorithm::Staggered, 2), "1: 1025-1025, 1029-1029, 1033-1033, 1037-1037");
        assert_eq!(of(Algorithm::RoundRobin, 2), "1: 1026-1027; 2: 1026-1027");
        assert_eq!(of(Algorithm::Interlaced, 2), "1: 1025-1025, 1033-1033; 2: 1029-1029, 1037-1037");
    }
}
