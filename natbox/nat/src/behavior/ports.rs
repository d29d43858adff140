//! Words of allocation: which external port and address a new mapping gets, and what happens when none is left
//! (RFC 4787 section 4.2, RFC 6056, RFC 6888, RFC 7422, RFC 7857).

use std::ops::RangeInclusive;
use std::time::Duration;

use natbox_wire::words;

words! {
    /// How a new mapping gets its external port (RFC 4787 section 4.2, RFC 6056 section 3.3).
    pub enum PortAllocation: "port allocation" {
        Preserve = "preserve", "the internal port if it is free; `conflict` says what if not";
        Sequential = "sequential", "`delta` after the last one given out, wrapping inside the range";
        Random = "random", "a random free port of the range";
        Bsd = "bsd", "a counter from the lowest port of the range up, taken ports skipped, as `sequential` by 1 (RFC 6056 section 2.1)";
        Rfc6056Simple1 = "rfc6056-1", "a random start for each mapping, then one up until free (RFC 6056 algorithm 1)";
        Rfc6056Simple2 = "rfc6056-2", "a fresh random try until free (RFC 6056 algorithm 2)";
        Rfc6056Hash = "rfc6056-3", "a keyed hash of internal address and remote, plus one global counter (RFC 6056 algorithm 3)";
        Rfc6056DoubleHash = "rfc6056-4", "as algorithm 3, with a table of `table_length` counters (RFC 6056 algorithm 4)";
        Rfc6056RandomIncrement = "rfc6056-5", "the last port plus a random increment of 1 to `increment` (RFC 6056 algorithm 5)";
        Hash = "hash", "a keyed hash of the internal endpoint, one up until free: the same port again after a pause";
        Block = "block", "a random port of the blocks that the internal address holds; another block when they are full (RFC 6888 section 4)";
        Deterministic = "deterministic", "a random port of the range that the internal address has by arithmetic (RFC 7422)";
    }
}

words! {
    /// What `preserve` does where the internal port is taken on the external address (RFC 4787 section 4.2.1).
    pub enum PortConflict: "port conflict rule" {
        Random = "random", "a random free port";
        NextFree = "next-free", "the next free port above";
        OtherAddress = "other-address", "the same port on another external address, else a random one";
        OverrideOld = "override-old", "the older mapping is ended and its port taken (RFC 4787 REQ-3 forbids it)";
        Overload = "overload", "both mappings share the external endpoint (RFC 4787 REQ-3 and RFC 5382 REQ-7 forbid it)";
        Drop = "drop", "the packet is dropped";
    }
}

words! {
    /// Whether mappings towards different remotes may share one external endpoint (RFC 7857 section 3).
    pub enum PortOverlap: "port overlap" {
        None = "none", "an external endpoint belongs to one mapping";
        ByDestination = "by-destination", "an external endpoint is free as long as no session uses it towards the same remote";
    }
}

words! {
    /// Which external ports an internal port may get (RFC 4787 REQ-3a).
    pub enum PortClass: "port class" {
        Same = "same", "system ports (0-1023) for system ports, others for others";
        Netfilter = "netfilter", "1-511 for ports below 512, 600-1023 for those below 1024, 1024-65535 for the others (Linux)";
        All = "all", "any port of the range for any port";
    }
}

words! {
    /// Whether an even internal port gets an even external one (RFC 4787 REQ-4; optional since RFC 7857 section 8).
    pub enum PortParity: "port parity" {
        Preserve = "preserve", "even ports for even ones, odd for odd";
        Ignore = "ignore", "any";
    }
}

words! {
    /// Whether the port after an even one is kept for the same host (RTP and RTCP, RFC 4787 section 4.2.3).
    pub enum PortContiguity: "port contiguity" {
        None = "none", "no";
        ReserveNext = "reserve-next", "a new even external port reserves the next one for the internal endpoint's next port";
    }
}

