//! Addresses: every sequence runs in a lane of its own, so that many can run at once in one namespace.
//!
//! Lane `n` owns the inside prefix 10.0.0.0 + 16n /28 (RFC 1918) and the outside prefix 198.18.0.0 + 16n /28 (RFC 2544): `ext` is
//! the outside prefix's first host, `h1`... and `r1`... follow; where a lane translates to a pool, that is the outside prefix's
//! last three hosts. A remote lies in the same prefix as its lane's `ext`, which is
//! how masquerading finds that address among all of the device's.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A sequence's share of the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lane(pub(crate) u32);

const INSIDE: u32 = 10 << 24;
const OUTSIDE: u32 = 198 << 24 | 18 << 16;
/// Addresses of a lane, on each side.
pub(crate) const WIDTH: u32 = 16;
/// Lanes 1 to this. 198.18.0.0/15 has room for twice as many, but a device with so many addresses is slow to set up. The first /28 inside holds the box's own address.
pub(crate) const LAST: u32 = 4087;
/// Addresses of a lane's pool.
const POOL: u32 = 3;
/// The box's address inside.
pub(crate) const BOX_INSIDE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

impl Lane {
    pub(crate) fn external(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(OUTSIDE + self.0 * WIDTH + 1)
    }

    /// The addresses of a pool.
    pub(crate) fn pool(self) -> [Ipv4Addr; POOL as usize] {
        let first = OUTSIDE + (self.0 + 1) * WIDTH - 1 - POOL;
        [0, 1, 2].map(|number| Ipv4Addr::from_bits(first + number))
    }

    /// The prefix inside.
    pub(crate) fn inside(self) -> String {
        format!("{}/28", Ipv4Addr::from_bits(INSIDE + self.0 * WIDTH))
    }

    pub(crate) fn host(self, number: u8, port: u16) -> SocketAddr {
        SocketAddr::new(Ipv4Addr::from_bits(INSIDE + self.0 * WIDTH + u32::from(number)).into(), port)
    }

    pub(crate) fn remote(self, number: u8, port: u16) -> SocketAddr {
        SocketAddr::new(Ipv4Addr::from_bits(OUTSIDE + self.0 * WIDTH + 1 + u32::from(number)).into(), port)
    }

    /// What scripts call an address.
    pub(crate) fn name(self, address: IpAddr) -> String {
        let IpAddr::V4(v4) = address else { return address.to_string() };
        let inside = v4.to_bits().wrapping_sub(INSIDE + self.0 * WIDTH);
        let outside = v4.to_bits().wrapping_sub(OUTSIDE + self.0 * WIDTH);
        match (inside, outside) {
            _ if v4 == BOX_INSIDE => "box".to_owned(),
            (1..WIDTH, _) => format!("h{inside}"),
            (_, 1) => "ext".to_owned(),
            (_, 2..WIDTH) => format!("r{}", outside - 1),
            _ => v4.to_string(),
        }
    }
}
