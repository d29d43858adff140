//! A NAT's behaviour from its entry: the preset, and what differs from it.

use natbox_nat::behavior::{
    Deterministic, FragmentRules, IcmpErrors, PerDirection, PerProtocol, PortRanges, Ports, Quota, Reach, Timeouts,
    TranslationKind,
};
use natbox_nat::{Behavior, preset};
use natbox_wire::Word;

use crate::topology::mistake::Collector;
use crate::topology::shape::count;
use crate::topology::tree::{Node, Value};
use crate::topology::{places, units};

/// The preset of a NAT that names none: what the RFCs ask for.
const DEFAULT: &str = "rfc4787";

/// The preset that an entry begins with, and the behaviour that it comes to.
pub(super) fn resolve(entry: &Node, mistakes: &mut Collector<'_>) -> (Option<&'static str>, Behavior) {
    let named = entry.text().or_else(|| entry.get("type").and_then(Node::text));
    let preset = preset::find(named.unwrap_or(DEFAULT));
    let mut behavior = preset.as_ref().map(|preset| preset.behavior.clone()).unwrap_or_default();
    apply(entry, &mut behavior);
    contradictions(entry, &behavior, mistakes);
    (preset.map(|preset| preset.name), behavior)
}

/// Gives a behaviour the values of the axes that an entry names.
pub(super) fn apply(entry: &Node, behavior: &mut Behavior) {
    addresses(entry, behavior);
    connections(entry, behavior);
    messages(entry, behavior);
    entry.get("ports").into_iter().for_each(|entry| ports(entry, &mut behavior.ports));
    entry.get("quota").into_iter().for_each(|entry| quota(entry, &mut behavior.quota));
    entry.get("timeouts").into_iter().for_each(|entry| timeouts(entry, &mut behavior.timeouts));
    entry.get("fragments").into_iter().for_each(|entry| fragments(entry, &mut behavior.fragments));
}

fn addresses(entry: &Node, behavior: &mut Behavior) {
    set(&mut behavior.translation, word(entry, "translation"));
    set(&mut behavior.ipv6, word(entry, "ipv6"));
    per_protocol(entry, "mapping", &mut behavior.mapping);
    per_protocol(entry, "filtering", &mut behavior.filtering);
    set(&mut behavior.filter_scope, word(entry, "filter_scope"));
    set(&mut behavior.session_affinity, word(entry, "session_affinity"));
    set(&mut behavior.protocol_sharing, word(entry, "protocol_sharing"));
    set(&mut behavior.degraded, list(entry, "degraded", places::degraded));
    set(&mut behavior.pooling, word(entry, "pooling"));
    set(&mut behavior.pool_exhausted, word(entry, "pool_exhausted"));
    set(&mut behavior.exhausted, word(entry, "exhausted"));
    set(&mut behavior.table_size, parsed(entry, "table_size", units::limit));
    set(&mut behavior.table_full, word(entry, "table_full"));
    per_protocol(entry, "hairpin", &mut behavior.hairpin);
    set(&mut behavior.hairpin_filter, word(entry, "hairpin_filter"));
    set(&mut behavior.early_inbound, word(entry, "early_inbound"));
    set(&mut behavior.overlapping_realms, word(entry, "overlapping_realms"));
    set(&mut behavior.aliases, list(entry, "aliases", places::alias));
    set(&mut behavior.bypass, list(entry, "bypass", places::destinations));
    set(&mut behavior.refresh, word(entry, "refresh"));
    set(&mut behavior.refresh_on_error, word(entry, "refresh_on_error"));
    set(&mut behavior.refresh_on_filtered, word(entry, "refresh_on_filtered"));
}

fn connections(entry: &Node, behavior: &mut Behavior) {
    set(&mut behavior.unsolicited_syn, word(entry, "unsolicited_syn"));
    set(&mut behavior.unsolicited_udp, word(entry, "unsolicited_udp"));
    set(&mut behavior.tcp_no_state, word(entry, "tcp_no_state"));
    set(&mut behavior.tcp_machine, word(entry, "tcp_machine"));
    set(&mut behavior.tcp_established_on, word(entry, "tcp_established_on"));
    set(&mut behavior.tcp_simopen, word(entry, "tcp_simopen"));
    set(&mut behavior.tcp_window, word(entry, "tcp_window"));
    set(&mut behavior.tcp_reopen, word(entry, "tcp_reopen"));
    set(&mut behavior.invalid_outbound, word(entry, "invalid_outbound"));
    set(&mut behavior.expiry_notify, word(entry, "expiry_notify"));
    if let Some(outbound) = entry.get("outbound") {
        set(&mut behavior.outbound.udp, reach(outbound, "udp"));
        set(&mut behavior.outbound.tcp, reach(outbound, "tcp"));
        set(&mut behavior.outbound.icmp, word(outbound, "icmp"));
    }
    if let Some(alg) = entry.get("alg") {
        set(&mut behavior.alg.ftp, word(alg, "ftp"));
        set(&mut behavior.alg.sip, word(alg, "sip"));
        set(&mut behavior.alg.tftp, word(alg, "tftp"));
        set(&mut behavior.alg.generic, word(alg, "generic"));
    }
}

