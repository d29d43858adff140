//! What the desk answers to PCP (RFC 6887 sections 8, 11 to 15).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use natbox_host::PortControl;
use natbox_wire::{ExplicitMapping, MapRefusal, MapRequest, MappedBy, Protocol, RemoteFilter, Time, Traffic};

use super::{Desk, Key, Known, number};
use crate::portmap::pcp::codec::{Answer, Code, Extra, HEADER_BYTES, Map, Operation, Request, VERSION, refusal};

/// Filters that one mapping may have.
const FILTERS: usize = 16;
/// How long a person's mapping lives, as PCP says it.
const FOR_EVER: u32 = u32::MAX;

/// A request, as far as it has been judged.
struct Asked<'a> {
    source: SocketAddr,
    request: &'a Request,
    /// Whose mapping it is about.
    host: IpAddr,
    now: Time,
}

/// What a refusal says: its code, and for how long.
type Refused = (Code, u32);

impl<C: PortControl> Desk<C> {
    pub(super) fn pcp(&mut self, source: SocketAddr, bytes: &[u8], now: Time) -> Option<Vec<u8>> {
        let (&version, &opcode) = (bytes.first()?, bytes.get(1)?);
        if opcode & 0x80 != 0 {
            return None;
        }
        let epoch_seconds = self.epoch_seconds(now);
        let refuse = |(code, lifetime)| Some(refusal(bytes, code, lifetime, epoch_seconds));
        if version != VERSION {
            return refuse(lasting(Code::UNSUPP_VERSION));
        }
        if bytes.len() < HEADER_BYTES {
            return None;
        }
        let request = match Request::decode(bytes) {
            Ok(request) if request.client == source.ip() => request,
            Ok(_) => return refuse(lasting(Code::ADDRESS_MISMATCH)),
            Err(code) => return refuse(lasting(code)),
        };
        let done = self.third_party(&request, source.ip()).and_then(|host| {
            let asked = Asked { source, request: &request, host, now };
            match request.operation {
                Operation::Announce => Ok((0, Operation::Announce)),
                Operation::Map(map) => self.pcp_map(&asked, map).map(|(life, map)| (life, Operation::Map(map))),
                Operation::Peer { map, remote } => {
                    self.pcp_peer(&asked, map, remote).map(|(life, map)| (life, Operation::Peer { map, remote }))
                }
            }
        });
        match done {
            Ok((lifetime_seconds, operation)) => {
                let (code, options) = (Code::SUCCESS, request.options);
                Some(Answer { code, lifetime_seconds, epoch_seconds, operation, options }.encode())
            }
            Err(refused) => refuse(refused),
        }
    }

    /// Whose mapping a request is about (section 13.1).
    fn third_party(&self, request: &Request, client: IpAddr) -> Result<IpAddr, Refused> {
        let others = request.options.iter().filter_map(|option| match option {
            Extra::ThirdParty(address) => Some(*address),
            _ => None,
        });
        match others.collect::<Vec<IpAddr>>()[..] {
            [] => Ok(client),
            _ if !self.config.third_party => Err(lasting(Code::UNSUPP_OPTION)),
            [host] if host != client => Ok(host),
            _ => Err(lasting(Code::MALFORMED_REQUEST)),
        }
    }

    fn pcp_map(&mut self, asked: &Asked<'_>, map: Map) -> Result<(u32, Map), Refused> {
        let internal = SocketAddr::new(asked.host, map.internal_port);
        if map.protocol == 0 && map.internal_port != 0 {
            return Err(lasting(Code::MALFORMED_REQUEST));
        }
        let prefers_failure = asked.request.options.contains(&Extra::PreferFailure);
        if prefers_failure && map.external.port() == 0 && asked.request.lifetime_seconds != 0 {
            return Err(lasting(Code::MALFORMED_OPTION));
        }
        let filters = filters(&asked.request.options)?;
        if asked.request.lifetime_seconds == 0 {
            return self.pcp_delete(asked, map, internal).map(|()| (0, map));
        }
        let protocol = transport(map.protocol).filter(|_| map.internal_port != 0);
        let protocol = protocol.ok_or(lasting(Code::UNSUPP_PROTOCOL))?;
        if let Some(known) = self.control.explicit_of(protocol, internal) {
            if known.by == MappedBy::Static {
                return Ok((FOR_EVER, Map { external: known.external, ..map }));
            }
            self.authorize(&known, &map, asked.now)?;
        }
        self.pcp_grant(asked, map, protocol, None, filters, prefers_failure)
    }

