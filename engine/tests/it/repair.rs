//! Making damaged repositories whole: what can be read is never lost by it.

use std::{collections::BTreeSet, sync::Arc};

use windlass_engine::{
    cancel::Cancel,
    fault::{Class, Fault},
    model::{
        chunk::{ChunkKey, Role},
        pack::{Location, PackName},
        root::{Root, RootId},
    },
    monitor::Silent,
    protocol::{Access, Presence},
    recover,
    repair::{index, packs},
    repository::{Place, Repository},
    store::{Backend, Failure, Key, memory::MemoryStore},
};
use windlass_format::{restic::config::Version, time::Timestamp};
use windlass_testkit::{
    faulty::{Fault as Broken, FaultyStore},
    recording::{Action, Call, RecordingStore, replay},
    stale::StaleListing,
};

use super::{
    peer::Restic,
    scene::{Scene, announcement, empty, empty_on_disk, locks, noise},
};

const PACK_BYTES: u64 = 1 << 20;

/// Does something alone.
fn alone<T>(
    scene: &Scene,
    repository: &Repository,
    work: impl AsyncFnOnce(&Presence, &Cancel) -> T,
) -> T {
    let announcement = announcement(Access::Exclusive);
    let cancel = Cancel::new();
    scene.runtime.block_on(async {
        let announced = repository.protocol().announce(&announcement, &cancel).await;
        let presence = announced.expect("announced");
        let done = work(&presence, &cancel).await;
        presence.release().await.expect("released");
        done
    })
}

fn try_rebuild(
    scene: &Scene,
    repository: &Repository,
    read_all: bool,
) -> Result<index::Report, Fault> {
    let options = index::Options { read_all, only_named: false, pack_bytes: PACK_BYTES };
    alone(scene, repository, async |presence, cancel| {
        index::run(repository, &options, presence, cancel, &mut |_| {}).await
    })
}

fn rebuild(scene: &Scene, store: &MemoryStore, read_all: bool) -> index::Report {
    let report = try_rebuild(scene, &scene.open(store.clone()), read_all).expect("rebuilt");
    assert_eq!(locks(store), [""; 0]);
    report
}

fn try_salvage(
    scene: &Scene,
    repository: &Repository,
    ids: Vec<PackName>,
) -> Result<packs::Report, packs::PacksError> {
    let options = packs::Options { packs: ids, pack_bytes: PACK_BYTES };
    alone(scene, repository, async |presence, cancel| {
        packs::run(repository, &options, presence, cancel).await
    })
}

/// Two backups with many small files and a few large ones.
fn history(scene: &Scene, store: MemoryStore) {
    let repository = scene.open(store);
    for round in 0..2_u64 {
        scene.write("large", noise(1 + round, 1_500_000));
        for number in 0..40 {
            scene.write(&format!("d{}/{number}", number % 3), noise(100 + number + round, 9_000));
        }
        let options = windlass_engine::backup::Options { pack_bytes: 1 << 20, ..scene.options() };
        scene.try_back_up(&repository, options).expect("backed up");
    }
}

fn keys(store: &MemoryStore, prefix: &str) -> Vec<Key> {
    store.contents().into_keys().filter(|key| key.as_str().starts_with(prefix)).collect()
}

fn delete(scene: &Scene, store: &MemoryStore, key: &Key) {
    scene.runtime.block_on(store.delete(key)).expect("deleted");
}

/// All places of all chunks, by the names of packs.
fn places(scene: &Scene, store: &MemoryStore) -> BTreeSet<(ChunkKey, PackName, u32, u32)> {
    let repository = scene.open(store.clone());
    let index = scene.runtime.block_on(repository.index()).expect("an index");
    let mut places = BTreeSet::new();
    index.for_each(|key, place: &Location| {
        let pack = index.pack_name(place.pack).expect("a name");
        places.insert((*key, pack, place.offset, place.stored_bytes));
    });
    places
}

