//! Files of the repository that tests hold against what natbox makes today; with NATBOX_BLESS set they are written anew.

use std::fs;
use std::path::Path;

/// Whether golden files are to be written anew.
pub(crate) fn blessing() -> bool {
    std::env::var_os("NATBOX_BLESS").is_some_and(|value| !value.is_empty() && value != "0")
}

/// Holds a file of the repository, named from its root, against its bytes.
pub(crate) fn golden(name: &str, bytes: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if blessing() {
        fs::write(&path, bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        return;
    }
    let there = fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}; NATBOX_BLESS=1 makes it"));
    let place = there.iter().zip(bytes).position(|(old, new)| old != new).unwrap_or(there.len().min(bytes.len()));
    let line = there[..place].iter().filter(|byte| **byte == b'\n').count() + 1;
    let (old, new) = (there.len(), bytes.len());
    assert!(
        there == bytes,
        "{name} differs from byte {place} (line {line}) on; it has {old} bytes, should have {new}; if that is wanted, NATBOX_BLESS=1 writes it anew"
    );
}
