//! The client's side of a STUN transaction over UDP.
//!
//! ```text
//! client                         server
//!   | Binding request (id) -------> |     sent again at 0.5, 1.5, 3.5 ... s with the same id (RFC 8489 section 6.2.1)
//!   | <----- success (id, mapped) - |     or an error response: the transaction ends
//! ```
//!
//! Knows nothing of what a response means for a NAT: that is `discovery`.

use std::net::SocketAddr;
use std::time::Duration;

use natbox_host::{Host, Received, UdpSocket};
use natbox_wire::Time;

use super::codec::{self, AttributeType, BINDING, ChangeRequest, Message, MessageClass, Writer, attribute};
use crate::ProbeError;
use crate::wait::receive;

/// The longest answer that is read, in bytes: more than any path's MTU.
const ANSWER_BYTES: usize = 2048;

/// When a request is sent again, and when it has failed (RFC 8489 section 6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retransmission {
    /// RTO: the wait after the first sending; every further wait is twice the one before it.
    pub first_wait: Duration,
    /// Rc: how often the request is sent.
    pub sends: u32,
    /// Rm: the wait after the last sending, in multiples of `first_wait`.
    pub last_wait_multiple: u32,
}

impl Default for Retransmission {
    /// RTO 500 ms, Rc 7, Rm 16: sent at 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s, failed at 39.5 s.
    fn default() -> Retransmission {
        Retransmission { first_wait: Duration::from_millis(500), sends: 7, last_wait_multiple: 16 }
    }
}

impl Retransmission {
    /// For probes, where silence is often the answer: sent at 0, 0.5, 1.5 and 3.5 s, failed at 5.5 s.
    pub const PROBE: Retransmission =
        Retransmission { first_wait: Duration::from_millis(500), sends: 4, last_wait_multiple: 4 };

    /// How long to wait after sending number `sent` (the first is 1).
    pub fn wait_after(&self, sent: u32) -> Duration {
        if sent >= self.sends {
            self.first_wait.saturating_mul(self.last_wait_multiple)
        } else {
            self.first_wait.saturating_mul(1u32.checked_shl(sent.saturating_sub(1)).unwrap_or(u32::MAX))
        }
    }
}

/// A response that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The datagram: one well-formed STUN message.
    pub datagram: Vec<u8>,
    /// From where, to where and when it came.
    pub received: Received,
    /// How often the request had been sent by then.
    pub sent: u32,
    /// From the first sending to the response.
    pub elapsed: Duration,
}

impl Answer {
    /// The response.
    pub fn message(&self) -> Option<Message<'_>> {
        codec::parse(&self.datagram)
    }
}

/// Sends `request` to `server` until a response with its transaction id comes, from whatever source.
///
/// # Errors
/// [`ProbeError::Silence`] when none came, [`ProbeError::Io`] when the machine cannot send.
pub async fn transact<H: Host>(
    host: &H,
    socket: &H::Udp,
    server: SocketAddr,
    request: &[u8],
    retransmission: &Retransmission,
) -> Result<Answer, ProbeError> {
    let began = host.now();
    let mut buffer = [0; ANSWER_BYTES];
    for sent in 1..=retransmission.sends {
        socket.send_to(request, server).await.map_err(ProbeError::io("send a STUN request"))?;
        let deadline = host.now() + retransmission.wait_after(sent);
        if let Some(received) = response(host, socket, request, &mut buffer, deadline).await? {
            let datagram = buffer[..received.length].to_vec();
            return Ok(Answer { datagram, received, sent, elapsed: received.at.since(began) });
        }
    }
    let waited = host.now().since(began);
    Err(ProbeError::Silence { expected: "a STUN response", from: server, waited, sent: retransmission.sends })
}

/// Waits for the response to `request`; other datagrams are passed over.
async fn response<H: Host>(
    host: &H,
    socket: &H::Udp,
    request: &[u8],
    buffer: &mut [u8],
    deadline: Time,
) -> Result<Option<Received>, ProbeError> {
    loop {
        let received = receive(host, socket, buffer, deadline).await;
        match received.map_err(ProbeError::io("receive a STUN response"))? {
            Some(received) if answers(&buffer[..received.length.min(ANSWER_BYTES)], request) => {
                return Ok(Some(received));
            }
            Some(_) => {}
            None => return Ok(None),
        }
    }
}

/// Whether a datagram is a response to `request`: same method, same transaction id, well-formed.
fn answers(datagram: &[u8], request: &[u8]) -> bool {
    /// The class bits in a message type (RFC 8489 section 5): the upper one says that it is a response.
    const CLASS: u16 = 0x0110;
    const RESPONSE: u16 = 0x0100;
    let kind = |bytes: &[u8]| bytes.first_chunk().map(|kind| u16::from_be_bytes(*kind));
    let (Some(came), Some(asked)) = (kind(datagram), kind(request)) else { return false };
    let fits = came & RESPONSE != 0 && came & !CLASS == asked & !CLASS && datagram.get(8..20) == request.get(8..20);
    fits && codec::parse(datagram).is_some()
}

