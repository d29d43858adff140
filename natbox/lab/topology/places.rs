//! Where things are: addresses, prefixes, ports, endpoints as topology files write them.
//!
//! Knows text and values; knows no file and no topology: whether a name exists is asked elsewhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use natbox_nat::behavior::{Alias, Degraded, Filtering, Mapping, Reach};
use natbox_wire::Word;

use super::units::{leaf, name, positive_duration};

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
leaf!(
    PORTS,
    "range of ports",
    port_range,
    "a range of ports such as `32768-65535`, or a port, 1 at least",
    "^[0-9]+(-[0-9]+)?$"
);
leaf!(
    REACH,
    "remote ports",
    reach,
    "`on` (all), `off` (none), a port, or a range of ports such as `8000-8999`",
    "^(on|off|[0-9]+(-[0-9]+)?)$"
);
leaf!(
    PORT_LIFETIME,
    "port and lifetime",
    port_lifetime,
    "a remote port and a duration above zero, such as `53=10s`",
    r"^[0-9]+=[0-9]+(\.[0-9]+)?(ns|us|ms|s|m|min|h)$"
);
leaf!(
    ALIAS,
    "alias",
    alias,
    "two addresses of one version, `INSIDE=OUTSIDE`, such as `172.16.1.100=203.0.113.9`",
    "^[0-9a-fA-F:.]+=[0-9a-fA-F:.]+$"
);
leaf!(
    DEGRADED,
    "mapping and filtering",
    degraded,
    "a mapping and a filtering behaviour, such as `address-and-port-dependent/address-and-port-dependent`",
    "^[a-z-]+/[a-z-]+$"
);
leaf!(
    DESTINATIONS,
    "prefix",
    destinations,
    "a prefix of either version, such as `203.0.113.0/24`",
    "^[0-9a-fA-F:.]+/[0-9]+$"
);
leaf!(FIRST, "IPv4 address or none", first, "an IPv4 address such as `10.0.0.2`, or `none`", r"^([0-9.]+|none)$");
leaf!(
    SOURCE,
    "source endpoint",
    source,
    "an endpoint to send from: `HOST:PORT` or `ADDRESS:PORT`, such as `alice:1234`; for ICMP without a port",
    r"^.+$"
);
leaf!(
    TARGET,
    "target endpoint",
    target,
    "an endpoint to send to: `NAME:PORT`, `ADDRESS:PORT` or `LABEL.mapped`, such as `server:5678`; for ICMP without a port",
    r"^.+$"
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

/// A port or a range of ports, without port 0.
pub(crate) fn port_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let (low, high) = (port(low)?, port(high)?);
    if low > high {
        return Err("the range ends before it begins".to_owned());
    }
    Ok(low..=high)
}

/// What may be reached.
pub(crate) fn reach(text: &str) -> Result<Reach, String> {
    match text {
        "on" => Ok(Reach::All),
        "off" => Ok(Reach::Nothing),
        text => port_range(text).map(|range| Reach::Ports(range.into())),
    }
}

/// A remote port and how long sessions with it live.
pub(crate) fn port_lifetime(text: &str) -> Result<(u16, Duration), String> {
    let (number, lifetime) = text.split_once('=').ok_or_else(String::new)?;
    Ok((port(number)?, positive_duration(lifetime)?))
}

/// An outside host that goes by another address inside.
pub(crate) fn alias(text: &str) -> Result<Alias, String> {
    let (inside, outside) = text.split_once('=').ok_or_else(String::new)?;
    let (inside, outside) = (address(inside)?, address(outside)?);
    if inside.is_ipv4() != outside.is_ipv4() {
        return Err("addresses of two versions".to_owned());
    }
    Ok(Alias { inside, outside })
}

/// A mapping and a filtering behaviour.
pub(crate) fn degraded(text: &str) -> Result<Degraded, String> {
    let (mapping, filtering) = text.split_once('/').ok_or_else(String::new)?;
    let mapping = Mapping::from_word(mapping).ok_or_else(|| format!("unknown mapping behaviour `{mapping}`"))?;
    let known = Filtering::from_word(filtering).filter(|filtering| *filtering != Filtering::Off);
    let filtering = known.ok_or_else(|| format!("unknown filtering behaviour `{filtering}`"))?;
    Ok(Degraded { mapping, filtering })
}

/// A prefix of either version.
pub(crate) fn destinations(text: &str) -> Result<IpNet, String> {
    let prefix: IpNet = text.parse().map_err(|_| String::new())?;
    if prefix.addr() != prefix.network() {
        return Err(format!("bits behind the prefix are set: write `{}`", prefix.trunc()));
    }
    Ok(prefix)
}

/// An IPv4 address, or none.
pub(crate) fn first(text: &str) -> Result<Option<Ipv4Addr>, String> {
    if text == "none" { Ok(None) } else { text.parse().map(Some).map_err(|_| String::new()) }
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

/// An [`endpoint`], or a [`place`] alone; which of them is due depends on the packet.
pub(crate) fn source(text: &str) -> Result<(), String> {
    place(text).map(drop).or_else(|_| endpoint(text).map(drop))
}

/// As [`source`], or `LABEL.mapped`.
pub(crate) fn target(text: &str) -> Result<(), String> {
    match text.strip_suffix(".mapped") {
        Some(label) => name(label).map(drop),
        None => source(text),
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
        assert!(
            ["p1.mapped", "alice", "alice:1", "[2001:db8::2]:9", "2001:db8::2"].iter().all(|text| target(text).is_ok())
        );
        assert!(["Alice.mapped", "alice:0", "a b", ""].iter().all(|text| target(text).is_err()));
        assert_eq!(seen("home-a:*"), Ok((Spot::Name("home-a".into()), None)));
        for bad in ["alice", "alice:0", "alice:70000", "2001:db8::2:9", "Alice:1", ":1", "a b:1"] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges_of_ports_have_their_limits() {
        assert_eq!(port_range("32768-65535"), Ok(32768..=65535));
        assert_eq!(port_range("7"), Ok(7..=7));
        assert!(["5-4", "0-9", "1-65536", "", "1-", "1--2"].iter().all(|text| port_range(text).is_err()));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,40}") {
            for leaf in [&PREFIX4, &PREFIX6, &ADDRESS, &PORTS, &REACH, &PORT_LIFETIME, &ALIAS, &DEGRADED, &DESTINATIONS, &FIRST, &SOURCE, &TARGET, &SEEN, &PLACE] {
                let _ = (leaf.check)(&text);
            }
        }
    }
}
