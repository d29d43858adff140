//! Of a cell that differs, the smallest lab that still differs in the same way: a topology file for `natbox run`.
//!
//! Everything that can be left out is left out, one thing after the other, as long as the run still comes to the same
//! unexpected path: servers, external addresses, outer NATs, impairments of links, axes that differ from the defaults, a
//! NAT as a whole, and the seed, if 0 will do. Every attempt is the text of a topology file, read and run, so that the
//! file that is left is known to show the difference.

use std::fmt::Write;

use natbox_nat::Behavior;
use natbox_probes::Path;
use natbox_probes::portmap::server::Config;
use natbox_wire::Word;
use natbox_world::LinkConfig;

use super::cell::{Cell, Sweep};
use super::lab::{HOSTS, SERVICES, nat_name};
use super::side::{Side, SideNat};
use super::{MatrixError, Technique, technique};
use crate::Lab;
use crate::plan::{Shown, control_entries, flow, link_entries, some_axes};
use crate::record::Limits;

/// A cell made small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrunk {
    /// The topology file.
    pub yaml: String,
    /// What a file of it may be called.
    pub file_name: String,
    /// What was left out, or put back to its default.
    pub left_out: usize,
}

/// A lab as text, in pieces that can be left out.
#[derive(Clone)]
struct Draft {
    seed: u64,
    nats: Vec<NatDraft>,
    /// The NAT that the caller and the callee are behind, if any.
    behind: [Option<usize>; 2],
    services: Vec<&'static str>,
    technique: Technique,
}

#[derive(Clone)]
struct NatDraft {
    name: String,
    behind: Option<usize>,
    addresses: usize,
    axes: Vec<(&'static str, String)>,
    link: Vec<(&'static str, String)>,
    control: Option<Config>,
}

/// Makes a cell small whose path is not the expected one.
///
/// # Errors
/// A cell that is as expected, or that comes to another path when its lab is written down.
pub fn shrink(sweep: &Sweep, cell: &Cell) -> Result<Shrunk, MatrixError> {
    let said = |what: &str| {
        MatrixError::Said(format!(
            "{} from {} to {}: {what}",
            sweep.technique(cell.technique),
            sweep.name(cell.a),
            sweep.name(cell.b)
        ))
    };
    let sides = sweep.sides.get(cell.a).zip(sweep.sides.get(cell.b)).ok_or_else(|| said("no such sides"))?;
    let technique = Technique::from_word(sweep.technique(cell.technique)).ok_or_else(|| said("no such technique"))?;
    let expected = cell.expected.filter(|expected| *expected != cell.path).ok_or_else(|| said("nothing differs"))?;
    let mut search =
        Search { draft: Draft::of([sides.0, sides.1], technique, cell.seed), path: cell.path, expected, left_out: 0 };
    if !search.shows(&search.draft) {
        return Err(said("its lab, written down, does not show the difference"));
    }
    search.run();
    let heading = format!(
        "# {} from {} to {}, seed {}: {} where {expected} was expected, made small by natbox.\n",
        technique,
        sweep.name(cell.a),
        sweep.name(cell.b),
        cell.seed,
        cell.path,
    );
    let plain = |name: &str| name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '.', "-");
    let file_name =
        format!("{technique}--{}--{}--seed-{}.yaml", plain(sweep.name(cell.a)), plain(sweep.name(cell.b)), cell.seed);
    Ok(Shrunk { yaml: heading + &search.draft.yaml(expected), file_name, left_out: search.left_out })
}

/// The search for the smallest lab.
struct Search {
    draft: Draft,
    /// What the lab is to come to.
    path: Path,
    expected: Path,
    left_out: usize,
}

impl Search {
    fn shows(&self, draft: &Draft) -> bool {
        let Ok(lab) = Lab::from_yaml(&draft.yaml(self.expected)) else { return false };
        let outcome = lab.limits(Limits { records: 0, bytes: 0, summaries: false }).run();
        outcome.is_ok_and(|outcome| {
            let step = outcome.steps.last();
            step.is_some_and(|step| !step.ok && step.fact("path") == Some(self.path.as_str()))
        })
    }

    /// Keeps a smaller draft if it still shows the difference.
    fn attempt(&mut self, change: impl FnOnce(&mut Draft)) -> bool {
        let mut draft = self.draft.clone();
        change(&mut draft);
        let shows = self.shows(&draft);
        if shows {
            self.draft = draft;
            self.left_out += 1;
        }
        shows
    }

    /// Until nothing more can be left out: what one thing was needed for may be gone itself.
    fn run(&mut self) {
        if self.draft.seed != 0 {
            self.attempt(|draft| draft.seed = 0);
        }
        // At once what stands at its default anyway.
        self.attempt(Draft::drop_defaults);
        loop {
            let before = self.left_out;
            self.round();
            if self.left_out == before {
                return;
            }
        }
    }

