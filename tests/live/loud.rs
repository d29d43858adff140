//! What a system lacks is said with the one command that helps, with exit code 2, and nothing is left behind; and what
//! nobody but root lacks is not lacking without root.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::common::{has, skip, text};

/// A folder that everybody may enter, with `natbox` and a topology in it; shells run there.
struct Place {
    folder: tempfile::TempDir,
}

const LAB: &str = "
nats: { home: linux-masquerade }
hosts: { alice: { behind: home, link: { mtu: MTU } }, relay: { services: [stun] } }
";

impl Place {
    fn new(mtu: u32) -> Place {
        let folder = tempfile::tempdir().expect("a folder");
        let open = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
        open(folder.path(), 0o755).expect("its mode");
        let program = PathBuf::from(env!("CARGO_BIN_EXE_natbox"));
        let copy = folder.path().join("natbox");
        std::fs::copy(program, &copy).expect("a copy");
        open(&copy, 0o755).expect("its mode");
        std::fs::write(folder.path().join("lab.yaml"), LAB.replace("MTU", &mtu.to_string())).expect("a file");
        Place { folder }
    }

    fn unshare(&self, options: &[&str], script: &str) -> Output {
        let mut command = Command::new("unshare");
        let command = command.args(options).args(["sh", "-c", script]).current_dir(self.folder.path());
        command.output().expect("unshare")
    }

    /// Whether namespaces can be made so; says so if not.
    fn can(&self, options: &[&str], script: &str) -> bool {
        let can = self.unshare(options, script);
        if !can.status.success() {
            skip(&format!("unshare {options:?} {script}: {}", text(&can).trim()));
        }
        can.status.success()
    }
}

/// Ends a lab that came up although it should not.
const UP: &str = "timeout 20 ./natbox up --lab loud-$$ lab.yaml";

#[test]
fn a_system_without_tun_devices_is_told_of_with_what_helps() {
    let place = Place::new(1500);
    let hide = "mount --bind /dev/null /dev/net/tun";
    if !has("unshare") || !place.can(&["--mount"], hide) {
        return;
    }
    let said = place.unshare(&["--mount"], &format!("{hide} && {UP}"));
    assert_eq!(said.status.code(), Some(2), "{}", text(&said));
    let said = text(&said);
    assert!(said.starts_with("error: cannot make a TUN device for `alice`: "), "{said}");
    assert!(said.contains("; this helps: "), "{said}");
}

#[test]
fn a_system_that_allows_no_namespaces_is_told_of_with_what_allows_them() {
    let place = Place::new(1500);
    let forbid = "echo 0 > /proc/sys/user/max_net_namespaces";
    let own = ["--user", "--map-root-user"];
    if !has("unshare") || !place.can(&own, forbid) {
        return;
    }
    let said = place.unshare(&own, &format!("{forbid} && {UP}"));
    assert_eq!(said.status.code(), Some(2), "{}", text(&said));
    let said = text(&said);
    assert!(said.starts_with("error: cannot make namespaces: "), "{said}");
    assert!(said.contains("this allows it: sudo sysctl -w user.max_user_namespaces="), "{said}");
}

/// As root, in a mount namespace where everybody may use TUN devices; then as nobody.
#[test]
fn nobody_needs_to_be_root() {
    let place = Place::new(1500);
    let open = "mknod tun c 10 200 && chmod 666 tun && mount --bind tun /dev/net/tun";
    if !["unshare", "setpriv", "ping"].into_iter().all(has) || !place.can(&["--mount"], open) {
        return;
    }
    let become_nobody = "nobody='setpriv --reuid 65534 --regid 65534 --clear-groups'";
    let script = format!(
        "rm -f tun; {open} && {become_nobody} && lab=rootless-$$ || exit 9
         $nobody ./natbox up --lab $lab lab.yaml > said 2>&1 &
         for try in $(seq 400); do grep -q 'is up' said && break; kill -0 $! || {{ cat said; exit 8; }}; sleep 0.05; done
         $nobody ./natbox exec --lab $lab alice -- ping -c 1 -W 10 relay || exit 7
         ./natbox exec --lab $lab alice -- true && exit 6
         $nobody ./natbox down --lab $lab && wait $!"
    );
    let said = place.unshare(&["--mount"], &script);
    if said.status.code() == Some(8) {
        assert!(text(&said).contains("this allows it: ") || text(&said).contains("this helps: "), "{}", text(&said));
        return skip(text(&said).trim());
    }
    assert!(said.status.success(), "{}", text(&said));
    assert!(text(&said).contains("1 received, 0% packet loss"), "{}", text(&said));
}

#[test]
fn nobody_without_a_right_to_tun_devices_is_told_what_helps() {
    let place = Place::new(1500);
    let close = "mknod tun c 10 200 && chmod 600 tun && mount --bind tun /dev/net/tun";
    if !["unshare", "setpriv"].into_iter().all(has) || !place.can(&["--mount"], close) {
        return;
    }
    let nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups";
    let said = place.unshare(&["--mount"], &format!("rm -f tun; {close} && {nobody} {UP}"));
    assert_eq!(said.status.code(), Some(2), "{}", text(&said));
    let said = text(&said);
    let helps = "this helps: sudo chmod 666 /dev/net/tun (or run it as root)";
    assert!(said.contains(helps) || said.contains("error: cannot make namespaces: "), "{said}");
}
