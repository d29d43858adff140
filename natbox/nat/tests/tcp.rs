//! Properties of TCP: what two well-behaved ends say to one another passes; what is held is bounded and announced.

mod common;

use std::collections::VecDeque;
use std::net::SocketAddr;

use common::*;
use natbox_nat::behavior::*;
use natbox_nat::{Behavior, Output, Verdict};
use natbox_wire::build::{self, IpFields};
use natbox_wire::{Packet, Protocol, TcpFlags, Word};
use proptest::prelude::*;

fn word<W: Word + std::fmt::Debug>() -> impl Strategy<Value = W> {
    prop::sample::select(W::ALL)
}

/// One end of a connection (RFC 9293), as far as its segments go.
struct End {
    local: SocketAddr,
    remote: SocketAddr,
    /// The first number it sends, what has been acknowledged, what it sends next.
    first: u32,
    acknowledged: u32,
    next: u32,
    /// What it expects next, once it has seen the other's SYN.
    expected: Option<u32>,
    /// The window that it announces, unscaled, and its scale if both offer one.
    window: u16,
    scale: Option<u8>,
    /// The other's window in bytes.
    allowed: u32,
    fin: Option<u32>,
    fin_seen: bool,
    /// Segments sent so far, to be sent again.
    sent: Vec<(TcpFlags, u32, usize)>,
}

/// One thing that happens to a connection. `end` is the one that acts.
#[derive(Clone, Debug)]
enum Act {
    Open,
    Data(usize),
    Ack,
    Fin,
    Again(usize),
    KeepAlive,
    Deliver,
    Lose,
    Swap,
}

impl End {
    fn new(local: SocketAddr, remote: SocketAddr, first: u32, window: u16, scale: Option<u8>) -> End {
        let (next, acknowledged) = (first, first);
        let sent = Vec::new();
        End {
            local,
            remote,
            first,
            acknowledged,
            next,
            expected: None,
            window,
            scale,
            allowed: 0,
            fin: None,
            fin_seen: false,
            sent,
        }
    }

    fn is_established(&self) -> bool {
        self.expected.is_some() && self.acknowledged != self.first
    }

    fn packet(&self, flags: TcpFlags, sequence: u32, length: usize) -> Packet {
        let mut header = vec![0; if flags.syn { 24 } else { 20 }];
        header[0..2].copy_from_slice(&self.local.port().to_be_bytes());
        header[2..4].copy_from_slice(&self.remote.port().to_be_bytes());
        header[4..8].copy_from_slice(&sequence.to_be_bytes());
        header[8..12].copy_from_slice(&self.expected.filter(|_| flags.ack).unwrap_or(0).to_be_bytes());
        header[12] = (header.len() as u8 / 4) << 4;
        header[13] =
            u8::from(flags.fin) | u8::from(flags.syn) << 1 | u8::from(flags.rst) << 2 | u8::from(flags.ack) << 4;
        header[14..16].copy_from_slice(&self.window.to_be_bytes());
        if flags.syn {
            // Window scale, or four times nothing.
            let option = self.scale.map_or([1; 4], |scale| [1, 3, 3, scale]);
            header[20..24].copy_from_slice(&option);
        }
        header.resize(header.len() + length, 0);
        build::ip(self.local.ip(), self.remote.ip(), 6, IpFields::default(), &header).expect("a segment")
    }

    fn send(&mut self, flags: TcpFlags, length: usize) -> Packet {
        let packet = self.packet(flags, self.next, length);
        let takes = length as u32 + u32::from(flags.syn) + u32::from(flags.fin);
        if takes > 0 {
            self.sent.push((flags, self.next, length));
        }
        self.next = self.next.wrapping_add(takes);
        packet
    }

    /// What the end sends if it is told to, where RFC 9293 lets it.
    fn act(&mut self, act: &Act) -> Option<Packet> {
        let flags = if self.expected.is_some() { ACK } else { NONE };
        match *act {
            Act::Open if self.next == self.first => Some(self.send(TcpFlags { syn: true, ..flags }, 0)),
            Act::Data(length) if self.is_established() && self.fin.is_none() => {
                let in_flight = self.next.wrapping_sub(self.acknowledged);
                let length = length.min(self.allowed.saturating_sub(in_flight) as usize);
                (length > 0).then(|| self.send(ACK, length))
            }
            Act::Fin if self.is_established() && self.fin.is_none() => {
                self.fin = Some(self.next);
                Some(self.send(FIN, 0))
            }
            Act::Ack if self.is_established() => Some(self.send(ACK, 0)),
            Act::Again(which) => {
                let unacknowledged =
                    |sent: &&(TcpFlags, u32, usize)| sent.1.wrapping_sub(self.acknowledged) as i32 >= 0;
                let &(flags, sequence, length) = self.sent.iter().filter(unacknowledged).nth(which)?;
                Some(self.packet(TcpFlags { ack: self.expected.is_some(), ..flags }, sequence, length))
            }
            Act::KeepAlive if self.is_established() => {
                Some(self.packet(ACK, self.acknowledged.wrapping_sub(1), usize::from(self.fin.is_none())))
            }
            _ => None,
        }
    }

