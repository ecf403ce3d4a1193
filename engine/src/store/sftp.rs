//! A directory behind SSH, through the SFTP subsystem of the system's `ssh`.
//!
//! Invariants
//! - How to reach the host is `ssh`'s business: its configuration, agents, jump hosts and known
//!   hosts count here as on the command line. Credentials never pass through this process.
//! - One program and one session serve all requests; after it is lost the next call starts
//!   another, and what was under way has failed as transient.
//! - An object appears under its name whole, flushed where the server knows how, and read-only.
//! - "No such file" is absence only below a location that is there.
//!
//! Not here: names of directories being durable on the server, which the protocol cannot ask for.

mod list;
mod publish;
mod session;

use std::{
    ffi::OsString,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{FuturesOrdered, FuturesUnordered},
};
use russh_sftp::{
    client::error::Error,
    protocol::{FileAttributes, OpenFlags, StatusCode},
};
use tokio::sync::OnceCell;

use self::session::{Connection, Session};
use super::{
    Failure, Range, StoreError, child, location,
    remote::{Page, PutRules, Remote, Stat, Traits},
    settings::StoreSettings,
};

/// A directory behind SSH.
#[derive(Debug)]
pub struct Sftp {
    name: String,
    root: String,
    connection: Connection,
    modes: OnceCell<Modes>,
}

/// Permissions of what is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Modes {
    file: u32,
    directory: u32,
}

/// The object whose permissions say how all others are created.
const MODEL_OBJECT: &str = "config";
/// Requests at once; they share one connection, so that more do not help.
const CONNECTIONS: usize = 5;
/// Directories that are made or listed at once.
const PARALLEL_DIRECTORIES: usize = 32;
/// More directories above each other than any path has.
const MAX_DEPTH: usize = 256;
/// More than any object a repository can hold; a larger file is not one.
const MAX_READ_BYTES: u64 = 4 << 30;
/// What is asked for before the first of it has come: enough for a fast and far server.
const READ_AHEAD_BYTES: u64 = 4 << 20;

/// The type of a file in its mode.
const TYPE_BITS: u32 = 0o170_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_DIRECTORY: u32 = 0o040_000;
const TYPE_LINK: u32 = 0o120_000;
const ANY_WRITE: u32 = 0o222;

impl Sftp {
    /// The directory at `location`. Nothing is started yet.
    pub fn new(location: &location::Sftp, settings: &StoreSettings) -> Result<Self, StoreError> {
        let name = location.to_string();
        let command = command(location, settings)
            .map_err(|why| StoreError::new(Failure::Permanent, "open", name.as_str(), why))?;
        let connection = Connection::new(command, name.clone(), settings.http.stuck_after);
        let root = location.path.clone();
        Ok(Self { name, root, connection, modes: OnceCell::new() })
    }
}

/// What is run to reach the subsystem.
fn command(location: &location::Sftp, settings: &StoreSettings) -> Result<Vec<OsString>, String> {
    let split = |option: &str, text: &str| {
        child::split(text).map_err(|error| format!("the option sftp.{option}: {error}"))
    };
    match (&settings.sftp.command, &settings.sftp.args) {
        (Some(_), Some(_)) => {
            Err("the options sftp.command and sftp.args exclude each other".to_owned())
        }
        (Some(command), None) => split("command", command),
        (None, args) => {
            let mut words = vec!["ssh".into(), location.host.clone().into()];
            if let Some(port) = location.port {
                words.extend(["-p".into(), port.to_string().into()]);
            }
            if let Some(user) = &location.user {
                words.extend(["-l".into(), user.into()]);
            }
            if let Some(args) = args {
                words.extend(split("args", args)?);
            }
            words.extend(["-s".into(), "sftp".into()]);
            Ok(words)
        }
    }
}

#[async_trait]
impl Remote for Sftp {
    fn location(&self) -> String {
        self.name.clone()
    }

