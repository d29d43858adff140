//! Steps as topology files write them, with nothing left to default.

use std::fmt;
use std::time::Duration;

use natbox_probes::Path;
use natbox_probes::technique::Technique;
use natbox_wire::Word;

use super::describe::Shown;
use super::message::{self, Message};
use super::step::{
    Action, Cable, Call, Connect, Discover, EndpointPattern, ExpectCall, ExpectCount, ExpectDiscover, ExpectMapped,
    ExpectPath, ExpectPing, ExpectSend, ExpectTalk, Ping, Place, Punch, Send, Step, Talk, Via,
};
use super::{change, control, measure, program};
use crate::topology::Allowed;
use crate::topology::units::{show_duration, show_percent};
use crate::words::Family;

type Entries = Vec<(&'static str, Shown)>;

/// One step, as an entry of `scenario`.
pub(super) fn show(step: &Step) -> Shown {
    let (action, expect) = action(&step.action);
    let mut entries = vec![(step.action.word(), action)];
    entries.extend(expect.map(|expect| ("expect", Shown::Map(expect))));
    entries.extend(step.name.as_ref().map(|name| ("name", Shown::text(name))));
    Shown::Map(entries)
}

fn action(action: &Action) -> (Shown, Option<Entries>) {
    match action {
        Action::Send(send) => (self::send(send), send.expect.as_deref().map(expect_send)),
        Action::Ping(ping) => (self::ping(ping), ping.expect.as_ref().map(expect_ping)),
        Action::Discover(discover) => (self::discover(discover), discover.expect.as_ref().map(expect_discover)),
        Action::Measure(step) => (measure::show(step), measure::show_expected(step)),
        Action::Punch(punch) => (self::punch(punch), punch.expect.as_ref().map(expect_path)),
        Action::Connect(connect) => (Shown::Map(self::connect(connect)), connect.expect.as_ref().map(expect_path)),
        Action::Call(call) => (self::call(call), call.expect.as_ref().map(expect_call)),
        Action::Map(map) => {
            (control::show_map(map), map.expect.as_ref().map(|expect| control::show_expected(expect, pattern)))
        }
        Action::Talk(talk) => (self::talk(talk), talk.expect.as_ref().map(expect_talk)),
        Action::Run(run) => (program::show_run(run), run.expect.as_ref().map(program::show_expected)),
        Action::Await(step) => (program::show_await(step), step.expect.as_ref().map(program::show_expected)),
        Action::Wait(duration) => (time(duration), None),
        Action::Reboot(nat) => (Shown::word(nat), None),
        Action::Set(step) => (change::show_set(step), None),
        Action::Link(step) => (change::show_link(step), None),
        Action::Move(step) => {
            let behind = step.behind.as_ref().map(|behind| ("behind", Shown::word(behind)));
            let addresses = Shown::List(step.addresses.iter().map(Shown::text).collect());
            let address = step.uplink.is_none().then_some(("address", addresses));
            let entries = [("host", Shown::word(&step.host))].into_iter().chain(behind).chain(address);
            (Shown::Map(entries.collect()), None)
        }
        Action::Readdress { nat, addresses } => {
            let addresses = Shown::List(addresses.iter().map(Shown::text).collect());
            (Shown::Map(vec![("nat", Shown::word(nat)), ("address", addresses)]), None)
        }
        Action::Expire(expire) => {
            (Shown::word(&expire.label), expire.after.as_ref().map(|after| vec![("after", times(after))]))
        }
        Action::Count(count) => (Shown::word(&count.nat), count.expect.as_ref().map(expect_count)),
        Action::Cut(cable) | Action::Mend(cable) => (self::cable(cable), None),
    }
}

/// What a step does, in a line: `connect alice to bob`.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Send(send) => write!(f, "send {}", message::told(send)),
            Action::Ping(ping) => write!(f, "ping {} from {}", ping.to_text, ping.from),
            Action::Discover(discover) => write!(f, "discover the NAT of {}{}", discover.from, over(discover.family)),
            Action::Measure(step) => write!(f, "measure the NAT of {}{}", step.from, over(step.family)),
            Action::Punch(punch) => write!(f, "punch {} to {}{}", punch.from, punch.to, over(punch.via.family)),
            Action::Connect(connect) => {
                let (technique, family) = (by(connect.technique), over(connect.via.family));
                write!(f, "connect {} to {}{technique}{family}", connect.from, connect.to)
            }
            Action::Call(call) => {
                let (connect, length) = (&call.connect, show_duration(&call.length));
                let (technique, family) = (by(connect.technique), over(connect.via.family));
                write!(f, "call {} from {} for {length}{technique}{family}", connect.to, connect.from)
            }
            Action::Map(map) => {
                write!(f, "map {} port {} of {} by {}", map.protocol, map.port, map.from, map.by)
            }
            Action::Talk(talk) => write!(f, "talk over {} for {}", talk.label, show_duration(&talk.length)),
            Action::Run(run) => match &run.label {
                Some(label) => write!(f, "run {} on {} as {label}", run.command, run.on),
                None => write!(f, "run {} on {}", run.command, run.on),
            },
            Action::Await(step) if step.stop => write!(f, "stop {}", step.label),
            Action::Await(step) => write!(f, "await {}", step.label),
            Action::Wait(duration) => write!(f, "wait {}", show_duration(duration)),
            Action::Reboot(nat) => write!(f, "reboot {nat}"),
            Action::Set(step) => write!(f, "set {} of {}", step.axes, step.nat),
            Action::Link(step) => write!(f, "link {}: {}", step.cable.text, step.change),
            Action::Move(step) => match &step.behind {
                Some(behind) => write!(f, "move {} behind {behind}", step.host),
                None => write!(f, "move {} to the public network", step.host),
            },
            Action::Readdress { nat, addresses } => {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                write!(f, "readdress {nat} to {}", addresses.join(", "))
            }
            Action::Expire(expire) => write!(f, "wait until {} has expired", expire.label),
            Action::Count(count) => write!(f, "count at {}", count.nat),
            Action::Cut(cable) => write!(f, "cut {}", cable.text),
            Action::Mend(cable) => write!(f, "mend {}", cable.text),
        }
    }
}

