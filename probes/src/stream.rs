//! TCP streams with deadlines, and messages on them: each with its length in two bytes in front.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};

use futures::{FutureExt, select_biased};
use natbox_host::Host;
use natbox_wire::Time;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is read at once, in bytes.
const CHUNK_BYTES: usize = 2048;

/// What `future` gives, or `TimedOut` at `deadline`.
pub(crate) async fn before<H: Host, T>(
    host: &H,
    deadline: Time,
    future: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let mut future = pin!(future.fuse());
    let mut end = pin!(host.sleep_until(deadline).fuse());
    select_biased! {
        output = future => output,
        () = end => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Reads what is there; nothing at the end of the stream. May be dropped and called again without a loss.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> io::Result<usize> {
    let mut buffer = ReadBuf::new(buffer);
    poll_fn(|context| Pin::new(&mut *stream).poll_read(context, &mut buffer)).await?;
    Ok(buffer.filled().len())
}

pub(crate) async fn write_all(stream: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match poll_fn(|context| Pin::new(&mut *stream).poll_write(context, bytes)).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => bytes = &bytes[written..],
        }
    }
    poll_fn(|context| Pin::new(&mut *stream).poll_flush(context)).await
}

pub(crate) async fn shut_down(stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    poll_fn(|context| Pin::new(&mut *stream).poll_shutdown(context)).await
}

/// A stream of messages, each with its length in two bytes in front, big-endian.
pub(crate) struct Framed<S> {
    stream: S,
    /// What has been read and is no whole message yet, or more than one.
    read: Vec<u8>,
    longest_bytes: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Framed<S> {
    /// Messages of at most so many bytes.
    pub(crate) fn new(stream: S, longest_bytes: usize) -> Framed<S> {
        Framed { stream, read: Vec::new(), longest_bytes }
    }

    /// Sends one message.
    pub(crate) async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let Ok(length) = u16::try_from(message.len()) else { return Err(io::ErrorKind::InvalidInput.into()) };
        let mut frame = Vec::with_capacity(2 + message.len());
        frame.extend(length.to_be_bytes());
        frame.extend(message);
        write_all(&mut self.stream, &frame).await
    }

    /// The next message. `UnexpectedEof` at the end of the stream, `InvalidData` if one is announced that is too long.
    /// May be dropped and called again without a loss.
    pub(crate) async fn recv(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(message) = self.whole()? {
                return Ok(message);
            }
            let mut chunk = [0; CHUNK_BYTES];
            match read(&mut self.stream, &mut chunk).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => self.read.extend_from_slice(&chunk[..length]),
            }
        }
    }

    /// Takes a whole message off what has been read.
    fn whole(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some((length, rest)) = self.read.split_first_chunk::<2>() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes(*length));
        if length > self.longest_bytes {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let Some(message) = rest.get(..length).map(<[u8]>::to_vec) else { return Ok(None) };
        self.read.drain(..2 + length);
        Ok(Some(message))
    }
}
