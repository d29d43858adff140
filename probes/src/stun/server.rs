//! A STUN server with NAT behaviour discovery (RFC 8489 and 5780): up to two addresses and two ports.
//!
//! ```text
//! request to Da:Dp         answered from        Da, Dp: where the request came in
//!   no CHANGE-REQUEST        Da:Dp              Ca, Cp: the server's other address, other port
//!   change port              Da:Cp
//!   change IP                Ca:Dp              OTHER-ADDRESS is Ca:Cp in every case (RFC 5780 table 1)
//!   change IP and port       Ca:Cp
//! ```
//!
//! With [`ServerConfig::quiet_alternate`], a request without CHANGE-REQUEST to the alternate address gets no OTHER-ADDRESS,
//! against section 6.1: coturn's client takes the OTHER-ADDRESS of its second answer for the address of its third request,
//! and finds address-dependent mapping only where that is the alternate address again. So it is by coturn's server, which
//! always gives the alternate address; and by this one, as the client then stays with what the first answer said.
//!
//! Remembers nothing: a retransmitted request is answered anew with the same bytes. With one address there is no
//! OTHER-ADDRESS, and CHANGE-REQUEST is refused with 420.
//!
//! Clients of RFC 3489 are answered in their own way (`classic.rs`).
//!
//! Leaves out authentication, and one SHOULD: "PADDING equal to the MTU on the outgoing interface" (section 6.1)
//! would answer 4 bytes with 1500; PADDING comes back in the length in which it was sent.

mod classic;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use futures::future::join_all;
use natbox_host::{Host, UdpSocket};

use super::codec::{self, AttributeType, BINDING, ChangeRequest, Message, MessageClass, Writer, attribute};
use super::{ALTERNATE_PORT, PORT};
use crate::ProbeError;
use crate::wait::serve_next;

/// The longest request that is read, in bytes. Longer ones lose their end and are malformed then.
const REQUEST_BYTES: usize = 2048;

/// The required attributes that a Binding request may carry. Credentials are known and not asked for.
const KNOWN: [AttributeType; 8] = [
    attribute::CHANGE_REQUEST,
    attribute::USERNAME,
    attribute::MESSAGE_INTEGRITY,
    attribute::REALM,
    attribute::NONCE,
    attribute::MESSAGE_INTEGRITY_SHA256,
    attribute::PADDING,
    attribute::RESPONSE_PORT,
];

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// The address that clients are told of.
    pub primary: IpAddr,
    /// The second address, of the same IP version. Without one there are no behaviour tests.
    pub alternate: Option<IpAddr>,
    /// The port that clients are told of.
    pub port: u16,
    /// The second port.
    pub alternate_port: u16,
    /// Whether plain answers from the alternate address leave OTHER-ADDRESS out, as coturn's client needs it.
    pub quiet_alternate: bool,
    /// SOFTWARE, if the server is to name itself.
    pub software: Option<String>,
}

impl ServerConfig {
    /// A server on the usual ports 3478 and 3479.
    pub fn new(primary: IpAddr, alternate: Option<IpAddr>) -> ServerConfig {
        ServerConfig {
            primary,
            alternate,
            port: PORT,
            alternate_port: ALTERNATE_PORT,
            quiet_alternate: false,
            software: None,
        }
    }

    /// The endpoints that the server listens on: one, or four with a second address.
    pub fn endpoints(&self) -> Vec<SocketAddr> {
        let Some(alternate) = self.alternate else { return vec![SocketAddr::new(self.primary, self.port)] };
        let ports = [self.port, self.alternate_port];
        [self.primary, alternate].iter().flat_map(|address| ports.map(|port| SocketAddr::new(*address, port))).collect()
    }

    /// The endpoint that differs from `local` in address, port or both.
    fn changed(&self, local: SocketAddr, change: ChangeRequest) -> Option<SocketAddr> {
        if change == ChangeRequest::default() {
            return Some(local);
        }
        let alternate = self.alternate?;
        let other_address = if local.ip() == self.primary { alternate } else { self.primary };
        let other_port = if local.port() == self.port { self.alternate_port } else { self.port };
        let address = if change.address { other_address } else { local.ip() };
        let port = if change.port { other_port } else { local.port() };
        Some(SocketAddr::new(address, port))
    }
}

/// An answer of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Which of the server's endpoints sends it.
    pub from: SocketAddr,
    /// Whom it goes to.
    pub to: SocketAddr,
    /// The datagram.
    pub datagram: Vec<u8>,
}

/// Serves until the world ends.
///
/// # Errors
/// [`ProbeError::Io`] when an endpoint cannot be bound.
pub async fn serve<H: Host>(host: H, config: ServerConfig) -> Result<Infallible, ProbeError> {
    let mut sockets = Vec::new();
    for endpoint in config.endpoints() {
        let socket = host.udp_bind(endpoint).await.map_err(ProbeError::io("bind an endpoint of the STUN server"))?;
        sockets.push((endpoint, socket));
    }
    match &sockets[..] {
        [(endpoint, _)] => Ok(listen(&host, &config, &sockets, *endpoint, 0).await),
        several => {
            let listeners = several.iter().enumerate();
            join_all(listeners.map(|(which, (endpoint, _))| listen(&host, &config, &sockets, *endpoint, which))).await;
            Ok(std::future::pending().await)
        }
    }
}

