//! Logging in: from a name and a password to an account with its root.
//!
//! Anonymous logins are answered at once. A password is checked on another thread, a bounded number at a time for the
//! whole server; a failed login is answered late, and an address that fails too often waits.

use std::future::Future;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use accounts::{Account, AccountSession, Accounts, FailureLimits, Found, LoginFailures};
use anyhow::Context as _;
use config::{Config, Network};
use protocol::rights::Rights;
use protocol::session::Secret;
use runtime::{Permits, blocking, sleep_until};
use storage::Root;

use crate::peers::contains;
use crate::rates::Rates;

/// Who may log in, and what belongs to each account.
pub(crate) struct Logins {
    accounts: Accounts,
    places: Vec<Place>,
    failures: LoginFailures,
    failure_delay: Duration,
    checks: Permits,
}

/// What an account has besides its rights.
struct Place {
    root: Arc<Root>,
    /// From where it may log in; everywhere, where there are none.
    networks: Vec<Network>,
    /// What all its sessions together may transfer.
    rates: Rates,
}

/// What became of a login.
pub(crate) enum LoginOutcome {
    Accepted(Admitted),
    Refused,
    TooManySessions,
    Unavailable,
}

/// An account that is logged in.
pub(crate) struct Admitted {
    pub(crate) session: AccountSession,
    pub(crate) root: Arc<Root>,
}

/// A login that takes its time.
pub(crate) type LoginJob = Pin<Box<dyn Future<Output = LoginOutcome>>>;

/// What can be said of a login.
pub(crate) enum Login {
    Decided(LoginOutcome),
    Later(LoginJob),
}

impl Logins {
    /// Opens the root of every account. Those that have none of their own share the server's.
    pub(crate) fn open(config: &Config) -> anyhow::Result<Self> {
        let mut roots = Roots::default();
        let mut places = Vec::new();
        let mut place = |root: Option<&Path>, networks: &[Network], rates: Rates| -> anyhow::Result<usize> {
            let root = roots.open(root.unwrap_or(&config.directory))?;
            places.push(Place { root, networks: networks.to_vec(), rates });
            Ok(places.len() - 1)
        };
        let own = &config.anonymous;
        // The server's own directory is opened in any case: what is wrong with it is said at the start.
        let burst = config.limits.burst;
        let rates = Rates::new(own.download_rate, own.upload_rate, burst);
        let anonymous_place = place(own.root.as_deref(), &own.networks, rates)?;
        let sessions_max = own.sessions_max.map(std::num::NonZero::get);
        let anonymous =
            own.access.rights().map(|rights| Account::anonymous(rights, sessions_max, anonymous_place));
        let named = config
            .accounts
            .iter()
            .map(|account| {
                let rates = Rates::new(account.download_rate, account.upload_rate, burst);
                let place = place(account.root.as_deref(), &account.networks, rates)?;
                let sessions_max = account.sessions_max.map(std::num::NonZero::get);
                let opened = Account::with_password(
                    account.password_hash.expose(),
                    account.rights,
                    sessions_max,
                    place,
                );
                Ok((account.name.as_str().as_bytes().to_vec(), opened))
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let limits = &config.limits;
        Ok(Self {
            accounts: Accounts::new(anonymous, named),
            places,
            failures: LoginFailures::new(FailureLimits {
                failures_max: limits.login_failures_max.get(),
                wait: limits.login_wait_s.duration(),
            }),
            failure_delay: limits.login_failure_delay_s.duration(),
            checks: Permits::new(limits.password_checks_max.get() as usize),
        })
    }

    /// The directories into which somebody may upload, each once.
    pub(crate) fn upload_roots(config: &Config, logins: &Self) -> Vec<Arc<Root>> {
        let anonymous = config.anonymous.access.rights().unwrap_or(Rights::empty());
        let rights = std::iter::once(anonymous).chain(config.accounts.iter().map(|account| account.rights));
        let mut roots: Vec<Arc<Root>> = Vec::new();
        for (place, rights) in logins.places.iter().zip(rights) {
            let is_new = !roots.iter().any(|root| Arc::ptr_eq(root, &place.root));
            if rights.contains(Rights::UPLOAD) && is_new {
                roots.push(Arc::clone(&place.root));
            }
        }
        roots
    }

    /// What all sessions of an account together may transfer.
    pub(crate) fn rates(&self, account: &Account) -> &Rates {
        &self.places[account.place].rates
    }

    /// The root of whoever is not logged in yet.
    pub(crate) fn default_root(&self) -> &Arc<Root> {
        &self.places[0].root
    }

    /// Begins a login from `client`.
    pub(crate) fn begin(&'static self, user: &[u8], password: &Secret, client: IpAddr) -> Login {
        match self.accounts.find(user) {
            Found::Open(account) => Login::Decided(self.admit(&account, client)),
            Found::Nobody => Login::Later(Box::pin(self.refuse_late(client))),
            Found::Checked => {
                let (user, password) = (user.to_vec(), password.reveal().to_vec());
                Login::Later(Box::pin(self.check(user, password, client)))
            }
        }
    }

    async fn check(&'static self, user: Vec<u8>, password: Vec<u8>, client: IpAddr) -> LoginOutcome {
        if self.failures.must_wait(client, Instant::now()) {
            return self.refuse_late(client).await;
        }
        let permit = self.checks.acquire().await;
        let checked = blocking(move || self.accounts.check(&user, &password)).await;
        drop(permit);
        match checked {
            Ok(Ok(account)) => {
                self.failures.on_success(client);
                self.admit(&account, client)
            }
            Ok(Err(accounts::LoginRefused)) => self.refuse_late(client).await,
            Err(error) => {
                tracing::error!(%error, "a password could not be checked");
                LoginOutcome::Unavailable
            }
        }
    }

    async fn refuse_late(&self, client: IpAddr) -> LoginOutcome {
        self.failures.on_failure(client, Instant::now());
        sleep_until(Instant::now() + self.failure_delay).await;
        LoginOutcome::Refused
    }

    fn admit(&self, account: &Arc<Account>, client: IpAddr) -> LoginOutcome {
        let Place { root, networks, .. } = &self.places[account.place];
        if !networks.is_empty() && !contains(networks, client) {
            return LoginOutcome::Refused;
        }
        match account.admit() {
            Some(session) => LoginOutcome::Accepted(Admitted { session, root: Arc::clone(root) }),
            None => LoginOutcome::TooManySessions,
        }
    }
}

/// Roots that are open, each once.
#[derive(Default)]
struct Roots(Vec<(PathBuf, Arc<Root>)>);

impl Roots {
    fn open(&mut self, path: &Path) -> anyhow::Result<Arc<Root>> {
        if let Some((_, root)) = self.0.iter().find(|(known, _)| known == path) {
            return Ok(Arc::clone(root));
        }
        let root = Root::open(path).with_context(|| format!("cannot serve {}", path.display()))?;
        let root = Arc::new(root);
        self.0.push((path.to_owned(), Arc::clone(&root)));
        Ok(root)
    }
}
