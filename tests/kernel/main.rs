//! The kernel as a witness: what Linux netfilter does with packet sequences, and whether natbox does the same.
//!
//! `facts/` holds sequences with what the kernel did, each a sentence. The kernel is held to them, so that the witness is known,
//! and natbox is held to them, which needs no right. `regressions/` holds sequences in which the two once differed. Then
//! both play random sequences, packet by packet alike; one that differs is shortened and written to `regressions/`.
//!
//! The kernel is asked in a network namespace that this program makes for itself; nothing leaves it. Without the right, or
//! without `nft`, `ip` or TUN devices, its tests are reported as skipped.
//!
//! * `NATBOX_KERNEL_CASES=N`: random sequences of each kind on each variant (20 otherwise).
//! * `NATBOX_KERNEL_SEED=N`: where random sequences begin (1 otherwise).
//! * `NATBOX_BLESS=1`: writes down anew what the kernel does, and drops `natbox differs` where it does not.
#![allow(clippy::disallowed_methods, reason = "the kernel's clock is the wall's: this test waits for it")]

mod generate;
mod kernel;
mod lane;
mod natbox;
mod play;
mod script;
mod shrink;
#[path = "../common/skipped.rs"]
mod skipped;
mod variant;
mod witness;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};

use generate::Profile;
use script::Script;
use variant::Variant;
use witness::Witness;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // A trial waits for the kernel, not for the processor; the first that comes asks for all.
    arguments.test_threads = Some(1);
    let absent = if arguments.list { None } else { witness::enter_namespace().err() };
    let recorded = [records("facts"), records("regressions")].concat();
    let random = random_scripts();
    let asked = recorded
        .iter()
        .map(|record| record.script.clone())
        .chain(random.iter().flat_map(|random| random.scripts.clone()));
    let witness = Arc::new(Witness::new(asked.collect(), absent));
    let mut trials = Vec::new();
    for record in recorded {
        trials.push(held_to_the_record(&witness, &record));
        trials.extend(natbox_held_to_the_record(record));
    }
    trials.push(timers_as_shipped(&witness));
    trials.push(sure_of_itself(&witness));
    trials.extend(random.into_iter().filter_map(|random| alike(&witness, random)));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A sequence in a file.
#[derive(Clone)]
struct Record {
    path: PathBuf,
    name: String,
    script: Script,
}

impl Record {
    fn write(&self, script: &Script) -> Result<(), Failed> {
        Ok(fs::write(&self.path, script.to_string())?)
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernel").join(name)
}

fn records(name: &str) -> Vec<Record> {
    let files = fs::read_dir(folder(name)).map(|files| files.filter_map(Result::ok).map(|file| file.path()));
    let mut paths: Vec<PathBuf> = files.map(Iterator::collect).unwrap_or_default();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let script: Script = text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(variant::index(&script.variant).is_some(), "{}: no variant {}", path.display(), script.variant);
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().replace('-', "_");
        Record { name: format!("{}::{stem}", name.trim_end_matches('s')), path, script }
    };
    paths.into_iter().map(read).collect()
}

fn blessing() -> bool {
    std::env::var_os("NATBOX_BLESS").is_some_and(|value| !value.is_empty() && value != "0")
}

/// The kernel does what is written.
fn held_to_the_record(witness: &Arc<Witness>, record: &Record) -> Trial {
    let (witness, record) = (Arc::clone(witness), record.clone());
    let name = format!("kernel::{}", record.name);
    Trial::test(name.clone(), move || {
        let outcome = witness.says(&record.script).and_then(|said| {
            let agrees = said.steps == record.script.steps;
            Ok((agrees || (!blessing() && !witness.contradicts(&record.script)?), said))
        });
        match outcome {
            Err(why) => skip(&name, &why),
            Ok((true, _)) => Ok(()),
            Ok((false, said)) if blessing() => record.write(&said),
            Ok((false, said)) => Err(difference("the record", &record.script, "the kernel", &said)),
        }
    })
}

/// natbox does what is written, or is known not to.
fn natbox_held_to_the_record(record: Record) -> Option<Trial> {
    natbox::behavior(&record.script.variant)?;
    Some(Trial::test(format!("natbox::{}", record.name), move || {
        // Blessing may just have written it anew.
        let script: Script = fs::read_to_string(&record.path)?.parse().map_err(Failed::from)?;
        let agrees = natbox::agrees(&script);
        let played = natbox::play(&script).ok_or("a variant without a preset")?;
        match (&script.natbox_differs, agrees) {
            (None, true) | (Some(_), false) => Ok(()),
            (None, false) => Err(difference("the kernel", &script, "natbox", &played)),
            (Some(_), true) if blessing() => record.write(&Script { natbox_differs: None, ..script }),
            (Some(_), true) => Err("natbox agrees: NATBOX_BLESS=1 removes the line `natbox differs`".into()),
        }
    }))
}

