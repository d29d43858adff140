//! A client of RFC 3489, as it was written in 2004: `stun` of Debian's stun-client, which knows no magic cookie.

use crate::common::{has, live, text};

/// What it calls this NAT.
fn called(nat: &str) -> Option<String> {
    let lab = live(&format!(
        "
nats: {{ home: {nat} }}
hosts: {{ alice: {{ behind: home }}, server: {{ services: [stun] }} }}
"
    ))?;
    let said = text(&lab.host("alice").expect("alice").command("stun").arg("server").output().expect("the client"));
    let line = said.lines().find_map(|line| line.strip_prefix("Primary: "));
    Some(line.unwrap_or_else(|| panic!("no verdict in\n{said}")).trim().to_owned())
}

#[test]
fn a_client_of_2004_tells_the_four_kinds_apart_by_the_built_in_server() {
    if !has("stun") {
        return;
    }
    let judge = |nat: &'static str, expected: &'static str| {
        let Some(said) = called(nat) else { return };
        assert!(said.starts_with(expected), "{nat}: expected {expected:?}, got {said:?}");
    };
    std::thread::scope(|scope| {
        for (nat, expected) in [
            ("full-cone", "Independent Mapping, Independent Filter, preserves ports, no hairpin"),
            (
                "{ type: full-cone, hairpin: external-source }",
                "Independent Mapping, Independent Filter, preserves ports, will hairpin",
            ),
            ("restricted-cone", "Independent Mapping, Address Dependent Filter"),
            ("port-restricted-cone", "Independent Mapping, Port Dependent Filter"),
            (
                "{ type: rfc4787, ports: { allocation: random } }",
                "Independent Mapping, Independent Filter, random port",
            ),
            ("symmetric", "Dependent Mapping, random port"),
            ("{ translation: none, filtering: address-and-port-dependent }", "Firewall"),
            ("{ type: full-cone, outbound: { udp: off } }", "Blocked or could not reach STUN server"),
        ] {
            scope.spawn(move || judge(nat, expected));
        }
    });
}
