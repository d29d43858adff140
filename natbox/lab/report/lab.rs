//! The lab as a small picture: who is behind whom, with which addresses and behaviour.

use std::fmt::Write;

use natbox_nat::preset;
use natbox_world::LinkConfig;

use crate::paint::Paint;
use crate::plan::{Host, Nat, Network, Plan, Uplink};
use crate::topology::units::{show_duration, show_percent, show_rate};

/// Lines after which a picture is no longer small.
const MAX_LINES: usize = 60;

/// The lab as a tree, the public network at its root.
pub fn picture(plan: &Plan, paint: Paint) -> String {
    let internet = &plan.internet;
    let mut prefixes = internet.prefix.to_string();
    if let Some(prefix6) = internet.prefix6 {
        write!(prefixes, ", {prefix6}").ok();
    }
    let mut tree = Tree { plan, paint, lines: Vec::new(), left_out: 0 };
    tree.lines.push(format!("{}  {prefixes}", paint.strong("internet")));
    tree.branches(Network::Internet, "");
    let mut text = tree.lines.join("\n");
    if tree.left_out > 0 {
        write!(text, "\n... and {} more", tree.left_out).ok();
    }
    text.push('\n');
    text
}

struct Tree<'a> {
    plan: &'a Plan,
    paint: Paint,
    lines: Vec<String>,
    left_out: usize,
}

/// What hangs on a network.
enum Leaf<'a> {
    Nat(usize, &'a Nat),
    Host(&'a Host, usize),
}

impl<'a> Tree<'a> {
    fn branches(&mut self, network: Network, indent: &str) {
        let leaves = attached(self.plan, network);
        let last = leaves.len();
        for (number, leaf) in (1..).zip(leaves) {
            let (branch, below) = if number == last { ("`- ", "   ") } else { ("|- ", "|  ") };
            self.push(format!("{indent}{branch}{}", self.describe(&leaf)));
            if let Leaf::Nat(index, _) = leaf {
                self.branches(Network::Behind(index), &format!("{indent}{below}"));
            }
        }
    }

    fn push(&mut self, line: String) {
        if self.lines.len() < MAX_LINES { self.lines.push(line) } else { self.left_out += 1 }
    }

    fn describe(&self, leaf: &Leaf<'a>) -> String {
        match leaf {
            Leaf::Nat(_, nat) => {
                let (name, kind) = (self.paint.strong(&nat.name), behavior(nat));
                let addresses = addresses(&nat.outside);
                format!("{name}  NAT {kind}; {addresses}{}", self.link(&nat.outside))
            }
            Leaf::Host(host, uplink) => {
                let name = self.paint.strong(&host.name);
                let services = host.services.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                let services = if services.is_empty() { services } else { format!("; runs {services}") };
                let uplinks = host.uplinks.len();
                let which = if uplinks > 1 { format!(" (uplink {} of {uplinks})", uplink + 1) } else { String::new() };
                let uplink = &host.uplinks[*uplink];
                format!("{name}  {}{which}{}{services}", addresses(uplink), self.link(uplink))
            }
        }
    }

    /// What the link does that a perfect one would not.
    fn link(&self, uplink: &Uplink) -> String {
        let (link, perfect) = (&uplink.link, LinkConfig::default());
        let mut parts = Vec::new();
        if link.latency != perfect.latency {
            parts.push(show_duration(&link.latency));
        }
        if link.jitter != perfect.jitter {
            parts.push(format!("jitter {}", show_duration(&link.jitter)));
        }
        for (share, name) in [(link.loss, "loss"), (link.duplicate, "duplicate"), (link.reorder, "reorder")] {
            if share > 0.0 {
                parts.push(format!("{name} {}", show_percent(&share)));
            }
        }
        parts.extend(link.rate_bits_per_second.map(show_rate));
        if link.queue_packets != perfect.queue_packets {
            parts.push(format!("queue {}", link.queue_packets));
        }
        if link.mtu_bytes != perfect.mtu_bytes {
            parts.push(format!("mtu {}", link.mtu_bytes));
        }
        if parts.is_empty() { String::new() } else { self.paint.faint(format!("; link {}", parts.join(", "))) }
    }
}

fn attached(plan: &Plan, network: Network) -> Vec<Leaf<'_>> {
    let nats = plan.nats.iter().enumerate().filter(|(_, nat)| nat.outside.network == network);
    let nats = nats.map(|(index, nat)| Leaf::Nat(index, nat));
    let hosts = plan.hosts.iter().flat_map(|host| {
        let uplinks = host.uplinks.iter().enumerate().filter(|(_, uplink)| uplink.network == network);
        uplinks.map(move |(number, _)| Leaf::Host(host, number))
    });
    nats.chain(hosts).collect()
}

fn addresses(uplink: &Uplink) -> String {
    uplink.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Lifetimes that are as long as another unless somebody says otherwise.
const FOLLOWERS: [(&str, &str); 8] = [
    ("timeouts.udp_unreplied", "timeouts.udp"),
    ("timeouts.udp_stream", "timeouts.udp"),
    ("timeouts.tcp_partial_open", "timeouts.tcp_opening"),
    ("timeouts.tcp_unacknowledged", "timeouts.tcp_established"),
    ("timeouts.tcp_half_closed", "timeouts.tcp_established"),
    ("timeouts.tcp_close_wait", "timeouts.tcp_half_closed"),
    ("timeouts.tcp_time_wait", "timeouts.tcp_closing"),
    ("timeouts.tcp_reset", "timeouts.tcp_closing"),
];

/// A NAT's preset and what differs from it; without a preset, the two behaviours that matter most.
fn behavior(nat: &Nat) -> String {
    let Some(preset) = nat.preset.and_then(preset::find) else {
        return format!("{} mapping, {} filtering", nat.behavior.mapping, nat.behavior.filtering);
    };
    let preset_axes = preset.behavior.axes();
    let own = nat.behavior.axes().into_iter().filter(|axis| !preset_axes.contains(axis));
    let lifetimes = nat.behavior.axes();
    let follows = |axis: &str, word: &str| {
        let leader = FOLLOWERS.iter().find(|(follower, _)| *follower == axis).map(|(_, leader)| *leader);
        leader.is_some_and(|leader| lifetimes.iter().any(|(other, same)| *other == leader && same == word))
    };
    let differing = own.filter(|(axis, word)| !follows(axis, word)).map(|(axis, word)| format!("{axis} {word}"));
    match differing.collect::<Vec<_>>() {
        none if none.is_empty() => preset.name.to_owned(),
        some => format!("{} with {}", preset.name, some.join(", ")),
    }
}
