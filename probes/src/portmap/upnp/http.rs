//! As much HTTP/1.1 as UPnP needs (UPnP Device Architecture 1.1 sections 2.11 and 3.2): one request and its answer a
//! connection, bodies with a Content-Length, in both directions. Heads are read by `httparse`.
//!
//! Left out: chunked bodies, connections that stay open, compression, HTTPS.

use std::io;

use natbox_host::TcpStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A message is no longer than this.
const MOST_BYTES: usize = 64 << 10;
/// Header fields that a message may have.
const FIELDS: usize = 48;

/// A request or an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Method and path of a request; empty in an answer.
    pub method: String,
    /// The path that is asked for.
    pub path: String,
    /// The status code of an answer; 0 in a request.
    pub status: u16,
    /// Header fields, names in small letters.
    pub fields: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Message {
    /// The first field of this name, in small letters.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Reads the head of a request or an answer, such as SSDP's datagrams are; `None` if it is none or is cut off.
    pub fn head(bytes: &[u8]) -> Option<Message> {
        parse(bytes).ok().flatten().map(|(message, _)| message)
    }
}

/// A head and its length; `None` while it is not whole.
fn parse(bytes: &[u8]) -> Result<Option<(Message, usize)>, httparse::Error> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    if bytes.starts_with(b"HTTP/") {
        let mut answer = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(length) = answer.parse(bytes)? else { return Ok(None) };
        let (status, fields) = (answer.code.unwrap_or(0), owned(answer.headers));
        return Ok(Some((Message { status, fields, ..Message::default() }, length)));
    }
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(length) = request.parse(bytes)? else { return Ok(None) };
    let (method, path) = (request.method.unwrap_or("").to_owned(), request.path.unwrap_or("").to_owned());
    let fields = owned(request.headers);
    Ok(Some((Message { method, path, fields, ..Message::default() }, length)))
}

fn owned(fields: &[httparse::Header<'_>]) -> Vec<(String, String)> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).trim().to_owned();
    fields.iter().map(|field| (field.name.to_ascii_lowercase(), text(field.value))).collect()
}

/// Reads one message.
///
/// # Errors
/// `InvalidData` for what is no message or too long, `UnexpectedEof` for one that is cut off.
pub async fn read(stream: &mut impl TcpStream) -> io::Result<Message> {
    let mut bytes = Vec::new();
    let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    let (mut message, length) = loop {
        more(stream, &mut bytes).await?;
        if let Some(head) = parse(&bytes).map_err(|error| invalid(error.to_string()))? {
            break head;
        }
    };
    let body = message.field("content-length").map_or(Ok(0), str::parse::<usize>);
    let body = body.map_err(|error| invalid(error.to_string()))?;
    if body > MOST_BYTES {
        return Err(invalid(format!("a body of {body} bytes")));
    }
    while bytes.len() < length + body {
        more(stream, &mut bytes).await?;
    }
    message.body = bytes[length..length + body].to_vec();
    Ok(message)
}

async fn more(stream: &mut impl TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    if bytes.len() > 2 * MOST_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message without an end"));
    }
    let mut buffer = [0; 2048];
    match stream.read(&mut buffer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        length => {
            bytes.extend_from_slice(&buffer[..length]);
            Ok(())
        }
    }
}

/// Writes a message whose first line is this, and says that none will follow.
///
/// # Errors
/// The connection's.
pub async fn write(
    stream: &mut impl TcpStream,
    first_line: &str,
    fields: &[(&str, String)],
    body: &[u8],
) -> io::Result<()> {
    let mut bytes = head(first_line, fields);
    bytes.truncate(bytes.len() - 2);
    bytes.extend(format!("Connection: close\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes());
    bytes.extend_from_slice(body);
    stream.write_all(&bytes).await?;
    stream.shutdown().await
}

/// The bytes of a head.
pub fn head(first_line: &str, fields: &[(&str, String)]) -> Vec<u8> {
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{first_line}\r\n{fields}\r\n").into_bytes()
}
