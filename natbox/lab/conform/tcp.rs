//! The ten probes of the state machine of TCP (RFC 7857 figure 1), and what else is asked of connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use natbox_nat::{Answer, Behavior, Output, Refusal, Verdict};
use natbox_wire::{Packet, Protocol, TcpFlags, Time, build};

use super::bench::Bench;
use super::packets::{ACK, FIN, RST, SYN, SYN_ACK, X1, Y1, tcp};
use super::{Outcome, not_applicable, require, violated};

const TCP: Protocol = Protocol::Tcp;

/// What the state machine keeps an established connection for, less a second.
const ESTABLISHED_SECONDS: u64 = 7439;

/// A segment of the remote's reaches the host after a silence, or else what was observed then.
fn lives(bench: &mut Bench, external: SocketAddr, seconds: u64, after: &str) -> Outcome {
    bench.wait_seconds(seconds);
    bench
        .reaches(tcp(Y1, external, ACK), X1)
        .or_else(|observed| violated(format!("{seconds} s after {after}, {observed}")))
}

pub(super) fn simultaneous_open(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let external = bench.send(tcp(X1, Y1, SYN))?;
    bench.reaches(tcp(Y1, external, SYN), X1)?;
    let answered = bench.send(tcp(X1, Y1, SYN_ACK))?;
    require(answered == external, || format!("the SYN left from {external}, and the SYN/ACK from {answered}"))?;
    Ok(bench.reaches(tcp(Y1, external, SYN_ACK), X1)?)
}

/// Probe 1: SYNs of both sides, in both orders.
pub(super) fn both_orders(behavior: &Arc<Behavior>) -> Outcome {
    simultaneous_open(behavior)?;
    crossed_after(behavior, Duration::ZERO)
}

/// Probe 2: a SYN from outside, and one from inside on the same connection a while later.
pub(super) fn crossed(behavior: &Arc<Behavior>) -> Outcome {
    for milliseconds in [1000, 5900, 6100] {
        crossed_after(behavior, Duration::from_millis(milliseconds))?;
    }
    Ok(())
}

/// The early SYN may be let in or not; the later one leaves from where it was sent to, and is answered.
fn crossed_after(behavior: &Arc<Behavior>, after: Duration) -> Outcome {
    // The endpoint that the connection is going to have: NATs of one seed choose alike.
    let external = Bench::new(behavior).send(tcp(X1, Y1, SYN))?;
    let mut bench = Bench::new(behavior);
    bench.verdict_in(&mut tcp(Y1, external, SYN));
    bench.wait(after);
    let observed = |observed| violated(format!("{after:?} after a SYN from outside, {observed}"));
    match bench.send(tcp(X1, Y1, SYN)) {
        Ok(from) if from == external => {}
        Ok(from) => return observed(format!("the SYN that was to leave from {external} left from {from}")),
        Err(fate) => return observed(fate),
    }
    bench.reaches(tcp(Y1, external, SYN_ACK), X1).or_else(observed)?;
    bench.send(tcp(X1, Y1, ACK)).map(|_| ()).or_else(observed)
}

/// Probe 3: data after a RST shows that the connection lives; without any it ends.
pub(super) fn data_after_reset(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let external = bench.open(TCP, X1, Y1)?;
    bench.reaches(tcp(Y1, external, RST), X1)?;
    lives(&mut bench, external, 239, "a RST")?;
    bench.send(tcp(X1, Y1, ACK))?;
    lives(&mut bench, external, 300, "data that followed a RST")?;
    let mut bench = Bench::new(behavior);
    let external = bench.open(TCP, X1, Y1)?;
    bench.reaches(tcp(Y1, external, RST), X1)?;
    bench.wait_seconds(ESTABLISHED_SECONDS);
    let gone = bench.reaches(tcp(Y1, external, ACK), X1).is_err();
    require(gone, || "a RST changed nothing: the connection lived on for as long as an established one".to_owned())
}

/// Probe 4: a FIN of one side only.
pub(super) fn half_closed(behavior: &Arc<Behavior>) -> Outcome {
    for inside in [true, false] {
        let mut bench = Bench::new(behavior);
        let external = bench.open(TCP, X1, Y1)?;
        match inside {
            true => bench.send(tcp(X1, Y1, FIN)).map(|_| ())?,
            false => bench.reaches(tcp(Y1, external, FIN), X1)?,
        }
        let whose = if inside { "the inside's FIN" } else { "the outside's FIN" };
        lives(&mut bench, external, ESTABLISHED_SECONDS, whose)?;
    }
    Ok(())
}

