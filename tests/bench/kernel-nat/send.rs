//! Sends datagrams and says how many nanoseconds one took: `send ADDRESSES PORTS FLOWS PACKETS`.
//!
//! From one socket to FLOWS remote endpoints: ports 1024 to 1023 + PORTS of each of the addresses from 192.0.2.1 on. First
//! each flow is begun (`new`), then PACKETS go to flows in random order (`established`). Built by `run` with plain
//! rustc; std alone.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Instant;

fn main() {
    let arguments: Vec<u64> = std::env::args().skip(1).map(|text| text.parse().expect("a number")).collect();
    let [addresses, ports, flows, packets] = arguments[..] else { panic!("send ADDRESSES PORTS FLOWS PACKETS") };
    assert!(flows <= addresses * ports, "more flows than remote endpoints");
    let socket = UdpSocket::bind("0.0.0.0:5000").expect("a socket");
    let remote = |flow: u64| {
        let address = Ipv4Addr::from_bits(Ipv4Addr::new(192, 0, 2, 1).to_bits() + (flow / ports) as u32);
        SocketAddrV4::new(address, 1024 + (flow % ports) as u16)
    };
    let send = |flow: u64| {
        // A full device queue is not what is measured: try again.
        while socket.send_to(&[0; 32], remote(flow)).is_err() {}
    };
    let start = Instant::now();
    (0..flows).for_each(send);
    println!("new {}", start.elapsed().as_nanos() as u64 / flows);
    let mut random = 1_u64;
    let start = Instant::now();
    for _ in 0..packets {
        // Knuth's MMIX generator; its high bits are good enough to visit flows in random order.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        send((random >> 33) % flows);
    }
    println!("established {}", start.elapsed().as_nanos() as u64 / packets);
}
