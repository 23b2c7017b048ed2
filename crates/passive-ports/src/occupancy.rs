//! Which ports of a slice each client's address occupies, and the next one that it does not.
//!
//! A port is occupied for an address by a pending lease or by a cool-down, and free for every other address
//! all the while. Choosing must stay quick for an address that occupies 9,999 of 10,000 ports, and memory
//! must follow what is occupied, not addresses times ports. So the slice is seen as blocks of 512 ports: an
//! address has a bit map for each block in which it occupies something, found by hash, and one word that
//! says which of its blocks are full, so that finding a free port looks at two blocks at most.

use crate::chain::Chain;
use crate::client::ClientAddress;
use crate::table::Table;

/// Ports in a block: a cache line of bits.
const BLOCK_PORTS: usize = 512;

/// Bits in a word of the map.
const WORD_BITS: usize = u64::BITS as usize;

/// Words in a block's map.
const BLOCK_WORDS: usize = BLOCK_PORTS / WORD_BITS;

/// The most ports a slice may have: there is a bit for each block in [`Occupant::full`].
pub(crate) const PORTS_MAX: usize = BLOCK_PORTS * u128::BITS as usize;

/// All addresses that occupy a port of one slice.
pub(crate) struct Occupancy {
    ports: usize,
    occupants: Table<ClientAddress, Occupant>,
    blocks: Table<BlockKey, Block>,
    /// The port after the one that was chosen last, for whichever address: successive leases use successive
    /// ports, so that a port returns to an address as late as possible.
    next: usize,
}

/// One address, for as long as it occupies a port.
pub(crate) struct Occupant {
    /// A bit for each block: set where no port is free for this address, and beyond the last block.
    full: u128,
    /// How many ports it occupies.
    occupied: u32,
    /// Its pairs that cool down, longest first.
    pub(crate) cooling: Chain,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct BlockKey {
    occupant: u32,
    block: u32,
}

/// What one address occupies of one block.
struct Block {
    /// A bit for each port, set where it is occupied, and beyond the last port.
    map: [u64; BLOCK_WORDS],
    occupied: usize,
}

impl Occupancy {
    /// A slice of `ports` ports, with room for `pairs_max` pairs of port and address.
    pub(crate) fn new(ports: usize, pairs_max: u32) -> Occupancy {
        debug_assert!(ports <= PORTS_MAX);
        Occupancy {
            ports,
            // A pair adds an address and a block at most.
            occupants: Table::with_capacity(pairs_max),
            blocks: Table::with_capacity(pairs_max),
            next: 0,
        }
    }

    /// The slot of an address that occupies something.
    pub(crate) fn find(&self, client: ClientAddress) -> Option<u32> {
        self.occupants.find(client)
    }

    pub(crate) fn occupant(&mut self, slot: u32) -> &mut Occupant {
        &mut self.occupants[slot]
    }

    /// Occupies, for this address, the next port that is free for it. Gives the address's slot and the port's
    /// number in the slice, or nothing where it occupies every port.
    pub(crate) fn occupy_next(&mut self, client: ClientAddress) -> Option<(u32, usize)> {
        if self.ports == 0 {
            return None;
        }
        let (occupant, port) = match self.find(client) {
            Some(occupant) => (occupant, self.free_port(occupant)?),
            None => (self.add_occupant(client), self.next),
        };
        self.next = if port + 1 == self.ports { 0 } else { port + 1 };
        self.mark(occupant, port);
        Some((occupant, port))
    }

    /// Frees a port that the address in this slot occupies. The slot ends with its last port.
    pub(crate) fn vacate(&mut self, occupant: u32, port: usize) {
        let key = BlockKey { occupant, block: block_of(port) };
        if let Some(slot) = self.blocks.find(key) {
            let block = &mut self.blocks[slot];
            block.clear(port % BLOCK_PORTS);
            if block.occupied == 0 {
                self.blocks.remove(slot);
            }
        }
        let entry = &mut self.occupants[occupant];
        entry.full &= !(1 << key.block);
        entry.occupied -= 1;
        if entry.occupied == 0 {
            self.occupants.remove(occupant);
        }
    }

    fn add_occupant(&mut self, client: ClientAddress) -> u32 {
        let blocks = self.ports.div_ceil(BLOCK_PORTS);
        let beyond = u128::MAX.checked_shl(u32::try_from(blocks).unwrap_or(u128::BITS)).unwrap_or(0);
        self.occupants.insert(client, Occupant { full: beyond, occupied: 0, cooling: Chain::EMPTY })
    }

    /// The first port from `next` on, round the end of the slice, that this address does not occupy.
    fn free_port(&self, occupant: u32) -> Option<usize> {
        let open = !self.occupants[occupant].full;
        let first = block_of(self.next);
        if open & (1 << first) != 0
            && let Some(port) = self.free_port_in(occupant, first, self.next % BLOCK_PORTS)
        {
            return Some(port);
        }
        // The rest of the first block is occupied; what is before `next` in it comes last in the round.
        let second = (first + 1) % u128::BITS;
        let skipped = open.rotate_right(second).trailing_zeros();
        if skipped == u128::BITS {
            return None;
        }
        self.free_port_in(occupant, (second + skipped) % u128::BITS, 0)
    }

