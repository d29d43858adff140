//! The control socket: messages and file descriptors between processes of one user, under a name that is in no file system.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_peercred};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

use crate::namespace::Doors;

/// Largest message.
const MESSAGE_BYTES: usize = 64 << 10;
/// File descriptors that a message can carry.
const DOORS: usize = 5;
/// Who has connected and says nothing for so long is not listened to.
const PATIENCE: Duration = Duration::from_secs(2);

/// A name that others connect to.
pub struct Listener(OwnedFd);

/// A connection.
pub struct Peer(OwnedFd);

fn socket() -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

fn is_own(socket: &OwnedFd) -> io::Result<bool> {
    Ok(socket_peercred(socket)?.uid == rustix::process::geteuid())
}

impl Listener {
    /// Takes a name.
    ///
    /// # Errors
    /// [`io::ErrorKind::AddrInUse`] if it is taken.
    pub fn bind(name: &str) -> io::Result<Listener> {
        let socket = socket()?;
        rustix::net::bind(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes())?)?;
        rustix::net::listen(&socket, 16)?;
        Ok(Listener(socket))
    }

    /// The next connection of a process of this user. Others find it closed.
    ///
    /// # Errors
    /// The system has no more file descriptors.
    pub fn accept(&self) -> io::Result<Peer> {
        loop {
            let socket = rustix::net::accept_with(&self.0, SocketFlags::CLOEXEC)?;
            if is_own(&socket).unwrap_or(false) {
                set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
                return Ok(Peer(socket));
            }
        }
    }
}

impl Peer {
    /// Connects to a name that a process of this user has taken.
    ///
    /// # Errors
    /// [`io::ErrorKind::ConnectionRefused`] if nobody has, [`io::ErrorKind::PermissionDenied`] if it is another user's.
    pub fn connect(name: &str) -> io::Result<Peer> {
        let socket = socket()?;
        rustix::net::connect(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes())?)?;
        if is_own(&socket)? { Ok(Peer(socket)) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }

    /// Sends a message, and the ways into a host with it.
    ///
    /// # Errors
    /// The other is gone, or the message is too long.
    pub fn send(&self, message: &[u8], doors: Option<&Doors>) -> io::Result<()> {
        if message.len() > MESSAGE_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the message is too long"));
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DOORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let fds = doors.map(|doors| {
            [&doors.user, &doors.processes, &doors.network, &doors.mounts, &doors.host_name].map(AsFd::as_fd)
        });
        if let Some(fds) = &fds {
            ancillary.push(SendAncillaryMessage::ScmRights(fds));
        }
        rustix::net::sendmsg(&self.0, &[IoSlice::new(message)], &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// The next message; an empty one if there is none any more.
    ///
    /// # Errors
    /// The other says nothing for too long.
    pub fn receive(&self) -> io::Result<(Vec<u8>, Option<Doors>)> {
        let mut message = vec![0; MESSAGE_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DOORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let parts = &mut [IoSliceMut::new(&mut message)];
        let received = rustix::net::recvmsg(&self.0, parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        let fds = ancillary.drain().filter_map(|part| match part {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds.collect::<Vec<_>>()),
            _ => None,
        });
        let fds: Vec<OwnedFd> = fds.flatten().collect();
        message.truncate(received.bytes);
        let doors = <[OwnedFd; DOORS]>::try_from(fds).ok();
        let doors = doors.map(|[user, processes, network, mounts, host_name]| Doors {
            user,
            processes,
            network,
            mounts,
            host_name,
        });
        Ok((message, doors))
    }
}
