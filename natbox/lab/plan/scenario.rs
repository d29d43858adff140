//! The steps of a scenario from their entries: names looked up, defaults filled in, contradictions noted.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use natbox_probes::{Path, Paths};
use natbox_wire::Word;

use super::behavior::{parsed, word};
use super::network::{Layout, take};
use super::resolve::{Named, Names, host, nat, number, switch, unknown};
use super::step::{
    Action, Cable, Call, Connect, Discover, EndpointPattern, ExpectCall, ExpectDiscover, ExpectMapped, ExpectPath,
    ExpectPing, ExpectSend, Goal, Ping, Place, Punch, Send, Step, Via,
};
use super::{Network, Nat};
use crate::topology::mistake::Collector;
use crate::topology::schema::{ACTIONS, ways};
use crate::topology::shape::{STEP_EXPECT, STEP_NAME};
use crate::topology::tree::Node;
use crate::topology::units::{self, Spot};
use crate::words::Service;

/// Most datagrams of one call, each way.
const CALL_DATAGRAMS: u128 = 1_000_000;

/// The steps, as far as they are right.
pub(super) fn resolve(root: &Node, names: &Names<'_>, layout: &mut Layout, mistakes: &mut Collector<'_>) -> Vec<Step> {
    let mut reader = Reader { names, layout, labels: BTreeSet::new(), mistakes };
    let steps = root.get("scenario").map(Node::items).unwrap_or_default();
    steps.iter().filter_map(|step| reader.step(step)).collect()
}

struct Reader<'a, 'f> {
    names: &'a Names<'a>,
    layout: &'a mut Layout,
    labels: BTreeSet<String>,
    mistakes: &'a mut Collector<'f>,
}

impl Reader<'_, '_> {
    fn step(&mut self, step: &Node) -> Option<Step> {
        let (key, node) = step.entries().iter().find(|(key, _)| ACTIONS.iter().any(|action| action.key == key.text))?;
        let expect = step.get(STEP_EXPECT);
        if let Some(expect) = expect.filter(|expect| expect.text().is_none() && expect.entries().is_empty()) {
            self.mistakes.at(expect.place, "nothing is expected here").expected("at least one expectation");
        }
        let action = match key.text.as_str() {
            "send" => Action::Send(self.send(node, expect)?),
            "ping" => Action::Ping(self.ping(node, expect)?),
            "discover" => Action::Discover(self.discover(node, expect)?),
            "punch" => Action::Punch(self.punch(node, expect)?),
            "connect" => Action::Connect(self.connect(node, expect)?),
            "call" => Action::Call(self.call(node, expect)?),
            "wait" => Action::Wait(node.text().and_then(|text| units::duration(text).ok())?),
            "reboot" => Action::Reboot(self.nat(node)?.name.clone()),
            "readdress" => self.readdress(node)?,
            "cut" => Action::Cut(self.cable(node)?),
            _ => Action::Mend(self.cable(node)?),
        };
        let name = step.get(STEP_NAME).and_then(Node::text).map(str::to_owned);
        Some(Step { line: step.place.line, name, action })
    }

    fn send(&mut self, node: &Node, expect: Option<&Node>) -> Option<Send> {
        let source = self.source(node.get("from")?);
        let goal = self.goal(node.get("to")?);
        let expect = expect.map(|expect| self.expect_send(expect));
        let label = node.get("as").and_then(Node::text).map(str::to_owned);
        if let Some(label) = &label
            && !self.labels.insert(label.clone())
        {
            let place = node.get("as")?.place;
            self.mistakes.at(place, format!("an earlier packet is called `{label}` too")).expected("each label once");
        }
        let (host, address, port) = source?;
        let payload = node.get("payload").and_then(Node::text).map_or_else(|| b"natbox".to_vec(), |text| text.as_bytes().to_vec());
        let ttl = number(node, "ttl").and_then(|ttl| u8::try_from(ttl).ok()).unwrap_or(64);
        let to_text = node.get("to")?.text()?.to_owned();
        Some(Send { host, address, port, to: goal?, to_text, label, payload, ttl, expect })
    }

    /// The host, the address if it is said, and the port that a packet is sent from.
    fn source(&mut self, node: &Node) -> Option<(String, Option<IpAddr>, u16)> {
        let (spot, port) = units::endpoint(node.text()?).ok()?;
        match spot {
            Spot::Name(name) => {
                let name = self.named(node, &name, "host", |named| matches!(named, Named::Host(_)))?;
                Some((name, None, port))
            }
            Spot::Address(address) => {
                let owner = self.layout.hosts.iter().find(|host| host.addresses().any(|own| own == address));
                let Some(owner) = owner else {
                    self.mistakes.at(node.place, format!("{address} is no host's")).expected("an address of a host");
                    return None;
                };
                Some((owner.name.clone(), Some(address), port))
            }
        }
    }

