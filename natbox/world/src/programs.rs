//! What programs on a machine outside share with the world: its thread, its time and its chance. Their sockets are the
//! machine's own, of which nothing is known here.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;

use natbox_wire::Time;
use rand_pcg::Pcg64Mcg;

use crate::executor;
use crate::note::NodeId;
use crate::state::State;
use crate::stream::{dice, numbered};

/// The programs of a node, outlets among them: see [`World::programs`](crate::World::programs).
#[derive(Clone)]
pub struct Programs {
    state: Rc<RefCell<State>>,
    node: NodeId,
    streams: Rc<Cell<u64>>,
}

impl Programs {
    pub(crate) fn new(state: Rc<RefCell<State>>, node: NodeId) -> Programs {
        Programs { state, node, streams: Rc::default() }
    }

    /// The node's name.
    pub fn name(&self) -> String {
        self.state.borrow().node(self.node).name.to_string()
    }

    /// The world's time.
    pub fn now(&self) -> Time {
        self.state.borrow().now()
    }

    /// Waits until `deadline`; at once if it has passed.
    pub fn sleep_until(&self, deadline: Time) -> impl Future<Output = ()> + use<> {
        executor::sleep_until(self.state.clone(), None, deadline)
    }

    /// Runs a program beside the others.
    pub fn spawn(&self, program: impl Future<Output = ()> + 'static) {
        self.state.borrow().spawn(program);
    }

    /// A stream of chance of the node's own, another one at each call.
    pub fn random(&self) -> Pcg64Mcg {
        self.streams.set(self.streams.get() + 1);
        let state = self.state.borrow();
        let name = &state.node(self.node).name;
        dice(numbered(state.seed, &["host/", name, "/program"], self.streams.get()))
    }
}

impl std::fmt::Debug for Programs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Programs").field(&self.node).finish()
    }
}
