//! Programs on hosts, through gateways.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use natbox_host::{EchoAnswer, EchoSocket, Host, UdpSocket};
use natbox_wire::{DropReason, IcmpError, Time};
use natbox_world::note::Outcome;
use natbox_world::{LinkConfig, Stalled, VirtualHost, World};

use crate::scenario;
use crate::support::*;

#[test]
fn two_hosts_behind_port_restricted_gateways_punch_through() {
    let mut homes = scenario::build(7, &strict_behavior());
    let notes = Notes::default();
    homes.world.observe(Box::new(notes.clone()));
    assert_eq!(scenario::run(&mut homes).ip(), ip("198.18.0.21"));
    let filtered = notes.all().into_iter().filter(|seen| {
        matches!(seen, Seen::Received { outcome: Outcome::Refused(refusal), .. } if refusal.reason == DropReason::Filtered)
    });
    assert!(filtered.count() <= 1, "at most the first punch dies");
}

#[test]
fn a_scenario_of_sockets_is_the_same_every_time() {
    let run = |seed| {
        let mut homes = scenario::build(seed, &strict_behavior());
        let notes = Notes::default();
        homes.world.observe(Box::new(notes.clone()));
        scenario::run(&mut homes);
        format!("{:?}", notes.all())
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8), "the gateways give out random ports");
}

#[test]
fn traceroute_names_every_router_on_the_way() {
    let mut home = home(1, Links { server: link(5), ..Links::default() }, strict_behavior());
    let alice = home.host("alice");
    let trace = home.world.run_until(async {
        let socket = alice.echo_socket(ip("0.0.0.0")).await?;
        let mut trace = Vec::new();
        for ttl in 1..=3 {
            socket.set_ttl(ttl)?;
            socket.send(ip("198.18.0.9"), ttl.into(), b"trace").await?;
            trace.push(match socket.recv().await? {
                EchoAnswer::Error { report, sequence } => (report.reporter, sequence, Some(report.error)),
                EchoAnswer::Reply(reply) => (reply.source, reply.sequence, None),
            });
        }
        io::Result::Ok(trace)
    });
    let expired = Some(IcmpError::TtlExceeded);
    let expected = [(ip("10.0.0.1"), 1, expired), (ip("198.18.0.1"), 2, expired), (ip("198.18.0.9"), 3, None)];
    assert_eq!(trace.expect("not stalled").expect("no error"), expected);
    assert_eq!(home.world.now(), ms(10));
}

#[test]
fn a_host_with_two_uplinks_sends_through_the_one_that_it_is_bound_to() {
    let mut world = World::new(1);
    let notes = Notes::default();
    world.observe(Box::new(notes.clone()));
    let internet = world.internet("internet", &[ip("198.18.0.1")]);
    let server = world.host("server", vec![attachment(internet, "server", &["198.18.0.9/15"], link(1))]);
    let mut uplinks = Vec::new();
    for home in ["2", "3"] {
        let lan = world.lan(home);
        let outside = attachment(internet, &format!("{home}:outside"), &[&format!("198.18.0.{home}/15")], link(1));
        let inside = attachment(lan, &format!("{home}:inside"), &[&format!("10.0.{home}.1/24")], link(0));
        world.gateway(home, outside, inside, open_behavior());
        uplinks.push(attachment(lan, &format!("carol-{home}"), &[&format!("10.0.{home}.2/24")], link(0)));
    }
    let carol = world.host("carol", uplinks);
    let seen = world.run_until(async {
        let listener = server.udp_bind(endpoint("198.18.0.9:9")).await?;
        let mut seen = Vec::new();
        for local in ["0.0.0.0:0", "10.0.2.2:0", "10.0.3.2:0"] {
            let socket = carol.udp_bind(endpoint(local)).await?;
            socket.send_to(b"hello", endpoint("198.18.0.9:9")).await?;
            seen.push(listener.recv_from(&mut [0; 8]).await?.source.ip());
        }
        io::Result::Ok(seen)
    });
    let expected = [ip("198.18.0.2"), ip("198.18.0.2"), ip("198.18.0.3")];
    assert_eq!(seen.expect("not stalled").expect("no error"), expected);
}

#[test]
fn programs_sleep_in_virtual_time_to_the_nanosecond() {
    let mut home = home(1, Links::default(), open_behavior());
    let (alice, log) = (home.host("alice"), Rc::new(RefCell::new(Vec::new())));
    for nanos in [1_000_000_007, 3, 1_000_000_007] {
        let (alice, log) = (alice.clone(), log.clone());
        alice.clone().spawn(async move {
            alice.sleep(Duration::from_nanos(nanos)).await;
            log.borrow_mut().push(alice.now());
        });
    }
    home.world.run_for(Duration::from_secs(2)).expect("no storm");
    assert_eq!(*log.borrow(), [3, 1_000_000_007, 1_000_000_007].map(Time::from_nanos));
    assert_eq!(home.world.now(), Time::ZERO + Duration::from_secs(2));
}

