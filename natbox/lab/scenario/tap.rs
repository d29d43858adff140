//! What the runner hears of the world: drops counted, one packet followed to its end, all else passed to the record.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use natbox_wire::{DropReason, IcmpError, Packet, Transport};
use natbox_world::note::{Event, LinkFate, NodeId, Note, Observer, Outcome, PacketId, PacketRef};

use crate::record::Recorder;

/// Hears the world's notes. Clones share what was heard.
#[derive(Clone)]
pub(super) struct Tap(Rc<RefCell<Heard>>);

struct Heard {
    recorder: Recorder,
    drops: BTreeMap<DropReason, u64>,
    followed: Option<Followed>,
}

/// A packet that is followed.
struct Followed {
    /// How to know it: where it is sent from and where to.
    sender: NodeId,
    source: SocketAddr,
    destination: SocketAddr,
    trace: Trace,
    /// Packets on its account that are still under way.
    under_way: BTreeSet<PacketId>,
    waker: Option<Waker>,
}

/// What is known of a packet that was followed.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    /// Its number, once it was seen.
    pub(super) id: Option<PacketId>,
    /// Its source, as the farthest node saw it.
    pub(super) farthest: Option<SocketAddr>,
    /// How it ended.
    pub(super) end: Option<End>,
    /// The ICMP error that came back to its sender.
    pub(super) rejected: Option<IcmpError>,
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
        Tap(Rc::new(RefCell::new(Heard { recorder, drops: BTreeMap::new(), followed: None })))
    }

    /// How many packets died of what.
    pub(super) fn drops(&self) -> BTreeMap<DropReason, u64> {
        self.0.borrow().drops.clone()
    }

    /// Follows the next packet that `sender` sends from `source` to `destination`.
    pub(super) fn follow(&self, sender: NodeId, source: SocketAddr, destination: SocketAddr) {
        let (trace, under_way) = (Trace::default(), BTreeSet::new());
        let followed = Followed { sender, source, destination, trace, under_way, waker: None };
        self.0.borrow_mut().followed = Some(followed);
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
        if followed.trace.end.is_some() && followed.under_way.is_empty() {
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
            }
            if let Some(followed) = &mut heard.followed {
                followed.see(&sighting);
            }
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
}

impl<'a> Sighting<'a> {
    fn of(note: &Note<'a>) -> Option<Sighting<'a>> {
        let (packet, dropped, delivered) = match note.event {
            Event::Sent { packet, fate: LinkFate::Dropped(reason), .. } => (packet, Some(reason), false),
            Event::Sent { packet, .. } => (packet, None, false),
            Event::Received { packet, outcome, .. } => match outcome {
                Outcome::Refused(refusal) => (packet, Some(refusal.reason), false),
                Outcome::Dropped(reason) => (packet, Some(reason), false),
                outcome => (packet, None, outcome == Outcome::Delivered),
            },
            Event::Dropped { packet, reason } => (packet, Some(reason), false),
            _ => return None,
        };
        Some(Sighting { node: note.node, packet, dropped, delivered })
    }
}

impl Followed {
    fn see(&mut self, sighting: &Sighting<'_>) {
        let id = sighting.packet.id;
        if self.trace.id.is_none() && self.is_it(sighting) {
            self.trace.id = Some(id);
        }
        if self.trace.id == Some(id) {
            self.see_itself(sighting);
        } else if self.trace.id.is_some() && sighting.packet.cause == self.trace.id {
            self.see_effect(sighting);
        }
    }

    fn is_it(&self, sighting: &Sighting<'_>) -> bool {
        let endpoints = |packet: Packet| (packet.source_endpoint(), packet.destination_endpoint());
        sighting.node == self.sender
            && sighting.packet.cause.is_none()
            && Packet::parse(sighting.packet.bytes.to_vec()).map(endpoints) == Ok((self.source, self.destination))
    }

    fn see_itself(&mut self, sighting: &Sighting<'_>) {
        let parsed = Packet::parse(sighting.packet.bytes.to_vec()).ok();
        let source = parsed.map(|packet| packet.source_endpoint());
        // Later fragments have no ports to show.
        if let Some(source) = source.filter(|source| source.port() != 0) {
            self.trace.farthest = Some(source);
        }
        let farthest = self.trace.farthest.unwrap_or(self.source);
        let end = match sighting.dropped {
            Some(reason) => Some(End::Dropped(sighting.node, reason)),
            None => sighting.delivered.then_some(End::Delivered(sighting.node, farthest)),
        };
        if self.trace.end.is_none() && end.is_some() {
            self.trace.end = end;
            self.wake();
        }
    }

    fn see_effect(&mut self, sighting: &Sighting<'_>) {
        let id = sighting.packet.id;
        if !sighting.delivered && sighting.dropped.is_none() {
            self.under_way.insert(id);
            return;
        }
        self.under_way.remove(&id);
        if sighting.delivered && sighting.node == self.sender {
            let parsed = Packet::parse(sighting.packet.bytes.to_vec()).map(|packet| packet.transport());
            if let Ok(Transport::IcmpError(error)) = parsed {
                self.trace.rejected.get_or_insert(error);
            }
        }
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
