//! `ping` and `discover`: what a host can find out alone.

use std::time::Duration;

use natbox_probes::discovery::{self, Finding, LifetimeSearch, Options};
use natbox_probes::ping::{PingConfig, PingReport, ping};
use natbox_wire::Word;
use natbox_world::Stalled;
use serde_json::Value;

use super::shown::{exact, nanos, shown, span};
use super::{Report, Runner, servers};
use crate::plan::step::{Discover, ExpectDiscover, ExpectPing, Ping};
use crate::topology::units::show_percent;
use crate::words::Switch;

impl Runner<'_> {
    pub(super) fn ping(&mut self, step: &Ping) -> Result<Report, Stalled> {
        let host = match self.host(&step.from) {
            Ok(host) => host,
            Err(report) => return Ok(report),
        };
        let Some(to) = self.resolve(&step.to) else {
            return Ok(Report::impossible(format!("`{}` has no address", step.to_text)));
        };
        let config = PingConfig {
            count: step.count.into(),
            interval: step.interval,
            payload_bytes: step.size_bytes,
            ..PingConfig::default()
        };
        Ok(match self.built.world.run_until(ping(&host, to, &config))? {
            Ok(pinged) => told_ping(&pinged, step.expect.as_ref()),
            Err(error) => Report::impossible(error.to_string()),
        })
    }

    pub(super) fn discover(&mut self, step: &Discover) -> Result<Report, Stalled> {
        let host = match self.host(&step.from) {
            Ok(host) => host,
            Err(report) => return Ok(report),
        };
        let Some(server) = self.address(&step.via, step.family).map(servers::stun) else {
            return Ok(Report::impossible(format!("`{}` has no {} address", step.via, step.family.name())));
        };
        let lifetime = step.lifetime.then(LifetimeSearch::default);
        let options = Options { lifetime, ..Options::default() };
        Ok(match self.built.world.run_until(discovery::discover(&host, server, &options))? {
            Ok(finding) => told_finding(&finding, step.expect.as_ref()),
            Err(error) => Report::impossible(error.to_string()),
        })
    }
}

fn told_ping(pinged: &PingReport, expect: Option<&ExpectPing>) -> Report {
    let loss = pinged.lost_share();
    let mut report = Report::new(format!("{} of {} answered", pinged.received, pinged.sent));
    report.fact("sent", pinged.sent);
    report.fact("received", pinged.received);
    report.fact("loss", loss);
    report.explain = pinged.received < pinged.sent;
    if let Some(rtt) = pinged.rtt {
        report.got.push_str(&format!(", round trip {}", span(rtt.least, rtt.most, shown)));
        report.fact("rtt_min_ns", nanos(rtt.least));
        report.fact("rtt_mean_ns", nanos(rtt.mean));
        report.fact("rtt_max_ns", nanos(rtt.most));
    }
    if let Some(error) = pinged.errors.first() {
        report.got.push_str(&format!(", {} reports {}", error.reporter, error.error));
    }
    if let Some(allowed) = expect.and_then(|expect| expect.loss) {
        report.demand(allowed.contains(&loss), || format!("{} lost", show_percent(&loss)));
    }
    if let Some(allowed) = expect.and_then(|expect| expect.rtt) {
        let holds = pinged.rtt.is_some_and(|rtt| allowed.contains(&rtt.least) && allowed.contains(&rtt.most));
        report.demand(holds, || match pinged.rtt {
            Some(rtt) => format!("another round-trip time: {}", span(rtt.least, rtt.most, exact)),
            None => "no round-trip time".to_owned(),
        });
    }
    report
}

fn told_finding(finding: &Finding, expect: Option<&ExpectDiscover>) -> Report {
    let mut report = Report::new(format!(
        "mapping {}, filtering {}, hairpinning {} (RFC 3489: {})",
        finding.mapping, finding.filtering, finding.hairpin, finding.classic
    ));
    report.fact("mapping", finding.mapping.as_str());
    report.fact("filtering", finding.filtering.as_str());
    report.fact("hairpin", finding.hairpin.as_str());
    report.fact("classic", finding.classic.as_str());
    report.fact("mapped", finding.mapped.map(|mapped| mapped.to_string()));
    report.fact("port_preserved", finding.port_preserved);
    report.fact("payload_rewritten", finding.payload_rewritten);
    if finding.payload_rewritten {
        report.got.push_str(", MAPPED-ADDRESS rewritten on the way");
    }
    // Alive after the one, gone after the other: the lifetime itself lies between.
    let lifetime = finding.lifetime.map(|lifetime| (lifetime.alive_after, lifetime.expired_after));
    report.fact("lifetime_ns", lifetime.map_or(Value::Null, |(alive, _)| nanos(alive).into()));
    if let Some((alive, expired)) = lifetime {
        let expired =
            expired.map_or("outlives the search".to_owned(), |expired| format!("gone after {}", shown(expired)));
        report.got.push_str(&format!(", alive after {}, {expired}", shown(alive)));
    }
    if let Some(expect) = expect {
        judge_finding(&mut report, finding, lifetime, expect);
    }
    report
}

fn judge_finding(
    report: &mut Report,
    finding: &Finding,
    lifetime: Option<(Duration, Option<Duration>)>,
    expect: &ExpectDiscover,
) {
    let other = |what: &'static str| move || format!("another {what}");
    report.demand(expect.mapping.is_none_or(|mapping| mapping == finding.mapping), other("mapping"));
    report.demand(expect.filtering.is_none_or(|filtering| filtering == finding.filtering), other("filtering"));
    report.demand(expect.hairpin.is_none_or(|hairpin| hairpin == finding.hairpin), other("hairpinning"));
    report.demand(expect.classic.is_none_or(|classic| classic == finding.classic), other("RFC 3489 type"));
    let rewritten = Switch::from(finding.payload_rewritten);
    report.demand(expect.payload_rewritten.is_none_or(|wanted| wanted == rewritten), || match rewritten {
        Switch::On => "the payload was rewritten".to_owned(),
        Switch::Off => "the payload was not rewritten".to_owned(),
    });
    if let Some(allowed) = expect.lifetime {
        let holds = lifetime.is_some_and(|(alive, expired)| {
            allowed.contains(&alive) && expired.is_none_or(|expired| allowed.contains(&expired))
        });
        report.demand(holds, other("lifetime"));
    }
}
