//! Layers: defaults, file, environment, flags; the later one wins.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::check;
use crate::environment::Environment;
use crate::error::{ConfigError, ConfigErrors, Fault, Warning};
use crate::file;
use crate::keys::{Account, Config};
use crate::overrides::Overrides;
use crate::place::{Origins, Place};
use crate::reader;
use crate::section::section;

/// Where a configuration comes from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file of `--config`. Without it, `RINGFTPD_CONFIG` may name one.
    pub file: Option<PathBuf>,
    /// Environment variables; those that do not begin with `RINGFTPD_` are passed over.
    pub environment: Vec<(OsString, OsString)>,
    /// What the flags said.
    pub overrides: Overrides,
}

impl Sources {
    /// With the environment of this process.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, overrides: Overrides) -> Self {
        Self { file, environment: std::env::vars_os().collect(), overrides }
    }
}

section! {
    /// A file beside the configuration, with accounts alone.
    pub(crate) struct UsersFile {
        /// The accounts.
        accounts: Vec<Account> = Vec::new(),
    }
}

impl Config {
    /// Reads, layers and checks. The warnings are for the log, once there is one.
    ///
    /// # Errors
    /// Every fault of every source, as far as one does not hide another.
    pub fn load(sources: &Sources) -> Result<(Self, Vec<Warning>), ConfigErrors> {
        let mut config = Self::default();
        let mut origins = Origins::default();
        let mut errors = Vec::new();

        let environment = Environment::new(&sources.environment, &mut errors);
        let file = sources.file.as_deref().or(environment.file().map(Path::new));
        let readable = file.is_none_or(|file| read_file(file, &mut config, &mut origins, &mut errors));
        environment.read(&mut config, &mut origins, &mut errors);
        sources.overrides.apply(&mut config, &mut origins);
        read_users_file(&mut config, &mut origins, &mut errors);

        // Of a file that could not be read nobody knows what it leaves out or contradicts.
        let mut warnings = Vec::new();
        if readable {
            require_directory(&mut origins, &mut errors);
            warnings = check::check(&config, &origins, &mut errors);
        }
        match ConfigErrors::of(errors) {
            None => Ok((config, warnings)),
            Some(errors) => Err(errors),
        }
    }
}

/// Returns whether it could be read.
fn read_file(file: &Path, config: &mut Config, origins: &mut Origins, errors: &mut Vec<ConfigError>) -> bool {
    match file::read(file) {
        Ok(text) => reader::read(file, &text, config, origins, errors),
        Err(error) => {
            errors.push(error);
            false
        }
    }
}

/// Adds the accounts of `users_file` to those of the file.
fn read_users_file(config: &mut Config, origins: &mut Origins, errors: &mut Vec<ConfigError>) {
    let Some(file) = &config.users_file else { return };
    let mut users = UsersFile::default();
    let mut users_origins = Origins::default();
    let readable = match file::read(file) {
        Ok(text) => reader::read(file, &text, &mut users, &mut users_origins, errors),
        Err(error) => {
            errors.push(error.named_by(origins.place("users_file"), "users_file"));
            false
        }
    };
    if !readable {
        users_origins.set_faulty("accounts");
    }
    origins.append_list("accounts", config.accounts.len(), users_origins);
    config.accounts.append(&mut users.accounts);
}

fn require_directory(origins: &mut Origins, errors: &mut Vec<ConfigError>) {
    if origins.place("directory").is_none() && !origins.is_faulty("directory") {
        let mend =
            "name it on the command line, in RINGFTPD_DIRECTORY or in the file: directory = \"/srv/ftp\"";
        let fault = Fault::Missing { mend: String::from(mend) };
        errors.push(ConfigError::new(Place::Nowhere, String::from("directory"), fault));
        origins.set_faulty("directory");
    }
}
