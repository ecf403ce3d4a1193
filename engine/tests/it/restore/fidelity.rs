//! What comes back is what was backed up.

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, MetadataExt},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use windlass_engine::{
    cancel::Cancel,
    fault::Class,
    filter::{PatternTexts, Selection},
    monitor::{Action, Silent},
    restore::{self, Options},
    store::{Backend, Capabilities, Draft, Key, Listed, Range, StoreError, memory::MemoryStore},
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

/// Counts the reads that are under way at once.
#[derive(Debug)]
struct FarAway(MemoryStore, Arc<[AtomicUsize; 2]>);

#[async_trait::async_trait]
impl Backend for FarAway {
    fn location(&self) -> String {
        self.0.location()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { remote: true, connections: 4, ..self.0.capabilities() }
    }

    async fn create(&self) -> Result<(), StoreError> {
        self.0.create().await
    }

    async fn list(
        &self,
        prefix: &str,
        each: &mut (dyn FnMut(Listed) + Send),
    ) -> Result<(), StoreError> {
        self.0.list(prefix, each).await
    }

    async fn stat(&self, key: &Key) -> Result<Listed, StoreError> {
        self.0.stat(key).await
    }

    async fn read(&self, key: &Key, range: Range) -> Result<Bytes, StoreError> {
        let [now, most] = &*self.1;
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
        now.fetch_sub(1, Ordering::SeqCst);
        self.0.read(key, range).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.0.delete(key).await
    }

    fn draft(&self, expected_bytes: u64) -> Result<Box<dyn Draft>, StoreError> {
        self.0.draft(expected_bytes)
    }
}

#[test]
fn a_store_far_away_is_read_by_several_requests_at_once() {
    let reads = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let stage = Stage::over(|store| FarAway(store, Arc::clone(&reads)));
    stage.write("large", noise(1, 60 << 20));
    grow(&stage.path("source"), &TreeOptions { entries: 200, ..TreeOptions::default() }).unwrap();
    let root = stage.back_up();
    let [_, most] = &*reads;
    most.store(0, Ordering::SeqCst);
    stage.restore_well(&root, stage.options());
    assert_eq!(stage.differences(), []);
    assert!(most.load(Ordering::SeqCst) >= 3, "{most:?}");
}

#[test]
fn a_request_that_hangs_does_not_hold_up_cancelling() {
    let stage = Stage::over(|store| FarAway(store, Arc::default()));
    stage.write("file", noise(1, 1 << 20));
    let root = stage.back_up();
    let index = stage.runtime.block_on(stage.repository.index()).unwrap();
    let mut data = None;
    index.for_each(|_, at| {
        if at.raw_bytes == 1 << 20 {
            data = index.pack_name(at.pack);
        }
    });
    let key = stage.repository.dialect().pack_key(&data.expect("the file's chunk"));
    let hang = windlass_testkit::faulty::Fault::Delay(Duration::from_secs(30));
    stage.faults.always(Call::Read, key.as_str(), hang);
    let cancel = Cancel::new();
    let (options, monitor) = (Options::new(stage.path("target")), Arc::new(Silent::default()));
    let begun = Instant::now();
    let result = stage.runtime.block_on(async {
        let restore = restore::run(&stage.repository, &root, options, monitor, &cancel);
        let switch = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            cancel.cancel();
        };
        tokio::join!(restore, switch).0
    });
    assert_eq!(result.expect_err("cancelled").class(), Class::Cancelled);
    assert!(begun.elapsed() < Duration::from_secs(5));
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
