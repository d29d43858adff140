//! Interfaces, addresses and routes of a namespace, over netlink.
//!
//! Everything here concerns the network namespace of the calling thread.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures::TryStreamExt;
use rtnetlink::packet_route::route::{RouteFlags, RouteMessage};
use rtnetlink::packet_route::rule::RuleAction;
use rtnetlink::{Handle, LinkUnspec, RouteMessageBuilder};

/// How many packets a device holds for whoever reads it.
const QUEUE_PACKETS: u32 = 5_000;

/// The kernel's number of the routes that everything takes.
pub(crate) const MAIN_TABLE: u32 = 254;

/// The routes that packets from an interface's own addresses take: what a program has bound there leaves there.
pub(crate) fn own_table(number: u32) -> u32 {
    1_000 + number
}

/// An interface as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its addresses with their prefix lengths.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Largest packet, in bytes.
    pub mtu_bytes: u32,
    /// The routers that lead everywhere else, at most one of each IP version.
    pub gateways: Vec<IpAddr>,
}

/// Sets up interfaces that are there already, and loopback. Of several default routes, the first interface's is preferred.
///
/// # Errors
/// What the kernel says, with what was asked of it.
pub fn set_up(interfaces: &[Interface]) -> io::Result<()> {
    ask(async |handle| all(handle, interfaces).await)
}

/// Asks the kernel for something, or for several things.
pub(crate) fn ask<R>(work: impl AsyncFnOnce(&Handle) -> io::Result<R>) -> io::Result<R> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        let connection = tokio::spawn(connection);
        let result = work(&handle).await;
        connection.abort();
        result
    })
}

async fn all(handle: &Handle, interfaces: &[Interface]) -> io::Result<()> {
    let loopback = index(handle, "lo").await?;
    let up = LinkUnspec::new_with_index(loopback).up().build();
    handle.link().set(up).execute().await.map_err(|error| failed("bring lo up", error))?;
    let alone = interfaces.len() == 1;
    for (number, interface) in interfaces.iter().enumerate() {
        one(handle, interface, number as u32, alone).await?;
    }
    Ok(())
}

async fn one(handle: &Handle, interface: &Interface, number: u32, alone: bool) -> io::Result<()> {
    let Interface { name, mtu_bytes, .. } = interface;
    let index = index(handle, name).await?;
    settle(interface);
    let mut link = LinkUnspec::new_with_index(index).mtu(*mtu_bytes).up().build();
    link.attributes.push(rtnetlink::packet_route::link::LinkAttribute::TxQueueLen(QUEUE_PACKETS));
    let set = handle.link().set(link).execute().await;
    set.map_err(|error| failed(&format!("bring {name} up with an MTU of {mtu_bytes}"), error))?;
    inhabit(handle, interface, number, index, alone).await
}

/// Gives an interface its addresses, and the routes that go with them. One that is not alone has rules too, which lead what
/// is sent from its addresses through it; where all takes the same way, they would cost each packet half a microsecond.
pub(crate) async fn inhabit(
    handle: &Handle,
    interface: &Interface,
    number: u32,
    index: u32,
    alone: bool,
) -> io::Result<()> {
    let Interface { name, addresses, gateways, .. } = interface;
    let tables = [MAIN_TABLE, own_table(number)];
    let tables = if alone { &tables[..1] } else { &tables };
    for (address, prefix_len) in addresses {
        let add = handle.address().add(index, *address, *prefix_len).execute().await;
        add.map_err(|error| failed(&format!("give {name} the address {address}/{prefix_len}"), error))?;
    }
    for gateway in gateways {
        for table in tables {
            let add = handle.route().add(default_route(*gateway, index, number, *table)).execute().await;
            add.map_err(|error| failed(&format!("lead the default route of {name} to {gateway}"), error))?;
        }
    }
    for (address, _) in addresses.iter().filter(|_| !alone) {
        let rule = handle.rule().add().table_id(own_table(number)).action(RuleAction::ToTable);
        let add = match address {
            IpAddr::V4(address) => rule.v4().source_prefix(*address, 32).execute().await,
            IpAddr::V6(address) => rule.v6().source_prefix(*address, 128).execute().await,
        };
        add.map_err(|error| failed(&format!("route by the address {address} of {name}"), error))?;
    }
    Ok(())
}

/// The router need not be on a network of the interface: behind a TUN device, everything is.
fn default_route(gateway: IpAddr, index: u32, number: u32, table: u32) -> RouteMessage {
    let mut route = match gateway {
        IpAddr::V4(gateway) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(Ipv4Addr::UNSPECIFIED, 0)
            .gateway(gateway)
            .output_interface(index)
            .table_id(table)
            .priority(100 + number)
            .build(),
        IpAddr::V6(gateway) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(Ipv6Addr::UNSPECIFIED, 0)
            .gateway(gateway)
            .output_interface(index)
            .table_id(table)
            .priority(100 + number)
            .build(),
    };
    route.header.flags |= RouteFlags::Onlink;
    route
}

/// What a kernel does of its own accord and a lab's host must not: it speaks when nobody has spoken. Where `/proc` cannot
/// be written to, it goes on doing so.
pub(crate) fn settle(interface: &Interface) {
    let name = &interface.name;
    let speaks_ipv6 = interface.addresses.iter().any(|(address, _)| address.is_ipv6());
    let own = |key: &str| format!("/proc/sys/net/ipv6/conf/{name}/{key}");
    let settings = [
        (own("disable_ipv6"), if speaks_ipv6 { "0" } else { "1" }),
        (own("addr_gen_mode"), "1"),
        (own("accept_ra"), "0"),
        (own("router_solicitations"), "0"),
        // Whoever may run programs here may ping, and listen where servers do.
        ("/proc/sys/net/ipv4/ping_group_range".to_owned(), "0 2147483647"),
        ("/proc/sys/net/ipv4/ip_unprivileged_port_start".to_owned(), "0"),
    ];
    for (path, value) in settings {
        let _ = std::fs::write(path, value);
    }
}

pub(crate) async fn index(handle: &Handle, name: &str) -> io::Result<u32> {
    let found = handle.link().get().match_name(name.to_owned()).execute().try_next().await;
    let found = found.map_err(|error| failed(&format!("find {name}"), error))?;
    found.map(|link| link.header.index).ok_or_else(|| io::Error::other(format!("no interface {name}")))
}

pub(crate) fn failed(what: &str, error: rtnetlink::Error) -> io::Error {
    let kind = match &error {
        rtnetlink::Error::NetlinkError(message) => message.to_io().kind(),
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, format!("cannot {what}: {error}"))
}
