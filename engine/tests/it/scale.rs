//! Many, deep and long: shapes that break what is quadratic or recursive.

use std::{fs, os::unix::fs::MetadataExt, time::Instant};

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use windlass_engine::backup::Options;
use windlass_format::restic::config::Version;

use super::scene::{Scene, check_within, empty, empty_with_fixed_chunks, noise};

#[test]
fn a_hundred_thousand_files_in_one_directory_go_there_and_back() {
    const FILES: u64 = 100_000;
    let scene = Scene::new();
    let source = scene.source();
    for number in 0..FILES {
        fs::File::create(source.join(format!("{number}"))).expect("made");
    }
    let store = empty(Version::V2);
    let repository = scene.open(store.clone());
    let began = Instant::now();
    let report = scene.back_up(&repository);
    assert_eq!((report.summary.files_new, report.summary.data_chunks), (FILES, 0));
    let again = scene.back_up(&repository);
    assert_eq!(again.summary.files_unmodified, FILES);
    let fresh = scene.open(store);
    let root = scene.root(&fresh, &again);
    let restored = scene.try_restore(&fresh, &root, "target").expect("restored");
    check_within(60, began);
    assert_eq!((restored.files_restored, restored.problem_count), (FILES, 0));
    assert_eq!(fs::read_dir(scene.path("target")).expect("a listing").count() as u64, FILES);
}

#[test]
fn directories_a_thousand_deep_go_there_and_back() {
    const LEVELS: usize = 1000;
    let scene = Scene::new();
    let flags = OFlags::DIRECTORY | OFlags::RDONLY;
    // Longer than a path may be, so one level at a time.
    let mut at = openat(CWD, scene.source(), flags, Mode::empty()).expect("opened");
    for _level in 0..LEVELS {
        mkdirat(&at, "a directory", Mode::RWXU).expect("made");
        at = openat(&at, "a directory", flags, Mode::empty()).expect("opened");
    }
    mkdirat(&at, "bottom", Mode::RWXU).expect("made");
    let store = empty(Version::V2);
    let repository = scene.open(store.clone());
    let report = scene.back_up(&repository);
    assert!(report.summary.dirs_new > LEVELS as u64, "{report:?}");
    let again = scene.back_up(&repository);
    assert!(again.summary.meta_chunks < 10, "{again:?}");
    let fresh = scene.open(store);
    let root = scene.root(&fresh, &again);
    let restored = scene.try_restore(&fresh, &root, "target").expect("restored");
    assert_eq!(restored.problems, []);
    let mut at = openat(CWD, scene.path("target"), flags, Mode::empty()).expect("opened");
    for level in 0..LEVELS {
        at = openat(&at, "a directory", flags, Mode::empty())
            .unwrap_or_else(|errno| panic!("level {level}: {errno}"));
    }
    openat(&at, "bottom", flags, Mode::empty()).expect("the bottom");
}

#[test]
fn five_thousand_names_of_one_file_stay_one_file() {
    let scene = Scene::new();
    scene.write("0", "one file");
    for number in 1..5000 {
        let (first, next) = (scene.source().join("0"), scene.source().join(format!("{number}")));
        fs::hard_link(first, next).expect("linked");
    }
    let store = empty(Version::V2);
    let repository = scene.open(store.clone());
    let report = scene.back_up(&repository);
    assert_eq!(report.summary.data_chunks, 1);
    let fresh = scene.open(store);
    scene.check_restore(&fresh, &scene.root(&fresh, &report), "target");
    assert_eq!(fs::metadata(scene.path("target/0")).expect("a status").nlink(), 5000);
}

#[test]
fn the_longest_names_and_one_that_no_file_system_takes() {
    let scene = Scene::new();
    scene.write(&"n".repeat(255), "longest");
    scene.write(&format!("{}/{}", "d".repeat(255), "é".repeat(127)), "below");
    let store = empty(Version::V2);
    let repository = scene.open(store.clone());
    let report = scene.back_up(&repository);
    let fresh = scene.open(store);
    scene.check_restore(&fresh, &scene.root(&fresh, &report), "target");
    // A target whose name is longer than that is told, not taken for absent in silence.
    let long = scene.source().join("x".repeat(300));
    let options = Options { targets: vec![scene.source(), long.clone()], ..scene.options() };
    let report = scene.try_back_up(&repository, options).expect("backed up");
    assert_eq!(report.problem_count, 1, "{report:?}");
    assert_eq!(report.problems[0].path, long.into_os_string().into_encoded_bytes());
}

#[test]
fn half_a_million_tiny_chunks_do_not_overfill_the_directory_of_a_pack() {
    const CHUNKS: usize = 500_000;
    let scene = Scene::new();
    scene.write("noise", noise(1, CHUNKS * 16));
    let store = empty_with_fixed_chunks(16);
    let repository = scene.open(store.clone());
    let options = Options { pack_bytes: 128 << 20, ..scene.options() };
    let report = scene.try_back_up(&repository, options).expect("backed up");
    assert_eq!(report.summary.data_chunks, CHUNKS as u64);
    let mut packs = 0;
    for (key, bytes) in store.contents() {
        if key.as_str().starts_with("data/") {
            let (_, trailer) = bytes.split_last_chunk::<4>().expect("a trailer");
            assert!(u32::from_le_bytes(*trailer) <= 16 << 20, "more than others read");
            packs += 1;
        }
    }
    // One of directories, and no more of data than it takes.
    assert_eq!(packs, 1 + 2);
    let fresh = scene.open(store);
    scene.check_restore(&fresh, &scene.root(&fresh, &report), "target");
}
