//! An index too large for memory: kept in the cache, always what the index files say.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use windlass_engine::{
    index::{Claim, Index},
    model::chunk::ChunkKey,
    protocol::restic::OpenOptions,
    repository::{Place, Repository},
    store::{
        Backend, Key, Store,
        cache::{CacheOptions, base},
        memory::MemoryStore,
        trace::{Observer, StoreEvent},
    },
};
use windlass_format::restic::config::Version;
use windlass_testkit::{
    recording::{Action, RecordingStore},
    segments::{CHUNKS_OF_SEGMENT, chunk, segment},
};

use super::scene::{Scene, empty, environment, master, password};

struct Kept {
    scene: Scene,
    store: MemoryStore,
    told: Arc<Mutex<Vec<StoreEvent>>>,
    limit_bytes: Option<u64>,
}

impl Kept {
    /// A repository with so many index files.
    fn with(segments: u64) -> Self {
        let (scene, store) = (Scene::new(), empty(Version::V2));
        let kept = Self { scene, store, told: Arc::default(), limit_bytes: None };
        (0..segments).for_each(|at| kept.add(at));
        kept
    }

    fn add(&self, at: u64) {
        let (name, sealed) = Self::segment(at);
        self.store.overwrite(&Key::new(name), sealed);
    }

    fn segment(at: u64) -> (String, Vec<u8>) {
        segment(&master(), at * CHUNKS_OF_SEGMENT..(at + 1) * CHUNKS_OF_SEGMENT)
    }

    fn base(&self) -> PathBuf {
        self.scene.path("cache")
    }

    fn file(&self) -> PathBuf {
        base::caches(&self.base()).expect("listed").remove(0).path.join("windlass-index")
    }

    fn open(&self, store: impl Backend + 'static) -> Repository {
        let told = Arc::clone(&self.told);
        let observer =
            Observer::new(move |event| told.lock().expect("no panic").push(event.clone()));
        let (base, limit_bytes) = (self.base(), self.limit_bytes);
        let cache = Some(CacheOptions { base, objects: false, limit_bytes, observer });
        let options = OpenOptions { cache, ..OpenOptions::default() };
        let (place, password) = (Place::store(Store::new(store)), password());
        let opened = Repository::open(&place, &password, &options, environment());
        self.scene.runtime.block_on(opened).expect("opened")
    }

    /// The index, and how many index files were read for it.
    fn load(&self) -> (Arc<Index>, usize) {
        let store = RecordingStore::new(self.store.clone());
        let log = store.log();
        let repository = self.open(store);
        let index = self.scene.runtime.block_on(repository.index()).expect("an index");
        let is_read = |call: &&windlass_testkit::recording::Call| {
            call.action == Action::Read && call.object.starts_with("index/")
        };
        (index, log.take().iter().filter(is_read).count())
    }
}

/// What the index says of chunks of these segments is right.
fn check(index: &Index, present: &[u64], absent: &[u64]) {
    let numbers = |segment: &u64| {
        let first = segment * CHUNKS_OF_SEGMENT;
        (first..first + CHUNKS_OF_SEGMENT).step_by(97)
    };
    for number in present.iter().flat_map(numbers) {
        let key = ChunkKey::full(0, chunk(number));
        let place = index.find(&key).expect("it is there");
        assert_eq!(u64::from(place.offset), number % CHUNKS_OF_SEGMENT % 40 * 4000);
        assert_eq!((place.stored_bytes, place.raw_bytes), (4000, 9000));
        assert!(index.pack_name(place.pack).is_some());
        assert_eq!(index.claim(&key), Claim::Known);
        assert_eq!(index.further(&key), []);
    }
    for number in absent.iter().flat_map(numbers) {
        assert_eq!(index.find(&ChunkKey::full(0, chunk(number))), None);
    }
}

#[test]
fn a_large_index_is_read_once_and_then_by_difference() {
    let kept = Kept::with(6);
    let (index, read) = kept.load();
    assert_eq!(read, 6);
    check(&index, &[0, 1, 2, 3, 4, 5], &[6]);
    assert_eq!(index.chunk_count() as u64, 6 * CHUNKS_OF_SEGMENT);
    let first = fs::read(kept.file()).expect("kept");

    // The same again out of the file, and with one more in memory.
    let (index, read) = kept.load();
    assert_eq!(read, 0);
    check(&index, &[0, 1, 2, 3, 4, 5], &[6]);
    kept.add(6);
    let (index, read) = kept.load();
    assert_eq!(read, 1);
    check(&index, &[0, 1, 2, 3, 4, 5, 6], &[7]);
    assert!(fs::read(kept.file()).expect("kept") == first, "little is held in memory");

    // What is gone is nowhere.
    let repository = kept.open(kept.store.clone());
    drop(repository);
    let (gone, _) = Kept::segment(2);
    let kept = Kept { store: without(&kept.store, &gone), ..kept };
    let (index, read) = kept.load();
    assert_eq!(read, 1);
    check(&index, &[0, 1, 3, 4, 5, 6], &[2, 7]);
    let (index, read) = kept.load();
    assert_eq!(read, 0, "it is in the new table");
    check(&index, &[0, 1, 3, 4, 5, 6], &[2, 7]);
    assert_eq!(*kept.told.lock().expect("no panic"), []);
    let left = fs::read_dir(kept.file().parent().expect("a directory")).expect("listed");
    let names = left.map(|entry| entry.expect("an entry").file_name());
    assert!(names.into_iter().all(|name| !name.to_string_lossy().starts_with("tmp-")));
}

fn without(store: &MemoryStore, gone: &str) -> MemoryStore {
    let left = MemoryStore::new();
    for (key, bytes) in store.contents() {
        if key.as_str() != gone {
            left.overwrite(&key, bytes);
        }
    }
    left
}

#[test]
fn a_table_that_cannot_be_believed_or_written_is_done_without() {
    let mut kept = Kept::with(6);
    kept.load();
    let file = kept.file();
    let mut bytes = fs::read(&file).expect("kept");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).expect("written");
    let (index, read) = kept.load();
    assert_eq!(read, 6, "made again");
    check(&index, &[0, 1, 2, 3, 4, 5], &[6]);
    assert_eq!(kept.load().1, 0);

    // Another repository's, under the same name.
    fs::write(&file, fs::read(&file).expect("kept").split_at(1000).0).expect("written");
    check(&kept.load().0, &[0, 1, 2, 3, 4, 5], &[6]);

    fs::remove_file(&file).expect("removed");
    kept.limit_bytes = Some(1 << 20);
    let (index, read) = kept.load();
    assert!(read >= 6);
    check(&index, &[0, 1, 2, 3, 4, 5], &[6]);
    assert!(!Path::new(&file).exists());
    assert!(matches!(&kept.told.lock().expect("no panic")[..], [StoreEvent::Cache { .. }]));
}

#[test]
fn a_backup_goes_on_with_it() {
    let kept = Kept::with(6);
    let scene = &kept.scene;
    for file in 0..50 {
        scene.write(&format!("{file}"), format!("content of {file}"));
    }
    let report = scene.back_up(&kept.open(kept.store.clone()));
    assert_eq!(report.summary.files_new, 50);
    let repository = kept.open(kept.store.clone());
    let again = scene.back_up(&repository);
    assert_eq!(again.summary.files_unmodified, 50, "{again:?}");
    assert_eq!(again.summary.data_chunks, 0, "{again:?}");
    scene.check_whole(&repository);
    scene.check_restore(&repository, &scene.root(&repository, &again), "restored");
}
