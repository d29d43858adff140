//! Bytes into a small lab, from any interface: routers, a NAT, and hosts with servers and a TCP connection under way.
//!
//! The hosts' stacks see what no well-behaved peer sends: reassembly, ICMP errors about their sockets, TCP segments
//! into a live connection.

use std::sync::LazyLock;
use std::time::Duration;

use natbox::host::{Host, TcpOptions};
use natbox::plan::Plan;
use natbox::probes::{echo, stun};
use natbox::record::{Limits, Recorder};

use super::input::Input;
use super::packets::mended;

const LAB: &str = "
internet: { prefix6: '2001:db8::/48' }
nats: { home: { type: full-cone, hairpin: external-source } }
hosts: { alice: { behind: home }, server: { address: [198.18.0.9] } }
";
/// Events, and programs' calls, in one go: injected packets and their answers are few.
const EVENTS: u64 = 20_000;
const IDLE: Duration = Duration::from_secs(60);

static PLAN: LazyLock<Plan> =
    LazyLock::new(|| Plan::from_yaml("lab", LAB).unwrap_or_else(|mistakes| panic!("{mistakes}")));

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut built = PLAN.build(7);
    let recorder = Recorder::new(Limits { records: 10_000, ..Limits::CAPTURE });
    built.world.observe(Box::new(recorder.clone()));
    built.world.limit_events(EVENTS);
    built.world.limit_calls(EVENTS);
    let (Some(alice), Some(server)) = (built.host("alice"), built.host("server")) else { panic!("the lab's hosts") };
    let address = server.addresses()[0];
    let echo = (address, 7).into();
    let (udp, tcp, binding) = (server.clone(), server.clone(), server.clone());
    built.world.spawn(async move { drop(echo::serve_udp(udp, echo).await) });
    built.world.spawn(async move { drop(echo::serve_tcp(tcp, echo, IDLE).await) });
    built
        .world
        .spawn(async move { drop(stun::server::serve(binding, stun::server::ServerConfig::new(address, None)).await) });
    let kept = alice.clone();
    built.world.spawn(async move {
        let stream = kept.tcp_connect(echo, TcpOptions::default()).await;
        kept.sleep(IDLE).await;
        drop(stream);
    });
    let run = |built: &mut natbox::build::Built, time| match built.world.run_for(time) {
        Ok(()) => {}
        Err(stalled) => panic!("{stalled}"),
    };
    run(&mut built, Duration::from_millis(100));
    let interfaces: Vec<_> = built.world.interfaces().collect();
    while !input.is_empty() {
        let (which, pause) = (input.pick(&interfaces), input.byte());
        let bytes = input.bytes();
        let bytes = if pause & 1 == 0 { mended(bytes) } else { bytes.to_vec() };
        built.world.inject(which, bytes);
        run(&mut built, Duration::from_millis(u64::from(pause >> 1) * 5));
    }
    run(&mut built, 2 * IDLE);
    let (log, statistics) = (recorder.take(), built.world.statistics());
    assert!(statistics.packets > 0);
    let mut written = Vec::new();
    let count = natbox::capture::write(&mut written, &log, &built.names).map_or(0, |written| written.packets);
    let frames = natbox::capture::Reader::new(&written[..]).map(|reader| reader.filter(Result::is_ok).count());
    assert_eq!(frames.ok(), Some(count as usize), "what is written is read");
}
