//! Parts of a population's draws, joined to the whole.

use super::census::Census;
use crate::matrix::MatrixError;

/// Joins all parts, in any order. A whole alone is itself. Each part comes with its file's name.
///
/// # Errors
/// Parts that are missing, there twice, or of another population.
pub fn join(parts: Vec<(String, Census)>) -> Result<Census, MatrixError> {
    let mut parts = parts.into_iter();
    let (first_file, mut whole) = parts.next().ok_or_else(|| MatrixError::said("there is nothing to join"))?;
    let Some(first) = whole.about.shard.take() else {
        return match parts.next() {
            None => Ok(whole),
            Some((file, _)) => {
                Err(MatrixError::Said(format!("{first_file} is a whole population: {file} cannot be joined to it")))
            }
        };
    };
    let (index, of) = first.numbers();
    let mut from: Vec<Option<String>> = vec![None; of];
    from[index - 1] = Some(first_file.clone());
    for (file, mut part) in parts {
        let own = part.about.shard.take().map(|shard| shard.numbers()).filter(|(_, other)| *other == of);
        let Some((index, _)) = own.filter(|_| part.about == whole.about) else {
            return Err(MatrixError::Said(format!("{file} is a part of another run than {first_file}")));
        };
        if let Some(other) = &from[index - 1] {
            return Err(MatrixError::Said(format!("{file} and {other} are the same part: {index} of {of}")));
        }
        from[index - 1] = Some(file);
        whole.add(&part.pairs, &part.checked);
    }
    let missing: Vec<String> =
        (1..).zip(&from).filter(|(_, file)| file.is_none()).map(|(index, _)| index.to_string()).collect();
    if !missing.is_empty() {
        return Err(MatrixError::Said(format!("part {} of {of} is missing", missing.join(", "))));
    }
    Ok(whole)
}
