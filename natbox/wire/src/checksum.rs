//! The Internet checksum (RFC 1071), and its incremental update (RFC 1624).
//!
//! Knows no packet: sums in, sums out. That UDP writes a computed 0 as 0xFFFF (RFC 768) is its callers' business.

use std::net::IpAddr;

/// The one's complement sum of big-endian 16-bit words, not complemented. An odd last byte counts as the upper half
/// of a word. Bytes whose checksum field is right sum to 0xFFFF.
#[inline]
pub fn sum(bytes: &[u8]) -> u16 {
    // Summed in the machine's byte order and swapped at the end, which RFC 1071 section 2(B) shows to be the same.
    let mut words = bytes.chunks_exact(4);
    let mut total: u64 =
        words.by_ref().map(|word| u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]))).sum();
    let rest = words.remainder();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    total += u64::from(u32::from_ne_bytes(last));
    u16::from_be_bytes(fold(total).to_ne_bytes())
}

/// The Internet checksum of these bytes, their checksum field being zero.
pub fn checksum(bytes: &[u8]) -> u16 {
    !sum(bytes)
}

/// The sum of the pseudo-header that UDP, TCP and ICMPv6 checksums cover (RFC 768, RFC 9293, RFC 8200 section 8.1).
pub fn pseudo_header_sum(source: IpAddr, destination: IpAddr, protocol_number: u8, length: usize) -> u16 {
    let address = |address: IpAddr| match address {
        IpAddr::V4(address) => sum(&address.octets()),
        IpAddr::V6(address) => sum(&address.octets()),
    };
    fold(u64::from(address(source)) + u64::from(address(destination)) + u64::from(protocol_number) + length as u64)
}

/// The checksum of a transport part under its pseudo-header, the part's checksum field being zero.
pub fn transport_checksum(source: IpAddr, destination: IpAddr, protocol_number: u8, part: &[u8]) -> u16 {
    let pseudo = pseudo_header_sum(source, destination, protocol_number, part.len());
    !fold(u64::from(pseudo) + u64::from(sum(part)))
}

/// What an edit does to a checksum that covers the edited bytes: RFC 1624 equation 3, HC' = ~(~HC + ~m + m').
///
/// Edits add up, so one update serves many. All edited words must lie at even offsets of what the checksum covers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change {
    sum: u64,
}

impl Change {
    /// Replaces a 16-bit word.
    #[inline]
    pub fn replace(&mut self, old: u16, new: u16) {
        self.sum += u64::from(!old) + u64::from(new);
    }

    /// Adds another edit.
    #[inline]
    pub fn add(&mut self, other: Change) {
        self.sum += other.sum;
    }

    /// Overwrites the bytes at `at`, which must lie inside `bytes`, and counts the edit. `N` must be even.
    #[inline(always)]
    pub fn write<const N: usize>(&mut self, bytes: &mut [u8], at: usize, new: [u8; N]) {
        const { assert!(N.is_multiple_of(2)) };
        let field = &mut bytes[at..at + N];
        let (old_pairs, old_word) = field.as_chunks::<4>();
        let (new_pairs, new_word) = new.as_chunks::<4>();
        for (old, new) in old_pairs.iter().zip(new_pairs) {
            self.sum += u64::from(!u32::from_be_bytes(*old)) + u64::from(u32::from_be_bytes(*new));
        }
        if let ([old, other], [new, newer]) = (old_word, new_word) {
            self.replace(u16::from_be_bytes([*old, *other]), u16::from_be_bytes([*new, *newer]));
        }
        field.copy_from_slice(&new);
    }

    /// The checksum after the edits.
    #[inline]
    pub fn apply(self, checksum: u16) -> u16 {
        !fold(self.sum + u64::from(!checksum))
    }
}

/// Adds the parts of a sum, with the carries, until they fit.
#[inline]
fn fold(sum: u64) -> u16 {
    let (half, carry) = (sum as u32).overflowing_add((sum >> 32) as u32);
    let half = half + u32::from(carry);
    let (word, carry) = (half as u16).overflowing_add((half >> 16) as u16);
    word + u16::from(carry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_rfc_1071_sums_right() {
        assert_eq!(sum(&[0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7]), 0xDDF2);
        assert_eq!(checksum(&[0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7]), !0xDDF2);
    }

    #[test]
    fn the_example_of_rfc_1624_gives_zero_where_rfc_1141_gave_ffff() {
        let mut change = Change::default();
        change.replace(0x5555, 0x3285);
        assert_eq!(change.apply(0xDD2F), 0x0000);
    }

    #[test]
    fn an_odd_last_byte_is_the_upper_half_of_a_word() {
        assert_eq!(sum(&[0x12]), 0x1200);
        assert_eq!(sum(&[0x00, 0x01, 0x80]), 0x8001);
        assert_eq!(sum(&[]), 0);
    }

    proptest! {
        #[test]
        fn sums_are_those_of_the_plain_definition_and_of_etherparse(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut plain = 0_u32;
            for word in bytes.chunks(2) {
                plain += u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
                plain = (plain & 0xFFFF) + (plain >> 16);
            }
            prop_assert_eq!(u32::from(sum(&bytes)), plain);
            prop_assert_eq!(checksum(&bytes), etherparse::checksum::Sum16BitWords::new().add_slice(&bytes).ones_complement().to_be());
        }

        #[test]
        fn an_update_is_a_recomputation(
            mut bytes in proptest::collection::vec(any::<u8>(), 22..60), at in 0_usize..10, new: [u8; 4],
        ) {
            bytes[0] = 0x45; // as in every packet, not all bytes are zero, before and after
            let before = checksum(&bytes);
            let mut change = Change::default();
            change.write(&mut bytes, 2 * at + 2 - 2 * usize::from(at == 9), new);
            prop_assert_eq!(change.apply(before), checksum(&bytes));
        }
    }
}
