//! `natbox check`.

use serde_json::Value;

use super::lab::Lab;

pub(crate) const TWO_HOMES: &str = "\
name: two homes
seed: 7
nats:
  home-a: port-restricted-cone
  home-b: { type: symmetric, timeouts: { udp: 30s }, link: { latency: 8ms, loss: 0.5% } }
hosts:
  alice: { behind: home-a }
  bob: { behind: [home-b, home-a] }
  relay: { services: [stun, turn, rendezvous] }
";

#[test]
fn a_right_file_is_shown_as_a_picture_and_with_all_its_defaults() {
    let lab = Lab::new();
    lab.write("lab.yaml", TWO_HOMES);
    let said = lab.run(&["check", "lab.yaml"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    let picture = "\
# lab.yaml: no mistakes
# internet  198.18.0.0/15
# |- home-a  NAT port-restricted-cone; 198.18.0.2; link 10ms
# |  |- alice  10.0.0.2
# |  `- bob  10.0.0.3 (uplink 2 of 2)
# |- home-b  NAT symmetric with timeouts.udp 30s; 198.18.0.3; link 8ms, loss 0.5%
# |  `- bob  10.0.1.2 (uplink 1 of 2)
# `- relay  198.18.0.4, 198.18.0.5; link 10ms; runs stun, turn, rendezvous
";
    assert!(said.out.starts_with(picture), "{}", said.out);
    assert!(said.out.contains("filtering: address-and-port-dependent"), "{}", said.out);
}

#[test]
fn what_check_prints_can_be_checked_again() {
    let lab = Lab::new();
    lab.write("lab.yaml", TWO_HOMES);
    let first = lab.run(&["check", "lab.yaml"]).out;
    lab.write("resolved.yaml", &first);
    let again = lab.run(&["check", "resolved.yaml"]);
    assert_eq!(again.code, 0);
    let body = |text: &str| text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    assert_eq!(body(&again.out), body(&first));
}

#[test]
fn json_is_one_lab_or_a_list() {
    let lab = Lab::new();
    lab.write("a.yaml", TWO_HOMES);
    lab.write("b.yaml", "hosts: { x: {} }\n");
    let one: Value = serde_json::from_str(&lab.run(&["check", "--format", "json", "a.yaml"]).out).unwrap();
    assert_eq!((&one["natbox"], &one["seed"]), (&1.into(), &7.into()));
    assert_eq!(one["nats"]["home-b"]["timeouts"]["udp"], "30s");
    let two: Value = serde_json::from_str(&lab.run(&["check", "--format", "json", "a.yaml", "b.yaml"]).out).unwrap();
    assert_eq!(two["labs"].as_array().unwrap().len(), 2);
}

#[test]
fn every_mistake_of_every_file_is_told_at_once_with_its_place() {
    let lab = Lab::new();
    lab.write(
        "bad.yaml",
        &TWO_HOMES.replace("behind: home-a", "behind: hom-a").replace("type: symmetric", "typ: symmetric"),
    );
    lab.write("good.yaml", TWO_HOMES);
    let said = lab.run(&["check", "bad.yaml", "good.yaml", "missing.yaml"]);
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    for expected in
        ["bad.yaml:5:", "did you mean `type`?", "bad.yaml:7:", "did you mean `home-a`?", "cannot read missing.yaml"]
    {
        assert!(said.err.contains(expected), "{expected}: {}", said.err);
    }
}

#[test]
fn quiet_says_only_what_is_wrong() {
    let lab = Lab::new();
    lab.write("good.yaml", TWO_HOMES);
    lab.write("bad.yaml", "hosts: 3\n");
    let good = lab.run(&["check", "--quiet", "good.yaml"]);
    assert_eq!((good.code, good.out.as_str(), good.err.as_str()), (0, "", ""));
    let bad = lab.run(&["check", "-q", "bad.yaml"]);
    assert_eq!(bad.code, 2);
    assert!(bad.err.contains("bad.yaml:1:8"), "{}", bad.err);
}

#[test]
fn what_is_no_topology_is_told_so() {
    let lab = Lab::new();
    std::fs::write(lab.path("binary.yaml"), [0xff, 0xfe, 0x00, 0x80]).unwrap();
    std::fs::create_dir(lab.path("folder.yaml")).unwrap();
    lab.write("empty.yaml", "");
    lab.write("huge.yaml", &"# a\n".repeat(3 << 20));
    for name in ["binary.yaml", "folder.yaml", "huge.yaml"] {
        let said = lab.run(&["check", name]);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{name}");
        assert!(said.err.starts_with("error: ") && said.err.contains(name), "{name}: {}", said.err);
    }
    assert!([0, 2].contains(&lab.run(&["check", "empty.yaml"]).code));
}
