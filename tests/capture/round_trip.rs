//! What is written can be read back, and is the same every time.

use std::fs;

use natbox::capture::{CaptureError, Frame, Reader, Written, frames, save, write};
use natbox::record::{Limits, Log};

use super::scene::*;

pub(crate) fn captured(log: &Log) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes, log, &names()).unwrap();
    bytes
}

fn read(bytes: &[u8]) -> Vec<Frame<'static>> {
    Reader::new(bytes).unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn frames_survive_the_file() {
    let log = walk(Limits::CAPTURE);
    let names = names();
    let written = frames(&log, &names).collect::<Vec<_>>();
    assert_eq!(written.len(), 12);
    assert_eq!(read(&captured(&log)), written);
}

#[test]
fn interfaces_names_and_application_survive_the_file() {
    let bytes = captured(&walk(Limits::CAPTURE));
    let mut reader = Reader::new(&bytes[..]).unwrap();
    assert!(reader.by_ref().all(|frame| frame.is_ok()));
    assert!(reader.is_natbox());
    assert_eq!(reader.application(), Some(concat!("natbox ", env!("CARGO_PKG_VERSION"))));
    let interfaces = reader.interfaces().iter().map(|interface| &*interface.name).collect::<Vec<_>>();
    assert_eq!(interfaces, ["alice", "home-a:inside", "home-a:outside", "relay", "internet"]);
    let about = reader.interfaces()[1].description.as_deref();
    assert_eq!(about, Some("NAT home-a: endpoint-independent mapping, address-and-port-dependent filtering"));
    assert_eq!(reader.names()[&address("10.0.0.2")], "alice");
    assert_eq!(reader.names()[&address("2001:db8::9")], "relay");
    assert_eq!(reader.names()[&address("198.18.0.3")], "home-a");
}

#[test]
fn two_captures_of_one_record_are_the_same_bytes() {
    assert_eq!(captured(&walk(Limits::CAPTURE)), captured(&walk(Limits::CAPTURE)));
}

#[test]
fn an_address_that_two_homes_share_carries_both_names() {
    let mut names = names();
    names.add_node(natbox_world::note::NodeId(9), "bob", natbox::record::NodeKind::Host, &[address("10.0.0.2")]);
    let mut bytes = Vec::new();
    write(&mut bytes, &walk(Limits::CAPTURE), &names).unwrap();
    let mut reader = Reader::new(&bytes[..]).unwrap();
    assert!(reader.by_ref().all(|frame| frame.is_ok()));
    assert_eq!(reader.names()[&address("10.0.0.2")], "alice/bob");
}

#[test]
fn what_there_was_no_room_for_is_counted() {
    let mut bytes = Vec::new();
    let packet = udp(INTERNAL, RELAY_7777).len();
    let log = walk(Limits { records: 8, bytes: 3 * packet, summaries: true });
    let written = write(&mut bytes, &log, &names()).unwrap();
    // Kept: five sightings outside the core, of which three have bytes; seven notes came too late.
    assert_eq!(written, Written { packets: 3, missing: 3 + 7 });
    assert_eq!(read(&bytes).len(), 3);
}

#[test]
fn an_empty_record_makes_an_empty_capture() {
    let bytes = captured(&Log::new(Limits::CAPTURE));
    assert!(read(&bytes).is_empty());
}

#[test]
fn a_failed_write_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.pcapng");
    fs::write(&path, "old").unwrap();
    let failed: Result<(), std::io::Error> = natbox::output::write_file(&path, |out| {
        out.write_all(b"half")?;
        Err(std::io::Error::other("broken"))
    });
    assert_eq!(failed.unwrap_err().to_string(), "broken");
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    save(&path, &walk(Limits::CAPTURE), &names()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), captured(&walk(Limits::CAPTURE)));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    let nowhere = folder.path().join("no/such/folder.pcapng");
    assert!(matches!(save(&nowhere, &walk(Limits::CAPTURE), &names()), Err(CaptureError::Io(_))));
}

#[cfg(unix)]
#[test]
fn a_link_is_followed_and_a_device_is_written_directly() {
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("real"), folder.path().join("link"));
    fs::write(&file, "old").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    natbox::output::write_file(&link, |out| out.write_all(b"new")).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "new");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    natbox::output::write_file("/dev/null".as_ref(), |out| out.write_all(b"gone")).unwrap();
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
}