    fn goal(&mut self, node: &Node) -> Option<Goal> {
        match units::target(node.text()?).ok()? {
            units::Goal::Mapped(label) => self.label_of(node, label).map(Goal::Mapped),
            units::Goal::Endpoint(Spot::Address(address), port) => Some(Goal::Endpoint(Place::Address(address), port)),
            units::Goal::Endpoint(Spot::Name(name), port) => {
                let name = self.named(node, &name, "host or NAT", |_| true)?;
                Some(Goal::Endpoint(Place::Name(name), port))
            }
        }
    }

    /// The name inside of an endpoint's text, if something fitting is called so.
    fn named(&mut self, node: &Node, name: &str, kind: &str, fits: impl Fn(&Named) -> bool) -> Option<String> {
        if self.names.get(name).is_some_and(&fits) {
            return Some(name.to_owned());
        }
        let inner = Node { place: node.place, value: crate::topology::tree::Value::Scalar(name.to_owned()) };
        unknown(&inner, kind, self.names, fits, self.mistakes);
        None
    }

    fn label(&mut self, node: &Node, key: &str) -> Option<String> {
        let node = node.get(key)?;
        self.label_of(node, node.text()?.to_owned())
    }

    fn label_of(&mut self, node: &Node, label: String) -> Option<String> {
        if self.labels.contains(&label) {
            return Some(label);
        }
        let labels = self.labels.iter().map(String::as_str);
        let mistake = self.mistakes.at(node.place, format!("no earlier packet is called `{label}`"));
        mistake.expected("the label of an earlier `send`, given by `as`").suggest(&label, labels);
        None
    }

    fn expect_send(&mut self, node: &Node) -> ExpectSend {
        let delivered = node.get("delivered").and_then(|node| self.host(node));
        let from = node.get("from").and_then(|node| self.pattern(node));
        let at = node.get("at").and_then(|node| self.spot(node));
        let mapped = node.get("mapped").map(|node| self.expect_mapped(node));
        let arrives = ["delivered", "from"].iter().find_map(|key| node.get(key));
        let dies = ["dropped", "at", "rejected"].iter().find_map(|key| node.get(key));
        if let (Some(_), Some(dies)) = (arrives, dies) {
            self.mistakes.at(dies.place, "a packet expected to be delivered and to be dropped").expected("one or the other");
        }
        ExpectSend { delivered, from, dropped: word(node, "dropped"), at, rejected: word(node, "rejected"), mapped }
    }

    fn expect_mapped(&mut self, node: &Node) -> ExpectMapped {
        let expect = ExpectMapped {
            same_as: self.label(node, "same-as"),
            different_from: self.label(node, "different-from"),
            port: number(node, "port").and_then(|port| u16::try_from(port).ok()),
            address: node.get("address").and_then(|node| self.place(node)),
        };
        if node.entries().is_empty() {
            self.mistakes.at(node.place, "nothing is expected here").expected("`same-as`, `different-from`, `port` or `address`");
        }
        if expect.same_as.is_some() && expect.same_as == expect.different_from {
            self.mistakes.at(node.place, "the same as a packet's and different from it");
        }
        expect
    }

    fn pattern(&mut self, node: &Node) -> Option<EndpointPattern> {
        let (spot, port) = units::seen(node.text()?).ok()?;
        let place = match spot {
            Spot::Address(address) => Place::Address(address),
            Spot::Name(name) => Place::Name(self.named(node, &name, "host or NAT", |_| true)?),
        };
        Some(EndpointPattern { place, port })
    }

    fn place(&mut self, node: &Node) -> Option<Place> {
        match units::place(node.text()?).ok()? {
            Spot::Address(address) => Some(Place::Address(address)),
            Spot::Name(name) => self.named(node, &name, "host or NAT", |_| true).map(Place::Name),
        }
    }

    /// A host, a NAT or `internet`.
    fn spot(&mut self, node: &Node) -> Option<String> {
        match node.text()? {
            "internet" => Some("internet".to_owned()),
            name => self.named(node, name, "host or NAT", |_| true),
        }
    }

    fn host(&mut self, node: &Node) -> Option<String> {
        host(node, self.names, self.mistakes).map(|index| self.layout.hosts[index].name.clone())
    }

