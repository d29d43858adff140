//! One TCP connection: a smoltcp socket with an interface of its own.
//!
//! smoltcp looks for a segment's socket by asking each in turn. Here every connection has a socket set of one, and
//! the segment's connection is found by hash before smoltcp sees it; the interface of its own also gives it an MTU of
//! its own, which a packet-too-big message may lower. Knows no tables, no ports and no other connection.
//!
//! smoltcp counts microseconds: it is told the last whole one, and its deadlines are whole ones, so that no timer
//! fires early and none is due again at the time at which it fired.

use std::net::SocketAddr;
use std::task::Waker;
use std::time::Duration;

use natbox_wire::{Packet, Time, build};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{CongestionControl, RecvError, Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr};

use crate::stack::errno::Errno;

/// Bytes that wait to be read or sent, each way.
const BUFFER_BYTES: usize = 128 * 1024;
/// smoltcp needs room for headers and options; no IP link has less than RFC 791's 68 bytes.
const MIN_MTU_BYTES: usize = 128;

/// How a connection is identified, and which way it goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) uplink: usize,
    pub(super) mtu_bytes: usize,
    pub(super) ttl: u8,
}

/// How far a connection is, as far as its owner must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The handshake is under way.
    Opening,
    /// Data may flow, at least one way, or what was sent is not yet acknowledged.
    Open,
    /// Our side is closed and acknowledged; the other is not.
    HalfClosed,
    /// Both sides are closed; late segments may still come (RFC 9293 section 3.6.1).
    Lingering,
    /// It is over.
    Over,
}

/// One connection.
pub(super) struct Connection {
    pub(super) path: Path,
    /// The error that the next call reports, once.
    pub(super) error: Option<Errno>,
    /// The last ICMP error: what a timeout will be blamed on (Linux's `sk_err_soft`).
    pub(super) soft_error: Option<Errno>,
    /// Whether the handshake was completed.
    pub(super) connected: bool,
    /// The listener that has not yet handed it out.
    pub(super) parent: Option<u32>,
    /// Whether its stream has been dropped.
    pub(super) orphaned: bool,
    /// When to give up, if nothing is heard.
    pub(super) give_up_at: Option<Time>,
    /// The deadline that the table knows.
    pub(super) deadline: Option<Time>,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    write_shut: bool,
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("path", &self.path).field("error", &self.error).finish_non_exhaustive()
    }
}

impl Connection {
    /// A connection about to send its SYN; `seed` gives its initial sequence number.
    pub(super) fn connect(path: Path, seed: u64, now: Time) -> Option<Connection> {
        let mut connection = Connection::new(path, seed, now);
        let socket = connection.sockets.get_mut::<Socket<'_>>(connection.handle);
        socket.connect(connection.interface.context(), path.remote, path.local).ok()?;
        Some(connection)
    }

    /// A connection about to be given the SYN that opens it.
    pub(super) fn accept(path: Path, seed: u64, now: Time) -> Option<Connection> {
        let mut connection = Connection::new(path, seed, now);
        connection.socket().listen(path.local).ok()?;
        Some(connection)
    }

    fn new(path: Path, seed: u64, now: Time) -> Connection {
        let buffer = || SocketBuffer::new(vec![0; BUFFER_BYTES]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_hop_limit(Some(path.ttl));
        socket.set_congestion_control(CongestionControl::Cubic);
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        Connection {
            path,
            error: None,
            soft_error: None,
            connected: false,
            parent: None,
            orphaned: false,
            give_up_at: None,
            deadline: None,
            reader: None,
            writer: None,
            write_shut: false,
            interface: interface(&path, seed, now),
            sockets,
            handle,
        }
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    fn state(&self) -> State {
        self.sockets.get::<Socket<'_>>(self.handle).state()
    }

    pub(super) fn phase(&self) -> Phase {
        match self.state() {
            State::SynSent | State::SynReceived => Phase::Opening,
            State::Established | State::CloseWait | State::FinWait1 | State::Closing | State::LastAck => Phase::Open,
            State::FinWait2 => Phase::HalfClosed,
            State::TimeWait => Phase::Lingering,
            // A refused child goes back to listening.
            State::Closed | State::Listen => Phase::Over,
        }
    }

    /// What a reset means now (Linux's `tcp_reset`).
    pub(super) fn reset_error(&self) -> Errno {
        match self.state() {
            State::SynSent => Errno::CONNREFUSED,
            State::CloseWait => Errno::PIPE,
            _ => Errno::CONNRESET,
        }
    }

    /// Whether something waits for the other side's acknowledgement.
    pub(super) fn awaits_acknowledgement(&self) -> bool {
        let socket = self.sockets.get::<Socket<'_>>(self.handle);
        let closing = matches!(socket.state(), State::FinWait1 | State::Closing | State::LastAck);
        closing || socket.send_queue() > 0
    }

    /// Gives smoltcp a segment, if one came, and the time; takes what it sends.
    pub(super) fn run(&mut self, inbound: Option<Packet>, now: Time) -> Vec<Packet> {
        let inbox = inbound.map(|packet| without_extensions(packet).into_bytes());
        let mut device = Segments { mtu_bytes: self.path.mtu_bytes, inbox, outbox: Vec::new() };
        self.interface.poll(to_smoltcp(now), &mut device, &mut self.sockets);
        device.outbox.into_iter().filter_map(|bytes| Packet::parse(bytes).ok()).collect()
    }

    /// When [`Connection::run`] is due again.
    pub(super) fn poll_timeout(&mut self, now: Time) -> Option<Time> {
        let at = from_smoltcp(self.interface.poll_at(to_smoltcp(now), &self.sockets)?);
        // All that was due at `now` has been done. Should smoltcp disagree, the world must not stand still.
        Some(if at <= now { now + Duration::from_millis(1) } else { at })
    }

    /// Lowers the MTU. What is too large for it is sent again, smaller, when its retransmission is due.
    pub(super) fn set_mtu(&mut self, mtu_bytes: usize, seed: u64, now: Time) {
        self.path.mtu_bytes = mtu_bytes;
        self.interface = interface(&self.path, seed, now);
    }

    /// Reads what has come. `Ok(0)` is the end; `None` is not yet.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Option<Result<usize, Errno>> {
        let socket = self.socket();
        if socket.can_recv() {
            return Some(socket.recv_slice(buffer).map_err(|_| Errno::NOTCONN));
        }
        let ended = match socket.recv_slice(&mut []) {
            Ok(_) => false,
            Err(RecvError::Finished | RecvError::InvalidState) => true,
        };
        match self.error.take() {
            Some(error) => Some(Err(error)),
            None => (ended || buffer.is_empty()).then_some(Ok(0)),
        }
    }

    /// Takes as much as there is room for. `None` is none yet.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Option<Result<usize, Errno>> {
        if let Some(error) = self.error.take() {
            return Some(Err(error));
        }
        if self.write_shut {
            return Some(Err(Errno::PIPE));
        }
        match self.socket().send_slice(bytes) {
            Err(_) => Some(Err(Errno::PIPE)),
            Ok(0) if !bytes.is_empty() => None,
            Ok(length) => Some(Ok(length)),
        }
    }

