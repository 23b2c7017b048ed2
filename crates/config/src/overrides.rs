//! Keys from flags of the command line.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use passive_ports::PortRange;

use crate::choices::{AnonymousAccess, LogFormat, LogLevel, RuntimeChoice};
use crate::keys::{Config, Listener};
use crate::place::{Origins, Place};
use crate::values::{Advertise, Host, Seconds};

/// Describes the flags: the field, its flag, its key, and what it does to the configuration.
macro_rules! overrides {
    ($( $(#[doc = $doc:literal])+ $field:ident: $Type:ty, $flag:literal, $path:literal, $apply:expr; )+) => {
        /// What the flags said; `None` where a flag was not given.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct Overrides {
            $( $(#[doc = $doc])+ pub $field: Option<$Type>, )+
        }

        /// Each flag and the path of its key. The command line has to have them all.
        pub const FLAGS: &[(&str, &str)] = &[$( ($flag, $path) ),+];

        impl Overrides {
            /// Lays what the flags said over `config`.
            pub(crate) fn apply(&self, config: &mut Config, origins: &mut Origins) {
                $(
                    if let Some(value) = &self.$field {
                        let apply: fn(&mut Config, $Type) = $apply;
                        apply(config, value.clone());
                        origins.replace($path, Place::Flag($flag));
                    }
                )+
            }
        }
    };
}

overrides! {
    /// The directory to serve.
    directory: PathBuf, "DIR", "directory", |config, value| config.directory = value;
    /// In place of all listeners, FTP listeners at these addresses.
    listen: Vec<SocketAddr>, "--listen", "listeners",
        |config, value| config.listeners = value.into_iter().map(Listener::at).collect();
    /// The user to become.
    user: String, "--user", "user", |config, value| config.user = Some(value);
    /// How many workers there are.
    workers: NonZeroUsize, "--workers", "workers", |config, value| config.workers = Some(value);
    /// What the workers run on.
    runtime: RuntimeChoice, "--runtime", "runtime", |config, value| config.runtime = value;
    /// The passive range.
    passive_ports: PortRange, "--passive-ports", "passive.ports",
        |config, value| config.passive.ports = Some(value);
    /// The address that all clients are told, whatever a listener says.
    advertise: Host, "--advertise", "passive.advertise", |config, value| {
        config.passive.advertise = Advertise::everywhere(value);
        for listener in &mut config.listeners {
            listener.advertise = Advertise::default();
        }
    };
    /// What `anonymous` may do.
    anonymous: AnonymousAccess, "--anonymous", "anonymous.access", |config, value| config.anonymous.access = value;
    /// The login deadline.
    login_timeout: Seconds, "--login-timeout", "deadlines.login_s", |config, value| config.deadlines.login_s = value;
    /// The idle deadline.
    idle_timeout: Seconds, "--idle-timeout", "deadlines.idle_s", |config, value| config.deadlines.idle_s = value;
    /// The deadline of a data connection.
    data_timeout: Seconds, "--data-timeout", "deadlines.data_s", |config, value| config.deadlines.data_s = value;
    /// The stall deadline.
    stall_timeout: Seconds, "--stall-timeout", "deadlines.stall_s", |config, value| config.deadlines.stall_s = value;
    /// The form of a log line.
    log_format: LogFormat, "--log-format", "log.format", |config, value| config.log.format = value;
    /// The least that is logged.
    log_level: LogLevel, "--log-level", "log.level", |config, value| config.log.level = value;
    /// Where metrics and health checks are to be had.
    metrics: SocketAddr, "--metrics", "metrics.address", |config, value| config.metrics.address = Some(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nearest;

    #[test]
    fn every_flag_has_a_key() {
        let paths = nearest::paths::<Config>();
        for (flag, path) in FLAGS {
            assert!(paths.iter().any(|known| known == path), "{flag}: {path}");
        }
    }
}
