//! A remote of rclone, which is run as a server of the REST protocol on its own pipes.
//!
//! Invariants
//! - One program serves all requests, as streams of one HTTP/2 connection. After it is lost the
//!   next request starts another, and what was under way has failed as transient.
//! - That it is ready is seen by an answer, whatever the answer says.
//!
//! Not here: what is asked and what answers mean (`rest`); how rclone reaches the remote; files that
//! have no place in that protocol ([`files`]).

#[cfg(feature = "webdav")]
pub mod files;

use std::{
    ffi::OsString,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};
use url::Url;

use super::{
    Failure, StoreError,
    child::{self, Child, Progress},
    remote::Traits,
    rest::{Call, Rest, Wire},
    settings::StoreSettings,
    trace::{Observer, StoreEvent},
};
use crate::entropy::name_suffix;

/// Requests at once.
const CONNECTIONS: usize = 5;
/// What may be on its way to us in one stream, and in all of them.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// A REST server on its own pipes. What is removed is gone: a backup tool has its own versions.
const ARGUMENTS: &str = "serve restic --stdio --b2-hard-delete";
/// Nobody else hears it.
const ADDRESS: &str = "http://localhost/";

const INSTALL: &str = "install rclone, or say where it is with -o rclone.program=…";
const LOOK: &str = "see that `rclone lsd` with the same remote works";

/// The repository at `remote`, which is what rclone calls it: `name:path`.
pub fn open(
    remote: &str,
    settings: &StoreSettings,
    observer: &Observer,
) -> Result<Rest, StoreError> {
    let name = format!("rclone:{remote}");
    let refused = |why: String| StoreError::new(Failure::Permanent, "open", name.as_str(), why);
    let mut command = Vec::new();
    let args = settings.rclone.args.as_deref().unwrap_or(ARGUMENTS);
    for (option, text) in [("program", settings.rclone.program.as_str()), ("args", args)] {
        let words = child::split(text);
        command.extend(words.map_err(|why| refused(format!("the option rclone.{option}: {why}")))?);
    }
    command.push(remote.into());
    let url = Url::parse(ADDRESS).map_err(|error| refused(error.to_string()))?;
    let pipe = Pipe {
        name: name.clone(),
        command,
        environment: settings.rclone.environment.clone(),
        start_patience: settings.rclone.start_patience,
        stuck_after: settings.http.stuck_after,
        observer: observer.clone(),
        session: Mutex::new(None),
        was_connected: AtomicBool::new(false),
    };
    // It reports some failures to reach the remote as absence.
    let traits = Traits { connections: CONNECTIONS, flaky: true, limits_itself: false };
    Ok(Rest::over(Box::new(pipe), name, url, None, traits))
}

/// How rclone is started, and the connection to it where there is one.
#[derive(Debug)]
struct Pipe {
    name: String,
    command: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    start_patience: Duration,
    stuck_after: Duration,
    observer: Observer,
    session: Mutex<Option<Arc<Session>>>,
    was_connected: AtomicBool,
}

#[derive(Debug)]
struct Session {
    sender: http2::SendRequest<Full<Bytes>>,
    child: Mutex<Child>,
    progress: Progress,
    is_over: AtomicBool,
}

/// Why a request got no whole answer.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the connection to rclone broke off: {0}")]
    Off(#[from] hyper::Error),
    #[error("the answer has more than {0} bytes")]
    TooLong(usize),
    #[error("rclone has not moved for {} seconds", .0.as_secs())]
    Stuck(Duration),
}

#[async_trait]
impl Wire for Pipe {
    async fn ask(
        &self,
        call: Call<'_>,
        request: Request<Bytes>,
        most: usize,
    ) -> Result<Response<Bytes>, StoreError> {
        let session = self.session(call).await?;
        let began = Instant::now();
        let method = request.method().to_string();
        let target = request.uri().path().to_owned();
        let sent = request.body().len() as u64;
        let watched = session.progress.watch(self.stuck_after, session.answer(request, most)).await;
        let answer = watched.unwrap_or(Err(Broken::Stuck(self.stuck_after)));
        self.observer.tell(|| StoreEvent::Request {
            method,
            target,
            status: answer.as_ref().ok().map(|answer| answer.status().as_u16()),
            sent,
            received: answer.as_ref().map_or(0, |answer| answer.body().len() as u64),
            took: began.elapsed(),
        });
        match answer {
            Ok(answer) => Ok(answer),
            Err(error) => Err(session.failed(call, error).await),
        }
    }
}

