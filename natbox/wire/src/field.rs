//! Where the fields of a header lie, in bytes from its first.

pub(crate) mod ipv4 {
    pub(crate) const DS_FIELD: usize = 1;
    pub(crate) const TOTAL_LENGTH: usize = 2;
    pub(crate) const IDENTIFICATION: usize = 4;
    /// Three flags and thirteen bits of offset, in units of eight bytes.
    pub(crate) const FRAGMENT: usize = 6;
    pub(crate) const TTL: usize = 8;
    pub(crate) const PROTOCOL: usize = 9;
    pub(crate) const CHECKSUM: usize = 10;
    pub(crate) const SOURCE: usize = 12;
    pub(crate) const DESTINATION: usize = 16;
    /// Length of a header without options.
    pub(crate) const HEADER: usize = 20;

    pub(crate) const RESERVED: u16 = 0x8000;
    pub(crate) const DONT_FRAGMENT: u16 = 0x4000;
    pub(crate) const MORE_FRAGMENTS: u16 = 0x2000;
    pub(crate) const OFFSET: u16 = 0x1FFF;
}

pub(crate) mod ipv6 {
    pub(crate) const PAYLOAD_LENGTH: usize = 4;
    pub(crate) const NEXT_HEADER: usize = 6;
    pub(crate) const HOP_LIMIT: usize = 7;
    pub(crate) const SOURCE: usize = 8;
    pub(crate) const DESTINATION: usize = 24;
    pub(crate) const HEADER: usize = 40;
    pub(crate) const FRAGMENT_HEADER: usize = 8;
}

pub(crate) mod udp {
    pub(crate) const LENGTH: usize = 4;
    pub(crate) const CHECKSUM: usize = 6;
    pub(crate) const HEADER: usize = 8;
}

pub(crate) mod tcp {
    /// The kind of an option: selective acknowledgements are welcome.
    pub(crate) const SACK_PERMITTED: u8 = 4;
    /// The kind of an option: selective acknowledgements.
    pub(crate) const SACK: u8 = 5;
    pub(crate) const SEQUENCE: usize = 4;
    pub(crate) const ACKNOWLEDGEMENT: usize = 8;
    /// The upper four bits: header length in units of four bytes.
    pub(crate) const DATA_OFFSET: usize = 12;
    pub(crate) const FLAGS: usize = 13;
    pub(crate) const WINDOW: usize = 14;
    pub(crate) const CHECKSUM: usize = 16;
    pub(crate) const HEADER: usize = 20;
}

/// UDP and TCP begin with the ports.
pub(crate) mod ports {
    pub(crate) const SOURCE: usize = 0;
    pub(crate) const DESTINATION: usize = 2;
}

/// ICMP and ICMPv6.
pub(crate) mod icmp {
    pub(crate) const KIND: usize = 0;
    pub(crate) const CODE: usize = 1;
    pub(crate) const CHECKSUM: usize = 2;
    /// Of an echo message.
    pub(crate) const IDENTIFIER: usize = 4;
    pub(crate) const SEQUENCE: usize = 6;
    /// The second word of an error: unused, pointer, or the next hop's MTU.
    pub(crate) const REST: usize = 4;
    pub(crate) const HEADER: usize = 8;
}

/// IP protocol numbers and IPv6 next headers.
pub(crate) mod number {
    pub(crate) const HOP_BY_HOP: u8 = 0;
    pub(crate) const ICMP: u8 = 1;
    pub(crate) const TCP: u8 = 6;
    pub(crate) const UDP: u8 = 17;
    pub(crate) const ROUTING: u8 = 43;
    pub(crate) const FRAGMENT: u8 = 44;
    pub(crate) const ICMPV6: u8 = 58;
    pub(crate) const DESTINATION_OPTIONS: u8 = 60;
}

/// The `N` bytes at an offset that parsing found to lie inside `bytes`.
#[inline]
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

/// The big-endian 16-bit number at an offset inside `bytes`.
#[inline]
pub(crate) fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(array(bytes, at))
}

/// The big-endian 32-bit number at an offset inside `bytes`.
#[inline]
pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array(bytes, at))
}

/// Writes a big-endian 16-bit number at an offset inside `bytes`.
#[inline]
pub(crate) fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}
