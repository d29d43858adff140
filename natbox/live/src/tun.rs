//! TUN devices: packets from and to a kernel, with the work that it leaves to cards left undone.
//!
//! A device is opened in the network namespace of the calling thread, and works from every thread afterwards. Each packet
//! has a header (`struct virtio_net_hdr` of linux/virtio_net.h, ten bytes) that says what its sender left to be done:
//! so a segment of 64 KiB crosses as one packet. One queue; the mask of offloads is tried with UDP segmentation
//! (Linux 6.2) and without.

use std::io;
use std::num::NonZeroU16;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use natbox_wire::{Offload, Packet};

/// What stands before each packet.
pub(crate) const HEADER_BYTES: usize = 10;

const NEEDS_CSUM: u8 = 1;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

/// IP protocol number.
const UDP: u8 = 17;

const TUNSETIFF: libc::c_ulong = 0x4004_54CA;
const TUNSETOFFLOAD: libc::c_ulong = 0x4004_54D0;
const IFF_TUN: libc::c_short = 0x0001;
const IFF_NO_PI: libc::c_short = 0x1000;
const IFF_VNET_HDR: libc::c_short = 0x4000;
/// Checksums, TCP segments of both versions, and those with ECN.
const TUN_F_TCP: libc::c_ulong = 0x0F;
/// UDP datagrams of both versions: one without the other is refused.
const TUN_F_USO: libc::c_ulong = 0x60;

/// A TUN device.
pub struct Tun {
    fd: OwnedFd,
    /// Whether the kernel knows segmentation of UDP.
    datagrams: bool,
}

impl Tun {
    /// Makes a device of this name (at most 15 bytes) in the calling thread's network namespace.
    ///
    /// # Errors
    /// What the system says: no `/dev/net/tun`, no right to make one, a name that is taken or too long.
    pub fn open(name: &str) -> io::Result<Tun> {
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NONBLOCK;
        let fd = rustix::fs::open("/dev/net/tun", flags, rustix::fs::Mode::empty())?;
        set_interface(&fd, name)?;
        let datagrams = set_offload(&fd, TUN_F_TCP | TUN_F_USO).is_ok();
        if !datagrams {
            set_offload(&fd, TUN_F_TCP)?;
        }
        Ok(Tun { fd, datagrams })
    }

    /// Reads the next packet that the kernel sent into `memory`, as far as it has room; `None` if there is none now.
    ///
    /// # Errors
    /// The device is gone.
    pub fn read(&self, memory: &mut Vec<u8>) -> io::Result<Option<Offload>> {
        let mut header = [0; HEADER_BYTES];
        let read = read_two(&self.fd, &mut header, memory)?;
        Ok(read.then(|| offload(&header)))
    }

    /// Reads like [`Tun::read`], the header in front of the packet: cheaper, and for a packet that is copied anyway.
    ///
    /// # Errors
    /// The device is gone.
    pub(crate) fn read_whole(&self, memory: &mut Vec<u8>) -> io::Result<Option<Offload>> {
        memory.clear();
        loop {
            match rustix::io::read(&self.fd, rustix::buffer::spare_capacity(memory)) {
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(None),
                Err(error) => return Err(error.into()),
                Ok(_) => break,
            }
        }
        Ok(Some(memory.first_chunk().map_or(Offload::NONE, offload)))
    }

    /// Whether the kernel takes datagrams in one packet and makes many of it.
    pub fn takes_datagrams_apart(&self) -> bool {
        self.datagrams
    }

    /// Hands a packet to the kernel.
    ///
    /// # Errors
    /// It did not take it: the interface is down or gone, or there is no memory.
    pub fn write(&self, packet: &Packet) -> io::Result<()> {
        let header = header(packet);
        let parts = [io::IoSlice::new(&header), io::IoSlice::new(packet.bytes())];
        again(|| rustix::io::writev(&self.fd, &parts))
    }

