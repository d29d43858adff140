//! The machine's interfaces and routes, as the system tells them.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::{InterfaceFlags, if_nametoindex};

use super::os_error;

/// An address of an interface that is up.
struct Attached {
    interface: String,
    address: IpAddr,
    netmask: Option<IpAddr>,
}

/// Every address of every interface that is up; nothing if the system does not tell.
fn attached() -> impl Iterator<Item = Attached> {
    let interfaces = getifaddrs().into_iter().flatten();
    let up = interfaces
        .filter(|one| one.flags.contains(InterfaceFlags::IFF_UP) && !one.flags.contains(InterfaceFlags::IFF_LOOPBACK));
    up.filter_map(|one: InterfaceAddress| {
        let address = one.address.as_ref().and_then(super::udp::endpoint)?.ip();
        let netmask = one.netmask.as_ref().and_then(super::udp::endpoint).map(|mask| mask.ip());
        Some(Attached { interface: one.interface_name, address, netmask })
    })
}

pub(super) fn addresses() -> Vec<IpAddr> {
    let link_local = |address: &IpAddr| match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    attached().map(|one| one.address).filter(|address| !link_local(address)).collect()
}

pub(super) fn is_neighbour(address: IpAddr) -> bool {
    attached().any(|one| one.netmask.is_some_and(|mask| same_network(address, one.address, mask)))
}

fn same_network(a: IpAddr, b: IpAddr, mask: IpAddr) -> bool {
    match (a, b, mask) {
        (IpAddr::V4(a), IpAddr::V4(b), IpAddr::V4(mask)) => a & mask == b & mask,
        (IpAddr::V6(a), IpAddr::V6(b), IpAddr::V6(mask)) => a & mask == b & mask,
        _ => false,
    }
}

/// The number of the interface that has this address.
pub(super) fn index_of(address: IpAddr) -> io::Result<u32> {
    let owner = attached().find(|one| one.address == address);
    let nobody = || io::Error::new(io::ErrorKind::AddrNotAvailable, format!("no interface has the address {address}"));
    if_nametoindex(owner.ok_or_else(nobody)?.interface.as_str()).map_err(os_error)
}

pub(super) fn default_gateway(ipv6: bool) -> Option<IpAddr> {
    match ipv6 {
        false => gateway4(&fs::read_to_string("/proc/thread-self/net/route").ok()?).map(IpAddr::from),
        true => gateway6(&fs::read_to_string("/proc/thread-self/net/ipv6_route").ok()?).map(IpAddr::from),
    }
}

/// The next hop of the default route with the least metric. Columns: interface, destination, gateway, flags, ..., metric,
/// mask; addresses are hexadecimal numbers in the machine's order.
fn gateway4(table: &str) -> Option<Ipv4Addr> {
    let routes = table.lines().skip(1).filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let number = |index: usize| u32::from_str_radix(columns.get(index)?, 16).ok();
        let metric: u32 = columns.get(6)?.parse().ok()?;
        let gateway = number(2).filter(|gateway| number(1) == Some(0) && number(7) == Some(0) && *gateway != 0)?;
        Some((metric, Ipv4Addr::from(gateway.to_ne_bytes())))
    });
    routes.min().map(|(_, gateway)| gateway)
}

/// The same for IPv6. Columns: destination, its length, source, its length, next hop, metric, ...; all hexadecimal.
fn gateway6(table: &str) -> Option<Ipv6Addr> {
    let routes = table.lines().filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [_, length, _, _, hop, metric, ..] = columns[..] else { return None };
        let hop = u128::from_str_radix(hop, 16).ok().filter(|hop| *hop != 0 && length == "00")?;
        Some((u32::from_str_radix(metric, 16).ok()?, Ipv6Addr::from(hop)))
    });
    routes.min().map(|(_, gateway)| gateway)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_is_that_of_the_default_route_with_the_least_metric() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                     wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
                     eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
                     eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        assert_eq!(gateway4(table), Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(gateway4("nonsense\nmore of it\n"), None);
    }

    #[test]
    fn the_gateway_of_ipv6_is_found_in_its_table() {
        let zero = "0".repeat(32);
        let table = format!(
            "{zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200 lo\n\
             {zero} 00 {zero} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00450003 eth0\n"
        );
        assert_eq!(gateway6(&table), Some("fe80::1".parse().unwrap()));
    }
}
