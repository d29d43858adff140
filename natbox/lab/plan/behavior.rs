//! A NAT's behaviour from its entry: the preset, and what differs from it.

use natbox_nat::behavior::{Filtering, Hairpin, Mapping, PerProtocol, PortRanges, TranslationKind};
use natbox_nat::{Behavior, preset};
use natbox_wire::Word;

use crate::topology::mistake::Collector;
use crate::topology::tree::Node;
use crate::topology::{places, units};

/// The preset of a NAT that names none: what the RFCs ask for.
const DEFAULT: &str = "rfc4787";

/// The preset that an entry begins with, and the behaviour that it comes to.
pub(super) fn resolve(entry: &Node, mistakes: &mut Collector<'_>) -> (Option<&'static str>, Behavior) {
    let named = entry.text().or_else(|| entry.get("type").and_then(Node::text));
    let preset = preset::find(named.unwrap_or(DEFAULT));
    let mut behavior = preset.as_ref().map(|preset| preset.behavior.clone()).unwrap_or_default();
    axes(entry, &mut behavior);
    contradictions(entry, &behavior, mistakes);
    (preset.map(|preset| preset.name), behavior)
}

fn axes(entry: &Node, behavior: &mut Behavior) {
    set(&mut behavior.translation, word(entry, "translation"));
    set(&mut behavior.ipv6, word(entry, "ipv6"));
    set(&mut behavior.mapping, word::<Mapping>(entry, "mapping").map(PerProtocol::from));
    set(&mut behavior.filtering, word::<Filtering>(entry, "filtering").map(PerProtocol::from));
    set(&mut behavior.filter_scope, word(entry, "filter_scope"));
    set(&mut behavior.session_affinity, word(entry, "session_affinity"));
    set(&mut behavior.pooling, word(entry, "pooling"));
    set(&mut behavior.hairpin, word::<Hairpin>(entry, "hairpin").map(PerProtocol::from));
    set(&mut behavior.hairpin_filter, word(entry, "hairpin_filter"));
    set(&mut behavior.refresh, word(entry, "refresh"));
    if let Some(ports) = entry.get("ports") {
        set(&mut behavior.ports.allocation, word(ports, "allocation"));
        set(&mut behavior.ports.range, parsed(ports, "range", places::port_range).map(PortRanges::from));
    }
    if let Some(timeouts) = entry.get("timeouts") {
        let lifetime = |key| parsed(timeouts, key, units::positive_duration);
        set(&mut behavior.timeouts.udp, lifetime("udp"));
        set(&mut behavior.timeouts.icmp, lifetime("icmp"));
        set(&mut behavior.timeouts.tcp_opening, lifetime("tcp_opening"));
        set(&mut behavior.timeouts.tcp_established, lifetime("tcp_established"));
        set(&mut behavior.timeouts.tcp_closing, lifetime("tcp_closing"));
    }
}

/// What the axes say together and cannot mean. A bad range or timer on its own has been noted by the check of forms.
fn contradictions(entry: &Node, behavior: &Behavior, mistakes: &mut Collector<'_>) {
    if behavior.filtering.udp == Filtering::Off {
        let keys = ["filtering", "translation", "ipv6"];
        let place = keys.iter().find_map(|key| entry.get(key)).unwrap_or(entry).place;
        for contradiction in behavior.contradictions() {
            mistakes.at(place, contradiction).expected("a behaviour that a NAT can have");
        }
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

/// The word under `key`.
pub(super) fn word<W: Word>(node: &Node, key: &str) -> Option<W> {
    node.get(key).and_then(Node::text).and_then(W::from_word)
}

/// The value under `key`, by its parser. Where the text is bad, the check of forms has said so.
pub(super) fn parsed<T>(node: &Node, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
    node.get(key).and_then(Node::text).and_then(|text| parse(text).ok())
}
