//! TLS as QUIC wants it.

use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};

pub use crate::tls::{Certificate, Identity, Unusable};
pub(super) use crate::tls::{NAME, unusable};

/// What both sides agree to speak.
const PROTOCOL: &[u8] = b"natbox";

/// TLS for the side that has `identity`.
pub(super) fn server(identity: &Identity) -> Result<QuicServerConfig, Unusable> {
    QuicServerConfig::try_from(crate::tls::server(identity, Some(PROTOCOL))?).map_err(unusable)
}

/// TLS for the side that knows the other by `certificate`.
pub(super) fn client(certificate: &Certificate) -> Result<QuicClientConfig, Unusable> {
    QuicClientConfig::try_from(crate::tls::client(certificate, Some(PROTOCOL))?).map_err(unusable)
}
