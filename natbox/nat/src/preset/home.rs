//! NATs of desktop systems and virtual machines.

use std::time::Duration;

use super::Preset;
use crate::Behavior;
use crate::behavior::{Filtering, Refresh, Timeouts};

pub(super) fn presets() -> Vec<Preset> {
    vec![winnat(), libslirp()]
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn winnat() -> Preset {
    Preset {
        name: "winnat",
        summary: "Windows NAT: Hyper-V, containers, connection sharing",
        observed: "Get-NetNat of many machines",
        source: "published Get-NetNat dumps: address-dependent filtering for TCP and UDP, UDP 120 s without inbound refresh, TCP \
                 established 1800 s, transient 120 s, ICMP 30 s.",
        known: &["refresh"],
        behavior: Behavior {
            filtering: Filtering::AddressDependent.into(),
            refresh: Refresh::Outbound,
            timeouts: Timeouts {
                udp: seconds(120),
                icmp: seconds(30),
                tcp_opening: seconds(120),
                tcp_established: seconds(1800),
                tcp_closing: seconds(120),
                ..Timeouts::default()
            },
            ..Behavior::default()
        },
    }
}

fn libslirp() -> Preset {
    Preset {
        name: "libslirp",
        summary: "QEMU user networking and slirp4netns: one socket of the host for each port of the guest",
        observed: "its source code",
        source: "slirp/libslirp src/socket.h (SO_EXPIRE 240000 ms); one unconnected socket a guest port, hence endpoint-independent \
                 mapping.",
        known: &["mapping"],
        behavior: Behavior {
            refresh: Refresh::Both,
            timeouts: Timeouts { udp: seconds(240), ..Timeouts::default() },
            ..Behavior::default()
        },
    }
}
