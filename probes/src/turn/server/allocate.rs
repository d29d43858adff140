//! Allocate: the checks of RFC 8656 section 7.2 in their order, the choice of ports, and the answer once the sockets
//! are open.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use natbox_wire::Time;
use stun_types::AddressFamily;
use stun_types::attribute::{AttributeStaticType, ErrorCode, XorMappedAddress};
use stun_types::message::MessageClass;
use turn_types::attribute::{
    AdditionalAddressFamily, AddressErrorCode, EvenPort, Lifetime, RequestedAddressFamily, RequestedTransport,
    ReservationToken, XorRelayedAddress,
};
use turn_types::message::ALLOCATE;

use super::allocation::{Allocation, Code, Opening, Placement, Relay, Stage};
use super::auth::User;
use super::requests::{Pending, Refusal, Request, dont_fragment_if, expect_known, is_of, seconds};
use super::state::{Discard, Ending, FiveTuple, Output, Reservation, Server};
use super::tcp::expect_tcp_allowed;
use crate::path::Transport;
use crate::turn::message::Writer;

/// RFC 8656 section 7.2: a reserved port is held for at least 30 seconds.
const RESERVATION_LIFETIME: Duration = Duration::from_secs(30);
/// Ports held at one time; beyond it 508.
const MAX_RESERVATIONS: usize = 256;
/// How many ports are tried when the host says that one is taken.
const MAX_ATTEMPTS: u8 = 16;

/// What an Allocate request asks for, checked.
struct Wish {
    /// Over what peers are to be reached.
    transport: Transport,
    placement: Placement,
    token: Option<u64>,
    /// The family of the relayed address, and the other one if both are asked for.
    family: AddressFamily,
    additional: Option<AddressFamily>,
    lifetime: Duration,
}

impl Server {
    pub(super) fn allocate(&mut self, request: &Request<'_>, user: &User) -> Result<(), Pending> {
        if let Some(allocation) = self.allocations.get(&request.five_tuple) {
            return match &allocation.stage {
                _ if allocation.transaction != request.message.transaction_id() => Err(437.into()),
                Stage::Opening(_) => Err(Pending::Discard(Discard::InProgress)),
                Stage::Answered(answer) => {
                    let (five_tuple, payload) = (request.five_tuple, answer.clone());
                    self.push(Output::Reply { five_tuple, payload });
                    Ok(())
                }
            };
        }
        let wish = self.wish(request, user)?;
        self.expect_within_quota(user)?;
        self.open(request, user, &wish)?;
        Ok(())
    }

    /// The checks 3 to 9 of RFC 8656 section 7.2.
    fn wish(&self, request: &Request<'_>, user: &User) -> Result<Wish, Refusal> {
        let message = request.message;
        let requested = message.attribute::<RequestedTransport>().map_err(|_| 400u16)?;
        let transport = match requested.protocol() {
            RequestedTransport::UDP => Transport::Udp,
            RequestedTransport::TCP => {
                expect_tcp_allowed(request)?;
                Transport::Tcp
            }
            _ => return Err(442.into()),
        };
        expect_known(request, dont_fragment_if(self.config.dont_fragment))?;
        let token = self.token(request, user)?;
        if token.is_none() && message.has_attribute(RequestedAddressFamily::TYPE) && is_dual(request) {
            return Err(400.into());
        }
        let family = request.family()?.unwrap_or(AddressFamily::IPV4);
        if token.is_none() && self.lent_address(family).is_none() {
            return Err(440.into());
        }
        let placement = match (token, even_port(request)?) {
            (Some(_), _) => Placement::Reserved,
            (None, None) => Placement::Any,
            (None, Some(false)) => Placement::Even,
            (None, Some(true)) if is_dual(request) => return Err(400.into()),
            (None, Some(true)) => Placement::EvenAndNext,
        };
        let additional = additional_family(request)?;
        Ok(Wish { transport, placement, token, family, additional, lifetime: self.lifetime_for(request)? })
    }

    fn token(&self, request: &Request<'_>, user: &User) -> Result<Option<u64>, Code> {
        let message = request.message;
        let Some(raw) = message.raw_attribute(ReservationToken::TYPE) else { return Ok(None) };
        let excluded = [EvenPort::TYPE, RequestedAddressFamily::TYPE, AdditionalAddressFamily::TYPE];
        if excluded.iter().any(|kind| message.has_attribute(*kind)) {
            return Err(400);
        }
        let token = ReservationToken::try_from(&raw).map_err(|_| 400u16)?.token();
        let reservation = self.reservations.get(&token).filter(|reservation| reservation.username == user.name);
        reservation.map(|_| Some(token)).ok_or(508)
    }

    fn expect_within_quota(&self, user: &User) -> Result<(), Code> {
        let quotas = &self.config.quotas;
        let of_user = self.allocations.values().filter(|allocation| allocation.username == user.name).count();
        if of_user >= quotas.allocations_per_user {
            Err(486)
        } else if self.allocations.len() >= quotas.allocations {
            Err(508)
        } else {
            Ok(())
        }
    }

