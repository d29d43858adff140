//! A host made of the operating system's own sockets.
//!
//! ```
//! use natbox_host::{Host, UdpSocket};
//!
//! let came = natbox_live::sockets::run("here", async |host| {
//!     let (a, b) = (host.udp_bind("127.0.0.1:0".parse().unwrap()).await?, host.udp_bind("127.0.0.1:0".parse().unwrap()).await?);
//!     a.send_to(b"hello", b.local_addr()).await?;
//!     let mut buffer = [0; 16];
//!     let received = b.recv_from(&mut buffer).await?;
//!     Ok::<_, std::io::Error>((received.source == a.local_addr(), received.length))
//! })?;
//! assert_eq!(came?, (true, 5));
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! The host is that of the network namespace of the thread that calls [`run`]: a thread that has moved to another
//! namespace has that one's addresses and sockets. Time is counted from the beginning of the run, or from an instant that
//! several hosts share ([`run_since`]); timers of the system are as fine as a millisecond. A datagram's arrival is when it
//! was read.
//!
//! [`OsHost::on`] is a machine of a lab, used from a thread that is elsewhere: sockets and questions about routes go there
//! too, and a [`Reactor`] watches the sockets.

mod echo;
mod home;
mod interfaces;
mod report;
mod tcp;
mod udp;

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use getrandom::SysRng;
use natbox_host::{Host, TcpOptions};
use natbox_wire::Time;
use rand_core::UnwrapErr;
use tokio::task::LocalSet;

use crate::machine::Machine;
use home::Home;

pub use echo::OsEcho;
pub use home::Reactor;
pub use tcp::{OsListener, OsStream};
pub use udp::OsUdp;

/// Runs a program on this machine, and everything that it spawns until it ends.
///
/// # Errors
/// When the system has no room for a reactor.
pub fn run<R>(name: &str, program: impl AsyncFnOnce(OsHost) -> R) -> io::Result<R> {
    run_since(name, Clock::start(), program)
}

/// As [`run`], with time counted from an instant that other hosts may share.
///
/// # Errors
/// As [`run`].
pub fn run_since<R>(name: &str, clock: Clock, program: impl AsyncFnOnce(OsHost) -> R) -> io::Result<R> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let host = OsHost { name: name.into(), clock, home: Home::default() };
    Ok(LocalSet::new().block_on(&runtime, program(host)))
}

/// The wall's clock, counted from an instant.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    began: Instant,
}

impl Clock {
    /// Counts from then on.
    pub(crate) fn since(began: Instant) -> Clock {
        Clock { began }
    }

    /// Counts from now on.
    #[allow(clippy::disallowed_methods, reason = "this room is where the clock is read")]
    pub fn start() -> Clock {
        Clock { began: Instant::now() }
    }

    /// The time since then.
    #[allow(clippy::disallowed_methods, reason = "this room is where the clock is read")]
    pub fn now(&self) -> Time {
        Time::ZERO + Instant::now().duration_since(self.began)
    }

    /// The instant that is `time` here; none that is too far away to come.
    fn instant(&self, time: Time) -> Option<Instant> {
        self.began.checked_add(Duration::from_nanos(time.as_nanos()))
    }
}

/// This machine, as a program sees it, inside of [`run`]; or another one ([`OsHost::on`]).
#[derive(Clone, Debug)]
pub struct OsHost {
    name: Rc<str>,
    clock: Clock,
    home: Home,
}

impl OsHost {
    /// A machine of a lab, for the thread that has [entered](Reactor::enter) the reactor. What it spawns needs a
    /// [`LocalSet`] on that thread.
    pub fn on(machine: &Machine, clock: Clock, reactor: &Reactor) -> OsHost {
        OsHost { name: machine.name().into(), clock, home: Home::of(machine, reactor) }
    }
}

impl Host for OsHost {
    type Udp = OsUdp;
    type Tcp = OsStream;
    type Listener = OsListener;
    type Echo = OsEcho;
    /// The system's chance, as cryptography asks for it.
    type Random = UnwrapErr<SysRng>;

    fn name(&self) -> String {
        self.name.to_string()
    }

    /// In the system's order, without loopback and link-local addresses; none if the system does not tell.
    fn addresses(&self) -> Vec<IpAddr> {
        self.home.there(interfaces::addresses).unwrap_or_default()
    }

    fn default_gateway(&self, ipv6: bool) -> Option<IpAddr> {
        self.home.there(move || interfaces::default_gateway(ipv6)).ok().flatten()
    }

    fn is_neighbour(&self, address: IpAddr) -> bool {
        self.home.there(move || interfaces::is_neighbour(address)).unwrap_or(false)
    }

    /// As the system's routes say; nothing is sent.
    fn source_for(&self, destination: IpAddr) -> io::Result<IpAddr> {
        self.home.there(move || {
            let socket = std::net::UdpSocket::bind((unspecified(destination.is_ipv6()), 0))?;
            // To a UDP socket, connecting means to look for the route and no more. Port 9 is nobody's in particular.
            socket.connect((destination, 9))?;
            Ok(socket.local_addr()?.ip())
        })?
    }

    fn now(&self) -> Time {
        self.clock.now()
    }

    async fn sleep_until(&self, deadline: Time) {
        match self.clock.instant(deadline) {
            Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
            None => std::future::pending().await,
        }
    }

    fn spawn(&self, program: impl Future<Output = ()> + 'static) {
        tokio::task::spawn_local(program);
    }

    fn random(&self) -> Self::Random {
        UnwrapErr(SysRng)
    }

    async fn udp_bind(&self, local: SocketAddr) -> io::Result<OsUdp> {
        let (clock, home) = (self.clock, self.home.clone());
        self.home.there(move || OsUdp::bind(local, clock, home))?
    }

    async fn tcp_connect(&self, remote: SocketAddr, options: TcpOptions) -> io::Result<OsStream> {
        let socket = self.home.there(move || OsStream::socket(remote, options))??;
        OsStream::connect(socket, remote, options).await
    }

    async fn tcp_listen(&self, local: SocketAddr, options: TcpOptions) -> io::Result<OsListener> {
        self.home.there(move || OsListener::listen(local, options))?
    }

    async fn echo_socket(&self, local: IpAddr) -> io::Result<OsEcho> {
        let clock = self.clock;
        self.home.there(move || OsEcho::open(local, clock))?
    }
}

fn unspecified(ipv6: bool) -> IpAddr {
    if ipv6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }
}

/// An error of the system's socket options, as standard ones are.
fn os_error(errno: nix::errno::Errno) -> io::Error {
    io::Error::from_raw_os_error(errno as i32)
}
