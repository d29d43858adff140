//! Application-layer gateways: what they change, what they let in, and what they leave alone.

mod common;

use std::net::SocketAddr;

use common::*;
use natbox_nat::behavior::{Alg, Filtering, GenericAlg, Hairpin, Mapping, Switch, TranslationKind, UnsolicitedSyn};
use natbox_nat::{Behavior, Verdict};
use natbox_wire::build::{self, IpFields};
use natbox_wire::{DropReason, Packet};
use proptest::prelude::*;

const OFF: Alg = Alg { ftp: Switch::Off, sip: Switch::Off, tftp: Switch::Off, generic: GenericAlg::Off };
const FTP: Alg = Alg { ftp: Switch::On, ..OFF };
const SIP: Alg = Alg { sip: Switch::On, ..OFF };
const TFTP: Alg = Alg { tftp: Switch::On, ..OFF };
const BINARY: Alg = Alg { generic: GenericAlg::RewriteBinary, ..OFF };
const TEXT: Alg = Alg { generic: GenericAlg::RewriteText, ..OFF };

const CLIENT: &str = "10.0.0.2:5000";
const SERVER: &str = "192.0.2.1:21";

fn strict(alg: Alg) -> Behavior {
    Behavior {
        filtering: Filtering::AddressAndPortDependent.into(),
        unsolicited_syn: UnsolicitedSyn::Drop,
        alg,
        ..Behavior::default()
    }
}

fn segment(from: impl ToString, to: impl ToString, sequence: u32, acknowledgement: u32, text: &[u8]) -> Packet {
    let (from, to) = (at(&from.to_string()), at(&to.to_string()));
    build::tcp(from, to, IpFields::default(), ACK, sequence, acknowledgement, 1000, text).expect("a segment")
}

fn datagram(from: impl ToString, to: impl ToString, text: &[u8]) -> Packet {
    let (from, to) = (at(&from.to_string()), at(&to.to_string()));
    build::udp(from, to, IpFields::default(), text).expect("a datagram")
}

/// What comes out of a NAT that lets it pass.
fn out(rig: &mut Rig, mut packet: Packet) -> Packet {
    forwarded(rig.nat.outbound(&mut packet, rig.now));
    assert!(packet.transport_checksum_ok());
    assert_eq!(Packet::parse(packet.bytes().to_vec()).as_ref(), Ok(&packet));
    packet
}

/// As [`out`], from outside.
fn into(rig: &mut Rig, mut packet: Packet) -> Packet {
    forwarded(rig.nat.inbound(&mut packet, rig.now));
    assert!(packet.transport_checksum_ok());
    assert_eq!(Packet::parse(packet.bytes().to_vec()).as_ref(), Ok(&packet));
    packet
}

fn text(packet: &Packet) -> String {
    String::from_utf8_lossy(packet.payload()).into_owned()
}

/// A NAT through which the client has connected to the server; the external endpoint of the connection.
fn connected(behavior: Behavior) -> (Rig, SocketAddr) {
    let mut rig = Rig::new(behavior);
    let external = rig.send(tcp(CLIENT, SERVER, SYN));
    assert_eq!(rig.receive(tcp(SERVER, external, SYN_ACK)), Ok(at(CLIENT)));
    rig.send(tcp(CLIENT, SERVER, ACK));
    (rig, external)
}

/// The endpoint that six numbers name.
fn commas(text: &str) -> SocketAddr {
    let digits = text.trim_start_matches(|byte: char| !byte.is_ascii_digit());
    let end = digits.find(|byte: char| !byte.is_ascii_digit() && byte != ',').unwrap_or(digits.len());
    let [a, b, c, d, high, low] =
        digits[..end].split(',').map(|one| one.parse::<u16>().expect("a number")).collect::<Vec<_>>()[..]
    else {
        panic!("{text}")
    };
    at(&format!("{a}.{b}.{c}.{d}:{}", high * 256 + low))
}

// FTP.

