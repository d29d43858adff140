//! How devices are found (UPnP Device Architecture 1.1 section 1): searches to everybody, answers to whoever searched, and
//! notices to everybody.
//!
//! Left out: SSDP over IPv6, boot and configuration numbers, the random delay that `MX` allows. Notices go out after a reboot and
//! with another address alone, not every few minutes: the lab begins with boxes that have been up, and nobody says good-bye.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use natbox_host::{Host, PortControl, UdpSocket};
use natbox_wire::Time;

use super::describe::{Names, ROOT_PATH, WEB_PORT};
use super::http::{Message, head};
use crate::{ProbeError, wait};

/// Where everybody listens.
pub const GROUP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(239, 255, 255, 250)), 1900);
/// What a gateway calls its software.
pub const SERVER: &str = "natbox/1 UPnP/1.1 natbox/1";
/// How long a notice is good.
const MAX_AGE: Duration = Duration::from_secs(1800);
/// What a search is for, the best first.
pub const SEARCHES: [&str; 3] = [
    "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
    "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
];
/// How long a search is answered.
pub const SEARCH_TIME: Duration = Duration::from_secs(2);

/// Answers searches, and notices everybody.
pub(super) async fn serve<H: Host, C: PortControl>(
    host: &H,
    control: C,
    own: IpAddr,
    names: Names,
) -> Result<(), ProbeError> {
    let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), GROUP.port());
    let socket = Rc::new(host.udp_bind(any).await.map_err(ProbeError::io("open a socket for SSDP"))?);
    socket.join_multicast(GROUP.ip(), own).map_err(ProbeError::io("join the group of SSDP"))?;
    let location = format!("http://{}{ROOT_PATH}", SocketAddr::new(own, WEB_PORT));
    host.spawn(notice::<H, C>(control, socket.clone(), names.clone(), location.clone()));
    host.spawn(answer(host.clone(), socket, names, location));
    Ok(())
}

/// Notices everybody whenever the box has lost its memory or its addresses.
async fn notice<H: Host, C: PortControl>(control: C, socket: Rc<H::Udp>, names: Names, location: String) {
    loop {
        control.changed().await;
        for (target, index) in names.targets() {
            let fields = [
                ("HOST", GROUP.to_string()),
                ("CACHE-CONTROL", format!("max-age={}", MAX_AGE.as_secs())),
                ("LOCATION", location.clone()),
                ("SERVER", SERVER.to_owned()),
                ("NT", target.clone()),
                ("USN", names.usn(&target, index)),
                ("NTS", "ssdp:alive".to_owned()),
            ];
            let _ = socket.send_to(&head("NOTIFY * HTTP/1.1", &fields), GROUP).await;
        }
    }
}

async fn answer<H: Host>(host: H, socket: Rc<H::Udp>, names: Names, location: String) {
    let mut buffer = [0; 1500];
    loop {
        let received = wait::serve_next(&host, &*socket, &mut buffer).await;
        let search = Message::head(&buffer[..received.length]).filter(is_search);
        let Some(search) = search.filter(|_| host.is_neighbour(received.source.ip())) else { continue };
        let wanted = search.field("st").unwrap_or_default();
        for (target, index) in
            names.targets().into_iter().filter(|(target, _)| wanted == "ssdp:all" || wanted == target)
        {
            let fields = [
                ("CACHE-CONTROL", format!("max-age={}", MAX_AGE.as_secs())),
                ("EXT", String::new()),
                ("LOCATION", location.clone()),
                ("SERVER", SERVER.to_owned()),
                ("ST", target.clone()),
                ("USN", names.usn(&target, index)),
            ];
            let _ = socket.send_to(&head("HTTP/1.1 200 OK", &fields), received.source).await;
        }
    }
}

fn is_search(message: &Message) -> bool {
    message.method == "M-SEARCH" && message.field("man").is_some_and(|man| man.trim_matches('"') == "ssdp:discover")
}

/// A device that answered a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Who answered.
    pub from: SocketAddr,
    /// What it answered to.
    pub target: String,
    /// Where its description is.
    pub location: String,
}

/// Searches for gateways on the local network of `local`, and tells of the first that answers; searches three times in all.
///
/// # Errors
/// Nobody answers within `patience`.
pub async fn search<H: Host>(host: &H, local: IpAddr, patience: Duration) -> Result<Found, ProbeError> {
    let socket = host.udp_bind(SocketAddr::new(local, 0)).await.map_err(ProbeError::io("open a socket"))?;
    let began = host.now();
    let (end, mut sent) = (began + patience, 0);
    while host.now() < end && sent < 9 {
        for target in SEARCHES {
            let fields = [
                ("HOST", GROUP.to_string()),
                ("MAN", "\"ssdp:discover\"".to_owned()),
                ("MX", SEARCH_TIME.as_secs().to_string()),
                ("ST", target.to_owned()),
            ];
            let search = head("M-SEARCH * HTTP/1.1", &fields);
            socket.send_to(&search, GROUP).await.map_err(ProbeError::io("search for a gateway"))?;
            sent += 1;
        }
        if let Some(found) = listen(host, &socket, end.min(host.now() + SEARCH_TIME)).await? {
            return Ok(found);
        }
    }
    let waited = host.now().since(began);
    Err(ProbeError::Silence { expected: "a gateway that speaks UPnP", from: GROUP, waited, sent })
}

async fn listen<H: Host>(host: &H, socket: &H::Udp, deadline: Time) -> Result<Option<Found>, ProbeError> {
    let mut buffer = [0; 1500];
    while let Some(received) =
        wait::receive(host, socket, &mut buffer, deadline).await.map_err(ProbeError::io("search for a gateway"))?
    {
        let answer = Message::head(&buffer[..received.length]).filter(|answer| answer.status == 200);
        let Some(answer) = answer else { continue };
        if let (Some(location), Some(target)) = (answer.field("location"), answer.field("st")) {
            let (location, target) = (location.to_owned(), target.to_owned());
            return Ok(Some(Found { from: received.source, target, location }));
        }
    }
    Ok(None)
}
