//! Restores: fidelity, what happens to what is there, mirroring, damage, hostile snapshots.

mod damage;
mod existing;
mod fidelity;
mod hostile;
mod mirror;
mod recorded;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
};

use tokio::runtime::Runtime;
use windlass_engine::{
    backup,
    cancel::Cancel,
    entropy::Entropy,
    model::root::Root,
    monitor::{Action, Counters, Event, Monitor, Silent},
    protocol::restic::{InitOptions, OpenOptions},
    repository::{Environment, Place, Repository},
    restore::{self, Options, Report, RestoreError},
    store::{Backend, Store, memory::MemoryStore},
};
use windlass_format::restic::config::Version;
use windlass_testkit::{
    compare::{Difference, compare},
    faulty::{Faults, FaultyStore},
    recording::{Log, RecordingStore},
};

use crate::scene::{self, password, runtime};

/// A repository in memory, behind a store that can fail and remembers calls, and room for files.
struct Stage {
    room: tempfile::TempDir,
    runtime: Runtime,
    store: MemoryStore,
    faults: Faults,
    log: Log,
    repository: Repository,
}

fn environment() -> Environment {
    Environment { entropy: Entropy::seeded(1), ..scene::environment() }
}

/// An empty repository; deriving its key again for each test would take longer than the tests.
fn empty_repository() -> MemoryStore {
    static MADE: OnceLock<MemoryStore> = OnceLock::new();
    let make = || {
        let store = MemoryStore::new();
        let place = Place::store(Store::new(store.clone()));
        let options = InitOptions {
            version: Version::V2,
            polynomial: None,
            fast_cdc: false,
            username: "user".into(),
            hostname: "host".into(),
        };
        let (password, environment) = (password(), environment());
        let made = Repository::init(&place, &password, &options, &environment);
        runtime().block_on(made).expect("created");
        store
    };
    MADE.get_or_init(make).fork()
}

impl Stage {
    fn new() -> Self {
        Self::over(|store| store)
    }

    /// With another store in front of the one in memory.
    fn over<B: Backend + 'static>(wrap: impl FnOnce(MemoryStore) -> B) -> Self {
        let store = empty_repository();
        let faulty = FaultyStore::new(wrap(store.clone()));
        let faults = faulty.faults();
        let recording = RecordingStore::new(faulty);
        let log = recording.log();
        let (place, runtime) = (Place::store(Store::new(recording)), runtime());
        let (password, options) = (password(), OpenOptions::default());
        let opened = Repository::open(&place, &password, &options, environment());
        let repository = runtime.block_on(opened).expect("opened");
        let room = tempfile::tempdir().expect("a temporary directory");
        Self { room, runtime, store, faults, log, repository }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.room.path().join(name)
    }

    /// Creates `name` in the source, with directories above.
    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path("source").join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, content).expect("written");
    }

    fn back_up(&self) -> Root {
        let options = backup::Options::new(vec![self.path("source")], "host".into());
        let (monitor, cancel) = (Arc::new(Silent::default()), Cancel::new());
        self.runtime.block_on(async {
            let report = backup::run(&self.repository, options, monitor, &cancel).await;
            let report = report.expect("backed up");
            assert!(!report.is_partial(), "{:?}", report.problems);
            let id = report.root.expect("a root");
            let roots = self.repository.protocol().list_roots().await.expect("listed");
            let root = roots.into_iter().find(|(listed, _)| *listed == id).expect("listed");
            root.1.expect("readable")
        })
    }

    /// What is asked for by most tests: the content of the source into the target.
    fn options(&self) -> Options {
        let mut options = Options::new(self.path("target"));
        options.sub_path = self.path("source").into_os_string().into_encoded_bytes();
        options
    }

    fn restore(&self, root: &Root, options: Options) -> Result<Report, RestoreError> {
        self.watch(root, options, Arc::new(Silent::default()))
    }

    fn watch(
        &self,
        root: &Root,
        options: Options,
        monitor: Arc<dyn Monitor>,
    ) -> Result<Report, RestoreError> {
        let cancel = Cancel::new();
        self.runtime.block_on(restore::run(&self.repository, root, options, monitor, &cancel))
    }

    /// Restores without problems.
    fn restore_well(&self, root: &Root, options: Options) -> Report {
        let report = self.restore(root, options).expect("restored");
        assert_eq!(report.problems, []);
        assert_eq!(report.outcome(), restore::Outcome::Success);
        report
    }

    fn differences(&self) -> Vec<Difference> {
        let mut found = compare(&self.path("source"), &self.path("target")).expect("compared");
        // The target itself keeps its own metadata.
        found.retain(|difference| difference.path != Path::new(""));
        found
    }

    fn target(&self, name: &str) -> PathBuf {
        self.path("target").join(name)
    }
}

/// Notes what is done with which path.
#[derive(Default)]
struct Notes {
    counters: Counters,
    items: Mutex<Vec<(String, Action)>>,
}

impl Monitor for Notes {
    fn event(&self, event: Event<'_>) {
        if let Event::Item { path, action, .. } = event {
            let path = String::from_utf8_lossy(path).into_owned();
            self.items.lock().expect("whole").push((path, action));
        }
    }

    fn wants_items(&self) -> bool {
        true
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Notes {
    fn sorted(&self) -> Vec<(String, Action)> {
        let mut items = self.items.lock().expect("whole").clone();
        items.sort_by(|a, b| a.0.cmp(&b.0));
        items
    }
}

/// Incompressible bytes.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Entropy::seeded(seed).fill(&mut bytes).expect("seeded");
    bytes
}
