//! A store whose listings lag behind, as those of eventually consistent stores do.
//!
//! Invariants: only listings are stale. Reads, writes and deletions work on what is really there.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use windlass_engine::store::{Backend, Capabilities, Draft, Key, Listed, Range, StoreError};

/// A wrapper that can hold its listings still. Clones share its state.
#[derive(Clone, Debug)]
pub struct StaleListing {
    inner: Arc<dyn Backend>,
    held: Arc<Mutex<Option<Held>>>,
}

/// What listings go on showing of keys that start so.
#[derive(Clone, Debug)]
struct Held {
    prefix: String,
    rows: Vec<Listed>,
}

impl StaleListing {
    /// A wrapper with fresh listings.
    #[must_use]
    pub fn new(inner: impl Backend + 'static) -> Self {
        Self { inner: Arc::new(inner), held: Arc::default() }
    }

    /// From now on listings show what is there now, of keys that start with `prefix`.
    pub async fn freeze(&self, prefix: &str) -> Result<(), StoreError> {
        let mut rows = Vec::new();
        self.inner.list(prefix, &mut |row| rows.push(row)).await?;
        self.hold(Some(Held { prefix: prefix.to_owned(), rows }));
        Ok(())
    }

    /// Listings are fresh again.
    pub fn thaw(&self) {
        self.hold(None);
    }

    fn hold(&self, held: Option<Held>) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
    }
}

#[async_trait]
impl Backend for StaleListing {
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
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(Held { prefix: stale, rows }) = held else {
            return self.inner.list(prefix, each).await;
        };
        let mut fresh = |row: Listed| {
            if !row.key.as_str().starts_with(&stale) {
                each(row);
            }
        };
        self.inner.list(prefix, &mut fresh).await?;
        rows.into_iter().filter(|row| row.key.as_str().starts_with(prefix)).for_each(each);
        Ok(())
    }

    async fn stat(&self, key: &Key) -> Result<Listed, StoreError> {
        self.inner.stat(key).await
    }

    async fn read(&self, key: &Key, range: Range) -> Result<Bytes, StoreError> {
        self.inner.read(key, range).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.inner.delete(key).await
    }

    fn draft(&self, expected_bytes: u64) -> Result<Box<dyn Draft>, StoreError> {
        self.inner.draft(expected_bytes)
    }
}
