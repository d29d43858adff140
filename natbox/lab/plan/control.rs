//! Port control, resolved: what a NAT speaks, the ports that a person has forwarded, and the step by which a host asks.

use std::net::SocketAddr;
use std::time::Duration;

use natbox_probes::portmap::server::{Config, Faults};
use natbox_probes::portmap::{Control, LIFETIME, Method};
use natbox_wire::{MapRequest, MappedBy, Protocol, Word};

use super::behavior::{parsed, word};
use super::describe::Shown;
use super::network::Layout;
use super::resolve::{Names, NatDraft, host, number, switch};
use super::scenario::Reader;
use super::step::EndpointPattern;
use super::{Host, Network};
use crate::topology::Allowed;
use crate::topology::control::NONE;
use crate::topology::mistake::Collector;
use crate::topology::tree::Node;
use crate::topology::units::{self, show_duration};
use crate::words::{Carrier, MapOutcome};

/// How long a host waits for its gateway's answers, if nobody says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A port that a person has forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The external port.
    pub port: u16,
    /// The host that gets what comes there.
    pub to: String,
    /// Where it gets it.
    pub internal: SocketAddr,
    /// Of which protocol.
    pub protocol: Protocol,
}

impl Forward {
    /// What the NAT is asked for.
    pub fn request(&self) -> MapRequest {
        MapRequest {
            protocol: self.protocol,
            internal: self.internal,
            external_address: None,
            external_port: self.port,
            exact: true,
            remote: None,
            filters: Vec::new(),
            lifetime: None,
            pair: false,
            by: MappedBy::Static,
        }
    }
}

/// A host asks its gateway for a mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// The host.
    pub from: String,
    /// Its port.
    pub port: u16,
    /// Of which protocol.
    pub protocol: Carrier,
    /// How it asks.
    pub by: Method,
    /// The external port that it wishes for; 0 for any.
    pub external_port: u16,
    /// For how long.
    pub lifetime: Duration,
    /// Whether it keeps it for the rest of the scenario.
    pub keep: bool,
    /// How long it waits for answers.
    pub timeout: Duration,
    /// What is expected.
    pub expect: Option<ExpectMap>,
}

/// What is expected of a `map`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExpectMap {
    /// Whether it is granted.
    pub outcome: Option<MapOutcome>,
    /// The endpoint that it is granted.
    pub external: Option<EndpointPattern>,
    /// For how long.
    pub lifetime: Option<Allowed<Duration>>,
    /// The code of the refusal.
    pub code: Option<u16>,
}

