//! Which partition a key belongs to, as the service's gateway decides it.
//!
//! The official buffered producers have the algorithm: "a direct port of the Event Hubs service
//! code", says .NET's `PartitionResolver` and Java's, and JavaScript's tests name "the C#
//! implementation of Jenkins lookup3 that the Event Hubs service uses". The hash is Bob Jenkins'
//! `hashlittle2` (burtleburtle.net/bob/c/lookup3.c, public domain) over the key in UTF-8 with both
//! seeds 0; its two halves are combined with exclusive or and cut to 16 bits with a sign, and the
//! partition is what remains of the division by their number, without the sign.
//!
//! The service itself promises no more than that a key stays with its partition.

/// The partition of a key among `count`.
pub(super) fn partition_of(key: &str, count: usize) -> usize {
    let hash = i64::from(hash(key.as_bytes()));
    usize::try_from((hash % count as i64).unsigned_abs()).unwrap_or_default()
}

fn hash(key: &[u8]) -> i16 {
    let (primary, secondary) = lookup3(key);
    (primary ^ secondary) as i16
}

/// `hashlittle2` with both seeds 0. Three words take in twelve bytes at a time, are stirred after
/// each twelve but the last, and stirred more thoroughly at the end.
fn lookup3(key: &[u8]) -> (u32, u32) {
    let initial = 0xdead_beef_u32.wrapping_add(key.len() as u32);
    let mut words = Words(initial, initial, initial);
    let mut left = key;
    while left.len() > 12 {
        words.take_in(&left[..12]);
        words.stir();
        left = &left[12..];
    }
    if !left.is_empty() {
        words.take_in(left);
        words.finish();
    }
    (words.2, words.1)
}

struct Words(u32, u32, u32);

impl Words {
    fn take_in(&mut self, block: &[u8]) {
        let mut full = [0; 12];
        full[..block.len()].copy_from_slice(block);
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|n| full[at + n]));
        self.0 = self.0.wrapping_add(word(0));
        self.1 = self.1.wrapping_add(word(4));
        self.2 = self.2.wrapping_add(word(8));
    }

    /// `mix` of the original: six steps, each on the words turned by one place.
    fn stir(&mut self) {
        for rotation in [4, 6, 8, 16, 19, 4] {
            let Self(x, y, z) = *self;
            let x = x.wrapping_sub(z) ^ z.rotate_left(rotation);
            *self = Self(y, z.wrapping_add(y), x);
        }
    }

    /// `final` of the original: seven steps.
    fn finish(&mut self) {
        let (mut c, mut b, mut a) = (self.2, self.1, self.0);
        for rotation in [14, 11, 25, 16, 4, 14, 24] {
            let changed = (c ^ b).wrapping_sub(b.rotate_left(rotation));
            (c, b, a) = (a, changed, b);
        }
        // Seven turns by one place: what was changed last stands second.
        *self = Self(c, a, b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_where_the_official_clients_tests_say() {
        // `partitionKeyToIdMapper.spec.ts` of @azure/event-hubs, misspelt as there.
        for (key, count, partition) in [
            ("alphabet", 3, 0),
            ("alphabet", 11, 4),
            ("TheBestParitionEver", 4, 2),
            ("TheWorstParitionEver", 15, 1),
        ] {
            assert_eq!(partition_of(key, count), partition, "{key} of {count}");
        }
    }

    #[test]
    fn the_hash_has_its_published_values() {
        // `driver5` of lookup3.c.
        assert_eq!(lookup3(b""), (0xdead_beef, 0xdead_beef));
        assert_eq!(lookup3(b"Four score and seven years ago"), (0x1777_0551, 0xce72_26e6));
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
