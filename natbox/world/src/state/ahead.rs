//! In a large world neighbouring events concern nodes that have nothing to do with one another, and hardly anything of a
//! node is in a near cache when its turn comes. So the nodes of the next events are brought near together: the processor
//! then waits for the memory of many at once instead of one after the other.
//!
//! Changes nothing, and decides nothing: whom it brings near in vain costs a little time, whom it misses is waited for.
//! Goes from pointer to pointer in steps, each for all nodes before the next: what one step asks for is there in the next.

use std::task::Waker;

use prefetch_index::prefetch_index;

use super::{Body, Node, Pending, Place, State};
use crate::network::{Fabric, raw_destination};
use crate::note::InterfaceId;
use crate::queue::BATCH;

/// Bytes that the processor fetches at once.
const LINE_BYTES: usize = 64;
/// Of a packet this much is brought near: headers and a short payload.
const HEAD_BYTES: usize = 4 * LINE_BYTES;
/// Of a node's interfaces this many are brought near: a gateway's two.
const INTERFACES: u32 = 2;

/// Nodes or interfaces by number.
#[derive(Default)]
struct Several {
    numbers: [u32; BATCH],
    count: usize,
}

impl Several {
    fn push(&mut self, number: u32) {
        if let Some(place) = self.numbers.get_mut(self.count) {
            *place = number;
            self.count += 1;
        }
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        self.numbers[..self.count].iter().map(|number| *number as usize)
    }
}

/// Brings a value near, or its first line.
pub(crate) fn bring<T>(value: &T) {
    prefetch_index(std::slice::from_ref(value), 0);
}

impl State {
    /// Brings near what the events need that have come near in the queue, if there are any: in a large world alone.
    #[inline]
    pub(super) fn look_ahead(&mut self) {
        if self.queue.has_fresh() {
            self.bring_fresh();
        }
    }

    #[inline(never)]
    fn bring_fresh(&mut self) {
        let State { queue, fabric, nodes, .. } = self;
        let (mut cores, mut through, mut concerned) = (Several::default(), Several::default(), Several::default());
        let mut heads: [&[u8]; BATCH] = [&[]; BATCH];
        for (event, head) in queue.fresh().zip(&mut heads) {
            match event {
                Pending::Arrival(place, flight) => {
                    let (Place::Core(interface) | Place::Node(interface) | Place::Switch(interface, _)) = *place;
                    prefetch_index(&fabric.interfaces, interface.0 as usize);
                    (0..HEAD_BYTES).step_by(LINE_BYTES).for_each(|at| prefetch_index(&flight.bytes, at));
                    if let Place::Core(_) = place {
                        *head = &flight.bytes;
                        cores.push(interface.0);
                    } else {
                        through.push(interface.0);
                    }
                }
                Pending::Wake(waker, node) => {
                    bring_program(waker);
                    node.iter().for_each(|node| concerned.push(node.0));
                }
                _ => {}
            }
        }
        let destinations = destinations(fabric, &cores, heads.iter().filter(|head| !head.is_empty()));
        through.iter().filter_map(|at| fabric.interfaces.get(at)).for_each(|known| concerned.push(known.node.0));
        destinations.iter().for_each(|at| prefetch_index(&fabric.interfaces, at));
        bring_nodes(fabric, nodes, &concerned);
        destinations.iter().filter_map(|at| fabric.interfaces.get(at)).for_each(|known| known.bring_link());
        let mut neighbours = Several::default();
        for interface in concerned.iter().filter_map(|at| neighbour(fabric, nodes.get(at)?)) {
            prefetch_index(&fabric.interfaces, interface.0 as usize);
            neighbours.push(interface.0);
        }
        let mut others = Several::default();
        neighbours.iter().filter_map(|at| fabric.interfaces.get(at)).for_each(|known| others.push(known.node.0));
        bring_nodes(fabric, nodes, &others);
    }
}

/// Brings near what the executor keeps of the program that is to be woken.
fn bring_program(waker: &Waker) {
    const NOWHERE: &[u8] = &[];
    // What is fetched in advance is not looked at, so any distance will do; no reference leads to where wakers point.
    let distance = waker.data().addr().wrapping_sub(NOWHERE.as_ptr().addr());
    prefetch_index(NOWHERE, distance);
    prefetch_index(NOWHERE, distance.wrapping_add(LINE_BYTES));
}

/// The interfaces that the core router sends packets to, which came through `cores` in this order.
fn destinations<'a>(fabric: &Fabric, cores: &Several, heads: impl Iterator<Item = &'a &'a [u8]>) -> Several {
    let mut found = Several::default();
    for (at, bytes) in cores.iter().zip(heads) {
        let network = fabric.interfaces.get(at).and_then(|known| fabric.networks.get(known.network.0 as usize));
        let way = network.and_then(|network| network.routes.find(raw_destination(bytes)?));
        way.into_iter().for_each(|to| found.push(to.0));
    }
    found
}

/// Who is on a node's local network beside it: of a host the gateway, of a gateway the last host.
fn neighbour(fabric: &Fabric, node: &Node) -> Option<InterfaceId> {
    let (own, is_gateway) = match &node.body {
        Body::Gateway(gateway) => (gateway.inside, true),
        Body::Host(_) => (InterfaceId(node.first_interface), false),
        Body::Core | Body::Outlet => return None,
    };
    let network = fabric.networks.get(fabric.interfaces.get(own.0 as usize)?.network.0 as usize)?;
    let other = if is_gateway { network.last_attached() } else { network.way_out() };
    other.filter(|other| *other != own)
}

/// Brings nodes near, with their interfaces and networks.
fn bring_nodes(fabric: &Fabric, nodes: &[Node], several: &Several) {
    let known = || several.iter().filter_map(|at| nodes.get(at));
    several.iter().for_each(|at| prefetch_index(nodes, at));
    for node in known() {
        let last = node.first_interface + node.interfaces.min(INTERFACES);
        (node.first_interface..last).for_each(|at| prefetch_index(&fabric.interfaces, at as usize));
        match &node.body {
            Body::Host(host) => host.bring(0),
            Body::Gateway(gateway) => gateway.bring(0),
            Body::Core | Body::Outlet => {}
        }
    }
    for step in 1..=3 {
        for node in known() {
            match &node.body {
                Body::Host(host) => host.bring(step),
                Body::Gateway(gateway) => gateway.bring(step),
                Body::Core | Body::Outlet => continue,
            }
            if step < 3 {
                let last = node.first_interface + node.interfaces.min(INTERFACES);
                (node.first_interface..last).for_each(|at| bring_interface(fabric, InterfaceId(at), step));
            }
        }
    }
}

fn bring_interface(fabric: &Fabric, interface: InterfaceId, step: u32) {
    let Some(known) = fabric.interfaces.get(interface.0 as usize) else { return };
    if step == 1 {
        prefetch_index(&known.addresses, 0);
        known.bring_link();
        return prefetch_index(&fabric.networks, known.network.0 as usize);
    }
    if let Some(network) = fabric.networks.get(known.network.0 as usize) {
        network.bring();
    }
}

impl super::Host {
    fn bring(&self, step: u32) {
        if step == 0 {
            bring(&self.calls);
        }
        self.stack.bring(step);
    }
}
