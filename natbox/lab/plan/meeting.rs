//! Steps in which two hosts meet: who, through whom, and by which paths.

use std::time::Duration;

use natbox_probes::contact::MOST_BYTES;
use natbox_probes::technique::{OPTIONS, Options, Technique};
use natbox_probes::{Path, Paths};
use natbox_wire::Word;

use super::behavior::{parsed, word};
use super::resolve::{number, switch};
use super::scenario::Reader;
use super::step::{Call, Connect, ExpectCall, ExpectPath, ExpectTalk, Punch, Talk, Via};
use crate::topology::actions::ways;
use crate::topology::mistake;
use crate::topology::places;
use crate::topology::tree::Node;
use crate::topology::units;
use crate::words::{Family, Service};

/// Most datagrams of one call, each way.
const CALL_DATAGRAMS: u128 = 1_000_000;

impl Reader<'_, '_> {
    pub(super) fn punch(&mut self, node: &Node, expect: Option<&Node>) -> Option<Punch> {
        let (from, to) = self.pair(node)?;
        let via = self.via(node, false)?;
        let expect = expect.map(|expect| self.expect_path(expect, None));
        Some(Punch { from, to, via, peer_reflexive: switch(node, "peer_reflexive").unwrap_or(true), expect })
    }

    pub(super) fn connect(&mut self, node: &Node, expect: Option<&Node>) -> Option<Connect> {
        let technique = word(node, "technique").unwrap_or(Technique::Connect);
        self.unread(node, technique);
        let allowed = allowed(node);
        let relay_first = switch(node, "relay_first").unwrap_or(false);
        let relayed = allowed.is_none_or(|allowed| allowed.contains(Path::Relayed));
        if let Some(place) = node.get("relay_first").map(|node| node.place)
            && relay_first
            && !relayed
        {
            self.mistakes.at(place, "`relay_first: on`, but `allow` does not name `relayed`").hint("allow `relayed`");
        }
        let pair = self.pair(node);
        let needs_turn = technique.needs_relay() || relayed && (relay_first || allowed.is_some());
        let via = self.via(node, needs_turn);
        let expect = expect.map(|expect| self.expect_path(expect, allowed));
        let ((from, to), via) = (pair?, via?);
        let allow = allowed.unwrap_or_else(|| Paths::of(&ways().collect::<Vec<_>>()));
        let options = Options { allow, relay_first, ..options(node) };
        let label = node.get("as").and_then(Node::text).map(str::to_owned);
        if let (Some(label), Some(again)) = (&label, node.get("as"))
            && !self.connections.insert(label.clone())
        {
            self.mistakes
                .at(again.place, format!("`{label}` is the name of an earlier connection"))
                .expected("another");
        }
        Some(Connect { from, to, via, technique, options, label, expect })
    }

    /// Notes the options of which the technique takes no notice.
    fn unread(&mut self, node: &Node, technique: Technique) {
        let unread = |key: &str| OPTIONS.contains(&key) && !technique.reads().contains(&key);
        for (option, _) in node.entries().iter().filter(|(key, _)| unread(&key.text)) {
            let message = format!("`{}` means nothing to the technique `{technique}`", option.text);
            let expected = technique.reads().iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
            self.mistakes.at(option.place, message).expected(expected);
        }
    }

    pub(super) fn talk(&mut self, node: &Node, expect: Option<&Node>) -> Option<Talk> {
        let named = node.get("on").unwrap_or(node);
        let label = named.text()?.to_owned();
        if !self.connections.contains(&label) {
            let known = self.connections.iter().map(String::as_str);
            let mistake = self.mistakes.at(named.place, format!("no earlier connection is called `{label}`"));
            mistake.expected("the name of an earlier `connect`, given by `as`").suggest(&label, known);
            return None;
        }
        let length = parsed(node, "for", units::positive_duration).unwrap_or(Duration::from_secs(1));
        let interval = parsed(node, "interval", units::positive_duration).unwrap_or(Duration::from_millis(100));
        let messages = length.as_nanos() / interval.as_nanos().max(1);
        if messages > CALL_DATAGRAMS {
            let mistake = self.mistakes.at(node.place, format!("a talk of {messages} messages"));
            mistake.expected(format!("at most {CALL_DATAGRAMS}"));
        }
        let expect = expect.map(|expect| ExpectTalk {
            path: word(expect, "path"),
            loss: parsed(expect, "loss", units::percents),
            outage: parsed(expect, "outage", units::durations),
        });
        Some(Talk { label, length, interval, expect })
    }

