//! What a file is expected to contain, and the check of what comes.

use sha2::{Digest, Sha256};

use crate::failure::Cause;

/// What a file contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// These bytes, over and over, up to a length.
    Repeated { block: Vec<u8>, length: u64 },
    /// As many bytes, with this SHA-256.
    Digest { length: u64, sha256: [u8; 32] },
}

impl Content {
    pub(crate) fn bytes(bytes: Vec<u8>) -> Self {
        let length = bytes.len() as u64;
        Self::Repeated { block: bytes, length }
    }

    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Repeated { length, .. } | Self::Digest { length, .. } => *length,
        }
    }

    /// A check of what comes against this.
    pub(crate) fn check(&self) -> Check<'_> {
        let hash = matches!(self, Self::Digest { .. }).then(Sha256::new);
        Check { content: self, at: 0, hash, differs_at: None }
    }
}

/// A file that nothing is known of, as it comes for the first time. It is kept, to be compared with what comes later: that takes the tester
/// a small part of what it takes to hash it. Only where it is longer than what may be kept it is known by its hash.
#[derive(Debug)]
pub(crate) struct Fetched {
    kept: Vec<u8>,
    kept_max: usize,
    length: u64,
    hash: Option<Sha256>,
}

impl Fetched {
    pub(crate) fn new(kept_max: usize) -> Self {
        Self { kept: Vec::new(), kept_max, length: 0, hash: None }
    }

    pub(crate) fn take(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        if self.hash.is_none() && self.kept.len() + bytes.len() > self.kept_max {
            self.hash = Some(Sha256::new_with_prefix(std::mem::take(&mut self.kept)));
        }
        match &mut self.hash {
            Some(hash) => hash.update(bytes),
            None => self.kept.extend_from_slice(bytes),
        }
    }

    /// It has come to its end.
    pub(crate) fn finish(mut self) -> Content {
        match self.hash {
            Some(hash) => Content::Digest { length: self.length, sha256: hash.finalize().into() },
            None => {
                self.kept.shrink_to_fit();
                Content::bytes(self.kept)
            }
        }
    }
}

/// Compares bytes as they come.
#[derive(Debug)]
pub(crate) struct Check<'a> {
    content: &'a Content,
    at: u64,
    hash: Option<Sha256>,
    differs_at: Option<u64>,
}

impl Check<'_> {
    pub(crate) fn take(&mut self, mut bytes: &[u8]) {
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
        let Content::Repeated { block, .. } = self.content else {
            self.at += bytes.len() as u64;
            return;
        };
        while !bytes.is_empty() && !block.is_empty() {
            let within = usize::try_from(self.at % block.len() as u64).unwrap_or(0);
            let expected = &block[within..];
            let length = expected.len().min(bytes.len());
            if self.differs_at.is_none() && expected[..length] != bytes[..length] {
                self.differs_at = Some(self.at);
            }
            self.at += length as u64;
            bytes = &bytes[length..];
        }
        self.at += bytes.len() as u64;
    }

    /// Whether more came than there should be.
    pub(crate) fn has_too_much(&self) -> bool {
        self.at > self.content.length()
    }

    /// Nothing more comes: was it right?
    ///
    /// # Errors
    ///
    /// [`Cause::WrongContents`] with what is wrong.
    pub(crate) fn finish(self) -> Result<(), Cause> {
        let length = self.content.length();
        let wrong = |what: String| Err(Cause::WrongContents(what));
        if self.has_too_much() {
            return wrong(format!("more than the {length} bytes that there should be"));
        }
        if self.at != length {
            return wrong(format!("{} bytes instead of {length}", self.at));
        }
        if let Some(at) = self.differs_at {
            return wrong(format!("other bytes within the piece that begins at {at}"));
        }
        if let (Some(hash), Content::Digest { sha256, .. }) = (self.hash, self.content)
            && hash.finalize()[..] != sha256[..]
        {
            return wrong(String::from("another SHA-256"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(content: &Content, pieces: &[&[u8]]) -> Result<(), Cause> {
        let mut check = content.check();
        for piece in pieces {
            check.take(piece);
        }
        check.finish()
    }

    #[test]
    fn right_bytes_pass_in_any_pieces() {
        let content = Content::Repeated { block: b"abc".to_vec(), length: 7 };
        assert!(checked(&content, &[b"abcabca"]).is_ok());
        assert!(checked(&content, &[b"a", b"bcab", b"ca"]).is_ok());
        let digest = Content::Digest { length: 7, sha256: Sha256::digest(b"abcabca").into() };
        assert!(checked(&digest, &[b"abca", b"bca"]).is_ok());
    }

    #[test]
    fn what_is_fetched_is_kept_as_far_as_it_may_be() {
        let fetched = |kept_max, pieces: &[&[u8]]| {
            let mut fetched = Fetched::new(kept_max);
            pieces.iter().for_each(|piece| fetched.take(piece));
            fetched.finish()
        };
        assert_eq!(fetched(6, &[b"abc", b"def"]), Content::bytes(b"abcdef".to_vec()));
        let digest = Content::Digest { length: 6, sha256: Sha256::digest(b"abcdef").into() };
        assert_eq!(fetched(5, &[b"abc", b"de", b"f"]), digest);
        assert_eq!(fetched(0, &[b"abcdef"]), digest);
        assert_eq!(fetched(0, &[]), Content::bytes(Vec::new()));
    }

    #[test]
    fn wrong_bytes_do_not() {
        let content = Content::Repeated { block: b"abc".to_vec(), length: 7 };
        assert!(checked(&content, &[b"abcabc"]).is_err());
        assert!(checked(&content, &[b"abcabcab"]).is_err());
        assert!(checked(&content, &[b"abcabcx"]).is_err());
        let digest = Content::Digest { length: 7, sha256: Sha256::digest(b"abcabca").into() };
        assert!(checked(&digest, &[b"abcabcx"]).is_err());
        assert!(checked(&Content::bytes(Vec::new()), &[b"x"]).is_err());
    }
}
