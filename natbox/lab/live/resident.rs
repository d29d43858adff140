//! A program's real host: sockets are the machine's own, time and chance the world's. So timers are exact, and one clock
//! rules.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};

use natbox_host::{Host, TcpOptions};
use natbox_live::Machine as LiveHost;
use natbox_live::sockets::{OsEcho, OsHost, OsListener, OsStream, OsUdp};
use natbox_wire::Time;
use natbox_world::{Programs, VirtualHost};

/// A real host, as programs in the world's thread see it.
#[derive(Clone, Debug)]
pub(crate) struct Resident {
    sockets: OsHost,
    programs: Programs,
    machine: LiveHost,
}

impl Resident {
    pub(super) fn new(sockets: OsHost, programs: Programs, machine: LiveHost) -> Resident {
        Resident { sockets, programs, machine }
    }

    /// The machine itself.
    pub(crate) fn machine(&self) -> &LiveHost {
        &self.machine
    }
}

impl Host for Resident {
    type Udp = OsUdp;
    type Tcp = OsStream;
    type Listener = OsListener;
    type Echo = OsEcho;
    type Random = <VirtualHost as Host>::Random;

    fn name(&self) -> String {
        self.programs.name()
    }

    fn addresses(&self) -> Vec<IpAddr> {
        self.sockets.addresses()
    }

    fn default_gateway(&self, ipv6: bool) -> Option<IpAddr> {
        self.sockets.default_gateway(ipv6)
    }

    fn is_neighbour(&self, address: IpAddr) -> bool {
        self.sockets.is_neighbour(address)
    }

    fn source_for(&self, destination: IpAddr) -> io::Result<IpAddr> {
        self.sockets.source_for(destination)
    }

    fn now(&self) -> Time {
        self.programs.now()
    }

    fn sleep_until(&self, deadline: Time) -> impl Future<Output = ()> {
        self.programs.sleep_until(deadline)
    }

    fn spawn(&self, program: impl Future<Output = ()> + 'static) {
        self.programs.spawn(program);
    }

    fn random(&self) -> Self::Random {
        self.programs.random()
    }

    fn udp_bind(&self, local: SocketAddr) -> impl Future<Output = io::Result<OsUdp>> {
        self.sockets.udp_bind(local)
    }

    fn tcp_connect(&self, remote: SocketAddr, options: TcpOptions) -> impl Future<Output = io::Result<OsStream>> {
        self.sockets.tcp_connect(remote, options)
    }

    fn tcp_listen(&self, local: SocketAddr, options: TcpOptions) -> impl Future<Output = io::Result<OsListener>> {
        self.sockets.tcp_listen(local, options)
    }

    fn echo_socket(&self, local: IpAddr) -> impl Future<Output = io::Result<OsEcho>> {
        self.sockets.echo_socket(local)
    }
}
