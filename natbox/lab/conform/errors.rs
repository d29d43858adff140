//! ICMP errors about sessions: which pass, how they are translated, and what they must not do.

use std::sync::Arc;

use natbox_nat::Behavior;
use natbox_wire::{IcmpError, Packet, Protocol, Transport, build};

use super::bench::Bench;
use super::packets::{ROUTER, X1, Y1, Y2, answer, error, icmp, opener, quoting, udp, with_header, with_options};
use super::{Outcome, Shortfall, not_applicable, require, violated};

/// An ICMP error about a flow, and then the flow goes on.
pub(super) fn survived(behavior: &Arc<Behavior>, protocol: Protocol) -> Outcome {
    let mut bench = Bench::new(behavior);
    let sent = bench.out(opener(protocol, X1, Y1))?;
    let external = sent.source_endpoint();
    for from in [Y1.ip(), ROUTER] {
        bench.verdict_in(&mut error(from, &sent));
    }
    let went = bench.reaches(answer(protocol, Y1, external), X1);
    went.or_else(|observed| violated(format!("after an ICMP error about the flow, {observed}")))
}

pub(super) fn of_any_source(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let sent = bench.out(udp(X1, Y1))?;
    if bench.deliver(error(Y1.ip(), &sent)).is_err() {
        return not_applicable("no ICMP error passes at all");
    }
    bench.deliver(error(ROUTER, &sent))?;
    Ok(())
}

/// An error about a datagram that has left, as it came in; of the remote itself, for those that let in no router's
/// (RFC 4787 REQ-12a judges that).
fn translated(behavior: &Arc<Behavior>, about: IcmpError, protocol: Protocol) -> Result<(Packet, Packet), Shortfall> {
    let mut bench = Bench::new(behavior);
    let sent = opener(protocol, X1, Y1);
    let outside = bench.out(sent.clone())?;
    let error = |from| build::icmp_error(about, from, &outside).ok_or("nobody may answer it".to_owned());
    let came = match bench.deliver(error(ROUTER)?) {
        Ok(came) => came,
        Err(_) => bench.deliver(error(Y1.ip())?)?,
    };
    Ok((came, sent))
}

/// A translated error shows its receiver what it sent, and all its checksums are right.
pub(super) fn shows(came: &Packet, sent: &Packet) -> Outcome {
    let quote = came.quoted().map(|quote| (quote.source, quote.destination));
    let right = Some((sent.source_endpoint(), sent.destination_endpoint()));
    require(quote == right, || match quote {
        Some((from, to)) => format!("an error quoted a packet from {from} to {to}, which its receiver had not sent"),
        None => "an error arrived without a quote".to_owned(),
    })?;
    let sound = came.transport_checksum_ok() && came.quoted_ip_checksum_ok();
    require(sound, || "a translated error had a wrong checksum".to_owned())
}

/// Destination unreachable of several codes, fragmentation needed among them, about a flow of this transport.
pub(super) fn unreachable_of(behavior: &Arc<Behavior>, protocol: Protocol) -> Outcome {
    for about in [IcmpError::PortUnreachable, IcmpError::HostUnreachable, IcmpError::PacketTooBig { mtu: 1280 }] {
        let (came, sent) = translated(behavior, about, protocol)?;
        shows(&came, &sent)?;
    }
    Ok(())
}

pub(super) fn unreachable(behavior: &Arc<Behavior>) -> Outcome {
    unreachable_of(behavior, Protocol::Udp)
}

pub(super) fn inbound(behavior: &Arc<Behavior>) -> Outcome {
    let (came, sent) = translated(behavior, IcmpError::PortUnreachable, Protocol::Udp)?;
    shows(&came, &sent)
}

/// Type, code and what else an error says stay as they were.
pub(super) fn inbound_meaning(behavior: &Arc<Behavior>) -> Outcome {
    let abouts = [IcmpError::PortUnreachable, IcmpError::TtlExceeded, IcmpError::PacketTooBig { mtu: 1280 }];
    for about in abouts {
        let (came, _) = translated(behavior, about, Protocol::Udp)?;
        let said = came.transport();
        require(said == Transport::IcmpError(about), || format!("{about:?} became {said:?}"))?;
    }
    Ok(())
}

