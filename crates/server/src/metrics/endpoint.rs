//! The HTTP server, on a thread of its own that no worker ever waits for.
//!
//! Whoever connects gets one answer and a few seconds. Connections, the size of a request and the time that each may take
//! are bounded, so that somebody who is slow or hostile holds a little memory for a little while, and nothing else.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::Metrics;
use super::page::{self, Form};
use crate::readiness::Phase;

/// How many connections are served at once; for one more the oldest is closed, so that a probe is answered however many others
/// say nothing.
const CONNECTIONS_MAX: usize = 32;

/// How long one connection may take, from its beginning to its end.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(10);

/// How long the head of a request may take.
const HEAD_TIME_MAX: Duration = Duration::from_secs(3);

/// How large the head of a request may be: the least that hyper takes.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// How long the thread rests when a connection cannot be accepted, which is for want of descriptors.
const REST: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; charset=utf-8";

/// The listening socket, bound before any right is given up.
#[derive(Debug)]
pub(crate) struct MetricsListener(TcpListener);

impl MetricsListener {
    pub(crate) fn bind(address: SocketAddr) -> anyhow::Result<Self> {
        let bind = || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            io::Result::Ok(listener)
        };
        bind().map(Self).with_context(|| format!("cannot listen for metrics on {address} (metrics.address)"))
    }

    /// The port that it got.
    pub(crate) fn port(&self) -> Option<u16> {
        self.0.local_addr().ok().map(|address| address.port())
    }

    /// Answers for as long as the process lives.
    pub(crate) fn serve(self, metrics: &'static Metrics) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .context("cannot start the metrics page")?;
        if let Ok(address) = self.0.local_addr() {
            tracing::info!("metrics on http://{address}/metrics");
        }
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(self.0).context("cannot start the metrics page")?
        };
        thread::Builder::new()
            .name(String::from("metrics"))
            .spawn(move || runtime.block_on(accept(listener, metrics)))
            .context("cannot start a thread")?;
        Ok(())
    }
}

async fn accept(listener: tokio::net::TcpListener, metrics: &'static Metrics) {
    // The oldest first.
    let mut connections: VecDeque<JoinHandle<()>> = VecDeque::with_capacity(CONNECTIONS_MAX);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.retain(|connection| !connection.is_finished());
                if connections.len() >= CONNECTIONS_MAX
                    && let Some(oldest) = connections.pop_front()
                {
                    oldest.abort();
                }
                connections.push_back(tokio::spawn(async move {
                    // Over time or not, the connection closes with the future that owns it.
                    let _ = tokio::time::timeout(CONNECTION_TIME_MAX, serve(stream, metrics)).await;
                }));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to the metrics page could not be accepted");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, metrics: &'static Metrics) {
    let answer =
        service_fn(async |request: Request<Incoming>| Ok::<_, Infallible>(answer(&request, metrics)));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        // A connection that is kept for later would hold its place till then.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a request to the metrics page failed");
    }
}

fn answer(request: &Request<Incoming>, metrics: &'static Metrics) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => {
            let form = form(request);
            page::write(metrics, form).map_or_else(
                |_| text(StatusCode::INTERNAL_SERVER_ERROR, "the page could not be written\n"),
                |page| with_type(StatusCode::OK, page, form.content_type()),
            )
        }
        "/health/live" => text(StatusCode::OK, "live\n"),
        "/health/ready" => match metrics.readiness.phase() {
            Phase::Ready => text(StatusCode::OK, "ready\n"),
            Phase::Starting => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
            Phase::Draining => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        },
        _ => text(StatusCode::NOT_FOUND, "there are /metrics, /health/live and /health/ready\n"),
    }
}

/// The form that the client prefers. Prometheus names OpenMetrics where it wants it; whoever says nothing gets what everybody
/// reads.
fn form(request: &Request<Incoming>) -> Form {
    let accepts = |value: &HeaderValue| {
        value.to_str().is_ok_and(|value| value.contains("application/openmetrics-text"))
    };
    if request.headers().get_all(ACCEPT).iter().any(accepts) { Form::OpenMetrics } else { Form::Plain }
}

fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    with_type(status, text, TEXT)
}

fn with_type(
    status: StatusCode,
    body: impl Into<Bytes>,
    content_type: &'static str,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