    fn expect_path(&mut self, node: &Node, allowed: Option<Paths>) -> ExpectPath {
        let place = node.get("path").unwrap_or(node).place;
        let path = node.text().and_then(Path::from_word).or_else(|| word(node, "path"));
        self.possible(path, allowed, place);
        let within = parsed(node, "within", units::positive_duration);
        if path == Some(Path::None) && within.is_some() {
            self.mistakes.at(node.place, "`within` beside `path: none`").expected("a time for a path that comes about");
        }
        ExpectPath { path, within }
    }

    /// Notes a path that is not allowed to come about.
    fn possible(&mut self, path: Option<Path>, allowed: Option<Paths>, place: mistake::Place) {
        let (Some(path), Some(allowed)) = (path.filter(|path| *path != Path::None), allowed) else { return };
        if !allowed.contains(path) {
            self.mistakes.at(place, format!("`{path}` is expected but not allowed")).hint(format!("allow `{path}`"));
        }
    }

    pub(super) fn call(&mut self, node: &Node, expect: Option<&Node>) -> Option<Call> {
        let connect = self.connect(node, None);
        let length = parsed(node, "for", units::positive_duration).unwrap_or(Duration::from_secs(10));
        let size_bytes = number(node, "size").unwrap_or(160);
        if let (Some(size), Some(connect)) = (node.get("size"), &connect)
            && connect.technique != Technique::Connect
            && size_bytes > MOST_BYTES
        {
            let message = format!("datagrams of {size_bytes} bytes over `{}`", connect.technique);
            self.mistakes.at(size.place, message).expected(format!("at most {MOST_BYTES} bytes"));
        }
        let rate = parsed(node, "rate", units::rate);
        let interval = parsed(node, "interval", units::positive_duration);
        if let (Some(_), Some(_), Some(twice)) = (rate, interval, node.get("rate")) {
            self.mistakes.at(twice.place, "`rate` beside `interval`").expected("one of the two");
        }
        let by_rate = |rate: u64| Duration::from_nanos((size_bytes as u64 * 8 * 1_000_000_000 / rate).max(1));
        let interval = rate.map(by_rate).or(interval).unwrap_or(Duration::from_millis(20));
        let datagrams = length.as_nanos() / interval.as_nanos().max(1);
        if datagrams > CALL_DATAGRAMS {
            self.mistakes
                .at(node.place, format!("a call of {datagrams} datagrams each way"))
                .expected(format!("at most {CALL_DATAGRAMS}"));
        }
        let expect = expect.map(|expect| {
            let path = word(expect, "path");
            if let Some(place) = expect.get("path").map(|node| node.place) {
                self.possible(path, allowed(node), place);
            }
            ExpectCall {
                path,
                loss: parsed(expect, "loss", units::percents),
                delay: parsed(expect, "delay", units::durations),
            }
        });
        Some(Call { connect: connect?, length, interval, size_bytes, expect })
    }

    /// Two different hosts.
    fn pair(&mut self, node: &Node) -> Option<(String, String)> {
        let (from, to) = (node.get("from")?, node.get("to")?);
        let pair = (self.host(from), self.host(to));
        let (Some(one), Some(other)) = pair else { return None };
        if one == other {
            self.mistakes.at(to.place, format!("`{one}` and itself")).expected("two hosts");
            return None;
        }
        Some((one, other))
    }

