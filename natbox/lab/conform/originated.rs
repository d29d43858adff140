//! What a gateway does that no NAT decides: the sizes of links, the time to live, errors of its own, overlapping realms.

use std::sync::Arc;
use std::time::Duration;

use natbox_nat::Behavior;
use natbox_nat::behavior::Switch;
use natbox_wire::build::IpFields;
use natbox_wire::{IcmpError, Packet, Transport};

use super::packets::{X1, Y1, datagram, error, mortal, ping, udp, with_header, with_options};
use super::rig::Rig;
use super::{Outcome, not_applicable, require, violated, with};

/// A link of 600 bytes outside, and a datagram of more that may not be cut; what its sender is told.
fn told_of_size(behavior: &Arc<Behavior>) -> (bool, Option<Transport>) {
    let mut rig = Rig::new(behavior, 600);
    let fields = IpFields { dont_fragment: true, ..IpFields::default() };
    let id = rig.send(X1, datagram(X1, Y1, fields, 1000).into_bytes());
    (rig.sent_on(id), rig.answer(id).map(|(_, packet)| packet.transport()))
}

pub(super) fn too_big(behavior: &Arc<Behavior>) -> Outcome {
    match told_of_size(behavior) {
        (true, _) => violated("a packet that was too big for the next link, and had DF set, was sent on in fragments"),
        (_, Some(Transport::IcmpError(IcmpError::PacketTooBig { .. }))) => Ok(()),
        (_, Some(other)) => violated(format!("the sender of a packet too big was told otherwise: {other:?}")),
        (_, None) => violated("a packet that was too big for the next link, and had DF set, was dropped in silence"),
    }
}

/// Why it cannot be asked which errors it makes, if it makes none.
fn speaks(behavior: &Arc<Behavior>) -> Outcome {
    let mut rig = Rig::new(behavior, 600);
    let fields = IpFields { dont_fragment: true, ..IpFields::default() };
    let tries = [datagram(X1, Y1, fields, 1000), mortal(X1, Y1, 1)];
    let ids = tries.map(|packet| rig.send(X1, packet.into_bytes()));
    match ids.into_iter().any(|id| rig.answer(id).is_some()) {
        true => Ok(()),
        false => not_applicable("it sends no ICMP errors of its own, which RFC 5508 REQ-9 lets it choose"),
    }
}

pub(super) fn next_mtu(behavior: &Arc<Behavior>) -> Outcome {
    speaks(behavior)?;
    match told_of_size(behavior).1 {
        Some(Transport::IcmpError(IcmpError::PacketTooBig { mtu: 600 })) => Ok(()),
        Some(Transport::IcmpError(IcmpError::PacketTooBig { mtu })) => {
            violated(format!("of a link with an MTU of 600 the sender was told an MTU of {mtu}"))
        }
        _ => violated("the sender of a packet that was too big for the next link was not told of its MTU"),
    }
}

/// One hop left, from inside and from outside.
pub(super) fn time_exceeded(behavior: &Arc<Behavior>) -> Outcome {
    let mut rig = Rig::new(behavior, 1500);
    let external = rig.reaches(udp(X1, Y1), X1, Y1)?.source_endpoint();
    let hops = [("inside", X1, mortal(X1, Y1, 1)), ("outside", Y1, mortal(Y1, external, 2))];
    let ids = hops.map(|(side, from, packet)| (side, rig.send(from, packet.into_bytes())));
    for (side, id) in ids {
        require(!rig.sent_on(id), || format!("a packet from {side} was sent on though it had no hop left"))?;
    }
    speaks(behavior)?;
    for (side, id) in ids {
        let told = rig.answer(id).map(|(_, packet)| packet.transport());
        let right = told == Some(Transport::IcmpError(IcmpError::TtlExceeded));
        require(right, || {
            format!("the sender of a packet from {side} was not told that its time to live had run out")
        })?;
    }
    Ok(())
}

