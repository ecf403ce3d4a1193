//! Forgetting and cleaning up: what stays is whole, what goes is garbage, whatever happens between.

mod aside;
mod copies;

use std::{sync::Arc, time::Duration};

use windlass_engine::{
    backup::Options as BackupOptions,
    cancel::Cancel,
    fault::Class,
    forget,
    model::{
        directory::Kind,
        root::{Root, RootId},
    },
    monitor::Silent,
    protocol::{Access, Presence, amend::Amendment, reclaim::NamedPack},
    reclaim::{self, Forecast, Limits, MaxUnused, Options, ReclaimError, Report},
    repository::{Place, Repository},
    store::{Backend, Failure, Key, memory::MemoryStore},
};
use windlass_format::restic::config::Version;
use windlass_testkit::{
    faulty::{Fault as Broken, FaultyStore},
    hooked::HookedStore,
    recording::{Action, Call, RecordingStore, replay},
};

use super::{
    peer::Restic,
    scene::{HOST, Scene, announcement, empty, empty_on_disk, locks, noise},
};

/// Nothing unused stays. How many packs are small is a matter of chance here, so none is.
pub(super) fn options() -> Options {
    let max_unused = MaxUnused::Bytes(0);
    Options {
        limits: Limits { max_unused, small_pack_bytes: Some(1), ..Limits::default() },
        most_time: None,
        dry_run: false,
        without: Vec::new(),
        pack_bytes: 1 << 20,
        announcement: announcement(Access::Shared),
        unannounced: false,
        recover_space: false,
    }
}

pub(super) fn forget(scene: &Scene, repository: &Repository, roots: Vec<RootId>) {
    let presence = scene.announce(repository, Access::Exclusive);
    let right = presence.delete_right().expect("alone");
    let cancel = Cancel::new();
    let count = roots.len();
    let removed = forget::run(repository, &right, roots, &cancel, |_, result| {
        result.expect("removed");
    });
    let report = scene.runtime.block_on(removed).expect("removed");
    assert_eq!((report.removed.len(), report.failed.len()), (count, 0));
    scene.runtime.block_on(presence.release()).expect("released");
}

fn try_clean(
    scene: &Scene,
    repository: &Repository,
    options: &Options,
    planned: impl FnOnce(&Forecast),
) -> Result<Report, ReclaimError> {
    let (monitor, cancel) = (Arc::new(Silent::default()), Cancel::new());
    scene.runtime.block_on(reclaim::run(repository, options, monitor, &cancel, planned))
}

pub(super) fn clean(scene: &Scene, repository: &Repository, options: &Options) -> Report {
    let report = try_clean(scene, repository, options, |_| {}).expect("cleaned up");
    assert!(report.packs_left.is_empty());
    report
}

fn back_up(scene: &Scene, repository: &Repository) -> RootId {
    let options = BackupOptions { pack_bytes: 1 << 20, ..scene.options() };
    let report = scene.try_back_up(repository, options).expect("backed up");
    report.root.expect("a root")
}

/// Four backups of which each has something that no other has; the ids, oldest first.
fn history(scene: &Scene, repository: &Repository) -> Vec<RootId> {
    scene.write("always", noise(1, 2_500_000));
    let backups = (0..4).map(|number: u8| {
        scene.write("changing", noise(10 + u64::from(number), 1_800_000));
        scene.write(&format!("d{number}/small"), [number; 1000]);
        scene.write("list", vec![number; 3 << 20]);
        let own = scene.source().join(format!("own{number}"));
        scene.write(&format!("own{number}"), noise(20 + u64::from(number), 700_000));
        let root = back_up(scene, repository);
        std::fs::remove_file(own).expect("removed");
        root
    });
    backups.collect()
}

fn stored_bytes(store: &MemoryStore, prefix: &str) -> u64 {
    let contents = store.contents().into_iter();
    contents
        .filter(|(key, _)| key.as_str().starts_with(prefix))
        .map(|(_, bytes)| bytes.len() as u64)
        .sum()
}

fn keys(store: &MemoryStore, prefix: &str) -> Vec<Key> {
    store.contents().into_keys().filter(|key| key.as_str().starts_with(prefix)).collect()
}

