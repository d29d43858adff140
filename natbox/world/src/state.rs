//! The world's state: nodes, networks, what is under way, and the one way by which packets get from node to node.
//!
//! Nodes never call one another. A node's packet goes through `State::transmit` into the queue of events and comes
//! out at the next node's `State::arrive`. Programs reach their host's sockets through `State::stack`.

mod ahead;
mod arrive;
mod change;
mod machine;
mod outlet;
mod outputs;
mod pace;
mod pings;
mod transmit;

use std::task::Waker;

use futures::executor::LocalSpawner;
use natbox_wire::{Offload, Packet, Time};
use rand_pcg::Pcg64Mcg;

use crate::gateway::Gateway;
use crate::network::Fabric;
use crate::note::{InterfaceId, NodeId, Observer, PacketId, PacketRef};
use crate::queue::{Queue, Ticket};
use crate::stack::Stack;
use crate::stream;

pub(crate) use ahead::bring;
pub(crate) use outlet::Door;
pub(crate) use pace::{Calls, Pace};

/// Calls that the programs of one host may make before the next event, unless somebody says otherwise.
const CALL_LIMIT: u64 = 1 << 20;
/// Events that may be pending at once, unless somebody says otherwise: some hundred megabytes of small packets.
const PENDING_LIMIT: usize = 1 << 20;

/// Room for so many nodes is made at first: most worlds are small.
const FIRST: usize = 8;

/// Everything but the programs.
pub(crate) struct State {
    pub(crate) seed: u64,
    now: Time,
    pub(crate) fabric: Fabric,
    pub(crate) nodes: Vec<Node>,
    queue: Queue<Pending>,
    pub(crate) observer: Option<Box<dyn Observer>>,
    /// Where packets' bytes are kept for their note while they are rewritten.
    scratch: Vec<u8>,
    pub(crate) statistics: Statistics,
    /// How many events may be pending.
    pub(crate) pending_limit: usize,
    /// Whether a program has been woken and not yet had its turn.
    woken: bool,
    /// How much programs do while no time passes.
    pub(crate) pace: Pace,
    /// Starts programs.
    pub(crate) spawner: LocalSpawner,
    /// What a world at wall-clock speed has beside the others.
    pub(crate) door: Option<Door>,
}

/// What a world has done so far. The same with and without an observer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Events that happened.
    pub events: u64,
    /// Packets that were made: sent by programs, hosts and routers.
    pub packets: u64,
    /// Packets that entered a link, counted at each link.
    pub sent: u64,
}

/// One node.
pub(crate) struct Node {
    pub(crate) name: Box<str>,
    /// Its interfaces have consecutive numbers, from this one on.
    pub(crate) first_interface: u32,
    pub(crate) interfaces: u32,
    /// When its timer is set for; `Time::MAX` when it is not.
    pub(crate) timer: Time,
    /// When its NAT wants to let packets go; `Time::MAX` when it does not.
    pub(crate) wake: Time,
    pub(crate) body: Body,
    /// Of a router, the pings to itself of which some fragments have come.
    pub(crate) pings: Option<Box<pings::RouterPings>>,
}

/// What a node is.
pub(crate) enum Body {
    /// The router of a public network.
    Core,
    /// A host.
    Host(Box<Host>),
    /// A gateway.
    Gateway(Box<Gateway>),
    /// A way to a machine that is not simulated.
    Outlet,
}

/// A host's sockets and dice.
pub(crate) struct Host {
    pub(crate) stack: Stack,
    /// How many streams of chance its programs have asked for.
    pub(crate) streams: u64,
    /// What its programs have called for since the last event.
    pub(crate) calls: Calls,
}

/// A packet under way.
#[derive(Clone)]
struct Flight {
    id: PacketId,
    cause: Option<PacketId>,
    bytes: Vec<u8>,
    offload: Offload,
}

