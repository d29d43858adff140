//! `send`: one datagram, followed to its end.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::{Either, select};
use natbox_host::{Host as _, UdpSocket as _};
use natbox_wire::{IcmpError, Word};
use natbox_world::Stalled;

use super::tap::{End, Trace};
use super::{Report, Runner};
use crate::plan::step::{EndpointPattern, ExpectMapped, ExpectSend, Goal, Place, Send};
use crate::words::Rejection;

/// How long a datagram is followed at most.
const PATIENCE: Duration = Duration::from_secs(60);

impl Runner<'_> {
    pub(super) fn send(&mut self, send: &Send) -> Result<Report, Stalled> {
        let (host, from, to) = match self.endpoints(send) {
            Ok(endpoints) => endpoints,
            Err(report) => return Ok(report),
        };
        let Some(socket) = self.sockets.get(&send.host, from) else {
            return Ok(Report::impossible(format!("{from} cannot be sent from: something else has this endpoint")));
        };
        self.tap.follow(host.node(), from, to);
        let ended = self.tap.ended();
        // What a host sends to itself is there at once, and no interface sees it.
        let to_itself = self.owns(&Place::Name(send.host.clone()), to.ip());
        let patience = if to_itself { Duration::ZERO } else { PATIENCE };
        let sent = self.built.world.run_until(async {
            socket.set_ttl(send.ttl)?;
            socket.send_to(&send.payload, to).await?;
            let patience = Box::pin(host.sleep(patience));
            Ok::<bool, std::io::Error>(matches!(select(ended, patience).await, Either::Left(_)))
        })?;
        let mut trace = self.tap.unfollow();
        if to_itself && sent.is_ok() {
            trace.farthest.get_or_insert(from);
            trace.end.get_or_insert(End::Delivered(host.node(), from));
        }
        if self.stayed_inside(&trace) {
            trace.farthest = None;
        }
        if let (Some(label), Some(mapped)) = (&send.label, trace.farthest) {
            self.labels.insert(label.clone(), mapped);
        }
        let mut report = match sent {
            Err(error) if trace.end.is_none() => Report::impossible(format!("cannot be sent: {error}")),
            _ => self.told(&trace),
        };
        report.packet = trace.last.or(trace.id);
        report.fact("source", from.to_string());
        report.fact("destination", to.to_string());
        if let Some(expect) = &send.expect {
            self.judge(&mut report, &trace, expect);
        }
        Ok(report)
    }

    /// The host, where it sends from, and where to.
    fn endpoints(&self, send: &Send) -> Result<(natbox_world::VirtualHost, SocketAddr, SocketAddr), Report> {
        let host = self.host(&send.host)?;
        let to = match &send.to {
            Goal::Endpoint(place, port) => self.resolve(place).map(|address| SocketAddr::new(address, *port)),
            Goal::Mapped(label) => self.labels.get(label).copied(),
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

    /// Whether a NAT dropped it on its way out: it was given no external endpoint.
    fn stayed_inside(&self, trace: &Trace) -> bool {
        let (Some(End::Dropped(node, _)), Some(through)) = (trace.end, trace.through) else { return false };
        let nat = self.plan.nats.iter().filter_map(|nat| self.built.machine(&nat.name)).find(|nat| nat.node == node);
        nat.is_some_and(|nat| !nat.uplinks.contains(&through))
    }

    fn told(&self, trace: &Trace) -> Report {
        let node = |node| self.built.names.node(node);
        let mut report = match trace.end {
            None => Report::new(format!("still under way after {}s", PATIENCE.as_secs())),
            Some(End::Delivered(at, from)) => {
                let mut report = Report::new(format!("delivered to {} from {from}", node(at)));
                report.fact("delivered", node(at));
                report.fact("from", from.to_string());
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
        if let Some(error) = trace.rejected {
            let name = rejection(error).map_or_else(|| format!("{error:?}"), |rejection| rejection.to_string());
            report.got.push_str(&format!(", rejected: {name}"));
            report.fact("rejected", name);
        }
        if let Some(id) = trace.id {
            report.fact("packet", id.0);
        }
        if let Some(mapped) = trace.farthest {
            report.fact("mapped", mapped.to_string());
        }
        report
    }

    fn judge(&self, report: &mut Report, trace: &Trace, expect: &ExpectSend) {
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
        if let Some(mapped) = &expect.mapped {
            self.judge_mapped(report, trace.farthest, mapped);
        }
    }

    fn matches(&self, pattern: &EndpointPattern, endpoint: SocketAddr) -> bool {
        self.owns(&pattern.place, endpoint.ip()) && pattern.port.is_none_or(|port| port == endpoint.port())
    }

    fn judge_mapped(&self, report: &mut Report, mapped: Option<SocketAddr>, expect: &ExpectMapped) {
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
    }
}

/// The word for an ICMP error, if there is one.
fn rejection(error: IcmpError) -> Option<Rejection> {
    match error {
        IcmpError::NetUnreachable => Some(Rejection::NetUnreachable),
        IcmpError::HostUnreachable => Some(Rejection::HostUnreachable),
        IcmpError::PortUnreachable => Some(Rejection::PortUnreachable),
        IcmpError::TtlExceeded => Some(Rejection::TtlExceeded),
        // No UDP datagram of a script is answered so: they are small, and may be fragmented.
        IcmpError::ProtocolUnreachable
        | IcmpError::PacketTooBig { .. }
        | IcmpError::AdminProhibited
        | IcmpError::ReassemblyTimeExceeded
        | IcmpError::Other { .. } => None,
    }
}
