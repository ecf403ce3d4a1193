//! Announcing in two steps: what others do between them, and what is left of an announcement.

use std::{
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use windlass_engine::{
    backup::{self, Options, Stream},
    cancel::Cancel,
    fault::Class,
    monitor::Silent,
    protocol::{Access, AnnounceError, Patience},
    repository::Repository,
    store::{Backend, Key, memory::MemoryStore},
};
use windlass_format::restic::config::Version;
use windlass_testkit::{
    faulty::{Fault, FaultyStore},
    hooked::{HookedStore, Hooks},
    recording::{Action, Call, RecordingStore},
};

use super::scene::{Scene, announcement, empty, locks, noise};

/// A source of several packs that was backed up once.
fn backed_up() -> (Scene, MemoryStore) {
    let scene = Scene::new();
    for number in 0..4 {
        scene.write(&format!("dir{number}/noise"), noise(number, 500_000));
    }
    let store = empty(Version::V2);
    scene.back_up(&scene.open(store.clone()));
    (scene, store)
}

fn hooked(store: &MemoryStore) -> (HookedStore, Hooks) {
    let hooked = HookedStore::new(store.clone());
    let hooks = hooked.hooks();
    (hooked, hooks)
}

/// What forgetting everything and pruning does, by somebody who saw no lock of ours: index files
/// first, then packs.
async fn prune(store: MemoryStore) {
    for prefix in ["snapshots/", "index/", "data/"] {
        for key in store.contents().into_keys().filter(|key| key.as_str().starts_with(prefix)) {
            store.delete(&key).await.expect("there");
        }
    }
}

/// A lock of somebody else's, sealed with the key of every store of these tests.
fn foreign_lock(scene: &Scene, access: Access) -> (Key, bytes::Bytes) {
    let store = empty(Version::V2);
    let repository = scene.open(store.clone());
    let announcement = announcement(access);
    let cancel = Cancel::new();
    let presence = scene
        .runtime
        .block_on(repository.protocol().announce(&announcement, &cancel))
        .expect("announced");
    let lock = store.contents().into_iter().find(|(key, _)| key.as_str().starts_with("locks/"));
    scene.runtime.block_on(presence.release()).expect("released");
    lock.expect("a lock")
}

/// Everything but locks.
fn without_locks(store: &MemoryStore) -> Vec<(Key, bytes::Bytes)> {
    let contents = store.contents().into_iter();
    contents.filter(|(key, _)| !key.as_str().starts_with("locks/")).collect()
}

#[test]
fn a_backup_begins_again_when_somebody_pruned_between_its_two_looks() {
    // The last moment before the prune, and whether by then an index had been read.
    for (action, prefix, overtaken) in [
        (Action::List, "locks", false),
        (Action::Write, "locks/", false),
        (Action::List, "snapshots", false),
        (Action::Read, "snapshots/", false),
        (Action::List, "index", false),
        (Action::Read, "index/", true),
        (Action::Read, "data/", true),
    ] {
        let what = format!("{action:?} {prefix}");
        let (scene, store) = backed_up();
        scene.write("dir0/new", noise(77, 300_000));
        let recording = RecordingStore::new(store.clone());
        let log = recording.log();
        let hooked = HookedStore::new(recording);
        let hooks = hooked.hooks();
        let repository = scene.open(hooked);
        hooks.after(action, prefix, 0, prune(store.clone()));
        let report = scene.back_up(&repository);
        assert_eq!(hooks.left(), 0, "{what}");
        assert_eq!(report.summary.data_chunks, 5, "{what}: {report:?}");
        let puts = log.count(Action::Write, "locks/");
        assert_eq!(puts, if overtaken { 2 } else { 1 }, "{what}");
        let fresh = scene.open(store.clone());
        assert_eq!(scene.roots(&fresh).len(), 1, "{what}");
        scene.check_whole(&fresh);
        scene.check_restore(&fresh, &scene.root(&fresh, &report), "target");
        assert_eq!(locks(&store), [""; 0], "{what}");
    }
}

#[test]
fn a_backup_that_is_overtaken_again_and_again_gives_up_and_stores_nothing() {
    let (scene, store) = backed_up();
    let (hooked, hooks) = hooked(&store);
    let repository = scene.open(hooked);
    // Each time the index is read, it is replaced by one of another name.
    for nth in 0..8 {
        let store = store.clone();
        hooks.after(Action::Read, "index/", nth, async move {
            let contents = store.contents().into_iter();
            let mut indexes = contents.filter(|(key, _)| key.as_str().starts_with("index/"));
            let (key, bytes) = indexes.next().expect("an index");
            store.delete(&key).await.expect("there");
            // Sealed alike under a new nonce it would have a new name; a name is all that counts
            // here, and what is found under a wrong one is not believed.
            let name = format!("index/{:064x}", nth + 1);
            store.overwrite(&Key::new(name), bytes);
        });
    }
    let before = store.contents().keys().filter(|key| !key.as_str().starts_with("index/")).count();
    let error = scene.try_back_up(&repository, scene.options()).expect_err("overtaken");
    assert!(matches!(error.class(), Class::Busy | Class::Damaged), "{error}");
    let after = store.contents().keys().filter(|key| !key.as_str().starts_with("index/")).count();
    assert_eq!(after, before);
    assert_eq!(locks(&store), [""; 0]);
}

#[test]
fn a_backup_stores_nothing_when_somebody_who_deletes_began_at_the_same_moment() {
    let (scene, store) = backed_up();
    scene.write("dir0/new", noise(77, 3_000_000));
    let (key, bytes) = foreign_lock(&scene, Access::Exclusive);
    let before = without_locks(&store);
    let (hooked, hooks) = hooked(&store);
    let repository = scene.open(hooked);
    hooks.after(Action::Write, "locks/", 0, {
        let (store, key) = (store.clone(), key.clone());
        async move { store.overwrite(&key, bytes) }
    });
    let options = || Options { pack_bytes: 1 << 20, ..scene.options() };
    let error = scene.try_back_up(&repository, options()).expect_err("locked");
    assert_eq!(error.class(), Class::Busy, "{error}");
    assert!(error.to_string().contains("another host"), "{error}");
    assert_eq!(hooks.left(), 0);
    assert_eq!(without_locks(&store), before);
    assert_eq!(locks(&store), [key.as_str()], "only the other's is left");

    // With patience it outlasts the other.
    let patient = Options { lock_patience: Duration::from_secs(2), ..options() };
    let other_ends = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        store.delete(&key).await.expect("there");
    };
    let (monitor, cancel) = (Arc::new(Silent::default()), Cancel::new());
    let (report, ()) = scene.runtime.block_on(async {
        tokio::join!(backup::run(&repository, patient, monitor, &cancel), other_ends)
    });
    assert_eq!(report.expect("backed up").problems, []);
    scene.check_whole(&scene.open(store.clone()));
    assert_eq!(locks(&store), [""; 0]);
}

