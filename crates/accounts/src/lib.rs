//! Who may log in, with what rights, and how often somebody may fail to.
//!
//! Checking a password takes a core and memory for a while, by design: [`Accounts::check`] is for a thread that may
//! wait. [`Accounts::find`] tells without any such work whether that is needed at all.
#![forbid(unsafe_code)]

mod failures;
mod password;

pub use failures::{FailureLimits, LoginFailures, guesser};
pub use password::{HashFailed, hash_password};

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use protocol::rights::Rights;

/// The names that mean the anonymous account (RFC 1635 section 2).
pub const ANONYMOUS_NAMES: [&str; 2] = ["anonymous", "ftp"];

/// How many sessions an account has. Whoever keeps it keeps counting, whatever becomes of the account's rights.
#[derive(Debug, Clone, Default)]
pub struct SessionCount(Arc<AtomicU32>);

impl SessionCount {
    /// The number.
    #[must_use]
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// An account.
#[derive(Debug)]
pub struct Account {
    /// What its sessions may do.
    pub rights: Rights,
    /// How many sessions it may have at once; `None` where it has no limit of its own.
    pub sessions_max: Option<u32>,
    /// Which of the caller's roots and networks are its own.
    pub place: usize,
    /// `None` for the anonymous account, which any password opens.
    password_hash: Option<String>,
    sessions: SessionCount,
}

impl Account {
    /// An account that any password opens; its sessions are counted with `sessions`.
    #[must_use]
    pub fn anonymous(
        rights: Rights,
        sessions_max: Option<u32>,
        place: usize,
        sessions: SessionCount,
    ) -> Self {
        Self { rights, sessions_max, place, password_hash: None, sessions }
    }

    /// An account with a password, whose hash is in PHC string format.
    #[must_use]
    pub fn with_password(
        password_hash: &str,
        rights: Rights,
        sessions_max: Option<u32>,
        place: usize,
        sessions: SessionCount,
    ) -> Self {
        let password_hash = Some(password_hash.to_owned());
        Self { rights, sessions_max, place, password_hash, sessions }
    }

    /// A place for one session more; `None` when all are taken.
    pub fn admit(self: &Arc<Self>) -> Option<AccountSession> {
        let session = AccountSession(Arc::clone(self));
        let before = self.sessions.0.fetch_add(1, Ordering::Relaxed);
        // The place that is over the limit is given back by its drop.
        self.sessions_max.is_none_or(|sessions_max| before < sessions_max).then_some(session)
    }
}

/// One session of an account, counted until it is dropped.
#[derive(Debug)]
pub struct AccountSession(Arc<Account>);

impl AccountSession {
    /// Whether any password would have opened it.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.0.password_hash.is_none()
    }

    /// The account.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.0
    }
}

