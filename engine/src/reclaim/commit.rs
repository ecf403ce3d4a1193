//! The end of cleaning up, done alone: look again, then let go.
//!
//! Invariants
//! - Every root that came since the plan was made is walked. What it needs from a pack that was to
//!   go keeps that pack, unless another place of it was proved.
//! - All segments that the plan was made from are still there, or nothing is removed: whoever
//!   removed one may have moved chunks elsewhere and removed packs. The segments that came since
//!   name every pack that chunks were moved into, and none that goes.
//! - Segments are rewritten where they name a pack that goes, are not full, or hide a pack that is
//!   in use; all others stay as they are.

use std::{
    collections::{BTreeSet, HashSet},
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    ReclaimError, Report, blocking,
    survey::{Holds, Survey},
};
use crate::{
    cancel::Cancel,
    catalogue::{Builder, Catalogue, RowSet},
    fault::Fault,
    index::Index,
    mark::{self, Uses},
    model::{
        chunk::{ChunkKey, Role},
        directory::Entry,
        pack::{Lane, PackInfo, PackName},
        root::RootId,
    },
    monitor::{Event, Monitor, Phase},
    protocol::{Presence, reclaim::NamedPack},
    repository::Repository,
    store::Key,
};

/// Chunks of a segment that counts as full.
const FULL_SEGMENT: usize = 50_000;

/// What is to go.
pub(super) struct Commit {
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) survey: Arc<Survey>,
    pub(super) directories: Arc<Index>,
    /// The roots that the plan knew.
    pub(super) known: HashSet<RootId>,
    /// Packs without anything in use that was not moved.
    pub(super) remove: Vec<usize>,
    /// Packs that are gone and only named.
    pub(super) missing: Vec<usize>,
    /// Packs that no index named when it was planned.
    pub(super) unreferenced: Vec<PackName>,
    /// Packs that chunks in use were moved into.
    pub(super) moved_into: Vec<PackName>,
    /// Whether segments go before others stand for them.
    pub(super) recover_space: bool,
}

/// What segments that came since say.
#[derive(Debug)]
struct Fresh {
    /// Places of chunks in packs that stay.
    catalogue: Arc<Catalogue>,
    packs: HashSet<PackName>,
    /// Packs that other programs are about to remove. They count as named, not as a place.
    marked: HashSet<PackName>,
}

impl Fresh {
    fn names(&self, pack: &PackName) -> bool {
        self.packs.contains(pack) || self.marked.contains(pack)
    }
}

impl Commit {
    pub(super) async fn run(
        mut self,
        repository: &Repository,
        presence: &Presence,
        mut report: Report,
        monitor: &Arc<dyn Monitor>,
        cancel: &Cancel,
    ) -> Result<Report, ReclaimError> {
        let right = presence.delete_right()?;
        let fresh = self.look_again(repository).await?;
        let rescued = self.mark_new(repository, &fresh, cancel).await?;
        report.packs_rescued = rescued.len() as u64;
        self.remove.retain(|pack| !rescued.contains(pack));
        self.unreferenced.retain(|name| !fresh.names(name));
        monitor.event(Event::Phase(Phase::Publish));
        let protocol = repository.protocol();
        let (old, stay) = self.segments();
        let infos = || stay.iter().map(|pack| self.pack_info(*pack));
        // What may have to be read from a file is read before anything is gone.
        let held: Vec<PackInfo> = match self.recover_space {
            true => infos().collect::<Result<_, _>>()?,
            false => Vec::new(),
        };
        let names = self.remove.iter().map(|pack| self.catalogue.packs[*pack].name.clone());
        let names = names.chain(self.unreferenced.iter().cloned()).collect();
        let replaced = match self.recover_space {
            true => protocol.abandon_segments(old),
            false => protocol.replace_segments(presence, infos(), old).await?,
        };
        let unnamed = protocol.drop_segments(&right, replaced, names, cancel).await?;
        let dropped = protocol.drop_packs(&right, unnamed, cancel, |pack, result| match result {
            Ok(()) => report.packs_removed += 1,
            Err(fault) => report.packs_left.push((pack, fault)),
        });
        let dropped = dropped.await;
        if self.recover_space {
            // Cancelled or not: without them there is no index.
            let written = protocol.replace_segments(presence, held.into_iter().map(Ok), Vec::new());
            let _nothing_to_drop = written.await?;
        }
        dropped?;
        Ok(report)
    }

