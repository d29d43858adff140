//! What checks of a session are signed with: short-term credentials from its token.

use super::{Role, Token, hex};
use crate::stun::codec::{self, BINDING, IntegrityKey, Message, TransactionId, Writer, attribute};

/// The credentials of one side.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    pub(super) key: IntegrityKey,
    /// Of this side's checks.
    pub(super) username_out: String,
    /// Of the peer's checks.
    pub(super) username_in: String,
}

impl Credentials {
    pub(crate) fn new(role: Role, token: &Token) -> Credentials {
        let hex = hex(token);
        let (fragment, password) = hex.split_at(8);
        let (caller, callee) = (format!("{fragment}a:{fragment}b"), format!("{fragment}b:{fragment}a"));
        let (username_in, username_out) = match role {
            Role::Caller => (caller, callee),
            Role::Callee => (callee, caller),
        };
        Credentials { key: codec::short_term_key(password), username_out, username_in }
    }

    /// A check.
    pub(crate) fn check(&self, id: TransactionId) -> Vec<u8> {
        Writer::request(BINDING, id).text(attribute::USERNAME, &self.username_out).integrity(&self.key).finish()
    }

    /// The answer to a check that came from `source`.
    pub(crate) fn answer(&self, request: &Message<'_>, source: std::net::SocketAddr) -> Vec<u8> {
        let answer = Writer::success(request).xor_address(attribute::XOR_MAPPED_ADDRESS, source);
        answer.integrity(&self.key).finish()
    }

    /// Whether a check is the peer's.
    pub(crate) fn is_peers(&self, request: &Message<'_>) -> bool {
        let mine = codec::username(request).is_some_and(|username| username == self.username_in);
        mine && self.is_signed(request)
    }

    /// Whether whoever wrote a message has the token.
    pub(crate) fn is_signed(&self, message: &Message<'_>) -> bool {
        message.validate_integrity_with_key(&self.key).is_ok()
    }
}
