//! What the runner hears of the world: drops counted, one packet followed to its end, all else passed to the record.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use natbox_nat::MappingId;
use natbox_wire::{DropReason, IcmpError, Packet, Protocol, Time, Transport};
use natbox_world::note::{Event, InterfaceId, LinkFate, NodeId, Note, Observer, Outcome, PacketId, PacketRef};

use crate::record::Recorder;

/// Hears the world's notes. Clones share what was heard.
#[derive(Clone)]
pub(super) struct Tap(Rc<RefCell<Heard>>);

struct Heard {
    recorder: Recorder,
    drops: BTreeMap<DropReason, u64>,
    drops_at: BTreeMap<NodeId, BTreeMap<DropReason, usize>>,
    /// The external endpoint whose mapping is watched, and when that ended.
    watched: Option<(Protocol, SocketAddr)>,
    mapping_ended: Option<Time>,
    followed: Option<Followed>,
}

/// A packet that is followed.
struct Followed {
    /// How to know it: where it is sent from and where to.
    sender: NodeId,
    source: SocketAddr,
    destination: SocketAddr,
    trace: Trace,
    /// Where its sender cuts it: the identification of its fragments, and the packets that carry the later ones.
    identification: Option<u32>,
    later: BTreeSet<PacketId>,
    /// Packets on its account that are still under way, and the errors that they are.
    under_way: BTreeMap<PacketId, Option<Answer>>,
    /// Whether whatever the sender sends just now is the packet: it is being put on the wire by hand.
    gathering: bool,
    /// Whether a packet that is held has come far enough.
    until_held: bool,
    waker: Option<Waker>,
}

/// What tells a sender that its packet was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// An ICMP error.
    Icmp(IcmpError),
    /// A RST.
    Reset,
}

/// What is known of a packet that was followed.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    /// Its number, once it was seen.
    pub(super) id: Option<PacketId>,
    /// The number of the fragment that it ended with, where its sender had cut it.
    pub(super) last: Option<PacketId>,
    /// Its source, as the farthest node saw it.
    pub(super) farthest: Option<SocketAddr>,
    /// How it ended.
    pub(super) end: Option<End>,
    /// The interface through which it came to the node that ended it.
    pub(super) through: Option<InterfaceId>,
    /// The ICMP error or RST that came back to its sender.
    pub(super) rejected: Option<Answer>,
    /// Who held it first, if anybody did.
    pub(super) held: Option<NodeId>,
    /// When it ended.
    pub(super) ended: Time,
    /// The mappings that it used, and when: one for each time that it came to a NAT.
    pub(super) used: Vec<(NodeId, MappingId, Time)>,
    /// Its bytes, as the farthest node saw them; of its first fragment, where it was cut.
    pub(super) bytes: Vec<u8>,
}

/// The end of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// A host took it, from this source.
    Delivered(NodeId, SocketAddr),
    /// It died here.
    Dropped(NodeId, DropReason),
}

impl Tap {
    pub(super) fn new(recorder: Recorder) -> Tap {
        Tap(Rc::new(RefCell::new(Heard {
            recorder,
            drops: BTreeMap::new(),
            drops_at: BTreeMap::new(),
            watched: None,
            mapping_ended: None,
            followed: None,
        })))
    }

    /// How many packets died of what.
    pub(super) fn drops(&self) -> BTreeMap<DropReason, u64> {
        self.0.borrow().drops.clone()
    }

    /// How many packets died at a node, of what.
    pub(super) fn drops_at(&self, node: NodeId) -> BTreeMap<DropReason, usize> {
        self.0.borrow().drops_at.get(&node).cloned().unwrap_or_default()
    }

    /// Watches for the end of a mapping.
    pub(super) fn watch(&self, protocol: Protocol, external: SocketAddr) {
        let mut heard = self.0.borrow_mut();
        (heard.watched, heard.mapping_ended) = (Some((protocol, external)), None);
    }

    /// When the mapping that is watched ended, if it has.
    pub(super) fn mapping_ended(&self) -> Option<Time> {
        self.0.borrow().mapping_ended
    }

