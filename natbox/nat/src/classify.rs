//! What a packet is to a NAT: traffic of a session, an ICMP error about one, or nothing that it translates.

use natbox_wire::{DropReason, Packet, Protocol, TcpFlags, Transport};

use crate::behavior::IcmpQuery;
use crate::icmp;
use crate::key::{Address, Endpoint};
use crate::tcp::Tcp;

/// A packet of a session, as the side that it comes from shows it.
#[derive(Clone, Copy)]
pub(crate) struct Flow<A> {
    pub(crate) protocol: Protocol,
    pub(crate) source: Endpoint<A>,
    pub(crate) destination: Endpoint<A>,
    pub(crate) flags: TcpFlags,
    /// Whether a session may begin with it when it comes from inside: not the reply to a query, nor a TCP segment that is
    /// no opening SYN.
    pub(crate) opens: bool,
}

impl<A: Address> Flow<A> {
    /// The same packet once it has got another source. A query has one identifier, so it changes on both ends.
    pub(crate) fn leaving_as(self, source: Endpoint<A>) -> Flow<A> {
        let destination = match self.protocol {
            Protocol::Icmp => Endpoint { port: source.port, ..self.destination },
            Protocol::Udp | Protocol::Tcp => self.destination,
        };
        Flow { source, destination, ..self }
    }
}

/// What a packet is.
pub(crate) enum Class<A> {
    /// UDP, TCP or an ICMP query.
    Flow(Flow<A>),
    /// An ICMP error, to be translated by the session that it quotes.
    Error,
}

/// Says what a packet is, or why this NAT has no use for it.
#[inline(always)]
pub(crate) fn classify<A: Address>(packet: &Packet, queries: IcmpQuery) -> Result<Class<A>, DropReason> {
    let (source, destination) = A::both(packet).ok_or(DropReason::UnsupportedProtocol)?;
    if destination.is_multicast() {
        return Err(DropReason::UnsupportedProtocol);
    }
    let flow = |protocol, from, to, flags, opens| {
        let (source, destination) =
            (Endpoint { address: source, port: from }, Endpoint { address: destination, port: to });
        Ok(Class::Flow(Flow { protocol, source, destination, flags, opens }))
    };
    let none = TcpFlags::default();
    match packet.transport() {
        Transport::Udp { source, destination } => flow(Protocol::Udp, source, destination, none, true),
        Transport::Tcp { source, destination, flags } => {
            flow(Protocol::Tcp, source, destination, flags, Tcp::opens(flags))
        }
        Transport::Echo { identifier, request, .. } => {
            icmp::denied(queries, if request { 8 } else { 0 }).map_or(Ok(()), Err)?;
            flow(Protocol::Icmp, identifier, identifier, none, request)
        }
        Transport::Query { kind, identifier } => {
            icmp::denied(queries, kind).map_or(Ok(()), Err)?;
            flow(Protocol::Icmp, identifier, identifier, none, kind % 2 == 1)
        }
        Transport::IcmpError(_) => Ok(Class::Error),
        Transport::LaterFragment => Err(DropReason::FragmentUntranslatable),
        Transport::OtherIcmp { .. } => Err(DropReason::IcmpUntranslatable),
        Transport::Other => Err(DropReason::UnsupportedProtocol),
    }
}
