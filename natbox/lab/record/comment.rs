//! What happened to a packet, in one line for people: the same line in captures, text, `inspect` and JSON.
//!
//! A drop always reads `dropped at NODE: REASON: why` or `dropped on the link of INTERFACE: REASON: why`, and
//! [`dropped`] reads it back.

use std::net::{IpAddr, SocketAddr};

use natbox_nat::behavior::{FilterScope, Filtering};
use natbox_nat::{Behavior, MappingEnd, MappingId, Refusal, Translation};
use natbox_wire::{ControlEvent, DropReason, ExplicitMapping, Protocol, Time, Transport, Word};
use natbox_world::note::{LinkFate, Outcome};

use crate::topology::units::show_duration;

use super::{Beyond, Facts, History, Names, Record, Sighting, Step, What, bare, endpoint, moment};

/// The one-line comment of a record.
pub fn comment(record: &Record, names: &Names) -> String {
    match &record.what {
        What::Packet(sighting) => packet(record, sighting, names),
        What::MappingEnded(ended) => {
            let (view, why) = (&ended.mapping, ended_because(ended.why));
            let (internal, external) = (endpoint(view.internal), endpoint(view.external));
            let mapping = mapping(view.id);
            format!("mapping {mapping} {internal} -> {external} of {} ended: {why}", names.node(record.node))
        }
        What::Control(mapping, what) => {
            format!("{} of {}", control(mapping, *what, record.at), names.node(record.node))
        }
        What::Reconfigured(before, after) => {
            format!("{} behaves otherwise: {}", names.node(record.node), differences(before, after))
        }
        What::Relinked(interface) => format!("the link of {} is another", names.interface(*interface)),
        What::Rebooted => format!("{} rebooted and lost its mappings", names.node(record.node)),
        What::Readdressed => format!("{} has other external addresses", names.node(record.node)),
        What::Moved(interface) => format!("{} is in another network", names.interface(*interface)),
        What::Preferred(interface) => format!("the default route leads through {}", names.interface(*interface)),
        What::Cut(interface) => format!("the link of {} was cut", names.interface(*interface)),
        What::Mended(interface) => format!("the link of {} was mended", names.interface(*interface)),
    }
}

fn packet(record: &Record, sighting: &Sighting, names: &Names) -> String {
    let node = names.node(record.node);
    match sighting.step {
        Step::Sent(LinkFate::Dropped(reason)) => {
            let link = sighting.interface.map_or(node, |interface| names.interface(interface));
            format!("dropped on the link of {link}: {reason}: {}", at_node(reason, sighting.facts.as_ref().ok(), &link))
        }
        Step::Sent(LinkFate::Carried { .. }) => sent(record, sighting, names),
        Step::Sent(LinkFate::Duplicated { .. }) => {
            format!("{}; the link delivers it twice", sent(record, sighting, names))
        }
        Step::Received(Outcome::Refused(refusal)) | Step::Released(Outcome::Refused(refusal)) => {
            refused(record, sighting, refusal, names)
        }
        Step::Received(Outcome::Dropped(reason)) | Step::Released(Outcome::Dropped(reason)) | Step::Dropped(reason) => {
            format!("dropped at {node}: {reason}: {}", at_node(reason, sighting.facts.as_ref().ok(), &node))
        }
        Step::Received(outcome) | Step::Released(outcome) => {
            passed(outcome, &node, sighting.facts.as_ref().ok(), sighting.beyond, true)
        }
        Step::Made(id) => format!("made by {node} on account of mapping {}", mapping(id)),
    }
}

/// The axes in which the second behaviour differs from the first, and their words there.
fn differences(before: &Behavior, after: &Behavior) -> String {
    let before = before.axes();
    let changed = after.axes().into_iter().filter(|axis| !before.contains(axis));
    let told: Vec<String> = changed.map(|(axis, word)| format!("{axis} {word}")).collect();
    if told.is_empty() { "in nothing".to_owned() } else { told.join(", ") }
}

