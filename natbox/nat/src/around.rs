//! What stands around the translation: outside hosts that go by other addresses inside (Twice NAT, RFC 2663 section
//! 4.3), and destinations to which nothing is translated (RFC 6888 REQ-6).
//!
//! *Aliases* are a second translation on the inner face of the box, without state: one address for one. On the way out
//! the destination becomes the host's own address, on the way in the source its alias; within ICMP errors the quoted
//! packet likewise, and the source of the error if it is the host's own. The NAT between knows the host by its own
//! address alone, even where a host inside has the same. A packet from inside to that address itself reaches the host,
//! and is answered by its alias.
//!
//! *Bypass*: packets from inside to such a destination leave as they are, and what comes from there for any but the
//! box's own external addresses goes inside as it is, ICMP errors about such packets too. No state, no filter, no
//! `outbound` rules: the box is a router there. Nothing in RFC 6888 asks for a filter, and whoever lists a
//! destination trusts it; that the outside has a route to the inside is its business.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use natbox_wire::{Packet, Time};

use crate::Nat;
use crate::behavior::{Alias, Behavior};
use crate::verdict::{HoldId, Output, Side, Verdict};

/// The aliases of one box, both ways. Of two with one address the first counts.
#[derive(Clone, Debug)]
pub(crate) struct Aliases {
    by_inside: Vec<(IpAddr, IpAddr)>,
    by_outside: Vec<(IpAddr, IpAddr)>,
    /// By which addresses the inside called an outside host, in packets that are held and were renamed: a host answers
    /// to its own address too, so that the name cannot be told from what the packet has become.
    called: BTreeMap<HoldId, Called>,
}

/// The addresses of a packet from inside that renaming may change.
#[derive(Clone, Copy, Debug)]
struct Called {
    destination: IpAddr,
    quoted: Option<IpAddr>,
}

impl Aliases {
    /// `None` if there are none.
    pub(crate) fn of(aliases: &[Alias]) -> Option<Box<Aliases>> {
        let sorted = |pairs: Vec<(IpAddr, IpAddr)>| {
            let mut pairs = pairs;
            pairs.sort_by_key(|(from, _)| *from);
            pairs.dedup_by_key(|(from, _)| *from);
            pairs
        };
        let by_inside = sorted(aliases.iter().map(|one| (one.inside, one.outside)).collect());
        let by_outside = sorted(aliases.iter().map(|one| (one.outside, one.inside)).collect());
        (!by_inside.is_empty()).then(|| Box::new(Aliases { by_inside, by_outside, called: BTreeMap::new() }))
    }

    /// Replaces all, but for what is held.
    pub(crate) fn replace(known: &mut Option<Box<Aliases>>, aliases: &[Alias]) {
        let called = known.take().map(|known| known.called).filter(|called| !called.is_empty());
        *known = Aliases::of(aliases);
        if let Some(called) = called {
            let empty = || Box::new(Aliases { by_inside: Vec::new(), by_outside: Vec::new(), called: BTreeMap::new() });
            known.get_or_insert_with(empty).called = called;
        }
    }

    /// What an address is called on the other side.
    pub(crate) fn across(&self, address: IpAddr, from: Side) -> IpAddr {
        let pairs = if from == Side::Inside { &self.by_inside } else { &self.by_outside };
        pairs.binary_search_by_key(&address, |(from, _)| *from).map_or(address, |at| pairs[at].1)
    }

    /// Whether crossing from this side would change a packet.
    pub(crate) fn change(&self, packet: &Packet, from: Side) -> bool {
        let address = if from == Side::Inside { packet.destination() } else { packet.source() };
        let quoted =
            packet.quoted().map(|quoted| if from == Side::Inside { quoted.source } else { quoted.destination });
        self.across(address, from) != address || quoted.is_some_and(|one| self.across(one.ip(), from) != one.ip())
    }

