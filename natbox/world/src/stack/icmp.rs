//! ICMP at a host: echo answered, errors sent, errors given to the sockets that they are about.

use std::net::{IpAddr, SocketAddr};

use natbox_host::{EchoAnswer, IcmpReport};
use natbox_wire::{DropReason, IcmpError, Packet, Protocol, Quoted, build};

use super::echo::{self, Answered};
use super::errno;
use super::{Arrival, Stack};
use crate::note::Outcome;

impl Stack {
    /// Answers an echo request, from the address that it was sent to. Broadcast pings stay unanswered
    /// (`icmp_echo_ignore_broadcasts`), IPv6 multicast ones do not (RFC 4443 section 4.2).
    pub(super) fn answer_echo(&mut self, packet: &Packet, identifier: u16, sequence: u16, arrival: Arrival) -> Outcome {
        if arrival.to_many && !packet.is_ipv6() {
            return Outcome::Dropped(DropReason::IcmpUnconcerned);
        }
        let bound = (!arrival.to_many).then(|| packet.destination());
        let Ok(route) = self.routes.route(bound, packet.source()) else {
            return Outcome::Dropped(DropReason::NoRoute);
        };
        let fields = self.ip_fields(64, false);
        let (source, destination) = (route.source, packet.source());
        let reply = build::echo(false, source, destination, fields, identifier, sequence, packet.payload());
        match reply.map(|reply| self.transmit(route.uplink, reply, arrival.id, arrival.now)) {
            Some(Ok(())) => Outcome::Delivered,
            _ => Outcome::Dropped(DropReason::TooBig),
        }
    }

    pub(super) fn receive_echo_reply(
        &mut self,
        packet: &Packet,
        identifier: u16,
        sequence: u16,
        arrival: Arrival,
    ) -> Outcome {
        let answer = echo::reply(packet, sequence, arrival.now);
        self.told_echo(identifier, packet.destination(), answer)
    }

    fn told_echo(&mut self, identifier: u16, local: IpAddr, answer: EchoAnswer) -> Outcome {
        match self.give_echo_answer(identifier, local, answer) {
            Answered::NoSocket if self.is_raw(Protocol::Icmp, identifier) => Outcome::Delivered,
            answered => outcome_of(answered),
        }
    }

    fn give_echo_answer(&mut self, identifier: u16, local: IpAddr, answer: EchoAnswer) -> Answered {
        let Some(rare) = &mut self.rare else { return Answered::NoSocket };
        rare.echo.answer(identifier, local, answer, &mut self.wakes)
    }

    /// Tells the sender of `offender` what is wrong with it, unless no error may be sent about it.
    pub(super) fn send_icmp_error(&mut self, error: IcmpError, offender: &Packet, arrival: Arrival) {
        if arrival.to_many {
            return;
        }
        let Ok(route) = self.routes.route(Some(offender.destination()), offender.source()) else { return };
        if let Some(packet) = build::icmp_error(error, offender.destination(), offender) {
            // An ICMP error fits every MTU that IP allows; where a link is narrower it is dropped with that reason.
            let _ = self.transmit(route.uplink, packet, arrival.id, arrival.now);
        }
    }

    /// An ICMP error came: whoever sent the packet that it quotes is told.
    pub(super) fn receive_icmp_error(&mut self, packet: &Packet, error: IcmpError, arrival: Arrival) -> Outcome {
        let Some(quoted) = packet.quoted().filter(|quoted| self.routes.is_own(quoted.source.ip())) else {
            return Outcome::Dropped(DropReason::IcmpUnconcerned);
        };
        let report = IcmpReport { error, reporter: packet.source(), destination: quoted.destination, at: arrival.now };
        let outcome = match quoted.protocol {
            Protocol::Udp => self.report_to_udp(quoted.source, report),
            Protocol::Tcp => self.report_to_tcp(quoted, report),
            Protocol::Icmp => self.report_to_echo(packet, quoted, report),
        };
        if let (Outcome::Delivered, IcmpError::PacketTooBig { mtu }) = (outcome, error) {
            self.learn_path_mtu(quoted.destination.ip(), mtu, arrival.now);
        }
        outcome
    }

    fn report_to_udp(&mut self, local: SocketAddr, report: IcmpReport) -> Outcome {
        let error = errno::from_icmp(report.error, local.is_ipv6());
        if self.udp.report(local, report, error, &mut self.wakes) {
            Outcome::Delivered
        } else {
            Outcome::Dropped(DropReason::IcmpUnconcerned)
        }
    }

    fn report_to_echo(&mut self, packet: &Packet, quoted: Quoted, report: IcmpReport) -> Outcome {
        let Some([.., high, low]) = packet.quoted_transport().and_then(|echo| echo.first_chunk::<8>()) else {
            return Outcome::Dropped(DropReason::IcmpUnconcerned);
        };
        let sequence = u16::from_be_bytes([*high, *low]);
        let answer = EchoAnswer::Error { report, sequence };
        self.told_echo(quoted.source.port(), quoted.source.ip(), answer)
    }
}

fn outcome_of(answered: Answered) -> Outcome {
    match answered {
        Answered::Delivered => Outcome::Delivered,
        Answered::BufferFull => Outcome::Dropped(DropReason::BufferFull),
        Answered::NoSocket => Outcome::Dropped(DropReason::IcmpUnconcerned),
    }
}
