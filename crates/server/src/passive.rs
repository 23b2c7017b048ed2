//! Passive data connections of one worker: leases of ports, and the way of an accepted connection to its session.
//!
//! The ports are bound and listening from the start. A session leases the pair of a port and its client's address; the
//! worker whose slice the port is in accepts the connection, and where the session lives on another worker hands it
//! over there.

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use passive_ports::{Arrival, ClientAddress, Delivery, Lease, LeaseId, Refused, ShardHandle};
use runtime::{Accepted, Listener, Receiver, Sender, sleep_until, turn_began};
use slab::Slab;

use crate::logging::Seldom;
use crate::peers::LeaseKeys;
use crate::settings::CurrentSettings;

/// How long a connection that came in time may be on its way from another worker.
const HAND_OVER: Duration = Duration::from_secs(1);

/// How long a listener rests when the process has no descriptor left to accept with.
const REST_WITHOUT_DESCRIPTORS: Duration = Duration::from_millis(100);

/// A connection that one worker accepted for a session of another.
#[derive(Debug)]
pub(crate) struct HandedOver {
    connection: Accepted,
    holder: Holder,
    lease: LeaseId,
}

/// Whose a lease is: what the worker that accepts tells the session's own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holder {
    /// Among those that the session's worker awaits connections for.
    slot: u32,
    /// As the log calls the session.
    session: u64,
    /// The key that its own client's connections fit, whatever the port is leased under.
    own: ClientAddress,
}

/// One worker's passive ports.
pub(crate) struct PassivePorts {
    shard: ShardHandle<Holder>,
    settings: Rc<CurrentSettings>,
    awaited: RefCell<Slab<Awaited>>,
    /// The mailboxes of all workers, by number.
    mailboxes: Vec<Sender<HandedOver>>,
    refusals: Seldom,
    strangers: Seldom,
}

/// Where the connection for one lease is put.
#[derive(Debug)]
struct Awaited {
    lease: LeaseId,
    connection: Option<Accepted>,
    waker: Option<Waker>,
}

/// A session's hold on a passive port. Dropped, it gives the port back.
pub(crate) struct PassiveLease {
    ports: Rc<PassivePorts>,
    holder: Holder,
    lease: Option<Lease>,
}

impl PassivePorts {
    pub(crate) fn new(
        shard: ShardHandle<Holder>,
        settings: Rc<CurrentSettings>,
        mailboxes: Vec<Sender<HandedOver>>,
    ) -> Rc<Self> {
        let (refusals, strangers) = (Seldom::default(), Seldom::default());
        Rc::new(Self { shard, settings, awaited: RefCell::default(), mailboxes, refusals, strangers })
    }

    /// Leases a port for the next connection of a client. No system call is made.
    pub(crate) fn lease(
        self: &Rc<Self>,
        LeaseKeys { key, own }: LeaseKeys,
        session: u64,
        now: Instant,
    ) -> Result<PassiveLease, Refused> {
        let mut slots = self.awaited.borrow_mut();
        let entry = slots.vacant_entry();
        // Sessions are bounded by descriptors, and so far below 2^32.
        let holder = Holder { slot: u32::try_from(entry.key()).unwrap_or(u32::MAX), session, own };
        let lease = self.shard.lease(key, holder, now)?;
        entry.insert(Awaited { lease: lease.id(), connection: None, waker: None });
        Ok(PassiveLease { ports: Rc::clone(self), holder, lease: Some(lease) })
    }

    /// Says in the log that there was no port for a session, unless it was said a moment ago.
    pub(crate) fn tell_refused(&self, session: u64, peer: IpAddr, refused: &Refused) {
        if let Some(untold) = self.refusals.tells(turn_began()) {
            tracing::warn!(session, %peer, %refused, untold, "no passive port");
        }
    }

    /// Accepts on one port for ever.
    pub(crate) async fn accept_on(self: Rc<Self>, listener: Listener) {
        let port = listener.local().port();
        loop {
            match listener.accept().await {
                Ok((connection, peer)) => self.on_connection(connection, port, peer),
                Err(error) => {
                    tracing::warn!(port, %error, "a passive data connection could not be accepted");
                    sleep_until(Instant::now() + REST_WITHOUT_DESCRIPTORS).await;
                }
            }
        }
    }

