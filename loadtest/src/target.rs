//! The server under load, as `ftp://[user[:password]@]host[:port][/path]` names it.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use thiserror::Error;

const FTP_PORT: u16 = 21;

/// A server, who logs in, and what is fetched.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: Vec<u8>,
    pub(crate) password: Vec<u8>,
    /// The path behind the host, without its first slash (RFC 1738 section 3.2.2); empty where there is none.
    pub(crate) path: Vec<u8>,
}

/// Without the password.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ftp://{}@{}:{}/{}",
            self.user.escape_ascii(),
            self.host,
            self.port,
            self.path.escape_ascii()
        )
    }
}

/// The server alone.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "ftp://[{}]:{}", self.host, self.port),
            false => write!(f, "ftp://{}:{}", self.host, self.port),
        }
    }
}

/// The user's fault: this is no address of an FTP server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum TargetError {
    #[error("a target begins with ftp://")]
    Scheme,
    #[error("the target has no host")]
    Host,
    #[error("the target's port is no number of 1 to 65535")]
    Port,
    #[error("a % in the target is not followed by two hexadecimal digits")]
    Escape,
    #[error("the target has a line's end or a zero byte in it, which no command can tell a server")]
    LineEnd,
}

impl Target {
    /// The address of the host, the first where it has several.
    ///
    /// # Errors
    ///
    /// What the resolver says.
    pub(crate) fn resolve(&self) -> std::io::Result<SocketAddr> {
        let mut addresses = (self.host.as_str(), self.port).to_socket_addrs()?;
        addresses.next().ok_or_else(|| std::io::Error::other("the host has no address"))
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let rest = text.strip_prefix("ftp://").ok_or(TargetError::Scheme)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, place) =
            authority.rsplit_once('@').map_or((None, authority), |(login, place)| (Some(login), place));
        let (user, password) = match login {
            Some(login) => login.split_once(':').unwrap_or((login, "")),
            None => ("anonymous", "loadtest@"),
        };
        let (host, port) = match place.strip_prefix('[') {
            Some(bracketed) => {
                let (host, rest) = bracketed.split_once(']').ok_or(TargetError::Host)?;
                let port = rest.strip_prefix(':');
                if port.is_none() && !rest.is_empty() {
                    return Err(TargetError::Port);
                }
                (host, port)
            }
            None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() {
            return Err(TargetError::Host);
        }
        let port = match port {
            None => FTP_PORT,
            Some(port) => port.parse().ok().filter(|&port| port != 0).ok_or(TargetError::Port)?,
        };
        Ok(Self {
            host: host.to_owned(),
            port,
            user: decoded(user)?,
            password: decoded(password)?,
            path: decoded(path)?,
        })
    }
}

/// Takes percent-encoding out.
fn decoded(text: &str) -> Result<Vec<u8>, TargetError> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(TargetError::Escape) };
        out.push(u8::try_from(high * 16 + low).map_err(|_| TargetError::Escape)?);
    }
    if out.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Err(TargetError::LineEnd);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_all_its_parts() {
        let target: Target = "ftp://an%40na:se:cret@[::1]:2121/pub/a%20b".parse().unwrap();
        assert_eq!((target.host.as_str(), target.port), ("::1", 2121));
        assert_eq!((target.user.as_slice(), target.password.as_slice()), (&b"an@na"[..], &b"se:cret"[..]));
        assert_eq!(target.path, b"pub/a b");
    }

    #[test]
    fn what_is_left_out_has_its_usual_value() {
        let target: Target = "ftp://example.org".parse().unwrap();
        assert_eq!((target.host.as_str(), target.port), ("example.org", 21));
        assert_eq!(target.user, b"anonymous");
        assert!(target.path.is_empty());
    }

    #[test]
    fn nonsense_is_refused() {
        let error = |text: &str| text.parse::<Target>().err();
        assert_eq!(error("http://x"), Some(TargetError::Scheme));
        assert_eq!(error("ftp://"), Some(TargetError::Host));
        assert_eq!(error("ftp://x:0/"), Some(TargetError::Port));
        assert_eq!(error("ftp://x:70000"), Some(TargetError::Port));
        assert_eq!(error("ftp://[::1]2121"), Some(TargetError::Port));
        assert_eq!(error("ftp://x/%4"), Some(TargetError::Escape));
        assert_eq!(error("ftp://a%0d%0aQUIT@x/"), Some(TargetError::LineEnd));
    }
}
