//! A scenario at wall-clock speed, with real hosts.
//!
//! The same runner, and the same programs: those of real hosts have the sockets of their machines. A host whose packets are
//! made by hand, or followed to their end, stays simulated, and so does one with services.

use natbox_live::sockets::{OsHost, Reactor};
use natbox_live::{Household, LiveError};

use super::resident::Resident;
use super::{hosts, world};
use crate::lab::LabError;
use crate::outcome::Live;
use crate::plan::{Host, Plan};
use crate::record::Recorder;
use crate::scenario::{self, Finished};

/// Runs a plan's scenario from `seed`. Everything that happens is told to `recorder`.
///
/// # Errors
/// What the system refused, or where the world did not go on. Nothing is left behind.
pub(crate) fn run(plan: &Plan, seed: u64, recorder: &Recorder) -> Result<Finished, LabError> {
    let real = plan.real_hosts();
    let is_real = |host: &Host| real.contains(&host.name);
    // Dropped in the opposite order: the world, its sockets' reactor, the hosts, their programs.
    let household = Household::new().map_err(LiveError::namespaces)?;
    let (machines, devices) = hosts::make(plan, &is_real, &household)?;
    let reactor = Reactor::start().map_err(LiveError::system("watch sockets"))?;
    let _sockets = reactor.enter();
    let mut built = plan.build_with(seed, &is_real);
    let driver = world::driver(&built, devices)?;
    for (name, machine) in &machines {
        let sockets = OsHost::on(machine, driver.clock(), &reactor);
        built.settle(name, |world, node| Resident::new(sockets, world.programs(node), machine.clone()));
    }
    built.world.open(Box::new(driver));
    let mut finished = scenario::run_built(plan, built, seed, recorder)?;
    finished.outcome.live = Some(Live { real_hosts: machines.into_keys().collect() });
    Ok(finished)
}
