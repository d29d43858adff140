//! One seed, a named stream of chance per part: adding a part never shifts another part's dice.

use rand_pcg::Pcg64Mcg;

/// The seed of the stream whose name is `parts` joined: `stream(seed, &["nat/", name, "/ports"])`.
///
/// FNV-1a over seed and name, finished by splitmix64's mixer so that close names give distant seeds.
pub(crate) fn stream(seed: u64, parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let name = parts.iter().flat_map(|part| part.bytes());
    for byte in seed.to_le_bytes().into_iter().chain(name) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    mix(hash)
}

/// The seed of the stream number `count` of one name.
pub(crate) fn numbered(seed: u64, parts: &[&str], count: u64) -> u64 {
    mix(stream(seed, parts).wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// The dice of the stream with this seed.
pub(crate) fn dice(seed: u64) -> Pcg64Mcg {
    Pcg64Mcg::new(u128::from(seed) << 64 | u128::from(mix(seed)))
}

/// splitmix64's finisher (Steele, Lea and Flood, 2014).
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_same_however_it_is_cut_into_parts() {
        assert_eq!(stream(7, &["link/", "alice"]), stream(7, &["link/alice"]));
    }

    #[test]
    fn names_and_seeds_and_numbers_give_different_streams() {
        let mut seeds = vec![
            stream(7, &["link/alice"]),
            stream(8, &["link/alice"]),
            stream(7, &["link/bob"]),
            numbered(7, &["link/alice"], 1),
            numbered(7, &["link/alice"], 2),
        ];
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 5);
    }
}
