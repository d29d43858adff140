//! Links: delay, rate, queue, loss, duplication, reordering, MTU.

use std::time::Duration;

/// One direction of a link. Both directions of an attachment have the same configuration and dice of their own.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkConfig {
    /// Propagation delay, one way.
    pub latency: Duration,
    /// Each packet is delayed by up to this much more, evenly distributed; packets are not reordered by it.
    pub jitter: Duration,
    /// Share of packets lost, 0 to 1.
    pub loss: f64,
    /// Share of packets delivered twice, 0 to 1.
    pub duplicate: f64,
    /// Share of packets that may overtake the ones before them: they skip the jitter, 0 to 1.
    pub reorder: f64,
    /// Bits per second; `None` is without limit.
    pub rate_bits_per_second: Option<u64>,
    /// Packets that may wait for their turn where there is a rate.
    pub queue_packets: usize,
    /// Largest packet, in bytes.
    pub mtu_bytes: usize,
}

impl Default for LinkConfig {
    /// A perfect link: no delay, no limit, MTU 1500.
    fn default() -> LinkConfig {
        LinkConfig {
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            rate_bits_per_second: None,
            queue_packets: 1000,
            mtu_bytes: 1500,
        }
    }
}
