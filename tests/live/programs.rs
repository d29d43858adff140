//! Real programs as judges: what they say of the emulated NATs.

use crate::common::{has, live, text};

const WORDS: [(&str, &str); 3] = [
    ("endpoint-independent", "Endpoint Independent"),
    ("address-dependent", "Address Dependent"),
    ("address-and-port-dependent", "Address and Port Dependent"),
];

#[test]
fn coturns_nat_discovery_reports_each_of_the_nine_combinations() {
    if !has("turnutils_natdiscovery") {
        return;
    }
    for (mapping, told_mapping) in WORDS {
        for (filtering, told_filtering) in WORDS {
            let lab = live(&format!(
                "
nats: {{ home: {{ type: rfc4787, mapping: {mapping}, filtering: {filtering} }} }}
hosts: {{ alice: {{ behind: home }}, relay: {{ services: [stun] }} }}
"
            ));
            let Some(lab) = lab else { return };
            let alice = lab.host("alice").expect("alice");
            let said = alice.command("turnutils_natdiscovery").args(["-m", "-f", "relay"]).output().expect("coturn");
            let said = text(&said);
            for told in [format!("NAT with {told_mapping} Mapping!"), format!("NAT with {told_filtering} Filtering!")] {
                assert!(said.contains(&told), "{mapping}/{filtering}: expected {told:?} in\n{said}");
            }
        }
    }
}

#[test]
fn ping_knows_the_names_of_simulated_and_of_real_hosts() {
    if !has("ping") {
        return;
    }
    let lab = live(
        "
nats: { home: linux-masquerade }
hosts: { alice: { behind: home }, server: {}, relay: { services: [stun] } }
",
    );
    let Some(lab) = lab else { return };
    for name in ["server", "relay"] {
        let said = lab.host("alice").expect("alice").command("ping").args(["-c", "3", "-i", "0.1", name]).output();
        let said = text(&said.expect("ping"));
        assert!(said.contains("3 received, 0% packet loss"), "{said}");
    }
}

#[test]
fn curl_fetches_megabytes_through_two_nats() {
    if !has("curl") || !has("python3") {
        return;
    }
    let lab = live(
        "
nats: { carrier: cgn, home: { type: linux-masquerade, behind: carrier } }
hosts: { alice: { behind: home }, server: {} }
",
    );
    let Some(lab) = lab else { return };
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("data"), vec![7; 4 << 20]).expect("a file");
    let mut server = lab.host("server").expect("a server").command("python3");
    server.args(["-m", "http.server", "80", "--directory"]).arg(folder.path());
    let mut server =
        server.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().expect("python");
    let fetch = [
        "--silent",
        "--show-error",
        "--retry",
        "20",
        "--retry-connrefused",
        "--retry-delay",
        "1",
        "--max-time",
        "60",
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code} %{size_download}",
        "http://server/data",
    ];
    let said = lab.host("alice").expect("alice").command("curl").args(fetch).output().expect("curl");
    assert_eq!(String::from_utf8_lossy(&said.stdout), "200 4194304", "{}", text(&said));
    server.kill().and_then(|()| server.wait()).expect("it was ours");
}
