//! Which pairs of NATs UDP hole punching can join, from the definitions alone. Knows nothing of the engine.
//!
//! X and Y have learned, from a server S, the external endpoints Rx and Ry, and send authenticated checks to each
//! other's, again and again. A check counts when its answer comes back from where the check was sent to (RFC 8445
//! section 7.2.5.2.1). Seen from one side, "X's check gets in":
//!
//! * X's check to Ry arrives at Y's NAT, addressed to the mapping that Y opened towards S. It comes from Rx if X
//!   maps endpoint-independently, else from a new endpoint of X's NAT that Y has never sent to.
//! * Y's NAT admits it if it filters by nothing. If it filters by address, Y must have sent to X's NAT's address
//!   through that same mapping (`filter_scope: mapping`), which it has only if it maps endpoint-independently, or
//!   through any mapping (`endpoint`), which it has. If it filters by address and port, the source must besides be
//!   Rx, the only port that Y has sent to.
//! * Y answers, and checks back if it did not know the source (peer-reflexive learning). Without learning it ignores
//!   unknown sources, so that only an endpoint-independently mapping X is heard.
//! * With session affinity the answer leaves through the mapping that let the check in, from Ry, which X has just
//!   sent to: X's NAT admits it whatever it filters by. Done.
//! * Without affinity that holds only if Y maps endpoint-independently. Else everything that Y sends to X's source
//!   leaves from a third endpoint Py, at Ry's address. X's NAT lets it pass unless it filters by port. The answer
//!   does not count, but the check that comes with it teaches X the endpoint Py. X's answer to Py leaves from where Y
//!   expects it unless X maps by port; done. If X maps by port, it comes from a fresh endpoint Qx at X's address, and
//!   so does X's own check, which Y's NAT lets in unless it filters by port. Y's answer to Qx leaves from Py if Y maps
//!   by address; done. If Y maps by port as well, every answer opens yet another endpoint, and none ever counts.
//!
//! A pair is joined if either side's check gets in and is answered so.

use natbox::nat::behavior::{FilterScope, Filtering, Mapping, SessionAffinity};

/// What one side's NAT does.
pub(crate) type Class = (Mapping, Filtering);

/// The choices that RFC 4787 leaves open, and whether the programs learn peer-reflexive endpoints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Semantics {
    pub(crate) filter_scope: FilterScope,
    pub(crate) session_affinity: SessionAffinity,
    pub(crate) peer_reflexive: bool,
}

/// Whether hole punching joins hosts behind these two NATs.
pub(crate) fn can_punch(x: Class, y: Class, semantics: Semantics) -> bool {
    is_heard(x, y, semantics) || is_heard(y, x, semantics)
}

fn is_heard(x: Class, y: Class, semantics: Semantics) -> bool {
    use Filtering::{AddressAndPortDependent as ByPort, AddressDependent as ByAddress, EndpointIndependent as Open};
    use Mapping::{AddressAndPortDependent as PerPort, AddressDependent as PerAddress, EndpointIndependent as One};

    let ((x_maps, x_filters), (y_maps, y_filters)) = (x, y);
    let y_sent_through_ry = y_maps == One || semantics.filter_scope == FilterScope::Endpoint;
    let gets_in = y_filters == Open || y_sent_through_ry && (y_filters == ByAddress || x_maps == One);
    let answered_from_ry = y_maps == One || semantics.session_affinity == SessionAffinity::On;
    if !semantics.peer_reflexive {
        return gets_in && x_maps == One && answered_from_ry;
    }
    let settles = x_maps != PerPort || (y_maps == PerAddress && y_filters != ByPort);
    gets_in && (answered_from_ry || x_filters != ByPort && settles)
}
