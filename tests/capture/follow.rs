//! `inspect --follow` shows what `inspect` shows, as it comes, and ends when the writer has let go.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use natbox::capture::{Filter, Format, Growing, Stream, follow, inspect};
use natbox::paint::Paint;
use natbox::record::{Limits, Log};

use super::growing::renote;
use super::scene::{names, walk};

/// Where lines go that somebody waits for.
struct Lines(Sender<String>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(String::from_utf8_lossy(bytes).into_owned()).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Everything that was written until the other side has gone.
fn rest(lines: &Receiver<String>) -> String {
    let mut text = String::new();
    loop {
        match lines.recv_timeout(Duration::from_secs(60)) {
            Ok(more) => text += &more,
            Err(error) => {
                assert_eq!(error.to_string(), "channel is empty and sending half is closed", "it never ended: {text}");
                return text;
            }
        }
    }
}

fn following(path: &Path, filter: Filter, format: Format) -> Receiver<String> {
    let (sender, receiver) = channel();
    let path = path.to_owned();
    std::thread::spawn(move || {
        let shown = follow(&path, &filter, format, Paint::PLAIN, &mut Lines(sender.clone()));
        shown.unwrap_or_else(|error| drop(sender.send(error.to_string())));
    });
    receiver
}

fn inspected(path: &Path, filter: &Filter, format: Format) -> String {
    let mut out = Vec::new();
    inspect(&|| std::fs::File::open(path), filter, format, Paint::PLAIN, &mut out).expect("it can be shown");
    String::from_utf8(out).expect("text")
}

/// Its words, line by line: columns are as wide as what is known when a line is printed.
fn words(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split_whitespace().collect()).collect()
}

fn tell(log: &Log, growing: &Growing) {
    let mut observer = growing.observer();
    log.records().iter().for_each(|record| renote(record, &mut |note| observer.note(note)));
}

#[test]
fn what_comes_is_shown_while_the_writer_lives_and_the_end_is_seen() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lab.pcapng");
    let growing = Growing::begin(&path, &names()).expect("a file");
    let lines = following(&path, Filter::default(), Format::Text);
    tell(&walk(Limits::CAPTURE), &growing);
    let first = lines.recv_timeout(Duration::from_secs(60)).expect("a line, before the capture has ended");
    assert!(first.contains("alice"), "{first}");
    growing.finish().expect("it can be written");
    let all = first + &rest(&lines);
    let whole = inspected(&path, &Filter::default(), Format::Lines) + "the capture has ended";
    assert_eq!(words(&all), words(&whole));
}

#[test]
fn filters_choose_the_same_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lab.pcapng");
    let growing = Growing::begin(&path, &names()).expect("a file");
    tell(&walk(Limits::CAPTURE), &growing);
    growing.finish().expect("it can be written");
    let filters = [
        Filter { host: Some("alice".into()), ..Filter::default() },
        Filter { host: Some("relay".into()), ..Filter::default() },
        Filter { nat: Some("home-a".into()), ..Filter::default() },
        Filter { flow: Some("alice-relay".into()), ..Filter::default() },
        Filter { flow: Some("alice-relay".into()), nat: Some("home-a".into()), ..Filter::default() },
    ];
    for filter in filters {
        for format in [Format::Lines, Format::Json] {
            let followed = rest(&following(&path, filter.clone(), format));
            let whole = inspected(&path, &filter, format);
            let mut lines = words(&followed);
            let trimmed: Vec<&str> = whole.lines().map(|line| line.trim().trim_end_matches(',')).collect();
            let packets = match format {
                Format::Json => trimmed[4..trimmed.len() - 2].join("\n"),
                _ => whole.clone(),
            };
            let mut expected = words(&packets);
            lines.sort();
            expected.sort();
            assert!(!lines.is_empty());
            assert_eq!(format!("{lines:?}"), format!("{expected:?}"), "{filter:?} {format:?}");
        }
    }
}

#[test]
fn a_ladder_grows_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lab.pcapng");
    let growing = Growing::begin(&path, &names()).expect("a file");
    tell(&walk(Limits::CAPTURE), &growing);
    growing.finish().expect("it can be written");
    let followed = rest(&following(&path, Filter::default(), Format::Ladder));
    let arrows = |text: &str| text.lines().filter(|line| line.contains('>') || line.contains('<')).count();
    assert_eq!(arrows(&followed), arrows(&inspected(&path, &Filter::default(), Format::Ladder)), "{followed}");
}

#[test]
fn a_block_that_is_not_whole_yet_is_waited_for_and_one_that_never_will_be_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lab.pcapng");
    let mut whole = Vec::new();
    let mut stream = Stream::new(&mut whole, names()).expect("memory");
    walk(Limits::CAPTURE).records().iter().for_each(|record| {
        renote(record, &mut |note| stream.note(note).expect("memory"));
    });
    stream.flush(true).expect("memory");
    let mut file = std::fs::File::create(&path).expect("a file");
    file.lock().expect("it is ours");
    let (begin, end) = whole.split_at(whole.len() - 300);
    file.write_all(begin).expect("room");
    let lines = following(&path, Filter::default(), Format::Text);
    let first = lines.recv_timeout(Duration::from_secs(60)).expect("a line");
    file.write_all(end).expect("room");
    file.write_all(&[6, 0, 0, 0, 200]).expect("room");
    drop(file);
    let all = first + &rest(&lines);
    assert!(all.ends_with("cut off: whoever wrote it is gone\n"), "{all}");
    let whole = inspected(&path, &Filter::default(), Format::Text);
    assert_eq!(whole.lines().count(), all.lines().count(), "{whole}");
    assert!(whole.ends_with("; not closed: its lab still runs, or was killed\n"), "{whole}");
}

#[test]
fn names_that_are_not_in_it_are_an_error_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lab.pcapng");
    let growing = Growing::begin(&path, &names()).expect("a file");
    let filter = Filter { host: Some("alicia".into()), ..Filter::default() };
    assert_eq!(
        rest(&following(&path, filter, Format::Text)),
        "no host `alicia` in this capture; did you mean `alice`?"
    );
    growing.finish().expect("it can be written");
}