/// Probe 5: FINs of both sides, both acknowledged, and a last ACK that comes late.
pub(super) fn closed(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let external = bench.open(TCP, X1, Y1)?;
    bench.send(tcp(X1, Y1, FIN))?;
    bench.reaches(tcp(Y1, external, FIN), X1)?;
    bench.send(tcp(X1, Y1, ACK))?;
    lives(&mut bench, external, 239, "FINs both ways")
}

/// Probe 6: a SYN, and nothing more.
pub(super) fn opening(behavior: &Arc<Behavior>) -> Outcome {
    let answered_after = |seconds| -> Result<bool, String> {
        let mut bench = Bench::new(behavior);
        let external = bench.send(tcp(X1, Y1, SYN))?;
        bench.wait_seconds(seconds);
        Ok(bench.reaches(tcp(Y1, external, SYN_ACK), X1).is_ok())
    };
    require(answered_after(239)?, || "239 s after a SYN, its answer was not let in".to_owned())?;
    let gone = !answered_after(ESTABLISHED_SECONDS)?;
    require(gone, || "a SYN that nobody answered was remembered for as long as an established connection".to_owned())
}

/// Probe 7: SYNs of both sides establish, without an ACK of the inside.
pub(super) fn established(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let external = bench.send(tcp(X1, Y1, SYN))?;
    bench.reaches(tcp(Y1, external, SYN_ACK), X1)?;
    bench.wait_seconds(300);
    bench
        .reaches(tcp(Y1, external, SYN_ACK), X1)
        .or_else(|observed| violated(format!("300 s after the SYNs of both sides, {observed}")))
}

/// Probe 8: a RST far outside the window, after which an established connection goes on.
pub(super) fn reset_outside_window(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let external = bench.open(TCP, X1, Y1)?;
    let forged = build::tcp(Y1, external, Default::default(), RST, 0x4000_0000, 8, 1000, b"");
    bench.verdict_in(&mut forged.ok_or("no segment".to_owned())?);
    lives(&mut bench, external, 300, "a RST outside the window")
}

/// Probe 9: a segment in the middle of a connection that the NAT has not seen.
pub(super) fn without_state(behavior: &Arc<Behavior>) -> Outcome {
    let passed = Bench::new(behavior).send(tcp(X1, Y1, ACK)).is_ok();
    require(!passed, || "a segment that belongs to no connection, and opens none, was sent on".to_owned())
}

/// Probe 10: the same endpoints at once again, after FINs and after a RST.
pub(super) fn reopened(behavior: &Arc<Behavior>) -> Outcome {
    for reset in [false, true] {
        let mut bench = Bench::new(behavior);
        let external = bench.open(TCP, X1, Y1)?;
        if reset {
            bench.send(tcp(X1, Y1, RST))?;
        } else {
            bench.send(tcp(X1, Y1, FIN))?;
            bench.reaches(tcp(Y1, external, FIN), X1)?;
            bench.send(tcp(X1, Y1, ACK))?;
        }
        let again = bench.open(TCP, X1, Y1)?;
        lives(&mut bench, again, 300, "a connection had been opened again")?;
    }
    Ok(())
}

/// A segment with data, or without, at a place of its own in the sequence.
fn placed(from: SocketAddr, to: SocketAddr, flags: TcpFlags, sequence: u32, data: &[u8]) -> Result<Packet, String> {
    let acknowledgement = if flags.ack { 8 } else { 0 };
    build::tcp(from, to, Default::default(), flags, sequence, acknowledgement, 1000, data)
        .ok_or("no segment".to_owned())
}

/// What RFC 9293 allows, a second apart: a repeated SYN, data repeated, a keep-alive, half-closes that last, of either
/// side, and FINs that cross.
pub(super) fn sequences(behavior: &Arc<Behavior>) -> Outcome {
    closes_by_halves(behavior, true)?;
    closes_by_halves(behavior, false)?;
    let mut bench = Bench::new(behavior);
    let external = bench.open(TCP, X1, Y1)?;
    bench.send(tcp(X1, Y1, FIN))?;
    bench.reaches(tcp(Y1, external, FIN), X1)?;
    // Each acknowledges the other's FIN.
    let last = |from, to| build::tcp(from, to, Default::default(), ACK, 9, 9, 1000, b"").ok_or("no segment".to_owned());
    bench.send(last(X1, Y1)?)?;
    Ok(bench.reaches(last(Y1, external)?, X1)?)
}

