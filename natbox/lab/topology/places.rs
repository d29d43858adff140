//! Where things are: addresses, prefixes, ports, endpoints as topology files write them.
//!
//! Knows text and values; knows no file and no topology: whether a name exists is asked elsewhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use ipnet::{Ipv4Net, Ipv6Net};

use super::units::{leaf, name};

leaf!(
    PREFIX4,
    "IPv4 prefix",
    prefix4,
    "an IPv4 prefix of /29 or shorter, such as `198.18.0.0/15`",
    r"^[0-9.]+/[0-9]+$"
);
leaf!(
    PREFIX6,
    "IPv6 prefix",
    prefix6,
    "an IPv6 prefix of /64 or shorter, such as `2001:db8::/32`",
    "^[0-9a-fA-F:.]+/[0-9]+$"
);
leaf!(ADDRESS, "address", address, "an IPv4 or IPv6 address, such as `198.18.0.9`", "^[0-9a-fA-F:.]+$");
leaf!(PORTS, "range of ports", port_range, "a range of ports such as `32768-65535`, 1 at least", "^[0-9]+-[0-9]+$");
leaf!(
    SOURCE,
    "source endpoint",
    endpoint,
    "an endpoint to send from: `HOST:PORT` or `ADDRESS:PORT`, such as `alice:1234`",
    r"^.+:[0-9]+$"
);
leaf!(
    TARGET,
    "target endpoint",
    target,
    "an endpoint to send to: `NAME:PORT`, `ADDRESS:PORT` or `LABEL.mapped`, such as `server:5678`",
    r"^(.+:[0-9]+|[a-z][a-z0-9-]*\.mapped)$"
);
leaf!(
    SEEN,
    "seen endpoint",
    seen,
    "an endpoint as the receiver sees it: `NAME:PORT` or `ADDRESS:PORT`, with `*` for any port, such as `home-a:*`",
    r"^.+:([0-9]+|\*)$"
);
leaf!(PLACE, "name or address", place, "a name or an address", "^[0-9a-zA-Z:.-]+$");

/// A prefix with room for a router and four more.
pub(crate) fn prefix4(text: &str) -> Result<Ipv4Net, String> {
    let prefix: Ipv4Net = text.parse().map_err(|_| String::new())?;
    if prefix.addr() != prefix.network() {
        return Err(format!("bits behind the prefix are set: write `{}`", prefix.trunc()));
    }
    if prefix.prefix_len() > 29 {
        return Err("no room for hosts".to_owned());
    }
    if refused4(prefix.network()) || refused4(prefix.broadcast()) {
        return Err("hosts cannot have loopback, multicast or unspecified addresses".to_owned());
    }
    Ok(prefix)
}

/// A prefix of /64 or shorter.
pub(crate) fn prefix6(text: &str) -> Result<Ipv6Net, String> {
    let prefix: Ipv6Net = text.parse().map_err(|_| String::new())?;
    if prefix.addr() != prefix.network() {
        return Err(format!("bits behind the prefix are set: write `{}`", prefix.trunc()));
    }
    if prefix.prefix_len() > 64 {
        return Err("longer than /64".to_owned());
    }
    if prefix.prefix_len() < 3 || refused6(prefix.network()) {
        return Err("hosts cannot have loopback, multicast, link-local or unspecified addresses".to_owned());
    }
    Ok(prefix)
}

/// An address that a host may have.
pub(crate) fn address(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| String::new())?;
    let refused = match address {
        IpAddr::V4(address) => refused4(address),
        IpAddr::V6(address) => refused6(address),
    };
    if refused { Err("an address that no host may have".to_owned()) } else { Ok(address) }
}

fn refused4(address: Ipv4Addr) -> bool {
    address.octets()[0] == 0 || address.is_loopback() || address.octets()[0] >= 224
}

fn refused6(address: Ipv6Addr) -> bool {
    let first = address.segments()[0];
    let low = address.segments()[..5].iter().all(|segment| *segment == 0);
    low || address.is_multicast() || (0xfe80..=0xfebf).contains(&first)
}

/// A range of ports, without port 0.
pub(crate) fn port_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (low, high) = text.split_once('-').ok_or_else(String::new)?;
    let (low, high) = (port(low)?, port(high)?);
    if low > high {
        return Err("the range ends before it begins".to_owned());
    }
    Ok(low..=high)
}

fn port(text: &str) -> Result<u16, String> {
    let digits = !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(0) => Err("port 0 cannot be used".to_owned()),
        Ok(port) if digits => Ok(port),
        _ if digits => Err("a port above 65535".to_owned()),
        _ => Err(String::new()),
    }
}

/// A machine by its name or by its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Spot {
    /// A name.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// A name or an address.
pub(crate) fn place(text: &str) -> Result<Spot, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().map(Spot::Address).or_else(|_| name(text).map(Spot::Name))
}

/// `NAME:PORT`, `ADDRESS:PORT` or `[ADDRESS]:PORT`.
pub(crate) fn endpoint(text: &str) -> Result<(Spot, u16), String> {
    let (at, number) = text.rsplit_once(':').ok_or_else(|| "no port".to_owned())?;
    if let Ok(endpoint) = text.parse::<SocketAddr>() {
        return port(number).map(|port| (Spot::Address(endpoint.ip()), port));
    }
    if at.contains(':') {
        return Err("an IPv6 address with a port stands in brackets: `[2001:db8::2]:5000`".to_owned());
    }
    Ok((Spot::Name(name(at)?), port(number)?))
}

/// Where a packet goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// To a port of a machine.
    Endpoint(Spot, u16),
    /// To the external endpoint that an earlier packet was given.
    Mapped(String),
}

/// An [`endpoint`], or `LABEL.mapped`.
pub(crate) fn target(text: &str) -> Result<Goal, String> {
    match text.strip_suffix(".mapped") {
        Some(label) => name(label).map(Goal::Mapped),
        None => endpoint(text).map(|(at, port)| Goal::Endpoint(at, port)),
    }
}

/// An [`endpoint`] whose port may be `*`.
pub(crate) fn seen(text: &str) -> Result<(Spot, Option<u16>), String> {
    match text.strip_suffix(":*") {
        Some(at) => place(at).map(|at| (at, None)),
        None => endpoint(text).map(|(at, port)| (at, Some(port))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn endpoints_name_a_machine_or_an_address() {
        assert_eq!(endpoint("alice:1234"), Ok((Spot::Name("alice".into()), 1234)));
        assert_eq!(endpoint("[2001:db8::2]:9"), Ok((Spot::Address("2001:db8::2".parse().unwrap()), 9)));
        assert_eq!(target("p1.mapped"), Ok(Goal::Mapped("p1".into())));
        assert_eq!(seen("home-a:*"), Ok((Spot::Name("home-a".into()), None)));
        for bad in ["alice", "alice:0", "alice:70000", "2001:db8::2:9", "Alice:1", ":1", "a b:1"] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges_of_ports_have_their_limits() {
        assert_eq!(port_range("32768-65535"), Ok(32768..=65535));
        assert!(port_range("5-4").is_err() && port_range("0-9").is_err() && port_range("1-65536").is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,40}") {
            for leaf in [&PREFIX4, &PREFIX6, &ADDRESS, &PORTS, &SOURCE, &TARGET, &SEEN, &PLACE] {
                let _ = (leaf.check)(&text);
            }
        }
    }
}
