//! Long-term credentials (RFC 8489 section 9.2) of a TURN server, with nonces that need no memory.
//!
//! A nonce is `obMatJos2` and four base64 characters (the nonce cookie; no security feature is offered), the time it
//! ends, and a keyed hash over that time and the client's address: the server recognizes its own nonces without a list.

use std::collections::BTreeMap;
use std::net::IpAddr;

use natbox_wire::Time;
use rand_core::Rng;
use stun_types::attribute::{AttributeStaticType, MessageIntegrity, Nonce, Realm, Username};
use stun_types::message::{IntegrityKey, Message, ShortTermCredentials};

use super::ServerConfig;
use super::requests::Refusal;
use crate::turn::message::{is_intact, long_term_key};

/// RFC 8489 section 9.2; `AAAA` is 24 bits of security features, none set.
const NONCE_COOKIE: &str = "obMatJos2AAAA";

/// Who may use the server, and what proves it.
pub(super) struct Gate {
    realm: String,
    keys: BTreeMap<String, IntegrityKey>,
    secret: IntegrityKey,
    nonce_lifetime: std::time::Duration,
}

/// A user whose request was authentic.
pub(super) struct User {
    pub(super) name: String,
    pub(super) key: IntegrityKey,
}

impl Gate {
    pub(super) fn new(config: &ServerConfig, random: &mut dyn Rng) -> Gate {
        let mut keys = BTreeMap::new();
        for (username, password) in &config.users {
            keys.insert(username.clone(), long_term_key(username, &config.realm, password));
        }
        let secret = format!("{:016x}{:016x}", random.next_u64(), random.next_u64());
        Gate {
            realm: config.realm.clone(),
            keys,
            secret: ShortTermCredentials::new(secret).make_key(),
            nonce_lifetime: config.nonce_lifetime,
        }
    }

    pub(super) fn realm(&self) -> &str {
        &self.realm
    }

    pub(super) fn key(&self, username: &str) -> Option<&IntegrityKey> {
        self.keys.get(username)
    }

    /// The checks of RFC 8489 section 9.2.4, in its order.
    pub(super) fn authenticate(&self, message: &Message<'_>, client: IpAddr, now: Time) -> Result<User, Refusal> {
        if !message.has_attribute(MessageIntegrity::TYPE) {
            return Err(Refusal::Challenge(401));
        }
        let (Ok(username), Ok(_), Ok(nonce)) =
            (message.attribute::<Username>(), message.attribute::<Realm>(), message.attribute::<Nonce>())
        else {
            return Err(Refusal::Code(400));
        };
        let key = self.keys.get(username.username()).ok_or(Refusal::Challenge(401))?;
        if !is_intact(message, key) {
            return Err(Refusal::Challenge(401));
        }
        if !self.is_fresh(nonce.nonce(), client, now) {
            return Err(Refusal::Challenge(438));
        }
        Ok(User { name: username.username().to_owned(), key: key.clone() })
    }

    /// A nonce for this client.
    pub(super) fn nonce(&self, client: IpAddr, now: Time) -> String {
        self.nonce_until(now + self.nonce_lifetime, client)
    }

    fn is_fresh(&self, nonce: &str, client: IpAddr, now: Time) -> bool {
        let until = nonce.strip_prefix(NONCE_COOKIE).and_then(|rest| rest.get(..16));
        let Some(until) = until.and_then(|hex| u64::from_str_radix(hex, 16).ok()).map(Time::from_nanos) else {
            return false;
        };
        nonce == self.nonce_until(until, client) && now < until
    }

    fn nonce_until(&self, until: Time, client: IpAddr) -> String {
        let bound = format!("{:016x}{client}", until.as_nanos());
        let hash = MessageIntegrity::compute(&[bound.as_bytes()], &self.secret).unwrap_or_default();
        let hash = hash.iter().take(8).fold(0u64, |hash, byte| hash << 8 | u64::from(*byte));
        format!("{NONCE_COOKIE}{:016x}{hash:016x}", until.as_nanos())
    }
}
