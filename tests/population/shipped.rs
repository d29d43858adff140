//! The shipped populations: what each says, and that its figures come out.

use std::fs;
use std::path::{Path, PathBuf};

use natbox::population::{Census, Population};
use natbox::probes::nat_check::Test;
use natbox::wire::Word;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies/populations")
}

fn shipped(name: &str) -> Population {
    let text = fs::read_to_string(folder().join(name)).unwrap();
    Population::from_yaml(name, &text).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

/// The figures of so many draws.
fn run(name: &str, draws: u64) -> Census {
    shipped(name).draws(draws).unwrap().run(None, &|_| {}).unwrap()
}

/// Whether what came is within three and a half standard errors of a share.
fn near(census: &Census, due: f64) {
    let share = census.figures(|_, _| true).share();
    let error = (due * (1.0 - due) / share.runs as f64).sqrt();
    assert!((share.value() - due).abs() < 3.5 * error, "{share:?}, due {due}");
}

#[test]
fn every_file_says_in_its_first_comment_what_it_shows_and_stands_in_the_readme_and_in_the_docs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let [readme, docs] = ["README.md", "docs/populations.md"].map(|file| fs::read_to_string(root.join(file)).unwrap());
    let mut files = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let text = fs::read_to_string(folder().join(&name)).unwrap();
        let comment: String = text.lines().take_while(|line| line.starts_with('#')).collect();
        assert!(comment.to_lowercase().contains("expect"), "{name}");
        shipped(&name);
        assert!(
            readme.contains(&format!("| `topologies/populations/{name}` |")),
            "{name} is not in the README's table"
        );
        assert!(docs.contains(&format!("topologies/populations/{name}")), "{name} is not in docs/populations.md");
        files += 1;
    }
    assert!(files >= 5, "{files}");
}

#[test]
fn ford_s_table_comes_out_row_by_row_but_for_the_sum_that_contradicts_its_rows() {
    let census = shipped("ford-2005.yaml").run(None, &|_| {}).unwrap();
    assert!(census.ok());
    for group in census.about.groups() {
        for test in Test::ALL {
            assert_eq!(
                Some(census.passed(Some(group), *test)),
                census.published_counts(group, *test),
                "{group} {test}"
            );
        }
    }
    for test in Test::ALL {
        let (own, published) = (census.passed(None, *test), census.published_counts("All", *test).unwrap());
        match test.as_str() {
            "tcp-hairpin" => assert_eq!((own, published), ((40, 286), (37, 286))),
            _ => assert_eq!(own, published, "{test}"),
        }
    }
}

#[test]
fn halkes_pairs_are_those_of_the_definitions_and_the_failure_explains_the_field() {
    let census = run("halkes-2011.yaml", 600);
    near(&census, 0.861);
    for from in census.about.groups() {
        for to in census.about.groups() {
            let share = census.figures(|a, b| a == from && b == to).share();
            let published = census.published_pair(from, to).unwrap();
            let works = published > 50.0;
            assert!(share.runs == 0 || share.value() == f64::from(u8::from(works)), "{from} to {to}: {share:?}");
        }
    }
    near(&run("halkes-2011-failure.yaml", 600), 0.728);
}

#[test]
fn libp2p_s_arithmetic_comes_out() {
    near(&run("libp2p-symmetric.yaml", 600), 0.7921);
}
