//! ICMP errors, translated by the session that they quote (RFC 5508 REQ-3 to REQ-7).
//!
//! An error travels against the packet that it quotes. It moves no timer and ends nothing (RFC 4787 REQ-12,
//! RFC 5508 REQ-6), and no filter judges it: the session that it speaks of is its permission. The source of the
//! error may be anybody, its destination only the source of the quoted packet.

use natbox_wire::{DropReason, Packet, Protocol, Quoted};

use crate::Behavior;
use crate::behavior::Hairpin;
use crate::key::{Address, Endpoint};
use crate::realm::{Realm, refuse};
use crate::record::Record;
use crate::verdict::{Refusal, Translation, Verdict};

/// An error from inside, about a packet that came in: the quote shows remote -> internal.
#[inline(never)]
pub(crate) fn outbound<A: Address>(
    realm: &mut Realm<A>,
    behavior: &Behavior,
    packet: &mut Packet,
) -> Result<Verdict, Refusal> {
    let (protocol, remote, internal) = quoted::<A>(packet)?;
    let back = realm.translates && realm.pool.owns(remote.address);
    if back && *behavior.hairpin.of(protocol) == Hairpin::Off {
        return Err(refuse(DropReason::HairpinOff));
    }
    let found = realm.table.find_quoted(protocol, internal, remote.as_remote(protocol)).ok_or(NO_SESSION)?;
    let session = realm.table.session(found);
    let (external, source, index) = (session.external, translation(session), realm.table.mapping_of(found));
    if back {
        // An echo's one identifier is the receiver's by now, as it would be in a quote seen outside.
        let sender = if protocol == Protocol::Icmp { Endpoint { port: external.port, ..remote } } else { remote };
        let found = realm.table.find_inbound(protocol, sender, external.as_remote(protocol)).ok_or(NO_SESSION)?;
        let session = realm.table.session(found);
        let (sender, destination, second) = (session.internal, translation(session), realm.table.mapping_of(found));
        show_outside(packet, external);
        show_inside(packet, sender);
        realm.table.remember(index);
        realm.table.remember(second);
        return Ok(Verdict::Hairpin { source, destination });
    }
    if realm.translates {
        show_outside(packet, external);
    }
    realm.table.remember(index);
    Ok(Verdict::Forward(source))
}

/// An error from outside, about a packet that went out: the quote shows external -> remote.
#[inline(never)]
pub(crate) fn inbound<A: Address>(realm: &mut Realm<A>, packet: &mut Packet) -> Result<Verdict, Refusal> {
    let (protocol, external, remote) = quoted::<A>(packet)?;
    let found = realm.table.find_inbound(protocol, external, remote.as_remote(protocol)).ok_or(NO_SESSION)?;
    let session = realm.table.session(found);
    let (internal, destination, index) = (session.internal, translation(session), realm.table.mapping_of(found));
    if realm.translates {
        show_inside(packet, internal);
    }
    realm.table.remember(index);
    Ok(Verdict::Forward(destination))
}

const NO_SESSION: Refusal = Refusal { reason: DropReason::IcmpNoSession, mapping: None, answer: None };

fn translation<A>(session: &Record<A>) -> Translation {
    Translation { mapping: session.id, new_mapping: false, quoted: true }
}

/// The protocol, source and destination of the packet that a sound error quotes.
fn quoted<A: Address>(packet: &Packet) -> Result<(Protocol, Endpoint<A>, Endpoint<A>), Refusal> {
    if !packet.transport_checksum_ok() {
        return Err(refuse(DropReason::BadTransportChecksum));
    }
    let Quoted { protocol, source, destination } = packet.quoted().ok_or(NO_SESSION)?;
    if packet.destination() != source.ip() {
        return Err(NO_SESSION);
    }
    let source = Endpoint::from_socket(source).ok_or(NO_SESSION)?;
    let destination = Endpoint::from_socket(destination).ok_or(NO_SESSION)?;
    Ok((protocol, source, destination))
}

/// Rewrites an error from inside as the outside may see it. Its source becomes the mapping's external address also
/// when an inner router sent it, which has no mapping of its own (RFC 5508 REQ-5).
fn show_outside<A: Address>(packet: &mut Packet, external: Endpoint<A>) {
    packet.rewrite_quoted_destination(external.to_socket());
    packet.rewrite_source(external.to_socket());
}

/// Rewrites an error from outside for the host that sent the quoted packet.
fn show_inside<A: Address>(packet: &mut Packet, internal: Endpoint<A>) {
    packet.rewrite_quoted_source(internal.to_socket());
    packet.rewrite_destination(internal.to_socket());
}
