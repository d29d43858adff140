//! What real boxes do that they should not.
//!
//! | fault | seen as |
//! | --- | --- |
//! | `ghost` | success is answered and nothing is mapped |
//! | `true_lifetime` | mappings end long before the lifetime that was answered |
//! | `epoch_restarts` | the epoch goes back though nothing was lost: clients map everything anew, again and again |
//! | `refuses_other_port` | a port that is taken is a refusal, where another should be given |
//! | `refuses_renewal` | a renewal of one's own mapping is a conflict |
//! | `only_permanent` | leases are refused (UPnP error 725), and mappings outlive the programs that asked for them |
//! | `answer_port` | answers come from another port, and clients that check do not take them |
//! | `delay` | answers come when nobody waits any more |
//!
//! The private external address behind a carrier is no fault of the box: put it behind another NAT.

use std::time::Duration;

/// What a box does that it should not. By default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Answers success and maps nothing.
    pub ghost: bool,
    /// Mappings live so long at most, whatever is answered.
    pub true_lifetime: Option<Duration>,
    /// The epoch begins anew each so long, though nothing was lost.
    pub epoch_restarts: Option<Duration>,
    /// Refuses where the port that is wished for is taken, instead of giving another.
    pub refuses_other_port: bool,
    /// Answers that the port is taken when a host renews its own mapping.
    pub refuses_renewal: bool,
    /// UPnP-IGD: grants no leases (error 725), only mappings without an end.
    pub only_permanent: bool,
    /// NAT-PMP and PCP: answers come from this port.
    pub answer_port: Option<u16>,
    /// NAT-PMP, PCP and UPnP's descriptions and actions: answers come so late.
    pub delay: Duration,
}
