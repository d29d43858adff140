//! The machine of Linux: what net/netfilter/nf_conntrack_proto_tcp.c makes of segments.
//!
//! It differs from RFC 7857's in what a user can see: a RST ends the connection for good, and at once if nothing had
//! answered; segments that the stage does not allow are invalid, and every other one restarts the timer, closing
//! stages included.
//!
//! Left out: the memory of ignored SYNs and their answers, by which Linux gets in step with a connection that it had
//! lost; the shorter lifetime of connections with data that nobody acknowledges or that is sent again and again.

use natbox_wire::TcpFlags;

use crate::tcp::{Stage, Tcp, Timer};
use crate::timers::Side;

/// A segment that the state of its connection does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Invalid;

impl Tcp {
    /// The state after a segment from `side`; `None` if the segment passes and counts for nothing.
    pub(crate) fn step_netfilter(self, side: Side, flags: TcpFlags) -> Result<Option<(Tcp, Timer)>, Invalid> {
        match flags {
            TcpFlags { syn: true, fin: true, .. } | TcpFlags { fin: true, rst: true, .. } => Err(Invalid),
            TcpFlags { syn: true, rst: true, .. } | TcpFlags { fin: true, ack: false, .. } => Err(Invalid),
            TcpFlags { rst: true, .. } => Ok(Some(self.on_rst(side))),
            TcpFlags { syn: true, ack: false, .. } => self.on_syn(side),
            TcpFlags { syn: true, ack: true, .. } => self.on_syn_ack(side),
            TcpFlags { fin: true, .. } => restart(self.on_fin(side)?),
            TcpFlags { ack: true, .. } => self.on_ack(side),
            _ => Err(Invalid),
        }
    }

    /// Marks tell who may open the connection again: both after a FIN, else the side that sent the last RST.
    fn on_rst(self, side: Side) -> (Tcp, Timer) {
        let closed = match self.stage() {
            Stage::Opening | Stage::PickedUp => return (self.at(Stage::Transitory), Timer::End),
            Stage::HalfClosed | Stage::CloseWait | Stage::Closing | Stage::TimeWait => {
                self.at(Stage::Transitory).marked(Side::Inside).marked(Side::Outside)
            }
            Stage::Transitory if self.is_marked_twice() => self,
            _ => self.at(Stage::Transitory).marked(side),
        };
        (closed, Timer::Restart)
    }

    fn on_syn(self, side: Side) -> Result<Option<(Tcp, Timer)>, Invalid> {
        let original = side == self.opener();
        match self.stage() {
            Stage::Opening | Stage::Crossed if original => restart(self),
            Stage::Opening | Stage::Crossed => restart(self.crossing().at(Stage::Crossed)),
            Stage::TimeWait if original => restart(Tcp::opened_from(side)),
            Stage::Transitory if original && self.is_marked(side) => restart(Tcp::opened_from(side)),
            _ if original => Ok(None),
            _ => Err(Invalid),
        }
    }

    fn on_syn_ack(self, side: Side) -> Result<Option<(Tcp, Timer)>, Invalid> {
        let original = side == self.opener();
        match self.stage() {
            Stage::Crossed => restart(self.at(Stage::Partial)),
            Stage::Opening if original => Err(Invalid),
            Stage::Opening => restart(self.at(Stage::Partial)),
            _ => Ok(None),
        }
    }

    fn on_fin(self, side: Side) -> Result<Tcp, Invalid> {
        Ok(match self.stage() {
            Stage::Opening | Stage::Crossed => return Err(Invalid),
            Stage::Partial | Stage::Established | Stage::PickedUp => self.at(Stage::HalfClosed).marked(side),
            Stage::HalfClosed | Stage::CloseWait => self.at(Stage::Closing).marked(side),
            Stage::Closing | Stage::TimeWait | Stage::Transitory => self,
        })
    }

    fn on_ack(self, side: Side) -> Result<Option<(Tcp, Timer)>, Invalid> {
        let original = side == self.opener();
        restart(match self.stage() {
            Stage::Opening | Stage::Crossed if original => return Err(Invalid),
            Stage::Opening | Stage::Crossed => return Ok(None),
            Stage::Partial if original => self.at(Stage::Established),
            Stage::PickedUp if !original => self.at(Stage::Established),
            Stage::HalfClosed => self.at(Stage::CloseWait),
            Stage::Closing => self.at(Stage::TimeWait),
            _ => self,
        })
    }
}

fn restart(next: Tcp) -> Result<Option<(Tcp, Timer)>, Invalid> {
    Ok(Some((next, Timer::Restart)))
}
