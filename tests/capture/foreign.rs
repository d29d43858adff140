//! Captures that natbox did not write.

use std::borrow::Cow;
use std::time::Duration;

use natbox::capture::{CaptureError, Content, Filter, Format, Frame, Reader, inspect};
use natbox::paint::Paint;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption};
use pcap_file::pcapng::blocks::opt_common::CommonOption;
use pcap_file::{DataLink, Endianness};

use super::scene::*;

fn foreign(link_type: DataLink, endianness: Endianness, packets: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = PcapNgWriter::with_endianness(Vec::new(), endianness).unwrap();
    writer.write_pcapng_block(InterfaceDescriptionBlock::new(link_type, 0)).unwrap();
    for (number, data) in packets.iter().enumerate() {
        let block = EnhancedPacketBlock {
            interface_id: 0,
            timestamp: Duration::from_secs(1_700_000_000) + Duration::from_millis(250) * number as u32,
            original_len: data.len() as u32,
            data: Cow::Borrowed(data),
            options: Vec::new(),
        };
        writer.write_pcapng_block(block).unwrap();
    }
    writer.into_inner()
}

fn ethernet(ether_type: &[u8], payload: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], ether_type, payload].concat()
}

fn read(bytes: &[u8]) -> Vec<Frame<'static>> {
    Reader::new(bytes).unwrap().collect::<Result<_, _>>().unwrap()
}

fn shown(bytes: &[u8], filter: &Filter, format: Format) -> String {
    let mut out = Vec::new();
    inspect(&|| Ok(bytes), filter, format, Paint::PLAIN, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn ethernet_headers_and_vlan_tags_are_stripped() {
    let packet = udp(INTERNAL, RELAY_7777);
    let six = udp("[2001:db8::1]:1", "[2001:db8::9]:7777");
    let tagged = [&[0, 7, 0x08, 0x00][..], &packet].concat();
    let arp = ethernet(&[0x08, 0x06], &[0; 28]);
    let frames = [
        ethernet(&[0x08, 0x00], &packet),
        ethernet(&[0x86, 0xdd], &six),
        ethernet(&[0x81, 0x00], &tagged),
        arp,
        vec![1, 2, 3],
    ];
    for endianness in [Endianness::Big, Endianness::Little] {
        let read = read(&foreign(DataLink::ETHERNET, endianness, &frames));
        assert_eq!(&*read[0].bytes, packet);
        assert_eq!(&*read[1].bytes, six);
        assert_eq!(&*read[2].bytes, packet);
        assert_eq!(read[3].content, Content::NotIp(0x0806));
        assert_eq!(read[4].content, Content::Malformed(natbox_wire::DropReason::Truncated));
        assert!(read.iter().all(|frame| frame.comment.is_none() && frame.packet.is_none()));
        assert!(read.iter().all(|frame| frame.interface == "interface-0"));
    }
}

#[test]
fn names_and_comments_do_not_command_the_terminal() {
    let mut writer = PcapNgWriter::with_endianness(Vec::new(), Endianness::Little).unwrap();
    let mut interface = InterfaceDescriptionBlock::new(DataLink::RAW, 0);
    interface.options.push(InterfaceDescriptionOption::IfName(Cow::Borrowed("eth\u{1b}[2J\r0")));
    writer.write_pcapng_block(interface).unwrap();
    let data = udp(INTERNAL, RELAY_7777);
    let block = EnhancedPacketBlock {
        original_len: data.len() as u32,
        data: Cow::Owned(data),
        options: vec![EnhancedPacketOption::Common(CommonOption::Comment(Cow::Borrowed("bell\u{7}\u{9b}")))],
        ..EnhancedPacketBlock::default()
    };
    writer.write_pcapng_block(block).unwrap();
    let text = shown(&writer.into_inner(), &Filter::default(), Format::Text);
    assert!(text.contains("eth [2J 0") && text.contains("bell  "), "{text}");
    assert!(text.chars().all(|sign| sign == '\n' || !sign.is_control()), "{text:?}");
}

#[test]
fn another_link_type_is_a_clear_error() {
    let bytes = foreign(DataLink::LINUX_SLL, Endianness::Little, &[vec![0; 60]]);
    let error = Reader::new(&bytes[..]).unwrap().next().unwrap().unwrap_err();
    assert!(matches!(error, CaptureError::LinkType { .. }));
    assert_eq!(
        error.to_string(),
        "interface `interface-0` has link type LINUX_SLL; only raw IP and Ethernet can be read"
    );
}

#[test]
fn times_are_shown_from_the_first_packet() {
    let packets = [udp(INTERNAL, RELAY_7777), udp(RELAY_7777, INTERNAL)];
    let text = shown(&foreign(DataLink::RAW, Endianness::Little, &packets), &Filter::default(), Format::Text);
    let lines = text.lines().map(str::trim_start).collect::<Vec<_>>();
    assert!(lines[0].starts_with("0.000000s "), "{text}");
    assert!(lines[1].starts_with("0.250000s "), "{text}");
    assert_eq!(lines[2], "2 lines, none dropped");
}

#[test]
fn filters_and_ladder_work_by_address() {
    let packets = [udp(INTERNAL, RELAY_7777), udp(RELAY_7777, INTERNAL), udp("10.0.0.9:1", "10.0.0.8:2")];
    let bytes = foreign(DataLink::RAW, Endianness::Little, &packets);
    let of = |flow: &str| shown(&bytes, &Filter { flow: Some(flow.to_owned()), ..Filter::default() }, Format::Text);
    assert_eq!(of("10.0.0.2-198.18.0.9").lines().count(), 3);
    assert_eq!(of("198.18.0.9:7777-10.0.0.2:5000").lines().count(), 3);
    assert_eq!(of("198.18.0.9:7778-10.0.0.2").lines().count(), 1);
    let host = Filter { host: Some("10.0.0.8".to_owned()), ..Filter::default() };
    assert_eq!(shown(&bytes, &host, Format::Text).lines().count(), 2);
    let ladder = shown(&bytes, &Filter::default(), Format::Ladder);
    assert!(ladder.lines().next().unwrap().contains("198.18.0.9"), "{ladder}");
    assert!(ladder.contains("-- UDP --"), "{ladder}");
}
