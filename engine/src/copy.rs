//! Roots from one repository into another, with all that they refer to.
//!
//! ```text
//!  walkers (CPUs, at least 2)           carriers (CPUs or connections)     runtime
//! ┌──────────────────────────────┐     ┌─────────────────────────────┐    ┌───────────────────┐
//! │ directory → claim what it    │────►│ read spans → open → prove → │───►│ commit → publish  │
//! │ needs in the target → window │ few │ seal → pack                 │ 2  │ → roots of a batch│
//! └──────────────────────────────┘     └─────────────────────────────┘    └───────────────────┘
//! ```
//!
//! Invariants
//! - A chunk is carried over as its plaintext, hashed on the way: what is not what its key says is
//!   looked for in every other place it is known at, and where none is good nothing that needs it
//!   is committed.
//! - A root is committed after the index that names all it needs; roots in batches, so that a run
//!   that is killed has to do little again. What is there already is not carried again.
//! - In flight are a few windows and, for each carrier, one span and its plaintext: memory does not
//!   depend on the size of a root.
//! - Nothing is written to the source.
//!
//! Not here: cutting anything anew. Where the two repositories cut differently they share nothing
//! but what was copied.

mod windows;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

use self::windows::Collector;
use crate::{
    cancel::Cancel,
    carry::{Carrier, Sealing, Source},
    catalogue::{self, RowSet},
    deposit::{self, Added, Deposit, Landed, Terms},
    fault::{self, Class, Fault},
    index::Index,
    mark,
    model::root::{Root, RootId},
    monitor::{Event, Monitor, Phase},
    protocol::Presence,
    reader::Reader,
    repository::Repository,
    resources::Resources,
};

/// Packs' worth of data after which the roots of a batch are committed.
const BATCH_PACKS: u64 = 100;

/// A batch goes on for at least this long, so that many small roots share an index segment.
const BATCH_TIME: Duration = Duration::from_secs(60);

/// Most carriers; more requests at once are of no use.
const MOST_CARRIERS: usize = 32;

/// What to copy.
#[derive(Clone, Debug)]
pub struct Options {
    /// These roots of the source, in this order.
    pub roots: Vec<(RootId, Root)>,
    /// Size of new packs.
    pub pack_bytes: u64,
}

/// What happens, for whoever watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// The target has this root already, under that name.
    There {
        /// The root in the source.
        source: &'a RootId,
        /// Its name in the target.
        target: &'a RootId,
    },
    /// A root is being copied.
    Began {
        /// The root in the source.
        source: &'a RootId,
    },
    /// All that it needs was found.
    Found {
        /// Chunks that the target does not have.
        chunks: u64,
        /// What they take in the source.
        stored_bytes: u64,
    },
    /// A root is in the target.
    Stored {
        /// The root in the source.
        source: &'a RootId,
        /// Its name in the target.
        target: &'a RootId,
    },
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Roots that were copied, and their new names.
    pub copied: Vec<(RootId, RootId)>,
    /// Roots that were there, and under which name.
    pub there: Vec<(RootId, RootId)>,
    /// Chunks that were stored.
    pub chunks: u64,
    /// What they take in the target.
    pub stored_bytes: u64,
}

/// Why it did not come to its end. Roots that were told as stored stay.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A root of the target cannot be read, so that nobody can tell whether it is one of these.
    #[error("snapshot {} of the target cannot be read", root.short())]
    TargetRoot {
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
    /// The formats name chunks differently.
    #[error("repositories of different formats cannot be copied into each other")]
    OtherFormat,
    /// It could not be done.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<mark::Ended> for CopyError {
    fn from(mark::Ended { root, fault }: mark::Ended) -> Self {
        match fault {
            Fault::Cancelled => Self::Fault(fault),
            fault => Self::Unreadable { root, fault },
        }
    }
}

impl CopyError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::TargetRoot { fault, .. }
            | Self::Unreadable { fault, .. }
            | Self::Fault(fault) => fault.class(),
            Self::OtherFormat => Class::WrongInput,
        }
    }

    /// What a person can do next.
    #[must_use]
    pub fn advice(&self) -> &str {
        match self {
            Self::Unreadable { fault, .. } => match fault.class() {
                Class::Damaged => {
                    "what was copied is kept: check the source, or name the other snapshots"
                }
                _ => fault.advice(),
            },
            Self::TargetRoot { fault, .. } | Self::Fault(fault) => fault.advice(),
            Self::OtherFormat => "restore from the one and back up into the other",
        }
    }
}

