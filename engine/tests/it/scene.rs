//! A repository that opens without cost, a source beside it, and what tests ask of both.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;
use windlass_engine::{
    backup::{self, BackupError, Options, Report},
    cancel::Cancel,
    clock::SystemClock,
    entropy::Entropy,
    fault::Fault,
    model::{
        chunk::ChunkKey,
        directory::{Directory, Kind},
        root::{Root, RootId},
    },
    monitor::Silent,
    protocol::{
        Access, ListedRoot, Presence,
        keys::OpenError,
        restic::{InitOptions, OpenOptions},
    },
    repository::{Environment, Place, Repository},
    resources::Resources,
    restore,
    store::{Backend, Key, Store, cache::CacheOptions, memory::MemoryStore, trace::Observer},
};
use windlass_format::{
    restic::{config::Version, envelope},
    secret::Password,
};
pub(super) use windlass_testkit::bare::{HOST, announcement, master, write as empty_on_disk};
use windlass_testkit::{
    bare,
    compare::{Aspect, Difference, compare},
};

pub(super) fn password() -> Password {
    Password::new(bare::PASSWORD)
}

pub(super) fn environment() -> Environment {
    Environment {
        resources: Resources {
            cpus: 2,
            memory_bytes: 1 << 30,
            buffer_bytes: None,
            most_rows: None,
            because: String::new(),
        },
        clock: Arc::new(SystemClock),
        entropy: Entropy::system(),
    }
}

pub(super) fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("a runtime")
}

/// An empty repository in memory, whose password is [`password`].
pub(super) fn empty(version: Version) -> MemoryStore {
    let store = MemoryStore::new();
    bare::objects(version, Vec::new())
        .into_iter()
        .for_each(|(key, bytes)| store.overwrite(&key, bytes));
    store
}

/// One whose files are cut into pieces of this size, as rustic knows them.
pub(super) fn empty_with_fixed_chunks(bytes: usize) -> MemoryStore {
    let store = MemoryStore::new();
    let extra = [("chunker", "\"FixedSize\"".to_owned()), ("chunk_size", bytes.to_string())];
    let extra = extra.map(|(key, value)| (key.to_owned(), value)).into();
    let objects = bare::objects(Version::V2, extra).into_iter();
    objects.for_each(|(key, bytes)| store.overwrite(&key, bytes));
    store
}

/// Creates a repository at an empty place, for [`password`].
pub(super) fn init(place: &Place, version: Version) {
    let options = InitOptions {
        version,
        polynomial: None,
        fast_cdc: false,
        username: "user".into(),
        hostname: HOST.into(),
    };
    let (password, environment) = (password(), environment());
    let init = Repository::init(place, &password, &options, &environment);
    runtime().block_on(init).expect("created");
}

/// A document sealed for these repositories, and its name.
pub(super) fn sealed(directory: &str, json: &[u8]) -> (Key, Vec<u8>) {
    let nonce = Entropy::system().bytes().expect("random");
    let mut sealed = Vec::new();
    envelope::seal(&master(), &nonce, json, &mut sealed);
    let name = windlass_format::id::to_hex(&<[u8; 32]>::from(Sha256::digest(&sealed)));
    (Key::new(format!("{directory}/{name}")), sealed)
}

/// A source directory and threads to work with.
pub(super) struct Scene {
    pub(super) room: tempfile::TempDir,
    pub(super) runtime: Runtime,
    /// Whether what is known of places of chunks lies in files, as it does where there are many.
    puts_aside: bool,
}

impl Scene {
    pub(super) fn new() -> Self {
        let room = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(room.path().join("source")).expect("made");
        Self { room, runtime: runtime(), puts_aside: false }
    }

    /// One whose repositories are too large for memory, as they think.
    pub(super) fn putting_aside() -> Self {
        Self { puts_aside: true, ..Self::new() }
    }

    /// Where that is put.
    pub(super) fn cache(&self) -> PathBuf {
        self.path("cache")
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.room.path().join(name)
    }

    pub(super) fn source(&self) -> PathBuf {
        self.path("source")
    }

