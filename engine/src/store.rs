//! The storage seam: immutable objects under flat keys, listed with size and time, read by range,
//! put atomically, deleted.
//!
//! Invariants
//! - A put is visible whole or not at all, and durable when [`Draft::commit`] returns.
//! - A key is flat (`data/4f2a…`, `p1234…`); how it becomes a path is the adapter's [`layout::Layout`].
//! - "Cannot tell" is an error and never an empty answer: only [`Failure::NotFound`] means absence,
//!   and an adapter reports it only when the server or file system said so.
//! - [`Stored`] receipts are made here alone; an order of writes that matters takes them by value.
//!
//! Not here: which keys exist and in which order they are written (`protocol`), retries and limits
//! (a wrapper around [`Backend`], so that every adapter behaves alike).

#[cfg(feature = "b2")]
pub mod b2;
#[cfg(any(feature = "azure", feature = "gcs"))]
pub mod bucket;
pub mod cache;
#[cfg(any(feature = "rclone", feature = "sftp"))]
mod child;
#[cfg(feature = "gdrive")]
pub mod drive;
#[cfg(feature = "http")]
pub mod http;
pub mod layout;
pub mod limit;
pub mod local;
pub mod location;
pub mod memory;
pub mod nowhere;
pub mod place;
#[cfg(feature = "rclone")]
pub mod rclone;
pub mod remote;
#[cfg(feature = "rest")]
pub mod rest;
#[cfg(feature = "s3")]
pub mod s3;
pub mod settings;
#[cfg(feature = "sftp")]
pub mod sftp;
pub mod steady;
mod stem;
#[cfg(feature = "swift")]
pub mod swift;
pub mod trace;
#[cfg(feature = "webdav")]
pub mod webdav;

use std::{
    borrow::Cow,
    collections::HashSet,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::runtime::Handle;

/// A flat object name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Box<str>);

impl Key {
    /// Takes a name over.
    #[must_use]
    pub fn new(name: impl Into<Box<str>>) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.0)
    }
}

/// One row of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The object's name.
    pub key: Key,
    /// Its size.
    pub stored_bytes: u64,
    /// When the store last wrote it, by the store's own clock.
    pub modified: SystemTime,
}

/// A file under a temporary name that its writer seems to have left, in a store that has such files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Where, for the store that found it.
    pub path: String,
    /// Its size.
    pub stored_bytes: u64,
    /// When it was last written to, by the store's own clock.
    pub modified: SystemTime,
}

/// Which bytes of an object to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// The whole object.
    All,
    /// `len` bytes from `start`; fewer is a [`Failure::Short`].
    At {
        /// First byte.
        start: u64,
        /// Number of bytes.
        len: u64,
    },
    /// The last `len` bytes, or the whole object where it is shorter.
    Last {
        /// Number of bytes.
        len: u64,
    },
}

impl Range {
    /// The first byte and the end of this range in an object of `size` bytes; `None` where the
    /// object is too short, which is a [`Failure::Short`].
    #[must_use]
    pub fn within(self, size: u64) -> Option<(u64, u64)> {
        match self {
            Self::All => Some((0, size)),
            Self::At { start, len } => {
                start.checked_add(len).filter(|end| *end <= size).map(|end| (start, end))
            }
            Self::Last { len } => Some((size.saturating_sub(len), size)),
        }
    }
}

/// What a commit does when the key exists already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Immutable objects: an equal name is equal content, leave the object that is there.
    Keep,
    /// The one object a repository may rewrite (its configuration).
    Replace,
}

/// What an adapter can do, for callers that choose by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Whether an object, once it is put, is in every listing that begins later, whoever makes it.
    pub lists_at_once: bool,
    /// Requests worth having under way at once.
    pub connections: usize,
    /// Whether a request costs a network round trip, so that few large reads beat many small ones.
    pub remote: bool,
}

/// An object being assembled: bytes go in as they are made, its name is given at the end.
///
/// Dropping a draft leaves nothing behind.
#[async_trait]
pub trait Draft: Send + fmt::Debug {
    /// Adds bytes. Blocks at most for a write into the page cache; object stores gather in memory.
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError>;

    /// The bytes appended so far, for joining small drafts into one.
    fn read_back(&mut self) -> Result<Bytes, StoreError>;

    /// Says that nothing but a restore of files will ever read it, so that it may go where reading
    /// takes hours.
    fn may_be_cold(&mut self) {}

