//! Sweeps in parts.

use super::lab::Lab;
use super::{cells, run};

const OPTIONS: [&str; 8] =
    ["--nats", "symmetric,full-cone,cgn", "--techniques", "punch,connect", "--seeds", "3", "--loss", "10%"];

/// A folder with the parts of a sweep, and the whole.
fn parted(parts: usize) -> (Lab, Vec<String>) {
    let lab = Lab::new();
    let names: Vec<String> = (1..=parts).map(|part| format!("part-{part}.json")).collect();
    for (part, name) in (1..).zip(&names) {
        let shard = format!("{part}/{parts}");
        let said = run(&lab, &[&OPTIONS[..], &["--shard", &shard, "-o", name]].concat());
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{shard}");
    }
    run(&lab, &[&OPTIONS[..], &["-o", "whole.json"]].concat());
    (lab, names)
}

fn report(lab: &Lab, parts: &[&str], options: &[&str]) -> super::Said {
    lab.run(&[&["report"], parts, options].concat())
}

#[test]
fn parts_in_any_order_join_to_the_byte_of_the_whole() {
    for count in [1, 5, 40] {
        let (lab, names) = parted(count);
        let mut parts: Vec<&str> = names.iter().map(String::as_str).collect();
        parts.reverse();
        let said = report(&lab, &parts, &["-o", "joined.json"]);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{count} parts");
        assert!(lab.read("joined.json") == lab.read("whole.json"), "{count} parts");
    }
}

#[test]
fn what_is_joined_can_be_written_in_every_format_as_if_it_had_been_run_at_once() {
    let (lab, names) = parted(4);
    let outputs = |name: &str| ["html", "xml", "csv", "md", "txt"].map(|extension| format!("{name}.{extension}"));
    let written = |files: &[String; 5]| files.each_ref().map(|file| lab.read(file));
    let (joined, whole) = (outputs("joined"), outputs("again"));
    let options =
        |files: &[String; 5]| files.iter().flat_map(|file| ["-o".to_owned(), file.clone()]).collect::<Vec<_>>();
    let (to_joined, to_whole) = (options(&joined), options(&whole));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    report(&lab, &names, &to_joined.iter().map(String::as_str).collect::<Vec<_>>());
    let to_whole: Vec<&str> = to_whole.iter().map(String::as_str).collect();
    run(&lab, &[&OPTIONS[..], &to_whole].concat());
    assert!(written(&joined) == written(&whole));
}

#[test]
fn every_cell_is_in_one_part_with_all_its_seeds_and_parts_are_of_equal_size() {
    let (lab, names) = parted(4);
    let sizes: Vec<usize> = names
        .iter()
        .map(|name| {
            let part: serde_json::Value = serde_json::from_str(&lab.read(name)).unwrap();
            let of = cells(&part).chunk_by(|one, next| {
                one["b"] == next["b"] && one["a"] == next["a"] && one["technique"] == next["technique"]
            });
            of.for_each(|seeds| assert_eq!(seeds.len(), 3));
            cells(&part).len()
        })
        .collect();
    assert_eq!(sizes, [15, 15, 12, 12]);
}

#[test]
fn a_whole_matrix_can_be_shown_again_in_another_format() {
    let (lab, _) = parted(1);
    let table = run(&lab, &OPTIONS).out;
    assert_eq!(report(&lab, &["whole.json"], &[]).out, table);
    assert_eq!(report(&lab, &["whole.json"], &["--format", "json"]).out, lab.read("whole.json"));
}

#[test]
fn parts_that_are_missing_twice_there_cut_short_or_foreign_are_refused() {
    let (lab, names) = parted(3);
    let [one, two, three] = [names[0].as_str(), names[1].as_str(), names[2].as_str()];
    let whole = lab.read(two);
    lab.write("cut.json", &whole[..whole.len() / 2]);
    let mut fewer: serde_json::Value = serde_json::from_str(&whole).unwrap();
    fewer["cells"].as_array_mut().unwrap().pop();
    lab.write("fewer.json", &fewer.to_string());
    lab.write("axis.json", &whole.replacen("\"hairpin\":\"", "\"hairpin\":\"in", 1));
    lab.write("other-nat.json", &whole.replace("\"pooling\":\"paired\"", "\"pooling\":\"arbitrary\""));
    lab.write("version.json", &whole.replacen("\"version\":\"", "\"version\":\"9.", 1));
    lab.write("shape.json", &whole.replacen("\"natbox\": 1", "\"natbox\": 2", 1));
    lab.write("far.json", &whole.replacen("{\"index\":2,\"of\":3}", "{\"index\":7,\"of\":3}", 1));
    lab.write("text.json", "no JSON at all\n");
    lab.write("run.json", "{ \"natbox\": 1, \"ok\": true }\n");
    run(
        &lab,
        &[
            "--nats",
            "symmetric,full-cone,cgn",
            "--techniques",
            "punch,connect",
            "--seeds",
            "3",
            "--shard",
            "2/3",
            "-o",
            "foreign.json",
        ],
    );
    run(&lab, &[&OPTIONS[..], &["--shard", "2/4", "-o", "quarter.json"]].concat());
    let before = lab.files();
    for (parts, message) in [
        (&[one, three][..], "part 2 of 3 is missing"),
        (&[one], "part 2, 3 of 3 is missing"),
        (&[one, two, one, three], "part-1.json and part-1.json are the same part: 1 of 3"),
        (&[one, "cut.json", three], "cut.json: it is cut short: the end is missing"),
        (&[one, "fewer.json", three], "fewer.json: it has 17 cells, and announces 18: it is not whole"),
        (&[one, "axis.json", three], "axis.json: cell "),
        (&[one, "other-nat.json", three], "has other axes than that of the other parts"),
        (&[one, "version.json", three], "version.json: it was written by natbox 9."),
        (&[one, "shape.json", three], "(shape 2)"),
        (&[one, "far.json", three], "far.json: it has 18 cells, and announces 0"),
        (&[one, "text.json", three], "text.json: this is no matrix of `natbox matrix --format json`"),
        (&[one, "run.json", three], "run.json: this is no matrix of `natbox matrix --format json`"),
        (
            &[one, "foreign.json", three],
            "foreign.json is a part of another sweep than part-1.json: link.loss: nothing there, 10% here",
        ),
        (&[one, "quarter.json", three], "it is cut into another number of parts"),
        (&[one, "whole.json", three], "whole.json is a part of another sweep"),
        (&["whole.json", one], "whole.json is a whole matrix: part-1.json cannot be joined to it"),
        (&["none.json"], "cannot read none.json"),
    ] {
        let said = report(&lab, parts, &["-o", "joined.json"]);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{parts:?}: {said:?}");
        assert!(said.err.contains(message), "{parts:?}: {message}: {}", said.err);
    }
    assert_eq!(lab.files(), before, "nothing half-written");
}
