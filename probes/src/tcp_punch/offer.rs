//! What one end tells the other of its endpoints: one line of text, where a server saw it first.
//!
//! `tcp 198.18.0.2:49152 10.0.0.2:49152`

use std::net::SocketAddr;

/// The most endpoints of a machine's own.
const MOST_LOCAL: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    /// Where a server saw it.
    pub(super) mapped: SocketAddr,
    /// Its own endpoints.
    pub(super) local: Vec<SocketAddr>,
}

impl Offer {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let endpoints = std::iter::once(&self.mapped).chain(self.local.iter().take(MOST_LOCAL));
        let words: Vec<String> = endpoints.map(SocketAddr::to_string).collect();
        format!("tcp {}", words.join(" ")).into_bytes()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Offer> {
        let mut words = std::str::from_utf8(bytes).ok()?.strip_prefix("tcp ")?.split(' ').map(str::parse);
        let mapped = words.next()?.ok()?;
        let local: Vec<SocketAddr> = words.collect::<Result<_, _>>().ok()?;
        (local.len() <= MOST_LOCAL).then_some(Offer { mapped, local })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(mapped: SocketAddr, local in prop::collection::vec(any::<SocketAddr>(), 0..=16)) {
            let plain = |endpoint: SocketAddr| SocketAddr::new(endpoint.ip(), endpoint.port());
            let offer = Offer { mapped: plain(mapped), local: local.into_iter().map(plain).collect() };
            prop_assert_eq!(Offer::from_bytes(&offer.to_bytes()), Some(offer));
        }

        #[test]
        fn nothing_that_comes_panics(bytes: Vec<u8>) {
            let _ = Offer::from_bytes(&bytes);
        }
    }

    #[test]
    fn what_is_no_offer_is_refused() {
        for text in ["", "tcp", "tcp ", "udp 1.2.3.4:5", "tcp 1.2.3.4", "tcp 1.2.3.4:5 x", "tcp 1.2.3.4:5  6.7.8.9:1"] {
            assert_eq!(Offer::from_bytes(text.as_bytes()), None, "{text}");
        }
        let many = format!("tcp{}", " 1.2.3.4:5".repeat(18));
        assert_eq!(Offer::from_bytes(many.as_bytes()), None);
    }
}
