//! Birthday punching reduced to its packets: sockets behind a NAT with random ports, and probes from outside.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use natbox_nat::{Behavior, Nat, Verdict, preset};
use natbox_wire::build::{self, IpFields};
use natbox_wire::{Packet, Time};
use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// The ranges of ports whose tables are published, with what they are.
pub(crate) const RANGES: [(&str, RangeInclusive<u16>); 3] =
    [("full, 1025-65535", 1025..=65_535), ("half, 32768-65535", 32_768..=65_535), ("pf, 50001-65535", 50_001..=65_535)];
/// The budgets of the tables.
pub(crate) const PROBES: [u32; 4] = [174, 256, 1024, 2048];
/// How many sockets are opened.
pub(crate) const SOCKETS: u16 = 256;

fn udp(source: SocketAddr, destination: SocketAddr) -> Packet {
    build::udp(source, destination, IpFields::default(), b"natbox").expect("endpoints of one version")
}

/// Which probe is the first that the NAT lets in, of [`PROBES`]' largest: every port of `range` is tried at most once.
pub(crate) fn first_hit(range: &RangeInclusive<u16>, seed: u64) -> Option<u32> {
    let mut behavior: Behavior = preset::find("symmetric").expect("a preset").behavior;
    behavior.ports.range = range.clone().into();
    let external = IpAddr::from([198, 18, 0, 2]);
    let mut nat = Nat::new(Arc::new(behavior), &[external], seed);
    let easy = SocketAddr::from(([198, 18, 0, 3], 4000));
    for socket in 0..SOCKETS {
        let mut check = udp(SocketAddr::from(([10, 0, 0, 2], 40_000 + socket)), easy);
        assert!(matches!(nat.outbound(&mut check, Time::ZERO), Verdict::Forward(_)));
        assert!(range.contains(&check.source_endpoint().port()));
    }
    // Another stream than the NAT's.
    let mut random = Pcg64Mcg::seed_from_u64(!seed);
    let mut ports: Vec<u16> = range.clone().collect();
    for probe in 0..PROBES[3] as usize {
        let chosen = probe + (random.next_u64() % (ports.len() - probe) as u64) as usize;
        ports.swap(probe, chosen);
        let mut check = udp(easy, SocketAddr::new(external, ports[probe]));
        if matches!(nat.inbound(&mut check, Time::ZERO), Verdict::Forward(_)) {
            return Some(probe as u32 + 1);
        }
    }
    None
}

/// How likely a hit within `probes` is: 1 - prod((n - a - i) / (n - i)), of n ports, a of them open.
pub(crate) fn closed_form(range: &RangeInclusive<u16>, probes: u32) -> f64 {
    let (ports, open) = (f64::from(*range.end()) - f64::from(*range.start()) + 1.0, f64::from(SOCKETS));
    let missed = (0..probes).map(f64::from).map(|i| (ports - open - i) / (ports - i));
    1.0 - missed.product::<f64>()
}

/// The standard error of a share over so many trials.
pub(crate) fn standard_error(share: f64, trials: u32) -> f64 {
    (share * (1.0 - share) / f64::from(trials)).sqrt()
}
