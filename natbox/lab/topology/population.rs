//! The population file, key by key: what its reader checks, in the words of topology files.

use natbox_nat::behavior::{Filtering, Mapping};
use natbox_nat::preset;
use natbox_probes::technique::Technique;
use natbox_wire::Word;

use super::axes::AXES;
use super::control::CONTROL;
use super::schema::{ADDRESS_COUNT, LINK, NAME, PERCENT, SEED, TEXT, joined, optional, required, word};
use super::shape::{Field, Shape, count};
use super::units::{self, leaf};
use crate::suggest::did_you_mean;
use crate::words::Procedure;

/// Most draws of one run.
pub(crate) const MOST_DRAWS: u64 = 100_000_000;
/// Most NATs of one kind.
pub(crate) const MOST_NATS: u64 = 1_000_000;

leaf!(
    BEHAVIOR,
    "behaviour",
    behavior,
    "a preset (`natbox nat list`), or a mapping and a filtering such as `endpoint-independent/address-dependent`",
    "^[a-z0-9./-]+$"
);
leaf!(
    WEIGHT,
    "share",
    weight,
    "a share such as `20.4%`, or a whole number of NATs from 1 to 1000000",
    r"^[0-9]+(\.[0-9]+)?%?$"
);
leaf!(PASSED, "count of counts", passed, "how many of how many, such as `45/46`", "^(0|[1-9][0-9]*)/[1-9][0-9]*$");

/// What a NAT begins with.
pub(crate) enum Begun {
    /// A preset.
    Preset,
    /// The default, with this mapping and filtering.
    Class(Mapping, Filtering),
}

/// A behaviour's name.
pub(crate) fn behavior(text: &str) -> Result<Begun, String> {
    if preset::find(text).is_some() {
        return Ok(Begun::Preset);
    }
    match text.split_once('/') {
        Some((mapping, filtering)) => {
            Ok(Begun::Class(half(mapping, &Mapping::ALL[..3])?, half(filtering, &Filtering::ALL[..3])?))
        }
        None => {
            let presets = preset::all();
            let near = did_you_mean(text, presets.iter().map(|preset| preset.name));
            Err(near.map_or_else(|| "no preset is called so".to_owned(), |near| format!("did you mean `{near}`?")))
        }
    }
}

fn half<W: Word>(text: &str, known: &[W]) -> Result<W, String> {
    let words = || known.iter().map(|word| word.as_str());
    known.iter().copied().find(|word| word.as_str() == text).ok_or_else(|| {
        let near = did_you_mean(text, words()).map(|near| format!("; did you mean `{near}`?"));
        format!("no {} is called `{text}`{}", W::KIND, near.unwrap_or_default())
    })
}

/// How often a NAT is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Hundred-millionths of all draws.
    Share(u64),
    /// So many NATs.
    Count(u64),
}

/// All of them, in the unit of [`Weight::Share`].
pub(crate) const WHOLE: u64 = 100_000_000;

/// A share or a count.
pub(crate) fn weight(text: &str) -> Result<Weight, String> {
    match count(text) {
        Some(count) if (1..=MOST_NATS).contains(&count) => Ok(Weight::Count(count)),
        Some(_) => Err(String::new()),
        None => units::percent(text).map(|share| Weight::Share((share * WHOLE as f64).round() as u64)),
    }
}

/// How many of how many.
pub(crate) fn passed(text: &str) -> Result<(u64, u64), String> {
    let (passed, of) = text.split_once('/').ok_or_else(String::new)?;
    match (count(passed), count(of)) {
        (Some(passed), Some(of)) if of > 0 && passed <= of => Ok((passed, of)),
        (Some(_), Some(_)) => Err("more than there are".to_owned()),
        _ => Err(String::new()),
    }
}

