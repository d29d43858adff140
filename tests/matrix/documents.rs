//! The formats: what machines read is well-formed, and all say the same.

use quick_xml::Reader;
use quick_xml::events::Event;

use super::lab::Lab;
use super::{cells, matrix, run};

const OPTIONS: [&str; 6] = ["--nats", "symmetric,full-cone", "--techniques", "punch,connect", "--seeds", "2"];

fn printed(format: &str) -> String {
    let said = run(&Lab::new(), &[&OPTIONS[..], &["--format", format]].concat());
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    said.out
}

/// The elements of an XML document that is well-formed: their names, and those of their attributes' values asked for.
fn elements(text: &str, attribute: &str) -> Vec<(String, Option<String>)> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_end_names = true;
    let (mut found, mut open) = (Vec::new(), 0);
    loop {
        let event = reader.read_event().unwrap_or_else(|error| panic!("{error} at {}", reader.buffer_position()));
        match &event {
            Event::Start(element) | Event::Empty(element) => {
                open += usize::from(matches!(event, Event::Start(_)));
                let value = element
                    .attributes()
                    .map(|one| one.expect("an attribute"))
                    .find(|one| one.key.as_ref() == attribute.as_bytes());
                let value = value.map(|one| String::from_utf8(one.value.to_vec()).unwrap());
                found.push((String::from_utf8(element.name().as_ref().to_vec()).unwrap(), value));
            }
            Event::End(_) => open -= 1,
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(open, 0, "every element is closed");
    found
}

#[test]
fn junit_is_well_formed_and_has_a_test_case_a_cell() {
    let text = printed("junit");
    let found = elements(&text, "name");
    let named = |element: &str| {
        found.iter().filter(|(name, _)| name == element).map(|(_, value)| value.clone().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(named("testsuite"), ["punch", "connect"]);
    assert_eq!(named("testcase").len(), 16);
    assert_eq!(named("testcase")[1], "symmetric to symmetric, seed 1");
    assert!(!found.iter().any(|(name, _)| name == "failure"), "nothing was expected");
    assert!(text.contains("path: relayed"), "{text}");
}

#[test]
fn the_page_is_well_formed_needs_nothing_else_and_opens_a_ladder_from_every_cell() {
    let text = printed("html");
    assert!(text.starts_with("<!DOCTYPE html>"));
    // The elements of HTML that are never closed, closed.
    let mut closed = String::new();
    for (index, piece) in text.split("<meta ").enumerate() {
        closed.push_str(&if index == 0 { piece.to_owned() } else { format!("<meta {}", piece.replacen('>', "/>", 1)) });
    }
    let found = elements(&closed, "href");
    let links: Vec<&str> =
        found.iter().filter(|(name, _)| name == "a").map(|(_, value)| value.as_deref().unwrap()).collect();
    assert_eq!(links.len(), 8, "a cell a pair and technique");
    let sections: Vec<String> =
        elements(&closed, "id").into_iter().filter(|(name, _)| name == "section").map(|(_, id)| id.unwrap()).collect();
    assert!(
        links
            .iter()
            .zip(&sections)
            .all(|(link, id)| link.contains(id.as_str()) || sections.iter().any(|id| *link == format!("#{id}")))
    );
    assert!(links.iter().all(|link| sections.iter().any(|id| *link == format!("#{id}"))), "{links:?} {sections:?}");
    for tag in ["<script", "<link", "<img", "@import", "url(", "src="] {
        assert!(!text.contains(tag), "{tag}");
    }
    assert_eq!(text.replace("http://www.w3.org/2000/svg", "").matches("http").count(), 0, "no address of anything");
    assert!(text.contains("dropped at home-b: filtered"), "ladders say why");
    assert!(text.contains("sent by alice") || text.contains("delivered to bob"), "ladders have every packet");
}

#[test]
fn names_of_nats_cannot_break_a_document() {
    let lab = Lab::new();
    lab.write("a <b>&\"|,.yaml", "nats: { home: symmetric }\n");
    let name = "a <b>&\"|,.yaml:home";
    // A comma separates names: such a file is named alone.
    let said = lab.run(&["matrix", "a <b>&\"|,.yaml", "--format", "html"]);
    assert_eq!(said.code, 0, "{} {name}", said.err);
    lab.write("a <b>&'|.yaml", "nats: { home: symmetric }\n");
    for (format, wanted) in [
        ("html", "a &lt;b&gt;&amp;'|.yaml:home"),
        ("junit", "a &lt;b&gt;&amp;"),
        ("csv", "a <b>&'|.yaml:home"),
        ("markdown", "a &lt;b>&'\\|.yaml:home"),
    ] {
        let said = lab.run(&["matrix", "--nats", "a <b>&'|.yaml:home", "--format", format]);
        assert!(said.code == 0 && said.out.contains(wanted), "{format}: {}", said.out);
    }
}

#[test]
fn csv_has_a_row_a_pair_with_share_interval_path_time_and_packets() {
    let text = printed("csv");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let head: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    assert_eq!(
        head,
        [
            "a",
            "b",
            "technique",
            "first_seed",
            "runs",
            "connected",
            "share",
            "low",
            "high",
            "path",
            "elapsed_ns",
            "packets",
            "ok"
        ]
    );
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.unwrap()).collect();
    assert_eq!(rows.len(), 8);
    let row: Vec<&str> = rows[0].iter().collect();
    assert_eq!(row[..11], ["symmetric", "symmetric", "punch", "0", "2", "0", "0.0000", "0.0000", "0.6576", "none", ""]);
    assert_eq!(&rows[1][9], "relayed");
}

#[test]
fn markdown_has_a_table_a_technique_and_the_semantics() {
    let text = printed("markdown");
    assert!(
        text.contains(
            "## punch, 2 seeds from 0\n\n| caller \\ callee | 1 | 2 |\n| --- | --- | --- |\n| 1 symmetric | - | P |\n"
        ),
        "{text}"
    );
    assert!(text.contains("## connect") && text.contains("| 1 symmetric | R | P |"), "{text}");
    assert!(text.contains("Semantics: filter_scope mapping"), "{text}");
}

#[test]
fn the_format_goes_by_the_name_of_the_file_and_all_tell_of_the_same_run() {
    let lab = Lab::new();
    let said = run(
        &lab,
        &[&OPTIONS[..], &["-o", "m.json", "-o", "m.xml", "-o", "m.csv", "-o", "m.md", "-o", "m.html", "-o", "m"]]
            .concat(),
    );
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (0, "", ""));
    assert_eq!(lab.files(), ["m", "m.csv", "m.html", "m.json", "m.md", "m.xml"]);
    assert_eq!(lab.read("m.csv"), printed("csv"));
    assert_eq!(lab.read("m.xml"), printed("junit"));
    let document: serde_json::Value = serde_json::from_str(&lab.read("m.json")).unwrap();
    assert_eq!(document, matrix(&lab, &OPTIONS));
    assert_eq!(cells(&document).len(), 16);
}