    /// Reads segments that came since, into the index of directories too.
    async fn look_again(&self, repository: &Repository) -> Result<Fresh, ReclaimError> {
        let (protocol, dialect) = (repository.protocol(), repository.dialect());
        let listed: HashSet<Key> = protocol.list_segments().await?.into_iter().collect();
        let known: HashSet<&Key> =
            self.catalogue.segments.iter().map(|segment| &segment.key).collect();
        if known.iter().any(|key| !listed.contains(*key)) {
            return Err(ReclaimError::Overtaken);
        }
        let new: Vec<Key> = listed.iter().filter(|key| !known.contains(*key)).cloned().collect();
        let (mut builder, mut marked_packs) = (Builder::new(repository), HashSet::new());
        let mut add = |key: &Key, packs: Result<Vec<NamedPack>, Fault>| {
            let (marked, packs): (Vec<_>, Vec<_>) = packs?.into_iter().partition(|it| it.marked);
            marked_packs.extend(marked.into_iter().map(|pack| pack.info.name));
            for NamedPack { info, .. } in &packs {
                let number = self.directories.add_pack(info.name.clone(), info.chunks_end());
                let directories =
                    info.chunks.iter().filter(|chunk| dialect.role(&chunk.key) != Role::File);
                directories.for_each(|it| self.directories.insert(it.key, it.at(number)));
            }
            builder.add(key, packs)
        };
        protocol.read_segments(new, &mut add).await?;
        let catalogue = Arc::new(builder.finish()?);
        let packs = catalogue.packs.iter().map(|pack| pack.name.clone()).collect();
        let fresh = Fresh { catalogue, packs, marked: marked_packs };
        // A segment may name again a pack that is to go: what it says of it will not be true.
        for pack in self.remove.iter().chain(&self.missing) {
            if fresh.names(&self.catalogue.packs[*pack].name) {
                return Err(ReclaimError::Overtaken);
            }
        }
        // Somebody who cleaned up meanwhile may have taken the copies for the ones to spare.
        if self.moved_into.iter().any(|pack| !fresh.packs.contains(pack)) {
            return Err(ReclaimError::Overtaken);
        }
        Ok(fresh)
    }

    /// Walks roots that came since; the packs they need that were to go.
    async fn mark_new(
        &self,
        repository: &Repository,
        fresh: &Fresh,
        cancel: &Cancel,
    ) -> Result<HashSet<usize>, ReclaimError> {
        let mut roots = Vec::new();
        for (id, root) in repository.protocol().list_roots().await? {
            if !self.known.contains(&id) {
                let root = root.map_err(|fault| ReclaimError::Root { root: id.clone(), fault })?;
                roots.push((id, root));
            }
        }
        if roots.is_empty() {
            return Ok(HashSet::new());
        }
        let mut goes = vec![false; self.catalogue.packs.len()];
        self.remove.iter().chain(&self.missing).for_each(|pack| goes[*pack] = true);
        let reader = repository.reader_of(Arc::clone(&self.directories));
        let needs = Needs {
            catalogue: Arc::clone(&self.catalogue),
            survey: Arc::clone(&self.survey),
            fresh: Arc::clone(&fresh.catalogue),
            goes,
            missing: self.missing.iter().copied().collect(),
            seen: RowSet::new(self.catalogue.len()),
            seen_fresh: RowSet::new(fresh.catalogue.len()),
            rescued: Mutex::default(),
        };
        let (threads, cancel) = (repository.environment().resources.cpus.max(2), cancel.clone());
        blocking(move || {
            mark::run(&reader, &roots, &needs, threads, &cancel)?;
            Ok(needs.rescued.into_inner().unwrap_or_else(PoisonError::into_inner))
        })
        .await
    }

