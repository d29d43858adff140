//! UPnP-IGD: how a host finds its gateway by multicast, reads what it can do, and asks it for mappings.
//!
//! ```text
//!   host                                                            gateway
//!    |-- M-SEARCH ST: ...InternetGatewayDevice:1 --> 239.255.255.250:1900 |
//!    |<-- HTTP/1.1 200 OK, LOCATION: http://10.0.0.1:5000/rootDesc.xml ---|
//!    |-- GET /rootDesc.xml ---------------------------------------------->|
//!    |<-- device description: WANIPConnection, its control URL -----------|
//!    |-- POST /ctl/IPConn, SOAPAction: ...#AddPortMapping --------------->|
//!    |<-- AddPortMappingResponse, or an error code -----------------------|
//! ```
//!
//! After UPnP Device Architecture 1.1 and WANIPConnection 1.0 and 2.0, whose texts were not at hand: names, fields and codes
//! are those that miniupnpd, miniupnpc and RFC 6970 use. Left out: eventing (its URL exists and answers 501), access rights of
//! version 2, the services that have nothing to do with ports.

pub mod client;
pub mod describe;
pub mod http;
pub mod soap;
pub mod ssdp;
pub mod xml;

mod actions;

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures::future::{Either, select};
use natbox_host::{Host, PortControl, TcpListener, TcpOptions, TcpStream};
use rand_core::Rng;

use self::actions::{Descriptions, Service};
use self::describe::{
    CONNECTION, CONNECTION_PATH, CONNECTION_SERVICE_PATH, INTERFACE, INTERFACE_PATH, INTERFACE_SERVICE_PATH, Names,
    ROOT_PATH, WEB_PORT, interface_service, service_description,
};
use self::http::Message;
use self::soap::{Content, Fault};
use super::Control;
use super::server::Desk;
use crate::ProbeError;

/// Connections that are served at once; more are closed.
const CONNECTIONS: usize = 64;
/// How long a host may take to ask.
const PATIENCE: Duration = Duration::from_secs(10);

/// The web server and what it serves from.
struct Web<C> {
    desk: Rc<RefCell<Desk<C>>>,
    names: Names,
    descriptions: RefCell<Descriptions>,
}

/// Starts the web server and the multicast one, at the machine's first IPv4 address.
pub(crate) async fn serve<H: Host, C: PortControl>(host: H, desk: Rc<RefCell<Desk<C>>>) -> Result<(), ProbeError> {
    let own = host.addresses().into_iter().find(IpAddr::is_ipv4);
    let Some(own) = own else { return Ok(()) };
    let version = if desk.borrow().config.speaks(Control::Igd2) { 2 } else { 1 };
    let names = names(&host, version);
    let listener = host.tcp_listen(SocketAddr::new(own, WEB_PORT), TcpOptions::default());
    let listener = listener.await.map_err(ProbeError::io("listen for UPnP"))?;
    let control = desk.borrow().control.clone();
    ssdp::serve(&host, control, own, names.clone()).await?;
    let web = Rc::new(Web { desk, names, descriptions: RefCell::default() });
    host.spawn(accept(host.clone(), listener, web));
    Ok(())
}

/// Names of this machine's own; its identifiers are chance, as those of version 4 (RFC 9562 section 5.4).
fn names<H: Host>(host: &H, version: u8) -> Names {
    let mut dice = host.random();
    let uuids = std::array::from_fn(|_| {
        let bits = u128::from(dice.next_u64()) << 64 | u128::from(dice.next_u64());
        let bits = bits & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
        let hex = format!("{bits:032x}");
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    });
    Names { version, uuids, friendly: host.name() }
}

async fn accept<H: Host, C: PortControl>(host: H, listener: H::Listener, web: Rc<Web<C>>) {
    let places = Rc::new(());
    loop {
        match listener.accept().await {
            Ok(stream) if Rc::strong_count(&places) <= CONNECTIONS => {
                let (own, web, place) = (host.clone(), web.clone(), places.clone());
                host.spawn(async move {
                    let served = pin!(converse(&own, stream, &web));
                    let end = pin!(own.sleep(PATIENCE + web.desk.borrow().config.faults.delay));
                    if let Either::Left(_) = select(served, end).await {
                        drop(place);
                    }
                });
            }
            Ok(_) => {}
            Err(_) => host.sleep(Duration::from_millis(10)).await,
        }
    }
}

/// One connection: a request, its answer, and then until the other end has closed too.
async fn converse<H: Host, C: PortControl>(host: &H, mut stream: H::Tcp, web: &Web<C>) {
    let Ok(request) = http::read(&mut stream).await else { return };
    let delay = web.desk.borrow().config.faults.delay;
    host.sleep(delay).await;
    let (status, body) = web.answer(host, stream.peer_addr().ip(), &request);
    let fields = [
        ("Content-Type", "text/xml; charset=\"utf-8\"".to_owned()),
        ("Server", ssdp::SERVER.to_owned()),
        ("Ext", String::new()),
    ];
    if http::write(&mut stream, &format!("HTTP/1.1 {status}"), &fields, body.as_bytes()).await.is_ok() {
        let _ = http::read(&mut stream).await;
    }
}

impl<C: PortControl> Web<C> {
    /// Status and body of the answer to a request.
    fn answer<H: Host>(&self, host: &H, client: IpAddr, request: &Message) -> (&'static str, String) {
        let version = self.names.version;
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", ROOT_PATH) => ("200 OK", self.names.root()),
            ("GET", CONNECTION_SERVICE_PATH) => ("200 OK", service_description(CONNECTION, version)),
            ("GET", INTERFACE_SERVICE_PATH) => ("200 OK", service_description(INTERFACE, 1)),
            ("POST", CONNECTION_PATH | INTERFACE_PATH) if host.is_neighbour(client) => self.act(host, client, request),
            ("GET" | "POST", _) => ("404 Not Found", String::new()),
            _ => ("501 Not Implemented", String::new()),
        }
    }

    fn act<H: Host>(&self, host: &H, client: IpAddr, request: &Message) -> (&'static str, String) {
        let Some(Content::Call(call)) = soap::open(&request.body) else {
            return ("500 Internal Server Error", Fault::new(402).envelope());
        };
        let mut desk = self.desk.borrow_mut();
        let (mut descriptions, now) = (self.descriptions.borrow_mut(), host.now());
        let version = self.names.version;
        let (desk, descriptions) = (&mut *desk, &mut *descriptions);
        let mut service = Service { desk, descriptions, version, client, now };
        // What was asked of version 1 is answered as version 1.
        let asked = request.field("soapaction").unwrap_or_default();
        let (done, kind) = match request.path.as_str() {
            INTERFACE_PATH => (service.interface(&call), interface_service()),
            _ if asked.contains("WANIPConnection:1") => {
                service.version = 1;
                (service.connection(&call), self.names.connection().replace(":2", ":1"))
            }
            _ => (service.connection(&call), self.names.connection()),
        };
        match done {
            Ok(done) => ("200 OK", done.envelope(&kind)),
            Err(fault) => ("500 Internal Server Error", fault.envelope()),
        }
    }
}
