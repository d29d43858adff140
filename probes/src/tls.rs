//! Certificates that two programs tell each other, and the TLS that knows no others: 1.3, and 1.2 with servers that have
//! nothing newer.
//!
//! A certificate may be made from a seed: then its bytes repeat, and everything in a handshake has a length that repeats
//! (X25519, Ed25519, no tickets). The keys of a connection come from the operating system, so that what is encrypted
//! repeats in number, lengths and times, and not in bytes.

use std::fmt;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, SerialNumber};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};

/// The name in every certificate: nobody looks it up.
pub(crate) const NAME: &str = "peer.natbox";
/// What stands before the 32 bytes of an Ed25519 key in PKCS #8 (RFC 8410 section 7).
const ED25519_PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// What a side is known by: an X.509 certificate, DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate(pub Vec<u8>);

/// How a side that is to be met knows another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KnownBy {
    /// By its certificate.
    Certificate(Certificate),
    /// By the seed of its [`Identity`]: the certificate is made when it is needed, as most worlds that know one never
    /// meet anybody.
    Seed([u8; 32]),
}

impl KnownBy {
    /// The certificate.
    ///
    /// # Errors
    /// [`Unusable`] if none can be made of the seed.
    pub fn certificate(&self) -> Result<Certificate, Unusable> {
        match self {
            KnownBy::Certificate(certificate) => Ok(certificate.clone()),
            KnownBy::Seed(seed) => Ok(Identity::from_seed(*seed)?.certificate()),
        }
    }
}

/// A certificate and its private key.
pub struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

/// Why a certificate or key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable(String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot use the certificate: {}", self.0)
    }
}

impl std::error::Error for Unusable {}

pub(crate) fn unusable(error: impl fmt::Display) -> Unusable {
    Unusable(error.to_string())
}

impl Identity {
    /// A new identity, which is nobody's but this program's.
    ///
    /// # Errors
    /// [`Unusable`] if the operating system gives no randomness.
    pub fn generate() -> Result<Identity, Unusable> {
        let generated = rcgen::generate_simple_self_signed([NAME.to_owned()]).map_err(unusable)?;
        let key = PrivateKeyDer::Pkcs8(generated.signing_key.serialize_der().into());
        Ok(Identity { certificate: generated.cert.der().clone(), key })
    }

    /// The identity that belongs to this seed, always the same: for laboratories, as whoever knows the seed has the key.
    ///
    /// # Errors
    /// [`Unusable`] if no certificate can be made.
    pub fn from_seed(seed: [u8; 32]) -> Result<Identity, Unusable> {
        let pkcs8 = [ED25519_PKCS8.as_slice(), &seed].concat();
        let key = PrivatePkcs8KeyDer::from(pkcs8);
        let pair = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ED25519).map_err(unusable)?;
        let mut params = CertificateParams::new([NAME.to_owned()]).map_err(unusable)?;
        params.serial_number = Some(SerialNumber::from(1_u64));
        let certificate = params.self_signed(&pair).map_err(unusable)?.der().clone();
        Ok(Identity { certificate, key: PrivateKeyDer::Pkcs8(key) })
    }

    /// What others know it by.
    pub fn certificate(&self) -> Certificate {
        Certificate(self.certificate.to_vec())
    }
}

/// What is spoken: with a protocol that is agreed on (QUIC's), 1.3 alone.
fn versions(protocol: Option<&[u8]>) -> &'static [&'static SupportedProtocolVersion] {
    const NEWEST: &[&SupportedProtocolVersion] = &[&TLS13];
    const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
    if protocol.is_some() { NEWEST } else { BOTH }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// TLS for the side that has `identity`; `protocol` is what both agree to speak (ALPN).
pub(crate) fn server(identity: &Identity, protocol: Option<&[u8]>) -> Result<rustls::ServerConfig, Unusable> {
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(protocol))
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate.clone()], identity.key.clone_key())
        .map_err(unusable)?;
    config.alpn_protocols = protocol.into_iter().map(<[u8]>::to_vec).collect();
    // Nobody resumes: tickets would be sent with the system's time in them.
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// TLS for the side that knows the other by `certificate`.
pub(crate) fn client(certificate: &Certificate, protocol: Option<&[u8]>) -> Result<rustls::ClientConfig, Unusable> {
    let provider = provider();
    let known = Arc::new(Known { certificate: certificate.clone(), provider: provider.clone() });
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions(protocol))
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(known)
        .with_no_client_auth();
    config.alpn_protocols = protocol.into_iter().map(<[u8]>::to_vec).collect();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// Takes one certificate, and no other; signatures are verified as always.
#[derive(Debug)]
struct Known {
    certificate: Certificate,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if end_entity.as_ref() == self.certificate.0 {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_of_a_seed_repeats_and_that_of_another_seed_is_another_of_the_same_length() {
        let [one, again, other] = [1, 1, 2].map(|byte| Identity::from_seed([byte; 32]).unwrap().certificate());
        assert_eq!(one, again);
        assert_ne!(one, other);
        assert_eq!(one.0.len(), other.0.len());
    }
}
