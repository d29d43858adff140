//! What a TURN server is told before it starts.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::turn::message::{CHANNEL_NUMBERS, OLD_CHANNEL_NUMBERS, is_valid_realm};

/// The configuration of a TURN server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where clients come to.
    pub listen: SocketAddr,
    /// Where clients come to over TLS; nowhere if absent. Over TCP they come to `listen`.
    pub tls: Option<TlsConfig>,
    /// The address that is lent to clients.
    pub relay_address: IpAddr,
    /// An address of the other family, for clients that ask for that family or for both.
    pub additional_relay_address: Option<IpAddr>,
    /// The ports that are lent; RFC 8656 section 7.2 advises 49152-65535.
    pub relay_ports: RangeInclusive<u16>,
    /// The numbers that channels may have: RFC 8656 section 12 has 0x4000-0x4FFF; clients of RFC 5766, coturn's among
    /// them, take any up to 0x7FFF.
    pub channel_numbers: RangeInclusive<u16>,
    /// The realm of the users, 1 to 763 bytes.
    pub realm: String,
    /// The users and their passwords.
    pub users: Vec<(String, String)>,
    /// The longest lifetime of an allocation; RFC 8656 section 7.2 advises at most an hour.
    pub max_lifetime: Duration,
    /// How long a nonce is good; RFC 8656 section 5 advises at most an hour.
    pub nonce_lifetime: Duration,
    /// Whether the host can send with DF set; if not, DONT-FRAGMENT is an unknown attribute (420).
    pub dont_fragment: bool,
    /// How much a client, and all clients together, may take.
    pub quotas: Quotas,
}

/// How a TURN server speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// Its endpoints: RFC 8656 has port 5349; 443 passes where nothing else does.
    pub listen: Vec<SocketAddr>,
    /// The seed of its [`Identity`](crate::tls::Identity), by which clients know it.
    pub seed: [u8; 32],
}

/// Limits of a TURN server: what it keeps is bounded by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Allocations of all users together; beyond it 508.
    pub allocations: usize,
    /// Allocations of one user; beyond it 486.
    pub allocations_per_user: usize,
    /// Permissions of one allocation; beyond it 508.
    pub permissions: usize,
    /// Channels of one allocation, resting ones included; beyond it 508.
    pub channels: usize,
    /// Connections of one allocation with peers (RFC 6062), those being made included; beyond it 508, and what peers
    /// open is closed at once.
    pub peer_connections: usize,
    /// Connections that clients have open at one endpoint, over TCP or TLS; more are closed at once.
    pub client_connections: usize,
}

impl Default for Quotas {
    fn default() -> Quotas {
        Quotas {
            allocations: 4096,
            allocations_per_user: 1024,
            permissions: 256,
            channels: 256,
            peer_connections: 256,
            client_connections: 4096,
        }
    }
}

impl ServerConfig {
    /// A server on `listen` that lends `relay_address` to `users`, with the RFC's advised values for all else.
    pub fn new(listen: SocketAddr, relay_address: IpAddr, users: Vec<(String, String)>) -> ServerConfig {
        ServerConfig {
            listen,
            tls: None,
            relay_address,
            additional_relay_address: None,
            relay_ports: 49152..=65535,
            channel_numbers: CHANNEL_NUMBERS,
            realm: "natbox".to_owned(),
            users,
            max_lifetime: Duration::from_secs(3600),
            nonce_lifetime: Duration::from_secs(3600),
            dont_fragment: true,
            quotas: Quotas::default(),
        }
    }

    pub(super) fn check(&self) -> Result<(), InvalidConfig> {
        if !is_valid_realm(&self.realm) {
            return Err(InvalidConfig { what: "realm", expected: "1 to 763 bytes", got: self.realm.clone() });
        }
        if self.relay_ports.is_empty() || *self.relay_ports.start() == 0 {
            let got = format!("{}-{}", self.relay_ports.start(), self.relay_ports.end());
            return Err(InvalidConfig { what: "relay_ports", expected: "a range within 1-65535", got });
        }
        let channels = (self.channel_numbers.start(), self.channel_numbers.end());
        if self.channel_numbers.is_empty()
            || !OLD_CHANNEL_NUMBERS.contains(channels.0)
            || !OLD_CHANNEL_NUMBERS.contains(channels.1)
        {
            let got = format!("{:#06x}-{:#06x}", channels.0, channels.1);
            return Err(InvalidConfig { what: "channel_numbers", expected: "a range within 0x4000-0x7fff", got });
        }
        for address in [Some(self.relay_address), self.additional_relay_address].into_iter().flatten() {
            if address.is_unspecified() {
                let (expected, got) = ("an address of this host", address.to_string());
                return Err(InvalidConfig { what: "relay_address", expected, got });
            }
        }
        if let Some(address) = self.additional_relay_address.filter(|a| a.is_ipv4() == self.relay_address.is_ipv4()) {
            let (expected, got) = ("an address of the other family than relay_address", address.to_string());
            return Err(InvalidConfig { what: "additional_relay_address", expected, got });
        }
        Ok(())
    }
}

/// A configuration that no server can run with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidConfig {
    what: &'static str,
    expected: &'static str,
    got: String,
}

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TURN server: `{}` must be {}, got `{}`", self.what, self.expected, self.got)
    }
}

impl std::error::Error for InvalidConfig {}
