//! What comes back is what was backed up.

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, MetadataExt},
    sync::Arc,
    time::{Duration, Instant},
};

use windlass_engine::{
    cancel::Cancel,
    fault::Class,
    filter::{PatternTexts, Selection},
    monitor::{Action, Silent},
    restore::{self, Options},
};
use windlass_testkit::{
    recording::Action as Call,
    tree::{Options as TreeOptions, grow},
};

use super::{Notes, Stage, noise};

fn including(patterns: &[&str]) -> Selection {
    let sensitive = patterns.iter().map(|pattern| pattern.as_bytes().to_vec()).collect();
    let include = PatternTexts { sensitive, ..PatternTexts::default() };
    Selection::new(&include, &PatternTexts::default()).expect("legal patterns")
}

#[test]
fn random_trees_come_back_as_they_were() {
    for seed in 1..6 {
        let stage = Stage::new();
        let options = TreeOptions { seed, entries: 400, ..TreeOptions::default() };
        grow(&stage.path("source"), &options).unwrap();
        let root = stage.back_up();
        let mut options = stage.options();
        options.verify = true;
        stage.restore_well(&root, options);
        assert_eq!(stage.differences(), [], "seed {seed}");
    }
}

#[test]
fn a_large_file_of_many_chunks_comes_back_through_small_windows() {
    let stage = Stage::new();
    stage.write("large", noise(1, 20 << 20));
    stage.write("twice", [noise(2, 3 << 20), noise(2, 3 << 20)].concat());
    let root = stage.back_up();
    let report = stage.restore_well(&root, stage.options());
    assert_eq!(stage.differences(), []);
    assert_eq!(report.bytes_written, 26 << 20);
}

#[test]
fn many_small_files_are_read_with_few_requests() {
    let stage = Stage::new();
    for at in 0..500 {
        stage.write(&format!("{}/{at}", at % 7), noise(at, 1000));
    }
    let root = stage.back_up();
    let before = stage.log.count(Call::Read, "data/");
    stage.restore_well(&root, stage.options());
    assert_eq!(stage.differences(), []);
    // One pack of data and some of directories.
    let requests = stage.log.count(Call::Read, "data/") - before;
    assert!(requests < 12, "{requests}");
}

#[test]
fn the_same_content_in_many_files_is_fetched_once() {
    let stage = Stage::new();
    let content = noise(1, 1 << 20);
    for at in 0..20 {
        stage.write(&format!("copy {at}"), &content);
    }
    let root = stage.back_up();
    let report = stage.restore_well(&root, stage.options());
    assert_eq!(stage.differences(), []);
    assert!(report.bytes_fetched < 2 << 20, "{}", report.bytes_fetched);
    assert_eq!(report.bytes_written, 20 << 20);
}

#[test]
fn long_zeros_become_holes_unless_unwanted() {
    let stage = Stage::new();
    stage.write("sparse", b"head");
    let file = File::options().write(true).open(stage.path("source/sparse")).unwrap();
    file.set_len(50 << 20).unwrap();
    file.write_all_at(b"middle", 30 << 20).unwrap();
    drop(file);
    let root = stage.back_up();
    stage.restore_well(&root, stage.options());
    assert_eq!(stage.differences(), []);
    let allocated = || stage.target("sparse").metadata().unwrap().blocks() * 512;
    assert!(allocated() < 1 << 20, "{}", allocated());
    fs::remove_dir_all(stage.path("target")).unwrap();
    let mut options = stage.options();
    options.sparse = false;
    stage.restore_well(&root, options);
    assert_eq!(stage.differences(), []);
    assert!(allocated() >= 50 << 20, "{}", allocated());
}

