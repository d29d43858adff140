//! Scenarios: a plan's steps, run one after another in virtual time, each held against what is expected of it.
//!
//! Straight-line: a step ends before the next begins. Everything that hosts do is done by programs on virtual hosts; the
//! runner itself only reads notes, and turns the knobs that a scenario may turn (reboot, readdress, cut, mend).

mod control;
mod craft;
mod expire;
mod held;
mod knobs;
mod look;
mod measure;
#[cfg(target_os = "linux")]
mod program;
mod reasons;
mod send;
pub(crate) mod servers;
mod shown;
mod sockets;
mod talk;
mod tap;
mod techniques;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use natbox_wire::{Protocol, Word};
use natbox_world::Stalled;
use serde_json::{Map, Value};

use crate::anyhost::AnyHost;
use crate::build::Built;
use crate::outcome::{Mapping, Outcome, StepResult};
use crate::plan::step::Place;
use crate::plan::{Action, Plan, Step};
use crate::record::{Limits, Names, Recorder};
use crate::words::Family;
use sockets::Sockets;
use tap::Tap;

/// Why a scenario stopped before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// The step, by its number from 1; 0 for what happens before the first.
    pub step: usize,
    /// Its line in the topology file.
    pub line: u32,
    /// Why the world did not go on.
    pub why: Stalled,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step {
            0 => write!(f, "before the first step: {}", self.why),
            step => write!(f, "step {step} (line {}): {}", self.line, self.why),
        }
    }
}

impl std::error::Error for Stuck {}

/// What came of a plan's scenario, and what things are called in its record.
pub struct Finished {
    /// What came of it.
    pub outcome: Outcome,
    /// The names of nodes and interfaces.
    pub names: Names,
}

/// Runs a plan's scenario from `seed`. Everything that happens is told to `recorder`.
///
/// # Errors
/// [`Stuck`] where the world did not go on.
pub fn run(plan: &Plan, seed: u64, recorder: &Recorder) -> Result<Finished, Stuck> {
    run_built(plan, plan.build(seed), seed, recorder)
}

/// As [`run`], with at most so many events at a time: for scenarios that nobody has looked at.
///
/// # Errors
/// [`Stuck`] where the world did not go on, or went on for too long.
pub fn run_within(plan: &Plan, seed: u64, recorder: &Recorder, events: u64) -> Result<Finished, Stuck> {
    let mut built = plan.build(seed);
    built.world.limit_events(events);
    run_built(plan, built, seed, recorder)
}

pub(crate) fn run_built(plan: &Plan, built: Built, seed: u64, recorder: &Recorder) -> Result<Finished, Stuck> {
    let tap = Tap::new(recorder.clone());
    let mut runner = Runner::new(plan, built, tap, recorder, true)?;
    let steps = runner.steps()?;
    Ok(runner.finish(seed, steps))
}

/// What came of a scenario that nobody recorded.
#[derive(Debug)]
pub struct Brief {
    /// The steps, in order. What packets died of is in none of them.
    pub steps: Vec<StepResult>,
    /// Packets that were made: sent by programs, hosts and routers.
    pub packets: u64,
}

/// Runs a plan's scenario from `seed`, and keeps no record: for who wants to know what came of it, and not why. Steps
/// that follow packets (`send`, `expire`) need one.
///
/// # Errors
/// [`Stuck`] where the world did not go on.
pub fn run_unrecorded(plan: &Plan, seed: u64) -> Result<Brief, Stuck> {
    let recorder = Recorder::new(Limits { records: 0, bytes: 0, summaries: false });
    let mut runner = Runner::new(plan, plan.build(seed), Tap::new(recorder.clone()), &recorder, false)?;
    let steps = runner.steps()?;
    Ok(Brief { steps, packets: runner.built.world.statistics().packets })
}

/// A scenario under way.
struct Runner<'a> {
    plan: &'a Plan,
    built: Built,
    tap: Tap,
    recorder: &'a Recorder,
    sockets: Sockets,
    /// The external endpoints that labelled packets were given.
    labels: BTreeMap<String, SocketAddr>,
    /// Labelled packets, as they were seen last.
    seen: BTreeMap<String, Vec<u8>>,
    /// The identification of the last packet made by hand.
    identification: u16,
    answering: talk::Answering,
    nonces: control::Nonces,
    held: held::Connections,
    #[cfg(target_os = "linux")]
    programs: program::Programs,
}

