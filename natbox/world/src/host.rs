//! A host of the world, as its programs see it: [`natbox_host::Host`] in virtual time.
//!
//! Every call borrows the world's state for itself alone and gives it back before it returns or waits. Knows sockets
//! by their keys; what they do is the stack's business.

pub(crate) mod control;
mod tcp;
mod udp;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll};

use natbox_host::TcpOptions;
use natbox_wire::{Protocol, Time};
use rand_pcg::Pcg64Mcg;

use crate::executor;
use crate::note::NodeId;
use crate::stack::Stack;
use crate::state::State;

pub use tcp::{VirtualListener, VirtualStream};
pub use udp::{VirtualEcho, VirtualUdp};

/// A virtual host.
#[derive(Clone)]
pub struct VirtualHost {
    state: Rc<RefCell<State>>,
    node: NodeId,
}

impl VirtualHost {
    pub(crate) fn new(state: Rc<RefCell<State>>, node: NodeId) -> VirtualHost {
        VirtualHost { state, node }
    }

    /// The node that this host is.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// From now on a raw program takes what comes to this TCP port, or with this echo identifier, unless the host has a
    /// connection, listener or echo socket for it: it counts as delivered and the host does not answer it. What such a
    /// program sends goes through [`World::inject`](crate::World::inject). UDP ports have sockets; nothing changes there.
    pub fn claim_raw(&self, protocol: Protocol, number: u16) {
        self.stack(|stack, _| stack.claim_raw(protocol, number));
    }

    /// Does something with this host's stack.
    fn stack<R>(&self, f: impl FnOnce(&mut Stack, Time) -> R) -> R {
        self.state.borrow_mut().stack(self.node, f)
    }

    /// A program's call that may wait has its turn.
    fn poll_turn(&self, context: &Context<'_>) -> Poll<()> {
        self.state.borrow_mut().take_turn(self.node, context.waker())
    }

    /// As [`VirtualHost::poll_turn`], for calls that never wait else.
    async fn turn(&self) {
        poll_fn(|context| self.poll_turn(context)).await;
    }

    /// As [`VirtualHost::stack`], when a socket is dropped: a world that is coming down has no more use for it.
    fn close(&self, f: impl FnOnce(&mut Stack, Time)) {
        if let Ok(mut state) = self.state.try_borrow_mut() {
            state.stack(self.node, f);
        }
    }
}

impl From<&VirtualHost> for NodeId {
    fn from(host: &VirtualHost) -> NodeId {
        host.node
    }
}

impl std::fmt::Debug for VirtualHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("VirtualHost").field(&self.node).finish()
    }
}

impl natbox_host::Host for VirtualHost {
    type Udp = VirtualUdp;
    type Tcp = VirtualStream;
    type Listener = VirtualListener;
    type Echo = VirtualEcho;
    type Random = Pcg64Mcg;

    fn name(&self) -> String {
        self.state.borrow().node(self.node).name.to_string()
    }

    fn addresses(&self) -> Vec<IpAddr> {
        self.stack(|stack, _| stack.addresses())
    }

    fn default_gateway(&self, ipv6: bool) -> Option<IpAddr> {
        self.stack(|stack, _| stack.default_gateway(ipv6))
    }

    fn is_neighbour(&self, address: IpAddr) -> bool {
        self.stack(|stack, _| stack.is_neighbour(address))
    }

    fn source_for(&self, destination: IpAddr) -> io::Result<IpAddr> {
        Ok(self.stack(|stack, _| stack.source_for(destination))?)
    }

    fn now(&self) -> Time {
        self.state.borrow().now()
    }

    fn sleep_until(&self, deadline: Time) -> impl Future<Output = ()> {
        executor::sleep_until(self.state.clone(), Some(self.node), deadline)
    }

    fn spawn(&self, program: impl Future<Output = ()> + 'static) {
        self.state.borrow().spawn(program);
    }

    fn random(&self) -> Pcg64Mcg {
        self.state.borrow_mut().random(self.node)
    }

    async fn udp_bind(&self, local: SocketAddr) -> io::Result<VirtualUdp> {
        self.turn().await;
        VirtualUdp::bind(self, local)
    }

    async fn tcp_connect(&self, remote: SocketAddr, options: TcpOptions) -> io::Result<VirtualStream> {
        self.turn().await;
        VirtualStream::connect(self, remote, options).await
    }

    async fn tcp_listen(&self, local: SocketAddr, options: TcpOptions) -> io::Result<VirtualListener> {
        self.turn().await;
        VirtualListener::listen(self, local, options)
    }

    async fn echo_socket(&self, local: IpAddr) -> io::Result<VirtualEcho> {
        self.turn().await;
        VirtualEcho::open(self, local)
    }
}
