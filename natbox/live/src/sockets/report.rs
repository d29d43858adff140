//! ICMP errors that the system keeps for a socket (`IP_RECVERR`).

use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use natbox_host::IcmpReport;
use natbox_wire::{IcmpError, Time};
use nix::libc::{SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6, sock_extended_err};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
use tokio::net::UdpSocket;

use super::udp::endpoint;

/// Room for the error and for who reported it, in bytes.
const BESIDE_BYTES: usize = 512;
/// How much is read of what the error is about, in bytes.
const QUOTE_BYTES: usize = 128;

/// The oldest ICMP error that the socket has not told yet, and the beginning of what was sent. What the machine itself
/// could not send is no ICMP error: it was told when it was sent.
pub(super) fn take(socket: &UdpSocket, ipv6: bool, now: Time) -> Option<(IcmpReport, Vec<u8>)> {
    loop {
        let mut quote = [0; QUOTE_BYTES];
        let mut control = vec![0; BESIDE_BYTES];
        let mut parts = [IoSliceMut::new(&mut quote)];
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags).ok()?;
        let destination = message.address.as_ref().and_then(endpoint);
        let told = message.cmsgs().ok()?.find_map(extended);
        let length = message.bytes;
        let Some(((error, reporter), destination)) = told.zip(destination) else { continue };
        let Some(error) = icmp_error(&error, ipv6) else { continue };
        let reporter = reporter.unwrap_or(destination.ip());
        let report = IcmpReport { error, reporter, destination, at: now };
        return Some((report, quote.get(..length).unwrap_or_default().to_vec()));
    }
}

/// The error, and the address of whoever reported it.
fn extended(told: ControlMessageOwned) -> Option<(sock_extended_err, Option<IpAddr>)> {
    match told {
        ControlMessageOwned::Ipv4RecvErr(error, offender) => {
            let reporter = offender.map(|offender| Ipv4Addr::from(offender.sin_addr.s_addr.to_ne_bytes()));
            Some((error, reporter.map(IpAddr::from)))
        }
        ControlMessageOwned::Ipv6RecvErr(error, offender) => {
            let reporter = offender.map(|offender| Ipv6Addr::from(offender.sin6_addr.s6_addr));
            Some((error, reporter.map(IpAddr::from)))
        }
        _ => None,
    }
}

fn icmp_error(error: &sock_extended_err, ipv6: bool) -> Option<IcmpError> {
    let origin = if ipv6 { SO_EE_ORIGIN_ICMP6 } else { SO_EE_ORIGIN_ICMP };
    let came = error.ee_origin == origin;
    came.then(|| IcmpError::from_type_and_code(ipv6, error.ee_type, error.ee_code, error.ee_info)).flatten()
}