#[test]
fn ftp_a_client_says_where_it_can_be_reached_and_the_server_reaches_it_there() {
    for mapping in [Mapping::EndpointIndependent, Mapping::AddressAndPortDependent] {
        let (mut rig, _) = connected(Behavior { mapping: mapping.into(), ..strict(FTP) });
        let said = text(&out(&mut rig, segment(CLIENT, SERVER, 8, 8, b"PORT 10,0,0,2,19,137\r\n")));
        let data = commas(said.strip_prefix("PORT ").expect("the command").trim_end());
        assert_eq!(data.ip(), ip(EXTERNAL));
        assert_eq!(rig.receive(tcp("192.0.2.1:20", data, SYN)), Ok(at("10.0.0.2:5001")));
        assert_eq!(rig.send(tcp("10.0.0.2:5001", "192.0.2.1:20", SYN_ACK)), data, "{mapping}");
        assert_eq!(rig.receive(tcp("192.0.2.1:20", data, ACK)), Ok(at("10.0.0.2:5001")));
    }
}

#[test]
fn ftp_only_the_server_and_only_from_one_port_may_come_to_the_data_connection() {
    let (mut rig, _) = connected(strict(FTP));
    let said = text(&out(&mut rig, segment(CLIENT, SERVER, 8, 8, b"PORT 10,0,0,2,19,137\r\n")));
    let data = commas(&said[5..]);
    for other in ["192.0.2.2:20", "203.0.113.1:20"] {
        assert!(rig.receive(tcp(other, data, SYN)).is_err());
    }
    assert_eq!(rig.receive(tcp("192.0.2.1:4711", data, SYN)), Ok(at("10.0.0.2:5001")), "any port of the server");
    assert_eq!(rig.receive(tcp("192.0.2.1:4711", data, SYN)), Ok(at("10.0.0.2:5001")), "again, before an answer");
    assert!(rig.receive(tcp("192.0.2.1:4712", data, SYN)).is_err(), "but one only");
}

#[test]
fn ftp_an_announcement_is_believed_for_five_minutes() {
    let (mut rig, external) = connected(strict(FTP));
    let said = text(&out(&mut rig, segment(CLIENT, SERVER, 8, 8, b"PORT 10,0,0,2,19,136\r\n")));
    // The client's own port of the control connection, whose mapping lives on.
    assert_eq!(commas(&said[5..]), external);
    rig.wait_seconds(300);
    assert!(rig.receive(tcp("192.0.2.1:20", external, SYN)).is_err());
}

#[test]
fn ftp_extended_commands_are_rewritten_with_any_delimiter() {
    for delimiter in ['|', '!', ','] {
        let (mut rig, _) = connected(strict(FTP));
        let d = delimiter;
        let command = format!("eprt {d}1{d}10.0.0.2{d}5001{d}\r\n");
        let said = text(&out(&mut rig, segment(CLIENT, SERVER, 8, 8, command.as_bytes())));
        let parts: Vec<&str> = said.trim_end().split(delimiter).collect();
        assert_eq!((parts[0], parts[1], parts[2]), ("eprt ", "1", EXTERNAL), "{said}");
        let data = format!("{}:{}", parts[2], parts[3]);
        assert_eq!(rig.receive(tcp("192.0.2.1:20", data, SYN)), Ok(at("10.0.0.2:5001")));
    }
}

#[test]
fn ftp_a_server_inside_says_where_it_can_be_reached() {
    let server = "10.0.0.2:21";
    for (reply, extended) in [
        ("227 Entering Passive Mode (10,0,0,2,19,137).\r\n", false),
        ("227 =10,0,0,2,19,137\r\n", false),
        ("229 Entering Extended Passive Mode (|||5001|)\r\n", true),
    ] {
        let mut rig = Rig::new(strict(FTP));
        let external = rig.send(tcp(server, Y1, SYN));
        rig.receive(tcp(Y1, external, SYN_ACK)).expect("it was asked");
        let said = text(&out(&mut rig, segment(server, Y1, 8, 8, reply.as_bytes())));
        let data = match extended {
            true => SocketAddr::new(ip(EXTERNAL), said.split('|').nth(3).expect("a port").parse().expect("a port")),
            false => commas(&said[4..]),
        };
        assert_eq!(data.ip(), ip(EXTERNAL));
        assert_eq!(rig.receive(tcp("192.0.2.1:40000", data, SYN)), Ok(at("10.0.0.2:5001")), "{said}");
    }
}