    fn traits(&self) -> Traits {
        Traits { connections: CONNECTIONS, flaky: false, limits_itself: false }
    }

    async fn create(&self, directories: &[String]) -> Result<(), StoreError> {
        let session = self.connection.session("create").await?;
        let modes = self.modes(&session).await?;
        self.make_directories(&session, "create", "", modes.directory).await?;
        // Parents are listed before what is in them, and are few.
        let (children, parents): (Vec<_>, Vec<_>) =
            directories.iter().partition(|directory| directory.contains('/'));
        for level in [parents, children] {
            let mut level = level.into_iter();
            let mut made = FuturesUnordered::new();
            loop {
                while made.len() < PARALLEL_DIRECTORIES
                    && let Some(path) = level.next()
                {
                    made.push(self.make_directories(&session, "create", path, modes.directory));
                }
                let Some(result) = made.next().await else { break };
                result?;
            }
        }
        Ok(())
    }

    async fn page(&self, prefix: &str, _only_one: Option<String>) -> Result<Page, StoreError> {
        let session = self.connection.session("list").await?;
        Ok(Page { rows: list::list(self, &session, prefix).await?, next: None })
    }

    async fn stat(&self, name: &str) -> Result<Stat, StoreError> {
        let session = self.connection.session("stat").await?;
        let found = session.wait(session.raw.stat(self.below(name))).await;
        let found = self.checked(&session, "stat", name, found).await?;
        object("stat", name, &found.attrs)
    }

    async fn read(&self, name: &str, range: Range) -> Result<Bytes, StoreError> {
        let session = self.connection.session("read").await?;
        let nothing_asked = FileAttributes::empty();
        let room = session.room().await;
        let open = session.raw.open(self.below(name), OpenFlags::READ, nothing_asked);
        let opened = session.wait(open).await;
        let file = self.checked(&session, "read", name, opened).await?;
        let file = self.opened(&session, "read", name, (file.handle, room))?;
        let failed = |error| self.connection.failed(&session, "read", name, error);
        let short = |have: u64| {
            let why = format!("the object has {have} bytes, too few for {range:?}");
            StoreError::new(Failure::Short, "read", name, why)
        };
        let (start, end) = match range {
            // It need not be asked first how long the object is.
            Range::At { start, len } => (start, start.saturating_add(len)),
            Range::All | Range::Last { .. } => {
                let found = session.wait(session.raw.fstat(file.handle())).await;
                let found = match found {
                    Ok(found) => object("read", name, &found.attrs)?,
                    Err(error) => return Err(failed(error).await),
                };
                range.within(found.stored_bytes).ok_or_else(|| short(found.stored_bytes))?
            }
        };
        if end - start > MAX_READ_BYTES {
            let why = format!("{} bytes are more than any object has", end - start);
            return Err(StoreError::new(Failure::Permanent, "read", name, why));
        }
        match read_span(&session, file.handle(), start, end).await {
            Ok(bytes) if bytes.len() as u64 == end - start => Ok(Bytes::from(bytes)),
            Ok(bytes) => Err(short(start + bytes.len() as u64)),
            Err(error) => Err(failed(error).await),
        }
    }

    async fn put(&self, name: &str, bytes: Bytes, rules: PutRules) -> Result<(), StoreError> {
        publish::put(self, name, &bytes, rules.existing).await
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        let path = self.below(name);
        let session = self.connection.session("delete").await?;
        let mut removed = session.wait(session.raw.remove(path.as_str())).await;
        if status(&removed) == Some(StatusCode::PermissionDenied) {
            // Some servers do not remove what is read-only.
            let modes = self.modes(&session).await?;
            let attributes = permissions(modes.file | 0o200);
            if session.wait(session.raw.setstat(path.as_str(), attributes)).await.is_ok() {
                removed = session.wait(session.raw.remove(path.as_str())).await;
            }
        }
        self.checked(&session, "delete", name, removed).await.map(drop)
    }
}

