//! What a packet of a script is made of, from its entries and back.

use super::behavior::word;
use super::describe::Shown;
use super::resolve::{number, switch};
use super::scenario::Reader;
use super::step::{Goal, Send};
use crate::topology::tree::Node;
use crate::words::{Checksum, EchoKind, Flag, Rejection};
use natbox_wire::Word;

/// What a packet is.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// A UDP datagram.
    Udp,
    /// A TCP segment.
    Tcp(Segment),
    /// An ICMP or ICMPv6 echo message.
    Echo {
        /// Request or reply.
        kind: EchoKind,
        /// Its identifier; that of the external endpoint which it is sent to, if absent.
        identifier: Option<u16>,
    },
    /// An ICMP or ICMPv6 error about an earlier packet, as that was when it was seen last.
    Error {
        /// The error.
        error: Rejection,
        /// The packet's label.
        about: String,
        /// The MTU that it reports, where it is about one.
        mtu_bytes: u16,
    },
}

/// The header of a TCP segment.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// Its flags.
    pub flags: Vec<Flag>,
    /// Its sequence number.
    pub sequence: u32,
    /// Its acknowledgement number.
    pub acknowledgement: u32,
    /// Its window, unscaled, in bytes.
    pub window_bytes: u16,
    /// Its maximum segment size, in bytes, where it says one.
    pub mss_bytes: Option<u16>,
    /// By how many bits its sender's windows are to be shifted, where it says so.
    pub window_scale: Option<u8>,
}

/// What is unusual about a packet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Craft {
    /// Nobody may fragment it (IPv4).
    pub dont_fragment: bool,
    /// Its transport checksum is wrong.
    pub wrong_checksum: bool,
    /// Its sender cuts it.
    pub fragments: Option<Fragments>,
}

/// How a sender cuts a packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Fragments {
    /// The largest fragment, in bytes.
    pub mtu_bytes: usize,
    /// Which fragments are sent, in which order, counted from 1; all in their order if empty.
    pub order: Vec<usize>,
}

/// Keys that only TCP segments have.
const TCP_KEYS: [&str; 5] = ["seq", "ack", "window", "mss", "window_scale"];
/// Keys that only SYNs have.
const SYN_KEYS: [&str; 2] = ["mss", "window_scale"];
/// Keys that an ICMP error has not: the packet that it is about decides.
const NOT_FOR_ERRORS: [&str; 6] = ["to", "as", "payload", "size", "dont_fragment", "fragments"];

impl Reader<'_, '_> {
    /// What the packet of a `send` is; what contradicts it is noted.
    pub(super) fn message(&mut self, node: &Node) -> Option<Message> {
        if let (Some(_), Some(icmp)) = (node.get("tcp"), node.get("icmp")) {
            self.mistakes.at(icmp.place, "a packet that is TCP and ICMP").expected("one or the other");
        }
        let strays = TCP_KEYS.iter().filter_map(|key| node.get(key)).filter(|_| node.get("tcp").is_none());
        let echo = node.get("icmp").and_then(Node::text).is_some();
        let stray = strays.chain(node.get("id").filter(|_| !echo)).next();
        if let Some(stray) = stray {
            self.mistakes
                .at(stray.place, "a field that this packet does not have")
                .expected("`seq`, `ack`, `window`, `mss` and `window_scale` with `tcp`, `id` with `icmp: echo`");
        }
        match (node.get("tcp"), node.get("icmp")) {
            (Some(tcp), _) => Some(Message::Tcp(self.segment(node, tcp))),
            (None, Some(icmp)) if echo => Some(Message::Echo {
                kind: EchoKind::from_word(icmp.text()?)?,
                identifier: number(node, "id").and_then(|id| u16::try_from(id).ok()),
            }),
            (None, Some(icmp)) => self.error(node, icmp),
            (None, None) => Some(Message::Udp),
        }
    }

    fn segment(&mut self, node: &Node, tcp: &Node) -> Segment {
        let segment = segment(node, tcp);
        let syn = segment.flags.iter().any(|flag| matches!(flag, Flag::Syn | Flag::SynAck));
        if let Some(stray) = SYN_KEYS.iter().find_map(|key| node.get(key)).filter(|_| !syn) {
            self.mistakes.at(stray.place, "an option that only a SYN has").expected("it with `syn` or `syn-ack`");
        }
        segment
    }

    fn error(&mut self, node: &Node, icmp: &Node) -> Option<Message> {
        for key in NOT_FOR_ERRORS {
            if let Some(stray) = node.get(key) {
                self.mistakes
                    .at(stray.place, format!("`{key}` of an ICMP error"))
                    .expected("nothing: the packet that it is about decides where it goes and what it quotes");
            }
        }
        let error: Option<Rejection> = word(icmp, "error");
        let about = self.label(icmp, "about");
        let mtu = number(icmp, "mtu").and_then(|mtu| u16::try_from(mtu).ok());
        if let Some(error) = error
            && mtu.is_some() != (error == Rejection::PacketTooBig)
        {
            self.mistakes.at(icmp.place, "an MTU says what `packet-too-big` is about").expected("`mtu` with it alone");
        }
        Some(Message::Error { error: error?, about: about?, mtu_bytes: mtu.unwrap_or(0) })
    }

