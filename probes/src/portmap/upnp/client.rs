//! A host's side of UPnP-IGD: find the gateway, read its description, call its actions.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};
use natbox_host::{Host, TcpOptions};

use super::http::{self, Message};
use super::soap::{self, Call, Content, Fault};
use super::xml::Element;
use super::{actions, ssdp};
use crate::ProbeError;
use crate::portmap::{Failure, Granted, Method, Wish};

/// Ports that are tried where the box does not choose one.
const TRIES: u16 = 8;

/// A gateway that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Its web server.
    pub web: SocketAddr,
    /// The type of its connection service.
    pub service: String,
    /// Where that service's actions go.
    pub path: String,
}

impl Gateway {
    /// The version of the connection service.
    pub fn version(&self) -> u8 {
        self.service.rsplit(':').next().and_then(|version| version.parse().ok()).unwrap_or(1)
    }
}

/// Finds the gateway on the local network of `local` and reads what it can do.
///
/// # Errors
/// Nobody answers within `patience`, or what answers has no connection service.
pub async fn find<H: Host>(host: &H, local: IpAddr, patience: Duration) -> Result<Gateway, Failure> {
    let end = host.now() + patience;
    let found = ssdp::search(host, local, patience).await?;
    let unexpected = |expected, came: &str| {
        let came = came.chars().take(200).collect();
        Failure::from(ProbeError::Unexpected { expected, from: found.from, came })
    };
    let location = found.location.as_str();
    let (web, path) = address(location).ok_or_else(|| unexpected("an address of a description", location))?;
    let answer = exchange(host, web, "GET", &path, &[], b"", end.since(host.now())).await?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let root = Element::parse(&answer.body).ok_or_else(|| unexpected("a device description", &text))?;
    let services = root.all("service");
    let connection = services.iter().find(|service| {
        let kind = service.text_of("serviceType").unwrap_or_default();
        kind.contains(":WANIPConnection:") || kind.contains(":WANPPPConnection:")
    });
    let connection = connection.ok_or_else(|| unexpected("a connection service", &text))?;
    let control = connection.text_of("controlURL").unwrap_or_default();
    let (web, path) = match address(control) {
        Some(absolute) => absolute,
        None => (web, format!("/{}", control.trim_start_matches('/'))),
    };
    Ok(Gateway { web, service: connection.text_of("serviceType").unwrap_or_default().to_owned(), path })
}

/// Host and path of a URL whose host is an address.
fn address(url: &str) -> Option<(SocketAddr, String)> {
    let rest = url.strip_prefix("http://")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let web = authority.parse().or_else(|_| authority.parse().map(|ip| SocketAddr::new(ip, 80)));
    Some((web.ok()?, format!("/{path}")))
}

/// Calls an action.
///
/// # Errors
/// No answer within `patience`, or the gateway's error code.
pub async fn call<H: Host>(
    host: &H,
    gateway: &Gateway,
    action: &str,
    values: &[(&str, String)],
    patience: Duration,
) -> Result<Call, Failure> {
    let values = values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let body = Call { name: action.to_owned(), values }.envelope(&gateway.service);
    let fields = [
        ("Content-Type", "text/xml; charset=\"utf-8\"".to_owned()),
        ("SOAPAction", format!("\"{}#{action}\"", gateway.service)),
    ];
    let answer = exchange(host, gateway.web, "POST", &gateway.path, &fields, body.as_bytes(), patience).await?;
    match soap::open(&answer.body) {
        Some(Content::Call(call)) if call.name == format!("{action}Response") => Ok(call),
        Some(Content::Fault(Fault { code, meaning })) => {
            Err(Failure::Refused { method: Method::Upnp, code, meaning, lasts: None })
        }
        _ => Err(ProbeError::Unexpected {
            expected: "the answer to an action",
            from: gateway.web,
            came: format!("status {}", answer.status),
        }
        .into()),
    }
}

/// The external address that the gateway believes to have.
///
/// # Errors
/// As of [`call`]; also an answer that is no address.
pub async fn external_address<H: Host>(host: &H, gateway: &Gateway, patience: Duration) -> Result<IpAddr, Failure> {
    let answer = call(host, gateway, "GetExternalIPAddress", &[], patience).await?;
    let text = answer.value("NewExternalIPAddress").unwrap_or_default();
    text.parse().map_err(|_| {
        let came = format!("{text:?}");
        ProbeError::Unexpected { expected: "an external address", from: gateway.web, came }.into()
    })
}

