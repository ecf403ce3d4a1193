//! Stores that fail in the middle of a backup, and backups that are told to stop.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use windlass_engine::{
    backup::{self, BackupError, Options},
    cancel::Cancel,
    fault::Class,
    monitor::Silent,
    store::{Failure, memory::MemoryStore},
};
use windlass_format::restic::config::Version;
use windlass_testkit::{
    faulty::{Fault, Faults, FaultyStore, Rule},
    recording::{Action, RecordingStore},
};

use super::scene::{Scene, check_within, empty, locks, noise};

/// A source whose backup writes several packs of both lanes.
fn source() -> Scene {
    let scene = Scene::new();
    for number in 0..6_u64 {
        scene.write(&format!("dir{}/noise{number}", number % 3), noise(number, 400_000));
    }
    scene.write("large", noise(99, 3_000_000));
    scene.write("empty", "");
    scene
}

fn options(scene: &Scene) -> Options {
    Options { pack_bytes: 1 << 20, ..scene.options() }
}

fn faulty(store: &MemoryStore) -> (FaultyStore, Faults) {
    let faulty = FaultyStore::new(store.clone());
    let faults = faulty.faults();
    (faulty, faults)
}

/// What was stored stays, none of it unreadable; the next run works, also from the same handle.
fn check_aftermath(scene: &Scene, store: &MemoryStore, what: &str) {
    let repository = scene.open(store.clone());
    scene.check_whole(&repository);
    let report = scene.try_back_up(&repository, options(scene));
    report.unwrap_or_else(|error| panic!("after {what}: {error}"));
    scene.check_whole(&scene.open(store.clone()));
    assert_eq!(locks(store), [""; 0], "after {what}");
}

/// The calls of one kind that a whole backup makes.
fn calls(scene: &Scene, action: Action) -> usize {
    let recording = RecordingStore::new(empty(Version::V2));
    let log = recording.log();
    let repository = scene.open(recording);
    let _opening = log.take();
    scene.try_back_up(&repository, options(scene)).expect("backed up");
    log.count(action, "")
}

#[test]
fn a_store_that_fails_at_any_call_leaves_nothing_wrong() {
    let scene = source();
    for action in [Action::List, Action::Read, Action::Write, Action::Delete] {
        let most = calls(&scene, action);
        assert!(most > 0 || action == Action::Read, "{action:?}");
        for (at, fault) in (0..most).flat_map(|at| {
            [Fault::Fail(Failure::Transient), Fault::LoseAnswer].map(|fault| (at, fault))
        }) {
            let what = format!("{fault:?} at {action:?} {at}");
            let store = empty(Version::V2);
            let (faulty, faults) = faulty(&store);
            let repository = scene.open(faulty);
            faults.once(action, "", at, fault);
            let result = scene.try_back_up(&repository, options(&scene));
            // Chunks go to packs at random, so a run may write one pack less than the one counted.
            if !faults.all_happened() {
                assert!(action == Action::Write && at + 2 > most && result.is_ok(), "{what}");
                continue;
            }
            if let Err(error) = &result {
                assert_eq!(error.class(), Class::Retry, "{what}: {error}");
                assert!(error.to_string().contains("a fault was ordered"), "{what}: {error}");
            }
            let left = locks(&store);
            match action {
                // What cannot be deleted stays, and is told.
                Action::Delete if fault != Fault::LoseAnswer => {
                    assert!(result.is_err() && left.len() == 1, "{what}");
                }
                _ => assert_eq!(left, [""; 0], "{what}"),
            }
            // The handle that saw the failure may not think anything stored that is not.
            let again = scene.try_back_up(&repository, options(&scene));
            again.unwrap_or_else(|error| panic!("again after {what}: {error}"));
            let fresh = scene.open(store.clone());
            assert!(!scene.roots(&fresh).is_empty(), "{what}");
            scene.check_whole(&fresh);
        }
    }
}

