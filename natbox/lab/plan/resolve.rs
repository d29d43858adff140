//! From a checked tree to a plan: names, who is behind whom, behaviours; then networks and steps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use natbox_nat::Behavior;
use natbox_wire::Word;
use natbox_world::LinkConfig;

use super::behavior::{self, parsed, word};
use super::{Network, Plan, network, scenario};
use crate::topology::mistake::{Collector, Mistakes, Place};
use crate::topology::shape::{self, count, crop};
use crate::topology::tree::{self, Node};
use crate::topology::{schema, units};
use crate::words::Service;

/// Most hosts and NATs in one lab.
const MACHINES: usize = 100_000;
/// Deepest nesting of NATs: packets begin with a TTL of 64.
const DEPTH: usize = 60;

/// The smallest MTU that IPv6 can have (RFC 8200 section 5).
const MTU_BYTES_IPV6: usize = 1280;

/// A NAT, as far as its own entry says.
pub(super) struct NatDraft<'a> {
    pub(super) name: &'a str,
    pub(super) place: Place,
    pub(super) entry: &'a Node,
    pub(super) preset: Option<&'static str>,
    pub(super) behavior: Arc<Behavior>,
    pub(super) network: Network,
    /// How many NATs stand between it and the public network.
    pub(super) depth: usize,
}

/// A host, as far as its own entry says.
pub(super) struct HostDraft<'a> {
    pub(super) name: &'a str,
    pub(super) place: Place,
    pub(super) entry: &'a Node,
    pub(super) networks: Vec<Network>,
    pub(super) services: Vec<Service>,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Nat(usize),
    Host(usize),
}

/// Every name of the lab.
pub(super) type Names<'a> = BTreeMap<&'a str, Named>;

/// Reads, checks and resolves `text`.
pub(super) fn resolve(file: &str, text: &str) -> Result<Plan, Mistakes> {
    let mut mistakes = Collector::new(file, text);
    let plan = tree::parse(text, &mut mistakes).and_then(|root| plan(file, &root, &mut mistakes));
    match plan {
        Some(plan) if mistakes.is_empty() => Ok(plan),
        _ => Err(mistakes.finish()),
    }
}

/// Checks and resolves a tree, whatever text it was made of.
pub(crate) fn plan(file: &str, root: &Node, mistakes: &mut Collector<'_>) -> Option<Plan> {
    shape::check(root, &schema::TOPOLOGY, mistakes);
    let names = names(root, mistakes)?;
    let mut nats = nat_drafts(root, &names, mistakes);
    nest(&mut nats, mistakes);
    let hosts = host_drafts(root, &names, mistakes);
    let mut layout = network::lay_out(root, &nats, &hosts, mistakes);
    if layout.internet.prefix6.is_some() {
        let entries = nats.iter().map(|nat| nat.entry).chain(hosts.iter().map(|host| host.entry));
        entries.for_each(|entry| mtu_for_ipv6(entry, mistakes));
    }
    super::control::resolve(&nats, &names, &mut layout, mistakes);
    let steps = scenario::resolve(root, &names, &mut layout, mistakes);
    let stem = std::path::Path::new(file).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let name = root.get("name").and_then(Node::text).map(str::to_owned);
    let seed = root.get("seed").and_then(Node::text).and_then(count).unwrap_or(0);
    Some(Plan {
        file: file.to_owned(),
        name: name.or(stem).unwrap_or_default(),
        seed,
        internet: layout.internet,
        nats: layout.nats,
        hosts: layout.hosts,
        routes: layout.routes,
        steps,
    })
}

/// Every name, once. `None` if there are too many machines to look further.
fn names<'a>(root: &'a Node, mistakes: &mut Collector<'_>) -> Option<Names<'a>> {
    let mut names = Names::new();
    let mut machines = 0;
    for (section, make) in [("nats", Named::Nat as fn(usize) -> Named), ("hosts", Named::Host)] {
        let Some(node) = root.get(section) else { continue };
        machines += node.entries().len();
        if machines > MACHINES {
            mistakes.at(node.place, format!("{machines} hosts and NATs")).expected(format!("at most {MACHINES}"));
            return None;
        }
        for (index, (key, _)) in node.entries().iter().enumerate() {
            if key.text == "internet" {
                mistakes.at(key.place, "`internet` is the name of the public network").expected("another name");
            }
            match names.get(key.text.as_str()) {
                Some(Named::Nat(_)) if section == "hosts" => {
                    mistakes
                        .at(key.place, format!("a NAT is called `{}` too", crop(&key.text)))
                        .expected("each name once, in `nats` and `hosts` together");
                }
                Some(_) => {}
                None => {
                    names.insert(&key.text, make(index));
                }
            }
        }
    }
    Some(names)
}

