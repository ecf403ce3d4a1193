//! A store in memory, for tests and for embedding.
//!
//! Invariants
//! - Stricter than any other adapter: an object is never overwritten by different content unless
//!   the caller says [`Existing::Replace`].
//! - Times are a function of the order of writes alone, one second apart, so that runs repeat.
//!
//! Not here: faults and recordings (crate `testkit`).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Backend, Capabilities, Draft, Existing, Failure, Key, Listed, Range, StoreError};

/// Objects in a map. Clones share it.
#[derive(Clone, Debug)]
pub struct MemoryStore(Arc<Mutex<State>>);

#[derive(Clone, Debug)]
struct State {
    present: bool,
    now: SystemTime,
    objects: BTreeMap<Key, Object>,
}

#[derive(Clone, Debug)]
struct Object {
    bytes: Bytes,
    modified: SystemTime,
}

#[derive(Debug)]
struct MemoryDraft {
    store: MemoryStore,
    bytes: Vec<u8>,
}

/// 2020-01-01T00:00:00Z.
const FIRST_WRITE: Duration = Duration::from_secs(1_577_836_800);
const TICK: Duration = Duration::from_secs(1);

impl Default for MemoryStore {
    fn default() -> Self {
        Self::starting_at(SystemTime::UNIX_EPOCH + FIRST_WRITE)
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store whose first write happens at `time`.
    #[must_use]
    pub fn starting_at(time: SystemTime) -> Self {
        Self::with(State { present: true, now: time, objects: BTreeMap::new() })
    }

    /// A location that does not exist until [`Backend::create`].
    #[must_use]
    pub fn absent() -> Self {
        let store = Self::default();
        store.state().present = false;
        store
    }

    /// A store of its own with what this one holds now.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::with(self.state().clone())
    }

    /// Everything in it.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<Key, Bytes> {
        let state = self.state();
        state.objects.iter().map(|(key, object)| (key.clone(), object.bytes.clone())).collect()
    }

    /// Puts bytes under a key as a fault would: without rules, and keeping the time of what was
    /// there.
    pub fn overwrite(&self, key: &Key, bytes: impl Into<Bytes>) {
        let mut state = self.state();
        let modified = state.objects.get(key).map_or(state.now, |object| object.modified);
        state.objects.insert(key.clone(), Object { bytes: bytes.into(), modified });
    }

    fn with(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn present(&self, action: &'static str) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.state();
        if state.present {
            return Ok(state);
        }
        Err(StoreError::new(Failure::NotFound, action, "memory", "the location does not exist"))
    }
}

impl State {
    fn object(&self, action: &'static str, key: &Key) -> Result<&Object, StoreError> {
        self.objects.get(key).ok_or_else(|| {
            StoreError::new(Failure::NotFound, action, key.as_str(), "no such object")
        })
    }
}

fn row(key: &Key, object: &Object) -> Listed {
    Listed { key: key.clone(), stored_bytes: object.bytes.len() as u64, modified: object.modified }
}

#[async_trait]
impl Backend for MemoryStore {
    fn location(&self) -> String {
        "memory".to_owned()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { lists_at_once: false, connections: 2, remote: false }
    }

    async fn create(&self) -> Result<(), StoreError> {
        self.state().present = true;
        Ok(())
    }

    async fn list(
        &self,
        prefix: &str,
        each: &mut (dyn FnMut(Listed) + Send),
    ) -> Result<(), StoreError> {
        let rows: Vec<Listed> = {
            let state = self.present("list")?;
            state
                .objects
                .range(Key::new(prefix)..)
                .take_while(|(key, _)| key.as_str().starts_with(prefix))
                .map(|(key, object)| row(key, object))
                .collect()
        };
        rows.into_iter().for_each(each);
        Ok(())
    }

    async fn stat(&self, key: &Key) -> Result<Listed, StoreError> {
        Ok(row(key, self.present("stat")?.object("stat", key)?))
    }

    async fn read(&self, key: &Key, range: Range) -> Result<Bytes, StoreError> {
        let bytes = self.present("read")?.object("read", key)?.bytes.clone();
        let (start, end) = range.within(bytes.len() as u64).ok_or_else(|| {
            StoreError::new(Failure::Short, "read", key.as_str(), "the object ends before")
        })?;
        // Both are at most the length, which is a usize.
        Ok(bytes.slice(start as usize..end as usize))
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let mut state = self.present("delete")?;
        state.object("delete", key)?;
        state.objects.remove(key);
        Ok(())
    }

    fn draft(&self, _expected_bytes: u64) -> Result<Box<dyn Draft>, StoreError> {
        drop(self.present("write")?);
        Ok(Box::new(MemoryDraft { store: self.clone(), bytes: Vec::new() }))
    }
}

#[async_trait]
impl Draft for MemoryDraft {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn read_back(&mut self) -> Result<Bytes, StoreError> {
        Ok(Bytes::copy_from_slice(&self.bytes))
    }

    async fn commit(self: Box<Self>, key: &Key, existing: Existing) -> Result<(), StoreError> {
        let mut state = self.store.present("write")?;
        if existing == Existing::Keep
            && let Some(there) = state.objects.get(key)
        {
            return if there.bytes == self.bytes {
                Ok(())
            } else {
                let why = "an object with other content has this name";
                Err(StoreError::new(Failure::Permanent, "write", key.as_str(), why))
            };
        }
        state.now += TICK;
        let modified = state.now;
        state.objects.insert(key.clone(), Object { bytes: Bytes::from(self.bytes), modified });
        Ok(())
    }
}
