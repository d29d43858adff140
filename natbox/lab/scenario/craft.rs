//! Packets that no socket sends: TCP segments and ICMP messages by hand, fragments, wrong checksums.

use std::net::SocketAddr;

use futures::future::{Either, select};
use natbox_host::Host as _;
use natbox_wire::build::{self, IpFields};
use natbox_wire::{IcmpError, Packet, TcpFlags, Transport, Word};
use natbox_world::note::InterfaceId;
use natbox_world::{Stalled, VirtualHost};

use super::Runner;
use super::send::PATIENCE;
use super::tap::Answer;
use crate::plan::message::{Craft, Message, Segment};
use crate::plan::step::{Place, Send};
use crate::words::{EchoKind, Flag, Rejection};

impl Send {
    /// Whether a UDP socket can send it.
    pub(super) fn is_plain(&self) -> bool {
        self.message == Message::Udp && self.craft == Craft::default()
    }
}

impl Runner<'_> {
    /// Puts a packet on the wire of its host and waits for its end; why it cannot be sent, if it cannot.
    pub(super) fn send_by_hand(
        &mut self,
        send: &Send,
        host: &VirtualHost,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Result<Result<(), String>, Stalled> {
        self.identification = self.identification.wrapping_add(1);
        let made = self.uplink(send, from, to).and_then(|uplink| Ok((uplink, self.pieces(send, from, to)?)));
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

    fn uplink(&self, send: &Send, from: SocketAddr, to: SocketAddr) -> Result<InterfaceId, String> {
        if self.owns(&Place::Name(send.host.clone()), to.ip()) {
            return Err("what is made by hand goes out on a wire, and this is for its own sender".to_owned());
        }
        let uplinks = self.built.machine(&send.host).map(|machine| machine.uplinks.as_slice()).unwrap_or_default();
        let has =
            |uplink: &&InterfaceId| self.built.world.addresses_of(**uplink).iter().any(|own| own.address == from.ip());
        uplinks.iter().find(has).copied().ok_or_else(|| format!("no uplink has {}", from.ip()))
    }

    fn pieces(&self, send: &Send, from: SocketAddr, to: SocketAddr) -> Result<Vec<Packet>, String> {
        let Craft { dont_fragment, wrong_checksum, fragments } = &send.craft;
        if *dont_fragment && from.is_ipv6() {
            return Err("IPv6 has no don't-fragment: nobody but the sender fragments there".to_owned());
        }
        let mut packet = self.whole(send, from, to).ok_or("no such packet can be: its parts do not fit together")?;
        if *wrong_checksum {
            packet = with_wrong_checksum(packet);
        }
        let Some(cut) = fragments else { return Ok(vec![packet]) };
        let pieces = build::fragments(packet, cut.mtu_bytes, self.identification.into());
        let pieces = pieces.ok_or_else(|| format!("cannot be cut into fragments of {} bytes", cut.mtu_bytes))?;
        if cut.order.is_empty() {
            return Ok(pieces);
        }
        let count = pieces.len();
        let piece = |number: &usize| {
            let piece = number.checked_sub(1).and_then(|index| pieces.get(index)).cloned();
            piece.ok_or_else(|| format!("has no fragment {number}: it comes in {count}"))
        };
        cut.order.iter().map(piece).collect()
    }

    fn whole(&self, send: &Send, from: SocketAddr, to: SocketAddr) -> Option<Packet> {
        let dont_fragment = send.craft.dont_fragment;
        let fields = IpFields { ttl: send.ttl, dont_fragment, identification: self.identification };
        match &send.message {
            Message::Udp => build::udp(from, to, fields, &send.payload),
            Message::Tcp(segment) => {
                let Segment { flags, sequence, acknowledgement, window_bytes } = segment;
                let flags = tcp_flags(flags);
                build::tcp(from, to, fields, flags, *sequence, *acknowledgement, *window_bytes, &send.payload)
            }
            Message::Echo { kind, identifier } => {
                let (request, identifier) = (*kind == EchoKind::Request, identifier.unwrap_or(to.port()));
                build::echo(request, from.ip(), to.ip(), fields, identifier, 0, &send.payload)
            }
            Message::Error { error, about, mtu_bytes } => {
                let offender = Packet::parse(self.seen.get(about)?.clone()).ok()?;
                let mut packet = build::icmp_error(icmp_error(*error, *mtu_bytes)?, from.ip(), &offender)?;
                packet.set_ttl(send.ttl);
                Some(packet)
            }
        }
    }
}

fn tcp_flags(flags: &[Flag]) -> TcpFlags {
    let has = |flag| flags.contains(&flag);
    TcpFlags {
        syn: has(Flag::Syn) || has(Flag::SynAck),
        ack: has(Flag::Ack) || has(Flag::SynAck),
        fin: has(Flag::Fin),
        rst: has(Flag::Rst),
        psh: has(Flag::Psh),
    }
}

/// The same packet with a wrong transport checksum, which is not UDP's zero for none either.
fn with_wrong_checksum(packet: Packet) -> Packet {
    let at = packet.bytes().len() - packet.ip_payload().len()
        + match packet.transport() {
            Transport::Udp { .. } => 6,
            Transport::Tcp { .. } => 16,
            _ => 2,
        };
    let mut bytes = packet.bytes().to_vec();
    if let Some(checksum) = bytes.get_mut(at..at + 2) {
        checksum[0] ^= if checksum[0] == 0x55 { 0xAA } else { 0x55 };
    }
    Packet::parse(bytes).unwrap_or(packet)
}

/// The ICMP error of a word; none for a RST.
fn icmp_error(word: Rejection, mtu_bytes: u16) -> Option<IcmpError> {
    Some(match word {
        Rejection::Rst => return None,
        Rejection::NetUnreachable => IcmpError::NetUnreachable,
        Rejection::HostUnreachable => IcmpError::HostUnreachable,
        Rejection::PortUnreachable => IcmpError::PortUnreachable,
        Rejection::TtlExceeded => IcmpError::TtlExceeded,
        Rejection::AdminProhibited => IcmpError::AdminProhibited,
        Rejection::PacketTooBig => IcmpError::PacketTooBig { mtu: mtu_bytes.into() },
        Rejection::ReassemblyTimeExceeded => IcmpError::ReassemblyTimeExceeded,
    })
}

/// The word for an answer, if there is one.
pub(super) fn rejection(answer: Answer) -> Option<Rejection> {
    match answer {
        Answer::Reset => Some(Rejection::Rst),
        Answer::Icmp(error) => Rejection::from_word(error.as_str()),
    }
}
