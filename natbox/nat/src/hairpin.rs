//! Packets from inside to the NAT's own external addresses (RFC 4787 section 6).
//!
//! First the outbound half, as if the packet left, then the inbound half, as if it came back: what the first half
//! opened stays open when the second refuses. What the receiver is shown as source differs, and with it the way of its
//! answer. Let X1:x1 send to X2':x2', the external endpoint of X2:x2, and let X1':x1' be its own:
//!
//! | kind            | X2 is shown | X2 answers to | the answer's way                                                    |
//! | --------------- | ----------- | ------------- | ------------------------------------------------------------------- |
//! | external-source | X1':x1'     | X1':x1'       | hairpinned; X1 is shown X2':x2', to which it has sent               |
//! | internal-source | X1:x1       | X1:x1         | direct on one subnet; X1 is shown X2:x2, of which it knows nothing  |
//! | router-source   | R:p         | R:p           | to the gateway R, which knows p; X1 is shown X2':x2'                |
//!
//! Router-source is what a Linux box does that redirects packets for its external address and masquerades them on their
//! way in, so that answers come back through it. The *mask* R:p stands for X1':x1' towards X2:x2 alone: p is x1', or one
//! of the next ports if x1' of another external address already hides there. It lives as long as X2's session with
//! X1':x1'. Echo has no port to tell masks apart: of two senders that one host would have to answer under one
//! identifier, the later gets the answers.
//!
//! A box that does not hairpin takes such packets for its own, and answers them if it answers at all what it does not
//! want (`unsolicited_udp`, `unsolicited_syn`, `tcp_no_state`), as Linux does whose INPUT chain accepts.
//!
//! The inside addresses of the gateway come from outside of this crate; where nobody has told them, router-source is
//! external-source.

use hashbrown::HashTable;
use natbox_wire::{DropReason, Packet, Protocol, Side as End, Time};

use crate::behavior::{Hairpin, HairpinFilter};
use crate::classify::Flow;
use crate::icmp;
use crate::key::{Address, Endpoint, Hash};
use crate::realm::{Realm, Shared};
use crate::tcp::unsolicited::told_at_once;

use crate::uses::Uses;
use crate::verdict::{Refusal, Side, Verdict, refuse};

/// Ports that may stand in for one that is in use.
const PORTS: u16 = 16;
/// Masks that are not looked through for such as are over.
const FEW: usize = 64;

/// A sender as one receiver sees it.
#[derive(Clone, Copy)]
struct Mask<A> {
    protocol: Protocol,
    /// The internal endpoint that sees it.
    receiver: Endpoint<A>,
    /// The port that the sender has on the gateway's address.
    port: u16,
    /// The external endpoint of the sender.
    sender: Endpoint<A>,
    /// The external endpoint of the receiver.
    external: Endpoint<A>,
}

/// A packet that has passed both halves.
struct Turned<A> {
    /// The external endpoint of its sender.
    external: Endpoint<A>,
    /// The session of its receiver.
    receiver: u32,
    verdict: Verdict,
}

/// The gateway's inside addresses, and who hides behind them.
pub(crate) struct Masks<A> {
    routers: Vec<A>,
    masks: HashTable<Mask<A>>,
    hash: Hash,
    sweep_at: usize,
}

impl<A: Address> Masks<A> {
    pub(crate) fn new(hash: Hash) -> Masks<A> {
        Masks { routers: Vec::new(), masks: HashTable::new(), hash, sweep_at: FEW }
    }

    /// Replaces the gateway's inside addresses, preferred first.
    pub(crate) fn set_routers(&mut self, routers: impl Iterator<Item = A>) {
        self.routers = routers.collect();
    }

    /// Forgets who hides.
    pub(crate) fn forget(&mut self) {
        self.masks.clear();
        self.sweep_at = FEW;
    }

    fn find(&self, protocol: Protocol, receiver: Endpoint<A>, port: u16) -> Option<&Mask<A>> {
        let key = key(&self.hash, protocol, receiver, port);
        self.masks.find(key, |one| one.protocol == protocol && one.receiver == receiver && one.port == port)
    }

    fn remove(&mut self, protocol: Protocol, receiver: Endpoint<A>, port: u16) {
        let key = key(&self.hash, protocol, receiver, port);
        let same = |one: &Mask<A>| one.protocol == protocol && one.receiver == receiver && one.port == port;
        if let Ok(entry) = self.masks.find_entry(key, same) {
            entry.remove();
        }
    }

    fn insert(&mut self, mask: Mask<A>) {
        self.remove(mask.protocol, mask.receiver, mask.port);
        let rehash = |one: &Mask<A>| key(&self.hash, one.protocol, one.receiver, one.port);
        self.masks.insert_unique(rehash(&mask), mask, rehash);
    }
}

