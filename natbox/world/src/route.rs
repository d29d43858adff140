//! Where a destination lies: longest-prefix match (RFC 1812 section 5.2.4.3).
//!
//! Knows prefixes and interfaces, nothing of packets. A short table is searched as a list; a long one by one hash
//! look-up per prefix length in use, longest first, so that 40,000 hosts on one core cost no more than ten.

use std::net::IpAddr;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use ipnet::IpNet;
use prefetch_index::prefetch_index;

use crate::note::InterfaceId;

/// Up to so many routes a list is searched faster than a hash table is built.
const LIST_LIMIT: usize = 8;

/// Routes to interfaces.
#[derive(Default)]
pub(crate) struct Routes {
    list: Vec<(Prefix, InterfaceId)>,
    index: Option<Box<Index>>,
}

/// The same routes by prefix, and the lengths in use, longest first, for each version.
struct Index {
    by_prefix: HashMap<Prefix, InterfaceId, FixedState>,
    lengths: [Vec<u8>; 2],
}

/// A prefix: its bits from the top of a `u128`, all others zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Prefix {
    bits: u128,
    length: u8,
    ipv6: bool,
}

impl Prefix {
    fn of(address: IpAddr, length: u8) -> Prefix {
        let (bits, width) = match address {
            IpAddr::V4(address) => (u128::from(u32::from(address)) << 96, 32),
            IpAddr::V6(address) => (u128::from(address), 128),
        };
        let length = length.min(width);
        let kept = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
        Prefix { bits: bits & kept, length, ipv6: address.is_ipv6() }
    }
}

impl Routes {
    /// Adds a route; a prefix that is taken stays with its first owner.
    pub(crate) fn add(&mut self, prefix: IpNet, via: InterfaceId) {
        let prefix = Prefix::of(prefix.addr(), prefix.prefix_len());
        if self.exact(prefix).is_some() {
            return;
        }
        self.list.push((prefix, via));
        match &mut self.index {
            Some(index) => index.insert(prefix, via),
            None if self.list.len() > LIST_LIMIT => self.index = Some(Box::new(Index::over(&self.list))),
            None => {}
        }
    }

    /// Adds the route to one host.
    pub(crate) fn add_host(&mut self, address: IpAddr, via: InterfaceId) {
        self.add(IpNet::from(address), via);
    }

    /// Takes away the route to one host, if `via` is where it led.
    pub(crate) fn remove_host(&mut self, address: IpAddr, via: InterfaceId) {
        let prefix = Prefix::of(address, u8::MAX);
        self.list.retain(|route| *route != (prefix, via));
        self.index = (self.list.len() > LIST_LIMIT).then(|| Box::new(Index::over(&self.list)));
    }

    /// The interface of the longest prefix that `destination` is in.
    pub(crate) fn find(&self, destination: IpAddr) -> Option<InterfaceId> {
        match &self.index {
            Some(index) => index.find(destination),
            None => self.search(destination),
        }
    }

    /// Brings a short table near.
    pub(crate) fn bring(&self) {
        prefetch_index(&self.list, 0);
        prefetch_index(&self.list, 1);
    }

    fn search(&self, destination: IpAddr) -> Option<InterfaceId> {
        let matching = self.list.iter().filter(|(prefix, _)| *prefix == Prefix::of(destination, prefix.length));
        matching.max_by_key(|(prefix, _)| prefix.length).map(|(_, via)| *via)
    }

    fn exact(&self, prefix: Prefix) -> Option<InterfaceId> {
        match &self.index {
            Some(index) => index.by_prefix.get(&prefix).copied(),
            None => self.list.iter().find(|(known, _)| *known == prefix).map(|(_, via)| *via),
        }
    }
}

impl Index {
    fn over(list: &[(Prefix, InterfaceId)]) -> Index {
        let by_prefix = HashMap::with_hasher(FixedState::default());
        let mut index = Index { by_prefix, lengths: [Vec::new(), Vec::new()] };
        list.iter().for_each(|(prefix, via)| index.insert(*prefix, *via));
        index
    }

    fn insert(&mut self, prefix: Prefix, via: InterfaceId) {
        self.by_prefix.insert(prefix, via);
        let lengths = &mut self.lengths[usize::from(prefix.ipv6)];
        if let Err(place) = lengths.binary_search_by(|length| prefix.length.cmp(length)) {
            lengths.insert(place, prefix.length);
        }
    }

    fn find(&self, destination: IpAddr) -> Option<InterfaceId> {
        let lengths = &self.lengths[usize::from(destination.is_ipv6())];
        lengths.iter().find_map(|length| self.by_prefix.get(&Prefix::of(destination, *length)).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(routes: &[(&str, u32)]) -> Routes {
        let mut table = Routes::default();
        for (prefix, via) in routes {
            table.add(prefix.parse().expect("a prefix"), InterfaceId(*via));
        }
        table
    }

    fn find(table: &Routes, address: &str) -> Option<u32> {
        table.find(address.parse().expect("an address")).map(|via| via.0)
    }

    #[test]
    fn the_longest_prefix_wins_whatever_the_order_of_adding() {
        let table = table(&[("10.0.0.0/8", 1), ("10.1.2.3/32", 3), ("10.1.0.0/16", 2), ("::/0", 4)]);
        assert_eq!(find(&table, "10.1.2.3"), Some(3));
        assert_eq!(find(&table, "10.1.2.4"), Some(2));
        assert_eq!(find(&table, "10.2.0.1"), Some(1));
        assert_eq!(find(&table, "11.0.0.1"), None);
        assert_eq!(find(&table, "2001:db8::1"), Some(4));
    }

    #[test]
    fn a_prefix_that_is_taken_stays_with_its_first_owner() {
        assert_eq!(find(&table(&[("10.0.0.1/32", 1), ("10.0.0.1/32", 2)]), "10.0.0.1"), Some(1));
    }

    #[test]
    fn an_ipv4_mapped_ipv6_address_is_not_the_ipv4_address() {
        assert_eq!(find(&table(&[("10.0.0.1/32", 1)]), "::ffff:10.0.0.1"), None);
    }

    #[test]
    fn removing_a_host_uncovers_the_shorter_prefix() {
        let mut routes: Vec<(String, u32)> = (0..20).map(|host| (format!("10.0.0.{host}/32"), host)).collect();
        routes.push(("10.0.0.0/24".to_owned(), 99));
        let routes: Vec<(&str, u32)> = routes.iter().map(|(prefix, via)| (prefix.as_str(), *via)).collect();
        let mut table = table(&routes);
        let seven: IpAddr = "10.0.0.7".parse().expect("an address");
        table.remove_host(seven, InterfaceId(8));
        assert_eq!(table.find(seven), Some(InterfaceId(7)), "it is not interface 8's route");
        table.remove_host(seven, InterfaceId(7));
        assert_eq!(table.find(seven), Some(InterfaceId(99)));
    }

    proptest! {
        #[test]
        fn list_and_index_find_the_same(
            routes in proptest::collection::vec((0u32..64, 26u8..=32), 0..40),
            destination in 0u32..64,
        ) {
            let mut table = Routes::default();
            for (via, (bits, length)) in routes.iter().enumerate() {
                let address = IpAddr::V4((0x0a00_0000 | bits).into());
                table.add(IpNet::new(address, *length).expect("a length"), InterfaceId(via as u32));
            }
            let destination = IpAddr::V4((0x0a00_0000 | destination).into());
            prop_assert_eq!(table.find(destination), table.search(destination));
        }
    }
}
