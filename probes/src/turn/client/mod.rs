//! The TURN client: borrows an address from a server, and keeps it as long as somebody holds the [`Client`].
//!
//! `link` speaks with the server (transactions, credentials), `lease` remembers what was granted until when, `keeper`
//! renews it. Two programs of the client's own run on the host while it lives: one reads the socket, one renews.
//! When the last clone is dropped, the allocation is given back with a Refresh of lifetime 0, and both end.

mod inbox;
mod keeper;
mod lease;
mod link;
mod tcp;

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use natbox_host::Host;
use natbox_wire::IcmpError;
use stun_types::AddressFamily;
use stun_types::attribute::XorMappedAddress;
use stun_types::message::{Message, MessageClass};
use turn_types::attribute::{
    ChannelNumber, Data, DontFragment, Lifetime, RequestedAddressFamily, RequestedTransport, XorPeerAddress,
    XorRelayedAddress,
};
use turn_types::message::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, SEND};

use self::lease::{Lease, Term};
use self::link::Link;
pub(super) use self::link::SENDS;
pub use self::tcp::PeerStream;
use super::message::{Writer, channel_data, parse};
use super::{CHANNEL_LIFETIME, Carrier, Error, MAX_DATAGRAM_BYTES, PERMISSION_LIFETIME};
use crate::path::Transport;
use crate::tls::Certificate;

/// STUN header, XOR-PEER-ADDRESS for IPv6, DATA's header and padding, DONT-FRAGMENT.
const SEND_OVERHEAD_BYTES: usize = 20 + 24 + 4 + 3 + 4;

/// A username and password that a TURN server knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The username, at most 508 bytes.
    pub username: String,
    /// The password.
    pub password: String,
}

impl Credentials {
    /// These credentials.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Credentials {
        Credentials { username: username.into(), password: password.into() }
    }
}

/// What to ask of the server, beyond an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Over what to talk to the server.
    pub carrier: Carrier,
    /// By what the server is known over TLS, which needs it.
    pub certificate: Option<Certificate>,
    /// The local endpoint to talk to the server from, over UDP; any free port of any address if none.
    pub local: Option<SocketAddr>,
    /// Over what peers are reached: UDP, or TCP (RFC 6062), which wants another carrier than UDP.
    pub peers: Transport,
    /// The lifetime to ask for; the server's default (600 s) if none.
    pub lifetime: Option<Duration>,
    /// Whether to ask for an IPv6 address; the family of the server's own address if none.
    pub ipv6: Option<bool>,
    /// Whether the server is to forbid fragmentation of what it relays in Send indications.
    pub dont_fragment: bool,
    /// Whether to renew the allocation, its permissions and its channels before they lapse.
    pub renew: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            carrier: Carrier::Udp,
            certificate: None,
            local: None,
            peers: Transport::Udp,
            lifetime: None,
            ipv6: None,
            dont_fragment: false,
            renew: true,
        }
    }
}

/// An ICMP error that came back to the relayed address for something that was sent to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerError {
    /// The peer that it was sent to.
    pub peer: SocketAddr,
    /// The error.
    pub error: IcmpError,
}

/// A relayed address on a TURN server, shared by all clones: one program may send while another receives.
pub struct Client<H: Host> {
    holder: Rc<Holder<H>>,
}

impl<H: Host> Clone for Client<H> {
    fn clone(&self) -> Client<H> {
        Client { holder: self.holder.clone() }
    }
}

/// Gives the address back when the last clone goes.
struct Holder<H: Host> {
    link: Rc<Link<H>>,
}

impl<H: Host> Drop for Holder<H> {
    fn drop(&mut self) {
        self.link.let_go();
    }
}

impl<H: Host> Client<H> {
    /// Borrows an address of the family that `server` has, with the default [`Options`].
    pub async fn allocate(host: &H, server: SocketAddr, credentials: &Credentials) -> Result<Client<H>, Error> {
        Client::allocate_with(host, server, credentials, &Options::default()).await
    }

