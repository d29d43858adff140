//! Filters on a capture: which packets to show.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};

use natbox_wire::DropReason;

use super::Frame;
use super::follow::Latest;
use super::inspect::{InspectError, Survey, read};
use crate::suggest::did_you_mean;

/// Which packets to show: those that pass every filter that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Packets that this host sent or received, on every interface that they crossed. A name or an address.
    pub host: Option<String>,
    /// What this NAT saw.
    pub nat: Option<String>,
    /// Packets dropped for this reason, where they were dropped.
    pub reason: Option<DropReason>,
    /// Packets between two endpoints, `A-B`, either way, through every NAT: names, addresses, or `address:port`.
    pub flow: Option<String>,
}

/// A frame is followed by its packet number, or stands for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Packet(u64),
    Frame(u64),
}

fn key(frame: &Frame<'_>, number: u64) -> Key {
    frame.packet.map_or(Key::Frame(number), Key::Packet)
}

/// A filter, resolved against a capture.
pub(super) struct Selection {
    nat: Option<String>,
    reason: Option<DropReason>,
    of_host: Option<BTreeSet<Key>>,
    of_flow: Option<BTreeSet<Key>>,
}

impl Selection {
    pub(super) fn of<R: Read>(
        filter: &Filter,
        survey: &Survey,
        open: &dyn Fn() -> io::Result<R>,
    ) -> Result<Selection, InspectError> {
        let host = filter.host.as_deref().map(|name| Party::of(name, survey)).transpose()?;
        let flow = filter.flow.as_deref().map(|flow| Flow::of(flow, survey)).transpose()?;
        let mut selection = Selection {
            nat: filter.nat.as_deref().map(|nat| known_nat(nat, survey)).transpose()?,
            reason: filter.reason,
            of_host: host.is_some().then(BTreeSet::new),
            of_flow: flow.is_some().then(BTreeSet::new),
        };
        if host.is_none() && flow.is_none() {
            return Ok(selection);
        }
        let mut seen = BTreeMap::<Key, Ends>::new();
        for (frame, number) in read(open)?.zip(1..) {
            let frame = frame?;
            let key = key(&frame, number);
            if let (Some(keys), Some(host)) = (&mut selection.of_host, &host)
                && host.saw(&frame)
            {
                keys.insert(key);
            }
            if let (Some(keys), Some(flow)) = (&mut selection.of_flow, &flow)
                && flow.joins(seen.entry(key).or_default(), &frame)
            {
                keys.insert(key);
            }
        }
        Ok(selection)
    }

    pub(super) fn admits(&self, frame: &Frame<'_>, number: u64) -> bool {
        let key = key(frame, number);
        self.nat.as_ref().is_none_or(|nat| frame.node() == nat)
            && self.reason.is_none_or(|reason| frame.dropped().is_some_and(|(_, why)| why == reason))
            && self.of_host.as_ref().is_none_or(|keys| keys.contains(&key))
            && self.of_flow.as_ref().is_none_or(|keys| keys.contains(&key))
    }
}

/// A filter, while a capture is being written: whether a packet is chosen may be known only when it has come further.
pub(super) struct Follower {
    nat: Option<String>,
    reason: Option<DropReason>,
    host: Option<Party>,
    flow: Option<Flow>,
    packets: Latest<Seen>,
}

/// What a packet has shown so far.
#[derive(Default)]
struct Seen {
    of_host: bool,
    of_flow: bool,
    ends: Ends,
}

/// What a filter says about a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Never.
    No,
    /// Its packet may yet be chosen.
    NotYet,
    /// With this frame, its packet is chosen.
    ChosenNow,
    /// With this frame, its packet is chosen; the frame itself is not shown.
    ChosenBefore,
    /// Its packet was chosen before, or nothing depends on the packet.
    Chosen,
}

impl Follower {
    pub(super) fn of(filter: &Filter, survey: &Survey) -> Result<Follower, InspectError> {
        Ok(Follower {
            nat: filter.nat.as_deref().map(|nat| known_nat(nat, survey)).transpose()?,
            reason: filter.reason,
            host: filter.host.as_deref().map(|name| Party::of(name, survey)).transpose()?,
            flow: filter.flow.as_deref().map(|flow| Flow::of(flow, survey)).transpose()?,
            packets: Latest::default(),
        })
    }

    /// What frames of one packet have in common.
    pub(super) fn key(&self, frame: &Frame<'_>, number: u64) -> u64 {
        frame.packet.unwrap_or(number)
    }

