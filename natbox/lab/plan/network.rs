//! Networks: prefixes, addresses, links and routes of every machine.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use natbox_nat::Behavior;
use natbox_nat::behavior::{Ipv6, PortAllocation, TranslationKind};

use super::behavior::{parsed, word};
use super::pool::{Pool, Refused};
use super::resolve::{HostDraft, NatDraft, link, number};
use super::{Host, Internet, Lan, Nat, Network, Route, Uplink};
use crate::topology::mistake::{Collector, Place};
use crate::topology::shape::crop;
use crate::topology::tree::Node;
use crate::topology::{places, units};
use crate::words::{Service, Switch};

/// Every machine with its networks and addresses.
pub(super) struct Layout {
    pub(super) internet: Internet,
    pub(super) nats: Vec<Nat>,
    pub(super) hosts: Vec<Host>,
    pub(super) routes: Vec<Route>,
    /// What is still free, for NATs that change their addresses.
    pub(super) pools: BTreeMap<Network, Pool>,
}

/// Gives every machine its place. Where the drafts are mistaken, notes it and goes on with what there is.
pub(super) fn lay_out(
    root: &Node,
    nats: &[NatDraft<'_>],
    hosts: &[HostDraft<'_>],
    mistakes: &mut Collector<'_>,
) -> Layout {
    let internet = internet(root, mistakes);
    let lans = lans(&internet, nats, mistakes);
    let mut pools = pools(&internet, nats, &lans, mistakes);
    let mut claims = claims(nats, hosts, &internet);
    claims.sort_by_key(|claim| claim.place);
    take_fixed(&mut claims, &mut pools, mistakes);
    give_out(&mut claims, &mut pools, mistakes);
    assemble(internet, nats, hosts, lans, claims, pools)
}

fn internet(root: &Node, mistakes: &mut Collector<'_>) -> Internet {
    let default = Ipv4Net::new([198, 18, 0, 0].into(), 15).unwrap_or_default();
    let latency = Duration::from_millis(10);
    let node = root.get("internet");
    let prefix = node.and_then(|node| parsed(node, "prefix", places::prefix4)).unwrap_or(default);
    let prefix6 = node.and_then(|node| parsed(node, "prefix6", places::prefix6));
    if let Some((prefix6, place)) = prefix6.zip(node.and_then(|node| node.get("prefix6")).map(|node| node.place))
        && prefix6.prefix_len() > 56
    {
        mistakes.at(place, format!("`{prefix6}` has no room for a /64 per NAT")).expected("a /56 or shorter");
    }
    let latency = node.and_then(|node| parsed(node, "latency", units::duration)).unwrap_or(latency);
    Internet { prefix, prefix6, latency, router: Pool::new(prefix, prefix6).router() }
}

/// The network behind each NAT. Parents first, because a network without translation is part of its parent's space.
fn lans(internet: &Internet, nats: &[NatDraft<'_>], mistakes: &mut Collector<'_>) -> Vec<Lan> {
    let mut order: Vec<usize> = (0..nats.len()).collect();
    order.sort_by_key(|index| nats[*index].depth);
    let mut lans: Vec<Option<Lan>> = vec![None; nats.len()];
    // Whether the network behind a NAT belongs to the public space, IPv4 and IPv6.
    let mut public = vec![(false, false); nats.len()];
    let mut routed = 0;
    for index in order {
        let nat = &nats[index];
        let outside = match nat.network {
            Network::Internet => (true, true),
            Network::Behind(parent) => public[parent],
        };
        let behavior = &nat.behavior;
        public[index] =
            (outside.0 && behavior.translation == TranslationKind::None, outside.1 && behavior.ipv6 == Ipv6::Firewall);
        let prefix = parsed(nat.entry, "inside", places::prefix4).unwrap_or_else(|| {
            let (prefix, number) =
                if public[index].0 { (routed_prefix(internet, routed), 1) } else { (Some(private_prefix(index)), 0) };
            routed += number;
            prefix.unwrap_or_else(|| {
                mistakes
                    .at(
                        nat.place,
                        format!(
                            "`{}` translates nothing, and no public prefix is free for what is behind it",
                            nat.name
                        ),
                    )
                    .hint("say `inside`");
                private_prefix(index)
            })
        });
        let prefix6 = prefix6(internet, nat, index, public[index].1, mistakes);
        let client_isolation = word(nat.entry, "client_isolation").unwrap_or(Switch::Off);
        lans[index] = Some(Lan { prefix, prefix6, gateway: Pool::new(prefix, prefix6).router(), client_isolation });
    }
    lans.into_iter().flatten().collect()
}

/// 10.K.K.0/24, by the NAT's place in the file.
fn private_prefix(index: usize) -> Ipv4Net {
    let [.., high, low] = u32::try_from(index).unwrap_or(0).to_be_bytes();
    Ipv4Net::new([10, high, low, 0].into(), 24).unwrap_or_default()
}

/// A part of the upper half of the public prefix, for a network whose addresses are not translated.
fn routed_prefix(internet: &Internet, number: u32) -> Option<Ipv4Net> {
    let length = (internet.prefix.prefix_len() + 3).clamp(24, 29);
    let upper = internet.prefix.subnets(internet.prefix.prefix_len() + 1).ok()?.nth(1)?;
    let base = u32::from(upper.network()).checked_add(number.checked_mul(1 << (32 - length))?)?;
    let prefix = Ipv4Net::new(base.into(), length).ok()?;
    upper.contains(&prefix).then_some(prefix)
}

fn prefix6(
    internet: &Internet,
    nat: &NatDraft<'_>,
    index: usize,
    public: bool,
    mistakes: &mut Collector<'_>,
) -> Option<Ipv6Net> {
    let fixed = nat.entry.get("inside6").map(|node| node.place);
    let Some(outer) = internet.prefix6 else {
        if let Some(place) = fixed {
            mistakes.at(place, "`inside6` in a lab without IPv6").expected("`prefix6` under `internet`");
        }
        return None;
    };
    if let Some(prefix) = parsed(nat.entry, "inside6", places::prefix6) {
        return Some(prefix);
    }
    let number = u128::try_from(index).unwrap_or(0) + 1;
    let base =
        if public { u128::from(outer.network()) } else { u128::from(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0)) };
    let prefix = Ipv6Net::new(Ipv6Addr::from(base + (number << 64)), 64).ok()?;
    if public && !outer.contains(&prefix) {
        mistakes.at(nat.place, format!("`{outer}` has no /64 left for `{}`", nat.name)).expected("a shorter `prefix6`");
    }
    Some(prefix)
}

fn pools(
    internet: &Internet,
    nats: &[NatDraft<'_>],
    lans: &[Lan],
    mistakes: &mut Collector<'_>,
) -> BTreeMap<Network, Pool> {
    let mut pools = BTreeMap::from([(Network::Internet, Pool::new(internet.prefix, internet.prefix6))]);
    for (index, lan) in lans.iter().enumerate() {
        pools.insert(Network::Behind(index), Pool::new(lan.prefix, lan.prefix6));
    }
    for (nat, lan) in nats.iter().zip(lans) {
        for (key, inner) in [("inside", Some(IpNet::V4(lan.prefix))), ("inside6", lan.prefix6.map(IpNet::V6))] {
            let Some(inner) = inner else { continue };
            let place = nat.entry.get(key).map_or(nat.place, |node| node.place);
            let untouched = untouched(&nat.behavior, &inner);
            // A part of the public space is routed there, however many NATs are in between.
            if untouched
                && nat.network != Network::Internet
                && let Some(internet) = pools.get_mut(&Network::Internet)
            {
                delegate(internet, inner);
            }
            let Some(outside) = pools.get_mut(&nat.network) else { continue };
            let outer =
                if inner.addr().is_ipv4() { Some(IpNet::V4(outside.prefix)) } else { outside.prefix6.map(IpNet::V6) };
            let overlaps = |outer: &IpNet| outer.contains(&inner) || inner.contains(outer);
            // Private networks may repeat from NAT to NAT, translated in between (RFC 4787 REQ-7).
            let repeats = !untouched && nat.network != Network::Internet;
            if let Some(outer) = outer.filter(overlaps)
                && !repeats
                && !(untouched && delegate(outside, inner))
            {
                let message = format!("{inner}, inside of `{}`, overlaps {outer}, its outside", nat.name);
                mistakes.at(place, message).expected("another prefix inside");
            }
        }
    }
    pools
}

/// Routes a true part of a network elsewhere; false if it is none, or has the router in it.
fn delegate(pool: &mut Pool, part: IpNet) -> bool {
    let whole = if part.addr().is_ipv4() { Some(IpNet::V4(pool.prefix)) } else { pool.prefix6.map(IpNet::V6) };
    let inside = whole.is_some_and(|whole| whole.contains(&part) && whole != part);
    let free = !pool.router().iter().any(|router| part.contains(router));
    if inside && free {
        pool.delegate(part);
    }
    inside && free
}

/// A machine that wants addresses.
struct Claim<'a> {
    place: Place,
    name: &'a str,
    entry: &'a Node,
    /// Index among the NATs, or among the hosts.
    index: usize,
    nat: bool,
    uplinks: Vec<Uplink>,
    /// IPv4 addresses on each uplink, IPv6 addresses on each uplink.
    wanted: (usize, usize),
}

fn claims<'a>(nats: &[NatDraft<'a>], hosts: &[HostDraft<'a>], internet: &Internet) -> Vec<Claim<'a>> {
    let uplink = |network: Network, entry: &Node| {
        let latency = if network == Network::Internet { internet.latency } else { Duration::ZERO };
        Uplink { network, addresses: Vec::new(), link: link(entry, latency) }
    };
    let nats = nats.iter().enumerate().map(|(index, nat)| Claim {
        place: nat.place,
        name: nat.name,
        entry: nat.entry,
        index,
        nat: true,
        uplinks: vec![uplink(nat.network, nat.entry)],
        wanted: (1, 1),
    });
    let hosts = hosts.iter().enumerate().map(|(index, host)| {
        // RFC 5780 needs two addresses of a STUN server.
        let least = if host.services.contains(&Service::Stun) { 2 } else { 1 };
        Claim {
            place: host.place,
            name: host.name,
            entry: host.entry,
            index,
            nat: false,
            uplinks: host.networks.iter().map(|network| uplink(*network, host.entry)).collect(),
            wanted: (least, least),
        }
    });
    nats.chain(hosts).collect()
}

fn take_fixed(claims: &mut [Claim<'_>], pools: &mut BTreeMap<Network, Pool>, mistakes: &mut Collector<'_>) {
    for claim in claims {
        for node in claim.entry.get("address").map(Node::items).unwrap_or_default() {
            let Some(address) = node.text().and_then(|text| places::address(text).ok()) else { continue };
            let fitting = claim
                .uplinks
                .iter_mut()
                .find(|uplink| pools.get(&uplink.network).is_some_and(|pool| pool.contains(address)));
            let Some(uplink) = fitting else {
                let prefixes = claim.uplinks.iter().filter_map(|uplink| pools.get(&uplink.network)).map(prefixes);
                let expected = format!("an address of {}", prefixes.collect::<Vec<_>>().join(" or "));
                mistakes.at(node.place, format!("{address} is on no network of `{}`", claim.name)).expected(expected);
                continue;
            };
            if take(address, node.place, pools.get_mut(&uplink.network), mistakes) {
                uplink.addresses.push(address);
            }
        }
        check_count(claim, mistakes);
    }
}

/// Takes an address that the file fixes, and notes why it cannot be had.
pub(super) fn take(address: IpAddr, place: Place, pool: Option<&mut Pool>, mistakes: &mut Collector<'_>) -> bool {
    let Some(pool) = pool else { return false };
    let range = prefixes(pool);
    match pool.take(address) {
        Ok(()) => return true,
        Err(Refused::Outside) => {
            mistakes.at(place, format!("{address} is not on this network")).expected(format!("an address of {range}"))
        }
        Err(Refused::Reserved) => mistakes
            .at(place, format!("{address} is the router's, or no host's"))
            .expected(format!("another address of {range}")),
        Err(Refused::Taken) => {
            mistakes.at(place, format!("{address} is given to two machines")).expected("each address once on a network")
        }
    };
    false
}

fn prefixes(pool: &Pool) -> String {
    match pool.prefix6 {
        Some(prefix6) => format!("{} or {prefix6}", pool.prefix),
        None => pool.prefix.to_string(),
    }
}

fn check_count(claim: &mut Claim<'_>, mistakes: &mut Collector<'_>) {
    let fixed = claim.uplinks.iter().map(count4).max().unwrap_or(0);
    match claim.entry.get("addresses").zip(number(claim.entry, "addresses")) {
        Some((node, wanted)) if wanted < fixed => {
            mistakes
                .at(node.place, format!("`addresses: {wanted}`, but `address` fixes {fixed}"))
                .expected(format!("{fixed} or more"));
        }
        Some((_, wanted)) => claim.wanted.0 = wanted,
        None => {}
    }
}

fn count4(uplink: &Uplink) -> usize {
    uplink.addresses.iter().filter(|address| address.is_ipv4()).count()
}

fn give_out(claims: &mut [Claim<'_>], pools: &mut BTreeMap<Network, Pool>, mistakes: &mut Collector<'_>) {
    for claim in claims {
        let (wanted4, wanted6) = claim.wanted;
        for uplink in &mut claim.uplinks {
            let Some(pool) = pools.get_mut(&uplink.network) else { continue };
            let fixed4 = count4(uplink);
            let fixed6 = uplink.addresses.len() - fixed4;
            let more4 = wanted4.saturating_sub(fixed4);
            let found: Vec<IpAddr> = (0..more4).map_while(|_| pool.next4()).collect();
            if found.len() < more4 {
                mistakes
                    .at(claim.place, format!("no address left on {} for `{}`", pool.prefix, crop(claim.name)))
                    .expected("a larger prefix, or fewer machines on it");
            }
            let found6: Vec<IpAddr> = (0..wanted6.saturating_sub(fixed6)).map_while(|_| pool.next6()).collect();
            uplink.addresses.extend(found);
            uplink.addresses.extend(found6);
            uplink.addresses.sort_by_key(IpAddr::is_ipv6);
        }
    }
}

fn assemble(
    internet: Internet,
    nats: &[NatDraft<'_>],
    hosts: &[HostDraft<'_>],
    lans: Vec<Lan>,
    claims: Vec<Claim<'_>>,
    pools: BTreeMap<Network, Pool>,
) -> Layout {
    let (mut of_nats, mut of_hosts): (Vec<_>, Vec<_>) = claims.into_iter().partition(|claim| claim.nat);
    of_nats.sort_by_key(|claim| claim.index);
    of_hosts.sort_by_key(|claim| claim.index);
    let mut built = Vec::with_capacity(nats.len());
    for ((nat, claim), inside) in nats.iter().zip(of_nats).zip(lans) {
        let Some(outside) = claim.uplinks.into_iter().next() else { continue };
        built.push(Nat {
            name: nat.name.to_owned(),
            preset: nat.preset,
            behavior: with_first(&nat.behavior, &inside),
            outside,
            inside,
            control: None,
            forward: Vec::new(),
        });
    }
    let hosts = hosts.iter().zip(of_hosts).map(|(host, claim)| Host {
        name: host.name.to_owned(),
        uplinks: claim.uplinks,
        services: host.services.clone(),
    });
    let routes = routes(&built);
    Layout { internet, hosts: hosts.collect(), nats: built, routes, pools }
}

/// Deterministic ports begin with the first host of the network behind the NAT, where no other is named.
pub(super) fn with_first(behavior: &Arc<Behavior>, inside: &Lan) -> Arc<Behavior> {
    let ports = &behavior.ports;
    if ports.allocation != PortAllocation::Deterministic || ports.deterministic.first.is_some() {
        return behavior.clone();
    }
    let mut behavior = Behavior::clone(behavior);
    behavior.ports.deterministic.first = inside.prefix.hosts().next();
    Arc::new(behavior)
}

/// Networks whose addresses pass their NAT untouched are known to every router up to the next NAT that translates.
fn routes(nats: &[Nat]) -> Vec<Route> {
    let mut routes = Vec::new();
    for nat in nats {
        let inside = std::iter::once(IpNet::V4(nat.inside.prefix)).chain(nat.inside.prefix6.map(IpNet::V6));
        for prefix in inside {
            let mut at = nat;
            while untouched(&at.behavior, &prefix) {
                let via = at.outside.addresses.iter().copied().find(|address| same_version(*address, &prefix));
                routes.extend(via.map(|via| Route { network: at.outside.network, prefix, via }));
                let Network::Behind(parent) = at.outside.network else { break };
                at = &nats[parent];
            }
        }
    }
    routes
}

/// Whether addresses of this prefix pass such a NAT as they are.
fn untouched(behavior: &Behavior, prefix: &IpNet) -> bool {
    match prefix {
        IpNet::V4(_) => behavior.translation == TranslationKind::None,
        IpNet::V6(_) => behavior.ipv6 == Ipv6::Firewall,
    }
}

fn same_version(address: IpAddr, prefix: &IpNet) -> bool {
    address.is_ipv4() == matches!(prefix, IpNet::V4(_))
}
