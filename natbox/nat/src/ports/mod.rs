//! External endpoints: which a new mapping gets, and what happens when none is left.
//!
//! ```text
//!   open   the road of a new mapping: limits, choice, eviction, and its end       (of `realm`)
//!   share  which mapping a packet from outside means, and what protocols share    (of `realm`)
//!   degrade  hosts that have met a conflict                                       (of `realm`)
//!     pool          external addresses, and who is on which
//!       traits        which parts of it a behaviour uses
//!     take          an endpoint of them
//!       hosts         internal addresses: what each has
//!     asked         an endpoint of them that is named
//!       choose        which free port, by the rules of RFC 4787, RFC 6056 and Linux
//!         candidates    which ports may be given to an internal one: range, class, parity
//!         set           which are taken
//!       blocks        ports by the block
//!       planned       ports by arithmetic, which is that of
//!         deterministic (RFC 7422)
//!       reserve       ports kept for the one above
//!       quarantine    ports kept from everybody for a while
//!       evict         mappings in the order in which they would end
//!       giveway       which of them gives way
//!     change        other rules for a pool in use
//! ```

mod asked;
mod blocks;
mod candidates;
mod change;
mod choose;
mod degrade;
pub(crate) mod deterministic;
mod evict;
mod giveway;
mod hosts;
mod open;
mod planned;
pub(crate) mod pool;
mod quarantine;
mod reserve;
mod set;
mod share;
mod take;
mod traits;