    /// Borrows an address.
    ///
    /// Errors: [`Error::TimedOut`] after 39.5 s without an answer, [`Error::BadCredentials`], [`Error::Refused`] with
    /// the server's code.
    pub async fn allocate_with(
        host: &H,
        server: SocketAddr,
        credentials: &Credentials,
        options: &Options,
    ) -> Result<Client<H>, Error> {
        let link = Link::open(host, server, credentials, options).await?;
        // From here on, giving up in the middle stops the link's programs too.
        let client = Client { holder: Rc::new(Holder { link: link.clone() }) };
        let wants_ipv6 = options.ipv6.unwrap_or(server.is_ipv6());
        let requested = match options.peers {
            Transport::Udp => RequestedTransport::UDP,
            Transport::Tcp => RequestedTransport::TCP,
        };
        let asked_at = host.now();
        let answer = link
            .ask("Allocate", ALLOCATE, &|writer: Writer, _| {
                let mut writer = writer.with(&RequestedTransport::new(requested));
                if wants_ipv6 {
                    writer = writer.with(&RequestedAddressFamily::new(AddressFamily::IPV6));
                }
                if options.dont_fragment {
                    writer = writer.with(&DontFragment::new());
                }
                match options.lifetime {
                    Some(lifetime) => writer.with(&Lifetime::new(lifetime_seconds(lifetime))),
                    None => writer,
                }
            })
            .await?;
        link.grant(lease_of(&answer, asked_at)?);
        host.spawn(keeper::run(link, options.renew));
        Ok(client)
    }

    /// The address that peers see and send to.
    pub fn relayed_address(&self) -> SocketAddr {
        self.lease(|lease| lease.relayed)
    }

    /// This client's own address as the server sees it.
    pub fn mapped_address(&self) -> SocketAddr {
        self.lease(|lease| lease.mapped)
    }

    /// The local endpoint from which the client talks to the server.
    pub fn local_address(&self) -> SocketAddr {
        self.link().local_addr()
    }

    /// The TURN server.
    pub fn server(&self) -> SocketAddr {
        self.link().server()
    }

    /// Over what the client talks to the server.
    pub fn carrier(&self) -> Carrier {
        self.link().carrier()
    }

    /// The lifetime that the server granted last.
    pub fn lifetime(&self) -> Duration {
        self.lease(|lease| lease.term.lifetime)
    }

    /// Permits any port of `peer` to send to the relayed address, and the relay to send there; renewed until the
    /// client is dropped.
    pub async fn create_permission(&self, peer: IpAddr) -> Result<(), Error> {
        self.link().expect_held()?;
        permit(self.link(), &[peer]).await
    }

    /// Binds a channel to `peer`, so that data costs 4 bytes instead of 36; permits its address too. Answers the
    /// channel number; the same one if the peer has a channel already.
    pub async fn channel_bind(&self, peer: SocketAddr) -> Result<u16, Error> {
        self.link().expect_held()?;
        let now = self.link().host().now();
        let number = self.link().with_lease(|lease| lease.reserve(peer, now)).flatten();
        let number = number.ok_or(Error::NoChannelLeft)?;
        bind_channel(self.link(), number, peer).await?;
        Ok(number)
    }

    /// Sends `payload` from the relayed address to `peer`: as ChannelData where a channel is bound, else as a Send
    /// indication. [`Error::NoPermission`] if the server would drop it for want of a permission.
    pub async fn send_to(&self, payload: &[u8], peer: SocketAddr) -> Result<(), Error> {
        let link = self.link();
        link.expect_held()?;
        let now = link.host().now();
        let too_long = Error::TooLong { length_bytes: payload.len() };
        let channel = link.with_lease(|lease| lease.channel_to(peer, now)).flatten();
        let datagram = match channel {
            Some(number) => channel_data(number, payload).ok_or(too_long)?,
            None if !link.with_lease(|lease| lease.permits(peer.ip(), now)).unwrap_or(false) => {
                return Err(Error::NoPermission { peer: peer.ip() });
            }
            None if payload.len() > MAX_DATAGRAM_BYTES - SEND_OVERHEAD_BYTES => return Err(too_long),
            None => send_indication(link, payload, peer),
        };
        link.send(&datagram).await
    }

