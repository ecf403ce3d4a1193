//! What could be deleted from a store that keeps objects from deletion, and keeping them longer.
//!
//! Invariants
//! - Nothing is changed but how long objects are kept, and that only ever becomes longer.
//! - What cannot be told is an error and never counts as kept. An object that is gone by the time
//!   it is asked about counts for nothing.
//!
//! Not here: keeping new objects (stores do, as they are put).

use std::time::{Duration, SystemTime};

use tokio::task::JoinSet;

use crate::{
    cancel::Cancel,
    fault::{Class, Fault},
    repository::Repository,
    store::{Failure, Key, Listed, Store, StoreError},
};

/// What to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Keep everything as long from now on as a new object would be.
    pub renew: bool,
}

/// What was found, after what was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Objects that nobody can delete.
    pub kept: u64,
    /// Their size.
    pub kept_bytes: u64,
    /// When the first of them can be.
    pub earliest: Option<SystemTime>,
    /// Objects that are kept longer than before.
    pub renewed: u64,
    /// Objects that can be deleted now, sorted.
    pub unprotected: Vec<Key>,
}

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum ImmutabilityError {
    /// Nobody said how long new objects are kept.
    #[error("nothing says for how long objects are to be kept")]
    NoPeriod,
    /// The store failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl ImmutabilityError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::NoPeriod => Class::WrongInput,
            Self::Fault(fault) => fault.class(),
        }
    }
}

/// What ends so much before a renewed one would is renewed: who renews every night does not ask for
/// every object every night.
const TOLERANCE: Duration = Duration::from_hours(24);

/// Asks the store about every object that is to stay.
pub async fn run(
    repository: &Repository,
    options: Options,
    cancel: &Cancel,
) -> Result<Report, ImmutabilityError> {
    let store = repository.store();
    let renewal = match (options.renew, store.keeps_for()) {
        (false, _) => None,
        (true, Some(period)) => {
            let now = repository.environment().clock.now().seconds;
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now.unsigned_abs());
            Some(now + period.saturating_sub(TOLERANCE.min(period / 2)))
        }
        (true, None) => return Err(ImmutabilityError::NoPeriod),
    };
    let listed = store.listing("").await.map_err(Fault::from)?;
    let mut rows = listed.into_iter().filter(|row| repository.protocol().outlasts(&row.key));
    let (mut report, mut asked) = (Report::default(), JoinSet::new());
    let most = store.capabilities().connections.max(1);
    loop {
        if cancel.is_cancelled() {
            return Err(Fault::Cancelled.into());
        }
        while asked.len() < most
            && let Some(row) = rows.next()
        {
            let store = store.clone();
            asked.spawn(async move { (ask(&store, &row.key, renewal).await, row) });
        }
        let Some(answer) = asked.join_next().await else { break };
        let (kept, row) = answer.map_err(|_panic| Fault::Bug("asking about an object panicked"))?;
        match kept {
            Err(error) if error.failure == Failure::NotFound => {}
            kept => report.add(kept.map_err(Fault::from)?, row),
        }
    }
    report.unprotected.sort_unstable();
    Ok(report)
}

/// Until when an object is kept.
#[derive(Clone, Copy, Debug)]
struct Kept {
    until: Option<SystemTime>,
    is_renewed: bool,
}

/// Asks about one object, and keeps it longer where it would end before `renewal`.
async fn ask(store: &Store, key: &Key, renewal: Option<SystemTime>) -> Result<Kept, StoreError> {
    let until = store.kept_until(key).await?;
    match renewal {
        Some(wanted) if until.is_none_or(|until| until < wanted) => {
            let until = Some(store.keep(key).await?);
            Ok(Kept { until, is_renewed: true })
        }
        _ => Ok(Kept { until, is_renewed: false }),
    }
}

impl Report {
    fn add(&mut self, kept: Kept, row: Listed) {
        self.renewed += u64::from(kept.is_renewed);
        let Some(until) = kept.until else {
            self.unprotected.push(row.key);
            return;
        };
        self.kept += 1;
        self.kept_bytes += row.stored_bytes;
        self.earliest = Some(self.earliest.map_or(until, |earliest| earliest.min(until)));
    }
}
