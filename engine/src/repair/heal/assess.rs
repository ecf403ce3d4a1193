//! What is lost: chunks that a root needs and that can be read nowhere.
//!
//! Invariants: a chunk is lost when every place it is known at was tried; one that cannot be reached
//! ends it.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ops::ControlFlow,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::runtime::Handle;

use super::HealError;
use crate::{
    cancel::Cancel,
    catalogue::{self, Catalogue, RowSet},
    check::{self, Finding, PackError, Read},
    dialect::{Dialect, Scratch},
    fault::{Class, Fault},
    mark::{self, Uses},
    model::{
        chunk::ChunkKey,
        directory::Entry,
        pack::PackName,
        root::{Root, RootId},
    },
    monitor::Monitor,
    reader::Reader,
    repair::is_lost,
    repository::Repository,
    store::{Range, Store},
};

/// What was found.
pub(super) struct Assessment {
    pub(super) check: check::Report,
    pub(super) lost: BTreeSet<ChunkKey>,
}

pub(super) async fn run(
    repository: &Repository,
    read: Read,
    monitor: &Arc<dyn Monitor>,
    cancel: &Cancel,
) -> Result<Assessment, HealError> {
    let options = check::Options { read, ..check::Options::default() };
    let check = check::run(repository, &options, Arc::clone(monitor), cancel, |_| {}).await?;
    if check.index_is_damaged {
        return Err(HealError::DamagedIndex);
    }
    let (catalogue, directories) = catalogue::load(repository, cancel).await?;
    let doubtful = doubtful(&check.findings, &catalogue)?;
    if doubtful.is_empty() {
        return Ok(Assessment { check, lost: BTreeSet::new() });
    }
    let mut roots = Vec::new();
    for (id, root) in repository.protocol().list_roots().await? {
        match root {
            Ok(root) => roots.push((id, root)),
            Err(fault) if fault.class() == Class::Damaged => {}
            Err(fault) => return Err(fault.into()),
        }
    }
    let job = Job {
        store: repository.store().clone(),
        dialect: repository.dialect().clone(),
        reader: repository.reader_of(directories),
        runtime: Handle::current(),
        catalogue,
        threads: repository.environment().resources.cpus.max(2),
        cancel: cancel.clone(),
    };
    let lost = tokio::task::spawn_blocking(move || job.run(doubtful, &roots)).await;
    let lost = lost.map_err(|_panic| Fault::Bug("looking for what is lost panicked"))??;
    Ok(Assessment { check, lost })
}

/// What a check has reason to doubt.
fn doubtful(findings: &[Finding], catalogue: &Catalogue) -> Result<BTreeSet<ChunkKey>, Fault> {
    let numbers: HashMap<&PackName, usize> =
        catalogue.packs.iter().enumerate().map(|(at, pack)| (&pack.name, at)).collect();
    let mut doubtful = BTreeSet::new();
    let mut all_of = |pack: &PackName| -> Result<(), Fault> {
        if let Some(number) = numbers.get(pack) {
            doubtful.extend(catalogue.rows_of(*number)?.iter().map(|(_, row)| row.key()));
        }
        Ok(())
    };
    for finding in findings {
        match finding {
            Finding::PackMissing(pack)
            | Finding::Contradiction(pack)
            | Finding::PackSize { pack, .. }
            | Finding::PackUnread { pack, .. } => all_of(pack)?,
            _ => {}
        }
    }
    for finding in findings {
        match finding {
            Finding::ChunkMissing { chunk, .. } => {
                doubtful.insert(*chunk);
            }
            Finding::Directory { directory, .. } => {
                doubtful.insert(*directory);
            }
            Finding::Pack { errors, .. } => {
                doubtful.extend(errors.iter().filter_map(|error| match error {
                    PackError::Chunk { chunk, .. } => Some(*chunk),
                    _ => None,
                }))
            }
            _ => {}
        }
    }
    Ok(doubtful)
}