fn messages(entry: &Node, behavior: &mut Behavior) {
    set(&mut behavior.icmp_error, word::<IcmpErrors>(entry, "icmp_error").map(PerDirection::from));
    if let Some(directions) = entry.get("icmp_error") {
        set(&mut behavior.icmp_error.inbound, word(directions, "inbound"));
        set(&mut behavior.icmp_error.outbound, word(directions, "outbound"));
    }
    set(&mut behavior.icmp_verify, word(entry, "icmp_verify"));
    set(&mut behavior.icmp_kills_mapping, word(entry, "icmp_kills_mapping"));
    set(&mut behavior.icmp_source_filter, word(entry, "icmp_source_filter"));
    set(&mut behavior.icmp_originate, word(entry, "icmp_originate"));
    set(&mut behavior.answer_ping, word(entry, "answer_ping"));
    set(&mut behavior.icmp_query, word(entry, "icmp_query"));
    set(&mut behavior.icmp_identifier, word(entry, "icmp_identifier"));
    set(&mut behavior.too_big, word(entry, "too_big"));
    set(&mut behavior.ttl, word(entry, "ttl"));
    set(&mut behavior.ip_id, word(entry, "ip_id"));
}

fn ports(entry: &Node, ports: &mut Ports) {
    set(&mut ports.allocation, word(entry, "allocation"));
    set(&mut ports.conflict, word(entry, "conflict"));
    set(&mut ports.overlap, word(entry, "overlap"));
    set(
        &mut ports.range,
        list(entry, "range", places::port_range).filter(|ranges| !ranges.is_empty()).map(PortRanges::new),
    );
    set(&mut ports.class, word(entry, "class"));
    set(&mut ports.parity, word(entry, "parity"));
    set(&mut ports.contiguity, word(entry, "contiguity"));
    set(&mut ports.delta, number(entry, "delta"));
    set(&mut ports.increment, number(entry, "increment"));
    set(&mut ports.table_length, number(entry, "table_length"));
    set(&mut ports.counter, word(entry, "counter"));
    set(&mut ports.block_size, number(entry, "block_size"));
    set(&mut ports.blocks_per_host, number(entry, "blocks_per_host"));
    set(&mut ports.quarantine, parsed(entry, "quarantine", units::duration));
    set(&mut ports.quarantine_max, parsed(entry, "quarantine_max", units::limit));
    entry.get("deterministic").into_iter().for_each(|entry| deterministic(entry, &mut ports.deterministic));
}

fn deterministic(entry: &Node, rule: &mut Deterministic) {
    set(&mut rule.first, parsed(entry, "first", places::first));
    set(&mut rule.compression, number(entry, "compression"));
    set(&mut rule.dynamic_factor, number(entry, "dynamic_factor"));
    set(&mut rule.max_ports, parsed(entry, "max_ports", units::limit));
    set(&mut rule.algorithm, word(entry, "algorithm"));
}

fn quota(entry: &Node, quota: &mut Quota) {
    set(&mut quota.ports, parsed(entry, "ports", units::limit));
    set(&mut quota.sessions, parsed(entry, "sessions", units::limit));
    set(&mut quota.new_per_second, parsed(entry, "new_per_second", units::limit));
}