/// What a Binding request asks for besides the mapped address (RFC 5780 section 7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BindingRequest {
    /// CHANGE-REQUEST: answer from elsewhere.
    pub change: ChangeRequest,
    /// RESPONSE-PORT: answer to another port of the same address.
    pub response_port: Option<u16>,
    /// PADDING: so many bytes of it, both ways.
    pub padding_bytes: Option<u16>,
}

impl BindingRequest {
    /// The request's bytes.
    pub fn to_bytes(self, id: codec::TransactionId) -> Vec<u8> {
        let mut request = Writer::request(BINDING, id);
        if self.change != ChangeRequest::default() {
            request = request.change_request(self.change);
        }
        if let Some(port) = self.response_port {
            request = request.response_port(port);
        }
        if let Some(length) = self.padding_bytes {
            request = request.raw(attribute::PADDING, &vec![0; usize::from(length)]);
        }
        request.finish()
    }
}

/// What a Binding response tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Where the server saw the request come from (XOR-MAPPED-ADDRESS, else MAPPED-ADDRESS).
    pub mapped: SocketAddr,
    /// MAPPED-ADDRESS: differs from `mapped` when something on the way rewrites addresses in payloads.
    pub mapped_plain: Option<SocketAddr>,
    /// OTHER-ADDRESS: the server's other address and port.
    pub other: Option<SocketAddr>,
    /// Where the response came from.
    pub source: SocketAddr,
    /// From the first sending to the response.
    pub elapsed: Duration,
}

/// Asks STUN servers.
#[derive(Debug)]
pub struct Client<H: Host> {
    host: H,
    random: H::Random,
    /// When requests are sent again.
    pub retransmission: Retransmission,
}

impl<H: Host> Client<H> {
    /// A client on `host`.
    pub fn new(host: &H, retransmission: Retransmission) -> Client<H> {
        Client { host: host.clone(), random: host.random(), retransmission }
    }

    /// A fresh request.
    pub fn prepare(&mut self, request: BindingRequest) -> Vec<u8> {
        request.to_bytes(codec::transaction_id(&mut self.random))
    }

    /// Asks `server`, from `socket`.
    ///
    /// # Errors
    /// Silence, an error response ([`ProbeError::Refused`]), or a response without a mapped address.
    pub async fn binding(
        &mut self,
        socket: &H::Udp,
        server: SocketAddr,
        request: BindingRequest,
    ) -> Result<Binding, ProbeError> {
        let request = self.prepare(request);
        let answer = transact(&self.host, socket, server, &request, &self.retransmission).await?;
        read_binding(&answer)
    }
}

/// Reads a response to a Binding request.
///
/// # Errors
/// [`ProbeError::Refused`] for an error response, [`ProbeError::Unexpected`] without a mapped address.
pub fn read_binding(answer: &Answer) -> Result<Binding, ProbeError> {
    const EXPECTED: &str = "a Binding success response";
    let from = answer.received.source;
    let unexpected = |came: String| ProbeError::Unexpected { expected: EXPECTED, from, came };
    let message = answer.message().ok_or_else(|| unexpected("no STUN message".into()))?;
    if message.has_class(MessageClass::Error) {
        let (code, reason) = codec::error_code(&message).unwrap_or((0, "without an ERROR-CODE".into()));
        return Err(ProbeError::Refused { expected: EXPECTED, from, code, reason });
    }
    let plain = |kind: AttributeType| codec::address(&message, kind);
    let mapped = codec::mapped_address(&message);
    Ok(Binding {
        mapped: mapped.ok_or_else(|| unexpected("a response without a mapped address".into()))?,
        mapped_plain: plain(attribute::MAPPED_ADDRESS),
        other: plain(attribute::OTHER_ADDRESS),
        source: from,
        elapsed: answer.elapsed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8489_requests_are_sent_at_the_times_of_section_6_2_1() {
        let plan = Retransmission::default();
        let mut at = Duration::ZERO;
        let mut times = vec![at.as_millis()];
        for sent in 1..=plan.sends {
            at += plan.wait_after(sent);
            times.push(at.as_millis());
        }
        assert_eq!(times, [0, 500, 1500, 3500, 7500, 15_500, 31_500, 39_500]);
    }

    #[test]
    fn only_a_response_of_the_same_method_and_id_answers_a_request() {
        let request = Writer::request(BINDING, 7.into()).finish();
        let of = |class, method, id: u128| Writer::new(class, method, id.into()).finish();
        assert!(answers(&of(MessageClass::Success, BINDING, 7), &request));
        assert!(answers(&of(MessageClass::Error, BINDING, 7), &request));
        for other in [
            of(MessageClass::Success, BINDING, 8),
            of(MessageClass::Success, codec::Method::new(3), 7),
            of(MessageClass::Indication, BINDING, 7),
            request.clone(),
            of(MessageClass::Success, BINDING, 7)[..19].to_vec(),
        ] {
            assert!(!answers(&other, &request), "{other:?}");
        }
    }

    #[test]
    fn a_plan_of_many_sends_does_not_overflow() {
        let plan = Retransmission { sends: u32::MAX, ..Retransmission::default() };
        assert_eq!(plan.wait_after(200), plan.first_wait * u32::MAX);
    }
}
