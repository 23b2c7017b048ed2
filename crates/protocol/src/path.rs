//! A client's view of the tree: absolute paths of bytes, with `/` between the names.

use std::fmt;

/// The longest path in bytes that a session holds: the kernel's `PATH_MAX` less its closing zero.
pub const PATH_BYTES_MAX: usize = 4095;

/// The longest name in bytes: the kernel's `NAME_MAX`.
pub const NAME_BYTES_MAX: usize = 255;

/// An absolute path as the client sees it: it starts with `/`, has no empty name, no `.`, no `..` and no zero byte, and
/// ends with `/` only where it is the root. Because `..` is resolved here, on the names, it cannot climb above the root.
///
/// Each name stands behind its `/`, so that the root, where every session begins, has no bytes and needs no memory.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VirtualPath(Box<[u8]>);

/// Why an argument is not a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathError {
    /// The path or one of its names is longer than the kernel takes.
    TooLong,
    /// There is a zero byte in it.
    ZeroByte,
}

impl VirtualPath {
    /// The root, `/`.
    pub fn root() -> Self {
        Self(Box::default())
    }

    /// Reads `argument` as seen from this directory: absolute where it starts with `/`, relative otherwise.
    pub fn join(&self, argument: &[u8]) -> Result<Self, PathError> {
        if argument.contains(&0) {
            return Err(PathError::ZeroByte);
        }
        let mut joined = Vec::with_capacity(self.0.len() + argument.len() + 1);
        if !argument.starts_with(b"/") {
            joined.extend_from_slice(&self.0);
        }
        for name in argument.split(|&byte| byte == b'/') {
            match name {
                b"" | b"." => {}
                b".." => {
                    let parent = joined.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
                    joined.truncate(parent);
                }
                name if name.len() > NAME_BYTES_MAX => return Err(PathError::TooLong),
                name => {
                    joined.push(b'/');
                    joined.extend_from_slice(name);
                }
            }
        }
        if joined.len() > PATH_BYTES_MAX {
            return Err(PathError::TooLong);
        }
        Ok(Self(joined.into_boxed_slice()))
    }

    /// The directory that this path is in; the root's is the root.
    pub fn parent(&self) -> Self {
        let slash = self.0.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        Self(self.0[..slash].into())
    }

    /// The last name; empty for the root.
    pub fn name(&self) -> &[u8] {
        let after_slash = self.0.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        &self.0[after_slash..]
    }

    /// Whether this is `/`.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path as bytes, with its leading `/`.
    pub fn as_bytes(&self) -> &[u8] {
        if self.is_root() { b"/" } else { &self.0 }
    }
}

impl fmt::Debug for VirtualPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{self}\"")
    }
}

impl fmt::Display for VirtualPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.as_bytes().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(from: &str, argument: &str) -> String {
        let from = VirtualPath::root().join(from.as_bytes()).unwrap();
        String::from_utf8(from.join(argument.as_bytes()).unwrap().as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn arguments_are_read_from_the_working_directory() {
        assert_eq!(joined("/pub", "a/b"), "/pub/a/b");
        assert_eq!(joined("/pub", "/a/b"), "/a/b");
        assert_eq!(joined("/", "a"), "/a");
        assert_eq!(joined("/pub", ""), "/pub");
        assert_eq!(joined("/pub", "./a//b/./"), "/pub/a/b");
    }

    #[test]
    fn dots_stop_at_the_root() {
        assert_eq!(joined("/pub", ".."), "/");
        assert_eq!(joined("/pub", "../../../../etc/passwd"), "/etc/passwd");
        assert_eq!(joined("/a/b", "../c"), "/a/c");
        assert_eq!(joined("/", "/../.."), "/");
        assert_eq!(joined("/a", "..."), "/a/...");
    }

    #[test]
    fn what_the_kernel_would_not_take_is_refused() {
        let root = VirtualPath::root();
        assert_eq!(root.join(b"a\0b"), Err(PathError::ZeroByte));
        assert_eq!(root.join(&[b'a'; 256]), Err(PathError::TooLong));
        assert!(root.join(&[b'a'; 255]).is_ok());
        assert_eq!(root.join(&b"abcd/".repeat(1000)), Err(PathError::TooLong));
        assert!(root.join(&b"abcd/../".repeat(1000)).is_ok());
    }

    #[test]
    fn a_path_knows_its_parts() {
        let path = VirtualPath::root().join(b"/a/b").unwrap();
        assert_eq!(path.name(), b"b");
        assert_eq!(path.parent().as_bytes(), b"/a");
        assert_eq!(path.parent().parent().as_bytes(), b"/");
        assert_eq!(VirtualPath::root().parent(), VirtualPath::root());
        assert_eq!(VirtualPath::root().name(), b"");
    }
}