/// A packet that left a node: what the node had done with it, or that it is the node's own.
fn sent(record: &Record, sighting: &Sighting, names: &Names) -> String {
    let node = names.node(record.node);
    match (sighting.beyond, &sighting.facts) {
        (Some(beyond), Ok(facts)) => passed(beyond.outcome, &node, Some(facts), Some(beyond), false),
        _ => match (sighting.cause, sighting.made_for) {
            _ if sighting.control.is_some() => {
                let asked = sighting.control.iter().map(|asked| control(&asked.0, asked.1, record.at));
                format!("sent by {node}; {}", asked.collect::<String>())
            }
            (Some(cause), _) => format!("sent by {node} because of packet {}", cause.0),
            (None, Some(id)) => format!("sent by {node} on account of mapping {}", mapping(id)),
            (None, None) => format!("sent by {node}"),
        },
    }
}

/// A packet that a node took or sent on. `facts` are the packet here, `beyond` the other side, `arriving` whether
/// here is before the node.
fn passed(outcome: Outcome, node: &str, facts: Option<&Facts>, beyond: Option<Beyond>, arriving: bool) -> String {
    let change = || {
        let (facts, beyond) = (facts?, beyond?);
        let here = (facts.source, facts.destination);
        let there = match facts.transport {
            // It was cut off after the translation, and shows no ports.
            Transport::LaterFragment => (bare(beyond.source.ip()), bare(beyond.destination.ip())),
            _ => (beyond.source, beyond.destination),
        };
        Some(if arriving { (here, there) } else { (there, here) })
    };
    match outcome {
        Outcome::Delivered => format!("delivered to {node}"),
        Outcome::Held if facts.is_some_and(|facts| facts.fragment.is_some()) => {
            format!("fragment held at {node} until the others come")
        }
        Outcome::Held => format!("held at {node}"),
        Outcome::Routed => format!("routed by {node}"),
        Outcome::Translated(translation) => {
            let what = if translation.quoted { "ICMP error about " } else { "" };
            let used = format!("{what}{}", used(translation));
            let Some((before, after)) = change() else { return format!("translated, {used}") };
            let changes = [(before.0, after.0), (before.1, after.1)];
            let echo =
                facts.is_some_and(|facts| matches!(facts.transport, Transport::Echo { .. } | Transport::Query { .. }));
            let changes = changes.into_iter().filter(|&(before, after)| translated(before, after, echo));
            let mut parts = changes
                .map(|(before, after)| format!("{} -> {}", endpoint(before), endpoint(after)))
                .collect::<Vec<_>>();
            if parts.is_empty() {
                parts.push("addresses unchanged".to_owned());
            }
            parts.push(used);
            parts.join(", ")
        }
        Outcome::Hairpinned { source, destination } => {
            let (by, to) = (used(source), used(destination));
            let Some((before, after)) = change() else { return format!("hairpinned, {by}, {to}") };
            let (from, into) = (endpoint(before.0), endpoint(after.0));
            let first = if from == into { format!("{from} unchanged") } else { format!("{from} -> {into}") };
            let second = format!("{} -> {}", endpoint(before.1), endpoint(after.1));
            format!("hairpinned: {first}, {by}; {second}, {to}")
        }
        // Drops have sentences of their own.
        Outcome::Refused(Refusal { reason, .. }) | Outcome::Dropped(reason) => format!("dropped at {node}: {reason}"),
    }
}

/// Whether a NAT gave this end of a packet another endpoint. The one identifier of an echo stands at both of its ends:
/// there, the address alone tells which end is meant.
fn translated(before: SocketAddr, after: SocketAddr, echo: bool) -> bool {
    if echo { before.ip() != after.ip() } else { before != after }
}