    /// Takes the ports and asks for their sockets.
    fn open(&mut self, request: &Request<'_>, user: &User, wish: &Wish) -> Result<(), Code> {
        let five_tuple = request.five_tuple;
        let first = match wish.token {
            Some(token) => self.release(token).map(|reservation| reservation.relay).ok_or(508u16)?,
            None => self.free_endpoint(wish.family, wish.placement).ok_or(508u16)?,
        };
        let mut opening = Opening {
            fingerprint: request.has_fingerprint(),
            placement: wish.placement,
            refused_family: None,
            reservation: None,
            attempts_left: MAX_ATTEMPTS,
        };
        if wish.placement == Placement::EvenAndNext {
            opening.reservation = Some(self.hold_next(first, user.name.clone(), request.now)?);
        }
        self.relays.insert(first, five_tuple);
        let additional = wish.additional.and_then(|family| {
            let endpoint = self.free_endpoint(family, wish.placement);
            if endpoint.is_none() {
                let code = if self.lent_address(family).is_none() { 440 } else { 508 };
                opening.refused_family = Some((family, code));
            }
            endpoint
        });
        let expires = request.now + wish.lifetime;
        let mut allocation =
            Allocation::new(user.name.clone(), request.message.transaction_id(), wish.transport, opening, expires);
        for address in std::iter::once(first).chain(additional) {
            self.relays.insert(address, five_tuple);
            allocation.relays.push(Relay { address, is_open: false });
            self.push(open(wish.transport, address));
        }
        self.allocations.insert(five_tuple, allocation);
        self.endings.insert((expires, Ending::Allocation(five_tuple)));
        Ok(())
    }

    fn hold_next(&mut self, relay: SocketAddr, username: String, now: Time) -> Result<u64, Code> {
        if self.reservations.len() >= MAX_RESERVATIONS {
            return Err(508);
        }
        let next = SocketAddr::new(relay.ip(), relay.port().saturating_add(1));
        Ok(self.hold(Reservation { relay: next, username, expires: now + RESERVATION_LIFETIME }))
    }

    /// Takes the news that the socket of a relayed address is open, or could not be opened because the port is
    /// taken on the host; then another port is tried.
    pub fn opened(&mut self, relay: SocketAddr, is_open: bool, now: Time) {
        self.handle_timeout(now);
        let Some(five_tuple) = self.relays.get(&relay).copied() else {
            if is_open {
                self.push(Output::Close { relay });
            }
            return;
        };
        if is_open {
            let relays = self.allocations.get_mut(&five_tuple).into_iter().flat_map(|a| &mut a.relays);
            relays.filter(|known| known.address == relay).for_each(|known| known.is_open = true);
        } else {
            self.try_another(five_tuple, relay, now);
        }
        self.answer_when_open(five_tuple, now);
    }

    fn try_another(&mut self, five_tuple: FiveTuple, relay: SocketAddr, now: Time) {
        let Some(allocation) = self.allocations.get_mut(&five_tuple) else { return };
        let username = allocation.username.clone();
        let Stage::Opening(opening) = &mut allocation.stage else { return };
        opening.attempts_left = opening.attempts_left.saturating_sub(1);
        let (placement, attempts_left, held) = (opening.placement, opening.attempts_left, opening.reservation.take());
        allocation.relays.retain(|known| known.address != relay);
        // The port is tried no more while this allocation is being made, since `relays` still lists it.
        let endpoint = match placement {
            Placement::Reserved => None,
            _ if attempts_left == 0 => None,
            _ => self.free_endpoint(crate::turn::message::family(relay.ip()), placement),
        };
        self.relays.remove(&relay);
        held.map(|token| self.release(token));
        match endpoint {
            Some(address) => self.open_another(five_tuple, address, username, now),
            None => self.do_without(five_tuple, relay.ip()),
        }
    }

    fn open_another(&mut self, five_tuple: FiveTuple, address: SocketAddr, username: String, now: Time) {
        let Some(allocation) = self.allocations.get(&five_tuple) else { return };
        let (Stage::Opening(opening), transport) = (&allocation.stage, allocation.transport) else { return };
        let held = match opening.placement {
            Placement::EvenAndNext => self.hold_next(address, username, now).ok(),
            _ => None,
        };
        self.relays.insert(address, five_tuple);
        if let Some(allocation) = self.allocations.get_mut(&five_tuple) {
            allocation.relays.push(Relay { address, is_open: false });
            if let Stage::Opening(opening) = &mut allocation.stage {
                opening.reservation = held;
            }
        }
        self.push(open(transport, address));
    }