fn key<A: Address>(hash: &Hash, protocol: Protocol, receiver: Endpoint<A>, port: u16) -> u64 {
    hash.two(protocol, receiver, Endpoint { address: A::unspecified(), port })
}

impl<A: Address> Realm<A> {
    /// A packet from inside to one of the NAT's own addresses.
    #[inline(never)]
    pub(crate) fn hairpin(
        &mut self,
        nat: &mut Shared,
        packet: &mut Packet,
        flow: Flow<A>,
        now: Time,
    ) -> Result<Verdict, Refusal> {
        let kind = *nat.behavior.hairpin.of(flow.protocol);
        if kind == Hairpin::Off {
            return Err(Refusal { answer: told_at_once(nat, packet, flow), ..refuse(DropReason::HairpinOff) });
        }
        if !icmp::hairpins(&nat.behavior, flow.protocol, packet.is_ipv6()) {
            return Err(refuse(DropReason::NoMapping));
        }
        let turned = match self.turn_round(nat, packet, flow, now)? {
            Ok(turned) => turned,
            Err(verdict) => return Ok(verdict),
        };
        let shown = match kind {
            Hairpin::ExternalSource => Some(turned.external),
            Hairpin::RouterSource => {
                Some(self.mask(flow.protocol, turned.external, turned.receiver).unwrap_or(turned.external))
            }
            Hairpin::InternalSource | Hairpin::Off => None,
        };
        Ok(self.deliver(packet, shown, turned))
    }

    /// Both halves. Where the second refuses, its verdict is final, and what the first opened stays open.
    fn turn_round(
        &mut self,
        nat: &mut Shared,
        packet: &Packet,
        flow: Flow<A>,
        now: Time,
    ) -> Result<Result<Turned<A>, Verdict>, Refusal> {
        let judged = nat.behavior.hairpin_filter == HairpinFilter::Apply;
        let sender = self.leave(nat, packet, flow, now)?;
        let external = self.table.session(sender.session).external;
        let flow = flow.leaving_as(external);
        let receiver = match self.enter(nat, packet, flow, judged, now) {
            Ok(receiver) => receiver,
            Err(refusal) => return Ok(Err(self.unsolicited(nat, packet, Side::Inside, flow, refusal, now))),
        };
        let index = receiver.session;
        let (source, destination) = (self.translation(sender), self.translation(receiver));
        Ok(Ok(Turned { external, receiver: index, verdict: Verdict::Hairpin { source, destination } }))
    }

    /// Rewrites a packet that has turned round. `shown` is its new source, if it gets one.
    fn deliver(&mut self, packet: &mut Packet, shown: Option<Endpoint<A>>, turned: Turned<A>) -> Verdict {
        if let Some(shown) = shown {
            shown.write(End::Source, packet);
        }
        if self.translates {
            self.identification.give(packet);
        }
        self.table.session(turned.receiver).internal.write(End::Destination, packet);
        turned.verdict
    }

    /// An answer to a sender that its receiver knows as the gateway; `None` if it is none.
    #[cold]
    pub(crate) fn answer_mask(
        &mut self,
        nat: &mut Shared,
        packet: &mut Packet,
        flow: Flow<A>,
        now: Time,
    ) -> Option<Result<Verdict, Refusal>> {
        let mask = *self.masked(flow.protocol, flow.source, flow.destination)?;
        let port = if flow.protocol == Protocol::Icmp { flow.destination.port } else { mask.sender.port };
        let flow = Flow { destination: Endpoint { port, ..mask.sender }, ..flow };
        let turned = self.turn_round(nat, packet, flow, now);
        Some(turned.map(|turned| match turned {
            Ok(turned) => self.deliver(packet, Some(turned.external), turned),
            Err(verdict) => verdict,
        }))
    }

    /// An ICMP error from inside.
    pub(crate) fn error_from_inside(
        &mut self,
        nat: &mut Shared,
        packet: &mut Packet,
        now: Time,
    ) -> Result<Verdict, Refusal> {
        match nat.uses.any(Uses::ROUTER_SOURCE) {
            true => self.masked_error(nat, packet, now),
            false => icmp::outbound(self, nat, packet, now),
        }
    }

    /// An ICMP error from inside, where masks may have to be taken off what it quotes, or put on.
    #[cold]
    fn masked_error(&mut self, nat: &mut Shared, packet: &mut Packet, now: Time) -> Result<Verdict, Refusal> {
        let before = packet.clone();
        if let Some(mask) = self.mask_quoted(packet).copied() {
            packet.rewrite_quoted_source(mask.sender.to_socket());
            packet.rewrite_destination(mask.sender.to_socket());
        }
        let verdict = icmp::outbound(self, nat, packet, now);
        match verdict {
            Ok(Verdict::Hairpin { .. }) => self.mask_error(packet),
            Err(_) | Ok(Verdict::Drop(_) | Verdict::Hold(_)) => *packet = before,
            Ok(Verdict::Pass | Verdict::Forward(_)) => {}
        }
        verdict
    }

