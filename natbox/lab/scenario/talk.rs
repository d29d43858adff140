//! `punch`, `connect` by all means, and `call`: two hosts that meet through a directory.
//!
//! A callee of `connect` and `call` begins to answer when the first step needs it, and goes on for the rest of the
//! scenario. A caller looks the callee up, again and again, until it is registered; then the step's own clock begins.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use natbox_host::Host as _;
use natbox_probes::call::{CallConfig, CallReport, Responder, call};
use natbox_probes::connect::{self, CheckPlan, Config, Connection};
use natbox_probes::contact::Failure;
use natbox_probes::portmap::Method;
use natbox_probes::punch::{self, PunchConfig};
use natbox_probes::stun::client::Retransmission;
use natbox_probes::technique::{Contact, Options, Setting, Technique};
use natbox_probes::wait::until;
use natbox_probes::{Path, ProbeError, rendezvous, stun};
use natbox_wire::{Time, Word};
use natbox_world::Stalled;
use serde_json::{Value, json};

use super::shown::{exact, nanos, shown, span};
use super::techniques::{LISTENS, value};
use super::{Report, Runner, control, servers};
use crate::anyhost::AnyHost;
use crate::plan::step::{Call, Connect, ExpectCall, ExpectPath, Punch, Via};
use crate::topology::units::{show_duration, show_percent};

/// How long a caller looks for a callee that is not registered.
pub(super) const LOOK_UP: Duration = Duration::from_secs(5);
/// How long a connection that begins over the relay is given to find a better path.
pub(super) const UPGRADE: Duration = Duration::from_secs(3);
/// How long a callee of a punch waits for the caller.
const WAIT: Duration = Duration::from_secs(15);

/// Who answers at which directory: by which options, and under which name.
pub(super) type Answering = BTreeMap<(String, SocketAddr), Vec<(Options, String)>>;

/// The servers that two hosts use.
#[derive(Clone)]
pub(super) struct Meeting {
    pub(super) directory: SocketAddr,
    /// The STUN server's endpoints, its usual one first.
    pub(super) stun: Vec<SocketAddr>,
    pub(super) relay: Option<SocketAddr>,
    /// How the hosts ask their gateways for mappings, by name.
    pub(super) asks: BTreeMap<String, Vec<Method>>,
}

/// A path that came about, and how soon.
pub(super) struct Found {
    pub(super) path: Path,
    pub(super) elapsed: Duration,
    pub(super) remote: SocketAddr,
}

