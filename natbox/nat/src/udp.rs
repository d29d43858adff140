//! The stages of a UDP session, for boxes that give each a lifetime of its own.
//!
//! ```text
//!                 packet of the other side        packet, `udp_stream_after` after the opening
//!   (none) --> Unreplied ---------------> Replied -------------------------------------------> Stream
//! ```
//!
//! The reply that ends the first stage does not begin the last, however late it comes: Linux calls a session a stream
//! when a packet passes that finds it replied to and at least two seconds old (nf_conntrack_proto_udp.c, commit
//! 294304e4c522), and until then keeps it at the shorter lifetime. A packet that may not restart the timer (`refresh`)
//! moves the stage all the same, and the next one that may uses its lifetime. Lifetimes by remote port know no stages.

use std::time::Duration;

use natbox_wire::Time;

use crate::behavior::Timeouts;
use crate::verdict::Side;

/// How far a UDP session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Packets of one side only: this one.
    Unreplied(Side),
    /// Packets of both sides.
    Replied,
    /// Packets of both sides, and one after `udp_stream_after`.
    Stream,
}

/// What is kept of a UDP session where stages count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Datagrams {
    opened: Time,
    stage: Stage,
}

impl Datagrams {
    /// Of a session that a packet from `side` opens.
    pub(crate) fn opened_from(side: Side, now: Time) -> Datagrams {
        Datagrams { opened: now, stage: Stage::Unreplied(side) }
    }

    /// Of a session that there was before anybody asked: replied to, if the inside has ever sent.
    pub(crate) fn found(replied: bool, opened: Time) -> Datagrams {
        Datagrams { opened, stage: if replied { Stage::Replied } else { Stage::Unreplied(Side::Outside) } }
    }

    /// Whether packets of both sides have come.
    pub(crate) fn is_replied(&self) -> bool {
        !matches!(self.stage, Stage::Unreplied(_))
    }
}

/// The lifetimes of UDP sessions where they are not all alike.
#[derive(Clone, Debug)]
pub(crate) struct Stages {
    unreplied: Duration,
    replied: Duration,
    stream: Duration,
    stream_after: Duration,
    /// By remote port, in order.
    ports: Vec<(u16, Duration)>,
}

impl Stages {
    /// The stages of a behaviour; `None` where all sessions live equally long.
    pub(crate) fn of(timeouts: &Timeouts) -> Option<Stages> {
        let stages = Stages::even_alike(timeouts);
        let alike = stages.unreplied == stages.replied && stages.replied == stages.stream && stages.ports.is_empty();
        (!alike).then_some(stages)
    }

    /// The stages of a behaviour, also where all sessions live equally long.
    pub(crate) fn even_alike(timeouts: &Timeouts) -> Stages {
        let (unreplied, replied, stream) = (timeouts.udp_unreplied(), timeouts.udp, timeouts.udp_stream());
        let mut ports = timeouts.udp_ports.clone();
        ports.sort_by_key(|(port, _)| *port);
        Stages { unreplied, replied, stream, stream_after: timeouts.udp_stream_after, ports }
    }

    /// The lifetime of a session that nobody has replied to.
    pub(crate) fn first(&self, remote_port: u16) -> Duration {
        self.of_port(remote_port).unwrap_or(self.unreplied)
    }

    /// The lifetime of a session after a packet from `side`. Steps the stage.
    pub(crate) fn after(&self, kept: &mut Datagrams, remote_port: u16, side: Side, now: Time) -> Duration {
        kept.stage = match kept.stage {
            Stage::Unreplied(opener) if opener == side => kept.stage,
            Stage::Unreplied(_) => Stage::Replied,
            Stage::Replied if now >= kept.opened + self.stream_after => Stage::Stream,
            Stage::Replied | Stage::Stream => kept.stage,
        };
        self.current(kept, remote_port)
    }

    /// The lifetime that a session's stage gives it, unmoved.
    pub(crate) fn current(&self, kept: &Datagrams, remote_port: u16) -> Duration {
        self.of_port(remote_port).unwrap_or(match kept.stage {
            Stage::Unreplied(_) => self.unreplied,
            Stage::Replied => self.replied,
            Stage::Stream => self.stream,
        })
    }

    fn of_port(&self, port: u16) -> Option<Duration> {
        let at = self.ports.binary_search_by_key(&port, |(port, _)| *port).ok()?;
        Some(self.ports[at].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_late_first_reply_makes_no_stream() {
        let timeouts = Timeouts {
            udp: Duration::from_secs(30),
            udp_stream: Some(Duration::from_secs(120)),
            ..Timeouts::default()
        };
        let stages = Stages::of(&timeouts).expect("a stream lives longer");
        let mut kept = Datagrams::opened_from(Side::Inside, Time::ZERO);
        let lives = |kept: &mut Datagrams, side, at| stages.after(kept, 9, side, seconds(at)).as_secs();
        assert_eq!(lives(&mut kept, Side::Inside, 4), 30, "a second packet is no reply");
        assert_eq!(lives(&mut kept, Side::Outside, 5), 30);
        assert_eq!(lives(&mut kept, Side::Outside, 6), 120, "of whichever side");
        let mut kept = Datagrams::opened_from(Side::Outside, Time::ZERO);
        assert_eq!(lives(&mut kept, Side::Inside, 0), 30);
        assert_eq!(lives(&mut kept, Side::Inside, 1), 30);
        assert_eq!(lives(&mut kept, Side::Inside, 2), 120);
    }

    #[test]
    fn one_lifetime_for_all_needs_no_stages() {
        assert!(Stages::of(&Timeouts::default()).is_none());
    }
}
