//! One behaviour for all servers: a [`Backend`] out of a [`Remote`].
//!
//! Invariants
//! - What can pass is tried again, what cannot is reported at once. "Not there" is an answer and
//!   never tried again, unless the adapter says that it may be wrong.
//! - A listing reports each name once, however often a part of it was asked for.
//! - A draft is on this machine until its commit; nothing of it is on the server before.
//!
//! Not here: which requests these calls are (adapters).

mod backoff;
mod draft;
mod hedge;
mod retry;
mod turn;
mod window;

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::{Instant, sleep};

use self::{hedge::Hedge, retry::Retry, turn::Turns};
use super::{
    Backend, Capabilities, Draft, Existing, Failure, Key, Listed, Range, StoreError,
    layout::Layout,
    limit::{Direction, Limiter},
    remote::{PutRules, Remote, Row, Stat, Traits},
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
    turns: Turns,
    hedge: Mutex<Hedge>,
    spool: Option<PathBuf>,
}

/// Requests at once before it is known what the server bears.
const FIRST_CONNECTIONS: usize = 4;
/// What is no more than this does not wait behind large objects.
const SMALL_BYTES: usize = 64 * 1024;

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
            turns: Turns::new(FIRST_CONNECTIONS, connections, observer.clone()),
            hedge: Mutex::default(),
            spool: settings.spool.clone(),
        }))
    }

    /// The store with objects where `layout` puts them.
    #[must_use]
    pub fn store(&self, layout: Layout) -> Steady {
        Steady { line: self.clone(), layout }
    }
}

impl Shared {
    /// Makes a call until it succeeds or cannot, each time when it is its turn. `carried` tells how
    /// many bytes came along.
    async fn call<T, F>(
        &self,
        (action, object): (&'static str, &str),
        is_small: bool,
        carried: impl Fn(&T) -> usize + Sync,
        call: impl Fn() -> F + Sync,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
        T: Send,
    {
        let (call, carried) = (&call, &carried);
        let attempt = || async {
            let turn = self.turns.wait(is_small).await;
            let result = call().await;
            let bytes = result.as_ref().map_or(0, carried);
            turn.ended(&result, bytes as u64);
            result
        };
        self.retry.run(action, object, attempt).await
    }

    async fn stat(&self, name: &str) -> Result<Stat, StoreError> {
        self.call(("stat", name), true, |_stat| 0, || self.remote.stat(name)).await
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
            // No object is so long, and servers count with a sign.
            Range::At { start, len }
                if start.checked_add(len).is_none_or(|end| i64::try_from(end).is_err()) =>
            {
                return Err(too_short(&"fewer than that"));
            }
            Range::All | Range::At { .. } | Range::Last { .. } => {}
        }
        let most = match range {
            Range::All => None,
            Range::At { len, .. } | Range::Last { len } => Some(len),
        };
        let is_small = most.is_some_and(|most| most <= SMALL_BYTES as u64);
        let read = || async {
            match most {
                Some(most) if most <= hedge::MOST_BYTES => self.read_soon(name, range).await,
                _ => self.remote.read(name, range).await,
            }
        };
        let bytes = self.call(("read", name), is_small, Bytes::len, read).await?;
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

    /// One attempt at a small read, which is made twice where its answer is late.
    async fn read_soon(&self, name: &str, range: Range) -> Result<Bytes, StoreError> {
        let began = Instant::now();
        let delay = self.hedge().delay();
        let mut first = self.remote.read(name, range);
        let result = match delay {
            None => first.await,
            Some(delay) => tokio::select! {
                result = &mut first => result,
                () = sleep(delay) => {
                    self.hedge().doubled();
                    let mut second = self.remote.read(name, range);
                    tokio::select! {
                        result = &mut first => match may_pass(&result) {
                            true => second.await,
                            false => result,
                        },
                        result = &mut second => match may_pass(&result) {
                            true => first.await,
                            false => result,
                        },
                    }
                }
            },
        };
        if result.is_ok() {
            self.hedge().took(began.elapsed());
        }
        result
    }

    fn hedge(&self) -> MutexGuard<'_, Hedge> {
        self.hedge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn put(&self, name: &str, bytes: Bytes, rules: PutRules) -> Result<(), StoreError> {
        if !self.traits.limits_itself {
            self.limiter.pass(Direction::Up, bytes.len()).await;
        }
        let len = bytes.len();
        let put = || self.remote.put(name, bytes.clone(), rules);
        self.call(("write", name), len <= SMALL_BYTES, |()| len, put).await
    }
}

/// Whether this failed in a way that another attempt may not.
fn may_pass<T>(result: &Result<T, StoreError>) -> bool {
    result.as_ref().is_err_and(|error| error.failure.may_pass())
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
        Capabilities { lists_at_once: false, connections, remote: true }
    }

    async fn create(&self) -> Result<(), StoreError> {
        let (shared, location) = (&self.line.0, self.location());
        let directories = self.layout.directories().to_vec();
        let create = || shared.remote.create(&directories);
        shared.call(("create", &location), true, |()| 0, create).await
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
            let page = shared.call(("list", &names), true, |_page| 0, page).await?;
            for row in &page.rows {
                if let Some(listed) = self.listed(row, prefix)
                    && seen.insert(listed.key.clone())
                {
                    each(listed);
                }
            }
            if page.next.is_none() {
                return Ok(());
            }
            if page.next == next {
                let why = "the list has more parts, but the server sends the same one again";
                return Err(StoreError::new(Failure::Permanent, "list", self.location(), why));
            }
            next = page.next;
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
        let tried = AtomicBool::new(false);
        let delete = || async {
            let is_first = !tried.swap(true, Ordering::Relaxed);
            match shared.remote.delete(&name).await {
                // The answer to the try before was lost, and it had worked.
                Err(error) if error.failure == Failure::NotFound && !is_first => Ok(()),
                result => result,
            }
        };
        shared.call(("delete", &name), true, |()| 0, delete).await
    }

    async fn kept_until(&self, key: &Key) -> Result<Option<SystemTime>, StoreError> {
        let name = self.name("stat", key)?;
        let shared = &self.line.0;
        let ask = || shared.remote.kept_until(&name);
        shared.call(("stat", &name), true, |_kept| 0, ask).await
    }

    async fn keep(&self, key: &Key) -> Result<SystemTime, StoreError> {
        let name = self.name("keep", key)?;
        let shared = &self.line.0;
        shared.call(("keep", &name), true, |_kept| 0, || shared.remote.keep(&name)).await
    }

    fn keeps_for(&self) -> Option<Duration> {
        self.line.0.remote.keeps_for()
    }

    fn draft(&self, expected_bytes: u64) -> Result<Box<dyn Draft>, StoreError> {
        Ok(Box::new(draft::Gathered::new(self.line.clone(), self.layout.clone(), expected_bytes)))
    }
}
