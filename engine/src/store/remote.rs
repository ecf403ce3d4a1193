//! What an adapter for a server implements. [`Steady`](super::steady::Steady) makes a
//! [`Backend`](super::Backend) of it that tries again, holds back and waits its turn.
//!
//! Invariants that every adapter keeps
//! - A call is one attempt. It fails with the class that says whether another can help, and never
//!   waits or tries again itself.
//! - [`Failure::NotFound`](super::Failure::NotFound) is said only where the server said so: of an
//!   object, or of the location itself.
//! - A put is visible whole or not at all, also when its future is dropped half-way: a server that
//!   cannot do that gets a temporary name and a rename.
//! - A body that ends before its announced length is
//!   [`Failure::Transient`](super::Failure::Transient); an object that is shorter than the range
//!   asked for is [`Failure::Short`](super::Failure::Short).
//!
//! Not here: keys and layouts (an adapter sees relative names), empty ranges, limits, listings that
//! must not repeat a name.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Existing, Failure, Range, StoreError};

/// What an adapter can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits {
    /// Requests at once that suit the service, where nobody says.
    pub connections: usize,
    /// Whether answers that should be final may be wrong, so that they are asked for again.
    pub flaky: bool,
    /// Whether the adapter keeps the limits on bytes itself, as all do that use
    /// [`Transport`](super::http::Transport).
    pub limits_itself: bool,
}

/// An object in a listing: its name below the location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The name, with slashes, without one at its start.
    pub name: String,
    /// Its size.
    pub stored_bytes: u64,
    /// When the store last wrote it, by the store's own clock.
    pub modified: SystemTime,
}

/// A part of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The objects.
    pub rows: Vec<Row>,
    /// What to ask with for the next part; `None` at the end.
    pub next: Option<String>,
}

/// Size and time of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Its size.
    pub stored_bytes: u64,
    /// When the store last wrote it; the same as in a listing.
    pub modified: SystemTime,
}

/// How an object is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PutRules {
    /// What happens where the name is taken.
    pub existing: Existing,
    /// Whether nothing but a restore of files will ever read it, so that it may go where reading
    /// takes hours.
    pub may_be_cold: bool,
    /// The SHA-256 of its bytes, where somebody knows it already.
    pub sha256: Option<[u8; 32]>,
}

/// An adapter.
#[async_trait]
pub trait Remote: Send + Sync + fmt::Debug + 'static {
    /// Where this is, without secrets.
    fn location(&self) -> String;

    /// What it can do.
    fn traits(&self) -> Traits;

    /// Prepares an empty location, and these directories in it where the server has such. Harmless
    /// on an existing one.
    async fn create(&self, directories: &[String]) -> Result<(), StoreError>;

    /// Objects whose names start with `prefix`, from where `next` of the part before says. More
    /// than those is no harm: others are sorted out. Where objects live in directories, only those
    /// that [`could_hold`] the prefix need to be entered.
    async fn page(&self, prefix: &str, next: Option<String>) -> Result<Page, StoreError>;

    /// Size and time.
    async fn stat(&self, name: &str) -> Result<Stat, StoreError>;

    /// Bytes of an object. `range` is never empty and its end is a `u64`.
    async fn read(&self, name: &str, range: Range) -> Result<Bytes, StoreError>;

    /// Writes an object whole. With [`Existing::Keep`] an object with the same content is success,
    /// and one with other content is never overwritten where the server has a way to avoid it.
    async fn put(&self, name: &str, bytes: Bytes, rules: PutRules) -> Result<(), StoreError>;

    /// Removes an object. Where the server does not say whether there was one, it is success.
    async fn delete(&self, name: &str) -> Result<(), StoreError>;

    /// Until when the server lets nobody delete an object; `None` where it lets whoever may.
    async fn kept_until(&self, name: &str) -> Result<Option<SystemTime>, StoreError> {
        Err(keeps_nothing(name))
    }

    /// Keeps an object for as long from now on as a new one would be, and says until when.
    async fn keep(&self, name: &str) -> Result<SystemTime, StoreError> {
        Err(keeps_nothing(name))
    }

    /// How long new objects are kept, where that was asked for.
    fn keeps_for(&self) -> Option<Duration> {
        None
    }
}

/// The answer of a store that knows nothing of keeping objects from deletion.
pub(super) fn keeps_nothing(name: &str) -> StoreError {
    let why = "this kind of store does not say what it keeps from deletion";
    StoreError::new(Failure::Permanent, "stat", name, why)
        .advising("use s3: in a bucket that was made with object lock")
}

/// Whether objects whose names start with `prefix` can be in `directory` or below it.
#[must_use]
pub fn could_hold(directory: &str, prefix: &str) -> bool {
    match prefix.strip_prefix(directory) {
        Some(rest) => directory.is_empty() || rest.is_empty() || rest.starts_with('/'),
        None => directory.starts_with(prefix),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_on_the_way_to_and_below_a_prefix_are_entered() {
        for directory in ["", "data", "data/4f", "data/4f/x"] {
            assert!(could_hold(directory, "data/4f"), "{directory}");
        }
        for directory in ["index", "dat", "data/4e", "data2"] {
            assert!(!could_hold(directory, "data/4f"), "{directory}");
        }
        assert!(could_hold("data/4f", "data/"));
        assert!(could_hold("anything", ""));
    }
}
