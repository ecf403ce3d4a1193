//! A proxy in front of a store's server that counts requests and spoils some of them.
//!
//! Invariants
//! - It listens on loopback alone, on a thread of its own that ends when it is dropped.
//! - Without rules it hands everything on as it is. A rule is used up in the order of the requests
//!   that match it.
//!
//! Not here: TLS, and anything but HTTP/1.1.

mod answer;

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt, combinators::BoxBody};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::loopback::Loopback;

/// A running proxy.
#[derive(Debug)]
pub struct Toxic {
    server: Loopback,
    state: Arc<State>,
}

/// What goes wrong, and when.
#[derive(Clone, Debug)]
pub struct Dose {
    /// Requests with this method; any where it is empty.
    pub method: String,
    /// Requests whose path and query contain this.
    pub target: String,
    /// Matching requests that still go well.
    pub skip: usize,
    /// Matching requests after those that do not.
    pub times: usize,
    /// How.
    pub poison: Poison,
}

/// How a request goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Poison {
    /// It is handed on so much later.
    Latency(Duration),
    /// It is refused with 503, with so many seconds to wait.
    Busy {
        /// Seconds that the answer asks for.
        retry_after: Option<u64>,
    },
    /// The connection is closed before anything happens.
    Reset,
    /// It happens, and the connection is closed instead of an answer.
    LoseAnswer,
    /// The answer's body ends half-way.
    Truncate,
    /// The answer's body stands still half-way and never goes on.
    Stall,
    /// The answer's body comes in pieces of 1 KiB, so long apart.
    Drip(Duration),
    /// A web page is the answer.
    Page,
    /// This is the answer.
    Say {
        /// Its status.
        status: u16,
        /// Its type of content.
        kind: &'static str,
        /// Its body.
        text: String,
    },
}

/// A request that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// What was answered; `None` where nothing was.
    pub status: Option<u16>,
    /// Whether it was spoilt.
    pub is_spoilt: bool,
    /// When it came.
    pub began: Instant,
    /// When its answer began.
    pub ended: Instant,
}

/// The most requests that were under way at the same moment.
#[must_use]
pub fn at_once(seen: &[Seen]) -> usize {
    let began = seen.iter().map(|seen| (seen.began, true));
    let mut changes: Vec<_> = began.chain(seen.iter().map(|seen| (seen.ended, false))).collect();
    // Of two at the same moment the end comes first.
    changes.sort();
    let (mut now, mut most) = (0_usize, 0);
    for (_, is_begin) in changes {
        now = if is_begin { now + 1 } else { now.saturating_sub(1) };
        most = most.max(now);
    }
    most
}

/// The most requests of which each came after the answer to the one before.
#[must_use]
pub fn one_after_another(seen: &[Seen]) -> usize {
    let mut seen: Vec<&Seen> = seen.iter().collect();
    seen.sort_by_key(|seen| seen.ended);
    let mut length = 0;
    let mut last = None;
    for seen in seen {
        if last.is_none_or(|last| seen.began >= last) {
            length += 1;
            last = Some(seen.ended);
        }
    }
    length
}

#[derive(Debug)]
struct State {
    upstream: SocketAddr,
    doses: Mutex<Vec<Dose>>,
    seen: Mutex<Vec<Seen>>,
}

type Answer = Response<BoxBody<Bytes, io::Error>>;

impl Dose {
    /// Every request goes wrong so.
    #[must_use]
    pub fn always(poison: Poison) -> Self {
        Self { method: String::new(), target: String::new(), skip: 0, times: usize::MAX, poison }
    }

    /// Requests with a method whose target contains a text go wrong so, after `skip` of them and
    /// `times` of them.
    #[must_use]
    pub fn of(method: &str, target: &str, skip: usize, times: usize, poison: Poison) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), skip, times, poison }
    }
}

