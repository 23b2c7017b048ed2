//! Hashing of addresses: keyed, for clients choose theirs, and quick, for a table is asked several times a session.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};

/// Hashes keys of a few words, such as a [`ClientAddress`](crate::ClientAddress), each instance with a key of its own.
///
/// Each word is multiplied into what there is, as foldhash does it. Who does not know the key cannot choose addresses that
/// meet in a table. SipHash, which std has, would hide the key even from somebody who sees the hashes; nobody does.
#[derive(Clone)]
pub struct AddressHash {
    start: u64,
    factor: u64,
}

/// One key on its way through an [`AddressHash`].
pub struct AddressHasher {
    state: u64,
    factor: u64,
}

impl Default for AddressHash {
    fn default() -> AddressHash {
        let random = RandomState::new();
        AddressHash { start: random.hash_one(0), factor: random.hash_one(1) | 1 }
    }
}

/// Does not tell the key.
impl fmt::Debug for AddressHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddressHash").finish_non_exhaustive()
    }
}

impl BuildHasher for AddressHash {
    type Hasher = AddressHasher;

    fn build_hasher(&self) -> AddressHasher {
        AddressHasher { state: self.start, factor: self.factor }
    }
}

impl Hasher for AddressHasher {
    fn write(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(size_of::<u64>()) {
            let mut word = [0; size_of::<u64>()];
            word[..piece.len()].copy_from_slice(piece);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.state = fold(self.state ^ word, self.factor);
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    #[allow(clippy::cast_possible_truncation, reason = "the halves of a word")]
    fn write_u128(&mut self, word: u128) {
        self.write_u64((word >> u64::BITS) as u64);
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        // Once more: words in a row come out of one fold in a row, too.
        fold(self.state, self.factor)
    }
}

/// A product, its upper half laid over the lower one.
#[allow(clippy::cast_possible_truncation, reason = "the halves of a product")]
fn fold(word: u64, factor: u64) -> u64 {
    let product = u128::from(word) * u128::from(factor);
    product as u64 ^ (product >> u64::BITS) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::ClientAddress;

    /// As evenly as chance has it, by the upper bits and by the lower ones.
    fn assert_spread(addresses: impl Iterator<Item = IpAddr>) {
        const BITS: u32 = 12;
        let hash = AddressHash::default();
        let hashes: Vec<u64> =
            addresses.take(1 << BITS).map(|address| hash.hash_one(ClientAddress::from(address))).collect();
        for shift in [0, 32, u64::BITS - BITS] {
            let places: HashSet<u64> =
                hashes.iter().map(|hash| (hash >> shift) & ((1 << BITS) - 1)).collect();
            // By chance it is 1 - 1/e of them, 2589.
            assert!(places.len() > 2400, "{} places, shifted by {shift}", places.len());
        }
    }

    #[test]
    fn neighbouring_addresses_are_spread() {
        for step in [1, 1 << 8, 1 << 16, 1 << 20] {
            assert_spread((0..).map(|number: u32| Ipv4Addr::from_bits(number.wrapping_mul(step)).into()));
        }
        for step in [1, 1 << 64, 1 << 80, (1 << 64) + 1] {
            assert_spread((0..).map(|number: u128| Ipv6Addr::from_bits(number * step).into()));
        }
    }

    #[test]
    fn each_instance_has_a_key_of_its_own() {
        let address = ClientAddress::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert_ne!(AddressHash::default().hash_one(address), AddressHash::default().hash_one(address));
    }
}