pub(super) fn inbound_receiver(behavior: &Arc<Behavior>) -> Outcome {
    let (came, _) = translated(behavior, IcmpError::PortUnreachable, Protocol::Udp)?;
    let to = came.destination();
    require(to == X1.ip(), || format!("an error about a packet of {X1} went to {to}"))
}

/// An error of an inside sender about a datagram that came in; the datagram as its remote sent it.
fn left(behavior: &Arc<Behavior>, about: IcmpError, router: bool) -> Result<(Packet, Packet), String> {
    let mut bench = Bench::new(behavior);
    let external = bench.send(udp(X1, Y1))?;
    let sent = udp(Y1, external);
    let inside = bench.deliver(sent.clone())?;
    let from = if router { super::packets::host(9, 1).ip() } else { X1.ip() };
    let error = build::icmp_error(about, from, &inside).ok_or("nobody may answer it")?;
    Ok((bench.out(error)?, sent))
}

pub(super) fn outbound(behavior: &Arc<Behavior>) -> Outcome {
    let (left, sent) = left(behavior, IcmpError::PortUnreachable, false)?;
    shows(&left, &sent)
}

pub(super) fn outbound_meaning(behavior: &Arc<Behavior>) -> Outcome {
    for about in [IcmpError::PortUnreachable, IcmpError::TtlExceeded] {
        let (left, _) = left(behavior, about, false)?;
        let said = left.transport();
        require(said == Transport::IcmpError(about), || format!("{about:?} became {said:?}"))?;
    }
    Ok(())
}

/// The host's own error shows its external address, and so does that of a router on the inside, which has none.
pub(super) fn outbound_sender(behavior: &Arc<Behavior>) -> Outcome {
    for (router, about) in [(false, IcmpError::PortUnreachable), (true, IcmpError::TtlExceeded)] {
        let (left, sent) = left(behavior, about, router)?;
        let (from, external) = (left.source(), sent.destination());
        require(from == external, || format!("an outbound error showed the source {from}, not {external}"))?;
    }
    Ok(())
}

pub(super) fn wrong_checksum(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let sent = bench.out(udp(X1, Y1))?;
    let mut spoilt = error(Y1.ip(), &sent).into_bytes();
    if let Some(last) = spoilt.last_mut() {
        *last ^= 1;
    }
    let spoilt = Packet::parse(spoilt).map_err(|_| "no packet".to_owned())?;
    let passed = bench.deliver(spoilt).is_ok();
    require(!passed, || "an error with a wrong ICMP checksum was forwarded".to_owned())
}

pub(super) fn wrong_quoted_checksum(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let sent = bench.out(udp(X1, Y1))?;
    let mut quote = sent.bytes().to_vec();
    quote[10] ^= 0xFF;
    let passed = bench.deliver(quoting(sent.source(), &quote)).is_ok();
    require(!passed, || "an error with a wrong quoted IP checksum was forwarded".to_owned())
}

/// An error that quotes these bytes of a datagram which has left: as it came in, once it is known that errors pass.
fn quote_of(behavior: &Arc<Behavior>, quote: impl Fn(&Packet) -> Packet) -> Result<Packet, Shortfall> {
    let mut bench = Bench::new(behavior);
    let sent = bench.out(udp(X1, Y1))?;
    if bench.deliver(error(Y1.ip(), &sent)).is_err() {
        return Err(Shortfall::NotApplicable("no ICMP error passes at all".to_owned()));
    }
    let mut bench = Bench::new(behavior);
    let sent = bench.out(udp(X1, Y1))?;
    Ok(bench.deliver(quote(&sent))?)
}