    fn nat(&mut self, node: &Node) -> Option<&Nat> {
        nat(node, self.names, self.mistakes).map(|index| &self.layout.nats[index])
    }

    fn ping(&mut self, node: &Node, expect: Option<&Node>) -> Option<Ping> {
        let from = self.host(node.get("from")?);
        let to = self.place(node.get("to")?);
        let expect = expect.map(|expect| ExpectPing {
            rtt: parsed(expect, "rtt", units::durations),
            loss: parsed(expect, "loss", units::percents),
        });
        Some(Ping {
            from: from?,
            to: to?,
            to_text: node.get("to")?.text()?.to_owned(),
            count: number(node, "count").and_then(|count| u16::try_from(count).ok()).unwrap_or(4),
            interval: parsed(node, "interval", units::positive_duration).unwrap_or(Duration::from_secs(1)),
            size_bytes: number(node, "size").unwrap_or(56),
            expect,
        })
    }

    fn discover(&mut self, node: &Node, expect: Option<&Node>) -> Option<Discover> {
        let asked = node.get("host").unwrap_or(node);
        let host = self.host(asked);
        let via = self.offering(node, "via", asked, Service::Stun);
        let lifetime = switch(node, "lifetime").unwrap_or(false);
        if let Some(unasked) = expect.and_then(|expect| expect.get("lifetime")).filter(|_| !lifetime) {
            self.mistakes.at(unasked.place, "a lifetime is expected but not searched for").hint("say `lifetime: on` under `discover`");
        }
        let expect = expect.map(|expect| ExpectDiscover {
            mapping: word(expect, "mapping"),
            filtering: word(expect, "filtering"),
            hairpin: word(expect, "hairpin"),
            classic: word(expect, "classic"),
            lifetime: parsed(expect, "lifetime", units::durations),
        });
        Some(Discover { host: host?, via: via?, lifetime, expect })
    }

    fn punch(&mut self, node: &Node, expect: Option<&Node>) -> Option<Punch> {
        let (from, to) = self.pair(node)?;
        let via = self.via(node, false)?;
        let expect = expect.map(|expect| self.expect_path(expect, None));
        Some(Punch { from, to, via, peer_reflexive: switch(node, "peer_reflexive").unwrap_or(true), expect })
    }