/// A repository of [`history`] of which the roots at these places are forgotten.
fn forgotten(scene: &Scene, places: &[usize]) -> MemoryStore {
    let store = empty(Version::V2);
    let repository = scene.open(store.clone());
    let roots = history(scene, &repository);
    forget(scene, &repository, places.iter().map(|at| roots[*at].clone()).collect());
    store
}

#[test]
fn what_nobody_refers_to_goes_and_the_rest_is_whole() {
    for (version, scene) in [(Version::V1, Scene::putting_aside()), (Version::V2, Scene::new())] {
        let store = empty(version);
        let repository = scene.open(store.clone());
        let roots = history(&scene, &repository);
        let before = stored_bytes(&store, "data/");
        let nothing = clean(&scene, &repository, &options());
        assert_eq!(nothing.forecast.unused.chunks, 0);
        forget(&scene, &repository, roots[..2].to_vec());
        let dry = Options { dry_run: true, ..options() };
        let changes = store.contents();
        let told = clean(&scene, &repository, &dry);
        assert!(told.forecast.unused.bytes > 4_000_000, "{told:?}");
        assert_eq!(changes, store.contents());
        let report = clean(&scene, &repository, &options());
        assert_eq!(report.forecast, told.forecast);
        let after = stored_bytes(&store, "data/");
        assert!(after + 4_500_000 < before, "{before} {after}");
        let fresh = scene.open(store.clone());
        assert_eq!(scene.roots(&fresh).len(), 2);
        scene.check_whole(&fresh);
        assert_eq!(locks(&store), [""; 0]);
        let again = clean(&scene, &fresh, &options());
        let Forecast { unused, duplicate, repack, unreferenced_bytes, .. } = again.forecast;
        assert_eq!((unused.chunks, duplicate.chunks, unreferenced_bytes), (0, 0, 0));
        assert_eq!(repack.chunks, 0);
        // And what is left can be gone on with.
        back_up(&scene, &fresh);
        let newest = scene.roots(&scene.open(store)).pop().expect("a root").1;
        scene.check_restore(&fresh, &newest, &format!("target {version:?}"));
    }
}

#[test]
fn restic_finds_nothing_wrong_with_what_is_left() {
    let scene = Scene::putting_aside();
    let at = scene.path("repository");
    empty_on_disk(&at, Version::V2);
    let Some(restic) = Restic::at(&at) else { return };
    let repository = scene.try_open_at(&Place::local(&at)).expect("opened");
    let mut roots = history(&scene, &repository);
    for number in 0..3 {
        scene.write("theirs", noise(40 + number, 900_000));
        scene.write(&format!("d9/{number}"), "small");
        // Old ones tell the beginning of the id.
        let (_, id) = restic.back_up(&scene.source());
        let mut all = scene.roots(&repository).into_iter().map(|(root, _)| root);
        roots.push(all.find(|root| root.as_str().starts_with(&id)).expect("listed"));
    }
    forget(&scene, &repository, vec![roots[0].clone(), roots[2].clone(), roots[4].clone()]);
    restic.check();
    clean(&scene, &repository, &options());
    restic.check();
    scene.check_whole(&scene.try_open_at(&Place::local(&at)).expect("opened"));
    // Nothing is left for restic to do.
    let told = restic.good(&["prune", "--max-unused=0", "-v"]);
    let words: Vec<&str> = told.split_whitespace().collect();
    assert!(words.join(" ").contains("total prune: 0 blobs / 0 B"), "{told}");
    let target = scene.path("restored by restic");
    restic.good(&["restore", "latest", "--target", target.to_str().expect("UTF-8")]);
    let source = scene.source();
    let restored = target.join(source.strip_prefix("/").expect("absolute"));
    assert_eq!(super::scene::differences(&source, &restored), []);
}

/// Everything that can be seen is whole, and can be cleaned up to the end.
fn check_after_crash(scene: &Scene, store: &MemoryStore, roots: usize, told: &str) {
    let crashed = store.fork();
    let repository = scene.open(crashed.clone());
    assert_eq!(scene.roots(&repository).len(), roots, "{told}");
    scene.check_whole(&repository);
    // A later backup must not rely on what is half gone.
    scene.back_up(&repository);
    let fresh = scene.open(crashed);
    clean(scene, &fresh, &options());
    scene.check_whole(&fresh);
    let after = clean(scene, &fresh, &options()).forecast;
    let left = (after.unused.chunks, after.duplicate.chunks, after.unreferenced_bytes);
    assert_eq!(left, (0, 0, 0), "{told}");
}

