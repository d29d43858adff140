//! Which uplink a packet leaves through, from which address, and how large it may be.
//!
//! Knows prefixes, default gateways and the path MTUs that ICMP taught (RFC 1191, RFC 8201). Does not know next hops:
//! the local network finds them. No destination is refused for being private; that is for the network to say.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use natbox_wire::Time;
use prefetch_index::prefetch_index;

use super::errno::Errno;
use crate::attach::InterfaceAddress;

/// One attachment of a host to a local network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UplinkConfig {
    /// The host's addresses there; with their prefix lengths they say what is on-link.
    pub(crate) addresses: Vec<InterfaceAddress>,
    /// The default gateway for IPv4.
    pub(crate) gateway_v4: Option<IpAddr>,
    /// The default gateway for IPv6.
    pub(crate) gateway_v6: Option<IpAddr>,
    /// Largest packet, in bytes.
    pub(crate) mtu_bytes: usize,
}

impl UplinkConfig {
    fn gateway(&self, ipv6: bool) -> Option<IpAddr> {
        if ipv6 { self.gateway_v6 } else { self.gateway_v4 }
    }

    fn owns(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.address == address)
    }

    /// The length of the longest on-link prefix that holds `destination`.
    fn on_link(&self, destination: IpAddr) -> Option<u8> {
        self.addresses.iter().filter(|own| own.is_on_link(destination)).map(|own| own.prefix_len).max()
    }

    /// The address to send from: of the destination's own prefix if there is one, else the first that is not
    /// link-local, else the first.
    fn source_for(&self, destination: IpAddr) -> Option<IpAddr> {
        let family = || self.addresses.iter().filter(|own| own.address.is_ipv6() == destination.is_ipv6());
        family()
            .find(|own| own.is_on_link(destination))
            .or_else(|| family().find(|own| !is_link_local(own.address)))
            .or_else(|| family().next())
            .map(|own| own.address)
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Where a packet goes out, and from which address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// Index of the uplink. A packet to the host itself has one too, but does not leave through it.
    pub(crate) uplink: usize,
    /// The source address.
    pub(crate) source: IpAddr,
}

/// How an address concerns this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It is one of the host's own.
    Own,
    /// It is a broadcast or multicast address.
    Many,
    /// It is somebody else's.
    Foreign,
}

/// The uplinks of a host.
#[derive(Debug)]
pub(crate) struct Routes {
    uplinks: Vec<UplinkConfig>,
    /// The uplink whose default gateway is tried first.
    preferred: usize,
    path_mtus: PathMtus,
}

impl Routes {
    pub(crate) fn new(uplinks: Vec<UplinkConfig>) -> Routes {
        Routes { uplinks, preferred: 0, path_mtus: PathMtus::default() }
    }

    /// Brings the first uplink near.
    pub(crate) fn bring(&self) {
        prefetch_index(&self.uplinks, 0);
    }

    #[cfg(test)]
    pub(crate) fn uplinks(&self) -> &[UplinkConfig] {
        &self.uplinks
    }

    /// Gives an uplink other addresses and default gateways (IPv4, IPv6).
    pub(crate) fn readdress(&mut self, uplink: usize, addresses: Vec<InterfaceAddress>, gateways: [Option<IpAddr>; 2]) {
        let Some(known) = self.uplinks.get_mut(uplink) else { return };
        known.addresses = addresses;
        [known.gateway_v4, known.gateway_v6] = gateways;
    }

    /// Whether `address` is one of this host's. Loopback addresses are nobody's: no packet may carry them.
    pub(crate) fn is_own(&self, address: IpAddr) -> bool {
        self.uplinks.iter().any(|uplink| uplink.owns(address))
    }

    /// The uplink that `address` belongs to.
    pub(crate) fn uplink_of(&self, address: IpAddr) -> Option<usize> {
        self.uplinks.iter().position(|uplink| uplink.owns(address))
    }

    /// How the destination of a packet that came through `uplink` concerns this host.
    pub(crate) fn reach(&self, destination: IpAddr, uplink: usize) -> Reach {
        if self.is_own(destination) {
            return Reach::Own;
        }
        let broadcast = self
            .uplinks
            .get(uplink)
            .is_some_and(|uplink| uplink.addresses.iter().any(|own| own.broadcast() == Some(destination)));
        if broadcast || destination == Ipv4Addr::BROADCAST || destination.is_multicast() {
            Reach::Many
        } else {
            Reach::Foreign
        }
    }

