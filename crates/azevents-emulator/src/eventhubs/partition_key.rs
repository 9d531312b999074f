//! Which partition a key belongs to.
//!
//! The service does not document it, but its official clients with a buffered producer have to
//! agree with it and carry the function: Bob Jenkins' `lookup3` (`hashlittle2`), whose two results
//! are combined with exclusive or and cut to a signed 16-bit number. See `PartitionResolver` in
//! azure-sdk-for-net (`Azure.Messaging.EventHubs/src/Producer`), also in the Java, JavaScript and
//! Python SDKs.

/// The partition of a key among `count`.
pub(super) fn partition_of(key: &str, count: usize) -> usize {
    let hash = i64::from(hash_code(key));
    (hash % count as i64).unsigned_abs() as usize
}

fn hash_code(key: &str) -> i16 {
    if key.is_empty() {
        return 0;
    }
    let (b, c) = lookup3(key.as_bytes());
    (b ^ c) as i16
}

/// `hashlittle2` of <https://burtleburtle.net/bob/c/lookup3.c> with both seeds 0.
fn lookup3(data: &[u8]) -> (u32, u32) {
    let start = 0xdead_beef_u32.wrapping_add(data.len() as u32);
    let (mut a, mut b, mut c) = (start, start, start);
    // The last block, even a full one, is mixed differently.
    let mut rest = data;
    while rest.len() > 12 {
        let (block, tail) = rest.split_at(12);
        a = a.wrapping_add(word(&block[0..4]));
        b = b.wrapping_add(word(&block[4..8]));
        c = c.wrapping_add(word(&block[8..12]));
        (a, b, c) = mix(a, b, c);
        rest = tail;
    }
    if rest.is_empty() {
        return (b, c);
    }
    let mut block = [0; 12];
    block[..rest.len()].copy_from_slice(rest);
    a = a.wrapping_add(word(&block[0..4]));
    b = b.wrapping_add(word(&block[4..8]));
    c = c.wrapping_add(word(&block[8..12]));
    finish(a, b, c)
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn mix(mut a: u32, mut b: u32, mut c: u32) -> (u32, u32, u32) {
    // Each step: x -= z; x ^= rot(z, k); z += y, with the roles going round.
    for (ka, kb, kc) in [(4, 6, 8), (16, 19, 4)] {
        a = a.wrapping_sub(c) ^ c.rotate_left(ka);
        c = c.wrapping_add(b);
        b = b.wrapping_sub(a) ^ a.rotate_left(kb);
        a = a.wrapping_add(c);
        c = c.wrapping_sub(b) ^ b.rotate_left(kc);
        b = b.wrapping_add(a);
    }
    (a, b, c)
}

fn finish(mut a: u32, mut b: u32, mut c: u32) -> (u32, u32) {
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    c = (c ^ b).wrapping_sub(b.rotate_left(24));
    (b, c)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Keys and hashes from the Python SDK's test_partition_resolver.py.
    #[test]
    fn keys_hash_as_in_the_official_clients() {
        for (key, hash) in [
            ("7", -15263),
            ("7149583486996073602", 12977),
            ("FWfAT", -22341),
            ("sOdeEAsyQoEuEFPGerWO", -6503),
        ] {
            assert_eq!(hash_code(key), hash, "{key}");
        }
    }

    #[test]
    fn a_negative_hash_has_a_partition_too() {
        // -15263 % 4 is -3 where the sign is that of the dividend, as in C#.
        assert_eq!(partition_of("7", 4), 3);
        assert_eq!(partition_of("", 4), 0);
    }

    #[test]
    fn keys_of_every_length_are_spread() {
        let mut seen = [0; 8];
        for n in 0..800 {
            let key = "k".repeat(n % 40) + &n.to_string();
            seen[partition_of(&key, 8)] += 1;
        }
        assert!(seen.iter().all(|n| (60..160).contains(n)), "{seen:?}");
    }
}