    fn connect(&mut self, node: &Node, expect: Option<&Node>) -> Option<Connect> {
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
        let needs_turn = relayed && (relay_first || allowed.is_some());
        let via = self.via(node, needs_turn);
        let expect = expect.map(|expect| self.expect_path(expect, allowed));
        let ((from, to), via) = (pair?, via?);
        let allow = allowed.unwrap_or_else(|| Paths::of(&ways().collect::<Vec<_>>()));
        Some(Connect { from, to, via, allow, relay_first, expect })
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
    fn possible(&mut self, path: Option<Path>, allowed: Option<Paths>, place: crate::topology::mistake::Place) {
        let (Some(path), Some(allowed)) = (path.filter(|path| *path != Path::None), allowed) else { return };
        if !allowed.contains(path) {
            self.mistakes.at(place, format!("`{path}` is expected but not allowed")).hint(format!("allow `{path}`"));
        }
    }

    fn call(&mut self, node: &Node, expect: Option<&Node>) -> Option<Call> {
        let connect = self.connect(node, None);
        let length = parsed(node, "for", units::positive_duration).unwrap_or(Duration::from_secs(10));
        let size_bytes = number(node, "size").unwrap_or(160);
        let rate = parsed(node, "rate", units::rate);
        let interval = parsed(node, "interval", units::positive_duration);
        if let (Some(_), Some(_), Some(twice)) = (rate, interval, node.get("rate")) {
            self.mistakes.at(twice.place, "`rate` beside `interval`").expected("one of the two");
        }
        let by_rate = |rate: u64| Duration::from_nanos((size_bytes as u64 * 8 * 1_000_000_000 / rate).max(1));
        let interval = rate.map(by_rate).or(interval).unwrap_or(Duration::from_millis(20));
        let datagrams = length.as_nanos() / interval.as_nanos().max(1);
        if datagrams > CALL_DATAGRAMS {
            self.mistakes.at(node.place, format!("a call of {datagrams} datagrams each way")).expected(format!("at most {CALL_DATAGRAMS}"));
        }
        let expect = expect.map(|expect| {
            let path = word(expect, "path");
            if let Some(place) = expect.get("path").map(|node| node.place) {
                self.possible(path, allowed(node), place);
            }
            ExpectCall { path, loss: parsed(expect, "loss", units::percents), delay: parsed(expect, "delay", units::durations) }
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
        let stun = self.offering(node, "via", node, Service::Stun);
        let rendezvous = self.offering(node, "via", node, Service::Rendezvous);
        let turn = if needs_turn || self.offers(node, Service::Turn) > 0 { Some(self.offering(node, "via", node, Service::Turn)?) } else { None };
        Some(Via { stun: stun?, rendezvous: rendezvous?, turn })
    }

    /// How many of the hosts that may be used offer this.
    fn offers(&self, node: &Node, service: Service) -> usize {
        let named: Vec<&str> = node.get("via").map(Node::items).unwrap_or_default().iter().filter_map(Node::text).collect();
        let hosts = self.layout.hosts.iter().filter(|host| host.services.contains(&service));
        hosts.filter(|host| named.is_empty() || named.contains(&host.name.as_str())).count()
    }

    /// The host that offers this: the first that `key` names, or the only one.
    fn offering(&mut self, node: &Node, key: &str, about: &Node, service: Service) -> Option<String> {
        let offers = |host: &&super::Host| host.services.contains(&service);
        if let Some(named) = node.get(key) {
            let mut hosts = Vec::new();
            for name in named.items() {
                hosts.push(self.host(name)?);
            }
            let mut found = hosts.iter().filter_map(|name| self.layout.hosts.iter().find(|host| host.name == *name));
            if let Some(host) = found.find(offers) {
                return Some(host.name.clone());
            }
            let message = format!("`{}` runs no `{service}`, which this step needs", hosts.join("`, `"));
            self.mistakes.at(named.place, message).hint(format!("add `services: [{service}]` to it, or name another host"));
            return None;
        }
        let mut offering = self.layout.hosts.iter().filter(offers);
        match (offering.next(), offering.next()) {
            (Some(only), None) => return Some(only.name.clone()),
            (Some(one), Some(other)) => {
                let message = format!("`{}` and `{}` both run `{service}`", one.name, other.name);
                self.mistakes.at(about.place, message).expected(format!("`{key}`: the host whose `{service}` is used"));
            }
            (None, _) => {
                let message = format!("no host runs `{service}`, which this step needs");
                self.mistakes.at(about.place, message).hint(format!("give a public host `services: [{service}]`"));
            }
        }
        None
    }

    fn readdress(&mut self, node: &Node) -> Option<Action> {
        let index = nat(node.get("nat").unwrap_or(node), self.names, self.mistakes)?;
        let nat = &self.layout.nats[index];
        let network = nat.outside.network;
        let (name, old) = (nat.name.clone(), nat.outside.addresses.clone());
        let pool = self.layout.pools.get_mut(&network)?;
        let mut addresses = Vec::new();
        for fixed in node.get("address").map(Node::items).unwrap_or_default() {
            let Some(address) = fixed.text().and_then(|text| units::address(text).ok()) else { continue };
            if old.contains(&address) || take(address, fixed.place, Some(pool), self.mistakes) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            let next = |address: &IpAddr| if address.is_ipv4() { pool.next4() } else { pool.next6() };
            addresses = old.iter().map_while(next).collect();
        }
        if addresses.is_empty() {
            self.mistakes.at(node.place, format!("no address left for `{name}`")).expected("a larger prefix");
        }
        Some(Action::Readdress { nat: name, addresses })
    }

    fn cable(&mut self, node: &Node) -> Option<Cable> {
        let named = node.get("node").unwrap_or(node);
        let name = self.named(named, named.text()?, "host or NAT", |_| true)?;
        let networks: Vec<Network> = match *self.names.get(name.as_str())? {
            Named::Nat(index) => vec![self.layout.nats[index].outside.network],
            Named::Host(index) => self.layout.hosts[index].uplinks.iter().map(|uplink| uplink.network).collect(),
        };
        let mut uplinks: Vec<usize> = (0..networks.len()).collect();
        let mut text = name.clone();
        if let Some(behind) = node.get("behind") {
            let parent = nat(behind, self.names, self.mistakes)?;
            uplinks.retain(|index| networks[*index] == Network::Behind(parent));
            text = format!("{name} behind {}", behind.text()?);
            if uplinks.is_empty() {
                self.mistakes.at(behind.place, format!("`{name}` is not behind `{}`", behind.text()?)).expected("a NAT that it is behind");
            }
        }
        Some(Cable { node: name, uplinks, text })
    }
}

/// The paths that a step allows, if it says.
fn allowed(node: &Node) -> Option<Paths> {
    let words = node.get("allow")?.items().iter().filter_map(Node::text);
    Some(Paths::of(&words.filter_map(Path::from_word).collect::<Vec<_>>()))
}
