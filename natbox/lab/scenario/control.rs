//! Port control in a scenario: the servers of gateways, and `map`, by which a host asks.

use std::collections::BTreeMap;
use std::time::Duration;

use natbox_probes::portmap::{Control, Failure, Granted, Method, Wish, keep, pcp, server};
use natbox_world::Stalled;

use super::shown::nanos;
use super::{Report, Runner};
use crate::build::{Built, Trouble};
use crate::plan::control::{ExpectMap, Map, transport};
use crate::plan::{Network, Plan};
use crate::topology::units::show_duration;
use crate::words::{Carrier, Family, MapOutcome};

/// Forwards what people have forwarded, and starts the servers of every gateway that speaks port control.
pub(super) fn start(plan: &Plan, built: &Built, trouble: &Trouble) {
    for nat in &plan.nats {
        let Some(node) = built.node(&nat.name) else { continue };
        for forward in &nat.forward {
            if built.world.map(node, &forward.request()).is_err() {
                trouble.add(format!("`{}` cannot forward port {}: it is another's", nat.name, forward.port));
            }
        }
        let Some(config) = nat.control.clone() else { continue };
        let (trouble, name) = (trouble.clone(), nat.name.clone());
        match built.world.gateway_machine(node) {
            Ok(gateway) => natbox_host::Host::spawn(&gateway.host(), async move {
                let Err(why) = server::serve(gateway.host(), gateway.clone(), config).await;
                trouble.add(format!("port control of `{name}` stopped: {why}"));
            }),
            Err(why) => trouble.add(why.to_string()),
        }
    }
}

/// How a host asks its gateway for mappings, where that speaks anything: PCP first, then NAT-PMP, then UPnP.
pub(super) fn asks(plan: &Plan, host: &str) -> Vec<Method> {
    let Some(Network::Behind(index)) = plan.host(host).and_then(|host| host.uplinks.first()).map(|up| up.network)
    else {
        return Vec::new();
    };
    let Some(control) = plan.nats.get(index).and_then(|nat| nat.control.as_ref()) else { return Vec::new() };
    let speaks = |method: &Method| match method {
        Method::Pcp => control.speaks.contains(&Control::Pcp),
        Method::NatPmp => control.speaks.contains(&Control::NatPmp),
        Method::Upnp => control.speaks.iter().any(|one| matches!(one, Control::Igd1 | Control::Igd2)),
    };
    [Method::Pcp, Method::NatPmp, Method::Upnp].into_iter().filter(speaks).collect()
}

/// The nonces by which hosts asked PCP, by host, port and protocol.
pub(super) type Nonces = BTreeMap<(String, u16, Carrier), pcp::codec::Nonce>;

impl Runner<'_> {
    pub(super) fn map(&mut self, step: &Map) -> Result<Report, Stalled> {
        let host = match self.host(&step.from) {
            Ok(host) => host,
            Err(report) => return Ok(report),
        };
        let Some(internal) = keep::internal(&host, step.port, false) else {
            return Ok(Report::impossible(format!("`{}` has no gateway over {}", step.from, Family::Ipv4.name())));
        };
        let (protocol, lifetime) = (transport(step.protocol), step.lifetime);
        let wish = Wish { protocol, internal, external_port: step.external_port, lifetime };
        // A host that asks again for the same is the same client, and knows its nonce.
        let key = (step.from.clone(), step.port, step.protocol);
        let nonce = *self.nonces.entry(key).or_insert_with(|| pcp::nonce(&host));
        let began = self.built.world.now();
        let granted = self.built.world.run_until(async {
            match step.keep {
                false => keep::ask_as(&host, step.by, &wish, nonce, step.timeout).await,
                // It goes on by itself.
                true => keep::keep(&host, step.by, wish, nonce, step.timeout)
                    .await
                    .and_then(|kept| kept.granted().ok_or(Failure::NoGateway)),
            }
        })?;
        let elapsed = self.built.world.now().since(began);
        let mut report = match granted {
            Ok(granted) => self.told_grant(&granted, step.expect.as_ref()),
            Err(failure) => told_refusal(&failure, step.expect.as_ref()),
        };
        report.fact("by", step.by.to_string());
        report.fact("elapsed_ns", nanos(elapsed));
        Ok(report)
    }

    fn told_grant(&self, granted: &Granted, expect: Option<&ExpectMap>) -> Report {
        let lifetime =
            granted.lifetime.map_or_else(|| "for good".to_owned(), |life| format!("for {}", show_duration(&life)));
        let mut report = Report::new(format!("granted {} {lifetime}", granted.external));
        report.fact("outcome", MapOutcome::Granted.to_string());
        report.fact("external", granted.external.to_string());
        report.fact("lifetime_ns", granted.lifetime.map(nanos));
        report.fact("gateway", granted.gateway.to_string());
        let Some(expect) = expect else { return report };
        demand_outcome(&mut report, MapOutcome::Granted, expect);
        if let Some(wanted) = &expect.external {
            report.demand(self.matches(wanted, granted.external), || "another endpoint than expected".to_owned());
        }
        if let Some(wanted) = &expect.lifetime {
            let holds = granted.lifetime.is_some_and(|life| wanted.contains(&life));
            report.demand(holds, || format!("not for {}", wanted.show(show_duration)));
        }
        report.demand(expect.code.is_none(), || "no error".to_owned());
        report
    }
}

fn told_refusal(failure: &Failure, expect: Option<&ExpectMap>) -> Report {
    let outcome = match failure {
        Failure::Refused { .. } => MapOutcome::Refused,
        Failure::Probe(_) | Failure::NoGateway => MapOutcome::Silent,
    };
    let mut report = Report { explain: true, ..Report::new(failure.to_string()) };
    report.fact("outcome", outcome.to_string());
    let code = match failure {
        Failure::Refused { code, lasts, .. } => {
            report.fact("code", *code);
            report.fact("lasts_ns", lasts.map(|lasts: Duration| nanos(lasts)));
            Some(*code)
        }
        _ => None,
    };
    let Some(expect) = expect else { return report };
    demand_outcome(&mut report, outcome, expect);
    let grants = expect.external.is_some() || expect.lifetime.is_some();
    report.demand(!grants, || "nothing was granted".to_owned());
    if let Some(wanted) = expect.code {
        report.demand(code == Some(wanted), || format!("not code {wanted}"));
    }
    report
}

fn demand_outcome(report: &mut Report, came: MapOutcome, expect: &ExpectMap) {
    if let Some(wanted) = expect.outcome {
        report.demand(came == wanted, || format!("{came}, not {wanted}"));
    }
}