    /// Closes our side: a FIN follows what is still to be sent.
    pub(super) fn shut(&mut self) {
        self.write_shut = true;
        self.socket().close();
    }

    /// Breaks it off: a RST is sent.
    pub(super) fn abort(&mut self) {
        self.socket().abort();
    }

    pub(super) fn has_unread(&self) -> bool {
        self.sockets.get::<Socket<'_>>(self.handle).recv_queue() > 0
    }

    /// Takes the wakers of those who can go on.
    pub(super) fn take_ready(&mut self, wakes: &mut Vec<Waker>) {
        let socket = self.sockets.get::<Socket<'_>>(self.handle);
        let failed = self.error.is_some() || self.phase() == Phase::Over;
        let readable = failed || (self.connected && (socket.can_recv() || !socket.may_recv()));
        let writable = failed || (self.connected && (socket.can_send() || !socket.may_send()));
        if readable {
            wakes.extend(self.reader.take());
        }
        if writable {
            wakes.extend(self.writer.take());
        }
    }
}

/// smoltcp knows hop-by-hop options alone; what is before the segment does not concern it.
fn without_extensions(packet: Packet) -> Packet {
    let segment = packet.ip_payload();
    if !packet.is_ipv6() || packet.bytes().len() - segment.len() == 40 {
        return packet;
    }
    let fields = build::IpFields { ttl: packet.ttl(), ..build::IpFields::default() };
    let bare = build::ip(packet.source(), packet.destination(), packet.protocol_number(), fields, segment);
    bare.unwrap_or(packet)
}

fn interface(path: &Path, seed: u64, now: Time) -> Interface {
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = seed;
    let mut device = Segments { mtu_bytes: path.mtu_bytes, inbox: None, outbox: Vec::new() };
    let mut interface = Interface::new(config, &mut device, to_smoltcp(now));
    let own = path.local.ip();
    interface.update_ip_addrs(|addresses| {
        // One of at least two places; a prefix of the full length has no broadcast address.
        let _ = addresses.push(IpCidr::new(own.into(), if own.is_ipv6() { 128 } else { 32 }));
    });
    interface
}

fn to_smoltcp(time: Time) -> Instant {
    Instant::from_micros((time.as_nanos() / 1000) as i64)
}

fn from_smoltcp(instant: Instant) -> Time {
    Time::from_nanos(u64::try_from(instant.total_micros()).unwrap_or(0).saturating_mul(1000))
}

/// smoltcp's view of the network: at most one segment in, any number out.
struct Segments {
    mtu_bytes: usize,
    inbox: Option<Vec<u8>>,
    outbox: Vec<Vec<u8>>,
}

struct In(Vec<u8>);

struct Out<'a>(&'a mut Vec<Vec<u8>>);

impl Device for Segments {
    type RxToken<'a> = In;
    type TxToken<'a> = Out<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(In, Out<'_>)> {
        let bytes = self.inbox.take()?;
        Some((In(bytes), Out(&mut self.outbox)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Out<'_>> {
        Some(Out(&mut self.outbox))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut checksum = ChecksumCapabilities::default();
        // What came has been verified.
        checksum.ipv4 = Checksum::Tx;
        checksum.tcp = Checksum::Tx;
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu_bytes.max(MIN_MTU_BYTES);
        capabilities.checksum = checksum;
        capabilities
    }
}

impl RxToken for In {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Out<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut bytes = vec![0; length];
        let result = f(&mut bytes);
        self.0.push(bytes);
        result
    }
}
