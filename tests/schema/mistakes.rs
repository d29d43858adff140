//! Every mistake at once, each with its place. The golden texts lie beside this file.

use natbox::plan::Plan;

use super::golden::golden;

const BAD: &str = include_str!("bad.yaml");

/// The mistakes of a text as `line:column message`.
fn told(text: &str) -> Vec<String> {
    let mistakes = Plan::from_yaml("lab.yaml", text).expect_err("a mistake");
    mistakes.list.iter().map(|mistake| format!("{}:{} {}", mistake.line, mistake.column, mistake.message)).collect()
}

#[test]
fn one_bad_file_tells_all_its_mistakes_as_the_golden_text_has_them() {
    let told = Plan::from_yaml("bad.yaml", BAD).expect_err("mistakes").to_string();
    golden("tests/schema/bad.txt", told.as_bytes());
}

#[test]
fn every_line_of_the_bad_file_that_says_so_has_a_mistake_and_no_other_has() {
    let mistakes = Plan::from_yaml("bad.yaml", BAD).expect_err("mistakes");
    let marked: Vec<u32> =
        (1..).zip(BAD.lines()).filter(|(_, line)| line.contains("# bad")).map(|(number, _)| number).collect();
    let mut told: Vec<u32> = mistakes.list.iter().map(|mistake| mistake.line).collect();
    told.dedup();
    assert_eq!(told, marked);
}

#[test]
fn text_that_is_no_yaml_is_one_mistake_with_its_place() {
    for (text, place) in [("nats: [1\nhosts: {}\n", "2:6"), ("nats: {a: b\n", "1:7"), ("a: 'x\n", "2:1")] {
        let told = told(text);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with(place) && told[0].contains("not YAML"), "{told:?}");
    }
}

#[test]
fn a_file_beyond_the_limits_is_refused_for_that() {
    let long = format!("name: {}", "x".repeat(2 << 20));
    assert_eq!(told(&long), ["1:1 the file is too large: 2097158 bytes"]);
    let deep: String = (0..50).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    assert_eq!(told(&deep), ["33:33 nested too deeply"]);
    let chain: String = (1..70).map(|index| format!("  n{index}: {{ behind: n{} }}\n", index - 1)).collect();
    let told = told(&format!("nats:\n  n0: {{}}\n{chain}"));
    assert_eq!(told, ["63:18 `n61` is more than 60 NATs deep"]);
}

#[test]
fn a_file_full_of_mistakes_tells_the_first_two_hundred_and_counts_the_rest() {
    let text: String = (0..1000).map(|index| format!("key{index}: 1\n")).collect();
    let mistakes = Plan::from_yaml("lab.yaml", &text).expect_err("mistakes");
    assert_eq!((mistakes.list.len(), mistakes.more), (200, 800));
    assert!(mistakes.to_string().ends_with("and 800 more\n"));
}

#[test]
fn a_key_of_yaml_one_point_one_is_an_unknown_key() {
    let told = told("base: &base { behind: home }\nhosts: { a: { <<: *base } }\n");
    assert_eq!(told, ["1:1 unknown key `base`", "2:15 unknown key `<<`"]);
}

#[test]
fn a_step_over_ipv6_needs_a_lab_with_ipv6() {
    let told = told(
        "hosts:
  a: {}
  b: {}
  s: { services: [stun, turn, rendezvous] }
scenario:
  - discover: { from: a, family: ipv6 }
  - punch: { from: a, to: b, family: ipv6 }
  - connect: { from: a, to: b, family: ipv6 }
  - call: { from: a, to: b, family: ipv6 }
  - connect: { from: a, to: b, family: ipv4 }
  - connect: { from: a, to: b, family: v6 }
",
    );
    let none = "`family: ipv6` in a lab without IPv6";
    let expected = [
        format!("6:34 {none}"),
        format!("7:38 {none}"),
        format!("8:40 {none}"),
        format!("9:37 {none}"),
        "11:40 unknown address family `v6`".to_owned(),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_link_too_narrow_for_ipv6_is_refused_in_a_lab_that_has_it() {
    let lab = |internet: &str, mtu: u32| {
        format!(
            "internet: {{ {internet} }}\nnats: {{ n: {{ link: {{ mtu: {mtu} }} }} }}\nhosts: {{ h: {{ behind: n, link: {{ mtu: {mtu} }} }} }}\n"
        )
    };
    let dual = "prefix6: '2001:db8::/32'";
    let message = "`mtu: 1279` in a lab with IPv6";
    assert_eq!(told(&lab(dual, 1279)), [format!("2:27 {message}"), format!("3:39 {message}")]);
    assert!(Plan::from_yaml("lab.yaml", &lab(dual, 1280)).is_ok());
    assert!(Plan::from_yaml("lab.yaml", &lab("latency: 1ms", 68)).is_ok());
    assert_eq!(told(&lab(dual, 40)).len(), 2, "too narrow for anything is one mistake");
}

#[test]
fn every_line_break_of_yaml_counts_and_the_line_is_shown() {
    let mistakes =
        Plan::from_yaml("lab.yaml", "seed: 1\r# no break but a return\r\nspeed: 5\rname: x\n").expect_err("a mistake");
    assert_eq!((mistakes.list.len(), mistakes.list[0].line), (1, 3));
    assert!(mistakes.to_string().contains("3 | speed: 5\n"), "{mistakes}");
}
