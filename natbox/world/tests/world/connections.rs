//! What a NAT's treatment of TCP comes to for programs: refusals after six seconds, simultaneous opens through two NATs,
//! connections that expire.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join;
use natbox_host::{Host, TcpListener, TcpOptions};
use natbox_nat::Behavior;
use natbox_nat::behavior::*;
use natbox_wire::{DropReason, Time};
use natbox_world::note::Outcome;
use natbox_world::{NetworkId, VirtualHost, VirtualStream, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::*;

/// How the server's attempt to connect to an external endpoint that nobody has ends, and when.
fn refused(unsolicited_syn: UnsolicitedSyn) -> (ErrorKind, Time) {
    let mut home = home(1, Links::default(), Arc::new(Behavior { unsolicited_syn, ..Behavior::default() }));
    let server = home.host("server");
    let patience = TcpOptions { connect_timeout: Some(Duration::from_secs(30)), ..TcpOptions::default() };
    home.world
        .run_until(async {
            let error = server.tcp_connect(endpoint("198.18.0.2:5000"), patience).await.expect_err("nobody is there");
            (error.kind(), server.now())
        })
        .expect("it ends")
}

#[test]
fn a_connection_to_nobody_is_refused_at_once_after_six_seconds_or_never() {
    let at = |seconds| Time::ZERO + Duration::from_secs(seconds);
    assert_eq!(refused(UnsolicitedSyn::IcmpAfter6s), (ErrorKind::ConnectionRefused, at(6)));
    assert_eq!(refused(UnsolicitedSyn::RstAfter), (ErrorKind::ConnectionRefused, at(6)));
    assert_eq!(refused(UnsolicitedSyn::IcmpNow), (ErrorKind::ConnectionRefused, at(0)));
    assert_eq!(refused(UnsolicitedSyn::RstNow), (ErrorKind::ConnectionRefused, at(0)));
    assert_eq!(refused(UnsolicitedSyn::Drop), (ErrorKind::TimedOut, at(30)));
}

/// A host at 10.0.0.2 behind a gateway that keeps ports.
fn behind(world: &mut World, internet: NetworkId, name: &str, external: &str, behavior: &Arc<Behavior>) -> VirtualHost {
    let lan = world.lan(name);
    let outside = attachment(internet, &format!("{name}:outside"), &[external], link(10));
    let inside = attachment(lan, &format!("{name}:inside"), &["10.0.0.1/24"], link(0));
    world.gateway(&format!("{name}-gateway"), outside, inside, behavior.clone());
    world.host(name, vec![attachment(lan, name, &["10.0.0.2/24"], link(0))])
}

/// Two hosts behind gateways connect to one another from port 5000, the second `delay` after the first.
fn both_connect(
    unsolicited_syn: UnsolicitedSyn,
    tcp_simopen: TcpSimultaneousOpen,
    delay: Duration,
) -> (Notes, Result<Duration, ErrorKind>) {
    let mut world = World::new(1);
    let notes = Notes::default();
    world.observe(Box::new(notes.clone()));
    let internet = world.internet("internet", &[ip("198.18.0.1")]);
    let ports = Ports { allocation: PortAllocation::Preserve, ..Ports::default() };
    let filtering = Filtering::AddressAndPortDependent.into();
    let behavior = Arc::new(Behavior { filtering, ports, unsolicited_syn, tcp_simopen, ..Behavior::default() });
    let first = behind(&mut world, internet, "first", "198.18.0.21/15", &behavior);
    let second = behind(&mut world, internet, "second", "198.18.0.22/15", &behavior);
    let options = || TcpOptions {
        local: Some(SocketAddr::from(([10, 0, 0, 2], 5000))),
        connect_timeout: Some(Duration::from_secs(20)),
        ..TcpOptions::default()
    };
    let ended = world.run_until(async {
        let late = async {
            second.sleep(delay).await;
            second.tcp_connect(endpoint("198.18.0.21:5000"), options()).await
        };
        let both = join(first.tcp_connect(endpoint("198.18.0.22:5000"), options()), late).await;
        let elapsed = first.now() - Time::ZERO;
        match both {
            (Ok(one), Ok(other)) => {
                greet(one, other).await;
                Ok(elapsed)
            }
            (Err(error), _) | (_, Err(error)) => Err(error.kind()),
        }
    });
    (notes, ended.expect("it ends"))
}

async fn greet(mut one: VirtualStream, mut other: VirtualStream) {
    let mut heard = [0; 5];
    one.write_all(b"hello").await.expect("written");
    other.read_exact(&mut heard).await.expect("read");
    assert_eq!(&heard, b"hello");
}

#[test]
fn a_simultaneous_open_succeeds_through_two_nats_whoever_is_first() {
    for delay in [0, 5, 200, 900] {
        let delay = Duration::from_millis(delay);
        let (notes, met) = both_connect(UnsolicitedSyn::IcmpAfter6s, TcpSimultaneousOpen::Ok, delay);
        let elapsed = met.unwrap_or_else(|error| panic!("{delay:?} apart: {error}"));
        assert!(elapsed < delay + Duration::from_millis(100), "no SYN had to be repeated: {elapsed:?}");
        let crossed = notes.all().into_iter().filter(|seen| match seen {
            Seen::Released { outcome: Outcome::Refused(refusal), .. } => refusal.reason == DropReason::SynCrossed,
            _ => false,
        });
        assert_eq!(crossed.count(), usize::from(delay > Duration::from_millis(20)), "{delay:?}: held, then forgotten");
    }
}

#[test]
fn a_nat_that_resets_or_cannot_open_at_both_ends_breaks_it() {
    let delay = Duration::from_millis(200);
    let (_, met) = both_connect(UnsolicitedSyn::RstNow, TcpSimultaneousOpen::Ok, delay);
    assert_eq!(met, Err(ErrorKind::ConnectionRefused), "the first one's SYN is reset before the second one calls");
    for simopen in [
        TcpSimultaneousOpen::BlockInSyn,
        TcpSimultaneousOpen::BlockOutSynack,
        TcpSimultaneousOpen::MistranslateOutSynack,
    ] {
        let (_, met) = both_connect(UnsolicitedSyn::Drop, simopen, Duration::ZERO);
        assert!(met.is_err(), "{simopen}: {met:?}");
    }
}

/// A connection from alice to the server through a NAT that forgets after a minute, after `idle`; alice's end first.
fn idle(expiry_notify: ExpiryNotify, idle: Duration) -> (Home, [VirtualStream; 2]) {
    let mut behavior = Behavior { expiry_notify, ..Behavior::default() };
    behavior.timeouts.tcp_established = Duration::from_secs(60);
    let mut home = home(1, Links::default(), Arc::new(behavior));
    let (alice, server) = (home.host("alice"), home.host("server"));
    let streams = home.world.run_until(async {
        let listener = server.tcp_listen(endpoint("198.18.0.9:80"), TcpOptions::default()).await.expect("free");
        let connecting = alice.tcp_connect(endpoint("198.18.0.9:80"), TcpOptions::default());
        let (client, accepted) = join(connecting, listener.accept()).await;
        let (mut client, mut accepted) = (client.expect("connected"), accepted.expect("accepted"));
        for _ in 0..2 {
            client.write_all(b"hello").await.expect("written");
            accepted.read_exact(&mut [0; 5]).await.expect("read");
            std::mem::swap(&mut client, &mut accepted);
        }
        alice.sleep(idle).await;
        [client, accepted]
    });
    (home, streams.expect("it ends"))
}

#[test]
fn resets_after_expiry_close_both_ends() {
    let (mut home, [mut client, mut server]) = idle(ExpiryNotify::RstBoth, Duration::from_secs(59));
    let host = home.host("alice");
    home.world
        .run_until(async {
            let (one, other) = join(client.read(&mut [0; 1]), server.read(&mut [0; 1])).await;
            assert_eq!(one.expect_err("reset").kind(), ErrorKind::ConnectionReset);
            assert_eq!(other.expect_err("reset").kind(), ErrorKind::ConnectionReset);
            assert_eq!(host.now().as_nanos() / 1_000_000_000, 60);
        })
        .expect("it ends");
}

#[test]
fn a_probe_keeps_an_idle_connection_whose_inside_answers() {
    for (notify, lives) in [(ExpiryNotify::KeepaliveProbe, true), (ExpiryNotify::None, false)] {
        let (mut home, [mut client, mut server]) = idle(notify, Duration::from_secs(600));
        let host = home.host("server");
        let heard = home.world.run_until(async {
            server.write_all(b"still there?").await.expect("written");
            let mut heard = [0; 12];
            let reading = Box::pin(client.read_exact(&mut heard));
            let patience = Box::pin(host.sleep(Duration::from_secs(10)));
            matches!(futures::future::select(reading, patience).await, futures::future::Either::Left((Ok(_), _)))
        });
        assert_eq!(heard, Ok(lives), "{notify}");
    }
}
