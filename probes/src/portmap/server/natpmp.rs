//! What the desk answers to NAT-PMP (RFC 6886 section 3).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use natbox_host::PortControl;
use natbox_wire::{MapRefusal, MapRequest, MappedBy, Protocol, Time, Traffic};

use super::Desk;
use crate::portmap::Control;
use crate::portmap::natpmp::codec::{Answer, Body, Code, Request, VERSION};

impl<C: PortControl> Desk<C> {
    pub(super) fn natpmp(&mut self, source: SocketAddr, bytes: &[u8], now: Time) -> Option<Vec<u8>> {
        let (&version, &opcode) = (bytes.first()?, bytes.get(1)?);
        let SocketAddr::V4(_) = source else { return None };
        // An answer is no request.
        if opcode & 0x80 != 0 || !self.config.speaks(Control::NatPmp) {
            return None;
        }
        let epoch_seconds = self.epoch_seconds(now);
        let nothing = |code, opcode| Answer { code, epoch_seconds, body: Body::Nothing { opcode } }.encode();
        if version != VERSION {
            return Some(nothing(Code::UNSUPPORTED_VERSION, 0));
        }
        if opcode > 2 {
            // Section 3.5: the request comes back, with the code in it.
            let mut answer = nothing(Code::UNSUPPORTED_OPCODE, opcode);
            answer.extend(bytes.get(8..bytes.len().min(1100)).unwrap_or_default());
            return Some(answer);
        }
        let (code, body) = match Request::decode(bytes)? {
            Request::ExternalAddress => self.natpmp_address(),
            Request::Map { protocol, internal_port, external_port, lifetime_seconds } => {
                let internal = SocketAddr::new(source.ip(), internal_port);
                let done = match lifetime_seconds {
                    0 => self.natpmp_delete(protocol, internal).map(|()| (0, 0)),
                    _ => self.natpmp_map(protocol, internal, external_port, lifetime_seconds, now),
                };
                let (code, (external_port, lifetime_seconds)) =
                    done.map_or_else(|code| (code, (external_port, lifetime_seconds)), |done| (Code::SUCCESS, done));
                (code, Body::Map { protocol, internal_port, external_port, lifetime_seconds })
            }
        };
        Some(Answer { code, epoch_seconds, body }.encode())
    }

    /// The external address, as an answer and as an announcement says it.
    pub(super) fn natpmp_address(&self) -> (Code, Body) {
        match self.control.external_address(false) {
            Some(IpAddr::V4(address)) => (Code::SUCCESS, Body::ExternalAddress(address)),
            _ => (Code::NETWORK_FAILURE, Body::ExternalAddress([0; 4].into())),
        }
    }

    fn natpmp_map(
        &mut self,
        protocol: Protocol,
        internal: SocketAddr,
        external_port: u16,
        lifetime_seconds: u32,
        now: Time,
    ) -> Result<(u16, u32), Code> {
        if let Some(known) = self.control.explicit_of(protocol, internal).filter(|known| known.by == MappedBy::Static) {
            return Ok((known.external.port(), lifetime_seconds));
        }
        let lifetime = Duration::from_secs(lifetime_seconds.into()).min(*self.config.lifetimes.end());
        let request = MapRequest {
            protocol,
            internal,
            external_address: None,
            external_port,
            exact: false,
            remote: None,
            filters: Vec::new(),
            lifetime: Some(lifetime),
            pair: true,
            by: MappedBy::NatPmp,
        };
        let granted = self.grant(&request, now).map_err(code)?;
        Ok((granted.external.port(), lifetime.as_secs() as u32))
    }

    /// Gives up one mapping of a host, or all of a protocol.
    fn natpmp_delete(&mut self, protocol: Protocol, internal: SocketAddr) -> Result<(), Code> {
        let theirs = |one: SocketAddr| match internal.port() {
            0 => one.ip() == internal.ip(),
            _ => one == internal,
        };
        let all = self.control.explicit().into_iter();
        let mine: Vec<_> = all.filter(|one| one.protocol == protocol && theirs(one.internal)).collect();
        let (fixed, given): (Vec<_>, Vec<_>) = mine.into_iter().partition(|one| one.by == MappedBy::Static);
        if internal.port() != 0 && !fixed.is_empty() {
            return Err(Code::REFUSED);
        }
        for mapping in given {
            self.control.unmap(&mapping, Traffic::Ends);
        }
        Ok(())
    }
}

fn code(refusal: MapRefusal) -> Code {
    match refusal {
        MapRefusal::Exhausted | MapRefusal::Quota | MapRefusal::Taken => Code::OUT_OF_RESOURCES,
        MapRefusal::NoAddress => Code::NETWORK_FAILURE,
        MapRefusal::Unsuitable => Code::REFUSED,
    }
}