/// Asks for a mapping, and for the address that it is on. A box of version 2 chooses another port where the one wished for is
/// taken; of one of version 1 the ports above are tried. Where a box knows no leases, one without an end is asked for.
///
/// # Errors
/// As of [`call`].
pub async fn map<H: Host>(host: &H, gateway: &Gateway, wish: &Wish, patience: Duration) -> Result<Granted, Failure> {
    let end = host.now() + patience;
    let address = external_address(host, gateway, patience).await?;
    let first = if wish.external_port == 0 { wish.internal.port() } else { wish.external_port };
    let seconds = wish.lifetime.as_secs().clamp(1, u32::MAX.into()) as u32;
    let (mut lease, mut tries) = (seconds, 0);
    loop {
        let external_port = first.checked_add(tries).unwrap_or(1024 + tries);
        let action = if gateway.version() >= 2 { "AddAnyPortMapping" } else { "AddPortMapping" };
        let values = entry(wish, external_port, lease);
        match call(host, gateway, action, &values, end.since(host.now())).await {
            Ok(answer) => {
                let reserved = answer.value("NewReservedPort").and_then(|port| port.parse().ok());
                return Ok(Granted {
                    gateway: gateway.web,
                    external: SocketAddr::new(address, reserved.unwrap_or(external_port)),
                    lifetime: (lease > 0).then(|| Duration::from_secs(lease.into())),
                    epoch_seconds: None,
                });
            }
            Err(Failure::Refused { code: 725, .. }) if lease != 0 => lease = 0,
            Err(Failure::Refused { code: 718 | 729, .. }) if tries + 1 < TRIES => tries += 1,
            Err(failure) => return Err(failure),
        }
    }
}

fn entry(wish: &Wish, external_port: u16, lease: u32) -> Vec<(&'static str, String)> {
    vec![
        ("NewRemoteHost", String::new()),
        ("NewExternalPort", external_port.to_string()),
        ("NewProtocol", actions::name(wish.protocol).to_owned()),
        ("NewInternalPort", wish.internal.port().to_string()),
        ("NewInternalClient", wish.internal.ip().to_string()),
        ("NewEnabled", "1".to_owned()),
        ("NewPortMappingDescription", "natbox".to_owned()),
        ("NewLeaseDuration", lease.to_string()),
    ]
}

/// Gives a mapping up.
///
/// # Errors
/// As of [`call`].
pub async fn unmap<H: Host>(
    host: &H,
    gateway: &Gateway,
    wish: &Wish,
    external_port: u16,
    patience: Duration,
) -> Result<(), Failure> {
    let values = [
        ("NewRemoteHost", String::new()),
        ("NewExternalPort", external_port.to_string()),
        ("NewProtocol", actions::name(wish.protocol).to_owned()),
    ];
    call(host, gateway, "DeletePortMapping", &values, patience).await.map(drop)
}

/// One request and its answer, over a connection of its own.
async fn exchange<H: Host>(
    host: &H,
    web: SocketAddr,
    method: &str,
    path: &str,
    fields: &[(&str, String)],
    body: &[u8],
    patience: Duration,
) -> Result<Message, Failure> {
    let began = host.now();
    let conversation = pin!(async {
        let options = TcpOptions { connect_timeout: Some(patience), ..TcpOptions::default() };
        let mut stream = host.tcp_connect(web, options).await?;
        let mut all = vec![("Host", web.to_string()), ("User-Agent", ssdp::SERVER.to_owned())];
        all.extend(fields.iter().cloned());
        http::write(&mut stream, &format!("{method} {path} HTTP/1.1"), &all, body).await?;
        http::read(&mut stream).await
    });
    match select(conversation, pin!(host.sleep(patience))).await {
        Either::Left((answer, _)) => Ok(answer.map_err(ProbeError::io("talk to the gateway"))?),
        Either::Right(_) => {
            let waited = host.now().since(began);
            Err(ProbeError::Silence { expected: "the gateway's web server", from: web, waited, sent: 1 }.into())
        }
    }
}