    fn round(&mut self) {
        for service in SERVICES {
            if self.draft.services.contains(&service) {
                self.attempt(|draft| draft.services.retain(|other| *other != service));
            }
        }
        for side in 0..2 {
            if self.draft.behind[side].is_some() {
                self.attempt(|draft| draft.free(side));
            }
        }
        for nat in 0..self.draft.nats.len() {
            if !self.draft.used(nat) {
                continue;
            }
            if self.draft.nats[nat].behind.is_some() {
                self.attempt(|draft| draft.nats[nat].behind = None);
            }
            if self.draft.nats[nat].addresses > 1 {
                self.attempt(|draft| draft.nats[nat].addresses = 1);
            }
            if self.draft.nats[nat].control.is_some() {
                self.attempt(|draft| draft.nats[nat].control = None);
            }
            self.links(nat);
            self.axes(nat);
        }
    }

    fn links(&mut self, nat: usize) {
        for (key, _) in self.draft.nats[nat].link.clone() {
            self.attempt(|draft| draft.nats[nat].link.retain(|(other, _)| *other != key));
        }
    }

    fn axes(&mut self, nat: usize) {
        for (axis, _) in self.draft.nats[nat].axes.clone() {
            self.attempt(|draft| draft.nats[nat].axes.retain(|(other, _)| *other != axis));
        }
    }
}

impl Draft {
    fn of(sides: [&Side; 2], technique: Technique, seed: u64) -> Draft {
        let (mut nats, mut behind) = (Vec::new(), [None, None]);
        for (number, side) in sides.into_iter().enumerate() {
            behind[number] = Some(nats.len());
            for (depth, nat) in side.nats.iter().enumerate() {
                let outer = (depth + 1 < side.nats.len()).then_some(nats.len() + 1);
                nats.push(NatDraft::of(nat_name(number, depth), nat, outer));
            }
        }
        Draft { seed, nats, behind, services: SERVICES.to_vec(), technique }
    }

    /// Leaves out what a topology file does not have to say.
    fn drop_defaults(&mut self) {
        let defaults = Behavior::default().axes();
        for nat in &mut self.nats {
            nat.axes.retain(|axis| !defaults.contains(axis));
            let latency = if nat.behind.is_some() { "0s" } else { "10ms" };
            let plain = link_rows(&LinkConfig::default());
            nat.link.retain(|(key, value)| match *key {
                "latency" => value != latency,
                key => !plain.contains(&(key, value.clone())),
            });
        }
    }

    /// Takes the NATs from one of the hosts.
    fn free(&mut self, side: usize) {
        self.behind[side] = None;
    }

    /// Whether a NAT is still in front of a host.
    fn used(&self, nat: usize) -> bool {
        self.behind.iter().flatten().any(|first| {
            let next = |at: &usize| self.nats.get(*at).and_then(|nat| nat.behind);
            std::iter::successors(Some(*first), next).take(self.nats.len()).any(|at| at == nat)
        })
    }

    fn yaml(&self, expected: Path) -> String {
        let mut text = format!("name: {} comes to another path\n", self.technique);
        if self.seed != 0 {
            writeln!(text, "seed: {}", self.seed).ok();
        }
        let used: Vec<&NatDraft> =
            self.nats.iter().enumerate().filter(|(nat, _)| self.used(*nat)).map(|(_, nat)| nat).collect();
        if !used.is_empty() {
            text.push_str("nats:\n");
        }
        for nat in used {
            writeln!(text, "  {}: {}", nat.name, flow(&nat.shown(&self.nats))).ok();
        }
        text.push_str("hosts:\n");
        let [alice, bob, server] = HOSTS;
        for (host, behind) in [alice, bob].into_iter().zip(self.behind) {
            let behind = behind.and_then(|nat| self.nats.get(nat)).map(|nat| format!(" behind: {} ", nat.name));
            writeln!(text, "  {host}: {{{}}}", behind.unwrap_or_default()).ok();
        }
        if !self.services.is_empty() {
            writeln!(text, "  {server}: {{ services: [{}] }}", self.services.join(", ")).ok();
        }
        writeln!(text, "scenario:\n  - {}\n    expect: {expected}", technique::step(self.technique, alice, bob)).ok();
        text
    }
}

impl NatDraft {
    fn of(name: String, nat: &SideNat, behind: Option<usize>) -> NatDraft {
        NatDraft {
            name,
            behind,
            addresses: nat.addresses,
            axes: nat.behavior.axes(),
            link: link_rows(&nat.link),
            control: nat.control.clone(),
        }
    }

    fn shown(&self, all: &[NatDraft]) -> Shown {
        let mut entries = Vec::new();
        entries.extend(self.behind.and_then(|nat| all.get(nat)).map(|nat| ("behind", Shown::word(&nat.name))));
        entries.extend((self.addresses > 1).then(|| ("addresses", Shown::word(self.addresses))));
        entries.extend(self.control.iter().flat_map(|control| control_entries(Some(control), &[])));
        if !self.link.is_empty() {
            let link = self.link.iter().map(|(key, value)| (*key, Shown::word(value)));
            entries.push(("link", Shown::Map(link.collect())));
        }
        if let Shown::Map(axes) = some_axes(self.axes.iter().cloned()) {
            entries.extend(axes);
        }
        Shown::Map(entries)
    }
}

/// A link as rows of words.
fn link_rows(link: &LinkConfig) -> Vec<(&'static str, String)> {
    match link_entries(link) {
        Shown::Map(entries) => entries.into_iter().map(|(key, value)| (key, flow(&value))).collect(),
        _ => Vec::new(),
    }
}
