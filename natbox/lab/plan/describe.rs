//! The plan as a topology file with nothing left to default, and as JSON with the same keys.
//!
//! What is printed here reads back as the same plan (held by a test).

use std::fmt::Write;
use std::net::IpAddr;

use natbox_nat::Behavior;
use natbox_world::LinkConfig;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::control;
use super::steps;
use super::{Host, Nat, Network, Plan, Uplink};
use crate::topology::units::{show_duration, show_percent, show_rate};

/// A value with its keys in order.
pub(crate) enum Shown {
    /// A word, a number, a quantity: stands bare in YAML.
    Word(String),
    /// A number.
    Count(u64),
    /// Any text: stands in quotes.
    Text(String),
    /// A list.
    List(Vec<Shown>),
    /// A mapping.
    Map(Vec<(&'static str, Shown)>),
    /// A mapping from names.
    Named(Vec<(String, Shown)>),
}

impl Shown {
    pub(crate) fn word(word: impl ToString) -> Shown {
        Shown::Word(word.to_string())
    }

    pub(crate) fn text(text: impl ToString) -> Shown {
        Shown::Text(text.to_string())
    }

    pub(super) fn words<T: ToString>(words: impl IntoIterator<Item = T>) -> Shown {
        Shown::List(words.into_iter().map(Shown::word).collect())
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Shown::Word(text) | Shown::Text(text) => serializer.serialize_str(text),
            Shown::Count(number) => serializer.serialize_u64(*number),
            Shown::List(items) => serializer.collect_seq(items),
            Shown::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                entries.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
                map.end()
            }
            Shown::Named(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                entries.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
                map.end()
            }
        }
    }
}

impl Serialize for Plan {
    /// The resolved topology, key by key as in a file: `natbox`, then `name`, `seed`, `internet`, `nats`, `hosts`, `scenario`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entries = vec![("natbox", Shown::Count(1))];
        entries.extend(sections(self));
        Shown::Map(entries).serialize(serializer)
    }
}

impl Plan {
    /// The plan as a topology file with nothing left to default.
    pub fn to_yaml(&self) -> String {
        let mut text = String::new();
        for (key, value) in sections(self) {
            match value {
                Shown::Named(entries) => {
                    let _ = writeln!(text, "\n{key}:");
                    for (name, entry) in entries {
                        let _ = writeln!(text, "  {name}:");
                        block(&mut text, &entry, 4);
                    }
                }
                Shown::List(steps) => {
                    let _ = writeln!(text, "\n{key}:");
                    for step in steps {
                        let mut lines = String::new();
                        block(&mut lines, &step, 4);
                        let _ = write!(text, "  - {}", lines.trim_start());
                    }
                }
                value => {
                    let _ = writeln!(text, "{key}: {}", flow(&value));
                }
            }
        }
        text
    }
}

/// The entries of a mapping, one a line.
fn block(text: &mut String, value: &Shown, indent: usize) {
    let Shown::Map(entries) = value else { return };
    for (key, value) in entries {
        let _ = writeln!(text, "{:indent$}{key}: {}", "", flow(value));
    }
}

