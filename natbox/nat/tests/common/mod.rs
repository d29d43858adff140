//! What the tests of this crate share: endpoints, packets, and a NAT that is easy to talk to.

#![allow(dead_code, reason = "every test file takes what it needs")]

pub(crate) mod pieces;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use natbox_nat::{Behavior, Ended, HoldId, MappingId, Nat, Output, Refusal, Translation, Verdict};
use natbox_wire::build::{self, IpFields};
use natbox_wire::{DropReason, IcmpError, Packet, Protocol, TcpFlags, Time};

pub(crate) const NONE: TcpFlags = TcpFlags { syn: false, ack: false, fin: false, rst: false, psh: false };
pub(crate) const SYN: TcpFlags = TcpFlags { syn: true, ..NONE };
pub(crate) const SYN_ACK: TcpFlags = TcpFlags { syn: true, ack: true, ..NONE };
pub(crate) const ACK: TcpFlags = TcpFlags { ack: true, ..NONE };
pub(crate) const FIN: TcpFlags = TcpFlags { fin: true, ack: true, ..NONE };
pub(crate) const RST: TcpFlags = TcpFlags { rst: true, ack: true, ..NONE };

/// The endpoints that the tests speak of.
pub(crate) const X1: &str = "10.0.0.2:5000";
pub(crate) const X2: &str = "10.0.0.3:5000";
pub(crate) const Y1: &str = "192.0.2.1:1000";
pub(crate) const Y1_OTHER_PORT: &str = "192.0.2.1:1001";
pub(crate) const Y2: &str = "192.0.2.2:1000";
pub(crate) const EXTERNAL: &str = "198.51.100.1";

pub(crate) fn at(endpoint: &str) -> SocketAddr {
    endpoint.parse().expect("an endpoint")
}

pub(crate) fn ip(address: &str) -> IpAddr {
    address.parse().expect("an address")
}

pub(crate) fn seconds(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}

/// A packet of any transport; in TCP a SYN is number 7 and all else 8, of either side, and acknowledges 8; for echo the source's port is the identifier, and `syn` asks for a request.
pub(crate) fn packet(protocol: Protocol, source: SocketAddr, destination: SocketAddr, flags: TcpFlags) -> Packet {
    let fields = IpFields::default();
    let built = match protocol {
        Protocol::Udp => build::udp(source, destination, fields, b"natbox"),
        Protocol::Tcp => build::tcp(source, destination, fields, flags, 8 - u32::from(flags.syn), 8, 1000, b""),
        Protocol::Icmp => build::echo(flags.syn, source.ip(), destination.ip(), fields, source.port(), 1, b"natbox"),
    };
    built.expect("endpoints of one version")
}

pub(crate) fn udp(source: impl ToString, destination: impl ToString) -> Packet {
    packet(Protocol::Udp, at(&source.to_string()), at(&destination.to_string()), NONE)
}

pub(crate) fn tcp(source: impl ToString, destination: impl ToString, flags: TcpFlags) -> Packet {
    packet(Protocol::Tcp, at(&source.to_string()), at(&destination.to_string()), flags)
}

/// An echo request with the identifier of `source`.
pub(crate) fn ping(source: impl ToString, destination: &str) -> Packet {
    let (source, destination) = (at(&source.to_string()), SocketAddr::new(ip(destination), 0));
    packet(Protocol::Icmp, source, destination, SYN)
}

/// An echo reply with the identifier of `destination`.
pub(crate) fn pong(source: &str, destination: SocketAddr) -> Packet {
    build::echo(false, ip(source), destination.ip(), IpFields::default(), destination.port(), 1, b"natbox")
        .expect("one version")
}

/// The error that `from` sends about a packet.
pub(crate) fn error(from: &str, offender: &Packet) -> Packet {
    build::icmp_error(IcmpError::PortUnreachable, ip(from), offender).expect("an offender that may be answered")
}

/// A NAT with a clock.
pub(crate) struct Rig {
    pub(crate) nat: Nat,
    pub(crate) now: Time,
}

impl Rig {
    pub(crate) fn new(behavior: Behavior) -> Rig {
        Rig::with_addresses(behavior, &[EXTERNAL])
    }

    pub(crate) fn with_addresses(behavior: Behavior, external: &[&str]) -> Rig {
        let external: Vec<IpAddr> = external.iter().map(|address| ip(address)).collect();
        Rig { nat: Nat::new(Arc::new(behavior), &external, 1), now: Time::ZERO }
    }

