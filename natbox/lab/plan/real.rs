//! Which hosts are real while a scenario runs live.

use std::collections::BTreeSet;

use natbox_wire::DropReason;

use super::step::{Action, Goal, Place, Send, Step};
use super::{Host, Nat, Plan};
use crate::words::Rejection;

impl Plan {
    /// The hosts that are real while the scenario runs live: those that programs are started on, and of the others those
    /// without services whose packets are not made by hand.
    pub fn real_hosts(&self) -> BTreeSet<String> {
        let by_hand = by_hand(&self.nats, &self.hosts, &self.steps);
        let run: BTreeSet<&String> = self.steps.iter().filter_map(runs_on).collect();
        let is_real =
            |host: &&Host| run.contains(&host.name) || host.services.is_empty() && !by_hand.contains(&host.name);
        self.hosts.iter().filter(is_real).map(|host| host.name.clone()).collect()
    }

    /// The first step that starts a real program: the scenario can run live alone. None if it can run in virtual time too.
    pub fn needs_live(&self) -> Option<&Step> {
        self.steps.iter().find(|step| runs_on(step).is_some())
    }
}

/// The host that a step starts a program on.
fn runs_on(step: &Step) -> Option<&String> {
    if let Action::Run(run) = &step.action { Some(&run.on) } else { None }
}

fn sent(step: &Step) -> Option<&Send> {
    if let Action::Send(send) = &step.action { Some(send) } else { None }
}

/// The hosts that stay simulated while others are real: those that send what is made by hand, and those that it reaches,
/// whose kernels would answer in their own way; those that a packet is to find closed, as no note tells what a kernel
/// does with it; and those that move, whose namespaces would not know.
pub(super) fn by_hand(nats: &[Nat], hosts: &[Host], steps: &[Step]) -> BTreeSet<String> {
    let sends = steps.iter().filter_map(sent).filter(|send| !send.is_plain() || expects_closed(send));
    let ends = |send: &Send| {
        let sender = (!send.is_plain()).then(|| send.host.clone());
        reached(nats, hosts, steps, send).into_iter().chain(sender)
    };
    let moved = steps.iter().filter_map(|step| match &step.action {
        Action::Move(step) => Some(step.host.clone()),
        _ => None,
    });
    sends.flat_map(ends).chain(moved).collect()
}

/// The hosts that a packet may come to.
fn reached(nats: &[Nat], hosts: &[Host], steps: &[Step], send: &Send) -> Vec<String> {
    let called = |name: &String| hosts.iter().find(|host| host.name == *name);
    let named = match &send.to {
        Goal::Endpoint(Place::Name(name), _) => called(name),
        Goal::Endpoint(Place::Address(address), _) => {
            hosts.iter().find(|host| host.addresses().any(|own| own == *address))
        }
        Goal::Mapped(label) | Goal::Offender(label) => {
            let first = steps.iter().filter_map(sent).find(|send| send.label.as_ref() == Some(label));
            first.and_then(|send| called(&send.host))
        }
    };
    if let Some(host) = named {
        return vec![host.name.clone()];
    }
    // A NAT's address: whoever has something forwarded.
    let forwards = nats.iter().flat_map(|nat| &nat.forward).map(|forward| forward.to.clone());
    let asked = steps.iter().filter_map(|step| match &step.action {
        Action::Map(map) => Some(map.from.clone()),
        _ => None,
    });
    forwards.chain(asked).collect()
}

/// Whether a packet is to find its goal closed.
pub(crate) fn expects_closed(send: &Send) -> bool {
    send.expect.as_ref().is_some_and(|expect| {
        expect.dropped == Some(DropReason::PortUnreachable)
            || matches!(expect.rejected, Some(Rejection::PortUnreachable | Rejection::Rst))
    })
}
