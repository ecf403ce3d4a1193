//! Cleaning up: what no root refers to any more goes, and half-empty packs are joined.
//!
//! ```text
//!  shared presence                                          │ exclusive presence
//!  roots → index → mark → survey → plan → forecast          │ roots and segments again → mark new
//!        → move what is in use into new packs → publish     │ → new segments → old segments go
//!                                                           │ → packs go
//! ```
//!
//! Invariants
//! - Backups by anyone go on while is planned and moved. Only the end, which moves nothing, is done
//!   alone; what was planned is looked at again then: a pack that a new root needs stays, and where
//!   another program has rewritten the index, nothing is removed.
//! - A root or directory that cannot be read, a chunk that no index knows, a pack that is missing:
//!   each ends it before anything is removed ([`crate::mark`], [`plan`], [`survey`]).
//! - Of several copies of a chunk none goes before one that stays was read and proved.
//! - New packs, the index that names them, the index without the old ones, and only then the old
//!   packs: the order is in the types of [`crate::protocol::reclaim`]. A crash anywhere leaves a
//!   whole repository and at worst garbage, which the next run removes.
//!
//! Not here: which roots there are to be (`forget`).

mod commit;
mod plan;
mod rewrite;
mod survey;

use std::{
    collections::{HashMap, HashSet},
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

use self::{commit::Commit, plan::Plan, rewrite::Rewriter, survey::Survey};
pub use self::{
    plan::{Forecast, Limits, MaxUnused},
    survey::Sum,
};
use crate::{
    cancel::Cancel,
    carry::Source,
    catalogue::{self, Catalogue, RowSet},
    fault::{Class, Fault},
    index::Index,
    mark::{self, Uses},
    model::{
        chunk::ChunkKey,
        directory::Entry,
        pack::PackName,
        root::{Root, RootId},
    },
    monitor::{Event, Monitor, Phase},
    protocol::{Access, AnnounceError, Announcement, Patience, Pending, Presence},
    repository::Repository,
    store::Failure,
};

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// How far to go.
    pub limits: Limits,
    /// Begin to rewrite no further pack after this time.
    pub most_time: Option<Duration>,
    /// Change nothing.
    pub dry_run: bool,
    /// Roots that are treated as if they were gone, for a dry run.
    pub without: Vec<RootId>,
    /// Size of new packs.
    pub pack_bytes: u64,
    /// How this run is announced; the access in it is not looked at.
    pub announcement: Announcement,
    /// Announce nothing; only for a dry run.
    pub unannounced: bool,
    /// There is no room for anything: remove index segments before others stand for them. A crash
    /// then leaves packs that no index names, until it is rebuilt.
    pub recover_space: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// What was planned.
    pub forecast: Forecast,
    /// Packs that are gone.
    pub packs_removed: u64,
    /// Packs that could not be removed and are garbage now.
    pub packs_left: Vec<(PackName, Fault)>,
    /// Packs that were to go and stay, because a root needs them that came meanwhile.
    pub packs_rescued: u64,
    /// Packs that were to be rewritten and were not, for want of time.
    pub packs_postponed: u64,
}

/// Why it did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReclaimError {
    /// Others are at work.
    #[error(transparent)]
    Announce(#[from] AnnounceError),
    /// A root cannot be read.
    #[error("snapshot {} cannot be read", root.short())]
    Root {
        /// Which one.
        root: RootId,
        /// Why.
        #[source]
        fault: Fault,
    },
    /// Something that a root refers to cannot be read or is not there.
    #[error("snapshot {} is not whole", root.short())]
    Unreadable {
        /// The root.
        root: RootId,
        /// What of it.
        #[source]
        fault: Fault,
    },
    /// Packs in use are gone.
    #[error("{} packs that are in use are missing: {}", packs.len(), names(packs))]
    PacksMissing {
        /// Which ones.
        packs: Vec<PackName>,
    },
    /// A pack in use has another size than its chunks add up to.
    #[error("pack {pack} has {listed_bytes} bytes where its index says {indexed_bytes}")]
    PackSize {
        /// Which one.
        pack: PackName,
        /// In the store.
        listed_bytes: u64,
        /// By its index.
        indexed_bytes: u64,
    },
    /// Another program rewrote the index meanwhile.
    #[error("another program has rewritten the index while this one was at work")]
    Overtaken,
    /// It could not be done.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<mark::Ended> for ReclaimError {
    fn from(mark::Ended { root, fault }: mark::Ended) -> Self {
        match fault {
            Fault::Cancelled | Fault::Aside(_) => Self::Fault(fault),
            fault => Self::Unreadable { root, fault },
        }
    }
}