words! {
    /// Whose counter `sequential`, `bsd` and `rfc6056-5` use. Each counts UDP, TCP and identifiers apart.
    pub enum PortCounter: "port counter" {
        Global = "global", "one for each external address, whoever asks";
        PerHost = "per-host", "one for each internal address";
    }
}

words! {
    /// Which external address a new mapping gets (RFC 4787 section 4.1, REQ-2; RFC 6888 REQ-2).
    pub enum Pooling: "address pooling" {
        Paired = "paired", "all mappings of one internal address, of any protocol, share one external address";
        Arbitrary = "arbitrary", "every mapping gets any external address of the pool, at random";
        ArbitraryRoundRobin = "arbitrary-round-robin", "every mapping gets the next external address of the pool";
        HashSource = "hash-source", "a hash of the internal address chooses";
        HashSourceDestination = "hash-source-destination", "a hash of internal and remote address chooses";
    }
}

words! {
    /// What happens when the external address of a pair is full (RFC 7857 section 4).
    pub enum PoolExhausted: "pool exhaustion rule" {
        Drop = "drop", "the packet is dropped";
        OtherAddress = "other-address", "another external address is used (soft address pooling)";
    }
}

words! {
    /// What happens to a packet that needs a mapping when there is no port, address or quota left (RFC 5508 REQ-8, RFC
    /// 6888 REQ-11). When the table itself is full, `table_full` says who gives way, and this what a sender is told.
    pub enum Exhausted: "exhaustion rule" {
        DropIcmp13 = "drop-icmp13", "dropped; ICMP communication administratively prohibited (RFC 5508 REQ-8)";
        DropIcmp1 = "drop-icmp1", "dropped; ICMP host unreachable (RFC 6888 REQ-11)";
        DropSilent = "drop-silent", "dropped";
        EvictLru = "evict-lru", "the mapping that would end first gives way, of those that leave room";
        EvictUnassured = "evict-unassured", "as `evict-lru`, but only mappings whose sessions have seen no reply; else dropped";
    }
}

words! {
    /// What happens to a packet from inside that needs a session when the table has no room for one.
    pub enum TableFull: "full table rule" {
        Drop = "drop", "dropped, and its sender is told as `exhausted` says";
        EvictLru = "evict-lru", "the session that would end first gives way";
        EvictUnassured = "evict-unassured", "as `evict-lru`, if that has seen no reply; else dropped (Linux: early_drop)";
    }
}

/// A set of ports: ranges in ascending order that neither touch nor overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRanges(Vec<RangeInclusive<u16>>);

impl PortRanges {
    /// The port set of a MAP customer edge (RFC 7597 section 5.1): ports of 16 bits are A (`offset_bits`, not 0 where
    /// there are any), the port-set identifier (`psid_bits`), and the rest. Empty where the bits are more than 16, or the
    /// identifier does not fit.
    pub fn map(offset_bits: u32, psid_bits: u32, psid: u16) -> PortRanges {
        let Some(rest) = 16_u32.checked_sub(offset_bits.saturating_add(psid_bits)) else { return PortRanges::new([]) };
        let psid = u32::from(psid);
        if psid >> psid_bits != 0 {
            return PortRanges::new([]);
        }
        let first = u32::from(offset_bits > 0);
        let starts = (first..1 << offset_bits).map(|a| a << (16 - offset_bits) | psid << rest);
        PortRanges::new(starts.map(|start| start as u16..=(start + (1 << rest) - 1) as u16))
    }

    /// The union of these ranges; empty ones count for nothing.
    pub fn new(ranges: impl IntoIterator<Item = RangeInclusive<u16>>) -> PortRanges {
        let mut sorted: Vec<RangeInclusive<u16>> = ranges.into_iter().filter(|range| !range.is_empty()).collect();
        sorted.sort_unstable_by_key(|range| *range.start());
        sorted.dedup_by(|range, last| {
            let touches = u32::from(*range.start()) <= u32::from(*last.end()) + 1;
            if touches {
                *last = *last.start()..=*last.end().max(range.end());
            }
            touches
        });
        PortRanges(sorted)
    }