    /// Says what its bytes will be hashed to, so that nobody hashes them again to have them proved
    /// on the way.
    fn will_hash_to(&mut self, sha256: [u8; 32]) {
        let _nothing_is_proved = sha256;
    }

    /// Makes the object visible under `key`, whole and durable.
    async fn commit(self: Box<Self>, key: &Key, existing: Existing) -> Result<(), StoreError>;
}

/// What an adapter implements. Callers use [`Store`].
#[async_trait]
pub trait Backend: Send + Sync + fmt::Debug {
    /// Where this is, for messages: a path or URL without secrets.
    fn location(&self) -> String;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Prepares an empty location (directories, bucket prefix). Harmless on an existing one.
    async fn create(&self) -> Result<(), StoreError>;

    /// Calls `each` once for every object whose key starts with `prefix`, in no order. Foreign
    /// names are left out; a directory that does not exist is an empty list only where the
    /// location itself exists.
    async fn list(
        &self,
        prefix: &str,
        each: &mut (dyn FnMut(Listed) + Send),
    ) -> Result<(), StoreError>;

    /// Size and time of one object.
    async fn stat(&self, key: &Key) -> Result<Listed, StoreError>;

    /// Bytes of one object, exactly as many as asked for.
    async fn read(&self, key: &Key, range: Range) -> Result<Bytes, StoreError>;

    /// [`read`](Self::read) on the calling thread, appending to `out`, for adapters that need no
    /// runtime to do so.
    fn read_here(
        &self,
        key: &Key,
        range: Range,
        out: &mut Vec<u8>,
    ) -> Option<Result<(), StoreError>> {
        let _no_short_cut = (key, range, out);
        None
    }

    /// [`read`](Self::read) of metadata in an object of about `object_bytes`, more of which will be
    /// wanted: what is near may keep the whole of it.
    async fn read_again(
        &self,
        key: &Key,
        range: Range,
        object_bytes: u64,
    ) -> Result<Bytes, StoreError> {
        let _nothing_is_kept = object_bytes;
        self.read(key, range).await
    }

    /// Says that what was read of an object is not what it has to be. Whether it may be another
    /// thing when it is read again, because what was read was a copy that is now gone.
    fn doubt(&self, key: &Key) -> bool {
        let _there_is_no_copy = key;
        false
    }

    /// The objects in a directory of which a whole copy is near.
    async fn copies(&self, directory: &str) -> HashSet<Key> {
        let _there_are_none = directory;
        HashSet::new()
    }

    /// Lets copies of packs go that are not to be kept.
    fn retain_copies(&self, keep: &dyn Fn(&Key) -> bool) {
        let _there_are_none = keep;
    }

    /// Removes one object; a missing one is [`Failure::NotFound`] where the store says so.
    async fn delete(&self, key: &Key) -> Result<(), StoreError>;

    /// Until when the store lets nobody delete an object; `None` where it lets whoever may.
    async fn kept_until(&self, key: &Key) -> Result<Option<SystemTime>, StoreError> {
        Err(remote::keeps_nothing(key.as_str()))
    }

    /// Keeps an object for as long from now on as a new one would be, and says until when.
    async fn keep(&self, key: &Key) -> Result<SystemTime, StoreError> {
        Err(remote::keeps_nothing(key.as_str()))
    }

    /// How long new objects are kept, where that was asked for.
    fn keeps_for(&self) -> Option<Duration> {
        None
    }

    /// Temporary files that writers left or are still writing; none where there can be none.
    async fn leftovers(&self) -> Result<Vec<Leftover>, StoreError> {
        Ok(Vec::new())
    }

    /// Removes one of them, if it is still as it was found; says whether it was.
    async fn remove_leftover(&self, leftover: &Leftover) -> Result<bool, StoreError> {
        let _not_one_of_ours = leftover;
        Ok(false)
    }

    /// Starts an object. `expected_bytes` is a hint.
    fn draft(&self, expected_bytes: u64) -> Result<Box<dyn Draft>, StoreError>;
}

/// A place where objects are kept; cheap to clone.
#[derive(Clone, Debug)]
pub struct Store(Arc<dyn Backend>);

impl Store {
    /// Wraps an adapter.
    #[must_use]
    pub fn new(backend: impl Backend + 'static) -> Self {
        Self(Arc::new(backend))
    }

    /// Where this is, for messages.
    #[must_use]
    pub fn location(&self) -> String {
        self.0.location()
    }

