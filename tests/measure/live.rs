//! On the machine's own network: Linux masquerading in a network namespace, coturn outside, natbox inside.
//!
//! `behind-nft.sh` makes the namespaces; the judge of mapping, filtering and ports is what nftables was told to be, and the
//! preset that stands for it. Without root, `unshare`, `ip`, `nft` or coturn these tests are skipped.
//!
//! * `NATBOX_LIVE_TIMERS=1`: with Linux's own timers too, which takes a quarter of an hour.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use natbox::Lab;
use natbox::nat::preset;
use serde_json::Value;

use crate::presets::configured;
use crate::skipped::skipped;

/// Why these tests cannot be done here.
fn lacking() -> Option<String> {
    for command in ["unshare", "ip", "nft", "turnserver", "ss"] {
        let found = Command::new("sh").args(["-c", &format!("command -v {command}")]).output();
        if !found.is_ok_and(|found| found.status.success()) {
            return Some(format!("needs `{command}` (Debian: util-linux, iproute2, nftables, coturn)"));
        }
    }
    let unshare = Command::new("unshare").args(["--net", "--mount", "--pid", "--fork", "true"]).output();
    let may = unshare.is_ok_and(|came| came.status.success());
    (!may).then(|| "needs the right to make network namespaces (root)".to_owned())
}

