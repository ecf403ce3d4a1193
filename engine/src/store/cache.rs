//! A local copy of what is read again and again, in the directory that restic uses as well.
//!
//! Invariants
//! - The store is the truth: listings always ask it, and what it no longer lists goes from here.
//! - A cache that fails never fails a call: who watches is told once, and the store answers.
//! - What is read from here is proved like everything that is read; [`Backend::doubt`] removes a
//!   copy that did not pass, once, so that the next read asks the store.
//! - A pack is fetched whole only when a second part of it is wanted, and only metadata is.
//!
//! Not here: files and directories ([`room`]), what is known of a location before it is asked ([`known`]).

pub mod base;
pub(crate) mod known;
mod room;

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{OnceCell, Semaphore};

use self::room::Room;
use super::{
    Backend, Capabilities, Draft, Existing, Key, Leftover, Listed, Range, Store, StoreError,
    trace::Observer,
};

/// Objects that are kept whole as soon as they are read or written.
const DOCUMENTS: [&str; 2] = ["index/", "snapshots/"];
/// Packs, of which those are kept that hold metadata.
const PACKS: &str = "data/";
/// A pack longer than this is read in parts and never kept.
const MOST_PACK_BYTES: u64 = 32 << 20;
/// Mebibytes of packs that are fetched whole at once.
const FETCHED_MIB: usize = 32;

/// Where caches are, and how large one may become.
#[derive(Clone, Debug)]
pub struct CacheOptions {
    /// The directory with one directory for each repository.
    pub base: PathBuf,
    /// Whether copies of objects are kept: not worth it for a store as near as the cache. A large
    /// index is in any case.
    pub objects: bool,
    /// Bytes of one repository's cache; without a limit it leaves the last twentieth of its file
    /// system free, or a gibibyte of a large one.
    pub limit_bytes: Option<u64>,
    /// Who is told that it cannot be used.
    pub observer: Observer,
}

impl CacheOptions {
    /// The store of the repository with this id, with its cache before it, and the directory of
    /// that.
    #[must_use]
    pub(crate) fn over(&self, store: Store, repository: &str) -> (Store, Option<PathBuf>) {
        let directory = self.base.join(repository);
        if !self.objects {
            // Made when there is something to put into it.
            return (store, Some(directory));
        }
        let room = match Room::open(self, &directory) {
            Ok(room) => room,
            Err(failed) => {
                self.observer.tell(|| failed);
                return (store, None);
            }
        };
        let cached = Cached {
            inner: store,
            room: Arc::new(room),
            begun: Mutex::default(),
            doubted: Mutex::default(),
            fetching: Semaphore::new(FETCHED_MIB),
        };
        (Store::new(cached), Some(directory))
    }
}

fn is_document(key: &Key) -> bool {
    DOCUMENTS.iter().any(|prefix| key.as_str().starts_with(prefix))
}

/// A store with its cache.
#[derive(Debug)]
struct Cached {
    inner: Store,
    room: Arc<Room>,
    /// Packs of which a part was read, and who fetches the whole of it.
    begun: Mutex<HashMap<Key, Arc<OnceCell<()>>>>,
    doubted: Mutex<HashSet<Key>>,
    fetching: Semaphore,
}

impl Cached {
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Room) -> T + Send + 'static,
    ) -> Option<T> {
        let room = Arc::clone(&self.room);
        // A panic in there is a miss.
        tokio::task::spawn_blocking(move || work(&room)).await.ok()
    }

    async fn load(&self, key: &Key, range: Range) -> Option<Bytes> {
        let key = key.clone();
        self.on_disk(move |room| room.load(&key, range)).await.flatten()
    }

    async fn save(&self, key: &Key, bytes: Bytes) {
        let key = key.clone();
        self.on_disk(move |room| room.save(&key, &bytes)).await;
    }

    /// Fetches a pack whole, once.
    async fn fetch(&self, key: &Key, pack_bytes: u64, whole: &OnceCell<()>) {
        let fetch = async || {
            let mebibytes = u32::try_from(pack_bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX);
            let _permit = self.fetching.acquire_many(mebibytes).await;
            if let Ok(bytes) = self.inner.read(key, Range::All).await {
                self.save(key, bytes).await;
            }
        };
        whole.get_or_init(fetch).await;
    }
}

#[async_trait]
impl Backend for Cached {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn create(&self) -> Result<(), StoreError> {
        self.inner.create().await
    }

