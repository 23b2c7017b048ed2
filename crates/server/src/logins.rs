//! Logging in: from a name and a password to an account with its root.
//!
//! Anonymous logins are answered at once. A password is checked on a thread beside the cores, a bounded number at a time for the
//! whole server, and the addresses that wait for it take turns; a login that comes to nothing is answered late, whatever the
//! reason, so that nobody who tries again at once fills the log. An address that fails too often waits.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use accounts::{
    Account, AccountSession, Accounts, FailureLimits, Found, LoginFailures, LoginRefused, guesser,
};
use anyhow::Context as _;
use config::{Config, Limits, Network};
use protocol::session::Secret;
use runtime::{FairPool, sleep_until};
use storage::Root;

use crate::ledger::{Books, Ledger};
use crate::logging::loggable;
use crate::metrics::LoginEnd;
use crate::peers::contains;
use crate::rates::Rates;
use crate::roots::OpenRoots;
use crate::settings::Current;

/// Who may log in, and what belongs to each account.
pub(crate) struct Logins {
    accounts: Arc<Accounts>,
    places: Vec<Place>,
    failure_delay: Duration,
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
    /// The address has failed too often; its password was not looked at.
    MustWait,
    TooManySessions,
    Unavailable,
}

impl LoginOutcome {
    pub(crate) fn counted_as(&self) -> LoginEnd {
        match self {
            Self::Accepted(Admitted { session, .. }) if session.is_anonymous() => LoginEnd::Anonymous,
            Self::Accepted(_) => LoginEnd::Accepted,
            Self::Refused => LoginEnd::Refused,
            Self::MustWait => LoginEnd::MustWait,
            Self::TooManySessions => LoginEnd::AccountFull,
            Self::Unavailable => LoginEnd::Unavailable,
        }
    }
}

/// An account that is logged in, as it was at that moment.
pub(crate) struct Admitted {
    pub(crate) session: AccountSession,
    pub(crate) root: Arc<Root>,
    pub(crate) rates: Rates,
}

/// A login that takes its time.
pub(crate) type LoginJob = Pin<Box<dyn Future<Output = LoginOutcome>>>;

/// What can be said of a login.
pub(crate) enum Login {
    Decided(LoginOutcome),
    Later(LoginJob),
}

/// What logins share over reloads: who fails too often, and the threads that check passwords.
pub(crate) struct LoginGate {
    failures: LoginFailures,
    /// Who waits for a check waits in turns: one address with a thousand sessions, or one network of IPv6, costs
    /// another's login the time of one check. There are no more checks waiting than sessions.
    checks: FairPool<IpAddr>,
}

impl LoginGate {
    pub(crate) fn new(limits: &Limits) -> anyhow::Result<Self> {
        let checks = FairPool::new(checks_max(limits)).context("cannot tell which cores may be used")?;
        Ok(Self { failures: LoginFailures::new(failure_limits(limits)), checks })
    }

    /// The threads that check passwords.
    pub(crate) fn checks(&self) -> FairPool<IpAddr> {
        self.checks.clone()
    }

    pub(crate) fn set_limits(&self, limits: &Limits) {
        self.failures.set_limits(failure_limits(limits));
        self.checks.set_threads_max(checks_max(limits));
    }

    /// Checks a password, unless `client` has to wait: then nothing is checked, also where it came to have to only while
    /// it stood in the queue.
    async fn check(
        &'static self,
        accounts: Arc<Accounts>,
        user: Vec<u8>,
        password: Vec<u8>,
        client: IpAddr,
    ) -> Result<Result<Arc<Account>, Turned>, runtime::BlockingError> {
        if self.failures.must_wait(client, Instant::now()) {
            return Ok(Err(Turned::MustWait));
        }
        let check = move || {
            if self.failures.must_wait(client, Instant::now()) {
                return Err(Turned::MustWait);
            }
            accounts.check(&user, &password).map_err(|LoginRefused| {
                // At once, so that the next of the queue knows.
                self.failures.on_failure(client, Instant::now());
                Turned::Refused
            })
        };
        self.checks.run(guesser(client), check).await
    }
}

/// Why a login with a name and a password came to nothing.
enum Turned {
    Refused,
    MustWait,
}

fn failure_limits(limits: &Limits) -> FailureLimits {
    FailureLimits { failures_max: limits.login_failures_max.get(), wait: limits.login_wait_s.duration() }
}

fn checks_max(limits: &Limits) -> usize {
    limits.password_checks_max.get() as usize
}

