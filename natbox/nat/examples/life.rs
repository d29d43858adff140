#![allow(clippy::disallowed_methods, missing_docs)]
#[allow(dead_code)]
#[path = "../benches/bare/mod.rs"]
mod bare;
use natbox_nat::{Nat, Verdict};
use natbox_wire::Time;

struct Instant(u64);
fn cpu() -> u64 {
    std::fs::read_to_string("/proc/thread-self/schedstat").unwrap().split(' ').next().unwrap().parse().unwrap()
}
impl Instant {
    fn now() -> Instant {
        Instant(cpu())
    }
    fn elapsed(&self) -> std::time::Duration {
        std::time::Duration::from_nanos(cpu() - self.0)
    }
}

fn main() {
    let a: Vec<String> = std::env::args().collect();
    let flows: usize = a[1].parse().unwrap();
    let rounds: usize = a[2].parse().unwrap();
    let external: Vec<std::net::IpAddr> = (1..=32).map(|host| [198, 51, 100, host].into()).collect();
    let mut best = [f64::MAX; 2];
    for _ in 0..rounds {
        let mut nat = Nat::new(std::sync::Arc::default(), &external, 1);
        let mut opening = 0.0;
        let mut at = 0;
        while at < flows {
            let n = 4096.min(flows - at);
            let mut packets: Vec<_> =
                (0..n).map(|i| bare::datagram(bare::internal(at + i), bare::REMOTE.into())).collect();
            let s = Instant::now();
            for (i, p) in packets.iter_mut().enumerate() {
                assert!(matches!(nat.outbound(p, Time::from_nanos((at + i) as u64 * 1000)), Verdict::Forward(_)));
            }
            opening += s.elapsed().as_nanos() as f64;
            at += n;
        }
        let s = Instant::now();
        let mut n = 0;
        while let Some(due) = nat.poll_timeout() {
            nat.handle_timeout(due, &mut |_| n += 1);
        }
        assert_eq!(n, flows);
        best[0] = best[0].min(opening / flows as f64);
        best[1] = best[1].min(s.elapsed().as_nanos() as f64 / flows as f64);
    }
    println!("{flows}: open {:.0} expire {:.0}", best[0], best[1]);
}
