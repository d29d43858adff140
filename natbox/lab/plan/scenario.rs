//! The steps of a scenario from their entries: names looked up, defaults filled in, contradictions noted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use natbox_nat::Behavior;
use natbox_wire::{DropReason, Word};

use super::Nat;
use super::behavior::{parsed, word};
use super::message::Message;
use super::network::Layout;
use super::possible::Known;
use super::resolve::{Named, Names, host, nat, number, switch, unknown};
use super::step::{
    Action, Count, Discover, EndpointPattern, ExpectCount, ExpectDiscover, ExpectMapped, ExpectPing, ExpectSend,
    Expire, Goal, Ping, Place, Send, Step,
};
use crate::topology::actions::ACTIONS;
use crate::topology::mistake::Collector;
use crate::topology::places::{self, Spot};
use crate::topology::shape::{STEP_EXPECT, STEP_NAME};
use crate::topology::tree::{Key, Node, Value};
use crate::topology::{Allowed, units};
use crate::words::Service;

/// The steps, as far as they are right.
pub(super) fn resolve(root: &Node, names: &Names<'_>, layout: &mut Layout, mistakes: &mut Collector<'_>) -> Vec<Step> {
    let mut servers: BTreeMap<Service, Vec<usize>> = BTreeMap::new();
    for (index, host) in layout.hosts.iter().enumerate() {
        host.services.iter().for_each(|service| servers.entry(*service).or_default().push(index));
    }
    let mut reader = Reader {
        names,
        layout,
        servers,
        labels: BTreeSet::new(),
        connections: BTreeSet::new(),
        programs: BTreeSet::new(),
        packets: BTreeMap::new(),
        given: BTreeSet::new(),
        behaviors: BTreeMap::new(),
        mistakes,
    };
    let steps = root.get("scenario").map(Node::items).unwrap_or_default();
    let read: Vec<Step> = steps.iter().filter_map(|step| reader.step(step)).collect();
    reader.simulated(steps, &read);
    read
}