    /// Follows the next packet that `sender` sends from `source` to `destination`.
    pub(super) fn follow(&self, sender: NodeId, source: SocketAddr, destination: SocketAddr) {
        let (trace, later, under_way) = (Trace::default(), BTreeSet::new(), BTreeMap::new());
        let (identification, waker) = (None, None);
        let (gathering, until_held) = (false, false);
        self.0.borrow_mut().followed = Some(Followed {
            sender,
            source,
            destination,
            trace,
            identification,
            later,
            under_way,
            gathering,
            until_held,
            waker,
        });
    }

    /// Whether all that the sender sends is the packet which is followed.
    pub(super) fn gather(&self, on: bool) {
        if let Some(followed) = &mut self.0.borrow_mut().followed {
            followed.gathering = on;
        }
    }

    /// Follows the packet no farther than to whoever holds it.
    pub(super) fn until_held(&self) {
        if let Some(followed) = &mut self.0.borrow_mut().followed {
            followed.until_held = true;
        }
    }

    /// Ready when the followed packet, and every ICMP error about it, has come to its end.
    pub(super) fn ended(&self) -> Ended {
        Ended(self.clone())
    }

    /// Stops following; what is known of the packet.
    pub(super) fn unfollow(&self) -> Trace {
        self.0.borrow_mut().followed.take().map(|followed| followed.trace).unwrap_or_default()
    }
}

/// See [`Tap::ended`].
pub(super) struct Ended(Tap);

impl Future for Ended {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut heard = self.0.0.borrow_mut();
        let Some(followed) = &mut heard.followed else { return Poll::Ready(()) };
        let held = followed.until_held && followed.trace.held.is_some();
        if held || followed.trace.end.is_some() && followed.under_way.is_empty() {
            return Poll::Ready(());
        }
        followed.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Observer for Tap {
    fn note(&mut self, note: &Note<'_>) {
        let mut heard = self.0.borrow_mut();
        if let Some(sighting) = Sighting::of(note) {
            if let Some(reason) = sighting.dropped {
                *heard.drops.entry(reason).or_default() += 1;
                *heard.drops_at.entry(sighting.node).or_default().entry(reason).or_default() += 1;
            }
            if let Some(followed) = &mut heard.followed {
                followed.see(&sighting);
            }
        }
        if let Event::MappingEnded(ended) = note.event
            && heard.watched == Some((ended.mapping.protocol, ended.mapping.external))
        {
            heard.watched = None;
            heard.mapping_ended = Some(note.at);
        }
        heard.recorder.note(note);
    }
}

/// A note about a packet.
struct Sighting<'a> {
    node: NodeId,
    packet: PacketRef<'a>,
    dropped: Option<DropReason>,
    delivered: bool,
    held: bool,
    /// The mapping that it used.
    mapping: Option<MappingId>,
    at: Time,
    /// Where it came in, if it did.
    through: Option<InterfaceId>,
}

impl<'a> Sighting<'a> {
    fn of(note: &Note<'a>) -> Option<Sighting<'a>> {
        let (packet, dropped, delivered) = match note.event {
            Event::Sent { packet, fate: LinkFate::Dropped(reason), .. } => (packet, Some(reason), false),
            Event::Sent { packet, .. } => (packet, None, false),
            Event::Received { packet, outcome, .. } | Event::Released { packet, outcome } => match outcome {
                Outcome::Refused(refusal) => (packet, Some(refusal.reason), false),
                Outcome::Dropped(reason) => (packet, Some(reason), false),
                outcome => (packet, None, outcome == Outcome::Delivered),
            },
            Event::Dropped { packet, reason } => (packet, Some(reason), false),
            _ => return None,
        };
        let through = match note.event {
            Event::Received { interface, .. } => Some(interface),
            _ => None,
        };
        let held = matches!(note.event, Event::Received { outcome: Outcome::Held, .. });
        let mapping = match note.event {
            Event::Received { outcome, .. } | Event::Released { outcome, .. } => used(outcome),
            _ => None,
        };
        Some(Sighting { node: note.node, packet, dropped, delivered, held, mapping, at: note.at, through })
    }
}

/// The mapping that a packet used.
fn used(outcome: Outcome) -> Option<MappingId> {
    match outcome {
        Outcome::Translated(translation) => Some(translation.mapping),
        Outcome::Hairpinned { source, .. } => Some(source.mapping),
        Outcome::Refused(refusal) => refusal.mapping,
        Outcome::Delivered | Outcome::Held | Outcome::Routed | Outcome::Dropped(_) => None,
    }
}

impl Followed {
    fn see(&mut self, sighting: &Sighting<'_>) {
        let id = sighting.packet.id;
        self.recognise(sighting);
        let is_mine = |id: PacketId| self.trace.id == Some(id) || self.later.contains(&id);
        if is_mine(id) {
            self.see_itself(sighting);
        } else if sighting.packet.cause.is_some_and(is_mine) {
            self.see_effect(sighting);
        }
    }

