//! Application-layer gateways: boxes that change what packets carry (RFC 4787 REQ-10 and RFC 5382 REQ-6 want them off).
//!
//! They see a packet after its translation, knowing which endpoint became which, and only if it is whole, IPv4, UDP or
//! TCP, and crosses the box: what is turned round inside, and what an ICMP error quotes, stays as it is. Text that is
//! malformed, cut off, or speaks of others' addresses passes unchanged. An ALG that announces a packet in the text opens a
//! mapping for it and lets it in once it comes.
//!
//! TCP text may change its length: `stream` then moves both sides' numbers. The world outside sees the moved numbers, and
//! everything else in the NAT those of the hosts inside: packets from outside are moved before they take the road, those
//! from inside after it.
//!
//! Memory is bounded: [`MAX_CONNECTIONS`] connections are followed; if the text of all of them was changed, that of
//! others passes unchanged. Expectations have limits of their own.

mod expect;
mod ftp;
mod generic;
mod sip;
mod stream;
mod text;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use natbox_wire::{Packet, Protocol, TcpFlags, Time, Transport, build};

use self::expect::{Expectations, Key};
use self::stream::Stream;
use self::text::{Edit, edited};
use crate::behavior::{self, GenericAlg, Switch};
use crate::verdict::{Side, Verdict};

/// Connections whose text is looked at.
const MAX_CONNECTIONS: usize = 1024;
/// How long a silent one is remembered when others want its place: as established connections are (RFC 5382 REQ-5).
const SILENCE: Duration = Duration::from_secs(7440);
/// The port of TFTP (RFC 1350).
const TFTP: u16 = 69;

/// What the ALGs of a NAT need of the rest of it.
pub(crate) trait Helper {
    /// Takes the road of a whole packet. `expected` says that no filter need judge it.
    fn carry(&mut self, from: Side, expected: bool, packet: &mut Packet, now: Time) -> Verdict;
    /// The external endpoint at which a packet's source is to be reached, as if it had been sent.
    fn reserve(&mut self, packet: &Packet, now: Time) -> Option<SocketAddrV4>;
}

/// The ALGs of one NAT.
#[derive(Default)]
pub(crate) struct Algs {
    expectations: Expectations,
    /// By external endpoint and remote.
    connections: BTreeMap<(SocketAddrV4, SocketAddrV4), Connection>,
}

/// A connection whose text is looked at.
struct Connection {
    /// What the inside sends, and what the outside sends.
    streams: [Stream; 2],
    used: Time,
}

/// A packet that crosses the box.
#[derive(Clone, Copy)]
struct Crossing {
    from: Side,
    protocol: Protocol,
    internal: SocketAddrV4,
    external: SocketAddrV4,
    remote: SocketAddrV4,
    now: Time,
}

impl Crossing {
    /// The address that is translated, and what it becomes.
    fn addresses(&self) -> (Ipv4Addr, Ipv4Addr) {
        match self.from {
            Side::Inside => (*self.internal.ip(), *self.external.ip()),
            Side::Outside => (*self.external.ip(), *self.internal.ip()),
        }
    }

    /// Whether one of these two ports is this one: the remote's, or a server's inside.
    fn concerns(&self, port: u16) -> bool {
        self.remote.port() == port || self.internal.port() == port
    }
}

impl Algs {
    /// Lets in nobody any more for what was announced so far.
    pub(crate) fn forget_announced(&mut self) {
        self.expectations = Expectations::default();
    }

    /// A whole packet.
    pub(crate) fn receive(
        &mut self,
        nat: &mut impl Helper,
        rules: &behavior::Alg,
        from: Side,
        packet: &mut Packet,
        now: Time,
    ) -> Verdict {
        let Some((protocol, source, destination)) = ends(packet) else { return nat.carry(from, false, packet, now) };
        let before = packet.clone();
        let inbound = from == Side::Outside;
        let key = Key { protocol, external: destination, remote: *source.ip() };
        let expected = inbound && self.expectations.admits(key, source.port(), now);
        if inbound && protocol == Protocol::Tcp {
            if begins_connection(packet) {
                self.connections.remove(&(destination, source));
            }
            self.renumber((destination, source), from, packet, now);
        }
        let verdict = nat.carry(from, expected, packet, now);
        let (Verdict::Forward(_), Some((_, source_after, destination_after))) = (verdict, ends(packet)) else {
            if matches!(verdict, Verdict::Drop(_) | Verdict::Hold(_)) {
                *packet = before;
            }
            return verdict;
        };
        let crossing = match from {
            Side::Inside => {
                Crossing { from, protocol, internal: source, external: source_after, remote: destination_after, now }
            }
            Side::Outside => {
                Crossing { from, protocol, internal: destination_after, external: destination, remote: source, now }
            }
        };
        self.change(nat, rules, crossing, before.tcp_sequence(), packet);
        verdict
    }

