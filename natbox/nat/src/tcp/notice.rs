//! What the two ends are told when a connection has been idle for its whole lifetime (RFC 5382 section 5, RFC 6146
//! section 3.5.2.2).

use std::net::SocketAddr;

use natbox_wire::build::{self, IpFields};
use natbox_wire::{Packet, Protocol, TcpFlags, Time};

use crate::behavior::ExpiryNotify;
use crate::key::Address;
use crate::realm::{Realm, Shared};
use crate::tcp::Stage;
use crate::timers::Side;
use crate::verdict::Output;

const ACK: TcpFlags = TcpFlags { syn: false, ack: true, fin: false, rst: false, psh: false };
const RST: TcpFlags = TcpFlags { rst: true, ..ACK };

impl<A: Address> Realm<A> {
    /// A session's deadline has come; whether it gets another chance.
    #[cold]
    pub(crate) fn outlives(&mut self, nat: &mut Shared, index: u32, now: Time) -> bool {
        let session = self.table.session(index);
        let stage = session.tcp.stage();
        let open = matches!(stage, Stage::Established | Stage::PickedUp | Stage::HalfClosed | Stage::CloseWait);
        match nat.behavior.expiry_notify {
            _ if session.protocol != Protocol::Tcp || !open => false,
            ExpiryNotify::None => false,
            ExpiryNotify::RstBoth => {
                self.reset_both(nat, index);
                false
            }
            ExpiryNotify::KeepaliveProbe => self.probe(nat, index, now),
        }
    }

    /// Resets both ends, where their numbers are known.
    pub(crate) fn reset_both(&mut self, nat: &mut Shared, index: u32) {
        self.reset(nat, index, Side::Inside);
        self.reset(nat, index, Side::Outside);
    }

    /// Sends an empty ACK inside, numbered 0, which a living end answers with what it expects. Until then the session
    /// is as after a RST.
    fn probe(&mut self, nat: &mut Shared, index: u32, now: Time) -> bool {
        let session = self.table.session_mut(index);
        session.tcp = session.tcp.transitory();
        let (remote, internal, mapping) = (session.remote.to_socket(), session.internal.to_socket(), session.id);
        let lifetime = nat.timers.tcp.at(Stage::Transitory);
        if !self.table.set_due(index, lifetime.map_or(Time::MAX, |lifetime| now + lifetime)) {
            return false;
        }
        if let Some(packet) = segment(remote, internal, ACK, 0, 0) {
            nat.output.push_back(Output::Send { to: Side::Inside, packet, mapping });
        }
        true
    }

    /// Resets the end on one side, with the sequence number that it expects: it takes no other (RFC 5961 section 3).
    fn reset(&mut self, nat: &mut Shared, index: u32, to: Side) {
        let session = self.table.session(index);
        // A hairpinned connection has another session for its other end.
        let turned_back = self.translates && self.pool.owns(session.remote.address);
        let Some(track) = self.tracks.get(index).filter(|_| to == Side::Inside || !turned_back) else { return };
        let (remote, mapping) = (session.remote.to_socket(), session.id);
        let (sequence, acknowledgement) = track.expected(to);
        let packet = match to {
            Side::Inside => segment(remote, session.internal.to_socket(), RST, sequence, acknowledgement),
            Side::Outside => segment(session.external.to_socket(), remote, RST, sequence, acknowledgement),
        };
        if let Some(packet) = packet {
            nat.output.push_back(Output::Send { to, packet, mapping });
        }
    }
}

fn segment(
    source: SocketAddr,
    destination: SocketAddr,
    flags: TcpFlags,
    sequence: u32,
    acknowledgement: u32,
) -> Option<Packet> {
    build::tcp(source, destination, IpFields::default(), flags, sequence, acknowledgement, 0, b"")
}