    /// The way to `destination`, from `bound` if the sender has chosen an address: the longest on-link prefix (of the
    /// uplink that owns `bound` before others of that length), else the default gateway of the uplink that owns
    /// `bound`, else of the first uplink that has one for the family.
    pub(crate) fn route(&self, bound: Option<IpAddr>, destination: IpAddr) -> Result<Route, Errno> {
        if bound.is_some_and(|address| address.is_ipv6() != destination.is_ipv6()) {
            return Err(Errno::AFNOSUPPORT);
        }
        if destination.is_loopback() || destination.is_unspecified() {
            return Err(Errno::NETUNREACH);
        }
        let bound = bound.filter(|address| !address.is_unspecified());
        if bound.is_some_and(|address| !self.is_own(address)) {
            // The uplink had it once, and is elsewhere now.
            return Err(Errno::INVAL);
        }
        if self.is_own(destination) {
            return Ok(Route {
                uplink: self.uplink_of(destination).unwrap_or(0),
                source: bound.unwrap_or(destination),
            });
        }
        let owner = bound.and_then(|address| self.uplink_of(address));
        let uplink = self
            .group_uplink(owner, destination)
            .or_else(|| self.on_link_uplink(owner, destination))
            .or_else(|| self.default_uplink(owner, destination.is_ipv6()))
            .ok_or(Errno::NETUNREACH)?;
        let source = bound.or_else(|| self.uplinks[uplink].source_for(destination)).ok_or(Errno::NETUNREACH)?;
        Ok(Route { uplink, source })
    }

    /// For multicast and broadcast: the uplink of the bound address, or the first with the family.
    fn group_uplink(&self, owner: Option<usize>, destination: IpAddr) -> Option<usize> {
        if !destination.is_multicast() && destination != Ipv4Addr::BROADCAST {
            return None;
        }
        owner.or_else(|| self.uplinks.iter().position(|uplink| uplink.source_for(destination).is_some()))
    }

    fn on_link_uplink(&self, owner: Option<usize>, destination: IpAddr) -> Option<usize> {
        let candidates = self.uplinks.iter().enumerate().filter_map(|(index, uplink)| {
            let length = uplink.on_link(destination)?;
            // Longest prefix, then the owner, then the first.
            Some((length, Some(index) == owner, std::cmp::Reverse(index)))
        });
        candidates.max().map(|(_, _, std::cmp::Reverse(index))| index)
    }

    fn default_uplink(&self, owner: Option<usize>, ipv6: bool) -> Option<usize> {
        owner.filter(|&index| self.uplinks[index].gateway(ipv6).is_some()).or_else(|| self.preferred(ipv6))
    }

    /// The uplink whose default gateway is used: the preferred one, else the first that has one.
    fn preferred(&self, ipv6: bool) -> Option<usize> {
        let leads = |index: &usize| self.uplinks.get(*index).is_some_and(|uplink| uplink.gateway(ipv6).is_some());
        std::iter::once(self.preferred).chain(0..self.uplinks.len()).find(leads)
    }

    /// From now on the default gateway of this uplink is tried first.
    pub(crate) fn prefer(&mut self, uplink: usize) {
        self.preferred = uplink;
    }

    /// The default gateway of the preferred uplink, else of the first that has one.
    pub(crate) fn default_gateway(&self, ipv6: bool) -> Option<IpAddr> {
        self.preferred(ipv6).and_then(|index| self.uplinks[index].gateway(ipv6))
    }

    /// Whether an address is on a network of one of the uplinks.
    pub(crate) fn is_neighbour(&self, address: IpAddr) -> bool {
        self.uplinks.iter().any(|uplink| uplink.on_link(address).is_some())
    }