impl Sftp {
    /// A path below the location, as the server knows it.
    fn below(&self, path: &str) -> String {
        match (self.root.as_str(), path) {
            ("", "") => ".".to_owned(),
            (root, "") => root.to_owned(),
            ("" | ".", path) => path.to_owned(),
            (root, path) => format!("{}/{path}", root.trim_end_matches('/')),
        }
    }

    /// The answer to a request about `name`; where the whole location is missing the error says so.
    async fn checked<T>(
        &self,
        session: &Arc<Session>,
        action: &'static str,
        name: &str,
        answer: Result<T, Error>,
    ) -> Result<T, StoreError> {
        let error = match answer {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if status_of(&error) == Some(StatusCode::NoSuchFile) {
            self.root_exists(session, action).await?;
        }
        Err(self.connection.failed(session, action, name, error).await)
    }

    /// Fails where the location itself is not there.
    async fn root_exists(
        &self,
        session: &Arc<Session>,
        action: &'static str,
    ) -> Result<(), StoreError> {
        match session.wait(session.raw.stat(self.below(""))).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.connection.failed(session, action, &self.name, error).await),
        }
    }

    /// Keeps what the server calls an open file.
    fn opened(
        &self,
        session: &Arc<Session>,
        action: &'static str,
        name: &str,
        (handle, room): (String, Option<session::Room>),
    ) -> Result<session::Opened, StoreError> {
        // The library takes handles for text; what is none would name another file, or nothing.
        if handle.contains(char::REPLACEMENT_CHARACTER) {
            let why = "the server names open files in a way that this program cannot repeat";
            return Err(StoreError::new(Failure::Permanent, action, name, why)
                .advising("use rclone's sftp remote to reach this server"));
        }
        Ok(session.opened(handle, room))
    }

    /// Owner only, and the group too where the group may read the repository's model object.
    async fn modes(&self, session: &Arc<Session>) -> Result<Modes, StoreError> {
        let find = || async {
            let group = match session.wait(session.raw.stat(self.below(MODEL_OBJECT))).await {
                Ok(found) => found.attrs.permissions.unwrap_or(0) & 0o040 != 0,
                Err(Error::Status(_)) => false,
                Err(error) => {
                    return Err(self.connection.failed(session, "stat", MODEL_OBJECT, error).await);
                }
            };
            let (file, directory) = if group { (0o660, 0o770) } else { (0o600, 0o700) };
            Ok(Modes { file: file & !ANY_WRITE, directory })
        };
        self.modes.get_or_try_init(find).await.copied()
    }

    /// Creates the directory at `path` below the location, and what is missing above it.
    async fn make_directories(
        &self,
        session: &Arc<Session>,
        action: &'static str,
        path: &str,
        mode: u32,
    ) -> Result<(), StoreError> {
        let full = self.below(path);
        // From the directory itself upwards until one can be made, then back.
        let mut missing = vec![full.as_str()];
        while let Some(directory) = missing.last().copied() {
            let made = session.wait(session.raw.mkdir(directory, permissions(mode))).await;
            match made {
                Ok(_) => {
                    // A server takes the bits of its umask away.
                    if mode & 0o070 != 0 {
                        let set = session.raw.setstat(directory, permissions(mode));
                        let _some_servers_have_no_permissions = session.wait(set).await;
                    }
                    missing.pop();
                }
                Err(error) => {
                    let found = session.wait(session.raw.stat(directory)).await;
                    let above = directory.trim_end_matches('/').rsplit_once('/');
                    match (found, above) {
                        (Ok(found), _) if is_directory(&found.attrs) => {
                            missing.pop();
                        }
                        (Err(Error::Status(status)), Some((above, _name)))
                            if status.status_code == StatusCode::NoSuchFile
                                && !above.is_empty()
                                && missing.len() < MAX_DEPTH
                                && status_of(&error) == Some(StatusCode::NoSuchFile) =>
                        {
                            missing.push(above);
                        }
                        _ => {
                            return Err(self
                                .connection
                                .failed(session, action, directory, error)
                                .await);
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// The bytes from `start` to `end`, as far as the file goes.
async fn read_span(
    session: &Arc<Session>,
    handle: &str,
    start: u64,
    end: u64,
) -> Result<Vec<u8>, Error> {
    let step = u64::from(session.read_bytes);
    let ahead = usize::try_from(READ_AHEAD_BYTES / step).unwrap_or(1).max(2);
    let mut asked = FuturesOrdered::new();
    let mut next = start;
    // Not the whole length at once: it is the server's word only.
    let room = (end - start).min(READ_AHEAD_BYTES);
    let mut bytes = Vec::with_capacity(usize::try_from(room).unwrap_or(0));
    loop {
        while next < end && asked.len() < ahead {
            let len = step.min(end - next);
            asked.push_back(read_piece(session, handle, next, len));
            next += len;
        }
        let Some(piece) = asked.next().await else { return Ok(bytes) };
        let (piece, is_whole) = piece?;
        bytes.extend_from_slice(&piece);
        if !is_whole {
            return Ok(bytes);
        }
    }
}

/// One request's worth of bytes; a server may answer with fewer than were asked for. The second
/// value is whether all of them are there.
async fn read_piece(
    session: &Session,
    handle: &str,
    start: u64,
    len: u64,
) -> Result<(Vec<u8>, bool), Error> {
    let mut bytes: Vec<u8> = Vec::new();
    while (bytes.len() as u64) < len {
        let at = start + bytes.len() as u64;
        // A piece is at most `read_bytes`, which is a u32.
        let left = u32::try_from(len - bytes.len() as u64).unwrap_or(session.read_bytes);
        match session.wait(session.raw.read(handle, at, left)).await {
            Ok(data) if data.data.is_empty() => return Ok((bytes, false)),
            Ok(data) if data.data.len() as u64 > u64::from(left) => {
                return Err(Error::UnexpectedBehavior(
                    "more bytes came than were asked for".into(),
                ));
            }
            Ok(data) if bytes.is_empty() => bytes = data.data,
            Ok(data) => bytes.extend_from_slice(&data.data),
            Err(error) if status_of(&error) == Some(StatusCode::Eof) => return Ok((bytes, false)),
            Err(error) => return Err(error),
        }
    }
    Ok((bytes, true))
}

/// Attributes that set permissions and nothing else.
fn permissions(mode: u32) -> FileAttributes {
    FileAttributes { permissions: Some(mode), ..FileAttributes::empty() }
}

fn is_directory(attributes: &FileAttributes) -> bool {
    attributes.permissions.is_none_or(|mode| mode & TYPE_BITS == TYPE_DIRECTORY)
}

/// A file that is an object.
fn object(
    action: &'static str,
    name: &str,
    attributes: &FileAttributes,
) -> Result<Stat, StoreError> {
    let refused = |why| Err(StoreError::new(Failure::Permanent, action, name, why));
    if attributes.permissions.is_some_and(|mode| mode & TYPE_BITS != TYPE_FILE) {
        return refused("not a regular file");
    }
    let modified = Duration::from_secs(attributes.mtime.unwrap_or(0).into());
    match attributes.size {
        Some(stored_bytes) => {
            Ok(Stat { stored_bytes, modified: SystemTime::UNIX_EPOCH + modified })
        }
        None => refused("the server does not tell the size"),
    }
}

fn status_of(error: &Error) -> Option<StatusCode> {
    match error {
        Error::Status(status) => Some(status.status_code),
        _ => None,
    }
}

fn status<T>(answer: &Result<T, Error>) -> Option<StatusCode> {
    answer.as_ref().err().and_then(status_of)
}