    /// Takes a segment, and answers what must be answered at once.
    fn take(&mut self, packet: &Packet, flags: TcpFlags, scaled: bool, other_scale: u8) -> Option<Packet> {
        let sequence = packet.tcp_sequence()?;
        if flags.syn && self.expected.is_none() {
            self.expected = Some(sequence.wrapping_add(1));
        }
        if flags.ack {
            let acknowledgement = packet.tcp_acknowledgement()?;
            if acknowledgement.wrapping_sub(self.acknowledged) as i32 > 0 {
                self.acknowledged = acknowledgement;
            }
        }
        let scale = if scaled && !flags.syn { other_scale } else { 0 };
        self.allowed = u32::from(packet.tcp_window()?) << scale;
        let length = packet.payload().len() as u32 + u32::from(flags.fin);
        let expected = self.expected?;
        if flags.syn {
            let answer = if self.next == self.first || !flags.ack { TcpFlags { syn: true, ..ACK } } else { ACK };
            return Some(match answer.syn && self.next != self.first {
                // A simultaneous open: the SYN goes again, with an ACK.
                true => self.packet(answer, self.first, 0),
                false => self.send(answer, 0),
            });
        }
        if length > 0 && sequence == expected {
            self.expected = Some(expected.wrapping_add(length));
            self.fin_seen |= flags.fin;
        }
        (length > 0).then(|| self.packet(ACK, self.next, 0))
    }
}

/// A connection through a NAT.
struct Connection {
    rig: Rig,
    ends: [End; 2],
    /// What is on its way to each end, as it arrives.
    way: [VecDeque<Packet>; 2],
}

impl Connection {
    fn act(&mut self, side: usize, act: &Act) {
        match act {
            Act::Deliver => {
                if let Some(packet) = self.way[side].pop_front() {
                    let flags = flags_of(&packet);
                    let scaled = self.ends.iter().all(|end| end.scale.is_some());
                    let other_scale = self.ends[1 - side].scale.unwrap_or(0);
                    let answer = self.ends[side].take(&packet, flags, scaled, other_scale);
                    answer.into_iter().for_each(|answer| self.transmit(side, answer));
                }
            }
            Act::Lose => drop(self.way[side].pop_front()),
            Act::Swap if self.way[side].len() > 1 => self.way[side].swap(0, 1),
            _ => {
                let packet = self.ends[side].act(act);
                packet.into_iter().for_each(|packet| self.transmit(side, packet));
            }
        }
    }

    /// Every segment of a well-behaved end passes.
    fn transmit(&mut self, side: usize, mut packet: Packet) {
        let verdict = if side == 0 { self.rig.outbound(&mut packet) } else { self.rig.inbound(&mut packet) };
        assert!(matches!(verdict, Verdict::Forward(_)), "{packet} from {side}: {verdict:?}");
        assert_eq!(packet.destination_endpoint(), self.ends[1 - side].local);
        assert_eq!(packet.source_endpoint(), self.ends[1 - side].remote);
        self.way[1 - side].push_back(packet);
    }
}

fn flags_of(packet: &Packet) -> TcpFlags {
    match packet.transport() {
        natbox_wire::Transport::Tcp { flags, .. } => flags,
        other => panic!("{other:?}"),
    }
}

fn acts() -> impl Strategy<Value = Vec<(usize, Act)>> {
    let act = prop_oneof![
        6 => Just(Act::Deliver),
        3 => (1..2000_usize).prop_map(Act::Data),
        1 => Just(Act::Ack),
        1 => Just(Act::Fin),
        2 => (0..3_usize).prop_map(Act::Again),
        1 => Just(Act::KeepAlive),
        1 => Just(Act::Lose),
        1 => Just(Act::Swap),
    ];
    prop::collection::vec((0..2_usize, act), 1..200)
}

