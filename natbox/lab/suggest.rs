//! What a misspelt name was probably meant to be.

/// The known name nearest to `name`, if it is near enough to be a slip. None where `name` is a word of several known
/// ones (`cone`): any of them may be meant.
pub fn did_you_mean<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let known: Vec<&str> = known.collect();
    let scored = known.iter().map(|candidate| (strsim::jaro_winkler(name, candidate), *candidate));
    let (score, nearest) = scored.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    let has_it = |candidate: &&&str| candidate.split(['-', '_']).any(|word| word == name);
    match known.iter().filter(has_it).count() {
        _ if score >= SURE => Some(nearest),
        0 => (score >= NEAR).then_some(nearest),
        1 => known.iter().find(has_it).copied(),
        _ => None,
    }
}

/// Likeness (Jaro and Winkler's) of a slip beyond doubt.
const SURE: f64 = 0.9;
/// Likeness of what may be a slip.
const NEAR: f64 = 0.8;

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn a_slip_is_mended_and_a_word_that_several_names_have_is_not_guessed() {
        let known = || ["full-cone", "port-restricted-cone", "none", "symmetric", "symmetric-udp-firewall"].into_iter();
        assert_eq!(did_you_mean("symetric", known()), Some("symmetric"));
        assert_eq!(did_you_mean("non", known()), Some("none"));
        assert_eq!(did_you_mean("firewall", known()), Some("symmetric-udp-firewall"));
        assert_eq!(did_you_mean("cone", known()), None);
        assert_eq!(did_you_mean("router", known()), None);
    }
}
