//! What the NAT remembers of each internal address: its external address, and how much of everything it has.
//!
//! Kept only by behaviours that ask for it. Where counters, conflicts or rates belong to hosts, one that has nothing is
//! remembered for a while: [`IDLE`] of them at most, those that have had nothing for longest forgotten first.

use std::collections::VecDeque;
use std::time::Duration;

use hashbrown::HashTable;
use natbox_wire::{Protocol, Time};
use slab::Slab;

use crate::key::{Address, Hash};
use crate::ports::blocks::Blocks;
use crate::ports::choose::Last;
use crate::ports::evict::Oldest;
use crate::record::NONE;

/// Idle addresses that are remembered.
const IDLE: usize = 1 << 16;

/// An internal address.
pub(crate) struct Host<A> {
    pub(crate) address: A,
    /// The index of the external address that it is paired with.
    pub(crate) external: u32,
    pub(crate) mappings: u32,
    pub(crate) sessions: u32,
    /// How often it has begun to have nothing.
    rests: u32,
    /// What few behaviours need.
    more: Option<Box<More>>,
}

/// What few behaviours need to know of a host.
#[derive(Default)]
pub(crate) struct More {
    /// How often its port was taken.
    pub(crate) conflicts: usize,
    /// When it got its latest mappings: those of the last second, for a limit of new ones.
    recent: VecDeque<Time>,
    /// Its own counters, by protocol.
    pub(crate) last: [Last; 3],
    pub(crate) blocks: Blocks,
    /// Its own ports in use, and dynamic ones, by protocol (RFC 7422).
    own_ports: [u32; 3],
    dynamic_ports: [u32; 3],
    /// Its mappings by age, where one may have to give way.
    pub(crate) oldest: Oldest,
}

impl More {
    /// Uses one port more, a dynamic one or its own.
    pub(crate) fn use_planned(&mut self, protocol: usize, dynamic: bool) {
        let ports = if dynamic { &mut self.dynamic_ports } else { &mut self.own_ports };
        ports[protocol] += 1;
    }

    /// Uses one less.
    pub(crate) fn release_planned(&mut self, protocol: usize, dynamic: bool) {
        let ports = if dynamic { &mut self.dynamic_ports } else { &mut self.own_ports };
        ports[protocol] = ports[protocol].saturating_sub(1);
    }
}

impl<A> Host<A> {
    /// What few behaviours need; made when first asked for.
    pub(crate) fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// How often its port was taken.
    pub(crate) fn conflicts(&self) -> usize {
        self.more.as_ref().map_or(0, |more| more.conflicts)
    }

    /// How many mappings it got within the last second.
    pub(crate) fn new_ones(&mut self, now: Time) -> usize {
        let recent = &mut self.more().recent;
        while recent.front().is_some_and(|at| *at + Duration::from_secs(1) <= now) {
            recent.pop_front();
        }
        recent.len()
    }

    /// Notes that it got a mapping, for [`Host::new_ones`].
    pub(crate) fn got_one(&mut self, now: Time) {
        self.more().recent.push_back(now);
    }

    /// How many ports of its own, and dynamic ones, it uses of a protocol (RFC 7422).
    pub(crate) fn planned(&self, protocol: usize) -> (u32, u32) {
        self.more.as_ref().map_or((0, 0), |more| (more.own_ports[protocol], more.dynamic_ports[protocol]))
    }

    /// Forgets what it has, but not what has happened to it.
    pub(crate) fn reset(&mut self) {
        (self.external, self.mappings, self.sessions) = (NONE, 0, 0);
        if let Some(more) = &mut self.more {
            more.blocks = Blocks::default();
            (more.own_ports, more.dynamic_ports) = ([0; 3], [0; 3]);
        }
    }

    /// Forgets in which order its mappings would end.
    pub(crate) fn forget_order(&mut self) {
        if let Some(more) = &mut self.more {
            more.oldest = Oldest::default();
        }
    }

    fn has_nothing(&self) -> bool {
        self.mappings == 0 && self.sessions == 0
    }
}

/// Internal addresses.
pub(crate) struct Hosts<A> {
    slots: Slab<Host<A>>,
    by_address: HashTable<u32>,
    /// Whether hosts that have nothing are remembered.
    remembers: bool,
    /// Addresses that had nothing when they were put here, with the count of their rests.
    idle: VecDeque<(u32, u32)>,
    hash: Hash,
}

impl<A: Address> Hosts<A> {
    pub(crate) fn new(hash: Hash, remembers: bool) -> Hosts<A> {
        Hosts { slots: Slab::new(), by_address: HashTable::new(), remembers, idle: VecDeque::new(), hash }
    }

    /// Whether hosts that have nothing are remembered.
    pub(crate) fn remembers(&self) -> bool {
        self.remembers
    }

    pub(crate) fn find(&self, address: A) -> Option<&Host<A>> {
        let index = self.index(address)?;
        self.slots.get(index as usize)
    }

    pub(crate) fn find_mut(&mut self, address: A) -> Option<&mut Host<A>> {
        let index = self.index(address)?;
        self.slots.get_mut(index as usize)
    }

    fn index(&self, address: A) -> Option<u32> {
        let is_it = |index: &u32| self.slots[*index as usize].address == address;
        self.by_address.find(self.hash.address(address), is_it).copied()
    }

    /// The host of this address, made if it is new. One that is left with nothing must be given to [`Hosts::rest`].
    pub(crate) fn meet(&mut self, address: A) -> &mut Host<A> {
        let index = self.index(address).unwrap_or_else(|| self.add(address));
        &mut self.slots[index as usize]
    }

    fn add(&mut self, address: A) -> u32 {
        let host = Host { address, external: NONE, mappings: 0, sessions: 0, rests: 0, more: None };
        let index = self.slots.insert(host) as u32;
        let (hash, slots) = (&self.hash, &self.slots);
        self.by_address
            .insert_unique(hash.address(address), index, |index| hash.address(slots[*index as usize].address));
        index
    }

    /// Forgets a host if it has nothing: at once, or later.
    pub(crate) fn rest(&mut self, address: A) {
        let Some(index) = self.index(address) else { return };
        let host = &mut self.slots[index as usize];
        if !host.has_nothing() {
            return;
        }
        if !self.remembers {
            return self.forget(index, address);
        }
        host.rests = host.rests.wrapping_add(1);
        self.idle.push_back((index, host.rests));
        while self.idle.len() > IDLE {
            let Some((index, rests)) = self.idle.pop_front() else { break };
            let forgotten = self.slots.get(index as usize).filter(|host| host.rests == rests && host.has_nothing());
            if let Some(address) = forgotten.map(|host| host.address) {
                self.forget(index, address);
            }
        }
    }

    fn forget(&mut self, index: u32, address: A) {
        self.slots.remove(index as usize);
        if let Ok(entry) = self.by_address.find_entry(self.hash.address(address), |other| *other == index) {
            entry.remove();
        }
    }

    /// Every host, in no order that means anything but the same in every run.
    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut Host<A>> {
        self.slots.iter_mut().map(|(_, host)| host)
    }
}

/// A protocol's place among three.
pub(crate) fn place(protocol: Protocol) -> usize {
    protocol as usize
}