    /// Gives outside hosts their names of the other side, in a packet that comes from `from`.
    pub(crate) fn translate(&self, packet: &mut Packet, from: Side) {
        let across = |one: SocketAddr| SocketAddr::new(self.across(one.ip(), from), one.port());
        let quoted = packet.quoted();
        match from {
            Side::Inside => {
                packet.rewrite_destination(across(packet.destination_endpoint()));
                quoted.inspect(|quoted| packet.rewrite_quoted_source(across(quoted.source)));
            }
            Side::Outside => {
                packet.rewrite_source(across(packet.source_endpoint()));
                quoted.inspect(|quoted| packet.rewrite_quoted_destination(across(quoted.destination)));
            }
        }
    }

    /// Names the outside hosts in what the NAT has kept or made itself, as the side wants it that it goes to, or that
    /// it came from and dies on.
    pub(crate) fn translate_output(&mut self, output: &mut Output) {
        let called = match output {
            Output::Release { hold, .. } | Output::Discard { hold, .. } | Output::Joined { hold } => {
                self.called.remove(hold)
            }
            Output::Send { .. } => None,
        };
        match output {
            Output::Release { from: Side::Outside, packet, verdict: Verdict::Forward(_), .. }
            | Output::Send { to: Side::Inside, packet, .. } => self.translate(packet, Side::Outside),
            Output::Discard { packet, .. } => called.into_iter().for_each(|called| called.restore(packet)),
            _ => {}
        }
    }

    /// Forgets what is held.
    pub(crate) fn forget(&mut self) {
        self.called.clear();
    }
}

impl Called {
    fn of(packet: &Packet) -> Called {
        Called { destination: packet.destination(), quoted: packet.quoted().map(|quoted| quoted.source.ip()) }
    }

    /// Undoes the way out.
    fn restore(self, packet: &mut Packet) {
        let quoted = packet.quoted().zip(self.quoted);
        packet.rewrite_destination(SocketAddr::new(self.destination, packet.destination_endpoint().port()));
        quoted
            .inspect(|(quoted, address)| packet.rewrite_quoted_source(SocketAddr::new(*address, quoted.source.port())));
    }
}

impl Nat {
    /// A packet of a box with aliases, or with destinations that it does not translate.
    #[cold]
    pub(crate) fn around(&mut self, from: Side, packet: &mut Packet, now: Time) -> Verdict {
        if is_bypassed(&self.shared.behavior, &self.external, packet, from) {
            return Verdict::Pass;
        }
        match from {
            Side::Inside if self.aliases.as_ref().is_some_and(|aliases| aliases.change(packet, from)) => {
                let before = packet.clone();
                self.rename(packet, from);
                let verdict = self.cross(from, packet, now);
                if let (Verdict::Hold(hold), Some(aliases)) = (verdict, &mut self.aliases) {
                    aliases.called.insert(hold, Called::of(&before));
                }
                if matches!(verdict, Verdict::Drop(_) | Verdict::Hold(_)) {
                    *packet = before;
                }
                verdict
            }
            Side::Inside => self.cross(from, packet, now),
            Side::Outside => {
                let verdict = self.cross(from, packet, now);
                if matches!(verdict, Verdict::Forward(_) | Verdict::Pass) {
                    self.rename(packet, from);
                }
                verdict
            }
        }
    }

    fn rename(&self, packet: &mut Packet, from: Side) {
        if let Some(aliases) = &self.aliases {
            aliases.translate(packet, from);
        }
    }

    /// The address outside that a packet from inside to `destination` is for, which is what it must be routed by: another
    /// one where that is an alias (RFC 2663 section 4.3).
    pub fn outside_of(&self, destination: IpAddr) -> IpAddr {
        self.aliases.as_ref().map_or(destination, |aliases| aliases.across(destination, Side::Inside))
    }
}

/// Whether a packet is for, or from, or an error about a packet to, a destination that is bypassed.
pub(crate) fn is_bypassed(behavior: &Behavior, external: &[IpAddr], packet: &Packet, from: Side) -> bool {
    let listed = |address: IpAddr| behavior.bypass.iter().any(|net| net.contains(&address));
    match from {
        Side::Inside => listed(packet.destination()) && !external.contains(&packet.destination()),
        Side::Outside => {
            let about = packet.quoted().is_some_and(|quoted| listed(quoted.destination.ip()));
            (about || listed(packet.source())) && !external.contains(&packet.destination())
        }
    }
}
