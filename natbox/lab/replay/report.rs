//! Which packets fare differently, for people and programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use serde::Serialize;

use super::fate::{End, Fate};
use super::past::Past;
use super::stage::Told;
use crate::lab::Lab;
use crate::paint::Paint;
use crate::record::moment;

/// What came of a replay.
#[derive(Clone, Debug, Serialize)]
pub struct Replayed {
    /// The version of this shape.
    pub natbox: u32,
    /// The topology's file.
    pub topology: String,
    /// The seed of the replay.
    pub seed: u64,
    /// Packets that hosts sent.
    pub packets: usize,
    /// Those that fare as they did.
    pub same: usize,
    /// Those whose end the capture does not show: nothing is said about them.
    pub unknown: usize,
    /// Those that were sent to another endpoint than in the capture, because the flow that they are for has another.
    pub redirected: usize,
    /// Those that fare differently, in the order in which they were sent.
    pub differences: Vec<Difference>,
}

/// How a packet fares differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It arrived, and is dropped now.
    NowDropped,
    /// It was dropped, and arrives now.
    NowArrives,
    /// It arrives as if from another endpoint.
    OtherSource,
    /// It arrives somewhere else.
    OtherReceiver,
    /// It is dropped elsewhere, or for another reason.
    OtherDrop,
    /// Nothing is seen of its end.
    NowUnseen,
}

impl Kind {
    fn of(then: &Fate, now: &Fate) -> Option<Kind> {
        match (&then.end, &now.end) {
            (End::Unseen, _) => None,
            (_, End::Unseen) => Some(Kind::NowUnseen),
            (End::Arrived { .. }, End::Dropped { .. }) => Some(Kind::NowDropped),
            (End::Dropped { .. }, End::Arrived { .. }) => Some(Kind::NowArrives),
            (End::Arrived { at: there }, End::Arrived { at: here }) if there != here => Some(Kind::OtherReceiver),
            (End::Arrived { .. }, End::Arrived { .. }) => (then.source != now.source).then_some(Kind::OtherSource),
            (End::Dropped { .. }, End::Dropped { .. }) => (then.end != now.end).then_some(Kind::OtherDrop),
        }
    }

    /// For people: what these packets have in common.
    fn told(self) -> &'static str {
        match self {
            Kind::NowDropped => "now dropped",
            Kind::NowArrives => "now arriving",
            Kind::OtherSource => "arriving from another endpoint",
            Kind::OtherReceiver => "arriving elsewhere",
            Kind::OtherDrop => "dropped otherwise",
            Kind::NowUnseen => "now without an end",
        }
    }
}

/// A packet that fares differently.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// Its number in the capture.
    pub packet: u64,
    /// When it was sent.
    pub time_ns: u64,
    /// Who sent it.
    pub host: String,
    /// What it is, in a line.
    pub summary: String,
    /// Its source, where it was sent.
    pub source: Option<SocketAddr>,
    /// Its destination, where it was sent.
    pub destination: Option<SocketAddr>,
    /// Where it is sent now, if that is another endpoint.
    pub sent_to: Option<SocketAddr>,
    /// How it differs.
    pub kind: Kind,
    /// What became of it in the capture.
    pub then: Fate,
    /// What becomes of it now.
    pub now: Fate,
}

impl Replayed {
    pub(super) fn of(lab: &Lab, seed: u64, past: &Past, told: &Told, now: Vec<Fate>) -> Replayed {
        let mut replayed = Replayed {
            natbox: 1,
            topology: lab.plan().file.clone(),
            seed,
            packets: past.units.len(),
            same: 0,
            unknown: 0,
            redirected: told.sent_to.len(),
            differences: Vec::new(),
        };
        for (index, (unit, now)) in past.units.iter().zip(now).enumerate() {
            match Kind::of(&unit.then, &now) {
                None if unit.then.end == End::Unseen => replayed.unknown += 1,
                None => replayed.same += 1,
                Some(kind) => replayed.differences.push(Difference {
                    packet: unit.packet,
                    time_ns: unit.at.as_nanos(),
                    host: unit.host.clone(),
                    summary: unit.summary.clone(),
                    source: unit.source,
                    destination: unit.destination,
                    sent_to: told.sent_to.get(&index).copied(),
                    kind,
                    then: unit.then.clone(),
                    now,
                }),
            }
        }
        replayed
    }

    /// For programs.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// For people; without the packets one by one, if they want it short.
    pub fn to_text(&self, short: bool, paint: Paint) -> String {
        let mut text = String::new();
        for difference in self.differences.iter().filter(|_| !short) {
            let at = moment(natbox_wire::Time::from_nanos(difference.time_ns));
            let head = format!("p{} at {at} from {}: {}", difference.packet, difference.host, difference.summary);
            let _ = writeln!(text, "{}", paint.strong(head));
            if let Some(to) = difference.sent_to {
                let _ = writeln!(text, "  sent to {to}, which its flow has now");
            }
            let _ = writeln!(text, "  then: {}", told(&difference.then));
            let _ = writeln!(text, "  now:  {}", paint.notable(told(&difference.now)));
        }
        let _ = writeln!(text, "{}", self.sum());
        text
    }

    fn sum(&self) -> String {
        let mut kinds = BTreeMap::<Kind, usize>::new();
        self.differences.iter().for_each(|difference| *kinds.entry(difference.kind).or_default() += 1);
        let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {}", kind.told())).collect();
        let packets = if self.packets == 1 { "1 packet".to_owned() } else { format!("{} packets", self.packets) };
        let mut parts = vec![match self.differences.len() {
            0 => format!("{packets} replayed, none fares differently"),
            1 => format!("{packets} replayed, 1 fares differently: {}", kinds.join(", ")),
            many => format!("{packets} replayed, {many} fare differently: {}", kinds.join(", ")),
        }];
        if self.redirected > 0 {
            parts.push(format!("{} sent to where their flows are now", self.redirected));
        }
        if self.unknown > 0 {
            parts.push(format!("{} whose end is not in the capture", self.unknown));
        }
        parts.join("; ")
    }
}

fn told(fate: &Fate) -> String {
    match (&fate.end, fate.source) {
        (End::Unseen, _) => "nothing is seen of its end".to_owned(),
        (End::Arrived { at }, Some(source)) => format!("arrives at {at} from {source}"),
        (End::Arrived { at }, None) => format!("arrives at {at}"),
        (End::Dropped { at, reason, .. }, _) => {
            fate.why.clone().unwrap_or_else(|| format!("dropped at {at}: {reason}"))
        }
    }
}