/// The opening: who sends a SYN, and what happens until both are established.
fn opening(opener: usize) -> Vec<(usize, Act)> {
    let mut acts = match opener {
        2 => vec![(0, Act::Open), (1, Act::Open)],
        3 => vec![(1, Act::Open), (0, Act::Open)],
        side => vec![(side, Act::Open)],
    };
    acts.extend((0..4).flat_map(|_| [(0, Act::Deliver), (1, Act::Deliver)]));
    acts
}

proptest! {
    /// RFC 5382 REQ-2, by every opener and in both orders of a simultaneous open, with loss, copies and reordering.
    #[test]
    fn every_segment_of_two_well_behaved_ends_passes(
        opener in 0..4_usize, first in any::<[u32; 2]>(), windows in any::<[u16; 2]>(),
        scales in any::<[Option<u8>; 2]>(), acts in acts(),
        tcp_established_on in word(), tcp_window in word(), tcp_reopen in word(), expiry_notify in word(),
    ) {
        let behavior = Behavior { tcp_established_on, tcp_window, tcp_reopen, expiry_notify, ..Behavior::default() };
        let mut rig = Rig::new(behavior);
        let external = rig.send(tcp(X1, Y2, SYN));
        let scales = scales.map(|scale| scale.map(|scale| scale % 15));
        let ends = [
            End::new(at(X1), at(Y1), first[0], windows[0].max(1), scales[0]),
            End::new(at(Y1), external, first[1], windows[1].max(1), scales[1]),
        ];
        let mut connection = Connection { rig, ends, way: Default::default() };
        for (side, act) in opening(opener).iter().chain(&acts) {
            connection.act(*side, act);
        }
    }

    /// Whatever segments come, under whatever TCP axes: what leaves is sound, nothing panics, everything ends.
    #[test]
    fn any_segments_leave_a_nat_that_ends_everything_in_time(
        (mapping, filtering, session_affinity, hairpin) in (word::<Mapping>(), prop::sample::select(&Filtering::ALL[..4]), word(), word::<Hairpin>()),
        (tcp_machine, tcp_established_on, tcp_simopen, tcp_window) in (word(), word(), word(), word()),
        (tcp_reopen, tcp_no_state, expiry_notify, unsolicited_syn) in (word(), word(), word(), word()),
        steps in prop::collection::vec((0..4_u8, 0..32_u8, 0..3_u32, 0..3_u32, 0..3_usize, 0..200_u64), 1..60),
    ) {
        let (mapping, filtering, hairpin) = (mapping.into(), filtering.into(), hairpin.into());
        let mut behavior = Behavior {
            mapping, filtering, session_affinity, hairpin, tcp_machine, tcp_established_on, tcp_simopen, tcp_window,
            tcp_reopen, tcp_no_state, expiry_notify, unsolicited_syn, ..Behavior::default()
        };
        behavior.timeouts.tcp_established = std::time::Duration::from_secs(300);
        let mut rig = Rig::new(behavior);
        let mut externals = vec![at("198.51.100.1:4999")];
        for (way, bits, sequence, acknowledgement, length, wait) in steps {
            let flags = TcpFlags { syn: bits & 1 != 0, ack: bits & 2 != 0, fin: bits & 4 != 0, rst: bits & 8 != 0, psh: bits & 16 != 0 };
            let external = externals[externals.len() - 1];
            let (from, to) = match way {
                0 => (at(X1), at(Y1)),
                1 => (at(X2), external),
                2 => (at(Y1), external),
                _ => (at(Y2), external),
            };
            let number = |n: u32| n.wrapping_mul(500).wrapping_sub(1);
            let fields = IpFields::default();
            let mut packet = build::tcp(from, to, fields, flags, number(sequence), number(acknowledgement), 700, &vec![0; length * 300]).expect("a segment");
            let verdict = if way < 2 { rig.outbound(&mut packet) } else { rig.inbound(&mut packet) };
            if let (Verdict::Forward(_), 0) = (verdict, way) {
                externals.push(packet.source_endpoint());
            }
            rig.wait_seconds(wait);
            sound(&mut rig);
        }
        rig.wait_seconds(10_000);
        sound(&mut rig);
        prop_assert_eq!(rig.nat.mappings(), []);
        prop_assert_eq!(rig.nat.poll_timeout(), None);
    }

    #[test]
    fn held_syns_are_announced_bounded_and_answered_once(
        unsolicited_syn in word(), tcp_simopen in word(), mapping in word::<Mapping>(), filtering in prop::sample::select(&Filtering::ALL[..4]),
        steps in prop::collection::vec((0..4_u8, 1..5_u16, 0..3_u8, 0..4000_u64), 1..80),
    ) {
        let filtering = PerProtocol::from(filtering);
        let mut rig = Rig::new(Behavior { unsolicited_syn, tcp_simopen, mapping: mapping.into(), filtering, ..Behavior::default() });
        let mut externals = vec![at("198.51.100.1:4999")];
        let (mut held, mut told) = (Vec::new(), Vec::new());
        for (kind, port, which, wait) in steps {
            let remote = at(&format!("192.0.2.1:{port}"));
            let external = externals[externals.len() - 1 - usize::from(which) % externals.len()];
            let mut syn = match kind {
                0 => packet(Protocol::Tcp, at(X1), remote, SYN),
                1 => packet(Protocol::Tcp, at(X2), external, SYN),
                _ => packet(Protocol::Tcp, remote, external, SYN),
            };
            match if kind < 2 { rig.outbound(&mut syn) } else { rig.inbound(&mut syn) } {
                Verdict::Hold(hold) => held.push((rig.now, hold)),
                Verdict::Forward(_) if kind == 0 => externals.push(syn.source_endpoint()),
                _ => {}
            }
            if let Some((since, _)) = held.iter().find(|(_, hold)| !told.contains(hold) && !discarded(&mut rig, &mut told).contains(hold)) {
                prop_assert!(rig.nat.poll_timeout() <= Some(*since + std::time::Duration::from_secs(6)), "announced");
            }
            let due = rig.nat.poll_timeout();
            rig.wait(std::time::Duration::from_millis(wait));
            let outputs = discarded(&mut rig, &mut told);
            prop_assert!(outputs.is_empty() || due.is_some_and(|due| due <= rig.now), "nothing before the deadline");
        }
        rig.wait_seconds(6);
        discarded(&mut rig, &mut told);
        let mut all: Vec<_> = held.into_iter().map(|(_, hold)| hold).collect();
        all.sort_unstable();
        told.sort_unstable();
        prop_assert_eq!(told, all, "each ends once");
    }
}

