//! Reading a catalogue.
//!
//! Invariants: a segment that cannot be read is an error: what it says may be needed.

use super::{Builder, Catalogue};
use crate::{
    cancel::Cancel, fault::Fault, index::Index, model::chunk::Role, protocol::reclaim::NamedPack,
    repository::Repository, store::Key,
};

/// What all index segments say, and where directories are. The packs of both have the same numbers.
pub(crate) async fn load(
    repository: &Repository,
    cancel: &Cancel,
) -> Result<(Catalogue, Index), Fault> {
    let (dialect, protocol) = (repository.dialect(), repository.protocol());
    let segments = protocol.list_segments().await?;
    let directories = Index::new();
    let mut builder = Builder::new(repository);
    let mut add = |key: &Key, packs: Result<Vec<NamedPack>, Fault>| {
        if cancel.is_cancelled() {
            return Err(Fault::Cancelled);
        }
        builder.add(
            key,
            packs?,
            |pack| directories.add_pack(pack.name.clone(), pack.chunks_end()),
            |chunk, pack| {
                if dialect.role(&chunk.key) != Role::File {
                    directories.insert(chunk.key, chunk.at(pack));
                }
            },
        )
    };
    protocol.read_segments(segments, &mut add).await?;
    Ok((builder.finish()?, directories))
}
