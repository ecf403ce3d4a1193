//! A store that lets a test step in between two calls: the moment at which somebody else acts.
//!
//! Invariants: what steps in runs to its end before the call it follows returns; each once.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use windlass_engine::store::{
    Backend, Capabilities, Draft, Existing, Key, Listed, Range, StoreError,
};

use crate::recording::Action;

/// A wrapper with moments at which something else happens.
#[derive(Debug)]
pub struct HookedStore {
    inner: Arc<dyn Backend>,
    hooks: Hooks,
}

/// What is going to step in. Clones share it.
#[derive(Clone, Default)]
pub struct Hooks(Arc<Mutex<Vec<Hook>>>);

struct Hook {
    action: Action,
    prefix: String,
    skip: usize,
    then: Pin<Box<dyn Future<Output = ()> + Send>>,
}

#[derive(Debug)]
struct HookedDraft {
    inner: Box<dyn Draft>,
    hooks: Hooks,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} hooks", self.left())
    }
}

impl HookedStore {
    /// A wrapper in which nobody steps in yet.
    #[must_use]
    pub fn new(inner: impl Backend + 'static) -> Self {
        Self { inner: Arc::new(inner), hooks: Hooks::default() }
    }

    /// Where moments are chosen.
    #[must_use]
    pub fn hooks(&self) -> Hooks {
        self.hooks.clone()
    }
}

impl Hooks {
    /// `then` happens after call `nth` (from 0) of a kind on keys or prefixes starting with
    /// `prefix`.
    pub fn after(
        &self,
        action: Action,
        prefix: &str,
        nth: usize,
        then: impl Future<Output = ()> + Send + 'static,
    ) {
        let hook = Hook { action, prefix: prefix.to_owned(), skip: nth, then: Box::pin(then) };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(hook);
    }

    /// How many moments have not come, so that a test knows that it tested something.
    #[must_use]
    pub fn left(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    async fn step_in(&self, action: Action, object: &str) {
        let due: Vec<Hook> = {
            let mut hooks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let is_due = |hook: &mut Hook| {
                if hook.action != action || !object.starts_with(&hook.prefix) {
                    return false;
                }
                let due = hook.skip == 0;
                hook.skip = hook.skip.saturating_sub(1);
                due
            };
            hooks.extract_if(.., is_due).collect()
        };
        for hook in due {
            hook.then.await;
        }
    }
}

#[async_trait]
impl Backend for HookedStore {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn create(&self) -> Result<(), StoreError> {
        let result = self.inner.create().await;
        self.hooks.step_in(Action::Create, "").await;
        result
    }

    async fn list(
        &self,
        prefix: &str,
        each: &mut (dyn FnMut(Listed) + Send),
    ) -> Result<(), StoreError> {
        let result = self.inner.list(prefix, each).await;
        self.hooks.step_in(Action::List, prefix).await;
        result
    }

    async fn stat(&self, key: &Key) -> Result<Listed, StoreError> {
        let result = self.inner.stat(key).await;
        self.hooks.step_in(Action::Stat, key.as_str()).await;
        result
    }

    async fn read(&self, key: &Key, range: Range) -> Result<Bytes, StoreError> {
        let result = self.inner.read(key, range).await;
        self.hooks.step_in(Action::Read, key.as_str()).await;
        result
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let result = self.inner.delete(key).await;
        self.hooks.step_in(Action::Delete, key.as_str()).await;
        result
    }

    fn draft(&self, expected_bytes: u64) -> Result<Box<dyn Draft>, StoreError> {
        let inner = self.inner.draft(expected_bytes)?;
        Ok(Box::new(HookedDraft { inner, hooks: self.hooks.clone() }))
    }
}

#[async_trait]
impl Draft for HookedDraft {
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
    }

    async fn commit(self: Box<Self>, key: &Key, existing: Existing) -> Result<(), StoreError> {
        let Self { inner, hooks } = *self;
        let result = inner.commit(key, existing).await;
        hooks.step_in(Action::Write, key.as_str()).await;
        result
    }
}