/// The technique, where it is not the usual one.
fn by(technique: Technique) -> String {
    match technique {
        Technique::Connect => String::new(),
        technique => format!(" by {technique}"),
    }
}

/// The IP version, where it is not the usual one.
fn over(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "",
        Family::Ipv6 => " over IPv6",
    }
}

impl Action {
    /// What is expected of it, in a line; `None` where nothing is.
    pub fn expected(&self) -> Option<String> {
        let (_, expect) = action(self);
        let words = expect?.iter().map(|(key, value)| format!("{key} {}", plain(value))).collect::<Vec<_>>();
        Some(words.join(", "))
    }
}

fn plain(value: &Shown) -> String {
    match value {
        Shown::Word(text) | Shown::Text(text) => text.clone(),
        Shown::Count(number) => number.to_string(),
        Shown::List(items) => items.iter().map(plain).collect::<Vec<_>>().join(" "),
        Shown::Map(entries) => {
            entries.iter().map(|(key, value)| format!("{key} {}", plain(value))).collect::<Vec<_>>().join(" ")
        }
        Shown::Named(entries) => {
            entries.iter().map(|(key, value)| format!("{key} {}", plain(value))).collect::<Vec<_>>().join(" ")
        }
    }
}

fn time(duration: &Duration) -> Shown {
    Shown::word(show_duration(duration))
}

fn times(allowed: &Allowed<Duration>) -> Shown {
    Shown::word(allowed.show(show_duration))
}

fn shares(allowed: &Allowed<f64>) -> Shown {
    Shown::word(allowed.show(show_percent))
}

fn switch(on: bool) -> Shown {
    Shown::word(if on { "on" } else { "off" })
}

fn place(place: &Place) -> Shown {
    match place {
        Place::Name(name) => Shown::word(name),
        Place::Address(address) => Shown::text(address),
    }
}

fn send(send: &Send) -> Shown {
    let from = match (send.address, send.port) {
        (Some(address), 0) => address.to_string(),
        (None, 0) => send.host.clone(),
        (Some(address), port) => std::net::SocketAddr::new(address, port).to_string(),
        (None, port) => format!("{}:{port}", send.host),
    };
    let mut entries = vec![("from", Shown::Text(from))];
    if send.to.is_written() {
        entries.push(("to", Shown::text(&send.to_text)));
    }
    entries.extend(message::show(send));
    entries.extend(send.label.as_ref().map(|label| ("as", Shown::word(label))));
    if !send.payload.is_empty() || matches!(send.message, Message::Udp | Message::Echo { .. }) {
        entries.push(("payload", Shown::text(String::from_utf8_lossy(&send.payload))));
    }
    entries.extend(send.size_bytes.map(|size| ("size", Shown::Count(size as u64))));
    entries.push(("ttl", Shown::Count(send.ttl.into())));
    Shown::Map(entries)
}