impl ReclaimError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Announce(error) => error.class(),
            Self::Root { fault, .. } | Self::Unreadable { fault, .. } | Self::Fault(fault) => {
                fault.class()
            }
            Self::PacksMissing { .. } | Self::PackSize { .. } => Class::Damaged,
            Self::Overtaken => Class::Retry,
        }
    }

    /// What a person can do next.
    #[must_use]
    pub fn advice(&self) -> &str {
        match self {
            Self::Announce(AnnounceError::Fault(fault)) | Self::Fault(fault) => fault.advice(),
            Self::Announce(_) => "",
            Self::Root { .. } | Self::Unreadable { .. } => {
                "nothing was removed; run `check`, and repair or forget that snapshot first"
            }
            Self::PacksMissing { .. } | Self::PackSize { .. } => {
                "nothing was removed; run `check` and `repair index` first"
            }
            Self::Overtaken => "nothing was removed; run it again",
        }
    }
}

fn names(packs: &[PackName]) -> String {
    const MOST: usize = 5;
    let shown: Vec<String> = packs.iter().take(MOST).map(ToString::to_string).collect();
    let more = if packs.len() > MOST { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

/// Cleans up. `forecast` is told what is going to happen before it does.
pub async fn run(
    repository: &Repository,
    options: &Options,
    monitor: Arc<dyn Monitor>,
    cancel: &Cancel,
    forecast: impl FnOnce(&Forecast),
) -> Result<Report, ReclaimError> {
    // A child: a lock that is lost stops this attempt and nothing else.
    let attempt = cancel.child();
    match clean_up(repository, options, monitor, &attempt, forecast).await {
        Err(error) if error.class() == Class::Cancelled && !cancel.is_cancelled() => {
            Err(Fault::LockLost.into())
        }
        result => result,
    }
}

async fn clean_up(
    repository: &Repository,
    options: &Options,
    monitor: Arc<dyn Monitor>,
    cancel: &Cancel,
    forecast: impl FnOnce(&Forecast),
) -> Result<Report, ReclaimError> {
    let mut patience =
        Patience::new(options.announcement.patience).told(options.announcement.listener.clone());
    let (presence, known) = loop {
        match begin(repository, options, &mut patience, &monitor, cancel).await {
            Err(ReclaimError::Announce(error)) => patience.outlast(error, cancel).await?,
            begun => break begun?,
        }
    };
    let prepared = prepare(repository, options, &presence, known, &monitor, cancel, forecast).await;
    presence.release().await?;
    let (report, commit) = prepared?;
    let Some(commit) = commit else { return Ok(report) };
    monitor.event(Event::Phase(Phase::Lock));
    let presence = announce(repository, options, Access::Exclusive, cancel).await?;
    let committed = commit.run(repository, &presence, report, &monitor, cancel).await;
    // Whatever was removed, what was loaded before is not to be relied on.
    repository.forget_index().await;
    presence.release().await?;
    committed
}

async fn announce(
    repository: &Repository,
    options: &Options,
    access: Access,
    cancel: &Cancel,
) -> Result<Presence, ReclaimError> {
    let announcement = Announcement { access, ..options.announcement.clone() };
    Ok(repository.protocol().announce(&announcement, cancel).await?)
}

/// What a plan is made from.
struct Known {
    roots: Vec<(RootId, Root)>,
    catalogue: Arc<Catalogue>,
    /// Where directories are.
    directories: Arc<Index>,
}

/// Announces it, and reads what a plan is made from while that settles. Where it does not, because
/// somebody is in the way or was and has replaced what was read, that is the error.
async fn begin(
    repository: &Repository,
    options: &Options,
    patience: &mut Patience,
    monitor: &Arc<dyn Monitor>,
    cancel: &Cancel,
) -> Result<(Presence, Known), ReclaimError> {
    let protocol = repository.protocol();
    let pending = match options.dry_run && options.unannounced {
        true => Pending::Silent,
        false => {
            let access = Access::Shared;
            let announcement = Announcement { access, ..options.announcement.clone() };
            protocol.announce_early(&announcement, patience, cancel).await?
        }
    };
    let known = read(repository, options, monitor, cancel).await;
    let segments = known.as_ref().map(|known| known.catalogue.read_from()).unwrap_or_default();
    let presence = protocol.settle(pending, &segments, cancel).await?;
    match known {
        Ok(known) => Ok((presence, known)),
        Err(error) => {
            presence.release().await?;
            // It was listed: whoever removed it had begun before us, and has gone.
            if let ReclaimError::Fault(Fault::Store(gone)) = &error
                && gone.failure == Failure::NotFound
            {
                return Err(AnnounceError::Overtaken.into());
            }
            Err(error)
        }
    }
}

async fn read(
    repository: &Repository,
    options: &Options,
    monitor: &Arc<dyn Monitor>,
    cancel: &Cancel,
) -> Result<Known, ReclaimError> {
    let roots = readable_roots(repository, &options.without).await?;
    monitor.event(Event::Phase(Phase::Index));
    let (catalogue, directories) = catalogue::load(repository, cancel).await?;
    Ok(Known { roots, catalogue, directories })
}

/// Everything that others need not be kept out for.
async fn prepare(
    repository: &Repository,
    options: &Options,
    presence: &Presence,
    known: Known,
    monitor: &Arc<dyn Monitor>,
    cancel: &Cancel,
    forecast: impl FnOnce(&Forecast),
) -> Result<(Report, Option<Commit>), ReclaimError> {
    let Known { roots, catalogue, directories } = known;
    monitor.event(Event::Phase(Phase::Scan));
    let threads = repository.environment().resources.cpus.max(2);
    let reader = repository.reader_of(Arc::clone(&directories));
    let known: HashSet<RootId> = roots.iter().map(|(id, _)| id.clone()).collect();
    let used = blocking({
        let (catalogue, cancel) = (Arc::clone(&catalogue), cancel.clone());
        move || {
            let used = RowSet::new(catalogue.len());
            let seen = InUse { catalogue: &catalogue, used: &used };
            mark::run(&reader, &roots, &seen, threads, &cancel)?;
            Ok(used)
        }
    })
    .await?;
    let (plan, survey) = make_plan(repository, options, &catalogue, &used).await?;
    drop(used);
    forecast(&plan.forecast);
    let mut report = Report { forecast: plan.forecast, ..Report::default() };
    if options.dry_run {
        return Ok((report, None));
    }
    let Plan { repack, mut remove, missing, unreferenced, prove, .. } = plan;
    let survey = Arc::new(survey);
    let mut moved_into = Vec::new();
    if !repack.is_empty() || !prove.packs.is_empty() {
        monitor.event(Event::Phase(Phase::Transfer));
        let mut stays: Vec<bool> =
            survey.packs.iter().map(|pack| pack.listed_bytes.is_some()).collect();
        remove.iter().chain(&repack).for_each(|pack| stays[*pack] = false);
        let source = Source {
            store: repository.store().clone(),
            dialect: repository.dialect().clone(),
            catalogue: Arc::clone(&catalogue),
            runtime: Handle::current(),
        };
        let rewriter = Rewriter {
            source,
            survey: Arc::clone(&survey),
            prove,
            packs: repack.clone(),
            stays,
            compress_all: options.limits.uncompressed,
            until: options.most_time.map(|time| Instant::now() + time),
            monitor: Arc::clone(monitor),
        };
        let pack_bytes = options.pack_bytes;
        let moved = rewriter.run(repository, presence, pack_bytes, threads, cancel).await?;
        report.packs_postponed = (repack.len() - moved.done.len()) as u64;
        let done: HashSet<usize> = moved.done.iter().copied().collect();
        let postponed = repack.into_iter().filter(|pack| !done.contains(pack));
        remove.extend(moved.done);
        let spared = plan::copies_of(&catalogue, &survey, postponed)?;
        remove.retain(|pack| !spared.contains(pack));
        moved_into = moved.into.packs;
    }
    // A pack in use that every segment hides from others has to come out of hiding.
    let hidden = survey.packs.iter().any(|pack| pack.marked && pack.used_chunks > 0);
    if remove.is_empty() && missing.is_empty() && unreferenced.is_empty() && !hidden {
        return Ok((report, None));
    }
    let commit = Commit {
        catalogue,
        survey,
        directories,
        known,
        remove,
        missing,
        unreferenced,
        moved_into,
        recover_space: options.recover_space,
    };
    Ok((report, Some(commit)))
}

async fn make_plan(
    repository: &Repository,
    options: &Options,
    catalogue: &Catalogue,
    used: &RowSet,
) -> Result<(Plan, Survey), ReclaimError> {
    let dialect = repository.dialect();
    let numbers: HashMap<&PackName, usize> =
        catalogue.packs.iter().enumerate().map(|(number, pack)| (&pack.name, number)).collect();
    let mut listed = vec![None; catalogue.packs.len()];
    let mut unreferenced = Vec::new();
    for (name, bytes) in repository.protocol().list_packs().await? {
        match numbers.get(&name) {
            Some(number) => listed[*number] = Some(bytes),
            None => unreferenced.push((name, bytes)),
        }
    }
    unreferenced.sort();
    drop(numbers);
    let survey = survey::run(catalogue, used, &listed, dialect)?;
    let can_compress = dialect.uncompressed_bytes(0).is_some();
    let plan = plan::decide(
        catalogue,
        &survey,
        unreferenced,
        &options.limits,
        options.pack_bytes,
        can_compress,
    )?;
    Ok((plan, survey))
}

/// All roots; that one cannot be read is an error.
async fn readable_roots(
    repository: &Repository,
    without: &[RootId],
) -> Result<Vec<(RootId, Root)>, ReclaimError> {
    let listed = repository.protocol().list_roots().await?;
    let wanted = listed.into_iter().filter(|(id, _)| !without.contains(id));
    wanted
        .map(|(id, root)| match root {
            Ok(root) => Ok((id, root)),
            Err(fault) => Err(ReclaimError::Root { root: id, fault }),
        })
        .collect()
}

/// Books what is in use in a set of rows.
struct InUse<'a> {
    catalogue: &'a Catalogue,
    used: &'a RowSet,
}

impl InUse<'_> {
    fn insert(&self, key: &ChunkKey) -> Result<bool, Fault> {
        let row = self.catalogue.first(key)?.ok_or(Fault::Missing { key: *key })?;
        Ok(self.used.insert(row))
    }
}

impl Uses for InUse<'_> {
    fn directory(&self, key: &ChunkKey) -> Result<bool, Fault> {
        self.insert(key)
    }

    fn entry(&self, _in: &ChunkKey, _entry: &Entry, chunks: &[ChunkKey]) -> Result<(), Fault> {
        chunks.iter().try_for_each(|chunk| self.insert(chunk).map(drop))
    }

    fn problem(&self, _root: &RootId, _in: &ChunkKey, fault: Fault) -> ControlFlow<Fault> {
        ControlFlow::Break(fault)
    }
}

/// Runs what blocks on a thread that may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReclaimError> + Send + 'static,
) -> Result<T, ReclaimError> {
    let result = tokio::task::spawn_blocking(work).await;
    result.unwrap_or_else(|_panic| Err(Fault::Bug("cleaning up panicked").into()))
}