fn entries<'a>(root: &'a Node, section: &str) -> &'a [(tree::Key, Node)] {
    root.get(section).map(Node::entries).unwrap_or_default()
}

fn nat_drafts<'a>(root: &'a Node, names: &Names<'_>, mistakes: &mut Collector<'_>) -> Vec<NatDraft<'a>> {
    let draft = |(key, entry): &'a (tree::Key, Node)| {
        let (preset, behavior) = behavior::resolve(entry, mistakes);
        let parent = entry.get("behind").and_then(|node| nat(node, names, mistakes));
        let network = parent.map_or(Network::Internet, Network::Behind);
        NatDraft { name: &key.text, place: key.place, entry, preset, behavior: Arc::new(behavior), network, depth: 0 }
    };
    entries(root, "nats").iter().map(draft).collect()
}

fn host_drafts<'a>(root: &'a Node, names: &Names<'_>, mistakes: &mut Collector<'_>) -> Vec<HostDraft<'a>> {
    let mut drafts = Vec::new();
    for (key, entry) in entries(root, "hosts") {
        let mut networks = Vec::new();
        for node in entry.get("behind").map(Node::items).unwrap_or_default() {
            let Some(network) = nat(node, names, mistakes).map(Network::Behind) else { continue };
            if networks.contains(&network) {
                mistakes.at(node.place, "a second uplink to the same network").expected("each NAT once");
            }
            networks.push(network);
        }
        if networks.is_empty() {
            networks.push(Network::Internet);
        }
        let services = services(entry, mistakes);
        drafts.push(HostDraft { name: &key.text, place: key.place, entry, networks, services });
    }
    drafts
}

fn services(entry: &Node, mistakes: &mut Collector<'_>) -> Vec<Service> {
    let mut services = Vec::new();
    for node in entry.get("services").map(Node::items).unwrap_or_default() {
        let Some(service) = node.text().and_then(Service::from_word) else { continue };
        if services.contains(&service) {
            mistakes.at(node.place, format!("`{service}` stands here a second time")).expected("each service once");
        } else {
            services.push(service);
        }
    }
    services
}

/// The NAT that this name stands for.
pub(super) fn nat(node: &Node, names: &Names<'_>, mistakes: &mut Collector<'_>) -> Option<usize> {
    let name = node.text()?;
    match names.get(name) {
        Some(Named::Nat(index)) => return Some(*index),
        Some(Named::Host(_)) => {
            mistakes.at(node.place, format!("`{name}` is a host")).expected("the name of a NAT");
        }
        None => unknown(node, "NAT", names, |named| matches!(named, Named::Nat(_)), mistakes),
    }
    None
}

/// The host that this name stands for.
pub(super) fn host(node: &Node, names: &Names<'_>, mistakes: &mut Collector<'_>) -> Option<usize> {
    let name = node.text()?;
    match names.get(name) {
        Some(Named::Host(index)) => return Some(*index),
        Some(Named::Nat(_)) => {
            mistakes.at(node.place, format!("`{name}` is a NAT")).expected("the name of a host");
        }
        None => unknown(node, "host", names, |named| matches!(named, Named::Host(_)), mistakes),
    }
    None
}