fn expect_send(expect: &ExpectSend) -> Entries {
    let mut entries = Vec::new();
    entries.extend(expect.delivered.as_ref().map(|host| ("delivered", Shown::word(host))));
    entries.extend(expect.from.as_ref().map(|from| ("from", Shown::Text(pattern(from)))));
    entries.extend(expect.dropped.map(|reason| ("dropped", Shown::word(reason))));
    entries.extend(expect.at.as_ref().map(|at| ("at", Shown::word(at))));
    entries.extend(expect.rejected.map(|error| ("rejected", Shown::word(error))));
    entries.extend(expect.held.as_ref().map(|held| ("held", Shown::word(held))));
    entries.extend(expect.after.as_ref().map(|after| ("after", times(after))));
    entries.extend(expires(expect));
    entries.extend(expect.mapped.as_ref().map(|mapped| ("mapped", Shown::Map(expect_mapped(mapped)))));
    entries
}

fn expires(expect: &ExpectSend) -> Option<(&'static str, Shown)> {
    let named = |(nat, allowed): &(Option<String>, Allowed<Duration>)| Some((nat.clone()?, times(allowed)));
    match &expect.expires[..] {
        [] => None,
        [(None, allowed)] => Some(("expires", times(allowed))),
        several => Some(("expires", Shown::Named(several.iter().filter_map(named).collect()))),
    }
}

fn pattern(pattern: &EndpointPattern) -> String {
    let port = pattern.port.map_or_else(|| "*".to_owned(), |port| port.to_string());
    match &pattern.place {
        Place::Address(address) if address.is_ipv6() => format!("[{address}]:{port}"),
        Place::Address(address) => format!("{address}:{port}"),
        Place::Name(name) => format!("{name}:{port}"),
    }
}

fn expect_mapped(expect: &ExpectMapped) -> Entries {
    let mut entries = Vec::new();
    entries.extend(expect.same_as.as_ref().map(|label| ("same-as", Shown::word(label))));
    entries.extend(expect.different_from.as_ref().map(|label| ("different-from", Shown::word(label))));
    entries.extend(expect.port.map(|port| ("port", Shown::Count(port.into()))));
    entries.extend(expect.address.as_ref().map(|address| ("address", place(address))));
    entries.extend(expect.class.map(|class| ("class", Shown::word(class))));
    entries.extend(expect.parity.map(|parity| ("parity", Shown::word(parity))));
    entries
}

fn ping(ping: &Ping) -> Shown {
    Shown::Map(vec![
        ("from", Shown::word(&ping.from)),
        ("to", Shown::text(&ping.to_text)),
        ("count", Shown::Count(ping.count.into())),
        ("interval", time(&ping.interval)),
        ("size", Shown::Count(ping.size_bytes as u64)),
    ])
}

fn expect_ping(expect: &ExpectPing) -> Entries {
    let mut entries = Vec::new();
    entries.extend(expect.rtt.as_ref().map(|rtt| ("rtt", times(rtt))));
    entries.extend(expect.loss.as_ref().map(|loss| ("loss", shares(loss))));
    entries
}

fn discover(discover: &Discover) -> Shown {
    Shown::Map(vec![
        ("from", Shown::word(&discover.from)),
        ("via", Shown::word(&discover.via)),
        ("family", Shown::word(discover.family)),
        ("lifetime", switch(discover.lifetime)),
    ])
}

fn expect_discover(expect: &ExpectDiscover) -> Entries {
    let mut entries = Vec::new();
    entries.extend(expect.mapping.map(|mapping| ("mapping", Shown::word(mapping))));
    entries.extend(expect.filtering.map(|filtering| ("filtering", Shown::word(filtering))));
    entries.extend(expect.hairpin.map(|hairpin| ("hairpin", Shown::word(hairpin))));
    entries.extend(expect.classic.map(|classic| ("classic", Shown::word(classic))));
    entries.extend(expect.payload_rewritten.map(|rewritten| ("payload_rewritten", Shown::word(rewritten))));
    entries.extend(expect.lifetime.as_ref().map(|lifetime| ("lifetime", times(lifetime))));
    entries
}