#[test]
fn ftp_what_is_not_the_speakers_own_or_not_whole_passes_as_it_is() {
    let (mut rig, _) = connected(strict(FTP));
    let mut sequence = 8;
    for said in [
        "PORT 10,0,0,3,19,137\r\n",
        "PORT 10,0,0,2,19\r\n",
        "PORT 10,0,0,2,19,256\r\n",
        "PORT 10,0,0,2,0,0\r\n",
        "PORT 10,0,0,2,19,137",
        "XPORT 10,0,0,2,19,137\r\n",
        "EPRT |2|2001:db8::1|5001|\r\n",
        "EPRT |1|10.0.0.2|5001\r\n",
        "EPRT |1|10.0.0.2|70000|\r\n",
        "227 Entering Passive Mode (10,0,0,2,19,137)\r\n",
        "\r\n\r\n",
        "PO",
    ] {
        let packet = out(&mut rig, segment(CLIENT, SERVER, sequence, 8, said.as_bytes()));
        assert_eq!((text(&packet).as_str(), packet.tcp_sequence()), (said, Some(sequence)));
        sequence += said.len() as u32;
    }
    assert_eq!(rig.nat.mappings().len(), 1);
}

#[test]
fn ftp_numbers_are_mended_both_ways_when_the_text_changes_its_length() {
    let (mut rig, external) = connected(strict(FTP));
    let command = b"PORT 10,0,0,2,19,137\r\n";
    let first = out(&mut rig, segment(CLIENT, SERVER, 8, 8, command));
    let grown = first.payload().len() as u32 - command.len() as u32;
    assert!(grown > 0 && first.tcp_sequence() == Some(8));
    let again = out(&mut rig, segment(CLIENT, SERVER, 8, 8, command));
    assert_eq!(again.payload(), first.payload(), "a repetition is the same");
    let after = 8 + command.len() as u32;
    let next = out(&mut rig, segment(CLIENT, SERVER, after, 8, b"NLST\r\n"));
    assert_eq!((next.tcp_sequence(), text(&next).as_str()), (Some(after + grown), "NLST\r\n"));
    let answer = into(&mut rig, segment(SERVER, external, 8, after + grown + 6, b"200 Okay.\r\n"));
    assert_eq!((answer.tcp_sequence(), answer.tcp_acknowledgement()), (Some(8), Some(after + 6)));
    let early = into(&mut rig, segment(SERVER, external, 8, 8, b""));
    assert_eq!(early.tcp_acknowledgement(), Some(8));
    // What the filter refuses is as it came, and a new connection begins anew.
    let mut refused = segment("192.0.2.9:21", external, 8, after + grown, b"");
    let before = refused.clone();
    assert!(matches!(rig.nat.inbound(&mut refused, rig.now), Verdict::Drop(_)) && refused == before);
    rig.nat.outbound(&mut tcp(CLIENT, SERVER, SYN), rig.now);
    assert_eq!(out(&mut rig, segment(CLIENT, SERVER, after, 8, b"x")).tcp_sequence(), Some(after));
}

#[test]
fn ftp_text_that_comes_after_what_followed_it_passes_as_it_is() {
    let (mut rig, _) = connected(strict(FTP));
    let command = "PORT 10,0,0,2,19,137\r\n";
    let after = 8 + command.len() as u32;
    let later = out(&mut rig, segment(CLIENT, SERVER, after, 8, b"NLST\r\n"));
    let earlier = out(&mut rig, segment(CLIENT, SERVER, 8, 8, command.as_bytes()));
    assert_eq!((later.tcp_sequence(), text(&earlier).as_str()), (Some(after), command));
    let both = [command.as_bytes(), b"NLST\r\nEPRT |1|10.0.0.2|5002|\r\n"].concat();
    let all = text(&out(&mut rig, segment(CLIENT, SERVER, 8, 8, &both)));
    assert!(all.starts_with(command) && all.contains(&format!("NLST\r\nEPRT |1|{EXTERNAL}|")), "{all}");
}

#[test]
fn ftp_an_acknowledgement_that_overtakes_text_does_not_keep_it_from_being_changed() {
    let (mut rig, _) = connected(strict(FTP));
    let command = b"PORT 10,0,0,2,19,137\r\n";
    out(&mut rig, segment(CLIENT, SERVER, 8, 8, b"NOOP\r\n"));
    out(&mut rig, segment(CLIENT, SERVER, 14 + command.len() as u32, 9, b""));
    assert_ne!(out(&mut rig, segment(CLIENT, SERVER, 14, 8, command)).payload(), command);
}

