//! `connect` by one technique: the callee waits for this step alone, under a name of its own, and echoes what comes.
//!
//! The step's clock begins when the callee is registered. When the technique says that it has succeeded, a message and
//! its echo prove it.

use std::time::Duration;

use natbox_host::Host as _;
use natbox_probes::signal;
use natbox_probes::technique::{self, Contact, Fact, Setting, Technique};
use natbox_wire::{Time, Word};
use natbox_world::{Stalled, VirtualHost};
use serde_json::Value;

use super::shown::nanos;
use super::talk::{Failed, Found, LOOK_UP, UPGRADE, paths, told_failure, told_path};
use super::{Report, Runner};
use crate::plan::step::Connect;

/// What is said to prove that the hosts talk.
const HELLO: &[u8] = b"natbox";
/// How often it is said, and how long an echo is waited for each time.
const HELLOS: u32 = 10;
const ECHO: Duration = Duration::from_millis(300);
/// How long a callee goes on to listen.
const LISTENS: Duration = Duration::from_secs(60);
/// The same, where the connection is kept.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

impl Runner<'_> {
    pub(super) fn by_technique(&mut self, step: &Connect) -> Result<Report, Stalled> {
        let (caller, callee, meeting) = match self.pair(&step.from, &step.to, &step.via) {
            Ok(pair) => pair,
            Err(report) => return Ok(report),
        };
        // A name of its own: an earlier registration of the same host must not be mistaken for this one.
        let name = format!("{}@{}", step.to, self.built.world.now().as_nanos());
        let technique = step.technique;
        let waiting = meeting.setting(&name, &step.options);
        let answerer = callee.clone();
        let listens = if step.label.is_some() { KEPT } else { LISTENS };
        callee.spawn(async move {
            if let Ok(contact) = technique::answer(&answerer, technique, &waiting).await {
                // Whatever ends it, the caller finds out.
                echo(contact, answerer.now() + listens).await;
            }
        });
        let setting = meeting.setting(&step.from, &step.options);
        let met = self.built.world.run_until(async {
            // A callee without UDP tries that first.
            let patience = if technique == Technique::Connect { LOOK_UP * 3 } else { LOOK_UP };
            let deadline = caller.now() + patience;
            signal::look_up(&caller, setting.directory, &name, deadline).await.map_err(Failed::Lookup)?;
            let mut contact = call(&caller, step, &setting, &name).await?;
            let proven = prove(&mut contact).await;
            if technique == Technique::RelayFirst {
                // Better paths are found while the connection listens.
                let _ = contact.recv(caller.now() + UPGRADE).await;
            }
            Ok((contact, proven))
        })?;
        let mut report = match met {
            Ok((contact, proven)) => {
                let mut report = told(&contact, step);
                report.demand(proven, || "no message came back".to_owned());
                self.keep(step.label.as_deref(), contact);
                report
            }
            Err(failed) => told_failure(&failed, step.expect.as_ref()),
        };
        report.fact("technique", technique.as_str());
        Ok(report)
    }
}

async fn call(
    host: &VirtualHost,
    step: &Connect,
    setting: &Setting,
    peer: &str,
) -> Result<Contact<VirtualHost>, Failed> {
    technique::call(host, step.technique, setting, peer).await.map_err(Failed::Checks)
}

/// How long an echo rests when its connection cannot be used: it may come back.
const REST: Duration = Duration::from_secs(1);

/// Sends every message back.
async fn echo(mut contact: Contact<VirtualHost>, until: Time) {
    while contact.host().now() < until {
        let message = match contact.recv(until).await {
            Ok(Some(message)) => message.payload.to_vec(),
            Ok(None) => return,
            Err(_) => {
                contact.host().sleep(REST).await;
                continue;
            }
        };
        // What cannot be sent now is lost.
        let _ = contact.send(&message).await;
    }
}

/// Whether a message comes back.
async fn prove(contact: &mut Contact<VirtualHost>) -> bool {
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

fn told(contact: &Contact<VirtualHost>, step: &Connect) -> Report {
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