/// The name of a pack with several chunks of this role, and those chunks from front to back.
fn a_pack(scene: &Scene, store: &MemoryStore, role: Role) -> (PackName, Vec<(ChunkKey, u32, u32)>) {
    let repository = scene.open(store.clone());
    let mut by_pack = std::collections::BTreeMap::new();
    for (key, pack, offset, len) in places(scene, store) {
        if repository.dialect().role(&key) == role {
            by_pack.entry(pack).or_insert_with(Vec::new).push((key, offset, len));
        }
    }
    let (name, mut chunks) =
        by_pack.into_iter().max_by_key(|(_, chunks)| chunks.len()).expect("a pack");
    chunks.sort_by_key(|(_, offset, _)| *offset);
    assert!(chunks.len() > 1);
    (name, chunks)
}

fn pack_key(name: &PackName) -> Key {
    Key::new(format!("data/{name}"))
}

#[test]
fn an_index_is_rebuilt_from_packs_alone() {
    let scene = Scene::putting_aside();
    for version in [Version::V1, Version::V2] {
        let base = empty(version);
        history(&scene, base.clone());
        let before = places(&scene, &base);
        let whole = base.fork();
        let names = keys(&whole, "index/");
        let report = rebuild(&scene, &whole, false);
        assert_eq!(report, index::Report::default());
        assert_eq!(keys(&whole, "index/"), names, "what is good is left alone");
        // None left, one damaged, and all believed to be wrong.
        let none = base.fork();
        names.iter().for_each(|name| delete(&scene, &none, name));
        let report = rebuild(&scene, &none, false);
        assert_eq!(report.packs_added as usize, keys(&base, "data/").len());
        let damaged = base.fork();
        damaged.overwrite(&names[0], &b"no index"[..]);
        assert_eq!(rebuild(&scene, &damaged, false).segments_invalid, 1);
        assert!(!keys(&damaged, "index/").contains(&names[0]));
        let all = base.fork();
        rebuild(&scene, &all, true);
        for store in [none, damaged, all] {
            assert_eq!(places(&scene, &store), before);
            scene.check_whole(&scene.open(store));
        }
    }
}

#[test]
fn a_pack_that_is_gone_leaves_the_index() {
    let scene = Scene::putting_aside();
    let store = empty(Version::V2);
    history(&scene, store.clone());
    let (name, chunks) = a_pack(&scene, &store, Role::File);
    let mut expected = places(&scene, &store);
    delete(&scene, &store, &pack_key(&name));
    let report = rebuild(&scene, &store, false);
    assert_eq!((report.packs_missing, report.packs_added), (1, 0));
    expected.retain(|(_, pack, ..)| *pack != name);
    assert_eq!(places(&scene, &store), expected);
    assert!(!chunks.is_empty());
}

#[test]
fn what_only_the_old_index_can_find_in_a_truncated_pack_is_moved() {
    let scene = Scene::putting_aside();
    let base = empty(Version::V2);
    history(&scene, base.clone());
    for role in [Role::File, Role::Directory] {
        let (name, chunks) = a_pack(&scene, &base, role);
        for read_all in [false, true] {
            let store = base.fork();
            let bytes = store.contents()[&pack_key(&name)].clone();
            let (last, offset, _) = *chunks.last().expect("chunks");
            // The last chunk and the end are gone.
            store.overwrite(&pack_key(&name), bytes.slice(..offset as usize + 20));
            let report = rebuild(&scene, &store, read_all);
            assert_eq!(report.packs_incomplete, std::slice::from_ref(&name));
            assert_eq!(report.chunks_salvaged as usize, chunks.len() - 1);
            assert_eq!(report.chunks_lost, [last]);
            assert!(keys(&store, "data/").contains(&pack_key(&name)), "nothing is removed");
            let now = places(&scene, &store);
            assert!(now.iter().all(|(_, pack, ..)| *pack != name));
            let reader = scene.open(store.clone());
            let reader = scene.runtime.block_on(reader.reader()).expect("an index");
            for (chunk, ..) in &chunks[..chunks.len() - 1] {
                reader.chunk(chunk, &mut Vec::new()).expect("saved");
            }
            assert_eq!(rebuild(&scene, &store, read_all).chunks_salvaged, 0);
        }
    }
}