fn refused(record: &Record, sighting: &Sighting, refusal: Refusal, names: &Names) -> String {
    let node = names.node(record.node);
    let reason = refusal.reason;
    let Ok(facts) = &sighting.facts else { return format!("dropped at {node}: {reason}: {}", reason.meaning()) };
    let behavior = sighting.behavior.as_deref().or_else(|| names.behavior(record.node));
    match (reason, behavior) {
        (DropReason::Filtered, Some(behavior)) => {
            let why = filtered(facts, refusal.mapping, behavior, sighting.history);
            format!("dropped at {node}: {reason} ({}): {why}", filtering_of(behavior, facts))
        }
        _ => format!("dropped at {node}: {reason}: {}", at_nat(reason, facts, &node, sighting.history)),
    }
}

/// Where nothing is translated there is a mapping only after somebody inside has spoken: without one, the internal
/// endpoint itself stands for it.
fn filtered(facts: &Facts, id: Option<MappingId>, behavior: &Behavior, history: Option<History>) -> String {
    let filtering = filtering_of(behavior, facts);
    let by_address = filtering == Filtering::AddressDependent;
    let remote = endpoint(if by_address { bare(facts.source.ip()) } else { facts.source });
    let from = match (id, behavior.filter_scope) {
        (None, _) => endpoint(facts.destination),
        (Some(id), FilterScope::Mapping) => mapping(id),
        (Some(id), FilterScope::Endpoint) => format!("the internal endpoint of {}", mapping(id)),
    };
    match history {
        Some(History::Contacted { at, exactly }) if exactly || by_address => {
            format!("{remote} was last contacted from {from} at {}, too long ago", moment(at))
        }
        Some(ended @ History::Ended { .. }) => had_ended(&from, ended),
        _ if filtering == Filtering::EndpointIndependent => format!("nothing has been sent from {from}"),
        _ => format!("{remote} has not been contacted from {from}"),
    }
}

/// The filtering behaviour that judged a packet.
fn filtering_of(behavior: &Behavior, facts: &Facts) -> Filtering {
    *behavior.filtering.of(facts.protocol().unwrap_or(Protocol::Udp))
}

fn had_ended(endpoint: &str, ended: History) -> String {
    match ended {
        History::Ended { mapping: id, at, why } => {
            let (id, at) = (mapping(id), moment(at));
            format!("{endpoint} was mapping {id}, which ended at {at}: {}", ended_because(why))
        }
        History::Contacted { at, .. } => format!("{endpoint} was contacted at {}", moment(at)),
    }
}

fn at_nat(reason: DropReason, facts: &Facts, node: &str, history: Option<History>) -> String {
    let destination = endpoint(facts.destination);
    match (reason, history) {
        (DropReason::NoMapping, Some(ended)) => had_ended(&destination, ended),
        (DropReason::NoMapping, _) => format!("nothing inside has {destination}"),
        (DropReason::HairpinOff, _) => {
            format!("{} is inside, {destination} is {node}'s own, and {node} does not hairpin", endpoint(facts.source))
        }
        (DropReason::PortsExhausted, _) => format!("no free external port for {}", endpoint(facts.source)),
        (DropReason::UnsupportedProtocol, _) => {
            format!("{node} does not translate IP protocol {}", facts.protocol_number)
        }
        _ => at_node(reason, Some(facts), node),
    }
}

/// Why a packet died of this, as far as its headers say more than the reason's own meaning.
fn at_node(reason: DropReason, facts: Option<&Facts>, node: &str) -> String {
    let Some(facts) = facts else { return reason.meaning().to_owned() };
    let destination = facts.destination;
    match reason {
        DropReason::NoRoute => format!("no route to {}", destination.ip()),
        DropReason::PrivateDestination => {
            format!("{} is {}, which means nothing here", destination.ip(), private_kind(destination.ip()))
        }
        DropReason::NoNeighbour => format!("nobody on the local network has {}", destination.ip()),
        DropReason::TtlExpired => format!("the {} ran out", if destination.is_ipv4() { "TTL" } else { "hop limit" }),
        DropReason::TooBig => format!("{} bytes exceed the MTU, and it must not be fragmented", facts.length_bytes),
        DropReason::PortUnreachable => {
            let destination = endpoint(destination);
            format!("no {} socket on {destination}; {}", facts.protocol_name(), refusal_answer(facts))
        }
        DropReason::NotForThisHost => format!("{} is not an address of {node}", destination.ip()),
        _ => reason.meaning().to_owned(),
    }
}

