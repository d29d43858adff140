//! BitTorrent: libtorrent's peers behind NATs, and opentracker.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use natbox::live::LiveLab;

use crate::common::{has, live, skip, text};

/// Debian's own, for which `python3-libtorrent` is.
const PYTHON: &str = "/usr/bin/python3";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/live/swarm.py");
const TRACKER: &str = "198.18.0.9";

fn libtorrent() -> bool {
    let there = Command::new(PYTHON).args(["-c", "import libtorrent"]).output();
    let there = there.is_ok_and(|there| there.status.success());
    if !there {
        skip("there is no `python3-libtorrent`");
    }
    there
}

/// A lab with opentracker in it, and its programs.
struct Swarm {
    lab: LiveLab,
    folder: tempfile::TempDir,
    programs: Vec<Child>,
}

impl Swarm {
    fn new(nats: &str) -> Option<Swarm> {
        if !has("opentracker") || !libtorrent() {
            return None;
        }
        let lab = live(&format!(
            "
nats: {{ {nats} }}
hosts: {{ alice: {{ behind: home }}, bob: {{ behind: office }}, tracker: {{ address: {TRACKER} }} }}
"
        ))?;
        let folder = tempfile::tempdir().expect("a folder");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        // Debian's opentracker serves what is on its list, which it reads as nobody.
        std::fs::set_permissions(folder.path(), open).expect("its mode");
        let hash = Command::new(PYTHON).args([SCRIPT, "hash", "", "", TRACKER]).output().expect("python");
        let list = folder.path().join("list");
        std::fs::write(&list, hash.stdout).expect("a list");
        let mut tracker = lab.host("tracker").expect("a tracker").command("opentracker");
        tracker.args(["-i", TRACKER, "-p", "6969", "-P", "6969", "-w"]).arg(list);
        let tracker = tracker.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("opentracker");
        Some(Swarm { lab, folder, programs: vec![tracker] })
    }

    fn peer(&self, host: &str, role: &str) -> natbox::live::Command {
        let own = self.folder.path().join(role);
        std::fs::create_dir(&own).expect("a folder");
        let address = self.lab.addresses(host).expect("the world")[0].to_string();
        let mut peer = self.lab.host(host).expect("a host").command(PYTHON);
        peer.args([SCRIPT, role]).arg(own).args([&address, TRACKER]);
        peer
    }

    /// What a peer says goes to a file of this name.
    fn start(&mut self, host: &str, role: &str) {
        let said = File::create(self.said(role)).expect("a file");
        let peer = self.peer(host, role).stdout(said).stderr(Stdio::null()).spawn();
        self.programs.push(peer.expect("a peer"));
    }

    /// Waits until a peer has said something.
    fn hears(&self, role: &str, line: &str) {
        for _ in 0..600 {
            if std::fs::read_to_string(self.said(role)).is_ok_and(|said| said.contains(line)) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("{role} has not said {line:?}");
    }

    fn said(&self, role: &str) -> impl AsRef<Path> + use<> {
        self.folder.path().join(format!("{role}.said"))
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        for program in &mut self.programs {
            let _ = program.kill().and_then(|()| program.wait());
        }
    }
}

#[test]
fn a_transfer_completes_where_one_peer_is_connectable() {
    let nats = "home: { type: port-restricted-cone, forward: { port: 6881, to: alice } }, office: symmetric";
    let Some(mut swarm) = Swarm::new(nats) else { return };
    swarm.start("alice", "seed");
    swarm.hears("seed", "seed has announced itself");
    let said = text(&swarm.peer("bob", "leech").output().expect("a peer"));
    assert!(said.contains("complete from 198.18.0.2\n"), "{said}");
}

/// The seed does not know of the leech, whose packets its NAT refuses, until the introducer tells it.
#[test]
fn a_transfer_completes_by_ut_holepunch_where_no_peer_is_connectable() {
    let Some(mut swarm) = Swarm::new("home: port-restricted-cone, office: port-restricted-cone") else { return };
    swarm.start("tracker", "introducer");
    swarm.hears("introducer", "introducer has announced itself");
    swarm.start("alice", "seed");
    swarm.hears("seed", "seed has announced itself");
    swarm.hears("introducer", "introducer is connected to 198.18.0.2");
    let said = text(&swarm.peer("bob", "leech").output().expect("a peer"));
    assert!(said.contains("complete from 198.18.0.2\n"), "{said}");
    let introduced = std::fs::read_to_string(swarm.said("introducer")).expect("what it said");
    for told in ["==> HOLEPUNCH [ msg: connect to: 198.18.0.2", "==> HOLEPUNCH [ msg: connect to: 198.18.0.3"] {
        assert!(introduced.contains(told), "expected {told:?} in\n{introduced}");
    }
}
