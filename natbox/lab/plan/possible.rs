//! What a `send` says and what cannot be: found before anything runs.
//!
//! Knows what the file fixes, which is addresses, and what a packet is. What depends on what NATs do is found at run time:
//! to which endpoint a packet was mapped, whether it was ever seen.

use std::net::{IpAddr, SocketAddr};

use natbox_probes::{rendezvous, stun};
use natbox_wire::{Packet, Protocol, Transport};

use super::message::Message;
use super::packet;
use super::scenario::Reader;
use super::step::{ExpectSend, Goal, PATIENCE, Place, Send};
use crate::topology::tree::Node;
use crate::topology::units::show_duration;
use crate::words::{ECHO_PORT, Family, Flag, Rejection, Service};

/// What is known of a labelled packet before anything runs.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// The packet as it is sent, its first fragment where it is cut; where its endpoints are known only later, with others
    /// of the same IP version in their places.
    packet: Option<Packet>,
}

/// A packet's two ends, as far as they matter.
type Ends = (SocketAddr, SocketAddr);

impl Reader<'_, '_> {
    /// Notes what cannot be of a packet, and of what is expected of it.
    pub(super) fn check_send(&mut self, node: &Node, expected: Option<&Node>, send: &Send) {
        let ends = self.ends_of(node, send);
        let packet = ends.and_then(|ends| self.packet(node, send, ends));
        if let Some(label) = &send.label {
            self.packets.insert(label.clone(), Known { packet: packet.clone() });
        }
        self.own_port(node, send);
        if let (Some(node), Some(expect)) = (expected, &send.expect) {
            self.possible_end(node, send, expect);
            if let (Some(rejected), Some(place)) = (expect.rejected, node.get("rejected")) {
                let why = impossible_answer(send, rejected, packet.as_ref());
                if let Some(why) = why {
                    self.mistakes.at(place.place, why);
                }
            }
        }
    }

    /// Where a packet comes from and goes to; `None` where that shows only when it is sent, or is a mistake by itself.
    fn ends_of(&mut self, node: &Node, send: &Send) -> Option<Ends> {
        let about = |label: &String| self.packets.get(label)?.packet.as_ref();
        let to = match &send.to {
            Goal::Endpoint(Place::Address(address), port) => SocketAddr::new(*address, *port),
            Goal::Endpoint(Place::Name(name), port) => SocketAddr::new(self.first_address(name)?, *port),
            // Somebody outside: all that counts here is the IP version.
            Goal::Mapped(label) => SocketAddr::new(about(label)?.source(), 1),
            Goal::Offender(label) => about(label)?.source_endpoint(),
        };
        if to.ip().is_loopback() || to.ip().is_unspecified() {
            self.mistakes.at(node.get("to")?.place, format!("no link leads to {}", to.ip()));
            return None;
        }
        let owner = self.layout.hosts.iter().find(|host| host.name == send.host)?;
        let family = if to.is_ipv6() { Family::Ipv6 } else { Family::Ipv4 };
        let own = send.address.or_else(|| owner.addresses().find(|address| family.has(address)));
        let itself = owner.addresses().any(|address| address == to.ip());
        let Some(own) = own else {
            let message =
                format!("`{}` has no {} address, and the packet is for {}", send.host, family.name(), to.ip());
            self.mistakes.at(node.get("from")?.place, message);
            return None;
        };
        if itself && !send.is_plain() && !matches!(send.to, Goal::Mapped(_) | Goal::Offender(_)) {
            let message = "what is made by hand goes out on a wire, and this is for its own sender";
            self.mistakes.at(node.get("to")?.place, message).expected("another machine");
            return None;
        }
        Some((SocketAddr::new(own, send.port), to))
    }

    /// The first address of a machine, IPv4 before IPv6, as the scenario will choose.
    fn first_address(&self, name: &str) -> Option<IpAddr> {
        let host = self.layout.hosts.iter().filter(|host| host.name == name).flat_map(|host| host.addresses());
        let nat = self.layout.nats.iter().filter(|nat| nat.name == name).flat_map(|nat| nat.outside.addresses.clone());
        host.chain(nat).min_by_key(IpAddr::is_ipv6)
    }

