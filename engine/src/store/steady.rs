//! One behaviour for all servers: a [`Backend`] out of a [`Remote`].
//!
//! Invariants
//! - What can pass is tried again, what cannot is reported at once. "Not there" is an answer and
//!   never tried again, unless the adapter says that it may be wrong.
//! - A listing reports each name once, however often a part of it was asked for.
//! - A draft is in memory until its commit; nothing of it is on the server before.
//!
//! Not here: which requests these calls are (adapters).

mod backoff;
mod draft;
mod retry;

use std::{collections::HashSet, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

use self::retry::Retry;
use super::{
    Backend, Capabilities, Draft, Existing, Failure, Key, Listed, Range, StoreError,
    layout::Layout,
    limit::{Direction, Limiter},
    remote::{PutRules, Remote, Row, Traits},
    settings::StoreSettings,
    trace::Observer,
};
use crate::entropy::Entropy;

/// What all stores of one location share. Clones are the same.
#[derive(Clone, Debug)]
pub struct Line(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    remote: Arc<dyn Remote>,
    traits: Traits,
    connections: usize,
    limiter: Arc<Limiter>,
    retry: Retry,
}

/// A server as a store.
#[derive(Debug)]
pub struct Steady {
    line: Line,
    layout: Layout,
}

impl Line {
    /// A line to a server.
    #[must_use]
    pub fn new(
        remote: impl Remote,
        settings: &StoreSettings,
        limiter: &Arc<Limiter>,
        observer: &Observer,
        entropy: &Entropy,
    ) -> Self {
        let traits = remote.traits();
        let connections = settings.connections.map_or(traits.connections, usize::from).max(1);
        Self(Arc::new(Shared {
            remote: Arc::new(remote),
            traits,
            connections,
            limiter: Arc::clone(limiter),
            retry: Retry::new(settings.patience, traits.flaky, observer.clone(), entropy.clone()),
        }))
    }

    /// The store with objects where `layout` puts them.
    #[must_use]
    pub fn store(&self, layout: Layout) -> Steady {
        Steady { line: self.clone(), layout }
    }
}

impl Shared {
    async fn stat(&self, name: &str) -> Result<super::remote::Stat, StoreError> {
        self.retry.run("stat", name, || self.remote.stat(name)).await
    }

    async fn read(&self, name: &str, range: Range) -> Result<Bytes, StoreError> {
        let too_short = |size: &dyn std::fmt::Display| {
            let why = format!("the object has {size} bytes, too few for {range:?}");
            StoreError::new(Failure::Short, "read", name, why)
        };
        match range {
            // Servers have no word for nothing.
            Range::Last { len: 0 } => {
                self.stat(name).await?;
                return Ok(Bytes::new());
            }
            Range::At { start, len: 0 } => {
                let size = self.stat(name).await?.stored_bytes;
                return if start <= size { Ok(Bytes::new()) } else { Err(too_short(&size)) };
            }
            Range::At { start, len } if start.checked_add(len).is_none() => {
                return Err(too_short(&"fewer than that"));
            }
            Range::All | Range::At { .. } | Range::Last { .. } => {}
        }
        let bytes = self.retry.run("read", name, || self.remote.read(name, range)).await?;
        let wanted = match range {
            Range::At { len, .. } => bytes.len() as u64 == len,
            Range::Last { len } => bytes.len() as u64 <= len,
            Range::All => true,
        };
        if !wanted {
            return Err(too_short(&bytes.len()));
        }
        if !self.traits.limits_itself {
            self.limiter.pass(Direction::Down, bytes.len()).await;
        }
        Ok(bytes)
    }

    async fn put(&self, name: &str, bytes: Bytes, rules: PutRules) -> Result<(), StoreError> {
        if !self.traits.limits_itself {
            self.limiter.pass(Direction::Up, bytes.len()).await;
        }
        self.retry.run("write", name, || self.remote.put(name, bytes.clone(), rules)).await
    }
}

impl Steady {
    fn name(&self, action: &'static str, key: &Key) -> Result<String, StoreError> {
        self.layout.path(key).ok_or_else(|| {
            let why = "this kind of repository has no place for such a name";
            StoreError::new(Failure::Permanent, action, key.as_str(), why)
        })
    }

    fn listed(&self, row: &Row, prefix: &str) -> Option<Listed> {
        let key = self.layout.key(&row.name).filter(|key| key.as_str().starts_with(prefix))?;
        Some(Listed { key, stored_bytes: row.stored_bytes, modified: row.modified })
    }
}

#[async_trait]
impl Backend for Steady {
    fn location(&self) -> String {
        self.line.0.remote.location()
    }

    fn capabilities(&self) -> Capabilities {
        let connections = self.line.0.connections;
        Capabilities { atomic_replace: true, connections, remote: true }
    }

    async fn create(&self) -> Result<(), StoreError> {
        let (shared, location) = (&self.line.0, self.location());
        let directories = self.layout.directories().to_vec();
        shared.retry.run("create", &location, || shared.remote.create(&directories)).await
    }

    async fn list(
        &self,
        prefix: &str,
        each: &mut (dyn FnMut(Listed) + Send),
    ) -> Result<(), StoreError> {
        let shared = &self.line.0;
        let names = self.layout.path_prefix(prefix);
        let mut seen = HashSet::new();
        let mut next = None;
        loop {
            let page = || shared.remote.page(&names, next.clone());
            let page = shared.retry.run("list", &names, page).await?;
            for row in &page.rows {
                if let Some(listed) = self.listed(row, prefix)
                    && seen.insert(listed.key.clone())
                {
                    each(listed);
                }
            }
            next = page.next;
            if next.is_none() {
                return Ok(());
            }
        }
    }

    async fn stat(&self, key: &Key) -> Result<Listed, StoreError> {
        let name = self.name("stat", key)?;
        let stat = self.line.0.stat(&name).await?;
        Ok(Listed { key: key.clone(), stored_bytes: stat.stored_bytes, modified: stat.modified })
    }

    async fn read(&self, key: &Key, range: Range) -> Result<Bytes, StoreError> {
        let name = self.name("read", key)?;
        self.line.0.read(&name, range).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let name = self.name("delete", key)?;
        let shared = &self.line.0;
        shared.retry.run("delete", &name, || shared.remote.delete(&name)).await
    }

    fn draft(&self, expected_bytes: u64) -> Result<Box<dyn Draft>, StoreError> {
        Ok(Box::new(draft::Gathered::new(self.line.clone(), self.layout.clone(), expected_bytes)))
    }
}