    /// The first port of `block`, from `from` on in it, that this address does not occupy.
    fn free_port_in(&self, occupant: u32, block: u32, from: usize) -> Option<usize> {
        let base = block as usize * BLOCK_PORTS;
        match self.blocks.find(BlockKey { occupant, block }) {
            Some(slot) => self.blocks[slot].free_from(from).map(|port| base + port),
            None => Some(base + from),
        }
    }

    fn mark(&mut self, occupant: u32, port: usize) {
        let key = BlockKey { occupant, block: block_of(port) };
        let room = (self.ports - key.block as usize * BLOCK_PORTS).min(BLOCK_PORTS);
        let slot = match self.blocks.find(key) {
            Some(slot) => slot,
            None => self.blocks.insert(key, Block::with_room(room)),
        };
        let block = &mut self.blocks[slot];
        block.set(port % BLOCK_PORTS);
        let entry = &mut self.occupants[occupant];
        entry.occupied += 1;
        if block.occupied == room {
            entry.full |= 1 << key.block;
        }
    }
}

/// The block that a port of the slice is in.
fn block_of(port: usize) -> u32 {
    // A slice has 128 blocks at most.
    u32::try_from(port / BLOCK_PORTS).unwrap_or(u32::MAX)
}

impl Block {
    /// A block of which the slice has the first `room` ports.
    fn with_room(room: usize) -> Block {
        let mut map = [0; BLOCK_WORDS];
        for (number, word) in map.iter_mut().enumerate() {
            let ports = room.saturating_sub(number * WORD_BITS);
            if ports < WORD_BITS {
                *word = u64::MAX << ports;
            }
        }
        Block { map, occupied: 0 }
    }

    fn set(&mut self, port: usize) {
        self.map[port / WORD_BITS] |= 1 << (port % WORD_BITS);
        self.occupied += 1;
    }

    fn clear(&mut self, port: usize) {
        self.map[port / WORD_BITS] &= !(1 << (port % WORD_BITS));
        self.occupied -= 1;
    }

    fn free_from(&self, from: usize) -> Option<usize> {
        let first = from / WORD_BITS;
        let mut free = !self.map[first] & (u64::MAX << (from % WORD_BITS));
        for word in first..BLOCK_WORDS {
            if word > first {
                free = !self.map[word];
            }
            if free != 0 {
                return Some(word * WORD_BITS + free.trailing_zeros() as usize);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::prelude::*;

    use super::*;

    fn client(number: u32) -> ClientAddress {
        IpAddr::V4(Ipv4Addr::from_bits(number)).into()
    }

    /// Sizes at and about the edges of words and blocks.
    fn sizes() -> impl Strategy<Value = usize> {
        prop::sample::select(vec![1, 2, 63, 64, 65, 511, 512, 513, 1024, 1300])
    }

    proptest! {
        /// The naive choice: walk from the port after the last one until one is free.
        #[test]
        fn the_next_free_port_is_found(
            ports in sizes(),
            steps in prop::collection::vec((0_usize..2, any::<prop::sample::Index>(), 0_usize..9), 1..100),
        ) {
            let clients = [client(1), client(2)];
            let mut occupancy = Occupancy::new(ports, 4096);
            let mut occupied = [vec![false; ports], vec![false; ports]];
            let mut next = 0;
            for (number, pick, action) in steps {
                let (client, occupied) = (clients[number], &mut occupied[number]);
                let held: Vec<usize> = (0..ports).filter(|port| occupied[*port]).collect();
                // Mostly occupying, and in bursts, so that blocks fill up.
                if action < 2 && !held.is_empty() {
                    let port = *pick.get(&held);
                    let slot = occupancy.find(client).unwrap();
                    occupancy.vacate(slot, port);
                    occupied[port] = false;
                    prop_assert_eq!(occupancy.find(client).is_none(), held.len() == 1);
                    continue;
                }
                for _ in 0..=action * 16 {
                    let expected = (0..ports).map(|step| (next + step) % ports).find(|port| !occupied[*port]);
                    let found = occupancy.occupy_next(client).map(|(_, port)| port);
                    prop_assert_eq!(found, expected);
                    let Some(port) = found else { break };
                    next = (port + 1) % ports;
                    occupied[port] = true;
                }
            }
        }
    }

    #[test]
    fn one_address_occupies_every_port_of_the_largest_slice_but_one_and_finds_it() {
        let ports = 65_535;
        let mut occupancy = Occupancy::new(ports, 65_535);
        for port in 0..ports {
            assert_eq!(occupancy.occupy_next(client(1)).map(|(_, port)| port), Some(port));
        }
        assert!(occupancy.occupy_next(client(1)).is_none());
        let slot = occupancy.find(client(1)).unwrap();
        for port in [0, 511, 512, 40_000, 65_534] {
            occupancy.vacate(slot, port);
            assert_eq!(occupancy.occupy_next(client(1)), Some((slot, port)));
        }
    }

    #[test]
    fn an_empty_slice_has_nothing() {
        assert!(Occupancy::new(0, 1).occupy_next(client(1)).is_none());
    }
}
