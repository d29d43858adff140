//! The kernel as a witness: what Linux netfilter does with packet sequences, and whether natbox does the same.
#![allow(clippy::disallowed_methods, reason = "the kernel's clock is the wall's: this test waits for it")]

mod kernel;
mod lane;
mod natbox;
mod play;
mod script;
#[path = "../common/skipped.rs"]
mod skipped;
mod variant;

use std::path::{Path, PathBuf};
use script::Script;

fn folder(name: &str) -> Vec<(PathBuf, Script)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernel").join(name);
    let mut files: Vec<PathBuf> = std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| { let text = std::fs::read_to_string(&path).unwrap(); let script = text.parse().unwrap_or_else(|e| panic!("{}: {e}", path.display())); (path, script) }).collect()
}

fn main() {
    if std::env::var_os("NATBOX_IN_NAMESPACE").is_none() {
        let status = std::process::Command::new("unshare").arg("--net").arg(std::env::current_exe().unwrap()).args(std::env::args_os().skip(1)).env("NATBOX_IN_NAMESPACE", "1").status().unwrap();
        std::process::exit(status.code().unwrap_or(101));
    }
    let t = std::time::Instant::now();
    let mut kernel = kernel::Kernel::new().unwrap();
    println!("setup {:?}", t.elapsed());
    let filter = std::env::args().nth(1).unwrap_or_default();
    let facts: Vec<_> = folder("facts").into_iter().filter(|(p, _)| p.to_string_lossy().contains(&filter)).collect();
    let scripts: Vec<Script> = facts.iter().map(|(_, s)| s.without_outcomes()).collect();
    for ((path, _), told) in facts.iter().zip(kernel.testify(&scripts).unwrap()) {
        println!("--- {}\n{told}", path.display());
        if std::env::var_os("NATBOX_BLESS").is_some() { std::fs::write(path, told.to_string()).unwrap(); }
    }
    println!("all {:?}", t.elapsed());
}
