//! What Linux calls the states of a connection, and how segments lead from one to the next
//! (net/netfilter/nf_conntrack_proto_tcp.c). The words are the kernel's, so that they can be compared with it.

use natbox_wire::TcpFlags;

use crate::tcp::Stage;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// A SYN of the side that began.
    SynSent,
    /// SYNs of both sides, without ACK: a simultaneous open.
    SynSent2,
    /// A SYN/ACK.
    SynRecv,
    /// The ACK that ends the handshake, or one that nobody saw the beginning of.
    Established,
    /// A FIN of one side.
    FinWait,
    /// That FIN has been acknowledged.
    CloseWait,
    /// FINs of both sides, or the same one again.
    LastAck,
    /// The last FIN has been acknowledged.
    TimeWait,
    /// A RST.
    Close,
}

/// What a segment is: its flags in order of weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Syn,
    SynAck,
    Fin,
    Ack,
    Rst,
}

impl Kind {
    /// `None` for flags that no segment has. PSH may stand with any.
    pub(super) fn of(flags: TcpFlags) -> Option<Kind> {
        let TcpFlags { syn, ack, fin, rst, .. } = flags;
        match (syn, ack, fin, rst) {
            (true, false, false, false) => Some(Kind::Syn),
            (true, true, false, false) => Some(Kind::SynAck),
            (false, true, true, false) => Some(Kind::Fin),
            (false, true, false, false) => Some(Kind::Ack),
            (false, _, false, true) => Some(Kind::Rst),
            _ => None,
        }
    }
}

/// What a segment does to the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The next state, if the window allows.
    To(State),
    /// It passes and counts for nothing: the ends may know more of the connection than the box does.
    Ignore,
    /// It does not pass.
    Invalid,
}

impl State {
    /// What a segment does in this state. `original` tells whether it is from the side that began.
    pub(super) fn next(self, kind: Kind, original: bool) -> Next {
        match kind {
            Kind::Rst => Next::To(State::Close),
            Kind::Syn if original => self.on_original_syn(),
            Kind::Syn => self.on_reply_syn(),
            Kind::SynAck => self.on_syn_ack(original),
            Kind::Fin => self.on_fin(),
            Kind::Ack => self.on_ack(original),
        }
    }

    fn on_original_syn(self) -> Next {
        match self {
            State::SynSent | State::TimeWait | State::Close => Next::To(State::SynSent),
            State::SynSent2 => Next::To(State::SynSent2),
            _ => Next::Ignore,
        }
    }

    fn on_reply_syn(self) -> Next {
        match self {
            State::SynSent | State::SynSent2 => Next::To(State::SynSent2),
            State::TimeWait => Next::To(State::SynSent),
            _ => Next::Invalid,
        }
    }

    fn on_syn_ack(self, original: bool) -> Next {
        match self {
            State::SynSent2 => Next::To(State::SynRecv),
            State::SynRecv if original => Next::To(State::SynRecv),
            State::SynSent if !original => Next::To(State::SynRecv),
            _ if original => Next::Invalid,
            _ => Next::Ignore,
        }
    }

    fn on_fin(self) -> Next {
        match self {
            State::SynSent | State::SynSent2 => Next::Invalid,
            State::SynRecv | State::Established => Next::To(State::FinWait),
            State::FinWait | State::CloseWait | State::LastAck => Next::To(State::LastAck),
            State::TimeWait | State::Close => Next::To(self),
        }
    }

    fn on_ack(self, original: bool) -> Next {
        match self {
            State::SynSent | State::SynSent2 if original => Next::Invalid,
            State::SynSent | State::SynSent2 => Next::Ignore,
            State::SynRecv if !original => Next::To(State::SynRecv),
            State::SynRecv | State::Established => Next::To(State::Established),
            State::FinWait | State::CloseWait => Next::To(State::CloseWait),
            State::LastAck | State::TimeWait => Next::To(State::TimeWait),
            State::Close => Next::To(State::Close),
        }
    }

    /// Whether a RST counts here whatever its sequence number is: the tuple may have been used again already.
    pub(super) fn is_closing(self) -> bool {
        matches!(self, State::FinWait | State::CloseWait | State::LastAck | State::TimeWait | State::Close)
    }

    /// The stage that the rest of the engine takes it for.
    pub(super) fn stage(self) -> Stage {
        match self {
            State::SynSent => Stage::Opening,
            State::SynSent2 => Stage::Crossed,
            State::SynRecv => Stage::Partial,
            State::Established => Stage::Established,
            State::FinWait => Stage::HalfClosed,
            State::CloseWait => Stage::CloseWait,
            State::LastAck => Stage::Closing,
            State::TimeWait => Stage::TimeWait,
            State::Close => Stage::Transitory,
        }
    }
}
