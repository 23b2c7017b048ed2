//! Hashes of passwords, in the PHC string format.

use std::fmt;

use toml::de::DeValue;

use crate::error::Fault;
use crate::place::Lines;
use crate::value::{Scalar, quoted, wrong_type, wrong_value};

/// The version of Argon2 of RFC 9106, 1.3.
const VERSION: u32 = 0x13;

/// A single login takes this much memory at most, so that a slip cannot make each one take all there is.
const MEMORY_KIB_MAX: u32 = 1 << 20;

/// A hash by argon2id, `$argon2id$v=19$m=...,t=...,p=...$SALT$HASH`. It does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// The text, to check a password by.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// No hash: what an account has until it is read.
    pub(crate) fn none() -> Self {
        Self(String::new())
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PasswordHash(..)")
    }
}

impl Scalar for PasswordHash {
    fn expected() -> String {
        String::from("what `ringftpd hash-password` prints, \"$argon2id$v=19$...\"")
    }

    /// The text is not repeated in what is told of it: it may be a password.
    fn from_text(text: &str) -> Result<Self, Fault> {
        let wrong = |what: &str| wrong_value(what, format!("write {}", <Self as Scalar>::expected()));
        let hash: phc::PasswordHash =
            text.parse().map_err(|_| wrong("this is no hash in PHC string format"))?;
        if hash.algorithm.as_str() != "argon2id" {
            return Err(wrong("the hash is not by argon2id"));
        }
        if hash.version != Some(VERSION) {
            return Err(wrong("the hash is not by version 19 of argon2id"));
        }
        if hash.salt.is_none() || hash.hash.is_none() {
            return Err(wrong("the hash lacks its salt or its end"));
        }
        let parameter = |name: &str| hash.params.get(name).and_then(|value| value.decimal().ok());
        let (Some(memory_kib), Some(passes), Some(lanes)) = (parameter("m"), parameter("t"), parameter("p"))
        else {
            return Err(wrong("the hash lacks one of its parameters m, t and p"));
        };
        // RFC 9106 section 3.1.
        if lanes == 0 || passes == 0 || memory_kib < lanes.saturating_mul(8) {
            return Err(wrong("the hash has parameters that argon2id cannot have"));
        }
        if memory_kib > MEMORY_KIB_MAX {
            return Err(wrong("the hash takes more than 1 GiB of memory to check"));
        }
        Ok(Self(text.to_owned()))
    }

    fn from_toml(value: &DeValue<'_>, _: &Lines<'_>) -> Result<Self, Fault> {
        match value {
            DeValue::String(text) => <Self as Scalar>::from_text(text),
            other => Err(wrong_type(other, <Self as Scalar>::expected())),
        }
    }

    fn to_toml(&self) -> String {
        quoted(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo";

    #[test]
    fn only_argon2id_is_taken() {
        assert!(PasswordHash::from_text(HASH).is_ok());
        for wrong in [
            "",
            "secret",
            "$2b$12$abcdefghijklmnopqrstuu",
            "$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo",
            "$argon2id$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo",
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ",
            "$argon2id$v=19$m=19456,t=2$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo",
            "$argon2id$v=19$m=7,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo",
            "$argon2id$v=19$m=19456,t=0,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo",
            "$argon2id$v=19$m=4194304,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo",
        ] {
            assert!(PasswordHash::from_text(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn neither_the_hash_nor_a_mistaken_password_prints() {
        let hash = PasswordHash::from_text(HASH).unwrap();
        assert!(!format!("{hash:?}").contains("aGFz"));
        let fault = PasswordHash::from_text("hunter2").unwrap_err();
        assert!(!fault.to_string().contains("hunter2"));
    }
}