/// A lifetime that is named alone changes those that follow it: `udp: 30s` over a preset with stages means 30 s for
/// all of them, unless the entry names them too.
fn timeouts(entry: &Node, timeouts: &mut Timeouts) {
    let lifetime = |key| parsed(entry, key, units::positive_duration);
    if let Some(udp) = lifetime("udp") {
        (timeouts.udp, timeouts.udp_unreplied, timeouts.udp_stream) = (udp, None, None);
    }
    if let Some(opening) = lifetime("tcp_opening") {
        (timeouts.tcp_opening, timeouts.tcp_partial_open) = (opening, None);
    }
    if let Some(established) = lifetime("tcp_established") {
        timeouts.tcp_established = established;
    }
    if let Some(closing) = lifetime("tcp_closing") {
        (timeouts.tcp_closing, timeouts.tcp_time_wait, timeouts.tcp_reset) = (closing, None, None);
    }
    set(&mut timeouts.udp_unreplied, lifetime("udp_unreplied").map(Some));
    set(&mut timeouts.udp_stream, lifetime("udp_stream").map(Some));
    set(&mut timeouts.udp_stream_after, parsed(entry, "udp_stream_after", units::duration));
    set(&mut timeouts.udp_ports, list(entry, "udp_ports", places::port_lifetime));
    timeouts.udp_ports.sort_unstable();
    set(&mut timeouts.icmp, lifetime("icmp"));
    set(&mut timeouts.tcp_partial_open, lifetime("tcp_partial_open").map(Some));
    set(&mut timeouts.tcp_unacknowledged, lifetime("tcp_unacknowledged").map(Some));
    set(&mut timeouts.tcp_half_closed, lifetime("tcp_half_closed").map(Some));
    set(&mut timeouts.tcp_close_wait, lifetime("tcp_close_wait").map(Some));
    set(&mut timeouts.tcp_time_wait, lifetime("tcp_time_wait").map(Some));
    set(&mut timeouts.tcp_reset, lifetime("tcp_reset").map(Some));
    set(&mut timeouts.tcp_inbound_syn, lifetime("tcp_inbound_syn"));
    set(&mut timeouts.absolute, parsed(entry, "absolute", units::lifetime));
    set(&mut timeouts.early_inbound, lifetime("early_inbound"));
}

fn fragments(entry: &Node, rules: &mut FragmentRules) {
    if let Some(mode) = entry.text().and_then(Word::from_word) {
        (rules.inbound, rules.outbound) = (mode, mode);
    }
    set(&mut rules.inbound, word(entry, "inbound"));
    set(&mut rules.outbound, word(entry, "outbound"));
    set(&mut rules.max_bytes, number(entry, "max_bytes"));
    set(&mut rules.max_datagrams, number(entry, "max_datagrams"));
    set(&mut rules.per_source, number(entry, "per_source"));
    set(&mut rules.timeout, parsed(entry, "timeout", units::positive_duration));
}

/// What the axes say together and cannot mean, at the first key that the sentence names.
pub(super) fn contradictions(entry: &Node, behavior: &Behavior, mistakes: &mut Collector<'_>) {
    for contradiction in behavior.contradictions() {
        let named = entry.entries().iter().find(|(key, _)| contradiction.contains(key.text.as_str()));
        let place = named.map_or(entry.place, |(_, value)| value.place);
        mistakes.at(place, contradiction).expected("a behaviour that a NAT can have");
    }
    if let Some(node) = entry.get("addresses")
        && behavior.translation == TranslationKind::None
    {
        mistakes
            .at(node.place, "`addresses` with `translation: none`")
            .expected("several external addresses only where there is something to translate");
    }
}

fn set<T>(axis: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *axis = value;
    }
}

/// One word for all protocols, or a mapping with one for some.
fn per_protocol<W: Word>(entry: &Node, key: &str, axis: &mut PerProtocol<W>) {
    set(axis, word::<W>(entry, key).map(PerProtocol::from));
    if let Some(protocols) = entry.get(key) {
        set(&mut axis.udp, word(protocols, "udp"));
        set(&mut axis.tcp, word(protocols, "tcp"));
        set(&mut axis.icmp, word(protocols, "icmp"));
    }
}

/// The word under `key`.
pub(super) fn word<W: Word>(node: &Node, key: &str) -> Option<W> {
    node.get(key).and_then(Node::text).and_then(W::from_word)
}

/// The value under `key`, by its parser. Where the text is bad, the check of forms has said so.
pub(super) fn parsed<T>(node: &Node, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
    node.get(key).and_then(Node::text).and_then(|text| parse(text).ok())
}

/// The count under `key`.
fn number<T: TryFrom<u64>>(node: &Node, key: &str) -> Option<T> {
    node.get(key).and_then(Node::text).and_then(count).and_then(|number| T::try_from(number).ok())
}

/// What of one protocol may be reached: the union of what is listed.
fn reach(node: &Node, key: &str) -> Option<Reach> {
    let parts = list(node, key, places::reach).filter(|parts| !parts.is_empty())?;
    if parts.contains(&Reach::All) {
        return Some(Reach::All);
    }
    let ranges =
        parts.iter().filter_map(|part| if let Reach::Ports(ports) = part { Some(ports.ranges()) } else { None });
    let ranges: Vec<_> = ranges.flatten().cloned().collect();
    Some(if ranges.is_empty() { Reach::Nothing } else { Reach::Ports(PortRanges::new(ranges)) })
}