impl Runner<'_> {
    pub(super) fn punch(&mut self, step: &Punch) -> Result<Report, Stalled> {
        let (caller, callee, meeting) = match self.pair(&step.from, &step.to, &step.via) {
            Ok(pair) => pair,
            Err(report) => return Ok(report),
        };
        // A name of its own: an earlier registration of the same host must not be mistaken for this one.
        let name = format!("{}@{}", step.to, self.built.world.now().as_nanos());
        let config = |me: &str| PunchConfig {
            stun: meeting.stun.first().copied(),
            checks: CheckPlan { peer_reflexive: step.peer_reflexive, ..CheckPlan::default() },
            ..PunchConfig::new(meeting.directory, me)
        };
        let (answers, deadline) = (config(&name), self.built.world.now() + WAIT);
        let answerer = callee.clone();
        callee.spawn(async move {
            if let Ok(mut punched) = punch::answer(&answerer, &answers, deadline).await {
                // Answers the caller's last checks, and keeps its socket until the step is over.
                let _ = punched.recv(deadline).await;
            }
        });
        let calls = config(&step.from);
        let met = self.built.world.run_until(async {
            look_up(&caller, meeting.directory, &name).await.map_err(Failed::Lookup)?;
            punch::punch(&caller, &calls, &name).await.map_err(|failure| Failed::Checks(failure.into()))
        })?;
        Ok(match met {
            Ok(punched) => {
                let found = Found { path: punched.path(), elapsed: punched.elapsed(), remote: punched.remote() };
                told_path(&found, step.expect.as_ref())
            }
            Err(failed) => told_failure(&failed, step.expect.as_ref()),
        })
    }

    pub(super) fn connect(&mut self, step: &Connect) -> Result<Report, Stalled> {
        if step.technique != Technique::Connect {
            return self.by_technique(step);
        }
        Ok(match self.connected(step, UPGRADE)? {
            Ok((connection, began)) => {
                let remote = connection.remote();
                let (at, path) = connection.history().last().copied().unwrap_or((began, Path::None));
                // The path of the beginning counts from the call, and so does one that came later.
                let mut report = told_path(&Found { path, elapsed: at.since(began), remote }, step.expect.as_ref());
                report.fact("paths", paths(connection.history()));
                report.fact("technique", Technique::Connect.as_str());
                self.keep(step.label.as_deref(), connection.into());
                report
            }
            // Whoever has no UDP meets by TCP, and under a name of this step's own: the one that answers all steps has UDP.
            Err(Problem::Failed(failed)) if failed.is_silence() && may_relay(step) => return self.by_technique(step),
            Err(Problem::Failed(failed)) => told_failure(&failed, step.expect.as_ref()),
            Err(Problem::Impossible(report)) => report,
        })
    }

    pub(super) fn call(&mut self, step: &Call) -> Result<Report, Stalled> {
        let met = match step.connect.technique {
            Technique::Connect => {
                let connected = self.connected(&step.connect, Duration::ZERO)?;
                connected.map(|(connection, _)| Contact::from(connection))
            }
            _ => self.meet(&step.connect, step.length.saturating_add(LISTENS))?,
        };
        let mut contact = match met {
            Ok(contact) => contact,
            Err(Problem::Failed(failed)) => return Ok(unconnected(&failed, step.expect.as_ref())),
            Err(Problem::Impossible(report)) => return Ok(report),
        };
        let size_bytes = u16::try_from(step.size_bytes).unwrap_or(u16::MAX);
        let config = CallConfig { interval: step.interval, size_bytes, duration: step.length };
        let mut report = match self.built.world.run_until(call(&mut contact, &config))? {
            Ok(called) => told_call(&called, &contact.history(), step.expect.as_ref()),
            // They met, but the call itself was not heard.
            Err(error) => {
                let silence = Failed::Checks(Failure::early(error, contact.elapsed()));
                return Ok(unconnected(&silence, step.expect.as_ref()));
            }
        };
        report.fact("technique", step.connect.technique.as_str());
        Ok(report)
    }

    /// Connects as a step asks for; when that began. A connection that begins over the relay has `settle` to move.
    fn connected(
        &mut self,
        step: &Connect,
        settle: Duration,
    ) -> Result<Result<(Connection<AnyHost>, Time), Problem>, Stalled> {
        let (caller, callee, meeting) = match self.pair(&step.from, &step.to, &step.via) {
            Ok(pair) => pair,
            Err(report) => return Ok(Err(Problem::Impossible(report))),
        };
        let config = Config::from(&meeting.setting(&step.from, &step.options));
        let directory = meeting.directory;
        let (name, timeout) = (self.answer(&step.to, callee, &meeting, &step.options), step.options.timeout);
        let connected = self.built.world.run_until(async {
            look_up(&caller, directory, &name).await.map_err(Failed::Lookup)?;
            let began = caller.now();
            let connected = until(&caller, began + timeout, connect::connect(&caller, &config, &name)).await;
            let late = || Failed::Checks(Failure::vain("the time for it was over", timeout));
            let connected = connected.ok_or_else(late)?;
            let mut connection = connected.map_err(|failure| Failed::Checks(failure.into()))?;
            if step.options.relay_first && !settle.is_zero() {
                // Better paths are found while the connection listens.
                let _ = connection.recv(caller.now() + settle).await;
            }
            Ok((connection, began))
        })?;
        Ok(connected.map_err(Problem::Failed))
    }

    /// Lets a host answer calls by these options, if it does not yet; the name under which it does.
    fn answer(&mut self, name: &str, callee: AnyHost, meeting: &Meeting, options: &Options) -> String {
        // What may be tried, and what comes first, is the caller's to say; how long it takes, too.
        let Options { allow, relay_first, timeout, .. } = Options::default();
        let options = Options { allow, relay_first, timeout, ..options.clone() };
        let answering = self.answering.entry((name.to_owned(), meeting.directory)).or_default();
        if let Some((_, known)) = answering.iter().find(|(known, _)| *known == options) {
            return known.clone();
        }
        let number = answering.len() + 1;
        let name = if number == 1 { name.to_owned() } else { format!("{name}@{number}") };
        let config = Config { relay: None, ..Config::from(&meeting.setting(&name, &options)) };
        answering.push((options, name.clone()));
        let host = callee.clone();
        callee.spawn(async move {
            // A callee that cannot register is not found, and the step says so.
            let _ = connect::answer(host, config, Responder::default()).await;
        });
        name
    }

    pub(super) fn pair(&self, from: &str, to: &str, via: &Via) -> Result<(AnyHost, AnyHost, Meeting), Report> {
        let address = |name: &str| {
            let missing = || Report::impossible(format!("`{name}` has no {} address", via.family.name()));
            self.address(name, via.family).ok_or_else(missing)
        };
        let meeting = Meeting {
            directory: servers::directory(address(&via.rendezvous)?),
            stun: self.stun_endpoints(&via.stun, address(&via.stun)?),
            relay: via.turn.as_deref().map(address).transpose()?.map(servers::relay),
            asks: [from, to].into_iter().map(|host| (host.to_owned(), control::asks(self.plan, host))).collect(),
        };
        Ok((self.host(from)?, self.host(to)?, meeting))
    }

    /// The endpoints of the STUN server of a host that is found at this address.
    fn stun_endpoints(&self, name: &str, address: IpAddr) -> Vec<SocketAddr> {
        let machine = self.built.machine(name);
        let addresses = machine.iter().flat_map(|machine| machine.addresses.iter().copied());
        let alternate = addresses.filter(|other| other.is_ipv4() == address.is_ipv4()).find(|other| *other != address);
        stun::server::ServerConfig::new(address, alternate).endpoints()
    }
}

