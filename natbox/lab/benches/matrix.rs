//! The matrix of all 81 pairs of RFC 4787's classes: UDP punching with the relay to fall back to, a fresh world each.
//!
//! `cargo bench --bench matrix`. Once on one core, once on two; with the reasons of the pairs that stay on the relay; and
//! one cell alone.

#![allow(missing_docs, reason = "a program, not a library")]

use std::num::NonZeroUsize;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use natbox::matrix::{Conditions, Matrix, Side, Technique, Wanted};

fn matrix(sides: Vec<Side>, seeds: usize) -> Matrix {
    Matrix::new(sides, vec![Technique::Connect], Conditions::default(), (0, seeds)).expect("a matrix")
}

fn wanted(jobs: usize, reasons: bool) -> Wanted {
    Wanted { jobs: NonZeroUsize::new(jobs), reasons }
}

fn matrices(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("matrix");
    let pairs = |jobs, reasons| matrix(Side::classes(), 1).run(wanted(jobs, reasons), &|| ()).expect("81 cells");
    assert_eq!(pairs(1, false).cells.len(), 81);
    group.throughput(Throughput::Elements(81));
    group.bench_function("81 pairs, one core", |bencher| bencher.iter(|| pairs(1, false)));
    group.bench_function("81 pairs with reasons, one core", |bencher| bencher.iter(|| pairs(1, true)));
    let many = matrix(Side::classes(), 20);
    group.sample_size(20).throughput(Throughput::Elements(81 * 20));
    for jobs in [1, 2] {
        let name = format!("81 pairs by 20 seeds, jobs {jobs}");
        group.bench_function(name, |bencher| bencher.iter(|| many.run(wanted(jobs, false), &|| ()).expect("cells")));
    }
    group.finish();
}

criterion_group!(benches, matrices);
criterion_main!(benches);
