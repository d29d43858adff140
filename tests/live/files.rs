//! What programs find on a host where the machine's own would mislead them: devices in `/sys`, processes in `/proc`.

use std::process::Stdio;

use natbox::live::LiveLab;

use crate::common::{live, text};

const TWO: &str = "
nats: { home: linux-masquerade }
hosts: { alice: { behind: home, link: { mtu: 1400 } }, server: { address: 198.18.0.9 } }
";

/// What a shell on a host says.
fn shell(lab: &LiveLab, host: &str, script: &str) -> String {
    text(&lab.host(host).expect("a host").command("sh").args(["-c", script]).output().expect("a shell"))
        .trim()
        .to_owned()
}

#[test]
fn a_program_sees_the_devices_of_its_host_and_no_others() {
    let Some(lab) = live(TWO) else { return };
    for (host, mtu) in [("alice", "1400"), ("server", "1500")] {
        let listed = shell(&lab, host, "cd /sys/class/net && echo eth* && ls -d lo && cat eth0/mtu");
        assert_eq!(listed, format!("eth0\nlo\n{mtu}"), "{host}");
        assert_eq!(shell(&lab, host, "ls /sys/devices/virtual/net | tr '\\n' ' '"), "eth0 lo", "{host}");
    }
    let devices = || std::fs::read_to_string("/sys/class/net/eth0/mtu").expect("a device");
    assert_eq!(lab.host("alice").expect("alice").enter(devices), "1400\n", "and so does what a test does there");
}

#[test]
fn a_program_finds_itself_and_the_programs_of_the_lab_and_may_end_them_by_number() {
    let Some(lab) = live(TWO) else { return };
    assert_eq!(shell(&lab, "alice", "cat /proc/$$/comm /proc/1/comm"), "sh\nnatbox-init");
    let mut sleeping = lab.host("alice").expect("alice").command("sleep");
    let mut sleeping = sleeping.arg("1000").stdin(Stdio::null()).spawn().expect("a program");
    let end_it = "for p in /proc/[0-9]*; do [ \"$(cat $p/comm)\" = sleep ] && kill ${p#/proc/}; done";
    assert_eq!(shell(&lab, "server", end_it), "");
    assert!(!sleeping.wait().expect("its end").success());
}

#[test]
fn what_a_program_mounts_is_there_for_the_next_and_a_program_begins_where_it_was_started() {
    let Some(lab) = live(TWO) else { return };
    shell(&lab, "alice", "mount -t tmpfs tmpfs /mnt && echo here > /mnt/natbox");
    assert_eq!(shell(&lab, "alice", "cat /mnt/natbox"), "here");
    assert_eq!(shell(&lab, "server", "ls /mnt/natbox 2>/dev/null"), "");
    let folder = std::env::current_dir().expect("a folder");
    assert_eq!(shell(&lab, "alice", "pwd -P"), folder.canonicalize().expect("a path").display().to_string());
}