#[test]
fn only_what_is_included_comes_back_with_the_way_there() {
    let stage = Stage::new();
    for name in ["a/keep/x", "a/other/y", "b/z", "c"] {
        stage.write(name, name);
    }
    let root = stage.back_up();
    let mut options = stage.options();
    options.selection = including(&["/a/keep"]);
    let report = stage.restore_well(&root, options);
    assert_eq!(fs::read(stage.target("a/keep/x")).unwrap(), b"a/keep/x");
    for name in ["a/other", "b", "c"] {
        assert!(!stage.target(name).exists(), "{name}");
    }
    assert_eq!((report.files_restored, report.dirs_restored), (1, 2));
    let mtime = |name: &str| stage.path(name).metadata().unwrap().mtime_nsec();
    assert_eq!(mtime("source/a"), mtime("target/a"));
}

#[test]
fn a_missing_directory_of_the_snapshot_is_an_error() {
    let stage = Stage::new();
    stage.write("file", "x");
    let root = stage.back_up();
    let mut options = stage.options();
    options.sub_path.extend_from_slice(b"/file");
    let error = stage.restore(&root, options).expect_err("not a directory");
    assert_eq!(error.class(), Class::WrongInput);
    assert!(!stage.path("target").exists());
}

#[test]
fn a_dry_run_tells_everything_and_touches_nothing() {
    let stage = Stage::new();
    for name in ["new/a", "changed", "same"] {
        stage.write(name, name);
    }
    let root = stage.back_up();
    stage.restore_well(&root, stage.options());
    fs::remove_dir_all(stage.target("new")).unwrap();
    fs::write(stage.target("changed"), "something else").unwrap();
    fs::write(stage.target("extra"), "extra").unwrap();
    let before: Vec<_> = ["changed", "extra", "same"]
        .map(|name| {
            (
                fs::read(stage.target(name)).unwrap(),
                stage.target(name).metadata().unwrap().mtime_nsec(),
            )
        })
        .into();
    let notes = Arc::new(Notes::default());
    let mut options = stage.options();
    (options.dry_run, options.delete) = (true, true);
    let report = stage.watch(&root, options, notes.clone()).unwrap();
    let expected = [
        ("/changed", Action::Updated),
        ("/extra", Action::Deleted),
        ("/new", Action::Restored),
        ("/new/a", Action::Restored),
        ("/same", Action::Unchanged),
    ];
    assert_eq!(notes.sorted(), expected.map(|(path, action)| (path.to_owned(), action)));
    assert_eq!((report.files_restored, report.files_updated, report.deleted), (1, 1, 1));
    let after: Vec<_> = ["changed", "extra", "same"]
        .map(|name| {
            (
                fs::read(stage.target(name)).unwrap(),
                stage.target(name).metadata().unwrap().mtime_nsec(),
            )
        })
        .into();
    assert_eq!(before, after);
    assert!(!stage.target("new").exists());
}

#[test]
fn a_dry_run_into_nothing_creates_not_even_the_target() {
    let stage = Stage::new();
    stage.write("a/b", "x");
    let root = stage.back_up();
    let mut options = stage.options();
    (options.dry_run, options.delete) = (true, true);
    let report = stage.restore_well(&root, options);
    assert_eq!((report.files_restored, report.dirs_restored), (1, 1));
    assert!(!stage.path("target").exists());
}

#[test]
fn cancelling_stops_within_a_second() {
    let stage = Stage::new();
    for at in 0..200 {
        stage.write(&format!("{at}"), noise(at, 100_000));
    }
    let root = stage.back_up();
    let delay = windlass_testkit::faulty::Fault::Delay(Duration::from_millis(50));
    stage.faults.always(Call::Read, "data/", delay);
    let cancel = Cancel::new();
    let (options, monitor) = (Options::new(stage.path("target")), Arc::new(Silent::default()));
    let result = stage.runtime.block_on(async {
        let restore = restore::run(&stage.repository, &root, options, monitor, &cancel);
        let switch = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            cancel.cancel();
            Instant::now()
        };
        let (result, cancelled) = tokio::join!(restore, switch);
        assert!(cancelled.elapsed() < Duration::from_secs(1));
        result
    });
    assert_eq!(result.expect_err("cancelled").class(), Class::Cancelled);
}
