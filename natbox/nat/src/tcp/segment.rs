//! The sequence numbers of a segment.

use natbox_wire::{Packet, TcpFlags};

/// A header without options.
const BARE_HEADER_BYTES: usize = 20;

/// Whether the sequence number `a` lies before `b`.
pub(super) fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// A TCP segment, as far as sequence numbers go.
#[derive(Clone, Copy)]
pub(crate) struct Segment {
    pub(super) flags: TcpFlags,
    pub(super) sequence: u32,
    /// One past its last sequence number; SYN and FIN count.
    pub(super) end: u32,
    pub(super) acknowledgement: u32,
    pub(super) window: u16,
    pub(super) scale: Option<u8>,
    /// It has options, whatever they say.
    pub(super) has_options: bool,
    /// It allows selective acknowledgements.
    pub(super) sack_permitted: bool,
    /// The highest sequence number that it acknowledges, selectively or not.
    pub(super) sacked: u32,
}

impl Segment {
    pub(super) fn of(packet: &Packet, flags: TcpFlags) -> Segment {
        let sequence = packet.tcp_sequence().unwrap_or(0);
        let length = packet.payload().len() as u32 + u32::from(flags.syn) + u32::from(flags.fin);
        let acknowledgement = packet.tcp_acknowledgement().unwrap_or(0);
        let later = |highest: u32, (_, end): (u32, u32)| if before(highest, end) { end } else { highest };
        Segment {
            flags,
            sequence,
            end: sequence.wrapping_add(length),
            acknowledgement,
            window: packet.tcp_window().unwrap_or(0),
            scale: if flags.syn { packet.tcp_window_scale() } else { None },
            has_options: packet.ip_payload().len() - packet.payload().len() > BARE_HEADER_BYTES,
            sack_permitted: flags.syn && packet.tcp_sack_permitted(),
            sacked: packet.tcp_sack_blocks().fold(acknowledgement, later),
        }
    }
}