/// The presets' timers are the kernel's: `natbox` holds the presets against the same table.
fn timers_as_shipped(witness: &Arc<Witness>) -> Trial {
    let witness = Arc::clone(witness);
    let name = "kernel::ships_with_the_timers_of_the_presets";
    Trial::test(name, move || match witness.ships_otherwise() {
        Err(why) => skip(name, &why),
        Ok(other) if other.is_empty() => Ok(()),
        Ok(other) => Err(other.join("; ").into()),
    })
}

/// The kernel does the same twice: else nothing that differs from it means anything.
fn sure_of_itself(witness: &Arc<Witness>) -> Trial {
    let witness = Arc::clone(witness);
    let name = "kernel::does_the_same_when_asked_twice";
    Trial::test(name, move || match witness.contradicts_itself() {
        Err(why) => skip(name, &why),
        Ok(None) => Ok(()),
        Ok(Some([one, two])) => Err(difference("the kernel", &one, "and then", &two)),
    })
}

/// Random sequences of a kind.
struct Random {
    variant: &'static Variant,
    profile: Profile,
    name: String,
    scripts: Vec<Script>,
}

/// Random sequences by variant and profile.
fn random_scripts() -> Vec<Random> {
    let number = |name: &str, otherwise: u64| {
        std::env::var(name)
            .map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
    };
    let (cases, seed) = (number("NATBOX_KERNEL_CASES", 20), number("NATBOX_KERNEL_SEED", 1));
    let mut all = Vec::new();
    for variant in variant::ALL.iter().filter(|variant| variant.random_sequences) {
        for profile in &Profile::ALL {
            let scripts = (seed..seed + cases).map(|seed| generate::script(variant.name, *profile, seed)).collect();
            let name =
                format!("random::{}::{}", variant.name.replace([',', ' '], "_").replace("__", "_"), profile.name());
            all.push(Random { variant, profile: *profile, name, scripts });
        }
    }
    all
}

/// The kernel and natbox do the same with each of these, where they are meant to.
fn alike(witness: &Arc<Witness>, random: Random) -> Option<Trial> {
    let Random { variant, profile, name, scripts } = random;
    if !variant.compared.contains(&profile) {
        return None;
    }
    let witness = Arc::clone(witness);
    let trial = Trial::test(name.clone(), move || match contradiction(&witness, &scripts) {
        Err(why) => skip(&name, &why),
        Ok(None) => Ok(()),
        Ok(Some(shortest)) => Err(new_regression(&shortest)),
    });
    Some(trial)
}

/// The shortest sequence in which natbox differs from the kernel, if it does in one of these.
fn contradiction(witness: &Witness, scripts: &[Script]) -> Result<Option<Script>, String> {
    let mut differing = Vec::new();
    for script in scripts {
        let said = witness.says(script)?;
        if !natbox::agrees(&said) {
            differing.push(said);
        }
    }
    let again = witness.asked_again(differing.iter())?;
    let sure = differing.iter().zip(&again).find(|(_, again)| !again.iter().any(natbox::agrees));
    let Some((said, _)) = sure else { return Ok(None) };
    let shortest = witness.shrink(&said.without_outcomes())?;
    Ok(witness.says_now(&[shortest])?.pop())
}

/// Writes a sequence down and says what it shows.
fn new_regression(said: &Script) -> Failed {
    let hash = said
        .to_string()
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3));
    let path = folder("regressions").join(format!("{:08x}.txt", hash >> 32));
    let written = fs::create_dir_all(folder("regressions")).and_then(|()| fs::write(&path, said.to_string()));
    let place = match written {
        Ok(()) => format!("written to {}", path.display()),
        Err(error) => format!("not written to {}: {error}", path.display()),
    };
    let natbox = natbox::play(said).unwrap_or_else(|| said.without_outcomes());
    Failed::from(format!("{place}\n{}", compare("the kernel", said, "natbox", &natbox)))
}

fn difference(one: &str, left: &Script, other: &str, right: &Script) -> Failed {
    compare(one, left, other, right).into()
}

/// The sequence with both outcomes where they differ.
fn compare(one: &str, left: &Script, other: &str, right: &Script) -> String {
    let mut text = format!("{}\nvariant: {}\n", left.title, left.variant);
    for (left, right) in left.steps.iter().zip(&right.steps) {
        text += &format!("{}\n", left.action);
        if left.outcome == right.outcome {
            left.outcome.iter().for_each(|line| text += &format!("  => {line}\n"));
        } else {
            text += &format!("  {one}: {:?}\n  {other}: {:?}\n", left.outcome, right.outcome);
        }
    }
    text
}

/// Reports this test as skipped: the name of a thread is the test's.
fn skip(name: &str, why: &str) -> Result<(), Failed> {
    let why = why.to_owned();
    let told = std::thread::Builder::new().name(name.to_owned()).spawn(move || skipped::skipped(&why))?;
    told.join().map_err(|_| Failed::from("could not tell that it is skipped"))
}
