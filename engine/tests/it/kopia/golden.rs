//! Every byte of what kopia saved comes back, and exactly the metadata it keeps.

use windlass_engine::{
    index::Presence,
    model::{
        directory::{Entry, Kind, Target},
        object::Content,
    },
};
use windlass_format::time::Timestamp;

use super::{Open, assert_same, expected};

fn check_snapshot(open: &Open, name: &str, tag: &str) {
    assert_same(&open.read(&open.tagged(tag)).expect("a whole snapshot"), &expected(name, tag));
}

#[test]
fn both_snapshots_of_a_default_repository_read_back_byte_for_byte() {
    let open = Open::fixture("default");
    check_snapshot(&open, "default", "first");
    check_snapshot(&open, "default", "second");
}

#[test]
fn compressed_chunks_and_lists_of_lists_read_back_byte_for_byte() {
    let open = Open::fixture("zstd-128k");
    check_snapshot(&open, "zstd-128k", "pieces");
    check_snapshot(&open, "zstd-128k", "zeros");
}

#[test]
fn format_version_one_reads_back_byte_for_byte() {
    let open = Open::fixture("version-1");
    assert_eq!(open.repository.identity().format, "kopia version 1");
    check_snapshot(&open, "version-1", "small");
}

#[test]
fn a_directory_cut_into_several_chunks_has_all_its_entries() {
    let open = Open::fixture("zstd-128k");
    let root = open.tagged("many");
    let reader = open.fresh_reader(&open.fresh_index().expect("an index"));
    let mut plain = Vec::new();
    reader.chunk(&root.tree, &mut plain).expect("a chunk");
    assert!(open.repository.dialect().is_links(&plain));
    let entries = reader.directory(&root.tree).expect("a directory").entries;
    assert_eq!(entries.len(), 3000);
    for (number, entry) in entries.iter().enumerate() {
        assert_eq!(*entry.name, *format!("entry-{number:04}").as_bytes());
    }
}

#[test]
fn snapshots_are_listed_as_kopia_lists_them() {
    let open = Open::fixture("default");
    let roots = open.good_roots();
    assert_eq!(roots.len(), 2, "the third was deleted");
    let (id, first) = &roots[0];
    assert_eq!((id.as_str().len(), first.description.as_str()), (32, "the first one"));
    assert_eq!((first.hostname.as_str(), first.username.as_str()), ("fixture", "windlass"));
    assert_eq!(first.paths, ["/tree"]);
    assert_eq!(first.tags, ["fixture:first"]);
    let summary = first.summary.expect("figures");
    let files = expected("default", "first");
    let files: Vec<_> = files.values().filter(|saved| saved.kind == 'f').collect();
    let bytes = files.iter().filter_map(|saved| saved.body.as_ref()).map(|body| body.0).sum();
    assert_eq!((summary.total_files, summary.total_bytes), (files.len() as u64, bytes));
    assert_eq!(summary.started, Some(first.time));
    assert!(summary.ended.expect("an end").instant() > first.time.instant());
    assert!(roots[1].1.time.instant() > first.time.instant(), "oldest first");
}

#[test]
fn what_was_deleted_is_a_tombstone_and_not_read() {
    let open = Open::fixture("default");
    let index = open.fresh_index().expect("an index");
    let mut living = Vec::new();
    index.for_each(|key, at| living.push((*key, *at)));
    for (key, at) in &living {
        assert_eq!(index.presence(key), Presence::Live(*at));
    }
    assert!(living.len() > 20 && index.chunk_count() >= living.len());
    assert!(index.pack_names().iter().all(|name| {
        let name = name.to_string();
        name.starts_with('p') || name.starts_with('q')
    }));
}

/// What survives from a file system through kopia to us; see `docs/formats/kopia.md`.
#[test]
fn an_entry_keeps_name_kind_mode_time_owner_and_size_and_nothing_else() {
    let open = Open::fixture("default");
    let root = open.tagged("first");
    let reader = open.fresh_reader(&open.fresh_index().expect("an index"));
    let expected = expected("default", "first");
    let mut entries = Vec::new();
    let mut pending = vec![(String::new(), root.tree)];
    while let Some((above, tree)) = pending.pop() {
        let found = reader.directory(&tree).expect("a directory").entries;
        assert!(found.is_sorted_by(|a, b| a.name < b.name));
        for entry in found {
            let name = std::str::from_utf8(&entry.name).expect("kopia's names are UTF-8");
            let path = format!("{above}{name}");
            if let Kind::Directory { tree: Some(tree) } = entry.kind {
                pending.push((format!("{path}/"), tree));
            }
            entries.push((path, entry));
        }
    }
    let (mut files, mut links, mut directories) = (0, 0, 0);
    for (path, entry) in entries {
        let saved = &expected[&path];
        let kind = match &entry.kind {
            Kind::File { size_bytes, content: Content::Chunks(keys) } => {
                files += 1;
                assert_eq!((keys.len(), Some(*size_bytes)), {
                    (1, saved.body.as_ref().map(|body| body.0))
                });
                entry.kind.clone()
            }
            Kind::Directory { tree: Some(_) } => {
                directories += 1;
                entry.kind.clone()
            }
            Kind::Symlink { target: Target::Stored(_) } => {
                links += 1;
                entry.kind.clone()
            }
            other => panic!("{path}: {other:?}"),
        };
        let mtime = Timestamp::utc(saved.mtime.0, saved.mtime.1);
        let whole = Entry {
            name: path.rsplit('/').next().expect("a name").as_bytes().into(),
            kind,
            mode: saved.mode,
            mtime,
            atime: mtime,
            ctime: None,
            uid: saved.owner.0,
            gid: saved.owner.1,
            user: "".into(),
            group: "".into(),
            inode: 0,
            device: 0,
            links: 0,
            xattrs: Vec::new(),
            residue: None,
        };
        assert_eq!(entry, whole);
    }
    assert!(files > 5 && links > 0 && directories > 1, "{files} {links} {directories}");
}
