//! The command `natbox`: arguments in, exit code out.

fn main() {}
