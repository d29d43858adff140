//! Bad input: a clear error with its place, exit code 2, and nothing written.

use super::lab::Lab;
use super::run;

#[test]
fn each_bad_file_is_a_clear_error_with_line_and_column() {
    let lab = Lab::new();
    for (text, place, message) in [
        ("nats:\n  symetric: 100%\n", "2:3", "did you mean `symmetric`?"),
        ("nats:\n  home: 100%\n", "2:3", "no preset is called `home`"),
        ("nats:\n  a: { share: 100%, type: symetric }\n", "2:27", "`symetric`: did you mean `symmetric`?"),
        (
            "nats:\n  a: { share: 100%, type: endpoint-independent/adress-dependent }\n",
            "2:27",
            "did you mean `address-dependent`?",
        ),
        ("nats:\n  a: { share: 100%, filtring: address-dependent }\n", "2:21", "did you mean `filtering`?"),
        ("nats:\n  a: { share: 100%, hairpin: sometimes }\n", "2:30", "unknown hairpinning `sometimes`"),
        ("nats:\n  symmetric: 11%\n  full-cone: 88%\n", "3:14", "the shares are 99% together"),
        ("nats:\n  symmetric: 110%\n", "2:14", "more than `100%`"),
        ("nats:\n  symmetric: 11%\n  full-cone: 88\n", "3:14", "a count beside shares"),
        ("nats:\n  symmetric: 3\n  full-cone: 8%\n", "3:14", "a share beside counts"),
        ("nats:\n  symmetric: 0\n", "2:14", "`0` is not allowed here"),
        ("nats:\n  symmetric: -5%\n", "2:14", "`-5%` is not allowed here"),
        ("nats: {}\n", "1:7", "the population is empty"),
        ("nats:\n", "1:5", "the population is empty"),
        ("seed: 1\n", "1:1", "`nats` is missing"),
        ("", "1:1", "the file is empty"),
        ("nats:\n  a: { type: symmetric }\n", "2:3", "the population is empty"),
        ("nats:\n  symmetric: 100%\n  b: { type: cgn }\n", "3:3", "`b` has no share, and no other NAT is behind it"),
        ("nats:\n  a: { share: 100%, behind: nobody }\n", "2:29", "nobody"),
        ("nats:\n  a: { share: 100%, behind: a }\n", "2:29", "`a` is behind itself"),
        ("nats:\n  a: { share: 100%, link: { loss: 5 } }\n", "2:35", "a number without a unit"),
        ("technique: telepathy\nnats: { symmetric: 1 }\n", "1:12", "unknown technique `telepathy`"),
        ("technique: punch\nprocedure: nat-check\nnats: { symmetric: 1 }\n", "2:12", "`procedure` beside `technique`"),
        ("procedure: nat-chek\nnats: { symmetric: 1 }\n", "1:12", "did you mean `nat-check`?"),
        ("procedure: nat-check\nfailure: 5%\nnats: { symmetric: 1 }\n", "2:10", "`failure` means nothing here"),
        ("nats: { a: { share: 1, tests: [udp] } }\n", "1:31", "`tests` means nothing here"),
        ("draws: 0\nnats: { symmetric: 1 }\n", "1:8", "`0` is not allowed here"),
        ("draws: 1000000000\nnats: { symmetric: 1 }\n", "1:8", "a whole number of draws, 1 to 100000000"),
        ("failure: 8\nnats: { symmetric: 1 }\n", "1:10", "a number without a unit"),
        (
            "nats: { symmetric: 1 }\npublished: { pairs: [{ from: symetric, to: symmetric, success: 1% }] }\n",
            "2:30",
            "did you mean `symmetric`?",
        ),
        ("nats: { symmetric: 1 }\npublished: { counts: { group: All, udp: 5/4 } }\n", "2:41", "more than there are"),
        ("nats: { symmetric: 1\n", "1:7", "not YAML"),
        ("nats: { symmetric: 1, symmetric: 2 }\n", "1:23", "`symmetric` stands here a second time"),
    ] {
        lab.write("p.yaml", text);
        let before = lab.files();
        let said = run(&lab, &["p.yaml", "-o", "out.json"]);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{text}: {said:?}");
        assert!(said.err.contains(message), "{text}: {}", said.err);
        assert!(said.err.contains(&format!("--> p.yaml:{place}\n")), "{text}: {}", said.err);
        assert_eq!(lab.files(), before, "{text}");
    }
}

