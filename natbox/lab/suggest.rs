//! What a misspelt name was probably meant to be: one measure for files, filters and arguments.

use crate::topology::mistake::nearest;

/// The known name nearest to `name`, if it is near enough to be a slip.
pub fn did_you_mean<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    nearest(name, known)
}
