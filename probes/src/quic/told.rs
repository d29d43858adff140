//! What the two sides of a QUIC session tell each other through the directory, before there is a connection and when its
//! path has died.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::str::FromStr;

use super::Certificate;

/// How many endpoints of the peer are remembered.
const MOST_ENDPOINTS: usize = 16;

/// Where a side can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Endpoints {
    pub(super) host: Vec<SocketAddr>,
    pub(super) reflexive: Option<SocketAddr>,
}

impl Endpoints {
    pub(super) fn all(&self) -> Vec<SocketAddr> {
        let all: BTreeSet<SocketAddr> = self.host.iter().copied().chain(self.reflexive).collect();
        all.into_iter().take(MOST_ENDPOINTS).collect()
    }
}

/// What the sides tell each other through the directory: a line of what it is, a line for every endpoint, an empty
/// line, and the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Offer(Endpoints),
    Answer(Endpoints, Certificate),
    Moved(Endpoints),
}

impl Told {
    pub(super) fn encode(&self) -> Vec<u8> {
        let (word, endpoints, certificate) = match self {
            Told::Offer(endpoints) => ("offer", endpoints, &[][..]),
            Told::Answer(endpoints, certificate) => ("answer", endpoints, &certificate.0[..]),
            Told::Moved(endpoints) => ("moved", endpoints, &[][..]),
        };
        let mut out = format!("{word}\n");
        for endpoint in endpoints.host.iter().take(MOST_ENDPOINTS) {
            out += &format!("host {endpoint}\n");
        }
        if let Some(endpoint) = endpoints.reflexive {
            out += &format!("reflexive {endpoint}\n");
        }
        out.push('\n');
        [out.as_bytes(), certificate].concat()
    }

    pub(super) fn decode(message: &[u8]) -> Option<Told> {
        let head = message.windows(2).position(|pair| pair == b"\n\n")?;
        let (text, certificate) = (std::str::from_utf8(&message[..head]).ok()?, &message[head + 2..]);
        let mut lines = text.lines();
        let word = lines.next()?;
        let mut endpoints = Endpoints::default();
        for line in lines.take(MOST_ENDPOINTS + 1) {
            let (kind, endpoint) = line.split_once(' ')?;
            let endpoint = SocketAddr::from_str(endpoint).ok()?;
            match kind {
                "host" => endpoints.host.push(endpoint),
                "reflexive" => endpoints.reflexive = Some(endpoint),
                _ => return None,
            }
        }
        match word {
            "offer" => Some(Told::Offer(endpoints)),
            "answer" => Some(Told::Answer(endpoints, Certificate(certificate.to_vec()))),
            "moved" => Some(Told::Moved(endpoints)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_sides_tell_each_other_is_read_as_it_was_written() {
        let endpoint = |text: &str| SocketAddr::from_str(text).expect("an endpoint");
        let endpoints = Endpoints {
            host: vec![endpoint("10.0.0.2:4000"), endpoint("[2001:db8::2]:4000")],
            reflexive: Some(endpoint("198.18.0.2:4000")),
        };
        let certificate = Certificate(b"\n\nnot a certificate\xff".to_vec());
        for told in
            [Told::Offer(endpoints.clone()), Told::Answer(endpoints.clone(), certificate), Told::Moved(endpoints)]
        {
            assert_eq!(Told::decode(&told.encode()), Some(told));
        }
        for wrong in [&b""[..], b"offer", b"offer\nhost nowhere\n\n", b"offer\nfriend 1.2.3.4:5\n\n", b"\xff\n\n"] {
            assert_eq!(Told::decode(wrong), None, "{wrong:?}");
        }
    }
}