    /// What the adapter can do.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    /// Prepares an empty location.
    pub async fn create(&self) -> Result<(), StoreError> {
        self.0.create().await
    }

    /// Calls `each` for every object under `prefix`.
    pub async fn list(
        &self,
        prefix: &str,
        each: &mut (dyn FnMut(Listed) + Send),
    ) -> Result<(), StoreError> {
        self.0.list(prefix, each).await
    }

    /// Every object under `prefix`, sorted by key.
    pub async fn listing(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let mut rows = Vec::new();
        self.0.list(prefix, &mut |row| rows.push(row)).await?;
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(rows)
    }

    /// Size and time of one object.
    pub async fn stat(&self, key: &Key) -> Result<Listed, StoreError> {
        self.0.stat(key).await
    }

    /// Bytes of one object.
    pub async fn read(&self, key: &Key, range: Range) -> Result<Bytes, StoreError> {
        let bytes = self.0.read(key, range).await?;
        all_there(key, range, bytes.len())?;
        Ok(bytes)
    }

    /// Bytes of one object, from a thread that may block (never from a task of the runtime).
    pub fn read_blocking(
        &self,
        runtime: &Handle,
        key: &Key,
        range: Range,
    ) -> Result<Bytes, StoreError> {
        let mut bytes = Vec::new();
        match self.0.read_here(key, range, &mut bytes) {
            Some(result) => result.map(|()| Bytes::from(bytes)),
            None => runtime.block_on(self.read(key, range)),
        }
    }

    /// [`read_blocking`](Self::read_blocking) that appends to a buffer, which can be used again.
    pub fn append_blocking(
        &self,
        runtime: &Handle,
        key: &Key,
        range: Range,
        out: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        match self.0.read_here(key, range, out) {
            Some(result) => result,
            None => runtime.block_on(self.read(key, range)).map(|bytes| out.extend(bytes)),
        }
    }

    /// [`read_blocking`](Self::read_blocking) of metadata, more of which will be wanted.
    pub(crate) fn read_again_blocking(
        &self,
        runtime: &Handle,
        key: &Key,
        range: Range,
        object_bytes: u64,
    ) -> Result<Bytes, StoreError> {
        let mut bytes = Vec::new();
        if let Some(result) = self.0.read_here(key, range, &mut bytes) {
            return result.map(|()| Bytes::from(bytes));
        }
        let bytes = runtime.block_on(self.0.read_again(key, range, object_bytes))?;
        all_there(key, range, bytes.len())?;
        Ok(bytes)
    }

    /// [`read_here`](Backend::read_here), for stores before this one.
    fn read_here(
        &self,
        key: &Key,
        range: Range,
        out: &mut Vec<u8>,
    ) -> Option<Result<(), StoreError>> {
        self.0.read_here(key, range, out)
    }

    /// Says that what was read of an object is not what it has to be; whether it is worth reading
    /// it again.
    pub(crate) fn doubt(&self, key: &Key) -> bool {
        self.0.doubt(key)
    }

    /// The objects in a directory of which a whole copy is near.
    pub(crate) async fn copies(&self, directory: &str) -> HashSet<Key> {
        self.0.copies(directory).await
    }

    /// Lets local copies of packs go that are not to be kept.
    pub(crate) fn retain_copies(&self, keep: &dyn Fn(&Key) -> bool) {
        self.0.retain_copies(keep);
    }