/// Reads `control` and `forward` of every NAT.
pub(super) fn resolve(drafts: &[NatDraft<'_>], names: &Names<'_>, layout: &mut Layout, mistakes: &mut Collector<'_>) {
    for (index, draft) in drafts.iter().enumerate() {
        let control = draft.entry.get("control").and_then(|node| control(node, mistakes));
        let forward = forwards(index, draft, names, &layout.hosts, mistakes);
        if let Some(nat) = layout.nats.get_mut(index) {
            (nat.control, nat.forward) = (control, forward);
        }
    }
}

/// What a NAT speaks; `None` where that is nothing.
fn control(node: &Node, mistakes: &mut Collector<'_>) -> Option<Config> {
    let words = node.get("speaks").unwrap_or(node);
    let mut speaks: Vec<Control> = Vec::new();
    for item in words.items() {
        let text = item.text().unwrap_or_default();
        if text == NONE && words.items().len() > 1 {
            mistakes.at(item.place, "`none` beside something").expected("`none` alone, or what it speaks");
        }
        let Some(control) = Control::from_word(text) else { continue };
        if speaks.contains(&control) {
            mistakes.at(item.place, format!("`{control}` stands here a second time")).expected("each protocol once");
        } else {
            speaks.push(control);
        }
    }
    if speaks.is_empty() {
        return None;
    }
    let mut config = Config::new(speaks);
    config.secure_mode = switch(node, "secure_mode").unwrap_or(config.secure_mode);
    config.third_party = switch(node, "third_party").unwrap_or(config.third_party);
    let bound = |key| parsed(node, key, units::positive_duration);
    let (least, most) = (bound("min_lifetime"), bound("max_lifetime"));
    let (least, most) = (least.unwrap_or(*config.lifetimes.start()), most.unwrap_or(*config.lifetimes.end()));
    if least > most {
        let place = node.get("min_lifetime").or(node.get("max_lifetime")).map_or(node.place, |node| node.place);
        mistakes.at(place, "the least lifetime is longer than the longest").expected("`min_lifetime` below it");
        return None;
    }
    config.lifetimes = least..=most;
    if let Some(faults) = node.get("faults") {
        config.faults = self::faults(faults);
    }
    Some(config)
}

fn faults(node: &Node) -> Faults {
    let on = |key| switch(node, key).unwrap_or(false);
    let duration = |key| parsed(node, key, units::positive_duration);
    Faults {
        ghost: on("ghost"),
        true_lifetime: duration("true_lifetime"),
        epoch_restarts: duration("epoch_restarts"),
        refuses_other_port: on("refuses_other_port"),
        refuses_renewal: on("refuses_renewal"),
        only_permanent: on("only_permanent"),
        answer_port: number(node, "answer_port").and_then(|port| u16::try_from(port).ok()),
        delay: duration("delay").unwrap_or(Duration::ZERO),
    }
}

fn forwards(
    nat: usize,
    draft: &NatDraft<'_>,
    names: &Names<'_>,
    hosts: &[Host],
    mistakes: &mut Collector<'_>,
) -> Vec<Forward> {
    let mut forwards: Vec<Forward> = Vec::new();
    for node in draft.entry.get("forward").map(Node::items).unwrap_or_default() {
        let Some(to) = node.get("to") else { continue };
        let Some(owner) = host(to, names, mistakes).and_then(|index| hosts.get(index)) else { continue };
        let uplink = owner.uplinks.iter().find(|uplink| uplink.network == Network::Behind(nat));
        let address = uplink.and_then(|uplink| uplink.addresses.iter().find(|address| address.is_ipv4()));
        let Some(address) = address else {
            let message = format!("`{}` is not behind `{}`", owner.name, draft.name);
            mistakes.at(to.place, message).expected("a host on the network behind this NAT");
            continue;
        };
        let port = |key| number(node, key).and_then(|port| u16::try_from(port).ok());
        let Some(external) = port("port") else { continue };
        let protocols = match word(node, "protocol") {
            Some(carrier) => vec![transport(carrier)],
            None => vec![Protocol::Udp, Protocol::Tcp],
        };
        for protocol in protocols {
            if forwards.iter().any(|known| (known.port, known.protocol) == (external, protocol)) {
                mistakes.at(node.place, format!("port {external} is forwarded already")).expected("each port once");
                continue;
            }
            let internal = SocketAddr::new(*address, port("to_port").unwrap_or(external));
            forwards.push(Forward { port: external, to: owner.name.clone(), internal, protocol });
        }
    }
    forwards
}

/// The protocol of a word.
pub fn transport(carrier: Carrier) -> Protocol {
    match carrier {
        Carrier::Udp => Protocol::Udp,
        Carrier::Tcp => Protocol::Tcp,
    }
}

impl Reader<'_, '_> {
    pub(super) fn map(&mut self, node: &Node, expect: Option<&Node>) -> Option<Map> {
        let from = self.host(node.get("from")?);
        let port = |key| number(node, key).and_then(|port| u16::try_from(port).ok());
        let expect = expect.map(|expect| match expect.text() {
            Some(text) => ExpectMap { outcome: MapOutcome::from_word(text), ..ExpectMap::default() },
            None => ExpectMap {
                outcome: word(expect, "outcome"),
                external: expect.get("external").and_then(|node| self.pattern(node)),
                lifetime: parsed(expect, "lifetime", units::durations),
                code: number(expect, "code").and_then(|code| u16::try_from(code).ok()),
            },
        });
        Some(Map {
            from: from?,
            port: port("port")?,
            protocol: word(node, "protocol").unwrap_or(Carrier::Udp),
            by: word(node, "by")?,
            external_port: port("external_port").unwrap_or(0),
            lifetime: parsed(node, "lifetime", units::positive_duration).unwrap_or(LIFETIME),
            keep: switch(node, "keep").unwrap_or(false),
            timeout: parsed(node, "timeout", units::positive_duration).unwrap_or(TIMEOUT),
            expect,
        })
    }
}

fn duration(duration: &Duration) -> Shown {
    Shown::word(show_duration(duration))
}

fn on(on: bool) -> Shown {
    Shown::word(if on { "on" } else { "off" })
}

/// `control` and `forward`, as a file has them.
pub(crate) fn show(control: Option<&Config>, forward: &[Forward]) -> Vec<(&'static str, Shown)> {
    let mut entries = vec![("control", control.map_or(Shown::word(NONE), show_control))];
    if !forward.is_empty() {
        entries.push(("forward", Shown::List(forward.iter().map(show_forward).collect())));
    }
    entries
}

fn show_control(config: &Config) -> Shown {
    let mut entries = vec![
        ("speaks", Shown::words(&config.speaks)),
        ("secure_mode", on(config.secure_mode)),
        ("third_party", on(config.third_party)),
        ("min_lifetime", duration(config.lifetimes.start())),
        ("max_lifetime", duration(config.lifetimes.end())),
    ];
    let Faults { true_lifetime, epoch_restarts, answer_port, delay, .. } = &config.faults;
    let faults = &config.faults;
    let mut own = vec![
        ("ghost", on(faults.ghost)),
        ("refuses_other_port", on(faults.refuses_other_port)),
        ("refuses_renewal", on(faults.refuses_renewal)),
        ("only_permanent", on(faults.only_permanent)),
    ];
    own.extend(true_lifetime.as_ref().map(|lifetime| ("true_lifetime", duration(lifetime))));
    own.extend(epoch_restarts.as_ref().map(|every| ("epoch_restarts", duration(every))));
    own.extend(answer_port.map(|port| ("answer_port", Shown::Count(port.into()))));
    own.extend((!delay.is_zero()).then(|| ("delay", duration(delay))));
    if *faults != Faults::default() {
        entries.push(("faults", Shown::Map(own)));
    }
    Shown::Map(entries)
}

fn show_forward(forward: &Forward) -> Shown {
    let carrier = if forward.protocol == Protocol::Udp { Carrier::Udp } else { Carrier::Tcp };
    Shown::Map(vec![
        ("port", Shown::Count(forward.port.into())),
        ("to", Shown::word(&forward.to)),
        ("to_port", Shown::Count(forward.internal.port().into())),
        ("protocol", Shown::word(carrier)),
    ])
}

/// The step, as a file has it.
pub(super) fn show_map(map: &Map) -> Shown {
    let mut entries = vec![
        ("from", Shown::word(&map.from)),
        ("port", Shown::Count(map.port.into())),
        ("protocol", Shown::word(map.protocol)),
        ("by", Shown::word(map.by)),
    ];
    entries.extend((map.external_port != 0).then(|| ("external_port", Shown::Count(map.external_port.into()))));
    entries.push(("lifetime", duration(&map.lifetime)));
    entries.push(("keep", on(map.keep)));
    entries.push(("timeout", duration(&map.timeout)));
    Shown::Map(entries)
}

/// What is expected of it.
pub(super) fn show_expected(
    expect: &ExpectMap,
    pattern: impl Fn(&EndpointPattern) -> String,
) -> Vec<(&'static str, Shown)> {
    let mut entries = Vec::new();
    entries.extend(expect.outcome.map(|outcome| ("outcome", Shown::word(outcome))));
    entries.extend(expect.external.as_ref().map(|external| ("external", Shown::Text(pattern(external)))));
    entries.extend(expect.lifetime.as_ref().map(|lifetime| ("lifetime", Shown::word(lifetime.show(show_duration)))));
    entries.extend(expect.code.map(|code| ("code", Shown::Count(code.into()))));
    entries
}