    /// Creates `name` in the source, with directories above.
    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.source().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, content).expect("written");
    }

    pub(super) fn try_open_at(&self, place: &Place) -> Result<Repository, OpenError> {
        let (password, mut options) = (password(), OpenOptions::default());
        let mut environment = environment();
        if self.puts_aside {
            environment.resources.most_rows = Some(0);
            let observer = Observer::new(|event| panic!("{event:?}"));
            let base = self.cache();
            options.cache =
                Some(CacheOptions { base, objects: false, limit_bytes: None, observer });
        }
        self.runtime.block_on(Repository::open(place, &password, &options, environment))
    }

    pub(super) fn try_open(&self, store: impl Backend + 'static) -> Result<Repository, OpenError> {
        self.try_open_at(&Place::store(Store::new(store)))
    }

    pub(super) fn open(&self, store: impl Backend + 'static) -> Repository {
        self.try_open(store).expect("opened")
    }

    /// Options for backing up the source.
    pub(super) fn options(&self) -> Options {
        Options::new(vec![self.source()], HOST.into())
    }

    pub(super) fn try_back_up(
        &self,
        repository: &Repository,
        options: Options,
    ) -> Result<Report, BackupError> {
        let (monitor, cancel) = (Arc::new(Silent::default()), Cancel::new());
        self.runtime.block_on(backup::run(repository, options, monitor, &cancel))
    }

    /// Backs up without problems.
    pub(super) fn back_up(&self, repository: &Repository) -> Report {
        let report = self.try_back_up(repository, self.options()).expect("backed up");
        assert_eq!(report.problems, []);
        report
    }

    pub(super) fn try_roots(&self, repository: &Repository) -> Result<Vec<ListedRoot>, Fault> {
        self.runtime.block_on(repository.protocol().list_roots())
    }

    /// All roots, oldest first, every one of them readable.
    pub(super) fn roots(&self, repository: &Repository) -> Vec<(RootId, Root)> {
        let roots = self.try_roots(repository).expect("listed");
        roots.into_iter().map(|(id, root)| (id, root.expect("readable"))).collect()
    }

    pub(super) fn root(&self, repository: &Repository, report: &Report) -> Root {
        let id = report.root.clone().expect("a root");
        let mut roots = self.roots(repository).into_iter();
        roots.find(|(listed, _)| *listed == id).expect("listed").1
    }

    /// Somebody else is at work.
    pub(super) fn announce(&self, repository: &Repository, access: Access) -> Presence {
        let (announcement, cancel) = (announcement(access), Cancel::new());
        let announced = repository.protocol().announce(&announcement, &cancel);
        self.runtime.block_on(announced).expect("announced")
    }

    /// Restores the source as `root` has it, into `name`.
    pub(super) fn try_restore(
        &self,
        repository: &Repository,
        root: &Root,
        name: &str,
    ) -> Result<restore::Report, restore::RestoreError> {
        let mut options = restore::Options::new(self.path(name));
        options.sub_path = self.source().into_os_string().into_encoded_bytes();
        let (monitor, cancel) = (Arc::new(Silent::default()), Cancel::new());
        self.runtime.block_on(restore::run(repository, root, options, monitor, &cancel))
    }

    /// Restores without problems, and finds it equal to the source.
    pub(super) fn check_restore(&self, repository: &Repository, root: &Root, name: &str) {
        let report = self.try_restore(repository, root, name).expect("restored");
        assert_eq!(report.problems, []);
        assert_eq!(differences(&self.source(), &self.path(name)), []);
    }

    /// Every chunk of every root can be read and is what its name says.
    pub(super) fn check_whole(&self, repository: &Repository) {
        for (id, root) in self.roots(repository) {
            let result = self.walk(repository, &root, |_, _| {});
            result.unwrap_or_else(|fault| panic!("root {id}: {fault}"));
        }
    }

    /// Reads everything below a root.
    pub(super) fn walk(
        &self,
        repository: &Repository,
        root: &Root,
        mut each: impl FnMut(&[u8], &Directory) + Send,
    ) -> Result<(), Fault> {
        let reader = self.runtime.block_on(repository.reader())?;
        let mut waiting = vec![(Vec::new(), root.tree)];
        let mut plain = Vec::new();
        while let Some((path, tree)) = waiting.pop() {
            let directory = reader.directory(&tree)?;
            for entry in &directory.entries {
                match &entry.kind {
                    Kind::Directory { tree: Some(below) } => {
                        waiting.push(([&path, &b"/"[..], &entry.name].concat(), *below));
                    }
                    Kind::File { content, .. } => {
                        for key in reader.chunks_of(content)? {
                            plain.clear();
                            reader.chunk(&key, &mut plain)?;
                        }
                    }
                    _ => {}
                }
            }
            each(&path, &directory);
        }
        Ok(())
    }

    /// The tree of the source directory itself in `root`.
    pub(super) fn source_tree(&self, repository: &Repository, root: &Root) -> ChunkKey {
        let reader = self.runtime.block_on(repository.reader()).expect("an index");
        let source = self.source();
        let names = source.iter().skip(1).map(std::ffi::OsStr::as_encoded_bytes);
        names.fold(root.tree, |tree, name| {
            let directory = reader.directory(&tree).expect("a directory");
            let entry = directory.entries.iter().find(|entry| *entry.name == *name);
            match entry.expect("its name").kind {
                Kind::Directory { tree: Some(tree) } => tree,
                _ => panic!("no directory"),
            }
        })
    }
}

/// All differences but those of the roots themselves, which keep their own metadata.
pub(super) fn differences(left: &Path, right: &Path) -> Vec<Difference> {
    let mut found = compare(left, right).expect("compared");
    found.retain(|found| found.path != Path::new("") || found.aspect == Aspect::Presence);
    found
}

/// Incompressible bytes.
pub(super) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Entropy::seeded(seed).fill(&mut bytes).expect("seeded");
    bytes
}

/// The names of all locks.
pub(super) fn locks(store: &MemoryStore) -> Vec<String> {
    let keys = store.contents().into_keys().map(|key| key.as_str().to_owned());
    keys.filter(|key| key.starts_with("locks/")).collect()
}

/// Checks that something happened in time.
pub(super) fn check_within(seconds: u64, since: Instant) {
    assert!(since.elapsed().as_secs() < seconds, "took {:?}", since.elapsed());
}
