//! How two ends that were introduced to each other prove it, over whatever carries messages between them: messages go
//! in, messages come out. Knows no socket, no clock, and not what carries them.
//!
//! ```text
//! caller                                   callee
//!   | Binding request (caller) ------------> |     both ask at once, with MESSAGE-INTEGRITY from the session's token
//!   | <------------ Binding request (callee) |     (RFC 8489 section 9.1)
//!   | success, XOR-MAPPED-ADDRESS ---------> |     where the other end is seen from here
//!   | <--------- success, XOR-MAPPED-ADDRESS |     proven: a message has gone both ways and was understood
//!   | request, USE-CANDIDATE --------------> |     of several ways the caller chooses one (RFC 8445 section 8.1)
//!   | <----------------------------- success |
//! ```
//!
//! USERNAME is the role of whoever asks, so that nobody is taken in by his own request.

use std::net::SocketAddr;

use rand_core::Rng;

use crate::punch::Role;
use crate::rendezvous::Token;
use crate::stun::codec::{self, BINDING, IntegrityKey, Message, MessageClass, TransactionId, Writer, attribute};

/// One end's proof.
pub(crate) struct Proof {
    role: Role,
    key: IntegrityKey,
    asking: TransactionId,
    choosing: TransactionId,
    /// Where the other end sees this one, once it has answered.
    seen: Option<SocketAddr>,
    /// Whether the other end has asked.
    heard: bool,
    /// Whether this way is to be chosen, by the caller.
    choose: bool,
    /// Whether this way is chosen, and both know.
    chosen: bool,
}

/// What a message was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// A request: this answers it.
    Answer(Vec<u8>),
    /// An answer that was waited for, or that has come before.
    Noted,
    /// Nothing that the other end can have said.
    Foreign,
}

impl Proof {
    pub(crate) fn new(role: Role, token: Token, random: &mut impl Rng) -> Proof {
        let password: String = token.0.iter().map(|byte| format!("{byte:02x}")).collect();
        let (asking, choosing) = (codec::transaction_id(random), codec::transaction_id(random));
        let key = codec::short_term_key(&password);
        Proof { role, key, asking, choosing, seen: None, heard: false, choose: false, chosen: false }
    }

    /// Whether a message has gone both ways.
    pub(crate) fn is_proven(&self) -> bool {
        self.heard && self.seen.is_some()
    }

    /// Whether both ends use this way from now on.
    pub(crate) fn is_chosen(&self) -> bool {
        self.chosen && self.is_proven()
    }

    /// Where the other end sees this one.
    pub(crate) fn seen(&self) -> Option<SocketAddr> {
        self.seen
    }

    /// The caller wants this way.
    pub(crate) fn choose(&mut self) {
        self.choose = true;
    }

    /// What is to be asked now; again, where messages may be lost.
    pub(crate) fn request(&self) -> Vec<u8> {
        let ask = |id| Writer::request(BINDING, id).text(attribute::USERNAME, name(self.role));
        let request = match self.choose && self.is_proven() {
            true => ask(self.choosing).raw(attribute::USE_CANDIDATE, &[]),
            false => ask(self.asking),
        };
        request.integrity(&self.key).finish()
    }

    /// Takes a message that came from `source`.
    pub(crate) fn take(&mut self, message: &[u8], source: SocketAddr) -> Taken {
        let Some(message) = codec::parse(message) else { return Taken::Foreign };
        if !message.has_method(BINDING) {
            return Taken::Foreign;
        }
        if message.has_class(MessageClass::Indication) {
            return Taken::Noted;
        }
        if message.validate_integrity_with_key(&self.key).is_err() {
            return Taken::Foreign;
        }
        match message.class() {
            MessageClass::Request => self.asked(&message, source),
            MessageClass::Success => self.answered(&message),
            _ => Taken::Foreign,
        }
    }

    fn asked(&mut self, request: &Message<'_>, source: SocketAddr) -> Taken {
        let other = match self.role {
            Role::Caller => Role::Callee,
            Role::Callee => Role::Caller,
        };
        if codec::username(request).as_deref() != Some(name(other)) {
            return Taken::Foreign;
        }
        self.heard = true;
        self.chosen |= self.role == Role::Callee && request.has_attribute(attribute::USE_CANDIDATE);
        let answer = Writer::success(request).xor_address(attribute::XOR_MAPPED_ADDRESS, source);
        Taken::Answer(answer.integrity(&self.key).finish())
    }

    fn answered(&mut self, answer: &Message<'_>) -> Taken {
        let id = answer.transaction_id();
        let Some(seen) = codec::mapped_address(answer) else { return Taken::Foreign };
        if id == self.asking {
            self.seen = Some(seen);
        } else if id == self.choosing && self.choose {
            self.chosen = true;
        } else {
            return Taken::Foreign;
        }
        Taken::Noted
    }
}

fn name(role: Role) -> &'static str {
    match role {
        Role::Caller => "caller",
        Role::Callee => "callee",
    }
}

#[cfg(test)]
mod tests {
    use rand_core::Rng as _;
    use rand_pcg::Pcg64Mcg;

    use super::*;

    const AT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 7);

    fn pair(other: u8) -> (Proof, Proof, Pcg64Mcg) {
        let mut random = Pcg64Mcg::new(7);
        let caller = Proof::new(Role::Caller, Token([1; 16]), &mut random);
        let callee = Proof::new(Role::Callee, Token([other; 16]), &mut random);
        (caller, callee, random)
    }

    fn ask(from: &mut Proof, to: &mut Proof) -> Taken {
        match to.take(&from.request(), AT) {
            Taken::Answer(answer) => from.take(&answer, AT),
            other => other,
        }
    }

    #[test]
    fn two_ends_with_one_token_prove_it_and_the_caller_chooses() {
        let (mut caller, mut callee, _) = pair(1);
        assert_eq!(ask(&mut caller, &mut callee), Taken::Noted);
        assert!(!caller.is_proven() && !callee.is_proven(), "nobody has asked the caller");
        assert_eq!(ask(&mut callee, &mut caller), Taken::Noted);
        assert!(caller.is_proven() && callee.is_proven() && !callee.is_chosen());
        assert_eq!(caller.seen(), Some(AT));
        caller.choose();
        assert_eq!(ask(&mut caller, &mut callee), Taken::Noted);
        assert!(caller.is_chosen() && callee.is_chosen());
    }

    #[test]
    fn another_token_an_echo_and_noise_are_foreign() {
        let (mut caller, mut stranger, mut random) = pair(2);
        assert_eq!(ask(&mut caller, &mut stranger), Taken::Foreign);
        let own = caller.request();
        assert_eq!(caller.take(&own, AT), Taken::Foreign, "its own request");
        for length in 0..64 {
            let mut noise = vec![0; length];
            random.fill_bytes(&mut noise);
            assert_eq!(caller.take(&noise, AT), Taken::Foreign);
        }
        assert!(!caller.is_proven() && !stranger.is_proven());
    }
}
