//! Reading a catalogue.
//!
//! Invariants: a segment that cannot be read is an error, as what it says may be needed, unless
//! whoever asks says otherwise.

use std::sync::Arc;

use super::{Builder, Catalogue};
use crate::{
    cancel::Cancel, fault::Fault, index::Index, protocol::reclaim::NamedPack,
    repository::Repository, store::Key,
};

/// What all index segments say, and an index of it to read directories by.
pub(crate) async fn load(
    repository: &Repository,
    cancel: &Cancel,
) -> Result<(Arc<Catalogue>, Arc<Index>), Fault> {
    let catalogue = Arc::new(load_readable(repository, cancel, |_, fault| Err(fault)).await?);
    let index = Index::over(Arc::clone(&catalogue));
    Ok((catalogue, Arc::new(index)))
}

/// What those segments say that can be read; `unreadable` hears of the others and may end it.
pub(crate) async fn load_readable(
    repository: &Repository,
    cancel: &Cancel,
    mut unreadable: impl FnMut(&Key, Fault) -> Result<(), Fault> + Send,
) -> Result<Catalogue, Fault> {
    let protocol = repository.protocol();
    let segments = protocol.list_segments().await?;
    let mut builder = Builder::new(repository);
    let mut add = |key: &Key, packs: Result<Vec<NamedPack>, Fault>| {
        if cancel.is_cancelled() {
            return Err(Fault::Cancelled);
        }
        match packs {
            Ok(packs) => builder.add(key, packs),
            Err(fault) => unreadable(key, fault),
        }
    };
    protocol.read_segments(segments, &mut add).await?;
    builder.finish()
}
