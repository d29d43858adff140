//! `talk`: connections that were kept by `as`, and how they fare.
//!
//! A program on the caller's host listens on each, so that what keeps a path alive, and what replaces a dead one, goes on
//! during all later steps. Messages are sent by `talk` alone: without it a connection is idle.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use futures::channel::{mpsc, oneshot};
use futures::{FutureExt, SinkExt, StreamExt, select_biased};
use natbox_host::Host as _;
use natbox_probes::Path;
use natbox_probes::technique::{Contact, Facts};
use natbox_wire::{Time, Word};
use natbox_world::Stalled;
use serde_json::Value;

use super::shown::{exact, nanos, shown};
use super::talk::paths;
use super::techniques::value;
use super::{Report, Runner};
use crate::anyhost::AnyHost;
use crate::plan::step::Talk;
use crate::topology::units::show_percent;

/// What stands in front of a message: no frame of a call.
const MARK: &[u8; 4] = b"talk";
/// How long the last echoes are waited for.
const TAIL: Duration = Duration::from_secs(1);
/// How long a connection whose socket is broken is left alone.
const REST: Duration = Duration::from_millis(100);

/// Connections that are kept, by name.
pub(super) type Connections = BTreeMap<String, mpsc::Sender<Order>>;

/// What a kept connection is to do, and where to tell what came of it.
pub(super) struct Order {
    length: Duration,
    interval: Duration,
    done: oneshot::Sender<Talked>,
}

/// What came of messages over a connection.
struct Talked {
    sent: u32,
    echoed: u32,
    /// The longest time without an echo while messages were sent.
    outage: Duration,
    path: Path,
    remote: SocketAddr,
    history: Vec<(Time, Path)>,
    facts: Facts,
}

impl Runner<'_> {
    /// Keeps a connection, if it has a name.
    pub(super) fn keep(&mut self, label: Option<&str>, contact: Contact<AnyHost>) {
        let Some(label) = label else { return };
        let (sender, orders) = mpsc::channel(1);
        self.held.insert(label.to_owned(), sender);
        contact.host().clone().spawn(hold(contact, orders));
    }

    pub(super) fn talk_over(&mut self, step: &Talk) -> Result<Report, Stalled> {
        let Some(connection) = self.held.get(&step.label) else {
            return Ok(Report::impossible(format!("`{}` did not come about", step.label)));
        };
        let mut connection = connection.clone();
        let (done, talked) = oneshot::channel();
        let order = Order { length: step.length, interval: step.interval, done };
        let talked = self.built.world.run_until(async move {
            connection.send(order).await.ok()?;
            talked.await.ok()
        })?;
        Ok(match talked {
            Some(talked) => told(&talked, step),
            None => Report::impossible(format!("`{}` has ended", step.label)),
        })
    }
}

/// Listens on a connection until its owner has gone.
async fn hold(mut contact: Contact<AnyHost>, mut orders: mpsc::Receiver<Order>) {
    let host = contact.host().clone();
    loop {
        let order = {
            let mut message = std::pin::pin!(contact.recv(Time::MAX).fuse());
            select_biased! {
                order = orders.next() => Some(order),
                message = message => {
                    // What comes unasked is an echo that is late.
                    if message.is_err() {
                        host.sleep(REST).await;
                    }
                    None
                }
            }
        };
        match order {
            Some(Some(order)) => {
                let talked = talk(&host, &mut contact, order.length, order.interval).await;
                // Whoever does not wait any more need not know.
                let _ = order.done.send(talked);
            }
            Some(None) => return,
            None => {}
        }
    }
}