#[test]
fn nothing_is_stored_before_the_second_look() {
    let (scene, store) = backed_up();
    scene.write("large", noise(5, 40 << 20));
    let recording = RecordingStore::new(store.clone());
    let log = recording.log();
    let repository = scene.open(recording);
    scene.try_back_up(&repository, Options { pack_bytes: 1 << 20, ..scene.options() }).expect("ok");
    let calls = log.take();
    let places = |is: &dyn Fn(&Call) -> bool| -> Vec<usize> {
        calls.iter().enumerate().filter(|(_, call)| is(call)).map(|(at, _)| at).collect()
    };
    let looks = places(&|call| call.object == "locks");
    let proof = places(&|call| call.object == "index").pop().expect("a proof");
    let packs = places(&|call| call.action == Action::Write && call.object.starts_with("data/"));
    assert!(looks.len() == 2 && looks[1] < proof && packs.len() > 10, "{calls:?}");
    assert!(packs[0] > proof, "{calls:?}");
    scene.check_whole(&scene.open(store));
}

/// Bytes that tell whether anyone asked for them.
struct Watched(std::io::Cursor<Vec<u8>>, Arc<AtomicBool>);

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.1.store(true, Ordering::Release);
        self.0.read(buffer)
    }
}

#[test]
fn a_stream_is_not_touched_before_it_can_be_stored() {
    let scene = Scene::new();
    let store = empty(Version::V2);
    let (key, bytes) = foreign_lock(&scene, Access::Exclusive);
    let (hooked, hooks) = hooked(&store);
    let repository = scene.open(hooked);
    let touched = Arc::new(AtomicBool::new(false));
    let content = noise(3, 700_000);
    let run = |patience, touched: &Arc<AtomicBool>| {
        let watched = Watched(std::io::Cursor::new(content.clone()), Arc::clone(touched));
        let stream = Stream { path: "/stdin".into(), bytes: Box::new(watched) };
        let options = Options { lock_patience: patience, ..scene.options() };
        let monitor = Arc::new(Silent::default());
        let cancel = Cancel::new();
        let repository = &repository;
        async move { backup::run_stream(repository, stream, options, monitor, &cancel).await }
    };
    let appear = |nth| {
        let (store, key, bytes) = (store.clone(), key.clone(), bytes.clone());
        hooks.after(Action::Write, "locks/", nth, async move { store.overwrite(&key, bytes) });
    };
    appear(0);
    let error = scene.runtime.block_on(run(Duration::ZERO, &touched)).expect_err("locked");
    assert_eq!(error.class(), Class::Busy, "{error}");
    assert!(!touched.load(Ordering::Acquire), "nothing of it was read");

    scene.runtime.block_on(store.delete(&key)).expect("there");
    appear(0);
    let other_ends = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        store.delete(&key).await.expect("there");
    };
    let patient = run(Duration::from_secs(2), &touched);
    let (report, ()) = scene.runtime.block_on(async { tokio::join!(patient, other_ends) });
    assert_eq!(report.expect("backed up").summary.total_bytes, 700_000);
    assert!(touched.load(Ordering::Acquire));
    scene.check_whole(&scene.open(store.clone()));
    assert_eq!(locks(&store), [""; 0]);
}

