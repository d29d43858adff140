//! The machine of RFC 7857 figure 1, with the choices that RFC 5382 and RFC 6146 leave.

use natbox_wire::TcpFlags;

use crate::Behavior;
use crate::behavior::{TcpEstablishedOn, TcpReopen};
use crate::tcp::{Stage, Step, Tcp, Timer};
use crate::timers::Side;

impl Tcp {
    /// The state after a segment from `side`, and what the segment does to the timer.
    pub(crate) fn step(self, side: Side, flags: TcpFlags, behavior: &Behavior) -> Step {
        let (next, timer) = match self.stage() {
            Stage::Opening | Stage::Crossed => self.step_opening(side, flags, behavior.tcp_established_on),
            Stage::Partial => self.step_partial(side, flags),
            Stage::Established | Stage::PickedUp | Stage::HalfClosed | Stage::CloseWait => self.step_open(side, flags),
            Stage::Closing | Stage::TimeWait | Stage::Transitory
                if Tcp::opens(flags) && behavior.tcp_reopen == TcpReopen::On =>
            {
                (Tcp::opened_from(side), Timer::Restart)
            }
            Stage::Closing if flags.ack && !flags.fin && !flags.rst && !self.is_marked(side) => {
                (self.at(Stage::TimeWait), Timer::Restart)
            }
            Stage::Closing | Stage::TimeWait => (self, Timer::Keep),
            Stage::Transitory if flags.rst => (self, Timer::Keep),
            Stage::Transitory => (self.at(Stage::Established), Timer::Restart),
        };
        Step::To(next, timer)
    }

    /// Only SYNs count before both sides have sent one: a RST may be anybody's (RFC 7857 section 2.2).
    fn step_opening(self, side: Side, flags: TcpFlags, established_on: TcpEstablishedOn) -> (Tcp, Timer) {
        if !flags.syn || flags.rst {
            return (self, Timer::Keep);
        }
        if side == self.opener() {
            return (self, Timer::Restart);
        }
        let answered = if flags.ack { self } else { self.crossing() };
        let next = match established_on {
            TcpEstablishedOn::ServerSyn => answered.at(Stage::Established),
            TcpEstablishedOn::AckBothWays if flags.ack => answered.at(Stage::Partial).marked(side),
            TcpEstablishedOn::AckBothWays => answered.at(Stage::Partial),
        };
        (next, Timer::Restart)
    }

    /// A segment of a connection that waits for ACKs both ways.
    fn step_partial(self, side: Side, flags: TcpFlags) -> (Tcp, Timer) {
        let acked = if flags.ack { self.marked(side) } else { self };
        let next = match flags {
            TcpFlags { rst: true, .. } => self.at(Stage::Transitory),
            TcpFlags { fin: true, .. } => self.finished_by(side),
            _ if acked.is_marked_twice() => self.at(Stage::Established),
            _ => acked,
        };
        (next, Timer::Restart)
    }

    /// A segment of a connection that not both sides have closed.
    fn step_open(self, side: Side, flags: TcpFlags) -> (Tcp, Timer) {
        let next = match self.stage() {
            _ if flags.rst => self.at(Stage::Transitory),
            _ if flags.fin => self.finished_by(side),
            Stage::HalfClosed if flags.ack && !self.is_marked(side) => Tcp(self.at(Stage::CloseWait).0 | self.marks()),
            Stage::PickedUp if side != self.opener() => self.at(Stage::Established),
            _ => self,
        };
        (next, Timer::Restart)
    }

    fn marks(self) -> u8 {
        self.0 & super::MARKS
    }

    /// The state after a FIN from this side.
    fn finished_by(self, side: Side) -> Tcp {
        match self.stage() {
            Stage::HalfClosed | Stage::CloseWait if self.is_marked(side) => self,
            Stage::HalfClosed | Stage::CloseWait => self.at(Stage::Closing).marked(side),
            _ => self.at(Stage::HalfClosed).marked(side),
        }
    }
}
