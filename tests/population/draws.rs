//! Who is drawn, what comes of it, and parts.

use proptest::prelude::*;

use natbox::matrix::Shard;
use natbox::population::{Census, Population, join, read};

use super::lab::Lab;
use super::{population, run};

/// Every way that a draw can go, with chance in its links.
const MIXED: &str = "
name: mixed
draws: 60
failure: 10%
together: 10%
link: { loss: 5%, jitter: 5ms }
nats:
  symmetric: 25%
  full-cone: { share: 25%, failure: 0% }
  home: { share: 30%, behind: carrier, group: two, type: endpoint-independent/address-dependent }
  flat: { share: 20%, behind: carrier, group: two, hairpin: external-source }
  carrier: { type: cgn, link: { latency: 20ms } }
";

fn mixed() -> Population {
    Population::from_yaml("mixed.yaml", MIXED).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn census(population: &Population, jobs: usize) -> Census {
    population.run(jobs.try_into().ok(), &|_| {}).unwrap()
}

#[test]
fn any_number_of_jobs_comes_to_the_same_document() {
    let one = census(&mixed(), 1).to_json();
    for jobs in [2, 3, 16] {
        assert!(census(&mixed(), jobs).to_json() == one, "{jobs} jobs");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, ..ProptestConfig::default() })]

    #[test]
    fn parts_of_any_number_in_any_order_join_to_the_whole(parts in 1_usize..7, seed in any::<u64>(), draws in 1_u64..30) {
        let all = mixed().seed(seed).draws(draws).unwrap();
        let whole = census(&all, 2);
        let mut read_back = Vec::new();
        for part in (1..=parts).rev() {
            let shard = Shard::parse(&format!("{part}/{parts}")).unwrap();
            let json = census(&all.clone().shard(shard), 1 + part % 2).to_json();
            read_back.push((format!("part-{part}"), read("part", &json).unwrap()));
        }
        let joined = join(read_back).unwrap();
        prop_assert_eq!(joined.to_json(), whole.to_json());
        prop_assert_eq!(&joined, &whole);
    }
}

#[test]
fn figures_are_those_that_follow_from_the_definitions() {
    let text = |draws| {
        format!(
            "draws: {draws}\nnats:\n  symmetric: 11%\n  others: {{ share: 89%, type: endpoint-independent/address-and-port-dependent }}\n"
        )
    };
    let census = census(&Population::from_yaml("p.yaml", &text(1000)).unwrap(), 2);
    let all = census.figures(|_, _| true);
    let (low, high) = all.share().interval();
    assert!((low..=high).contains(&0.7921), "{low} to {high}");
    let success = |a: &str, b: &str| census.figures(|from, to| from == a && to == b).share();
    assert!(success("others", "others").value() > 0.999_9 && success("symmetric", "others").connected == 0);
    assert_eq!(success("symmetric", "symmetric").connected, 0);
    // How often each pair is drawn: within five standard errors of its share.
    for (a, b, share) in
        [("symmetric", "others", 0.0979), ("symmetric", "symmetric", 0.0121), ("others", "others", 0.7921)]
    {
        let (drawn, due) = (success(a, b).runs as f64, 1000.0 * share);
        assert!((drawn - due).abs() < 5.0 * due.sqrt(), "{a} to {b}: {drawn}, due {due}");
    }
}

#[test]
fn sides_that_are_shut_talk_to_nobody_and_a_relay_is_no_success() {
    let lab = Lab::new();
    for (technique, word) in [("punch", "none"), ("connect", "relayed")] {
        lab.write(
            "p.yaml",
            &format!("technique: {technique}\nnats: {{ full-cone: 50%, shut: {{ share: 50%, failure: 100% }} }}\n"),
        );
        let document = population(&lab, &["p.yaml", "--draws", "40"]);
        for pair in document["pairs"].as_array().unwrap() {
            let word = match (pair["a"] == "shut", pair["b"] == "shut") {
                (false, false) => "punched",
                // Where the callee is shut, from its own relay to the caller's: the caller's lends a port that it does not reach.
                (_, _) => word,
            };
            assert_eq!(pair["counts"]["paths"][word], pair["counts"]["draws"], "{technique}: {pair}");
        }
        let open = document["success"]["paths"]["punched"].as_u64();
        assert_eq!(document["success"]["without_relay"].as_u64(), open, "{technique}");
    }
    // Half of the sides: a pair succeeds if neither is.
    lab.write("p.yaml", "failure: 50%\nnats: { full-cone: 50%, restricted-cone: 50% }\n");
    let document = population(&lab, &["p.yaml", "--draws", "100"]);
    for pair in document["pairs"].as_array().unwrap() {
        let counts = &pair["counts"];
        let open = counts["draws"].as_u64().unwrap() - counts["shut"].as_u64().unwrap();
        assert_eq!(counts["paths"]["punched"].as_u64(), Some(open), "{pair}");
    }
}

#[test]
fn hosts_behind_one_carrier_need_its_hairpinning() {
    let lab = Lab::new();
    for (hairpin, path) in [("off", "none"), ("external-source", "hairpinned")] {
        lab.write(
            "p.yaml",
            &format!(
                "together: 100%\nnats:\n  home: {{ share: 100%, behind: carrier, type: endpoint-independent/address-dependent }}\n  carrier: {{ type: cgn, hairpin: {hairpin} }}\n"
            ),
        );
        let document = population(&lab, &["p.yaml", "--draws", "20"]);
        let paths = document["success"]["paths"].as_object().unwrap();
        assert_eq!(paths.keys().collect::<Vec<_>>(), [path], "{hairpin}");
        assert_eq!(document["pairs"][0]["counts"]["together"], 20);
    }
}

#[test]
fn the_common_link_is_every_nat_s_but_where_its_own_says_otherwise() {
    let population = mixed();
    let link = |name: &str| {
        let kind = population.about().kinds.iter().find(|kind| kind.name == name).unwrap();
        let mut nat = kind.nat.clone();
        while let Some(outer) = nat.get("behind") {
            nat = outer.clone();
        }
        (nat["link"]["loss"].clone(), nat["link"]["latency"].clone())
    };
    assert_eq!(link("symmetric"), ("5%".into(), "10ms".into()));
    assert_eq!(link("home"), ("5%".into(), "20ms".into()));
}

#[test]
fn a_population_that_is_read_again_is_shown_as_when_it_was_run() {
    let lab = Lab::new();
    lab.write("mixed.yaml", MIXED);
    let said = run(&lab, &["mixed.yaml", "--draws", "40", "-o", "m.json", "-o", "m.txt", "-o", "m.md"]);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "", ""));
    for (format, file) in [("text", "m.txt"), ("markdown", "m.md"), ("json", "m.json")] {
        let said = lab.run(&["report", "m.json", "--format", format]);
        assert_eq!((said.code, said.out), (0, lab.read(file)), "{format}");
    }
    let said = run(&lab, &["mixed.yaml", "--draws", "40", "--quiet"]);
    assert!(said.out.contains("success without a relay") && !said.out.contains("callers in rows"), "{}", said.out);
}
