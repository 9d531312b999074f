//! Which partition a key belongs to.
//!
//! The service promises that a key stays with its partition and does not publish its function; the
//! one inside the official buffered producers is not it ("may be assigned a different partition
//! than those using the same key with other producers", documentation of
//! `EventHubBufferedProducerClient`). So any stable function that spreads keys is as good as
//! another, and a test that relies on more would fail on Azure.

/// The partition of a key among `count`.
pub(super) fn partition_of(key: &str, count: usize) -> usize {
    (fnv1a(key.as_bytes()) % count as u64) as usize
}

/// FNV-1a with 64 bits (Fowler, Noll, Vo; RFC 9923): the same in every build and on every machine,
/// unlike the hashers of the standard library.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_has_its_published_values() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn keys_of_every_length_are_spread_over_any_number_of_partitions() {
        for count in [1, 4, 7, 32] {
            let mut seen = vec![0; count];
            for n in 0..count * 100 {
                let key = "k".repeat(n % 40) + &n.to_string();
                seen[partition_of(&key, count)] += 1;
            }
            assert!(seen.iter().all(|n| (60..=140).contains(n)), "{seen:?}");
        }
    }
}