    /// Changes a packet that came with this sequence number, if it has one.
    fn change(
        &mut self,
        nat: &mut impl Helper,
        rules: &behavior::Alg,
        crossing: Crossing,
        sequence: Option<u32>,
        packet: &mut Packet,
    ) {
        match sequence {
            Some(sequence) => self.change_segment(nat, rules, crossing, sequence, packet),
            None => self.change_datagram(nat, rules, crossing, packet),
        }
        let (old, new) = crossing.addresses();
        if rules.generic == GenericAlg::RewriteBinary && old != new {
            replace(packet, &generic::binary(packet.payload(), old, new));
        }
    }

    fn change_datagram(
        &mut self,
        nat: &mut impl Helper,
        rules: &behavior::Alg,
        crossing: Crossing,
        packet: &mut Packet,
    ) {
        let outbound = crossing.from == Side::Inside;
        if rules.tftp == Switch::On && outbound && crossing.remote.port() == TFTP && begins_transfer(packet.payload()) {
            self.expect(crossing, crossing.external, true);
        }
        let mut edits = Vec::new();
        if rules.sip == Switch::On && crossing.concerns(sip::PORT) {
            edits = self.sip(nat, crossing, packet.payload());
        }
        if edits.is_empty() && rules.generic == GenericAlg::RewriteText {
            edits = rewritten_text(crossing, packet.payload());
        }
        replace(packet, &edits);
    }

    fn sip(&mut self, nat: &mut impl Helper, crossing: Crossing, message: &[u8]) -> Vec<Edit> {
        let (own, new) = crossing.addresses();
        let (known, becomes) = match crossing.from {
            Side::Inside => (crossing.internal, crossing.external),
            Side::Outside => (crossing.external, crossing.internal),
        };
        let outbound = crossing.from == Side::Inside;
        let this = std::cell::RefCell::new((self, nat));
        let reserve = |endpoint: SocketAddrV4| {
            let (algs, nat) = &mut *this.borrow_mut();
            algs.reserve(*nat, Crossing { internal: endpoint, ..crossing }, false)
        };
        let mut signalling = |endpoint: SocketAddrV4| match endpoint == known {
            true => Some(becomes),
            false if outbound => reserve(endpoint),
            false => None,
        };
        let mut media = |endpoint: SocketAddrV4| reserve(endpoint);
        sip::edits(message, outbound, own, new, &mut signalling, &mut media)
    }

    /// Changes a segment that came with this sequence number.
    fn change_segment(
        &mut self,
        nat: &mut impl Helper,
        rules: &behavior::Alg,
        crossing: Crossing,
        sequence: u32,
        packet: &mut Packet,
    ) {
        let key = (crossing.external, crossing.remote);
        if begins_connection(packet) {
            self.connections.remove(&key);
            return;
        }
        let (direction, length) = (crossing.from as usize, packet.payload().len());
        let watched = length > 0 && watches(rules, crossing);
        let connection = if watched { self.connection(key, crossing.now) } else { None };
        let known = connection.map_or(length, |connection| connection.streams[direction].known(sequence, length));
        let fresh = self.found(nat, rules, crossing, packet.payload(), known);
        if let Some(connection) = self.connections.get_mut(&key) {
            let stream = &mut connection.streams[direction];
            stream.change(sequence, fresh);
            stream.see(sequence, length);
            if let Some(new) = stream.rewrite(sequence, packet.payload()) {
                packet.replace_payload(&new);
            }
        }
        if crossing.from == Side::Inside {
            self.renumber(key, Side::Inside, packet, crossing.now);
        }
    }

    /// What is to be changed in a segment's bytes, but for those that are known already.
    fn found(
        &mut self,
        nat: &mut impl Helper,
        rules: &behavior::Alg,
        crossing: Crossing,
        payload: &[u8],
        known: usize,
    ) -> Vec<Edit> {
        let (seen, fresh) = payload.split_at(known);
        let mut edits = Vec::new();
        if watches_ftp(rules, crossing) && seen.last().is_none_or(|last| *last == b'\n') {
            let client = crossing.remote.port() == ftp::PORT;
            let mut expect = |endpoint| self.reserve(nat, Crossing { internal: endpoint, ..crossing }, true);
            edits = ftp::edits(fresh, client, *crossing.internal.ip(), &mut expect);
        }
        if edits.is_empty() && rules.generic == GenericAlg::RewriteText {
            edits = rewritten_text(crossing, fresh);
        }
        edits.into_iter().map(|edit| Edit { at: edit.at.start + known..edit.at.end + known, ..edit }).collect()
    }

