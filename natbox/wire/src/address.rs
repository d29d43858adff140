//! Kinds of IP addresses that a lab cares about.

use std::net::IpAddr;

/// An address with no meaning on the public Internet: private (RFC 1918), unique local (RFC 4193), shared between
/// carriers and customers (RFC 6598, 100.64.0.0/10), or link-local (RFC 3927, RFC 4291).
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let shared = u32::from(address) & 0xFFC0_0000 == 0x6440_0000;
            address.is_private() || address.is_link_local() || shared
        }
        IpAddr::V6(address) => address.is_unique_local() || address.is_unicast_link_local(),
    }
}

/// A multicast address (RFC 5771, RFC 4291 section 2.7).
#[inline]
pub fn is_multicast(address: IpAddr) -> bool {
    address.is_multicast()
}

/// The limited broadcast address 255.255.255.255; IPv6 has none.
#[inline]
pub fn is_broadcast(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.is_broadcast())
}

/// An address that no packet on a network may come from (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5 and 2.7):
/// multicast, broadcast, loopback or unspecified.
#[inline]
pub fn is_bad_source(address: IpAddr) -> bool {
    is_multicast(address) || is_broadcast(address) || address.is_loopback() || address.is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn private_ranges_end_where_their_rfcs_say() {
        for private in [
            "10.0.0.0",
            "10.255.255.255",
            "172.16.0.0",
            "172.31.255.255",
            "192.168.0.1",
            "100.64.0.0",
            "100.127.255.255",
            "169.254.3.4",
            "fc00::1",
            "fdff::1",
            "fe80::1",
        ] {
            assert!(is_private(address(private)), "{private}");
        }
        for public in [
            "9.255.255.255",
            "11.0.0.0",
            "172.15.0.1",
            "172.32.0.0",
            "192.169.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "198.18.0.1",
            "2001:db8::1",
            "fec0::1",
            "fbff::1",
        ] {
            assert!(!is_private(address(public)), "{public}");
        }
    }

    #[test]
    fn no_packet_comes_from_a_group_from_everybody_from_nobody_or_from_itself() {
        for bad in ["224.0.0.1", "239.9.9.9", "255.255.255.255", "127.0.0.1", "0.0.0.0", "ff02::1", "::1", "::"] {
            assert!(is_bad_source(address(bad)), "{bad}");
        }
        for good in ["10.0.0.1", "198.18.0.1", "240.0.0.1", "2001:db8::1", "fe80::1"] {
            assert!(!is_bad_source(address(good)), "{good}");
        }
        assert!(!is_broadcast(address("ff02::1")) && is_broadcast(address("255.255.255.255")));
    }
}
