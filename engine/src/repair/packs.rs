//! What is good in damaged packs, into new ones; then the damaged ones go.
//!
//! Invariants
//! - New packs, the index that names them, the index without the damaged ones, and only then these:
//!   a crash between any two steps loses nothing that can be read.
//! - A pack of which something could not be read for another reason than damage leaves the index and
//!   stays in the store.

use std::collections::{HashMap, HashSet};

use super::{
    index::{named, segments},
    known, listed, read_ends,
    salvage::{self, Broken},
};
use crate::{
    cancel::Cancel,
    catalogue::Catalogue,
    fault::{Class, Fault},
    model::{
        chunk::ChunkKey,
        pack::{Lane, PackName, PackedChunk},
    },
    protocol::Presence,
    repository::Repository,
};

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// These packs.
    pub packs: Vec<PackName>,
    /// Size of new packs.
    pub pack_bytes: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// Chunks that are in new packs.
    pub chunks_saved: u64,
    /// Chunks that cannot be read in these packs, and why.
    pub unread: Vec<(PackName, ChunkKey, Fault)>,
    /// Those of them that no other pack has.
    pub lost: Vec<ChunkKey>,
    /// Packs that are gone.
    pub removed: Vec<PackName>,
    /// Packs that are still in the store, outside the index: something may be got back from them.
    pub kept: Vec<PackName>,
    /// Packs that are still in the store because they could not be removed.
    pub left: Vec<(PackName, Fault)>,
}

/// Why nothing was done, or not all.
#[derive(Debug, thiserror::Error)]
pub enum PacksError {
    /// Neither the store nor an index knows it.
    #[error("there is no pack {0}")]
    NoSuchPack(PackName),
    /// What it says of the packs may be needed.
    #[error("the index is damaged")]
    DamagedIndex(#[source] Fault),
    /// It could not be done.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl PacksError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::NoSuchPack(_) => Class::WrongInput,
            Self::DamagedIndex(_) => Class::Damaged,
            Self::Fault(fault) => fault.class(),
        }
    }

    /// What a person can do next.
    #[must_use]
    pub fn advice(&self) -> &str {
        match self {
            Self::NoSuchPack(_) => "`check --read-data` names those that are damaged",
            Self::DamagedIndex(_) => "nothing was changed: run `repair index` first",
            Self::Fault(fault) => fault.advice(),
        }
    }
}

/// Saves what is good, and removes these packs.
pub async fn run(
    repository: &Repository,
    options: &Options,
    presence: &Presence,
    cancel: &Cancel,
) -> Result<Report, PacksError> {
    let right = presence.delete_right()?;
    let mut known = known(repository, cancel).await?;
    if let Some((_, fault)) = known.damaged.pop() {
        return Err(PacksError::DamagedIndex(fault));
    }
    let catalogue = known.catalogue;
    let wanted: HashSet<PackName> = options.packs.iter().cloned().collect();
    let (broken, listed) = broken(repository, &catalogue, &wanted, cancel).await?;
    let salvaged = salvage::run(repository, presence, broken, options.pack_bytes, cancel).await?;
    let (old, stay) = segments(&catalogue, false, &|name| wanted.contains(name));
    let dialect = repository.dialect();
    let stay = stay.into_iter().map(|number| named(dialect, &catalogue, number));
    let protocol = repository.protocol();
    let mut go: Vec<PackName> =
        wanted.iter().filter(|name| listed.contains_key(name)).cloned().collect();
    go.sort();
    let (kept, go): (Vec<_>, Vec<_>) =
        go.into_iter().partition(|name| salvaged.doubtful.contains(name));
    let replaced = protocol.replace_segments(presence, stay, old).await?;
    let unnamed = protocol.drop_segments(&right, replaced, go, cancel).await?;
    let mut report = Report { chunks_saved: salvaged.added.chunks, kept, ..Report::default() };
    let each = |name: PackName, result: Result<(), Fault>| match result {
        Ok(()) => report.removed.push(name),
        Err(fault) => report.left.push((name, fault)),
    };
    let dropped = protocol.drop_packs(&right, unnamed, cancel, each).await;
    repository.forget_index().await;
    dropped?;
    let unread = salvaged.unread;
    for (_, chunk, _) in &unread {
        if !catalogue.names_of(chunk)?.any(|name| !wanted.contains(name)) {
            report.lost.push(*chunk);
        }
    }
    report.lost.sort_unstable();
    report.lost.dedup();
    report.unread = unread;
    report.removed.sort();
    Ok(report)
}

/// The packs with all that is said to be in them, and the sizes of those that are there.
async fn broken(
    repository: &Repository,
    catalogue: &Catalogue,
    wanted: &HashSet<PackName>,
    cancel: &Cancel,
) -> Result<(Vec<Broken>, HashMap<PackName, u64>), PacksError> {
    let mut listed = listed(repository, catalogue).await?;
    listed.retain(|name, _| wanted.contains(name));
    let mut chunks: HashMap<PackName, Vec<PackedChunk>> = HashMap::new();
    for (number, pack) in catalogue.packs.iter().enumerate() {
        if wanted.contains(&pack.name) {
            chunks.insert(pack.name.clone(), catalogue.pack_info(number, Lane::Data)?.chunks);
        }
    }
    let known = |name: &&PackName| chunks.contains_key(name) || listed.contains_key(name);
    if let Some(unknown) = wanted.iter().find(|name| !known(name)) {
        return Err(PacksError::NoSuchPack(unknown.clone()));
    }
    let there = listed.iter().map(|(name, bytes)| (name.clone(), *bytes)).collect();
    let each = |name: PackName, _bytes, end: Result<Vec<PackedChunk>, Fault>| {
        // Where the end cannot be read, the index is all there is.
        chunks.entry(name).or_default().extend(end.unwrap_or_default());
    };
    read_ends(repository, there, cancel, each).await?;
    let mut broken: Vec<Broken> = chunks
        .into_iter()
        .map(|(name, chunks)| Broken { listed_bytes: listed.get(&name).copied(), name, chunks })
        .collect();
    broken.sort_by(|one, other| one.name.cmp(&other.name));
    Ok((broken, listed))
}