struct Job {
    store: Store,
    dialect: Dialect,
    reader: Reader,
    runtime: Handle,
    catalogue: Arc<Catalogue>,
    threads: usize,
    cancel: Cancel,
}

impl Job {
    fn run(
        &self,
        doubtful: BTreeSet<ChunkKey>,
        roots: &[(RootId, Root)],
    ) -> Result<BTreeSet<ChunkKey>, Fault> {
        let lost = self.unreadable(&doubtful.into_iter().collect::<Vec<_>>())?;
        if lost.is_empty() {
            return Ok(BTreeSet::new());
        }
        let needs = Needs {
            catalogue: &self.catalogue,
            seen: RowSet::new(self.catalogue.len()),
            lost: &lost,
            unknown: Mutex::default(),
            needed: Mutex::default(),
        };
        let walked = mark::run(&self.reader, roots, &needs, self.threads, &self.cancel);
        walked.map_err(|ended| ended.fault)?;
        Ok(needs.needed.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Those of these chunks that can be read nowhere.
    fn unreadable(&self, chunks: &[ChunkKey]) -> Result<HashSet<ChunkKey>, Fault> {
        let next = AtomicUsize::new(0);
        let lost = Mutex::new(HashSet::new());
        let work = || -> Result<(), Fault> {
            let mut scratch = self.dialect.scratch()?;
            while let Some(chunk) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
                if self.cancel.is_cancelled() {
                    return Err(Fault::Cancelled);
                }
                if !self.is_readable(chunk, &mut scratch)? {
                    lost.lock().unwrap_or_else(PoisonError::into_inner).insert(*chunk);
                }
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads).map(|_| scope.spawn(work)).collect();
            let joined = threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or(Err(Fault::Bug("reading chunks panicked"))));
            joined.collect::<Result<(), Fault>>()
        })?;
        Ok(lost.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_readable(&self, chunk: &ChunkKey, scratch: &mut Scratch) -> Result<bool, Fault> {
        for at in self.catalogue.places(chunk)? {
            let row = self.catalogue.row(at)?;
            let place = row.location();
            let key = self.dialect.pack_key(&self.catalogue.packs[row.pack()].name);
            let range = Range::At { start: place.offset.into(), len: place.stored_bytes.into() };
            match self.store.read_blocking(&self.runtime, &key, range).map_err(Fault::from) {
                Ok(stored) => {
                    let mut plain = Vec::new();
                    if self.dialect.unseal(chunk, &place, &stored, scratch, &mut plain).is_ok() {
                        return Ok(true);
                    }
                }
                Err(fault) if is_lost(&fault) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(false)
    }
}

/// Sees which lost chunks roots need.
struct Needs<'a> {
    catalogue: &'a Catalogue,
    seen: RowSet,
    lost: &'a HashSet<ChunkKey>,
    unknown: Mutex<HashSet<ChunkKey>>,
    needed: Mutex<BTreeSet<ChunkKey>>,
}

impl Needs<'_> {
    fn need(&self, chunk: &ChunkKey) {
        if self.lost.contains(chunk) {
            self.needed.lock().unwrap_or_else(PoisonError::into_inner).insert(*chunk);
        }
    }
}

impl Uses for Needs<'_> {
    fn directory(&self, key: &ChunkKey) -> Result<bool, Fault> {
        self.need(key);
        let fresh = match self.catalogue.first(key)? {
            Some(row) => self.seen.insert(row),
            None => self.unknown.lock().unwrap_or_else(PoisonError::into_inner).insert(*key),
        };
        Ok(fresh && !self.lost.contains(key))
    }

    fn entry(&self, _in: &ChunkKey, _entry: &Entry, chunks: &[ChunkKey]) -> Result<(), Fault> {
        chunks.iter().for_each(|chunk| self.need(chunk));
        Ok(())
    }

    fn problem(&self, _root: &RootId, _in: &ChunkKey, fault: Fault) -> ControlFlow<Fault> {
        match fault.class() {
            Class::Damaged => ControlFlow::Continue(()),
            _ => ControlFlow::Break(fault),
        }
    }
}
