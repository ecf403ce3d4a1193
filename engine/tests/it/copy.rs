//! Copying roots into another repository: whole or not at all, and never twice.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use windlass_engine::{
    cancel::Cancel,
    copy::{self, CopyError, Options, Report, Step},
    fault::Class,
    model::{
        chunk::{ChunkKey, Role},
        pack::{Lane, PackInfo, PackName, PackedChunk},
        root::RootId,
    },
    monitor::Silent,
    protocol::{Access, amend::Amendment},
    repository::{Place, Repository},
    store::{Failure, Key, memory::MemoryStore},
};
use windlass_format::restic::config::Version;
use windlass_testkit::{
    faulty::{Fault as Broken, FaultyStore},
    recording::{Action, Call, RecordingStore, replay},
};

use super::{
    peer::Restic,
    scene::{Scene, announcement, empty, empty_on_disk, locks, noise},
};

fn try_copy(
    scene: &Scene,
    source: &Repository,
    target: &Repository,
) -> Result<(Report, Vec<String>), CopyError> {
    let options = Options { roots: scene.roots(source), pack_bytes: 1 << 20 };
    let (monitor, cancel) = (Arc::new(Silent::default()), Cancel::new());
    let steps = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&steps);
    let step = Arc::new(move |step: Step<'_>| {
        let word = match step {
            Step::There { .. } => "there",
            Step::Began { .. } => "began",
            Step::Found { .. } => "found",
            Step::Stored { .. } => "stored",
        };
        told.lock().expect("no panic").push(word.to_owned());
    });
    let copied = scene.runtime.block_on(async {
        let announced = target.protocol().announce(&announcement(Access::Shared), &cancel).await;
        let presence = announced.map_err(|error| match error {
            windlass_engine::protocol::AnnounceError::Fault(fault) => CopyError::Fault(fault),
            busy => panic!("{busy}"),
        })?;
        let copied = copy::run(source, target, &options, &presence, monitor, &cancel, step).await;
        let released = presence.release().await;
        let copied = copied?;
        released?;
        Ok(copied)
    });
    let steps = steps.lock().expect("no panic").clone();
    copied.map(|report| (report, steps))
}

fn copy(scene: &Scene, source: &Repository, target: &Repository) -> Report {
    try_copy(scene, source, target).expect("copied").0
}

/// A repository of three backups, whose source is as in the last one.
fn history(scene: &Scene, store: MemoryStore) -> Repository {
    let repository = scene.open(store);
    scene.write("always", noise(1, 2_500_000));
    for number in 0..3_u8 {
        scene.write("changing", noise(10 + u64::from(number), 1_200_000));
        scene.write(&format!("d{number}/small"), [number; 1000]);
        scene.write("text", format!("{number} and so on ").repeat(100_000));
        let options = windlass_engine::backup::Options { pack_bytes: 1 << 20, ..scene.options() };
        scene.try_back_up(&repository, options).expect("backed up");
    }
    repository
}

/// Every root of the source is in the target, whole, once.
fn check_copied(scene: &Scene, source: &Repository, target: MemoryStore, told: &str) {
    let target = scene.open(target);
    let (from, to) = (scene.roots(source), scene.roots(&target));
    assert_eq!(from.len(), to.len(), "{told}");
    for ((old, one), (_, other)) in from.iter().zip(&to) {
        assert_eq!((one.tree, one.time, &one.summary), (other.tree, other.time, &other.summary));
        assert_eq!((other.original.as_ref(), other.parent.as_ref()), (Some(old), None), "{told}");
        assert_eq!((&one.program, &one.paths), (&other.program, &other.paths));
    }
    scene.check_whole(&target);
}

