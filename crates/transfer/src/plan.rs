//! Which way the bytes of a transfer take. Pure: no file or socket is asked here.

use std::fmt;
use std::str::FromStr;

use storage::FileSystemKind;
use thiserror::Error;

use crate::CachePolicy;

/// Downloads of at most so many bytes are planned by copy: to read them without waiting answers whether they are in the
/// page cache, and has them, so that one system call does what the question and sendfile(2) do with two. With 4 KiB the
/// copy has used up what that saves.
pub const COPIED_BYTES_MAX: u64 = 2048;

/// Which way the file goes, seen from the client as FTP does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// File to socket (RETR).
    Download,
    /// Socket to file (STOR, APPE, STOU).
    Upload,
}

/// The representation type (RFC 959, section 3.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TransferType {
    /// TYPE A: lines end in CRLF on the network and in LF in the file.
    Ascii,
    /// TYPE I: bytes as they are.
    #[default]
    Image,
}

/// What the page cache does for the file of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheState {
    /// It holds what is sent next, or will once that was fetched.
    Used,
    /// It stays empty: what was just fetched is not in it, as on overlayfs over a daemon that has it so.
    Bypassed,
}

/// One way for the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// From the page cache to the socket in one call, nothing copied.
    Sendfile,
    /// Through a pipe, by reference where the kernel can. The file's half runs on another thread while it may wait.
    Splice,
    /// Through a pipe, the file's half on the kernel's own threads.
    RingSplice,
    /// Through a buffer of the process.
    Copy,
}

impl Route {
    const ALL: [Route; 4] = [Route::Sendfile, Route::Splice, Route::RingSplice, Route::Copy];

    fn name(self) -> &'static str {
        match self {
            Route::Sendfile => "sendfile",
            Route::Splice => "splice",
            Route::RingSplice => "ring-splice",
            Route::Copy => "copy",
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A setting: the planned route, or another, to compare them. Written `auto`, or as the route is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RoutePreference {
    /// What the table of [`plan`](fn@plan) says.
    #[default]
    Planned,
    /// This route for the transfers that can take it, and the planned one for the others.
    Prefer(Route),
}

impl fmt::Display for RoutePreference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RoutePreference::Planned => f.write_str("auto"),
            RoutePreference::Prefer(route) => route.fmt(f),
        }
    }
}

/// The user's fault: a route that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no route `{0}`: choose auto, sendfile, splice, ring-splice or copy")]
pub struct UnknownRoute(pub String);

impl FromStr for RoutePreference {
    type Err = UnknownRoute;

    fn from_str(name: &str) -> Result<RoutePreference, UnknownRoute> {
        if name == "auto" {
            return Ok(RoutePreference::Planned);
        }
        let route = Route::ALL.into_iter().find(|route| route.name() == name);
        route.map(RoutePreference::Prefer).ok_or_else(|| UnknownRoute(name.to_owned()))
    }
}

/// What the route depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransferFacts {
    /// Which way the file goes.
    pub direction: Direction,
    /// Whether line ends are converted.
    pub transfer_type: TransferType,
    /// Bytes to move, where that is known: an upload's is not, unless ALLO told it.
    pub size: Option<u64>,
    /// Whether the process itself encrypts the data connection, so that the bytes have to pass through it.
    pub encrypted: bool,
    /// What the file lies on; a disk until that was asked.
    pub file_system: Option<FileSystemKind>,
    /// What is known of the page cache: of an upload it says nothing.
    pub cache: CacheState,
    /// What an upload leaves in the page cache.
    pub cache_policy: CachePolicy,
    /// The setting.
    pub preference: RoutePreference,
}

impl TransferFacts {
    /// Whether the bytes of the file are those of the network.
    pub(crate) fn is_image(&self) -> bool {
        self.transfer_type == TransferType::Image
    }

    /// Whether a route can do this transfer at all.
    fn can_take(&self, route: Route) -> bool {
        let untouched = self.is_image() && !self.encrypted;
        let is_upload = self.direction == Direction::Upload;
        match route {
            Route::Copy => true,
            // Writes beside the page cache take aligned buffers, and a pipe has none.
            _ if is_upload && self.cache_policy == CachePolicy::Direct => false,
            Route::Splice | Route::RingSplice => untouched,
            // Another machine is asked before a sendfile, whatever the page cache holds, and a daemon may be (by Linux before 6.5).
            Route::Sendfile if self.is_answered_by_others() => false,
            Route::Sendfile => untouched && !is_upload && self.cache == CacheState::Used,
        }
    }

    fn is_answered_by_others(&self) -> bool {
        self.file_system.is_some_and(FileSystemKind::always_waits)
    }

    /// Few bytes, and a file system that may tell at once whether it has them.
    fn is_read_at_once(&self) -> bool {
        let is_small = self.size.is_some_and(|size| size <= COPIED_BYTES_MAX);
        let may_answer = self.file_system.is_none_or(FileSystemKind::answers_at_once);
        is_small && may_answer && self.cache == CacheState::Used
    }
}

