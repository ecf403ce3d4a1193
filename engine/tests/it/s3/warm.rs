//! How often a bucket is asked by a backup that finds all it needs in its cache, and how many of
//! those requests wait for one another.

use std::{sync::Arc, time::Duration};

use windlass_engine::{
    backup::{Options, Report},
    protocol::restic::OpenOptions,
    repository::Repository,
    store::{cache::CacheOptions, trace::Observer},
};
use windlass_testkit::toxic::{self, Seen};

use super::{Cloud, Dose, Poison, Toxic, Version, location, place, settings};
use crate::scene::{self, Scene, environment, password};

/// A repository far away, and the cache of one that uses it.
struct Far {
    toxic: Toxic,
    _cloud: Cloud,
    scene: Scene,
}

impl Far {
    fn new() -> Self {
        let (cloud, scene) = (Cloud::new(), Scene::new());
        for number in 0..60 {
            scene.write(&format!("{}/{number}", number % 7), format!("content {number}"));
        }
        scene::init(&place(&location(cloud.address(), "bucket/r"), &settings()), Version::V2);
        let toxic = Toxic::before(cloud.address());
        toxic.add(Dose::always(Poison::Latency(Duration::from_millis(40))));
        Self { toxic, _cloud: cloud, scene }
    }

    fn open(&self, cache: &str) -> Repository {
        let cache = CacheOptions {
            base: self.scene.path(cache),
            objects: true,
            limit_bytes: None,
            observer: Observer::default(),
        };
        let options = OpenOptions { cache: Some(cache), ..OpenOptions::default() };
        let place = place(&location(self.toxic.address(), "bucket/r"), &settings());
        let password = password();
        let opened = Repository::open(&place, &password, &options, environment());
        self.scene.runtime.block_on(opened).expect("opened")
    }

    /// Backs up the source without the directories above it, which others change.
    fn store(&self, repository: &Repository) -> Report {
        let (base, targets) = (self.scene.source(), vec![".".into()]);
        let options = Options { base, targets, ..self.scene.options() };
        self.scene.try_back_up(repository, options).expect("backed up")
    }

    /// One backup as the command does it, and what the server was asked for.
    fn back_up(&self, cache: &str) -> Vec<Seen> {
        drop(self.toxic.take_seen());
        let report = self.store(&self.open(cache));
        assert_eq!(report.summary.total_files, 60);
        self.toxic.take_seen()
    }
}

/// What each request was, in the order of their coming.
fn words(seen: &[Seen]) -> Vec<String> {
    let mut seen: Vec<&Seen> = seen.iter().collect();
    seen.sort_by_key(|seen| seen.began);
    seen.iter().map(|seen| super::bad_day::words(seen)).collect()
}

#[test]
fn an_unchanged_backup_with_a_warm_cache_asks_eight_times() {
    let far = Far::new();
    far.back_up("mine");
    let seen = far.back_up("mine");
    let words = words(&seen);
    let mut sorted = words.clone();
    sorted.sort();
    assert_eq!(
        sorted,
        [
            "DELETE locks",
            "GET keys",
            "GET list index",
            "GET list index",
            "GET list locks",
            "GET list snapshots",
            "PUT locks",
            "PUT snapshots",
        ]
    );
    // The key, the lock, the look, the proof, the snapshot, the lock again.
    assert_eq!(toxic::one_after_another(&seen), 6, "{words:?}");
    assert_eq!(words[4..], ["GET list locks", "GET list index", "PUT snapshots", "DELETE locks"]);
}

#[test]
fn a_snapshot_that_is_new_here_has_the_index_listed_after_it() {
    let far = Far::new();
    far.back_up("mine");
    // By somebody who has another cache.
    far.scene.write("0/new", "new");
    far.scene.write("0/0", "changed");
    far.store(&far.open("other"));
    drop(far.toxic.take_seen());
    let report = far.store(&far.open("mine"));
    assert_eq!(report.summary.files_unmodified, 61, "{report:?}");
    let seen = far.toxic.take_seen();
    let roots = seen.iter().filter(|seen| super::bad_day::words(seen) == "GET snapshots");
    let read = roots.map(|seen| seen.ended).max().expect("the new one is read");
    let lists = seen.iter().filter(|seen| super::bad_day::words(seen) == "GET list index");
    let after = lists.filter(|seen| seen.began >= read).count();
    assert_eq!(after, 2, "one to load it and one to prove it: {:?}", words(&seen));
}

#[test]
fn a_key_that_was_removed_opens_nothing_although_a_copy_of_it_is_there() {
    let far = Far::new();
    far.back_up("mine");
    let store = Arc::new(super::store(
        &location(far.toxic.address(), "bucket/r"),
        &settings(),
        super::layout(),
    ));
    far.scene.runtime.block_on(async {
        use windlass_engine::store::Backend;
        let mut keys = Vec::new();
        store.list("keys", &mut |row| keys.push(row.key)).await.expect("listed");
        for key in keys {
            store.delete(&key).await.expect("removed");
        }
    });
    let place = place(&location(far.toxic.address(), "bucket/r"), &settings());
    let cache = CacheOptions {
        base: far.scene.path("mine"),
        objects: true,
        limit_bytes: None,
        observer: Observer::default(),
    };
    let options = OpenOptions { cache: Some(cache), ..OpenOptions::default() };
    let password = password();
    let opened = Repository::open(&place, &password, &options, environment());
    let error = far.scene.runtime.block_on(opened).expect_err("no key is left");
    assert!(error.to_string().contains("wrong password or no key"), "{error}");
}
