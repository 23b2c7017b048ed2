//! The control connection: bytes in, what the session asks for done, replies out.
//!
//! One task runs it. It waits for whatever happens first (bytes from the client, a step of the transfer, the answer of a
//! file request, a deadline), tells the session, does what the session then asks for, and sends the replies that came
//! of it in one go. Nothing here blocks the core: what may wait on a disk runs in the places that `waiting.rs` finds for it.

mod data_setup;
mod transfer_steps;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use accounts::AccountSession;
use protocol::line::{Frame, LINE_BYTES_MAX, LineSplitter};
use protocol::reply::Reply;
use protocol::session::{Action, Deadline, FileAnswer, FileRequest, LoginVerdict, Secret, Session};
use runtime::{IdleTimer, Stream, timeout_at, turn_began};
use storage::Root;

use crate::admission::{ClientPlace, Full, SessionPlace};
use crate::answers::Answers;
use crate::farewell::FarewellListener;
use crate::files::{self, FileJob};
use crate::logging::loggable;
use crate::logins::{self, Admitted, Login, LoginJob, LoginOutcome};
use crate::metrics::{Passed, SessionEnd};
use crate::passive::PassiveLease;
use crate::rates::Rates;
use crate::record::SessionLabel;
use crate::replies;
use crate::settings::only_address;
use crate::transfers::{Running, Step};
use crate::worker::{Client, Worker};

/// How long a session works off commands that are there already before others of its worker have their turn: a client that sends
/// without a pause, and takes the replies as quickly, would keep the core.
const TURN_MAX: Duration = Duration::from_micros(250);

/// How much of a client's input is read at a time.
const RECEIVE_BYTES: usize = 16 * 1024;

/// How many bytes of replies are gathered before they are sent, whatever else is to be done.
const SENT_AT_BYTES: usize = 64 * 1024;

/// How often it is looked whether a client is still there of whom no more can be read for now.
const LOOK_EVERY: Duration = Duration::from_secs(1);

