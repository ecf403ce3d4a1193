//! Making a damaged repository whole again, as far as what is left allows.
//!
//! | module | what |
//! |---|---|
//! | [`index`] | the index as the packs that are there say it |
//! | [`heal`] | what is lost, brought back from another repository or from files |
//! | [`packs`] | what is good in damaged packs into new ones |
//!
//! Invariants
//! - All of it is done alone: under an exclusive presence.
//! - What can be read is stored a second time and named by an index before the index or pack is
//!   given up that it was found by.
//! - "Cannot be reached" is never "damaged": a store that fails ends it, and nothing is given up.
//! - What came out wrong is read again before it counts as damaged, and what is not listed is asked
//!   for by its name before it counts as gone.
//!
//! Not here: roots that refer to what is gone for good (`rewrite`), directories that no root refers
//! to (`recover`).

pub mod heal;
pub mod index;
pub mod packs;
mod salvage;

use std::collections::HashMap;

use tokio::task::JoinSet;

use crate::{
    cancel::Cancel,
    catalogue::{self, Catalogue},
    dialect::{Dialect, PackEnd},
    fault::{Class, Fault},
    model::pack::{PackName, PackedChunk},
    repository::Repository,
    store::{Failure, Key, Range, Store},
};

/// Bytes at the end of a pack that are read at first: enough for a few dozen chunks.
const END_BYTES: u64 = 4 << 10;

/// What the segments say that can be read, and those that cannot.
struct Known {
    catalogue: Catalogue,
    damaged: Vec<(Key, Fault)>,
}

/// Reads all segments. One that is damaged is set aside; one that cannot be reached is an error.
async fn known(repository: &Repository, cancel: &Cancel) -> Result<Known, Fault> {
    let mut damaged = Vec::new();
    let set_aside = |key: &Key, fault: Fault| match fault.class() {
        Class::Damaged => {
            damaged.push((key.clone(), fault));
            Ok(())
        }
        _ => Err(fault),
    };
    let catalogue = catalogue::load_readable(repository, cancel, set_aside).await?;
    damaged.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(Known { catalogue, damaged })
}

/// The sizes of all packs in the store.
async fn listed(
    repository: &Repository,
    catalogue: &Catalogue,
) -> Result<HashMap<PackName, u64>, Fault> {
    let named = catalogue.packs.iter().map(|pack| pack.name.clone());
    repository.protocol().find_packs(named).await
}

/// What packs of these sizes say themselves is in them, or why that cannot be told.
async fn read_ends(
    repository: &Repository,
    packs: Vec<(PackName, u64)>,
    cancel: &Cancel,
    mut each: impl FnMut(PackName, u64, Result<Vec<PackedChunk>, Fault>),
) -> Result<(), Fault> {
    let (store, dialect) = (repository.store(), repository.dialect());
    let connections = store.capabilities().connections.max(1);
    let mut reads = JoinSet::new();
    let mut packs = packs.into_iter();
    loop {
        while reads.len() < connections
            && let Some((name, bytes)) = packs.next()
        {
            if cancel.is_cancelled() {
                return Err(Fault::Cancelled);
            }
            let (store, dialect) = (store.clone(), dialect.clone());
            reads.spawn(async move {
                let end = read_end(&store, &dialect, &name, bytes).await;
                (name, bytes, end)
            });
        }
        let Some(read) = reads.join_next().await else { return Ok(()) };
        let (name, bytes, end) = read.map_err(|_panic| Fault::Bug("reading a pack panicked"))?;
        match end {
            // Listed a moment ago, or shorter than listed: somebody is at work who must not be.
            Err(Fault::Store(error)) => return Err(error.into()),
            end => each(name, bytes, end),
        }
    }
}

async fn read_end(
    store: &Store,
    dialect: &Dialect,
    name: &PackName,
    bytes: u64,
) -> Result<Vec<PackedChunk>, Fault> {
    match try_end(store, dialect, name, bytes).await {
        Err(fault) if fault.class() == Class::Damaged => {
            store.doubt(&dialect.pack_key(name));
            try_end(store, dialect, name, bytes).await
        }
        end => end,
    }
}

async fn try_end(
    store: &Store,
    dialect: &Dialect,
    name: &PackName,
    bytes: u64,
) -> Result<Vec<PackedChunk>, Fault> {
    let key = dialect.pack_key(name);
    let damaged = |damage| Fault::damaged(format!("pack {name}"), damage);
    let mut last = END_BYTES.min(bytes);
    loop {
        let end = store.read(&key, Range::At { start: bytes - last, len: last }).await?;
        match dialect.pack_end(bytes, &end).map_err(damaged)? {
            PackEnd::Chunks(chunks) => return Ok(chunks),
            PackEnd::Longer { bytes: longer } if longer > last => last = longer,
            PackEnd::Longer { .. } => return Err(Fault::Bug("the end of a pack never ends")),
        }
    }
}

/// Whether bytes are known not to be there, or not to be what they should be; anything else may be
/// good the next time.
fn is_lost(fault: &Fault) -> bool {
    match fault {
        Fault::Store(error) => matches!(error.failure, Failure::NotFound | Failure::Short),
        fault => fault.class() == Class::Damaged,
    }
}