    fn via(&mut self, node: &Node, needs_turn: bool) -> Option<Via> {
        let family = self.family(node);
        let stun = self.offering(node, "via", node, Service::Stun);
        let rendezvous = self.offering(node, "via", node, Service::Rendezvous);
        let turn = if needs_turn || self.offers(node, Service::Turn) {
            Some(self.offering(node, "via", node, Service::Turn)?)
        } else {
            None
        };
        Some(Via { stun: stun?, rendezvous: rendezvous?, turn, family })
    }

    /// The IP version that a step is about. Where a lab has it, every host has addresses of it.
    pub(super) fn family(&mut self, node: &Node) -> Family {
        let family = word(node, "family").unwrap_or(Family::Ipv4);
        if let Some(asked) = node.get("family")
            && family == Family::Ipv6
            && self.layout.internet.prefix6.is_none()
        {
            self.mistakes
                .at(asked.place, "`family: ipv6` in a lab without IPv6")
                .expected("`prefix6` under `internet`");
        }
        family
    }

    /// Whether one of the hosts that may be used offers this.
    fn offers(&self, node: &Node, service: Service) -> bool {
        match node.get("via") {
            None => self.servers.contains_key(&service),
            Some(named) => named.items().iter().filter_map(Node::text).any(|name| self.runs(name, service)),
        }
    }

    fn runs(&self, name: &str, service: Service) -> bool {
        let host = |index: &usize| self.layout.hosts[*index].name == name;
        self.servers.get(&service).is_some_and(|hosts| hosts.iter().any(host))
    }

    /// The host that offers this: the first that `key` names, or the only one.
    pub(super) fn offering(&mut self, node: &Node, key: &str, about: &Node, service: Service) -> Option<String> {
        if let Some(named) = node.get(key) {
            return self.offering_of(named, service);
        }
        let name = |index: &usize| self.layout.hosts[*index].name.clone();
        let offering = self.servers.get(&service).map_or(&[][..], Vec::as_slice);
        match offering {
            [only] => return Some(name(only)),
            [one, other, ..] => {
                let message = format!("`{}` and `{}` both run `{service}`", name(one), name(other));
                self.mistakes.at(about.place, message).expected(format!("`{key}`: the host whose `{service}` is used"));
            }
            [] => {
                let message = format!("no host runs `{service}`, which this step needs");
                self.mistakes.at(about.place, message).hint(format!("give a public host `services: [{service}]`"));
            }
        }
        None
    }

    fn offering_of(&mut self, named: &Node, service: Service) -> Option<String> {
        let mut hosts = Vec::new();
        for name in named.items() {
            hosts.push(self.host(name)?);
        }
        if let Some(host) = hosts.iter().find(|name| self.runs(name, service)) {
            return Some(host.clone());
        }
        let message = format!("`{}` runs no `{service}`, which this step needs", hosts.join("`, `"));
        let hint = format!("add `services: [{service}]` to it, or name another host");
        self.mistakes.at(named.place, message).hint(hint);
        None
    }
}

/// What a technique may spend, as far as the step says.
fn options(node: &Node) -> Options {
    let usual = Options::default();
    Options {
        timeout: parsed(node, "timeout", units::positive_duration).unwrap_or(usual.timeout),
        keep_alive: parsed(node, "keep_alive", units::positive_duration).unwrap_or(usual.keep_alive),
        peer_reflexive: switch(node, "peer_reflexive").unwrap_or(usual.peer_reflexive),
        low_ttl: small(node, "low_ttl").or(usual.low_ttl),
        sockets: small(node, "sockets").unwrap_or(usual.sockets),
        probes: small(node, "probes").unwrap_or(usual.probes),
        window: small(node, "window").unwrap_or(usual.window),
        ports: parsed(node, "ports", places::port_range).unwrap_or(usual.ports),
        ..usual
    }
}

/// The count under `key`, where it fits.
fn small<T: TryFrom<usize>>(node: &Node, key: &str) -> Option<T> {
    number(node, key).and_then(|number| T::try_from(number).ok())
}

/// The paths that a step allows, if it says.
fn allowed(node: &Node) -> Option<Paths> {
    let words = node.get("allow")?.items().iter().filter_map(Node::text);
    Some(Paths::of(&words.filter_map(Path::from_word).collect::<Vec<_>>()))
}
