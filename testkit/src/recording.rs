//! A store that writes down what is asked of it, for counting requests and for crashing at every
//! write.
//!
//! Invariants: calls are in order of completion, which for writes is the order of durability; the
//! log holds what was written, so that any prefix of it can be replayed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use windlass_engine::store::{
    Backend, Capabilities, Draft, Existing, Failure, Key, Listed, Range, StoreError,
};

/// A wrapper that records. Its [`Log`] outlives it.
#[derive(Debug)]
pub struct RecordingStore {
    inner: Box<dyn Backend>,
    log: Log,
}

/// What was recorded. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Vec<Call>>>);

/// The kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// [`Backend::create`].
    Create,
    /// [`Backend::list`].
    List,
    /// [`Backend::stat`].
    Stat,
    /// [`Backend::read`].
    Read,
    /// [`Draft::commit`].
    Write,
    /// [`Backend::delete`].
    Delete,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What was asked.
    pub action: Action,
    /// Of which key, or for which prefix.
    pub object: String,
    /// For reads: which part.
    pub range: Option<Range>,
    /// Bytes read or written.
    pub bytes: u64,
    /// Why it failed, where it did.
    pub failure: Option<Failure>,
    /// For writes: all of what was written, and what was to happen to an object that exists.
    pub written: Option<(Bytes, Existing)>,
}

#[derive(Debug)]
struct RecordingDraft {
    inner: Box<dyn Draft>,
    log: Log,
    bytes: Vec<u8>,
}

impl RecordingStore {
    /// Records calls of `inner`.
    #[must_use]
    pub fn new(inner: impl Backend + 'static) -> Self {
        Self { inner: Box::new(inner), log: Log::default() }
    }

    /// Where it is recorded.
    #[must_use]
    pub fn log(&self) -> Log {
        self.log.clone()
    }
}

impl Log {
    /// All calls so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.state().clone()
    }

    /// All calls so far, of which no more is remembered.
    #[must_use]
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut *self.state())
    }

    /// How many calls of a kind there were on keys that start with `prefix`.
    #[must_use]
    pub fn count(&self, action: Action, prefix: &str) -> usize {
        let calls = self.state();
        calls.iter().filter(|call| call.action == action && call.object.starts_with(prefix)).count()
    }

    /// Successful writes and deletions: the moments between which a crash can fall.
    #[must_use]
    pub fn changes(&self) -> Vec<Call> {
        let changes = |call: &&Call| {
            matches!(call.action, Action::Write | Action::Delete) && call.failure.is_none()
        };
        self.state().iter().filter(changes).cloned().collect()
    }

    fn add<T>(
        &self,
        action: Action,
        object: impl Into<String>,
        bytes: u64,
        result: &Result<T, StoreError>,
    ) {
        let failure = result.as_ref().err().map(|error| error.failure);
        let object = object.into();
        let call = Call { action, object, range: None, bytes, failure, written: None };
        self.state().push(call);
    }

    fn state(&self) -> MutexGuard<'_, Vec<Call>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does recorded changes again, in another store.
pub async fn replay(changes: &[Call], store: &dyn Backend) -> Result<(), StoreError> {
    for change in changes {
        let key = Key::new(change.object.as_str());
        match &change.written {
            Some((bytes, existing)) => {
                let mut draft = store.draft(bytes.len() as u64)?;
                draft.append(bytes)?;
                draft.commit(&key, *existing).await?;
            }
            None if change.action == Action::Delete => store.delete(&key).await?,
            None => {}
        }
    }
    Ok(())
}

#[async_trait]
impl Backend for RecordingStore {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn create(&self) -> Result<(), StoreError> {
        let result = self.inner.create().await;
        self.log.add(Action::Create, "", 0, &result);
        result
    }

    async fn list(
        &self,
        prefix: &str,
        each: &mut (dyn FnMut(Listed) + Send),
    ) -> Result<(), StoreError> {
        let result = self.inner.list(prefix, each).await;
        self.log.add(Action::List, prefix, 0, &result);
        result
    }

    async fn stat(&self, key: &Key) -> Result<Listed, StoreError> {
        let result = self.inner.stat(key).await;
        self.log.add(Action::Stat, key.as_str(), 0, &result);
        result
    }

    async fn read(&self, key: &Key, range: Range) -> Result<Bytes, StoreError> {
        let result = self.inner.read(key, range).await;
        let call = Call {
            action: Action::Read,
            object: key.to_string(),
            range: Some(range),
            bytes: result.as_ref().map_or(0, |bytes| bytes.len() as u64),
            failure: result.as_ref().err().map(|error| error.failure),
            written: None,
        };
        self.log.state().push(call);
        result
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let result = self.inner.delete(key).await;
        self.log.add(Action::Delete, key.as_str(), 0, &result);
        result
    }

    fn draft(&self, expected_bytes: u64) -> Result<Box<dyn Draft>, StoreError> {
        let inner = self.inner.draft(expected_bytes)?;
        Ok(Box::new(RecordingDraft { inner, log: self.log.clone(), bytes: Vec::new() }))
    }
}

#[async_trait]
impl Draft for RecordingDraft {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.inner.append(bytes)?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn will_hash_to(&mut self, sha256: [u8; 32]) {
        self.inner.will_hash_to(sha256);
    }

    fn may_be_cold(&mut self) {
        self.inner.may_be_cold();
    }

    fn read_back(&mut self) -> Result<Bytes, StoreError> {
        self.inner.read_back()
    }

    async fn commit(self: Box<Self>, key: &Key, existing: Existing) -> Result<(), StoreError> {
        let Self { inner, log, bytes } = *self;
        let result = inner.commit(key, existing).await;
        let call = Call {
            action: Action::Write,
            object: key.to_string(),
            range: None,
            bytes: bytes.len() as u64,
            failure: result.as_ref().err().map(|error| error.failure),
            written: Some((Bytes::from(bytes), existing)),
        };
        log.state().push(call);
        result
    }
}
