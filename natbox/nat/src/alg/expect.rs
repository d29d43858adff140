//! Packets that a payload has announced: whoever sends them is let in, whatever the filter says.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use natbox_wire::{Protocol, Time};

/// How long an announcement is believed: Linux's `ftp_exp_policy` and `tftp_exp_policy`, five minutes.
const LIFETIME: Duration = Duration::from_secs(300);
/// Announcements that are believed at a time, and of these, one internal address's.
const MAX: usize = 256;
const MAX_OF_ONE: usize = 32;

/// Where an announced packet goes to, and which address it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) protocol: Protocol,
    pub(super) external: SocketAddrV4,
    pub(super) remote: Ipv4Addr,
}

struct Expectation {
    internal: Ipv4Addr,
    /// The remote port, once a packet has come from it, where only one may.
    port: Option<u16>,
    /// Whether only one remote port may come.
    once: bool,
    deadline: Time,
}

/// What is expected.
#[derive(Default)]
pub(super) struct Expectations(BTreeMap<Key, Expectation>);

impl Expectations {
    /// Whether another announcement of this internal address can be believed.
    pub(super) fn has_room(&mut self, internal: Ipv4Addr, now: Time) -> bool {
        self.0.retain(|_, one| now < one.deadline);
        let own = self.0.values().filter(|one| one.internal == internal).count();
        self.0.len() < MAX && own < MAX_OF_ONE
    }

    /// Expects packets: of one remote port if `once`, else of any.
    pub(super) fn add(&mut self, key: Key, internal: Ipv4Addr, once: bool, now: Time) {
        self.0.insert(key, Expectation { internal, port: None, once, deadline: now + LIFETIME });
    }

    /// Whether a packet from this remote port was announced.
    pub(super) fn admits(&mut self, key: Key, port: u16, now: Time) -> bool {
        let Some(one) = self.0.get_mut(&key).filter(|one| now < one.deadline) else { return false };
        if one.once {
            one.port.get_or_insert(port);
        }
        one.port.is_none_or(|known| known == port)
    }
}
