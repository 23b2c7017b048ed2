//! From a connection to a session: a place for it, whom it is from, or why it is not served.
//!
//! Load balancers look after a server by connecting and leaving at once, again and again. Such a probe must not cost a client
//! its place: who finds none is refused only when he has found none for a while, in which those go who have left already.
//! Nor is anybody told, or is it logged, that a probe found no place.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use protocol::reply::Reply;
use runtime::{Accepted, Stream, sleep_until, timeout_at};

use crate::admission::{ClientPlace, Full, SessionPlace};
use crate::control::ControlConnection;
use crate::logging::Seldom;
use crate::proxy_protocol::{Origin, read_origin};
use crate::replies;
use crate::settings::Current;
use crate::worker::{Client, Worker};

/// How long a newcomer waits for a place at most, and how often he looks.
const WAIT: Duration = Duration::from_millis(100);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How many of them wait at once on one worker; who comes then is refused at once, for each holds a descriptor.
const WAITING_MAX: usize = 64;

/// What a worker remembers of those whom it did not serve.
#[derive(Debug, Default)]
pub(crate) struct Newcomers {
    waiting: Cell<usize>,
    refusals: Seldom,
}

/// A connection that waits for a session.
struct Newcomer {
    id: u64,
    stream: Stream,
    listener: usize,
}

impl Worker {
    pub(crate) fn on_connection(self: &Rc<Self>, connection: Accepted, listener: usize) {
        let id = self.service.sessions_started.fetch_add(1, Ordering::Relaxed) + 1;
        let stream = match connection.into_stream() {
            Ok(stream) => stream,
            Err(error) => {
                return tracing::warn!(session = id, %error, "a connection could not be served");
            }
        };
        let newcomer = Newcomer { id, stream, listener };
        match self.place() {
            Ok(place) => self.on_admitted(newcomer, place),
            Err(full) => {
                let worker = Rc::clone(self);
                drop(runtime::spawn(async move {
                    let peer = newcomer.stream.peer().ip();
                    if let Some(place) = worker.wait_for(full, &newcomer, peer, || worker.place()).await {
                        worker.on_admitted(newcomer, place);
                    }
                }));
            }
        }
    }

    fn place(&self) -> Result<SessionPlace, Full> {
        self.service.admission.admit(&self.settings.get().admission)
    }

    fn client_place(&self, client: IpAddr) -> Result<ClientPlace, Full> {
        self.service.admission.admit_client(client, &self.settings.get().admission)
    }

    fn on_admitted(self: &Rc<Self>, newcomer: Newcomer, place: SessionPlace) {
        let settings = self.settings.get();
        if settings.listeners[newcomer.listener].proxies.is_some() {
            drop(runtime::spawn(Rc::clone(self).serve_behind_proxy(newcomer, settings, place)));
        } else {
            let client = Client { peer: newcomer.stream.peer(), reached: None };
            self.serve(newcomer, client, Vec::new(), place);
        }
    }

    /// Learns from the proxy whom it connects for, and serves that client.
    async fn serve_behind_proxy(self: Rc<Self>, newcomer: Newcomer, settings: Current, place: SessionPlace) {
        let Newcomer { id, stream, listener } = &newcomer;
        let deadline = Instant::now() + settings.deadlines.login;
        let proxies = settings.listeners[*listener].proxies.as_deref().unwrap_or_default();
        match timeout_at(deadline, read_origin(stream, proxies)).await {
            Ok(Ok((origin, received))) => {
                let client = match origin {
                    Origin::Client { peer, reached } => Client { peer, reached: Some(reached) },
                    Origin::Proxy => Client { peer: stream.peer(), reached: None },
                };
                self.serve(newcomer, client, received, place);
            }
            Ok(Err(error)) => tracing::debug!(session = id, peer = %stream.peer(), %error, "not served"),
            Err(runtime::Elapsed) => {
                tracing::debug!(session = id, peer = %stream.peer(), "no PROXY header came");
            }
        }
    }