static BEGUN: Shape = Shape::Leaf(&BEHAVIOR);
static SHARE: Shape = Shape::Leaf(&WEIGHT);
static OF: Shape = Shape::Leaf(&PASSED);
static TECHNIQUE: Shape = word::<Technique>();
static PROCEDURE: Shape = word::<Procedure>();
static DRAWS: Shape = Shape::Count { what: "a whole number of draws", min: 1, max: MOST_DRAWS };
static TESTS: Shape = Shape::OneOrMany(&word::<natbox_probes::nat_check::Test>());

/// The whole file.
pub(crate) static POPULATION: Shape = Shape::Object(&[
    optional("name", &TEXT, "What the population is called. The file's name if absent."),
    optional("seed", &SEED, "Where all chance begins. 0 if absent."),
    optional("draws", &DRAWS, "How many pairs are drawn; 10000 if absent. Of a procedure, every NAT once if absent."),
    optional("technique", &TECHNIQUE, "How the two of a pair try to reach each other; `punch` if absent."),
    optional("procedure", &PROCEDURE, "What is run against each NAT alone, instead of a technique between two."),
    optional(
        "failure",
        &PERCENT,
        "Share of sides that are shut: out go packets to the servers alone, in come answers alone; none if absent.",
    ),
    optional("together", &PERCENT, "Share of pairs whose two hosts are behind one NAT, the caller's; none if absent."),
    optional("link", &LINK, "The link of every NAT to the public network, where its own says nothing else."),
    required("nats", &NATS, "The NATs, by name: a share or a count each, and how they behave."),
    optional("published", &PUBLISHED, "What others have measured, to stand beside natbox's figures."),
]);

static NATS: Shape = Shape::Named(&Shape::Either(&SHARE, &ENTRY));

/// A NAT of a population.
pub(super) static ENTRY: Shape = Shape::Object(&joined::<{ OWN.len() + AXES.len() }>(OWN, AXES));

/// What it has beside its axes, alone.
pub(super) static BESIDE: Shape = Shape::Object(OWN);

/// What a NAT of a population has beside its axes.
const OWN: &[Field] = &[
    optional("share", &SHARE, "How often it is drawn; never if absent: then others are behind it."),
    optional("group", &TEXT, "The row of the tables that it is counted in; its own if absent."),
    optional("failure", &PERCENT, "As for all sides; for these alone."),
    optional("together", &PERCENT, "As for all pairs; for those that it calls."),
    optional("tests", &TESTS, "Which tests of the procedure count; all if absent."),
    optional("type", &BEGUN, "What it begins with. Its name, if that is a preset's, or what the RFCs ask for."),
    optional("behind", &NAME, "The NAT that this one is behind: each host has one of its own of that kind."),
    optional("addresses", &ADDRESS_COUNT, "How many external IPv4 addresses it has; 1 if absent."),
    optional("link", &LINK, "Its link to the network that it is attached to."),
    optional("control", &CONTROL, "How the host behind it may ask it for port mappings; `none` if absent."),
];

static PUBLISHED: Shape = Shape::Object(&[
    optional("source", &TEXT, "Where the figures come from."),
    optional("success", &PERCENT, "Share of pairs that came to talk without a relay."),
    optional("margin", &PERCENT, "What is given for its uncertainty, to both sides."),
    optional(
        "pairs",
        &Shape::OneOrMany(&Shape::Object(&[
            required("from", &TEXT, "The caller's row."),
            required("to", &TEXT, "The callee's row."),
            required("success", &PERCENT, "The share."),
        ])),
        "The same by pair.",
    ),
    optional(
        "counts",
        &Shape::OneOrMany(&Shape::Object(&[
            required("group", &TEXT, "The row; `All` is the sum."),
            optional("udp", &OF, "NATs that hole punching with UDP can pass."),
            optional("udp_hairpin", &OF, "NATs that turn UDP round."),
            optional("tcp", &OF, "NATs that hole punching with TCP can pass."),
            optional("tcp_hairpin", &OF, "NATs that turn TCP round."),
        ])),
        "Counts of a procedure, by row.",
    ),
]);