#[test]
fn each_bad_option_is_a_clear_error() {
    let lab = Lab::new();
    lab.write("p.yaml", "nats: { symmetric: 1 }\n");
    let before = lab.files();
    for (options, message) in [
        (&["none.yaml"][..], "error: cannot read none.yaml"),
        (&["p.yaml", "--shard", "0/4"], "error: `0/4` is no part of a sweep: K goes from 1 to 4"),
        (&["p.yaml", "--shard", "5/4"], "error: `5/4` is no part of a sweep: K goes from 1 to 4"),
        (&["p.yaml", "--draws", "0"], "error: 0 draws: 1 to 100000000 can be counted"),
        (&["p.yaml", "--draws", "many"], "error: invalid value 'many' for '--draws <N>'"),
        (&["p.yaml", "--jobs", "0"], "error: invalid value '0' for '--jobs <N>'"),
        (&["p.yaml", "--format", "html"], "error: invalid value 'html' for '--format <FORMAT>'"),
        (&["p.yaml", "-o", "p.yaml"], "error: p.yaml would be overwritten"),
        (&["p.yaml", "-o", "x.json", "-o", "x.json"], "error: x.json would be overwritten"),
        (&["p.yaml", "--draws", "1", "-o", "no/such/x.json"], "error: cannot write no/such/x.json"),
        (&[], "<FILE>"),
    ] {
        let said = run(&lab, options);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{options:?}: {said:?}");
        assert!(said.err.contains(message), "{options:?}: {}", said.err);
        assert_eq!(lab.files(), before, "{options:?}");
    }
}

#[test]
fn parts_that_are_missing_twice_there_cut_short_or_foreign_are_refused() {
    let lab = Lab::new();
    lab.write("p.yaml", "draws: 30\nnats: { symmetric: 1, full-cone: 2 }\n");
    for part in ["1/3", "2/3", "3/3"] {
        run(&lab, &["p.yaml", "--shard", part, "-o", &format!("part-{}.json", &part[..1])]);
    }
    run(&lab, &["p.yaml", "-o", "whole.json"]);
    run(&lab, &["p.yaml", "--seed", "1", "--shard", "2/3", "-o", "foreign.json"]);
    run(&lab, &["p.yaml", "--shard", "2/4", "-o", "quarter.json"]);
    let two = lab.read("part-2.json");
    lab.write("cut.json", &two[..two.len() / 2]);
    lab.write("version.json", &two.replacen("\"version\":\"", "\"version\":\"9.", 1));
    lab.write("far.json", &two.replacen("{\"index\":2,\"of\":3}", "{\"index\":7,\"of\":3}", 1));
    let mut fewer: serde_json::Value = serde_json::from_str(&two).unwrap();
    fewer["pairs"].as_array_mut().unwrap().pop();
    lab.write("fewer.json", &fewer.to_string());
    let first = two.rfind("\"paths\":{\"").unwrap();
    lab.write("path.json", &format!("{}{}", &two[..first], two[first..].replacen("paths\":{\"", "paths\":{\"un", 1)));
    lab.write("matrix.json", "{ \"natbox\": 1, \"semantics\": {}, \"cells\": [] }\n");
    let before = lab.files();
    let (one, three) = ("part-1.json", "part-3.json");
    for (parts, message) in [
        (&[one, three][..], "part 2 of 3 is missing"),
        (&[one, "part-2.json", one, three], "part-1.json and part-1.json are the same part: 1 of 3"),
        (&[one, "cut.json", three], "cut.json: it is cut short: the end is missing"),
        (&[one, "version.json", three], "version.json: it was written by natbox 9."),
        (&[one, "far.json", three], "far.json: there is no such part"),
        (&[one, "fewer.json", three], "it is not whole"),
        (&[one, "path.json", three], "path.json: pair "),
        (&[one, "matrix.json", three], "matrix.json: this is no population of `natbox population --format json`"),
        (&[one, "foreign.json", three], "foreign.json is a part of another run than part-1.json"),
        (&[one, "quarter.json", three], "quarter.json is a part of another run than part-1.json"),
        (&[one, "whole.json", three], "whole.json is a part of another run than part-1.json"),
        (&["whole.json", one], "whole.json is a whole population: part-1.json cannot be joined to it"),
        (&["whole.json", "--format", "junit"], "a population is reported as text, json or markdown"),
        (&["whole.json", "--expect", "x.json"], "--expect is for matrices"),
        (&["whole.json", "-o", "whole.json"], "whole.json would be overwritten"),
    ] {
        let said = lab.run(&[&["report"], parts].concat());
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{parts:?}: {said:?}");
        assert!(said.err.contains(message), "{parts:?}: {}", said.err);
        assert_eq!(lab.files(), before, "{parts:?}");
    }
    let said = lab.run(&["report", three, one, "part-2.json", "--format", "json"]);
    assert_eq!((said.code, said.out), (0, lab.read("whole.json")));
}
