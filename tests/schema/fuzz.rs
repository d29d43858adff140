//! No text makes the reader panic; what it accepts, it can print and read again.

use natbox::plan::Plan;
use proptest::prelude::*;

use crate::resolved::{DESIGN, EVERYTHING};

/// Reads a text; every mistake must have a place inside of it.
fn read(text: &str) {
    match Plan::from_yaml("lab.yaml", text) {
        Ok(plan) => {
            let printed = plan.to_yaml();
            let again =
                Plan::from_yaml("lab.yaml", &printed).unwrap_or_else(|mistakes| panic!("{mistakes}\n{printed}"));
            assert_eq!(again.to_yaml(), printed);
        }
        Err(mistakes) => {
            assert!(!mistakes.list.is_empty());
            let lines = text.lines().flat_map(|line| line.split('\r')).count().max(1) + 1;
            for mistake in &mistakes.list {
                assert!((1..=lines).contains(&(mistake.line as usize)), "{mistake:?}");
                assert!(mistake.column >= 1 && mistake.length >= 1, "{mistake:?}");
                assert!(!mistake.message.is_empty());
            }
            assert!(mistakes.to_string().contains("error: "));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        read(&text);
    }

    #[test]
    fn any_text_of_yaml_signs_is_read_or_refused(text in "[-a-c0-9:{}\\[\\], \n&*!|>'\"#%?~.]{0,120}") {
        read(&text);
    }

    #[test]
    fn a_valid_file_with_some_bytes_changed_is_read_or_refused(
        which in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<char>(), 0..3u8), 1..6),
    ) {
        let mut text: Vec<char> = if which { DESIGN } else { EVERYTHING }.chars().collect();
        for (at, sign, kind) in changes {
            let at = at.index(text.len());
            match kind {
                0 => text[at] = sign,
                1 => drop(text.remove(at)),
                _ => text.insert(at, sign),
            }
        }
        read(&text.into_iter().collect::<String>());
    }

    #[test]
    fn a_valid_file_with_lines_moved_is_read_or_refused(
        which in any::<bool>(),
        moves in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..9usize), 1..5),
    ) {
        let mut lines: Vec<String> = if which { DESIGN } else { EVERYTHING }.lines().map(str::to_owned).collect();
        for (from, to, indent) in moves {
            let line = lines.remove(from.index(lines.len()));
            let to = to.index(lines.len());
            lines.insert(to, format!("{}{}", " ".repeat(indent), line.trim_start()));
        }
        read(&lines.join("\n"));
    }

    #[test]
    fn a_valid_file_with_words_swapped_is_read_or_refused(
        swaps in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..4),
    ) {
        let mut words: Vec<&str> = EVERYTHING.split(' ').collect();
        for (one, other) in swaps {
            let (one, other) = (one.index(words.len()), other.index(words.len()));
            words.swap(one, other);
        }
        read(&words.join(" "));
    }
}