/// With the switch off nobody is told of anything.
pub(super) fn silenced(behavior: &Arc<Behavior>) -> Outcome {
    let silent = with(behavior, |it| it.icmp_originate = Switch::Off);
    let mut rig = Rig::new(&silent, 1500);
    let id = rig.send(X1, mortal(X1, Y1, 1).into_bytes());
    require(rig.answer(id).is_none(), || "an ICMP error was sent though they are switched off".to_owned())
}

pub(super) fn ds_field(behavior: &Arc<Behavior>) -> Outcome {
    const EXPEDITED: u8 = 46 << 2;
    speaks(behavior)?;
    let mut rig = Rig::new(behavior, 600);
    let marked = |packet: &Packet| with_header(packet, |bytes| bytes[1] = EXPEDITED);
    let fields = IpFields { dont_fragment: true, ..IpFields::default() };
    for packet in [mortal(X1, Y1, 1), datagram(X1, Y1, fields, 1000)] {
        let id = rig.send(X1, marked(&packet));
        let Some((_, answer)) = rig.answer(id) else { continue };
        let got = answer.traffic_class();
        require(got == EXPEDITED, || format!("an error about a packet of class {EXPEDITED:#x} had class {got:#x}"))?;
    }
    Ok(())
}

/// An ICMP error and a later fragment whose time has run out.
pub(super) fn unreported(behavior: &Arc<Behavior>) -> Outcome {
    speaks(behavior)?;
    let mut rig = Rig::new(behavior, 1500);
    let dying = |packet: &Packet| with_header(packet, |bytes| bytes[8] = 1);
    let of_error = dying(&error(X1.ip(), &udp(Y1, X1)));
    let of_fragment = with_header(&mortal(X1, Y1, 1), |bytes| bytes[6..8].copy_from_slice(&[0, 100]));
    for (what, bytes) in [("an ICMP error", of_error), ("a later fragment", of_fragment)] {
        let id = rig.send(X1, bytes);
        require(rig.answer(id).is_none(), || format!("{what} was answered by an ICMP error"))?;
    }
    Ok(())
}

/// Packets at once that are worth an error each.
pub(super) fn limited(behavior: &Arc<Behavior>) -> Outcome {
    const PACKETS: usize = 200;
    speaks(behavior)?;
    let mut rig = Rig::new(behavior, 600);
    let fields = IpFields { dont_fragment: true, ..IpFields::default() };
    let mut answered = 0;
    for packet in [mortal(X1, Y1, 1), datagram(X1, Y1, fields, 1000)] {
        let ids: Vec<_> = (0..PACKETS).map(|_| rig.inject(X1, packet.bytes().to_vec())).collect();
        rig.wait(Duration::from_secs(5));
        answered = answered.max(ids.into_iter().filter(|id| rig.answer(*id).is_some()).count());
    }
    require(answered < PACKETS, || format!("all of {PACKETS} packets at once were answered by ICMP errors"))
}

/// An echo request that asks for loose source routing.
pub(super) fn source_route(behavior: &Arc<Behavior>) -> Outcome {
    let mut rig = Rig::new(behavior, 1500);
    let id = rig.send(X1, with_options(&ping(X1, Y1), &[131, 7, 4, 192, 0, 2, 9, 0]));
    require(!rig.sent_on(id), || "a packet that asks for source routing was sent on".to_owned())
}

/// A host inside, and one outside with its address: both reach a third, and one another by their external endpoints.
pub(super) fn overlapping_realms(behavior: &Arc<Behavior>) -> Outcome {
    let (mut rig, twin) = Rig::overlapping(behavior);
    let inside = rig.reaches(udp(X1, Y1), X1, Y1)?.source_endpoint();
    rig.reaches(udp(Y1, inside), Y1, X1)?;
    let outside = rig.reaches(udp(twin, Y1), twin, Y1)?.source_endpoint();
    let came = rig.reaches(udp(X1, outside), X1, twin)?.source_endpoint();
    rig.reaches(udp(twin, came), twin, X1)?;
    Ok(())
}