fn closes_by_halves(behavior: &Arc<Behavior>, inside_first: bool) -> Outcome {
    let mut bench = Bench::new(behavior);
    let external = bench.send(tcp(X1, Y1, SYN))?;
    bench.wait_seconds(1);
    let again = bench.open(TCP, X1, Y1)?;
    require(again == external, || format!("a repeated SYN left from {again}, the first one from {external}"))?;
    // Who sends what from where in its sequence: 8 is the first byte after the SYN.
    let (one, other) = (inside_first, !inside_first);
    let steps: [(bool, TcpFlags, u32, &[u8]); 8] = [
        (true, ACK, 8, b"four"),
        (false, ACK, 8, b""),
        (true, ACK, 8, b"four"),
        (false, ACK, 7, b""),
        (one, FIN, if one { 12 } else { 8 }, b""),
        (other, ACK, if other { 12 } else { 8 }, b"data"),
        (one, ACK, if one { 13 } else { 9 }, b""),
        (other, FIN, if other { 16 } else { 12 }, b""),
    ];
    for (out, flags, sequence, data) in steps {
        bench.wait_seconds(1);
        match out {
            true => _ = bench.send(placed(X1, Y1, flags, sequence, data)?)?,
            false => bench.reaches(placed(Y1, external, flags, sequence, data)?, X1)?,
        }
    }
    Ok(())
}

/// What a sender of unsolicited SYNs is told, and when.
fn answers(bench: &mut Bench, to: SocketAddr) -> Option<Time> {
    let verdict = bench.verdict_in(&mut tcp(Y1, to, SYN));
    matches!(verdict, Verdict::Drop(Refusal { answer: Some(_), .. })).then_some(Time::ZERO)
}

/// The same of those that are told later.
fn later_answers(bench: &mut Bench) -> Option<Time> {
    let answered = |output: &Output| {
        matches!(output, Output::Discard { refusal: Refusal { answer: Some(Answer::Icmp(_) | Answer::Reset), .. }, .. })
    };
    bench.later().into_iter().find(|later| answered(&later.output)).map(|later| later.at)
}

/// A SYN to a port that nobody has.
pub(super) fn unsolicited(behavior: &Arc<Behavior>) -> Outcome {
    let external = Bench::new(behavior).send(tcp(X1, Y1, SYN))?;
    let mut bench = Bench::new(behavior);
    let at_once = answers(&mut bench, external);
    bench.wait(Duration::from_secs(60));
    match at_once.or_else(|| later_answers(&mut bench)) {
        Some(at) if at < Time::ZERO + Duration::from_secs(6) => {
            violated(format!("the sender of an unsolicited SYN was answered after {at}"))
        }
        _ => Ok(()),
    }
}

/// A SYN that leaves in time silences the answer.
pub(super) fn silenced_by_crossing(behavior: &Arc<Behavior>) -> Outcome {
    let external = Bench::new(behavior).send(tcp(X1, Y1, SYN))?;
    let mut bench = Bench::new(behavior);
    let at_once = answers(&mut bench, external);
    bench.wait(Duration::from_secs(3));
    if bench.send(tcp(X1, Y1, SYN)) != Ok(external) {
        return not_applicable("after a SYN from outside, the connection leaves from another port: they do not cross");
    }
    bench.wait(Duration::from_secs(60));
    let told = at_once.or_else(|| later_answers(&mut bench));
    require(told.is_none(), || "the sender of a SYN was answered though a SYN had crossed it".to_owned())
}

/// RSTs of either side are translated.
pub(super) fn resets(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let external = bench.open(TCP, X1, Y1)?;
    bench.reaches(tcp(Y1, external, RST), X1)?;
    let mut bench = Bench::new(behavior);
    let external = bench.open(TCP, X1, Y1)?;
    let from: SocketAddr = bench.out(tcp(X1, Y1, RST)).map(|left: Packet| left.source_endpoint())?;
    require(from == external, || format!("a RST of a connection of {external} left from {from}"))
}

pub(super) fn after_reset(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let external = bench.open(TCP, X1, Y1)?;
    bench.reaches(tcp(Y1, external, RST), X1)?;
    lives(&mut bench, external, 239, "a RST")
}
