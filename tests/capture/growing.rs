//! A capture that is written while a world runs says what one that is written afterwards says.

use std::path::Path;
use std::sync::OnceLock;

use natbox::Lab;
use natbox::capture::{Frame, Growing, Reader, Stream, frames};
use natbox::record::{Limits, Log, Names, Record, Step, What};
use natbox::world::note::{Event, Note, PacketRef};

type Run = (String, Log, Names);

/// Every topology that runs in virtual time, run.
fn runs() -> &'static [Run] {
    static RUNS: OnceLock<Vec<Run>> = OnceLock::new();
    RUNS.get_or_init(|| {
        let mut runs = Vec::new();
        for folder in ["topologies", "topologies/techniques"] {
            for entry in std::fs::read_dir(folder).expect("topologies").flatten() {
                let Ok(lab) = Lab::from_file(entry.path()) else { continue };
                let recording = lab.limits(Limits::CAPTURE).run_recorded().expect("it runs");
                runs.push((entry.path().display().to_string(), recording.log, recording.names));
            }
        }
        assert!(runs.len() > 20, "{} topologies", runs.len());
        runs
    })
}

/// Hands a record on as the note that it was made of.
pub(crate) fn renote(record: &Record, take: &mut dyn FnMut(&Note<'_>)) {
    let event = match &record.what {
        What::Packet(seen) => {
            let packet = PacketRef { id: seen.id, cause: seen.cause, bytes: seen.bytes.as_deref().expect("was kept") };
            match (seen.step, seen.interface) {
                (Step::Sent(fate), Some(interface)) => Event::Sent { interface, packet, fate },
                (Step::Received(outcome), Some(interface)) => Event::Received { interface, packet, outcome },
                (Step::Dropped(reason), _) => Event::Dropped { packet, reason },
                (Step::Released(outcome), _) => Event::Released { packet, outcome },
                (Step::Made(mapping), _) => Event::Made { packet, mapping },
                (step, None) => panic!("{step:?} without an interface"),
            }
        }
        What::MappingEnded(ended) => Event::MappingEnded(*ended),
        What::Control(mapping, what) => Event::Control { mapping, what: *what },
        What::Rebooted => Event::Rebooted,
        What::Readdressed => Event::Readdressed,
        What::Reconfigured(before, after) => Event::Reconfigured { before, after },
        What::Relinked(interface) => Event::Relinked(*interface),
        What::Cut(interface) => Event::Cut(*interface),
        What::Moved(interface) => Event::Moved(*interface),
        What::Preferred(interface) => Event::Preferred(*interface),
        What::Mended(interface) => Event::Mended(*interface),
    };
    take(&Note { at: record.at, node: record.node, event });
}

/// What a capture says, however its interfaces are numbered and its packets summed up.
fn said(bytes: &[u8]) -> (Vec<Frame<'static>>, bool, u64) {
    let mut reader = Reader::new(bytes).expect("a capture");
    let frames = reader.by_ref().map(|frame| frame.expect("a frame")).collect();
    (frames, reader.is_grown() && reader.is_closed(), reader.missing())
}

fn expected(log: &Log, names: &Names) -> Vec<Frame<'static>> {
    let mut whole = Vec::new();
    natbox::capture::write(&mut whole, log, names).expect("memory");
    assert_eq!(frames(log, names).count(), said(&whole).0.len());
    said(&whole).0
}

#[test]
fn a_capture_written_note_by_note_is_that_of_the_whole_record() {
    for (name, log, names) in runs() {
        let mut bytes = Vec::new();
        let mut stream = Stream::new(&mut bytes, names.clone()).expect("memory");
        log.records().iter().for_each(|record| renote(record, &mut |note| stream.note(note).expect("memory")));
        let written = stream.finish().expect("memory");
        let expected = expected(log, names);
        assert_eq!(written.packets, expected.len() as u64, "{name}");
        assert_eq!(said(&bytes), (expected, true, 0), "{name}");
    }
}

#[test]
fn the_thread_that_writes_leaves_nothing_out_and_keeps_the_order() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, log, names) in runs().iter().take(10) {
        let path = folder.path().join("lab.pcapng");
        let growing = Growing::begin(&path, names).expect("a file");
        assert!(said(&std::fs::read(&path).expect("it is there at once")).0.is_empty());
        let mut observer = growing.observer();
        log.records().iter().for_each(|record| renote(record, &mut |note| observer.note(note)));
        growing.finish().expect("it can be written");
        assert_eq!(said(&std::fs::read(&path).expect("it is there")), (expected(log, names), true, 0), "{name}");
    }
}

#[test]
fn whatever_has_been_flushed_can_be_read_without_an_end() {
    let (_, log, names) = &runs()[0];
    let mut bytes = Vec::new();
    {
        let mut stream = Stream::new(&mut bytes, names.clone()).expect("memory");
        log.records().iter().for_each(|record| renote(record, &mut |note| stream.note(note).expect("memory")));
        stream.flush(true).expect("memory");
    }
    assert_eq!(said(&bytes), (expected(log, names), false, 0));
}

#[test]
fn a_long_run_takes_no_more_memory_and_loses_no_story() {
    let (_, log, names) = runs().iter().max_by_key(|(_, log, _)| log.records().len()).expect("one");
    let mut bytes = Vec::new();
    let mut stream = Stream::new(&mut bytes, names.clone()).expect("memory");
    let mut rounds = 0;
    while rounds * log.records().len() < 40_000 {
        log.records().iter().for_each(|record| renote(record, &mut |note| stream.note(note).expect("memory")));
        rounds += 1;
        assert!(stream.remembered() <= 4 * 4096, "{} records", stream.remembered());
    }
    stream.finish().expect("memory");
    assert_eq!(said(&bytes).0.len(), rounds * expected(log, names).len());
}

#[test]
fn packets_that_there_was_no_room_for_are_counted_in_the_capture() {
    let (_, log, names) = &runs()[0];
    let (node, interface) =
        log.records().iter().find_map(|record| Some((record.node, record.sighting()?.interface))).expect("a packet");
    let mut bytes = Vec::new();
    {
        let mut stream = Stream::new(&mut bytes, names.clone()).expect("memory");
        stream.missed(node, interface, 3).expect("memory");
        stream.flush(false).expect("memory");
        stream.missed(node, interface, 4).expect("memory");
        let written = stream.finish().expect("memory");
        assert_eq!((written.packets, written.missing), (0, 7));
    }
    assert_eq!(said(&bytes), (vec![], true, 7));
}

#[test]
fn a_capture_that_cannot_be_begun_leaves_what_was_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let nowhere = folder.path().join("no/such/folder/lab.pcapng");
    assert!(Growing::begin(&nowhere, &Names::new()).is_err());
    assert_eq!(std::fs::read_dir(Path::new(folder.path())).expect("the folder").count(), 0);
}
