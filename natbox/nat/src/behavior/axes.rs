//! A behaviour in words: every axis under its YAML name, resolved.

use std::time::Duration;

use natbox_wire::Word;

use super::{Behavior, PerDirection, PerProtocol, Timeouts};

/// The rows of one behaviour.
struct Rows(Vec<(&'static str, String)>);

impl Rows {
    fn word(&mut self, axis: &'static str, word: impl Word) {
        self.0.push((axis, word.as_str().to_owned()));
    }

    fn value(&mut self, axis: &'static str, value: impl ToString) {
        self.0.push((axis, value.to_string()));
    }

    /// One row where the three agree, else one for each under `axes`.
    fn per_protocol(&mut self, axis: &'static str, axes: [&'static str; 3], value: PerProtocol<impl Word>) {
        let PerProtocol { udp, tcp, icmp } = value;
        if udp == tcp && tcp == icmp {
            return self.word(axis, udp);
        }
        self.word(axes[0], udp);
        self.word(axes[1], tcp);
        self.word(axes[2], icmp);
    }

    fn per_direction(&mut self, axis: &'static str, axes: [&'static str; 2], value: PerDirection<impl Word>) {
        let PerDirection { inbound, outbound } = value;
        if inbound == outbound {
            return self.word(axis, inbound);
        }
        self.word(axes[0], inbound);
        self.word(axes[1], outbound);
    }

    fn time(&mut self, axis: &'static str, time: Duration) {
        self.0.push((axis, in_words(time)));
    }

    fn limit<T: ToString>(&mut self, axis: &'static str, limit: Option<T>) {
        self.0.push((axis, limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string())));
    }

    fn list(&mut self, axis: &'static str, items: Vec<String>) {
        self.0.push((axis, if items.is_empty() { "none".to_owned() } else { items.join(", ") }));
    }
}

impl Behavior {
    /// Every axis with its word, in the order in which reports show them.
    pub fn axes(&self) -> Vec<(&'static str, String)> {
        let mut rows = Rows(Vec::new());
        self.address_axes(&mut rows);
        self.port_axes(&mut rows);
        self.hairpin_axes(&mut rows);
        self.tcp_axes(&mut rows);
        self.icmp_axes(&mut rows);
        self.policy_axes(&mut rows);
        timeout_axes(&self.timeouts, &mut rows);
        rows.0
    }

    fn address_axes(&self, rows: &mut Rows) {
        rows.word("translation", self.translation);
        rows.word("ipv6", self.ipv6);
        rows.per_protocol("mapping", ["mapping.udp", "mapping.tcp", "mapping.icmp"], self.mapping);
        rows.per_protocol("filtering", ["filtering.udp", "filtering.tcp", "filtering.icmp"], self.filtering);
        rows.word("filter_scope", self.filter_scope);
        rows.word("session_affinity", self.session_affinity);
        rows.word("protocol_sharing", self.protocol_sharing);
        let degraded = self.degraded.iter().map(|one| format!("{}/{}", one.mapping, one.filtering));
        rows.list("degraded", degraded.collect());
    }

    fn port_axes(&self, rows: &mut Rows) {
        rows.word("ports.allocation", self.ports.allocation);
        rows.word("ports.conflict", self.ports.conflict);
        rows.word("ports.overlap", self.ports.overlap);
        rows.value("ports.range", &self.ports.range);
        rows.word("ports.class", self.ports.class);
        rows.word("ports.parity", self.ports.parity);
        rows.word("ports.contiguity", self.ports.contiguity);
        rows.value("ports.delta", self.ports.delta);
        rows.value("ports.increment", self.ports.increment);
        rows.value("ports.table_length", self.ports.table_length);
        rows.word("ports.counter", self.ports.counter);
        rows.value("ports.block_size", self.ports.block_size);
        rows.value("ports.blocks_per_host", self.ports.blocks_per_host);
        let fixed = &self.ports.deterministic;
        rows.limit("ports.deterministic.first", fixed.first);
        rows.value("ports.deterministic.compression", fixed.compression);
        rows.value("ports.deterministic.dynamic_factor", fixed.dynamic_factor);
        rows.limit("ports.deterministic.max_ports", fixed.max_ports);
        rows.word("ports.deterministic.algorithm", fixed.algorithm);
        rows.time("ports.quarantine", self.ports.quarantine);
        rows.limit("ports.quarantine_max", self.ports.quarantine_max);
        rows.word("pooling", self.pooling);
        rows.word("pool_exhausted", self.pool_exhausted);
        rows.word("exhausted", self.exhausted);
        rows.limit("table_size", self.table_size);
        rows.word("table_full", self.table_full);
        rows.limit("quota.ports", self.quota.ports);
        rows.limit("quota.sessions", self.quota.sessions);
        rows.limit("quota.new_per_second", self.quota.new_per_second);
    }

    fn hairpin_axes(&self, rows: &mut Rows) {
        rows.per_protocol("hairpin", ["hairpin.udp", "hairpin.tcp", "hairpin.icmp"], self.hairpin);
        rows.word("hairpin_filter", self.hairpin_filter);
        rows.word("early_inbound", self.early_inbound);
        rows.word("overlapping_realms", self.overlapping_realms);
        rows.list("aliases", self.aliases.iter().map(|one| format!("{}={}", one.inside, one.outside)).collect());
        rows.list("bypass", self.bypass.iter().map(ToString::to_string).collect());
        rows.word("refresh", self.refresh);
        rows.word("refresh_on_error", self.refresh_on_error);
        rows.word("refresh_on_filtered", self.refresh_on_filtered);
    }