impl Flight {
    fn new(id: PacketId, cause: Option<PacketId>, packet: Packet) -> Flight {
        let offload = packet.offload();
        Flight { id, cause, bytes: packet.into_bytes(), offload }
    }

    fn packet_ref(&self) -> PacketRef<'_> {
        PacketRef { id: self.id, cause: self.cause, bytes: &self.bytes }
    }
}

/// What the queue holds.
enum Pending {
    /// A packet comes to the end of a link, or of the first of two.
    Arrival(Place, Flight),
    /// A node's timer may be due.
    Timer(NodeId),
    /// A gateway's NAT may want to let packets go.
    Departure(NodeId),
    /// The timer of a gateway's own machine may be due.
    Machine(NodeId),
    /// Fragments of pings to a router may have waited long enough.
    Pings(NodeId),
    /// A program waits for this moment, of this node if of any.
    Wake(Waker, Option<NodeId>),
}

/// Where a packet is.
#[derive(Clone, Copy)]
enum Place {
    /// At the core router, through this attachment.
    Core(InterfaceId),
    /// At the switch, from and to these attachments.
    Switch(InterfaceId, Option<InterfaceId>),
    /// At this attachment's node.
    Node(InterfaceId),
}

impl State {
    pub(crate) fn new(seed: u64, spawner: LocalSpawner) -> State {
        State {
            seed,
            now: Time::ZERO,
            fabric: Fabric::new(),
            nodes: Vec::with_capacity(FIRST),
            queue: Queue::new(),
            observer: None,
            scratch: Vec::new(),
            statistics: Statistics::default(),
            pending_limit: PENDING_LIMIT,
            woken: false,
            pace: Pace::new(CALL_LIMIT),
            spawner,
            door: None,
        }
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    pub(crate) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    /// The time.
    pub(crate) fn now(&self) -> Time {
        self.now
    }

    /// Does something with a host's sockets, then sends what they send and sets the host's timer.
    ///
    /// # Panics
    ///
    /// If `node` is no host.
    pub(crate) fn stack<R>(&mut self, node: NodeId, f: impl FnOnce(&mut Stack, Time) -> R) -> R {
        let now = self.now;
        let result = f(&mut self.host(node).stack, now);
        self.flush(node);
        result
    }

    /// A stream of chance for a host's program, another one at each call.
    pub(crate) fn random(&mut self, node: NodeId) -> Pcg64Mcg {
        let host = self.host(node);
        host.streams += 1;
        let count = host.streams;
        let name = &self.nodes[node.0 as usize].name;
        stream::dice(stream::numbered(self.seed, &["host/", name, "/program"], count))
    }

    /// Wakes a program, of this node if of any, at `at`.
    pub(crate) fn wake_at(&mut self, at: Time, waker: Waker, node: Option<NodeId>) -> Ticket {
        self.queue.push(at, Pending::Wake(waker, node))
    }

    /// Another waker for the same moment.
    pub(crate) fn rewake(&mut self, ticket: Ticket, waker: &Waker) {
        if let Some(Pending::Wake(known, _)) = self.queue.get_mut(ticket) {
            known.clone_from(waker);
        }
    }

    /// Nobody waits any more.
    pub(crate) fn forget_wake(&mut self, ticket: Ticket) {
        self.queue.cancel(ticket);
    }
}

/// What comes next.
impl State {
    /// Lets events happen until a program has been woken, by the world or (as `woken` says) by an observer, or
    /// `deadline` is past. Says whether any did; takes from `budget` one for each.
    pub(crate) fn advance(&mut self, deadline: Time, budget: &mut u64, woken: &dyn Fn() -> bool) -> bool {
        self.woken = false;
        if self.door.is_some() {
            return self.live(deadline, woken);
        }
        let before = self.statistics.events;
        while *budget > 0 && !self.woken && !woken() && !self.queue.is_idle() && !self.is_overfull() {
            let Some((at, pending)) = self.queue.pop_until(deadline) else { break };
            self.look_ahead();
            let happened = self.happen(at, pending);
            *budget -= u64::from(happened);
            self.statistics.events += u64::from(happened);
        }
        if self.statistics.events > before {
            self.pace.event();
        }
        self.statistics.events > before
    }

