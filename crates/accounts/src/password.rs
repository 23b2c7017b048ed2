//! Passwords and their hashes: argon2id (RFC 9106), in PHC string format.

use std::cell::RefCell;

use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::{Algorithm, Argon2, Block, Params, Version};

thread_local! {
    /// What a check fills. A thread keeps it for its next check: checks hold no more memory than there are threads for
    /// them, whatever the allocator keeps of what is given back, and the kernel does not clear thousands of pages each time.
    static MEMORY: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
}

/// No hash could be made.
#[derive(Debug, thiserror::Error)]
#[error("the password could not be hashed: {0}")]
pub struct HashFailed(argon2::password_hash::Error);

/// The hash of a password with a salt of its own, by the parameters that OWASP recommends (19 MiB, two passes).
///
/// # Errors
/// [`HashFailed`] where the system gives no random salt, or not the memory.
pub fn hash_password(password: &[u8]) -> Result<String, HashFailed> {
    Argon2::default().hash_password(password).map(|hash| hash.to_string()).map_err(HashFailed)
}

/// Whether `hash` is that of `password`. The thread keeps the memory that this takes.
pub(crate) fn fits(password: &[u8], hash: &str) -> bool {
    PasswordHash::new(hash)
        .is_ok_and(|hash| output_for(password, &hash).is_some_and(|output| Some(output) == hash.hash))
}

/// What `password` comes to by the parameters and the salt of `hash`. Outputs compare in the same time, wherever they differ.
fn output_for(password: &[u8], hash: &PasswordHash) -> Option<Output> {
    let algorithm = Algorithm::try_from(hash.algorithm.as_str()).ok()?;
    let version = hash.version.map_or(Ok(Version::default()), Version::try_from).ok()?;
    let params = Params::try_from(hash).ok()?;
    let blocks = params.block_count();
    let argon2 = Argon2::new(algorithm, version, params);
    let mut output = [0; Output::MAX_LENGTH];
    let output = output.get_mut(..hash.hash?.len())?;
    MEMORY.with_borrow_mut(|memory| {
        if memory.len() < blocks {
            // Gone before there is more: the old is not copied.
            *memory = Vec::new();
            memory.try_reserve_exact(blocks).ok()?;
            memory.resize(blocks, Block::new());
        }
        argon2
            .hash_password_into_with_memory(password, hash.salt.as_deref()?, output, &mut memory[..blocks])
            .ok()
    })?;
    Output::new(output).ok()
}

/// A hash that costs next to nothing.
#[cfg(test)]
pub(crate) fn quick_hash(password: &[u8]) -> String {
    hash_of_cost(password, 1)
}

/// A hash of so many passes over next to no memory.
#[cfg(test)]
pub(crate) fn hash_of_cost(password: &[u8], passes: u32) -> String {
    let params = Params::new(8, passes, 1, None).unwrap();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password(password).unwrap().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory that an earlier check has filled, whichever its size, changes nothing.
    #[test]
    fn checks_of_a_thread_do_not_touch_each_other() {
        let hashes = [8, 64, 16].map(|kibibytes| {
            let params = Params::new(kibibytes, 2, 1, None).unwrap();
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            argon2.hash_password(b"secret").unwrap().to_string()
        });
        for hash in hashes.iter().chain(&hashes) {
            assert!(fits(b"secret", hash), "{hash}");
            assert!(!fits(b"guess", hash), "{hash}");
        }
        assert_eq!(MEMORY.with_borrow(Vec::len), 64);
    }

    #[test]
    fn a_hash_fits_its_password_alone() {
        let hash = hash_password(b"correct horse").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(fits(b"correct horse", &hash));
        assert!(!fits(b"correct horses", &hash));
        assert!(!fits(b"correct horse", "no hash at all"));
        let (parameters_and_salt, _output) = hash.rsplit_once('$').unwrap();
        assert!(!fits(b"correct horse", parameters_and_salt));
        assert_ne!(hash, hash_password(b"correct horse").unwrap(), "each hash has a salt of its own");
    }
}
