//! What a NAT knows of a TCP connection: a small machine that steps on flags (RFC 7857 section 2, RFC 6146
//! section 3.5.2).
//!
//! It only observes. Whether a segment passes is the filter's question, and no state here stops one.
//!
//! ```text
//!            SYN from one side              SYN, or SYN/ACK, from the other
//!   (none) ---------------------> Opening ---------------------------------> Established <------+
//!                                                                             |   |             | anything
//!                                       FIN of one side, then of the other    |   | RST         | but RST
//!                              Closing <---------------- Fin <----------------+   +--> Transitory
//! ```
//!
//! Departures from the figure in RFC 7857: a RST counts in the half-closed states too (its section 2.2 speaks of
//! any matching RST). A session in `Closing` is not opened again by a new SYN: it forwards, and ends on time.

use natbox_wire::TcpFlags;

use crate::timers::Side;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tcp {
    /// A SYN came from inside only.
    OpeningFromInside,
    /// A SYN came from outside only.
    OpeningFromOutside,
    /// A segment of the handshake came from both sides.
    Established,
    /// The inside has sent a FIN; data from outside may go on for as long as it likes.
    FinFromInside,
    /// The outside has sent a FIN; data from inside may go on for as long as it likes.
    FinFromOutside,
    /// FINs both ways.
    Closing,
    /// A RST came; whatever follows it in time shows that the connection lives.
    Transitory,
}

impl Tcp {
    /// Whether a segment may open a session: a SYN, and no answer to one.
    pub(crate) fn opens(flags: TcpFlags) -> bool {
        flags.syn && !flags.ack && !flags.rst
    }

    /// The state that a session opened from this side begins in.
    pub(crate) fn opened_from(side: Side) -> Tcp {
        match side {
            Side::Inside => Tcp::OpeningFromInside,
            Side::Outside => Tcp::OpeningFromOutside,
        }
    }

    /// The state after a segment from `side`, and whether the segment restarts the idle timer.
    pub(crate) fn step(self, side: Side, flags: TcpFlags) -> (Tcp, bool) {
        match self {
            Tcp::OpeningFromInside => Tcp::step_opening(self, side == Side::Inside, flags),
            Tcp::OpeningFromOutside => Tcp::step_opening(self, side == Side::Outside, flags),
            Tcp::Established | Tcp::FinFromInside | Tcp::FinFromOutside if flags.rst => (Tcp::Transitory, true),
            Tcp::Established | Tcp::FinFromInside | Tcp::FinFromOutside if flags.fin => (self.finished_by(side), true),
            Tcp::Established | Tcp::FinFromInside | Tcp::FinFromOutside => (self, true),
            Tcp::Closing => (self, false),
            Tcp::Transitory if flags.rst => (self, false),
            Tcp::Transitory => (Tcp::Established, true),
        }
    }

    /// A segment in an opening connection; `opener` tells whether it is from the side whose SYN came first.
    fn step_opening(self, opener: bool, flags: TcpFlags) -> (Tcp, bool) {
        match (flags.syn && !flags.rst, opener) {
            (true, true) => (self, true),
            (true, false) => (Tcp::Established, true),
            (false, _) => (self, false),
        }
    }

    /// The state after a FIN from this side.
    fn finished_by(self, side: Side) -> Tcp {
        match (self, side) {
            (Tcp::FinFromOutside, Side::Inside) | (Tcp::FinFromInside, Side::Outside) => Tcp::Closing,
            (_, Side::Inside) => Tcp::FinFromInside,
            (_, Side::Outside) => Tcp::FinFromOutside,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYN: TcpFlags = TcpFlags { syn: true, ack: false, fin: false, rst: false, psh: false };
    const SYN_ACK: TcpFlags = TcpFlags { ack: true, ..SYN };
    const ACK: TcpFlags = TcpFlags { syn: false, ..SYN_ACK };
    const FIN: TcpFlags = TcpFlags { fin: true, ..ACK };
    const RST: TcpFlags = TcpFlags { rst: true, ..ACK };

    fn after(segments: &[(Side, TcpFlags)]) -> Tcp {
        let (first, rest) = segments.split_first().expect("a first segment");
        assert!(Tcp::opens(first.1));
        rest.iter().fold(Tcp::opened_from(first.0), |state, (side, flags)| state.step(*side, *flags).0)
    }

    #[test]
    fn a_handshake_establishes_from_either_side() {
        use Side::{Inside, Outside};
        assert_eq!(after(&[(Inside, SYN), (Outside, SYN_ACK)]), Tcp::Established);
        assert_eq!(after(&[(Outside, SYN), (Inside, SYN_ACK)]), Tcp::Established);
        assert_eq!(after(&[(Inside, SYN), (Outside, SYN)]), Tcp::Established, "simultaneous open");
        assert_eq!(after(&[(Inside, SYN), (Inside, SYN), (Inside, ACK)]), Tcp::OpeningFromInside);
        assert_eq!(after(&[(Inside, SYN), (Outside, RST)]), Tcp::OpeningFromInside);
    }

    #[test]
    fn only_fins_from_both_sides_close() {
        use Side::{Inside, Outside};
        let open = [(Inside, SYN), (Outside, SYN_ACK)];
        let with = |rest: &[(Side, TcpFlags)]| after(&[&open[..], rest].concat());
        assert_eq!(with(&[(Inside, FIN)]), Tcp::FinFromInside);
        assert_eq!(with(&[(Inside, FIN), (Inside, FIN), (Outside, ACK)]), Tcp::FinFromInside);
        assert_eq!(with(&[(Inside, FIN), (Outside, FIN)]), Tcp::Closing);
        assert_eq!(with(&[(Outside, FIN), (Inside, FIN), (Outside, RST)]), Tcp::Closing);
    }

    #[test]
    fn data_after_a_reset_establishes_again_and_another_reset_does_not() {
        use Side::{Inside, Outside};
        let reset = after(&[(Inside, SYN), (Outside, SYN_ACK), (Outside, RST)]);
        assert_eq!(reset, Tcp::Transitory);
        assert_eq!(reset.step(Outside, RST), (Tcp::Transitory, false));
        assert_eq!(reset.step(Inside, ACK), (Tcp::Established, true));
    }

    #[test]
    fn a_syn_ack_or_a_reset_opens_nothing() {
        assert!(Tcp::opens(SYN));
        assert!(![SYN_ACK, ACK, FIN, RST, TcpFlags { rst: true, ..SYN }].into_iter().any(Tcp::opens));
    }
}
