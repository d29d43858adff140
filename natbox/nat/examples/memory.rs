//! Prints what a NAT weighs: idle, and per mapping at 1,000, 100,000 and 1,000,000 mappings of one session each.
//!
//! `cargo run --release -p natbox-nat --example memory`

#[path = "../benches/counting/mod.rs"]
mod counting;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use counting::live_bytes;
use natbox_nat::{Behavior, Nat, Verdict};
use natbox_wire::Time;
use natbox_wire::build::{self, IpFields};

fn main() {
    let behavior = Arc::new(Behavior::default());
    let external: Vec<IpAddr> = (1..=16).map(|host| [198, 51, 100, host].into()).collect();
    println!("idle: {} bytes", weight(&behavior, &external[..1], 0));
    println!("1 mapping: {} bytes", weight(&behavior, &external[..1], 1));
    for mappings in [1_000, 100_000, 1_000_000] {
        let weight = weight(&behavior, &external, mappings);
        println!("{mappings} mappings: {:.1} bytes each", weight as f64 / f64::from(mappings));
    }
}

/// Struct and heap of a NAT with so many mappings.
fn weight(behavior: &Arc<Behavior>, external: &[IpAddr], mappings: u32) -> usize {
    let before = live_bytes();
    let mut nat = Box::new(Nat::new(behavior.clone(), external, 1));
    for flow in 0..mappings {
        let [_, high, low, port] = flow.to_be_bytes();
        let internal = SocketAddr::from(([10, 0, high, low], 5000 + u16::from(port)));
        let remote = SocketAddr::from(([192, 0, 2, 1], 3478));
        let mut packet = build::udp(internal, remote, IpFields::default(), b"").expect("a datagram");
        // Deadlines of their own, as mappings have that are not opened at one instant.
        let now = Time::from_nanos(u64::from(flow) * 100_000);
        assert!(matches!(nat.outbound(&mut packet, now), Verdict::Forward(_)));
    }
    live_bytes() - before
}
