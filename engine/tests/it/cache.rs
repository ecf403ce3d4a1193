//! The local cache: what it saves, that it is restic's, and that nothing depends on it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use windlass_engine::{
    protocol::{keys::OpenError, restic::OpenOptions},
    repository::{Place, Repository},
    store::{
        Backend, Key, Store,
        cache::{CacheOptions, base},
        layout::Layout,
        local::LocalStore,
        memory::MemoryStore,
        trace::{Observer, StoreEvent},
    },
};
use windlass_format::{restic::config::Version, secret::Password};
use windlass_testkit::recording::{Action, Call, RecordingStore};

use super::{
    peer::Restic,
    scene::{Scene, empty, empty_on_disk, environment, noise, password},
};

/// A cache directory and what was told of it.
struct Cache {
    base: PathBuf,
    limit_bytes: Option<u64>,
    told: Arc<Mutex<Vec<StoreEvent>>>,
}

impl Cache {
    fn of(scene: &Scene) -> Self {
        Self { base: scene.path("cache"), limit_bytes: None, told: Arc::default() }
    }

    fn options(&self) -> CacheOptions {
        let told = Arc::clone(&self.told);
        let observer =
            Observer::new(move |event| told.lock().expect("no panic").push(event.clone()));
        let (base, limit_bytes) = (self.base.clone(), self.limit_bytes);
        CacheOptions { base, objects: true, limit_bytes, observer }
    }

    fn try_open(
        &self,
        scene: &Scene,
        place: &Place,
        password: &Password,
    ) -> Result<Repository, OpenError> {
        let options = OpenOptions { cache: Some(self.options()), ..OpenOptions::default() };
        scene.runtime.block_on(Repository::open(place, password, &options, environment()))
    }

    fn open(&self, scene: &Scene, store: impl Backend + 'static) -> Repository {
        self.try_open(scene, &Place::store(Store::new(store)), &password()).expect("opened")
    }

    /// The copies: paths below the directory of the one repository.
    fn copies(&self) -> BTreeSet<PathBuf> {
        let caches = base::caches(&self.base).expect("listed");
        caches.iter().flat_map(|cache| files(&cache.path)).collect()
    }

    fn copies_in(&self, kind: &str) -> BTreeSet<PathBuf> {
        let caches = base::caches(&self.base).expect("listed");
        caches.iter().flat_map(|cache| files(&cache.path.join(kind))).collect()
    }

    fn told(&self) -> Vec<StoreEvent> {
        self.told.lock().expect("no panic").clone()
    }
}

fn files(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// What was read of the store: the directories of objects.
fn read(calls: &[Call]) -> BTreeSet<String> {
    let read = calls.iter().filter(|call| call.action == Action::Read);
    read.map(|call| call.object.split('/').next().unwrap_or_default().to_owned()).collect()
}

fn grow(scene: &Scene) {
    for directory in 0..20 {
        for file in 0..20 {
            let name = format!("{directory}/{file}");
            scene.write(&name, format!("content of {name}"));
        }
    }
    scene.write("large", noise(1, 3 << 20));
}

#[test]
fn what_was_read_once_is_not_read_again() {
    let scene = Scene::new();
    grow(&scene);
    let cache = Cache::of(&scene);
    let store = empty(Version::V2);
    let watched = || {
        let recording = RecordingStore::new(store.clone());
        (recording.log(), recording)
    };
    scene.back_up(&cache.open(&scene, store.clone()));

    let (log, recording) = watched();
    let repository = cache.open(&scene, recording);
    let opening = log.take();
    assert_eq!(opening.len(), 1, "only the key is asked for: {opening:?}");
    let report = scene.back_up(&repository);
    assert_eq!(report.summary.files_unmodified, 401, "{report:?}");
    assert_eq!(read(&log.take()), BTreeSet::new());

    // Nothing of it is needed.
    fs::remove_dir_all(&cache.base).expect("removed");
    let (log, recording) = watched();
    scene.check_whole(&cache.open(&scene, recording));
    let kinds = ["config", "data", "index", "keys", "kopia.repository", "snapshots"];
    assert_eq!(read(&log.take()), BTreeSet::from(kinds.map(str::to_owned)));
    // Snapshots and index are there from then on.
    let (log, recording) = watched();
    let repository = cache.open(&scene, recording);
    drop(log.take());
    scene.roots(&repository);
    scene.runtime.block_on(repository.index()).expect("an index");
    assert_eq!(read(&log.take()), BTreeSet::new());
    assert_eq!(cache.told(), []);
}

#[test]
fn damaged_copies_are_replaced_and_never_believed() {
    let scene = Scene::new();
    grow(&scene);
    let cache = Cache::of(&scene);
    let store = empty(Version::V2);
    let report = scene.back_up(&cache.open(&scene, store.clone()));
    scene.check_whole(&cache.open(&scene, store.clone()));
    let copies = cache.copies();
    assert!(copies.len() >= 4, "{copies:?}");
    for damage in ["flipped", "short", "empty", "another"] {
        let mut whole = Vec::new();
        for copy in cache.copies().into_iter().filter(|path| !path.ends_with("version")) {
            let mut bytes = fs::read(&copy).expect("read");
            whole.push((copy.clone(), bytes.clone()));
            let middle = bytes.len() / 2;
            match damage {
                "flipped" => bytes[middle] ^= 1,
                "short" => bytes.truncate(middle),
                "empty" => bytes.clear(),
                _ => bytes = b"something else".to_vec(),
            }
            fs::write(&copy, bytes).expect("written");
        }
        let repository = cache.open(&scene, store.clone());
        scene.check_whole(&repository);
        let root = scene.root(&repository, &report);
        scene.check_restore(&repository, &root, damage);
        for (path, bytes) in whole {
            assert!(fs::read(&path).expect("read") == bytes, "{damage}: {}", path.display());
        }
    }
    // What is known of the location is not believed either.
    for known in files(&cache.base.join("windlass-locations")) {
        let mut bytes = fs::read(&known).expect("read");
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&known, bytes).expect("written");
    }
    scene.check_whole(&cache.open(&scene, store));
}

