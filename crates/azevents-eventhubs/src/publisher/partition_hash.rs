//! The hash by which the official buffered producers find a key's partition.
//!
//! Bob Jenkins' lookup3 (`hashlittle2`, burtleburtle.net/bob/c/lookup3.c, public domain) with both seeds
//! zero; its two results are joined by exclusive or and cut to 16 signed bits. The partition is the
//! remainder's magnitude, with the remainder cut towards zero as .NET, Java and JavaScript do it. (The Python
//! client's remainder is never negative and it counts characters, not bytes: it places many keys elsewhere.)

/// The place of `key`'s partition among `count` of them. `count` is at least 1.
pub(super) fn partition_of(key: &str, count: usize) -> usize {
    let hash = i64::from(hash(key.as_bytes()));
    (hash % count as i64).unsigned_abs() as usize
}

fn hash(key: &[u8]) -> i16 {
    let (b, c) = lookup3(key);
    (b ^ c) as u16 as i16
}

/// Both results of `hashlittle2`, byte by byte, which gives the same on every machine.
fn lookup3(key: &[u8]) -> (u32, u32) {
    let start = 0xdead_beef_u32.wrapping_add(key.len() as u32);
    let mut state = [start; 3];
    // The last block, full or not, is mixed differently; only an empty key has none.
    let mut rest = key;
    while rest.len() > 12 {
        let (block, more) = rest.split_at(12);
        add(&mut state, block);
        mix(&mut state);
        rest = more;
    }
    if !rest.is_empty() {
        add(&mut state, rest);
        finish(&mut state);
    }
    (state[1], state[2])
}

/// Adds up to twelve bytes, as three little-endian numbers that end in zeros.
fn add(state: &mut [u32; 3], block: &[u8]) {
    for (word, bytes) in state.iter_mut().zip(block.chunks(4)) {
        let mut padded = [0; 4];
        padded[..bytes.len()].copy_from_slice(bytes);
        *word = word.wrapping_add(u32::from_le_bytes(padded));
    }
}

fn mix(state: &mut [u32; 3]) {
    let [mut a, mut b, mut c] = *state;
    for (rotation_a, rotation_b, rotation_c) in [(4, 6, 8), (16, 19, 4)] {
        a = a.wrapping_sub(c) ^ c.rotate_left(rotation_a);
        c = c.wrapping_add(b);
        b = b.wrapping_sub(a) ^ a.rotate_left(rotation_b);
        a = a.wrapping_add(c);
        c = c.wrapping_sub(b) ^ b.rotate_left(rotation_c);
        b = b.wrapping_add(a);
    }
    *state = [a, b, c];
}

fn finish(state: &mut [u32; 3]) {
    let [mut a, mut b, mut c] = *state;
    let step = |word: u32, by: u32, rotation| (word ^ by).wrapping_sub(by.rotate_left(rotation));
    c = step(c, b, 14);
    a = step(a, c, 11);
    b = step(b, a, 25);
    c = step(c, b, 16);
    a = step(a, c, 4);
    b = step(b, a, 14);
    c = step(c, b, 24);
    *state = [a, b, c];
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `@azure/event-hubs` 6.0 computes them (`hashPartitionKey`).
    #[test]
    fn the_hash_is_that_of_the_official_clients() {
        for (key, expected) in [
            ("", 0),
            ("a", -16220),
            ("7", -15263),
            ("order-1", 26663),
            ("order-536365", 8566),
            ("abcdefghijkl", -2373),
            ("abcdefghijklm", -31855),
            ("a-key-of-more-than-two-blocks-of-twelve", -26233),
            ("é€𝄞", 18651),
            ("xxxxxxxxxxxxxxxxxxxxxxxx", -20573),
            ("customer-17850", 31221),
        ] {
            assert_eq!(hash(key.as_bytes()), expected, "{key:?}");
        }
    }

    #[test]
    fn a_negative_hash_has_the_partition_of_its_magnitude() {
        // By `mapPartitionKeyToId` of the same.
        for (key, of_4, of_32) in [("a", 0, 28), ("7", 3, 31), ("order-1", 3, 7), ("é€𝄞", 3, 27)] {
            assert_eq!((partition_of(key, 4), partition_of(key, 32)), (of_4, of_32), "{key:?}");
        }
        assert_eq!(partition_of("a", 1), 0);
    }

    #[test]
    fn keys_are_spread_over_any_number_of_partitions() {
        for count in [1, 4, 7, 32] {
            let mut seen = vec![0; count];
            for n in 0..count * 200 {
                seen[partition_of(&format!("order-{n}"), count)] += 1;
            }
            assert!(seen.iter().all(|n| (140..=260).contains(n)), "{seen:?}");
        }
    }
}