#[test]
fn a_torn_write_is_never_taken_for_an_object() {
    let scene = source();
    for prefix in ["data/", "index/", "snapshots/", "locks/"] {
        let store = empty(Version::V2);
        let (faulty, faults) = faulty(&store);
        let repository = scene.open(faulty);
        faults.once(Action::Write, prefix, 0, Fault::Tear);
        let error = scene.try_back_up(&repository, options(&scene)).expect_err("torn");
        assert_eq!(error.class(), Class::Retry, "{prefix}: {error}");
        assert!(faults.all_happened());
        let fresh = scene.open(store.clone());
        let readable = scene.try_roots(&fresh).expect("listed");
        assert!(readable.iter().all(|(_, root)| root.is_err()), "{prefix}");
    }
}

#[test]
fn a_full_disk_says_so_and_keeps_what_was_stored() {
    let scene = source();
    for (prefix, nth) in [("data/", 0), ("data/", 2), ("index/", 0), ("snapshots/", 0)] {
        let store = empty(Version::V2);
        let (faulty, faults) = faulty(&store);
        let repository = scene.open(faulty);
        let (action, times) = (Action::Write, usize::MAX);
        let fault = Fault::Fail(Failure::NoSpace);
        faults.add(Rule { action, prefix: prefix.into(), skip: nth, times, fault });
        let error = scene.try_back_up(&repository, options(&scene)).expect_err("full");
        assert_eq!(error.class(), Class::WrongInput, "{error}");
        let BackupError::Fault(fault) = &error else { panic!("{error:?}") };
        assert!(fault.advice().contains("room"), "{}", fault.advice());
        assert_eq!(locks(&store), [""; 0]);
        assert!(scene.roots(&scene.open(store.clone())).is_empty());
        faults.clear();
        check_aftermath(&scene, &store, prefix);
    }
}

#[test]
fn a_dry_run_promises_nothing_to_the_run_after_it() {
    let scene = source();
    let store = empty(Version::V2);
    let before = store.contents();
    let repository = scene.open(store.clone());
    let dry = Options { dry_run: true, ..options(&scene) };
    let dry = scene.try_back_up(&repository, dry).expect("a dry run");
    assert!(dry.root.is_none() && dry.summary.files_new == 8, "{dry:?}");
    assert_eq!(store.contents(), before, "a dry run writes nothing");
    let report = scene.back_up(&repository);
    assert_eq!(report.summary.data_chunks, dry.summary.data_chunks);
    let fresh = scene.open(store);
    scene.check_restore(&fresh, &scene.root(&fresh, &report), "target");
}

#[test]
fn what_others_removed_since_the_repository_was_opened_is_stored_again() {
    let scene = source();
    let store = empty(Version::V2);
    let repository = scene.open(store.clone());
    let before: BTreeSet<_> = store.contents().into_keys().collect();
    scene.back_up(&repository);
    // As forgetting and pruning by another program would.
    let pruned = empty(Version::V2);
    assert_eq!(pruned.contents().into_keys().collect::<BTreeSet<_>>(), before);
    let (faulty, _faults) = faulty(&store);
    for key in store.contents().into_keys().filter(|key| !before.contains(key)) {
        scene.runtime.block_on(windlass_engine::store::Backend::delete(&faulty, &key)).unwrap();
    }
    let report = scene.back_up(&repository);
    let fresh = scene.open(store);
    scene.check_restore(&fresh, &scene.root(&fresh, &report), "target");
}

#[test]
fn a_cancelled_backup_ends_within_a_second_and_leaves_no_lock() {
    let scene = source();
    scene.write("huge", noise(5, 64 << 20));
    for (delayed, after_ms) in [("", 0), ("", 250), ("", 400), ("data/", 500), ("index/", 700)] {
        let store = empty(Version::V2);
        let (faulty, faults) = faulty(&store);
        let repository = scene.open(faulty);
        if !delayed.is_empty() {
            // Slow, as a store far away is, and not so slow that it alone takes a second.
            faults.always(Action::Write, delayed, Fault::Delay(Duration::from_millis(300)));
        }
        let cancel = Cancel::new();
        let took = scene.runtime.block_on(async {
            let thrower = tokio::spawn({
                let cancel = cancel.clone();
                async move {
                    tokio::time::sleep(Duration::from_millis(after_ms)).await;
                    cancel.cancel();
                    Instant::now()
                }
            });
            let monitor = Arc::new(Silent::default());
            let result = backup::run(&repository, options(&scene), monitor, &cancel).await;
            let ended = Instant::now();
            // A fast machine may be through before it is told to stop.
            if let Err(error) = result {
                assert_eq!(error.class(), Class::Cancelled, "{error}");
            }
            ended.saturating_duration_since(thrower.await.expect("thrown"))
        });
        assert!(took < Duration::from_secs(1), "{delayed} {after_ms}: {took:?}");
        assert_eq!(locks(&store), [""; 0], "{delayed} {after_ms}");
        faults.clear();
        check_aftermath(&scene, &store, "cancelling");
    }
}

