//! What client and servers say: a line of words, the same over UDP and over TCP.

use std::net::SocketAddr;

use natbox_wire::Word;

use super::Fate;

/// No message is longer.
pub(super) const LONGEST_BYTES: usize = 128;

/// A message. Everything that belongs to one check bears its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// A client to servers 1 and 2, and both ends of a connection with server 3.
    Hello(u64),
    /// Servers 1 and 2 to the client: where it comes from, and over TCP what server 3's SYN came to.
    Seen(u64, SocketAddr, Option<Fate>),
    /// Server 2 to server 3: send a datagram there.
    Udp(u64, SocketAddr),
    /// Server 3 to a client that never sent to it.
    Unsolicited(u64),
    /// The client to itself.
    Hairpin(u64),
    /// Server 2 to server 3: connect there.
    Try(u64, SocketAddr),
    /// Server 3 to server 2: what that came to so far.
    Go(u64, Fate),
}

impl Message {
    pub(super) fn encode(self) -> Vec<u8> {
        let text = match self {
            Message::Hello(id) => format!("hello {id:x}"),
            Message::Seen(id, endpoint, None) => format!("seen {id:x} {endpoint}"),
            Message::Seen(id, endpoint, Some(fate)) => format!("seen {id:x} {endpoint} {fate}"),
            Message::Udp(id, endpoint) => format!("udp {id:x} {endpoint}"),
            Message::Unsolicited(id) => format!("unsolicited {id:x}"),
            Message::Hairpin(id) => format!("hairpin {id:x}"),
            Message::Try(id, endpoint) => format!("try {id:x} {endpoint}"),
            Message::Go(id, fate) => format!("go {id:x} {fate}"),
        };
        text.into_bytes()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Message> {
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= LONGEST_BYTES)?;
        let words: Vec<&str> = text.split(' ').collect();
        let (verb, rest) = words.split_first()?;
        let (id, rest) = rest.split_first()?;
        let id = u64::from_str_radix(id, 16).ok()?;
        let endpoint = |word: &str| word.parse::<SocketAddr>().ok();
        match (*verb, rest) {
            ("hello", []) => Some(Message::Hello(id)),
            ("seen", [at]) => Some(Message::Seen(id, endpoint(at)?, None)),
            ("seen", [at, fate]) => Some(Message::Seen(id, endpoint(at)?, Some(Fate::from_word(fate)?))),
            ("udp", [at]) => Some(Message::Udp(id, endpoint(at)?)),
            ("unsolicited", []) => Some(Message::Unsolicited(id)),
            ("hairpin", []) => Some(Message::Hairpin(id)),
            ("try", [at]) => Some(Message::Try(id, endpoint(at)?)),
            ("go", [fate]) => Some(Message::Go(id, Fate::from_word(fate)?)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_message_reads_back() {
        let at: SocketAddr = ([198, 18, 0, 2], 40_000).into();
        let fates = Fate::ALL.iter().flat_map(|fate| [Message::Seen(7, at, Some(*fate)), Message::Go(u64::MAX, *fate)]);
        let others = [
            Message::Hello(0),
            Message::Seen(1, at, None),
            Message::Udp(2, at),
            Message::Unsolicited(3),
            Message::Hairpin(4),
            Message::Try(5, "[2001:db8::1]:9".parse().unwrap()),
        ];
        for message in others.into_iter().chain(fates) {
            assert_eq!(Message::decode(&message.encode()), Some(message));
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_would_be_written(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(message) = Message::decode(&bytes) {
                prop_assert_eq!(Message::decode(&message.encode()), Some(message));
            }
        }
    }
}
