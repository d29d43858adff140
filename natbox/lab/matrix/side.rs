//! What takes part in a matrix: the NATs in front of a host, by whatever name they are asked for.
//!
//! | word | means |
//! | --- | --- |
//! | `symmetric` | the preset |
//! | `endpoint-independent/address-dependent` | what the RFCs ask for, with this mapping and filtering |
//! | `lab.yaml`, `lab.yaml:home` | every NAT of a topology file, or one, with all NATs that it is behind |
//! | `classes` | the nine combinations of mapping and filtering of RFC 4787 |
//! | `all` | every preset |

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use natbox_nat::Behavior;
use natbox_nat::behavior::{Filtering, Mapping};
use natbox_nat::preset::{self, Preset};
use natbox_probes::portmap::server::Config;
use natbox_wire::Word;
use natbox_world::LinkConfig;

use super::MatrixError;
use crate::plan::{Nat, Network, Plan};
use crate::suggest::did_you_mean;
use crate::{Lab, LabError};

/// The NATs between a host and the public network.
#[derive(Clone, Debug, PartialEq)]
pub struct Side {
    /// What it is called in the matrix.
    pub name: String,
    /// The NATs, the host's own first. At least one.
    pub(crate) nats: Vec<SideNat>,
}

/// A NAT of a side.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SideNat {
    /// The preset that it began with.
    pub(super) preset: &'static str,
    pub(crate) behavior: Arc<Behavior>,
    /// How many external addresses it has.
    pub(super) addresses: usize,
    /// Its link to the next NAT, or to the public network.
    pub(super) link: LinkConfig,
    /// How the host may ask it for mappings. What a person has forwarded is left out: the host is another.
    pub(super) control: Option<Config>,
}

/// What a NAT begins with that names no preset.
const BASE: &str = "rfc4787";
/// The words that stand for several.
const GROUPS: [&str; 2] = ["classes", "all"];

impl Side {
    /// A side with one NAT of this behaviour.
    pub fn new(name: impl Into<String>, behavior: Arc<Behavior>) -> Side {
        Side { name: name.into(), nats: vec![SideNat::public(BASE, behavior)] }
    }

    fn preset(preset: Preset) -> Side {
        Side { name: preset.name.to_owned(), nats: vec![SideNat::public(preset.name, Arc::new(preset.behavior))] }
    }

    /// One of RFC 4787's combinations.
    pub fn class(mapping: Mapping, filtering: Filtering) -> Side {
        let behavior = Behavior { mapping: mapping.into(), filtering: filtering.into(), ..Behavior::default() };
        Side::new(format!("{mapping}/{filtering}"), Arc::new(behavior))
    }

    /// The nine combinations of mapping and filtering of RFC 4787, sections 4.1 and 5.
    pub fn classes() -> Vec<Side> {
        let filterings = || Filtering::ALL[..3].iter();
        let mappings = Mapping::ALL[..3].iter();
        mappings.flat_map(|mapping| filterings().map(|filtering| Side::class(*mapping, *filtering))).collect()
    }

    /// A NAT of a plan, with those that it is behind.
    pub(crate) fn of_plan(name: String, plan: &Plan, nat: &Nat) -> Side {
        let mut nats = vec![SideNat::of(nat)];
        let mut outside = nat.outside.network;
        while let Network::Behind(index) = outside {
            nats.push(SideNat::of(&plan.nats[index]));
            outside = plan.nats[index].outside.network;
        }
        Side { name, nats }
    }
}

impl SideNat {
    fn public(preset: &'static str, behavior: Arc<Behavior>) -> SideNat {
        let link = LinkConfig { latency: Duration::from_millis(10), ..LinkConfig::default() };
        SideNat { preset, behavior, addresses: 1, link, control: None }
    }

    pub(super) fn of(nat: &Nat) -> SideNat {
        let mut behavior = nat.behavior.clone();
        if behavior.ports.deterministic.first == nat.inside.prefix.hosts().next() {
            // The plan's own doing: in a lab of the matrix another host comes first.
            Arc::make_mut(&mut behavior).ports.deterministic.first = None;
        }
        let addresses = nat.outside.addresses.iter().filter(|address| address.is_ipv4()).count();
        let (preset, control) = (nat.preset.unwrap_or(BASE), nat.control.clone());
        SideNat { preset, behavior, addresses, link: nat.outside.link.clone(), control }
    }
}