impl Logins {
    /// The accounts of the configuration, whose roots are open, with what the ledger has on them.
    pub(crate) fn new(config: &Config, roots: &OpenRoots, ledger: &mut Ledger) -> Self {
        ledger.begin();
        let mut places = Vec::new();
        let mut place = |root: &Arc<Root>, networks: &[Network], rates: Rates| {
            places.push(Place { root: Arc::clone(root), networks: networks.to_vec(), rates });
            places.len() - 1
        };
        let burst = config.limits.burst;
        let own = &config.anonymous;
        let Books { sessions, rates, .. } = ledger.account(None, own.download_rate, own.upload_rate, burst);
        let anonymous_place = place(&roots.anonymous, &own.networks, rates);
        let sessions_max = own.sessions_max.map(std::num::NonZero::get);
        let anonymous = own
            .access
            .rights()
            .map(|rights| Account::anonymous(rights, sessions_max, anonymous_place, sessions));
        let named: Vec<_> = config
            .accounts
            .iter()
            .zip(&roots.named)
            .map(|(account, root)| {
                let name = account.name.as_str().as_bytes();
                let Books { sessions, rates, .. } =
                    ledger.account(Some(name), account.download_rate, account.upload_rate, burst);
                let place = place(root, &account.networks, rates);
                let hash = account.password_hash.expose();
                let sessions_max = account.sessions_max.map(std::num::NonZero::get);
                let opened = Account::with_password(hash, account.rights, sessions_max, place, sessions);
                (name.to_vec(), opened)
            })
            .collect();
        ledger.end();
        Self {
            accounts: Arc::new(Accounts::new(anonymous, named)),
            places,
            failure_delay: config.limits.login_failure_delay_s.duration(),
        }
    }

    /// What all sessions of `user`'s account together may transfer; `None` if there is no such account any more.
    pub(crate) fn rates(&self, user: &[u8]) -> Option<&Rates> {
        self.accounts.get(user).map(|account| &self.places[account.place].rates)
    }

    /// The root of whoever is not logged in yet.
    pub(crate) fn default_root(&self) -> &Arc<Root> {
        &self.places[0].root
    }

    fn admit(&self, account: &Arc<Account>, client: IpAddr) -> LoginOutcome {
        let Place { root, networks, rates } = &self.places[account.place];
        if !networks.is_empty() && !contains(networks, client) {
            return LoginOutcome::Refused;
        }
        match account.admit() {
            Some(session) => {
                LoginOutcome::Accepted(Admitted { session, root: Arc::clone(root), rates: rates.clone() })
            }
            None => LoginOutcome::TooManySessions,
        }
    }
}

/// Begins a login from `client` to the accounts of `settings`, for the session of this number.
pub(crate) fn begin(
    gate: &'static LoginGate,
    settings: Current,
    user: &[u8],
    password: &Secret,
    client: IpAddr,
    session: u64,
) -> Login {
    match settings.logins.accounts.find(user) {
        Found::Open(account) => match settings.logins.admit(&account, client) {
            accepted @ LoginOutcome::Accepted(_) => Login::Decided(accepted),
            refused => {
                let answered_at = Instant::now() + settings.logins.failure_delay;
                Login::Later(Box::pin(async move {
                    sleep_until(answered_at).await;
                    refused
                }))
            }
        },
        found => {
            let is_checked = matches!(found, Found::Checked);
            let (user, password) = (user.to_vec(), password.reveal().to_vec());
            Login::Later(Box::pin(async move {
                // The time of the check counts towards the delay: what refuses the sooner is not answered sooner.
                let answered_at = Instant::now() + settings.logins.failure_delay;
                let outcome = if is_checked {
                    check(gate, &settings, user, password, client, session).await
                } else {
                    gate.failures.on_failure(client, Instant::now());
                    LoginOutcome::Refused
                };
                if !matches!(outcome, LoginOutcome::Accepted(_)) {
                    sleep_until(answered_at).await;
                }
                outcome
            }))
        }
    }
}

async fn check(
    gate: &'static LoginGate,
    settings: &Current,
    user: Vec<u8>,
    password: Vec<u8>,
    client: IpAddr,
    session: u64,
) -> LoginOutcome {
    let logins = &settings.logins;
    match gate.check(Arc::clone(&logins.accounts), user, password, client).await {
        Ok(Ok(account)) => {
            let outcome = logins.admit(&account, client);
            match outcome {
                // The right password from the wrong place is refused as a wrong one is.
                LoginOutcome::Refused => gate.failures.on_failure(client, Instant::now()),
                _ => gate.failures.on_success(client),
            }
            outcome
        }
        Ok(Err(Turned::Refused)) => LoginOutcome::Refused,
        Ok(Err(Turned::MustWait)) => LoginOutcome::MustWait,
        Err(error) => {
            tracing::error!(session, %error, "a password could not be checked");
            LoginOutcome::Unavailable
        }
    }
}

/// Says in the log what became of a login.
pub(crate) fn log(session: u64, peer: IpAddr, user: Option<&[u8]>, end: LoginEnd) {
    let user = user.map(|user| tracing::field::display(loggable(user)));
    match end {
        // Every transfer names its peer; that somebody came in without an account says no more.
        LoginEnd::Anonymous => tracing::debug!(session, %peer, user, "logged in"),
        LoginEnd::Accepted => tracing::info!(session, %peer, user, "logged in"),
        LoginEnd::Refused | LoginEnd::MustWait | LoginEnd::AccountFull | LoginEnd::Unavailable => {
            tracing::warn!(session, %peer, user, reason = end.name(), "login refused");
        }
    }
}
