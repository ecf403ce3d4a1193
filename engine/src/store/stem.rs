//! A server where the names of all objects begin with the same text, be it a directory or not.
//!
//! Invariants: an object whose name begins otherwise is none of this store's.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Range, StoreError,
    remote::{Page, PutRules, Remote, Row, Stat, Traits},
};

/// What is behind a beginning.
#[derive(Debug)]
pub(super) struct Stemmed<R> {
    inner: R,
    stem: String,
}

impl<R: Remote> Stemmed<R> {
    pub(super) fn new(inner: R, stem: &str) -> Self {
        Self { inner, stem: stem.to_owned() }
    }

    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.stem)
    }
}

#[async_trait]
impl<R: Remote> Remote for Stemmed<R> {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn traits(&self) -> Traits {
        self.inner.traits()
    }

    async fn create(&self, directories: &[String]) -> Result<(), StoreError> {
        self.inner.create(directories).await
    }

    async fn page(&self, prefix: &str, next: Option<String>) -> Result<Page, StoreError> {
        let mut page = self.inner.page(&self.name(prefix), next).await?;
        let below = |row: Row| {
            let name = row.name.strip_prefix(&self.stem)?.to_owned();
            Some(Row { name, ..row })
        };
        page.rows = page.rows.into_iter().filter_map(below).collect();
        Ok(page)
    }

    async fn stat(&self, name: &str) -> Result<Stat, StoreError> {
        self.inner.stat(&self.name(name)).await
    }

    async fn read(&self, name: &str, range: Range) -> Result<Bytes, StoreError> {
        self.inner.read(&self.name(name), range).await
    }

    async fn put(&self, name: &str, bytes: Bytes, rules: PutRules) -> Result<(), StoreError> {
        self.inner.put(&self.name(name), bytes, rules).await
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.inner.delete(&self.name(name)).await
    }

    async fn kept_until(&self, name: &str) -> Result<Option<SystemTime>, StoreError> {
        self.inner.kept_until(&self.name(name)).await
    }

    async fn keep(&self, name: &str) -> Result<SystemTime, StoreError> {
        self.inner.keep(&self.name(name)).await
    }

    fn keeps_for(&self) -> Option<Duration> {
        self.inner.keeps_for()
    }
}