/// Copies. The presence is one in `target`; in `source` somebody has to see to it that nothing is
/// removed meanwhile.
pub async fn run(
    source: &Repository,
    target: &Repository,
    options: &Options,
    presence: &Presence,
    monitor: Arc<dyn Monitor>,
    cancel: &Cancel,
    step: Arc<dyn Fn(Step<'_>) + Send + Sync>,
) -> Result<Report, CopyError> {
    if !target.dialect().names_chunks_as(source.dialect()) {
        return Err(CopyError::OtherFormat);
    }
    let mut report = Report::default();
    let known = readable_roots(target).await?;
    let mut roots = Vec::new();
    for (id, root) in &options.roots {
        match known.iter().find(|(other, it)| is_same((id, root), (other, it))) {
            Some((there, _)) => {
                step(Step::There { source: id, target: there });
                report.there.push((id.clone(), there.clone()));
            }
            None => roots.push((id.clone(), root.clone())),
        }
    }
    drop(known);
    if roots.is_empty() {
        return Ok(report);
    }
    monitor.event(Event::Phase(Phase::Index));
    let (catalogue, directories) = catalogue::load(source, cancel).await?;
    let in_target = target.index_to_write(None).await?.index;
    monitor.event(Event::Phase(Phase::Transfer));
    let resources = &target.environment().resources;
    let threads = resources.cpus.max(2);
    let (store, dialect) = (source.store().clone(), source.dialect().clone());
    let reader = source.reader_of(directories);
    let connections = store.capabilities().connections;
    let job = Job {
        seen: RowSet::new(catalogue.len()),
        source: Source { store, dialect, catalogue, runtime: Handle::current() },
        in_target,
        reader,
        threads,
        carriers: carriers(resources, connections),
        batch_bytes: options.pack_bytes.saturating_mul(BATCH_PACKS),
        monitor,
        step: Arc::clone(&step),
    };
    let terms = Terms { presence: Some(presence), pack_bytes: options.pack_bytes, threads, cancel };
    let copied = Mutex::new(Vec::new());
    let work = move |deposit: &Deposit<Vec<RootId>>| job.run(&roots, deposit);
    let end = async |batch: Vec<RootId>, Landed { mut published, .. }: Landed| {
        for id in batch {
            let protocol = target.protocol();
            let told = std::mem::take(&mut published);
            let new = protocol.adopt_root(presence, told, source.protocol(), &id).await?;
            step(Step::Stored { source: &id, target: &new });
            copied.lock().unwrap_or_else(PoisonError::into_inner).push((id, new));
        }
        Ok(())
    };
    let done = deposit::run(target, terms, work, end).await;
    target.forget_index().await;
    let Added { chunks, stored_bytes } = done?;
    let copied = copied.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Report { copied, chunks, stored_bytes, ..report })
}

/// How many threads carry: as many as there are requests worth having under way, as far as there
/// is memory for what each holds.
fn carriers(resources: &Resources, connections: usize) -> usize {
    let memory = resources.buffers() / windows::MOST_HELD_BYTES;
    connections.max(resources.cpus).min(memory).clamp(2, MOST_CARRIERS)
}

/// All roots; that one cannot be read is an error.
async fn readable_roots(repository: &Repository) -> Result<Vec<(RootId, Root)>, CopyError> {
    let listed = repository.protocol().list_roots().await?;
    let readable = listed.into_iter().map(|(id, root)| match root {
        Ok(root) => Ok((id, root)),
        Err(fault) => Err(CopyError::TargetRoot { root: id, fault }),
    });
    readable.collect()
}

/// Whether a root of the target is a copy of one in the source, or the other way round, and still
/// says the same.
fn is_same(source: (&RootId, &Root), target: (&RootId, &Root)) -> bool {
    let first = source.1.original.as_ref().unwrap_or(source.0);
    let related = target.0 == first || target.1.original.as_ref() == Some(first);
    related && is_similar(source.1, target.1)
}