    async fn list(
        &self,
        prefix: &str,
        each: &mut (dyn FnMut(Listed) + Send),
    ) -> Result<(), StoreError> {
        let Some(directory) =
            DOCUMENTS.iter().find(|directory| directory.trim_end_matches('/') == prefix)
        else {
            return self.inner.list(prefix, each).await;
        };
        let mut listed = HashSet::new();
        let mut collect = |row: Listed| {
            listed.insert(row.key.clone());
            each(row);
        };
        self.inner.list(prefix, &mut collect).await?;
        self.on_disk(move |room| room.retain(directory, &|key| listed.contains(key))).await;
        Ok(())
    }

    async fn stat(&self, key: &Key) -> Result<Listed, StoreError> {
        self.inner.stat(key).await
    }

    async fn read(&self, key: &Key, range: Range) -> Result<Bytes, StoreError> {
        if range != Range::All || !is_document(key) {
            return self.inner.read(key, range).await;
        }
        if let Some(bytes) = self.load(key, range).await {
            return Ok(bytes);
        }
        let bytes = self.inner.read(key, range).await?;
        self.save(key, bytes.clone()).await;
        Ok(bytes)
    }

    async fn read_again(
        &self,
        key: &Key,
        range: Range,
        object_bytes: u64,
    ) -> Result<Bytes, StoreError> {
        if !key.as_str().starts_with(PACKS) || object_bytes > MOST_PACK_BYTES {
            return self.inner.read(key, range).await;
        }
        if let Some(bytes) = self.load(key, range).await {
            return Ok(bytes);
        }
        let begun = {
            let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
            let known = begun.get(key).cloned();
            if known.is_none() {
                begun.insert(key.clone(), Arc::default());
            }
            known
        };
        if let Some(whole) = begun {
            self.fetch(key, object_bytes, &whole).await;
            if let Some(bytes) = self.load(key, range).await {
                return Ok(bytes);
            }
        }
        self.inner.read(key, range).await
    }

    fn read_here(
        &self,
        key: &Key,
        range: Range,
        out: &mut Vec<u8>,
    ) -> Option<Result<(), StoreError>> {
        self.inner.read_here(key, range, out)
    }

    fn doubt(&self, key: &Key) -> bool {
        let mut doubted = self.doubted.lock().unwrap_or_else(PoisonError::into_inner);
        doubted.insert(key.clone()) && self.room.remove(key)
    }

    async fn copies(&self, directory: &str) -> HashSet<Key> {
        let directory = format!("{directory}/");
        self.on_disk(move |room| room.keys(&directory)).await.unwrap_or_default()
    }

    fn retain_copies(&self, keep: &dyn Fn(&Key) -> bool) {
        self.room.retain(PACKS, keep);
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.inner.delete(key).await?;
        let key = key.clone();
        self.on_disk(move |room| room.remove(&key)).await;
        Ok(())
    }

    async fn kept_until(&self, key: &Key) -> Result<Option<SystemTime>, StoreError> {
        self.inner.kept_until(key).await
    }

    async fn keep(&self, key: &Key) -> Result<SystemTime, StoreError> {
        self.inner.keep(key).await
    }

    fn keeps_for(&self) -> Option<Duration> {
        self.inner.keeps_for()
    }

    async fn leftovers(&self) -> Result<Vec<Leftover>, StoreError> {
        self.inner.leftovers().await
    }

    async fn remove_leftover(&self, leftover: &Leftover) -> Result<bool, StoreError> {
        self.inner.remove_leftover(leftover).await
    }

    fn draft(&self, expected_bytes: u64) -> Result<Box<dyn Draft>, StoreError> {
        let inner = self.inner.draft(expected_bytes)?;
        Ok(Box::new(CachedDraft { inner, room: Arc::clone(&self.room), is_wanted: true }))
    }
}

/// A draft whose content is kept as well.
#[derive(Debug)]
struct CachedDraft {
    inner: Box<dyn Draft>,
    room: Arc<Room>,
    is_wanted: bool,
}

#[async_trait]
impl Draft for CachedDraft {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.inner.append(bytes)
    }

    fn read_back(&mut self) -> Result<Bytes, StoreError> {
        self.inner.read_back()
    }

    fn will_hash_to(&mut self, sha256: [u8; 32]) {
        self.inner.will_hash_to(sha256);
    }

    fn may_be_cold(&mut self) {
        self.inner.may_be_cold();
        self.is_wanted = false;
    }

    async fn commit(self: Box<Self>, key: &Key, existing: Existing) -> Result<(), StoreError> {
        let Self { mut inner, room, is_wanted } = *self;
        let is_kept = is_wanted && (is_document(key) || key.as_str().starts_with(PACKS));
        let copy = if is_kept { inner.read_back().ok() } else { None };
        inner.commit(key, existing).await?;
        if let Some(copy) = copy {
            let key = key.clone();
            let save = move || room.save(&key, &copy);
            let _without_where_it_panics = tokio::task::spawn_blocking(save).await;
        }
        Ok(())
    }
}
