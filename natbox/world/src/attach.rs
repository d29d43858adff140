//! How a node is attached to a network: names, addresses, prefix lengths.

use std::net::IpAddr;

use crate::link::LinkConfig;

/// A network of the world: the public core, or a local network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId(pub u32);

/// An address of an interface, and how long the prefix is that it shares with its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// Length of the on-link prefix, in bits.
    pub prefix_len: u8,
}

impl InterfaceAddress {
    /// Whether `other` is on this address's link: of the same version, and alike in the prefix.
    pub fn is_on_link(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                alike(u32::from(own).into(), u32::from(other).into(), 32, self.prefix_len)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => alike(own.into(), other.into(), 128, self.prefix_len),
            _ => false,
        }
    }

    /// The directed broadcast address of an IPv4 prefix that has one (RFC 919; not /31 and /32, RFC 3021).
    pub(crate) fn broadcast(&self) -> Option<IpAddr> {
        match self.address {
            IpAddr::V4(own) if self.prefix_len <= 30 => {
                Some(IpAddr::V4((u32::from(own) | (u32::MAX >> self.prefix_len)).into()))
            }
            _ => None,
        }
    }
}

/// Whether two addresses of `width` bits agree in their first `prefix_len` bits.
fn alike(a: u128, b: u128, width: u32, prefix_len: u8) -> bool {
    let differing = (a ^ b) << (128 - width);
    differing.leading_zeros() >= u32::from(prefix_len).min(width)
}

/// One end of a link: what joins a node to a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Attachment {
    /// The network.
    pub network: NetworkId,
    /// The interface's name: `alice`, `home-a:inside`.
    pub name: String,
    /// The node's addresses there, preferred first.
    pub addresses: Vec<InterfaceAddress>,
    /// The link, both directions alike.
    pub link: LinkConfig,
}
