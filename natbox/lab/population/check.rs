//! NAT Check against one NAT: a host behind it, and the three servers.

use std::net::SocketAddr;

use natbox_host::Host;
use natbox_probes::nat_check::{self, Servers, Test};

use crate::matrix::lab::{HOSTS, alone};
use crate::matrix::{MatrixError, Side};
use crate::plan::Plan;

/// What the servers are called.
const SERVERS: [&str; 3] = ["one", "two", "three"];

/// What was found of a NAT.
pub(super) struct Found {
    /// The tests that count, and whether they were passed.
    pub(super) tests: Vec<(Test, bool)>,
    /// Whether something failed beside the NAT.
    pub(super) broken: bool,
}

/// The lab of a NAT.
pub(super) fn lab(side: &Side) -> Result<Plan, MatrixError> {
    alone(side, &SERVERS)
}

/// Runs the procedure in a lab.
pub(super) fn run(plan: &Plan, seed: u64, tests: &[Test]) -> Found {
    let broken = Found { tests: Vec::new(), broken: true };
    let mut built = plan.build(seed);
    let servers = SERVERS.map(|name| built.host(name));
    let ([Some(one), Some(two), Some(three)], Some(client)) = (servers, built.host(HOSTS[0])) else { return broken };
    let ends = [&one, &two, &three].map(|host| host.addresses().first().copied());
    let [Some(first), Some(second), Some(third)] = ends else { return broken };
    let servers = Servers { one: at(first), two: at(second), three: at(third) };
    for (host, server) in [(one, nat_check::Role::One), (two, nat_check::Role::Two), (three, nat_check::Role::Three)] {
        let spawner = host.clone();
        spawner.spawn(async move { _ = nat_check::serve(host, server, servers).await });
    }
    let finding = built.world.run_until(async move { nat_check::check(&client, servers).await });
    match finding {
        Ok(Ok(finding)) => {
            Found { tests: tests.iter().map(|test| (*test, finding.passed(*test))).collect(), broken: false }
        }
        _ => broken,
    }
}

fn at(address: std::net::IpAddr) -> SocketAddr {
    SocketAddr::new(address, nat_check::PORT)
}