#[test]
fn what_is_good_in_a_damaged_pack_is_saved_before_it_goes() {
    let scene = Scene::putting_aside();
    let base = empty(Version::V2);
    history(&scene, base.clone());
    let (name, chunks) = a_pack(&scene, &base, Role::File);
    let (bad, offset, _) = chunks[1];
    let store = base.fork();
    let mut bytes = store.contents()[&pack_key(&name)].to_vec();
    bytes[offset as usize + 18] ^= 1;
    store.overwrite(&pack_key(&name), bytes);
    let report = try_salvage(&scene, &scene.open(store.clone()), vec![name.clone()]);
    let report = report.expect("salvaged");
    assert_eq!(report.chunks_saved as usize, chunks.len() - 1);
    assert_eq!((report.lost, report.removed), (vec![bad], vec![name.clone()]));
    assert!(!keys(&store, "data/").contains(&pack_key(&name)));
    let now: BTreeSet<ChunkKey> = places(&scene, &store).into_iter().map(|place| place.0).collect();
    assert!(!now.contains(&bad) && chunks.iter().all(|(key, ..)| *key == bad || now.contains(key)));
    // One that is not damaged can be named, too, and one that is not there cannot.
    let store = base.fork();
    let report = try_salvage(&scene, &scene.open(store.clone()), vec![name]).expect("salvaged");
    assert_eq!((report.chunks_saved as usize, report.lost.len()), (chunks.len(), 0));
    scene.check_whole(&scene.open(store.clone()));
    let unknown = PackName::Hash([9; 32]);
    let error =
        try_salvage(&scene, &scene.open(store.clone()), vec![unknown]).expect_err("unknown");
    assert_eq!(error.class(), Class::WrongInput);
    store.overwrite(&keys(&store, "index/")[0], &b"no index"[..]);
    let unknown = PackName::Hash([9; 32]);
    let error = try_salvage(&scene, &scene.open(store), vec![unknown]).expect_err("damaged");
    assert!(matches!(error, packs::PacksError::DamagedIndex(_)), "{error}");
}

#[test]
fn a_pack_that_cannot_be_reached_is_not_given_up() {
    let scene = Scene::putting_aside();
    let base = empty(Version::V2);
    history(&scene, base.clone());
    let (name, chunks) = a_pack(&scene, &base, Role::File);
    for (failure, ends) in [
        (Failure::Transient, true),
        (Failure::Throttled, true),
        (Failure::Denied, true),
        (Failure::Permanent, true),
    ] {
        let store = base.fork();
        let faulty = FaultyStore::new(store.clone());
        faulty.faults().always(Action::Read, pack_key(&name).as_str(), Broken::Fail(failure));
        let before = places(&scene, &store);
        let done = try_salvage(&scene, &scene.open(faulty), vec![name.clone()]);
        assert_eq!(done.is_err(), ends, "{failure:?}");
        assert!(keys(&store, "data/").contains(&pack_key(&name)));
        assert_eq!(places(&scene, &store), before);
    }
    // A part that the disk refuses for good: what is readable is saved, and the pack is kept.
    let store = base.fork();
    let faulty = FaultyStore::new(store.clone());
    let faults = faulty.faults();
    let repository = scene.open(faulty);
    // The end is read first, then all at once, then one by one.
    faults.add(windlass_testkit::faulty::Rule {
        action: Action::Read,
        prefix: pack_key(&name).as_str().to_owned(),
        skip: 1,
        times: 2,
        fault: Broken::Fail(Failure::Permanent),
    });
    let report = try_salvage(&scene, &repository, vec![name.clone()]).expect("salvaged");
    assert_eq!(report.chunks_saved as usize, chunks.len() - 1);
    assert_eq!((report.kept, report.removed), (vec![name.clone()], vec![]));
    assert!(keys(&store, "data/").contains(&pack_key(&name)));
}

