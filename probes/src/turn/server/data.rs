//! Data: Send indications and ChannelData to the peers; the peers' datagrams and ICMP errors to the client.
//!
//! None of these refreshes a permission, a channel or an allocation (RFC 8656 section 9).

use std::net::SocketAddr;

use natbox_wire::{IcmpError, Time};
use stun_types::attribute::AttributeStaticType;
use stun_types::message::{Message, MessageClass};
use turn_types::attribute::{Data, DontFragment, XorPeerAddress};
use turn_types::message::{DATA, SEND};

use super::allocation::{Allocation, Stage};
use super::requests::dont_fragment_if;
use super::state::{Discard, FiveTuple, Output, Server};
use crate::path::Transport;
use crate::turn::MAX_DATAGRAM_BYTES;
use crate::turn::message::{Writer, channel_data, icmp_attribute, parse_channel_data, unknown_attributes};

/// STUN header, XOR-PEER-ADDRESS for IPv6, DATA's header and padding.
const DATA_OVERHEAD_BYTES: usize = 20 + 24 + 4 + 3;

impl Server {
    pub(super) fn relay_indication(
        &mut self,
        message: &Message<'_>,
        five_tuple: FiveTuple,
        now: Time,
    ) -> Result<(), Discard> {
        if message.method() != SEND {
            return Err(Discard::UnknownMethod);
        }
        let own = [XorPeerAddress::TYPE, Data::TYPE];
        let known = [own.as_slice(), dont_fragment_if(self.config.dont_fragment)].concat();
        if !unknown_attributes(message, &known).is_empty() {
            return Err(Discard::UnknownAttribute);
        }
        let (Ok(peer), Ok(data)) = (message.attribute::<XorPeerAddress>(), message.attribute::<Data<'_>>()) else {
            return Err(Discard::MissingAttribute);
        };
        let peer = peer.addr(message.transaction_id());
        let allocation = self.lent(five_tuple)?;
        if allocation.transport == Transport::Tcp {
            return Err(Discard::TcpAllocation);
        }
        if !allocation.permits(peer.ip(), now) {
            return Err(Discard::NoPermission);
        }
        let relay = allocation.relay_for(peer.ip()).ok_or(Discard::WrongFamily)?;
        let dont_fragment = message.has_attribute(DontFragment::TYPE);
        self.push(Output::Relay { relay, peer, payload: data.data().to_vec(), dont_fragment });
        Ok(())
    }

    pub(super) fn relay_channel_data(
        &mut self,
        datagram: &[u8],
        five_tuple: FiveTuple,
        now: Time,
    ) -> Result<(), Discard> {
        let (number, data) = parse_channel_data(datagram).ok_or(Discard::Malformed)?;
        let allocation = self.lent(five_tuple)?;
        let peer = allocation.peer_of(number, now).ok_or(Discard::NoChannel)?;
        let relay = allocation.relay_for(peer.ip()).ok_or(Discard::WrongFamily)?;
        self.push(Output::Relay { relay, peer, payload: data.to_vec(), dont_fragment: false });
        Ok(())
    }

    /// The allocation of a client that has been told of it: before that its sockets may not be open.
    fn lent(&self, five_tuple: FiveTuple) -> Result<&Allocation, Discard> {
        let allocation = self.allocations.get(&five_tuple).ok_or(Discard::NoAllocation)?;
        match allocation.stage {
            Stage::Answered(_) => Ok(allocation),
            Stage::Opening(_) => Err(Discard::InProgress),
        }
    }

    /// Takes a datagram that a peer sent to a relayed address.
    pub fn receive_relayed(
        &mut self,
        payload: &[u8],
        peer: SocketAddr,
        relay: SocketAddr,
        now: Time,
    ) -> Result<(), Discard> {
        self.handle_timeout(now);
        let five_tuple = *self.relays.get(&relay).ok_or(Discard::NoAllocation)?;
        let allocation = self.allocations.get(&five_tuple).ok_or(Discard::NoAllocation)?;
        if !allocation.permits(peer.ip(), now) {
            return Err(Discard::NoPermission);
        }
        let payload = match allocation.channel_to(peer, now) {
            Some(number) => channel_data(number, payload).ok_or(Discard::TooLong)?,
            None if payload.len() > MAX_DATAGRAM_BYTES - DATA_OVERHEAD_BYTES => return Err(Discard::TooLong),
            None => self.data_indication(peer, |writer| writer.with(&Data::new(payload))),
        };
        self.push(Output::Reply { five_tuple, payload });
        Ok(())
    }

    /// Takes an ICMP error about a datagram that was relayed to `peer`; the permission is that of the peer, whoever
    /// reported the error (RFC 8656 section 11.5).
    pub fn receive_icmp(
        &mut self,
        error: IcmpError,
        peer: SocketAddr,
        relay: SocketAddr,
        now: Time,
    ) -> Result<(), Discard> {
        self.handle_timeout(now);
        let five_tuple = *self.relays.get(&relay).ok_or(Discard::NoAllocation)?;
        let allocation = self.allocations.get(&five_tuple).ok_or(Discard::NoAllocation)?;
        let icmp = icmp_attribute(error, peer.is_ipv6()).ok_or(Discard::IcmpType)?;
        if !allocation.permits(peer.ip(), now) {
            return Err(Discard::NoPermission);
        }
        let payload = self.data_indication(peer, |writer| writer.with(&icmp));
        self.push(Output::Reply { five_tuple, payload });
        Ok(())
    }

    fn data_indication(&mut self, peer: SocketAddr, content: impl FnOnce(Writer) -> Writer) -> Vec<u8> {
        let transaction = self.transaction();
        let writer = Writer::new(MessageClass::Indication, DATA, transaction);
        content(writer.with(&XorPeerAddress::new(peer, transaction))).finish(None, false)
    }
}