/// Whether two roots differ in nothing but what they were made from.
fn is_similar(one: &Root, other: &Root) -> bool {
    let holds = |all: &[String], some: &[String]| some.iter().all(|text| all.contains(text));
    one.time.instant() == other.time.instant()
        && one.tree == other.tree
        && one.hostname == other.hostname
        && one.username == other.username
        && (one.uid, one.gid) == (other.uid, other.gid)
        && one.excludes == other.excludes
        && one.paths.len() == other.paths.len()
        && holds(&other.paths, &one.paths)
        && one.tags.len() == other.tags.len()
        && holds(&other.tags, &one.tags)
}

/// What the threads work on.
struct Job {
    source: Source,
    /// Directories and pieces of files that were looked at.
    seen: RowSet,
    in_target: Arc<Index>,
    reader: Reader,
    threads: usize,
    carriers: usize,
    batch_bytes: u64,
    monitor: Arc<dyn Monitor>,
    step: Arc<dyn Fn(Step<'_>) + Send + Sync>,
}

impl Job {
    fn run(
        &self,
        roots: &[(RootId, Root)],
        deposit: &Deposit<Vec<RootId>>,
    ) -> Result<Added, CopyError> {
        let mut added = Added::default();
        let mut roots = roots.iter().peekable();
        while roots.peek().is_some() {
            let (batch, more) = self.batch(&mut roots, deposit)?;
            added += more;
            deposit.end_batch(batch)?;
        }
        Ok(added)
    }

    /// Carries what the next few roots need.
    fn batch<'r>(
        &self,
        roots: &mut impl Iterator<Item = &'r (RootId, Root)>,
        deposit: &Deposit<Vec<RootId>>,
    ) -> Result<(Vec<RootId>, Added), CopyError> {
        let Self { source, seen, in_target, reader, threads, carriers, monitor, .. } = self;
        let carrier = Carrier { source, deposit, sealing: Sealing::Anew, monitor: &**monitor };
        std::thread::scope(|scope| {
            let (collector, windows) = Collector::new(source, seen, in_target, *carriers);
            let carriers: Vec<_> = (0..*carriers)
                .map(|_| {
                    let (windows, carrier) = (Arc::clone(&windows), &carrier);
                    scope.spawn(move || windows::work(carrier, &windows))
                })
                .collect();
            drop(windows);
            let walked = self.walk(roots, &collector, reader, *threads, deposit);
            let walked = walked.and_then(|batch| {
                collector.send_rest()?;
                Ok(batch)
            });
            drop(collector);
            let carried = fault::together(carriers.into_iter().map(|carrier| {
                carrier.join().unwrap_or(Err(Fault::Bug("copying chunks panicked")))
            }));
            match (walked, carried) {
                (Err(CopyError::Fault(Fault::Cancelled)), Err(fault)) => Err(fault.into()),
                (Err(error), _) => Err(error),
                (Ok(_), Err(fault)) => Err(fault.into()),
                (Ok(batch), Ok(parts)) => {
                    let mut added = Added::default();
                    parts.into_iter().for_each(|part| added += part);
                    Ok((batch, added))
                }
            }
        })
    }

    fn walk<'r>(
        &self,
        roots: &mut impl Iterator<Item = &'r (RootId, Root)>,
        collector: &Collector<'_>,
        reader: &Reader,
        threads: usize,
        deposit: &Deposit<Vec<RootId>>,
    ) -> Result<Vec<RootId>, CopyError> {
        let began = Instant::now();
        let mut batch = Vec::new();
        let mut bytes = 0;
        while bytes < self.batch_bytes || began.elapsed() < BATCH_TIME {
            let Some(root) = roots.next() else { break };
            (self.step)(Step::Began { source: &root.0 });
            mark::run(reader, std::slice::from_ref(root), collector, threads, &deposit.stop)?;
            let found = collector.found();
            (self.step)(Step::Found { chunks: found.chunks, stored_bytes: found.stored_bytes });
            bytes += found.stored_bytes;
            batch.push(root.0.clone());
        }
        Ok(batch)
    }
}