#[test]
fn what_comes_out_wrong_once_is_not_given_up() {
    let scene = Scene::putting_aside();
    let base = empty(Version::V2);
    history(&scene, base.clone());
    for role in [Role::File, Role::Directory] {
        let (name, chunks) = a_pack(&scene, &base, role);
        for fault in [Broken::FlipBit(3000), Broken::CutShort, Broken::Fail(Failure::NotFound)] {
            // The end, all of it, and one of its chunks.
            for nth in 0..3 {
                let store = base.fork();
                let faulty = FaultyStore::new(store.clone());
                let faults = faulty.faults();
                let repository = scene.open(faulty);
                faults.once(Action::Read, pack_key(&name).as_str(), nth, fault);
                let told = format!("{role:?} {fault:?} {nth}");
                if let Ok(report) = try_salvage(&scene, &repository, vec![name.clone()]) {
                    assert_eq!(report.chunks_saved as usize, chunks.len(), "{told}");
                    assert_eq!((report.lost.len(), report.unread.len()), (0, 0), "{told}");
                }
                check_nothing_lost(&scene, &base, &store, &told);
            }
        }
    }
    // The same for the index.
    for fault in [Broken::FlipBit(300), Broken::CutShort] {
        let store = base.fork();
        let faulty = FaultyStore::new(store.clone());
        let faults = faulty.faults();
        let repository = scene.open(faulty);
        faults.once(Action::Read, "index/", 0, fault);
        let report = try_rebuild(&scene, &repository, false).expect("rebuilt");
        assert_eq!(report, index::Report::default(), "{fault:?}");
        assert!(faults.all_happened());
    }
}

#[test]
fn a_pack_that_is_not_listed_yet_stays_in_the_index() {
    let scene = Scene::putting_aside();
    let store = empty(Version::V2);
    let stale = StaleListing::new(store.clone());
    scene.runtime.block_on(stale.freeze("data")).expect("listed");
    history(&scene, store.clone());
    let before = store.contents();
    let report = try_rebuild(&scene, &scene.open(stale), false).expect("rebuilt");
    assert_eq!(report, index::Report::default());
    assert_eq!(store.contents(), before);
}

/// Every chunk that could be read before can be read now.
fn check_nothing_lost(scene: &Scene, before: &MemoryStore, after: &MemoryStore, told: &str) {
    let (old, new) = (scene.open(before.clone()), scene.open(after.clone()));
    let old = scene.runtime.block_on(old.reader()).expect("an index");
    let new = scene.runtime.block_on(new.reader()).expect("an index");
    let chunks: BTreeSet<ChunkKey> = places(scene, before).into_iter().map(|it| it.0).collect();
    for chunk in chunks {
        if old.chunk(&chunk, &mut Vec::new()).is_ok() {
            new.chunk(&chunk, &mut Vec::new()).unwrap_or_else(|fault| panic!("{told}: {fault}"));
        }
    }
}

fn changes_of(log: &windlass_testkit::recording::Log) -> Vec<Call> {
    log.changes().into_iter().filter(|call| !call.object.starts_with("locks/")).collect()
}

/// Something that changes a repository.
type Work<'a> = &'a dyn Fn(&Repository);

#[test]
fn a_crash_at_any_change_loses_nothing_that_can_be_read() {
    let scene = Scene::putting_aside();
    let base = empty(Version::V2);
    history(&scene, base.clone());
    let (name, chunks) = a_pack(&scene, &base, Role::File);
    let bytes = base.contents()[&pack_key(&name)].to_vec();
    let (_, middle, _) = chunks[chunks.len() / 2];
    let truncated = base.fork();
    truncated.overwrite(&pack_key(&name), bytes[..middle as usize + 9].to_vec());
    let flipped = base.fork();
    let mut other = bytes;
    other[middle as usize + 9] ^= 8;
    flipped.overwrite(&pack_key(&name), other);
    let record = |store: &MemoryStore, work: Work<'_>| {
        let recording = RecordingStore::new(store.fork());
        let log = recording.log();
        work(&scene.open(recording));
        changes_of(&log)
    };
    let rebuild = |repository: &Repository| {
        try_rebuild(&scene, repository, false).expect("rebuilt");
    };
    let rebuild_all = |repository: &Repository| {
        try_rebuild(&scene, repository, true).expect("rebuilt");
    };
    let salvage = |repository: &Repository| {
        try_salvage(&scene, repository, vec![name.clone()]).expect("salvaged");
    };
    let works: [(&str, &MemoryStore, Work<'_>); 3] = [
        ("index", &truncated, &rebuild),
        ("whole index", &truncated, &rebuild_all),
        ("packs", &flipped, &salvage),
    ];
    for (what, store, work) in works {
        let changes = record(store, work);
        assert!(changes.len() >= 4, "{what}: {changes:?}");
        for cut in 0..=changes.len() {
            let told = format!("{what} after {cut} of {}", changes.len());
            let crashed = store.fork();
            scene.runtime.block_on(replay(&changes[..cut], &crashed)).expect("replayed");
            check_nothing_lost(&scene, store, &crashed, &told);
            try_rebuild(&scene, &scene.open(crashed.clone()), false).expect("rebuilt");
            check_nothing_lost(&scene, store, &crashed, &told);
        }
    }
}