    /// Moves a segment's numbers, if its connection's text was changed.
    fn renumber(&mut self, key: (SocketAddrV4, SocketAddrV4), from: Side, packet: &mut Packet, now: Time) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        connection.used = now;
        let (own, other) = (&connection.streams[from as usize], &connection.streams[1 - from as usize]);
        let Transport::Tcp { flags, .. } = packet.transport() else { return };
        let (Some(sequence), Some(acknowledgement)) = (packet.tcp_sequence(), packet.tcp_acknowledgement()) else {
            return;
        };
        let acknowledged = if flags.ack { other.back(acknowledgement) } else { acknowledgement };
        let sequence = own.forth(sequence);
        packet.rewrite_tcp_numbers(sequence, acknowledged);
        packet.rewrite_tcp_sack(|edge| other.back(edge));
    }

    /// The connection, a new one if there is room: those that nothing was changed in give way, the longest silent first,
    /// then those that have long been silent.
    fn connection(&mut self, key: (SocketAddrV4, SocketAddrV4), now: Time) -> Option<&mut Connection> {
        if !self.connections.contains_key(&key) && self.connections.len() >= MAX_CONNECTIONS {
            let gives_way =
                |known: &Connection| known.streams.iter().all(Stream::is_untouched) || known.used + SILENCE <= now;
            let candidates = self.connections.iter().filter(|(_, known)| gives_way(known));
            let oldest = candidates.min_by_key(|(_, known)| known.used).map(|(key, _)| *key)?;
            self.connections.remove(&oldest);
        }
        Some(self.connections.entry(key).or_insert_with(|| Connection { streams: Default::default(), used: now }))
    }

    /// An external endpoint for the internal one at which the remote's packets are expected.
    fn reserve(&mut self, nat: &mut impl Helper, crossing: Crossing, once: bool) -> Option<SocketAddrV4> {
        let Crossing { protocol, internal, remote, now, .. } = crossing;
        if !self.expectations.has_room(*internal.ip(), now) {
            return None;
        }
        let external = nat.reserve(&placeholder(protocol, internal, *remote.ip())?, now)?;
        self.expect(crossing, external, once);
        Some(external)
    }

    fn expect(&mut self, crossing: Crossing, external: SocketAddrV4, once: bool) {
        let Crossing { protocol, internal, remote, now, .. } = crossing;
        if self.expectations.has_room(*internal.ip(), now) {
            self.expectations.add(Key { protocol, external, remote: *remote.ip() }, *internal.ip(), once, now);
        }
    }
}

/// What an endpoint might send to a remote whose port is not known yet: to port 0.
fn placeholder(protocol: Protocol, internal: SocketAddrV4, remote: Ipv4Addr) -> Option<Packet> {
    let (source, destination) = (SocketAddr::V4(internal), SocketAddr::V4(SocketAddrV4::new(remote, 0)));
    let fields = build::IpFields::default();
    match protocol {
        Protocol::Tcp => {
            let syn = TcpFlags { syn: true, ..TcpFlags::default() };
            build::tcp(source, destination, fields, syn, 0, 0, 0, &[])
        }
        _ => build::udp(source, destination, fields, &[]),
    }
}

/// Whether the text of a connection is looked at.
fn watches(rules: &behavior::Alg, crossing: Crossing) -> bool {
    watches_ftp(rules, crossing) || rules.generic == GenericAlg::RewriteText
}

fn watches_ftp(rules: &behavior::Alg, crossing: Crossing) -> bool {
    rules.ftp == Switch::On && crossing.from == Side::Inside && crossing.concerns(ftp::PORT)
}

fn rewritten_text(crossing: Crossing, payload: &[u8]) -> Vec<Edit> {
    let (old, new) = crossing.addresses();
    if old == new { Vec::new() } else { generic::text(payload, old, new) }
}

/// Whether a segment opens a connection: whatever its endpoints were used for before is over.
fn begins_connection(packet: &Packet) -> bool {
    matches!(packet.transport(), Transport::Tcp { flags, .. } if flags.syn && !flags.ack)
}

/// A read or a write request (RFC 1350 section 5).
fn begins_transfer(payload: &[u8]) -> bool {
    matches!(payload, [0, 1 | 2, _, ..])
}

/// Makes edits; none if the packet would be too long.
fn replace(packet: &mut Packet, edits: &[Edit]) {
    if !edits.is_empty() {
        let new = edited(packet.payload(), edits);
        packet.replace_payload(&new);
    }
}

/// The endpoints of a whole UDP or TCP packet of IPv4.
fn ends(packet: &Packet) -> Option<(Protocol, SocketAddrV4, SocketAddrV4)> {
    let protocol = packet.protocol().filter(|protocol| *protocol != Protocol::Icmp && !packet.is_fragment())?;
    match (packet.source_endpoint(), packet.destination_endpoint()) {
        (SocketAddr::V4(source), SocketAddr::V4(destination)) => Some((protocol, source, destination)),
        _ => None,
    }
}
