//! Passwords and their hashes: argon2id (RFC 9106), in PHC string format.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};

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

/// Whether `hash` is that of `password`.
pub(crate) fn fits(password: &[u8], hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
}

/// A hash that costs next to nothing.
#[cfg(test)]
pub(crate) fn quick_hash(password: &[u8]) -> String {
    hash_of_cost(password, 1)
}

/// A hash of so many passes over next to no memory.
#[cfg(test)]
pub(crate) fn hash_of_cost(password: &[u8], passes: u32) -> String {
    use argon2::{Algorithm, Params, Version};
    let params = Params::new(8, passes, 1, None).unwrap();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password(password).unwrap().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_fits_its_password_alone() {
        let hash = hash_password(b"correct horse").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(fits(b"correct horse", &hash));
        assert!(!fits(b"correct horses", &hash));
        assert!(!fits(b"correct horse", "no hash at all"));
        assert_ne!(hash, hash_password(b"correct horse").unwrap(), "each hash has a salt of its own");
    }
}