/// The sides of these names, each once, in this order. Names of NATs of `file` come before all others; without any
/// name, all NATs of `file`, or the nine classes.
///
/// # Errors
/// A name that nothing has, a file that cannot be read or is wrong, one name for two different things.
pub fn sides(names: &[String], file: Option<&Path>) -> Result<Vec<Side>, MatrixError> {
    let own = file.map(lab).transpose()?;
    let own = own.as_ref().map(Lab::plan);
    let mut found = Vec::<Side>::new();
    let wanted = match (names, own) {
        ([], Some(plan)) => all_of(plan),
        ([], None) => Side::classes(),
        (names, own) => {
            let sides = names.iter().map(|name| named(name, own)).collect::<Result<Vec<_>, _>>()?;
            sides.into_iter().flatten().collect()
        }
    };
    for side in wanted {
        match found.iter().find(|other| other.name == side.name) {
            None => found.push(side),
            Some(other) if *other == side => {}
            Some(_) => {
                let name = side.name;
                return Err(MatrixError::Said(format!(
                    "two different NATs are called `{name}`; name one as FILE:{name}"
                )));
            }
        }
    }
    match found.is_empty() {
        true => Err(MatrixError::said("there is no NAT in it")),
        false => Ok(found),
    }
}

fn named(name: &str, own: Option<&Plan>) -> Result<Vec<Side>, MatrixError> {
    if let Some((plan, nat)) = own.and_then(|plan| Some((plan, plan.nat(name)?))) {
        return Ok(vec![Side::of_plan(name.to_owned(), plan, nat)]);
    }
    match name {
        "all" => return Ok(preset::all().into_iter().map(Side::preset).collect()),
        "classes" => return Ok(Side::classes()),
        _ => {}
    }
    if let Some(preset) = preset::find(name) {
        return Ok(vec![Side::preset(preset)]);
    }
    if let Some((file, nat)) = name.rsplit_once(':') {
        return of_file(name, Path::new(file), nat).map(|side| vec![side]);
    }
    // A combination has no dot in it, a file that is there may be called anything.
    match name.split_once('/') {
        Some((mapping, filtering)) if !name.contains('.') && !Path::new(name).is_file() => {
            class(mapping, filtering).map(|side| vec![side])
        }
        _ if name.contains('.') || Path::new(name).is_file() => lab(Path::new(name)).map(|lab| all_of(lab.plan())),
        _ => Err(unknown(name, own)),
    }
}

fn lab(file: &Path) -> Result<Lab, MatrixError> {
    Lab::from_file(file).map_err(|error| match error {
        LabError::Topology(mistakes) => MatrixError::Topology(mistakes),
        other => MatrixError::Said(other.to_string()),
    })
}

fn all_of(plan: &Plan) -> Vec<Side> {
    plan.nats.iter().map(|nat| Side::of_plan(nat.name.clone(), plan, nat)).collect()
}

fn of_file(name: &str, file: &Path, nat: &str) -> Result<Side, MatrixError> {
    let lab = lab(file)?;
    let plan = lab.plan();
    let names = || plan.nats.iter().map(|nat| nat.name.as_str());
    let missing = || {
        let hint = did_you_mean(nat, names()).map_or_else(
            || format!("it has: {}", names().collect::<Vec<_>>().join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        MatrixError::Said(format!("{} has no NAT `{nat}`; {hint}", file.display()))
    };
    plan.nat(nat).map(|found| Side::of_plan(name.to_owned(), plan, found)).ok_or_else(missing)
}

/// RFC 4787's words, one of each kind.
fn class(mapping: &str, filtering: &str) -> Result<Side, MatrixError> {
    let mapping = half(mapping, &Mapping::ALL[..3])?;
    let filtering = half(filtering, &Filtering::ALL[..3])?;
    Ok(Side::class(mapping, filtering))
}

fn half<W: Word>(word: &str, known: &[W]) -> Result<W, MatrixError> {
    let words = || known.iter().map(|one| one.as_str());
    known.iter().copied().find(|one| one.as_str() == word).ok_or_else(|| {
        let hint = did_you_mean(word, words()).map_or_else(
            || format!("known: {}", words().collect::<Vec<_>>().join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        MatrixError::Said(format!("no {} is called `{word}`; {hint}", W::KIND))
    })
}

fn unknown(name: &str, own: Option<&Plan>) -> MatrixError {
    let presets = preset::all();
    let own = own.iter().flat_map(|plan| plan.nats.iter().map(|nat| nat.name.as_str()));
    let words: Vec<&str> = own.chain(presets.iter().map(|preset| preset.name)).chain(GROUPS).collect();
    let hint = did_you_mean(name, words.iter().copied()).map_or_else(
        || "`natbox nat list` has the presets; or a MAPPING/FILTERING, a FILE, a FILE:NAT, `classes`, `all`".to_owned(),
        |near| format!("did you mean `{near}`?"),
    );
    MatrixError::Said(format!("no NAT is called `{name}`; {hint}"))
}