    /// The same by way of `memory`, where it is put together: cheaper for a small packet.
    ///
    /// # Errors
    /// It did not take it: the interface is down or gone, or there is no memory.
    pub(crate) fn write_whole(&self, packet: &Packet, memory: &mut Vec<u8>) -> io::Result<()> {
        memory.clear();
        memory.extend_from_slice(&header(packet));
        memory.extend_from_slice(packet.bytes());
        again(|| rustix::io::write(&self.fd, memory))
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Writes until nothing interrupts it.
fn again(mut write: impl FnMut() -> rustix::io::Result<usize>) -> io::Result<()> {
    loop {
        match write() {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(()),
        }
    }
}

/// What the kernel left to be done.
fn offload(header: &[u8; HEADER_BYTES]) -> Offload {
    let segmented = matches!(header[1] & !GSO_ECN, GSO_TCPV4 | GSO_TCPV6 | GSO_UDP_L4);
    let segment = u16::from_ne_bytes([header[4], header[5]]);
    Offload {
        segment_bytes: NonZeroU16::new(segment).filter(|_| segmented),
        partial_checksum: header[0] & NEEDS_CSUM != 0,
    }
}

/// What is left to the kernel.
fn header(packet: &Packet) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let offload = packet.offload();
    let Some((start, at)) = packet.checksum_place().filter(|_| offload != Offload::NONE) else { return header };
    if offload.partial_checksum {
        header[0] = NEEDS_CSUM;
        header[6..8].copy_from_slice(&start.to_ne_bytes());
        header[8..10].copy_from_slice(&at.to_ne_bytes());
    }
    let length = packet.header_bytes();
    if let Some(segment) = offload.segment_bytes
        && packet.bytes().len() > length + usize::from(segment.get())
    {
        header[1] = match (packet.protocol_number(), packet.is_ipv6()) {
            (UDP, _) => GSO_UDP_L4,
            (_, false) => GSO_TCPV4,
            (_, true) => GSO_TCPV6,
        };
        header[2..4].copy_from_slice(&(length as u16).to_ne_bytes());
        header[4..6].copy_from_slice(&segment.get().to_ne_bytes());
    }
    header
}

#[allow(unsafe_code, reason = "an ioctl of the TUN driver, which no safe interface offers")]
fn set_interface(fd: &OwnedFd, name: &str) -> io::Result<()> {
    let too_long = || io::Error::new(io::ErrorKind::InvalidInput, format!("expected 1 to 15 bytes, got {name:?}"));
    if name.is_empty() || name.len() >= libc::IFNAMSIZ {
        return Err(too_long());
    }
    // SAFETY: all zeros is a valid `ifreq`, which the kernel reads and writes during the call alone.
    let result = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
        libc::ioctl(fd.as_raw_fd(), TUNSETIFF as _, &mut request)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[allow(unsafe_code, reason = "an ioctl of the TUN driver, which no safe interface offers")]
fn set_offload(fd: &OwnedFd, mask: libc::c_ulong) -> io::Result<()> {
    // SAFETY: the argument is a number.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), TUNSETOFFLOAD as _, mask) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Reads a header and, into the spare memory of an emptied `body`, what follows it; false if there is nothing.
#[allow(unsafe_code, reason = "reading into memory that has not been written yet, in two parts")]
fn read_two(fd: &OwnedFd, header: &mut [u8; HEADER_BYTES], body: &mut Vec<u8>) -> io::Result<bool> {
    body.clear();
    let spare = body.spare_capacity_mut();
    let parts = [
        libc::iovec { iov_base: header.as_mut_ptr().cast(), iov_len: HEADER_BYTES },
        libc::iovec { iov_base: spare.as_mut_ptr().cast(), iov_len: spare.len() },
    ];
    loop {
        // SAFETY: both parts are memory of ours for as long as the call takes.
        let read = unsafe { libc::readv(fd.as_raw_fd(), parts.as_ptr(), 2) };
        if read >= 0 {
            let length = (read as usize).saturating_sub(HEADER_BYTES);
            // SAFETY: the kernel has written so many bytes behind the header.
            unsafe { body.set_len(length) };
            return Ok(true);
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => {}
            error if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            error => return Err(error),
        }
    }
}
