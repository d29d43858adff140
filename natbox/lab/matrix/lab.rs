//! The lab of a cell: two hosts behind their NATs, and one public host with every server.
//!
//! ```text
//!   alice -- home-a [-- home-a-2 ...] --+-- internet --+-- [... home-b-2 --] home-b -- bob
//!                                       |
//!                            server: STUN, TURN, directory
//! ```
//!
//! Addresses and routes come from the topology reader: a template for each shape (how many NATs, which of them translate,
//! with how many addresses), read once. A cell is its template with the behaviours and links of its two sides.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write;

use natbox_nat::behavior::TranslationKind;
use natbox_probes::Path;

use super::side::{Side, SideNat};
use super::{MatrixError, Technique, technique};
use crate::outcome::StepResult;
use crate::plan::{Action, Plan};
use crate::record::{Limits, Recorder};
use crate::scenario;

/// The hosts of every cell: the caller, the callee, the servers.
pub(crate) const HOSTS: [&str; 3] = ["alice", "bob", "server"];
/// The servers of the public host.
pub(crate) const SERVICES: [&str; 3] = ["stun", "turn", "rendezvous"];
/// What the NATs of the two sides are called, the hosts' own; those that they are behind are numbered from 2.
const HOMES: [&str; 2] = ["home-a", "home-b"];

/// What networks look like: for each NAT of a side whether it translates, and its external addresses.
type Shape = Vec<(bool, usize)>;

/// The plans that cells begin with.
#[derive(Debug, Default)]
pub(crate) struct Templates(BTreeMap<(Shape, Shape, Technique), Plan>);

/// What came of a cell's one step.
pub(crate) struct Came {
    pub(crate) path: Path,
    /// Until there was a path, or until everything had been tried.
    pub(crate) elapsed_ns: u64,
    pub(crate) packets: u64,
    /// What kept the step from being done as it should, whatever path came of it.
    pub(crate) trouble: Option<String>,
}

impl Templates {
    /// Templates for all pairs of these sides.
    pub(crate) fn new(sides: &[Side], techniques: &[Technique]) -> Result<Templates, MatrixError> {
        let mut templates = Templates::default();
        for (a, b) in sides.iter().flat_map(|a| sides.iter().map(move |b| (a, b))) {
            for technique in techniques {
                templates.add(a, b, *technique)?;
            }
        }
        Ok(templates)
    }

    /// The plan of a cell.
    pub(crate) fn plan(a: &Side, b: &Side, technique: Technique) -> Result<Plan, MatrixError> {
        let mut templates = Templates::default();
        templates.add(a, b, technique)?;
        templates.fill(a, b, technique).ok_or_else(|| MatrixError::said("the lab has no plan"))
    }

    /// Takes care that there is one for this pair.
    pub(crate) fn add(&mut self, a: &Side, b: &Side, technique: Technique) -> Result<(), MatrixError> {
        if let Entry::Vacant(free) = self.0.entry((shape(a), shape(b), technique)) {
            let text = text(&free.key().0, &free.key().1, technique);
            let plan = Plan::from_yaml("cell", &text).map_err(MatrixError::Topology)?;
            free.insert(plan);
        }
        Ok(())
    }

    /// The template with the NATs of these sides in it.
    pub(crate) fn fill(&self, a: &Side, b: &Side, technique: Technique) -> Option<Plan> {
        let mut plan = self.0.get(&(shape(a), shape(b), technique))?.clone();
        settle(&mut plan, a.nats.iter().chain(&b.nats));
        Some(plan)
    }
}

fn shape(side: &Side) -> Shape {
    side.nats.iter().map(|nat| (nat.behavior.translation == TranslationKind::None, nat.addresses)).collect()
}

/// The name of a NAT: by its side, and how many NATs stand between it and the host.
pub(crate) fn nat_name(side: usize, depth: usize) -> String {
    if depth == 0 { HOMES[side].to_owned() } else { format!("{}-{}", HOMES[side], depth + 1) }
}

/// The lab of one side alone: a host behind it, and these public hosts, without servers.
///
/// # Errors
/// A side that no lab has room for.
pub(crate) fn alone(side: &Side, public: &[&str]) -> Result<Plan, MatrixError> {
    let mut text = nats(&[&shape(side)]);
    writeln!(text, "hosts:\n  {}: {{ behind: {} }}", HOSTS[0], HOMES[0]).ok();
    public.iter().for_each(|host| _ = writeln!(text, "  {host}: {{}}"));
    let mut plan = Plan::from_yaml("check", &text).map_err(MatrixError::Topology)?;
    settle(&mut plan, side.nats.iter());
    Ok(plan)
}

