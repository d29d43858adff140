//! Live labs: real programs behind the emulated NATs. Needs the right to make namespaces (root, or
//! `unshare --user --map-root-user`); where it is missing, each test says so and counts as skipped.

#![allow(missing_docs, clippy::disallowed_methods, reason = "tests of real machines take real time")]
#![cfg(target_os = "linux")]

mod api;
mod bench;
mod capture;
mod changes;
mod classic;
mod commands;
mod common;
mod files;
mod loud;
mod parity;
mod peers;
mod port_control;
mod programs;
mod relay;
mod scenario;
mod swarm;
mod tools;
mod trouble;
mod tunnel;
mod turn;