    /// The segments that go, and the packs they name that stay.
    fn segments(&self) -> (Vec<Key>, Vec<usize>) {
        let catalogue = &self.catalogue;
        let mut goes = vec![false; catalogue.packs.len()];
        self.remove.iter().chain(&self.missing).for_each(|pack| goes[*pack] = true);
        let hidden = |pack: usize| {
            catalogue.packs[pack].ever_marked && self.survey.packs[pack].used_chunks > 0
        };
        let affected = |pack: &u32| goes[*pack as usize] || hidden(*pack as usize);
        if !catalogue.segments.iter().any(|segment| segment.packs.iter().any(affected)) {
            return (Vec::new(), Vec::new());
        }
        let mut old = Vec::new();
        let mut stay = BTreeSet::new();
        for segment in &catalogue.segments {
            if segment.chunks >= FULL_SEGMENT && !segment.packs.iter().any(affected) {
                continue;
            }
            old.push(segment.key.clone());
            let packs = segment.packs.iter().map(|pack| *pack as usize);
            stay.extend(packs.filter(|pack| !goes[*pack]));
        }
        (old, stay.into_iter().collect())
    }

    fn pack_info(&self, pack: usize) -> Result<PackInfo, Fault> {
        let lane = match self.survey.packs[pack].holds {
            Holds::Only(lane) => lane,
            Holds::Mixed | Holds::Nothing => Lane::Data,
        };
        self.catalogue.pack_info(pack, lane)
    }
}

/// Sees what new roots need.
struct Needs {
    catalogue: Arc<Catalogue>,
    survey: Arc<Survey>,
    fresh: Arc<Catalogue>,
    goes: Vec<bool>,
    missing: HashSet<usize>,
    /// Directories that were looked into, and those of them that only the fresh segments know.
    seen: RowSet,
    seen_fresh: RowSet,
    rescued: Mutex<HashSet<usize>>,
}

impl Uses for Needs {
    fn directory(&self, key: &ChunkKey) -> Result<bool, Fault> {
        self.chunk(key)?;
        Ok(match (self.catalogue.first(key)?, self.fresh.first(key)?) {
            (Some(row), _) => self.seen.insert(row),
            (None, Some(row)) => self.seen_fresh.insert(row),
            (None, None) => return Err(Fault::Missing { key: *key }),
        })
    }

    fn entry(&self, _in: &ChunkKey, _entry: &Entry, chunks: &[ChunkKey]) -> Result<(), Fault> {
        chunks.iter().try_for_each(|chunk| self.chunk(chunk))
    }

    fn problem(&self, _root: &RootId, _in: &ChunkKey, fault: Fault) -> ControlFlow<Fault> {
        ControlFlow::Break(fault)
    }
}

impl Needs {
    fn chunk(&self, key: &ChunkKey) -> Result<(), Fault> {
        if self.fresh.first(key)?.is_some() {
            return Ok(());
        }
        let places = self.catalogue.places(key)?;
        // What was in use before has a place that was proved, if it has one that stays.
        let proved = places.iter().any(|at| self.survey.chosen.contains(*at));
        let packs = places.into_iter().map(|at| self.catalogue.pack_of(at));
        let packs: Vec<usize> = packs.filter(|pack| !self.missing.contains(pack)).collect();
        if packs.is_empty() {
            return Err(Fault::Missing { key: *key });
        }
        let stays = packs.iter().any(|pack| !self.goes[*pack]);
        if let Some(goes) = packs.iter().find(|pack| self.goes[**pack])
            && !(stays && proved)
        {
            self.rescued.lock().unwrap_or_else(PoisonError::into_inner).insert(*goes);
        }
        Ok(())
    }
}