pub(super) struct Reader<'a, 'f> {
    pub(super) names: &'a Names<'a>,
    pub(super) layout: &'a mut Layout,
    /// The hosts that run each service.
    pub(super) servers: BTreeMap<Service, Vec<usize>>,
    pub(super) labels: BTreeSet<String>,
    /// The names of connections that are kept.
    pub(super) connections: BTreeSet<String>,
    /// The names of programs that go on.
    pub(super) programs: BTreeSet<String>,
    /// What is known of labelled packets before anything runs.
    pub(super) packets: BTreeMap<String, Known>,
    /// The addresses that `readdress` has given to a NAT before, by its index: it may come back to them.
    pub(super) given: BTreeSet<(usize, IpAddr)>,
    /// How NATs behave that `set` has changed, by index.
    pub(super) behaviors: BTreeMap<usize, Arc<Behavior>>,
    pub(super) mistakes: &'a mut Collector<'f>,
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
            "measure" => Action::Measure(self.measure(node, expect)?),
            "punch" => Action::Punch(self.punch(node, expect)?),
            "connect" => Action::Connect(self.connect(node, expect)?),
            "call" => Action::Call(self.call(node, expect)?),
            "map" => Action::Map(self.map(node, expect)?),
            "talk" => Action::Talk(self.talk(node, expect)?),
            "run" => Action::Run(self.run(node, expect)?),
            "await" => Action::Await(self.awaited(node, expect)?),
            "wait" => Action::Wait(node.text().and_then(|text| units::duration(text).ok())?),
            "reboot" => Action::Reboot(self.nat(node)?.name.clone()),
            "readdress" => self.readdress(node)?,
            "set" => Action::Set(self.set(node)?),
            "link" => Action::Link(self.relink(node)?),
            "move" => Action::Move(self.moved(node)?),
            "expire" => Action::Expire(Expire {
                label: self.label_of(node, node.text()?.to_owned())?,
                after: expect.and_then(|expect| parsed(expect, "after", units::durations)),
            }),
            "count" => Action::Count(Count {
                nat: self.nat(node)?.name.clone(),
                expect: expect.map(|expect| ExpectCount {
                    mappings: number(expect, "mappings"),
                    explicit: number(expect, "explicit"),
                    sessions: number(expect, "sessions"),
                    dropped: number(expect, "dropped"),
                    drops: drops(expect),
                }),
            }),
            "cut" => Action::Cut(self.cable(node)?),
            _ => Action::Mend(self.cable(node)?),
        };
        let name = step.get(STEP_NAME).and_then(Node::text).map(str::to_owned);
        Some(Step { line: step.place.line, name, action })
    }

    fn send(&mut self, node: &Node, expect: Option<&Node>) -> Option<Send> {
        let mut message = self.message(node);
        let icmp = node.get("icmp").is_some();
        let source = self.source(node.get("from")?, icmp);
        let goal = match &message {
            Some(Message::Error { about, .. }) => Some(Goal::Offender(about.clone())),
            Some(_) => self.goal(node, icmp),
            None => None,
        };
        let expected = expect;
        let wants_mapping = expect.and_then(|expect| expect.get("mapped"));
        let expect = expect.map(|expect| Box::new(self.expect_send(expect)));
        if let (Some(Message::Error { .. }), Some(mapped)) = (&message, wants_mapping) {
            self.mistakes.at(mapped.place, "an ICMP error is given no external endpoint");
        }
        if let Some(Message::Echo { identifier, .. }) = &mut message
            && !matches!(goal, Some(Goal::Mapped(_)))
        {
            identifier.get_or_insert(1);
        }
        let craft = self.craft(node);
        let label = node.get("as").and_then(Node::text).map(str::to_owned);
        if let Some(label) = &label
            && !self.labels.insert(label.clone())
        {
            let place = node.get("as")?.place;
            self.mistakes.at(place, format!("an earlier packet is called `{label}` too")).expected("each label once");
        }
        let (host, address, port) = source?;
        let size_bytes = number(node, "size");
        let payload = node
            .get("payload")
            .and_then(Node::text)
            .map_or_else(|| usual_payload(message.as_ref(), size_bytes), |text| text.as_bytes().to_vec());
        if let Some(size) = node.get("size").filter(|_| payload.is_empty() && size_bytes != Some(0)) {
            self.mistakes.at(size.place, "a size of an empty payload").expected("`size` alone, or some payload");
        }
        let ttl = number(node, "ttl").and_then(|ttl| u8::try_from(ttl).ok()).unwrap_or(64);
        let to_text = node.get("to").and_then(Node::text).unwrap_or_default().to_owned();
        let (message, to) = (message?, goal?);
        let send = Send { message, host, address, port, to, to_text, label, payload, size_bytes, ttl, craft, expect };
        self.check_send(node, expected, &send);
        Some(send)
    }

    /// A machine and a port; of ICMP, which has no ports, a machine alone (and port 0).
    fn ends(&mut self, node: &Node, icmp: bool) -> Option<(Spot, u16)> {
        let ends = match icmp {
            true => places::place(node.text()?).map(|spot| (spot, 0)),
            false => places::endpoint(node.text()?),
        };
        // What is neither has been noted by the check of forms.
        if ends.is_err() && places::source(node.text()?).is_ok() {
            let (what, expected) = match icmp {
                true => ("a port", "a name or an address alone: ICMP has no ports"),
                false => ("no port", "an endpoint with its port, such as `alice:1234`"),
            };
            self.mistakes.at(node.place, format!("`{}`: {what}", node.text()?)).expected(expected);
        }
        ends.ok()
    }

    /// The host, the address if it is said, and the port that a packet is sent from.
    fn source(&mut self, node: &Node, icmp: bool) -> Option<(String, Option<IpAddr>, u16)> {
        let (spot, port) = self.ends(node, icmp)?;
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

    fn goal(&mut self, send: &Node, icmp: bool) -> Option<Goal> {
        let Some(node) = send.get("to") else {
            self.mistakes.at(send.place, "`to` is missing").expected("where the packet goes");
            return None;
        };
        if let Some(label) = node.text()?.strip_suffix(".mapped") {
            return self.label_of(node, label.to_owned()).map(Goal::Mapped);
        }
        match self.ends(node, icmp)? {
            (Spot::Address(address), port) => Some(Goal::Endpoint(Place::Address(address), port)),
            (Spot::Name(name), port) => {
                let name = self.named(node, &name, "host or NAT", |_| true)?;
                Some(Goal::Endpoint(Place::Name(name), port))
            }
        }
    }

    /// The name inside of an endpoint's text, if something fitting is called so.
    pub(super) fn named(
        &mut self,
        node: &Node,
        name: &str,
        kind: &str,
        fits: impl Fn(&Named) -> bool,
    ) -> Option<String> {
        if self.names.get(name).is_some_and(&fits) {
            return Some(name.to_owned());
        }
        let inner = Node { place: node.place, value: crate::topology::tree::Value::Scalar(name.to_owned()) };
        unknown(&inner, kind, self.names, fits, self.mistakes);
        None
    }

    pub(super) fn label(&mut self, node: &Node, key: &str) -> Option<String> {
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
        let delivered = node.get("delivered").and_then(|node| self.spot(node));
        let expires = node.get("expires").map(|node| self.expires(node)).unwrap_or_default();
        let from = node.get("from").and_then(|node| self.pattern(node));
        let at = node.get("at").and_then(|node| self.spot(node));
        let held = node.get("held").and_then(|node| self.spot(node));
        let mapped = node.get("mapped").map(|node| self.expect_mapped(node));
        let ends = ["delivered", "from", "dropped", "at", "rejected", "after", "expires"];
        let ends = ends.iter().find_map(|key| node.get(key));
        if let (Some(held), Some(_)) = (node.get("held"), ends) {
            self.mistakes.at(held.place, "a packet that is held has not come to its end").expected("`held` without it");
        }
        let arrives = ["delivered", "from"].iter().find_map(|key| node.get(key));
        let dies = ["dropped", "at", "rejected"].iter().find_map(|key| node.get(key));
        if let (Some(_), Some(dies)) = (arrives, dies) {
            self.mistakes
                .at(dies.place, "a packet expected to be delivered and to be dropped")
                .expected("one or the other");
        }
        let (dropped, rejected) = (word(node, "dropped"), word(node, "rejected"));
        let after = parsed(node, "after", units::durations);
        ExpectSend { delivered, from, dropped, at, rejected, held, after, expires, mapped }
    }

    fn expires(&mut self, node: &Node) -> Vec<(Option<String>, Allowed<Duration>)> {
        let lifetime = |node: &Node| node.text().and_then(|text| units::durations(text).ok());
        if node.text().is_some() {
            return lifetime(node).map(|lifetime| (None, lifetime)).into_iter().collect();
        }
        if node.entries().is_empty() {
            self.mistakes.at(node.place, "nothing is expected here").expected("a NAT and a lifetime");
        }
        let at = |(key, value): &(Key, Node)| {
            let name = Node { place: key.place, value: Value::Scalar(key.text.clone()) };
            Some((Some(self.nat(&name)?.name.clone()), lifetime(value)?))
        };
        node.entries().iter().filter_map(at).collect()
    }

    fn expect_mapped(&mut self, node: &Node) -> ExpectMapped {
        let expect = ExpectMapped {
            same_as: self.label(node, "same-as"),
            different_from: self.label(node, "different-from"),
            port: number(node, "port").and_then(|port| u16::try_from(port).ok()),
            address: node.get("address").and_then(|node| self.place(node)),
            class: word(node, "class"),
            parity: word(node, "parity"),
        };
        if node.entries().is_empty() {
            self.mistakes
                .at(node.place, "nothing is expected here")
                .expected("`same-as`, `different-from`, `port`, `address`, `class` or `parity`");
        }
        if expect.same_as.is_some() && expect.same_as == expect.different_from {
            self.mistakes.at(node.place, "the same as a packet's and different from it");
        }
        expect
    }

    pub(super) fn pattern(&mut self, node: &Node) -> Option<EndpointPattern> {
        let (spot, port) = places::seen(node.text()?).ok()?;
        let place = match spot {
            Spot::Address(address) => Place::Address(address),
            Spot::Name(name) => Place::Name(self.named(node, &name, "host or NAT", |_| true)?),
        };
        Some(EndpointPattern { place, port })
    }

    fn place(&mut self, node: &Node) -> Option<Place> {
        match places::place(node.text()?).ok()? {
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

    pub(super) fn host(&mut self, node: &Node) -> Option<String> {
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
        let asked = node.get("from").unwrap_or(node);
        let from = self.host(asked);
        let via = self.offering(node, "via", asked, Service::Stun);
        let family = self.family(node);
        let lifetime = switch(node, "lifetime").unwrap_or(false);
        if let Some(unasked) = expect.and_then(|expect| expect.get("lifetime")).filter(|_| !lifetime) {
            self.mistakes
                .at(unasked.place, "a lifetime is expected but not searched for")
                .hint("say `lifetime: on` under `discover`");
        }
        let expect = expect.map(|expect| ExpectDiscover {
            mapping: word(expect, "mapping"),
            filtering: word(expect, "filtering"),
            hairpin: word(expect, "hairpin"),
            classic: word(expect, "classic"),
            payload_rewritten: word(expect, "payload_rewritten"),
            lifetime: parsed(expect, "lifetime", units::durations),
        });
        Some(Discover { from: from?, via: via?, family, lifetime, expect })
    }
}

/// The counts by reason.
fn drops(expect: &Node) -> Vec<(DropReason, usize)> {
    let entries = expect.get("drops").map(Node::entries).unwrap_or_default();
    entries
        .iter()
        .filter_map(|(key, _)| Some((DropReason::from_word(&key.text)?, number(expect.get("drops")?, &key.text)?)))
        .collect()
}

/// What a packet carries of which nothing is said.
fn usual_payload(message: Option<&Message>, size_bytes: Option<usize>) -> Vec<u8> {
    match message {
        Some(Message::Error { .. }) => Vec::new(),
        Some(Message::Tcp(_)) if size_bytes.is_none() => Vec::new(),
        _ => b"natbox".to_vec(),
    }
}
