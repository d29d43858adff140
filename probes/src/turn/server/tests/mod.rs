//! The relay's state machine, told packet by packet: one test per row of the RFC 8656 ledger.

mod allocate;
mod chance;
mod peers;
mod requests;
mod tcp;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use natbox_wire::Time;
use rand_core::TryRng;
use stun_types::attribute::{AttributeWrite, ErrorCode, Nonce, Realm, Username, XorMappedAddress};
use stun_types::message::{Message, MessageClass, Method, TransactionId};
use turn_types::attribute::{
    ChannelNumber, Data, Lifetime, RequestedTransport, ReservationToken, XorPeerAddress, XorRelayedAddress,
};
use turn_types::message::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, REFRESH, SEND};

use super::{Discard, FiveTuple, Output, Server, ServerConfig};
use crate::turn::message::{Writer, is_intact, long_term_key, parse};

pub(super) const CLIENT: &str = "192.0.2.1:5000";
pub(super) const OTHER_CLIENT: &str = "192.0.2.2:5000";
pub(super) const SERVER: &str = "198.51.100.1:3478";
pub(super) const PEER: &str = "203.0.113.9:7000";

/// SplitMix64: enough chance for tests.
pub(super) struct Dice(pub(super) u64);

impl TryRng for Dice {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.try_next_u64()? >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        Ok(z ^ z >> 31)
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        for byte in dst {
            *byte = self.try_next_u64()? as u8;
        }
        Ok(())
    }
}

pub(super) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn config() -> ServerConfig {
    let users = vec![("alice".to_owned(), "secret".to_owned()), ("bob".to_owned(), "hidden".to_owned())];
    ServerConfig::new(addr(SERVER), addr(SERVER).ip(), users)
}

/// A client and a server on one table.
pub(super) struct Table {
    pub(super) server: Server,
    pub(super) now: Time,
    pub(super) client: SocketAddr,
    pub(super) carrier: crate::turn::Carrier,
    pub(super) user: (&'static str, &'static str),
    pub(super) outputs: Vec<Output>,
    /// How many sockets the host refuses to open from now on.
    pub(super) refusals: usize,
    next_id: u128,
}

/// An answer, taken apart by the tests.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer(pub(super) Vec<u8>);

impl Answer {
    pub(super) fn message(&self) -> Message<'_> {
        parse(&self.0).expect("the server sends well-formed messages")
    }

    pub(super) fn code(&self) -> Option<u16> {
        self.message().attribute::<ErrorCode>().ok().map(|error| error.code())
    }

    #[track_caller]
    pub(super) fn expect_success(self) -> Answer {
        assert_eq!(self.message().class(), MessageClass::Success, "{:?}", self.code());
        self
    }

    pub(super) fn relayed(&self) -> SocketAddr {
        let message = self.message();
        message.attribute::<XorRelayedAddress>().unwrap().addr(message.transaction_id())
    }

    pub(super) fn mapped(&self) -> SocketAddr {
        let message = self.message();
        message.attribute::<XorMappedAddress>().unwrap().addr(message.transaction_id())
    }

    pub(super) fn lifetime(&self) -> u32 {
        self.message().attribute::<Lifetime>().unwrap().seconds()
    }

    pub(super) fn token(&self) -> Option<u64> {
        self.message().attribute::<ReservationToken>().ok().map(|token| token.token())
    }

    pub(super) fn nonce(&self) -> String {
        self.message().attribute::<Nonce>().unwrap().nonce().to_owned()
    }
}

impl Table {
    pub(super) fn new() -> Table {
        Table::with(config())
    }

    pub(super) fn with(config: ServerConfig) -> Table {
        Table {
            server: Server::new(config, Dice(7)).unwrap(),
            now: Time::from_nanos(1_000_000_000),
            client: addr(CLIENT),
            carrier: crate::turn::Carrier::Udp,
            user: ("alice", "secret"),
            outputs: Vec::new(),
            refusals: 0,
            next_id: 1,
        }
    }

    pub(super) fn wait(&mut self, duration: Duration) {
        self.now = self.now + duration;
        self.server.handle_timeout(self.now);
        self.drain();
    }

    pub(super) fn five_tuple(&self) -> FiveTuple {
        FiveTuple { client: self.client, server: addr(SERVER), carrier: self.carrier }
    }

    /// The host: opens what is to be opened, keeps the rest.
    pub(super) fn drain(&mut self) {
        while let Some(output) = self.server.poll_output() {
            if let Output::Open { relay } | Output::Listen { relay } = output {
                let is_open = self.refusals == 0;
                self.refusals = self.refusals.saturating_sub(1);
                self.server.opened(relay, is_open, self.now);
            }
            self.outputs.push(output);
        }
    }

    pub(super) fn id(&mut self) -> TransactionId {
        self.next_id += 1;
        TransactionId::from(self.next_id)
    }

    /// Sends a datagram from the client.
    pub(super) fn send(&mut self, datagram: &[u8]) -> Result<(), Discard> {
        self.outputs.clear();
        let outcome = self.server.receive(datagram, self.five_tuple(), self.now);
        self.drain();
        outcome
    }

