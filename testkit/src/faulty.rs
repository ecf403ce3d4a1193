//! A store that goes wrong when it is told to.
//!
//! Invariants: without rules it behaves as the store inside; a rule is used up in the order of
//! calls that match it, so that a run with one task repeats.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use windlass_engine::store::{
    Backend, Capabilities, Draft, Existing, Failure, Key, Listed, Range, StoreError,
};

use crate::recording::Action;

/// A wrapper that makes faults.
#[derive(Debug)]
pub struct FaultyStore {
    inner: Arc<dyn Backend>,
    faults: Faults,
}

/// The faults to come. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Vec<Rule>>>);

/// What goes wrong, and when.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Calls of this kind.
    pub action: Action,
    /// On keys or prefixes that start so.
    pub prefix: String,
    /// Matching calls that still go well.
    pub skip: usize,
    /// Matching calls after those that go wrong.
    pub times: usize,
    /// How.
    pub fault: Fault,
}

/// How a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails and nothing happens.
    Fail(Failure),
    /// It happens, and is reported as a [`Failure::Transient`]: the answer was lost.
    LoseAnswer,
    /// A write leaves the first half of the object visible and fails, as a store without atomic
    /// puts would. Other calls fail.
    Tear,
    /// A read gives only the first half and says that this is all. Other calls are unharmed.
    CutShort,
    /// A read gives one flipped bit, at this byte counted around the end. Other calls are unharmed.
    FlipBit(u64),
    /// It takes this much longer.
    Delay(Duration),
    /// It panics, as an adapter with a bug would.
    Panic,
}

#[derive(Debug)]
struct FaultyDraft {
    store: Arc<dyn Backend>,
    inner: Box<dyn Draft>,
    faults: Faults,
}

impl FaultyStore {
    /// A wrapper without faults yet.
    #[must_use]
    pub fn new(inner: impl Backend + 'static) -> Self {
        Self { inner: Arc::new(inner), faults: Faults::default() }
    }

    /// Where faults are ordered.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }
}

impl Faults {
    /// Orders a fault.
    pub fn add(&self, rule: Rule) {
        self.rules().push(rule);
    }

    /// Orders that call `nth` (from 0) of a kind on keys starting with `prefix` goes wrong, once.
    pub fn once(&self, action: Action, prefix: &str, nth: usize, fault: Fault) {
        self.add(Rule { action, prefix: prefix.to_owned(), skip: nth, times: 1, fault });
    }

    /// Orders that all calls of a kind on keys starting with `prefix` go wrong.
    pub fn always(&self, action: Action, prefix: &str, fault: Fault) {
        let prefix = prefix.to_owned();
        self.add(Rule { action, prefix, skip: 0, times: usize::MAX, fault });
    }

    /// Orders nothing any more.
    pub fn clear(&self) {
        self.rules().clear();
    }

    /// Whether every fault ordered has happened, so that a test knows that it tested something.
    #[must_use]
    pub fn all_happened(&self) -> bool {
        self.rules().iter().all(|rule| rule.times == 0)
    }

    /// The fault for this call: the first rule that is due. Rules after it do not count the call.
    fn next(&self, action: Action, object: &str) -> Option<Fault> {
        let mut chosen = None;
        for rule in self.rules().iter_mut() {
            if rule.action != action || !object.starts_with(&rule.prefix) || chosen.is_some() {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
            } else if rule.times > 0 {
                rule.times = rule.times.saturating_sub(usize::from(rule.times != usize::MAX));
                chosen = Some(rule.fault);
            }
        }
        chosen
    }

    fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ordered(failure: Failure, object: &str) -> StoreError {
    StoreError::new(failure, "test", object, "a fault was ordered")
}

/// Does a call with a fault that is the same for all kinds.
async fn with<T>(
    fault: Option<Fault>,
    object: &str,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match fault {
        Some(Fault::Fail(failure)) => Err(ordered(failure, object)),
        Some(Fault::Tear) => Err(ordered(Failure::Transient, object)),
        Some(Fault::LoseAnswer) => {
            drop(call.await?);
            Err(ordered(Failure::Transient, object))
        }
        Some(Fault::Delay(time)) => {
            tokio::time::sleep(time).await;
            call.await
        }
        Some(Fault::Panic) => panic!("ordered: {object}"),
        Some(Fault::CutShort | Fault::FlipBit(_)) | None => call.await,
    }
}

#[async_trait]
impl Backend for FaultyStore {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn create(&self) -> Result<(), StoreError> {
        with(self.faults.next(Action::Create, ""), "", self.inner.create()).await
    }

    async fn list(
        &self,
        prefix: &str,
        each: &mut (dyn FnMut(Listed) + Send),
    ) -> Result<(), StoreError> {
        let fault = self.faults.next(Action::List, prefix);
        with(fault, prefix, self.inner.list(prefix, each)).await
    }

    async fn stat(&self, key: &Key) -> Result<Listed, StoreError> {
        let fault = self.faults.next(Action::Stat, key.as_str());
        with(fault, key.as_str(), self.inner.stat(key)).await
    }

    async fn read(&self, key: &Key, range: Range) -> Result<Bytes, StoreError> {
        let fault = self.faults.next(Action::Read, key.as_str());
        let bytes = with(fault, key.as_str(), self.inner.read(key, range)).await?;
        Ok(match fault {
            Some(Fault::CutShort) => bytes.slice(..bytes.len() / 2),
            Some(Fault::FlipBit(at)) if !bytes.is_empty() => {
                let mut bytes = Vec::from(bytes);
                let at = at % bytes.len() as u64;
                bytes[at as usize] ^= 1 << (at % 8);
                Bytes::from(bytes)
            }
            _ => bytes,
        })
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let fault = self.faults.next(Action::Delete, key.as_str());
        with(fault, key.as_str(), self.inner.delete(key)).await
    }

    fn draft(&self, expected_bytes: u64) -> Result<Box<dyn Draft>, StoreError> {
        let (store, faults) = (Arc::clone(&self.inner), self.faults.clone());
        Ok(Box::new(FaultyDraft { inner: store.draft(expected_bytes)?, store, faults }))
    }
}

#[async_trait]
impl Draft for FaultyDraft {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.inner.append(bytes)
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
        let Self { store, mut inner, faults } = *self;
        let fault = faults.next(Action::Write, key.as_str());
        if fault == Some(Fault::Tear) {
            let bytes = inner.read_back()?;
            let mut torn = store.draft(0)?;
            torn.append(&bytes[..bytes.len() / 2])?;
            torn.commit(key, existing).await?;
        }
        with(fault, key.as_str(), inner.commit(key, existing)).await
    }
}
