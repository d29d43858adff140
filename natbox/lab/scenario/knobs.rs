//! What a scenario does to the network itself: it counts what a NAT has, and turns the knobs there are.

use std::net::IpAddr;

use natbox_world::Stalled;
use serde_json::Map;

use super::{Report, Runner};
#[cfg(target_os = "linux")]
use crate::anyhost::Any;
#[cfg(target_os = "linux")]
use crate::live;
use crate::plan::step::{Cable, Count, Move, Relink, Set};

impl Runner<'_> {
    pub(super) fn count(&self, count: &Count) -> Report {
        let Some(node) = self.built.node(&count.nat) else {
            return Report::impossible(format!("no NAT `{}`", count.nat));
        };
        let (mappings, sessions) = (self.built.world.mappings(node).len(), self.built.world.sessions(node).len());
        let drops = self.tap.drops_at(node);
        let dropped: usize = drops.values().sum();
        let mut report = Report::new(format!("mappings {mappings}, sessions {sessions}, dropped {dropped}"));
        if !drops.is_empty() {
            let reasons: Vec<String> = drops.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
            report.got.push_str(&format!(": {}", reasons.join(", ")));
        }
        let explicit = self.built.world.explicit(node).len();
        if explicit > 0 {
            report.got = report.got.replacen(", sessions", &format!(" ({explicit} explicit), sessions"), 1);
        }
        report.fact("mappings", mappings);
        report.fact("explicit", explicit);
        report.fact("sessions", sessions);
        report.fact("dropped", dropped);
        report.fact(
            "drops",
            drops.iter().map(|(reason, count)| (reason.to_string(), (*count).into())).collect::<Map<_, _>>(),
        );
        let expect = count.expect.clone().unwrap_or_default();
        if let Some(wanted) = expect.mappings {
            report.demand(mappings == wanted, || format!("not {wanted} mappings"));
        }
        if let Some(wanted) = expect.sessions {
            report.demand(sessions == wanted, || format!("not {wanted} sessions"));
        }
        if let Some(wanted) = expect.explicit {
            report.demand(explicit == wanted, || format!("not {wanted} explicit"));
        }
        for (reason, wanted) in expect.drops {
            let count = drops.get(&reason).copied().unwrap_or(0);
            report.demand(count == wanted, || format!("not {wanted} {reason}"));
        }
        if let Some(wanted) = expect.dropped {
            report.demand(dropped == wanted, || format!("not {wanted} dropped"));
        }
        report
    }

    pub(super) fn reboot(&mut self, nat: &str) -> Report {
        let Some(node) = self.built.node(nat) else { return Report::impossible(format!("no NAT `{nat}`")) };
        let lost = self.built.world.mappings(node).len();
        match self.built.world.reboot(node) {
            Ok(()) => {
                let lost = lost.saturating_sub(self.built.world.mappings(node).len());
                Report::new(format!("rebooted, {lost} mapping{} lost", if lost == 1 { "" } else { "s" }))
            }
            Err(error) => Report::impossible(error.to_string()),
        }
    }

    pub(super) fn readdress(&mut self, nat: &str, addresses: &[IpAddr]) -> Report {
        let Some(node) = self.built.node(nat) else { return Report::impossible(format!("no NAT `{nat}`")) };
        if let Err(error) = self.built.world.readdress(node, addresses) {
            return Report::impossible(error.to_string());
        }
        if let Some(machine) = self.built.machine_mut(nat) {
            machine.addresses = addresses.to_vec();
        }
        self.rename();
        let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        Report::new(format!("now at {}", shown.join(", ")))
    }

    pub(super) fn set(&mut self, step: &Set) -> Report {
        let known = self.plan.nat(&step.nat).zip(self.built.node(&step.nat));
        let Some((nat, node)) = known else { return Report::impossible(format!("no NAT `{}`", step.nat)) };
        let Some(before) = self.built.world.behavior_of(node) else {
            return Report::impossible(format!("`{}` is no NAT", step.nat));
        };
        let after = match nat.changed(&before, &step.axes) {
            Ok(after) => after,
            Err(why) => return Report::impossible(why),
        };
        let kept = self.built.world.mappings(node).len();
        match self.built.world.reconfigure(node, after) {
            Ok(()) => Report::new(format!("{}, {kept} mapping{} kept", step.axes, if kept == 1 { "" } else { "s" })),
            Err(error) => Report::impossible(error.to_string()),
        }
    }

    pub(super) fn relink(&mut self, step: &Relink) -> Report {
        let uplinks = self.built.machine(&step.cable.node).map(|machine| machine.uplinks.clone()).unwrap_or_default();
        for interface in step.cable.uplinks.iter().filter_map(|index| uplinks.get(*index)) {
            let link = step.change.applied(&self.built.world.link_of(*interface));
            self.built.world.relink(*interface, link);
        }
        Report::new(step.change.to_string())
    }

    pub(super) fn move_host(&mut self, step: &Move) -> Result<Report, Stalled> {
        if let Some(real) = self.take_machine(step) {
            if let Err(error) = real {
                return Ok(Report::impossible(error));
            }
        } else {
            match (step.uplink, self.built.host(&step.host)) {
                (Some(uplink), Some(host)) => self.built.world.prefer(&host, uplink),
                _ => self.built.take_to(self.plan, &step.host, step.network, &step.addresses),
            }
        }
        self.rename();
        self.sockets.catch_up(&mut self.built)?;
        let shown: Vec<String> = step.addresses.iter().map(ToString::to_string).collect();
        Ok(Report::new(format!("now at {}", shown.join(", "))))
    }

    /// Takes a host with its machine, if it is real; why that cannot be.
    #[cfg(target_os = "linux")]
    fn take_machine(&mut self, step: &Move) -> Option<Result<(), String>> {
        let Some(Any::Real(real)) = self.built.any_host(&step.host) else { return None };
        let taken = live::take(&mut self.built, self.plan, step, Some(real.machine()));
        Some(taken.map_err(|error| error.to_string()))
    }

    #[cfg(not(target_os = "linux"))]
    fn take_machine(&mut self, _: &Move) -> Option<Result<(), String>> {
        None
    }

    /// Tells real hosts who is where.
    #[cfg(target_os = "linux")]
    fn rename(&self) {
        let hosts = self.plan.hosts.iter().filter_map(|host| self.built.any_host(&host.name));
        let real = hosts.filter_map(|host| if let Any::Real(real) = host { Some(real) } else { None });
        let mut names = None;
        for host in real {
            let names = names.get_or_insert_with(|| live::names(self.plan, &self.built));
            // Names are for programs that ask: what a step does, it does by addresses.
            let _ = host.machine().rename(names.clone());
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn rename(&self) {}

    pub(super) fn switch(&mut self, cable: &Cable, cut: bool) -> Report {
        let uplinks = self.built.machine(&cable.node).map(|machine| machine.uplinks.clone()).unwrap_or_default();
        for index in &cable.uplinks {
            let Some(interface) = uplinks.get(*index) else { continue };
            if cut {
                self.built.world.cut(*interface);
            } else {
                self.built.world.mend(*interface);
            }
        }
        Report::new(if cut { "cut" } else { "mended" })
    }
}