    fn pcp_peer(&mut self, asked: &Asked<'_>, map: Map, remote: SocketAddr) -> Result<(u32, Map), Refused> {
        let internal = SocketAddr::new(asked.host, map.internal_port);
        let only_maps = |option: &Extra| matches!(option, Extra::PreferFailure | Extra::Filter(_));
        if asked.request.options.iter().any(only_maps) {
            return Err(lasting(Code::MALFORMED_OPTION));
        }
        if map.internal_port == 0 || remote.port() == 0 {
            return Err(lasting(Code::MALFORMED_REQUEST));
        }
        let protocol = transport(map.protocol).ok_or(lasting(Code::UNSUPP_PROTOCOL))?;
        let all = self.control.explicit();
        let same =
            |one: &&ExplicitMapping| (one.protocol, one.internal, one.remote) == (protocol, internal, Some(remote));
        let known = all.iter().find(same);
        if let Some(known) = known {
            self.authorize(known, &map, asked.now)?;
        }
        match (asked.request.lifetime_seconds, known) {
            (0, Some(known)) => {
                self.control.unmap(known, Traffic::Stays);
                Ok((0, map))
            }
            (0, None) if self.control.is_mapped(protocol, internal) => Err(lasting(Code::NOT_AUTHORIZED)),
            (0, None) => Ok((0, map)),
            _ => self.pcp_grant(asked, map, protocol, Some(remote), Vec::new(), map.external.port() != 0),
        }
    }

    fn pcp_grant(
        &mut self,
        asked: &Asked<'_>,
        map: Map,
        protocol: Protocol,
        remote: Option<SocketAddr>,
        filters: Vec<RemoteFilter>,
        exact: bool,
    ) -> Result<(u32, Map), Refused> {
        let internal = SocketAddr::new(asked.host, map.internal_port);
        let lifetime = Duration::from_secs(asked.request.lifetime_seconds.into());
        let lifetime = lifetime.clamp(*self.config.lifetimes.start(), *self.config.lifetimes.end());
        let wished = Some(map.external.ip()).filter(|address| !address.is_unspecified());
        let request = MapRequest {
            protocol,
            internal,
            external_address: wished,
            external_port: map.external.port(),
            exact,
            remote,
            filters,
            lifetime: Some(lifetime),
            pair: false,
            by: MappedBy::Pcp,
        };
        let granted = self.grant(&request, asked.now).map_err(code)?;
        if granted.mapping != 0 {
            let known = Known { mapping: granted.mapping, nonce: map.nonce, client: asked.source };
            self.remember((number(protocol), internal, remote), known);
        }
        Ok((lifetime.as_secs() as u32, Map { external: granted.external, ..map }))
    }

    fn remember(&mut self, key: Key, known: Known) {
        // What the NAT has lost or ended is forgotten when there is twice as much as it has.
        let live = self.control.explicit();
        if self.known.len() > 2 * live.len() + 16 {
            self.known.retain(|_, known| live.iter().any(|one| one.mapping == known.mapping));
        }
        self.known.insert(key, known);
    }

    /// Whether a request knows the nonce of the mapping that it is about (section 11.3).
    fn authorize(&self, known: &ExplicitMapping, map: &Map, now: Time) -> Result<(), Refused> {
        let key = (number(known.protocol), known.internal, known.remote);
        let mine = self.known.get(&key).is_some_and(|one| one.nonce == map.nonce && one.mapping == known.mapping);
        let left = known.until.map_or(FOR_EVER, |until| until.since(now).as_secs() as u32);
        if mine { Ok(()) } else { Err((Code::NOT_AUTHORIZED, left)) }
    }