#[test]
fn what_fails_loses_nothing_either() {
    let scene = Scene::putting_aside();
    let base = empty(Version::V2);
    history(&scene, base.clone());
    let (name, chunks) = a_pack(&scene, &base, Role::File);
    let bytes = base.contents()[&pack_key(&name)].clone();
    base.overwrite(&pack_key(&name), bytes.slice(..chunks[1].1 as usize + 9));
    for (action, prefix, fault) in [
        (Action::Write, "data/", Broken::Fail(Failure::NoSpace)),
        (Action::Write, "index/", Broken::Fail(Failure::Transient)),
        (Action::Write, "index/", Broken::LoseAnswer),
        (Action::Delete, "index/", Broken::Fail(Failure::Denied)),
        (Action::List, "data", Broken::Fail(Failure::Transient)),
        (Action::List, "index", Broken::Fail(Failure::Transient)),
        (Action::Read, "index/", Broken::Fail(Failure::Transient)),
        (Action::Read, "data/", Broken::Fail(Failure::Transient)),
    ] {
        for all in [false, true] {
            let told = format!("{action:?} {prefix} {fault:?} {all}");
            let store = base.fork();
            let faulty = FaultyStore::new(store.clone());
            let faults = faulty.faults();
            let repository = scene.open(faulty);
            faults.once(action, prefix, 0, fault);
            try_rebuild(&scene, &repository, all).expect_err(&told);
            assert!(faults.all_happened(), "{told}");
            assert_eq!(locks(&store), [""; 0], "{told}");
            check_nothing_lost(&scene, &base, &store, &told);
            rebuild(&scene, &store, all);
            check_nothing_lost(&scene, &base, &store, &told);
        }
    }
}

/// The same repository twice, in directories.
fn twins(scene: &Scene, store: &MemoryStore) -> Option<(Restic, Restic)> {
    let write = |name: &str| {
        let at = scene.path(name);
        empty_on_disk(&at, Version::V2);
        for (key, bytes) in store.contents() {
            let path = match key.as_str().strip_prefix("data/") {
                Some(pack) => at.join("data").join(&pack[..2]).join(pack),
                None => at.join(key.as_str()),
            };
            std::fs::write(path, bytes).expect("written");
        }
        Restic::at(&at)
    };
    Some((write("ours")?, write("theirs")?))
}

#[test]
fn restic_finds_nothing_wrong_with_what_was_repaired() {
    let scene = Scene::putting_aside();
    let store = empty(Version::V2);
    history(&scene, store.clone());
    let (name, chunks) = a_pack(&scene, &store, Role::File);
    let mut bytes = store.contents()[&pack_key(&name)].to_vec();
    bytes[chunks[1].1 as usize + 18] ^= 1;
    store.overwrite(&pack_key(&name), bytes);
    let index = keys(&store, "index/").swap_remove(0);
    delete(&scene, &store, &index);
    let Some((ours, theirs)) = twins(&scene, &store) else { return };
    let at = scene.path("ours");
    let open = || scene.try_open_at(&Place::local(&at)).expect("opened");
    try_rebuild(&scene, &open(), false).expect("rebuilt");
    if theirs.version >= (0, 19) {
        theirs.run(&["repair", "index"]);
        let blobs = |restic: &Restic| -> BTreeSet<String> {
            restic.good(&["list", "blobs"]).lines().map(str::to_owned).collect()
        };
        assert_eq!(blobs(&ours), blobs(&theirs));
    }
    try_salvage(&scene, &open(), vec![name]).expect("salvaged");
    let checked = ours.run(&["check", "--read-data"]);
    assert!(!checked.status.success(), "a file lacks a piece");
    if theirs.version >= (0, 19) {
        ours.run(&["repair", "snapshots", "--forget"]);
        ours.check();
    }
}

