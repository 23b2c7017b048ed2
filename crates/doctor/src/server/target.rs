//! Which server to examine, and as whom.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

/// A server, and who logs in.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) timeout: Duration,
}

/// Why a text names no server: the user's fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TargetError {
    /// It does not begin with `ftp://`.
    #[error("a server is named ftp://[user:password@]host[:port]/")]
    Scheme,
    /// TLS is not spoken.
    #[error(
        "ftps:// is not examined: data connections come about as without TLS, so examine ftp:// and the same ports"
    )]
    Tls,
    /// The host is missing or has characters that no host has.
    #[error("\"{0}\" is no host")]
    Host(String),
    /// What stands behind the colon is no port.
    #[error("\"{0}\" is no port: write 1 to 65535")]
    Port(String),
    /// A `%` that is not followed by two hexadecimal digits, or what they make is no text or has a line's end in it.
    #[error("the user or the password is not well escaped: write %25 for %, %40 for @, %3A for :")]
    Escape,
    /// A path, which would not be looked at.
    #[error("the root is listed, and no path: leave \"{0}\" out")]
    Path(String),
}

impl Target {
    /// How long each step may take, unless [`Target::with_timeout`] says otherwise.
    pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

    /// The anonymous user of `host`: a name, or an address (of IPv6 without brackets).
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            user: String::from("anonymous"),
            // What RFC 1635 asks for.
            password: String::from("doctor@"),
            timeout: Self::TIMEOUT_DEFAULT,
        }
    }

    /// Bounds each step by `timeout`: a connection, a reply, a listing. Zero is taken as a millisecond.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout: timeout.max(Duration::from_millis(1)), ..self }
    }
}

/// The password is not told.
impl fmt::Debug for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Target(ftp://{}@{}:{}/)", self.user, self.host, self.port)
    }
}

impl FromStr for Target {
    type Err = TargetError;

    /// `ftp://[user[:password]@]host[:port][/]`: RFC 1738 section 3.2.
    fn from_str(text: &str) -> Result<Self, TargetError> {
        if has_scheme(text, "ftps://") {
            return Err(TargetError::Tls);
        }
        let rest = text.get(6..).filter(|_| has_scheme(text, "ftp://")).ok_or(TargetError::Scheme)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !path.is_empty() {
            return Err(TargetError::Path(path.to_owned()));
        }
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, authority),
        };
        let (host, port) = split_place(place)?;
        let mut target = Self::new(host, port);
        if let Some(login) = login {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            target.user = unescape(user)?;
            target.password = unescape(password)?;
        }
        Ok(target)
    }
}

fn has_scheme(text: &str, scheme: &str) -> bool {
    text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

fn split_place(place: &str) -> Result<(&str, u16), TargetError> {
    let wrong_host = || TargetError::Host(place.to_owned());
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or_else(wrong_host)?;
            if !matches!(address.parse(), Ok(IpAddr::V6(_))) {
                return Err(wrong_host());
            }
            (address, port)
        }
        None => place.split_at(place.find(':').unwrap_or(place.len())),
    };
    let is_of_a_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    if host.is_empty() || !host.bytes().all(is_of_a_host) {
        return Err(wrong_host());
    }
    let port = match port.strip_prefix(':') {
        Some(port) => {
            port.parse().ok().filter(|&port| port != 0).ok_or_else(|| TargetError::Port(port.to_owned()))?
        }
        None if port.is_empty() => super::FTP_PORT,
        None => return Err(wrong_host()),
    };
    Ok((host, port))
}

/// Takes `%41` for `A`. A line's end would smuggle a command into the control connection.
fn unescape(text: &str) -> Result<String, TargetError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte == b'%' {
            let (digits, behind) = rest.split_first_chunk::<2>().ok_or(TargetError::Escape)?;
            let digits = str::from_utf8(digits).map_err(|_| TargetError::Escape)?;
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| TargetError::Escape)?);
            rest = behind;
        } else {
            bytes.push(byte);
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| TargetError::Escape)?;
    if text.contains(['\r', '\n', '\0']) { Err(TargetError::Escape) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Result<(String, u16, String, String), TargetError> {
        let target: Target = text.parse()?;
        Ok((target.host, target.port, target.user, target.password))
    }

    fn parts(
        host: &str,
        port: u16,
        user: &str,
        password: &str,
    ) -> Result<(String, u16, String, String), TargetError> {
        Ok((host.to_owned(), port, user.to_owned(), password.to_owned()))
    }

    #[test]
    fn urls_are_read() {
        assert_eq!(target("ftp://ftp.example.org"), parts("ftp.example.org", 21, "anonymous", "doctor@"));
        assert_eq!(target("FTP://127.0.0.1:2121/"), parts("127.0.0.1", 2121, "anonymous", "doctor@"));
        assert_eq!(target("ftp://[::1]:2121/"), parts("::1", 2121, "anonymous", "doctor@"));
        assert_eq!(target("ftp://[::1]"), parts("::1", 21, "anonymous", "doctor@"));
        assert_eq!(target("ftp://me:a%40b:c@host/"), parts("host", 21, "me", "a@b:c"));
        assert_eq!(target("ftp://me@host"), parts("host", 21, "me", ""));
    }

    #[test]
    fn slips_are_told_apart() {
        for (text, error) in [
            ("host", TargetError::Scheme),
            ("http://host/", TargetError::Scheme),
            ("ftps://host/", TargetError::Tls),
            ("ftp:///", TargetError::Host(String::new())),
            ("ftp://ho st/", TargetError::Host(String::from("ho st"))),
            ("ftp://[127.0.0.1]/", TargetError::Host(String::from("[127.0.0.1]"))),
            ("ftp://[::1]x/", TargetError::Host(String::from("[::1]x"))),
            ("ftp://host:0/", TargetError::Port(String::from("0"))),
            ("ftp://host:ftp/", TargetError::Port(String::from("ftp"))),
            ("ftp://::1/", TargetError::Host(String::from("::1"))),
            ("ftp://u%4@host/", TargetError::Escape),
            ("ftp://u%0d%0aQUIT@host/", TargetError::Escape),
            ("ftp://host/pub", TargetError::Path(String::from("pub"))),
        ] {
            assert_eq!(target(text), Err(error), "{text}");
        }
    }

    #[test]
    fn the_password_is_not_printed() {
        let target: Target = "ftp://me:secret@host".parse().unwrap();
        assert!(!format!("{target:?}").contains("secret"));
    }
}