#[test]
fn ftp_passes_a_firewall_that_translates_nothing() {
    let behavior = Behavior { translation: TranslationKind::None, ..strict(FTP) };
    let (mut rig, _) = connected(behavior);
    let command = "PORT 10,0,0,2,19,137\r\n";
    assert_eq!(text(&out(&mut rig, segment(CLIENT, SERVER, 8, 8, command.as_bytes()))), command);
    assert_eq!(rig.receive(tcp("192.0.2.1:20", "10.0.0.2:5001", SYN)), Ok(at("10.0.0.2:5001")));
}

#[test]
fn rfc5382_req_06_every_alg_is_off_unless_switched_on() {
    assert_eq!(Behavior::default().alg, OFF);
    let (mut rig, _) = connected(strict(OFF));
    let command = "PORT 10,0,0,2,19,137\r\n";
    assert_eq!(text(&out(&mut rig, segment(CLIENT, SERVER, 8, 8, command.as_bytes()))), command);
}

#[test]
fn req_10a_each_alg_is_switched_alone() {
    let samples: [(&str, &str); 3] = [
        ("192.0.2.1:5060", "OPTIONS sip:bob SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2:5000\r\n\r\n"),
        ("192.0.2.1:4000", "text 10.0.0.2"),
        ("192.0.2.1:4001", "bytes \n\0\0\x02"),
    ];
    for (index, alg) in [SIP, TEXT, BINARY].into_iter().enumerate() {
        for (other, (remote, said)) in samples.iter().enumerate() {
            let mut rig = Rig::new(strict(alg));
            let changed = out(&mut rig, datagram(CLIENT, remote, said.as_bytes())).payload() != said.as_bytes();
            // The text rewriter knows no protocol: SIP is text to it.
            assert_eq!(changed, index == other || (index, other) == (1, 0), "{alg:?}: {said}");
        }
    }
}

#[test]
fn expectations_of_one_host_are_bounded_and_text_beyond_them_passes_unchanged() {
    let (mut rig, _) = connected(strict(FTP));
    let (mut sequence, mut changed) = (8, 0);
    for port in 0..100 {
        let command = format!("PORT 10,0,0,2,20,{port}\r\n");
        let said = text(&out(&mut rig, segment(CLIENT, SERVER, sequence, 8, command.as_bytes())));
        changed += usize::from(said != command);
        sequence += command.len() as u32;
    }
    assert_eq!((changed, rig.nat.mappings().len()), (32, 33));
}

#[test]
fn connections_with_changed_text_are_bounded() {
    let mut rig = Rig::new(strict(TEXT));
    let mut changed = 0;
    for port in 10_000..11_100 {
        let client = format!("10.0.0.2:{port}");
        rig.send(tcp(&client, SERVER, SYN));
        changed += usize::from(text(&out(&mut rig, segment(&client, SERVER, 8, 8, b"10.0.0.2"))) != "10.0.0.2");
    }
    assert_eq!(changed, 1024);
}

// TFTP.

#[test]
fn tftp_the_server_may_answer_from_another_port() {
    let request = b"\0\x01file\0octet\0";
    let mut rig = Rig::new(strict(OFF));
    let external = out(&mut rig, datagram(CLIENT, "192.0.2.1:69", request)).source_endpoint();
    assert_eq!(rig.receive(udp("192.0.2.1:4000", external)), Err(DropReason::Filtered));
    let mut rig = Rig::new(strict(TFTP));
    let external = out(&mut rig, datagram(CLIENT, "192.0.2.1:69", request)).source_endpoint();
    assert_eq!(rig.receive(udp("192.0.2.2:4000", external)), Err(DropReason::Filtered));
    assert_eq!(rig.receive(udp("192.0.2.1:4000", external)), Ok(at(CLIENT)));
    assert_eq!(rig.receive(udp("192.0.2.1:4001", external)), Err(DropReason::Filtered));
    assert_eq!(rig.send(udp(CLIENT, "192.0.2.1:4000")), external);
    let mut rig = Rig::new(strict(TFTP));
    let external = out(&mut rig, datagram(CLIENT, "192.0.2.1:69", b"\0\x04\0\x01")).source_endpoint();
    assert_eq!(rig.receive(udp("192.0.2.1:4000", external)), Err(DropReason::Filtered), "no request");
}

