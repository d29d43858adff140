//! Packets that no socket sends: TCP segments and ICMP messages by hand, fragments, wrong checksums.

use std::net::SocketAddr;

use futures::future::{Either, select};
use natbox_host::Host as _;
use natbox_wire::{Packet, Word};
use natbox_world::Stalled;
use natbox_world::note::InterfaceId;

use super::Runner;
use super::tap::Answer;
use crate::anyhost::AnyHost;
use crate::plan::message::Message;
use crate::plan::packet;
use crate::plan::step::{PATIENCE, Place, Send};
use crate::words::Rejection;

impl Runner<'_> {
    /// Puts a packet on the wire of its host and waits for its end; why it cannot be sent, if it cannot.
    pub(super) fn send_by_hand(
        &mut self,
        send: &Send,
        host: &AnyHost,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Result<Result<(), String>, Stalled> {
        self.identification = self.identification.wrapping_add(1);
        let offender = self.offender_of(&send.message);
        let pieces = || packet::pieces(send, from, to, offender.as_ref(), self.identification);
        let made = self.uplink(send, from, to).and_then(|uplink| Ok((uplink, pieces().map_err(|error| error.why)?)));
        let (uplink, pieces) = match made {
            Ok(made) => made,
            Err(error) => return Ok(Err(error)),
        };
        self.tap.gather(true);
        for piece in pieces {
            self.built.world.inject(uplink, piece.into_bytes());
        }
        self.tap.gather(false);
        let ended = self.tap.ended();
        self.built.world.run_until(async {
            let patience = Box::pin(host.sleep(PATIENCE));
            matches!(select(ended, patience).await, Either::Left(_))
        })?;
        Ok(Ok(()))
    }

    /// What an ICMP error is about, as it was seen last.
    fn offender_of(&self, message: &Message) -> Option<Packet> {
        let Message::Error { about, .. } = message else { return None };
        Packet::parse(self.seen.get(about)?.clone()).ok()
    }

    fn uplink(&self, send: &Send, from: SocketAddr, to: SocketAddr) -> Result<InterfaceId, String> {
        if self.owns(&Place::Name(send.host.clone()), to.ip()) {
            return Err("what is made by hand goes out on a wire, and this is for its own sender".to_owned());
        }
        let uplinks = self.built.machine(&send.host).map(|machine| machine.uplinks.as_slice()).unwrap_or_default();
        let has =
            |uplink: &&InterfaceId| self.built.world.addresses_of(**uplink).iter().any(|own| own.address == from.ip());
        uplinks.iter().find(has).copied().ok_or_else(|| format!("no uplink has {}", from.ip()))
    }
}

/// The word for an answer, if there is one.
pub(super) fn rejection(answer: Answer) -> Option<Rejection> {
    match answer {
        Answer::Reset => Some(Rejection::Rst),
        Answer::Icmp(error) => Rejection::from_word(error.as_str()),
    }
}
