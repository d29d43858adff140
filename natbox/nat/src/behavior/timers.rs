//! How long sessions live, and which packets make them live longer.

use std::time::Duration;

use natbox_wire::words;

words! {
    /// Which packets restart the idle timer of a UDP or query session (RFC 4787 section 4.3, REQ-6). TCP timers run
    /// from the last segment of either side (RFC 5382 section 5). Opening a session starts its timer in any case;
    /// one opened from outside keeps its mapping alive only where inbound packets refresh, or once it is answered.
    pub enum Refresh: "mapping refresh" {
        Outbound = "outbound", "packets from inside only";
        Both = "both", "packets in either direction";
        Inbound = "inbound", "packets from outside only";
        None = "none", "no packet: the lifetime is absolute";
    }
}

/// How long idle sessions live. Those that are `None` are as long as the one that their doc names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// UDP sessions that have seen packets both ways (RFC 4787 REQ-5: at least 2 minutes, 5 recommended).
    pub udp: Duration,
    /// UDP sessions that have seen packets one way only; as `udp` if absent.
    pub udp_unreplied: Option<Duration>,
    /// UDP sessions that count as streams: both ways, and `udp_stream_after` old; as `udp` if absent.
    pub udp_stream: Option<Duration>,
    /// How old a UDP session must be to become a stream (Linux: 2 s).
    pub udp_stream_after: Duration,
    /// UDP sessions by remote port, whatever their stage (RFC 4787 REQ-5a); sorted by port.
    pub udp_ports: Vec<(u16, Duration)>,
    /// ICMP query sessions (RFC 5508 REQ-2: 60 seconds).
    pub icmp: Duration,
    /// TCP after a SYN of one side (RFC 5382 REQ-5: 4 minutes).
    pub tcp_opening: Duration,
    /// TCP after SYNs of both sides where only ACKs both ways establish; as `tcp_opening` if absent.
    pub tcp_partial_open: Option<Duration>,
    /// Established TCP (RFC 5382 REQ-5: 2 hours 4 minutes).
    pub tcp_established: Duration,
    /// TCP that was picked up running, until the other side answers; with the machine of Linux also TCP that has data
    /// unacknowledged or repeated, or a closed window. Never longer than its stage; if absent as long (Linux: 300 s).
    pub tcp_unacknowledged: Option<Duration>,
    /// TCP after a FIN of one side; as `tcp_established` if absent (RFC 7857 figure 1).
    pub tcp_half_closed: Option<Duration>,
    /// TCP after that FIN has been acknowledged; as `tcp_half_closed` if absent (Linux: close_wait).
    pub tcp_close_wait: Option<Duration>,
    /// TCP after FINs both ways (RFC 5382 REQ-5: 4 minutes).
    pub tcp_closing: Duration,
    /// TCP after the last FIN has been acknowledged, from then on; if absent the closing one goes on.
    pub tcp_time_wait: Option<Duration>,
    /// TCP after a RST; as `tcp_closing` if absent (RFC 7857 section 2.2: 4 minutes).
    pub tcp_reset: Option<Duration>,
    /// How long an unsolicited SYN is held (RFC 5382 REQ-4: 6 seconds).
    pub tcp_inbound_syn: Duration,
    /// How long any mapping lives at most, whatever passes; without limit if absent.
    pub absolute: Option<Duration>,
    /// How long an early inbound packet is remembered (`early_inbound`).
    pub early_inbound: Duration,
}

impl Default for Timeouts {
    /// What RFC 4787, 5382, 5508 and 7857 ask for.
    fn default() -> Timeouts {
        Timeouts {
            udp: Duration::from_secs(300),
            udp_unreplied: None,
            udp_stream: None,
            udp_stream_after: Duration::from_secs(2),
            udp_ports: Vec::new(),
            icmp: Duration::from_secs(60),
            tcp_opening: Duration::from_secs(240),
            tcp_partial_open: None,
            tcp_established: Duration::from_secs(7440),
            tcp_unacknowledged: None,
            tcp_half_closed: None,
            tcp_close_wait: None,
            tcp_closing: Duration::from_secs(240),
            tcp_time_wait: None,
            tcp_reset: None,
            tcp_inbound_syn: Duration::from_secs(6),
            absolute: None,
            early_inbound: Duration::from_secs(30),
        }
    }
}

impl Timeouts {
    /// The lifetime of a UDP session that has seen packets one way only.
    pub fn udp_unreplied(&self) -> Duration {
        self.udp_unreplied.unwrap_or(self.udp)
    }

    /// The lifetime of a UDP stream.
    pub fn udp_stream(&self) -> Duration {
        self.udp_stream.unwrap_or(self.udp)
    }

    /// The lifetime of a partially open TCP connection.
    pub fn tcp_partial_open(&self) -> Duration {
        self.tcp_partial_open.unwrap_or(self.tcp_opening)
    }

    /// The longest lifetime of a TCP connection that was picked up, or that has data unacknowledged.
    pub fn tcp_unacknowledged(&self) -> Duration {
        self.tcp_unacknowledged.unwrap_or(self.tcp_established)
    }

    /// The lifetime of a TCP connection with a FIN of one side.
    pub fn tcp_half_closed(&self) -> Duration {
        self.tcp_half_closed.unwrap_or(self.tcp_established)
    }

    /// The lifetime of a TCP connection with an acknowledged FIN of one side.
    pub fn tcp_close_wait(&self) -> Duration {
        self.tcp_close_wait.unwrap_or(self.tcp_half_closed())
    }

    /// The lifetime of a TCP connection whose last FIN has been acknowledged.
    pub fn tcp_time_wait(&self) -> Duration {
        self.tcp_time_wait.unwrap_or(self.tcp_closing)
    }

    /// The lifetime of a TCP connection after a RST.
    pub fn tcp_reset(&self) -> Duration {
        self.tcp_reset.unwrap_or(self.tcp_closing)
    }
}