// SIP.

const INVITE: &str = "INVITE sip:bob@example.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP 10.0.0.2:5000;branch=z9hG4bK1;rport\r\n\
    From: <sip:alice@10.0.0.2>;tag=1\r\n\
    Call-ID: 1@10.0.0.2\r\n\
    m: <sip:alice@10.0.0.2:5000;transport=udp>\r\n\
    l: 117\r\n\
    Content-Type: application/sdp\r\n\r\n\
    v=0\r\no=- 1 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\n\
    m=audio 7078 RTP/AVP 0\r\na=rtcp:7080\r\nm=video 0 RTP/AVP 31\r\n";

#[test]
fn sip_a_caller_inside_says_where_it_and_its_media_can_be_reached() {
    let mut rig = Rig::new(strict(SIP));
    let body = INVITE.split("\r\n\r\n").nth(1).expect("a body").len();
    let invite = INVITE.replace("l: 117", &format!("l: {body}"));
    let packet = out(&mut rig, datagram(CLIENT, "192.0.2.1:5060", invite.as_bytes()));
    let (external, said) = (packet.source_endpoint(), text(&packet));
    assert!(said.contains(&format!("Via: SIP/2.0/UDP {external};branch=z9hG4bK1;rport\r\n")), "{said}");
    assert!(said.contains(&format!("m: <sip:alice@{external};transport=udp>\r\n")), "{said}");
    assert!(said.contains("Call-ID: 1@10.0.0.2\r\n") && said.contains("From: <sip:alice@10.0.0.2>;tag=1\r\n"));
    assert!(
        said.contains(&format!("c=IN IP4 {EXTERNAL}\r\n")) && said.contains(&format!("o=- 1 1 IN IP4 {EXTERNAL}\r\n"))
    );
    let body = said.split("\r\n\r\n").nth(1).expect("a body");
    assert!(said.contains(&format!("\r\nl: {}\r\n", body.len())), "{said}");
    let port = |name: &str| {
        let at = body.find(name).expect("the line") + name.len();
        body[at..].chars().take_while(char::is_ascii_digit).collect::<String>()
    };
    for (name, internal) in [("m=audio ", "10.0.0.2:7078"), ("a=rtcp:", "10.0.0.2:7080")] {
        let media = format!("{EXTERNAL}:{}", port(name));
        assert_eq!(rig.receive(udp("192.0.2.1:9000", &media)), Ok(at(internal)), "{name}");
        assert_eq!(rig.receive(udp("192.0.2.1:9001", &media)), Ok(at(internal)), "from any port");
        assert_eq!(rig.receive(udp("192.0.2.2:9000", &media)), Err(DropReason::Filtered));
    }
    assert_eq!(port("m=video "), "0", "a stream that is refused stays refused");
}

#[test]
fn sip_what_the_caller_had_said_comes_back_to_it() {
    let mut rig = Rig::new(strict(SIP));
    let external = out(&mut rig, datagram(CLIENT, "192.0.2.1:5060", INVITE.as_bytes())).source_endpoint();
    let answer = format!(
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP {external};received={EXTERNAL};rport={}\r\n\
         Contact: <sip:bob@192.0.2.1>\r\nl: 0\r\n\r\nc=IN IP4 {EXTERNAL}\r\n",
        external.port()
    );
    let said = text(&into(&mut rig, datagram("192.0.2.1:5060", external, answer.as_bytes())));
    assert_eq!(said, answer.replace(&format!("UDP {external}"), &format!("UDP {CLIENT}")));
    let bye = format!("BYE sip:alice@{external} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\n\r\n");
    let said = text(&into(&mut rig, datagram("192.0.2.1:5060", external, bye.as_bytes())));
    assert_eq!(said, bye.replace(&external.to_string(), CLIENT));
}