    /// Every own address, in the order of the uplinks; no loopback.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.uplinks.iter().flat_map(|uplink| uplink.addresses.iter().map(|own| own.address))
    }

    /// Every address that a socket may be bound to, beside the unspecified one.
    pub(crate) fn bindable(&self, ipv6: bool) -> impl Iterator<Item = IpAddr> + '_ {
        self.addresses().filter(move |address| address.is_ipv6() == ipv6)
    }

    /// The largest packet that may leave through `uplink` towards `destination`, in bytes.
    pub(crate) fn mtu_bytes(&self, uplink: usize, destination: IpAddr, now: Time) -> usize {
        if self.is_own(destination) {
            return LOOPBACK_MTU_BYTES;
        }
        let link = self.uplinks.get(uplink).map_or(0, |uplink| uplink.mtu_bytes);
        self.path_mtus.get(destination, now).map_or(link, |path| link.min(path))
    }

    /// Learns from a packet-too-big message about a packet to `destination`. Says whether the path MTU shrank.
    pub(crate) fn learn_path_mtu(&mut self, destination: IpAddr, mtu_bytes: u32, now: Time) -> bool {
        let Ok(route) = self.route(None, destination) else { return false };
        let current = self.mtu_bytes(route.uplink, destination, now);
        let floor = if destination.is_ipv6() { MIN_PATH_MTU6_BYTES } else { MIN_PATH_MTU4_BYTES };
        let learned = (mtu_bytes as usize).max(floor);
        if learned >= current {
            return false;
        }
        self.path_mtus.insert(destination, learned, now);
        true
    }
}

/// The MTU of Linux's `lo`, as far as an IP packet can use it.
const LOOPBACK_MTU_BYTES: usize = 65_535;
/// Linux's `net.ipv4.route.min_pmtu`: smaller claims are taken for this.
const MIN_PATH_MTU4_BYTES: usize = 552;
/// RFC 8200 section 5.
const MIN_PATH_MTU6_BYTES: usize = 1280;
/// Linux's `mtu_expires`, and RFC 1191 section 6.3, RFC 8201 section 4.
const PATH_MTU_LIFETIME: Duration = Duration::from_secs(600);
/// Destinations remembered; beyond it the one that expires first is forgotten.
const PATH_MTU_LIMIT: usize = 1024;

/// Path MTUs by destination.
#[derive(Debug, Default)]
struct PathMtus {
    entries: BTreeMap<IpAddr, (Time, usize)>,
}

impl PathMtus {
    fn get(&self, destination: IpAddr, now: Time) -> Option<usize> {
        self.entries.get(&destination).filter(|(expires, _)| *expires > now).map(|(_, mtu)| *mtu)
    }