impl Drop for AccountSession {
    fn drop(&mut self) {
        self.0.sessions.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Everybody who may log in.
#[derive(Debug, Default)]
pub struct Accounts {
    anonymous: Option<Arc<Account>>,
    named: HashMap<Box<[u8]>, Arc<Account>>,
    /// What a password is checked against where the name is unknown, so that this takes as long as a known one.
    decoys: Vec<String>,
    /// Which decoy belongs to which unknown name, and that nobody can tell.
    decoy_of: RandomState,
}

/// What can be told of a name at once.
#[derive(Debug)]
pub enum Found {
    /// Any password will do.
    Open(Arc<Account>),
    /// The password has to be checked, also where there is no such account: nobody shall learn that from the time.
    Checked,
    /// Nobody can log in by name here.
    Nobody,
}

/// The name or the password is wrong; which of them is not told, to anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginRefused;

impl Accounts {
    /// The anonymous account, if there is one, and those with a name.
    #[must_use]
    pub fn new(anonymous: Option<Account>, named: impl IntoIterator<Item = (Vec<u8>, Account)>) -> Self {
        let named: HashMap<Box<[u8]>, Arc<Account>> =
            named.into_iter().map(|(name, account)| (name.into_boxed_slice(), Arc::new(account))).collect();
        let decoys = named.values().filter_map(|account| account.password_hash.clone()).collect();
        Self { anonymous: anonymous.map(Arc::new), named, decoys, decoy_of: RandomState::new() }
    }

    /// What can be told of `user` without looking at a password. Names are compared to the letter.
    #[must_use]
    pub fn find(&self, user: &[u8]) -> Found {
        match &self.anonymous {
            Some(account) if is_anonymous(user) => Found::Open(Arc::clone(account)),
            _ if self.named.is_empty() => Found::Nobody,
            _ => Found::Checked,
        }
    }

    /// The account of `user`, if this is its password. Takes long: for a thread that may wait.
    ///
    /// # Errors
    /// [`LoginRefused`], after the same time for a name that is unknown as for a wrong password.
    pub fn check(&self, user: &[u8], password: &[u8]) -> Result<Arc<Account>, LoginRefused> {
        let account = self.named.get(user);
        let hash = account.and_then(|account| account.password_hash.as_ref()).or_else(|| self.decoy(user));
        let fits = hash.is_some_and(|hash| password::fits(password, hash));
        account.filter(|_| fits).cloned().ok_or(LoginRefused)
    }

    /// The account that `user` has logged in to, or would.
    #[must_use]
    pub fn get(&self, user: &[u8]) -> Option<&Account> {
        let anonymous = self.anonymous.as_ref().filter(|_| is_anonymous(user));
        anonymous.or_else(|| self.named.get(user)).map(AsRef::as_ref)
    }

    /// Where hashes take different times, an unknown name takes always the same one of them, as a known one does.
    fn decoy(&self, user: &[u8]) -> Option<&String> {
        let count = u64::try_from(self.decoys.len()).ok()?;
        let number = self.decoy_of.hash_one(user).checked_rem(count)?;
        self.decoys.get(usize::try_from(number).ok()?)
    }
}

/// Whether a client that calls itself `user` means the anonymous account.
#[must_use]
pub fn is_anonymous(user: &[u8]) -> bool {
    ANONYMOUS_NAMES.iter().any(|name| name.as_bytes() == user)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        let anonymous = Account::anonymous(Rights::READER, Some(2), 0, SessionCount::default());
        let camera = Account::with_password(
            &password::quick_hash(b"secret"),
            Rights::UPLOADER,
            None,
            1,
            SessionCount::default(),
        );
        Accounts::new(Some(anonymous), [(b"camera".to_vec(), camera)])
    }

    #[test]
    fn anonymous_needs_no_check() {
        let Found::Open(account) = accounts().find(b"anonymous") else { panic!("not open") };
        assert_eq!(account.rights, Rights::READER);
        assert!(matches!(accounts().find(b"Anonymous"), Found::Checked));
        assert!(matches!(Accounts::default().find(b"anonymous"), Found::Nobody));
    }

    #[test]
    fn a_name_and_its_password_open_an_account() {
        let accounts = accounts();
        assert_eq!(accounts.check(b"camera", b"secret").unwrap().rights, Rights::UPLOADER);
        assert_eq!(accounts.check(b"camera", b"Secret").unwrap_err(), LoginRefused);
        assert_eq!(accounts.check(b"camera", b"").unwrap_err(), LoginRefused);
        // The decoy's own password opens nothing.
        assert_eq!(accounts.check(b"nobody", b"secret").unwrap_err(), LoginRefused);
        assert_eq!(accounts.check(b"anonymous", b"secret").unwrap_err(), LoginRefused);
    }

    #[test]
    fn an_unknown_name_has_its_decoy_and_keeps_it() {
        let with_cost = |cost: u32| {
            let hash = password::hash_of_cost(b"secret", cost);
            Account::with_password(&hash, Rights::READER, None, 0, SessionCount::default())
        };
        let accounts = Accounts::new(None, (1..5).map(|cost| (vec![b'a'; cost as usize], with_cost(cost))));
        let mut seen = std::collections::HashSet::new();
        for number in 0..200_u32 {
            let name = number.to_le_bytes();
            let decoy = accounts.decoy(&name).unwrap();
            assert_eq!(accounts.decoy(&name).unwrap(), decoy);
            seen.insert(decoy);
        }
        assert_eq!(seen.len(), 4, "unknown names are as quick and as slow as known ones");
        assert!(Accounts::default().decoy(b"anybody").is_none());
    }

    #[test]
    fn sessions_are_counted_beyond_the_account() {
        let count = SessionCount::default();
        let account = |max| Arc::new(Account::anonymous(Rights::READER, Some(max), 0, count.clone()));
        let first = account(1).admit().unwrap();
        assert!(account(1).admit().is_none(), "another account of the same count");
        let second = account(2).admit().unwrap();
        assert_eq!(count.get(), 2);
        drop((first, second));
        assert_eq!(count.get(), 0);
    }

    #[test]
    fn sessions_are_counted() {
        let Found::Open(account) = accounts().find(b"ftp") else { panic!("not open") };
        let first = account.admit().unwrap();
        let second = account.admit().unwrap();
        assert!(account.admit().is_none());
        drop(first);
        assert!(account.admit().is_some());
        assert_eq!(second.account().place, 0);
    }
}
