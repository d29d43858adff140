//! TURN over a stream: TCP, or TLS on it (RFC 8656 sections 3.1 and 12.5). Messages follow each other without a frame:
//! their own headers tell their length, and ChannelData is padded to four bytes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use natbox_host::{Host, TcpOptions};
use natbox_wire::{Time, words};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::message::{CHANNEL_HEADER_BYTES, Kind, STUN_HEADER_BYTES, kind};
use crate::stream::{before, read, write_all};
use crate::tls::{self, Certificate, Identity};

/// The longest message that is read: a STUN message of 65,532 bytes and its header.
const LONGEST_BYTES: usize = 65_552;
/// How much is read at once, in bytes.
const CHUNK_BYTES: usize = 4096;

words! {
    /// What carries TURN between a client and its server.
    pub enum Carrier: "carrier" {
        Udp = "udp", "UDP";
        Tcp = "tcp", "TCP";
        Tls = "tls", "TLS over TCP";
    }
}

/// The bytes of a connection, over TCP or TLS.
pub(super) trait Bytes: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Bytes for T {}

/// Connects to `server` by TCP; then by TLS if its certificate is told. Answers the local endpoint, too.
pub(super) async fn connect<H: Host>(
    host: &H,
    server: SocketAddr,
    certificate: Option<&Certificate>,
    deadline: Time,
) -> io::Result<(Box<dyn Bytes>, SocketAddr)> {
    let stream = before(host, deadline, host.tcp_connect(server, TcpOptions::default())).await?;
    let local = natbox_host::TcpStream::local_addr(&stream);
    let Some(certificate) = certificate else { return Ok((Box::new(stream), local)) };
    let config = tls::client(certificate, None).map_err(unusable)?;
    let name = ServerName::try_from(tls::NAME).map_err(unusable)?;
    let shaken = TlsConnector::from(Arc::new(config)).connect(name, stream);
    Ok((Box::new(before(host, deadline, shaken).await?), local))
}

/// What a server needs to speak TLS.
pub(super) fn acceptor(identity: &Identity) -> io::Result<TlsAcceptor> {
    Ok(TlsAcceptor::from(Arc::new(tls::server(identity, None).map_err(unusable)?)))
}

fn unusable(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error.to_string())
}

/// Messages on a stream of bytes.
pub(super) struct Messages<S = Box<dyn Bytes>> {
    stream: S,
    /// What has been read and is no whole message yet, or more than one.
    read: Vec<u8>,
}

impl<S: Bytes> Messages<S> {
    pub(super) fn new(stream: S) -> Messages<S> {
        Messages { stream, read: Vec::new() }
    }

    /// The stream, and what has been read from it beyond the last message.
    pub(super) fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.read)
    }

    pub(super) async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let mut padded = message.to_vec();
        if kind(message) == Kind::Channel {
            padded.resize(message.len().next_multiple_of(4), 0);
        }
        write_all(&mut self.stream, &padded).await
    }

    /// The next message. `UnexpectedEof` at the end of the stream, `InvalidData` at what is no message. May be dropped
    /// and called again without a loss.
    pub(super) async fn recv(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(message) = take_message(&mut self.read)? {
                return Ok(message);
            }
            let mut chunk = [0; CHUNK_BYTES];
            match read(&mut self.stream, &mut chunk).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => self.read.extend_from_slice(&chunk[..length]),
            }
        }
    }
}

/// Takes a whole message off what has been read; padding stays with it.
fn take_message(read: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    let Some([_, _, high, low]) = read.first_chunk::<4>() else { return Ok(None) };
    let announced = usize::from(u16::from_be_bytes([*high, *low]));
    let length = match kind(read) {
        Kind::Stun => STUN_HEADER_BYTES + announced,
        Kind::Channel => (CHANNEL_HEADER_BYTES + announced).next_multiple_of(4),
        Kind::Other => return Err(io::ErrorKind::InvalidData.into()),
    };
    if length > LONGEST_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    if read.len() < length {
        return Ok(None);
    }
    let rest = read.split_off(length);
    Ok(Some(std::mem::replace(read, rest)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stun(length: u16) -> Vec<u8> {
        let mut message = vec![0, 1];
        message.extend(length.to_be_bytes());
        message.resize(STUN_HEADER_BYTES + usize::from(length), 7);
        message
    }

    fn channel(length: u16) -> Vec<u8> {
        let mut message = vec![0x40, 0];
        message.extend(length.to_be_bytes());
        message.resize((CHANNEL_HEADER_BYTES + usize::from(length)).next_multiple_of(4), 0);
        message
    }

    proptest! {
        #[test]
        fn rfc8656_12_5_messages_are_found_again_however_the_stream_is_cut(
            lengths in prop::collection::vec((any::<bool>(), 0_u16..60), 0..8), chunk in 1_usize..50,
        ) {
            let sent: Vec<_> =
                lengths.iter().map(|(is_stun, length)| if *is_stun { stun(length * 4) } else { channel(*length) }).collect();
            let (mut read, mut found) = (Vec::new(), Vec::new());
            for piece in sent.concat().chunks(chunk) {
                read.extend_from_slice(piece);
                while let Some(message) = take_message(&mut read).unwrap() {
                    found.push(message);
                }
            }
            prop_assert_eq!((found, read), (sent, Vec::new()));
        }
    }

    #[test]
    fn what_is_neither_stun_nor_channel_data_ends_the_stream() {
        assert!(take_message(&mut vec![0x16, 3, 1, 0]).is_err());
        assert!(matches!(take_message(&mut vec![0, 1, 0]), Ok(None)));
    }
}
