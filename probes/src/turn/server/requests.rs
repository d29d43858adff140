//! Requests: who asks, whether all attributes are understood, and Refresh, CreatePermission, ChannelBind and Binding.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use natbox_wire::Time;
use stun_types::AddressFamily;
use stun_types::attribute::{
    AttributeStaticType, AttributeType, Fingerprint, Nonce, Realm, UnknownAttributes, Username, XorMappedAddress,
};
use stun_types::message::{BINDING, IntegrityKey, Message, MessageClass, Method};
use turn_types::attribute::{
    AdditionalAddressFamily, ChannelNumber, ConnectionId, Data, DontFragment, EvenPort, Lifetime,
    RequestedAddressFamily, RequestedTransport, ReservationToken, XorPeerAddress,
};
use turn_types::message::{ALLOCATE, CHANNEL_BIND, CONNECT, CONNECTION_BIND, CREATE_PERMISSION, REFRESH, SEND};

use super::allocation::{Allocation, Code};
use super::auth::User;
use super::state::{Discard, FiveTuple, Output, Server};
use crate::path::Transport;
use crate::turn::DEFAULT_LIFETIME;
use crate::turn::message::{Kind, Writer, family, kind, parse, unknown_attributes};

/// The methods that a client sends to a TURN server.
pub(super) const METHODS: [Method; 7] =
    [ALLOCATE, REFRESH, SEND, CREATE_PERMISSION, CHANNEL_BIND, CONNECT, CONNECTION_BIND];

/// Why a request is answered with an error.
#[derive(Debug)]
pub(super) enum Refusal {
    /// 401 or 438, with a realm and a fresh nonce.
    Challenge(Code),
    /// 420 and the attributes.
    Unknown(Vec<AttributeType>),
    /// Any other error.
    Code(Code),
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Refusal {
        Refusal::Code(code)
    }
}

/// A request on its way: what its answer needs.
pub(super) struct Request<'a> {
    pub(super) message: &'a Message<'a>,
    pub(super) five_tuple: FiveTuple,
    pub(super) now: Time,
}

impl Request<'_> {
    pub(super) fn has_fingerprint(&self) -> bool {
        self.message.has_attribute(Fingerprint::TYPE)
    }

    pub(super) fn family(&self) -> Result<Option<AddressFamily>, Code> {
        let Some(raw) = self.message.raw_attribute(RequestedAddressFamily::TYPE) else { return Ok(None) };
        // A family that is not 1 or 2 is one that is not supported.
        RequestedAddressFamily::try_from(&raw).map(|requested| Some(requested.family())).map_err(|_| 440)
    }

    fn lifetime(&self) -> Result<Option<Duration>, Code> {
        let Some(raw) = self.message.raw_attribute(Lifetime::TYPE) else { return Ok(None) };
        let lifetime = Lifetime::try_from(&raw).map_err(|_| 400u16)?;
        Ok(Some(Duration::from_secs(lifetime.seconds().into())))
    }
}

impl Server {
    /// Takes a datagram that came to the listening socket.
    ///
    /// `Ok` if it had a consequence: an answer, an error answer included, or a datagram relayed.
    pub fn receive(&mut self, datagram: &[u8], five_tuple: FiveTuple, now: Time) -> Result<(), Discard> {
        self.handle_timeout(now);
        match kind(datagram) {
            Kind::Channel => self.relay_channel_data(datagram, five_tuple, now),
            Kind::Other => Err(Discard::NotTurn),
            Kind::Stun => {
                let message = parse(datagram).ok_or(Discard::Malformed)?;
                match message.class() {
                    MessageClass::Request => self.answer(&Request { message: &message, five_tuple, now }),
                    MessageClass::Indication => self.relay_indication(&message, five_tuple, now),
                    MessageClass::Success | MessageClass::Error => Err(Discard::UnknownMethod),
                }
            }
        }
    }

    fn answer(&mut self, request: &Request<'_>) -> Result<(), Discard> {
        let method = request.message.method();
        if method == BINDING {
            let answer = binding(request);
            self.reply(request, None, answer);
            return Ok(());
        }
        if !METHODS.contains(&method) || method == SEND {
            return Err(Discard::UnknownMethod);
        }
        let user = match self.gate.authenticate(request.message, request.five_tuple.client.ip(), request.now) {
            Ok(user) => user,
            Err(refusal) => {
                self.refuse(request, None, refusal);
                return Ok(());
            }
        };
        let answer = match method {
            ALLOCATE => match self.allocate(request, &user) {
                // The answer follows when the sockets are open, or is a repeated one.
                Ok(()) => return Ok(()),
                Err(Pending::Discard(discard)) => return Err(discard),
                Err(Pending::Refusal(refusal)) => Err(refusal),
            },
            CONNECT => match self.connect(request, &user) {
                // The answer follows when the peer has accepted, or has not.
                Ok(()) => return Ok(()),
                Err(refusal) => Err(refusal),
            },
            CONNECTION_BIND => {
                let bound = self.bind_connection(request, &user);
                let connection = bound.as_ref().ok().map(|(_, connection)| *connection);
                self.reply(request, Some(&user.key), bound.map(|(writer, _)| writer));
                let five_tuple = request.five_tuple;
                connection.into_iter().for_each(|connection| self.push(Output::Splice { connection, five_tuple }));
                return Ok(());
            }
            REFRESH => self.refresh(request, &user),
            CREATE_PERMISSION => self.create_permission(request, &user),
            _ => self.bind_channel(request, &user),
        };
        self.reply(request, Some(&user.key), answer);
        Ok(())
    }

