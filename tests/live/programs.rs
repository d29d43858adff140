//! Real programs as judges: what they say of the emulated NATs.

use std::process::Stdio;
use std::time::Duration;

use natbox::live::{LiveHost, LiveLab};

use crate::common::{has, live, text};

const WORDS: [(&str, &str); 3] = [
    ("endpoint-independent", "Endpoint Independent"),
    ("address-dependent", "Address Dependent"),
    ("address-and-port-dependent", "Address and Port Dependent"),
];

/// What coturn's client finds out about a NAT, by a server that is at 198.18.0.3 and 198.18.0.4.
fn discovered(lab: &LiveLab) -> String {
    let mut client = lab.host("alice").expect("alice").command("turnutils_natdiscovery");
    text(&client.args(["-m", "-f", "198.18.0.3"]).output().expect("coturn's client"))
}

fn home(mapping: &str, filtering: &str, server: &str) -> Option<LiveLab> {
    live(&format!(
        "
nats: {{ home: {{ type: rfc4787, mapping: {mapping}, filtering: {filtering} }} }}
hosts: {{ alice: {{ behind: home }}, server: {{ {server} }} }}
"
    ))
}

#[test]
fn coturns_client_and_server_report_each_of_the_nine_combinations() {
    if !has("turnutils_natdiscovery") || !has("turnserver") {
        return;
    }
    let judge = |mapping: (&'static str, &'static str), filtering: (&'static str, &'static str)| {
        let Some(lab) = home(mapping.0, filtering.0, "addresses: 2") else { return };
        let server = lab.host("server").expect("a server");
        let mut turn = server.command("turnserver");
        turn.args(["-n", "--no-auth", "--no-tls", "--no-dtls", "--no-cli", "--log-file", "stdout", "--pidfile", ""]);
        turn.args(["-L", "198.18.0.3", "-L", "198.18.0.4"]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut turn = turn.spawn().expect("coturn's server");
        listens(server, 3479);
        let said = discovered(&lab);
        for told in [format!("NAT with {} Mapping!", mapping.1), format!("NAT with {} Filtering!", filtering.1)] {
            assert!(said.contains(&told), "{mapping:?}/{filtering:?}: expected {told:?} in\n{said}");
        }
        turn.kill().and_then(|()| turn.wait()).expect("it was ours");
    };
    std::thread::scope(|scope| {
        for mapping in WORDS {
            for filtering in WORDS {
                scope.spawn(move || judge(mapping, filtering));
            }
        }
    });
}

/// Also of address-dependent mapping, for which this client needs an answer that leaves OTHER-ADDRESS out.
#[test]
fn coturns_client_reports_the_same_of_the_built_in_server() {
    if !has("turnutils_natdiscovery") {
        return;
    }
    let judge = |mapping: (&'static str, &'static str), filtering: (&'static str, &'static str)| {
        let Some(lab) = home(mapping.0, filtering.0, "services: [stun]") else { return };
        let said = discovered(&lab);
        for told in [format!("NAT with {} Mapping!", mapping.1), format!("NAT with {} Filtering!", filtering.1)] {
            assert!(said.contains(&told), "{mapping:?}/{filtering:?}: expected {told:?} in\n{said}");
        }
    };
    std::thread::scope(|scope| {
        for mapping in WORDS {
            for filtering in WORDS {
                scope.spawn(move || judge(mapping, filtering));
            }
        }
    });
}

/// Waits until something listens on this UDP port.
pub(crate) fn listens(host: &LiveHost, port: u16) {
    let wanted = format!(":{port:04X} ");
    for _ in 0..400 {
        let sockets = host.enter(|| std::fs::read_to_string("/proc/thread-self/net/udp")).expect("a list of sockets");
        if sockets.contains(&wanted) {
            return;
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    panic!("nothing listens on port {port}");
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
    let mut server = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("python");
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