    /// What is unusual about the packet of a `send`.
    pub(super) fn craft(&mut self, node: &Node) -> Craft {
        let fragments = node.get("fragments").map(|fragments| Fragments {
            mtu_bytes: number(fragments, "mtu").unwrap_or(0),
            order: fragments
                .get("order")
                .map(Node::items)
                .unwrap_or_default()
                .iter()
                .filter_map(|item| item.text()?.parse().ok())
                .collect(),
        });
        let dont_fragment = switch(node, "dont_fragment").unwrap_or(false);
        if let (true, Some(_), Some(place)) = (dont_fragment, &fragments, node.get("dont_fragment")) {
            self.mistakes.at(place.place, "a packet that nobody may fragment and that its sender cuts");
        }
        Craft { dont_fragment, wrong_checksum: word(node, "checksum") == Some(Checksum::Wrong), fragments }
    }
}

fn segment(node: &Node, tcp: &Node) -> Segment {
    let count = |key| number(node, key).and_then(|number| u32::try_from(number).ok());
    let window = number(node, "window").and_then(|window| u16::try_from(window).ok());
    Segment {
        flags: tcp.items().iter().filter_map(|flag| Flag::from_word(flag.text()?)).collect(),
        sequence: count("seq").unwrap_or(0),
        acknowledgement: count("ack").unwrap_or(0),
        window_bytes: window.unwrap_or(u16::MAX),
        mss_bytes: number(node, "mss").and_then(|mss| u16::try_from(mss).ok()),
        window_scale: number(node, "window_scale").and_then(|shift| u8::try_from(shift).ok()),
    }
}

/// The entries of a packet that only some have.
pub(super) fn show(send: &Send) -> Vec<(&'static str, Shown)> {
    let mut entries = Vec::new();
    match &send.message {
        Message::Udp => {}
        Message::Tcp(segment) => {
            entries.push(("tcp", Shown::words(&segment.flags)));
            entries.push(("seq", Shown::Count(segment.sequence.into())));
            entries.push(("ack", Shown::Count(segment.acknowledgement.into())));
            entries.push(("window", Shown::Count(segment.window_bytes.into())));
            entries.extend(segment.mss_bytes.map(|mss| ("mss", Shown::Count(mss.into()))));
            entries.extend(segment.window_scale.map(|shift| ("window_scale", Shown::Count(shift.into()))));
        }
        Message::Echo { kind, identifier } => {
            entries.push(("icmp", Shown::word(kind)));
            entries.extend(identifier.map(|identifier| ("id", Shown::Count(identifier.into()))));
        }
        Message::Error { error, about, mtu_bytes } => {
            let mut error = vec![("error", Shown::word(error)), ("about", Shown::word(about))];
            error.extend((*mtu_bytes > 0).then_some(("mtu", Shown::Count((*mtu_bytes).into()))));
            entries.push(("icmp", Shown::Map(error)));
        }
    }
    let Craft { dont_fragment, wrong_checksum, fragments } = &send.craft;
    entries.extend(dont_fragment.then(|| ("dont_fragment", Shown::word("on"))));
    entries.extend(wrong_checksum.then(|| ("checksum", Shown::word(Checksum::Wrong))));
    entries.extend(fragments.as_ref().map(|fragments| {
        let mut cut = vec![("mtu", Shown::Count(fragments.mtu_bytes as u64))];
        let order = fragments.order.iter().map(|number| Shown::Count(*number as u64)).collect();
        cut.extend((!fragments.order.is_empty()).then_some(("order", Shown::List(order))));
        ("fragments", Shown::Map(cut))
    }));
    entries
}

/// A packet in a line: `alice:1 -> server:2`, with what it is where it is no plain datagram.
pub(super) fn told(send: &Send) -> String {
    let Send { host, port, to_text, .. } = send;
    match &send.message {
        Message::Udp => format!("{host}:{port} -> {to_text}"),
        Message::Tcp(segment) => {
            let flags: Vec<&str> = segment.flags.iter().map(|flag| flag.as_str()).collect();
            format!("tcp {} {host}:{port} -> {to_text}", flags.join(" "))
        }
        Message::Echo { kind, .. } => format!("{kind} {host} -> {to_text}"),
        Message::Error { error, about, .. } => format!("{error} about {about} from {host}"),
    }
}

impl Goal {
    /// Where a packet goes as files write it; nothing for an error.
    pub(super) fn is_written(&self) -> bool {
        !matches!(self, Goal::Offender(_))
    }
}