/// A value in one line of YAML.
pub(crate) fn flow(value: &Shown) -> String {
    let braced = |entries: Vec<String>| {
        if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
    };
    match value {
        Shown::Word(word) => word.clone(),
        Shown::Count(number) => number.to_string(),
        Shown::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
        Shown::List(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Shown::Map(entries) => braced(entries.iter().map(|(key, value)| format!("{key}: {}", flow(value))).collect()),
        Shown::Named(entries) => braced(entries.iter().map(|(key, value)| format!("{key}: {}", flow(value))).collect()),
    }
}

fn sections(plan: &Plan) -> Vec<(&'static str, Shown)> {
    let mut internet = vec![("prefix", Shown::word(plan.internet.prefix))];
    internet.extend(plan.internet.prefix6.map(|prefix| ("prefix6", Shown::text(prefix))));
    internet.push(("latency", Shown::word(show_duration(&plan.internet.latency))));
    let mut sections =
        vec![("name", Shown::text(&plan.name)), ("seed", Shown::Count(plan.seed)), ("internet", Shown::Map(internet))];
    let nats: Vec<_> = plan.nats.iter().map(|own| (own.name.clone(), nat(plan, own))).collect();
    let hosts: Vec<_> = plan.hosts.iter().map(|own| (own.name.clone(), host(plan, own))).collect();
    sections.extend((!nats.is_empty()).then_some(("nats", Shown::Named(nats))));
    sections.extend((!hosts.is_empty()).then_some(("hosts", Shown::Named(hosts))));
    let steps: Vec<_> = plan.steps.iter().map(steps::show).collect();
    sections.extend((!steps.is_empty()).then_some(("scenario", Shown::List(steps))));
    sections
}

fn nat(plan: &Plan, nat: &Nat) -> Shown {
    let mut entries = Vec::new();
    entries.extend(nat.preset.map(|preset| ("type", Shown::word(preset))));
    entries.extend(behind(plan, std::slice::from_ref(&nat.outside)));
    entries.push(("address", addresses(nat.outside.addresses.iter())));
    entries.push(("inside", Shown::word(nat.inside.prefix)));
    entries.extend(nat.inside.prefix6.map(|prefix| ("inside6", Shown::text(prefix))));
    entries.push(("client_isolation", Shown::word(nat.inside.client_isolation)));
    entries.push(("link", link(&nat.outside.link)));
    entries.extend(control::show(nat.control.as_ref(), &nat.forward));
    if let Shown::Map(axes) = axes(&nat.behavior) {
        entries.extend(axes);
    }
    Shown::Map(entries)
}

/// The axes as a file has them: `ports.range` is `range` in `ports`. Lists that are empty are left out.
pub(crate) fn axes(behavior: &Behavior) -> Shown {
    some_axes(behavior.axes())
}

/// The same of these axes alone.
pub(crate) fn some_axes(axes: impl IntoIterator<Item = (&'static str, String)>) -> Shown {
    let mut entries = Vec::new();
    for (axis, value) in axes {
        if TEXTS.contains(&axis) && value == "none" {
            continue;
        }
        let shown = match value.parse() {
            _ if TEXTS.contains(&axis) => Shown::List(value.split(", ").map(Shown::text).collect()),
            _ if value.contains(", ") => Shown::words(value.split(", ")),
            Ok(number) => Shown::Count(number),
            Err(_) => Shown::Word(value),
        };
        insert(&mut entries, axis, shown);
    }
    Shown::Map(entries)
}

/// Lists of texts that YAML might take for something else.
const TEXTS: [&str; 4] = ["degraded", "aliases", "bypass", "timeouts.udp_ports"];

/// Puts a value where its path says.
fn insert(entries: &mut Vec<(&'static str, Shown)>, path: &'static str, value: Shown) {
    let Some((first, rest)) = path.split_once('.') else { return entries.push((path, value)) };
    match entries.iter_mut().find(|(key, _)| *key == first) {
        Some((_, Shown::Map(inner))) => insert(inner, rest, value),
        _ => {
            let mut inner = Vec::new();
            insert(&mut inner, rest, value);
            entries.push((first, Shown::Map(inner)));
        }
    }
}

fn host(plan: &Plan, host: &Host) -> Shown {
    let mut entries = Vec::new();
    entries.extend(behind(plan, &host.uplinks));
    entries.push(("address", addresses(host.uplinks.iter().flat_map(|uplink| &uplink.addresses))));
    entries.extend(host.uplinks.first().map(|uplink| ("link", link(&uplink.link))));
    entries.extend((!host.services.is_empty()).then(|| ("services", Shown::words(&host.services))));
    Shown::Map(entries)
}

fn behind(plan: &Plan, uplinks: &[Uplink]) -> Option<(&'static str, Shown)> {
    let parent = |uplink: &Uplink| match uplink.network {
        Network::Internet => None,
        Network::Behind(index) => plan.nats.get(index).map(|nat| nat.name.clone()),
    };
    let mut parents: Vec<String> = uplinks.iter().filter_map(parent).collect();
    match parents.len() {
        0 => None,
        1 => Some(("behind", Shown::Word(parents.remove(0)))),
        _ => Some(("behind", Shown::words(parents))),
    }
}

fn addresses<'a>(addresses: impl Iterator<Item = &'a IpAddr>) -> Shown {
    let shown = addresses.map(|address| if address.is_ipv4() { Shown::word(address) } else { Shown::text(address) });
    Shown::List(shown.collect())
}

/// A link, key by key.
pub(crate) fn link(link: &LinkConfig) -> Shown {
    let duration = |duration| Shown::word(show_duration(duration));
    let share = |share| Shown::word(show_percent(share));
    let mut entries = vec![
        ("latency", duration(&link.latency)),
        ("jitter", duration(&link.jitter)),
        ("loss", share(&link.loss)),
        ("duplicate", share(&link.duplicate)),
        ("reorder", share(&link.reorder)),
    ];
    entries.extend(link.rate_bits_per_second.map(|rate| ("rate", Shown::word(show_rate(rate)))));
    entries.push(("queue", Shown::Count(link.queue_packets as u64)));
    entries.push(("mtu", Shown::Count(link.mtu_bytes as u64)));
    Shown::Map(entries)
}
