//! A NAT that runs out of ports: what new flows meet, and what becomes of the old ones.
//!
//! All 64,512 ports need not be given out for that: the test bed narrows the range that the NAT was configured with, and
//! leaves alone how ports are chosen from it.

use std::net::SocketAddr;
use std::sync::Arc;

use natbox_nat::behavior::{PortAllocation, PortRanges};
use natbox_nat::{Behavior, Refusal, Verdict};

use super::bench::{Bench, fate};
use super::packets::{Y1, host, udp};
use super::with;

/// Ports that are enough for a test; where blocks of them are given out, as many blocks as hosts are needed.
const ENOUGH: usize = 512;

/// The same NAT with few ports, of those from 1024 on; and how many they are.
pub(super) fn narrow(behavior: &Arc<Behavior>) -> (Arc<Behavior>, Vec<u16>) {
    let ports = &behavior.ports;
    let all = ports.range.ranges().iter().cloned().flatten().filter(|port| *port >= 1024);
    let enough = match ports.allocation {
        // What each host has is reckoned from all of them.
        PortAllocation::Deterministic => usize::MAX,
        PortAllocation::Block => ENOUGH.max(ports.block_size as usize * 8),
        _ => ENOUGH,
    };
    let few: Vec<u16> = all.take(enough).collect();
    let range = PortRanges::new(few.iter().map(|port| *port..=*port));
    (with(behavior, |it| it.ports.range = range), few)
}

/// What a NAT does when it has no port left.
pub(super) struct Full {
    /// What the first flow too many was told; none: nothing was refused.
    pub(super) refusal: Option<Refusal>,
    /// Flows that were let out before.
    pub(super) opened: usize,
    /// Of these, those that no longer had their external endpoint.
    pub(super) lost: usize,
    /// Ports that there were.
    pub(super) ports: usize,
}

/// Opens flows of many hosts, few of each, so that no quota is met, until one is refused, or there are more than ports.
pub(super) fn fill(behavior: &Arc<Behavior>) -> Result<Full, String> {
    let (behavior, ports) = narrow(behavior);
    let mut bench = Bench::new(&behavior);
    let (mut opened, mut refusal) = (Vec::new(), None);
    for from in flows(&ports) {
        let mut packet = udp(from, Y1);
        match bench.verdict_out(&mut packet) {
            Verdict::Forward(_) => opened.push((from, packet.source_endpoint())),
            Verdict::Drop(why) => {
                refusal = Some(why);
                break;
            }
            other => return Err(format!("a new flow {}", fate(other))),
        }
    }
    // No time has passed: no timer has ended any.
    let lost = opened.iter().filter(|(from, external)| bench.reaches(udp(Y1, *external), *from).is_err()).count();
    Ok(Full { refusal, opened: opened.len(), lost, ports: ports.len() })
}

/// More flows than ports: of hosts with thirty each, on internal ports that the NAT may keep.
pub(super) fn flows(ports: &[u16]) -> impl Iterator<Item = SocketAddr> {
    let (all, last) = (ports.len() + ports.len() / 2 + 30, ports.len().max(1));
    let port = move |flow: usize| ports.get(flow % last).copied().unwrap_or(5000);
    (0..all).map(move |flow| host((flow / 30) as u16, port(flow)))
}