#[test]
fn an_answer_that_never_comes_is_a_stall_and_a_patient_program_goes_on() {
    let mut home = home(1, Links { alice: LinkConfig { loss: 1.0, ..link(1) }, ..Links::default() }, open_behavior());
    let alice = home.host("alice");
    let stalled = home.world.run_until(async {
        let socket = alice.udp_bind(endpoint("0.0.0.0:0")).await?;
        socket.send_to(b"?", endpoint("198.18.0.9:9")).await?;
        socket.recv_from(&mut [0; 8]).await
    });
    assert!(matches!(stalled, Err(Stalled::Idle { at: Time::ZERO })), "{stalled:?}");
    let alice = home.host("alice");
    let waited = home.world.run_until(async { alice.sleep(MS).await });
    assert_eq!((waited, home.world.now()), (Ok(()), ms(1)));
}

/// Returns every ball for ever; serves one if there is somebody to serve it to.
async fn play(host: VirtualHost, first: Option<&'static str>) {
    let socket = host.udp_bind(endpoint("0.0.0.0:9")).await.expect("a free port");
    if let Some(first) = first {
        socket.send_to(b"ball", endpoint(first)).await.expect("sent");
    }
    loop {
        let received = socket.recv_from(&mut [0; 8]).await.expect("received");
        socket.send_to(b"ball", received.source).await.expect("sent");
    }
}

#[test]
fn two_programs_that_answer_each_other_for_ever_are_stopped() {
    let mut home = home(1, Links::default(), open_behavior());
    home.world.limit_events(10_000);
    let (alice, server) = (home.host("alice"), home.host("server"));
    server.clone().spawn(play(server, None));
    alice.clone().spawn(play(alice, Some("198.18.0.9:9")));
    let stalled = home.world.run_for(MS);
    assert!(matches!(stalled, Err(Stalled::TooManyEvents { limit: 10_000, .. })), "{stalled:?}");
}

#[test]
fn two_programs_on_one_host_that_feed_each_other_are_stopped_and_the_host_is_named() {
    let mut home = home(1, Links::default(), open_behavior());
    home.world.limit_calls(1000);
    let server = home.host("server");
    let other = server.clone();
    server.clone().spawn(play(server.clone(), None));
    other.clone().spawn(async move {
        let socket = other.udp_bind(endpoint("198.18.0.9:10")).await.expect("a free port");
        loop {
            socket.send_to(b"ball", endpoint("198.18.0.9:9")).await.expect("sent");
            socket.recv_from(&mut [0; 8]).await.expect("received");
        }
    });
    let spinning = Err(Stalled::Spinning { at: Time::ZERO, host: "server".into(), limit: 1000 });
    assert_eq!(home.world.run_for(MS), spinning);
    assert_eq!(home.world.run_for(MS), spinning, "they go on where they were stopped");
    assert!(spinning.is_err_and(|stalled| stalled.to_string().contains("programs on server")));
}

#[test]
fn a_program_that_answers_itself_is_stopped_though_it_never_waits() {
    let mut home = home(1, Links::default(), open_behavior());
    home.world.limit_calls(1000);
    let (alice, server) = (home.host("alice"), home.host("server"));
    server.clone().spawn(play(server, Some("198.18.0.9:9")));
    let slept = home.world.run_until(async { alice.sleep(MS).await });
    assert!(matches!(slept, Err(Stalled::Spinning { at: Time::ZERO, limit: 1000, .. })), "{slept:?}");
}

#[test]
fn a_program_that_sleeps_for_no_time_for_ever_is_stopped() {
    let mut home = home(1, Links::default(), open_behavior());
    home.world.limit_calls(1000);
    let alice = home.host("alice");
    let for_ever: Result<(), Stalled> = home.world.run_until(async {
        loop {
            alice.sleep(Duration::ZERO).await;
        }
    });
    assert!(matches!(for_ever, Err(Stalled::Spinning { limit: 1000, .. })), "{for_ever:?}");
}

#[test]
fn calls_are_counted_from_event_to_event() {
    let mut home = home(1, Links::default(), open_behavior());
    home.world.limit_calls(10);
    let alice = home.host("alice");
    let all = home.world.run_until(async {
        for _ in 0..100 {
            alice.sleep(MS).await;
            alice.udp_bind(endpoint("0.0.0.0:0")).await.expect("a free port");
        }
    });
    assert_eq!((all, home.world.now()), (Ok(()), ms(100)));
}

#[test]
fn packets_that_multiply_are_stopped_before_memory_ends() {
    let twice = LinkConfig { duplicate: 1.0, ..link(1) };
    let mut home = home(1, Links { server: twice, ..Links::default() }, open_behavior());
    home.world.limit_pending(1000);
    let (alice, server) = (home.host("alice"), home.host("server"));
    server.clone().spawn(play(server, None));
    alice.clone().spawn(play(alice, Some("198.18.0.9:9")));
    let stalled = home.world.run_until(std::future::pending::<()>());
    assert!(matches!(stalled, Err(Stalled::TooManyPending { limit: 1000, .. })), "{stalled:?}");
}

#[test]
fn streams_of_chance_belong_to_their_host_and_differ_at_each_call() {
    use rand_core::Rng;
    let draw = |seed, name: &str| {
        let mut home = home(seed, Links::default(), open_behavior());
        let (mut first, mut second) = (home.host(name).random(), home.host(name).random());
        home.world.run_for(MS).expect("no storm");
        [first.next_u64(), second.next_u64()]
    };
    let [first, second] = draw(1, "alice");
    assert_ne!(first, second);
    assert_eq!([first, second], draw(1, "alice"));
    assert_ne!(first, draw(1, "server")[0]);
    assert_ne!(first, draw(2, "alice")[0]);
}
