//! A host that goes to another network: what its kernel forgets and learns then.
//!
//! Everything here concerns the network namespace of the calling thread, and what [`crate::netlink`] has set up there:
//! interface `eth0` is number 0, and so on.

use std::io;

use futures::TryStreamExt as _;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::AddressScope;
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage};
use rtnetlink::packet_route::rule::{RuleAttribute, RuleMessage};
use rtnetlink::{Handle, IpVersion};

use crate::netlink::{Interface, MAIN_TABLE, ask, failed, index, inhabit, own_table, settle};

/// The metric of the first interface's default routes; the others follow.
const USUAL_METRIC: u32 = 100;
/// That of the default routes that are preferred to them.
const PREFERRED_METRIC: u32 = 50;

fn name(number: u32) -> String {
    format!("eth{number}")
}

/// Takes all addresses of an interface away, the routes through it, and the rules of its addresses.
pub(crate) fn leave(number: u32) -> io::Result<()> {
    ask(async |handle| {
        let index = index(handle, &name(number)).await?;
        for route in default_routes(handle).await? {
            if leads_through(&route, index) {
                let gone = handle.route().del(route).execute().await;
                gone.map_err(|error| failed("take a route away", error))?;
            }
        }
        for rule in rules(handle, own_table(number)).await? {
            let gone = handle.rule().del(rule).execute().await;
            gone.map_err(|error| failed("take a rule away", error))?;
        }
        let addresses = handle.address().get().set_link_index_filter(index).execute();
        let addresses: Vec<_> = addresses.try_collect().await.map_err(|error| failed("list addresses", error))?;
        for address in addresses.into_iter().filter(|address| address.header.scope == AddressScope::Universe) {
            let gone = handle.address().del(address).execute().await;
            gone.map_err(|error| failed("take an address away", error))?;
        }
        Ok(())
    })
}

/// Gives an interface that is up its addresses, and the routes and rules that go with them. Its MTU stays.
pub(crate) fn arrive(number: u32, interface: &Interface) -> io::Result<()> {
    ask(async |handle| {
        let index = index(handle, &interface.name).await?;
        settle(interface);
        let alone = self::index(handle, &name(1)).await.is_err();
        inhabit(handle, interface, number, index, alone).await
    })
}

/// Has the default routes of an interface come before those of the others.
pub(crate) fn prefer(number: u32) -> io::Result<()> {
    ask(async |handle| {
        let preferred = index(handle, &name(number)).await?;
        for route in default_routes(handle).await? {
            let (own, metric) = (leads_through(&route, preferred), metric(&route));
            let wanted = match metric {
                PREFERRED_METRIC if !own => USUAL_METRIC + number_of(handle, &route).await?,
                _ if own => PREFERRED_METRIC,
                _ => continue,
            };
            if table(&route) != MAIN_TABLE || metric == wanted {
                continue;
            }
            let mut other = route.clone();
            other.attributes.retain(|attribute| !matches!(attribute, RouteAttribute::Priority(_)));
            other.attributes.push(RouteAttribute::Priority(wanted));
            // Never without any: a program that sends in between finds one of the two.
            let added = handle.route().add(other).execute().await;
            added.map_err(|error| failed("prefer a default route", error))?;
            let gone = handle.route().del(route).execute().await;
            gone.map_err(|error| failed("take a route away", error))?;
        }
        Ok(())
    })
}

/// The default routes of all tables.
async fn default_routes(handle: &Handle) -> io::Result<Vec<RouteMessage>> {
    let mut all = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut asked = RouteMessage::default();
        asked.header.address_family = family;
        let routes = handle.route().get(asked).execute();
        let routes: Vec<RouteMessage> = routes.try_collect().await.map_err(|error| failed("list routes", error))?;
        all.extend(routes.into_iter().filter(|route| route.header.destination_prefix_length == 0));
    }
    // The kernel has routes of its own in this shape, which lead nowhere: those have no gateway.
    all.retain(|route| route.attributes.iter().any(|attribute| matches!(attribute, RouteAttribute::Gateway(_))));
    Ok(all)
}

/// The rules that lead to a table.
async fn rules(handle: &Handle, table: u32) -> io::Result<Vec<RuleMessage>> {
    let mut all = Vec::new();
    for version in [IpVersion::V4, IpVersion::V6] {
        let rules = handle.rule().get(version).execute();
        let rules: Vec<RuleMessage> = rules.try_collect().await.map_err(|error| failed("list rules", error))?;
        let leads = |rule: &RuleMessage| {
            rule.attributes.iter().any(|attribute| matches!(attribute, RuleAttribute::Table(own) if *own == table))
        };
        all.extend(rules.into_iter().filter(leads));
    }
    Ok(all)
}

fn leads_through(route: &RouteMessage, index: u32) -> bool {
    route.attributes.iter().any(|attribute| matches!(attribute, RouteAttribute::Oif(own) if *own == index))
}

fn metric(route: &RouteMessage) -> u32 {
    let metric = |attribute: &RouteAttribute| match attribute {
        RouteAttribute::Priority(metric) => Some(*metric),
        _ => None,
    };
    route.attributes.iter().find_map(metric).unwrap_or(0)
}

fn table(route: &RouteMessage) -> u32 {
    let table = |attribute: &RouteAttribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    };
    route.attributes.iter().find_map(table).unwrap_or(u32::from(route.header.table))
}

/// The number of the interface that a route leads through.
async fn number_of(handle: &Handle, route: &RouteMessage) -> io::Result<u32> {
    let mut number = 0;
    while !leads_through(route, index(handle, &name(number)).await?) {
        number += 1;
    }
    Ok(number)
}
