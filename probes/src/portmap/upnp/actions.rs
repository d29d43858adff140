//! What a gateway's connection service does (WANIPConnection 1.0 and 2.0), over the [`Desk`] that all protocols share.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use natbox_host::PortControl;
use natbox_wire::{ExplicitMapping, MapRefusal, MapRequest, MappedBy, Protocol, RemoteFilter, Time, Traffic};

use super::describe::{CONNECTION, INTERFACE};
use super::soap::{Call, Fault};
use super::xml::element;
use crate::portmap::server::Desk;

/// The longest lease of version 2, which it also grants where none is asked for.
const LONGEST_LEASE: u32 = 604_800;

/// What the service remembers of mappings beside what the NAT does, by mapping number: their descriptions.
pub(super) type Descriptions = BTreeMap<u64, String>;

/// One action that a host asks for.
pub(super) struct Service<'a, C> {
    pub(super) desk: &'a mut Desk<C>,
    pub(super) descriptions: &'a mut Descriptions,
    pub(super) version: u8,
    /// Who asks.
    pub(super) client: IpAddr,
    pub(super) now: Time,
}

/// A mapping that is asked for.
struct Entry {
    protocol: Protocol,
    internal: SocketAddr,
    external_port: u16,
    remote: Option<Ipv4Addr>,
    /// `None`: for good.
    lease: Option<Duration>,
    description: String,
}

type Done = Result<Vec<String>, u16>;

