//! Random ports, none twice, and how likely one of them is open.

use std::ops::RangeInclusive;

use rand_core::Rng;

/// Some ports in a random order, again and again.
pub(super) struct Ports<R> {
    random: R,
    ports: Vec<u16>,
    /// Those before have been drawn.
    drawn: usize,
}

impl<R: Rng> Ports<R> {
    /// These ports; all from 1 up, if there are none among them.
    pub(super) fn new(among: RangeInclusive<u16>, random: R) -> Ports<R> {
        let among = if among.is_empty() { 1..=u16::MAX } else { among };
        Ports { random, ports: among.collect(), drawn: 0 }
    }

    /// The next port (one step of Fisher and Yates' shuffle).
    pub(super) fn next(&mut self) -> u16 {
        if self.drawn == self.ports.len() {
            self.drawn = 0;
        }
        let left = (self.ports.len() - self.drawn) as u64;
        // Of 64 random bits: the ports differ in probability by less than one part in 10^14.
        let chosen = self.drawn + (self.random.next_u64() % left) as usize;
        self.ports.swap(self.drawn, chosen);
        self.drawn += 1;
        self.ports[self.drawn - 1]
    }
}

/// How likely at least one of `probes` different ports is one of `open` ports, of `ports` in all:
/// 1 - prod((ports - open - i) / (ports - i)) for i from 0 to probes - 1.
pub fn chance(ports: u32, open: u32, probes: u32) -> f64 {
    let missed = (0..probes.min(ports)).map(|i| f64::from(ports.saturating_sub(open + i)) / f64::from(ports - i));
    1.0 - missed.product::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chance_is_what_tailscale_publishes() {
        for (probes, percent) in [(174, 49.98), (256, 63.94), (512, 87.05), (1024, 98.35), (2048, 99.975)] {
            let found = 100.0 * chance(64_511, 256, probes);
            assert!((found - percent).abs() < 0.01, "{probes}: {found}");
        }
        assert_eq!((chance(10, 0, 5), chance(10, 10, 1), chance(10, 1, 10), chance(3, 1, 9)), (0.0, 1.0, 1.0, 1.0));
    }

    #[test]
    fn no_port_is_drawn_twice_before_all_are() {
        use rand_core::SeedableRng;
        let mut ports = Ports::new(1025..=u16::MAX, rand_pcg::Pcg64Mcg::seed_from_u64(1));
        let mut drawn: Vec<u16> = (1025..=u16::MAX).map(|_| ports.next()).collect();
        let first: Vec<u16> = drawn[..3].to_vec();
        drawn.sort_unstable();
        assert!(drawn.iter().copied().eq(1025..=u16::MAX));
        assert_ne!(first, [1025, 1026, 1027]);
        ports.next();
    }

    #[test]
    fn ports_are_drawn_from_those_that_are_asked_for() {
        use rand_core::SeedableRng;
        let random = || rand_pcg::Pcg64Mcg::seed_from_u64(1);
        let mut few = Ports::new(50_001..=50_003, random());
        let mut drawn: Vec<u16> = (0..6).map(|_| few.next()).collect();
        drawn.sort_unstable();
        assert_eq!(drawn, [50_001, 50_001, 50_002, 50_002, 50_003, 50_003]);
        assert_ne!(Ports::new(RangeInclusive::new(2, 1), random()).next(), 0);
    }
}
