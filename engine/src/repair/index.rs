//! The index anew, as the packs that are there say it.
//!
//! ```text
//!  segments → packs listed → ends of packs that are unknown or of another size
//!           → what only the old index can find: into new packs → new segments → old ones go
//! ```
//!
//! Invariants
//! - Segments that cannot be read and packs that are gone leave the index; nothing leaves the store
//!   but index segments.
//! - A pack whose end cannot be read can be found by the old index alone: what is good in it is
//!   moved into a new pack before it leaves the index.
//! - A crash between any two steps leaves the old segments, the new ones, or both.

use std::collections::{HashMap, HashSet};

use super::{
    known, listed, read_ends,
    salvage::{self, Broken},
};
use crate::{
    cancel::Cancel,
    catalogue::Catalogue,
    dialect::Dialect,
    fault::Fault,
    model::{
        chunk::{ChunkKey, Role},
        pack::{Lane, PackInfo, PackName, PackedChunk},
    },
    protocol::Presence,
    repository::Repository,
    store::Key,
};

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Believe no segment: read the end of every pack.
    pub read_all: bool,
    /// Leave packs alone that no segment names.
    pub only_named: bool,
    /// Size of new packs.
    pub pack_bytes: u64,
}

/// What happens, for whoever watches.
#[derive(Debug)]
pub enum Step<'a> {
    /// Segments are read.
    Loading,
    /// A segment cannot be read, and goes.
    InvalidSegment(&'a Key, &'a Fault),
    /// Packs are listed.
    Listing,
    /// A pack that no segment names.
    Added(&'a PackName),
    /// A pack of another size than the index says, or of which segments say different things.
    Reread {
        /// Which one.
        pack: &'a PackName,
        /// In the store.
        listed_bytes: u64,
        /// By the index.
        indexed_bytes: u64,
    },
    /// A pack that is named and not there.
    NotFound(&'a PackName),
    /// The ends of packs are read.
    Reading {
        /// How many.
        packs: usize,
    },
    /// The end of a pack cannot be read: it stays in the store, outside the index.
    Incomplete(&'a PackName, &'a Fault),
    /// Chunks of such packs were moved into new ones.
    Salvaged {
        /// How many.
        chunks: u64,
    },
    /// The index is written.
    Rebuilding,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Segments that could not be read.
    pub segments_invalid: u64,
    /// Packs that were put into the index.
    pub packs_added: u64,
    /// Packs that are gone.
    pub packs_missing: u64,
    /// Packs in the store whose end cannot be read, sorted.
    pub packs_incomplete: Vec<PackName>,
    /// Chunks that only the old index could find, and that are in new packs now.
    pub chunks_salvaged: u64,
    /// Chunks the old index named in a pack that cannot be read there, and nowhere else.
    pub chunks_lost: Vec<ChunkKey>,
}

/// Rebuilds.
pub async fn run(
    repository: &Repository,
    options: &Options,
    presence: &Presence,
    cancel: &Cancel,
    step: &mut (dyn FnMut(Step<'_>) + Send),
) -> Result<Report, Fault> {
    let right = presence.delete_right()?;
    let mut report = Report::default();
    step(Step::Loading);
    let known = known(repository, cancel).await?;
    for (key, fault) in &known.damaged {
        step(Step::InvalidSegment(key, fault));
    }
    report.segments_invalid = known.damaged.len() as u64;
    let catalogue = known.catalogue;
    step(Step::Listing);
    let there = listed(repository, &catalogue).await?;
    let sorted = Sorted::new(&catalogue, there, options, repository, step)?;
    report.packs_missing = sorted.missing.len() as u64;
    let mut ends: HashMap<PackName, Vec<PackedChunk>> = HashMap::new();
    if !sorted.read.is_empty() {
        step(Step::Reading { packs: sorted.read.len() });
        let mut incomplete = Vec::new();
        let each = |name: PackName, bytes, end: Result<_, Fault>| match end {
            Ok(chunks) => {
                ends.insert(name, chunks);
            }
            Err(fault) => incomplete.push((name, bytes, fault)),
        };
        read_ends(repository, sorted.read.clone(), cancel, each).await?;
        incomplete.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        for (name, _, fault) in &incomplete {
            step(Step::Incomplete(name, fault));
        }
        let mut broken = Vec::new();
        for (name, bytes, _) in &incomplete {
            if let Some(chunks) = sorted.chunks_of(&catalogue, name)? {
                broken.push(Broken { name: name.clone(), listed_bytes: Some(*bytes), chunks });
            }
        }
        if !broken.is_empty() {
            let saved =
                salvage::run(repository, presence, broken, options.pack_bytes, cancel).await?;
            report.chunks_salvaged = saved.added.chunks;
            step(Step::Salvaged { chunks: saved.added.chunks });
            let gone: HashSet<&PackName> = incomplete.iter().map(|(name, ..)| name).collect();
            for (_, chunk, _) in saved.unread {
                let mut names = catalogue.names_of(&chunk)?;
                if !names.any(|name| !gone.contains(name) && !sorted.missing.contains(name)) {
                    report.chunks_lost.push(chunk);
                }
            }
        }
        report.packs_incomplete = incomplete.into_iter().map(|(name, ..)| name).collect();
    }
    report.packs_added = ends.len() as u64;
    step(Step::Rebuilding);
    let changed = |name: &PackName| sorted.missing.contains(name) || sorted.rereads.contains(name);
    let (mut old, stay) = segments(&catalogue, options.read_all, &changed);
    old.extend(known.damaged.into_iter().map(|(key, _)| key));
    let dialect = repository.dialect();
    let stay = stay.into_iter().map(|number| named(dialect, &catalogue, number));
    let mut fresh: Vec<(PackName, Vec<PackedChunk>)> = ends.into_iter().collect();
    fresh.sort_by(|(one, _), (other, _)| one.cmp(other));
    let fresh = fresh.into_iter().map(|(name, chunks)| {
        let lane = lane(dialect, &chunks);
        Ok(PackInfo { name, lane, chunks })
    });
    let protocol = repository.protocol();
    let replaced = protocol.replace_segments(presence, stay.chain(fresh), old).await?;
    let unnamed = protocol.drop_segments(&right, replaced, Vec::new(), cancel).await?;
    protocol.drop_packs(&right, unnamed, cancel, |_, _| {}).await?;
    repository.forget_index().await;
    Ok(report)
}

/// Packs by what is to be done with them.
struct Sorted {
    /// Named and not there.
    missing: HashSet<PackName>,
    /// To be looked at themselves, whatever the index says.
    rereads: HashSet<PackName>,
    /// Those that are there, and their sizes.
    read: Vec<(PackName, u64)>,
    numbers: HashMap<PackName, usize>,
}

impl Sorted {
    fn new(
        catalogue: &Catalogue,
        mut listed: HashMap<PackName, u64>,
        options: &Options,
        repository: &Repository,
        step: &mut (dyn FnMut(Step<'_>) + Send),
    ) -> Result<Self, Fault> {
        let mut sorted = Self {
            missing: HashSet::new(),
            rereads: HashSet::new(),
            read: Vec::new(),
            numbers: HashMap::new(),
        };
        for (number, pack) in catalogue.packs.iter().enumerate() {
            sorted.numbers.insert(pack.name.clone(), number);
            let Some(listed_bytes) = listed.remove(&pack.name) else {
                step(Step::NotFound(&pack.name));
                sorted.missing.insert(pack.name.clone());
                continue;
            };
            let (chunks, indexed_bytes) = catalogue.indexed(number, repository.dialect())?;
            let contradicts = pack.times > 1 && pack.fewest_chunks < chunks;
            if indexed_bytes != listed_bytes || contradicts {
                let pack = &pack.name;
                step(Step::Reread { pack, listed_bytes, indexed_bytes });
            } else if !options.read_all {
                continue;
            }
            sorted.rereads.insert(pack.name.clone());
            sorted.read.push((pack.name.clone(), listed_bytes));
        }
        let mut unknown: Vec<(PackName, u64)> = listed.into_iter().collect();
        unknown.retain(|_| !options.only_named);
        unknown.sort();
        unknown.iter().for_each(|(name, _)| step(Step::Added(name)));
        sorted.read.extend(unknown);
        Ok(sorted)
    }

    /// What the old index says is in a pack.
    fn chunks_of(
        &self,
        catalogue: &Catalogue,
        name: &PackName,
    ) -> Result<Option<Vec<PackedChunk>>, Fault> {
        let Some(number) = self.numbers.get(name) else { return Ok(None) };
        Ok(Some(catalogue.pack_info(*number, Lane::Data)?.chunks))
    }
}

/// The segments that go, and the packs they name that stay as they are.
pub(super) fn segments(
    catalogue: &Catalogue,
    all: bool,
    changed: &dyn Fn(&PackName) -> bool,
) -> (Vec<Key>, Vec<usize>) {
    let is_changed = |pack: &u32| changed(&catalogue.packs[*pack as usize].name);
    let mut old = Vec::new();
    let mut stay = HashSet::new();
    for segment in &catalogue.segments {
        if !all && !segment.packs.iter().any(is_changed) {
            continue;
        }
        old.push(segment.key.clone());
        let packs = segment.packs.iter().filter(|pack| !is_changed(pack));
        stay.extend(packs.map(|pack| *pack as usize));
    }
    let mut stay: Vec<usize> = stay.into_iter().collect();
    stay.sort_unstable();
    (old, stay)
}

/// A pack as the old index describes it.
pub(super) fn named(
    dialect: &Dialect,
    catalogue: &Catalogue,
    number: usize,
) -> Result<PackInfo, Fault> {
    let mut info = catalogue.pack_info(number, Lane::Data)?;
    info.lane = lane(dialect, &info.chunks);
    Ok(info)
}

fn lane(dialect: &Dialect, chunks: &[PackedChunk]) -> Lane {
    match chunks.first().map(|chunk| dialect.role(&chunk.key)) {
        None | Some(Role::File) => Lane::Data,
        Some(Role::Directory | Role::Links) => Lane::Meta,
    }
}