/// Sends messages, each at its time, and counts the echoes.
async fn talk(host: &AnyHost, contact: &mut Contact<AnyHost>, length: Duration, interval: Duration) -> Talked {
    let began = host.now();
    let count = u32::try_from(length.as_nanos().div_ceil(interval.as_nanos().max(1))).unwrap_or(u32::MAX);
    let mut echoes =
        Echoes { began, last: began, outage: Duration::ZERO, echoed: vec![false; count as usize], count: 0 };
    for number in 0..count {
        echoes.listen(host, contact, began + interval.saturating_mul(number)).await;
        let message = [&MARK[..], &began.as_nanos().to_be_bytes(), &number.to_be_bytes()].concat();
        // What cannot be sent is lost.
        let _ = contact.send(&message).await;
    }
    let end = host.now() + TAIL;
    while echoes.count < count && host.now() < end {
        echoes.listen(host, contact, end).await;
    }
    if echoes.echoed.last() == Some(&false) {
        // Silent to the end of the sending; nothing is said of what comes after.
        echoes.silent_until(began + interval.saturating_mul(count));
    }
    Talked {
        sent: count,
        echoed: echoes.count,
        outage: echoes.outage,
        path: contact.path(),
        remote: contact.remote(),
        history: contact.history(),
        facts: contact.facts(),
    }
}

struct Echoes {
    began: Time,
    /// When the last echo came.
    last: Time,
    outage: Duration,
    echoed: Vec<bool>,
    count: u32,
}

impl Echoes {
    /// Takes echoes until this time, or until every message has come back.
    async fn listen(&mut self, host: &AnyHost, contact: &mut Contact<AnyHost>, until: Time) {
        while host.now() < until && (self.count as usize) < self.echoed.len() {
            let number = match contact.recv(until).await {
                Ok(Some(message)) => self.number(message.payload),
                Ok(None) => return,
                Err(_) => {
                    host.sleep(REST.min(until.since(host.now()))).await;
                    continue;
                }
            };
            if let Some(echoed) = number.and_then(|number| self.echoed.get_mut(number)).filter(|echoed| !**echoed) {
                *echoed = true;
                self.count += 1;
                self.silent_until(host.now());
            }
        }
    }

    /// The number of a message of this talk.
    fn number(&self, payload: &[u8]) -> Option<usize> {
        let rest = payload.strip_prefix(MARK)?.strip_prefix(&self.began.as_nanos().to_be_bytes())?;
        usize::try_from(u32::from_be_bytes(rest.try_into().ok()?)).ok()
    }

    fn silent_until(&mut self, now: Time) {
        self.outage = self.outage.max(now.since(self.last));
        self.last = now;
    }
}

fn told(talked: &Talked, step: &Talk) -> Report {
    let lost = talked.sent - talked.echoed;
    let loss = if talked.sent == 0 { 0.0 } else { f64::from(lost) / f64::from(talked.sent) };
    let ways: Vec<&str> = talked.history.iter().map(|(_, path)| path.as_str()).collect();
    let ways = ways.join(" then ");
    let mut report = Report::new(format!(
        "{ways}, {lost} of {} lost ({}), silent for {} at most",
        talked.sent,
        show_percent(&loss),
        shown(talked.outage)
    ));
    report.fact("path", talked.path.as_str());
    report.fact("paths", paths(&talked.history));
    report.fact("endpoint", talked.remote.to_string());
    report.fact("sent", talked.sent);
    report.fact("received", talked.echoed);
    report.fact("loss", loss);
    report.fact("outage_ns", nanos(talked.outage));
    talked.facts.iter().for_each(|(name, fact)| report.fact(name, value(fact)));
    if let Some(Value::String(trouble)) = report.facts.get("trouble") {
        report.got.push_str(&format!("; {trouble}"));
    }
    report.explain = lost > 0;
    let expect = step.expect.unwrap_or_default();
    report.demand(expect.path.is_none_or(|wanted| wanted == talked.path), || format!("now {}", talked.path));
    report.demand(expect.loss.is_none_or(|allowed| allowed.contains(&loss)), || "another loss".to_owned());
    let outage = talked.outage;
    report.demand(expect.outage.is_none_or(|allowed| allowed.contains(&outage)), || {
        format!("silent for {}", exact(outage))
    });
    report
}