/// Answers what comes to one endpoint.
async fn listen<H: Host>(
    host: &H,
    config: &ServerConfig,
    sockets: &[(SocketAddr, H::Udp)],
    local: SocketAddr,
    which: usize,
) -> Infallible {
    let mut buffer = vec![0; REQUEST_BYTES];
    loop {
        let received = serve_next(host, &sockets[which].1, &mut buffer).await;
        let datagram = &buffer[..received.length.min(REQUEST_BYTES)];
        let Some(reply) = respond(config, datagram, received.source, local) else { continue };
        if let Some((_, socket)) = sockets.iter().find(|(endpoint, _)| *endpoint == reply.from) {
            // A client that cannot be reached asks again, or has gone.
            let _ = socket.send_to(&reply.datagram, reply.to).await;
        }
    }
}

/// What the server answers to a datagram that came from `source` to its endpoint `local`; nothing to what is not a
/// well-formed Binding request.
pub fn respond(config: &ServerConfig, datagram: &[u8], source: SocketAddr, local: SocketAddr) -> Option<Reply> {
    if classic::is_classic(datagram) {
        return classic::respond(config, datagram, source, local);
    }
    let request = codec::parse(datagram)?;
    if !(request.has_class(MessageClass::Request) && request.has_method(BINDING)) {
        return None;
    }
    let wanted = Wanted::read(config, &request, local);
    let (from, to, answer) = match wanted {
        Ok(wanted) => {
            let to = SocketAddr::new(source.ip(), wanted.response_port.unwrap_or(source.port()));
            (wanted.from, to, wanted.success(config, &request, source, local))
        }
        Err(refusal) => (local, source, refusal.write(&request)),
    };
    let answer = match &config.software {
        Some(software) => answer.text(attribute::SOFTWARE, software),
        None => answer,
    };
    let fingerprint = request.has_attribute(attribute::FINGERPRINT);
    let answer = if fingerprint { answer.fingerprint() } else { answer };
    Some(Reply { from, to, datagram: answer.finish() })
}

/// What a request asks for.
struct Wanted {
    from: SocketAddr,
    response_port: Option<u16>,
    padding_bytes: Option<usize>,
}

/// Why a request is refused.
enum BindingRefused {
    BadRequest,
    UnknownAttributes(Vec<AttributeType>),
}

impl BindingRefused {
    fn write(&self, request: &Message<'_>) -> Writer {
        match self {
            BindingRefused::BadRequest => Writer::error(request, 400, "Bad Request"),
            BindingRefused::UnknownAttributes(unknown) => Writer::unknown_attributes(request, unknown),
        }
    }
}

impl Wanted {
    fn read(config: &ServerConfig, request: &Message<'_>, local: SocketAddr) -> Result<Wanted, BindingRefused> {
        let unknown: Vec<AttributeType> = request
            .iter_attributes()
            .map(|(_, raw)| raw.header.get_type())
            .filter(|kind| kind.comprehension_required() && !KNOWN.contains(kind))
            .collect();
        if !unknown.is_empty() {
            return Err(BindingRefused::UnknownAttributes(unknown));
        }
        let change = codec::change_request(request).transpose().map_err(|_| BindingRefused::BadRequest)?;
        let no_alternate = || BindingRefused::UnknownAttributes(vec![attribute::CHANGE_REQUEST]);
        // Even a CHANGE-REQUEST without a flag is refused by a server that has nothing to change to (section 6.1).
        let from = match change {
            Some(_) if config.alternate.is_none() => return Err(no_alternate()),
            change => config.changed(local, change.unwrap_or_default()).ok_or_else(no_alternate)?,
        };
        let response_port = codec::response_port(request).transpose().map_err(|_| BindingRefused::BadRequest)?;
        let padding_bytes = request.raw_attribute(attribute::PADDING).map(|raw| raw.value.len());
        let conflict = response_port.is_some() && padding_bytes.is_some();
        if conflict || response_port == Some(0) {
            return Err(BindingRefused::BadRequest);
        }
        Ok(Wanted { from, response_port, padding_bytes })
    }

    fn success(&self, config: &ServerConfig, request: &Message<'_>, source: SocketAddr, local: SocketAddr) -> Writer {
        let mut answer = Writer::success(request)
            .xor_address(attribute::XOR_MAPPED_ADDRESS, source)
            .address(attribute::MAPPED_ADDRESS, source)
            .address(attribute::RESPONSE_ORIGIN, self.from);
        let quiet = config.quiet_alternate && self.from == local && local.ip() != config.primary;
        if let (Some(_), Some(other), false) = (config.alternate, config.changed(local, BOTH), quiet) {
            answer = answer.address(attribute::OTHER_ADDRESS, other);
        }
        match self.padding_bytes {
            Some(length) => answer.raw(attribute::PADDING, &vec![0; length]),
            None => answer,
        }
    }
}

/// Change address and port.
const BOTH: ChangeRequest = ChangeRequest { address: true, port: true };

#[cfg(test)]
mod tests;
