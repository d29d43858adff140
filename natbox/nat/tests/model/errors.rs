//! The model's ICMP errors: the quoted session says what becomes of them.

use std::net::{IpAddr, SocketAddr};

use natbox_nat::behavior::{Hairpin, Switch};
use natbox_nat::{MappingEnd, MappingView, Refusal, Translation, Verdict};
use natbox_wire::{DropReason, Packet, Protocol, Time};

use super::{Model, refuse, remote_of};

type ErrorOutcome = (Verdict, IpAddr, IpAddr, Option<(SocketAddr, SocketAddr)>);

impl Model {
    /// What becomes of an ICMP error: verdict, source, destination, quoted endpoints.
    pub(crate) fn error(&mut self, inbound: bool, packet: &Packet, now: Time) -> ErrorOutcome {
        let (source, destination) = (packet.source(), packet.destination());
        let quote = packet.quoted().expect("the tests quote packets of sessions");
        let shown = (quote.source, quote.destination);
        if self.passes() {
            return (Verdict::Pass, source, destination, Some(shown));
        }
        self.expire(now);
        let (from, to) = (quote.source, quote.destination);
        let drop = |reason| (Verdict::Drop(refuse(reason)), source, destination, Some(shown));
        let told = |mapping: MappingView| Translation { mapping: mapping.id, new_mapping: false, quoted: true };
        if inbound {
            let Some(mapping) = self.session_at(quote.protocol, from, to) else {
                return drop(DropReason::IcmpNoSession);
            };
            if self.behavior.icmp_source_filter == Switch::On && source != to.ip() {
                let refusal = Refusal { mapping: Some(mapping.id), ..refuse(DropReason::Filtered) };
                return (Verdict::Drop(refusal), source, destination, Some(shown));
            }
            let quoted = translated_quote(quote.protocol, from, to, Some(mapping.internal), None);
            self.kill(mapping);
            return (Verdict::Forward(told(mapping)), source, mapping.internal.ip(), Some(quoted));
        }
        let back = self.translates && self.external.contains(&from.ip());
        if back && self.behavior.hairpin.udp == Hairpin::Off {
            return drop(DropReason::HairpinOff);
        }
        let remote = remote_of(quote.protocol, from);
        let any = || self.oldest(quote.protocol, to, remote);
        let Some(own) = self
            .leader(quote.protocol, to, remote)
            .or_else(any)
            .map(|index| self.mapping(self.sessions[index].mapping))
        else {
            return drop(DropReason::IcmpNoSession);
        };
        let (from, to) = translated_quote(quote.protocol, from, to, None, Some(own.external));
        let outer = if self.translates { own.external.ip() } else { source };
        if !back {
            return (Verdict::Forward(told(own)), outer, destination, Some((from, to)));
        }
        let Some(other) = self.session_at(quote.protocol, from, to) else { return drop(DropReason::IcmpNoSession) };
        let quoted = translated_quote(quote.protocol, from, to, Some(other.internal), None);
        self.kill(other);
        (Verdict::Hairpin { source: told(own), destination: told(other) }, outer, other.internal.ip(), Some(quoted))
    }

    /// Ends a mapping that an error speaks of, where errors do that.
    fn kill(&mut self, mapping: MappingView) {
        if self.behavior.icmp_kills_mapping == Switch::On {
            self.end(MappingEnd::Killed, |one| one.id == mapping.id);
        }
    }

    /// The session between an internal endpoint and a remote that is on the oldest mapping.
    fn oldest(&self, protocol: Protocol, internal: SocketAddr, remote: SocketAddr) -> Option<usize> {
        let between = |index: &usize| {
            let (session, mapping) = (&self.sessions[*index], self.mapping(self.sessions[*index].mapping));
            session.remote == remote && (mapping.protocol, mapping.internal) == (protocol, internal)
        };
        (0..self.sessions.len()).filter(between).min_by_key(|index| self.sessions[*index].mapping)
    }

    /// The mapping of the session between an external endpoint and a remote.
    fn session_at(&self, protocol: Protocol, external: SocketAddr, remote: SocketAddr) -> Option<MappingView> {
        let mapping = self.mappings.iter().find(|one| one.protocol == protocol && one.external == external).copied()?;
        let remote = remote_of(protocol, remote);
        self.sessions.iter().any(|one| one.mapping == mapping.id && one.remote == remote).then_some(mapping)
    }
}

/// The quoted endpoints once one of them has been replaced; an echo has one identifier for both.
fn translated_quote(
    protocol: Protocol,
    from: SocketAddr,
    to: SocketAddr,
    new_from: Option<SocketAddr>,
    new_to: Option<SocketAddr>,
) -> (SocketAddr, SocketAddr) {
    let (mut from, mut to, port) =
        (new_from.unwrap_or(from), new_to.unwrap_or(to), new_from.or(new_to).map(|one| one.port()));
    if let (Protocol::Icmp, Some(port)) = (protocol, port) {
        from.set_port(port);
        to.set_port(port);
    }
    (from, to)
}
