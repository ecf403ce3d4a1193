//! Damage to any object of a repository: the truth, or an error that names the object.

use std::{fs, sync::Arc, time::Instant};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use windlass_engine::{
    cancel::Cancel,
    fault::{Class, Fault},
    model::root::Root,
    monitor::Silent,
    protocol::{
        keys::OpenError,
        restic::{InitOptions, OpenOptions},
    },
    repository::{Place, Repository},
    restore::{self, RestoreError},
    store::{Backend, Failure, Key, Store, memory::MemoryStore},
};
use windlass_format::{
    restic::{config::Version, key::KeyFile},
    secret::Password,
};
use windlass_testkit::{
    faulty::{Fault as StoreFault, FaultyStore},
    recording::Action,
};

use super::scene::{Scene, check_within, differences, empty, environment, noise, password};

/// What came of opening, listing and restoring.
#[derive(Debug)]
enum End {
    /// Everything as it was.
    Right,
    /// Nothing to be seen of the damaged thing: it is as if it were not there.
    Absent,
    /// Told, with the words.
    Told(Class, String),
}

/// A small repository to be damaged, and what is in it.
pub(super) struct Subject {
    pub(super) scene: Scene,
    pub(super) store: MemoryStore,
    root: Root,
}

impl Subject {
    pub(super) fn new(version: Version) -> Self {
        let scene = Scene::new();
        scene.write("text", "some words, some words, some words");
        scene.write("below/noise", noise(1, 700));
        scene.write("below/deeper/empty", "");
        let store = empty(version);
        let repository = scene.open(store.clone());
        let report = scene.back_up(&repository);
        let root = scene.root(&repository, &report);
        Self { scene, store, root }
    }

    pub(super) fn objects(&self) -> Vec<(Key, Bytes)> {
        self.store.contents().into_iter().collect()
    }

    /// Opens, lists and reads all of a damaged copy, and finds it unchanged by that.
    fn end(&self, damaged: &MemoryStore) -> End {
        let before = damaged.contents();
        let end = self.read(damaged);
        assert_eq!(damaged.contents(), before, "looking at damage changed something");
        end
    }

    fn read(&self, damaged: &MemoryStore) -> End {
        let told = |fault: Fault| End::Told(fault.class(), fault.to_string());
        let repository = match self.scene.try_open(damaged.clone()) {
            Ok(repository) => repository,
            Err(error) => return End::Told(error.class(), error.to_string()),
        };
        let roots = match self.scene.try_roots(&repository) {
            Ok(roots) => roots,
            Err(fault) => return told(fault),
        };
        let Some((_, root)) = roots.into_iter().next() else { return End::Absent };
        let root = match root {
            Ok(root) => root,
            Err(fault) => return told(fault),
        };
        assert_eq!(root, self.root, "another root than was stored");
        let mut seen = Vec::new();
        let walked = self.scene.walk(&repository, &root, |path, directory| {
            seen.push((path.to_vec(), directory.clone()));
        });
        match walked {
            Err(fault) => told(fault),
            Ok(()) => End::Right,
        }
    }

    /// Reads a copy in which a bit of an object was flipped, which has to be harmless or told with the
    /// name of the object; whether it was harmless.
    pub(super) fn check_flip(&self, damaged: &MemoryStore, key: &Key, bit: usize) -> bool {
        match self.end(damaged) {
            End::Right => {
                // Past the chunks lies what only a repair reads.
                assert!(key.as_str().starts_with("data/"), "{key} bit {bit}");
                true
            }
            End::Absent => panic!("{key} bit {bit}: hidden"),
            End::Told(class, text) => {
                assert_eq!(class, Class::Damaged, "{key} bit {bit}: {text}");
                assert!(text.contains(&name_of(key)), "{key} bit {bit}: {text}");
                false
            }
        }
    }

    /// Restores from a damaged copy: what is there afterwards is right or named.
    pub(super) fn restore(&self, damaged: &MemoryStore) -> Result<Vec<String>, RestoreError> {
        let repository = self.scene.open(damaged.clone());
        let target = self.scene.path("target");
        let result = self.scene.try_restore(&repository, &self.root, "target");
        let found = result.map(|report| {
            let problems = report.problems;
            for difference in differences(&self.scene.source(), &target) {
                let path = difference.path.to_str().expect("UTF-8");
                let named = |problem: &restore::Problem| {
                    path.starts_with(String::from_utf8_lossy(&problem.path).trim_start_matches('/'))
                };
                assert!(problems.iter().any(named), "{difference} is not in {problems:?}");
            }
            problems.into_iter().map(|problem| problem.error).collect()
        });
        if target.exists() {
            fs::remove_dir_all(target).expect("removed");
        }
        found
    }
}

/// What an error has to name for an object to be found.
fn name_of(key: &Key) -> String {
    match key.as_str().split_once('/') {
        Some((_, name)) => name.to_owned(),
        None => key.as_str().to_owned(),
    }
}

