//! The ways in which the box is set up. A variant is a property of a lane ([`crate::lane::Lane`]): one namespace and one rule
//! set hold them all, side by side.

use crate::generate::Profile;

/// One set-up.
pub(crate) struct Variant {
    /// Its name in scripts.
    pub(crate) name: &'static str,
    /// The source translation of packets that leave, as nftables writes it; `POOL` stands for the addresses of a lane's pool.
    pub(crate) source_nat: &'static [&'static str],
    /// What becomes of packets for the box itself, as nftables writes it.
    pub(crate) input: &'static [&'static str],
    /// Whether packets that the tracker calls invalid are dropped instead of being forwarded untranslated.
    pub(crate) drops_invalid: bool,
    /// Whether random sequences are played: not where few ports make chance visible.
    pub(crate) random_sequences: bool,
    /// Those of them in which it is compared with natbox.
    pub(crate) compared: &'static [Profile],
}

impl Variant {
    /// Whether it translates to a pool of addresses instead of `ext`.
    pub(crate) fn has_pool(&self) -> bool {
        self.source_nat.iter().any(|translation| translation.contains("POOL"))
    }
}

/// A lane's number modulo this is the index of its variant.
pub(crate) const STRIDE: u32 = ALL.len().next_power_of_two() as u32;

/// Every variant.
pub(crate) const ALL: [Variant; 10] = [
    Variant {
        name: "masquerade, input drop",
        source_nat: &["masquerade"],
        input: &["drop"],
        drops_invalid: true,
        random_sequences: true,
        compared: &Profile::ALL,
    },
    Variant {
        name: "masquerade, input accept",
        source_nat: &["masquerade"],
        input: &["accept"],
        drops_invalid: true,
        random_sequences: true,
        compared: &Profile::ALL,
    },
    Variant {
        name: "masquerade random, input drop",
        source_nat: &["masquerade random"],
        input: &["drop"],
        drops_invalid: true,
        random_sequences: true,
        compared: &Profile::ALL,
    },
    Variant {
        name: "masquerade random, input accept",
        source_nat: &["masquerade random"],
        input: &["accept"],
        drops_invalid: true,
        random_sequences: true,
        compared: &Profile::ALL,
    },
    Variant {
        name: "masquerade, input reject",
        source_nat: &["masquerade"],
        input: &["meta l4proto tcp reject with tcp reset", "meta l4proto udp reject", "drop"],
        drops_invalid: true,
        random_sequences: true,
        compared: &Profile::ALL,
    },
    Variant {
        name: "masquerade fully-random, input drop",
        source_nat: &["masquerade fully-random"],
        input: &["drop"],
        drops_invalid: true,
        random_sequences: true,
        compared: &Profile::ALL,
    },
    Variant {
        name: "masquerade to four ports, input drop",
        source_nat: &["meta l4proto { tcp, udp } masquerade to :20000-20003", "masquerade"],
        input: &["drop"],
        drops_invalid: true,
        random_sequences: false,
        compared: &[],
    },
    Variant {
        name: "masquerade, invalid forwarded",
        source_nat: &["masquerade"],
        input: &["drop"],
        drops_invalid: false,
        random_sequences: true,
        compared: &Profile::ALL,
    },
    // Which address of three it is depends on a hash that is the kernel's alone: so no random sequences.
    Variant {
        name: "snat to three, input drop",
        source_nat: &["snat to POOL"],
        input: &["drop"],
        drops_invalid: true,
        random_sequences: false,
        compared: &[],
    },
    Variant {
        name: "snat to three persistent, input drop",
        source_nat: &["snat to POOL persistent"],
        input: &["drop"],
        drops_invalid: true,
        random_sequences: false,
        compared: &[],
    },
];

/// The index of a variant's name.
pub(crate) fn index(name: &str) -> Option<usize> {
    ALL.iter().position(|variant| variant.name == name)
}

/// A kernel timer in compressed time.
pub(crate) struct Timer {
    /// The sysctl below `net.netfilter.nf_conntrack_`.
    pub(crate) sysctl: &'static str,
    /// What the kernel ships with.
    pub(crate) shipped_seconds: u32,
    /// What it is set to here. No multiple of three: see [`crate::script::SLOT_MILLISECONDS`].
    pub(crate) compressed_seconds: u32,
}

/// Every timer that is set.
pub(crate) const TIMERS: [Timer; 14] = [
    Timer { sysctl: "udp_timeout", shipped_seconds: 30, compressed_seconds: 4 },
    Timer { sysctl: "udp_timeout_stream", shipped_seconds: 120, compressed_seconds: 7 },
    Timer { sysctl: "icmp_timeout", shipped_seconds: 30, compressed_seconds: 2 },
    Timer { sysctl: "tcp_timeout_syn_sent", shipped_seconds: 120, compressed_seconds: 4 },
    Timer { sysctl: "tcp_timeout_syn_recv", shipped_seconds: 60, compressed_seconds: 2 },
    Timer { sysctl: "tcp_timeout_established", shipped_seconds: 432_000, compressed_seconds: 10 },
    Timer { sysctl: "tcp_timeout_fin_wait", shipped_seconds: 120, compressed_seconds: 5 },
    Timer { sysctl: "tcp_timeout_close_wait", shipped_seconds: 60, compressed_seconds: 2 },
    Timer { sysctl: "tcp_timeout_last_ack", shipped_seconds: 30, compressed_seconds: 1 },
    Timer { sysctl: "tcp_timeout_time_wait", shipped_seconds: 120, compressed_seconds: 4 },
    Timer { sysctl: "tcp_timeout_close", shipped_seconds: 10, compressed_seconds: 1 },
    Timer { sysctl: "tcp_timeout_max_retrans", shipped_seconds: 300, compressed_seconds: 8 },
    Timer { sysctl: "tcp_timeout_unacknowledged", shipped_seconds: 300, compressed_seconds: 8 },
    Timer { sysctl: "generic_timeout", shipped_seconds: 600, compressed_seconds: 10 },
];