    fn refresh(&mut self, request: &Request<'_>, user: &User) -> Result<Writer, Refusal> {
        expect_known(request, &[Lifetime::TYPE, RequestedAddressFamily::TYPE])?;
        let allocation = self.owned(request.five_tuple, user)?;
        let family = request.family().map_err(|_| 443u16)?;
        let of_family = |address: IpAddr| family.is_none_or(|family| is_of(address, family));
        if !allocation.relays.iter().any(|relay| of_family(relay.address.ip())) {
            return Err(443.into());
        }
        let lifetime = self.granted(request.lifetime()?, true);
        if lifetime.is_zero() {
            self.give_up(request.five_tuple, of_family);
        } else {
            self.set_expiry(request.five_tuple, request.now + lifetime);
        }
        Ok(success(request).with(&Lifetime::new(seconds(lifetime))))
    }

    /// Gives up the relayed addresses that are meant, and the allocation with the last of them.
    fn give_up(&mut self, five_tuple: FiveTuple, is_meant: impl Fn(IpAddr) -> bool) {
        let Some(allocation) = self.allocations.get_mut(&five_tuple) else { return };
        let (gone, kept) =
            std::mem::take(&mut allocation.relays).into_iter().partition(|relay| is_meant(relay.address.ip()));
        let gone: Vec<super::allocation::Relay> = gone;
        allocation.relays = kept;
        let is_empty = allocation.relays.is_empty();
        for relay in gone {
            self.close_relay(relay.address, relay.is_open);
        }
        if is_empty {
            self.end_allocation(five_tuple);
        }
    }

    fn create_permission(&mut self, request: &Request<'_>, user: &User) -> Result<Writer, Refusal> {
        expect_known(request, &[XorPeerAddress::TYPE])?;
        let quotas = self.config.quotas;
        let allocation = self.owned(request.five_tuple, user)?;
        let mut peers = Vec::new();
        for (_, raw) in request.message.iter_attributes() {
            if stun_types::prelude::Attribute::get_type(&raw) == XorPeerAddress::TYPE {
                let peer = XorPeerAddress::try_from(&raw).map_err(|_| 400u16)?;
                peers.push(peer.addr(request.message.transaction_id()).ip());
            }
        }
        if peers.is_empty() {
            return Err(400.into());
        }
        for peer in &peers {
            expect_peer(allocation, *peer)?;
        }
        allocation.permit(&peers, &quotas, request.now)?;
        Ok(success(request))
    }

    fn bind_channel(&mut self, request: &Request<'_>, user: &User) -> Result<Writer, Refusal> {
        expect_known(request, &[XorPeerAddress::TYPE, ChannelNumber::TYPE])?;
        let (quotas, channel_numbers) = (self.config.quotas, self.config.channel_numbers.clone());
        let allocation = self.owned(request.five_tuple, user)?;
        let (Ok(number), Ok(peer)) =
            (request.message.attribute::<ChannelNumber>(), request.message.attribute::<XorPeerAddress>())
        else {
            return Err(400.into());
        };
        if allocation.transport == Transport::Tcp {
            return Err(403.into());
        }
        let (number, peer) = (number.channel(), peer.addr(request.message.transaction_id()));
        if !channel_numbers.contains(&number) {
            return Err(400.into());
        }
        expect_peer(allocation, peer.ip())?;
        allocation.bind_channel(number, peer, &quotas, request.now)?;
        Ok(success(request))
    }

    /// The allocation of the 5-tuple, if it is this user's: else 437 or 441 (RFC 8656 section 5).
    pub(super) fn owned(&mut self, five_tuple: FiveTuple, user: &User) -> Result<&mut Allocation, Code> {
        let allocation = self.allocations.get_mut(&five_tuple).ok_or(437u16)?;
        if allocation.username == user.name { Ok(allocation) } else { Err(441) }
    }

    /// The lifetime for one that was asked for: RFC 8656 section 7.2, with 0 allowed in Refresh alone.
    fn granted(&self, asked: Option<Duration>, may_be_zero: bool) -> Duration {
        let default = DEFAULT_LIFETIME.min(self.config.max_lifetime);
        match asked {
            Some(Duration::ZERO) if may_be_zero => Duration::ZERO,
            Some(asked) => asked.min(self.config.max_lifetime).max(default),
            None => default,
        }
    }

    /// The lifetime for an Allocate request.
    pub(super) fn lifetime_for(&self, request: &Request<'_>) -> Result<Duration, Code> {
        Ok(self.granted(request.lifetime()?, false))
    }

