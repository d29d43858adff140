//! ICMP errors, translated by the session that they quote (RFC 5508 REQ-3 to REQ-7), and which queries pass (REQ-1).
//!
//! An error travels against the packet that it quotes. By default it moves no timer and ends nothing (RFC 4787 REQ-12,
//! RFC 5508 REQ-6), its source may be anybody, and no filter judges it: the session that it speaks of is its permission.
//! Its destination may only be the source of the quoted packet.
//!
//! Type and code stay as they are, and so does the MTU of a fragmentation needed. Source quench (RFC 6633) and redirect,
//! which means a host's own network, are not translated (RFC 5508 REQ-10, REQ-11), nor is an error that quotes a request
//! for source routing, which this box grants nobody (its section 7.3).
//!
//! Echo has one identifier for both ends. A NAPT that hairpinned it could tell the receiver only by it, and the sender
//! only by it: so it does not (RFC 5508 REQ-7 asks that of Basic NAT alone, which leaves identifiers as they are).

use natbox_wire::{DropReason, IcmpError, Packet, Protocol, Quoted, Time, Transport};

use crate::Behavior;
use crate::behavior::{Hairpin, IcmpErrors, IcmpQuery, Switch, TranslationKind};
use crate::key::{Address, Endpoint};
use crate::realm::{Realm, Shared};
use crate::verdict::{Answer, MappingEnd, Refusal, Side, Translation, Verdict, refuse};

/// An error from inside, about a packet that came in: the quote shows remote -> internal.
#[inline(never)]
pub(crate) fn outbound<A: Address>(
    realm: &mut Realm<A>,
    nat: &mut Shared,
    packet: &mut Packet,
    now: Time,
) -> Result<Verdict, Refusal> {
    let how = nat.behavior.icmp_error.outbound;
    let Quote { protocol, source: remote, destination: internal } = quoted::<A>(&nat.behavior, how, packet)?;
    let back = realm.translates && realm.pool.owns(remote.address);
    if back && *nat.behavior.hairpin.of(protocol) == Hairpin::Off {
        return Err(refuse(DropReason::HairpinOff));
    }
    let own = realm.table.find_quoted(protocol, internal, remote.as_remote(protocol)).ok_or(NO_SESSION)?;
    let external = realm.table.session(own).external;
    if back {
        return turn_back(realm, nat, packet, (protocol, remote, own), now);
    }
    if realm.translates {
        show_outside(realm, packet, how, external);
    }
    let told = told(realm, own);
    realm.error_passed(nat, own, Side::Inside, now);
    Ok(Verdict::Forward(told))
}

/// An error from inside about a hairpinned packet: outside and in again in one pass (RFC 5508 REQ-7).
fn turn_back<A: Address>(
    realm: &mut Realm<A>,
    nat: &mut Shared,
    packet: &mut Packet,
    (protocol, remote, own): (Protocol, Endpoint<A>, u32),
    now: Time,
) -> Result<Verdict, Refusal> {
    let external = realm.table.session(own).external;
    // A query's one identifier is the receiver's by now, as it would be in a quote seen outside.
    let sender = if protocol == Protocol::Icmp { Endpoint { port: external.port, ..remote } } else { remote };
    let other = realm.table.find_inbound(protocol, sender, external.as_remote(protocol)).ok_or(NO_SESSION)?;
    let how = nat.behavior.icmp_error;
    if how.inbound == IcmpErrors::Drop {
        return Err(Refusal { mapping: Some(realm.table.session(other).id), ..refuse(DropReason::IcmpErrorOff) });
    }
    show_outside(realm, packet, how.outbound, external);
    show_inside(packet, how.inbound, realm.table.session(other).internal);
    let (source, destination) = (told(realm, own), told(realm, other));
    realm.error_passed(nat, own, Side::Inside, now);
    realm.error_passed(nat, other, Side::Outside, now);
    kill(realm, nat, other);
    Ok(Verdict::Hairpin { source, destination })
}

/// An error from outside, about a packet that went out: the quote shows external -> remote.
#[inline(never)]
pub(crate) fn inbound<A: Address>(
    realm: &mut Realm<A>,
    nat: &mut Shared,
    packet: &mut Packet,
    now: Time,
) -> Result<Verdict, Refusal> {
    let how = nat.behavior.icmp_error.inbound;
    let Quote { protocol, source: external, destination: remote } = quoted::<A>(&nat.behavior, how, packet)?;
    let found = realm.table.find_inbound(protocol, external, remote.as_remote(protocol)).ok_or(NO_SESSION)?;
    let session = realm.table.session(found);
    if nat.behavior.icmp_source_filter == Switch::On && packet.source() != remote.address.to_ip() {
        return Err(Refusal { mapping: Some(session.id), ..refuse(DropReason::Filtered) });
    }
    if realm.translates {
        show_inside(packet, how, session.internal);
    }
    let told = told(realm, found);
    realm.error_passed(nat, found, Side::Outside, now);
    kill(realm, nat, found);
    Ok(Verdict::Forward(told))
}

const NO_SESSION: Refusal = Refusal { reason: DropReason::IcmpNoSession, mapping: None, answer: None };

/// What an error quotes.
struct Quote<A> {
    protocol: Protocol,
    source: Endpoint<A>,
    destination: Endpoint<A>,
}

