//! `send`: one packet, followed to its end.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::select;
use natbox_host::{Host as _, UdpSocket as _};
use natbox_wire::{Packet, Time, Word};
use natbox_world::Stalled;

use super::craft::rejection;
use super::shown::{exact, nanos, shown};
use super::tap::{End, Trace};
use super::{Report, Runner};
use crate::anyhost::AnyHost;
use crate::plan::message::Message;
use crate::plan::step::{EndpointPattern, ExpectMapped, ExpectSend, Goal, PATIENCE, Place, Send};
use crate::words::{Parity, PortClass};

impl Runner<'_> {
    pub(super) fn send(&mut self, send: &Send) -> Result<Report, Stalled> {
        let (host, from, to) = match self.endpoints(send) {
            Ok(endpoints) => endpoints,
            Err(report) => return Ok(report),
        };
        let Some(node) = self.built.node(&send.host) else {
            return Ok(Report::impossible(format!("no host `{}`", send.host)));
        };
        self.tap.follow(node, from, to);
        if send.expect.as_ref().is_some_and(|expect| expect.held.is_some()) {
            self.tap.until_held();
        }
        let begun = self.built.world.now();
        let sent = match send.is_plain() {
            true => self.send_through_socket(send, &host, from, to)?,
            false => self.send_by_hand(send, &host, from, to)?,
        };
        let mut trace = self.tap.unfollow();
        if sent.is_ok() && self.owns(&Place::Name(send.host.clone()), to.ip()) {
            trace.farthest.get_or_insert(from);
            trace.end.get_or_insert(End::Delivered(node, from));
        }
        if self.stayed_inside(&trace) {
            trace.farthest = None;
        }
        if let (Some(label), Some(mapped)) = (&send.label, trace.farthest) {
            self.labels.insert(label.clone(), mapped);
        }
        if let Some(label) = &send.label {
            self.seen.insert(label.clone(), trace.bytes.clone());
        }
        let mut report = match sent {
            Err(error) if trace.end.is_none() => Report::impossible(format!("cannot be sent: {error}")),
            _ => self.told(&trace),
        };
        report.packet = trace.last.or(trace.id);
        report.fact("source", told(from));
        report.fact("destination", told(to));
        if let Some(expect) = &send.expect {
            self.judge(&mut report, &trace, expect, begun);
            self.judge_lifetimes(&mut report, &trace, expect);
            if let Some(mapped) = &expect.mapped {
                let internal = match send.message {
                    Message::Echo { identifier, .. } => identifier.unwrap_or(to.port()),
                    _ => from.port(),
                };
                self.judge_mapped(&mut report, trace.farthest, mapped, internal);
            }
        }
        Ok(report)
    }

    /// As any program sends it; why it cannot, if it cannot.
    fn send_through_socket(
        &mut self,
        send: &Send,
        host: &AnyHost,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Result<Result<(), String>, Stalled> {
        let Some(socket) = self.sockets.get(&send.host, from) else {
            return Ok(Err(format!("something else has {from}")));
        };
        let (ended, payload) = (self.tap.ended(), send.carried());
        // What a host sends to itself is there at once, and no interface sees it.
        let to_itself = self.owns(&Place::Name(send.host.clone()), to.ip());
        let patience = if to_itself { Duration::ZERO } else { PATIENCE };
        let sent = self.built.world.run_until(async {
            socket.set_ttl(send.ttl)?;
            socket.send_to(&payload, to).await?;
            let patience = Box::pin(host.sleep(patience));
            select(ended, patience).await;
            Ok::<(), std::io::Error>(())
        })?;
        Ok(sent.map_err(|error| error.to_string()))
    }

    /// The host, where it sends from, and where to.
    fn endpoints(&self, send: &Send) -> Result<(AnyHost, SocketAddr, SocketAddr), Report> {
        let host = self.host(&send.host)?;
        let to = match &send.to {
            Goal::Endpoint(place, port) => self.resolve(place).map(|address| SocketAddr::new(address, *port)),
            Goal::Mapped(label) => self.labels.get(label).copied(),
            Goal::Offender(label) => self.offender(label),
        };
        let to = to.ok_or_else(|| {
            Report::impossible(format!("`{}` is nowhere: that packet was given no external endpoint", send.to_text))
        })?;
        let address = match send.address {
            Some(address) => address,
            None => host.source_for(to.ip()).map_err(|error| Report::impossible(format!("no way to {to}: {error}")))?,
        };
        Ok((host, SocketAddr::new(address, send.port), to))
    }

    /// From where the packet with this label seemed to come.
    fn offender(&self, label: &str) -> Option<SocketAddr> {
        Packet::parse(self.seen.get(label)?.clone()).ok().map(|packet| packet.source_endpoint())
    }

    /// Whether a NAT dropped it on its way out: it was given no external endpoint.
    fn stayed_inside(&self, trace: &Trace) -> bool {
        let (Some(End::Dropped(node, _)), Some(through)) = (trace.end, trace.through) else { return false };
        let nat = self.plan.nats.iter().filter_map(|nat| self.built.machine(&nat.name)).find(|nat| nat.node == node);
        nat.is_some_and(|nat| !nat.uplinks.contains(&through))
    }

    fn told(&self, trace: &Trace) -> Report {
        let node = |node| self.built.names.node(node);
        let mut report = match trace.end {
            None if trace.held.is_some() => {
                let at = trace.held.map(node).unwrap_or_default();
                let mut report = Report::new(format!("held at {at}"));
                report.fact("held", at);
                report
            }
            None => Report::new(format!("still under way after {}s", PATIENCE.as_secs())),
            Some(End::Delivered(at, from)) => {
                let mut report = Report::new(format!("delivered to {} from {}", node(at), told(from)));
                report.fact("delivered", node(at));
                report.fact("from", told(from));
                report
            }
            Some(End::Dropped(at, reason)) => {
                let mut report = Report::new(format!("dropped at {}: {reason}", node(at)));
                report.fact("dropped", reason.as_str());
                report.fact("at", node(at));
                report.explain = true;
                report
            }
        };
        if let Some(answer) = trace.rejected {
            let name = rejection(answer).map_or_else(|| format!("{answer:?}"), |rejection| rejection.to_string());
            report.got.push_str(&format!(", rejected: {name}"));
            report.fact("rejected", name);
        }
        if let Some(id) = trace.id {
            report.fact("packet", id.0);
        }
        if let Some(mapped) = trace.farthest.filter(|mapped| mapped.port() != 0) {
            report.fact("mapped", mapped.to_string());
        }
        report
    }

    fn judge(&self, report: &mut Report, trace: &Trace, expect: &ExpectSend, begun: Time) {
        let node = |node| self.built.names.node(node);
        let (delivered, from, dropped, at) = match trace.end {
            Some(End::Delivered(at, from)) => (Some(node(at)), Some(from), None, None),
            Some(End::Dropped(at, reason)) => (None, None, Some(reason), Some(node(at))),
            None => (None, None, None, None),
        };
        if let Some(host) = &expect.delivered {
            report.demand(delivered.as_ref() == Some(host), || format!("not delivered to {host}"));
        }
        if let Some(pattern) = &expect.from {
            report.demand(from.is_some_and(|from| self.matches(pattern, from)), || "another source".to_owned());
        }
        if let Some(reason) = expect.dropped {
            report.demand(dropped == Some(reason), || format!("not dropped for {reason}"));
        }
        if let Some(place) = &expect.at {
            report.demand(at.as_ref() == Some(place), || format!("not dropped at {place}"));
        }
        if let Some(wanted) = expect.rejected {
            let holds = trace.rejected.and_then(rejection) == Some(wanted);
            report.demand(holds, || format!("not rejected with {wanted}"));
        }
        if let Some(place) = &expect.held {
            report.demand(trace.held.map(node).as_ref() == Some(place), || format!("not held at {place}"));
        }
        if let Some(after) = &expect.after {
            let took = trace.ended.since(begun);
            let holds = trace.end.is_some() && after.contains(&took);
            report.demand(holds, || format!("under way for {}", exact(took)));
        }
    }

    /// How long the mappings that it used live, counted from when it came to their NATs.
    fn judge_lifetimes(&self, report: &mut Report, trace: &Trace, expect: &ExpectSend) {
        for (nat, allowed) in &expect.expires {
            let node = nat.as_ref().and_then(|nat| self.built.node(nat));
            let used = trace.used.iter().rev().find(|(at, ..)| nat.is_none() || Some(*at) == node);
            let Some((node, mapping, at)) = used else {
                report.broken.push("no NAT knows a mapping that it used".to_owned());
                continue;
            };
            let world = &self.built.world;
            let deadline = world.deadline(*node, *mapping).map(|deadline| deadline.since(*at));
            let place = self.built.names.node(*node);
            let lives = deadline.map_or_else(|| "has ended".to_owned(), |lives| format!("lives {}", shown(lives)));
            report.got.push_str(&format!(", mapping at {place} {lives}"));
            report.fact("expires_ns", deadline.map(nanos));
            let exactly = deadline.map_or_else(String::new, |lives| format!(": {}", exact(lives)));
            let holds = deadline.is_some_and(|lives| allowed.contains(&lives));
            report.demand(holds, || format!("another lifetime{exactly}"));
        }
    }

    pub(super) fn matches(&self, pattern: &EndpointPattern, endpoint: SocketAddr) -> bool {
        self.owns(&pattern.place, endpoint.ip()) && pattern.port.is_none_or(|port| port == endpoint.port())
    }

    fn judge_mapped(&self, report: &mut Report, mapped: Option<SocketAddr>, expect: &ExpectMapped, internal: u16) {
        let Some(mapped) = mapped else { return report.broken.push("it was given no external endpoint".to_owned()) };
        let of = |label: &String| self.labels.get(label).copied();
        let shown =
            |endpoint: Option<SocketAddr>| endpoint.map_or("nothing".to_owned(), |endpoint| endpoint.to_string());
        if let Some(label) = &expect.same_as {
            report.demand(of(label) == Some(mapped), || format!("mapped to {mapped}, {label} to {}", shown(of(label))));
        }
        if let Some(label) = &expect.different_from {
            let holds = of(label).is_some_and(|other| other != mapped);
            report.demand(holds, || format!("mapped to {mapped}, {label} to {}", shown(of(label))));
        }
        if let Some(port) = expect.port {
            report.demand(mapped.port() == port, || format!("mapped to port {}", mapped.port()));
        }
        if let Some(place) = &expect.address {
            report.demand(self.owns(place, mapped.ip()), || format!("mapped to address {}", mapped.ip()));
        }
        if let Some(class) = expect.class {
            let wanted = if class == PortClass::Same { PortClass::of(internal) } else { class };
            report.demand(PortClass::of(mapped.port()) == wanted, || format!("mapped to port {}", mapped.port()));
        }
        if let Some(parity) = expect.parity {
            let wanted = if parity == Parity::Same { Parity::of(internal) } else { parity };
            report.demand(Parity::of(mapped.port()) == wanted, || format!("mapped to port {}", mapped.port()));
        }
    }
}

/// An endpoint for people; an address alone where there is no port.
fn told(endpoint: SocketAddr) -> String {
    if endpoint.port() == 0 { endpoint.ip().to_string() } else { endpoint.to_string() }
}