#[test]
fn copies_of_what_others_removed_go() {
    let scene = Scene::new();
    grow(&scene);
    let cache = Cache::of(&scene);
    let store = empty(Version::V2);
    scene.back_up(&cache.open(&scene, store.clone()));
    let repository = scene.open(store.clone());
    // Another client replaces everything.
    let other = empty(Version::V2);
    scene.write("more", "of it");
    scene.back_up(&scene.open(other.clone()));
    drop(repository);
    let before = cache.copies();
    let repository = cache.open(&scene, other);
    scene.check_whole(&repository);
    let after = cache.copies();
    let left: Vec<_> = before.intersection(&after).collect();
    assert_eq!(left.len(), 1, "only the version stays: {left:?}");
}

#[test]
fn another_repository_at_the_same_place_is_found() {
    let scene = Scene::new();
    grow(&scene);
    let cache = Cache::of(&scene);
    let at = scene.path("repository");
    empty_on_disk(&at, Version::V2);
    let place = Place::local(&at);
    let open = |password: &Password| cache.try_open(&scene, &place, password);
    scene.back_up(&open(&password()).expect("opened"));
    let refused = open(&Password::new(*b"wrong")).expect_err("refused");
    assert!(matches!(refused, OpenError::WrongPassword { .. }), "{refused}");
    scene.back_up(&open(&password()).expect("opened"));
    fs::remove_dir_all(&at).expect("removed");
    let missing = open(&password()).expect_err("missing");
    assert!(matches!(missing, OpenError::NoRepository { .. }), "{missing}");
    let init = windlass_engine::protocol::open::InitOptions {
        version: Version::V2,
        polynomial: None,
        fast_cdc: false,
        username: "user".into(),
        hostname: "host".into(),
    };
    let (password, environment) = (password(), environment());
    let made = Repository::init(&place, &password, &init, &environment);
    let id = scene.runtime.block_on(made).expect("made");
    let repository = open(&password).expect("opened");
    assert_eq!(repository.identity().id, id);
    assert_eq!(scene.roots(&repository), []);
}

fn layout() -> Layout {
    let mut dirs: Vec<String> =
        ["data", "index", "keys", "locks", "snapshots"].map(String::from).into();
    dirs.extend((0..=255_u8).map(|byte| format!("data/{byte:02x}")));
    Layout::Sharded { dirs }
}

#[test]
fn a_cache_that_cannot_be_used_is_told_of_once() {
    let scene = Scene::new();
    grow(&scene);
    let cache = Cache::of(&scene);
    let store = empty(Version::V2);
    fs::write(&cache.base, "no directory").expect("written");
    let report = scene.back_up(&cache.open(&scene, store.clone()));
    assert!(matches!(&cache.told()[..], [StoreEvent::Cache { .. }]), "{:?}", cache.told());
    fs::remove_file(&cache.base).expect("removed");

    // One that cannot be written to any more.
    let repository = cache.open(&scene, store.clone());
    let directory = base::caches(&cache.base).expect("listed").remove(0).path;
    for kind in ["data", "index", "snapshots"] {
        fs::remove_dir_all(directory.join(kind)).expect("removed");
        fs::write(directory.join(kind), "no directory").expect("written");
    }
    cache.told.lock().expect("no panic").clear();
    scene.check_whole(&repository);
    let root = scene.root(&repository, &report);
    scene.check_restore(&repository, &root, "restored");
    scene.write("more", "content");
    scene.back_up(&repository);
    assert!(matches!(&cache.told()[..], [StoreEvent::Cache { .. }]), "{:?}", cache.told());
}

