//! The local port that everything goes through, and where the directory sees it.

use std::net::SocketAddr;
use std::time::Duration;

use natbox_host::{Host, TcpOptions, TcpStream};
use natbox_wire::Time;
use rand_core::Rng;

use crate::ProbeError;
use crate::rendezvous::{self, Body, LONGEST_MESSAGE_BYTES, Message, RequestId};
use crate::stream::{Framed, before};

/// How long the directory may take to be reached, and to answer.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Own<H: Host> {
    pub(crate) local: SocketAddr,
    pub(crate) mapped: SocketAddr,
    /// Open as long as the mapping is needed.
    _directory: Framed<H::Tcp>,
}

impl<H: Host> Own<H> {
    /// Connects to the directory over TCP, which tells from where.
    pub(crate) async fn open(host: &H, directory: SocketAddr, deadline: Time) -> Result<Own<H>, ProbeError> {
        let local = host.source_for(directory.ip()).map_err(ProbeError::io("find a way to the directory"))?;
        let options = shared(SocketAddr::new(local, 0));
        let deadline = deadline.min(host.now() + PATIENCE);
        let stream = before(host, deadline, host.tcp_connect(directory, options)).await;
        let stream = stream.map_err(ProbeError::io("connect to the directory by TCP"))?;
        let local = stream.local_addr();
        let mut framed = Framed::new(stream, LONGEST_MESSAGE_BYTES);
        // A name that nobody has is taken off the list: this changes nothing, and the answer tells what is wanted.
        let (id, name) = (host.random().next_u64(), format!("{:032x}", crate::punch::random_u128(host)));
        let body = Body::Register { name, lifetime: Duration::ZERO, candidates: Vec::new() };
        let request = Message { id: RequestId(id), body }.encode();
        let asked = before(host, deadline, async {
            framed.send(&request).await?;
            framed.recv().await
        });
        let answer = asked.await.map_err(ProbeError::io("ask the directory over TCP"))?;
        match Message::decode(&answer) {
            Some(Message { body: Body::Registered { seen, .. }, .. }) => {
                Ok(Own { local, mapped: seen, _directory: framed })
            }
            Some(other) => Err(rendezvous::unexpected("a registered message", directory, other.body)),
            None => {
                let came = format!("{} bytes", answer.len());
                Err(ProbeError::Unexpected { expected: rendezvous::EXPECTED, from: directory, came })
            }
        }
    }

    /// Listens on the same port.
    pub(crate) async fn listen(&self, host: &H) -> Result<H::Listener, ProbeError> {
        let listener = host.tcp_listen(self.local, TcpOptions { reuse_port: true, ..TcpOptions::default() }).await;
        listener.map_err(ProbeError::io("listen on the punched port"))
    }
}

/// From this local endpoint, which others use, too.
pub(super) fn shared(local: SocketAddr) -> TcpOptions {
    TcpOptions { local: Some(local), reuse_port: true, ..TcpOptions::default() }
}