fn record_clean(scene: &Scene, base: &MemoryStore, options: &Options) -> Vec<Call> {
    let recording = RecordingStore::new(base.fork());
    let log = recording.log();
    let repository = scene.open(recording);
    clean(scene, &repository, options);
    log.changes()
}

#[test]
fn a_crash_at_any_change_leaves_every_root_whole() {
    let scene = Scene::putting_aside();
    let base = forgotten(&scene, &[0, 2]);
    let changes = record_clean(&scene, &base, &options());
    let place = |action: Action, prefix: &str| {
        let of_kind = |call: &Call| call.action == action && call.object.starts_with(prefix);
        let first = changes.iter().position(of_kind).expect("there");
        (first, changes.iter().rposition(of_kind).expect("there"))
    };
    // New packs, the index that names them, the other index, old index files, old packs.
    assert!(place(Action::Write, "data/").1 < place(Action::Write, "index/").0);
    assert!(place(Action::Write, "index/").1 < place(Action::Delete, "index/").0);
    assert!(place(Action::Delete, "index/").1 < place(Action::Delete, "data/").0);
    for cut in 0..=changes.len() {
        let store = base.fork();
        // The lock of a process that died would be in the way of the next one.
        let survived: Vec<Call> = changes[..cut]
            .iter()
            .filter(|call| !call.object.starts_with("locks/"))
            .cloned()
            .collect();
        scene.runtime.block_on(replay(&survived, &store)).expect("replayed");
        check_after_crash(&scene, &store, 2, &format!("after {cut} of {}", changes.len()));
    }
}

#[test]
fn restic_accepts_every_state_that_a_crash_can_leave() {
    let scene = Scene::putting_aside();
    let base = forgotten(&scene, &[1, 2]);
    let changes = record_clean(&scene, &base, &options());
    let changes: Vec<Call> =
        changes.into_iter().filter(|call| !call.object.starts_with("locks/")).collect();
    let step = (changes.len() / 6).max(1);
    let cuts = (0..changes.len()).step_by(step).chain([changes.len()]);
    for cut in cuts {
        let at = scene.path(&format!("crash {cut}"));
        empty_on_disk(&at, Version::V2);
        let Some(restic) = Restic::at(&at) else { return };
        let store = base.fork();
        scene.runtime.block_on(replay(&changes[..cut], &store)).expect("replayed");
        for (key, bytes) in store.contents() {
            let name = key.as_str();
            let path = match name.strip_prefix("data/") {
                Some(pack) => at.join("data").join(&pack[..2]).join(pack),
                None => at.join(name),
            };
            std::fs::write(path, bytes).expect("written");
        }
        let told = restic.run(&["check", "--read-data"]);
        assert!(told.status.success(), "after {cut}: {told:?}");
    }
}

#[test]
fn a_root_that_comes_while_is_planned_keeps_what_it_needs() {
    let scene = Scene::putting_aside();
    let store = empty(Version::V2);
    let repository = scene.open(store.clone());
    scene.write("kept", noise(1, 2_000_000));
    scene.write("gone", noise(2, 5_000_000));
    let root = back_up(&scene, &repository);
    std::fs::remove_file(scene.source().join("gone")).expect("removed");
    back_up(&scene, &repository);
    forget(&scene, &repository, vec![root]);
    // What is planned to go is in use again when it comes to it, without being stored again.
    let other = scene.open(store.clone());
    let mut rescued = None;
    let report = try_clean(&scene, &repository, &options(), |forecast| {
        assert!(forecast.unused.bytes > 4_900_000, "{forecast:?}");
        scene.write("gone", noise(2, 5_000_000));
        let summary = std::thread::scope(|threads| {
            let backup = threads.spawn(|| {
                let runtime = super::scene::runtime();
                let (monitor, cancel) = (Arc::new(Silent::default()), Cancel::new());
                let options = scene.options();
                let done = windlass_engine::backup::run(&other, options, monitor, &cancel);
                runtime.block_on(done).expect("backed up").summary
            });
            backup.join().expect("no panic")
        });
        rescued = Some(summary.data_chunks);
    });
    let report = report.expect("cleaned up");
    assert_eq!(rescued, Some(0));
    assert!(report.packs_rescued > 0, "{report:?}");
    let fresh = scene.open(store.clone());
    assert_eq!(scene.roots(&fresh).len(), 2);
    scene.check_whole(&fresh);
    let newest = scene.roots(&fresh).pop().expect("a root").1;
    scene.check_restore(&fresh, &newest, "target");
    clean(&scene, &fresh, &options());
    scene.check_whole(&scene.open(store));
}