#[test]
fn a_reader_lets_go_of_an_index_that_was_replaced() {
    let (scene, store) = backed_up();
    let repository = scene.open(store.clone());
    let cancel = Cancel::new();
    let early = async |repository: &Repository| {
        let patience = &mut Patience::new(Duration::ZERO);
        let announcement = announcement(Access::Shared);
        let pending = repository.protocol().announce_early(&announcement, patience, &cancel).await;
        pending.expect("announced")
    };
    scene.runtime.block_on(async {
        let pending = early(&repository).await;
        assert!(repository.index().await.expect("loaded").chunk_count() > 0);
        let presence = repository.settle_reader(pending, &cancel).await.expect("nothing happened");
        presence.release().await.expect("released");

        let pending = early(&repository).await;
        prune(store.clone()).await;
        let error = repository.settle_reader(pending, &cancel).await.expect_err("overtaken");
        assert!(matches!(error, AnnounceError::Overtaken), "{error}");
        assert_eq!(repository.index().await.expect("loaded").chunk_count(), 0);
    });
    assert_eq!(locks(&store), [""; 0]);
}

/// A runtime whose clock stands still while anyone works.
fn paused() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().expect("a runtime")
}

/// A repository in a store whose lock files take ten seconds to write, from when it is told to.
fn slow() -> (Repository, MemoryStore, impl Fn()) {
    let scene = Scene::new();
    let store = empty(Version::V2);
    let faulty = FaultyStore::new(store.clone());
    let faults = faulty.faults();
    let slow = move || faults.always(Action::Write, "locks/", Fault::Delay(TEN));
    (scene.open(faulty), store, slow)
}

const TEN: Duration = Duration::from_secs(10);

#[test]
fn a_lock_is_refreshed_by_a_new_file() {
    let (repository, store, _) = slow();
    paused().block_on(async {
        let (announcement, cancel) = (announcement(Access::Shared), Cancel::new());
        let announced = repository.protocol().announce(&announcement, &cancel);
        let presence = announced.await.expect("announced");
        let first = locks(&store);
        tokio::time::sleep(Duration::from_secs(301)).await;
        let second = locks(&store);
        assert!(first.len() == 1 && second.len() == 1 && first != second);
        presence.check().expect("held");
        presence.release().await.expect("released");
    });
    assert_eq!(locks(&store), [""; 0]);
}

#[test]
fn a_lock_that_is_released_while_it_is_refreshed_leaves_nothing() {
    for is_dropped in [false, true] {
        let (repository, store, slow) = slow();
        paused().block_on(async {
            let announcement = announcement(Access::Exclusive);
            let cancel = Cancel::new();
            let announced = repository.protocol().announce(&announcement, &cancel);
            let presence = announced.await.expect("announced");
            slow();
            // In the middle of the put that refreshes it.
            tokio::time::sleep(Duration::from_secs(300 + 5)).await;
            let began = tokio::time::Instant::now();
            if is_dropped {
                drop(presence);
                tokio::time::sleep(TEN).await;
            } else {
                presence.release().await.expect("released");
                assert!(began.elapsed() < TEN, "the put was finished and nothing more");
            }
            assert_eq!(locks(&store), [""; 0]);
            tokio::time::sleep(Duration::from_secs(3600)).await;
        });
        assert_eq!(locks(&store), [""; 0], "dropped: {is_dropped}");
    }
}

#[test]
fn an_announcement_that_is_broken_off_leaves_nothing() {
    let (repository, store, slow) = slow();
    slow();
    paused().block_on(async {
        let (announcement, cancel) = (announcement(Access::Shared), Cancel::new());
        let announced = repository.protocol().announce(&announcement, &cancel);
        let timeout = tokio::time::timeout(Duration::from_secs(5), announced).await;
        assert!(timeout.is_err(), "the put takes longer");
        tokio::time::sleep(TEN).await;
    });
    assert_eq!(locks(&store), [""; 0]);
}