/// What came of a step, before it is held against the record.
#[derive(Default)]
struct Report {
    /// In a line.
    got: String,
    /// For programs.
    facts: Map<String, Value>,
    /// Which expectations do not hold.
    broken: Vec<String>,
    /// The packet that it was all about.
    packet: Option<natbox_world::PacketId>,
    /// Whether packets that died explain something.
    explain: bool,
}

impl Report {
    fn new(got: impl Into<String>) -> Report {
        Report { got: got.into(), ..Report::default() }
    }

    /// A step that could not be done at all.
    fn impossible(error: impl Into<String>) -> Report {
        let error = error.into();
        let mut report = Report { broken: vec![error.clone()], explain: true, ..Report::new(error.clone()) };
        report.fact("error", error);
        report
    }

    fn fact(&mut self, key: &str, value: impl Into<Value>) {
        self.facts.insert(key.to_owned(), value.into());
    }

    /// Notes that an expectation does not hold.
    fn demand(&mut self, holds: bool, broken: impl FnOnce() -> String) {
        if !holds {
            self.broken.push(broken());
        }
    }
}

impl<'a> Runner<'a> {
    /// Everything as it is before the first step.
    fn new(plan: &'a Plan, mut built: Built, tap: Tap, recorder: &'a Recorder, observed: bool) -> Result<Self, Stuck> {
        if observed {
            built.world.observe(Box::new(tap.clone()));
        }
        let stuck = |why| Stuck { step: 0, line: 0, why };
        servers::start(plan, &built);
        built.world.run_for(Duration::ZERO).map_err(stuck)?;
        let sockets = Sockets::open(plan, &mut built).map_err(stuck)?;
        let (labels, seen) = (BTreeMap::new(), BTreeMap::new());
        let (answering, held) = Default::default();
        Ok(Runner {
            plan,
            built,
            tap,
            recorder,
            sockets,
            labels,
            seen,
            identification: 0,
            answering,
            nonces: Default::default(),
            held,
            #[cfg(target_os = "linux")]
            programs: Default::default(),
        })
    }

    fn steps(&mut self) -> Result<Vec<StepResult>, Stuck> {
        let steps = (1..).zip(&self.plan.steps);
        steps
            .map(|(index, step)| self.step(index, step).map_err(|why| Stuck { step: index, line: step.line, why }))
            .collect()
    }
}

