//! The world from outside: topologies of a few parts, packets injected or sent by hosts, and the notes that result.

mod algs;
mod changes;
mod connections;
mod determinism;
mod fragments;
mod gateways;
mod links;
mod machines;
mod malformed;
mod mtu;
mod owed;
mod pings;
mod programs;
mod realms;
mod routers;
mod scenario;
mod support;
