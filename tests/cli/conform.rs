//! `natbox conform`.

use serde_json::Value;

use super::lab::Lab;

#[test]
fn the_exit_code_says_whether_every_must_is_met() {
    let lab = Lab::new();
    let good = lab.run(&["conform", "rfc4787", "--rfc", "5382"]);
    assert_eq!((good.code, good.err.as_str()), (0, ""), "{}", good.out);
    let bad = lab.run(&["conform", "symmetric", "--rfc", "5382"]);
    assert_eq!((bad.code, bad.err.as_str()), (1, ""), "{}", bad.out);
    assert!(bad.out.contains("was 198.51.100.1:"), "it says what was observed: {}", bad.out);
}

#[test]
fn quiet_says_only_what_is_violated() {
    let said = Lab::new().run(&["conform", "--quiet", "symmetric", "--rfc", "5382"]);
    assert!(said.out.contains("RFC5382 REQ-8 ") && !said.out.contains("RFC5382 REQ-5"), "{}", said.out);
}

#[test]
fn the_report_is_also_json_and_markdown() {
    let lab = Lab::new();
    let json: Value =
        serde_json::from_str(&lab.run(&["conform", "symmetric", "--rfc", "5382", "--format", "json"]).out).unwrap();
    assert_eq!((&json["natbox"], &json["nat"], &json["ok"]), (&1.into(), &"symmetric".into(), &false.into()));
    let first = &json["requirements"][0];
    assert_eq!((&first["id"], &first["level"]), (&"RFC5382 REQ-1".into(), &"MUST".into()));
    assert_eq!(first["verdict"], "violated");
    assert!(first["observed"].is_string());
    let markdown = lab.run(&["conform", "symmetric", "--rfc", "5382", "--format", "markdown"]).out;
    assert!(markdown.contains("| RFC5382 REQ-1 | MUST | endpoint-independent mapping | **violated** |"), "{markdown}");
}

#[test]
fn a_nat_of_a_file_is_named_after_a_colon() {
    let lab = Lab::new();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/topologies/two-homes.yaml");
    let said = lab.run(&["conform", &format!("{file}:home-a"), "--rfc", "5382"]);
    assert!(said.code < 2 && said.out.contains("RFC5382 REQ-2a"), "{said:?}");
    let stranger = lab.run(&["conform", &format!("{file}:home-z")]);
    assert_eq!((stranger.code, stranger.out.as_str()), (2, ""));
    assert!(stranger.err.contains("has no NAT `home-z`; it has: home-a"), "{}", stranger.err);
}

#[test]
fn what_is_not_there_exits_2() {
    let lab = Lab::new();
    let near = lab.run(&["conform", "symetric"]);
    assert_eq!(
        (near.code, near.err.as_str()),
        (2, "error: no preset is called `symetric`; did you mean `symmetric`?\n")
    );
    let rfc = lab.run(&["conform", "symmetric", "--rfc", "791"]);
    assert_eq!(rfc.code, 2);
    assert!(rfc.err.starts_with("error: RFC 791 is not judged; known: 4787"), "{}", rfc.err);
}