/// What the NAT has made of its own accord is sound.
fn sound(rig: &mut Rig) {
    for output in rig.outputs() {
        if let Output::Send { packet, .. } = output {
            assert!(packet.transport_checksum_ok(), "{packet}");
        }
    }
}

/// What has been discarded since the last time; `told` gets it too.
fn discarded(rig: &mut Rig, told: &mut Vec<natbox_nat::HoldId>) -> Vec<natbox_nat::HoldId> {
    let new: Vec<_> = rig
        .outputs()
        .into_iter()
        .map(|output| match output {
            Output::Discard { hold, .. } => hold,
            other => panic!("{other:?}"),
        })
        .collect();
    told.extend(&new);
    new
}

/// Linux: a FIN or RST outside the window from one side, then from the other: the connection has probably ended.
#[test]
fn resets_outside_the_window_from_both_sides_leave_a_connection_a_shorter_life() {
    let timeouts = Timeouts { tcp_unacknowledged: Some(std::time::Duration::from_secs(300)), ..Timeouts::default() };
    let (tcp_machine, tcp_window) = (TcpMachine::Netfilter, TcpWindow::Strict);
    let mut rig = Rig::new(Behavior { tcp_machine, tcp_window, timeouts, ..Behavior::default() });
    let far_off = |from: SocketAddr, to: SocketAddr| {
        build::tcp(from, to, IpFields::default(), RST, 2_000_000_000, 2_000_000_000, 1000, b"").expect("a segment")
    };
    let external = rig.send(tcp(X1, Y1, SYN));
    assert_eq!(rig.receive(tcp(Y1, external, SYN_ACK)), Ok(at(X1)));
    rig.send(tcp(X1, Y1, ACK));
    let id = rig.nat.mappings()[0].id;
    assert_eq!(rig.nat.deadline(id), Some(seconds(7440)));
    assert!(rig.receive(far_off(at(Y1), external)).is_err());
    assert_eq!(rig.nat.deadline(id), Some(seconds(7440)), "one side alone may be anybody");
    assert!(matches!(rig.outbound(&mut far_off(at(X1), at(Y1))), natbox_nat::Verdict::Drop(_)));
    assert_eq!(rig.nat.deadline(id), Some(seconds(300)));
}