    /// The ranges, ascending.
    pub fn ranges(&self) -> &[RangeInclusive<u16>] {
        &self.0
    }

    /// Whether a port is in the set.
    pub fn contains(&self, port: u16) -> bool {
        let before = self.0.partition_point(|range| *range.start() <= port);
        before > 0 && self.0[before - 1].contains(&port)
    }

    /// How many ports there are.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|range| u32::from(range.end() - range.start()) + 1).sum()
    }
}

impl From<RangeInclusive<u16>> for PortRanges {
    fn from(range: RangeInclusive<u16>) -> PortRanges {
        PortRanges::new([range])
    }
}

impl std::fmt::Display for PortRanges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ranges: Vec<String> = self.0.iter().map(|range| format!("{}-{}", range.start(), range.end())).collect();
        f.pad(&ranges.join(", "))
    }
}

/// Ports by arithmetic (RFC 7422): each internal address of the inside prefix has a range of its own on one of the
/// external addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deterministic {
    /// First internal address that has a range; if absent, none has, and all get dynamic ports. A lab puts the first
    /// host of the network inside there.
    pub first: Option<std::net::Ipv4Addr>,
    /// Internal addresses that share one external address (C).
    pub compression: u32,
    /// Parts of the ports that are left to the dynamic pool (D); 0: none.
    pub dynamic_factor: u32,
    /// Ports of a protocol that one internal address may use in all, static and dynamic (M); its static range alone if
    /// absent.
    pub max_ports: Option<u32>,
    /// How ranges are dealt out (A).
    pub algorithm: DeterministicAlgorithm,
}

words! {
    /// The algorithms of RFC 7422 section 2.2.
    pub enum DeterministicAlgorithm: "deterministic algorithm" {
        Sequential = "sequential", "the first address gets the first range of the first external address (0)";
        Staggered = "staggered", "the first address gets every C-th port of the first external address, the second those after them (1)";
        RoundRobin = "round-robin", "each gets the same range on all external addresses (2)";
        Interlaced = "interlaced", "each gets every C-th port, each on the next external address (3)";
        Random = "random", "a keyed permutation deals out the ports of each external address (4)";
    }
}

/// How external ports are chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The rule.
    pub allocation: PortAllocation,
    /// What `preserve` does where the port is taken.
    pub conflict: PortConflict,
    /// Whether mappings towards different remotes may share an external endpoint.
    pub overlap: PortOverlap,
    /// The external ports (UDP, TCP) that may be given out; never 0. Echo identifiers use all of 0-65535.
    pub range: PortRanges,
    /// Which part of the range an internal port may get; all of the range where it has nothing of the class.
    pub class: PortClass,
    /// Whether the lowest bit is kept.
    pub parity: PortParity,
    /// Whether the next port is reserved.
    pub contiguity: PortContiguity,
    /// The step of `sequential`.
    pub delta: u16,
    /// The largest step of `rfc6056-5` (N).
    pub increment: u16,
    /// Counters in the table of `rfc6056-4`.
    pub table_length: u16,
    /// Whose counter `sequential`, `bsd` and `rfc6056-5` use.
    pub counter: PortCounter,
    /// Ports in a block, for `block`.
    pub block_size: u16,
    /// Blocks that one internal address may hold.
    pub blocks_per_host: u16,
    /// The arithmetic of `deterministic`.
    pub deterministic: Deterministic,
    /// How long a port that was given back is given to nobody (RFC 6888 REQ-8); zero: not at all.
    pub quarantine: Duration,
    /// Ports that are held back so at most, the one that has waited for longest given back first; none: all that must.
    pub quarantine_max: Option<u32>,
}

/// What one internal address may have at most (RFC 6888 REQ-4 and REQ-5); `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Mappings at once.
    pub ports: Option<u32>,
    /// Sessions at once.
    pub sessions: Option<u32>,
    /// New mappings in any one second.
    pub new_per_second: Option<u32>,
}