    fn on_connection(&self, connection: Accepted, port: u16, peer: SocketAddr) {
        let arriving = self.settings.get().peers.arriving(peer.ip());
        let fits = |key, holder: &Holder| arriving.fits(key, holder.own);
        match self.shard.arrive_as_any(port, arriving.keys(), turn_began(), fits) {
            Arrival::ForHolder(Delivery { worker, holder, lease, .. }) => {
                let handed_over = HandedOver { connection, holder, lease };
                if worker == self.shard.worker() {
                    self.deliver(handed_over);
                } else if self.mailboxes[worker].try_send(handed_over).is_err() {
                    tracing::warn!(session = holder.session, port, %peer, worker, "a data connection was closed: its worker does not keep up");
                }
            }
            Arrival::Stranger => {
                if let Some(untold) = self.strangers.tells(turn_began()) {
                    tracing::info!(port, peer = %peer.ip(), untold, "a data connection was closed: nobody awaits that address there");
                }
            }
        }
    }

    /// Takes what other workers accepted for sessions of this one.
    pub(crate) async fn take_handovers(self: Rc<Self>, mut inbox: Receiver<HandedOver>) {
        while let Some(handed_over) = inbox.recv().await {
            self.deliver(handed_over);
        }
    }

    fn deliver(&self, HandedOver { connection, holder, lease }: HandedOver) {
        let mut slots = self.awaited.borrow_mut();
        // A session that has another lease by now, or is gone, does not want it: dropping closes it.
        if let Some(awaited) = slots.get_mut(holder.slot as usize)
            && awaited.lease == lease
        {
            awaited.connection = Some(connection);
            let waker = awaited.waker.take();
            drop(slots);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Clears away leases whose time is over, for ever.
    pub(crate) async fn expire_leases(self: Rc<Self>) {
        /// Leases expire to the second; a lease made meanwhile is due no earlier than that.
        const LATENESS: Duration = Duration::from_secs(1);
        loop {
            sleep_until(Instant::now() + LATENESS).await;
            if self.shard.next_expiry().is_some_and(|due| due <= Instant::now()) {
                self.shard.expire(Instant::now());
            }
        }
    }
}

impl PassiveLease {
    /// The port to tell the client.
    pub(crate) fn port(&self) -> u16 {
        self.lease.as_ref().map_or(0, Lease::port)
    }

    /// Whether it was kept for its whole time, and nobody came.
    pub(crate) fn has_expired(&self, now: Instant) -> bool {
        let has_come = |awaited: &Awaited| awaited.connection.is_some();
        self.lease.as_ref().is_some_and(|lease| lease.expires_at() + HAND_OVER <= now)
            && !self.ports.awaited.borrow().get(self.holder.slot as usize).is_some_and(has_come)
    }

    /// Gives this port back and leases anew: the newest PASV of a session is the one that holds.
    pub(crate) fn replace(mut self, keys: LeaseKeys, now: Instant) -> Result<Self, Refused> {
        let session = self.holder.session;
        if self.lease.as_ref().is_none_or(|lease| lease.client() != keys.key) {
            let ports = Rc::clone(&self.ports);
            drop(self);
            return ports.lease(keys, session, now);
        }
        let Some(old) = self.lease.take() else { return self.ports.lease(keys, session, now) };
        let lease = self.ports.shard.replace(old, self.holder, now)?;
        if let Some(awaited) = self.ports.awaited.borrow_mut().get_mut(self.holder.slot as usize) {
            awaited.lease = lease.id();
            // A connection to the old port was meant for the old command.
            awaited.connection = None;
        }
        self.lease = Some(lease);
        Ok(self)
    }

    /// Waits for the client's connection. Dropping the future loses nothing.
    pub(crate) async fn arrived(&mut self) -> Accepted {
        let connection = poll_fn(|context| {
            let mut slots = self.ports.awaited.borrow_mut();
            let Some(awaited) = slots.get_mut(self.holder.slot as usize) else { return Poll::Pending };
            match awaited.connection.take() {
                Some(connection) => Poll::Ready(connection),
                None => {
                    awaited.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await;
        // Its connection has ended the lease: there is nothing to give back.
        self.lease = None;
        connection
    }
}

impl Drop for PassiveLease {
    fn drop(&mut self) {
        let awaited = self.ports.awaited.borrow_mut().try_remove(self.holder.slot as usize);
        drop(awaited);
        if let Some(lease) = self.lease.take() {
            self.ports.shard.give_back(lease, turn_began());
        }
    }
}
