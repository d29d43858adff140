//! What cells come to: the prediction, determinism, the fields of the JSON.

use natbox::nat::behavior::{FilterScope, Filtering, Mapping, Reach, SessionAffinity};
use natbox::nat::preset;
use natbox::wire::Word;
use serde_json::Value;

use super::lab::Lab;
use super::predict::{Class, Semantics, can_punch};
use super::{cells, matrix, paths, run};

/// The class of a side by its axes, not by its name.
fn class(side: &Value) -> Class {
    let word = |axis: &str| side[axis].as_str().unwrap().to_owned();
    (Mapping::from_word(&word("mapping")).unwrap(), Filtering::from_word(&word("filtering")).unwrap())
}

fn agree_with_the_prediction(scope: FilterScope, affinity: SessionAffinity) {
    let options =
        ["--filter-scope", scope.as_str(), "--session-affinity", affinity.as_str(), "--techniques", "punch,connect"];
    let document = matrix(&Lab::new(), &options);
    assert_eq!(document["semantics"]["filter_scope"], scope.as_str());
    assert_eq!(document["semantics"]["session_affinity"], affinity.as_str());
    assert_eq!(document["semantics"]["peer_reflexive"], "on");
    assert_eq!(cells(&document).len(), 2 * 81);
    let semantics = Semantics { filter_scope: scope, session_affinity: affinity, peer_reflexive: true };
    for cell in cells(&document) {
        assert_eq!(
            (&cell["a"]["filter_scope"], &cell["b"]["session_affinity"]),
            (&scope.as_str().into(), &affinity.as_str().into())
        );
        let otherwise = if cell["technique"] == "connect" { "relayed" } else { "none" };
        let path = if can_punch(class(&cell["a"]), class(&cell["b"]), semantics) { "punched" } else { otherwise };
        assert_eq!(cell["path"], path, "{} {} {semantics:?}", cell["a"]["name"], cell["b"]["name"]);
    }
}

#[test]
fn all_81_pairs_punch_or_fall_back_to_the_relay_as_predicted_under_each_of_the_four_semantics() {
    for scope in FilterScope::ALL {
        for affinity in SessionAffinity::ALL {
            agree_with_the_prediction(*scope, *affinity);
        }
    }
}

#[test]
fn a_cell_has_the_axes_of_both_sides_under_their_keys_of_topology_files_and_what_came_of_it() {
    let document = matrix(&Lab::new(), &["--nats", "symmetric"]);
    let keys: Vec<&str> = document.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!((keys, &document["natbox"]), (vec!["cells", "natbox", "semantics"], &Value::from(1)));
    let [cell] = cells(&document).as_slice() else { panic!("{document}") };
    let keys: Vec<&str> = cell.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["a", "b", "elapsed_ns", "expected", "ok", "packets", "path", "reasons", "seed", "technique"]);
    assert_eq!((&cell["path"], &cell["ok"], &cell["expected"]), (&"relayed".into(), &true.into(), &Value::Null));
    assert_eq!((&cell["technique"], &cell["seed"]), (&"connect".into(), &0.into()));
    assert!(cell["elapsed_ns"].as_u64().unwrap() > 1_000_000_000 && cell["packets"].as_u64().unwrap() > 50, "{cell}");
    let side = &cell["a"];
    assert_eq!(side, &cell["b"]);
    assert_eq!(
        (&side["name"], &side["type"], &side["addresses"]),
        (&"symmetric".into(), &"symmetric".into(), &1.into())
    );
    assert_eq!((&side["mapping"], &side["link"]["latency"]), (&"address-and-port-dependent".into(), &"10ms".into()));
    let preset = preset::find("symmetric").unwrap();
    for (axis, word) in preset.behavior.axes() {
        let shown = axis.split('.').fold(side, |at, key| &at[key]);
        let empty = word == "none" && shown.is_null();
        assert!(empty || !shown.is_null(), "{axis}");
    }
    let reasons: Vec<&str> =
        cell["reasons"].as_array().unwrap().iter().map(|reason| reason.as_str().unwrap()).collect();
    assert!(reasons.iter().any(|reason| reason.contains("dropped at home-b: filtered")), "{reasons:?}");
}