/// Runs natbox behind this variant of masquerading; none where that cannot be done.
fn behind(variant: &str, sysctls: &str, arguments: &[&str]) -> Option<Output> {
    if let Some(why) = lacking() {
        skipped(&why);
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/measure/behind-nft.sh");
    let mut command = Command::new(script);
    command.arg(variant).arg(env!("CARGO_BIN_EXE_natbox")).args(arguments).env("SYSCTLS", sysctls);
    Some(command.output().expect("the script runs"))
}

fn measured(variant: &str, sysctls: &str, more: &[&str]) -> Option<Value> {
    let arguments = [&["probe", "nat", "--server", "198.18.0.10", "--format", "json"], more].concat();
    let output = behind(variant, sysctls, &arguments)?;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    Some(serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {output:?}")))
}

/// Holds every word that was found against a preset, and wants these axes to be among them.
fn is(found: &Value, name: &str, axes: &[&str]) {
    let behavior = preset::find(name).expect("a preset").behavior;
    let known = found["axes"].as_object().expect("axes");
    for (axis, word) in known.iter().filter_map(|(axis, value)| Some((axis, value.as_str()?))) {
        assert_eq!(word, configured(&behavior, axis), "{axis} of {name}: {found}");
    }
    let fits = found["fits"].as_array().expect("presets");
    assert!(timed(found) || fits.contains(&Value::from(name)), "{found}");
    for axis in axes {
        assert!(known.contains_key(*axis), "{axis} is not known: {found}");
    }
}

/// Whether timers were searched for. Those of these kernels may be shorter than a preset has them.
fn timed(found: &Value) -> bool {
    found["axes"]["timeouts.udp"].is_object()
}

/// Whether a lifetime of so many seconds lies between what was survived and what was not.
fn lasts(found: &Value, axis: &str, seconds: u64) {
    let bound = |key: &str| found["axes"][axis][key].as_u64().unwrap_or_else(|| panic!("no {axis}: {found}"));
    let lifetime = seconds * 1_000_000_000;
    let (alive, expired) = (bound("alive_after_ns"), bound("expired_after_ns"));
    assert!((alive..=expired).contains(&lifetime), "{axis}: {seconds} s, found {alive} to {expired} ns");
}

fn scratch(name: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join(name);
    (folder, file)
}

const SEEN: &[&str] =
    &["mapping.udp", "mapping.tcp", "filtering.udp", "ports.allocation", "hairpin.udp", "early_inbound"];

#[test]
fn masquerading_is_measured_as_the_preset_has_it_and_its_file_runs() {
    let (_folder, file) = scratch("measured.yaml");
    let path = file.display().to_string();
    let Some(found) = measured("masquerade", "", &["-o", &path]) else { return };
    is(&found, "linux-masquerade", SEEN);
    let text = std::fs::read_to_string(&file).expect("the file");
    for real in ["10.0.0.", "198.18."] {
        assert!(!text.contains(real), "an address of the network is in the file:\n{text}");
    }
    let outcome = Lab::from_yaml(&text).unwrap_or_else(|error| panic!("{error}\n{text}")).run().expect("a run");
    assert!(outcome.ok, "{}", outcome.to_json());
}

#[test]
fn masquerading_with_an_open_input_chain_lets_early_packets_take_ports() {
    let Some(found) = measured("open", "", &[]) else { return };
    is(&found, "linux-masquerade-open", SEEN);
    assert_eq!(found["axes"]["early_inbound"], "remap");
}

#[test]
fn masquerading_at_random_has_another_port_for_every_remote() {
    let Some(found) = measured("random", "", &[]) else { return };
    let axes = ["mapping.udp", "mapping.tcp", "filtering.udp", "filter_scope", "ports.allocation"];
    is(&found, "linux-masquerade-random", &axes);
    assert_eq!(found["axes"]["mapping.udp"], "address-and-port-dependent");
}

#[test]
fn timers_are_found_by_stage_and_so_is_what_refreshes_them() {
    // Shorter than Linux has them, so that nobody waits for long.
    let timers = "net.netfilter.nf_conntrack_udp_timeout=5 net.netfilter.nf_conntrack_udp_timeout_stream=8";
    let Some(found) = measured("masquerade", timers, &["--timers", "10s"]) else { return };
    is(&found, "linux-masquerade", &["refresh"]);
    lasts(&found, "timeouts.udp_unreplied", 5);
    lasts(&found, "timeouts.udp", 5);
    lasts(&found, "timeouts.udp_stream", 8);
}

#[test]
fn linuxs_own_timers_are_those_of_the_preset() {
    if std::env::var_os("NATBOX_LIVE_TIMERS").is_none_or(|value| value.is_empty() || value == "0") {
        return skipped("takes a quarter of an hour: NATBOX_LIVE_TIMERS=1 asks for it");
    }
    let Some(found) = measured("masquerade", "", &["--timers", "3m"]) else { return };
    is(&found, "linux-masquerade", &["refresh"]);
    lasts(&found, "timeouts.udp_unreplied", 30);
    lasts(&found, "timeouts.udp", 30);
    lasts(&found, "timeouts.udp_stream", 120);
}

#[test]
fn a_server_that_does_not_answer_ends_the_measurement_and_leaves_no_file() {
    let (_folder, file) = scratch("measured.yaml");
    let path = file.display().to_string();
    let Some(output) = behind("masquerade", "", &["probe", "nat", "--server", "198.18.0.99", "-o", &path]) else {
        return;
    };
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("198.18.0.99:3478") && !file.exists(), "{error}");
}

#[test]
fn what_cannot_be_measured_with_is_refused_with_what_was_expected() {
    for (arguments, expected) in [
        (&["--server", "no-such-host.invalid"][..], "no address for the server `no-such-host.invalid`"),
        (&["--server", "127.0.0.1:99999"], "expected HOST, HOST:PORT or ADDRESS:PORT"),
        (&["--server", "127.0.0.1:0"], "expected HOST, HOST:PORT or ADDRESS:PORT"),
        (&["--server", "127.0.0.1", "--family", "ipv6"], "no address for the server `127.0.0.1`: it has none of IPv6"),
        (&["--server", "127.0.0.1", "--timers", "5"], "such as `5m`"),
        (&["--server", "127.0.0.1", "--timers", "2000h"], "such as `5m`"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_natbox")).args(["probe", "nat"]).args(arguments).output();
        let output = output.expect("natbox runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && error.contains(expected), "{arguments:?}: {error}");
    }
}
