//! RFC 7857 section 10 (REQ-10) and RFC 6864: the identification of IPv4 packets.

mod common;

use std::collections::BTreeSet;

use common::*;
use natbox_nat::Behavior;
use natbox_nat::behavior::*;
use natbox_wire::Packet;
use natbox_wire::build::{self, IpFields};

fn rig(ip_id: IpId) -> Rig {
    Rig::new(Behavior { ip_id, ..Behavior::default() })
}

fn datagram(source: &str, destination: &str, dont_fragment: bool, identification: u16) -> Packet {
    let fields = IpFields { dont_fragment, identification, ..IpFields::default() };
    build::udp(at(source), at(destination), fields, b"natbox").expect("one version")
}

fn identification_outside(nat: &mut Rig, mut packet: Packet) -> u16 {
    forwarded(nat.outbound(&mut packet));
    packet.identification().expect("IPv4")
}

#[test]
fn req_10_no_two_hosts_datagrams_to_one_server_share_an_identification() {
    let mut nat = rig(IpId::Unique);
    let mut seen = BTreeSet::new();
    for round in 0..20_000_u16 {
        for host in ["10.0.0.2:5000", "10.0.0.3:5000", "10.0.0.4:6000"] {
            let identification = identification_outside(&mut nat, datagram(host, Y1, false, round / 100));
            assert!(seen.insert(identification), "{identification} twice, in round {round}");
        }
    }
}

#[test]
fn req_10_fragments_of_one_datagram_keep_one_identification_and_two_datagrams_do_not_share_it() {
    let mut nat = rig(IpId::Unique);
    let mut seen = BTreeSet::new();
    for host in [X1, X2] {
        let fields = IpFields { identification: 7, ..IpFields::default() };
        let whole = build::udp(at(host), at(Y1), fields, &[0; 3000]).expect("one version");
        let pieces = build::fragments(whole, 1500, 0).expect("may be cut");
        let outside: BTreeSet<u16> = pieces.into_iter().map(|one| identification_outside(&mut nat, one)).collect();
        assert_eq!(outside.len(), 1);
        seen.extend(outside);
    }
    assert_eq!(seen.len(), 2);
}

#[test]
fn req_10_atomic_packets_are_left_alone() {
    let mut nat = rig(IpId::Unique);
    for identification in [0, 7, 7, 65_535] {
        assert_eq!(identification_outside(&mut nat, datagram(X1, Y1, true, identification)), identification);
    }
}

#[test]
fn req_10_errors_from_inside_get_one_of_the_boxs_own_too() {
    let mut nat = rig(IpId::Unique);
    let external = nat.send(udp(X1, Y1));
    let mut seen = BTreeSet::new();
    for _ in 0..100 {
        let mut came = datagram(Y1, &external.to_string(), false, 7);
        nat.inbound(&mut came);
        assert_eq!(came.identification(), Some(7), "what comes in keeps its sender's");
        let mut told = error("10.0.0.2", &came);
        forwarded(nat.outbound(&mut told));
        assert!(seen.insert(told.identification()));
    }
}

#[test]
fn req_10_hairpinned_datagrams_get_one_too() {
    let mut nat = rig(IpId::Unique);
    let second = nat.send(udp(X2, Y1)).to_string();
    let mut seen = BTreeSet::new();
    for round in 0..100 {
        for host in [X1, "10.0.0.4:5000"] {
            let mut packet = datagram(host, &second, false, round);
            nat.outbound(&mut packet);
            assert!(seen.insert(packet.identification()));
        }
    }
}

#[test]
fn a_box_that_copies_lets_two_hosts_clash() {
    let mut nat = rig(IpId::Copy);
    for host in [X1, X2] {
        assert_eq!(identification_outside(&mut nat, datagram(host, Y1, false, 7)), 7);
    }
}

#[test]
fn zero_if_atomic_hides_what_is_not_needed() {
    let mut nat = rig(IpId::ZeroIfAtomic);
    assert_eq!(identification_outside(&mut nat, datagram(X1, Y1, true, 7)), 0);
    let [first, second] = [X1, X2].map(|host| identification_outside(&mut nat, datagram(host, Y1, false, 7)));
    assert_ne!(first, second);
}

#[test]
fn a_box_that_translates_nothing_has_no_say() {
    let translation = TranslationKind::None;
    let mut nat = Rig::new(Behavior { translation, ip_id: IpId::Unique, ..Behavior::default() });
    assert_eq!(identification_outside(&mut nat, datagram(X1, Y1, false, 7)), 7);
}

#[test]
fn the_same_seed_gives_the_same_identifications() {
    let run = || {
        let mut nat = rig(IpId::Unique);
        [Y1, Y2, Y1].map(|remote| identification_outside(&mut nat, datagram(X1, remote, false, 7)))
    };
    assert_eq!(run(), run());
}

#[test]
fn the_box_numbers_its_own_packets_by_the_same_counters() {
    let mut nat = rig(IpId::Unique);
    let mut seen = BTreeSet::new();
    for _ in 0..10 {
        assert!(seen.insert(identification_outside(&mut nat, datagram(X1, Y1, false, 7))));
        let mut own = datagram("198.51.100.1:1", Y1, false, 7);
        nat.nat.identify(&mut own);
        assert!(seen.insert(own.identification().expect("IPv4")));
    }
}
