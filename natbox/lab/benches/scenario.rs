//! Complete scenarios a second, a fresh world each: two hosts behind a NAT each learn their addresses from a STUN
//! server, meet at the directory, punch, and exchange a message and its acknowledgement.
//!
//! `cargo bench --bench scenario`; on one core.

#![allow(missing_docs, reason = "a program, not a library")]

#[path = "../../../tests/common/two_homes.rs"]
mod two_homes;

use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use natbox::host::Host;
use natbox::nat::Behavior;
use natbox::probes::punch::{PunchConfig, answer, punch};
use two_homes::TwoHomes;

/// Runs one scenario; gives what the world counted.
fn scenario(behavior: &Arc<Behavior>, seed: u64) -> natbox::world::Statistics {
    let TwoHomes { mut world, alice, bob, stun, directory, .. } = TwoHomes::new(behavior, behavior, seed);
    let config = |name: &str| {
        let mut config = PunchConfig::new(directory, name);
        config.stun = Some(stun);
        config.host_candidates = false;
        config
    };
    let (caller, callee) = (config("alice"), config("bob"));
    let answering = async {
        let mut talk = answer(&bob, &callee, bob.now() + Duration::from_secs(10)).await.expect("bob is punched");
        let message =
            talk.recv(bob.now() + Duration::from_secs(5)).await.expect("a socket").expect("a message").to_vec();
        talk.send(&message).await.expect("sent");
    };
    let calling = async {
        alice.sleep(Duration::from_millis(200)).await;
        let mut talk = punch(&alice, &caller, "bob").await.expect("alice punches");
        talk.send(b"a message").await.expect("sent");
        let answered = talk.recv(alice.now() + Duration::from_secs(5)).await.expect("a socket").expect("an answer");
        assert_eq!(answered, b"a message");
    };
    world.run_until(futures::future::join(calling, answering)).expect("the world goes on");
    world.statistics()
}

fn scenarios(criterion: &mut Criterion) {
    let behavior = Arc::new(natbox::nat::preset::find("port-restricted-cone").expect("a preset").behavior);
    println!("one scenario: {:?}", scenario(&behavior, 1));
    let mut group = criterion.benchmark_group("scenario");
    group.throughput(Throughput::Elements(1));
    let mut seed = 0;
    group.bench_function("stun, meet, punch, message, acknowledgement", |bencher| {
        bencher.iter(|| {
            seed += 1;
            scenario(&behavior, seed)
        });
    });
    group.finish();
}

criterion_group!(benches, scenarios);
criterion_main!(benches);