    /// Sends a request and takes the one answer.
    #[track_caller]
    pub(super) fn exchange(&mut self, datagram: &[u8]) -> Answer {
        assert_eq!(self.send(datagram), Ok(()));
        let replies = self.outputs.iter().filter_map(|output| match output {
            Output::Reply { five_tuple, payload } => Some((five_tuple, payload)),
            _ => None,
        });
        let replies: Vec<_> = replies.collect();
        assert_eq!(replies.len(), 1, "one answer to one request");
        assert_eq!(*replies[0].0, self.five_tuple());
        Answer(replies[0].1.clone())
    }

    pub(super) fn nonce(&mut self) -> String {
        let id = self.id();
        let bare = Writer::new(MessageClass::Request, REFRESH, id).finish(None, false);
        let answer = self.exchange(&bare);
        assert_eq!(answer.code(), Some(401));
        answer.nonce()
    }

    /// An authentic request with these attributes.
    pub(super) fn request(&mut self, method: Method, attributes: &[&dyn AttributeWrite]) -> Vec<u8> {
        let id = self.id();
        self.request_as(id, method, attributes)
    }

    pub(super) fn request_as(
        &mut self,
        id: TransactionId,
        method: Method,
        attributes: &[&dyn AttributeWrite],
    ) -> Vec<u8> {
        let nonce = self.nonce();
        self.signed(id, method, attributes, &nonce)
    }

    pub(super) fn signed(
        &self,
        id: TransactionId,
        method: Method,
        attributes: &[&dyn AttributeWrite],
        nonce: &str,
    ) -> Vec<u8> {
        let mut writer = Writer::new(MessageClass::Request, method, id);
        for attribute in attributes {
            writer = writer.with(*attribute);
        }
        let writer = writer.with(&Username::new(self.user.0).unwrap()).with(&Realm::new("natbox").unwrap());
        writer.with(&Nonce::new(nonce).unwrap()).finish(Some(&self.key()), true)
    }

    pub(super) fn key(&self) -> stun_types::message::IntegrityKey {
        long_term_key(self.user.0, "natbox", self.user.1)
    }

    /// An authentic request and its answer, whose integrity is checked.
    #[track_caller]
    pub(super) fn ask(&mut self, method: Method, attributes: &[&dyn AttributeWrite]) -> Answer {
        let request = self.request(method, attributes);
        let answer = self.exchange(&request);
        assert!(is_intact(&answer.message(), &self.key()), "answers to authentic requests are protected");
        answer
    }

    #[track_caller]
    pub(super) fn allocate(&mut self, attributes: &[&dyn AttributeWrite]) -> Answer {
        let udp = RequestedTransport::new(RequestedTransport::UDP);
        let mut all: Vec<&dyn AttributeWrite> = vec![&udp];
        all.extend(attributes);
        self.ask(ALLOCATE, &all)
    }

    #[track_caller]
    pub(super) fn allocated(&mut self) -> SocketAddr {
        self.allocate(&[]).expect_success().relayed()
    }

    #[track_caller]
    pub(super) fn refresh(&mut self, lifetime: u32) -> Answer {
        self.ask(REFRESH, &[&Lifetime::new(lifetime)])
    }

    #[track_caller]
    pub(super) fn permit(&mut self, peers: &[SocketAddr]) -> Answer {
        let id = self.id();
        let peers: Vec<XorPeerAddress> = peers.iter().map(|peer| XorPeerAddress::new(*peer, id)).collect();
        let attributes: Vec<&dyn AttributeWrite> = peers.iter().map(|peer| peer as &dyn AttributeWrite).collect();
        let request = self.request_as(id, CREATE_PERMISSION, &attributes);
        self.exchange(&request)
    }

    #[track_caller]
    pub(super) fn bind(&mut self, number: u16, peer: SocketAddr) -> Answer {
        let id = self.id();
        let peer = XorPeerAddress::new(peer, id);
        let request = self.request_as(id, CHANNEL_BIND, &[&ChannelNumber::new(number), &peer]);
        self.exchange(&request)
    }

    /// Sends a Send indication; what leaves the relayed address.
    pub(super) fn indicate(&mut self, payload: &[u8], peer: SocketAddr) -> Result<Vec<Output>, Discard> {
        let id = self.id();
        let writer = Writer::new(MessageClass::Indication, SEND, id);
        let writer = writer.with(&XorPeerAddress::new(peer, id)).with(&Data::new(payload));
        self.send(&writer.finish(None, false))?;
        Ok(self.outputs.clone())
    }

    /// A peer's datagram; the datagram that the client gets for it.
    pub(super) fn arrive(&mut self, payload: &[u8], peer: SocketAddr, relay: SocketAddr) -> Result<Vec<u8>, Discard> {
        self.outputs.clear();
        self.server.receive_relayed(payload, peer, relay, self.now)?;
        self.drain();
        match self.outputs.as_slice() {
            [Output::Reply { payload, .. }] => Ok(payload.clone()),
            other => panic!("expected one datagram to the client, got {other:?}"),
        }
    }
}