#[test]
fn nothing_is_removed_where_the_index_was_rewritten_meanwhile() {
    let scene = Scene::putting_aside();
    let store = forgotten(&scene, &[0]);
    let repository = scene.open(store.clone());
    let (packs, shared) = (keys(&store, "data/"), store.clone());
    let result = try_clean(&scene, &repository, &options(), |_| {
        let index = keys(&shared, "index/").swap_remove(0);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                super::scene::runtime().block_on(shared.delete(&index)).expect("deleted");
            });
        });
    });
    assert!(matches!(result, Err(ReclaimError::Overtaken)), "{result:?}");
    let now = keys(&store, "data/");
    assert!(packs.iter().all(|pack| now.contains(pack)));
    assert_eq!(locks(&store), [""; 0]);
}

/// Reads the segments there are, all in one list.
fn named(scene: &Scene, repository: &Repository) -> Vec<(Key, Vec<NamedPack>)> {
    let mut named = Vec::new();
    scene.runtime.block_on(async {
        let segments = repository.protocol().list_segments().await.expect("listed");
        let mut each = |key: &Key, packs: Result<Vec<NamedPack>, _>| {
            named.push((key.clone(), packs.expect("read")));
            Ok(())
        };
        repository.protocol().read_segments(segments, &mut each).await.expect("read");
    });
    named
}

#[test]
fn nothing_is_removed_where_somebody_took_the_copies_for_the_ones_to_spare() {
    let scene = Scene::putting_aside();
    let store = forgotten(&scene, &[0, 2]);
    let planned = named(&scene, &scene.open(store.clone()));
    let before = keys(&store, "data/");
    // Of the two places that a moved chunk has, another program lets go of the new one, which no
    // segment that the plan was made from tells of.
    let hooked = HookedStore::new(store.clone());
    let hooks = hooked.hooks();
    let others = store.clone();
    hooks.after(Action::Delete, "locks/", 0, async move {
        for (prefix, kept) in [
            ("index/", planned.iter().map(|(key, _)| key.clone()).collect::<Vec<Key>>()),
            ("data/", before),
        ] {
            for key in keys(&others, prefix).into_iter().filter(|key| !kept.contains(key)) {
                others.delete(&key).await.expect("deleted");
            }
        }
    });
    let packs = keys(&store, "data/");
    let result = try_clean(&scene, &scene.open(hooked), &options(), |_| {});
    assert!(matches!(result, Err(ReclaimError::Overtaken)), "{result:?}");
    assert_eq!(hooks.left(), 0);
    assert_eq!(keys(&store, "data/"), packs);
    scene.check_whole(&scene.open(store));
}

/// A segment or root as it would be, had it been written once more.
fn resealed(scene: &Scene, store: &MemoryStore, key: &Key) -> (Key, bytes::Bytes) {
    let store = store.fork();
    let repository = scene.open(store.clone());
    let before = store.contents();
    let presence = scene.announce(&repository, Access::Shared);
    let protocol = repository.protocol();
    let named = named(scene, &repository).into_iter().find(|(segment, _)| segment == key);
    scene.runtime.block_on(async {
        match (named, key.as_str().strip_prefix("snapshots/")) {
            (Some((_, packs)), _) => {
                let packs = packs.into_iter().map(|pack| Ok(pack.info));
                let replaced = protocol.replace_segments(&presence, packs, Vec::new()).await;
                let _nothing_to_drop = replaced.expect("stored");
            }
            (None, Some(id)) => {
                let (id, nothing) = (RootId::new(id), Amendment::default());
                protocol.amend_root(&presence, &id, &nothing).await.expect("stored");
            }
            (None, None) => panic!("neither"),
        }
        presence.release().await.expect("released");
    });
    let mut new = store.contents().into_iter().filter(|(key, _)| !before.contains_key(key));
    new.next().expect("another name")
}

