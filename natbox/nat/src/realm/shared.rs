//! What both families of one NAT share.

use std::collections::VecDeque;
use std::sync::Arc;

use natbox_wire::{ControlEvent, ExplicitMapping, Time};
use rand_pcg::Pcg64Mcg;

use crate::Behavior;
use crate::timers::Timers;
use crate::uses::Uses;
use crate::verdict::{Ended, HoldId, Output};

/// What both families of one NAT share.
pub(crate) struct Shared {
    pub(crate) behavior: Arc<Behavior>,
    pub(crate) timers: Timers,
    /// Which rare axes are in use.
    pub(crate) uses: Uses,
    pub(crate) random: Pcg64Mcg,
    /// The time of the packet or the deadline that is being handled.
    pub(crate) now: Time,
    /// The number of the next mapping.
    pub(crate) next_id: u64,
    /// Endings that nobody has been told of yet.
    pub(crate) ended: Vec<Ended>,
    /// What nobody has asked for yet.
    pub(crate) output: VecDeque<Output>,
    /// The number of the next packet that is held.
    pub(crate) next_hold: u64,
    /// What happened to explicit mappings that nobody has been told of yet.
    pub(crate) control: Vec<(ExplicitMapping, ControlEvent)>,
}

impl Shared {
    /// A number for a packet that is held.
    pub(crate) fn hold(&mut self) -> HoldId {
        self.next_hold += 1;
        HoldId(self.next_hold)
    }
}
