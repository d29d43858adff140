//! Which stage a segment leads to on Linux.

use super::Kind;
use crate::tcp::Stage;

/// Where a segment leads.
pub(super) enum Next {
    To(Stage),
    /// Nowhere, but it passes: the connection may be out of step with what is known of it.
    Ignored,
    /// Nowhere, and it is dropped.
    Invalid,
}

/// Where a segment leads from a stage. `original` says that it is from the side that began.
pub(super) fn next(stage: Stage, original: bool, kind: Kind) -> Next {
    use Stage::{CloseWait, Closing, Crossed, Established, HalfClosed, Opening, Partial, TimeWait, Transitory};
    match (kind, original, stage) {
        (Kind::None, _, _) => Next::Invalid,
        (Kind::Rst, _, _) => Next::To(Transitory),

        (Kind::Syn, true, Opening | TimeWait | Transitory) => Next::To(Opening),
        (Kind::Syn, false, Opening) | (Kind::Syn, _, Crossed) => Next::To(Crossed),
        (Kind::Syn, false, TimeWait) => Next::To(Opening),
        (Kind::Syn, true, _) => Next::Ignored,
        (Kind::Syn, false, _) => Next::Invalid,

        (Kind::SynAck, false, Opening | Crossed) | (Kind::SynAck, true, Crossed | Partial) => Next::To(Partial),
        (Kind::SynAck, true, _) => Next::Invalid,
        (Kind::SynAck, false, _) => Next::Ignored,

        (Kind::Fin, _, Opening | Crossed) => Next::Invalid,
        (Kind::Fin, _, HalfClosed | CloseWait | Closing) => Next::To(Closing),
        (Kind::Fin, _, TimeWait | Transitory) => Next::To(stage),
        (Kind::Fin, _, _) => Next::To(HalfClosed),

        (Kind::Ack, true, Opening | Crossed) => Next::Invalid,
        (Kind::Ack, false, Opening | Crossed) => Next::Ignored,
        (Kind::Ack, true, Partial) => Next::To(Established),
        (Kind::Ack, _, HalfClosed) => Next::To(CloseWait),
        (Kind::Ack, _, Closing) => Next::To(TimeWait),
        (Kind::Ack, _, _) => Next::To(stage),
    }
}
