//! A host of the world, as its programs see it. (The seam; the stack builder implements `natbox_host::Host` here.)

use std::cell::RefCell;
use std::rc::Rc;

use crate::note::NodeId;
use crate::state::State;

/// A virtual host.
#[derive(Clone)]
pub struct VirtualHost {
    state: Rc<RefCell<State>>,
    node: NodeId,
}

impl VirtualHost {
    pub(crate) fn new(state: Rc<RefCell<State>>, node: NodeId) -> VirtualHost {
        VirtualHost { state, node }
    }

    /// The node that this host is.
    pub fn node(&self) -> NodeId {
        self.node
    }
}