#[test]
fn what_is_copied_is_whole_and_nothing_is_copied_twice() {
    let scene = Scene::new();
    let source = history(&scene, empty(Version::V1));
    let store = empty(Version::V2);
    let target = scene.open(store.clone());
    let (report, steps) = try_copy(&scene, &source, &target).expect("copied");
    assert_eq!((report.copied.len(), report.there.len()), (3, 0));
    let expected = [["began", "found"]; 3].concat();
    assert_eq!(steps, [expected, vec!["stored"; 3]].concat());
    check_copied(&scene, &source, store.clone(), "first");
    assert_eq!(locks(&store), [""; 0]);
    let root = scene.roots(&target).pop().expect("a root").1;
    scene.check_restore(&target, &root, "target");
    // Once more: there is nothing to do, by this handle and by a new one.
    for target in [target, scene.open(store.clone())] {
        let before = store.contents().len();
        let again = copy(&scene, &source, &target);
        assert_eq!((again.copied.len(), again.there.len(), again.chunks), (0, 3, 0));
        assert_eq!(store.contents().len(), before);
    }
    // And a copy of a copy is the same as the first.
    let third = empty(Version::V2);
    let copy_of_copy = scene.open(third.clone());
    copy(&scene, &scene.open(store), &copy_of_copy);
    let back = copy(&scene, &copy_of_copy, &source);
    assert_eq!((back.copied.len(), back.there.len()), (0, 3));
    let again = copy(&scene, &source, &copy_of_copy);
    assert_eq!((again.copied.len(), again.there.len()), (0, 3));
}

#[test]
fn only_what_is_new_is_stored_and_what_was_changed_is_another_root() {
    let scene = Scene::new();
    let source_store = empty(Version::V2);
    let source = history(&scene, source_store.clone());
    let store = empty(Version::V2);
    let target = scene.open(store.clone());
    copy(&scene, &source, &target);
    let source = scene.open(source_store);
    scene.write("new", noise(77, 300_000));
    scene.back_up(&source);
    let more = copy(&scene, &source, &target);
    assert_eq!((more.copied.len(), more.there.len()), (1, 3));
    assert!((300_000..400_000).contains(&more.stored_bytes), "{more:?}");
    // Other tags make another root, of which nothing but itself is new.
    let (id, _) = scene.roots(&source).swap_remove(0);
    let cancel = Cancel::new();
    let tagged = scene.runtime.block_on(async {
        let announced = source.protocol().announce(&announcement(Access::Shared), &cancel).await;
        let presence = announced.expect("announced");
        let tags = Amendment { tags: Some(vec!["kept".into()]), ..Amendment::default() };
        let new = source.protocol().amend_root(&presence, &id, &tags).await.expect("changed");
        presence.release().await.expect("released");
        new
    });
    let more = copy(&scene, &source, &target);
    assert_eq!((more.copied.len(), more.there.len(), more.chunks), (1, 4, 0));
    assert_eq!(more.copied[0].0, tagged);
    let root = scene.roots(&scene.open(store)).into_iter().find(|(_, root)| root.tags == ["kept"]);
    assert_eq!(root.expect("there").1.original, Some(id));
}

fn on_disk(scene: &Scene, name: &str, version: Version) -> (std::path::PathBuf, Repository) {
    let at = scene.path(name);
    empty_on_disk(&at, version);
    let repository = scene.try_open_at(&Place::local(&at)).expect("opened");
    (at, repository)
}

