//! How fast worlds are built, run and thrown away, without any program of `probes`: what the network alone costs. One
//! core. Complete scenarios are measured beside the lab.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use natbox_nat::Behavior;

#[path = "../tests/world/scenario.rs"]
mod scenario;

fn worlds(criterion: &mut Criterion) {
    let behavior = Arc::new(Behavior::default());
    criterion.bench_function("build a world of two homes and a server", |bencher| {
        bencher.iter(|| black_box(scenario::build(7, &behavior)));
    });
    criterion.bench_function("build it, and punch by bare datagrams, without STUN or directory programs", |bencher| {
        let mut seed = 0;
        bencher.iter(|| {
            seed += 1;
            scenario::run(&mut scenario::build(seed, &behavior))
        });
    });
}

criterion_group!(benches, worlds);
criterion_main!(benches);
