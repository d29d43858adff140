//! All of an endpoint's chance that can be seeded, and the time of day that it is told.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use quinn_proto as quinn;
use rand_core::Rng;
use rand_pcg::Pcg64Mcg;
use ring::{hkdf, hmac};

use super::machine::locked;

/// The length of connection ids.
const ID_BYTES: usize = 8;

/// All of an endpoint's chance that can be seeded.
pub(super) struct Secrets {
    endpoint: [u8; 32],
    reset: [u8; 32],
    tokens: [u8; 32],
    ids: u128,
    first_ids: u128,
}

impl Secrets {
    pub(super) fn draw(random: &mut impl Rng) -> Secrets {
        fn fill<const N: usize>(random: &mut impl Rng) -> [u8; N] {
            let mut bytes = [0; N];
            random.fill_bytes(&mut bytes);
            bytes
        }
        Secrets {
            endpoint: fill(random),
            reset: fill(random),
            tokens: fill(random),
            ids: u128::from_le_bytes(fill(random)),
            first_ids: u128::from_le_bytes(fill(random)),
        }
    }

    pub(super) fn endpoint_config(&self) -> quinn::EndpointConfig {
        let mut config = quinn::EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &self.reset)));
        let ids = self.ids;
        // A greased fixed bit (RFC 9287) would take away what tells QUIC from STUN on one socket (RFC 9443).
        config.grease_quic_bit(false);
        config.rng_seed(Some(self.endpoint)).cid_generator(move || Box::new(Ids(Pcg64Mcg::new(ids))));
        config
    }

    /// The key of the tokens that prove an address.
    pub(super) fn tokens(&self) -> Arc<hkdf::Prk> {
        Arc::new(hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&self.tokens))
    }

    /// Gives clients the ids that their first packets are addressed to.
    pub(super) fn first_ids(&self) -> Arc<dyn Fn() -> quinn::ConnectionId + Send + Sync> {
        let ids = Mutex::new(Ids(Pcg64Mcg::new(self.first_ids)));
        Arc::new(move || quinn::ConnectionIdGenerator::generate_cid(&mut *locked(&ids)))
    }
}

/// Connection ids from a seeded stream.
struct Ids(Pcg64Mcg);

impl quinn::ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> quinn::ConnectionId {
        let mut bytes = [0; ID_BYTES];
        self.0.fill_bytes(&mut bytes);
        quinn::ConnectionId::new(&bytes)
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// The time of day that tokens are stamped with: the machine's own time, as if it had begun in 1970.
#[derive(Default)]
pub(super) struct Stamp(pub(super) Mutex<Duration>);

impl quinn::TimeSource for Stamp {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + *locked(&self.0)
    }
}