/// What is recovered goes into a root like this.
pub(super) fn recovered_root() -> Root {
    Root {
        time: Timestamp::utc(1_700_000_000, 0),
        parent: None,
        tree: ChunkKey::full(0, [0; 32]),
        top: None,
        paths: vec!["/recover".into()],
        hostname: "host".into(),
        username: "somebody".into(),
        uid: 0,
        gid: 0,
        excludes: Vec::new(),
        tags: vec!["recovered".into()],
        original: None,
        description: String::new(),
        program: "test".into(),
        summary: None,
    }
}

fn recovered(scene: &Scene, repository: &Repository) -> Result<Option<RootId>, Fault> {
    let root = recovered_root();
    let options = recover::Options { root, pack_bytes: PACK_BYTES };
    alone(scene, repository, async |presence, cancel| {
        let monitor = Arc::new(Silent::default());
        let step = Arc::new(|_: recover::Step<'_>| {});
        recover::run(repository, &options, presence, monitor, cancel, step).await
    })
}

#[test]
fn forgotten_roots_come_back_as_directories_of_one() {
    let scene = Scene::putting_aside();
    let store = empty(Version::V2);
    history(&scene, store.clone());
    let repository = scene.open(store.clone());
    let roots = scene.roots(&repository);
    assert_eq!(recovered(&scene, &repository).expect("looked"), None);
    delete(&scene, &store, &Key::new(format!("snapshots/{}", roots[0].0)));
    // A root that cannot be read refers to nothing.
    let second = Key::new(format!("snapshots/{}", roots[1].0));
    store.overwrite(&second, &b"no snapshot"[..]);
    let repository = scene.open(store.clone());
    let id = recovered(&scene, &repository).expect("recovered").expect("a root");
    delete(&scene, &store, &second);
    let fresh = scene.open(store.clone());
    let [(stored, root)] = &scene.roots(&fresh)[..] else { panic!("one root") };
    assert_eq!((stored, root.tags.as_slice()), (&id, &["recovered".to_owned()][..]));
    scene.check_whole(&fresh);
    let reader = scene.runtime.block_on(fresh.reader()).expect("an index");
    let directory = reader.directory(&root.tree).expect("readable");
    let names: Vec<String> = directory
        .entries
        .iter()
        .map(|entry| String::from_utf8(entry.name.to_vec()).expect("UTF-8"))
        .collect();
    let short = |root: &Root| windlass_format::id::to_hex(root.tree.hash())[..8].to_owned();
    let mut expected: Vec<String> = roots.iter().map(|(_, root)| short(root)).collect();
    expected.sort();
    assert_eq!(names, expected);
    assert_eq!(recovered(&scene, &scene.open(store.clone())).expect("looked"), None);
    let Some((restic, _)) = twins(&scene, &store) else { return };
    restic.check();
    let target = scene.path("restored");
    restic.good(&["restore", "latest", "--target", target.to_str().expect("UTF-8")]);
    let source = scene.source();
    let below = source.strip_prefix("/").expect("absolute");
    let restored = target.join(short(&roots[1].1)).join(below);
    assert_eq!(super::scene::differences(&source, &restored), []);
}

#[test]
fn a_crash_of_recovering_leaves_a_root_or_none() {
    let scene = Scene::putting_aside();
    let base = empty(Version::V2);
    history(&scene, base.clone());
    let roots = scene.roots(&scene.open(base.clone()));
    delete(&scene, &base, &Key::new(format!("snapshots/{}", roots[0].0)));
    let recording = RecordingStore::new(base.fork());
    let log = recording.log();
    recovered(&scene, &scene.open(recording)).expect("recovered");
    let changes = changes_of(&log);
    assert_eq!(changes.len(), 3, "a pack, an index, a root: {changes:?}");
    for cut in 0..=changes.len() {
        let store = base.fork();
        scene.runtime.block_on(replay(&changes[..cut], &store)).expect("replayed");
        scene.check_whole(&scene.open(store.clone()));
        recovered(&scene, &scene.open(store.clone())).expect("recovered");
        let fresh = scene.open(store);
        scene.check_whole(&fresh);
        assert_eq!(scene.roots(&fresh).len(), 2, "after {cut}");
    }
    // Directories that cannot be reached are no reason to leave them out.
    let faulty = FaultyStore::new(base.fork());
    faulty.faults().always(Action::Read, "data/", Broken::Fail(Failure::Transient));
    let error = recovered(&scene, &scene.open(faulty)).expect_err("unread");
    assert_eq!(error.class(), Class::Retry);
}
