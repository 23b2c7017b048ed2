//! The client's paths: checked once more before the kernel sees them, and the names that uploads keep for themselves.

use crate::StorageError;

/// The longest path in bytes, its leading `/` counted: the kernel's `PATH_MAX` less the closing zero byte.
const PATH_BYTES_MAX: usize = 4095;

/// What the names of unfinished uploads begin with, where the file system knows no unnamed files.
///
/// No client can list, open, create, rename or delete a name that begins so.
pub const UPLOAD_NAME_PREFIX: &[u8] = b".ringftpd-upload-";

/// The digits after [`UPLOAD_NAME_PREFIX`].
const UPLOAD_NAME_DIGITS: usize = 16;

/// A client's path, checked, as the kernel is asked for it from the root's descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RelativePath<'a>(&'a [u8]);

impl<'a> RelativePath<'a> {
    /// Takes a client's absolute path; refuses what is not normalised.
    pub(crate) fn of(path: &'a [u8]) -> Result<Self, StorageError> {
        let Some(relative) = path.strip_prefix(b"/") else { return Err(StorageError::InvalidName) };
        if path.len() > PATH_BYTES_MAX {
            return Err(StorageError::NameTooLong);
        }
        if !relative.is_empty() {
            for name in relative.split(|&byte| byte == b'/') {
                if matches!(name, b"" | b"." | b"..") || name.contains(&0) || is_reserved(name) {
                    return Err(StorageError::InvalidName);
                }
            }
        }
        Ok(Self(relative))
    }

    /// The path for a call relative to the root's descriptor; the root itself is `.`.
    pub(crate) fn as_bytes(self) -> &'a [u8] {
        if self.0.is_empty() { b"." } else { self.0 }
    }

    /// The directory's path and the last name in it, or nothing for the root, which has neither.
    pub(crate) fn split(self) -> Option<(Self, &'a [u8])> {
        if self.0.is_empty() {
            return None;
        }
        Some(match self.0.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (Self(&self.0[..slash]), &self.0[slash + 1..]),
            None => (Self(b""), self.0),
        })
    }

    /// The client's path of `name` in this directory.
    pub(crate) fn client_path_of(self, name: &[u8]) -> Vec<u8> {
        let mut path = Vec::with_capacity(self.0.len() + name.len() + 2);
        path.push(b'/');
        if !self.0.is_empty() {
            path.extend_from_slice(self.0);
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }
}

/// Whether `name` belongs to uploads, so that clients may not use it.
pub(crate) fn is_reserved(name: &[u8]) -> bool {
    name.starts_with(UPLOAD_NAME_PREFIX)
}

/// Whether `name` is exactly one that [`random_upload_name`] makes: only those may a sweep remove.
pub(crate) fn is_upload_name(name: &[u8]) -> bool {
    name.strip_prefix(UPLOAD_NAME_PREFIX).is_some_and(|digits| {
        digits.len() == UPLOAD_NAME_DIGITS
            && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// A name for an unfinished upload that nothing has, but for a chance of one in 2⁶⁴.
pub(crate) fn random_upload_name() -> Vec<u8> {
    [UPLOAD_NAME_PREFIX, &random_digits()].concat()
}

/// Sixteen random hexadecimal digits.
pub(crate) fn random_digits() -> [u8; UPLOAD_NAME_DIGITS] {
    let random: u64 = rand::random();
    std::array::from_fn(|index| b"0123456789abcdef"[(random >> (index * 4) & 0xf) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_normalised_absolute_paths_pass() {
        for good in [&b"/"[..], b"/a", b"/a/b", b"/a.b/..c/.d", b"/\xff\n"] {
            assert!(RelativePath::of(good).is_ok(), "{}", good.escape_ascii());
        }
        for bad in [&b""[..], b"a", b"//", b"/a/", b"/a//b", b"/.", b"/..", b"/a/../b", b"/a\0b"] {
            assert_eq!(RelativePath::of(bad), Err(StorageError::InvalidName), "{}", bad.escape_ascii());
        }
        let long = [b"/".as_slice(), &b"a/".repeat(2500), b"a"].concat();
        assert_eq!(RelativePath::of(&long), Err(StorageError::NameTooLong));
    }

    #[test]
    fn reserved_names_are_refused_wherever_they_stand() {
        for bad in
            [&b"/.ringftpd-upload-x"[..], b"/.ringftpd-upload-/a", b"/a/.ringftpd-upload-0123456789abcdef"]
        {
            assert_eq!(RelativePath::of(bad), Err(StorageError::InvalidName));
        }
        assert!(RelativePath::of(b"/.ringftpd").is_ok());
    }

    #[test]
    fn a_path_splits_into_directory_and_name() {
        let split = |path| {
            let path: RelativePath<'_> = RelativePath::of(path).unwrap();
            path.split().map(|(directory, name)| (directory.as_bytes(), name))
        };
        assert_eq!(split(b"/"), None);
        assert_eq!(split(b"/a"), Some((&b"."[..], &b"a"[..])));
        assert_eq!(split(b"/a/b/c"), Some((&b"a/b"[..], &b"c"[..])));
    }

    #[test]
    fn a_client_path_is_put_together_again() {
        let directory: RelativePath<'_> = RelativePath::of(b"/a/b").unwrap();
        assert_eq!(directory.client_path_of(b"c"), b"/a/b/c");
        let directory: RelativePath<'_> = RelativePath::of(b"/").unwrap();
        assert_eq!(directory.client_path_of(b"c"), b"/c");
    }

    #[test]
    fn upload_names_are_recognised_and_foreign_ones_are_not() {
        assert!(is_upload_name(&random_upload_name()));
        assert!(!is_upload_name(b".ringftpd-upload-notes"));
        assert!(!is_upload_name(b".ringftpd-upload-0123456789ABCDEF"));
        assert!(!is_upload_name(b".ringftpd-upload-0123456789abcdef0"));
    }
}
