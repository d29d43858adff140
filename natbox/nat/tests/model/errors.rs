//! ICMP errors about packets that were delivered: a property of what comes out. It is the error about the packet as its
//! sender knows it, on a mapping that the NAT shows to have a session for it; nothing of the NAT changes by it.

use std::net::{IpAddr, SocketAddr};

use natbox_nat::behavior::*;
use natbox_nat::{MappingId, MappingView, Refusal, Side, Translation, Verdict};
use natbox_wire::{DropReason, IcmpError, Packet, build};

use crate::axes::address;
use crate::common::check;
use crate::{Bench, Flow, Seen, collect};

impl Bench {
    /// An error about the packet delivered so long ago, from its receiver or from a router on the way to it.
    pub(crate) fn error(&mut self, inbound: bool, about: usize, router: bool, kind: IcmpError) {
        let seen = if inbound { &self.outside } else { &self.inside };
        let Some(seen) = seen.iter().rev().nth(about).cloned() else { return };
        // What is due is over before the error comes: the NAT shows what it has then.
        let told = collect(|ended| self.nat.handle_timeout(self.now, ended));
        self.model.expire(self.now);
        assert_eq!(told, self.model.ended());
        let network = if inbound { 192 } else { 10 };
        let by = if router { address(self.ipv6, network, 77) } else { seen.packet.destination() };
        let Some(before) = build::icmp_error(kind, by, &seen.packet) else { return };
        let from = if inbound { Side::Outside } else { Side::Inside };
        let mut after = before.clone();
        let verdict = self.drive(from, &mut after, false);
        check(&before, &after, verdict);
        let outcome = if inbound { self.comes_in(by, &seen) } else { self.goes_out(by, &seen, verdict) };
        let (expected, packet) = match outcome {
            Ok((verdict, by, flow)) => (verdict, quoting(kind, by, flow, &seen.packet)),
            Err(refusal) => (Verdict::Drop(refusal), before.clone()),
        };
        assert_eq!(verdict, expected, "{before:?} from {from:?}");
        self.compare(from, verdict, packet, &after);
    }

    /// The mapping at an external endpoint, if it has a session with the remote.
    fn session(&self, of: &Flow, external: SocketAddr, remote: SocketAddr) -> Result<MappingView, Refusal> {
        let sessions = self.nat.sessions();
        let with = |id: MappingId| sessions.iter().any(|one| (one.mapping, one.remote) == (id, of.remote(remote)));
        let at_it = |one: &MappingView| (one.protocol, one.external) == (of.protocol, external) && with(one.id);
        self.nat.mappings().into_iter().find(at_it).ok_or(no(None, DropReason::IcmpNoSession))
    }

    fn comes_in(&self, by: IpAddr, seen: &Seen) -> Result<(Verdict, IpAddr, Flow), Refusal> {
        let (rules, flow) = (self.nat.behavior(), &seen.flow);
        if rules.icmp_error.inbound == IcmpErrors::Drop {
            return Err(no(None, DropReason::IcmpErrorOff));
        }
        let on = self.session(flow, flow.source, flow.destination)?;
        let stranger = rules.icmp_source_filter == Switch::On && by != flow.destination.ip();
        let verdict = Verdict::Forward(told(&on));
        if stranger { Err(no(Some(&on), DropReason::Filtered)) } else { Ok((verdict, by, flow.from(on.internal))) }
    }

    /// Of several mappings with the same remote, the engine may take any: which it was, `verdict` says.
    fn goes_out(&self, by: IpAddr, seen: &Seen, verdict: Verdict) -> Result<(Verdict, IpAddr, Flow), Refusal> {
        let (rules, flow) = (self.nat.behavior(), &seen.flow);
        let translates = self.model.translates;
        let back = translates && self.nat.external().contains(&flow.source.ip());
        if rules.icmp_error.outbound == IcmpErrors::Drop {
            return Err(no(None, DropReason::IcmpErrorOff));
        }
        if back && *rules.hairpin.of(flow.protocol) == Hairpin::Off {
            return Err(no(None, DropReason::HairpinOff));
        }
        let mine = self.nat.mappings().into_iter().filter(|one| {
            let mine = (one.protocol, one.internal) == (flow.protocol, flow.destination);
            mine && self.session(flow, one.external, flow.source).is_ok()
        });
        let outcome = |own: MappingView| {
            let (source, by) = (told(&own), if translates { own.external.ip() } else { by });
            let flow = flow.to(own.external);
            if !back {
                return Ok((Verdict::Forward(source), by, flow));
            }
            let other = self.session(&flow, flow.source, own.external)?;
            let destination = told(&other);
            match rules.icmp_error.inbound {
                IcmpErrors::Drop => Err(no(Some(&other), DropReason::IcmpErrorOff)),
                _ => Ok((Verdict::Hairpin { source, destination }, by, flow.from(other.internal))),
            }
        };
        let all: Vec<_> = mine.map(outcome).collect();
        let is_it = |one: &&Result<(Verdict, IpAddr, Flow), Refusal>| match one {
            Ok((told, ..)) => *told == verdict,
            Err(refusal) => Verdict::Drop(*refusal) == verdict,
        };
        all.iter().find(is_it).or(all.first()).copied().unwrap_or(Err(no(None, DropReason::IcmpNoSession)))
    }
}

/// The error about a packet of this flow, with the identification that the box has given it.
fn quoting(kind: IcmpError, by: IpAddr, flow: Flow, seen: &Packet) -> Packet {
    let mut offender = flow.packet();
    if let Some(identification) = seen.identification() {
        offender.rewrite_identification(identification);
    }
    build::icmp_error(kind, by, &offender).expect("an offender that may be answered")
}

fn told(on: &MappingView) -> Translation {
    Translation { mapping: on.id, new_mapping: false, quoted: true }
}

fn no(on: Option<&MappingView>, reason: DropReason) -> Refusal {
    Refusal { reason, mapping: on.map(|on| on.id), answer: None }
}
