//! `natbox up`, `exec`, `down` and what changes a lab, as people type them.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::{has, skip, text};

const LAB: &str = "
nats: { home: linux-masquerade }
hosts: { alice: { behind: home }, server: { address: 198.18.0.9 }, relay: { services: [stun] } }
";

pub(crate) fn natbox(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_natbox"));
    command.args(arguments).stdin(Stdio::null());
    command
}

pub(crate) fn say(arguments: &[&str]) -> Output {
    natbox(arguments).output().expect("natbox")
}

/// A lab that is up, under a name of this test's own.
pub(crate) struct Up {
    child: Child,
    pub(crate) name: String,
    _folder: tempfile::TempDir,
}

impl Up {
    fn new(test: &str) -> Option<Up> {
        Up::of(test, LAB)
    }

    /// That of a topology.
    pub(crate) fn of(test: &str, yaml: &str) -> Option<Up> {
        let folder = tempfile::tempdir().expect("a folder");
        let name = format!("{test}-{}", std::process::id());
        let file = folder.path().join("lab.yaml");
        std::fs::write(&file, yaml).expect("a file");
        let mut command = natbox(&["up", "--lab", &name]);
        let mut child = command.arg(&file).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("natbox");
        let mut first = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut first).expect("a line");
        if first.is_empty() {
            let said = text(&child.wait_with_output().expect("its end"));
            assert!(said.contains("namespaces") || said.contains("TUN"), "{said}");
            skip(said.trim());
            return None;
        }
        assert_eq!(first, format!("{name} is up; Ctrl-C takes it down\n"));
        Some(Up { child, name, _folder: folder })
    }

    pub(crate) fn exec(&self, arguments: &[&str]) -> Output {
        say(&[&["exec", "--lab", &self.name], arguments].concat())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn programs_run_on_hosts_and_their_exit_codes_come_back() {
    let Some(lab) = Up::new("exec") else { return };
    assert_eq!(text(&lab.exec(&["alice", "--", "uname", "-n"])), "alice\n");
    assert_eq!(lab.exec(&["alice", "--", "sh", "-c", "exit 7"]).status.code(), Some(7));
    assert_eq!(lab.exec(&["alice", "--", "sh", "-c", "kill -9 $$"]).status.code(), Some(128 + 9));
    let missing = lab.exec(&["alice", "--", "no-such-program"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(text(&missing).starts_with("error: cannot start `no-such-program` on `alice`: No such file"));
    let simulated = lab.exec(&["relay", "--", "true"]);
    assert_eq!(text(&simulated), "error: no program can run on `relay`: expected one of alice, server\n");
    assert_eq!(simulated.status.code(), Some(2));
}

#[test]
fn a_lab_changes_while_it_runs() {
    let Some(lab) = Up::new("change") else { return };
    let command = |words: &[&str]| text(&say(&[&words[..1], &["--lab", &lab.name], &words[1..]].concat()));
    if has("ping") {
        let ping = || lab.exec(&["alice", "--", "ping", "-c", "1", "-W", "2", "server"]).status.success();
        assert!(ping());
        assert_eq!(command(&["cut", "home"]), "home is cut off\n");
        assert!(!ping());
        assert_eq!(command(&["mend", "home"]), "home is connected\n");
        assert!(ping());
        assert_eq!(command(&["readdress", "home", "198.18.0.77"]), "home is now at 198.18.0.77\n");
        assert!(ping());
    }
    assert!(command(&["reboot", "home"]).starts_with("home has rebooted, "));
    assert_eq!(command(&["reboot", "hom"]), "error: there is no NAT `hom`: did you mean `home`?\n");
    assert_eq!(
        command(&["readdress", "home", "198.18.0.9"]),
        "error: 198.18.0.9 is `server`'s: expected one that is free\n"
    );
    assert_eq!(
        command(&["readdress", "home", "192.0.2.1"]),
        "error: 192.0.2.1 is not outside of `home`: expected one of 198.18.0.0/15\n"
    );
}

#[test]
fn down_waits_until_the_lab_is_gone_and_no_lab_is_an_error() {
    let Some(mut lab) = Up::new("down") else { return };
    let again = say(&["up", "--lab", &lab.name, "topologies/two-homes.yaml"]);
    assert_eq!(text(&again), format!("error: a lab called `{0}` is up already: name this one with --lab\n", lab.name));
    assert_eq!(again.status.code(), Some(2));
    let down = say(&["down", "--lab", &lab.name]);
    assert_eq!(text(&down), format!("{} is down\n", lab.name));
    assert!(lab.child.wait().expect("its end").success());
    assert_eq!(lab.exec(&["alice", "--", "true"]).status.code(), Some(2));
}

/// Whether it becomes so soon.
fn soon(mut holds: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

#[test]
fn a_lab_that_is_killed_leaves_no_process_and_no_namespace() {
    let Some(mut lab) = Up::new("killed") else { return };
    let mut sleeper = natbox(&["exec", "--lab", &lab.name, "alice", "--", "sleep", "1000"]).spawn().expect("natbox");
    let namespace = || {
        let link = lab.exec(&["alice", "--", "readlink", "/proc/self/ns/net"]);
        String::from_utf8(link.stdout).expect("text").trim().to_owned()
    };
    let namespace = namespace();
    assert!(namespace.starts_with("net:["));
    assert!(soon(|| processes_in(&namespace) > 0), "the sleeper is in there");
    lab.child.kill().and_then(|()| lab.child.wait()).expect("it was ours");
    assert_eq!(sleeper.wait().expect("it was ours").code(), Some(128 + 9));
    assert!(soon(|| processes_in(&namespace) == 0), "a process is left in {namespace}");
}

/// How many processes are in this network namespace.
fn processes_in(namespace: &str) -> usize {
    let there = |path: &Path| std::fs::read_link(path.join("ns/net")).is_ok_and(|link| link == Path::new(namespace));
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    processes.filter(|process| there(&process.path())).count()
}

#[test]
fn what_the_page_shows_is_what_is_printed() {
    let page = std::fs::read_to_string("docs/live.md").expect("the page");
    let block = page.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let (typed, shown) = block.split_once('\n').expect("a command and what it prints");
    assert_eq!(typed, "# natbox up topologies/two-homes.yaml");
    let name = format!("page-{}", std::process::id());
    let mut command = natbox(&["up", "--lab", &name, "topologies/two-homes.yaml"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("natbox");
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines().map_while(Result::ok);
    let printed: String = lines.take(shown.lines().count()).map(|line| line + "\n").collect();
    child.kill().and_then(|()| child.wait()).expect("it was ours");
    if printed.is_empty() {
        return skip("no lab can be made here");
    }
    assert_eq!(printed.replace(&name, "two-homes"), shown);
}