fn check_flips(version: Version, stride: usize) {
    let subject = Subject::new(version);
    let objects = subject.objects();
    let kinds = ["config", "data/", "index/", "keys/", "snapshots/"];
    for kind in kinds {
        assert!(objects.iter().any(|(key, _)| key.as_str().starts_with(kind)), "no {kind}");
    }
    for (key, bytes) in &objects {
        let damaged = subject.store.fork();
        for bit in (0..bytes.len() * 8).step_by(stride) {
            let mut altered = bytes.to_vec();
            altered[bit / 8] ^= 1 << (bit % 8);
            damaged.overwrite(key, altered);
            subject.check_flip(&damaged, key, bit);
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_harmless_or_told_with_the_name_of_its_object() {
    check_flips(Version::V2, 3);
    check_flips(Version::V1, 13);
}

#[test]
fn a_truncated_object_is_told_with_its_name() {
    let subject = Subject::new(Version::V2);
    for (key, bytes) in subject.objects() {
        let damaged = subject.store.fork();
        for len in (0..bytes.len()).step_by(7) {
            damaged.overwrite(&key, bytes.slice(..len));
            match subject.end(&damaged) {
                End::Right => assert!(key.as_str().starts_with("data/"), "{key} to {len}"),
                End::Absent => panic!("{key} to {len}: hidden"),
                End::Told(class, text) => {
                    assert_eq!(class, Class::Damaged, "{key} to {len}: {text}");
                    assert!(text.contains(&name_of(&key)), "{key} to {len}: {text}");
                }
            }
        }
    }
}

#[test]
fn a_removed_object_is_missed_by_name() {
    let subject = Subject::new(Version::V2);
    for (key, _) in subject.objects() {
        let damaged = subject.store.fork();
        subject.scene.runtime.block_on(damaged.delete(&key)).expect("removed");
        let (kind, _) = key.as_str().split_once('/').unwrap_or((key.as_str(), ""));
        match (kind, subject.end(&damaged)) {
            ("config", End::Told(Class::NoRepository, _))
            | ("keys", End::Told(Class::WrongPassword, _))
            | ("snapshots", End::Absent) => {}
            ("index", End::Told(Class::Damaged, text)) => {
                assert!(text.contains("in no index"), "{text}");
            }
            ("data", End::Told(Class::Damaged, text)) => {
                assert!(text.contains(&name_of(&key)), "{key}: {text}");
            }
            (_, end) => panic!("{key}: {end:?}"),
        }
    }
}

#[test]
fn a_restore_from_a_damaged_pack_brings_back_what_is_whole_and_names_the_rest() {
    let subject = Subject::new(Version::V2);
    let packs = subject.objects().into_iter().filter(|(key, _)| key.as_str().starts_with("data/"));
    let mut noticed = 0;
    for (key, bytes) in packs {
        let damaged = subject.store.fork();
        for at in (0..bytes.len()).step_by(101) {
            let mut altered = bytes.to_vec();
            altered[at] ^= 0x40;
            damaged.overwrite(&key, altered);
            let told = match subject.restore(&damaged) {
                Ok(problems) => problems,
                Err(RestoreError::Fault(fault)) => {
                    assert_eq!(fault.class(), Class::Damaged, "{key} {at}: {fault}");
                    vec![fault.to_string()]
                }
                Err(error) => panic!("{key} {at}: {error}"),
            };
            noticed += usize::from(!told.is_empty());
        }
    }
    assert!(noticed > 10, "{noticed}");
}

#[test]
fn backing_up_over_damage_changes_nothing_that_is_stored() {
    let subject = Subject::new(Version::V2);
    for (key, bytes) in subject.objects() {
        if key.as_str() == "config" || key.as_str().starts_with("keys/") {
            continue;
        }
        let damaged = subject.store.fork();
        let mut altered = bytes.to_vec();
        altered[bytes.len() / 3] ^= 1;
        damaged.overwrite(&key, altered);
        let before = damaged.contents();
        let repository = subject.scene.open(damaged.clone());
        let result = subject.scene.try_back_up(&repository, subject.scene.options());
        let after = damaged.contents();
        for (key, bytes) in &before {
            assert_eq!(after.get(key), Some(bytes), "{key}");
        }
        match key.as_str().split_once('/').expect("a kind").0 {
            // What is known must be known completely before anything is added to it.
            "index" => {
                let error = result.expect_err("a damaged index");
                assert_eq!(error.class(), Class::Damaged);
                assert!(error.to_string().contains(&name_of(&key)), "{error}");
                assert_eq!(after, before);
            }
            _ => drop(result.unwrap_or_else(|error| panic!("{key}: {error}"))),
        }
    }
}

#[test]
fn a_wrong_password_no_repository_and_an_unreadable_store_are_three_things() {
    let scene = Scene::new();
    let open = |store: Store, password: &str| {
        let (place, password) = (Place::store(store), Password::new(password));
        let options = OpenOptions::default();
        scene.runtime.block_on(Repository::open(&place, &password, &options, environment()))
    };
    let store = empty(Version::V2);
    let error = open(Store::new(store.clone()), "Secret").expect_err("a wrong password");
    assert!(matches!(error, OpenError::WrongPassword { .. }), "{error:?}");
    for nothing in [MemoryStore::new(), MemoryStore::absent()] {
        let error = open(Store::new(nothing), "secret").expect_err("nothing there");
        assert!(matches!(error, OpenError::NoRepository { .. }), "{error:?}");
    }
    for failure in [Failure::Denied, Failure::Transient, Failure::Permanent] {
        for action in [Action::Read, Action::List] {
            let faulty = FaultyStore::new(store.clone());
            faulty.faults().always(action, "", StoreFault::Fail(failure));
            let error = open(Store::new(faulty), "secret").expect_err("unreadable");
            let told =
                matches!(&error, OpenError::Fault(Fault::Store(error)) if error.failure == failure);
            assert!(told, "{action:?}: {error:?}");
        }
        // Nor is anything created where it cannot be told that nothing is there.
        let faulty = FaultyStore::new(store.clone());
        faulty.faults().always(Action::Stat, "", StoreFault::Fail(failure));
        let options = InitOptions {
            version: Version::V2,
            polynomial: None,
            fast_cdc: false,
            username: String::new(),
            hostname: String::new(),
        };
        let (place, before) = (Place::store(Store::new(faulty)), store.contents());
        let (password, environment) = (password(), environment());
        let made = Repository::init(&place, &password, &options, &environment);
        let error = scene.runtime.block_on(made).expect_err("cannot tell");
        assert!(matches!(error, OpenError::Fault(_)), "{error:?}");
        assert_eq!(store.contents(), before);
    }
}

#[test]
fn absurd_costs_of_a_key_are_refused_at_once() {
    let scene = Scene::new();
    let store = empty(Version::V2);
    let keys = store.contents().into_iter().find(|(key, _)| key.as_str().starts_with("keys/"));
    let (key, bytes) = keys.expect("a key");
    let file = KeyFile::decode(&bytes).expect("whole");
    for (n, r, p) in [
        (1 << 40, 8, 1),
        (u64::MAX, 8, 1),
        (1 << 63, u32::MAX, u32::MAX),
        (2, u32::MAX, 1),
        (1 << 15, 8, u32::MAX),
        (1 << 15, 8, 65),
        (0, 8, 1),
        (3, 8, 1),
        (1 << 15, 0, 1),
        (1 << 15, 8, 0),
    ] {
        let mut absurd = file.clone();
        (absurd.kdf.n, absurd.kdf.r, absurd.kdf.p) = (n, r, p);
        let json = absurd.encode();
        let store = store.fork();
        scene.runtime.block_on(store.delete(&key)).expect("removed");
        let name = windlass_format::id::to_hex(&<[u8; 32]>::from(Sha256::digest(&json)));
        store.overwrite(&Key::new(format!("keys/{name}")), json);
        let began = Instant::now();
        let error = scene.try_open(store).expect_err("absurd");
        check_within(1, began);
        assert_eq!(error.class(), Class::Damaged, "{n} {r} {p}: {error}");
        assert!(error.to_string().contains(&name), "{error}");
    }
}

#[test]
fn a_read_that_comes_out_wrong_once_is_not_taken_for_data() {
    let subject = Subject::new(Version::V2);
    for fault in [StoreFault::CutShort, StoreFault::FlipBit(77)] {
        for prefix in ["config", "keys/", "snapshots/", "index/", "data/"] {
            let faulty = FaultyStore::new(subject.store.clone());
            let faults = faulty.faults();
            faults.once(Action::Read, prefix, 0, fault);
            let repository = match subject.scene.try_open(faulty) {
                Ok(repository) => repository,
                Err(error) => {
                    assert_eq!(error.class(), Class::Damaged, "{prefix}: {error}");
                    continue;
                }
            };
            let roots = subject.scene.try_roots(&repository).expect("listed");
            // Documents are read again, and come out right.
            roots[0].1.as_ref().expect("readable");
            let options = restore::Options::new(subject.scene.path("target"));
            let (monitor, cancel) = (Arc::new(Silent::default()), Cancel::new());
            let restored = restore::run(&repository, &subject.root, options, monitor, &cancel);
            match subject.scene.runtime.block_on(restored) {
                Err(error) => assert_eq!(error.class(), Class::Damaged, "{prefix}: {error}"),
                Ok(report) => {
                    let right = report.problem_count == 0;
                    assert!(right || prefix == "data/", "{prefix} {fault:?}");
                }
            }
            assert!(faults.all_happened(), "{prefix}");
        }
    }
}
