//! What a gateway tells of its own accord when it has lost its memory or its addresses (RFC 6886 section 3.2.1, RFC 6887
//! section 14): everybody ten times, first after a quarter of a second, then ever later; PCP's clients each their
//! mappings, three times.
//!
//! The lab begins with boxes that have been up: nothing is announced at the beginning.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures::future::{Either, select};
use natbox_host::{Host, PortControl, UdpSocket};

use super::Desk;
use crate::portmap::natpmp::codec::Answer;
use crate::portmap::{ANNOUNCE_PORT, Control};

/// How often a change is announced.
const TIMES: u32 = 10;
/// How often PCP's clients are told of their mappings.
const UPDATES: u32 = 3;
/// The first pause.
const PAUSE: Duration = Duration::from_millis(250);

/// Everybody on the local network.
pub(crate) fn everybody(ipv6: bool) -> SocketAddr {
    let group = match ipv6 {
        false => IpAddr::V4(Ipv4Addr::new(224, 0, 0, 1)),
        true => IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1)),
    };
    SocketAddr::new(group, ANNOUNCE_PORT)
}

/// Waits for changes and tells of them, for ever.
pub(super) async fn tell_of_changes<H: Host, C: PortControl>(host: H, desk: Rc<RefCell<Desk<C>>>, socket: Rc<H::Udp>) {
    let control = desk.borrow().control.clone();
    control.changed().await;
    loop {
        let next = pin!(control.changed());
        let told = pin!(tell(&host, &desk, &socket));
        match select(next, told).await {
            Either::Left(_) => {}
            Either::Right(((), next)) => next.await,
        }
    }
}

async fn tell<H: Host, C: PortControl>(host: &H, desk: &Rc<RefCell<Desk<C>>>, socket: &Rc<H::Udp>) {
    let ipv6 = socket.local_addr().is_ipv6();
    let config = desk.borrow().config.clone();
    let mut pause = PAUSE;
    for turn in 0..TIMES {
        let now = host.now();
        if turn < UPDATES {
            let updates = desk.borrow_mut().pcp_updates(now);
            for (client, update) in updates.into_iter().filter(|(client, _)| client.is_ipv6() == ipv6) {
                let _ = socket.send_to(&update, client).await;
            }
        }
        if config.speaks(Control::NatPmp) && !ipv6 {
            let (code, body) = desk.borrow().natpmp_address();
            let epoch_seconds = desk.borrow().epoch_seconds(now);
            let announcement = Answer { code, epoch_seconds, body }.encode();
            let _ = socket.send_to(&announcement, everybody(ipv6)).await;
        }
        if config.speaks(Control::Pcp) {
            let announcement = desk.borrow().pcp_announcement(now);
            let _ = socket.send_to(&announcement, everybody(ipv6)).await;
        }
        host.sleep(pause).await;
        pause *= 2;
    }
}