impl Pipe {
    /// The connection, which is begun where there is none.
    async fn session(&self, call: Call<'_>) -> Result<Arc<Session>, StoreError> {
        let mut current = self.session.lock().await;
        if let Some(session) = &*current
            && !session.is_over.load(Ordering::Acquire)
        {
            return Ok(Arc::clone(session));
        }
        *current = None;
        let session = Arc::new(self.connect(call).await?);
        self.was_connected.store(true, Ordering::Relaxed);
        *current = Some(Arc::clone(&session));
        Ok(session)
    }

    async fn connect(&self, call: Call<'_>) -> Result<Session, StoreError> {
        // The first start fails for good; a later one did work before.
        let failure = match self.was_connected.load(Ordering::Relaxed) {
            true => Failure::Transient,
            false => Failure::Permanent,
        };
        let refused = |why: String| StoreError::new(failure, call.action, self.name.as_str(), why);
        let (mut child, pipes) = Child::start(&self.command, &self.environment)
            .map_err(|error| refused(error.to_string()).advising(INSTALL))?;
        let greeting = async {
            let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(STREAM_WINDOW_BYTES)
                .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                .handshake(TokioIo::new(pipes))
                .await?;
            // It ends with the last sender, or when the program does.
            tokio::spawn(connection);
            // Nothing has this name. A number that nobody can guess keeps it so.
            let name = format!("{ADDRESS}file-{:016x}", name_suffix().unwrap_or_default());
            let request = Request::get(name).body(Full::default());
            if let Ok(request) = request {
                let mut sender = sender.clone();
                sender.ready().await?;
                sender.send_request(request).await?;
            }
            Ok::<_, hyper::Error>(sender)
        };
        let sender = match timeout(self.start_patience, greeting).await {
            Ok(Ok(sender)) => sender,
            Ok(Err(_broken_off)) => {
                return Err(refused(does_not_serve(&mut child).await).advising(LOOK));
            }
            Err(_elapsed) => {
                return Err(refused(not_ready(&child, self.start_patience)).advising(LOOK));
            }
        };
        child.is_ready();
        let progress = child.progress();
        Ok(Session { sender, child: Mutex::new(child), progress, is_over: AtomicBool::new(false) })
    }
}

impl Session {
    async fn answer(
        &self,
        request: Request<Bytes>,
        most: usize,
    ) -> Result<Response<Bytes>, Broken> {
        let mut sender = self.sender.clone();
        sender.ready().await?;
        let (head, body) = sender.send_request(request.map(Full::new)).await?.into_parts();
        Ok(Response::from_parts(head, collect(body, most).await?))
    }

    async fn failed(&self, call: Call<'_>, error: Broken) -> StoreError {
        let failure = match &error {
            Broken::TooLong(_) => Failure::Permanent,
            // One stream may be lost without the others.
            Broken::Off(_) => {
                self.is_over.fetch_or(self.sender.is_closed(), Ordering::AcqRel);
                Failure::Transient
            }
            Broken::Stuck(_) => {
                self.is_over.store(true, Ordering::Release);
                Failure::Transient
            }
        };
        let said = self.child.lock().await.complaints();
        match said.as_str() {
            "" => StoreError::new(failure, call.action, call.object, error),
            said => StoreError::new(failure, call.action, call.object, format!("{error}: {said}")),
        }
    }
}

async fn does_not_serve(child: &mut Child) -> String {
    format!("rclone does not serve: {}", child.epitaph().await)
}

fn not_ready(child: &Child, patience: Duration) -> String {
    format!("rclone is not ready after {} seconds {}", patience.as_secs(), child.complaints())
}

async fn collect(mut body: Incoming, most: usize) -> Result<Bytes, Broken> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if whole.len() + data.len() > most {
            return Err(Broken::TooLong(most));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}