#[test]
fn a_cancelled_backup_to_a_directory_leaves_no_temporary_file() {
    let scene = source();
    scene.write("huge", noise(5, 64 << 20));
    let at = scene.path("repository");
    super::scene::empty_on_disk(&at, Version::V2);
    let place = windlass_engine::repository::Place::local(&at);
    let repository = scene.try_open_at(&place).expect("opened");
    let cancel = Cancel::new();
    let began = Instant::now();
    let result = scene.runtime.block_on(async {
        tokio::spawn({
            let cancel = cancel.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(300)).await;
                cancel.cancel();
            }
        });
        backup::run(&repository, options(&scene), Arc::new(Silent::default()), &cancel).await
    });
    check_within(5, began);
    if let Err(error) = result {
        assert_eq!(error.class(), Class::Cancelled, "{error}");
    }
    let mut waiting = vec![at];
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(directory).expect("a listing") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                waiting.push(path);
                continue;
            }
            let name = path.file_name().and_then(|name| name.to_str()).expect("ASCII");
            assert!(name == "config" || name.len() == 64, "{name} was left behind");
            assert!(!path.to_str().expect("ASCII").contains("/locks/"), "a lock was left");
        }
    }
    scene.back_up(&repository);
    scene.check_whole(&scene.try_open_at(&place).expect("opened"));
}

#[test]
fn an_adapter_that_panics_ends_the_backup_and_leaves_nobody_waiting() {
    let scene = source();
    for number in 0..20 {
        scene.write(&format!("many/dir{number}/file"), noise(number, 100));
    }
    let store = empty(Version::V2);
    // Directories in packs of their own, so that each is read for itself.
    let small = |scene: &Scene| Options { pack_bytes: 1, ..scene.options() };
    scene.try_back_up(&scene.open(store.clone()), small(&scene)).expect("backed up");
    // The first ones are read on the way to the source, the others by the threads that walk it.
    for skip in [0, 1, 5, 6, 10] {
        let (faulty, faults) = faulty(&store);
        let repository = scene.open(faulty);
        // Once, so that the other threads are left to wait for the one that is lost.
        let (action, prefix, times) = (Action::Read, "data/".into(), 1);
        faults.add(Rule { action, prefix, skip, times, fault: Fault::Panic });
        let options = small(&scene);
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let (monitor, cancel) = (Arc::new(Silent::default()), Cancel::new());
            let runtime = super::scene::runtime();
            let result = runtime.block_on(backup::run(&repository, options, monitor, &cancel));
            sender.send(result.expect_err("a panic is no success").class()).expect("awaited");
        });
        let class = receiver.recv_timeout(Duration::from_secs(60));
        assert_eq!(class, Ok(Class::Bug), "from read {skip} on");
        assert_eq!(locks(&store), [""; 0], "from read {skip} on");
    }
}

#[test]
fn an_index_segment_that_is_missed_once_is_read_all_the_same() {
    let scene = source();
    let store = empty(Version::V2);
    for round in 0..3 {
        scene.write("new", noise(200 + round, 100_000));
        scene.back_up(&scene.open(store.clone()));
    }
    let whole = scene.runtime.block_on(scene.open(store.clone()).index()).expect("an index");
    let (faulty, faults) = faulty(&store);
    let repository = scene.open(faulty);
    faults.once(Action::Read, "index/", 1, Fault::Fail(Failure::NotFound));
    let index = scene.runtime.block_on(repository.index()).expect("an index");
    assert!(faults.all_happened());
    assert_eq!(index.pack_names().len(), whole.pack_names().len());
}
