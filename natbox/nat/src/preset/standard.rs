//! What the RFCs ask for.

use std::time::Duration;

use super::{EVERYTHING, Preset};
use crate::Behavior;
use crate::behavior::{Exhausted, Pooling, Ports, Quota};

pub(super) fn presets() -> Vec<Preset> {
    vec![rfc4787(), rfc6888(), cgn()]
}

fn rfc4787() -> Preset {
    Preset {
        name: "rfc4787",
        summary: "what the RFCs require of a NAT, and recommend where they leave a choice",
        observed: "defined, not observed",
        source: "RFC 4787 section 12 (REQ-1 to REQ-14), RFC 5382 section 8 (REQ-1 to REQ-10), RFC 5508 (REQ-1 to REQ-11), \
                 RFC 7857 sections 2 to 12. Where RFC 7857 section 8 leaves port parity to choice it is off.",
        known: EVERYTHING,
        behavior: Behavior::default(),
    }
}

fn rfc6888() -> Preset {
    Preset {
        name: "rfc6888",
        summary: "a carrier-grade NAT by the book: full cone for all, paired addresses, quotas, ports that rest",
        observed: "defined, not observed",
        source: "RFC 6888 section 3: REQ-1 (RFC 4787, 5382, 5508), REQ-2 (paired), REQ-4 and REQ-5 (limits: 1024 ports, \
                 4096 sessions and 256 new ones a second, our figures), REQ-7 (endpoint-independent filtering), REQ-8 \
                 (120 s before a port is used again), REQ-11 (ICMP host unreachable on exhaustion), REQ-15 \
                 (unpredictable ports). Left out: REQ-9 (port control), REQ-12 (logging).",
        known: EVERYTHING,
        behavior: carrier(),
    }
}

fn cgn() -> Preset {
    Preset { name: "cgn", summary: "`rfc6888` under its short name", source: "As `rfc6888`.", ..rfc6888() }
}

fn carrier() -> Behavior {
    let defaults = Behavior::default();
    Behavior {
        pooling: Pooling::Paired,
        ports: Ports { quarantine: Duration::from_secs(120), ..defaults.ports.clone() },
        quota: Quota { ports: Some(1024), sessions: Some(4096), new_per_second: Some(256) },
        exhausted: Exhausted::DropIcmp1,
        ..defaults
    }
}