#[test]
fn sip_a_port_that_is_left_out_is_5060_and_is_written_where_it_is_another() {
    let mut rig = Rig::new(strict(SIP));
    let message = "OPTIONS sip:bob SIP/2.0\r\nv: SIP/2.0/UDP 10.0.0.2;branch=1\r\nContact: <sip:10.0.0.2:5062>\r\n\r\n";
    let packet = out(&mut rig, datagram("10.0.0.2:5060", "192.0.2.1:5060", message.as_bytes()));
    let said = text(&packet);
    assert!(said.contains(&format!("UDP {};branch=1", packet.source_endpoint())), "{said}");
    let contact = said.split("<sip:").nth(1).and_then(|rest| rest.split('>').next()).expect("a contact");
    assert_eq!(rig.receive(udp("192.0.2.1:5060", contact)), Ok(at("10.0.0.2:5062")));
}

#[test]
fn sip_other_text_on_the_port_passes_as_it_is() {
    for said in
        ["\r\n\r\n", "hello 10.0.0.2", "", "SIP/2.0\r\nVia: 10.0.0.2", "INVITE\r\nVia: SIP/2.0/UDP 10.0.0.2\r\n"]
    {
        let mut rig = Rig::new(strict(SIP));
        assert_eq!(text(&out(&mut rig, datagram(CLIENT, "192.0.2.1:5060", said.as_bytes()))), said);
    }
}

// Boxes that know no protocol.

#[test]
fn binary_addresses_are_rewritten_in_both_directions_and_ports_are_not() {
    let mut rig = Rig::new(strict(BINARY));
    let said = b"\x0a\0\0\x02\x13\x88.\x0a\0\0\x03\x0a\0\0\x02";
    let packet = out(&mut rig, datagram(CLIENT, Y1, said));
    assert_eq!(packet.payload(), b"\xc6\x33\x64\x01\x13\x88.\x0a\0\0\x03\xc6\x33\x64\x01");
    let back = into(&mut rig, datagram(Y1, packet.source_endpoint(), packet.payload()));
    assert_eq!(back.payload(), said);
    let (mut rig, external) = connected(strict(BINARY));
    let packet = out(&mut rig, segment(CLIENT, SERVER, 8, 8, said));
    assert_eq!((packet.payload()[..4].to_vec(), packet.tcp_sequence()), (vec![198, 51, 100, 1], Some(8)));
    assert_eq!(into(&mut rig, segment(SERVER, external, 8, 8, packet.payload())).payload(), said);
}

#[test]
fn addresses_in_text_are_rewritten_in_both_directions_and_parts_of_others_are_not() {
    let mut rig = Rig::new(strict(TEXT));
    let said = "10.0.0.2:5000 110.0.0.2 10.0.0.20 10.0.0.2.";
    let packet = out(&mut rig, datagram(CLIENT, Y1, said.as_bytes()));
    assert_eq!(text(&packet), format!("{EXTERNAL}:5000 110.0.0.2 10.0.0.20 {EXTERNAL}."));
    let back = into(&mut rig, datagram(Y1, packet.source_endpoint(), packet.payload()));
    assert_eq!(text(&back), said);
}

#[test]
fn a_datagram_without_a_checksum_keeps_none() {
    let mut rig = Rig::new(strict(TEXT));
    let mut bytes = datagram(CLIENT, Y1, b"10.0.0.2").into_bytes();
    bytes[26..28].fill(0);
    let packet = out(&mut rig, Packet::parse(bytes).expect("a packet"));
    assert_eq!((text(&packet).as_str(), &packet.ip_payload()[6..8]), (EXTERNAL, &[0, 0][..]));
}

#[test]
fn what_would_be_too_long_passes_as_it_is() {
    let mut rig = Rig::new(strict(TEXT));
    let said = b"10.0.0.2 ".repeat(7278);
    assert_eq!(out(&mut rig, datagram(CLIENT, Y1, &said)).payload(), said);
}

#[test]
fn what_is_turned_round_inside_and_what_comes_in_fragments_is_left_alone() {
    let mut rig = Rig::new(Behavior { hairpin: Hairpin::ExternalSource.into(), alg: TEXT, ..Behavior::default() });
    let receiver = rig.send(udp(X2, Y1));
    let mut packet = datagram(CLIENT, receiver, b"10.0.0.2");
    assert!(matches!(rig.nat.outbound(&mut packet, rig.now), Verdict::Hairpin { .. }));
    assert_eq!(text(&packet), "10.0.0.2");
    let whole = datagram(CLIENT, Y1, &b"10.0.0.2 ".repeat(100));
    for mut piece in build::fragments(whole, 500, 0).expect("it may be cut") {
        let before = piece.fragment_data()[20..].to_vec();
        forwarded(rig.nat.outbound(&mut piece, rig.now));
        assert_eq!(piece.fragment_data()[20..], before);
    }
}

