//! Snapshots as roots.
//!
//! Invariants: a manifest that cannot be read is a row of its own and never hides the others.

use windlass_format::kopia::{
    dir::EntryKind,
    manifest::Manifests,
    snapshot::{self, Snapshot},
};

use crate::{
    dialect::kopia::directory_key,
    fault::Fault,
    model::root::{Root, RootId, Summary},
    protocol::ListedRoot,
};

/// All whole snapshots. Those that an interrupted run left unfinished are passed over, as in
/// `kopia snapshot list`.
pub(super) fn roots_of(manifests: &Manifests) -> Vec<ListedRoot> {
    let snapshots = manifests.iter().filter(|manifest| manifest.is_snapshot());
    let rows = snapshots.filter_map(|manifest| {
        let id = RootId::new(manifest.id.as_str());
        let decoded = snapshot::decode(manifest);
        if decoded.as_ref().is_ok_and(|snapshot| !snapshot.incomplete.is_empty()) {
            return None;
        }
        let damaged = |damage| Fault::damaged(format!("snapshot {id}"), damage);
        let root = decoded.map_err(damaged).and_then(|snapshot| root_of(&id, snapshot));
        Some((id, root))
    });
    rows.collect()
}

fn root_of(id: &RootId, snapshot: Snapshot) -> Result<Root, Fault> {
    let damaged = |damage| Fault::damaged(format!("snapshot {id}"), damage);
    let invalid = |what| damaged(windlass_format::damage::Damage::Invalid { what });
    let top = snapshot.root.ok_or_else(|| invalid("snapshot without a root"))?;
    if top.kind != EntryKind::Directory {
        return Err(Fault::Unsupported { what: format!("snapshot {id} of a single file") });
    }
    let object = top.object.ok_or_else(|| invalid("root without entries"))?;
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    let stats = snapshot.stats;
    Ok(Root {
        time: snapshot.start,
        parent: None,
        tree: directory_key(object).map_err(damaged)?,
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
