//! `connect` by one technique: the callee waits for this step alone, under a name of its own, and echoes what comes.
//!
//! The step's clock begins when the callee is registered. When the technique says that it has succeeded, a message and
//! its echo prove it.

use std::time::Duration;

use natbox_host::Host as _;
use natbox_probes::call::respond;
use natbox_probes::signal;
use natbox_probes::technique::{self, Contact, Fact, Technique};
use natbox_wire::Word;
use natbox_world::Stalled;
use serde_json::Value;

use super::shown::nanos;
use super::talk::{Failed, Found, LOOK_UP, Problem, UPGRADE, paths, told_failure, told_path};
use super::{Report, Runner};
use crate::anyhost::AnyHost;
use crate::plan::step::Connect;

/// What is said to prove that the hosts talk.
const HELLO: &[u8] = b"natbox";
/// How often it is said at most, and how long an echo is waited for each time: over four links that each lose 30 %, all
/// would be lost once in 50,000 runs.
const HELLOS: u32 = 40;
const ECHO: Duration = Duration::from_millis(300);
/// How long a callee goes on to listen.
pub(super) const LISTENS: Duration = Duration::from_secs(60);
/// The same, where the connection is kept.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

impl Runner<'_> {
    pub(super) fn by_technique(&mut self, step: &Connect) -> Result<Report, Stalled> {
        let listens = if step.label.is_some() { KEPT } else { LISTENS };
        let mut report = match self.meet(step, listens)? {
            Ok(mut contact) => {
                let (contact, proven) = self.built.world.run_until(async move {
                    let proven = prove(&mut contact).await;
                    if step.technique == Technique::RelayFirst {
                        // Better paths are found while the connection listens.
                        let _ = contact.recv(contact.host().now() + UPGRADE).await;
                    }
                    (contact, proven)
                })?;
                let mut report = told(&contact, step);
                report.demand(proven, || "no message came back".to_owned());
                self.keep(step.label.as_deref(), contact);
                report
            }
            Err(Problem::Failed(failed)) => told_failure(&failed, step.expect.as_ref()),
            Err(Problem::Impossible(report)) => return Ok(report),
        };
        report.fact("technique", step.technique.as_str());
        Ok(report)
    }

    /// Has two hosts meet by a technique; the callee answers for so long.
    pub(super) fn meet(&mut self, step: &Connect, listens: Duration) -> Result<Met, Stalled> {
        let (caller, callee, meeting) = match self.pair(&step.from, &step.to, &step.via) {
            Ok(pair) => pair,
            Err(report) => return Ok(Err(Problem::Impossible(report))),
        };
        // A name of its own: an earlier registration of the same host must not be mistaken for this one.
        let name = format!("{}@{}", step.to, self.built.world.now().as_nanos());
        let technique = step.technique;
        let waiting = meeting.setting(&name, &step.options);
        let answerer = callee.clone();
        callee.spawn(async move {
            if let Ok(mut contact) = technique::answer(&answerer, technique, &waiting).await {
                // Whatever ends it, the caller finds out.
                respond(&mut contact, answerer.now() + listens).await;
            }
        });
        let setting = meeting.setting(&step.from, &step.options);
        let met = self.built.world.run_until(async {
            // A callee without UDP tries that first.
            let falls_back = matches!(technique, Technique::Connect | Technique::RelayFirst);
            let patience = if falls_back { LOOK_UP * 3 } else { LOOK_UP };
            let deadline = caller.now() + patience;
            signal::look_up(&caller, setting.directory, &name, deadline).await.map_err(Failed::Lookup)?;
            technique::call(&caller, technique, &setting, &name).await.map_err(Failed::Checks)
        })?;
        Ok(met.map_err(Problem::Failed))
    }
}

/// Two hosts that have met, or why they have not.
type Met = Result<Contact<AnyHost>, Problem>;

/// Whether a message comes back.
async fn prove(contact: &mut Contact<AnyHost>) -> bool {
    for _ in 0..HELLOS {
        // What cannot be sent now may go another way the next time.
        let _ = contact.send(HELLO).await;
        let until = contact.host().now() + ECHO;
        while let Ok(Some(message)) = contact.recv(until).await {
            if message.payload == HELLO {
                return true;
            }
        }
    }
    false
}

fn told(contact: &Contact<AnyHost>, step: &Connect) -> Report {
    let found = Found { path: contact.path(), elapsed: contact.elapsed(), remote: contact.remote() };
    let mut report = told_path(&found, step.expect.as_ref());
    report.fact("transport", contact.transport().as_str());
    report.fact("paths", paths(&contact.history()));
    contact.facts().iter().for_each(|(name, fact)| report.fact(name, value(fact)));
    report
}

/// A fact in JSON.
pub(super) fn value(fact: &Fact) -> Value {
    match fact {
        Fact::Number(number) => (*number).into(),
        Fact::Switch(switch) => (*switch).into(),
        Fact::Text(text) => text.as_str().into(),
        Fact::Duration(duration) => nanos(*duration).into(),
        Fact::List(facts) => facts.iter().map(value).collect(),
    }
}