#[test]
fn every_output_is_the_same_on_any_number_of_cores() {
    let lab = Lab::new();
    let options = ["--nats", "symmetric,cgn,classes", "--seeds", "3", "--loss", "10%", "--jitter", "5ms"];
    let outputs = |jobs: &str| {
        let files = ["json", "html", "xml", "md", "csv", "txt"].map(|extension| format!("{jobs}.{extension}"));
        let named: Vec<&str> = files.iter().flat_map(|file| ["-o", file]).collect();
        let said = run(&lab, &[&options[..], &["--jobs", jobs], &named].concat());
        assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "", ""));
        files.map(|file| lab.read(&file))
    };
    let one = outputs("1");
    assert_eq!(one, outputs("2"));
    assert_eq!(one, outputs("7"));
    assert_eq!(one[0], run(&lab, &[&options[..], &["--format", "json"]].concat()).out);
}

#[test]
fn a_cell_alone_comes_to_the_same_as_in_the_middle_of_others() {
    let lab = Lab::new();
    let all = matrix(
        &lab,
        &["--nats", "symmetric,full-cone,cgn", "--techniques", "punch,connect", "--seeds", "4", "--loss", "20%"],
    );
    let two = matrix(&lab, &["--nats", "cgn,symmetric", "--techniques", "punch", "--seed", "3", "--loss", "20%"]);
    let wanted = |cell: &&Value| cell["a"]["name"] == "cgn" && cell["b"]["name"] == "symmetric";
    let here = cells(&two).iter().find(wanted).unwrap();
    let there =
        cells(&all).iter().filter(wanted).find(|cell| cell["technique"] == "punch" && cell["seed"] == 3).unwrap();
    assert_eq!(here, there);
}

#[test]
fn every_preset_takes_part_and_every_cell_of_connect_comes_to_a_path() {
    let presets = preset::all();
    let said = run(&Lab::new(), &["--nats", "all", "--format", "csv"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(said.out.lines().count(), 1 + presets.len() * presets.len());
    let blocks = |name: &str| preset::find(name).unwrap().behavior.outbound.udp != Reach::All;
    for row in csv::Reader::from_reader(said.out.as_bytes()).records() {
        let row = row.unwrap();
        // Who may send no UDP, or only to some ports, needs another way than these techniques have.
        assert!(&row[9] != "none" || blocks(&row[0]) || blocks(&row[1]), "{row:?}");
    }
}

#[test]
fn sides_without_translation_talk_directly() {
    let document = matrix(&Lab::new(), &["--nats", "none,symmetric", "--techniques", "connect"]);
    assert_eq!(paths(&document), ["direct", "reversed", "direct", "relayed"]);
}

/// Where UDP is blocked, and where little more than the relay's TLS leaves.
#[test]
fn techniques_over_tcp_have_cells_on_networks_that_block_udp() {
    let lab = Lab::new();
    lab.write(
        "walls.yaml",
        "nats:\n  open: port-restricted-cone\n  shut: { type: symmetric, outbound: { udp: off } }\n  \
         wall: { type: symmetric, outbound: { udp: off, tcp: [443, 3490] } }\n",
    );
    let blocked = |technique: &str| {
        let document = matrix(&lab, &["--nats", "walls.yaml", "--techniques", technique]);
        paths(&document).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let [p, r, none] = ["punched", "relayed", "none"];
    assert_eq!(blocked("turn"), [r, none, none, none, none, none, none, none, none]);
    assert_eq!(blocked("turn-tcp"), [r, r, none, r, r, none, none, none, none]);
    for technique in ["turn-tls", "turn-tcp-allocation"] {
        assert_eq!(blocked(technique), [r; 9], "{technique}");
    }
    for technique in ["connect", "ice-tcp"] {
        assert_eq!(blocked(technique), [p, r, r, r, r, r, r, r, r], "{technique}");
    }
}