#[test]
fn a_segment_that_was_replaced_between_listing_and_reading_is_not_missed() {
    let scene = Scene::putting_aside();
    let store = forgotten(&scene, &[]);
    let segments = keys(&store, "index/");
    let snapshots = keys(&store, "snapshots/");
    for (prefix, old) in [("index", segments), ("snapshots", snapshots)] {
        let store = store.fork();
        let before: Vec<RootId> =
            scene.roots(&scene.open(store.clone())).into_iter().map(|(id, _)| id).collect();
        let hooked = HookedStore::new(store.clone());
        let hooks = hooked.hooks();
        let others = store.clone();
        // What is sealed again has another name and says the same.
        let (key, bytes) = resealed(&scene, &store, &old[0]);
        hooks.after(Action::List, prefix, 0, async move {
            others.overwrite(&key, bytes);
            others.delete(&old[0]).await.expect("deleted");
        });
        let repository = scene.open(hooked);
        let roots = scene.roots(&repository);
        assert_eq!(roots.len(), before.len());
        let index = scene.runtime.block_on(repository.index()).expect("an index");
        let all = scene.runtime.block_on(scene.open(store.clone()).index()).expect("an index");
        let count = |index: &windlass_engine::index::Index| {
            let mut chunks = 0;
            index.for_each(|_, _| chunks += 1);
            chunks
        };
        assert_eq!(count(&index), count(&all), "{prefix}");
        assert_eq!(hooks.left(), 0);
    }
}

#[test]
fn others_at_work_are_waited_for_and_nothing_is_removed_under_them() {
    let scene = Scene::putting_aside();
    let store = forgotten(&scene, &[0]);
    let (repository, other) = (scene.open(store.clone()), scene.open(store.clone()));
    let before = keys(&store, "data/");
    let reader = scene.announce(&other, Access::Shared);
    let error = try_clean(&scene, &repository, &options(), |_| {}).expect_err("others");
    assert_eq!(error.class(), Class::Busy, "{error}");
    let now = keys(&store, "data/");
    assert!(before.iter().all(|pack| now.contains(pack)));
    scene.check_whole(&scene.open(store.clone()));
    scene.runtime.block_on(reader.release()).expect("released");
    // What was moved before is not moved again.
    let report = clean(&scene, &repository, &options());
    assert_eq!(report.forecast.packs_repack, 0, "{report:?}");
    scene.check_whole(&scene.open(store.clone()));
    assert_eq!(locks(&store), [""; 0]);
}

/// Fails without changing anything but locks, and says these words.
fn check_refused(scene: &Scene, store: &MemoryStore, class: Class, words: &str) {
    let before = store.contents();
    let repository = scene.open(store.clone());
    let error = try_clean(scene, &repository, &options(), |_| {}).expect_err("refused");
    let mut told = error.to_string();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(&error);
    while let Some(error) = cause {
        told = format!("{told}: {error}");
        cause = error.source();
    }
    assert!(told.contains(words), "{told}");
    assert_eq!(error.class(), class, "{told}");
    assert_eq!(before, store.contents(), "{told}");
}

fn first_directory(
    scene: &Scene,
    repository: &Repository,
) -> (Root, windlass_engine::model::chunk::ChunkKey) {
    let (_, root) = scene.roots(repository).pop().expect("a root");
    let tree = scene.source_tree(repository, &root);
    let reader = scene.runtime.block_on(repository.reader()).expect("an index");
    let directory = reader.directory(&tree).expect("a directory");
    let below = directory.entries.iter().find_map(|entry| match entry.kind {
        Kind::Directory { tree } => tree,
        _ => None,
    });
    (root, below.expect("a directory"))
}

