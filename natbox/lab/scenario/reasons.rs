//! Why: which packets died, where and when, as the record tells it.

use std::collections::BTreeMap;

use natbox_world::PacketId;

use crate::record::{Log, Names, comment, moment};

/// How many reasons are told of one step.
const TOLD: usize = 12;

/// Everything that happened to one packet.
pub(super) fn of_packet(log: &Log, names: &Names, packet: PacketId) -> Vec<String> {
    let mut told = Vec::new();
    for record in log.packet(packet) {
        let line = format!("{}: {}", moment(record.at), comment(record, names));
        // A node that takes a packet and sends it on at once says the same twice.
        let sent_on = record.sighting().is_some_and(|sighting| sighting.sent() && sighting.beyond.is_some());
        if !(sent_on && told.last() == Some(&line)) {
            told.push(line);
        }
    }
    told
}

/// Every way in which packets died since `begin`, in order of their first death, with how many did.
pub(super) fn since(log: &Log, names: &Names, begin: usize) -> Vec<String> {
    let mut order: Vec<String> = Vec::new();
    let mut deaths: BTreeMap<String, (String, usize)> = BTreeMap::new();
    for record in log.records().get(begin..).unwrap_or_default() {
        let Some(sighting) = record.sighting().filter(|sighting| sighting.dropped().is_some()) else { continue };
        let packet = match &sighting.facts {
            Ok(facts) => format!("{} -> {}", facts.source, facts.destination),
            Err(_) => "a malformed packet".to_owned(),
        };
        let death = format!("{packet} {}", comment(record, names));
        let (_, count) = deaths.entry(death.clone()).or_insert_with(|| {
            order.push(death);
            (moment(record.at), 0)
        });
        *count += 1;
    }
    let more = order.len().saturating_sub(TOLD);
    let told = order.into_iter().take(TOLD).map(|death| match &deaths[&death] {
        (at, 1) => format!("{at}: {death}"),
        (at, count) => format!("{at}: {death} ({count} packets)"),
    });
    told.chain((more > 0).then(|| format!("and {more} more"))).collect()
}
