//! What outlives a reload: how many sessions each account has, and what its limits of rate have given away.
//!
//! Only the thread that reads configurations has it. What is in it is shared with the sessions that it is about, so an account that
//! is removed and comes back finds those of its sessions counted that went on meanwhile.

use std::collections::HashMap;

use accounts::SessionCount;
use config::Rate;

use crate::rates::{Burst, Rates};

/// The books on all accounts, by name; the anonymous one has none.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    accounts: HashMap<Option<Vec<u8>>, Books>,
    total: Rates,
}

/// What is kept of one account.
#[derive(Debug, Clone, Default)]
pub(crate) struct Books {
    pub(crate) sessions: SessionCount,
    pub(crate) rates: Rates,
    /// Whether it is among the accounts of the configuration that was read last.
    is_there: bool,
}

impl Ledger {
    /// Begins with a configuration that was read: accounts that it does not name are gone.
    pub(crate) fn begin(&mut self) {
        self.accounts.values_mut().for_each(|books| books.is_there = false);
    }

    /// The books of an account that is there, with these rates from now on.
    pub(crate) fn account(
        &mut self,
        name: Option<&[u8]>,
        download: Rate,
        upload: Rate,
        burst: Burst,
    ) -> Books {
        let books = self.accounts.entry(name.map(<[u8]>::to_vec)).or_default();
        books.is_there = true;
        books.rates = books.rates.changed(download, upload, burst);
        books.clone()
    }

    /// The limiters of all transfers together, with these rates from now on.
    pub(crate) fn total_rates(&mut self, download: Rate, upload: Rate, burst: Burst) -> Rates {
        self.total = self.total.changed(download, upload, burst);
        self.total.clone()
    }

    /// Ends with a configuration: who is gone and has no session is forgotten.
    pub(crate) fn end(&mut self) {
        self.accounts.retain(|_, books| books.is_there || books.sessions.get() > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use accounts::Account;
    use protocol::rights::Rights;
    use std::sync::Arc;

    #[test]
    fn an_account_that_comes_back_finds_its_sessions() {
        let mut ledger = Ledger::default();
        let burst = config::Limits::default().burst;
        let mut read = |names: &[&[u8]]| {
            ledger.begin();
            let entries: Vec<Books> = names
                .iter()
                .map(|name| ledger.account(Some(name), Rate::UNLIMITED, Rate::UNLIMITED, burst))
                .collect();
            ledger.end();
            (entries, ledger.accounts.len())
        };
        let (first, _) = read(&[b"camera"]);
        let account = Account::anonymous(Rights::READER, Some(1), 0, first[0].sessions.clone());
        let session = Arc::new(account).admit().expect("a place");
        assert_eq!(read(&[]).1, 1, "it has a session");
        assert_eq!(read(&[b"camera"]).0[0].sessions.get(), 1);
        drop(session);
        assert_eq!(read(&[]).1, 0, "nothing is left to remember");
    }
}
