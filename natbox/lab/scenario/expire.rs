//! `expire`: waits for the end of a mapping, as the NAT that has it notes it.

use std::time::Duration;

use natbox_wire::Packet;
use natbox_world::Stalled;

use super::shown::{exact, nanos};
use super::{Report, Runner};
use crate::plan::step::Expire;

/// How much time passes between two looks.
const TICK: Duration = Duration::from_secs(1);
/// How many looks are taken: a day of them.
const TICKS: u32 = 86_400;

impl Runner<'_> {
    pub(super) fn expire(&mut self, expire: &Expire) -> Result<Report, Stalled> {
        let seen = self.seen.get(&expire.label).and_then(|bytes| Packet::parse(bytes.clone()).ok());
        let protocol = seen.and_then(|packet| packet.protocol());
        let Some((protocol, external)) = protocol.zip(self.labels.get(&expire.label).copied()) else {
            return Ok(Report::impossible(format!("`{}` was given no external endpoint", expire.label)));
        };
        let world = &self.built.world;
        let mut nats = self.plan.nats.iter().filter_map(|nat| self.built.node(&nat.name));
        let lives = nats.any(|node| {
            world.mappings(node).iter().any(|mapping| (mapping.protocol, mapping.external) == (protocol, external))
        });
        if !lives {
            return Ok(Report::impossible(format!("no NAT has a mapping at {external}")));
        }
        let begun = world.now();
        self.tap.watch(protocol, external);
        for _ in 0..TICKS {
            self.built.world.run_for(TICK)?;
            if let Some(ended) = self.tap.mapping_ended() {
                let after = ended.since(begun);
                let mut report = Report::new(format!("expired after {}", exact(after)));
                report.fact("after_ns", nanos(after));
                let holds = expire.after.as_ref().is_none_or(|allowed| allowed.contains(&after));
                report.demand(holds, || "earlier or later than expected".to_owned());
                return Ok(report);
            }
        }
        Ok(Report::impossible("it has not expired in a day"))
    }
}