/// Bytes that look like something an ALG may take an interest in.
fn crooked() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "PORT ",
        "EPRT ",
        "227 ",
        "229 (",
        "|||",
        "|1|",
        "10.0.0.2",
        "10,0,0,2",
        ",",
        "|",
        ":",
        "5000",
        "99999",
        "\r\n",
        "\r\n\r\n",
        "INVITE x SIP/2.0\r\n",
        "SIP/2.0 200 OK\r\n",
        "Via: ",
        "c=IN IP4 ",
        "m=audio ",
        "a=rtcp:",
        "l:",
        " ",
        "Content-Length: ",
        "\u{0}\u{1}",
        "é",
        "received=",
        "198.51.100.1",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..30).prop_map(|words| words.concat().into_bytes())
}

proptest! {
    #[test]
    fn no_text_breaks_an_alg(
        said in prop_oneof![crooked(), prop::collection::vec(any::<u8>(), 0..80)], outbound: bool, server: bool, over_tcp: bool,
        generic in prop::sample::select(vec![GenericAlg::Off, GenericAlg::RewriteBinary, GenericAlg::RewriteText]),
    ) {
        let alg = Alg { ftp: Switch::On, sip: Switch::On, tftp: Switch::On, generic };
        let mut rig = Rig::new(Behavior { alg, ..Behavior::default() });
        let port = if over_tcp { 21 } else { 5060 };
        let (inside, remote) = match server {
            true => (format!("10.0.0.2:{port}"), "192.0.2.1:4000".to_owned()),
            false => (CLIENT.to_owned(), format!("192.0.2.1:{port}")),
        };
        let opening = if over_tcp { tcp(&inside, &remote, SYN) } else { udp(&inside, &remote) };
        let external = rig.send(opening);
        let made = |from: &str, to: &str| if over_tcp { segment(from, to, 8, 8, &said) } else { datagram(from, to, &said) };
        match outbound {
            true => drop(out(&mut rig, made(&inside, &remote))),
            false => drop(into(&mut rig, made(&remote, &external.to_string()))),
        }
    }

    #[test]
    fn a_connection_whose_text_changes_arrives_as_one_stream_whatever_is_sent_again(
        lines in prop::collection::vec(prop::sample::select(vec!["10.0.0.2\r\n", "NOOP\r\n", "PORT 10,0,0,2,19,137\r\n", "a 10.0.0.2 b 10.0.0.2\r\n"]), 1..12),
        again in prop::collection::vec((any::<prop::sample::Index>(), 1_usize..30), 0..10), start: u32,
    ) {
        let mut rig = Rig::new(strict(Alg { ftp: Switch::On, ..TEXT }));
        rig.send(tcp(CLIENT, SERVER, SYN));
        let (mut old, mut new) = (Vec::new(), Vec::new());
        for line in &lines {
            let packet = out(&mut rig, segment(CLIENT, SERVER, start.wrapping_add(old.len() as u32), 8, line.as_bytes()));
            prop_assert_eq!(packet.tcp_sequence(), Some(start.wrapping_add(new.len() as u32)));
            old.extend_from_slice(line.as_bytes());
            new.extend_from_slice(packet.payload());
        }
        prop_assert!(!String::from_utf8_lossy(&new).contains("10.0.0.2"));
        for (from, length) in again {
            let from = from.index(old.len());
            let to = (from + length).min(old.len());
            let packet = out(&mut rig, segment(CLIENT, SERVER, start.wrapping_add(from as u32), 8, &old[from..to]));
            let at = packet.tcp_sequence().expect("a segment").wrapping_sub(start) as usize;
            prop_assert_eq!(&new[at..at + packet.payload().len()], packet.payload());
        }
        let all = out(&mut rig, segment(CLIENT, SERVER, start.wrapping_add(old.len() as u32), 8, b""));
        prop_assert_eq!(all.tcp_sequence(), Some(start.wrapping_add(new.len() as u32)));
    }
}
