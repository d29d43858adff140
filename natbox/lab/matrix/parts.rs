//! A sweep in parts: which cells a part has, and parts joined to the sweep that they are parts of.
//!
//! A part has every so many-th pair with technique, with all its seeds, so that shares can be told of it; parts are of
//! equal size, and slow techniques are spread over all of them.

use serde::{Deserialize, Serialize};

use super::MatrixError;
use super::cell::Sweep;

/// Most parts.
const MAX_PARTS: usize = 100_000;

/// Which part of a sweep: `K/N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shard {
    index: usize,
    of: usize,
}

impl Shard {
    /// Reads `K/N`, K from 1 to N.
    ///
    /// # Errors
    /// What is not of this form, and a K out of range.
    pub fn parse(text: &str) -> Result<Shard, MatrixError> {
        let wrong = |why: &str| MatrixError::Said(format!("`{text}` is no part of a sweep: {why}"));
        let number = |text: &str| text.parse::<usize>().ok();
        let parts = text.split_once('/').and_then(|(index, of)| Some((number(index)?, number(of)?)));
        match parts {
            None => Err(wrong("it has the form K/N, such as 2/8")),
            Some((_, of)) if of == 0 || of > MAX_PARTS => Err(wrong("there are 1 to 100000 parts")),
            Some((index, of)) if index == 0 || index > of => Err(wrong(&format!("K goes from 1 to {of}"))),
            Some((index, of)) => Ok(Shard { index, of }),
        }
    }

    /// Whether the part has this pair with technique, by its number.
    pub(crate) fn has(self, group: usize) -> bool {
        group % self.of + 1 == self.index
    }

    /// How many of so many draws, numbered from 0, the part has.
    pub(crate) fn of_draws(self, draws: u64) -> u64 {
        let (index, of) = (self.index as u64, self.of.max(1) as u64);
        draws / of + u64::from(index <= draws % of)
    }

    /// The number of the part's draw after so many others of its own.
    pub(crate) fn draw(self, place: u64) -> u64 {
        (self.index as u64 - 1) + place * self.of as u64
    }

    /// Its number, from 1, and of how many.
    pub(crate) fn numbers(self) -> (usize, usize) {
        (self.index, self.of)
    }

    pub(crate) fn possible(self) -> bool {
        (1..=self.of).contains(&self.index) && self.of <= MAX_PARTS
    }
}

/// Joins all parts of a sweep, in any order. A whole sweep alone is itself. Each part comes with its file's name.
///
/// # Errors
/// Parts that are missing, there twice, or of another sweep.
pub fn join(parts: Vec<(String, Sweep)>) -> Result<Sweep, MatrixError> {
    let mut parts = parts.into_iter();
    let (first_file, mut whole) = parts.next().ok_or_else(|| MatrixError::said("there is nothing to join"))?;
    let Some(shard) = whole.semantics.shard.take() else {
        return match parts.next() {
            None => Ok(whole),
            Some((file, _)) => {
                Err(MatrixError::Said(format!("{first_file} is a whole matrix: {file} cannot be joined to it")))
            }
        };
    };
    let mut from: Vec<Option<String>> = vec![None; if shard.possible() { shard.of } else { 0 }];
    let place =
        |from: &mut Vec<Option<String>>, file: String, shard: Shard| match from.get_mut(shard.index.wrapping_sub(1)) {
            None => Err(MatrixError::Said(format!("{file}: there is no part {} of {}", shard.index, shard.of))),
            Some(Some(other)) => {
                Err(MatrixError::Said(format!("{file} and {other} are the same part: {} of {}", shard.index, shard.of)))
            }
            Some(free) => {
                *free = Some(file);
                Ok(())
            }
        };
    place(&mut from, first_file.clone(), shard)?;
    for (file, mut part) in parts {
        let own = part.semantics.shard.take();
        let same = own.is_some_and(|own| own.of == shard.of) && part.semantics == whole.semantics;
        let Some(own) = own.filter(|_| same) else {
            return Err(MatrixError::Said(format!(
                "{file} is a part of another sweep than {first_file}: {}",
                differing(&part, &whole)
            )));
        };
        place(&mut from, file.clone(), own)?;
        take_sides(&file, &mut whole, &part)?;
        whole.cells.append(&mut part.cells);
    }
    let missing: Vec<String> =
        (1..).zip(&from).filter(|(_, file)| file.is_none()).map(|(index, _)| index.to_string()).collect();
    if !missing.is_empty() {
        return Err(MatrixError::Said(format!("part {} of {} is missing", missing.join(", "), shard.of)));
    }
    whole.cells.sort_unstable_by_key(|cell| (cell.key(), cell.seed));
    Ok(whole)
}

/// NATs that one part has cells of, and another too: they must be the same.
fn take_sides(file: &str, whole: &mut Sweep, part: &Sweep) -> Result<(), MatrixError> {
    for (own, other) in whole.sides.iter_mut().zip(&part.sides) {
        if own.nats.is_empty() {
            *own = other.clone();
        } else if !other.nats.is_empty() && own != other {
            return Err(MatrixError::Said(format!(
                "{file}: its NAT `{}` has other axes than that of the other parts",
                own.name
            )));
        }
    }
    Ok(())
}

/// In what two parts are of different sweeps.
fn differing(part: &Sweep, whole: &Sweep) -> String {
    let differing = part.semantics.differing(&whole.semantics);
    if differing.is_empty() { "it is cut into another number of parts".to_owned() } else { differing.join(", ") }
}