impl Meeting {
    /// What a host called `me` knows before it meets the other.
    pub(super) fn setting(&self, me: &str, options: &Options) -> Setting {
        let relay = self.relay.map(servers::access);
        let (stun, options) = (self.stun.clone(), options.clone());
        let asks = self.asks.get(me.split('@').next().unwrap_or(me)).cloned().unwrap_or_default();
        Setting { stun, asks, relay, options, ..Setting::new(self.directory, me) }
    }
}

/// Why two hosts do not talk.
pub(super) enum Failed {
    /// The caller did not find the callee.
    Lookup(ProbeError),
    /// It found it, and came no further.
    Checks(Failure),
}

impl Failed {
    /// Whether a side was not heard at all, as one whose UDP is blocked: the caller by the directory or its STUN server, or
    /// the callee, which is not registered then.
    fn is_silence(&self) -> bool {
        match self {
            Failed::Lookup(error) => matches!(error, ProbeError::Silence { .. } | ProbeError::Refused { .. }),
            Failed::Checks(failure) => matches!(failure.error.as_deref(), Some(ProbeError::Silence { .. })),
        }
    }
}

/// Whether a relay may be what joins the hosts, and there is one.
fn may_relay(step: &Connect) -> bool {
    step.via.turn.is_some() && step.options.allow.contains(Path::Relayed)
}

/// Why there is no connection to go on with.
pub(super) enum Problem {
    Failed(Failed),
    Impossible(Report),
}

/// Looks `name` up until it is registered.
async fn look_up(host: &AnyHost, directory: SocketAddr, name: &str) -> Result<(), ProbeError> {
    let local = host.source_for(directory.ip()).map_err(ProbeError::io("find a way to the directory"))?;
    let socket = host.udp_bind(SocketAddr::new(local, 0)).await.map_err(ProbeError::io("bind a UDP socket"))?;
    let deadline = host.now() + LOOK_UP;
    loop {
        let found = rendezvous::lookup(host, &socket, directory, name, &Retransmission::PROBE).await;
        match found {
            Err(ProbeError::Refused { .. }) if host.now() < deadline => host.sleep(Duration::from_millis(100)).await,
            found => return found.map(drop),
        }
    }
}

pub(super) fn told_path(found: &Found, expect: Option<&ExpectPath>) -> Report {
    let mut report = Report::new(format!("{} after {}, {}", found.path, shown(found.elapsed), found.remote));
    report.fact("path", found.path.as_str());
    report.fact("elapsed_ns", nanos(found.elapsed));
    report.fact("endpoint", found.remote.to_string());
    report.explain = found.path == Path::Relayed;
    if let Some(expect) = expect {
        judge_path(&mut report, found.path, Some(found.elapsed), expect);
    }
    report
}

pub(super) fn told_failure(failed: &Failed, expect: Option<&ExpectPath>) -> Report {
    let mut report = no_path(failed);
    if let Some(expect) = expect {
        judge_path(&mut report, Path::None, None, expect);
    }
    report
}

