//! Transactions with retransmission (RFC 8489 section 6.2.1) and long-term credentials (section 9.2).
//!
//! A success that is not authentic is ignored, as if it had been lost. An error is taken without MESSAGE-INTEGRITY,
//! since a server cannot always make one (400, 401, 438); one that carries a wrong MESSAGE-INTEGRITY is ignored.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, select};
use natbox_host::Host;
use natbox_wire::Time;
use stun_types::attribute::{AttributeStaticType, ErrorCode, MessageIntegrity, Nonce, Realm, Username};
use stun_types::message::{IntegrityKey, Message, MessageClass, Method, TransactionId};

use super::Link;
use crate::turn::Error;
use crate::turn::client::Credentials;
use crate::turn::message::{Writer, is_intact, long_term_key, parse};

/// RFC 8489 section 6.2.1: RTO 500 ms, doubled each time; Rc = 7 sends; the last waits Rm = 16 RTOs.
const RTO: Duration = Duration::from_millis(500);
pub(in crate::turn) const SENDS: u32 = 7;
const LAST_WAIT: Duration = Duration::from_secs(8);
/// A nonce that goes stale again and again is the server's fault.
const MAX_STALE: u32 = 3;

/// What the server's challenge told.
#[derive(Clone)]
pub(in crate::turn::client) struct Session {
    realm: String,
    nonce: String,
    pub(in crate::turn::client) key: IntegrityKey,
}

impl Session {
    /// What a 401 or 438 tells.
    pub(in crate::turn::client) fn challenged(
        name: &'static str,
        credentials: &Credentials,
        message: &Message<'_>,
    ) -> Result<Session, Error> {
        let bad = |expected| Error::BadAnswer { method: name, expected };
        let realm = message.attribute::<Realm>().map_err(|_| bad("REALM"))?.realm().to_owned();
        let nonce = message.attribute::<Nonce>().map_err(|_| bad("NONCE"))?.nonce().to_owned();
        let key = long_term_key(&credentials.username, &realm, &credentials.password);
        Ok(Session { realm, nonce, key })
    }
}

/// A transaction without an answer yet.
pub(super) struct Waiting {
    key: Option<IntegrityKey>,
    pub(super) answer: oneshot::Sender<Result<Vec<u8>, Error>>,
}

impl<H: Host> Link<H> {
    pub(super) fn take_answer(&self, message: &Message<'_>) {
        let mut all = self.waiting.borrow_mut();
        let id = u128::from(message.transaction_id());
        let Some(waiting) = all.get(&id) else { return };
        let must_be_intact = message.has_class(MessageClass::Success) || message.has_attribute(MessageIntegrity::TYPE);
        let is_trusted = match &waiting.key {
            Some(key) if must_be_intact => is_intact(message, key),
            _ => true,
        };
        if is_trusted && let Some(waiting) = all.remove(&id) {
            let _ = waiting.answer.send(Ok(message.as_bytes().to_vec()));
        }
    }

    /// Sends a request whose attributes `write` adds, proves who asks, and answers the success message.
    pub(in crate::turn::client) async fn ask(
        &self,
        name: &'static str,
        method: Method,
        write: &dyn Fn(Writer, TransactionId) -> Writer,
    ) -> Result<Vec<u8>, Error> {
        let mut stale = 0;
        loop {
            let session = self.session.borrow().clone();
            let id = self.transaction();
            let request = self.request(method, id, session.as_ref(), write);
            let key = session.as_ref().map(|session| session.key.clone());
            let answer = self.transact(name, id, &request, key).await?;
            let message = parse(&answer).ok_or(Error::BadAnswer { method: name, expected: "a STUN message" })?;
            if message.has_class(MessageClass::Success) {
                return Ok(answer);
            }
            let error = message.attribute::<ErrorCode>();
            let error = error.map_err(|_| Error::BadAnswer { method: name, expected: "ERROR-CODE" })?;
            match (error.code(), session) {
                (401, None) => self.accept_challenge(name, &message)?,
                (401, Some(session)) => return Err(Error::BadCredentials { realm: session.realm }),
                (438, Some(_)) if stale < MAX_STALE => self.accept_challenge(name, &message)?,
                (code, _) => return Err(Error::Refused { method: name, code, reason: error.reason().to_owned() }),
            }
            stale += 1;
        }
    }

    /// One transaction: sends, and sends again until an answer comes.
    async fn transact(
        &self,
        name: &'static str,
        id: TransactionId,
        request: &[u8],
        key: Option<IntegrityKey>,
    ) -> Result<Vec<u8>, Error> {
        let (sender, mut answer) = oneshot::channel();
        self.waiting.borrow_mut().insert(id.into(), Waiting { key, answer: sender });
        let _entry = Entry { waiting: &self.waiting, id: id.into() };
        let began = self.host.now();
        for wait in self.road.waits() {
            self.send(request).await?;
            let due: Time = self.host.now() + wait;
            if let Either::Left((answered, _)) = select(&mut answer, pin!(self.host.sleep_until(due))).await {
                return answered.unwrap_or_else(|_| Err(Error::Gone { why: "the client stopped".to_owned() }));
            }
        }
        Err(Error::TimedOut { method: name, server: self.server, after: self.host.now() - began })
    }

    pub(in crate::turn::client) fn request(
        &self,
        method: Method,
        id: TransactionId,
        session: Option<&Session>,
        write: &dyn Fn(Writer, TransactionId) -> Writer,
    ) -> Vec<u8> {
        let mut writer = write(Writer::new(MessageClass::Request, method, id), id);
        if let Some(session) = session
            && let (Ok(username), Ok(realm), Ok(nonce)) =
                (Username::new(&self.credentials.username), Realm::new(&session.realm), Nonce::new(&session.nonce))
        {
            writer = writer.with(&username).with(&realm).with(&nonce);
        }
        writer.with_software().finish(session.map(|session| &session.key), true)
    }

    /// Remembers the realm and nonce of a 401 or 438.
    fn accept_challenge(&self, name: &'static str, message: &Message<'_>) -> Result<(), Error> {
        *self.session.borrow_mut() = Some(Session::challenged(name, &self.credentials, message)?);
        Ok(())
    }
}

/// Takes a transaction off the list however its program ends.
struct Entry<'a> {
    waiting: &'a RefCell<BTreeMap<u128, Waiting>>,
    id: u128,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.waiting.borrow_mut().remove(&self.id);
    }
}

/// Over UDP, how long to wait after each send: 0.5, 1, 2, 4, 8, 16 and 8 s, 39.5 s in all.
pub(super) fn retransmissions() -> impl Iterator<Item = Duration> {
    (0..SENDS - 1).map(|send| RTO * 2u32.pow(send)).chain(std::iter::once(LAST_WAIT))
}