    /// Serves a client, who sent `received` already, in a task of its own.
    fn serve(self: &Rc<Self>, newcomer: Newcomer, client: Client, received: Vec<u8>, place: SessionPlace) {
        let ip = client.peer.ip();
        match self.client_place(ip) {
            Ok(client_place) => self.start(newcomer, client, received, (place, client_place)),
            Err(full) => {
                let worker = Rc::clone(self);
                drop(runtime::spawn(async move {
                    let take = || worker.client_place(ip);
                    if let Some(client_place) = worker.wait_for(full, &newcomer, ip, take).await {
                        worker.start(newcomer, client, received, (place, client_place));
                    }
                }));
            }
        }
    }

    fn start(
        self: &Rc<Self>,
        newcomer: Newcomer,
        client: Client,
        received: Vec<u8>,
        places: (SessionPlace, ClientPlace),
    ) {
        let Newcomer { id, mut stream, listener } = newcomer;
        stream.receive_ahead();
        // Only borrowed by what runs it: a future that took it by value would hold it several times over, for as long as the
        // client is idle. Boxed, for a task is moved several times until it runs.
        let mut control =
            Box::new(ControlConnection::new(Rc::clone(self), id, stream, listener, client, received, places));
        drop(runtime::spawn(async move { control.run().await }));
    }

    /// Waits for a place that there is none of now. Who leaves meanwhile was a probe; who stays and finds none is told.
    async fn wait_for<P>(
        &self,
        full: Full,
        newcomer: &Newcomer,
        peer: IpAddr,
        take: impl Fn() -> Result<P, Full>,
    ) -> Option<P> {
        let mut full = full;
        let until = Instant::now() + WAIT;
        let waiting = self.newcomers.wait();
        if waiting.is_some() {
            while Instant::now() < until && !newcomer.stream.peer_closed() {
                sleep_until(Instant::now() + LOOK_EVERY).await;
                match take() {
                    Ok(place) => return Some(place),
                    Err(still) => full = still,
                }
            }
        }
        if !newcomer.stream.peer_closed() {
            self.counters.on_refused(full.into());
            self.newcomers.tell(newcomer.id, peer, full);
            tell_and_end(&newcomer.stream, &replies::full(full));
            if waiting.is_some() {
                // What is on its way to us, such as the header of a proxy, resets the connection once nobody is there.
                let _ = timeout_at(Instant::now() + WAIT, newcomer.stream.end_both()).await;
            }
        }
        None
    }
}

impl Newcomers {
    /// One more that waits, unless there are too many.
    fn wait(&self) -> Option<impl Drop + '_> {
        struct Waiting<'n>(&'n Cell<usize>);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() - 1);
            }
        }
        (self.waiting.get() < WAITING_MAX).then(|| {
            self.waiting.set(self.waiting.get() + 1);
            Waiting(&self.waiting)
        })
    }

    /// Says in the log that somebody is refused, unless it was said a moment ago.
    fn tell(&self, session: u64, peer: IpAddr, full: Full) {
        if let Some(untold) = self.refusals.tells(Instant::now()) {
            tracing::warn!(session, %peer, ?full, untold, "refused: too many sessions");
        }
    }
}

/// Tells somebody why he is not served, and closes.
pub(crate) fn turn_away(connection: Accepted, reply: &Reply) {
    if let Ok(stream) = connection.into_stream() {
        tell_and_end(&stream, reply);
    }
}

/// Tells a client why it is not served, as far as that fits in its socket, and ends this side.
fn tell_and_end(stream: &Stream, reply: &Reply) {
    let mut text = Vec::new();
    reply.encode(&mut text);
    // Whoever does not take one line at once has to do without it.
    let _ = stream.try_send_last(&text);
    // To close with anything unread would reset the connection, and the reply would be lost.
    let _ = stream.try_receive(&mut [0; 4096]);
}
