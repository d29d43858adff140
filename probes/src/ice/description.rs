//! What one side tells the other before the checks: credentials and candidates, in the lines of SDP (RFC 8839).
//!
//! ```text
//! generation 0
//! seen 198.51.100.7:4021          where the directory saw this side
//! ufrag ...
//! pwd ...
//! candidate:1 1 udp 2130706175 10.0.0.2 1024 typ host
//! ```

use std::fmt;
use std::net::SocketAddr;

use is::{Candidate, IceCreds, Protocol};

use crate::path::Transport;

/// The most candidates that are told, or taken.
pub(super) const MOST_CANDIDATES: usize = 8;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Description {
    /// 0, and one more with every restart.
    pub(super) generation: u32,
    pub(super) seen: SocketAddr,
    pub(super) credentials: IceCreds,
    pub(super) candidates: Vec<Candidate>,
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let IceCreds { ufrag, pass } = &self.credentials;
        writeln!(f, "generation {}\nseen {}\nufrag {ufrag}\npwd {pass}", self.generation, self.seen)?;
        self.candidates.iter().take(MOST_CANDIDATES).try_for_each(|candidate| {
            let mut candidate = candidate.clone();
            candidate.set_ufrag("");
            // Told once for all candidates.
            writeln!(f, "{}", candidate.to_sdp_string().trim_end_matches(" ufrag "))
        })
    }
}

impl Description {
    /// Reads a message; `None` if something in it is missing. Candidates that make no sense are passed over.
    pub(super) fn parse(message: &[u8], transport: Transport) -> Option<Description> {
        let wanted = match transport {
            Transport::Udp => Protocol::Udp,
            Transport::Tcp => Protocol::Tcp,
        };
        let text = std::str::from_utf8(message).ok()?;
        let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        let credentials = IceCreds { ufrag: line("ufrag")?.to_owned(), pass: line("pwd")?.to_owned() };
        // RFC 8839 section 5.4: the least lengths.
        if credentials.ufrag.len() < 4 || credentials.pass.len() < 22 {
            return None;
        }
        let candidates = text.lines().filter(|line| line.starts_with("candidate:"));
        let candidates = candidates.filter_map(|line| Candidate::from_sdp_string(line).ok());
        Some(Description {
            generation: line("generation")?.parse().ok()?,
            seen: line("seen")?.parse().ok()?,
            credentials,
            candidates: candidates.filter(|candidate| candidate.proto() == wanted).take(MOST_CANDIDATES).collect(),
        })
    }
}

/// Which side of a TCP connection a candidate is (RFC 6544 section 4.5); nothing over UDP.
pub(super) fn direction(candidate: &Candidate) -> &'static str {
    match candidate.tcptype().map(|kind| kind.to_string()).as_deref() {
        Some("active") => "active",
        Some("passive") => "passive",
        Some("so") => "so",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> Description {
        let base = "10.0.0.2:1024".parse().unwrap();
        let relayed = "198.51.100.9:50000".parse().unwrap();
        Description {
            generation: 3,
            seen: "198.51.100.7:4021".parse().unwrap(),
            credentials: IceCreds { ufrag: "abcd".into(), pass: "0123456789012345678901".into() },
            candidates: vec![
                Candidate::host(base, "udp").unwrap(),
                Candidate::server_reflexive("198.51.100.7:4022".parse().unwrap(), base, "udp").unwrap(),
                Candidate::relayed(relayed, base, "udp").unwrap(),
            ],
        }
    }

    #[test]
    fn a_description_is_read_as_it_was_written() {
        let (written, told) = (description(), description().to_string());
        let read = Description::parse(told.as_bytes(), Transport::Udp).expect("a description");
        let of = |candidates: &[Candidate]| -> Vec<_> {
            candidates.iter().map(|candidate| (candidate.addr(), candidate.kind(), candidate.prio())).collect()
        };
        assert_eq!(of(&read.candidates), of(&written.candidates));
        assert_eq!(
            (read.generation, read.seen, read.credentials),
            (written.generation, written.seen, written.credentials)
        );
        assert!(told.len() <= crate::signal::MOST_SIGNAL_BYTES);
    }

    #[test]
    fn the_longest_description_fits_into_a_signal() {
        let base = "[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65535".parse().unwrap();
        let relayed = Candidate::relayed(base, base, "udp").unwrap();
        let told = Description {
            generation: u32::MAX,
            seen: base,
            credentials: IceCreds { ufrag: "x".repeat(16), pass: "x".repeat(22) },
            candidates: vec![relayed; 2 * MOST_CANDIDATES],
        };
        assert!(told.to_string().len() <= crate::signal::MOST_SIGNAL_BYTES, "{}", told.to_string().len());
    }

    #[test]
    fn what_makes_no_sense_is_no_description() {
        let told = description().to_string();
        for cut in ["generation 3", "seen 198.51.100.7:4021", "ufrag abcd", "pwd 0123456789012345678901"] {
            assert_eq!(Description::parse(told.replace(cut, "").as_bytes(), Transport::Udp), None, "{cut}");
        }
        assert_eq!(Description::parse(&[0xFF, 0xFE], Transport::Udp), None);
        let broken = told.replace("typ host", "typ nonsense");
        assert_eq!(Description::parse(broken.as_bytes(), Transport::Udp).unwrap().candidates.len(), 2);
    }
}
