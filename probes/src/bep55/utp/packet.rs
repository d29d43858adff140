//! The bytes of a uTP packet (BEP 29). Knows no connections.

use super::WINDOW_BYTES;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 20;

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bep55) enum Kind {
    Data = 0,
    Fin = 1,
    State = 2,
    Reset = 3,
    Syn = 4,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::bep55) struct Packet {
    pub(in crate::bep55) kind: Kind,
    pub(in crate::bep55) connection: u16,
    pub(in crate::bep55) timestamp_us: u32,
    pub(in crate::bep55) difference_us: u32,
    pub(in crate::bep55) window_bytes: u32,
    pub(in crate::bep55) sequence: u16,
    pub(in crate::bep55) acknowledgement: u16,
    pub(in crate::bep55) payload: Vec<u8>,
}

impl Packet {
    pub(in crate::bep55) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES + self.payload.len());
        out.extend([(self.kind as u8) << 4 | VERSION, 0]);
        out.extend(self.connection.to_be_bytes());
        out.extend(self.timestamp_us.to_be_bytes());
        out.extend(self.difference_us.to_be_bytes());
        out.extend(self.window_bytes.to_be_bytes());
        out.extend(self.sequence.to_be_bytes());
        out.extend(self.acknowledgement.to_be_bytes());
        out.extend(&self.payload);
        out
    }

    /// Extensions are passed over.
    pub(in crate::bep55) fn from_bytes(bytes: &[u8]) -> Option<Packet> {
        let (header, mut rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let kind = match header[0] >> 4 {
            0 => Kind::Data,
            1 => Kind::Fin,
            2 => Kind::State,
            3 => Kind::Reset,
            4 => Kind::Syn,
            _ => return None,
        };
        if header[0] & 0xF != VERSION {
            return None;
        }
        let mut extension = header[1];
        while extension != 0 {
            let (&[next, length], after) = rest.split_first_chunk()?;
            rest = after.get(usize::from(length)..)?;
            extension = next;
        }
        let short = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let long = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        Some(Packet {
            kind,
            connection: short(2),
            timestamp_us: long(4),
            difference_us: long(8),
            window_bytes: long(12),
            sequence: short(16),
            acknowledgement: short(18),
            payload: rest.to_vec(),
        })
    }
}

/// A packet with nothing to acknowledge and the window of every end.
pub(super) fn packet(kind: Kind, connection: u16, sequence: u16, payload: Vec<u8>) -> Packet {
    let (timestamp_us, difference_us, acknowledgement) = (0, 0, 0);
    Packet {
        kind,
        connection,
        timestamp_us,
        difference_us,
        window_bytes: WINDOW_BYTES,
        sequence,
        acknowledgement,
        payload,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_syn_has_the_bytes_of_bep_29() {
        let syn = Packet { timestamp_us: 0x0102_0304, ..packet(Kind::Syn, 0xABCD, 1, Vec::new()) };
        let expected = [0x41, 0, 0xAB, 0xCD, 1, 2, 3, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0];
        assert_eq!(syn.to_bytes(), expected);
        assert_eq!(Packet::from_bytes(&expected), Some(syn));
    }

    #[test]
    fn extensions_are_passed_over() {
        let mut bytes = packet(Kind::Data, 1, 2, Vec::new()).to_bytes();
        bytes[1] = 1;
        bytes.extend([0, 4, 9, 9, 9, 9, b'x']);
        assert_eq!(Packet::from_bytes(&bytes).map(|packet| packet.payload), Some(b"x".to_vec()));
        assert_eq!(Packet::from_bytes(&bytes[..24]), None);
    }

    proptest! {
        #[test]
        fn nothing_that_comes_panics(bytes: Vec<u8>) {
            let _ = Packet::from_bytes(&bytes);
        }
    }
}