/// Notes that nothing of this kind has this name.
pub(super) fn unknown(
    node: &Node,
    kind: &str,
    names: &Names<'_>,
    fits: impl Fn(&Named) -> bool,
    mistakes: &mut Collector<'_>,
) {
    let Some(name) = node.text() else { return };
    // A text that is no name at all has been told so by the check of forms.
    if units::name(name).is_err() || mistakes.full() {
        return;
    }
    let candidates: Vec<&str> = names.iter().filter(|(_, named)| fits(named)).map(|(name, _)| *name).collect();
    let shown: Vec<String> = candidates.iter().take(12).map(|name| format!("`{name}`")).collect();
    let more = if candidates.len() > 12 { ", ..." } else { "" };
    let expected = match shown.is_empty() {
        true => format!("the name of a {kind}, of which there is none"),
        false => format!("the name of a {kind}: {}{more}", shown.join(", ")),
    };
    mistakes.at(node.place, format!("unknown {kind} `{}`", crop(name))).expected(expected).suggest(name, candidates);
}

/// Finds how deep every NAT is; breaks circles and too deep nests, after noting them.
fn nest(nats: &mut [NatDraft<'_>], mistakes: &mut Collector<'_>) {
    for start in 0..nats.len() {
        if ancestors(nats, start).any(|ancestor| ancestor == start) {
            let place = behind(&nats[start]);
            let message = format!("`{}` is behind itself", nats[start].name);
            mistakes.at(place, message).expected("a chain of NATs that ends at the public network");
            nats[start].network = Network::Internet;
        }
    }
    for start in 0..nats.len() {
        nats[start].depth = ancestors(nats, start).count();
        if nats[start].depth > DEPTH {
            let place = behind(&nats[start]);
            let message = format!("`{}` is more than {DEPTH} NATs deep", nats[start].name);
            mistakes.at(place, message).expected("fewer NATs than a packet's TTL of 64 can pass");
            nats[start].network = Network::Internet;
            nats[start].depth = 0;
        }
    }
}

fn behind(nat: &NatDraft<'_>) -> Place {
    nat.entry.get("behind").map_or(nat.place, |node| node.place)
}

/// The NATs between one and the public network, nearest first; no more than are allowed and one.
fn ancestors<'a>(nats: &'a [NatDraft<'_>], start: usize) -> impl Iterator<Item = usize> + 'a {
    let parent = |at: usize| match nats[at].network {
        Network::Internet => None,
        Network::Behind(parent) => Some(parent),
    };
    std::iter::successors(parent(start), move |at| parent(*at)).take(DEPTH + 1)
}

/// The link of an entry, on a network with this latency.
pub(super) fn link(entry: &Node, latency: Duration) -> LinkConfig {
    let mut link = LinkConfig { latency, ..LinkConfig::default() };
    let Some(node) = entry.get("link") else { return link };
    let share = |key| parsed(node, key, units::percent);
    link.latency = parsed(node, "latency", units::duration).unwrap_or(link.latency);
    link.jitter = parsed(node, "jitter", units::duration).unwrap_or(link.jitter);
    link.loss = share("loss").unwrap_or(link.loss);
    link.duplicate = share("duplicate").unwrap_or(link.duplicate);
    link.reorder = share("reorder").unwrap_or(link.reorder);
    link.rate_bits_per_second = parsed(node, "rate", units::rate);
    link.queue_packets = number(node, "queue").unwrap_or(link.queue_packets);
    link.mtu_bytes = number(node, "mtu").unwrap_or(link.mtu_bytes);
    link
}

/// Notes a link that is too narrow for IPv6. One that is too narrow for anything has been noted by the check of forms.
fn mtu_for_ipv6(entry: &Node, mistakes: &mut Collector<'_>) {
    let Some(link) = entry.get("link") else { return };
    if let Some((mtu, node)) = number(link, "mtu").zip(link.get("mtu"))
        && (schema::MTU_BYTES_LEAST..MTU_BYTES_IPV6).contains(&mtu)
    {
        let expected = format!("{MTU_BYTES_IPV6} bytes or more (RFC 8200 section 5)");
        mistakes.at(node.place, format!("`mtu: {mtu}` in a lab with IPv6")).expected(expected);
    }
}

/// A count under `key`.
pub(super) fn number(node: &Node, key: &str) -> Option<usize> {
    node.get(key).and_then(Node::text).and_then(count).and_then(|number| usize::try_from(number).ok())
}

/// A switch under `key`.
pub(super) fn switch(node: &Node, key: &str) -> Option<bool> {
    word(node, key).map(|switch: crate::words::Switch| switch == crate::words::Switch::On)
}
