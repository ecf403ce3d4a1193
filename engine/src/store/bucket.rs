//! Containers of Azure Blob Storage and buckets of Google Cloud Storage, through one library.
//!
//! Invariants
//! - The library signs requests and reads answers; this store's own transport carries them, so that
//!   certificates, proxies, limits and the watch over progress are those of every other store.
//! - The library never tries again by itself.
//! - Without [`Existing::Replace`](super::Existing::Replace) a put is conditional: the service
//!   itself refuses to overwrite.
//!
//! Not here: which credentials and endpoints a service has (`azure`, `gcs`).

#[cfg(feature = "azure")]
pub mod azure;
mod bridge;
#[cfg(feature = "gcs")]
pub mod gcs;
mod refusal;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::{
    Error, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    PutPayload,
    list::{PaginatedListOptions, PaginatedListStore},
    path::Path,
};

use self::refusal::failed;
use super::{
    Existing, Failure, Range, StoreError,
    http::seen,
    remote::{Page, PutRules, Remote, Row, Stat, Traits},
};

/// A place in a bucket.
#[derive(Debug)]
pub struct Bucket {
    name: String,
    /// What all objects' names begin with; ends with a slash unless it is empty.
    prefix: String,
    service: Box<dyn Service>,
}

/// What differs between services.
#[async_trait]
trait Service: Send + Sync + fmt::Debug {
    /// Objects by name.
    fn objects(&self) -> &dyn ObjectStore;

    /// Lists in parts.
    fn lists(&self) -> &dyn PaginatedListStore;

    /// Fails where the bucket is not there. Whoever may write may not always ask for the bucket
    /// itself: what objects there are does as well.
    async fn probe(&self, prefix: &str) -> Result<(), Error> {
        let options = PaginatedListOptions { max_keys: Some(1), ..PaginatedListOptions::default() };
        self.lists().list_paginated(Some(prefix), options).await.map(drop)
    }

    /// Creates the bucket; one that is there is no error.
    async fn create(&self) -> Result<(), Error>;
}

/// Requests at once, each on a connection of its own.
const CONNECTIONS: usize = 10;
/// What a service puts into one part of a list at most.
const PAGE_ROWS: usize = 5000;

impl Bucket {
    fn new(name: String, prefix: &str, service: impl Service + 'static) -> Self {
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Self { name, prefix, service: Box::new(service) }
    }

    fn path(&self, action: &'static str, name: &str) -> Result<Path, StoreError> {
        Path::parse(format!("{}{name}", self.prefix))
            .map_err(|error| StoreError::new(Failure::Permanent, action, name, error))
    }

    /// Asks the service once.
    async fn ask<T>(
        &self,
        action: &'static str,
        name: &str,
        call: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, StoreError> {
        let (answer, seen) = seen(call).await;
        answer.map_err(|error| failed(action, name, error, seen))
    }

    async fn meta(&self, action: &'static str, name: &str) -> Result<ObjectMeta, StoreError> {
        let path = self.path(action, name)?;
        self.ask(action, name, self.service.objects().head(&path)).await
    }

    async fn get(&self, name: &str, range: Option<GetRange>) -> Result<Bytes, StoreError> {
        let path = self.path("read", name)?;
        let options = GetOptions { range, ..GetOptions::default() };
        let call = async { self.service.objects().get_opts(&path, options).await?.bytes().await };
        self.ask("read", name, call).await
    }
}

#[async_trait]
impl Remote for Bucket {
    fn location(&self) -> String {
        self.name.clone()
    }

    fn traits(&self) -> Traits {
        Traits { connections: CONNECTIONS, flaky: false, limits_itself: true }
    }

    async fn create(&self, _names_are_flat: &[String]) -> Result<(), StoreError> {
        match self.ask("create", &self.name, self.service.probe(&self.prefix)).await {
            Err(error) if error.failure == Failure::NotFound => {
                self.ask("create", &self.name, self.service.create()).await
            }
            result => result,
        }
    }

    async fn page(&self, prefix: &str, next: Option<String>) -> Result<Page, StoreError> {
        let options = PaginatedListOptions {
            max_keys: Some(PAGE_ROWS),
            page_token: next,
            ..PaginatedListOptions::default()
        };
        let mut full = format!("{}{prefix}", self.prefix);
        // The library leaves an object out whose name is the prefix.
        if !full.ends_with('/') {
            full.pop();
        }
        let found = self.service.lists().list_paginated(Some(&full), options);
        let found = self.ask("list", &self.name, found).await?;
        let row = |meta: ObjectMeta| {
            let name = meta.location.as_ref().strip_prefix(&self.prefix)?.to_owned();
            Some(Row { name, stored_bytes: meta.size, modified: meta.last_modified.into() })
        };
        let rows = found.result.objects.into_iter().filter_map(row).collect();
        Ok(Page { rows, next: found.page_token })
    }

    async fn stat(&self, name: &str) -> Result<Stat, StoreError> {
        let meta = self.meta("stat", name).await?;
        Ok(Stat { stored_bytes: meta.size, modified: meta.last_modified.into() })
    }

    async fn read(&self, name: &str, range: Range) -> Result<Bytes, StoreError> {
        let (start, end) = match range {
            Range::All => return self.get(name, None).await,
            Range::At { start, len } => (start, start.saturating_add(len)),
            // One of the services has no word for the last bytes.
            Range::Last { .. } => {
                let size = self.meta("read", name).await?.size;
                match range.within(size) {
                    Some((start, end)) if start < end => (start, end),
                    _ => return Ok(Bytes::new()),
                }
            }
        };
        match self.get(name, Some(GetRange::Bounded(start..end))).await {
            // Not every server refuses what begins behind the end; the library does, for itself.
            Err(error) if error.failure == Failure::Permanent => {
                let size = self.meta("read", name).await.map(|meta| meta.size);
                match size {
                    Ok(size) if range.within(size).is_none() => {
                        let why = format!("the object has {size} bytes, too few for {range:?}");
                        Err(StoreError::new(Failure::Short, "read", name, why))
                    }
                    _ => Err(error),
                }
            }
            result => result,
        }
    }

    async fn put(&self, name: &str, bytes: Bytes, rules: PutRules) -> Result<(), StoreError> {
        let path = self.path("write", name)?;
        let mode = match rules.existing {
            Existing::Keep => PutMode::Create,
            Existing::Replace => PutMode::Overwrite,
        };
        let options = PutOptions { mode, ..PutOptions::default() };
        let payload = PutPayload::from_bytes(bytes.clone());
        let (answer, seen) = seen(self.service.objects().put_opts(&path, payload, options)).await;
        match answer {
            Ok(_) => Ok(()),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. })
                if rules.existing == Existing::Keep =>
            {
                let size = self.meta("write", name).await?.size;
                if size == bytes.len() as u64 && self.get(name, None).await? == bytes {
                    return Ok(());
                }
                let why = "an object with other content has this name";
                Err(StoreError::new(Failure::Permanent, "write", name, why))
            }
            Err(error) => Err(failed("write", name, error, seen)),
        }
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path("delete", name)?;
        self.ask("delete", name, self.service.objects().delete(&path)).await
    }
}
