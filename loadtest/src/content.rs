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
