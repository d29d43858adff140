//! What administrators try networks with: iperf3, traceroute, mtr.

use std::process::{Child, Stdio};

use natbox::live::LiveLab;

use crate::common::{has, live, text};

/// A home behind a carrier: two NATs on the way to a real and to a simulated host.
const TWICE: &str = "
nats: { carrier: cgn, home: { type: linux-masquerade, behind: carrier } }
hosts: { alice: { behind: home }, server: { address: 198.18.0.9 }, relay: { services: [stun] } }
";

fn say(lab: &LiveLab, program: &str, arguments: &[&str]) -> String {
    text(&lab.host("alice").expect("alice").command(program).args(arguments).output().expect("a program"))
}

fn iperf3_serves(lab: &LiveLab) -> Child {
    let mut server = lab.host("server").expect("a server").command("iperf3");
    server.args(["--server"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("iperf3")
}

/// A number of iperf3's report, by the path to it.
fn number(report: &serde_json::Value, path: &str) -> f64 {
    report.pointer(path).and_then(serde_json::Value::as_f64).unwrap_or_else(|| panic!("no {path} in\n{report:#}"))
}

#[test]
fn iperf3_moves_megabytes_by_tcp_both_ways_and_loses_nothing_by_udp() {
    if !has("iperf3") {
        return;
    }
    let Some(lab) = live(TWICE) else { return };
    let mut server = iperf3_serves(&lab);
    let run = |options: &[&str]| -> serde_json::Value {
        let arguments = [&["--client", "server", "--json"], options].concat();
        // Until the server listens.
        for _ in 0..40 {
            let said = say(&lab, "iperf3", &arguments);
            let report: serde_json::Value =
                serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
            if report.get("error").is_none() {
                return report;
            }
            std::thread::sleep(std::time::Duration::from_millis(250));
        }
        panic!("iperf3 {options:?} found no server");
    };
    for way in [&["--bytes", "4M"][..], &["--bytes", "4M", "--reverse"]] {
        let report = run(way);
        assert!(number(&report, "/end/sum_sent/bytes") >= f64::from(4 << 20), "{report:#}");
        // What is under way at the end is not counted.
        assert!(number(&report, "/end/sum_received/bytes") >= f64::from(1 << 20), "{report:#}");
    }
    let report = run(&["--udp", "--bitrate", "2M", "--length", "1200", "--time", "2"]);
    assert!(number(&report, "/end/sum/packets") >= 300.0, "{report:#}");
    assert_eq!(number(&report, "/end/sum/lost_packets"), 0.0, "{report:#}");
    server.kill().and_then(|()| server.wait()).expect("it was ours");
}

/// The addresses that a trace went by, in order.
fn hops(said: &str) -> Vec<&str> {
    let hop =
        |line: &'_ str| -> Option<usize> { line.split_whitespace().next()?.trim_end_matches(".|--").parse().ok() };
    let lines = said.lines().filter(|line| hop(line).is_some());
    lines.filter_map(|line| line.split_whitespace().nth(1)).collect()
}

#[test]
fn traceroute_shows_each_nat_by_its_inside_address() {
    if !has("traceroute") {
        return;
    }
    let Some(lab) = live(TWICE) else { return };
    for mode in ["--udp", "--icmp", "--tcp"] {
        for (name, address) in [("server", "198.18.0.9"), ("relay", "198.18.0.3")] {
            let said = say(&lab, "traceroute", &["-n", "-q", "1", "-w", "10", "-m", "8", mode, name]);
            let hops = hops(&said);
            assert_eq!(hops.first().copied(), Some("10.0.1.1"), "{mode}:\n{said}");
            assert_eq!(hops.get(1).copied(), Some("10.0.0.1"), "{mode}:\n{said}");
            assert_eq!(hops.last().copied(), Some(address), "{mode}:\n{said}");
        }
    }
}

#[test]
fn mtr_reports_the_same_way_without_loss() {
    if !has("mtr") {
        return;
    }
    let Some(lab) = live(TWICE) else { return };
    let said = say(&lab, "mtr", &["--report", "--no-dns", "--report-cycles", "3", "--interval", "0.2", "server"]);
    let hops = hops(&said);
    assert_eq!((hops.first().copied(), hops.last().copied()), (Some("10.0.1.1"), Some("198.18.0.9")), "{said}");
    for line in said.lines().filter(|line| line.contains("|--") && !line.contains("???")) {
        assert!(line.contains(" 0.0%"), "{said}");
    }
}
