//! Servers that know less, and links that lose.

use std::net::SocketAddr;
use std::time::Duration;

use natbox::Lab;
use natbox::host::{Host, UdpSocket};
use natbox::measure::{Found, Measurement, Options, axes, search};
use natbox::nat::preset;
use natbox::probes::measure::{Lifetime, measure};
use natbox::probes::stun::codec::{self, attribute};
use natbox::probes::stun::server::{ServerConfig, respond};
use natbox::probes::{ProbeError, stun};

use crate::presets::configured;

/// A server that has never heard of RFC 5780: it refuses RESPONSE-PORT as what it does not know (RFC 8489 section 6.3.1).
async fn plain<H: Host>(host: H, local: SocketAddr) {
    let config = ServerConfig::new(local.ip(), None);
    let socket = host.udp_bind(local).await.expect("a socket");
    let mut buffer = [0; 1024];
    loop {
        let Ok(received) = socket.recv_from(&mut buffer).await else { continue };
        let datagram = &buffer[..received.length];
        let Some(request) = codec::parse(datagram) else { continue };
        let refused = request.has_attribute(attribute::RESPONSE_PORT);
        let refusal = || codec::Writer::unknown_attributes(&request, &[attribute::RESPONSE_PORT]).finish();
        let answer = respond(&config, datagram, received.source, local).map(|reply| reply.datagram);
        let answer = if refused { Some(refusal()) } else { answer };
        if let Some(answer) = answer {
            socket.send_to(&answer, received.source).await.ok();
        }
    }
}

/// A lab whose two servers know no other address, and what a host behind this NAT finds with them.
fn with_plain_servers(nat: &str, servers: usize) -> Result<Measurement, ProbeError> {
    let text = format!(
        "nats: {{ home: {nat} }}\nhosts: {{ alice: {{ behind: home }}, one: {{ addresses: 1 }}, two: {{ addresses: 1 }} }}\n"
    );
    let mut built = Lab::from_yaml(&text).expect("a lab").start().expect("a world");
    let mut endpoints = Vec::new();
    for name in ["one", "two"].into_iter().take(servers) {
        let host = built.host(name).expect("a server");
        let address = host.addresses()[0];
        endpoints.push(SocketAddr::new(address, stun::PORT));
        host.spawn(plain(host.clone(), SocketAddr::new(address, stun::PORT)));
    }
    let alice = built.host("alice").expect("alice");
    let options = Options { timers: Some(search(Duration::from_secs(60))), ..Options::default() };
    built.world.run_until(async { measure(&alice, &endpoints, &options).await }).expect("the world goes on")
}

#[test]
fn plain_servers_tell_mapping_and_ports_and_nothing_of_the_filter() {
    let found = with_plain_servers("port-restricted-cone", 2).expect("a measurement");
    let of = |name: &str| axes(&found).into_iter().find(|axis| axis.name == name).expect("an axis").found;
    assert_eq!(of("mapping.udp"), Found::Word("endpoint-independent".to_owned()));
    assert_eq!(of("ports.allocation"), Found::Word("preserve".to_owned()));
    for unknown in ["filtering.udp", "filter_scope", "session_affinity", "mapping.tcp"] {
        assert!(matches!(of(unknown), Found::Unknown(_)), "{unknown}: {:?}", of(unknown));
    }
}

#[test]
fn two_plain_servers_cannot_tell_on_what_of_the_remote_a_mapping_depends() {
    let found = with_plain_servers("symmetric", 2).expect("a measurement");
    let why = found.mapping.expect_err("unknown").to_string();
    assert!(why.contains("depends on the remote"), "{why}");
    let why = with_plain_servers("symmetric", 1).expect("a measurement").mapping.expect_err("unknown").to_string();
    assert!(why.contains("name another server"), "{why}");
}

#[test]
fn plain_servers_tell_lifetimes_where_a_new_mapping_looks_new() {
    let nat = "{ type: symmetric, timeouts: { udp_unreplied: 20s, udp: 30s, udp_stream: 50s } }";
    let found = with_plain_servers(nat, 1).expect("a measurement").timers;
    let holds = |lifetime: Lifetime, seconds: u64| {
        let expired = lifetime.expired_after.expect("it ends");
        let near = expired.saturating_sub(lifetime.alive_after) <= Duration::from_secs(1);
        near && (lifetime.alive_after..=expired).contains(&Duration::from_secs(seconds))
    };
    assert!(holds(found.replied.expect("known"), 30) && holds(found.stream.expect("known"), 50), "{found:?}");
    assert!(found.unreplied.is_err() && found.refresh.is_err(), "{found:?}");
    let preserved = with_plain_servers("{ type: full-cone, timeouts: { udp: 30s } }", 2).expect("a measurement").timers;
    assert!(preserved.replied.is_err() && preserved.stream.is_err(), "{preserved:?}");
}

#[test]
fn servers_that_are_silent_or_not_there_are_errors() {
    assert!(matches!(with_plain_servers("symmetric", 0), Err(ProbeError::Io { .. })));
    let text = "nats: { home: symmetric }\nhosts: { alice: { behind: home }, nobody: { addresses: 1 } }\n";
    let mut built = Lab::from_yaml(text).expect("a lab").start().expect("a world");
    let silent = SocketAddr::new(built.host("nobody").expect("a host").addresses()[0], stun::PORT);
    let alice = built.host("alice").expect("alice");
    let came = built.world.run_until(async { measure(&alice, &[silent], &Options::default()).await });
    assert!(matches!(came.expect("the world goes on"), Err(ProbeError::Silence { from, .. }) if from == silent));
}

#[test]
fn links_that_lose_and_delay_make_axes_unknown_and_never_wrong() {
    for name in ["linux-masquerade-open", "symmetric", "patchbay-home", "winnat", "symmetric-sequential"] {
        let behavior = preset::find(name).expect("a preset").behavior;
        for seed in 0..8 {
            let text = format!(
                "nats: {{ home: {{ type: {name}, link: {{ loss: 3%, jitter: 4ms }} }} }}\n\
                 hosts: {{ alice: {{ behind: home }}, server: {{ services: stun }} }}\n\
                 scenario: [ measure: alice ]\n"
            );
            let outcome = Lab::from_yaml(&text).expect("a lab").seed(seed).run().expect("a run");
            let known = outcome.steps[0].facts["axes"].as_object().expect("axes").clone();
            for (axis, word) in known.iter().filter_map(|(axis, value)| Some((axis, value.as_str()?))) {
                assert_eq!(word, configured(&behavior, axis), "{axis} of {name}, seed {seed}");
            }
        }
    }
}