impl<C: PortControl> Service<'_, C> {
    /// The results of an action of the connection service.
    pub(super) fn connection(&mut self, call: &Call) -> Result<Call, Fault> {
        let action = CONNECTION.iter().find(|action| action.name == call.name && action.since <= self.version);
        let action = action.ok_or_else(|| Fault::new(401))?;
        if action.takes.iter().any(|name| call.value(name).is_none()) {
            return Err(Fault::new(402));
        }
        let done = match action.name {
            "GetConnectionTypeInfo" => Ok(vec!["IP_Routed".to_owned(), "IP_Routed".to_owned()]),
            "GetStatusInfo" => self.status(),
            "GetNATRSIPStatus" => Ok(vec!["0".to_owned(), "1".to_owned()]),
            "GetExternalIPAddress" => {
                let address = self.desk.external_address(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
                Ok(vec![address.map_or_else(String::new, |address| address.to_string())])
            }
            "AddPortMapping" => self.entry(call).and_then(|entry| self.add(entry).map(|_| Vec::new())),
            "AddAnyPortMapping" => self.entry(call).and_then(|entry| self.add_any(entry)),
            "DeletePortMapping" => self.delete(call),
            "DeletePortMappingRange" => self.delete_range(call),
            "GetGenericPortMappingEntry" => self.generic(call),
            "GetSpecificPortMappingEntry" => self.specific(call),
            _ => self.list(call),
        };
        results(call, action.gives, done)
    }

    /// The results of an action of the interface service.
    pub(super) fn interface(&self, call: &Call) -> Result<Call, Fault> {
        let action = INTERFACE.iter().find(|action| action.name == call.name).ok_or_else(|| Fault::new(401))?;
        let up = if self.desk.control.external_address(false).is_some() { "Up" } else { "Down" };
        let values = ["Ethernet", "1000000000", "1000000000", up];
        results(call, action.gives, Ok(values.map(str::to_owned).to_vec()))
    }

    fn status(&self) -> Done {
        let connected = self.desk.control.external_address(false).is_some();
        let up = self.now.since(self.desk.control.up_since()).as_secs();
        let status = if connected { "Connected" } else { "Disconnected" };
        Ok(vec![status.to_owned(), "ERROR_NONE".to_owned(), up.to_string()])
    }

    /// Reads what is asked for, and refuses what no box may grant.
    fn entry(&self, call: &Call) -> Result<Entry, u16> {
        let value = |name| call.value(name).unwrap_or_default();
        let protocol = protocol(value("NewProtocol")).ok_or(402_u16)?;
        let client: Ipv4Addr = value("NewInternalClient").parse().map_err(|_| 402_u16)?;
        let internal_port = port(value("NewInternalPort"))?;
        let external_port = port(value("NewExternalPort"))?;
        let lease: u32 = value("NewLeaseDuration").parse().map_err(|_| 402_u16)?;
        let remote = match value("NewRemoteHost") {
            "" | "0.0.0.0" => None,
            text => Some(text.parse::<Ipv4Addr>().map_err(|_| 402_u16)?),
        };
        if !["1", "true", "yes"].contains(&value("NewEnabled").to_ascii_lowercase().as_str()) {
            return Err(501);
        }
        if internal_port == 0 {
            return Err(if self.version == 1 { 402 } else { 732 });
        }
        if self.desk.config.secure_mode && IpAddr::V4(client) != self.client {
            return Err(if self.version == 1 { 718 } else { 606 });
        }
        if self.desk.config.faults.only_permanent && lease != 0 {
            return Err(725);
        }
        let lease = match (self.version, lease) {
            (1, 0) => None,
            (1, lease) => Some(lease),
            _ if self.desk.config.faults.only_permanent => None,
            (_, 0) => Some(LONGEST_LEASE),
            (_, lease) => Some(lease.min(LONGEST_LEASE)),
        };
        Ok(Entry {
            protocol,
            internal: SocketAddr::new(client.into(), internal_port),
            external_port,
            remote,
            lease: lease.map(|seconds| Duration::from_secs(seconds.into())),
            description: value("NewPortMappingDescription").chars().take(256).collect(),
        })
    }

    fn add(&mut self, entry: Entry) -> Result<u16, u16> {
        if entry.external_port == 0 {
            return Err(716);
        }
        if let Some(known) = self.find(entry.protocol, entry.external_port) {
            if known.by != MappedBy::Upnp {
                return Err(if self.version == 1 { 718 } else { 729 });
            }
            if known.internal.ip() != entry.internal.ip() || self.desk.config.faults.refuses_renewal {
                return Err(718);
            }
            if known.internal != entry.internal {
                self.desk.control.unmap(&known, Traffic::Ends);
            }
        }
        self.map(entry, true)
    }

    /// Maps the port asked for if it is free or already the host's, else another.
    fn add_any(&mut self, entry: Entry) -> Done {
        let known = self.find(entry.protocol, entry.external_port);
        let free = known.is_none_or(|known| known.by == MappedBy::Upnp && known.internal.ip() == entry.internal.ip());
        let exact = entry.external_port != 0 && free;
        let again = Entry { description: entry.description.clone(), ..entry };
        let given = if exact { self.add(entry) } else { Err(718) };
        let given = match given {
            Err(718) if !self.desk.config.faults.refuses_other_port => self.map(again, false),
            given => given,
        };
        Ok(vec![given.map_err(|code| if code == 501 { 728 } else { code })?.to_string()])
    }

    fn map(&mut self, entry: Entry, exact: bool) -> Result<u16, u16> {
        let filter = |address: Ipv4Addr| RemoteFilter { address: address.into(), prefix_len: 32, port: 0 };
        let request = MapRequest {
            protocol: entry.protocol,
            internal: entry.internal,
            external_address: None,
            external_port: entry.external_port,
            exact,
            remote: None,
            filters: entry.remote.map(filter).into_iter().collect(),
            lifetime: entry.lease,
            pair: false,
            by: MappedBy::Upnp,
        };
        let granted = self.desk.grant(&request, self.now).map_err(|refusal| self.code(refusal))?;
        self.remember(granted.mapping, entry.description);
        Ok(granted.external.port())
    }

    fn remember(&mut self, mapping: u64, description: String) {
        let live = self.desk.control.explicit();
        if self.descriptions.len() > 2 * live.len() + 16 {
            self.descriptions.retain(|known, _| live.iter().any(|one| one.mapping == *known));
        }
        self.descriptions.insert(mapping, description);
    }

    /// RFC 6970 section 5.7 turned round: what a refusal is in UPnP's codes.
    fn code(&self, refusal: MapRefusal) -> u16 {
        match (refusal, self.version) {
            (MapRefusal::Taken, _) => 718,
            (MapRefusal::Exhausted | MapRefusal::Quota, 2..) => 728,
            _ => 501,
        }
    }

    fn delete(&mut self, call: &Call) -> Done {
        let (protocol, port) = self.key(call)?;
        let known = self.find(protocol, port).ok_or(714_u16)?;
        if !self.may_touch(&known) {
            return Err(if self.version == 1 { 714 } else { 606 });
        }
        self.desk.control.unmap(&known, Traffic::Ends);
        Ok(Vec::new())
    }

    fn delete_range(&mut self, call: &Call) -> Done {
        let found = self.in_range(call)?;
        if found.is_empty() {
            return Err(730);
        }
        let (mine, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|one| self.may_touch(one));
        if mine.is_empty() && !others.is_empty() {
            return Err(606);
        }
        for one in mine {
            self.desk.control.unmap(&one, Traffic::Ends);
        }
        Ok(Vec::new())
    }

    fn generic(&self, call: &Call) -> Done {
        let index: usize = call.value("NewPortMappingIndex").and_then(|text| text.parse().ok()).ok_or(402_u16)?;
        let all = self.all();
        let one = all.get(index).ok_or(713_u16)?;
        let mut values = vec![remote_host(one), one.external.port().to_string(), name(one.protocol).to_owned()];
        values.extend(self.rest(one));
        Ok(values)
    }

    fn specific(&self, call: &Call) -> Done {
        let (protocol, port) = self.key(call)?;
        self.find(protocol, port).map(|one| self.rest(&one)).ok_or(714)
    }

    fn list(&self, call: &Call) -> Done {
        let most: usize = call.value("NewNumberOfPorts").and_then(|text| text.parse().ok()).ok_or(402_u16)?;
        let found = self.in_range(call)?;
        if found.is_empty() {
            return Err(730);
        }
        let most = if most == 0 { usize::MAX } else { most };
        let entries: String = found.iter().take(most).map(|one| self.listed(one)).collect();
        let listing = format!(
            "<p:PortMappingList xmlns:p=\"urn:schemas-upnp-org:gw:WANIPConnection\">{entries}</p:PortMappingList>"
        );
        Ok(vec![listing])
    }

    fn listed(&self, one: &ExplicitMapping) -> String {
        let names = [
            "NewRemoteHost",
            "NewExternalPort",
            "NewProtocol",
            "NewInternalPort",
            "NewInternalClient",
            "NewEnabled",
            "NewDescription",
            "NewLeaseTime",
        ];
        let mut values = vec![remote_host(one), one.external.port().to_string(), name(one.protocol).to_owned()];
        values.extend(self.rest(one));
        let fields: String =
            names.iter().zip(values).map(|(name, value)| element(&format!("p:{name}"), &value)).collect();
        format!("<p:PortMappingEntry>{fields}</p:PortMappingEntry>")
    }

    /// Port, client, enabled, description and lease of a mapping.
    fn rest(&self, one: &ExplicitMapping) -> Vec<String> {
        let description = self.descriptions.get(&one.mapping).filter(|_| one.by == MappedBy::Upnp);
        let lease = one.until.map_or(0, |until| until.since(self.now).as_secs());
        vec![
            one.internal.port().to_string(),
            one.internal.ip().to_string(),
            "1".to_owned(),
            description.cloned().unwrap_or_else(|| format!("by {}", one.by)),
            lease.to_string(),
        ]
    }

    /// The mappings of a range of external ports that the client may see.
    fn in_range(&self, call: &Call) -> Result<Vec<ExplicitMapping>, u16> {
        let value = |name| call.value(name).unwrap_or_default();
        let protocol = protocol(value("NewProtocol")).ok_or(402_u16)?;
        let (start, end) = (port(value("NewStartPort"))?, port(value("NewEndPort"))?);
        if start > end {
            return Err(733);
        }
        let manage = ["1", "true", "yes"].contains(&value("NewManage").to_ascii_lowercase().as_str());
        let mine = |one: &ExplicitMapping| {
            one.protocol == protocol
                && (start..=end).contains(&one.external.port())
                && (manage || one.internal.ip() == self.client)
        };
        Ok(self.all().into_iter().filter(mine).collect())
    }

    fn key(&self, call: &Call) -> Result<(Protocol, u16), u16> {
        let value = |name| call.value(name).unwrap_or_default();
        let key = (protocol(value("NewProtocol")).ok_or(402_u16)?, port(value("NewExternalPort"))?);
        if key.1 == 0 { Err(if self.version == 1 { 402 } else { 716 }) } else { Ok(key) }
    }

    fn may_touch(&self, one: &ExplicitMapping) -> bool {
        one.by == MappedBy::Upnp && (!self.desk.config.secure_mode || one.internal.ip() == self.client)
    }

    /// The mappings of IPv4 that are not for one remote alone.
    fn all(&self) -> Vec<ExplicitMapping> {
        let all = self.desk.control.explicit().into_iter();
        all.filter(|one| one.remote.is_none() && one.internal.is_ipv4()).collect()
    }

    fn find(&self, protocol: Protocol, external_port: u16) -> Option<ExplicitMapping> {
        self.all().into_iter().find(|one| one.protocol == protocol && one.external.port() == external_port)
    }
}

fn results(call: &Call, gives: &[&str], done: Done) -> Result<Call, Fault> {
    let values = done.map_err(Fault::new)?;
    let values = gives.iter().map(|name| (*name).to_owned()).zip(values).collect();
    Ok(Call { name: format!("{}Response", call.name), values })
}

fn remote_host(one: &ExplicitMapping) -> String {
    one.filters.first().map_or_else(String::new, |filter| filter.address.to_string())
}

fn protocol(text: &str) -> Option<Protocol> {
    match text.to_ascii_uppercase().as_str() {
        "UDP" => Some(Protocol::Udp),
        "TCP" => Some(Protocol::Tcp),
        _ => None,
    }
}

/// How UPnP calls a protocol.
pub(super) fn name(protocol: Protocol) -> &'static str {
    if protocol == Protocol::Udp { "UDP" } else { "TCP" }
}

fn port(text: &str) -> Result<u16, u16> {
    text.parse().map_err(|_| 402)
}