    /// Gives up one mapping of a host, or all that have this nonce (section 15).
    fn pcp_delete(&mut self, asked: &Asked<'_>, map: Map, internal: SocketAddr) -> Result<(), Refused> {
        let protocol = transport(map.protocol);
        if map.internal_port == 0 {
            let of = |one: &ExplicitMapping| {
                one.internal.ip() == asked.host
                    && one.remote.is_none()
                    && (map.protocol == 0 || protocol == Some(one.protocol))
            };
            for one in self.control.explicit().into_iter().filter(of) {
                if self.authorize(&one, &map, asked.now).is_ok() {
                    self.control.unmap(&one, Traffic::Stays);
                }
            }
            return Ok(());
        }
        let Some(protocol) = protocol else { return Ok(()) };
        match self.control.explicit_of(protocol, internal) {
            Some(known) if known.by == MappedBy::Static => Err((Code::NOT_AUTHORIZED, FOR_EVER)),
            Some(known) => {
                self.authorize(&known, &map, asked.now)?;
                self.control.unmap(&known, Traffic::Stays);
                Ok(())
            }
            None if self.control.is_mapped(protocol, internal) => Err(lasting(Code::NOT_AUTHORIZED)),
            None => Ok(()),
        }
    }

    /// What clients are told of their own accord when their mappings have moved (section 14.2): to whom, and what.
    pub(super) fn pcp_updates(&mut self, now: Time) -> Vec<(SocketAddr, Vec<u8>)> {
        let live = self.control.explicit();
        let mut updates = Vec::new();
        for one in live.into_iter().filter(|one| one.by == MappedBy::Pcp) {
            let key = (number(one.protocol), one.internal, one.remote);
            let Some(known) = self.known.get_mut(&key) else { continue };
            known.mapping = one.mapping;
            let map = Map {
                nonce: known.nonce,
                protocol: number(one.protocol),
                internal_port: one.internal.port(),
                external: one.external,
            };
            let operation = match one.remote {
                None => Operation::Map(map),
                Some(remote) => Operation::Peer { map, remote },
            };
            let lifetime_seconds = one.until.map_or(FOR_EVER, |until| until.since(now).as_secs() as u32);
            let client = known.client;
            let (code, epoch_seconds) = (Code::SUCCESS, self.epoch_seconds(now));
            let answer = Answer { code, lifetime_seconds, epoch_seconds, operation, options: Vec::new() };
            updates.push((client, answer.encode()));
        }
        updates
    }

    /// An ANNOUNCE that nobody asked for (section 14.1).
    pub(super) fn pcp_announcement(&self, now: Time) -> Vec<u8> {
        let (code, operation, options) = (Code::SUCCESS, Operation::Announce, Vec::new());
        Answer { code, lifetime_seconds: 0, epoch_seconds: self.epoch_seconds(now), operation, options }.encode()
    }
}

/// The filters of a request; what stands before one that clears does not count.
fn filters(options: &[Extra]) -> Result<Vec<RemoteFilter>, Refused> {
    let mut filters = Vec::new();
    for option in options {
        match option {
            Extra::Filter(Some(filter)) => filters.push(*filter),
            Extra::Filter(None) => filters.clear(),
            _ => {}
        }
    }
    if filters.len() > FILTERS { Err(lasting(Code::EXCESSIVE_REMOTE_PEERS)) } else { Ok(filters) }
}

fn transport(protocol: u8) -> Option<Protocol> {
    match protocol {
        17 => Some(Protocol::Udp),
        6 => Some(Protocol::Tcp),
        _ => None,
    }
}

fn code(refusal: MapRefusal) -> Refused {
    lasting(match refusal {
        MapRefusal::Taken => Code::CANNOT_PROVIDE_EXTERNAL,
        MapRefusal::Exhausted => Code::NO_RESOURCES,
        MapRefusal::Quota => Code::USER_EX_QUOTA,
        MapRefusal::NoAddress => Code::NETWORK_FAILURE,
        MapRefusal::Unsuitable => Code::NOT_AUTHORIZED,
    })
}

/// An error with the lifetime that section 7.4 advises: 30 seconds for what may pass, 30 minutes for the rest.
fn lasting(code: Code) -> Refused {
    let passing = [Code::NETWORK_FAILURE, Code::NO_RESOURCES, Code::USER_EX_QUOTA].contains(&code);
    (code, if passing { 30 } else { 1800 })
}
