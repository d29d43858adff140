//! What a misspelt name was probably meant to be.

/// The known name nearest to `name`, if it is near enough to be a slip.
pub fn did_you_mean<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.map(|candidate| (strsim::jaro_winkler(name, candidate), candidate));
    let near = scored.filter(|(score, _)| *score >= 0.8);
    near.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, candidate)| candidate)
}
