//! Techniques by name, and the step of a scenario that each of them is.

use natbox_probes::technique::Technique;
use natbox_wire::Word;

use super::MatrixError;
use crate::suggest::did_you_mean;

/// The technique of cells of which nobody says which.
const DEFAULT: Technique = Technique::Connect;

/// The step by which `from` reaches `to`, in a line of YAML.
pub(super) fn step(technique: Technique, from: &str, to: &str) -> String {
    match technique {
        DEFAULT => format!("connect: {{ from: {from}, to: {to} }}"),
        other => format!("connect: {{ from: {from}, to: {to}, technique: {other} }}"),
    }
}

/// The techniques of these names, each once; `all` is all of them.
///
/// # Errors
/// A name that no technique has.
pub fn techniques(names: &[String]) -> Result<Vec<Technique>, MatrixError> {
    let mut found = Vec::new();
    for name in names {
        let named = match name.as_str() {
            "all" => Technique::ALL.to_vec(),
            name => vec![Technique::from_word(name).ok_or_else(|| unknown(name))?],
        };
        for technique in named {
            if !found.contains(&technique) {
                found.push(technique);
            }
        }
    }
    Ok(if found.is_empty() { vec![DEFAULT] } else { found })
}

fn unknown(name: &str) -> MatrixError {
    let words = || Technique::ALL.iter().map(|technique| technique.as_str()).chain(["all"]);
    let hint = did_you_mean(name, words()).map_or_else(
        || format!("known: {}", words().collect::<Vec<_>>().join(", ")),
        |near| format!("did you mean `{near}`?"),
    );
    MatrixError::Said(format!("no technique is called `{name}`; {hint}"))
}