    /// Lets time pass and handles what falls due, as a driver does.
    pub(crate) fn wait(&mut self, duration: Duration) -> Vec<Ended> {
        let until = self.now + duration;
        let mut ended = Vec::new();
        while let Some(due) = self.nat.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.nat.handle_timeout(self.now, &mut |one| ended.push(one));
        }
        self.now = until;
        ended
    }

    pub(crate) fn wait_seconds(&mut self, seconds: u64) -> Vec<Ended> {
        self.wait(Duration::from_secs(seconds))
    }

    pub(crate) fn outbound(&mut self, packet: &mut Packet) -> Verdict {
        let before = packet.clone();
        let verdict = self.nat.outbound(packet, self.now);
        check(&before, packet, verdict);
        verdict
    }

    pub(crate) fn inbound(&mut self, packet: &mut Packet) -> Verdict {
        let before = packet.clone();
        let verdict = self.nat.inbound(packet, self.now);
        check(&before, packet, verdict);
        verdict
    }

    /// Sends a packet out and tells the external endpoint that it got.
    pub(crate) fn send(&mut self, mut packet: Packet) -> SocketAddr {
        match self.outbound(&mut packet) {
            Verdict::Forward(_) => packet.source_endpoint(),
            other => panic!("{packet:?} was to leave: {other:?}"),
        }
    }

    /// Sends a packet in and tells who got it.
    pub(crate) fn receive(&mut self, mut packet: Packet) -> Result<SocketAddr, DropReason> {
        match self.inbound(&mut packet) {
            Verdict::Forward(_) => Ok(packet.destination_endpoint()),
            Verdict::Drop(Refusal { reason, .. }) => Err(reason),
            other => panic!("{packet:?} came in: {other:?}"),
        }
    }

    /// What the NAT does of its own accord, or with packets that it held.
    pub(crate) fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.nat.poll_output()).collect()
    }

    /// Sends a packet in that is refused, and tells why, or that it is held.
    pub(crate) fn refused(&mut self, mut packet: Packet) -> Result<HoldId, Refusal> {
        match self.inbound(&mut packet) {
            Verdict::Hold(hold) => Ok(hold),
            Verdict::Drop(refusal) => Err(refusal),
            other => panic!("{packet:?} came in: {other:?}"),
        }
    }

    /// Sends a packet to the NAT's own address and tells the source and destination that it got.
    pub(crate) fn hairpin(&mut self, mut packet: Packet) -> Result<(SocketAddr, SocketAddr), DropReason> {
        match self.outbound(&mut packet) {
            Verdict::Hairpin { .. } => Ok((packet.source_endpoint(), packet.destination_endpoint())),
            Verdict::Drop(Refusal { reason, .. }) => Err(reason),
            other => panic!("{packet:?} was to turn back: {other:?}"),
        }
    }

    pub(crate) fn refusal(&mut self, mut packet: Packet) -> DropReason {
        match self.outbound(&mut packet) {
            Verdict::Drop(Refusal { reason, .. }) => reason,
            other => panic!("{packet:?} was to be refused: {other:?}"),
        }
    }
}

pub(crate) fn forwarded(verdict: Verdict) -> Translation {
    match verdict {
        Verdict::Forward(translation) => translation,
        other => panic!("was to be forwarded: {other:?}"),
    }
}

pub(crate) fn mapping_of(verdict: Verdict) -> MappingId {
    forwarded(verdict).mapping
}

/// What holds of every packet: a dropped one is unchanged, a translated one is sound.
pub(crate) fn check(before: &Packet, after: &Packet, verdict: Verdict) {
    if matches!(verdict, Verdict::Drop(_) | Verdict::Pass | Verdict::Hold(_)) {
        assert_eq!(before, after, "{verdict:?} must not touch the packet");
    }
    let again = Packet::parse(after.bytes().to_vec()).expect("a translated packet parses");
    assert_eq!(&again, after);
    assert_eq!(before.transport_checksum_ok(), after.transport_checksum_ok(), "{verdict:?}");
    assert_eq!(before.bytes().len(), after.bytes().len());
    assert_eq!(before.ttl(), after.ttl());
    if let (Some(old), Some(new)) = (before.quoted(), after.quoted()) {
        assert_eq!(old.protocol, new.protocol);
    }
}