/// One value, or several.
fn list<T>(node: &Node, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<Vec<T>> {
    let node = node.get(key)?;
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    Some(items.iter().filter_map(Node::text).filter_map(|text| parse(text).ok()).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::plan::Plan;
    use crate::topology::axes::AXES;
    use crate::topology::shape::{Field, Shape};

    /// Every axis with every word, or some values, that its shape allows, as a path and a value.
    fn everything(path: &str, fields: &'static [Field], all: &mut Vec<(String, String)>) {
        for field in fields {
            let path = if path.is_empty() { field.key.to_owned() } else { format!("{path}.{}", field.key) };
            values(&path, field.shape, all);
        }
    }

    fn values(path: &str, shape: &'static Shape, all: &mut Vec<(String, String)>) {
        let mut add = |value: &str| all.push((path.to_owned(), value.to_owned()));
        match shape {
            Shape::Word { choices, .. } => choices().iter().for_each(|choice| add(choice.word)),
            Shape::Count { min, .. } => add(&(min + 7).to_string()),
            Shape::Leaf(leaf) => match leaf.kind {
                "duration" | "duration above zero" => add("77s"),
                "duration or none" => ["77s", "none"].into_iter().for_each(add),
                "number or none" => ["77", "none"].into_iter().for_each(add),
                "IPv4 address or none" => ["10.0.0.9", "none"].into_iter().for_each(add),
                other => panic!("{path}: no example of a {other}"),
            },
            Shape::OneOrMany(Shape::Leaf(leaf)) => match leaf.kind {
                "range of ports" => ["7-9", "[1-511, 600-1023]"].into_iter().for_each(add),
                "remote ports" => ["on", "off", "[53-53, 8000-8999]"].into_iter().for_each(add),
                "port and lifetime" => add("53=10s"),
                "alias" => add("172.16.1.100=203.0.113.9"),
                "mapping and filtering" => add("address-dependent/address-dependent"),
                "prefix" => add("203.0.113.0/24"),
                other => panic!("{path}: no example of a {other}"),
            },
            Shape::Object(fields) => everything(path, fields, all),
            Shape::Either(one, many) => [one, many].into_iter().for_each(|shape| values(path, shape, all)),
            _ => panic!("{path}: a shape that no axis has"),
        }
    }

    /// A file whose one NAT has this axis.
    fn file(path: &str, value: &str) -> String {
        let keys: Vec<&str> = path.split('.').collect();
        let (open, close) = (keys.join(": { "), " }".repeat(keys.len() - 1));
        // Where nothing is translated, nothing contradicts a filter that is off.
        let base = if value == "off" && path.starts_with("filtering") { "type: none, " } else { "" };
        format!("nats: {{ home: {{ {base}{open}: {value}{close} }} }}\n")
    }

    #[test]
    fn every_value_of_every_axis_is_read_and_printed_and_read_again() {
        let mut all = Vec::new();
        everything("", AXES, &mut all);
        assert!(all.len() > 150, "{}", all.len());
        for (path, value) in all {
            let text = file(&path, &value);
            let plan = match Plan::from_yaml("axis.yaml", &text) {
                Ok(plan) => plan,
                // Some words cannot stand alone: the behaviour says what contradicts them.
                Err(mistakes) if mistakes.to_string().contains("a behaviour that a NAT can have") => continue,
                Err(mistakes) => panic!("{text}{mistakes}"),
            };
            let behavior = &plan.nats[0].behavior;
            let axes = behavior.axes();
            let whole = path.rsplit_once('.').map_or(path.as_str(), |(whole, _)| whole);
            let shown = axes
                .iter()
                .filter(|(axis, _)| *axis == path || *axis == whole || axis.starts_with(&format!("{path}.")));
            assert!(
                shown.clone().any(|(_, word)| *word == value.trim_matches(['[', ']'])),
                "{path}: {value} shows as {:?}",
                shown.collect::<Vec<_>>()
            );
            let again = Plan::from_yaml("again.yaml", &plan.to_yaml()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
            assert_eq!(again.nats[0].behavior.axes(), axes, "{path}: {value}");
        }
    }

    #[test]
    fn every_axis_that_a_behaviour_shows_has_a_key() {
        let mut all = Vec::new();
        everything("", AXES, &mut all);
        let keys: BTreeSet<String> = all.into_iter().map(|(path, _)| path).collect();
        for (axis, _) in natbox_nat::Behavior::default().axes() {
            assert!(keys.contains(axis), "{axis} cannot be written in a file");
        }
    }
}
