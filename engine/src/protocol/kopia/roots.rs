//! Snapshots as roots.
//!
//! Invariants: a manifest that cannot be read is a row of its own and never hides the others.

use windlass_format::{
    damage::Damage,
    kopia::{
        dir::DirEntry,
        manifest::Manifests,
        snapshot::{self, Snapshot},
    },
};

use crate::{
    dialect::kopia::{Codec, entry_of},
    fault::Fault,
    model::{
        chunk::ChunkKey,
        directory::{Entry, Kind},
        root::{Root, RootId, Summary},
    },
    protocol::ListedRoot,
};

/// What is in a snapshot, and its top directory where it is of one.
type Top = (ChunkKey, Option<Box<Entry>>);

/// All whole snapshots. Those that an interrupted run left unfinished are passed over, as in
/// `kopia snapshot list`.
pub(super) fn roots_of(manifests: &Manifests, codec: &Codec) -> Vec<ListedRoot> {
    let snapshots = manifests.iter().filter(|manifest| manifest.is_snapshot());
    let rows = snapshots.filter_map(|manifest| {
        let id = RootId::new(manifest.id.as_str());
        let decoded = snapshot::decode(manifest);
        if decoded.as_ref().is_ok_and(|snapshot| !snapshot.incomplete.is_empty()) {
            return None;
        }
        let damaged = |damage| Fault::damaged(format!("snapshot {id}"), damage);
        let root = decoded.and_then(|snapshot| root_of(snapshot, codec)).map_err(damaged);
        Some((id, root))
    });
    rows.collect()
}

/// A snapshot of a directory has it for its top; one of a file, a made-up directory with the file.
fn top_of(top: DirEntry, source: &str, codec: &Codec) -> Result<Top, Damage> {
    let entries = Damage::Invalid { what: "root without entries" };
    let mut entry = entry_of(top)?;
    match entry.kind {
        Kind::Directory { tree } => Ok((tree.ok_or(entries)?, Some(Box::new(entry)))),
        _ => {
            if entry.name.is_empty() {
                entry.name = source.rsplit('/').next().unwrap_or_default().as_bytes().into();
            }
            Ok((codec.alone(entry), None))
        }
    }
}

fn root_of(snapshot: Snapshot, codec: &Codec) -> Result<Root, Damage> {
    let without = Damage::Invalid { what: "snapshot without a root" };
    let (tree, top) = top_of(snapshot.root.ok_or(without)?, &snapshot.source.path, codec)?;
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    let stats = snapshot.stats;
    Ok(Root {
        time: snapshot.start,
        parent: None,
        tree,
        top,
        paths: vec![snapshot.source.path],
        hostname: snapshot.source.host,
        username: snapshot.source.user,
        uid: 0,
        gid: 0,
        excludes: Vec::new(),
        tags: snapshot.tags.into_iter().map(|(key, value)| format!("{key}:{value}")).collect(),
        original: None,
        description: snapshot.description,
        program: String::new(),
        summary: Some(Summary {
            started: Some(snapshot.start),
            ended: Some(snapshot.end),
            files_unmodified: count(stats.cached_files),
            total_files: count(stats.file_count),
            total_bytes: count(stats.total_size),
            ..Summary::default()
        }),
    })
}