    /// Takes note of a packet that is the one to be followed, or a later fragment of it.
    fn recognise(&mut self, sighting: &Sighting<'_>) {
        let begins = self.trace.id.is_none();
        if self.gathering && sighting.node == self.sender && sighting.packet.cause.is_none() {
            let id = *self.trace.id.get_or_insert(sighting.packet.id);
            self.later.extend((id != sighting.packet.id).then_some(sighting.packet.id));
            return;
        }
        if sighting.node != self.sender || sighting.packet.cause.is_some() || !begins && self.identification.is_none() {
            return;
        }
        let Ok(packet) = Packet::parse(sighting.packet.bytes.to_vec()) else { return };
        let identification = packet.fragment().map(|fragment| fragment.identification);
        if begins && (packet.source_endpoint(), packet.destination_endpoint()) == (self.source, self.destination) {
            self.trace.id = Some(sighting.packet.id);
            self.identification = identification;
        } else if packet.transport() == Transport::LaterFragment
            && identification == self.identification
            && (packet.source(), packet.destination()) == (self.source.ip(), self.destination.ip())
        {
            self.later.insert(sighting.packet.id);
        }
    }

    fn see_itself(&mut self, sighting: &Sighting<'_>) {
        let parsed = Packet::parse(sighting.packet.bytes.to_vec()).ok();
        // Later fragments have no ports to show, ICMP errors never have any.
        if let Some(packet) = parsed.filter(|packet| packet.transport() != Transport::LaterFragment) {
            self.trace.farthest = Some(packet.source_endpoint());
            self.trace.bytes = packet.into_bytes();
        }
        if sighting.held && self.trace.held.is_none() {
            self.trace.held = Some(sighting.node);
            self.wake();
        }
        self.trace.used.extend(sighting.mapping.map(|mapping| (sighting.node, mapping, sighting.at)));
        let farthest = self.trace.farthest.unwrap_or(self.source);
        let end = match sighting.dropped {
            Some(reason) => Some(End::Dropped(sighting.node, reason)),
            None => sighting.delivered.then_some(End::Delivered(sighting.node, farthest)),
        };
        if self.trace.end.is_none() && end.is_some() {
            self.trace.end = end;
            self.trace.last = Some(sighting.packet.id);
            self.trace.through = sighting.through;
            self.trace.ended = sighting.at;
            self.wake();
        }
    }

    fn see_effect(&mut self, sighting: &Sighting<'_>) {
        let id = sighting.packet.id;
        // It may come back in fragments, of which only the first shows what it is.
        let error = || match Packet::parse(sighting.packet.bytes.to_vec()).map(|packet| packet.transport()) {
            Ok(Transport::IcmpError(error)) => Some(Answer::Icmp(error)),
            Ok(Transport::Tcp { flags, .. }) if flags.rst => Some(Answer::Reset),
            _ => None,
        };
        let known = *self.under_way.entry(id).or_insert_with(error);
        if !sighting.delivered && sighting.dropped.is_none() {
            return;
        }
        self.under_way.remove(&id);
        if sighting.delivered && sighting.node == self.sender {
            self.trace.rejected = self.trace.rejected.or(known);
        }
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