#[test]
fn damage_ends_it_before_anything_is_removed() {
    let scene = Scene::putting_aside();
    let base = forgotten(&scene, &[0]);
    let repository = scene.open(base.clone());

    let store = base.fork();
    let key = keys(&store, "snapshots/").swap_remove(1);
    store.overwrite(&key, &b"not a snapshot"[..]);
    let name = key.as_str().trim_start_matches("snapshots/");
    check_refused(&scene, &store, Class::Damaged, &name[..8]);

    let store = base.fork();
    let key = keys(&store, "index/").swap_remove(0);
    store.overwrite(&key, &b"not an index"[..]);
    check_refused(&scene, &store, Class::Damaged, key.as_str());

    let store = base.fork();
    scene.runtime.block_on(store.delete(&keys(&store, "index/")[0])).expect("deleted");
    check_refused(&scene, &store, Class::Damaged, "is in no index");

    let (_, tree) = first_directory(&scene, &repository);
    let index = scene.runtime.block_on(repository.index()).expect("an index");
    let place = index.find(&tree).expect("there");
    let pack = repository.dialect().pack_key(&index.pack_name(place.pack).expect("a name"));
    let store = base.fork();
    let mut bytes = store.contents()[&pack].to_vec();
    bytes[place.offset as usize + 20] ^= 1;
    store.overwrite(&pack, bytes);
    check_refused(&scene, &store, Class::Damaged, &tree.to_string());

    let store = base.fork();
    scene.runtime.block_on(store.delete(&pack)).expect("deleted");
    check_refused(&scene, &store, Class::Damaged, "data/");

    // A pack of pieces of files is not read for marking, but its size and its being there tell.
    let (_, root) = scene.roots(&repository).pop().expect("a root");
    let mut piece = None;
    scene
        .walk(&repository, &root, |_, directory| {
            for entry in &directory.entries {
                if let Kind::File { content, .. } = &entry.kind
                    && let windlass_engine::model::object::Content::Chunks(chunks) = content
                {
                    piece = chunks.first().copied().or(piece);
                }
            }
        })
        .expect("walked");
    let place = index.find(&piece.expect("a piece")).expect("there");
    let pack = repository.dialect().pack_key(&index.pack_name(place.pack).expect("a name"));
    let store = base.fork();
    let bytes = store.contents()[&pack].clone();
    store.overwrite(&pack, bytes.slice(..bytes.len() - 1));
    check_refused(&scene, &store, Class::Damaged, "where its index says");
    let store = base.fork();
    scene.runtime.block_on(store.delete(&pack)).expect("deleted");
    check_refused(&scene, &store, Class::Damaged, "that are in use are missing");
}

#[test]
fn a_damaged_chunk_is_not_moved_and_its_pack_stays() {
    let scene = Scene::putting_aside();
    let store = forgotten(&scene, &[0]);
    let repository = scene.open(store.clone());
    let index = scene.runtime.block_on(repository.index()).expect("an index");
    let mut packs = Vec::new();
    index.for_each(|key, place| {
        if repository.dialect().role(key) == windlass_engine::model::chunk::Role::File {
            packs.push((index.pack_name(place.pack).expect("a name"), place.offset));
        }
    });
    // Whatever is moved out of a pack is damaged.
    for (pack, offset) in packs {
        let key = repository.dialect().pack_key(&pack);
        let mut bytes = store.contents()[&key].to_vec();
        bytes[offset as usize + 17] ^= 0x40;
        store.overwrite(&key, bytes);
    }
    let before = keys(&store, "data/");
    let repository = scene.open(store.clone());
    let everything = Limits { uncompressed: true, ..Limits::default() };
    let options = Options { limits: everything, ..options() };
    let error = try_clean(&scene, &repository, &options, |_| {}).expect_err("damaged");
    assert_eq!(error.class(), Class::Damaged, "{error}");
    assert!(error.to_string().contains("cannot be moved"), "{error}");
    let now = keys(&store, "data/");
    assert!(before.iter().all(|pack| now.contains(pack)));
    assert_eq!(locks(&store), [""; 0]);
}

#[test]
fn garbage_and_what_is_only_named_goes() {
    let scene = Scene::putting_aside();
    let store = forgotten(&scene, &[]);
    let garbage = Key::new(format!("data/{}", "ab".repeat(32)));
    store.overwrite(&garbage, vec![7; 1000]);
    let repository = scene.open(store.clone());
    let report = clean(&scene, &repository, &options());
    assert_eq!((report.forecast.unreferenced_bytes, report.packs_removed), (1000, 1));
    assert!(!keys(&store, "data/").contains(&garbage));
    // A pack of which nothing is in use is gone already, and the index still names it.
    let roots: Vec<RootId> = scene.roots(&repository).into_iter().map(|(id, _)| id).collect();
    forget(&scene, &repository, roots);
    let all = keys(&store, "data/");
    scene.runtime.block_on(store.delete(&all[0])).expect("deleted");
    clean(&scene, &repository, &options());
    assert_eq!(keys(&store, "data/"), []);
    assert_eq!(keys(&store, "index/"), []);
}