    fn tcp_axes(&self, rows: &mut Rows) {
        rows.word("unsolicited_syn", self.unsolicited_syn);
        rows.word("unsolicited_udp", self.unsolicited_udp);
        rows.word("tcp_no_state", self.tcp_no_state);
        rows.word("tcp_machine", self.tcp_machine);
        rows.word("tcp_established_on", self.tcp_established_on);
        rows.word("tcp_simopen", self.tcp_simopen);
        rows.word("tcp_window", self.tcp_window);
        rows.word("tcp_reopen", self.tcp_reopen);
        rows.word("invalid_outbound", self.invalid_outbound);
        rows.word("expiry_notify", self.expiry_notify);
    }

    fn icmp_axes(&self, rows: &mut Rows) {
        rows.per_direction("icmp_error", ["icmp_error.inbound", "icmp_error.outbound"], self.icmp_error);
        rows.word("icmp_verify", self.icmp_verify);
        rows.word("icmp_kills_mapping", self.icmp_kills_mapping);
        rows.word("icmp_source_filter", self.icmp_source_filter);
        rows.word("icmp_originate", self.icmp_originate);
        rows.word("answer_ping", self.answer_ping);
        rows.word("icmp_query", self.icmp_query);
        rows.word("icmp_identifier", self.icmp_identifier);
        rows.word("too_big", self.too_big);
        rows.word("ttl", self.ttl);
        rows.word("ip_id", self.ip_id);
        rows.word("fragments.inbound", self.fragments.inbound);
        rows.word("fragments.outbound", self.fragments.outbound);
        rows.value("fragments.max_bytes", self.fragments.max_bytes);
        rows.value("fragments.max_datagrams", self.fragments.max_datagrams);
        rows.value("fragments.per_source", self.fragments.per_source);
        rows.time("fragments.timeout", self.fragments.timeout);
    }

    fn policy_axes(&self, rows: &mut Rows) {
        rows.value("outbound.udp", &self.outbound.udp);
        rows.value("outbound.tcp", &self.outbound.tcp);
        rows.word("outbound.icmp", self.outbound.icmp);
        rows.word("alg.ftp", self.alg.ftp);
        rows.word("alg.sip", self.alg.sip);
        rows.word("alg.tftp", self.alg.tftp);
        rows.word("alg.generic", self.alg.generic);
    }
}

fn timeout_axes(timeouts: &Timeouts, rows: &mut Rows) {
    rows.time("timeouts.udp", timeouts.udp);
    rows.time("timeouts.udp_unreplied", timeouts.udp_unreplied());
    rows.time("timeouts.udp_stream", timeouts.udp_stream());
    rows.time("timeouts.udp_stream_after", timeouts.udp_stream_after);
    let ports = timeouts.udp_ports.iter().map(|(port, time)| format!("{port}={}", in_words(*time)));
    rows.list("timeouts.udp_ports", ports.collect());
    rows.time("timeouts.icmp", timeouts.icmp);
    rows.time("timeouts.tcp_opening", timeouts.tcp_opening);
    rows.time("timeouts.tcp_partial_open", timeouts.tcp_partial_open());
    rows.time("timeouts.tcp_established", timeouts.tcp_established);
    rows.time("timeouts.tcp_unacknowledged", timeouts.tcp_unacknowledged());
    rows.time("timeouts.tcp_half_closed", timeouts.tcp_half_closed());
    rows.time("timeouts.tcp_close_wait", timeouts.tcp_close_wait());
    rows.time("timeouts.tcp_closing", timeouts.tcp_closing);
    rows.time("timeouts.tcp_time_wait", timeouts.tcp_time_wait());
    rows.time("timeouts.tcp_reset", timeouts.tcp_reset());
    rows.time("timeouts.tcp_inbound_syn", timeouts.tcp_inbound_syn);
    rows.limit("timeouts.absolute", timeouts.absolute.map(in_words));
    rows.time("timeouts.early_inbound", timeouts.early_inbound);
}

/// A duration in the largest unit that shows it exactly: `300s`, `1500ms`.
fn in_words(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")];
    let unit = units.into_iter().find(|(size, _)| nanos.is_multiple_of(*size));
    unit.map_or_else(|| format!("{nanos}ns"), |(size, unit)| format!("{}{unit}", nanos / size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behavior::Mapping;

    #[test]
    fn axes_show_the_words_of_the_files() {
        let axes = Behavior::default().axes();
        let of = |name: &str| axes.iter().find(|(axis, _)| *axis == name).map(|(_, word)| word.as_str());
        assert_eq!(of("mapping"), Some("endpoint-independent"));
        assert_eq!(of("ports.range"), Some("1-65535"));
        assert_eq!(of("timeouts.tcp_established"), Some("7440s"));
        assert_eq!(of("timeouts.tcp_half_closed"), Some("7440s"), "resolved, not `as established`");
    }

    #[test]
    fn an_axis_that_differs_by_protocol_is_shown_by_protocol() {
        let mut behavior = Behavior::default();
        behavior.mapping.tcp = Mapping::ConnectionDependent;
        let axes = behavior.axes();
        assert!(axes.contains(&("mapping.tcp", "connection-dependent".to_owned())));
        assert!(axes.contains(&("mapping.udp", "endpoint-independent".to_owned())));
        assert!(!axes.iter().any(|(axis, _)| *axis == "mapping"));
    }

    #[test]
    fn durations_are_shown_exactly_in_the_largest_unit() {
        let shown = [0, 1, 1_500, 2_000_000, 1_500_000_000, 60_000_000_000].map(|n| in_words(Duration::from_nanos(n)));
        assert_eq!(shown, ["0s", "1ns", "1500ns", "2ms", "1500ms", "60s"]);
    }
}