/// The hosts whose services are used, each once.
fn via(via: &Via) -> Shown {
    let mut hosts: Vec<&String> = Vec::new();
    for host in [Some(&via.stun), Some(&via.rendezvous), via.turn.as_ref()].into_iter().flatten() {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    Shown::words(hosts)
}

fn punch(punch: &Punch) -> Shown {
    Shown::Map(vec![
        ("from", Shown::word(&punch.from)),
        ("to", Shown::word(&punch.to)),
        ("via", via(&punch.via)),
        ("family", Shown::word(punch.via.family)),
        ("peer_reflexive", switch(punch.peer_reflexive)),
    ])
}

fn connect(connect: &Connect) -> Entries {
    let mut entries = vec![
        ("from", Shown::word(&connect.from)),
        ("to", Shown::word(&connect.to)),
        ("via", via(&connect.via)),
        ("family", Shown::word(connect.via.family)),
        ("technique", Shown::word(connect.technique)),
    ];
    entries.extend(connect.label.as_ref().map(|label| ("as", Shown::word(label))));
    entries.extend(connect.technique.reads().iter().filter_map(|key| Some((*key, option(connect, key)?))));
    entries
}

/// The value of an option, by its key; `None` for one that is found out.
fn option(connect: &Connect, key: &str) -> Option<Shown> {
    let options = &connect.options;
    Some(match key {
        "timeout" => time(&options.timeout),
        "keep_alive" => time(&options.keep_alive),
        "allow" => {
            // Without a relay at hand, `relayed` is allowed and cannot be had: a file that names it would be mistaken.
            let usable = options.allow.iter().filter(|path| *path != Path::Relayed || connect.via.turn.is_some());
            Shown::words(usable)
        }
        "relay_first" => switch(options.relay_first),
        "peer_reflexive" => switch(options.peer_reflexive),
        "low_ttl" => Shown::Count(options.low_ttl?.into()),
        "sockets" => Shown::Count(options.sockets.into()),
        "probes" => Shown::Count(options.probes.into()),
        "window" => Shown::Count(options.window.into()),
        "ports" => Shown::word(format!("{}-{}", options.ports.start(), options.ports.end())),
        _ => return None,
    })
}

fn expect_path(expect: &ExpectPath) -> Entries {
    let mut entries = Vec::new();
    entries.extend(expect.path.map(|path| ("path", Shown::word(path))));
    entries.extend(expect.within.as_ref().map(|within| ("within", time(within))));
    entries
}

fn call(call: &Call) -> Shown {
    let mut entries = connect(&call.connect);
    entries.push(("for", time(&call.length)));
    entries.push(("interval", time(&call.interval)));
    entries.push(("size", Shown::Count(call.size_bytes as u64)));
    Shown::Map(entries)
}

fn talk(talk: &Talk) -> Shown {
    Shown::Map(vec![("on", Shown::word(&talk.label)), ("for", time(&talk.length)), ("interval", time(&talk.interval))])
}

fn expect_talk(expect: &ExpectTalk) -> Entries {
    let mut entries = Vec::new();
    entries.extend(expect.path.map(|path| ("path", Shown::word(path))));
    entries.extend(expect.loss.as_ref().map(|loss| ("loss", shares(loss))));
    entries.extend(expect.outage.as_ref().map(|outage| ("outage", times(outage))));
    entries
}

fn expect_call(expect: &ExpectCall) -> Entries {
    let mut entries = Vec::new();
    entries.extend(expect.path.map(|path| ("path", Shown::word(path))));
    entries.extend(expect.loss.as_ref().map(|loss| ("loss", shares(loss))));
    entries.extend(expect.delay.as_ref().map(|delay| ("delay", times(delay))));
    entries
}

fn expect_count(expect: &ExpectCount) -> Entries {
    let mut entries = Vec::new();
    entries.extend(expect.mappings.map(|mappings| ("mappings", Shown::Count(mappings as u64))));
    entries.extend(expect.explicit.map(|explicit| ("explicit", Shown::Count(explicit as u64))));
    entries.extend(expect.sessions.map(|sessions| ("sessions", Shown::Count(sessions as u64))));
    entries.extend(expect.dropped.map(|dropped| ("dropped", Shown::Count(dropped as u64))));
    let drops = expect.drops.iter().map(|(reason, count)| (reason.as_str(), Shown::Count(*count as u64)));
    entries.extend((!expect.drops.is_empty()).then(|| ("drops", Shown::Map(drops.collect()))));
    entries
}

fn cable(cable: &Cable) -> Shown {
    match cable.text.split_once(" behind ") {
        Some((node, behind)) => Shown::Map(vec![("node", Shown::word(node)), ("behind", Shown::word(behind))]),
        None => Shown::word(&cable.node),
    }
}
