//! Captures of live labs: written as the lab runs, followed, replayed.

use std::io::{BufRead as _, BufReader};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use natbox::Lab;
use natbox::capture::{Frame, Reader};
use natbox::replay::Kind;

use crate::common::{begin, has, skip, text};

fn lab(nat: &str) -> Lab {
    let yaml = format!(
        "nats: {{ home: {nat} }}
hosts: {{ alice: {{ behind: home }}, server: {{ address: 198.18.0.9 }}, stranger: {{ address: 198.18.0.10 }} }}"
    );
    Lab::from_yaml(&yaml).unwrap_or_else(|error| panic!("{error}"))
}

fn frames(path: &Path) -> Vec<Frame<'static>> {
    let reader = Reader::new(std::fs::File::open(path).expect("it is there")).expect("a capture");
    reader.map(|frame| frame.expect("a whole block")).collect()
}

/// Whether it becomes so soon.
fn soon(mut holds: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(30) {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

#[test]
fn a_packet_is_in_the_capture_soon_after_it_was_dropped_with_its_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lab.pcapng");
    let Some(live) = begin(&lab("port-restricted-cone").capture(&path)) else { return };
    assert!(frames(&path).is_empty(), "it is there at once");
    let bind = |host: &str, at: &'static str| live.host(host).expect("a host").enter(move || UdpSocket::bind(at));
    let server = bind("server", "198.18.0.9:7000").expect("a socket");
    let stranger = bind("stranger", "198.18.0.10:7000").expect("a socket");
    let alice = bind("alice", "0.0.0.0:5000").expect("a socket");
    server.set_read_timeout(Some(Duration::from_secs(30))).expect("a time");
    alice.send_to(b"hello", "198.18.0.9:7000").expect("it is sent");
    let (_, mapped) = server.recv_from(&mut [0; 100]).expect("it comes");
    stranger.send_to(b"hello?", mapped).expect("it is sent");
    let filtered = |frame: &Frame<'_>| frame.comment.as_deref().is_some_and(|why| why.contains("home: filtered"));
    assert!(soon(|| frames(&path).iter().any(filtered)), "{:?}", frames(&path));
    let new = |frame: &Frame<'_>| frame.comment.as_deref().is_some_and(|why| why.ends_with("new mapping #1"));
    assert!(frames(&path).iter().any(|frame| frame.interface == "home:inside" && new(frame)), "{:?}", frames(&path));
    live.stop().expect("it ends well");
    let mut reader = Reader::new(std::fs::File::open(&path).expect("it is there")).expect("a capture");
    assert!(reader.by_ref().all(|frame| frame.is_ok()) && reader.is_closed());
    assert_eq!(reader.missing(), 0);

    let again = lab("port-restricted-cone").replay(std::fs::File::open(&path).expect("it is there")).expect("it fits");
    assert!(again.differences.is_empty(), "{}", again.to_json());
    let open = lab("full-cone").replay(std::fs::File::open(&path).expect("it is there")).expect("it fits");
    let kinds: Vec<(&str, Kind)> = open.differences.iter().map(|one| (one.host.as_str(), one.kind)).collect();
    assert_eq!(kinds, [("stranger", Kind::NowArrives)]);
}

#[test]
fn a_capture_that_cannot_be_written_stops_the_lab_before_it_begins() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("no/such/folder/lab.pcapng");
    match lab("full-cone").capture(&path).live() {
        Ok(_) => panic!("there is no such folder"),
        Err(error) if error.to_string().contains("cannot write") => {
            assert!(error.to_string().contains("No such file"), "{error}");
        }
        Err(error) => skip(&error.to_string()),
    }
}

