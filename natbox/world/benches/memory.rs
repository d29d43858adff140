//! What an idle virtual host costs: a host with one UDP socket behind a NAT of its own. Prints bytes a host, counted
//! at the allocator; not a timing.
//!
//! `cargo bench -p natbox-world --bench memory`

#![allow(unsafe_code, reason = "a counting allocator cannot be written without")]
#![allow(missing_docs, reason = "a program, not a library")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};

use natbox_host::Host;
use natbox_nat::Behavior;
use natbox_world::{Attachment, InterfaceAddress, LinkConfig, World};

struct Counting;

static LIVE: AtomicIsize = AtomicIsize::new(0);

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn address(base: u32, index: u32) -> IpAddr {
    IpAddr::V4((base + index).into())
}

fn main() {
    println!("{:>8}  {:>14}", "hosts", "bytes a host");
    for hosts in [100_u32, 1_000, 10_000] {
        let before = LIVE.load(Ordering::Relaxed);
        let mut world = World::new(1);
        let behavior = Arc::new(Behavior::default());
        let internet = world.internet("internet", &[address(0xc612_0001, 0)]);
        let mut sockets = Vec::with_capacity(hosts as usize);
        let base = LIVE.load(Ordering::Relaxed);
        for index in 0..hosts {
            let lan = world.lan("lan");
            let attachment = |network, name: &str, address, prefix_len| Attachment {
                network,
                name: name.to_owned(),
                addresses: vec![InterfaceAddress { address, prefix_len }],
                link: LinkConfig::default(),
            };
            let outside = attachment(internet, "home:outside", address(0xc612_0002, index), 15);
            let inside = attachment(lan, "home:inside", address(0x0a00_0001, index << 8), 24);
            world.gateway("home", outside, inside, behavior.clone());
            let host = world.host("host", vec![attachment(lan, "host", address(0x0a00_0002, index << 8), 24)]);
            let local = host.addresses()[0];
            let socket = world.run_until(host.udp_bind((local, 5000).into())).expect("runs").expect("binds");
            sockets.push((host, socket));
        }
        let after = LIVE.load(Ordering::Relaxed);
        println!("{hosts:>8}  {:>14}", (after - base) / hosts as isize);
        drop(sockets);
        drop(world);
        let left = LIVE.load(Ordering::Relaxed) - before;
        assert!(left.abs() < 4096, "{left} bytes leaked");
    }
}