#[test]
fn limits_are_kept() {
    let scene = Scene::putting_aside();
    let base = forgotten(&scene, &[0, 2]);
    let clean_with = |limits: Limits| {
        let store = base.fork();
        let repository = scene.open(store.clone());
        let report = clean(&scene, &repository, &Options { limits, ..options() });
        scene.check_whole(&scene.open(store));
        report.forecast
    };
    let all = clean_with(options().limits);
    assert!(all.packs_repack > 0 && all.packs_remove > 0, "{all:?}");
    let unlimited = Limits { max_unused: MaxUnused::Unlimited, ..Limits::default() };
    // Packs of directories are always tidied up.
    let lazy = clean_with(Limits { small_pack_bytes: Some(1), ..unlimited });
    assert!(lazy.repack.bytes < all.repack.bytes / 10, "{lazy:?}");
    let none = clean_with(Limits { max_repack_bytes: Some(0), ..Limits::default() });
    assert_eq!((none.packs_repack, none.packs_remove), (0, all.packs_remove));
    let half = all.repack.bytes / 2;
    let some = clean_with(Limits { max_repack_bytes: Some(half), ..Limits::default() });
    assert!(some.repack.bytes > 0 && some.repack.bytes < half, "{some:?}");
    let meta = clean_with(Limits { meta_only: true, ..Limits::default() });
    assert!(meta.repack.bytes < all.repack.bytes / 10, "{meta:?}");
    let store = base.fork();
    let repository = scene.open(store.clone());
    let late = Options { most_time: Some(Duration::ZERO), ..options() };
    let report = clean(&scene, &repository, &late);
    assert_eq!(report.packs_postponed, all.packs_repack);
    scene.check_whole(&scene.open(store.clone()));
    // A little with every run comes to the same end.
    let limits = Limits { max_repack_bytes: Some(half), ..options().limits };
    let little = Options { limits, ..options() };
    let runs = (0..10).take_while(|_run| {
        let report = clean(&scene, &scene.open(store.clone()), &little);
        assert!(report.forecast.repack.bytes < half, "{report:?}");
        scene.check_whole(&scene.open(store.clone()));
        report.forecast.repack.bytes > 0
    });
    let runs = runs.count();
    assert!((1..10).contains(&runs), "{runs}");
    // What is left is more at once than that.
    let rest = clean(&scene, &scene.open(store), &options()).forecast;
    assert!(rest.repack.bytes < all.repack.bytes && rest.packs_repack <= 2, "{rest:?}");
}

#[test]
fn what_is_not_compressed_is_compressed_when_asked() {
    let scene = Scene::putting_aside();
    let at = scene.path("repository");
    empty_on_disk(&at, Version::V2);
    let Some(restic) = Restic::at(&at) else { return };
    scene.write("text", "the same again and again, ".repeat(200_000));
    scene.write("noise", noise(3, 900_000));
    let source = scene.source();
    let source = source.to_str().expect("UTF-8");
    restic.good(&["backup", "--compression=off", "--host", HOST, source]);
    let repository = scene.try_open_at(&Place::local(&at)).expect("opened");
    let limits = Limits { uncompressed: true, ..Limits::default() };
    let report = clean(&scene, &repository, &Options { limits, ..options() });
    assert!(report.forecast.repack.bytes > 900_000, "{report:?}");
    restic.check();
    let fresh = scene.try_open_at(&Place::local(&at)).expect("opened");
    let root = scene.roots(&fresh).pop().expect("a root").1;
    scene.check_restore(&fresh, &root, "target");
    let index = scene.runtime.block_on(fresh.index()).expect("an index");
    let mut bytes = 0;
    index.for_each(|_, place| bytes += u64::from(place.stored_bytes));
    assert!(bytes < 1_000_000, "{bytes}");
}

