//! Waiting with a deadline: no socket of a [`Host`] has one of its own.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use futures::{FutureExt, select_biased};
use natbox_host::{Host, Received, UdpSocket};
use natbox_wire::Time;

/// How long a server rests after an error of its socket, so that an error that stays cannot make it spin.
const REST: Duration = Duration::from_millis(10);

/// What comes of `future`, or `None` when `deadline` passes first. What is ready at the deadline itself is still taken.
pub async fn until<T>(host: &impl Host, deadline: Time, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future.fuse());
    let mut end = pin!(host.sleep_until(deadline).fuse());
    select_biased! {
        done = future => Some(done),
        () = end => None,
    }
}

/// The next datagram, or `None` when `deadline` passes first. What arrives at the deadline itself is still taken.
///
/// # Errors
/// What the socket says; an ICMP error about an earlier datagram too, where it was connected.
pub async fn receive<H: Host>(
    host: &H,
    socket: &H::Udp,
    buffer: &mut [u8],
    deadline: Time,
) -> io::Result<Option<Received>> {
    until(host, deadline, socket.recv_from(buffer)).await.transpose()
}

/// The next datagram of a server's socket. Errors are passed over: they concern one client, not the server.
pub(crate) async fn serve_next<H: Host>(host: &H, socket: &H::Udp, buffer: &mut [u8]) -> Received {
    loop {
        match socket.recv_from(buffer).await {
            Ok(received) => return received,
            Err(_) => host.sleep(REST).await,
        }
    }
}