impl Toxic {
    /// A proxy in front of the server at `upstream`.
    ///
    /// # Panics
    /// Where no port can be had.
    #[must_use]
    pub fn before(upstream: SocketAddr) -> Self {
        let state = Arc::new(State { upstream, doses: Mutex::default(), seen: Mutex::default() });
        let serving = Arc::clone(&state);
        let server = Loopback::answering(move |request| serve(Arc::clone(&serving), request));
        Self { server, state }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Orders a fault.
    pub fn add(&self, dose: Dose) {
        lock(&self.state.doses).push(dose);
    }

    /// Orders nothing any more.
    pub fn clear(&self) {
        lock(&self.state.doses).clear();
    }

    /// Whether every fault that was ordered for a number of times has happened so often, so that a
    /// test knows that it tested something.
    #[must_use]
    pub fn all_happened(&self) -> bool {
        lock(&self.state.doses).iter().all(|dose| matches!(dose.times, 0 | usize::MAX))
    }

    /// The requests so far; they are forgotten.
    #[must_use]
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut lock(&self.state.seen))
    }
}

impl State {
    /// What is wrong with this request: the first dose that is due. Doses after it do not count it.
    fn poison(&self, method: &str, target: &str) -> Option<Poison> {
        for dose in lock(&self.doses).iter_mut() {
            let matches =
                (dose.method.is_empty() || dose.method == method) && target.contains(&dose.target);
            if !matches {
                continue;
            }
            if dose.skip > 0 {
                dose.skip -= 1;
            } else if dose.times > 0 {
                // Without end stays without end.
                dose.times -= usize::from(dose.times < usize::MAX);
                return Some(dose.poison.clone());
            }
        }
        None
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(state: Arc<State>, request: Request<Incoming>) -> Result<Answer, io::Error> {
    let method = request.method().as_str().to_owned();
    let target = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
    let began = Instant::now();
    let poison = state.poison(&method, &target);
    let is_spoilt = poison.is_some();
    let answer = spoilt(&state, request, poison).await;
    let status = answer.as_ref().ok().map(|answer| answer.status().as_u16());
    let ended = Instant::now();
    lock(&state.seen).push(Seen { method, target, status, is_spoilt, began, ended });
    answer
}

async fn spoilt(
    state: &State,
    request: Request<Incoming>,
    poison: Option<Poison>,
) -> Result<Answer, io::Error> {
    match poison {
        None => hand_on(state, request).await,
        Some(Poison::Latency(late)) => {
            tokio::time::sleep(late).await;
            hand_on(state, request).await
        }
        Some(Poison::Reset) => Err(io::ErrorKind::ConnectionReset.into()),
        Some(Poison::LoseAnswer) => {
            drop(hand_on(state, request).await?.into_body().collect().await);
            Err(io::ErrorKind::ConnectionReset.into())
        }
        Some(Poison::Busy { retry_after }) => {
            // A client that is still sending would not read the answer.
            drop(request.into_body().collect().await);
            Ok(answer::busy(retry_after))
        }
        Some(Poison::Page) => {
            drop(request.into_body().collect().await);
            Ok(answer::page())
        }
        Some(Poison::Say { status, kind, text }) => {
            drop(request.into_body().collect().await);
            Ok(answer::made(status, kind, text))
        }
        Some(Poison::Truncate) => {
            answer::half(hand_on(state, request).await?, answer::After::Break).await
        }
        Some(Poison::Stall) => {
            answer::half(hand_on(state, request).await?, answer::After::Stall).await
        }
        Some(Poison::Drip(apart)) => answer::drip(hand_on(state, request).await?, apart).await,
    }
}

/// Asks the server, over a connection of its own.
async fn hand_on(state: &State, request: Request<Incoming>) -> Result<Answer, io::Error> {
    let stream = TcpStream::connect(state.upstream).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(io::Error::other)?;
    Ok(answer.map(|body| body.map_err(io::Error::other).boxed()))
}

/// An error that cannot be, for bodies in memory.
fn never(never: Infallible) -> io::Error {
    match never {}
}