fn refusal_answer(facts: &Facts) -> &'static str {
    match facts.transport {
        Transport::Tcp { .. } => "a RST answers",
        _ => "an ICMP port unreachable answers",
    }
}

fn private_kind(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(v4) if v4.is_private() => "a private address (RFC 1918)",
        IpAddr::V4(v4) if v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64 => "a shared address (RFC 6598)",
        IpAddr::V4(v4) if v4.is_link_local() => "a link-local address (RFC 3927)",
        IpAddr::V6(v6) if v6.is_unique_local() => "a unique local address (RFC 4193)",
        IpAddr::V6(v6) if v6.is_unicast_link_local() => "a link-local address (RFC 4291)",
        _ => "a private address",
    }
}

fn used(translation: Translation) -> String {
    let new = if translation.new_mapping { "new " } else { "" };
    format!("{new}mapping {}", mapping(translation.mapping))
}

/// What happened to a mapping that had been asked for.
fn control(mapping: &ExplicitMapping, what: ControlEvent, now: Time) -> String {
    let (internal, external) = (endpoint(mapping.internal), endpoint(mapping.external));
    let only = mapping.remote.map_or_else(String::new, |remote| format!(" for {}", endpoint(remote)));
    let lifetime = match mapping.until {
        Some(until) => format!("for {}", show_duration(&until.since(now))),
        None => "for good".to_owned(),
    };
    let what = match what {
        ControlEvent::Made => format!("made by {} {lifetime}", mapping.by),
        ControlEvent::Renewed => format!("renewed by {} {lifetime}", mapping.by),
        ControlEvent::Expired => format!("made by {} has come to the end of its lifetime", mapping.by),
        ControlEvent::Deleted => format!("made by {} was given up", mapping.by),
        ControlEvent::Lost => format!("made by {} was lost", mapping.by),
    };
    format!("explicit mapping #{} {internal} -> {external}{only} {what}", mapping.mapping)
}

fn mapping(id: MappingId) -> String {
    format!("#{}", id.0)
}

fn ended_because(why: MappingEnd) -> &'static str {
    match why {
        MappingEnd::Expired => "it was idle for its whole lifetime",
        MappingEnd::Rebooted => "the NAT rebooted",
        MappingEnd::Readdressed => "the NAT lost its external address",
        MappingEnd::Evicted => "it gave way to another when nothing was left",
        MappingEnd::Overridden => "another internal endpoint took its external endpoint",
        MappingEnd::Aged => "its lifetime was over, whatever passed",
        MappingEnd::Closed => "its last connection was closed, and forgotten at once",
        MappingEnd::Killed => "a packet from outside ended it",
        MappingEnd::Unmapped => "who had asked for it gave it up",
    }
}

/// Where a packet was dropped, as its comment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DropSite {
    /// At this node.
    Node(String),
    /// On the link of this interface.
    Link(String),
}

/// Reads a drop back out of a [`comment`]: where and why. `None` for a comment about anything else.
pub fn dropped(comment: &str) -> Option<(DropSite, DropReason)> {
    let (rest, link) = match comment.strip_prefix("dropped on the link of ") {
        Some(rest) => (rest, true),
        None => (comment.strip_prefix("dropped at ")?, false),
    };
    // Interface names hold a colon, but never one before a space.
    let (site, rest) = rest.split_once(": ")?;
    let word = rest.split([':', ' ']).next()?;
    let site = site.to_owned();
    Some((if link { DropSite::Link(site) } else { DropSite::Node(site) }, DropReason::from_word(word)?))
}