/// Settles the route. The first line that fits holds:
///
/// | direction | TYPE | encrypted | size | file system | page cache | route | file's half |
/// | --- | --- | --- | --- | --- | --- | --- | --- |
/// | either | A | | | | | copy | here; on another thread what waits |
/// | either | | yes | | | | copy | the same |
/// | upload | I | no | | | policy is direct | copy | on another thread |
/// | upload | I | no | | disk, memory, stacked | | splice | here; on another thread while the disk is behind |
/// | upload | I | no | | user space, network | | splice | on another thread |
/// | download | I | no | ≤ 2 KiB | disk | used | copy | here; on another thread what is cold |
/// | download | I | no | | user space, network | | splice | on another thread |
/// | download | I | no | | | bypassed | splice | on another thread |
/// | download | I | no | | disk, memory, stacked | used | sendfile | here; what is cold is fetched first |
///
/// The size of an upload does not change its route: the pipe of a splice is pooled and already there, so that a
/// small one pays no more for it than for a buffer. `ring-splice` is never planned, since the hand-over to the kernel's threads
/// costs more than an inline call where nothing waits, and no less than one to a thread of the process where something
/// does.
///
/// A file system may turn out to have no such operation (`EINVAL`): the transfer then goes on by copy.
#[must_use]
pub fn plan(facts: &TransferFacts) -> Route {
    if let RoutePreference::Prefer(route) = facts.preference
        && facts.can_take(route)
    {
        return route;
    }
    let best = match facts.direction {
        Direction::Upload => Route::Splice,
        Direction::Download if facts.is_answered_by_others() => Route::Splice,
        Direction::Download if facts.is_read_at_once() => Route::Copy,
        Direction::Download if facts.cache == CacheState::Bypassed => Route::Splice,
        Direction::Download => Route::Sendfile,
    };
    if facts.can_take(best) { best } else { Route::Copy }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOWNLOAD: TransferFacts = TransferFacts {
        direction: Direction::Download,
        transfer_type: TransferType::Image,
        size: Some(1 << 20),
        encrypted: false,
        file_system: Some(FileSystemKind::Disk),
        cache: CacheState::Used,
        cache_policy: CachePolicy::Keep,
        preference: RoutePreference::Planned,
    };
    const UPLOAD: TransferFacts = TransferFacts { direction: Direction::Upload, size: None, ..DOWNLOAD };

    #[test]
    fn lines_and_encryption_are_the_processs_own_work() {
        for facts in [DOWNLOAD, UPLOAD] {
            assert_eq!(plan(&TransferFacts { transfer_type: TransferType::Ascii, ..facts }), Route::Copy);
            assert_eq!(plan(&TransferFacts { encrypted: true, ..facts }), Route::Copy);
        }
    }

    #[test]
    fn uploads() {
        for file_system in FileSystemKind::ALL.map(Some) {
            assert_eq!(plan(&TransferFacts { file_system, ..UPLOAD }), Route::Splice);
            let direct = TransferFacts { cache_policy: CachePolicy::Direct, file_system, ..UPLOAD };
            assert_eq!(plan(&direct), Route::Copy);
        }
    }

    #[test]
    fn downloads() {
        use FileSystemKind::{Disk, Memory, Network, Stacked, UserSpace};
        for (file_system, route) in [
            (Disk, Route::Sendfile),
            (Memory, Route::Sendfile),
            (Stacked, Route::Sendfile),
            (UserSpace, Route::Splice),
            (Network, Route::Splice),
        ] {
            let facts = TransferFacts { file_system: Some(file_system), ..DOWNLOAD };
            assert_eq!(plan(&facts), route, "{file_system:?}");
            let bypassed = TransferFacts { cache: CacheState::Bypassed, ..facts };
            assert_eq!(plan(&bypassed), Route::Splice, "{file_system:?}");
        }
    }

    #[test]
    fn what_is_small_is_read_at_once_where_that_can_be() {
        let small = TransferFacts { size: Some(COPIED_BYTES_MAX), ..DOWNLOAD };
        assert_eq!(plan(&small), Route::Copy);
        assert_eq!(plan(&TransferFacts { size: Some(COPIED_BYTES_MAX + 1), ..small }), Route::Sendfile);
        for file_system in [FileSystemKind::Memory, FileSystemKind::Stacked] {
            let facts = TransferFacts { file_system: Some(file_system), ..small };
            assert_eq!(plan(&facts), Route::Sendfile);
        }
    }

    #[test]
    fn a_preference_holds_where_it_can() {
        let prefer =
            |facts, route| plan(&TransferFacts { preference: RoutePreference::Prefer(route), ..facts });
        for route in Route::ALL {
            assert_eq!(prefer(DOWNLOAD, route), route);
            let upload = if route == Route::Sendfile { Route::Splice } else { route };
            assert_eq!(prefer(UPLOAD, route), upload);
            assert_eq!(prefer(TransferFacts { encrypted: true, ..DOWNLOAD }, route), Route::Copy);
            let ascii = TransferFacts { transfer_type: TransferType::Ascii, ..UPLOAD };
            assert_eq!(prefer(ascii, route), Route::Copy);
        }
        let bypassed = TransferFacts { cache: CacheState::Bypassed, ..DOWNLOAD };
        assert_eq!(prefer(bypassed, Route::Sendfile), Route::Splice);
        for kind in FileSystemKind::ALL {
            let on_it = TransferFacts { file_system: Some(kind), ..DOWNLOAD };
            let route = if kind.always_waits() { Route::Splice } else { Route::Sendfile };
            assert_eq!(prefer(on_it, Route::Sendfile), route, "{kind:?}");
        }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in ["auto", "sendfile", "splice", "ring-splice", "copy"] {
            assert_eq!(name.parse::<RoutePreference>().expect("a route").to_string(), name);
        }
        let unknown = "teleport".parse::<RoutePreference>().expect_err("no route");
        assert!(unknown.to_string().contains("`teleport`"));
    }
}
