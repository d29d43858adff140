//! NAT Check: whether hole punching works through the NAT in front of a host, and whether that NAT hairpins (Ford,
//! Srisuresh and Kegel, "Peer-to-Peer Communication Across Network Address Translators", USENIX 2005, section 6.1).
//!
//! ```text
//! client              server 1   server 2   server 3
//!   | UDP hello --------> |          |          |     from one socket: both say where it comes from
//!   | UDP hello -----------------> | -- udp --> |
//!   | <------------------------------------ unsolicited      arrives where the filter lets everybody in
//!   | second socket -> own external endpoint                 arrives where the NAT hairpins
//!   |
//!   | TCP hello --------> |          |          |     from one port, on which the client listens too
//!   | TCP hello -----------------> | -- try --> |
//!   | <------------------------------ SYN, for 5 s    let in, dropped, or refused: then server 3 gives up
//!   | <---------- where from ------- | <-- go -- |
//!   | SYN --------------------------------------> |    a simultaneous open, if server 3 is still trying (20 s)
//!   | second port -> own external endpoint                   accepted where the NAT hairpins
//! ```
//!
//! Passed is: of UDP and TCP, the same external endpoint at both servers; of TCP also, a connection with server 3, its
//! own or the client's; of hairpinning, that the client reaches itself at the endpoint that server 2 saw. As the authors
//! say, the last is pessimistic: a NAT that filters what it turns round fails it, and lets two-way punching pass.
//!
//! Leaves out: the authors' wire format, which was not published with the paper; their table's version numbers.

mod client;
mod message;
mod server;

use std::net::SocketAddr;

use natbox_wire::words;

pub use client::check;
pub use server::serve;

/// Where the servers listen, by default.
pub const PORT: u16 = 3500;

words! {
    /// A column of the paper's Table 1.
    pub enum Test: "test of NAT Check" {
        Udp = "udp", "UDP hole punching: one external endpoint towards two servers";
        UdpHairpin = "udp-hairpin", "a datagram to the own external endpoint comes back inside";
        Tcp = "tcp", "TCP hole punching: one external endpoint, and a connection with the third server";
        TcpHairpin = "tcp-hairpin", "a connection to the own external endpoint comes back inside";
    }
}

words! {
    /// What became of a SYN that nobody had asked for.
    pub enum Fate: "fate of a SYN" {
        Waiting = "waiting", "nothing came back: it was dropped";
        Accepted = "accepted", "it was let in";
        Refused = "refused", "a RST, or an ICMP error that means the same, came back";
        Failed = "failed", "another error came back";
    }
}

/// Which of the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Says where clients come from.
    One,
    /// Says where clients come from, and tells server 3 of them.
    Two,
    /// Sends to clients that never sent to it.
    Three,
}

/// The three servers: on three addresses, the same port for UDP and TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Servers {
    /// Server 1.
    pub one: SocketAddr,
    /// Server 2.
    pub two: SocketAddr,
    /// Server 3.
    pub three: SocketAddr,
}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// The external endpoints of one UDP socket, as servers 1 and 2 see them.
    pub udp: (Option<SocketAddr>, Option<SocketAddr>),
    /// Whether server 3's datagram came, to which nothing had been sent.
    pub udp_unsolicited: bool,
    /// Whether UDP came back inside.
    pub udp_hairpin: bool,
    /// The external endpoints of one TCP port.
    pub tcp: (Option<SocketAddr>, Option<SocketAddr>),
    /// What became of server 3's SYN in its first seconds.
    pub tcp_syn: Option<Fate>,
    /// Whether there was a connection with server 3.
    pub tcp_connected: bool,
    /// Whether TCP came back inside.
    pub tcp_hairpin: bool,
}

impl Finding {
    /// Whether a test was passed.
    pub fn passed(&self, test: Test) -> bool {
        let same = |(first, second): (Option<SocketAddr>, Option<SocketAddr>)| first.is_some() && first == second;
        match test {
            Test::Udp => same(self.udp),
            Test::UdpHairpin => self.udp_hairpin,
            Test::Tcp => same(self.tcp) && self.tcp_connected,
            Test::TcpHairpin => self.tcp_hairpin,
        }
    }
}