#[test]
fn what_goes_through_is_counted_once_somebody_has_asked() {
    let Some(live) = begin(&lab("port-restricted-cone")) else { return };
    let before = live.tally().expect("it runs");
    let bind = |host: &str, at: &'static str| live.host(host).expect("a host").enter(move || UdpSocket::bind(at));
    let server = bind("server", "198.18.0.9:7000").expect("a socket");
    let alice = bind("alice", "0.0.0.0:5000").expect("a socket");
    server.set_read_timeout(Some(Duration::from_secs(30))).expect("a time");
    alice.send_to(&[0; 100], "198.18.0.9:7000").expect("it is sent");
    let (_, mapped) = server.recv_from(&mut [0; 200]).expect("it comes");
    let stranger = bind("stranger", "198.18.0.10:7000").expect("a socket");
    stranger.send_to(b"hello?", mapped).expect("it is sent");
    let dropped = || live.tally().expect("it runs").nats[0].drops.values().sum::<u64>();
    assert!(soon(|| dropped() == 1));
    let now = live.tally().expect("it runs");
    assert!(now.at > before.at);
    let name: Vec<&str> = now.hosts.iter().map(|host| host.name.as_str()).collect();
    assert_eq!(name, ["alice", "server", "stranger"]);
    assert_eq!((now.hosts[0].packets_out, now.hosts[0].bytes_out), (1, 128));
    assert_eq!((now.hosts[1].packets_in, now.hosts[1].bytes_in), (1, 128));
    assert_eq!(now.nats[0].mappings, 1);
}

/// A lab that is up with a capture, under a name of this test's own.
struct Up {
    child: Child,
    name: String,
    folder: tempfile::TempDir,
}

fn natbox(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_natbox"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Up {
    fn new(test: &str) -> Option<Up> {
        let folder = tempfile::tempdir().expect("a folder");
        let name = format!("{test}-{}", std::process::id());
        let mut command = natbox(&["up", "--lab", &name, "topologies/two-homes.yaml", "--capture"]);
        let mut child = command.arg(folder.path().join("lab.pcapng")).spawn().expect("natbox");
        let mut first = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut first).expect("a line");
        if first.is_empty() {
            skip(text(&child.wait_with_output().expect("its end")).trim());
            return None;
        }
        Some(Up { child, name, folder })
    }

    fn capture(&self) -> String {
        self.folder.path().join("lab.pcapng").display().to_string()
    }

    fn ping(&self) {
        let ping = ["exec", "--lab", &self.name, "alice", "--", "ping", "-c", "1", "-W", "10", "relay"];
        assert!(natbox(&ping).output().expect("natbox").status.success());
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_a_killed_lab_has_captured_can_be_read() {
    if !has("ping") {
        return;
    }
    let Some(mut lab) = Up::new("killed-capture") else { return };
    lab.ping();
    let capture = lab.capture();
    assert!(soon(|| frames(Path::new(&capture)).len() >= 8), "{:?}", frames(Path::new(&capture)));
    lab.child.kill().and_then(|()| lab.child.wait()).expect("it was ours");
    let shown = natbox(&["inspect", &capture]).output().expect("natbox");
    assert!(shown.status.success());
    assert!(text(&shown).ends_with("not closed: its lab still runs, or was killed\n"), "{}", text(&shown));
    let followed = natbox(&["inspect", "--follow", &capture]).output().expect("it ends by itself");
    assert!(text(&followed).ends_with("cut off: whoever wrote it is gone\n"), "{}", text(&followed));
}

#[test]
fn a_capture_is_followed_until_its_lab_goes_down() {
    if !has("ping") {
        return;
    }
    let Some(lab) = Up::new("followed") else { return };
    let capture = lab.capture();
    let mut child = natbox(&["inspect", "--follow", "--host", "alice", &capture]).spawn().expect("natbox");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines().map_while(Result::ok);
    lab.ping();
    let first = lines.next().expect("a line while the lab is up");
    assert!(first.contains("alice") && first.contains("echo request"), "{first}");
    assert!(natbox(&["down", "--lab", &lab.name]).output().expect("natbox").status.success());
    let last = lines.last().expect("a line");
    assert_eq!(last, "the capture has ended");
    assert!(child.wait().expect("its end").success());
}