    /// The receiver of this error has sent what it quotes to a mask, if there is one.
    fn mask_error(&self, packet: &mut Packet) {
        let Some(quoted) = packet.quoted() else { return };
        let ends = Endpoint::from_socket(quoted.source).zip(Endpoint::from_socket(quoted.destination));
        let Some((receiver, sender)) = ends else { return };
        let found = self.mask_of(quoted.protocol, receiver, sender);
        if let (Some(mask), Some(router)) = (found, self.masks.routers.first()) {
            let shown = Endpoint { address: *router, port: mask.port };
            packet.rewrite_quoted_destination(shown.to_socket());
            packet.rewrite_source(shown.to_socket());
        }
    }

    /// Whether a packet to one of the gateway's inside addresses is for somebody who hides behind it.
    pub(crate) fn is_for_mask(&self, packet: &Packet) -> bool {
        let ends = |source, destination| {
            let receiver = Endpoint::from_socket(source)?;
            self.masked(packet.protocol()?, receiver, Endpoint::from_socket(destination)?)
        };
        // A later fragment shows no port: its first will tell.
        let later = packet.fragment().is_some_and(|fragment| fragment.offset_bytes > 0);
        let to_router = A::from_ip(packet.destination()).is_some_and(|own| self.masks.routers.contains(&own));
        !self.masks.masks.is_empty()
            && (later && to_router
                || self.mask_quoted(packet).is_some()
                || ends(packet.source_endpoint(), packet.destination_endpoint()).is_some())
    }

    /// The mask that the source of a quoted packet wore.
    fn mask_quoted(&self, packet: &Packet) -> Option<&Mask<A>> {
        let quoted = packet.quoted().filter(|quoted| quoted.source.ip() == packet.destination())?;
        let receiver = Endpoint::from_socket(quoted.destination)?;
        self.masked(quoted.protocol, receiver, Endpoint::from_socket(quoted.source)?)
    }

    /// The live mask that a receiver calls by this endpoint.
    fn masked(&self, protocol: Protocol, receiver: Endpoint<A>, shown: Endpoint<A>) -> Option<&Mask<A>> {
        if !self.masks.routers.contains(&shown.address) {
            return None;
        }
        self.masks.find(protocol, receiver, shown.as_remote(protocol).port).filter(|mask| self.is_live(mask))
    }

    /// The live mask of a sender towards a receiver.
    fn mask_of(&self, protocol: Protocol, receiver: Endpoint<A>, sender: Endpoint<A>) -> Option<&Mask<A>> {
        let sender = sender.as_remote(protocol);
        let tried = (0..PORTS).filter_map(|step| self.masks.find(protocol, receiver, sender.port.wrapping_add(step)));
        tried.into_iter().find(|mask| mask.sender == sender && self.is_live(mask))
    }

    fn is_live(&self, mask: &Mask<A>) -> bool {
        self.table.find_inbound(mask.protocol, mask.external, mask.sender).is_some()
    }

    /// How a sender is shown to the receiver of a session; `None` without an address of the gateway or a free port.
    #[cold]
    fn mask(&mut self, protocol: Protocol, sender: Endpoint<A>, session: u32) -> Option<Endpoint<A>> {
        let address = *self.masks.routers.first()?;
        let record = self.table.session(session);
        let (receiver, external, remote) = (record.internal, record.external, sender.as_remote(protocol));
        let known = self.mask_of(protocol, receiver, sender).map(|mask| mask.port);
        let port = match known {
            Some(port) => port,
            None => {
                let free = |port: &u16| {
                    protocol == Protocol::Icmp
                        || *port != 0 && self.masks.find(protocol, receiver, *port).is_none_or(|one| !self.is_live(one))
                };
                let port = (0..PORTS).map(|step| remote.port.wrapping_add(step)).find(free)?;
                self.sweep_masks();
                self.masks.insert(Mask { protocol, receiver, port, sender: remote, external });
                port
            }
        };
        let port = if protocol == Protocol::Icmp { sender.port } else { port };
        Some(Endpoint { address, port })
    }

    /// Forgets masks that are over, when they have doubled in number.
    fn sweep_masks(&mut self) {
        if self.masks.masks.len() < self.masks.sweep_at {
            return;
        }
        let table = &self.table;
        self.masks.masks.retain(|mask| table.find_inbound(mask.protocol, mask.external, mask.sender).is_some());
        self.masks.sweep_at = FEW.max(2 * self.masks.masks.len());
    }

    /// Whether this packet from inside may be for a mask.
    #[inline(always)]
    pub(crate) fn may_be_for_mask(&self, nat: &Shared, destination: A) -> bool {
        nat.uses.any(Uses::ROUTER_SOURCE) && self.masks.routers.contains(&destination)
    }
}