/// The lab of two hosts behind one NAT: of a side of one NAT both are in its network; of a longer one, each has a first
/// NAT of its own, and the others are the same.
///
/// # Errors
/// A side that no lab has room for.
pub(crate) fn together(side: &Side, technique: Technique) -> Result<Plan, MatrixError> {
    let mut text = nats(&[&shape(side)]);
    let (own, more) = match side.nats.as_slice() {
        [first, _, ..] => {
            let plain = if first.behavior.translation == TranslationKind::None { ", translation: none" } else { "" };
            let many = if first.addresses > 1 { format!(", addresses: {}", first.addresses) } else { String::new() };
            writeln!(text, "  {}: {{ behind: {}{plain}{many} }}", HOMES[1], nat_name(0, 1)).ok();
            (HOMES[1], Some(first))
        }
        _ => (HOMES[0], None),
    };
    let [alice, bob, server] = HOSTS;
    writeln!(text, "hosts:\n  {alice}: {{ behind: {} }}\n  {bob}: {{ behind: {own} }}", HOMES[0]).ok();
    writeln!(text, "  {server}: {{ services: [{}] }}", SERVICES.join(", ")).ok();
    writeln!(text, "scenario:\n  - {}", technique::step(technique, alice, bob)).ok();
    let mut plan = Plan::from_yaml("cell", &text).map_err(MatrixError::Topology)?;
    settle(&mut plan, side.nats.iter().chain(more));
    Ok(plan)
}

/// Puts these NATs in the place of the plan's.
fn settle<'a>(plan: &mut Plan, nats: impl Iterator<Item = &'a SideNat>) {
    for (nat, wanted) in plan.nats.iter_mut().zip(nats) {
        nat.preset = Some(wanted.preset);
        nat.behave(&wanted.behavior);
        nat.outside.link = wanted.link.clone();
        nat.control = wanted.control.clone();
    }
}

fn nats(shapes: &[&Shape]) -> String {
    let mut text = String::from("nats:\n");
    for (side, shape) in shapes.iter().enumerate() {
        for (depth, (plain, addresses)) in shape.iter().enumerate() {
            let mut entries = Vec::new();
            entries.extend((*addresses > 1).then(|| format!("addresses: {addresses}")));
            entries.extend(plain.then(|| "translation: none".to_owned()));
            entries.extend((depth + 1 < shape.len()).then(|| format!("behind: {}", nat_name(side, depth + 1))));
            writeln!(text, "  {}: {{ {} }}", nat_name(side, depth), entries.join(", ")).ok();
        }
    }
    text
}

fn text(a: &Shape, b: &Shape, technique: Technique) -> String {
    let mut text = nats(&[a, b]);
    let [alice, bob, server] = HOSTS;
    writeln!(text, "hosts:\n  {alice}: {{ behind: {} }}\n  {bob}: {{ behind: {} }}", HOMES[0], HOMES[1]).ok();
    writeln!(text, "  {server}: {{ services: [{}] }}", SERVICES.join(", ")).ok();
    writeln!(text, "scenario:\n  - {}", technique::step(technique, alice, bob)).ok();
    text
}

/// Runs a cell from this seed, without a record.
pub(crate) fn run(plan: &Plan, seed: u64) -> Came {
    match scenario::run_unrecorded(plan, seed) {
        Ok(brief) => came(brief.steps.last(), brief.packets),
        Err(stuck) => Came { path: Path::None, elapsed_ns: 0, packets: 0, trouble: Some(stuck.to_string()) },
    }
}

fn came(step: Option<&StepResult>, packets: u64) -> Came {
    use natbox_wire::Word;
    let path = step.and_then(|step| step.fact("path")).and_then(Path::from_word).unwrap_or(Path::None);
    let took = step.and_then(|step| step.facts.get("elapsed_ns")).and_then(serde_json::Value::as_u64);
    let elapsed_ns = took.or_else(|| step.map(|step| step.ended_ns - step.started_ns)).unwrap_or(0);
    // A step of which nothing is expected fails where it cannot be done, or a server stops.
    let trouble = step.filter(|step| !step.ok).map(|step| step.got.clone());
    Came { path, elapsed_ns, packets, trouble }
}

/// Why a cell came to what it came to: which packets died, where and why.
pub(crate) fn explain(plan: &Plan, seed: u64, expected: Option<Path>) -> Vec<String> {
    let mut plan = plan.clone();
    // A step that fails tells why, whatever its path.
    plan.steps.iter_mut().for_each(|step| expect(&mut step.action, expected));
    match scenario::run(&plan, seed, &Recorder::new(Limits::TIMELINE)) {
        Ok(finished) => finished.outcome.steps.last().map(|step| step.reasons.clone()).unwrap_or_default(),
        Err(stuck) => vec![stuck.to_string()],
    }
}

fn expect(action: &mut Action, path: Option<Path>) {
    if let Action::Connect(connect) = action {
        connect.expect.get_or_insert_default().path = path;
    }
}
