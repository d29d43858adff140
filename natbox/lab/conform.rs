//! What the RFCs require of a NAT, judged by observation.
//!
//! A judge sends packets through a NAT, lets virtual time pass, and looks at what comes out. It does not look at the
//! `Behavior` that the NAT was made from, but for what the test bed needs: whether one-to-one translation wants an external
//! address for each host, and how many ports it takes to fill it. What an RFC wants to be configurable is configured
//! otherwise, and looked at again.
//!
//! One file for each RFC with its rows, and others by theme with the judges that several share. `bench` is a NAT alone;
//! `rig` is a gateway in a world, for what no NAT decides: links, the time to live, ICMP errors, overlapping realms.
//!
//! Left out: RFC 5382 and RFC 4787 over IPv6, which they do not speak of, and DCCP (RFC 5597), which natbox has not.

mod bench;
mod configured;
mod control;
mod errors;
mod exhaustion;
mod fragments;
mod hairpin;
mod lifetimes;
mod originated;
mod packets;
mod ports;
mod rfc4787;
mod rfc5382;
mod rfc5508;
mod rfc6888;
mod rfc7857;
mod rig;
mod tcp;

use std::sync::Arc;

use natbox_nat::Behavior;
use natbox_wire::Protocol;
use serde::Serialize;

/// How binding a requirement is (RFC 2119). A MUST NOT is a MUST, a SHOULD NOT a SHOULD; RECOMMENDED binds as SHOULD does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// Whoever does not meet it does not conform.
    Must,
    /// To be met unless there are reasons.
    Should,
    /// The same in other words, kept where the RFC uses them.
    Recommended,
    /// A choice: it can be made or left, and not be violated.
    May,
}

impl Level {
    /// Its word in RFC 2119.
    pub fn word(self) -> &'static str {
        match self {
            Level::Must => "MUST",
            Level::Should => "SHOULD",
            Level::Recommended => "RECOMMENDED",
            Level::May => "MAY",
        }
    }
}

/// What was found out about one requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// What was observed is what is required.
    Met,
    /// It is not; what was observed, in a sentence.
    Violated(String),
    /// It asks nothing of this NAT, or is a choice that it does not make, or no packet can show it; why.
    NotApplicable(String),
}

/// A requirement and what was found out about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The RFC whose it is.
    pub rfc: Rfc,
    /// `RFC4787 REQ-1`; for RFC 7857, which numbers none, the section: `RFC7857 2.2`. In brackets which part of it.
    pub id: &'static str,
    /// How binding it is.
    pub level: Level,
    /// What it asks for, in a few words.
    pub asks: &'static str,
    /// What was found out.
    pub finding: Finding,
    /// Why no configuration of natbox violates it, where none does.
    pub inherent: Option<&'static str>,
}

impl Judgement {
    /// Whether a MUST is violated.
    pub fn fails(&self) -> bool {
        self.level == Level::Must && matches!(self.finding, Finding::Violated(_))
    }
}

/// An RFC whose requirements can be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rfc {
    /// UDP (BCP 127).
    Rfc4787,
    /// TCP (BCP 142).
    Rfc5382,
    /// ICMP (BCP 148).
    Rfc5508,
    /// The update of these three.
    Rfc7857,
    /// Carrier-grade NATs (BCP 127).
    Rfc6888,
}

impl Rfc {
    /// All of them.
    pub const ALL: [Rfc; 5] = [Rfc::Rfc4787, Rfc::Rfc5382, Rfc::Rfc5508, Rfc::Rfc7857, Rfc::Rfc6888];
    /// Those that speak of any NAT, not only of a carrier's.
    pub const ANY_NAT: [Rfc; 4] = [Rfc::Rfc4787, Rfc::Rfc5382, Rfc::Rfc5508, Rfc::Rfc7857];

    /// The RFC of this number.
    pub fn numbered(number: u16) -> Option<Rfc> {
        Rfc::ALL.into_iter().find(|rfc| rfc.number() == number)
    }