/// A quote whose header is longer, its options no-operations.
pub(super) fn options(behavior: &Arc<Behavior>) -> Outcome {
    let came = quote_of(behavior, |sent| quoting(sent.source(), &with_options(sent, &[1; 8])))?;
    let source = came.quoted().map(|quote| quote.source);
    require(source == Some(X1), || "the ports behind IP options of a quoted packet were not translated".to_owned())
}

/// A quoted UDP checksum that is wrong, and a quote that ends before the payload does.
pub(super) fn quoted_transport_checksum(behavior: &Arc<Behavior>) -> Outcome {
    let spoilt = |sent: &Packet| {
        let mut quote = sent.bytes().to_vec();
        quote[26] ^= 0xFF;
        quoting(sent.source(), &quote)
    };
    quote_of(behavior, spoilt)?;
    quote_of(behavior, |sent| quoting(sent.source(), &sent.bytes()[..28]))?;
    Ok(())
}

/// RFC 4884: a quote that is padded to 128 bytes, then an extension object. The quote is translated with a checksum of
/// its own length, and the extension is left alone.
pub(super) fn extensions(behavior: &Arc<Behavior>) -> Outcome {
    // Version 2 with its checksum, and an object of 8 bytes of class 1.
    let mut extension = [0x20, 0, 0, 0, 0, 8, 1, 1, 0xDE, 0xAD, 0xBE, 0xEF];
    let sum = natbox_wire::checksum::checksum(&extension);
    extension[2..4].copy_from_slice(&sum.to_be_bytes());
    let came = quote_of(behavior, |sent| {
        let mut quote = sent.bytes().to_vec();
        quote.resize(128, 0);
        icmp(Y1.ip(), sent.source(), 3, 3, &[&[0, 32, 0, 0], &quote[..], &extension].concat())
    })?;
    let message = came.ip_payload();
    require(message.ends_with(&extension), || "the extensions of an ICMP error were changed".to_owned())?;
    let length = message.get(10..12).map_or(0, |length| usize::from(u16::from_be_bytes([length[0], length[1]])));
    let quote = message.get(8..8 + length).and_then(|quote| Packet::parse(quote.to_vec()).ok());
    let sound = quote.is_some_and(|quote| quote.source_endpoint() == X1 && quote.transport_checksum_ok());
    require(sound && came.transport_checksum_ok(), || {
        "a quote before ICMP extensions was not translated, or its checksum is wrong".to_owned()
    })
}

pub(super) fn inbound_strays(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let external = bench.send(udp(X1, Y1))?;
    let passed = bench.deliver(error(ROUTER, &udp(external, Y2))).is_ok();
    require(!passed, || "an error about a packet that nobody had sent was forwarded".to_owned())
}

pub(super) fn outbound_strays(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    bench.send(udp(X1, Y1))?;
    let passed = bench.out(error(X1.ip(), &udp(Y2, X1))).is_ok();
    require(!passed, || "an error of the inside about a packet that had not come was forwarded".to_owned())
}

/// Source quench about a live flow (RFC 6633 has done away with it).
pub(super) fn source_quench(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let sent = bench.out(udp(X1, Y1))?;
    let quench = icmp(Y1.ip(), sent.source(), 4, 0, &[&[0; 4], sent.bytes()].concat());
    let passed = bench.deliver(quench).is_ok();
    require(!passed, || "a source quench was forwarded".to_owned())
}

/// An error whose quoted packet asks for loose source routing.
pub(super) fn quoted_source_route(behavior: &Arc<Behavior>) -> Outcome {
    let routed = |sent: &Packet| with_options(sent, &[131, 7, 4, 192, 0, 2, 9, 0]);
    match quote_of(behavior, |sent| quoting(sent.source(), &with_header(sent, |_| {}))) {
        Err(Shortfall::NotApplicable(why)) => return not_applicable(why),
        other => other?,
    };
    match quote_of(behavior, |sent| quoting(sent.source(), &routed(sent))) {
        Ok(_) => violated("an error that quotes a request for source routing was forwarded"),
        Err(_) => Ok(()),
    }
}
