//! What a packet costs: parsing, rewriting, answering with an error.

use std::hint::black_box;
use std::net::SocketAddr;

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use natbox_wire::build::{self, IpFields};
use natbox_wire::{IcmpError, Packet};

fn datagram(ipv6: bool, payload_bytes: usize) -> Packet {
    let [source, destination] = endpoints(ipv6);
    build::udp(source, destination, IpFields::default(), &vec![0x5A; payload_bytes]).expect("a small datagram")
}

fn endpoints(ipv6: bool) -> [SocketAddr; 2] {
    let texts =
        if ipv6 { ["[2001:db8::2]:5000", "[2001:db8:1::3]:3478"] } else { ["10.0.0.2:5000", "198.18.0.3:3478"] };
    texts.map(|text| text.parse().expect("an endpoint"))
}

fn parse(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, packet: &Packet) {
    group.bench_function(format!("parse {name}"), |bencher| {
        // Parsing takes the bytes and gives them back: the same buffer goes round.
        let mut bytes = packet.bytes().to_vec();
        bencher.iter(|| {
            let packet = Packet::parse(std::mem::take(&mut bytes)).expect("a well-formed packet");
            bytes = black_box(packet).into_bytes();
        });
    });
}

fn rewrite(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, packet: &Packet) {
    group.bench_function(format!("rewrite {name}"), |bencher| {
        let mut packet = packet.clone();
        let mut endpoint = packet.source_endpoint();
        bencher.iter(|| {
            endpoint.set_port(endpoint.port().wrapping_add(1));
            packet.rewrite_source(black_box(endpoint));
        });
    });
}

fn packets(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("packet");
    for (name, ipv6, payload_bytes) in
        [("IPv4 UDP 100 B", false, 72), ("IPv4 UDP 1400 B", false, 1372), ("IPv6 UDP 100 B", true, 52)]
    {
        let packet = datagram(ipv6, payload_bytes);
        parse(&mut group, name, &packet);
        rewrite(&mut group, name, &packet);
    }
    let offender = datagram(false, 72);
    let error = build::icmp_error(IcmpError::PortUnreachable, offender.destination(), &offender).expect("an error");
    parse(&mut group, "ICMP error", &error);
    let [source, destination] = endpoints(false);
    group.bench_function("rewrite the quote of an ICMP error", |bencher| {
        let mut error = error.clone();
        bencher.iter(|| error.rewrite_quoted_source(black_box(source)));
    });
    group.bench_function("build IPv4 UDP 100 B", |bencher| {
        bencher.iter(|| build::udp(black_box(source), destination, IpFields::default(), &[0x5A; 72]));
    });
    group.bench_function("build an ICMP error", |bencher| {
        let router = offender.destination();
        bencher.iter(|| build::icmp_error(IcmpError::TtlExceeded, black_box(router), &offender));
    });
    group.finish();
}

criterion_group!(benches, packets);
criterion_main!(benches);
