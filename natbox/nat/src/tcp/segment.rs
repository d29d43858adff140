//! The sequence numbers of a segment.

use natbox_wire::{Packet, TcpFlags};

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
}

impl Segment {
    pub(super) fn of(packet: &Packet, flags: TcpFlags) -> Segment {
        let sequence = packet.tcp_sequence().unwrap_or(0);
        let length = packet.payload().len() as u32 + u32::from(flags.syn) + u32::from(flags.fin);
        Segment {
            flags,
            sequence,
            end: sequence.wrapping_add(length),
            acknowledgement: packet.tcp_acknowledgement().unwrap_or(0),
            window: packet.tcp_window().unwrap_or(0),
            scale: if flags.syn { packet.tcp_window_scale() } else { None },
        }
    }
}