impl Runner<'_> {
    fn step(&mut self, index: usize, step: &Step) -> Result<StepResult, Stalled> {
        let started = self.built.world.now();
        let begin = self.recorder.log().records().len();
        let mut report = self.act(&step.action)?;
        for trouble in self.built.trouble() {
            report.broken.push(trouble);
        }
        let ok = report.broken.is_empty();
        let reasons = match report.packet {
            Some(packet) if !ok || report.explain => {
                reasons::of_packet(&self.recorder.log(), &self.built.names, packet)
            }
            None if !ok || report.explain => reasons::since(&self.recorder.log(), &self.built.names, begin),
            _ => Vec::new(),
        };
        let got = if ok { report.got } else { told_with(&report) };
        Ok(StepResult {
            index,
            line: step.line,
            action: step.action.word(),
            name: step.name.clone(),
            description: step.action.to_string(),
            started_ns: started.as_nanos(),
            first_record: begin,
            ended_ns: self.built.world.now().as_nanos(),
            expected: step.action.expected(),
            ok,
            got,
            facts: report.facts,
            reasons,
        })
    }

    fn act(&mut self, action: &Action) -> Result<Report, Stalled> {
        match action {
            Action::Send(send) => self.send(send),
            Action::Ping(ping) => self.ping(ping),
            Action::Discover(discover) => self.discover(discover),
            Action::Measure(step) => self.measure(step),
            Action::Punch(punch) => self.punch(punch),
            Action::Connect(connect) => self.connect(connect),
            Action::Call(call) => self.call(call),
            Action::Map(map) => self.map(map),
            Action::Talk(talk) => self.talk_over(talk),
            #[cfg(target_os = "linux")]
            Action::Run(step) => self.run_program(step),
            #[cfg(target_os = "linux")]
            Action::Await(step) => self.await_program(step),
            #[cfg(not(target_os = "linux"))]
            Action::Run(_) | Action::Await(_) => Ok(Report::impossible("real programs need Linux")),
            Action::Wait(duration) => {
                self.built.world.run_for(*duration)?;
                Ok(Report::new("waited"))
            }
            Action::Reboot(nat) => Ok(self.reboot(nat)),
            Action::Readdress { nat, addresses } => Ok(self.readdress(nat, addresses)),
            Action::Set(step) => Ok(self.set(step)),
            Action::Link(step) => Ok(self.relink(step)),
            Action::Move(step) => self.move_host(step),
            Action::Expire(expire) => self.expire(expire),
            Action::Count(count) => Ok(self.count(count)),
            Action::Cut(cable) => Ok(self.switch(cable, true)),
            Action::Mend(cable) => Ok(self.switch(cable, false)),
        }
    }

    /// The host of this name; plans name no others.
    fn host(&self, name: &str) -> Result<AnyHost, Report> {
        self.built.any_host(name).ok_or_else(|| Report::impossible(format!("no host `{name}`")))
    }

    /// The first address of a machine, of this family.
    fn address(&self, name: &str, family: Family) -> Option<IpAddr> {
        self.built.machine(name)?.addresses.iter().copied().find(|address| family.has(address))
    }

    /// The address that a place means; of a machine's, its first one.
    fn resolve(&self, place: &Place) -> Option<IpAddr> {
        match place {
            Place::Address(address) => Some(*address),
            Place::Name(name) => Family::ALL.iter().find_map(|family| self.address(name, *family)),
        }
    }

    /// Whether a place has this address.
    fn owns(&self, place: &Place, address: IpAddr) -> bool {
        match place {
            Place::Address(own) => *own == address,
            Place::Name(name) => self.built.machine(name).is_some_and(|machine| machine.addresses.contains(&address)),
        }
    }

    fn finish(self, seed: u64, steps: Vec<StepResult>) -> Finished {
        let world = &self.built.world;
        let mut mappings = Vec::new();
        for nat in &self.plan.nats {
            let views = self.built.node(&nat.name).map(|node| world.mappings(node)).unwrap_or_default();
            let asked = self.built.node(&nat.name).map(|node| world.explicit(node)).unwrap_or_default();
            let by = |id| asked.iter().find(|one| one.mapping == id).map(|one| one.by.as_str());
            mappings.extend(views.into_iter().map(|view| Mapping {
                nat: nat.name.clone(),
                id: view.id.0,
                protocol: protocol(view.protocol),
                internal: view.internal.to_string(),
                external: view.external.to_string(),
                towards: view.towards.map(|remote| remote.to_string()),
                by: by(view.id.0),
            }));
        }
        let nats = self.plan.nats.iter().map(|nat| (nat.name.clone(), nat.behavior.axes().into_iter().collect()));
        let outcome = Outcome {
            natbox: 1,
            name: self.plan.name.clone(),
            file: self.plan.file.clone(),
            seed,
            ok: steps.iter().all(|step| step.ok),
            live: None,
            elapsed_ns: world.now().as_nanos(),
            steps,
            packets: world.statistics().packets,
            drops: self.tap.drops().into_iter().map(|(reason, count)| (reason.as_str(), count)).collect(),
            mappings,
            nats: nats.collect(),
        };
        Finished { outcome, names: self.built.names }
    }
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Udp => "udp",
        Protocol::Tcp => "tcp",
        Protocol::Icmp => "icmp",
    }
}

/// What came, with what is wrong with it where that is not the same.
fn told_with(report: &Report) -> String {
    let wrong: Vec<&str> = report.broken.iter().map(String::as_str).filter(|broken| *broken != report.got).collect();
    if wrong.is_empty() { report.got.clone() } else { format!("{} ({})", report.got, wrong.join("; ")) }
}
