//! Reading and writing STUN messages: a thin, seedable layer over `stun-types`.
//!
//! `stun-types` draws transaction ids from the system in its `builder_request`; here an id is always given. Messages
//! that came from outside enter through [`parse`] alone, which is stricter than the library: the datagram must be the
//! message, whole, with well-formed attributes and a right FINGERPRINT if there is one (RFC 8489 section 7.3).
//!
//! Knows no socket and no time. Leaves out MESSAGE-INTEGRITY-SHA256 on sending, and USERHASH.

mod read;
mod write;

pub use read::{
    ChangeRequest, address, change_request, error_code, mapped_address, nonce, parse, realm, response_port,
};
pub use read::{text, username, xor_address};
pub use stun_types::attribute::AttributeType;
pub use stun_types::message::{BINDING, TransactionId};
pub use stun_types::message::{IntegrityAlgorithm, IntegrityKey, Message, MessageClass, MessageType, Method};
pub use write::Writer;

use rand_core::Rng;
use stun_types::message::{LongTermKeyCredentials, ShortTermCredentials};

/// Attribute types (RFC 8489 section 18.3, RFC 5780 section 7, RFC 8445 section 16.1).
pub mod attribute {
    use super::AttributeType;

    /// MAPPED-ADDRESS.
    pub const MAPPED_ADDRESS: AttributeType = AttributeType::new(0x0001);
    /// CHANGE-REQUEST (RFC 5780).
    pub const CHANGE_REQUEST: AttributeType = AttributeType::new(0x0003);
    /// SOURCE-ADDRESS (RFC 3489).
    pub const SOURCE_ADDRESS: AttributeType = AttributeType::new(0x0004);
    /// CHANGED-ADDRESS (RFC 3489).
    pub const CHANGED_ADDRESS: AttributeType = AttributeType::new(0x0005);
    /// USERNAME.
    pub const USERNAME: AttributeType = AttributeType::new(0x0006);
    /// MESSAGE-INTEGRITY.
    pub const MESSAGE_INTEGRITY: AttributeType = AttributeType::new(0x0008);
    /// ERROR-CODE.
    pub const ERROR_CODE: AttributeType = AttributeType::new(0x0009);
    /// UNKNOWN-ATTRIBUTES.
    pub const UNKNOWN_ATTRIBUTES: AttributeType = AttributeType::new(0x000A);
    /// REALM.
    pub const REALM: AttributeType = AttributeType::new(0x0014);
    /// NONCE.
    pub const NONCE: AttributeType = AttributeType::new(0x0015);
    /// MESSAGE-INTEGRITY-SHA256.
    pub const MESSAGE_INTEGRITY_SHA256: AttributeType = AttributeType::new(0x001C);
    /// XOR-MAPPED-ADDRESS.
    pub const XOR_MAPPED_ADDRESS: AttributeType = AttributeType::new(0x0020);
    /// PRIORITY (RFC 8445).
    pub const PRIORITY: AttributeType = AttributeType::new(0x0024);
    /// USE-CANDIDATE (RFC 8445).
    pub const USE_CANDIDATE: AttributeType = AttributeType::new(0x0025);
    /// PADDING (RFC 5780).
    pub const PADDING: AttributeType = AttributeType::new(0x0026);
    /// RESPONSE-PORT (RFC 5780).
    pub const RESPONSE_PORT: AttributeType = AttributeType::new(0x0027);
    /// SOFTWARE.
    pub const SOFTWARE: AttributeType = AttributeType::new(0x8022);
    /// FINGERPRINT.
    pub const FINGERPRINT: AttributeType = AttributeType::new(0x8028);
    /// RESPONSE-ORIGIN (RFC 5780).
    pub const RESPONSE_ORIGIN: AttributeType = AttributeType::new(0x802B);
    /// OTHER-ADDRESS (RFC 5780).
    pub const OTHER_ADDRESS: AttributeType = AttributeType::new(0x802C);
}

/// A transaction id from a seeded stream: 96 random bits (RFC 8489 section 5).
pub fn transaction_id(random: &mut impl Rng) -> TransactionId {
    TransactionId::from(u128::from(random.next_u64()) << 64 | u128::from(random.next_u64()))
}

/// The key of a short-term credential: the password itself (RFC 8489 section 9.1.1).
pub fn short_term_key(password: &str) -> IntegrityKey {
    ShortTermCredentials::new(password.to_owned()).make_key()
}

/// The key of a long-term credential: `MD5(username ":" realm ":" password)` (RFC 8489 section 9.2.2).
///
/// The strings are taken as they are: whoever needs OpaqueString (RFC 8265) prepares them first.
pub fn long_term_key(username: &str, realm: &str, password: &str) -> IntegrityKey {
    LongTermKeyCredentials::new(username.to_owned(), password.to_owned(), realm.to_owned())
        .make_key(IntegrityAlgorithm::Sha1)
}

#[cfg(test)]
mod tests;