    /// Its number.
    pub fn number(self) -> u16 {
        match self {
            Rfc::Rfc4787 => 4787,
            Rfc::Rfc5382 => 5382,
            Rfc::Rfc5508 => 5508,
            Rfc::Rfc7857 => 7857,
            Rfc::Rfc6888 => 6888,
        }
    }

    /// What it is about, in a few words.
    pub fn title(self) -> &'static str {
        match self {
            Rfc::Rfc4787 => "UDP",
            Rfc::Rfc5382 => "TCP",
            Rfc::Rfc5508 => "ICMP",
            Rfc::Rfc7857 => "updates of these, by section",
            Rfc::Rfc6888 => "carrier-grade NATs",
        }
    }

    fn requirements(self) -> &'static [Requirement] {
        match self {
            Rfc::Rfc4787 => rfc4787::REQUIREMENTS,
            Rfc::Rfc5382 => rfc5382::REQUIREMENTS,
            Rfc::Rfc5508 => rfc5508::REQUIREMENTS,
            Rfc::Rfc7857 => rfc7857::REQUIREMENTS,
            Rfc::Rfc6888 => rfc6888::REQUIREMENTS,
        }
    }
}

/// Judges a behaviour by the requirements of these RFCs, in their order.
pub fn judge(behavior: &Arc<Behavior>, rfcs: &[Rfc]) -> Vec<Judgement> {
    let rows = rfcs.iter().flat_map(|rfc| rfc.requirements().iter().map(|row| (*rfc, row)));
    rows.map(|(rfc, row)| row.judgement(rfc, behavior)).collect()
}

/// Why a requirement is not met.
enum Shortfall {
    Violated(String),
    NotApplicable(String),
}

/// What a bench says went otherwise than a judge asked for.
impl From<String> for Shortfall {
    fn from(observed: String) -> Shortfall {
        Shortfall::Violated(observed)
    }
}

/// What a judge says.
type Outcome = Result<(), Shortfall>;

fn violated(observed: impl Into<String>) -> Outcome {
    Err(Shortfall::Violated(observed.into()))
}

fn not_applicable(why: impl Into<String>) -> Outcome {
    Err(Shortfall::NotApplicable(why.into()))
}

/// Met where it holds.
fn require(holds: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { violated(otherwise()) }
}

/// The same NAT, configured otherwise.
fn with(behavior: &Arc<Behavior>, change: impl FnOnce(&mut Behavior)) -> Arc<Behavior> {
    let mut other = Behavior::clone(behavior);
    change(&mut other);
    Arc::new(other)
}

type Judge = fn(&Arc<Behavior>) -> Outcome;

/// One row of the ledger.
struct Requirement {
    id: &'static str,
    level: Level,
    asks: &'static str,
    /// The transport that its judge needs to be let out.
    protocol: Protocol,
    judge: Judge,
    inherent: Option<&'static str>,
}

impl Requirement {
    /// A row that no configuration violates; why.
    const fn inherent(self, why: &'static str) -> Requirement {
        Requirement { inherent: Some(why), ..self }
    }

    fn judgement(&self, rfc: Rfc, behavior: &Arc<Behavior>) -> Judgement {
        let finding = match bench::translates(behavior, self.protocol).and_then(|()| (self.judge)(behavior)) {
            Ok(()) => Finding::Met,
            Err(Shortfall::Violated(observed)) if self.level == Level::May => {
                Finding::NotApplicable(format!("a choice that it does not make: {observed}"))
            }
            Err(Shortfall::Violated(observed)) => Finding::Violated(observed),
            Err(Shortfall::NotApplicable(why)) => Finding::NotApplicable(why),
        };
        Judgement { rfc, id: self.id, level: self.level, asks: self.asks, finding, inherent: self.inherent }
    }
}

/// A row: `row(id, level, asks, protocol, judge)`.
const fn row(id: &'static str, level: Level, asks: &'static str, protocol: Protocol, judge: Judge) -> Requirement {
    Requirement { id, level, asks, protocol, judge, inherent: None }
}