/// `restic copy` from one directory to another; how many snapshots it stored.
fn restic_copy(restic: &Restic, from: &Path) -> usize {
    let from = from.to_str().expect("UTF-8");
    let output = restic
        .command(&["copy", "--from-repo", from])
        .env("RESTIC_FROM_PASSWORD", "secret")
        .output()
        .expect("restic runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.contains(" saved")).count()
}

#[test]
fn restic_finds_nothing_wrong_and_nothing_left_to_copy() {
    let scene = Scene::new();
    let (at, source) = on_disk(&scene, "source repository", Version::V2);
    let Some(restic) = Restic::at(&at) else { return };
    scene.write("list", "line\n".repeat(400_000));
    scene.write("d/noise", noise(3, 3_000_000));
    scene.back_up(&source);
    scene.write("theirs", noise(4, 700_000));
    restic.back_up(&scene.source());
    // Another key and another polynomial, as restic chooses them.
    let theirs = scene.path("target repository");
    let target_restic = Restic::at(&theirs).expect("restic");
    target_restic.good(&["init"]);
    let open = |at: &Path| scene.try_open_at(&Place::local(at)).expect("opened");
    let report = copy(&scene, &open(&at), &open(&theirs));
    assert_eq!(report.copied.len(), 2);
    target_restic.check();
    let target = scene.path("restored");
    target_restic.good(&["restore", "latest", "--target", target.to_str().expect("UTF-8")]);
    let source_path = scene.source();
    let restored = target.join(source_path.strip_prefix("/").expect("absolute"));
    assert_eq!(super::scene::differences(&source_path, &restored), []);
    // restic takes ours for copies, and ours takes restic's.
    assert_eq!(restic_copy(&target_restic, &at), 0);
    let (third, _) = on_disk(&scene, "third repository", Version::V2);
    assert_eq!(restic_copy(&Restic::at(&third).expect("restic"), &at), 2);
    let again = copy(&scene, &open(&at), &open(&third));
    assert_eq!((again.copied.len(), again.there.len()), (0, 2));
    // What both wrote is the same but for the key.
    let told = |restic: &Restic| -> Vec<serde_json::Value> {
        let told = restic.good(&["snapshots", "--json"]);
        let mut told: Vec<serde_json::Value> = serde_json::from_str(&told).expect("JSON");
        for snapshot in &mut told {
            let fields = snapshot.as_object_mut().expect("an object");
            fields.remove("id");
            fields.remove("short_id");
        }
        told
    };
    assert_eq!(told(&target_restic), told(&Restic::at(&third).expect("restic")));
}

#[test]
fn a_crash_at_any_write_loses_nothing_and_the_next_run_ends_the_work() {
    let scene = Scene::new();
    let source = history(&scene, empty(Version::V2));
    let recording = RecordingStore::new(empty(Version::V2));
    let log = recording.log();
    let all = copy(&scene, &source, &scene.open(recording));
    let changes: Vec<Call> =
        log.changes().into_iter().filter(|call| !call.object.starts_with("locks/")).collect();
    let first = |prefix: &str| changes.iter().position(|call| call.object.starts_with(prefix));
    let last = |prefix: &str| changes.iter().rposition(|call| call.object.starts_with(prefix));
    assert!(last("data/") < first("index/") && last("index/") < first("snapshots/"));
    for cut in 0..=changes.len() {
        let told = format!("after {cut} of {}", changes.len());
        let store = empty(Version::V2);
        scene.runtime.block_on(replay(&changes[..cut], &store)).expect("replayed");
        scene.check_whole(&scene.open(store.clone()));
        let rest = copy(&scene, &source, &scene.open(store.clone()));
        assert_eq!(rest.copied.len() + rest.there.len(), 3, "{told}");
        if Some(cut) > first("index/") {
            assert_eq!(rest.chunks, 0, "{told}");
        } else {
            assert_eq!(rest.chunks, all.chunks, "{told}");
        }
        check_copied(&scene, &source, store, &told);
    }
}

/// A chunk of this role, the pack it is in and where in it.
fn a_chunk(scene: &Scene, repository: &Repository, role: Role) -> (ChunkKey, Key, usize) {
    let index = scene.runtime.block_on(repository.index()).expect("an index");
    let mut found = None;
    index.for_each(|key, place| {
        if repository.dialect().role(key) == role && place.stored_bytes > 100 {
            found = Some((*key, *place));
        }
    });
    let (key, place) = found.expect("a chunk");
    let pack = repository.dialect().pack_key(&index.pack_name(place.pack).expect("a name"));
    (key, pack, place.offset as usize)
}

#[test]
fn damage_in_the_source_is_named_and_never_copied() {
    let scene = Scene::new();
    let base = empty(Version::V2);
    let whole = history(&scene, base.clone());
    for role in [Role::File, Role::Directory] {
        let (chunk, pack, offset) = a_chunk(&scene, &whole, role);
        let store = base.fork();
        let mut bytes = store.contents()[&pack].to_vec();
        bytes[offset + 33] ^= 4;
        store.overwrite(&pack, bytes);
        let target = empty(Version::V2);
        let error = try_copy(&scene, &scene.open(store.clone()), &scene.open(target.clone()));
        let error = error.expect_err("damaged");
        assert_eq!(error.class(), Class::Damaged, "{error}");
        let mut words = error.to_string();
        if let Some(cause) = std::error::Error::source(&error) {
            words.push_str(&cause.to_string());
        }
        assert!(words.contains(&chunk.to_string()), "{words}");
        assert_eq!(scene.roots(&scene.open(target.clone())).len(), 0);
        assert_eq!(locks(&target), [""; 0]);

        // A second place where it is good is as good as the first.
        let other = store.fork();
        copy_pack(&scene, &whole, &other, &pack, base.contents()[&pack].to_vec());
        let target = empty(Version::V2);
        copy(&scene, &scene.open(other), &scene.open(target.clone()));
        check_copied(&scene, &whole, target, "from the second place");
    }
}

/// Stores what a pack holds a second time, in a repository where the first is damaged.
fn copy_pack(scene: &Scene, whole: &Repository, into: &MemoryStore, pack: &Key, bytes: Vec<u8>) {
    let index = scene.runtime.block_on(whole.index()).expect("an index");
    let mut chunks = Vec::new();
    index.for_each(|key, place| {
        let name = index.pack_name(place.pack).expect("a name");
        if whole.dialect().pack_key(&name) == *pack {
            chunks.push(PackedChunk {
                key: *key,
                offset: place.offset,
                stored_bytes: place.stored_bytes,
                raw_bytes: place.raw_bytes,
                coding: place.coding,
            });
        }
    });
    chunks.sort_by_key(|chunk| chunk.offset);
    // The same chunks at the same places under another name.
    let name = PackName::Hash([0xCC; 32]);
    into.overwrite(&whole.dialect().pack_key(&name), bytes);
    let named = PackInfo { name, lane: Lane::Data, chunks };
    let repository = scene.open(into.clone());
    let cancel = Cancel::new();
    scene.runtime.block_on(async {
        let protocol = repository.protocol();
        let announced = protocol.announce(&announcement(Access::Shared), &cancel).await;
        let presence = announced.expect("announced");
        let named = std::iter::once(Ok(named));
        let _beside = protocol.replace_segments(&presence, named, Vec::new()).await.expect("named");
        presence.release().await.expect("released");
    });
}

#[test]
fn what_fails_leaves_no_root_that_is_not_whole() {
    let scene = Scene::new();
    let source = history(&scene, empty(Version::V2));
    for (action, prefix, fault) in [
        (Action::Write, "data/", Broken::Fail(Failure::NoSpace)),
        (Action::Write, "data/", Broken::LoseAnswer),
        (Action::Write, "index/", Broken::Fail(Failure::Transient)),
        (Action::Write, "index/", Broken::LoseAnswer),
        (Action::Write, "snapshots/", Broken::Fail(Failure::Denied)),
        (Action::Write, "snapshots/", Broken::LoseAnswer),
        (Action::List, "snapshots", Broken::Fail(Failure::Transient)),
        (Action::Read, "index/", Broken::Fail(Failure::Transient)),
    ] {
        for nth in [0, 2] {
            let told = format!("{action:?} {prefix} {fault:?} {nth}");
            let store = empty(Version::V2);
            let faulty = FaultyStore::new(store.clone());
            let faults = faulty.faults();
            faults.once(action, prefix, nth, fault);
            let target = scene.open(faulty);
            let copied = try_copy(&scene, &source, &target);
            assert_eq!(copied.is_err(), faults.all_happened(), "{told}");
            scene.check_whole(&scene.open(store.clone()));
            assert_eq!(locks(&store), [""; 0], "{told}");
            let rest = copy(&scene, &source, &scene.open(store.clone()));
            assert_eq!(rest.copied.len() + rest.there.len(), 3, "{told}");
            check_copied(&scene, &source, store, &told);
        }
    }
}

#[test]
fn a_source_that_fails_is_no_damage() {
    let scene = Scene::new();
    let base = empty(Version::V2);
    let whole = history(&scene, base.clone());
    for nth in 0..8 {
        let faulty = FaultyStore::new(base.clone());
        let faults = faulty.faults();
        let source = scene.open(faulty);
        faults.once(Action::Read, "data/", nth, Broken::Fail(Failure::Transient));
        let target = empty(Version::V2);
        // A span that fails is read again chunk by chunk, so once may not be enough.
        match try_copy(&scene, &source, &scene.open(target.clone())) {
            Ok((report, _)) => assert_eq!(report.copied.len(), 3),
            Err(error) => {
                assert_eq!(error.class(), Class::Retry, "{error}");
                assert_eq!(scene.roots(&scene.open(target.clone())).len(), 0);
            }
        }
        copy(&scene, &whole, &scene.open(target.clone()));
        check_copied(&scene, &whole, target, &format!("read {nth}"));
    }
    let faulty = FaultyStore::new(base);
    let faults = faulty.faults();
    let source = scene.open(faulty);
    faults.always(Action::Read, "data/", Broken::Fail(Failure::Transient));
    let error = try_copy(&scene, &source, &scene.open(empty(Version::V2))).expect_err("unread");
    assert_eq!(error.class(), Class::Retry, "{error}");
}

#[test]
fn thousands_of_small_files_are_copied_in_many_windows() {
    let scene = Scene::new();
    for number in 0..9000_u32 {
        scene.write(&format!("d{}/{number}", number % 7), number.to_le_bytes());
    }
    let source = scene.open(empty(Version::V2));
    scene.back_up(&source);
    let store = empty(Version::V2);
    let report = copy(&scene, &source, &scene.open(store.clone()));
    assert!(report.chunks > 9000, "{report:?}");
    check_copied(&scene, &source, store, "small files");
}

#[test]
fn a_cancelled_copy_commits_no_root_and_keeps_what_it_stored() {
    let scene = Scene::new();
    let source = history(&scene, empty(Version::V2));
    let store = empty(Version::V2);
    let target = scene.open(store.clone());
    let options = Options { roots: scene.roots(&source), pack_bytes: 1 << 20 };
    let cancel = Cancel::new();
    let stop = cancel.clone();
    let step = Arc::new(move |step: Step<'_>| {
        if let Step::Found { .. } = step {
            stop.cancel();
        }
    });
    let copied = scene.runtime.block_on(async {
        let never = Cancel::new();
        let announced = target.protocol().announce(&announcement(Access::Shared), &never).await;
        let presence = announced.expect("announced");
        let monitor = Arc::new(Silent::default());
        let copied = copy::run(&source, &target, &options, &presence, monitor, &cancel, step).await;
        presence.release().await.expect("released");
        copied
    });
    assert_eq!(copied.expect_err("cancelled").class(), Class::Cancelled);
    let fresh = scene.open(store.clone());
    assert_eq!(scene.roots(&fresh), []);
    assert_eq!(locks(&store), [""; 0]);
    copy(&scene, &source, &fresh);
    check_copied(&scene, &source, store, "after it was cancelled");
}

#[test]
fn an_unreadable_root_of_the_target_ends_it_before_anything_is_copied() {
    let scene = Scene::new();
    let source = history(&scene, empty(Version::V2));
    let store = empty(Version::V2);
    let broken = "ab".repeat(32);
    store.overwrite(&Key::new(format!("snapshots/{broken}")), &b"no snapshot"[..]);
    let error = try_copy(&scene, &source, &scene.open(store.clone())).expect_err("unreadable");
    assert!(matches!(&error, CopyError::TargetRoot { root, .. } if *root == RootId::new(broken)));
    assert_eq!(store.contents().keys().filter(|key| key.as_str().starts_with("data/")).count(), 0);
}
