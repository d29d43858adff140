//! What `inspect` shows of a capture.

use natbox::capture::{Filter, Format, InspectError, inspect, text};
use natbox::paint::Paint;
use natbox::record::Limits;
use natbox_wire::DropReason;
use serde_json::Value;

use super::round_trip::captured;
use super::scene::walk;

fn shown(filter: &Filter, format: Format) -> Result<String, InspectError> {
    let bytes = captured(&walk(Limits::CAPTURE));
    let mut out = Vec::new();
    inspect(&|| Ok(&bytes[..]), filter, format, Paint::PLAIN, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn packets(filter: &Filter) -> Vec<u64> {
    let document: Value = serde_json::from_str(&shown(filter, Format::Json).unwrap()).unwrap();
    document["packets"].as_array().unwrap().iter().map(|packet| packet["packet"].as_u64().unwrap()).collect()
}

fn filter(set: impl FnOnce(&mut Filter)) -> Filter {
    let mut filter = Filter::default();
    set(&mut filter);
    filter
}

#[test]
fn a_list_has_one_line_a_packet_and_interface() {
    let text = shown(&Filter::default(), Format::Text).unwrap();
    let expected = "
   0.000000s     p1  alice           out  UDP 10.0.0.2:5000 > 198.18.0.9:7777, 5 bytes     sent by alice
   0.005000s     p1  home-a:inside   in   UDP 10.0.0.2:5000 > 198.18.0.9:7777, 5 bytes     10.0.0.2:5000 -> 198.18.0.3:40001, new mapping #4
   0.005000s     p1  home-a:outside  out  UDP 198.18.0.3:40001 > 198.18.0.9:7777, 5 bytes  10.0.0.2:5000 -> 198.18.0.3:40001, new mapping #4
   0.015000s     p1  relay           in   UDP 198.18.0.3:40001 > 198.18.0.9:7777, 5 bytes  delivered to relay
   0.020000s     p2  relay           out  UDP 198.18.0.9:7778 > 198.18.0.3:40001, 5 bytes  sent by relay
   0.025000s     p2  home-a:outside  in   UDP 198.18.0.9:7778 > 198.18.0.3:40001, 5 bytes  dropped at home-a: filtered (address-and-port-dependent): 198.18.0.9:7778 has not been contacted from #4
   0.030000s     p3  alice           out  UDP 10.0.0.2:5000 > 198.18.0.9:7777, 5 bytes     sent by alice
   0.035000s     p3  home-a:inside   in   UDP 10.0.0.2:5000 > 198.18.0.9:7777, 5 bytes     10.0.0.2:5000 -> 198.18.0.3:40001, mapping #4
   0.035000s     p3  home-a:outside  out  UDP 198.18.0.3:40001 > 198.18.0.9:7777, 5 bytes  dropped on the link of home-a:outside: loss: lost by the link's configured chance
   0.040000s     p4  internet        in   UDP 198.18.0.3:40001 > 10.1.0.2:7000, 5 bytes    dropped at internet: private-destination: 10.1.0.2 is a private address (RFC 1918), which means nothing here
   0.080000s     p5  home-a:outside  in   UDP 198.18.0.9:7777 > 198.18.0.3:40001, 5 bytes  dropped at home-a: no-mapping: 198.18.0.3:40001 was mapping #4, which ended at 0.070s: it was idle for its whole lifetime
   0.090000s     p6  alice                UDP 10.0.0.2:5000 > 203.0.113.1:80, 5 bytes      dropped at alice: no-route: no route to 203.0.113.1
12 lines, 5 dropped: 1 loss, 1 no-route, 1 private-destination, 1 no-mapping, 1 filtered
";
    assert_eq!(text, expected[1..]);
}

#[test]
fn the_text_beside_a_capture_is_the_list_without_its_last_line() {
    let bytes = captured(&walk(Limits::CAPTURE));
    let mut out = Vec::new();
    text(&|| Ok(&bytes[..]), &mut out).unwrap();
    let list = shown(&Filter::default(), Format::Text).unwrap();
    let (lines, _) = list.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(String::from_utf8(out).unwrap().trim_end(), lines);
}

#[test]
fn a_host_filter_follows_its_packets_through_the_nat() {
    assert_eq!(packets(&filter(|f| f.host = Some("alice".to_owned()))), [1, 1, 1, 1, 3, 3, 3, 6]);
    assert_eq!(packets(&filter(|f| f.host = Some("relay".to_owned()))), [1, 1, 1, 1, 2, 2]);
}

#[test]
fn a_nat_filter_shows_what_the_nat_saw() {
    assert_eq!(packets(&filter(|f| f.nat = Some("home-a".to_owned()))), [1, 1, 2, 3, 3, 5]);
}

#[test]
fn a_reason_filter_shows_the_deaths_of_that_reason() {
    assert_eq!(packets(&filter(|f| f.reason = Some(DropReason::Filtered))), [2]);
    assert_eq!(packets(&filter(|f| f.reason = Some(DropReason::LinkCut))), [0_u64; 0]);
}

#[test]
fn a_flow_filter_joins_both_sides_of_the_nat() {
    assert_eq!(packets(&filter(|f| f.flow = Some("alice-relay".to_owned()))), [1, 1, 1, 1, 3, 3, 3]);
    assert_eq!(packets(&filter(|f| f.flow = Some("relay-alice:5000".to_owned()))), [1, 1, 1, 1, 3, 3, 3]);
    assert_eq!(packets(&filter(|f| f.flow = Some("home-a-relay:7778".to_owned()))), [2, 2]);
}

#[test]
fn filters_add_up() {
    let both = filter(|f| {
        f.host = Some("alice".to_owned());
        f.reason = Some(DropReason::Loss);
    });
    assert_eq!(packets(&both), [3]);
}

#[test]
fn a_name_that_is_not_there_is_told_with_what_is() {
    let error = |set: fn(&mut Filter)| shown(&filter(set), Format::Text).unwrap_err().to_string();
    let message = error(|f| f.host = Some("alcie".to_owned()));
    assert_eq!(message, "no host `alcie` in this capture; did you mean `alice`?");
    let message = error(|f| f.nat = Some("alice".to_owned()));
    assert_eq!(message, "no NAT `alice` in this capture; it has home-a");
    let message = error(|f| f.flow = Some("alice".to_owned()));
    assert!(message.starts_with("`alice` is no flow of this capture; expected A-B, two of alice, home-a"), "{message}");
}

#[test]
fn json_says_what_the_list_says() {
    let document: Value = serde_json::from_str(&shown(&Filter::default(), Format::Json).unwrap()).unwrap();
    assert_eq!(document["natbox"], 1);
    let packet = &document["packets"][5];
    let expected = serde_json::json!({
        "time_ns": 25_000_000,
        "packet": 2,
        "interface": "home-a:outside",
        "node": "home-a",
        "direction": "in",
        "protocol": "UDP",
        "source": "198.18.0.9:7778",
        "destination": "198.18.0.3:40001",
        "length_bytes": 33,
        "summary": "UDP 198.18.0.9:7778 > 198.18.0.3:40001, 5 bytes",
        "comment": "dropped at home-a: filtered (address-and-port-dependent): 198.18.0.9:7778 has not been contacted from #4",
        "dropped": { "reason": "filtered", "at": "home-a", "on_link": false },
    });
    assert_eq!(*packet, expected);
    assert_eq!(document["packets"][8]["dropped"]["at"], "home-a:outside");
}

#[test]
fn a_ladder_draws_arrivals_losses_and_deaths() {
    let ladder = shown(&Filter::default(), Format::Ladder).unwrap();
    let lines = ladder.lines().collect::<Vec<_>>();
    let names = lines[0].split_whitespace().collect::<Vec<_>>();
    assert_eq!(names, ["alice", "home-a", "relay", "internet"]);
    assert!(lines[1].contains("|----- p1 UDP ----->|"), "{ladder}");
    assert!(lines[2].contains("|----- p1 UDP ----->|"), "{ladder}");
    assert!(lines[3].contains("|X---- p2 UDP ------|"), "{ladder}");
    assert_eq!(lines[5].matches("p3 UDP").count(), 1, "{ladder}");
    assert!(lines[5].contains("|---- p3 UDP ---x   |"), "{ladder}");
    assert_eq!(lines.len(), 1 + 8, "{ladder}");
}

#[test]
fn colours_mark_deaths_and_new_mappings_only_when_asked_for() {
    let bytes = captured(&walk(Limits::CAPTURE));
    let mut out = Vec::new();
    inspect(&|| Ok(&bytes[..]), &Filter::default(), Format::Text, Paint::COLORED, &mut out).unwrap();
    let colored = String::from_utf8(out).unwrap();
    assert!(colored.contains("\u{1b}[31mdropped at home-a: filtered"), "{colored}");
    assert!(!shown(&Filter::default(), Format::Text).unwrap().contains('\u{1b}'));
}