#[test]
fn a_limit_is_kept_and_what_was_not_used_goes_first() {
    let scene = Scene::new();
    let store = empty(Version::V2);
    let mut cache = Cache::of(&scene);
    let bytes = |cache: &Cache| -> u64 {
        cache.copies().iter().map(|path| fs::metadata(path).expect("metadata").len()).sum()
    };
    for round in 0..6_u64 {
        // Names that do not compress: directories of about 40 KiB each time.
        for file in 0..300 {
            let name = noise(round * 1000 + file, 40);
            let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
            scene.write(&format!("{round}/{name}"), "");
        }
        scene.back_up(&cache.open(&scene, store.clone()));
    }
    let unlimited = bytes(&cache);
    let packs = cache.copies_in("data");
    assert!(packs.len() >= 6, "{packs:?}");
    let documents = unlimited
        - packs.iter().map(|path| fs::metadata(path).expect("metadata").len()).sum::<u64>();
    let limit = documents + 100_000;
    assert!(limit < unlimited, "{limit} {unlimited}");
    cache.limit_bytes = Some(limit);
    // The next thing that is kept makes room.
    scene.write("one more", "");
    scene.back_up(&cache.open(&scene, store.clone()));
    assert!(bytes(&cache) <= limit, "{} of {limit}", bytes(&cache));
    assert!(!packs.is_subset(&cache.copies_in("data")));
    scene.check_whole(&cache.open(&scene, store.clone()));
    assert!(bytes(&cache) <= limit, "{} of {limit}", bytes(&cache));

    // Nothing fits, nothing is kept, nothing fails.
    fs::remove_dir_all(&cache.base).expect("removed");
    cache.limit_bytes = Some(10);
    scene.check_whole(&cache.open(&scene, store));
    assert_eq!(cache.copies().len(), 1, "the version");
    assert_eq!(cache.told(), []);
}

#[test]
fn restic_and_windlass_share_it() {
    let scene = Scene::new();
    grow(&scene);
    let at = scene.path("repository");
    let Some(restic) = Restic::at(&at) else { return };
    empty_on_disk(&at, Version::V2);
    let cache = Cache::of(&scene);
    let base = cache.base.to_str().expect("UTF-8");
    let far = || RecordingStore::new(LocalStore::new(at.clone(), layout()));
    let list = |args: &[&str]| restic.good_with_cache(base, args);
    // What restic kept is used.
    scene.back_up(&scene.open(far()));
    list(&["ls", "latest"]);
    assert!(!cache.copies_in("data").is_empty(), "restic keeps packs of trees");
    let store = far();
    let log = store.log();
    let repository = cache.open(&scene, store);
    drop(log.take());
    let report = scene.back_up(&repository);
    assert_eq!(report.summary.files_unmodified, 401, "{report:?}");
    assert_eq!(read(&log.take()), BTreeSet::new());
    // And restic uses what Windlass kept: it finds nothing to complain about or to fetch.
    scene.write("more", "content");
    scene.back_up(&repository);
    let before = cache.copies();
    list(&["check", "--with-cache", "--read-data"]);
    list(&["ls", "latest"]);
    list(&["cache"]);
    assert_eq!(cache.copies(), before);
}

#[test]
fn only_caches_of_repositories_are_listed() {
    let scene = Scene::new();
    let cache = Cache::of(&scene);
    assert_eq!(base::caches(&cache.base).expect("none"), []);
    let store = MemoryStore::new();
    for (key, bytes) in empty(Version::V2).contents() {
        store.overwrite(&Key::new(key.as_str()), bytes);
    }
    let repository = cache.open(&scene, store);
    fs::create_dir(cache.base.join("something")).expect("made");
    fs::write(cache.base.join("a".repeat(64)), "no directory").expect("written");
    let caches = base::caches(&cache.base).expect("listed");
    let names: Vec<_> = caches.iter().map(|cache| cache.repository.as_str()).collect();
    assert_eq!(names, [repository.identity().id.as_str()]);
    assert_eq!(caches[0].bytes().expect("counted"), 1);
    caches[0].remove().expect("removed");
    assert_eq!(base::caches(&cache.base).expect("none"), []);
}