    /// Whether an object exists; an error where that cannot be told.
    pub async fn exists(&self, key: &Key) -> Result<bool, StoreError> {
        match self.0.stat(key).await {
            Ok(_) => Ok(true),
            Err(error) if error.failure == Failure::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes one object. The caller's right to do so is a type of `protocol`.
    pub(crate) async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.0.delete(key).await
    }

    /// Until when the store lets nobody delete an object.
    pub(crate) async fn kept_until(&self, key: &Key) -> Result<Option<SystemTime>, StoreError> {
        self.0.kept_until(key).await
    }

    /// Keeps an object for as long from now on as a new one would be, and says until when.
    pub(crate) async fn keep(&self, key: &Key) -> Result<SystemTime, StoreError> {
        self.0.keep(key).await
    }

    /// How long new objects are kept, where that was asked for.
    pub(crate) fn keeps_for(&self) -> Option<Duration> {
        self.0.keeps_for()
    }

    /// Temporary files that writers left or are still writing.
    pub(crate) async fn leftovers(&self) -> Result<Vec<Leftover>, StoreError> {
        self.0.leftovers().await
    }

    /// Removes one of them, if it is still as it was found; says whether it was. The caller's right
    /// to do so is told in `protocol`.
    pub(crate) async fn remove_leftover(&self, leftover: &Leftover) -> Result<bool, StoreError> {
        self.0.remove_leftover(leftover).await
    }

    /// Starts an object.
    pub(crate) fn draft(&self, expected_bytes: u64) -> Result<Box<dyn Draft>, StoreError> {
        self.0.draft(expected_bytes)
    }

    /// Makes a draft visible and gives the receipt for it.
    pub(crate) async fn commit<T>(
        &self,
        draft: Box<dyn Draft>,
        key: &Key,
        what: T,
    ) -> Result<Stored<T>, StoreError> {
        draft.commit(key, Existing::Keep).await?;
        Ok(Stored { what })
    }

    /// Puts a small object whole.
    pub(crate) async fn put<T>(
        &self,
        key: &Key,
        bytes: &[u8],
        existing: Existing,
        what: T,
    ) -> Result<Stored<T>, StoreError> {
        let mut draft = self.0.draft(bytes.len() as u64)?;
        draft.append(bytes)?;
        draft.commit(key, existing).await?;
        Ok(Stored { what })
    }
}

/// Fails where a server answered with other than the bytes that were asked for.
fn all_there(key: &Key, range: Range, got: usize) -> Result<(), StoreError> {
    match range {
        Range::At { len, .. } if got as u64 != len => {
            let why = format!("{got} bytes came instead of {len}");
            Err(StoreError::new(Failure::Short, "read", key.as_str(), why))
        }
        Range::At { .. } | Range::All | Range::Last { .. } => Ok(()),
    }
}

/// Proof that `what` is durable in the store. Only [`Store`] makes one.
#[derive(Debug)]
#[must_use = "a receipt is the right to publish what was stored"]
pub struct Stored<T> {
    what: T,
}

impl<T> Stored<T> {
    /// What was stored.
    pub fn into_inner(self) -> T {
        self.what
    }

    /// What was stored.
    pub fn get(&self) -> &T {
        &self.what
    }
}

/// The class of a storage failure; decides whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The store said that there is no such object or location.
    NotFound,
    /// The store refused these credentials, or the file system these permissions.
    Denied,
    /// No room: disk full, quota, read-only.
    NoSpace,
    /// The object ends before the range that was asked for.
    Short,
    /// Timed out, connection lost, the server in trouble: may work the next time.
    Transient,
    /// Nobody is at that address: what a server does that starts again, and a wrong address.
    Unreachable,
    /// The store asks for fewer requests: works after a pause.
    Throttled,
    /// Anything else; will not get better by itself.
    Permanent,
}

impl Failure {
    /// Whether the same call may work the next time.
    #[must_use]
    pub fn may_pass(self) -> bool {
        matches!(self, Self::Transient | Self::Unreachable | Self::Throttled)
    }
}

/// A storage call that failed: what was tried, on which object, and why.
#[derive(Debug, thiserror::Error)]
#[error("{action} {object}: {source}")]
pub struct StoreError {
    /// Its class.
    pub failure: Failure,
    /// What was tried: "read", "list", ….
    pub action: &'static str,
    /// The key, or the location where there is no key.
    pub object: String,
    /// The cause.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
    hint: Option<Box<Hint>>,
}

/// What few failures have.
#[derive(Debug, Default)]
struct Hint {
    advice: Option<Cow<'static, str>>,
    pause: Option<Duration>,
}

impl StoreError {
    /// An error on `object`.
    pub fn new(
        failure: Failure,
        action: &'static str,
        object: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { failure, action, object: object.into(), source: source.into(), hint: None }
    }

    /// What a person can do, where more can be said than for all of its class.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.hint.as_ref()?.advice.as_deref()
    }

    /// How long the store asked to be left alone.
    #[must_use]
    pub fn pause(&self) -> Option<Duration> {
        self.hint.as_ref()?.pause
    }

    /// The same with what a person can do.
    #[must_use]
    pub fn advising(mut self, advice: impl Into<Cow<'static, str>>) -> Self {
        self.hint.get_or_insert_default().advice = Some(advice.into());
        self
    }

    /// The same with a time to leave the store alone.
    #[must_use]
    pub fn pausing(mut self, pause: Duration) -> Self {
        self.hint.get_or_insert_default().pause = Some(pause);
        self
    }
}
