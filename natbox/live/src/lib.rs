//! Programs on real networks, at the speed of the wall clock.
//!
//! [`sockets`] is a host made of the operating system's own sockets: what is written against `natbox_host` runs on the
//! machine that it is started on. Clocks and the system's chance are read here and in no other room. Linux only.
//!
//! Leaves out, so far, the simulated network at wall-clock speed.
#![cfg(target_os = "linux")]

pub mod sockets;