    fn insert(&mut self, destination: IpAddr, mtu_bytes: usize, now: Time) {
        if self.entries.len() >= PATH_MTU_LIMIT && !self.entries.contains_key(&destination) {
            let first = self.entries.iter().min_by_key(|(_, (expires, _))| *expires).map(|(address, _)| *address);
            first.and_then(|address| self.entries.remove(&address));
        }
        self.entries.insert(destination, (now + PATH_MTU_LIFETIME, mtu_bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn uplink(own: &str, prefix_len: u8, gateway: Option<&str>) -> UplinkConfig {
        let own = address(own);
        let gateway = gateway.map(address);
        UplinkConfig {
            addresses: vec![InterfaceAddress { address: own, prefix_len }],
            gateway_v4: gateway.filter(IpAddr::is_ipv4),
            gateway_v6: gateway.filter(IpAddr::is_ipv6),
            mtu_bytes: 1500,
        }
    }

    fn two() -> Routes {
        Routes::new(vec![uplink("192.168.1.2", 24, Some("192.168.1.1")), uplink("10.0.0.2", 8, Some("10.0.0.1"))])
    }

    fn way(routes: &Routes, bound: Option<&str>, destination: &str) -> Result<(usize, String), Errno> {
        let route = routes.route(bound.map(address), address(destination))?;
        Ok((route.uplink, route.source.to_string()))
    }

    #[test]
    fn the_longest_on_link_prefix_wins_over_any_gateway() {
        let routes = two();
        assert_eq!(way(&routes, None, "10.9.9.9"), Ok((1, "10.0.0.2".into())));
        assert_eq!(way(&routes, None, "192.168.1.77"), Ok((0, "192.168.1.2".into())));
        let nested = Routes::new(vec![uplink("10.0.0.2", 8, None), uplink("10.1.0.2", 16, None)]);
        assert_eq!(way(&nested, None, "10.1.3.4"), Ok((1, "10.1.0.2".into())));
    }

    #[test]
    fn a_bound_source_chooses_its_own_gateway_and_else_the_first_is_taken() {
        let routes = two();
        assert_eq!(way(&routes, None, "198.18.0.9"), Ok((0, "192.168.1.2".into())));
        assert_eq!(way(&routes, Some("10.0.0.2"), "198.18.0.9"), Ok((1, "10.0.0.2".into())));
        assert_eq!(way(&routes, Some("0.0.0.0"), "198.18.0.9"), Ok((0, "192.168.1.2".into())));
    }

    #[test]
    fn with_the_same_prefix_on_both_uplinks_the_bound_address_decides() {
        let twins = Routes::new(vec![uplink("192.168.1.2", 24, None), uplink("192.168.1.3", 24, None)]);
        assert_eq!(way(&twins, None, "192.168.1.9"), Ok((0, "192.168.1.2".into())));
        assert_eq!(way(&twins, Some("192.168.1.3"), "192.168.1.9"), Ok((1, "192.168.1.3".into())));
    }

    #[test]
    fn a_private_destination_goes_to_the_gateway_and_a_missing_family_is_unreachable() {
        let routes = two();
        assert_eq!(way(&routes, None, "172.16.0.1"), Ok((0, "192.168.1.2".into())));
        assert_eq!(way(&routes, None, "2001:db8::1"), Err(Errno::NETUNREACH));
        assert_eq!(way(&routes, Some("10.0.0.2"), "2001:db8::1"), Err(Errno::AFNOSUPPORT));
        assert_eq!(way(&Routes::new(vec![]), None, "198.18.0.1"), Err(Errno::NETUNREACH));
    }

    #[test]
    fn multicast_leaves_through_the_bound_uplink_or_the_first() {
        let routes = two();
        assert_eq!(way(&routes, None, "239.255.255.250"), Ok((0, "192.168.1.2".into())));
        assert_eq!(way(&routes, Some("10.0.0.2"), "239.255.255.250"), Ok((1, "10.0.0.2".into())));
    }

    #[test]
    fn own_broadcast_and_foreign_addresses_are_told_apart() {
        let routes = two();
        assert_eq!(routes.reach(address("10.0.0.2"), 0), Reach::Own, "weak host model, as Linux");
        assert_eq!(routes.reach(address("192.168.1.255"), 0), Reach::Many);
        assert_eq!(routes.reach(address("192.168.1.255"), 1), Reach::Foreign);
        assert_eq!(routes.reach(address("255.255.255.255"), 1), Reach::Many);
        assert_eq!(routes.reach(address("127.0.0.1"), 0), Reach::Foreign, "loopback never comes from outside");
    }

    #[test]
    fn a_path_mtu_only_shrinks_has_a_floor_and_lasts_ten_minutes() {
        let mut routes = two();
        let far = address("198.18.0.9");
        let start = Time::ZERO;
        assert!(routes.learn_path_mtu(far, 1400, start));
        assert_eq!(routes.mtu_bytes(0, far, start), 1400);
        assert!(!routes.learn_path_mtu(far, 1450, start));
        assert!(routes.learn_path_mtu(far, 100, start));
        assert_eq!(routes.mtu_bytes(0, far, start), 552);
        assert_eq!(routes.mtu_bytes(0, address("198.18.0.10"), start), 1500);
        assert_eq!(routes.mtu_bytes(0, far, start + Duration::from_secs(599)), 552);
        assert_eq!(routes.mtu_bytes(0, far, start + Duration::from_secs(600)), 1500);
    }

    #[test]
    fn the_path_mtu_cache_is_bounded_and_forgets_what_expires_first() {
        let mut routes = two();
        for n in 0..=PATH_MTU_LIMIT as u64 {
            let far = IpAddr::V4(Ipv4Addr::from(0xc612_0000 + n as u32));
            assert!(routes.learn_path_mtu(far, 1000, Time::from_nanos(n)));
        }
        assert_eq!(routes.path_mtus.entries.len(), PATH_MTU_LIMIT);
        assert_eq!(routes.mtu_bytes(0, address("198.18.0.0"), Time::ZERO), 1500);
        assert_eq!(routes.mtu_bytes(0, address("198.18.0.1"), Time::ZERO), 1000);
    }
}
