//! The identification of IPv4 packets (RFC 6864 section 5.3.1, RFC 7857 section 10).
//!
//! A NAT makes one source out of many, each of which counts its identifications for itself: two hosts' datagrams may
//! get the same, and their fragments be put together wrongly (RFC 4963). So packets that may be fragmented get one of the
//! box's own. Packets that may not be (atomic ones, RFC 6864 section 4) need none: whether they are is one test of their
//! header, and all that they pay.
//!
//! Counters lie in buckets by source, destination and protocol, as Linux keeps them (`ip_idents`): those that share a
//! bucket skip one another's numbers, and none sees one again before 65,536 packets. Where they start is a matter of the
//! seed. IPv6 packets have no identification but in their fragment headers, which only their sources write.

use natbox_wire::Packet;
use prefetch_index::prefetch_index;

use crate::behavior::IpId;

const BUCKET_BITS: u32 = 10;
/// Counters that are made at a time.
const PAGE: usize = 64;
const PAGES: usize = (1 << BUCKET_BITS) / PAGE;

/// Counters of neighbouring buckets; made when one of them is first needed.
type Page = Option<Box<[u16; PAGE]>>;

/// What a box does to identifications.
pub(crate) struct Identification {
    rule: IpId,
    seed: u64,
    /// Made when first needed: an idle NAT is small, and one of few flows nearly so.
    counters: Option<Box<[Page; PAGES]>>,
}

impl Identification {
    pub(crate) fn new(rule: IpId, seed: u64) -> Identification {
        Identification { rule, seed, counters: None }
    }

    /// Brings near the counters that there are, in steps 1 and 2.
    pub(crate) fn bring(&self, step: u32) {
        let Some(counters) = &self.counters else { return };
        match step {
            1 => [0, PAGES / 2].iter().for_each(|at| prefetch_index(counters.as_slice(), *at)),
            2 => counters.iter().flatten().take(2).for_each(|page| {
                prefetch_index(page.as_slice(), 0);
                prefetch_index(page.as_slice(), PAGE / 2);
            }),
            _ => {}
        }
    }

    /// Another rule; counters go on.
    pub(crate) fn set_rule(&mut self, rule: IpId) {
        self.rule = rule;
    }

    /// Gives a packet, whose source is the one that it leaves with, the identification that the rule asks for. Of a
    /// datagram in fragments only the first comes here; the others get what it has got (`fragments`).
    #[inline(always)]
    pub(crate) fn give(&mut self, packet: &mut Packet) {
        match self.rule {
            IpId::Copy => {}
            IpId::Unique if packet.is_atomic() => {}
            IpId::Unique | IpId::ZeroIfAtomic => self.give_another(packet),
        }
    }

    #[inline(never)]
    fn give_another(&mut self, packet: &mut Packet) {
        let identification = if packet.is_atomic() { Some(0) } else { self.next(packet) };
        if let Some(identification) = identification {
            packet.rewrite_identification(identification);
        }
    }

    fn next(&mut self, packet: &Packet) -> Option<u16> {
        let (source, destination) = packet.ipv4_addresses()?;
        let seed = self.seed;
        let counters = self.counters.get_or_insert_default();
        let key = u64::from(source.to_bits()) << 32 | u64::from(destination.to_bits());
        let bucket = mixed(seed ^ key ^ u64::from(packet.protocol_number()) << 24) >> (64 - BUCKET_BITS);
        let page = counters[bucket as usize / PAGE].get_or_insert_with(|| Box::new([0; PAGE]));
        let counter = &mut page[bucket as usize % PAGE];
        *counter = counter.wrapping_add(1);
        // Each counter begins elsewhere.
        let start = (mixed(seed ^ bucket) >> 48) as u16;
        Some(start.wrapping_add(*counter))
    }
}

/// The middle of SplitMix64's finalizer: the upper bits of the result depend on every bit given.
fn mixed(bits: u64) -> u64 {
    let bits = (bits ^ bits >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (bits ^ bits >> 27).wrapping_mul(0x94D0_49BB_1331_11EB)
}