    /// Whether more is pending than memory should be spent on.
    pub(crate) fn is_overfull(&self) -> bool {
        self.queue.is_over(self.pending_limit)
    }

    /// How many events may be pending between two.
    pub(crate) fn most_pending(&self) -> usize {
        self.pending_limit.min(Queue::<Pending>::MOST)
    }

    /// Moves the clock to `deadline`; what only observers ask for happens on the way.
    pub(crate) fn rest_until(&mut self, deadline: Time) {
        while let Some((at, pending)) = self.queue.pop_until(deadline) {
            self.happen(at, pending);
        }
        self.now = self.now.max(deadline);
    }

    /// One event; false if nothing was due after all.
    fn happen(&mut self, at: Time, pending: Pending) -> bool {
        match pending {
            Pending::Timer(node) => return self.timer(at, node),
            Pending::Departure(node) => return self.departure(at, node),
            Pending::Machine(node) => return self.machine_timer(at, node),
            Pending::Pings(node) => return self.pings_timer(at, node),
            Pending::Wake(waker, _) => {
                self.now = self.now.max(at);
                self.woken = true;
                waker.wake();
            }
            Pending::Arrival(place, flight) => {
                self.now = self.now.max(at);
                if let Some(door) = &mut self.door {
                    door.flying_bytes = door.flying_bytes.saturating_sub(flight.bytes.capacity());
                }
                self.arrive(place, flight);
            }
        }
        true
    }

    /// A node's timer. It may have been moved: earlier (this event is stale) or later (ask again).
    fn timer(&mut self, at: Time, node: NodeId) -> bool {
        if self.node(node).timer != at {
            return false;
        }
        self.node_mut(node).timer = Time::MAX;
        let due = match &self.node(node).body {
            Body::Host(host) => host.stack.poll_timeout(),
            Body::Gateway(gateway) => gateway.nat.poll_timeout(),
            Body::Core | Body::Outlet => None,
        };
        if due.is_none_or(|due| due > at) {
            self.set_timer(node);
            return false;
        }
        match &mut self.node_mut(node).body {
            Body::Host(host) => {
                host.stack.handle_timeout(at);
                self.now = self.now.max(at);
                self.flush(node);
                true
            }
            // Only observers want to hear of it, so the clock stays where it is. What others would see has its own event.
            _ => {
                if self.node(node).wake > at {
                    self.expire(node, at);
                }
                self.set_timer(node);
                false
            }
        }
    }

    /// Sets a node's timer for its next deadline, if that is earlier than what it is set for.
    ///
    /// A NAT ends its mappings when it next sees a packet; its timer is set only so that observers hear of it in time.
    #[inline]
    fn set_timer(&mut self, node: NodeId) {
        match &self.node(node).body {
            Body::Core | Body::Outlet => {}
            Body::Host(host) => {
                if let Some(due) = host.stack.poll_timeout() {
                    self.set_timer_for(node, due, false);
                }
            }
            Body::Gateway(_) => self.set_timers_of_gateway(node),
        }
    }

    fn set_timers_of_gateway(&mut self, node: NodeId) {
        self.set_wake(node);
        self.set_machine_timer(node);
        if self.observer.is_some()
            && let Body::Gateway(gateway) = &self.node(node).body
            && let Some(due) = gateway.nat.poll_timeout()
        {
            self.set_timer_for(node, due, true);
        }
    }

    fn set_timer_for(&mut self, node: NodeId, due: Time, background: bool) {
        let due = due.max(self.now);
        if due >= self.node(node).timer {
            return;
        }
        self.node_mut(node).timer = due;
        match background {
            true => self.queue.push_background(due, Pending::Timer(node)),
            false => drop(self.queue.push(due, Pending::Timer(node))),
        }
    }
}