    /// No port can be had at this address: the additional family is missed, the first one ends the allocation.
    fn do_without(&mut self, five_tuple: FiveTuple, address: IpAddr) {
        let Some(allocation) = self.allocations.get_mut(&five_tuple) else { return };
        let Stage::Opening(opening) = &mut allocation.stage else { return };
        if !allocation.relays.is_empty() && address.is_ipv6() {
            opening.refused_family = Some((AddressFamily::IPV6, 508));
            return;
        }
        let writer = Writer::new(MessageClass::Error, ALLOCATE, allocation.transaction).with_error(508);
        let (username, fingerprint) = (allocation.username.clone(), opening.fingerprint);
        let payload = writer.with_software().finish(self.gate.key(&username), fingerprint);
        self.push(Output::Reply { five_tuple, payload });
        self.end_allocation(five_tuple);
    }

    fn answer_when_open(&mut self, five_tuple: FiveTuple, now: Time) {
        let Some(allocation) = self.allocations.get(&five_tuple) else { return };
        let Stage::Opening(opening) = &allocation.stage else { return };
        if allocation.relays.iter().any(|relay| !relay.is_open) {
            return;
        }
        let payload = self.success_answer(five_tuple, allocation, opening, now);
        self.push(Output::Reply { five_tuple, payload: payload.clone() });
        if let Some(allocation) = self.allocations.get_mut(&five_tuple) {
            allocation.stage = Stage::Answered(payload);
        }
    }

    fn success_answer(&self, five_tuple: FiveTuple, allocation: &Allocation, opening: &Opening, now: Time) -> Vec<u8> {
        let transaction = allocation.transaction;
        let mut writer = Writer::new(MessageClass::Success, ALLOCATE, transaction);
        // The IPv4 address first, whichever socket opened first.
        let mut relays: Vec<SocketAddr> = allocation.relays.iter().map(|relay| relay.address).collect();
        relays.sort_unstable();
        for relay in relays {
            writer = writer.with(&XorRelayedAddress::new(relay, transaction));
        }
        writer = writer.with(&Lifetime::new(seconds(allocation.expires - now)));
        if let Some(token) = opening.reservation {
            writer = writer.with(&ReservationToken::new(token));
        }
        writer = writer.with(&XorMappedAddress::new(five_tuple.client, transaction));
        if let Some((family, code)) = opening.refused_family
            && let Ok(error) = ErrorCode::builder(code).build()
        {
            writer = writer.with(&AddressErrorCode::new(family, error));
        }
        writer.with_software().finish(self.gate.key(&allocation.username), opening.fingerprint)
    }

    fn lent_address(&self, family: AddressFamily) -> Option<IpAddr> {
        let addresses = [Some(self.config.relay_address), self.config.additional_relay_address];
        addresses.into_iter().flatten().find(|address| is_of(*address, family))
    }

    /// A relayed address that is free: from a random port upwards, the first that fits.
    fn free_endpoint(&mut self, family: AddressFamily, placement: Placement) -> Option<SocketAddr> {
        let address = self.lent_address(family)?;
        let (first, last) = (u32::from(*self.config.relay_ports.start()), u32::from(*self.config.relay_ports.end()));
        let count = last - first + 1;
        let start = self.random.next_u32() % count;
        let ports = (0..count).filter_map(|offset| u16::try_from(first + (start + offset) % count).ok());
        let is_free = |port: u16| {
            let endpoint = SocketAddr::new(address, port);
            let is_held = self.reservations.values().any(|reservation| reservation.relay == endpoint);
            !is_held && !self.relays.contains_key(&endpoint)
        };
        let fits = |port: u16| match placement {
            Placement::Any | Placement::Reserved => is_free(port),
            Placement::Even => port.is_multiple_of(2) && is_free(port),
            Placement::EvenAndNext => {
                port.is_multiple_of(2) && u32::from(port) < last && is_free(port) && is_free(port + 1)
            }
        };
        ports.into_iter().find(|port| fits(*port)).map(|port| SocketAddr::new(address, port))
    }
}

/// What opens a relayed address over this transport.
fn open(transport: Transport, relay: SocketAddr) -> Output {
    match transport {
        Transport::Udp => Output::Open { relay },
        Transport::Tcp => Output::Listen { relay },
    }
}

/// Whether the request asks for an additional family, well-formed or not.
fn is_dual(request: &Request<'_>) -> bool {
    request.message.has_attribute(AdditionalAddressFamily::TYPE)
}

/// Whether the request asks for an even port, and whether for the next one too.
fn even_port(request: &Request<'_>) -> Result<Option<bool>, Code> {
    let Some(raw) = request.message.raw_attribute(EvenPort::TYPE) else { return Ok(None) };
    EvenPort::try_from(&raw).map(|even| Some(even.requested())).map_err(|_| 400)
}

/// Check 9: the additional family can only be IPv6.
fn additional_family(request: &Request<'_>) -> Result<Option<AddressFamily>, Code> {
    let Some(raw) = request.message.raw_attribute(AdditionalAddressFamily::TYPE) else { return Ok(None) };
    match AdditionalAddressFamily::try_from(&raw).map(|additional| additional.family()) {
        Ok(AddressFamily::IPV6) => Ok(Some(AddressFamily::IPV6)),
        Ok(AddressFamily::IPV4) | Err(_) => Err(400),
    }
}