    /// The packet, or its first piece; notes why there can be none.
    fn packet(&mut self, node: &Node, send: &Send, (from, to): Ends) -> Option<Packet> {
        let offender = match &send.message {
            Message::Error { about, .. } => Some(self.packets.get(about)?.packet.clone()?),
            _ => None,
        };
        match packet::pieces(send, from, to, offender.as_ref(), 1) {
            // Of a packet that is cut, the first fragment shows what it is.
            Ok(pieces) => pieces.into_iter().find(|piece| piece.transport() != Transport::LaterFragment),
            Err(impossible) => {
                let (key, below) = impossible.key.split_once('.').unwrap_or((impossible.key, ""));
                let named = node.get(key);
                let place = named.and_then(|named| named.get(below)).or(named).unwrap_or(node).place;
                self.mistakes.at(place, impossible.why);
                None
            }
        }
    }

    /// A socket of a server has its port: a script cannot send from there as a program would.
    fn own_port(&mut self, node: &Node, send: &Send) {
        let host = self.layout.hosts.iter().find(|host| host.name == send.host);
        let services = host.map(|host| host.services.as_slice()).unwrap_or_default();
        let taken = services.iter().find(|service| ports(**service).contains(&send.port));
        if let (Some(service), Some(from), true) = (taken, node.get("from"), send.is_plain()) {
            let message = format!("`{service}` on `{}` has UDP port {}", send.host, send.port);
            self.mistakes.at(from.place, message).expected("a port that no server has");
        }
    }

    fn possible_end(&mut self, node: &Node, send: &Send, expect: &ExpectSend) {
        if let (Some(held), Some(place)) = (&expect.held, node.get("held")) {
            let nat = self.layout.nats.iter().any(|nat| nat.name == *held);
            let host = self.layout.hosts.iter().any(|host| host.name == *held);
            let cut = send.craft.fragments.is_some();
            let syn = matches!(&send.message, Message::Tcp(segment) if segment.flags.iter().all(|flag| matches!(flag, Flag::Syn | Flag::Psh)));
            if !(nat && (cut || syn) || host && cut) {
                self.mistakes
                    .at(place.place, format!("`{held}` never holds such a packet"))
                    .expected("a NAT that holds a SYN or fragments, or a host that waits for fragments");
            }
        }
        let beyond = expect.after.as_ref().is_some_and(|after| after.low.is_some_and(|low| low > PATIENCE));
        if let (true, Some(place)) = (beyond, node.get("after")) {
            let longest = show_duration(&PATIENCE);
            self.mistakes.at(place.place, format!("a packet is followed for {longest} at most"));
        }
        if let (Some(place), true) = (node.get("expires"), self.layout.nats.is_empty()) {
            self.mistakes.at(place.place, "a mapping in a lab without a NAT");
        }
    }
}

/// The UDP ports that a server has.
fn ports(service: Service) -> &'static [u16] {
    match service {
        Service::Stun => &[stun::PORT, stun::ALTERNATE_PORT],
        Service::Turn => &[stun::PORT],
        Service::Rendezvous => &[rendezvous::PORT],
        Service::Echo => &[ECHO_PORT],
    }
}

/// Why nobody answers a packet so.
fn impossible_answer(send: &Send, answer: Rejection, packet: Option<&Packet>) -> Option<&'static str> {
    let protocol = match send.message {
        Message::Udp => Protocol::Udp,
        Message::Tcp(_) => Protocol::Tcp,
        Message::Echo { .. } => Protocol::Icmp,
        Message::Error { .. } => return Some("nobody answers an ICMP error (RFC 1122 section 3.2.2)"),
    };
    let resets = matches!(&send.message, Message::Tcp(segment) if segment.flags.contains(&Flag::Rst));
    let cut = send.craft.fragments.is_some();
    let may_be_cut = packet.is_some_and(|packet| !packet.is_ipv6() && !packet.dont_fragment());
    match answer {
        Rejection::Rst if protocol != Protocol::Tcp => Some("a RST answers TCP segments alone"),
        Rejection::Rst if resets => Some("nobody answers a RST with a RST (RFC 9293 section 3.10.7)"),
        Rejection::PacketTooBig if may_be_cut => {
            Some("an IPv4 packet is too big only where nobody may fragment it: say `dont_fragment: on`")
        }
        Rejection::ReassemblyTimeExceeded if !cut => Some("it is not cut, and nobody waits for its fragments"),
        _ => None,
    }
}
