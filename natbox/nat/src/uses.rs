//! Which rare axes a behaviour uses: one word, worked out once, so that the packet path tests one bit for each.
//!
//! Knows no axis from within; `Behavior` says what they mean.

use crate::Behavior;
use crate::behavior::{EarlyInbound, Hairpin, Outbound, Reach, Switch};

/// A set of axes that are not what they mostly are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uses(u16);

impl Uses {
    /// `aliases` or `bypass`: what stands around the translation.
    pub(crate) const AROUND: Uses = Uses(1);
    /// `outbound` refuses something.
    pub(crate) const POLICY: Uses = Uses(1 << 1);
    /// `early_inbound` does anything.
    pub(crate) const EARLY: Uses = Uses(1 << 2);
    /// `early_inbound: blacklist`.
    pub(crate) const BLACKLIST: Uses = Uses(1 << 3);
    /// `hairpin: router-source` for any protocol.
    pub(crate) const ROUTER_SOURCE: Uses = Uses(1 << 4);
    /// `refresh_on_filtered`.
    pub(crate) const REFRESH_ON_FILTERED: Uses = Uses(1 << 5);
    /// `refresh_on_error`.
    pub(crate) const REFRESH_ON_ERROR: Uses = Uses(1 << 6);
    /// An ALG that changes or follows payloads.
    pub(crate) const PAYLOADS: Uses = Uses(1 << 7);
    /// Anything that a packet refused by the filter may do to the box.
    pub(crate) const UNINVITED: Uses = Uses(Uses::EARLY.0 | Uses::REFRESH_ON_FILTERED.0);

    /// What has a say about every packet, also of established sessions.
    pub(crate) const EVERY_PACKET: Uses = Uses(Uses::AROUND.0 | Uses::BLACKLIST.0);

    /// What a behaviour uses.
    pub(crate) fn of(behavior: &Behavior) -> Uses {
        let all = Outbound { udp: Reach::All, tcp: Reach::All, icmp: Switch::On };
        let uses = [
            (Uses::AROUND, !behavior.aliases.is_empty() || !behavior.bypass.is_empty()),
            (Uses::POLICY, behavior.outbound != all),
            (Uses::PAYLOADS, behavior.alg != Behavior::default().alg),
            (Uses::EARLY, behavior.early_inbound != EarlyInbound::Ignore),
            (Uses::BLACKLIST, behavior.early_inbound == EarlyInbound::Blacklist),
            (Uses::ROUTER_SOURCE, behavior.hairpin.all().contains(&&Hairpin::RouterSource)),
            (Uses::REFRESH_ON_FILTERED, behavior.refresh_on_filtered == Switch::On),
            (Uses::REFRESH_ON_ERROR, behavior.refresh_on_error == Switch::On),
        ];
        Uses(uses.into_iter().filter(|(_, used)| *used).fold(0, |bits, (one, _)| bits | one.0))
    }

    /// These and others.
    pub(crate) fn and(self, others: Uses) -> Uses {
        Uses(self.0 | others.0)
    }

    /// Whether any of these is used.
    #[inline(always)]
    pub(crate) fn any(self, of: Uses) -> bool {
        self.0 & of.0 != 0
    }
}
