//! Addresses of one network: which are taken, and which is next.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The addresses of one network.
pub(super) struct Pool {
    pub(super) prefix: Ipv4Net,
    pub(super) prefix6: Option<Ipv6Net>,
    /// Parts of it that are routed elsewhere and not given out: first and last addresses.
    elsewhere: BTreeMap<IpAddr, IpAddr>,
    taken: BTreeSet<IpAddr>,
    next: u32,
    next6: u128,
}

/// Why an address cannot be had.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Outside,
    Reserved,
    Taken,
}

impl Pool {
    /// A network whose router has the first addresses.
    pub(super) fn new(prefix: Ipv4Net, prefix6: Option<Ipv6Net>) -> Pool {
        Pool { prefix, prefix6, elsewhere: BTreeMap::new(), taken: BTreeSet::new(), next: 1, next6: 1 }
    }

    /// The addresses of its router.
    pub(super) fn router(&self) -> Vec<IpAddr> {
        let v6 = self.prefix6.map(|prefix| IpAddr::V6(Ipv6Addr::from(u128::from(prefix.network()) + 1)));
        std::iter::once(IpAddr::V4(Ipv4Addr::from(u32::from(self.prefix.network()) + 1))).chain(v6).collect()
    }

    /// A part of it that is routed elsewhere.
    pub(super) fn delegate(&mut self, prefix: IpNet) {
        self.elsewhere.insert(prefix.network(), prefix.broadcast());
    }

    /// Whether the network has addresses of this one's kind around it.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.prefix.contains(&address),
            IpAddr::V6(address) => self.prefix6.is_some_and(|prefix| prefix.contains(&address)),
        }
    }

    /// Takes this address.
    pub(super) fn take(&mut self, address: IpAddr) -> Result<(), Refused> {
        if !self.contains(address) {
            return Err(Refused::Outside);
        }
        let edge = match address {
            IpAddr::V4(address) => address == self.prefix.network() || address == self.prefix.broadcast(),
            IpAddr::V6(address) => self.prefix6.is_some_and(|prefix| address == prefix.network()),
        };
        if edge || self.router().contains(&address) || self.is_elsewhere(address) {
            return Err(Refused::Reserved);
        }
        if self.taken.insert(address) { Ok(()) } else { Err(Refused::Taken) }
    }

    /// The next free IPv4 address.
    pub(super) fn next4(&mut self) -> Option<IpAddr> {
        let (first, last) = (u32::from(self.prefix.network()), u32::from(self.prefix.broadcast()));
        while self.next < last - first {
            let address = IpAddr::V4(Ipv4Addr::from(first + self.next));
            self.next += 1;
            if let Some(skipped) = self.around(address) {
                self.next = self.next.max(skipped.saturating_sub(first).saturating_add(1));
            } else if self.take(address).is_ok() {
                return Some(address);
            }
        }
        None
    }

    /// The next free IPv6 address, if the network has any.
    pub(super) fn next6(&mut self) -> Option<IpAddr> {
        let prefix = self.prefix6?;
        loop {
            self.next6 += 1;
            let address = Ipv6Addr::from(u128::from(prefix.network()).checked_add(self.next6)?);
            if !prefix.contains(&address) {
                return None;
            }
            if self.take(IpAddr::V6(address)).is_ok() {
                return Some(IpAddr::V6(address));
            }
        }
    }

    /// The last address of the part routed elsewhere that this address lies in.
    fn around(&self, address: IpAddr) -> Option<u32> {
        match self.part(address)? {
            IpAddr::V4(last) => Some(u32::from(last)),
            IpAddr::V6(_) => None,
        }
    }

    fn is_elsewhere(&self, address: IpAddr) -> bool {
        self.part(address).is_some()
    }

    fn part(&self, address: IpAddr) -> Option<IpAddr> {
        let (_, last) = self.elsewhere.range(..=address).next_back()?;
        (address <= *last).then_some(*last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_are_given_out_in_order_around_what_is_taken() {
        let mut pool = Pool::new("10.0.0.0/29".parse().unwrap(), Some("fd00::/64".parse().unwrap()));
        assert_eq!(pool.router(), [ip("10.0.0.1"), ip("fd00::1")]);
        assert_eq!(pool.take(ip("10.0.0.3")), Ok(()));
        assert_eq!(pool.take(ip("10.0.0.3")), Err(Refused::Taken));
        assert_eq!(pool.take(ip("10.0.0.1")), Err(Refused::Reserved));
        assert_eq!(pool.take(ip("10.0.0.7")), Err(Refused::Reserved));
        assert_eq!(pool.take(ip("10.0.1.2")), Err(Refused::Outside));
        let given: Vec<_> = std::iter::from_fn(|| pool.next4()).collect();
        assert_eq!(given, [ip("10.0.0.2"), ip("10.0.0.4"), ip("10.0.0.5"), ip("10.0.0.6")]);
        assert_eq!(pool.next6(), Some(ip("fd00::2")));
    }

    #[test]
    fn parts_that_are_routed_elsewhere_are_not_given_out() {
        let mut pool = Pool::new("10.0.0.0/28".parse().unwrap(), None);
        pool.delegate("10.0.0.0/29".parse().unwrap());
        assert_eq!(pool.next4(), Some(ip("10.0.0.8")));
        assert_eq!(pool.take(ip("10.0.0.5")), Err(Refused::Reserved));
        assert_eq!(pool.next6(), None);
    }
}
