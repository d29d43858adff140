//! Memory: an established flow allocates nothing, an idle NAT is small.

#![allow(unsafe_code, reason = "an allocator that counts")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::*;
use natbox_nat::verdict::Side;
use natbox_nat::{Behavior, Nat, Verdict};
use natbox_wire::{Packet, Protocol};

struct Counting;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        BYTES.set(BYTES.get().wrapping_add(layout.size()));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.set(BYTES.get().wrapping_sub(layout.size()));
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn an_established_flow_allocates_nothing() {
    let mut rig = Rig::new(Behavior::default());
    let flows: Vec<[Packet; 2]> = [udp(X1, Y1), tcp(X1, Y1, SYN), ping(X1, "192.0.2.1")]
        .into_iter()
        .map(|sent| {
            let external = rig.send(sent.clone());
            let answer = match sent.protocol().expect("a session's packet") {
                natbox_wire::Protocol::Icmp => pong("192.0.2.1", external),
                protocol => packet(protocol, at(Y1), external, SYN_ACK),
            };
            rig.receive(answer.clone()).expect("an answer comes in");
            [sent, answer]
        })
        .collect();
    let mut packets: Vec<[Packet; 2]> = (0..100).flat_map(|_| flows.clone()).collect();
    let before = CALLS.get();
    for (turn, [out, back]) in packets.iter_mut().enumerate() {
        let now = seconds(turn as u64 / 10);
        rig.nat.outbound(out, now);
        rig.nat.inbound(back, now);
    }
    assert_eq!(CALLS.get() - before, 0);
    assert_eq!(rig.nat.mappings().len(), 3);
}

#[test]
fn batches_of_established_flows_allocate_nothing() {
    let mut rig = Rig::new(Behavior::default());
    let flows: Vec<[Packet; 2]> = (0..100)
        .map(|host| {
            let sent = packet(Protocol::Udp, at(&format!("10.0.0.{host}:5000")), at(Y1), SYN);
            let external = rig.send(sent.clone());
            [sent, packet(Protocol::Udp, at(Y1), external, SYN)]
        })
        .collect();
    let sides = [Side::Inside, Side::Outside];
    let both = flows.into_iter().flat_map(|packets| sides.into_iter().zip(packets));
    let packets: Vec<(Side, Packet)> = both.collect();
    let mut rounds = vec![packets; 10];
    let mut verdicts = Vec::with_capacity(2000);
    let before = CALLS.get();
    for (second, round) in rounds.iter_mut().enumerate() {
        rig.nat.batch(round, seconds(second as u64), &mut verdicts);
    }
    assert_eq!(CALLS.get() - before, 0);
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Forward(_))));
    assert_eq!(rig.nat.mappings().len(), 100);
    assert_eq!(verdicts.len(), 2000);
}

#[test]
fn an_idle_nat_is_small() {
    let behavior = std::sync::Arc::new(Behavior::default());
    let before = BYTES.get();
    let nat = Nat::new(behavior, &[ip(EXTERNAL)], 1);
    let heap = BYTES.get().wrapping_sub(before);
    let size = heap + size_of::<Nat>();
    assert!(size < 600, "{size} bytes: {heap} of heap and {} of struct", size_of_val(&nat));
}
