//! A repository in memory and sources on the fastest file system there is, for whole operations.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use tempfile::TempDir;
use tokio::runtime::Runtime;
use windlass_engine::{
    backup,
    cancel::Cancel,
    monitor::Silent,
    protocol::restic::{InitOptions, OpenOptions},
    repository::{Environment, Place, Repository},
    restore,
    store::{Store, memory::MemoryStore},
};
use windlass_format::{restic::config::Version, secret::Password};

use crate::data::{random_bytes, text_bytes};

/// A repository in memory.
pub struct Memory {
    store: MemoryStore,
    repository: Repository,
}

/// Files to back up.
pub struct Source {
    dir: TempDir,
    /// How much is in them.
    pub bytes: u64,
}

impl Source {
    /// The directory they are in.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// A runtime like the program's.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}

/// An empty directory in memory where there is one, else where temporary files go.
pub fn scratch() -> TempDir {
    let shared = PathBuf::from("/dev/shm");
    let dir = if shared.is_dir() { TempDir::new_in(shared) } else { TempDir::new() };
    dir.expect("a temporary directory")
}

/// One file of random bytes.
pub fn random_file(bytes: usize) -> Source {
    let dir = scratch();
    fs::write(dir.path().join("random"), random_bytes(bytes)).expect("written");
    Source { dir, bytes: bytes as u64 }
}

/// A tree of 4,000 files of text in 100 directories.
pub fn small_tree() -> Source {
    let dir = scratch();
    let text = text_bytes(8 << 20);
    let mut bytes = 0;
    for at in 0..4_000_usize {
        let folder = dir.path().join(format!("d{}", at % 100));
        fs::create_dir_all(&folder).expect("made");
        let len = 500 + at * 7 % 16_000;
        let start = at * 1_999 % (text.len() - len);
        fs::write(folder.join(format!("file-{at}.txt")), &text[start..start + len])
            .expect("written");
        bytes += len as u64;
    }
    Source { dir, bytes }
}

fn password() -> Password {
    Password::new(b"bench".to_vec())
}

impl Memory {
    /// An empty repository.
    pub async fn new() -> Self {
        let store = MemoryStore::new();
        let options = InitOptions {
            version: Version::V2,
            polynomial: None,
            fast_cdc: false,
            username: "bench".into(),
            hostname: "bench".into(),
        };
        let place = Place::store(Store::new(store.clone()));
        let environment = Environment::system();
        Repository::init(&place, &password(), &options, &environment).await.expect("created");
        Self::open(store).await
    }

    async fn open(store: MemoryStore) -> Self {
        let place = Place::store(Store::new(store.clone()));
        let options = OpenOptions::default();
        let repository =
            Repository::open(&place, &password(), &options, Environment::system()).await;
        Self { store, repository: repository.expect("opened") }
    }

    /// The same repository with a life of its own. Opens it, which derives the key: not for timing.
    pub fn fork(&self) -> Self {
        runtime().block_on(Self::open(self.store.fork()))
    }

    /// Backs a directory up.
    pub async fn back_up(&self, source: &Path) {
        let options = backup::Options::new(vec![source.to_owned()], "bench".into());
        let monitor = Arc::new(Silent::default());
        backup::run(&self.repository, options, monitor, &Cancel::new()).await.expect("saved");
    }

    /// Restores the newest snapshot.
    pub async fn restore(&self, target: &Path) {
        let roots = self.repository.protocol().list_roots().await.expect("listed");
        let root = roots.last().and_then(|(_, root)| root.as_ref().ok()).expect("a root");
        let options = restore::Options::new(target);
        let monitor = Arc::new(Silent::default());
        restore::run(&self.repository, root, options, monitor, &Cancel::new())
            .await
            .expect("restored");
    }
}
