//! Hosts wired back to back: no links, no world.

mod fragments;
mod support;
mod tcp;
mod udp;
