//! The least that any NAT on TUN devices must do, for tests/bench/live, which builds this with plain rustc; std alone.
//!
//! `live-relay NAMESPACE NAMESPACE` makes a device `eth0` in both namespaces (of `ip netns`), with the offloads that a lab's
//! devices have, and carries packets from each to the other as they are, until it is ended. One read and one write a
//! packet, and one wait: more reading ahead, io_uring, or a thread for each device take longer for a single packet.

use std::ffi::{c_int, c_ulong};
use std::fs::File;
use std::io::{Error, Read, Write};
use std::os::fd::AsRawFd;

const CLONE_NEWNET: c_int = 0x4000_0000;
const TUNSETIFF: c_ulong = 0x4004_54CA;
const TUNSETOFFLOAD: c_ulong = 0x4004_54D0;
/// TUN, no packet information, virtio-net headers.
const FLAGS: i16 = 0x0001 | 0x1000 | 0x4000;
/// Checksums, TCP segments of both versions and with ECN; and UDP datagrams (Linux 6.2).
const OFFLOADS: [c_ulong; 2] = [0x6F, 0x0F];
const EPOLLIN: u32 = 1;
const EPOLL_CTL_ADD: c_int = 1;
/// A virtio-net header and the largest packet.
const LARGEST_BYTES: usize = 10 + 65_535;

/// `struct ifreq`, as far as it is needed.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: i16,
    rest: [u8; 22],
}

/// `struct epoll_event` of x86-64 and of all others.
#[cfg_attr(target_arch = "x86_64", repr(C, packed))]
#[cfg_attr(not(target_arch = "x86_64"), repr(C))]
#[derive(Clone, Copy)]
struct Event {
    events: u32,
    data: u64,
}

unsafe extern "C" {
    fn setns(fd: c_int, kind: c_int) -> c_int;
    fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
    fn epoll_create1(flags: c_int) -> c_int;
    fn epoll_ctl(epoll: c_int, what: c_int, fd: c_int, event: *mut Event) -> c_int;
    fn epoll_wait(epoll: c_int, events: *mut Event, most: c_int, milliseconds: c_int) -> c_int;
}

fn main() {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let [inner, outer] = &names[..] else { panic!("live-relay NAMESPACE NAMESPACE") };
    let mut devices = [device(inner), device(outer)];
    // SAFETY: numbers, and an event that the call reads.
    let epoll = unsafe { epoll_create1(0) };
    for (place, device) in devices.iter().enumerate() {
        let mut event = Event { events: EPOLLIN, data: place as u64 };
        done("epoll_ctl", unsafe { epoll_ctl(epoll, EPOLL_CTL_ADD, device.as_raw_fd(), &mut event) });
    }
    println!("ready");
    std::io::stdout().flush().expect("somebody who reads");
    let mut packet = vec![0; LARGEST_BYTES];
    loop {
        let mut events = [Event { events: 0, data: 0 }; 2];
        // SAFETY: the events are as many as is said.
        let ready = unsafe { epoll_wait(epoll, events.as_mut_ptr(), 2, -1) };
        for event in events.iter().take(usize::try_from(ready).unwrap_or(0)) {
            let place = event.data as usize;
            if let Ok(length) = devices[place].read(&mut packet) {
                // A host that is not up yet refuses.
                let _ = devices[1 - place].write(&packet[..length]);
            }
        }
    }
}

fn device(namespace: &str) -> File {
    let space = File::open(format!("/run/netns/{namespace}")).expect("a namespace");
    // SAFETY: a descriptor that is open.
    done("setns", unsafe { setns(space.as_raw_fd(), CLONE_NEWNET) });
    let device = File::options().read(true).write(true).open("/dev/net/tun").expect("/dev/net/tun");
    let mut request = Request { name: [0; 16], flags: FLAGS, rest: [0; 22] };
    request.name[..4].copy_from_slice(b"eth0");
    // SAFETY: a request as large as the kernel's, and numbers.
    done("TUNSETIFF", unsafe { ioctl(device.as_raw_fd(), TUNSETIFF, &mut request) });
    let offloaded = OFFLOADS.iter().any(|mask| unsafe { ioctl(device.as_raw_fd(), TUNSETOFFLOAD, *mask) } == 0);
    assert!(offloaded, "TUNSETOFFLOAD: {}", Error::last_os_error());
    device
}

fn done(what: &str, result: c_int) {
    assert!(result >= 0, "{what}: {}", Error::last_os_error());
}
