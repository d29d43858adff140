//! Wireshark's command line opens natbox's captures without a complaint.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use natbox::Lab;
use natbox::capture::{Reader, save};
use natbox::record::Limits;

use super::scene::*;
use super::skipped::skipped;

/// tshark's standard output for a capture; `None`, said aloud, where there is no tshark.
fn tshark(path: &Path, arguments: &[&str]) -> Option<String> {
    match Command::new("tshark").arg("-r").arg(path).args(arguments).output() {
        Ok(output) => {
            let complaints = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success(), "{complaints}");
            Some(String::from_utf8(output.stdout).unwrap())
        }
        Err(error) => {
            skipped(&format!("tshark cannot be run ({error}); captures are not checked against it"));
            None
        }
    }
}

fn with_capture(check: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("walk.pcapng");
    save(&path, &walk(Limits::CAPTURE), &names()).unwrap();
    check(&path);
}

#[test]
fn tshark_has_no_expert_complaint() {
    with_capture(|path| {
        let Some(complaints) =
            tshark(path, &["-q", "-z", "expert", "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"])
        else {
            return;
        };
        assert!(!complaints.contains("Errors") && !complaints.contains("Warns"), "{complaints}");
    });
}

#[test]
fn tshark_shows_comments_interfaces_and_times() {
    with_capture(|path| {
        let fields = ["frame.time_relative", "frame.interface_name", "frame.packet_id", "frame.comment"];
        let mut arguments = vec!["-T", "fields"];
        arguments.extend(fields.iter().flat_map(|field| ["-e", *field]));
        let Some(shown) = tshark(path, &arguments) else { return };
        let lines = shown.lines().collect::<Vec<_>>();
        assert_eq!(lines.len(), 12);
        assert_eq!(lines[0], "0.000000000\talice\t1\tsent by alice");
        let second = "0.005000000\thome-a:inside\t1\t10.0.0.2:5000 -> 198.18.0.3:40001, new mapping #4";
        assert_eq!(lines[1], second);
        assert!(lines[9].starts_with("0.040000000\tinternet\t4\tdropped at internet: private-destination"));
    });
}

#[test]
fn tshark_shows_names_and_directions() {
    with_capture(|path| {
        let arguments =
            ["-N", "n", "-T", "fields", "-e", "ip.src_host", "-e", "ip.dst_host", "-e", "frame.packet_flags_direction"];
        let Some(shown) = tshark(path, &arguments) else { return };
        let lines = shown.lines().collect::<Vec<_>>();
        assert_eq!(lines[0], "alice\trelay\t0x00000002");
        assert_eq!(lines[2], "home-a\trelay\t0x00000002");
        assert_eq!(lines[3], "home-a\trelay\t0x00000001");
    });
}

/// Every topology file that is shipped; populations are none.
fn shipped() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies");
    let in_folder =
        |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let entries = in_folder(&root);
    let below = entries
        .iter()
        .filter(|path| path.is_dir() && !path.ends_with("populations"))
        .flat_map(|folder| in_folder(folder));
    let all = entries.iter().cloned().chain(below);
    let mut files = all.filter(|path| path.extension().is_some_and(|end| end == "yaml")).collect::<Vec<_>>();
    files.sort();
    files
}

/// The protocols that hosts of the shipped topologies speak. Once tshark has seen QUIC between two endpoints it takes every
/// datagram between them for that: what only opens NATs there has the length of a QUIC packet at least.
/// tshark takes a port's number for a hint, and complains of probes to random ports, or from them, in the name of whatever
/// is registered there.
const SPOKEN: [&str; 16] = [
    "IPv4", "IPv6", "UDP", "TCP", "ICMP", "ICMPv6", "STUN", "TURN", "NAT-PMP", "PCP", "SSDP", "HTTP", "XML", "TLS",
    "QUIC", "BT-uTP",
];

/// The lines of an expert report's section of errors that concern those.
fn errors(report: &str) -> Vec<&str> {
    let section = report.lines().skip_while(|line| !line.starts_with("Errors ("));
    let lines = section.skip(1).take_while(|line| !line.is_empty());
    lines.filter(|line| line.split_whitespace().nth(2).is_some_and(|protocol| SPOKEN.contains(&protocol))).collect()
}

#[test]
fn the_errors_of_an_expert_report_are_those_of_protocols_that_are_spoken() {
    let report = "\nErrors (4)\n====\n   Frequency      Group           Protocol  Summary\n  4  Malformed  HART_IP  Malformed Packet\n  \
                  1  Checksum  UDP  Bad checksum\n\nChats (20)\n====\n  2   Sequence   UDP  Possible traceroute\n";
    assert_eq!(errors(report), ["  1  Checksum  UDP  Bad checksum"]);
    assert!(errors("\nChats (20)\n====\n  2   Sequence   UDP  Possible traceroute\n").is_empty());
}

#[test]
fn tshark_opens_the_capture_of_every_shipped_topology_without_an_expert_error() {
    let folder = tempfile::tempdir().unwrap();
    let files = shipped();
    assert!(files.len() >= 9, "{files:?}");
    for file in files {
        let path = folder.path().join("shipped.pcapng");
        let lab = Lab::from_file(&file).unwrap();
        // Those that start programs are for live labs.
        if lab.plan().needs_live().is_some() {
            continue;
        }
        lab.capture(&path).run().unwrap();
        let Some(complaints) = tshark(&path, &["-q", "-z", "expert"]) else { return };
        let errors = errors(&complaints);
        assert!(errors.is_empty(), "{}: {errors:?}", file.display());
        let Some(comments) = tshark(&path, &["-T", "fields", "-e", "frame.comment"]) else { return };
        let frames = Reader::new(fs::File::open(&path).unwrap()).unwrap().count();
        assert_eq!(comments.lines().filter(|comment| !comment.is_empty()).count(), frames, "{}", file.display());
    }
}