fn no_path(failed: &Failed) -> Report {
    let mut report = match failed {
        Failed::Lookup(error) => Report::new(format!("none: the callee cannot be looked up: {error}")),
        Failed::Checks(Failure { error: Some(error), remarks, .. }) => {
            let remarks = remarks.iter().map(|remark| format!("; {remark}"));
            Report::new(format!("none: {error}{}", remarks.collect::<String>()))
        }
        Failed::Checks(failure) => Report::new(format!("none: {}", unmet(failure))),
    };
    if let Failed::Checks(failure) = failed {
        let texts = |texts: Vec<String>| Value::from(texts);
        report.fact("attempts", texts(failure.attempts.clone()));
        report.fact("remarks", texts(failure.remarks.clone()));
        failure.facts.iter().for_each(|(name, fact)| report.fact(name, value(fact)));
    }
    report.fact("path", Path::None.as_str());
    report.explain = true;
    report
}

/// Checks that came to nothing: how long they took, and what no packet's death explains.
fn unmet(failure: &Failure) -> String {
    let what = if failure.forbidden.is_empty() { "nothing" } else { "nothing that is allowed" };
    let mut text = format!("{what} came through within {}", shown(failure.elapsed));
    for remark in failure.forbidden.iter().chain(&failure.remarks) {
        text.push_str(&format!("; {remark}"));
    }
    text
}

fn judge_path(report: &mut Report, path: Path, elapsed: Option<Duration>, expect: &ExpectPath) {
    report.demand(expect.path.is_none_or(|wanted| wanted == path), || "another path".to_owned());
    if let Some(within) = expect.within {
        report.demand(elapsed.is_some_and(|elapsed| elapsed <= within), || {
            let took = elapsed.map_or_else(String::new, |elapsed| format!("took {}, ", exact(elapsed)));
            format!("{took}not within {}", show_duration(&within))
        });
    }
}

pub(super) fn paths(history: &[(Time, Path)]) -> Value {
    history.iter().map(|(at, path)| json!({ "at_ns": at.as_nanos(), "path": path.as_str() })).collect()
}

/// A call that never came about: nothing was sent, all was lost.
fn unconnected(failed: &Failed, expect: Option<&ExpectCall>) -> Report {
    let mut report = no_path(failed);
    if let Some(expect) = expect {
        report.demand(expect.path.is_none_or(|wanted| wanted == Path::None), || "another path".to_owned());
        report.demand(expect.loss.is_none_or(|allowed| allowed.contains(&1.0)), || "nothing was heard".to_owned());
        report.demand(expect.delay.is_none(), || "nothing was heard".to_owned());
    }
    report
}

/// `history`: every path of the connection, from before the first datagram.
fn told_call(called: &CallReport, history: &[(Time, Path)], expect: Option<&ExpectCall>) -> Report {
    let path = called.paths.last().map_or(Path::None, |(_, path)| *path);
    let (sent, received) =
        (called.outbound.sent + called.inbound.sent, called.outbound.received + called.inbound.received);
    let loss = if sent == 0 { 0.0 } else { f64::from(sent.saturating_sub(received)) / f64::from(sent) };
    let ways: Vec<&str> = history.iter().map(|(_, path)| path.as_str()).collect();
    let mut report =
        Report::new(format!("{}, {} of {sent} lost ({})", ways.join(" then "), sent - received, show_percent(&loss)));
    report.fact("path", path.as_str());
    report.fact("paths", paths(history));
    report.fact("sent", sent);
    report.fact("received", received);
    report.fact("loss", loss);
    report.explain = received < sent;
    let delays = [called.outbound.delay, called.inbound.delay];
    let least = delays.iter().flatten().map(|delay| delay.least).min();
    let most = delays.iter().flatten().map(|delay| delay.most).max();
    if let Some((least, most)) = least.zip(most) {
        report.got.push_str(&format!(", one way {}", span(least, most, shown)));
        report.fact("delay_min_ns", nanos(least));
        report.fact("delay_max_ns", nanos(most));
    }
    if let Some(expect) = expect {
        report.demand(expect.path.is_none_or(|wanted| wanted == path), || "another path".to_owned());
        report.demand(expect.loss.is_none_or(|allowed| allowed.contains(&loss)), || "another loss".to_owned());
        let within = |allowed: crate::topology::Allowed<Duration>| {
            least.is_some_and(|least| allowed.contains(&least)) && most.is_some_and(|most| allowed.contains(&most))
        };
        report.demand(expect.delay.is_none_or(within), || match least.zip(most) {
            Some((least, most)) => format!("another delay: {}", span(least, most, exact)),
            None => "nothing was heard".to_owned(),
        });
    }
    report
}
