//! A crash between any two changes of the store: what can be seen is whole.

use std::{fs, sync::Arc};

use windlass_engine::backup::Options;
use windlass_format::restic::config::Version;
use windlass_testkit::recording::{Action, Call, RecordingStore, replay};

use super::scene::{Scene, empty, noise};

/// The source in its second state.
fn change(scene: &Scene) {
    scene.write("a/changed", noise(50, 300_000));
    scene.write("c/new", noise(51, 700_000));
    fs::remove_file(scene.source().join("b/removed")).expect("removed");
}

/// All changes that two backups of a changing source make.
fn record(scene: &Scene) -> Vec<Call> {
    scene.write("a/changed", noise(1, 300_000));
    scene.write("a/same", noise(2, 2_000_000));
    scene.write("b/removed", noise(3, 900_000));
    scene.write("b/deep/er/file", "small");
    scene.write("zeros", vec![0; 3 << 20]);
    let recording = RecordingStore::new(empty(Version::V2));
    let log = recording.log();
    let repository = scene.open(recording);
    let options = Options { pack_bytes: 1 << 20, ..scene.options() };
    scene.try_back_up(&repository, options.clone()).expect("backed up");
    change(scene);
    scene.try_back_up(&repository, options).expect("backed up");
    log.changes()
}

#[test]
fn a_crash_at_any_write_leaves_no_root_that_refers_to_what_is_missing() {
    let scene = Scene::new();
    let changes = record(&scene);
    let kinds = |prefix: &str| {
        let of_kind =
            |call: &&Call| call.action == Action::Write && call.object.starts_with(prefix);
        changes.iter().filter(of_kind).count()
    };
    assert_eq!((kinds("snapshots/"), kinds("index/"), kinds("locks/")), (2, 2, 2));
    assert!(kinds("data/") >= 4, "{}", kinds("data/"));
    let mut seen = Vec::new();
    for cut in 0..=changes.len() {
        let store = empty(Version::V2);
        scene.runtime.block_on(replay(&changes[..cut], &store)).expect("replayed");
        let repository = scene.open(store.clone());
        let roots = scene.roots(&repository).len();
        seen.push(roots);
        scene.check_whole(&repository);
        let report = scene.back_up(&repository);
        let fresh = scene.open(store);
        scene.check_whole(&fresh);
        assert_eq!(scene.roots(&fresh).len(), roots + 1, "after {cut}");
        assert_eq!(report.parent.is_some(), roots > 0);
        if cut == changes.len() {
            assert_eq!(report.summary.data_chunks, 0);
            scene.check_restore(&fresh, &scene.root(&fresh, &report), "target");
        }
    }
    assert!(seen.is_sorted() && seen.first() == Some(&0) && seen.last() == Some(&2), "{seen:?}");
}

#[test]
fn what_a_crashed_run_indexed_is_not_stored_again() {
    let scene = Scene::new();
    let changes = record(&scene);
    let first_root = changes.iter().position(|call| call.object.starts_with("snapshots/"));
    let cut = first_root.expect("a snapshot");
    let store = empty(Version::V2);
    scene.runtime.block_on(replay(&changes[..cut], &store)).expect("replayed");
    let repository = scene.open(store);
    let report = scene.back_up(&repository);
    assert_eq!(report.parent, None);
    // The changed file of 300 kB and the new one of 700 kB.
    assert!((2..=3).contains(&report.summary.data_chunks), "{report:?}");
}

#[test]
fn packs_that_no_index_names_yet_are_not_believed_in() {
    let scene = Scene::new();
    let changes = record(&scene);
    let index = changes.iter().position(|call| call.object.starts_with("index/"));
    let store = empty(Version::V2);
    let before_it = &changes[..index.expect("an index")];
    scene.runtime.block_on(replay(before_it, &store)).expect("replayed");
    let store = Arc::new(store);
    let repository = scene.open((*store).clone());
    let report = scene.back_up(&repository);
    assert!(report.summary.data_chunks >= 5, "{report:?}");
    let fresh = scene.open((*store).clone());
    scene.check_restore(&fresh, &scene.root(&fresh, &report), "target");
}
