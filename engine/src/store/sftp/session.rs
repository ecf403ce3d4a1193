//! The conversation with a server: starting it, noticing that it is over, saying why.
//!
//! Invariants
//! - A session that has broken off is never used again; the next call starts another.
//! - The first connection fails at once and for good, with what the program complained of; one
//!   that is lost later may come back.

use std::{
    ffi::OsString,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use russh_sftp::{
    client::{RawSftpSession, error::Error, rawsession::Limits},
    extensions,
    protocol::{Packet, StatusCode},
};
use tokio::{
    runtime::Handle,
    sync::{Mutex, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::store::{
    Failure, StoreError,
    child::{Child, Progress},
};

/// How a server is reached, and the session with it where there is one.
#[derive(Debug)]
pub(super) struct Connection {
    command: Vec<OsString>,
    name: String,
    stuck_after: Duration,
    session: Mutex<Option<Arc<Session>>>,
    was_connected: AtomicBool,
}

/// A session.
pub(super) struct Session {
    pub(super) raw: RawSftpSession,
    /// The most bytes that one request may ask for.
    pub(super) read_bytes: u32,
    /// The most bytes that one request may bring.
    pub(super) write_bytes: usize,
    pub(super) has: Extensions,
    child: Mutex<Child>,
    progress: Progress,
    stuck_after: Duration,
    is_over: AtomicBool,
    handles: Arc<Semaphore>,
}

/// What a server can do beyond the protocol.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extensions {
    pub(super) posix_rename: bool,
    pub(super) fsync: bool,
    pub(super) statvfs: bool,
    limits: bool,
}

/// A file or directory that is open on the server, and closed there when this is dropped.
pub(super) struct Opened {
    session: Arc<Session>,
    handle: String,
    /// Given back when the server has closed it.
    room: Option<Room>,
}

/// Room for one thing more that is open.
pub(super) type Room = OwnedSemaphorePermit;

/// What may be open at once. Servers count in bytes of which the library makes text: beyond 127 they
/// are none. What is dropped may be closed much later.
const MOST_HANDLES: usize = 64;

/// Every server takes requests of this size.
const COMMON_BYTES: u32 = 32 * 1024;
/// The most that is asked for or brought in one request; packets of 256 KiB hold it.
const MAX_PIECE_BYTES: u64 = 255 * 1024;
const POSIX_RENAME: &str = "posix-rename@openssh.com";

impl Connection {
    pub(super) fn new(command: Vec<OsString>, name: String, stuck_after: Duration) -> Self {
        let was_connected = AtomicBool::new(false);
        Self { command, name, stuck_after, session: Mutex::new(None), was_connected }
    }

    /// The session, which is begun where there is none.
    pub(super) async fn session(&self, action: &'static str) -> Result<Arc<Session>, StoreError> {
        let mut current = self.session.lock().await;
        if let Some(session) = &*current
            && !session.is_over.load(Ordering::Acquire)
        {
            return Ok(Arc::clone(session));
        }
        *current = None;
        let session = Arc::new(self.connect(action).await?);
        self.was_connected.store(true, Ordering::Relaxed);
        *current = Some(Arc::clone(&session));
        Ok(session)
    }

    async fn connect(&self, action: &'static str) -> Result<Session, StoreError> {
        let refused = |failure, why: String| {
            let error = StoreError::new(failure, action, self.name.as_str(), why);
            error.advising(
                "see that `ssh` reaches this host with these words and without a question",
            )
        };
        let (mut child, pipes) = Child::start(&self.command, &[])
            .map_err(|error| refused(Failure::Permanent, error.to_string()))?;
        let config = russh_sftp::client::Config {
            // What is stuck is noticed by `wait`, however long a request takes.
            request_timeout_secs: u64::MAX,
            ..Default::default()
        };
        let raw = RawSftpSession::new_with_config(pipes, config);
        let version = match timeout(self.stuck_after, raw.init()).await {
            Ok(Ok(version)) => version,
            Ok(Err(_broken_off)) => {
                drop(raw);
                let why = child.epitaph().await;
                return Err(refused(self.failure_of(&why), format!("no SFTP session: {why}")));
            }
            Err(_elapsed) => {
                let said = child.complaints();
                let waited = self.stuck_after.as_secs();
                let why = format!("no SFTP session after {waited} seconds {said}");
                return Err(refused(Failure::Transient, why));
            }
        };
        child.is_ready();
        let knows = |name, level: &str| version.extensions.get(name).is_some_and(|v| v == level);
        let has = Extensions {
            posix_rename: knows(POSIX_RENAME, "1"),
            fsync: knows(extensions::FSYNC, "1"),
            statvfs: knows(extensions::STATVFS, "2"),
            limits: knows(extensions::LIMITS, "1"),
        };
        let mut session = Session {
            raw,
            read_bytes: COMMON_BYTES,
            write_bytes: COMMON_BYTES as usize,
            has,
            progress: child.progress(),
            child: Mutex::new(child),
            stuck_after: self.stuck_after,
            is_over: AtomicBool::new(false),
            handles: Arc::new(Semaphore::new(MOST_HANDLES)),
        };
        if has.limits {
            let limits = session.wait(session.raw.limits()).await;
            match limits {
                Ok(limits) => session.adopt(limits.into()),
                // It said that it knows them; without them the common size works everywhere.
                Err(Error::Status(_)) => {}
                Err(error) => {
                    let session = Arc::new(session);
                    return Err(self.failed(&session, action, &self.name, error).await);
                }
            }
        }
        Ok(session)
    }

    /// Whether what a program said at its end may be different the next time.
    fn failure_of(&self, why: &str) -> Failure {
        let refused =
            ["Permission denied", "Host key verification failed", "Too many authentication"];
        if refused.iter().any(|words| why.contains(words)) {
            Failure::Denied
        } else if self.was_connected.load(Ordering::Relaxed) {
            Failure::Transient
        } else {
            Failure::Permanent
        }
    }

    /// What a request that failed means; a session that broke off is not used again.
    pub(super) async fn failed(
        &self,
        session: &Arc<Session>,
        action: &'static str,
        object: &str,
        error: Error,
    ) -> StoreError {
        let Error::Status(status) = error else {
            session.is_over.store(true, Ordering::Release);
            let said = session.child.lock().await.complaints();
            let why = match said.as_str() {
                "" => format!("the SFTP session broke off: {error}"),
                said => format!("the SFTP session broke off: {error}: {said}"),
            };
            return StoreError::new(Failure::Transient, action, object, why);
        };
        let failure = match status.status_code {
            StatusCode::NoSuchFile => Failure::NotFound,
            StatusCode::PermissionDenied => Failure::Denied,
            StatusCode::OpUnsupported | StatusCode::BadMessage => Failure::Permanent,
            // The catch-all of a protocol that has no better words.
            StatusCode::Failure
            | StatusCode::NoConnection
            | StatusCode::ConnectionLost
            | StatusCode::Eof
            | StatusCode::Ok => Failure::Transient,
        };
        let why = format!("the SFTP server said: {}", status.error_message);
        StoreError::new(failure, action, object, why)
    }
}

impl Session {
    fn adopt(&mut self, limits: Limits) {
        let within = |limit: Option<u64>| {
            let limit = limit.unwrap_or(COMMON_BYTES.into()).clamp(1, MAX_PIECE_BYTES);
            u32::try_from(limit).unwrap_or(COMMON_BYTES)
        };
        self.read_bytes = within(limits.read_len);
        self.write_bytes = within(limits.write_len) as usize;
    }

    /// Waits for an answer as long as the server says anything at all.
    pub(super) async fn wait<T>(
        &self,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.progress.watch(self.stuck_after, answer).await.unwrap_or(Err(Error::Timeout))
    }

    /// Keeps a handle until it is not needed any more.
    /// Waits until something more may be opened.
    pub(super) async fn room(&self) -> Option<Room> {
        Arc::clone(&self.handles).acquire_owned().await.ok()
    }

    pub(super) fn opened(self: &Arc<Self>, handle: String, room: Option<Room>) -> Opened {
        Opened { session: Arc::clone(self), handle, room }
    }

    /// Renames, and replaces what has the new name. Only where the server knows how.
    pub(super) async fn replace(&self, from: &str, to: &str) -> Result<(), Error> {
        let mut data = Vec::with_capacity(8 + from.len() + to.len());
        for path in [from, to] {
            let len = u32::try_from(path.len())
                .map_err(|_error| Error::Limited("the path is too long".to_owned()))?;
            data.extend_from_slice(&len.to_be_bytes());
            data.extend_from_slice(path.as_bytes());
        }
        match self.wait(self.raw.extended(POSIX_RENAME, data)).await? {
            Packet::Status(status) if status.status_code == StatusCode::Ok => Ok(()),
            Packet::Status(status) => Err(status.into()),
            _ => Err(Error::UnexpectedPacket),
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("has", &self.has).finish_non_exhaustive()
    }
}

impl Opened {
    pub(super) fn handle(&self) -> &str {
        &self.handle
    }

    /// Closes it, and says whether the server did.
    pub(super) async fn close(mut self) -> Result<(), Error> {
        let handle = std::mem::take(&mut self.handle);
        self.session.wait(self.session.raw.close(handle)).await.map(drop)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let handle = std::mem::take(&mut self.handle);
        let runtime = Handle::try_current();
        if let (false, Ok(runtime)) = (handle.is_empty(), runtime) {
            let session = Arc::clone(&self.session);
            // Nobody waits for it: a handle that is not closed costs the server a descriptor.
            let room = self.room.take();
            runtime.spawn(async move {
                let _closed = session.raw.close(handle).await;
                drop(room);
            });
        }
    }
}