thread_local! {
    /// Where input is received. It belongs to whichever session is running, and only until that session waits again, so
    /// that an idle session holds no buffer.
    static RECEIVED: RefCell<Box<[u8]>> = RefCell::new(vec![0; RECEIVE_BYTES].into_boxed_slice());
    /// Where replies are gathered, on the same terms.
    static REPLIES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One client.
pub(crate) struct ControlConnection {
    worker: Rc<Worker>,
    id: u64,
    stream: Stream,
    /// Which listener took it.
    listener: usize,
    /// The generation of the settings that its idle deadline is from.
    generation: u64,
    /// The client's address, as a proxy tells it where there is one.
    peer: SocketAddr,
    /// The address that the client reached, once it was asked for.
    local: Option<SocketAddr>,
    session: Session,
    splitter: LineSplitter,
    /// When it happened what is handled at this moment: one look at the clock for all that comes of it.
    now: Instant,
    /// Input that the session does not want yet.
    unread: Vec<u8>,
    root: Arc<Root>,
    // Boxed, as what an idle session does not have.
    lease: Option<Box<PassiveLease>>,
    transfer: Option<Running>,
    file_job: Option<FileJob>,
    login_job: Option<LoginJob>,
    account: Option<Rc<AccountSession>>,
    rates: Rates,
    /// What the account's sessions together may transfer, as it was at the login.
    account_rates: Rates,
    places: (SessionPlace, ClientPlace),
    idle: IdleTimer,
    farewell: FarewellListener,
    /// All that the client said has been read.
    input_ended: bool,
    /// The client has ended its side, though there may be something to read before that.
    has_left: bool,
    /// The server stops; the session ends with what it is doing.
    leaving: bool,
    answers: Answers,
}

/// What happened.
enum Event {
    /// That many bytes came; none, where input that was put aside is wanted now.
    Input(usize),
    /// The client ended its side.
    InputEnded,
    /// The connection failed.
    Failed,
    /// The client ended its side, perhaps behind much that it said before.
    Left,
    Transfer(Step),
    File(FileRequest, Result<FileAnswer, Reply>),
    Login(LoginOutcome),
    Expired,
    /// The server stops.
    Farewell,
}

impl ControlConnection {
    /// The control connection of `client`, who sent `received` already.
    pub(crate) fn new(
        worker: Rc<Worker>,
        id: u64,
        stream: Stream,
        listener: usize,
        client: Client,
        received: Vec<u8>,
        places: (SessionPlace, ClientPlace),
    ) -> Self {
        let settings = worker.settings.get();
        let now = turn_began();
        Self {
            id,
            listener,
            generation: settings.generation,
            peer: SocketAddr::new(client.peer.ip().to_canonical(), client.peer.port()),
            // What is known need not be asked for: then PASV makes no system call, not even the first.
            local: client.reached.or(only_address(worker.service.addresses[listener])),
            session: Session::new(settings.session_settings(), client.peer),
            splitter: LineSplitter::new(LINE_BYTES_MAX),
            now,
            unread: received,
            root: Arc::clone(settings.logins.default_root()),
            lease: None,
            transfer: None,
            file_job: None,
            login_job: None,
            account: None,
            rates: settings.session_rates(),
            account_rates: Rates::default(),
            places,
            idle: IdleTimer::new(settings.deadlines.login),
            farewell: worker.farewell.listen(),
            input_ended: false,
            has_left: false,
            leaving: false,
            answers: Answers::new(worker.counters, now),
            stream,
            worker,
        }
    }

    /// Serves the client to the end.
    pub(crate) async fn run(&mut self) {
        tracing::debug!(session = self.id, peer = %self.peer, "connected");
        let counters = self.worker.counters;
        counters.sessions_started.add(1);
        let ending = self.serve().await;
        counters.on_session_ended(ending);
        tracing::debug!(session = self.id, ?ending, "ended");
        // What still runs is taken back before the control connection closes.
        self.transfer = None;
        self.file_job = None;
        self.lease = None;
    }

    async fn serve(&mut self) -> SessionEnd {
        let mut working_since = None;
        loop {
            if let Err(ending) = self.do_what_is_asked().await {
                return ending;
            }
            if self.is_through() {
                return SessionEnd::Lost;
            }
            if self.leaving && self.is_at_rest() {
                self.leaving = false;
                self.session.handle_deadline(Deadline::Shutdown);
                continue;
            }
            let (event, was_waited_for) = self.next_event().await;
            self.now = turn_began();
            let outcome = match event {
                Event::Input(length) => {
                    self.on_input(length);
                    if was_waited_for {
                        working_since = None;
                    } else if working_since.get_or_insert_with(Instant::now).elapsed() >= TURN_MAX {
                        working_since = None;
                        runtime::end_long_turn().await;
                    }
                    Ok(())
                }
                Event::InputEnded => self.on_input_ended(),
                Event::Failed => self.on_lost(),
                Event::Left => {
                    self.has_left = true;
                    self.cancel_file_job();
                    Ok(())
                }
                Event::Transfer(step) => {
                    self.on_transfer_step(step);
                    Ok(())
                }
                Event::File(request, answer) => {
                    self.file_job = None;
                    if self.session.is_logged_in() {
                        self.idle.touch(self.now);
                    }
                    self.session.handle_file_answer(request, answer);
                    Ok(())
                }
                Event::Login(outcome) => {
                    self.login_job = None;
                    self.on_login(outcome);
                    Ok(())
                }
                Event::Expired => {
                    self.on_expired();
                    Ok(())
                }
                Event::Farewell => {
                    self.leaving = true;
                    Ok(())
                }
            };
            if let Err(ending) = outcome {
                return ending;
            }
        }
    }

    /// Waits for what happens first, and tells whether that was not so already.
    async fn next_event(&mut self) -> (Event, bool) {
        if !self.unread.is_empty() && self.session.wants_input() {
            return (Event::Input(0), false);
        }
        // Bytes that move have a stall deadline of their own. What waits for a disk, as the checksum of a large file, takes as
        // long as it takes; but not for a client that says no more, and may be gone.
        let is_moving = self.transfer.is_some() && !self.is_publishing();
        let is_waiting = (self.file_job.is_some() || self.is_publishing()) && !self.has_left;
        let is_working = is_moving || is_waiting;
        if self.file_job.is_some() && !self.is_heard() && !self.has_left {
            // Boxed, lest every session has room for it at all times.
            return (Box::pin(self.next_event_unheard(is_working)).await, true);
        }
        let mut was_waited_for = false;
        let event = poll_fn(|context| {
            let polled = self.poll_event(context, is_working);
            was_waited_for |= polled.is_pending();
            polled
        });
        (event.await, was_waited_for)
    }

    /// Waits for what happens first while nothing of the client's can be read, which would tell that it is gone.
    async fn next_event_unheard(&mut self, is_working: bool) -> Event {
        loop {
            let event = poll_fn(|context| self.poll_event(context, is_working));
            match timeout_at(Instant::now() + LOOK_EVERY, event).await {
                Ok(event) => return event,
                Err(runtime::Elapsed) if self.stream.peer_closed() => return Event::Left,
                Err(runtime::Elapsed) => {}
            }
        }
    }

    /// Whether what the client sends is received.
    fn is_heard(&self) -> bool {
        self.unread.is_empty() && self.session.wants_input() && !self.input_ended
    }

    fn poll_event(&mut self, context: &mut Context<'_>, is_working: bool) -> Poll<Event> {
        if let Some(transfer) = &mut self.transfer
            && let Poll::Ready(step) = transfer.poll_step(context)
        {
            return Poll::Ready(Event::Transfer(step));
        }
        if let Some(job) = &mut self.file_job
            && let Poll::Ready((request, answer)) = job.poll(context)
        {
            return Poll::Ready(Event::File(request, answer));
        }
        if let Some(job) = &mut self.login_job
            && let Poll::Ready(outcome) = job.as_mut().poll(context)
        {
            return Poll::Ready(Event::Login(outcome));
        }
        // Before the input, or a client that never pauses would never be late.
        if !is_working && self.idle.poll_expired(context).is_ready() {
            return Poll::Ready(Event::Expired);
        }
        if self.is_heard() {
            let received = RECEIVED.with_borrow_mut(|buffer| self.stream.poll_receive(context, buffer));
            match received {
                Poll::Ready(Ok(0)) => return Poll::Ready(Event::InputEnded),
                Poll::Ready(Err(_)) => return Poll::Ready(Event::Failed),
                Poll::Ready(Ok(length)) => return Poll::Ready(Event::Input(length)),
                Poll::Pending => {}
            }
        }
        if self.farewell.poll(context).is_ready() {
            return Poll::Ready(Event::Farewell);
        }
        Poll::Pending
    }

    /// Bytes came, or those that were put aside are wanted now.
    fn on_input(&mut self, length: usize) {
        if self.unread.is_empty() {
            RECEIVED.with_borrow(|buffer| self.split(&buffer[..length]));
        } else {
            let unread = std::mem::take(&mut self.unread);
            self.split(&unread);
        }
    }

    /// The client says no more. What it said before is answered, but for what may take long: a transfer that it does not
    /// wait for with a QUIT is given up, and so is a checksum, for this is how a client that was killed looks.
    fn on_input_ended(&mut self) -> Result<(), SessionEnd> {
        if self.transfer.is_some() && !self.session.said_goodbye() {
            return self.on_lost();
        }
        self.cancel_file_job();
        self.says_no_more();
        Ok(())
    }

    fn cancel_file_job(&self) {
        if let Some(job) = &self.file_job {
            job.cancel();
        }
    }

    /// The client is gone. An upload that is taking its name keeps it, and is recorded with it.
    fn on_lost(&mut self) -> Result<(), SessionEnd> {
        if !self.is_publishing() {
            return Err(SessionEnd::Lost);
        }
        self.says_no_more();
        Ok(())
    }

    /// From now on it has its idle time for what is still to be waited for.
    fn says_no_more(&mut self) {
        self.input_ended = true;
        self.has_left = true;
        self.idle.touch(self.now);
    }

    fn is_publishing(&self) -> bool {
        self.transfer.as_ref().is_some_and(|transfer| !transfer.can_be_aborted())
    }

    /// Whether nothing is under way.
    fn is_at_rest(&self) -> bool {
        self.transfer.is_none() && self.file_job.is_none() && self.login_job.is_none()
    }

    /// Whether the client says no more and everything that it said is answered.
    fn is_through(&self) -> bool {
        self.input_ended && self.is_at_rest() && self.unread.is_empty()
    }

    /// Hands lines to the session as long as it wants them.
    fn split(&mut self, bytes: &[u8]) {
        if let Some(transfer) = &self.transfer {
            self.session.handle_transfer_progress(transfer.bytes_moved());
        }
        self.take_up_idle_deadline();
        self.forget_expired_lease();
        let mut rest = bytes;
        while self.session.wants_input() {
            let frame = self.splitter.next(&mut rest);
            if frame.is_some() {
                self.answers.asked(self.now);
                // A command is a sign of life; bytes that make none are not, and neither is anything before the login.
                if self.session.is_logged_in() {
                    self.idle.touch(self.now);
                }
            }
            match frame {
                Some(Frame::Line(line)) => {
                    tracing::debug!(session = self.id, line = %loggable(line), "command");
                    self.session.handle_line(line);
                }
                Some(Frame::TooLong) => self.session.handle_line_too_long(),
                None => return,
            }
        }
        self.unread = rest.to_vec();
    }

    /// The idle deadline follows a reload with the next command.
    fn take_up_idle_deadline(&mut self) {
        let settings = self.worker.settings.get();
        if self.generation != settings.generation && self.session.is_logged_in() {
            self.generation = settings.generation;
            self.idle.set_duration(settings.deadlines.idle);
        }
    }

    fn on_expired(&mut self) {
        let is_idle = self.session.is_logged_in();
        let (deadline, passed) =
            if is_idle { (Deadline::Idle, Passed::Idle) } else { (Deadline::Login, Passed::Login) };
        self.worker.counters.on_deadline(passed);
        self.session.handle_deadline(deadline);
    }

    /// Does what the session asks for, until it asks for nothing more, and sends its replies.
    async fn do_what_is_asked(&mut self) -> Result<(), SessionEnd> {
        let mut replies = REPLIES.take();
        replies.clear();
        let mut ends = false;
        while let Some(action) = self.session.poll_action() {
            ends |= matches!(action, Action::Close);
            self.perform(action, &mut replies);
            if replies.len() >= SENT_AT_BYTES {
                self.send(&replies, false).await.map_err(|_| SessionEnd::Lost)?;
                replies.clear();
            }
        }
        let sent = self.send(&replies, ends).await;
        self.answers.sent();
        REPLIES.set(replies);
        sent.map_err(|_| SessionEnd::Lost)?;
        if ends { Err(SessionEnd::Closed) } else { Ok(()) }
    }

    /// Does one thing that the session asks for; a reply is put behind those that are to be sent.
    fn perform(&mut self, action: Action, replies: &mut Vec<u8>) {
        match action {
            Action::Reply { reply, to } => {
                self.answers.replied(reply.code(), to);
                tracing::debug!(session = self.id, code = reply.code().number(), "reply");
                reply.encode(replies);
            }
            Action::Authenticate(password) => self.authenticate(&password),
            Action::LeasePassive(kind) => self.lease_passive(kind),
            Action::ReturnPassive => self.lease = None,
            Action::PermitAddress(address) => self.permit_address(address),
            Action::Transfer(transfer) => self.begin_transfer(*transfer),
            Action::Abort => self.abort(),
            Action::File(request) => self.begin_file_request(*request),
            Action::Logout => self.on_logout(),
            // Once all that came before it is sent.
            Action::Close => {}
        }
    }

    /// Sends replies, the last of them with the end of the connection; a client that takes none for too long is lost.
    async fn send(&self, replies: &[u8], are_last: bool) -> io::Result<()> {
        if replies.is_empty() {
            return Ok(());
        }
        let attempt =
            if are_last { self.stream.try_send_last(replies) } else { self.stream.try_send(replies) };
        let sent = match attempt {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        if sent == replies.len() {
            return Ok(());
        }
        // Boxed, lest every session has room for it at all times.
        Box::pin(self.send_slowly(&replies[sent..])).await
    }

    async fn send_slowly(&self, replies: &[u8]) -> io::Result<()> {
        let deadline = Instant::now() + self.worker.settings.get().deadlines.stall;
        timeout_at(deadline, self.stream.send_all(replies)).await.map_err(|_| {
            self.worker.counters.on_deadline(Passed::Stall);
            io::ErrorKind::TimedOut
        })?
    }

    fn authenticate(&mut self, password: &Secret) {
        let user = self.session.user_asked().unwrap_or_default();
        tracing::debug!(session = self.id, user = %loggable(user), "login");
        let settings = self.worker.settings.get();
        let gate = &self.worker.service.gate;
        match logins::begin(gate, settings, user, password, self.peer.ip(), self.id) {
            Login::Decided(outcome) => self.on_login(outcome),
            Login::Later(job) => self.login_job = Some(job),
        }
    }

    fn on_login(&mut self, outcome: LoginOutcome) {
        let end = outcome.counted_as();
        self.worker.counters.on_login(end);
        logins::log(self.id, self.peer.ip(), self.session.user_asked(), end);
        let verdict = match outcome {
            LoginOutcome::Accepted(Admitted { session, root, rates }) => {
                let settings = self.worker.settings.get();
                let rights = session.account().rights;
                self.account = Some(Rc::new(session));
                self.account_rates = rates;
                self.root = root;
                self.places.0.on_login();
                self.generation = settings.generation;
                self.idle.set_duration(settings.deadlines.idle);
                self.idle.touch(self.now);
                LoginVerdict::Accepted(rights)
            }
            // To say that the password was not even looked at would tell a guesser when to go on.
            LoginOutcome::Refused | LoginOutcome::MustWait => LoginVerdict::Refused,
            LoginOutcome::TooManySessions => LoginVerdict::TooManySessions,
            LoginOutcome::Unavailable => LoginVerdict::Unavailable,
        };
        self.session.handle_login(verdict);
    }

    fn on_logout(&mut self) {
        let settings = self.worker.settings.get();
        self.account = None;
        self.root = Arc::clone(settings.logins.default_root());
        self.idle.set_duration(settings.deadlines.login);
        self.idle.touch(self.now);
        let admission = &self.worker.service.admission;
        if !self.places.0.on_logout(admission, &settings.admission) {
            self.session.handle_no_place(replies::full(Full::Pending));
        }
    }

    /// Who it is, for the logs.
    fn label(&self) -> SessionLabel {
        SessionLabel {
            id: self.id,
            peer: self.peer.ip(),
            user: self.session.user().unwrap_or_default().into(),
        }
    }

    fn begin_file_request(&mut self, request: FileRequest) {
        if let Some(answer) = files::answer_cached(&self.root, &request) {
            return self.session.handle_file_answer(request, answer);
        }
        self.file_job = Some(FileJob::begin(Arc::clone(&self.root), request, self.label()));
        if self.has_left {
            self.cancel_file_job();
        }
    }
}