/// The packet that an error quotes, if the error is sound and of a kind that this box translates.
fn quoted<A: Address>(behavior: &Behavior, how: IcmpErrors, packet: &Packet) -> Result<Quote<A>, Refusal> {
    if behavior.icmp_verify == Switch::On {
        if !packet.transport_checksum_ok() {
            return Err(refuse(DropReason::BadTransportChecksum));
        }
        if !packet.quoted_ip_checksum_ok() {
            return Err(refuse(DropReason::BadQuotedChecksum));
        }
    }
    if concerns_the_hop_alone(packet) {
        return Err(refuse(DropReason::IcmpUntranslatable));
    }
    if packet.quoted_source_route() {
        return Err(refuse(DropReason::SourceRoute));
    }
    if how == IcmpErrors::Drop {
        return Err(refuse(DropReason::IcmpErrorOff));
    }
    let Quoted { protocol, source, destination } = packet.quoted().ok_or(NO_SESSION)?;
    if packet.destination() != source.ip() {
        return Err(NO_SESSION);
    }
    let source = Endpoint::from_socket(source).ok_or(NO_SESSION)?;
    let destination = Endpoint::from_socket(destination).ok_or(NO_SESSION)?;
    Ok(Quote { protocol, source, destination })
}

/// Source quench and redirect. ICMPv6 has neither among its errors.
fn concerns_the_hop_alone(packet: &Packet) -> bool {
    const SOURCE_QUENCH: u8 = 4;
    const REDIRECT: u8 = 5;
    match packet.transport() {
        Transport::IcmpError(IcmpError::Other { kind, .. }) => {
            !packet.is_ipv6() && matches!(kind, SOURCE_QUENCH | REDIRECT)
        }
        _ => false,
    }
}

/// How an error is told; its mapping is remembered.
fn told<A: Address>(realm: &mut Realm<A>, session: u32) -> Translation {
    let (mapping, index) = (realm.table.session(session).id, realm.table.mapping_of(session));
    realm.table.remember(index);
    Translation { mapping, new_mapping: false, quoted: true }
}

/// Ends the mapping that an error from outside speaks of, where errors do that.
fn kill<A: Address>(realm: &mut Realm<A>, nat: &mut Shared, session: u32) {
    if nat.behavior.icmp_kills_mapping == Switch::On {
        realm.end_mapping(nat, realm.table.mapping_of(session), MappingEnd::Killed);
    }
}

/// Rewrites an error from inside as the outside may see it. Its source becomes the mapping's external address also
/// when an inner router sent it, which has no mapping of its own; but where Basic NAT has given that router an address,
/// its own (RFC 5508 REQ-5c).
fn show_outside<A: Address>(realm: &mut Realm<A>, packet: &mut Packet, how: IcmpErrors, external: Endpoint<A>) {
    edit_quote(packet, how, |packet| packet.rewrite_quoted_destination(external.to_socket()));
    let sender = A::from_ip(packet.source()).and_then(|sender| realm.pool.address_of(sender));
    let source = Endpoint { address: sender.unwrap_or(external.address), ..external };
    packet.rewrite_source(source.to_socket());
    realm.identification.give(packet);
}

/// Rewrites an error from outside for the host that sent the quoted packet.
fn show_inside<A: Address>(packet: &mut Packet, how: IcmpErrors, internal: Endpoint<A>) {
    edit_quote(packet, how, |packet| packet.rewrite_quoted_source(internal.to_socket()));
    packet.rewrite_destination(internal.to_socket());
}

/// Rewrites the quote as well as the box knows how.
fn edit_quote(packet: &mut Packet, how: IcmpErrors, edit: impl FnOnce(&mut Packet)) {
    let kept = if how == IcmpErrors::BadInnerChecksum { packet.quoted_ip_checksum() } else { None };
    if how != IcmpErrors::OuterOnly {
        edit(packet);
    }
    if let Some(checksum) = kept {
        packet.set_quoted_ip_checksum(checksum);
    }
}

/// Why this box lets no query of this ICMP type pass; `None` if it does.
#[inline(never)]
pub(crate) fn denied(queries: IcmpQuery, kind: u8) -> Option<DropReason> {
    const ECHO: [u8; 4] = [0, 8, 128, 129];
    const INFORMATION: [u8; 2] = [15, 16];
    let known = match queries {
        IcmpQuery::All => true,
        IcmpQuery::Permit => !INFORMATION.contains(&kind),
        IcmpQuery::EchoOnly => ECHO.contains(&kind),
        IcmpQuery::Deny => return Some(DropReason::QueryDenied),
    };
    (!known).then_some(DropReason::IcmpUntranslatable)
}

/// What the sender of a packet from inside is told when policy refuses it (RFC 5508 REQ-8).
pub(crate) fn answer_to(reason: DropReason) -> Option<Answer> {
    (reason == DropReason::QueryDenied).then_some(Answer::Icmp(IcmpError::AdminProhibited))
}

/// Whether a packet of this protocol from inside to an external address of this NAT may be turned round.
pub(crate) fn hairpins(behavior: &Behavior, protocol: Protocol, ipv6: bool) -> bool {
    protocol != Protocol::Icmp || (behavior.translation == TranslationKind::Basic && !ipv6)
}
