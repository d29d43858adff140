//! NAT Check: each column is decided by the axis that it is about.

use natbox::population::Population;
use natbox::probes::nat_check::Test;

/// What a NAT with these axes passes, in the order of the columns.
fn passes(axes: &str) -> [bool; 4] {
    let text = format!("procedure: nat-check\nnats:\n  nat: {{ share: 1, {axes} }}\n");
    let population = Population::from_yaml("nat.yaml", &text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let census = population.run(None, &|_| {}).unwrap();
    assert!(census.ok(), "{axes}");
    [Test::Udp, Test::UdpHairpin, Test::Tcp, Test::TcpHairpin].map(|test| {
        let (passed, tested) = census.passed(Some("nat"), test);
        assert_eq!(tested, 1, "{axes}");
        passed == 1
    })
}

#[test]
fn each_column_is_decided_by_the_axis_that_it_is_about() {
    let strict = "filtering: address-and-port-dependent";
    for (axes, expected) in [
        ("hairpin: off, unsolicited_syn: drop", [true, false, true, false]),
        // RFC 5382 REQ-4: six seconds are one more than server 3 waits.
        ("hairpin: off, unsolicited_syn: icmp-after-6s", [true, false, true, false]),
        ("hairpin: off, unsolicited_syn: rst-after", [true, false, true, false]),
        ("hairpin: off, unsolicited_syn: rst-now", [true, false, false, false]),
        ("hairpin: off, unsolicited_syn: icmp-now", [true, false, false, false]),
        // Server 3's SYN is dropped here as everywhere, and its SYN/ACK answers the client's own.
        ("hairpin: off, tcp_simopen: block-in-syn", [true, false, true, false]),
        ("hairpin: off, mapping: address-dependent", [false, false, false, false]),
        ("hairpin: off, mapping: { udp: address-and-port-dependent }", [false, false, true, false]),
        ("hairpin: off, mapping: { tcp: address-and-port-dependent }", [true, false, false, false]),
        ("hairpin: external-source, hairpin_filter: bypass", [true, true, true, true]),
        ("hairpin: { udp: external-source, tcp: off }, hairpin_filter: bypass", [true, true, true, false]),
        ("hairpin: { udp: off, tcp: external-source }, hairpin_filter: bypass", [true, false, true, true]),
        // The test that the authors call pessimistic: a filter that judges what is turned round fails it.
        ("hairpin: external-source, hairpin_filter: apply", [true, false, true, false]),
    ] {
        assert_eq!(passes(&format!("{strict}, {axes}")), expected, "{axes}");
    }
}

#[test]
fn a_nat_that_lets_everybody_in_passes_by_server_3_s_own_connection() {
    let open = "filtering: endpoint-independent";
    assert_eq!(passes(&format!("{open}, hairpin: off")), [true, false, true, false]);
    assert_eq!(passes(&format!("{open}, hairpin: external-source")), [true, true, true, true]);
    assert_eq!(passes(&format!("{open}, hairpin: off, unsolicited_syn: rst-now")), [true, false, true, false]);
}

#[test]
fn a_nat_that_blocks_a_protocol_fails_it_and_breaks_nothing() {
    assert_eq!(passes("outbound: { udp: off }, hairpin: off"), [false, false, true, false]);
    assert_eq!(passes("outbound: { tcp: off }, hairpin: off"), [true, false, false, false]);
    assert_eq!(passes("outbound: { udp: off, tcp: off }"), [false; 4]);
}