    pub(super) fn reply(&mut self, request: &Request<'_>, key: Option<&IntegrityKey>, answer: Result<Writer, Refusal>) {
        match answer {
            Ok(writer) => {
                let payload = writer.with_software().finish(key, request.has_fingerprint());
                self.push(Output::Reply { five_tuple: request.five_tuple, payload });
            }
            Err(refusal) => self.refuse(request, key, refusal),
        }
    }

    fn refuse(&mut self, request: &Request<'_>, key: Option<&IntegrityKey>, refusal: Refusal) {
        let writer = Writer::new(MessageClass::Error, request.message.method(), request.message.transaction_id());
        let writer = match refusal {
            Refusal::Code(code) => writer.with_error(code),
            Refusal::Unknown(attributes) => writer.with_error(420).with(&UnknownAttributes::new(&attributes)),
            Refusal::Challenge(code) => self.challenge(writer.with_error(code), request),
        };
        let payload = writer.with_software().finish(key, request.has_fingerprint());
        self.push(Output::Reply { five_tuple: request.five_tuple, payload });
    }

    fn challenge(&self, writer: Writer, request: &Request<'_>) -> Writer {
        let nonce = self.gate.nonce(request.five_tuple.client.ip(), request.now);
        match (Realm::new(self.gate.realm()), Nonce::new(&nonce)) {
            (Ok(realm), Ok(nonce)) => writer.with(&realm).with(&nonce),
            // A checked realm and a nonce of 45 bytes can always be written.
            _ => writer,
        }
    }
}

/// What an Allocate request comes to when it is not simply under way.
pub(super) enum Pending {
    Refusal(Refusal),
    Discard(Discard),
}

impl<T: Into<Refusal>> From<T> for Pending {
    fn from(refusal: T) -> Pending {
        Pending::Refusal(refusal.into())
    }
}

/// The attributes of an authentic request, besides those of its method.
const CREDENTIALS: [AttributeType; 3] = [Username::TYPE, Realm::TYPE, Nonce::TYPE];
/// TURN's own attributes, which no TURN server calls unknown where they have no meaning.
const TURN: [AttributeType; 11] = [
    AdditionalAddressFamily::TYPE,
    ChannelNumber::TYPE,
    ConnectionId::TYPE,
    Data::TYPE,
    EvenPort::TYPE,
    Lifetime::TYPE,
    RequestedAddressFamily::TYPE,
    RequestedTransport::TYPE,
    ReservationToken::TYPE,
    XorPeerAddress::TYPE,
    XorMappedAddress::TYPE,
];

/// 420 for comprehension-required attributes that are not understood.
pub(super) fn expect_known(request: &Request<'_>, own: &[AttributeType]) -> Result<(), Refusal> {
    let known: Vec<AttributeType> = own.iter().chain(&CREDENTIALS).chain(&TURN).copied().collect();
    match unknown_attributes(request.message, &known) {
        unknown if unknown.is_empty() => Ok(()),
        unknown => Err(Refusal::Unknown(unknown)),
    }
}

/// DONT-FRAGMENT is known where the host can do it.
pub(super) fn dont_fragment_if(supported: bool) -> &'static [AttributeType] {
    if supported { &[DontFragment::TYPE] } else { &[] }
}

pub(super) fn expect_peer(allocation: &Allocation, peer: IpAddr) -> Result<(), Code> {
    if allocation.relay_for(peer).is_none() {
        Err(443)
    } else if is_forbidden(peer) {
        Err(403)
    } else {
        Ok(())
    }
}

/// Addresses that no relay should reach for a stranger: they are the relay's own, or everybody's.
fn is_forbidden(peer: IpAddr) -> bool {
    let is_broadcast = matches!(peer, IpAddr::V4(v4) if v4.is_broadcast());
    peer.is_loopback() || peer.is_multicast() || peer.is_unspecified() || is_broadcast
}

fn binding(request: &Request<'_>) -> Result<Writer, Refusal> {
    // PRIORITY, USE-CANDIDATE and the like belong to ICE, which nobody speaks with a server: they are unknown here.
    match unknown_attributes(request.message, &CREDENTIALS) {
        unknown if unknown.is_empty() => Ok(success(request).with(&mapped(request))),
        unknown => Err(Refusal::Unknown(unknown)),
    }
}

/// The client's address as the server sees it.
fn mapped(request: &Request<'_>) -> XorMappedAddress {
    let client: SocketAddr = request.five_tuple.client;
    XorMappedAddress::new(client, request.message.transaction_id())
}

pub(super) fn success(request: &Request<'_>) -> Writer {
    Writer::new(MessageClass::Success, request.message.method(), request.message.transaction_id())
}

pub(super) fn seconds(lifetime: Duration) -> u32 {
    u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX)
}

/// Whether an address is of this family.
pub(super) fn is_of(address: IpAddr, wanted: AddressFamily) -> bool {
    family(address) == wanted
}
