//! No file makes the reader panic, and every broken one ends with an error that says where.

use natbox::capture::{Filter, Format, Reader, inspect};
use natbox::paint::Paint;
use natbox::record::Limits;
use proptest::prelude::*;

use super::round_trip::captured;
use super::scene::walk;

/// Reads to the end; the error if there is one.
fn outcome(bytes: &[u8]) -> Result<usize, String> {
    let reader = Reader::new(bytes).map_err(|error| error.to_string())?;
    let mut count = 0;
    for frame in reader {
        frame.map_err(|error| error.to_string())?;
        count += 1;
    }
    Ok(count)
}

fn shown(bytes: &[u8], format: Format) -> Result<(), String> {
    let filter = Filter { host: None, ..Filter::default() };
    inspect(&|| Ok(bytes), &filter, format, Paint::PLAIN, &mut std::io::sink()).map_err(|error| error.to_string())
}

#[test]
fn what_is_no_pcapng_file_is_told_so() {
    assert_eq!(outcome(b"").unwrap_err(), "not a pcapng capture: the file is empty");
    assert_eq!(outcome(b"name: x").unwrap_err(), "not a pcapng capture: it does not begin with a section header");
    let classic = outcome(&[0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0]).unwrap_err();
    assert!(classic.contains("it is a pcap file; `editcap -F pcapng"), "{classic}");
}

#[test]
fn a_capture_cut_anywhere_but_between_blocks_is_an_error() {
    let whole = captured(&walk(Limits::CAPTURE));
    let frames = outcome(&whole).unwrap();
    let mut clean_cuts = 0;
    for length in 0..whole.len() {
        match outcome(&whole[..length]) {
            Ok(count) => {
                assert!(count <= frames);
                clean_cuts += 1;
            }
            Err(error) => assert!(error.starts_with("block ") || error.starts_with("not a pcapng"), "{error}"),
        }
    }
    // A section header, five interfaces, the names, twelve packets: all block ends but the last are clean cuts.
    assert_eq!(clean_cuts, 1 + 5 + 1 + 11);
}

#[test]
fn a_block_that_claims_to_be_huge_is_refused_without_reading_it() {
    let mut bytes = captured(&walk(Limits::CAPTURE));
    let header = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
    bytes[header + 4..header + 8].copy_from_slice(&0xffff_fff0_u32.to_le_bytes());
    let error = outcome(&bytes).unwrap_err();
    assert!(error.starts_with("block 2 of the capture is broken: the file ends inside it, or it is larger"), "{error}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = outcome(&bytes);
    }

    #[test]
    fn arbitrary_blocks_behind_a_good_header_never_panic(
        kind in prop_oneof![Just(1_u32), Just(2), Just(3), Just(4), Just(5), Just(6), Just(0x0a0d_0d0a), any::<u32>()],
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = captured(&natbox::record::Log::new(Limits::CAPTURE));
        let length = (12 + body.len().next_multiple_of(4)) as u32;
        bytes.extend(kind.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.extend(&body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(length.to_le_bytes());
        let _ = outcome(&bytes);
    }

    #[test]
    fn mutated_captures_never_panic_in_any_format(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = captured(&walk(Limits::CAPTURE));
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        for format in [Format::Text, Format::Ladder, Format::Json] {
            let _ = shown(&bytes, format);
        }
    }
}