#[test]
fn a_full_disk_is_recovered_without_writing_first() {
    let scene = Scene::putting_aside();
    let base = forgotten(&scene, &[0, 2]);
    let limits = Limits { max_repack_bytes: Some(0), ..Limits::default() };
    let unsafe_way = Options { limits, recover_space: true, ..options() };
    let changes = record_clean(&scene, &base, &unsafe_way);
    let actions: Vec<Action> = changes
        .iter()
        .filter(|call| !call.object.starts_with("locks/"))
        .map(|call| call.action)
        .collect();
    let first_write = actions.iter().position(|action| *action == Action::Write);
    let last_delete = actions.iter().rposition(|action| *action == Action::Delete);
    assert!(last_delete < first_write, "{changes:?}");
    let store = base.fork();
    scene.runtime.block_on(replay(&changes, &store)).expect("replayed");
    scene.check_whole(&scene.open(store));
}

#[test]
fn a_root_that_cannot_be_removed_keeps_no_other() {
    let scene = Scene::putting_aside();
    let base = forgotten(&scene, &[]);
    let faulty = FaultyStore::new(base.clone());
    faulty.faults().once(Action::Delete, "snapshots/", 1, Broken::Fail(Failure::Denied));
    let repository = scene.open(faulty);
    let roots: Vec<RootId> = scene.roots(&repository).into_iter().map(|(id, _)| id).collect();
    let presence = scene.announce(&repository, Access::Exclusive);
    let right = presence.delete_right().expect("alone");
    let cancel = Cancel::new();
    let removing = forget::run(&repository, &right, roots.clone(), &cancel, |_, _| {});
    let report = scene.runtime.block_on(removing).expect("done");
    assert_eq!((report.removed.len(), report.failed.len()), (3, 1));
    scene.runtime.block_on(presence.release()).expect("released");
    let left = scene.roots(&repository);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].0, report.failed[0].0);
}

#[test]
fn what_fails_to_go_is_garbage_and_never_a_hole() {
    let scene = Scene::putting_aside();
    let base = forgotten(&scene, &[0, 2]);
    for (action, prefix, fault) in [
        (Action::Write, "data/", Broken::Fail(Failure::NoSpace)),
        (Action::Write, "index/", Broken::Fail(Failure::Transient)),
        (Action::Write, "index/", Broken::LoseAnswer),
        (Action::Delete, "index/", Broken::Fail(Failure::Denied)),
        (Action::Delete, "index/", Broken::LoseAnswer),
        (Action::Delete, "data/", Broken::Fail(Failure::Denied)),
        (Action::Delete, "data/", Broken::LoseAnswer),
        (Action::Read, "data/", Broken::Fail(Failure::Transient)),
    ] {
        for nth in 0..3 {
            let told = format!("{action:?} {prefix} {fault:?} {nth}");
            let store = base.fork();
            let faulty = FaultyStore::new(store.clone());
            let repository = scene.open(faulty_with(faulty, action, prefix, nth, fault));
            let before = keys(&store, "data/");
            match try_clean(&scene, &repository, &options(), |_| {}) {
                // A pack that could not be removed, or one that was and nobody said so.
                Ok(report) => assert!(report.packs_left.len() <= 1, "{told}"),
                Err(error) => {
                    let now = keys(&store, "data/");
                    assert!(before.iter().all(|pack| now.contains(pack)), "{told}: {error}");
                }
            }
            let fresh = scene.open(store.clone());
            assert_eq!(scene.roots(&fresh).len(), 2, "{told}");
            scene.check_whole(&fresh);
            assert_eq!(locks(&store), [""; 0], "{told}");
            clean(&scene, &fresh, &options());
            scene.check_whole(&scene.open(store));
        }
    }
}

fn faulty_with(
    faulty: FaultyStore,
    action: Action,
    prefix: &str,
    nth: usize,
    fault: Broken,
) -> FaultyStore {
    faulty.faults().once(action, prefix, nth, fault);
    faulty
}

#[test]
fn only_who_is_alone_has_the_right_to_remove() {
    let scene = Scene::putting_aside();
    let repository = scene.open(empty(Version::V2));
    let shared = scene.announce(&repository, Access::Shared);
    shared.delete_right().expect_err("others may be there");
    Presence::Silent.delete_right().expect_err("nobody knows");
    scene.runtime.block_on(shared.release()).expect("released");
    let alone = scene.announce(&repository, Access::Exclusive);
    alone.delete_right().expect("alone");
    scene.runtime.block_on(alone.release()).expect("released");
}