    pub(super) fn judge(&mut self, frame: &Frame<'_>, number: u64) -> Verdict {
        let here = self.nat.as_ref().is_none_or(|nat| frame.node() == nat)
            && self.reason.is_none_or(|reason| frame.dropped().is_some_and(|(_, why)| why == reason));
        if self.host.is_none() && self.flow.is_none() {
            return if here { Verdict::Chosen } else { Verdict::No };
        }
        let seen = self.packets.of(frame.packet.unwrap_or(number));
        let (host, flow) = (&self.host, &self.flow);
        let chosen = |seen: &Seen| (seen.of_host || host.is_none()) && (seen.of_flow || flow.is_none());
        let before = chosen(seen);
        seen.of_host |= host.as_ref().is_some_and(|host| host.saw(frame));
        seen.of_flow |= flow.as_ref().is_some_and(|flow| flow.joins(&mut seen.ends, frame));
        match (here, before, chosen(seen)) {
            // A frame that is not shown may still be what chooses those before it.
            (false, false, true) => Verdict::ChosenBefore,
            (false, ..) => Verdict::No,
            (true, true, _) => Verdict::Chosen,
            (true, false, true) => Verdict::ChosenNow,
            (true, false, false) => Verdict::NotYet,
        }
    }
}

fn known_nat(nat: &str, survey: &Survey) -> Result<String, InspectError> {
    match survey.nats.contains(nat) {
        true => Ok(nat.to_owned()),
        false => Err(unknown("NAT", nat, survey.nats.iter().map(String::as_str))),
    }
}

fn unknown<'a>(kind: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> InspectError {
    let hint = did_you_mean(name, known.clone()).map_or_else(
        || match known.collect::<Vec<_>>() {
            none if none.is_empty() => String::new(),
            some => format!("; it has {}", some.join(", ")),
        },
        |near| format!("; did you mean `{near}`?"),
    );
    InspectError::Filter(format!("no {kind} `{name}` in this capture{hint}"))
}

/// Somebody that a filter names.
struct Party {
    node: Option<String>,
    addresses: BTreeSet<IpAddr>,
    port: Option<u16>,
}

impl Party {
    fn of(text: &str, survey: &Survey) -> Result<Party, InspectError> {
        if let Ok(endpoint) = text.parse::<SocketAddr>() {
            return Ok(Party { node: None, addresses: [endpoint.ip()].into(), port: Some(endpoint.port()) });
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Party { node: None, addresses: [address].into(), port: None });
        }
        let (name, port) = match text.rsplit_once(':').map(|(name, port)| (name, port.parse().ok())) {
            Some((name, Some(port))) => (name, Some(port)),
            _ => (text, None),
        };
        let named = survey.names.iter().filter(|(_, owners)| owners.split('/').any(|owner| owner == name));
        let addresses = named.map(|(&address, _)| address).collect::<BTreeSet<_>>();
        let node = survey.nodes.iter().find(|node| *node == name).cloned();
        if node.is_none() && addresses.is_empty() {
            return Err(unknown("host", name, survey.nodes.iter().map(String::as_str)));
        }
        Ok(Party { node, addresses, port })
    }

    /// Whether the frame was seen at this node; at an address, whether it comes from there or goes there.
    fn saw(&self, frame: &Frame<'_>) -> bool {
        match &self.node {
            Some(node) => frame.node() == node,
            None => frame.endpoints().is_some_and(|(source, destination)| self.is(source) || self.is(destination)),
        }
    }

    fn is(&self, endpoint: SocketAddr) -> bool {
        self.addresses.contains(&endpoint.ip()) && self.port.is_none_or(|port| port == endpoint.port())
    }
}

/// Which ends of a flow a packet has shown so far, on the interfaces that it crossed.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    from_a: bool,
    to_b: bool,
    from_b: bool,
    to_a: bool,
}

struct Flow {
    a: Party,
    b: Party,
}

impl Flow {
    /// `A-B`, where A and B may hold hyphens themselves: every split is tried.
    fn of(text: &str, survey: &Survey) -> Result<Flow, InspectError> {
        let splits = text.match_indices('-').map(|(at, _)| (&text[..at], &text[at + 1..]));
        let both = |(a, b): (&str, &str)| Some(Flow { a: Party::of(a, survey).ok()?, b: Party::of(b, survey).ok()? });
        splits.filter_map(both).next().ok_or_else(|| {
            let nodes = survey.nodes.join(", ");
            let message = format!("`{text}` is no flow of this capture; expected A-B, two of {nodes}, or addresses");
            InspectError::Filter(message)
        })
    }

    /// Adds what this frame shows of its packet, and says whether the packet is one of the flow's.
    fn joins(&self, ends: &mut Ends, frame: &Frame<'_>) -> bool {
        let Some((source, destination)) = frame.endpoints() else { return false };
        ends.from_a |= self.a.is(source);
        ends.to_b |= self.b.is(destination);
        ends.from_b |= self.b.is(source);
        ends.to_a |= self.a.is(destination);
        (ends.from_a && ends.to_b) || (ends.from_b && ends.to_a)
    }
}