    /// Receives what a peer sent to the relayed address: how many bytes are in the buffer (the rest is lost) and from
    /// whom. [`Error::Gone`] once the allocation is lost and all that came before is read.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), Error> {
        let (payload, peer) = self.link().next_datagram().await?;
        let length = payload.len().min(buffer.len());
        buffer[..length].copy_from_slice(&payload[..length]);
        Ok((length, peer))
    }

    /// Connects to `peer` by TCP from the relayed address of a TCP allocation (RFC 6062 section 4.3); needs no
    /// permission.
    ///
    /// # Errors
    /// [`Error::Refused`]: 403 where there is no TCP allocation, 446 if there is a connection to that peer already, 447
    /// if the peer does not accept it.
    pub async fn connect(&self, peer: SocketAddr) -> Result<PeerStream<H>, Error> {
        self.link().expect_held()?;
        tcp::connect(self, peer).await
    }

    /// The next connection that a peer, who has a permission, opens to the relayed address of a TCP allocation (RFC 6062
    /// section 4.4).
    ///
    /// # Errors
    /// [`Error::Gone`] once the allocation is lost; [`Error::Refused`] if the connection has ended before it was bound.
    pub async fn accept(&self) -> Result<PeerStream<H>, Error> {
        tcp::accept(self).await
    }

    /// The oldest ICMP error not yet read about something sent to a peer.
    pub fn take_peer_error(&self) -> Option<PeerError> {
        self.link().take_peer_error()
    }

    fn link(&self) -> &Rc<Link<H>> {
        &self.holder.link
    }

    fn lease<T>(&self, read: impl FnOnce(&mut Lease) -> T) -> T {
        // A client is handed out with its lease granted, and a lease is never taken away.
        self.link().with_lease(read).expect("a client has a lease")
    }
}

/// Creates or renews permissions, and remembers them.
async fn permit<H: Host>(link: &Link<H>, peers: &[IpAddr]) -> Result<(), Error> {
    let asked_at = link.host().now();
    link.ask("CreatePermission", CREATE_PERMISSION, &|writer: Writer, transaction| {
        peers.iter().fold(writer, |writer, peer| {
            // The port means nothing in a permission.
            writer.with(&XorPeerAddress::new(SocketAddr::new(*peer, 0), transaction))
        })
    })
    .await?;
    link.with_lease(|lease| lease.permitted(peers, Term { since: asked_at, lifetime: PERMISSION_LIFETIME }));
    link.lease_changed();
    Ok(())
}

/// Binds or renews a channel, and remembers it.
async fn bind_channel<H: Host>(link: &Link<H>, number: u16, peer: SocketAddr) -> Result<(), Error> {
    let asked_at = link.host().now();
    link.ask("ChannelBind", CHANNEL_BIND, &|writer: Writer, transaction| {
        writer.with(&ChannelNumber::new(number)).with(&XorPeerAddress::new(peer, transaction))
    })
    .await?;
    link.with_lease(|lease| {
        lease.permitted(&[peer.ip()], Term { since: asked_at, lifetime: PERMISSION_LIFETIME });
        lease.bound(number, peer, Term { since: asked_at, lifetime: CHANNEL_LIFETIME });
    });
    link.lease_changed();
    Ok(())
}

fn send_indication<H: Host>(link: &Link<H>, payload: &[u8], peer: SocketAddr) -> Vec<u8> {
    let transaction = link.transaction();
    let writer = Writer::new(MessageClass::Indication, SEND, transaction);
    let writer = writer.with(&XorPeerAddress::new(peer, transaction)).with(&Data::new(payload));
    let writer = if link.forbids_fragments() { writer.with(&DontFragment::new()) } else { writer };
    writer.finish(None, false)
}

/// What an Allocate success tells.
fn lease_of(answer: &[u8], asked_at: natbox_wire::Time) -> Result<Lease, Error> {
    let method = "Allocate";
    let bad = |expected| Error::BadAnswer { method, expected };
    let message: Message<'_> = parse(answer).ok_or(bad("a STUN message"))?;
    let transaction = message.transaction_id();
    let relayed = message.attribute::<XorRelayedAddress>().map_err(|_| bad("XOR-RELAYED-ADDRESS"))?;
    let mapped = message.attribute::<XorMappedAddress>().map_err(|_| bad("XOR-MAPPED-ADDRESS"))?;
    let lifetime = message.attribute::<Lifetime>().map_err(|_| bad("LIFETIME"))?;
    let lifetime = Duration::from_secs(lifetime.seconds().into());
    let term = Term { since: asked_at, lifetime };
    Ok(Lease::new(relayed.addr(transaction), mapped.addr(transaction), term))
}

fn lifetime_seconds(lifetime: Duration) -> u32 {
    u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX)
}
