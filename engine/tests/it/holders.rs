//! Locks that nobody holds, locks that somebody does, and holders whose lock was taken away.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use windlass_engine::{
    backup::Options,
    cancel::Cancel,
    clock::{Clock, SystemClock},
    fault::{Class, Fault},
    forget,
    monitor::Silent,
    protocol::{
        Access, AnnounceError, Announcement, Presence,
        holders::Stale,
        listener::{Listener, Met},
        object::ObjectKind,
    },
    repository::Repository,
    store::{Backend, Existing, Key, memory::MemoryStore},
};
use windlass_format::restic::{config::Version, lock::Lock};
use windlass_testkit::{hooked::HookedStore, recording::Action};

use super::{
    reclaim,
    scene::{Scene, empty, locks, sealed},
};

/// What somebody who announced itself was told.
type Heard = Arc<Mutex<Vec<Option<Stale>>>>;

fn announcement(access: Access) -> (Announcement, Heard) {
    let heard = Heard::default();
    let told = Arc::clone(&heard);
    let listener = Listener::new(move |met| {
        let what = match met {
            Met::Waiting { by, next, left } => {
                assert!(next <= left && by.contains("there"), "{met:?}");
                None
            }
            Met::Cleared { by, why } => {
                assert!(by.contains("there"), "{met:?}");
                Some(*why)
            }
        };
        told.lock().expect("no panic").push(what);
    });
    let announcement = Announcement {
        access,
        hostname: "here".into(),
        username: "me".into(),
        patience: Duration::ZERO,
        lineage: None,
        listener,
    };
    (announcement, heard)
}

fn try_announce(
    scene: &Scene,
    repository: &Repository,
    announcement: &Announcement,
) -> Result<Presence, AnnounceError> {
    let cancel = Cancel::new();
    scene.runtime.block_on(repository.protocol().announce(announcement, &cancel))
}

/// A lock that somebody else has just taken.
fn foreign(exclusive: bool) -> Lock {
    Lock {
        time: SystemClock.now(),
        exclusive,
        hostname: "there".into(),
        username: "somebody".into(),
        pid: 7,
        uid: 0,
        gid: 0,
        process: String::new(),
        lineage: String::new(),
    }
}

fn put(store: &MemoryStore, lock: &Lock) -> Key {
    let (key, bytes) = sealed("locks", &lock.encode());
    store.overwrite(&key, bytes);
    key
}

/// What this process writes of itself.
fn own(scene: &Scene) -> Lock {
    let repository = scene.open(empty(Version::V2));
    let presence =
        try_announce(scene, &repository, &announcement(Access::Shared).0).expect("alone");
    let lock = scene.runtime.block_on(async {
        let protocol = repository.protocol();
        let names = protocol.list_objects(ObjectKind::Lock).await.expect("listed");
        let lock = protocol.object(ObjectKind::Lock, &names[0]).await.expect("read");
        presence.release().await.expect("released");
        lock
    });
    Lock::decode(&lock.bytes).expect("a lock")
}

/// Lets the clock of a store go on, one second with every write.
fn wait_in_store(scene: &Scene, store: &MemoryStore, seconds: u64) {
    if seconds == 0 {
        return;
    }
    scene.runtime.block_on(async {
        for _second in 0..seconds {
            let draft = store.draft(0).expect("a draft");
            draft.commit(&Key::new("config2"), Existing::Replace).await.expect("written");
        }
        store.delete(&Key::new("config2")).await.expect("there");
    });
}

/// Whether the next one finds that nobody holds this lock, which has been in the store for so long.
fn cleared(lock: &Lock, seconds: u64, lineage: Option<&str>, access: Access) -> Option<Stale> {
    let scene = Scene::new();
    let store = empty(Version::V2);
    let key = put(&store, lock);
    wait_in_store(&scene, &store, seconds);
    let repository = scene.open(store.clone());
    let (announcement, heard) = announcement(access);
    let announcement = Announcement { lineage: lineage.map(str::to_owned), ..announcement };
    let is_in_the_way = lock.exclusive || access == Access::Exclusive;
    match try_announce(&scene, &repository, &announcement) {
        Ok(presence) => {
            scene.runtime.block_on(presence.release()).expect("released");
            let heard = heard.lock().expect("no panic");
            let left = locks(&store);
            match heard.as_slice() {
                [Some(why)] => {
                    assert_eq!(left, [""; 0]);
                    Some(*why)
                }
                [] => {
                    assert_eq!(left, [key.as_str()]);
                    assert!(!is_in_the_way);
                    None
                }
                more => panic!("{more:?}"),
            }
        }
        Err(error) => {
            assert!(is_in_the_way, "{error}");
            assert_eq!(error.class(), Class::Busy, "{error}");
            assert_eq!(locks(&store), [key.as_str()]);
            None
        }
    }
}

#[test]
fn the_next_one_removes_locks_that_nobody_holds_and_no_other() {
    let own = own(&Scene::new());
    let (host_and_more, _) = own.process.rsplit_once('/').expect("several parts");
    let old = |lock: Lock| {
        let mut time = lock.time;
        time.seconds -= 31 * 60;
        Lock { time, ..lock }
    };
    let (fresh, gone) =
        (foreign(true), Lock { process: format!("{host_and_more}/1"), ..own.clone() });
    let gone = Lock { exclusive: true, hostname: "there".into(), ..gone };
    let alive = Lock { process: own.process.clone(), ..gone.clone() };
    let named = Lock { lineage: "nightly".into(), ..fresh.clone() };
    const HALF_AN_HOUR: u64 = 30 * 60 + 1;
    for (told, lock, seconds, lineage, expected) in [
        ("a living one", &fresh, 0, None, None),
        ("its process is gone", &gone, 0, None, Some(Stale::Gone)),
        ("its process is there", &alive, 0, None, None),
        ("its process is there and does nothing", &old(alive.clone()), HALF_AN_HOUR, None, None),
        ("not refreshed", &old(fresh.clone()), HALF_AN_HOUR, None, Some(Stale::Old)),
        ("its clock is behind, or ours ahead", &old(fresh.clone()), 60, None, None),
        ("the store's clock jumped", &fresh, HALF_AN_HOUR, None, None),
        ("the next of that name", &named, 0, Some("nightly"), Some(Stale::Succeeded)),
        ("another name", &named, 0, Some("weekly"), None),
        ("no name", &named, 0, None, None),
    ] {
        for access in [Access::Shared, Access::Exclusive] {
            let lock = Lock { exclusive: access == Access::Shared, ..lock.clone() };
            assert_eq!(cleared(&lock, seconds, lineage, access), expected, "{told}");
        }
        // One that is not in the way is tidied up all the same.
        let shared = Lock { exclusive: false, ..lock.clone() };
        assert_eq!(cleared(&shared, seconds, lineage, Access::Shared), expected, "{told}");
    }
}

#[test]
fn a_lock_that_is_refreshed_between_listing_and_reading_is_seen() {
    let scene = Scene::new();
    for access in [Access::Shared, Access::Exclusive] {
        // At the first look and at the second.
        for nth in [0, 1] {
            let store = empty(Version::V2);
            let first = put(&store, &foreign(access == Access::Shared));
            let hooked = HookedStore::new(store.clone());
            let hooks = hooked.hooks();
            let others = store.clone();
            let (key, bytes) = sealed("locks", &foreign(access == Access::Shared).encode());
            if nth == 1 {
                // It begins after the first look.
                let bytes = store.contents()[&first].clone();
                scene.runtime.block_on(store.delete(&first)).expect("there");
                let (store, first) = (store.clone(), first.clone());
                hooks.after(Action::Write, "locks/", 0, async move {
                    store.overwrite(&first, bytes);
                });
            }
            hooks.after(Action::List, "locks", nth, async move {
                others.overwrite(&key, bytes);
                others.delete(&first).await.expect("there");
            });
            let repository = scene.open(hooked);
            let error = try_announce(&scene, &repository, &announcement(access).0);
            let error = error.expect_err("somebody is there");
            assert_eq!(error.class(), Class::Busy, "{error}");
            assert_eq!((hooks.left(), locks(&store).len()), (0, 1));
        }
    }
}

#[test]
fn waiting_is_told() {
    let scene = Scene::new();
    let store = empty(Version::V2);
    put(&store, &foreign(true));
    let repository = scene.open(store.clone());
    let (announcement, heard) = announcement(Access::Shared);
    let announcement = Announcement { patience: Duration::from_millis(20), ..announcement };
    let error = try_announce(&scene, &repository, &announcement).expect_err("somebody is there");
    assert_eq!(error.class(), Class::Busy, "{error}");
    assert_eq!(*heard.lock().expect("no panic"), [None]);
}

async fn take_locks_away(store: MemoryStore) {
    for name in locks(&store) {
        store.delete(&Key::new(name)).await.expect("there");
    }
}

#[test]
fn a_backup_whose_lock_was_taken_away_makes_no_snapshot() {
    let scene = Scene::new();
    scene.write("file", "content");
    let store = empty(Version::V2);
    let hooked = HookedStore::new(store.clone());
    let hooks = hooked.hooks();
    hooks.after(Action::Write, "index/", 0, take_locks_away(store.clone()));
    let repository = scene.open(hooked);
    let error =
        scene.try_back_up(&repository, scene.options()).expect_err("it may rely on nothing");
    assert!(error.to_string().contains("lock was lost"), "{error}");
    assert_eq!(hooks.left(), 0);
    assert_eq!(scene.roots(&scene.open(store.clone())).len(), 0);
    scene.try_back_up(&scene.open(store), Options { ..scene.options() }).expect("backed up");
}

#[test]
fn whoever_was_alone_and_is_not_any_more_removes_nothing() {
    let scene = Scene::new();
    scene.write("file", "content");
    let store = empty(Version::V2);
    let repository = scene.open(store.clone());
    let root = scene.back_up(&repository).root.expect("a root");
    let presence =
        try_announce(&scene, &repository, &announcement(Access::Exclusive).0).expect("alone");
    let right = presence.delete_right().expect("alone");
    scene.runtime.block_on(take_locks_away(store.clone()));
    let cancel = Cancel::new();
    let removing = forget::run(&repository, &right, vec![root], &cancel, |_, _| {});
    let error = scene.runtime.block_on(removing).expect_err("somebody may be there");
    assert!(matches!(error, forget::ForgetError::Fault(Fault::LockLost)), "{error}");
    assert_eq!(scene.roots(&repository).len(), 1);
    presence.check().expect_err("it is known from now on");
    scene.runtime.block_on(presence.release()).expect("there is nothing to release");
}

#[test]
fn a_lock_that_was_taken_away_is_not_put_back_by_its_holder() {
    let scene = Scene::new();
    let store = empty(Version::V2);
    let repository = scene.open(store.clone());
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let paused = builder.enable_all().start_paused(true).build().expect("a runtime");
    paused.block_on(async {
        let (announcement, _) = announcement(Access::Shared);
        let cancel = Cancel::new();
        let announced = repository.protocol().announce(&announcement, &cancel);
        let presence = announced.await.expect("announced");
        take_locks_away(store.clone()).await;
        tokio::time::sleep(Duration::from_secs(301)).await;
        assert!(cancel.is_cancelled());
        presence.check().expect_err("lost");
        presence.release().await.expect("there is nothing to release");
    });
    assert_eq!(locks(&store), [""; 0]);
}

#[test]
fn cleaning_up_ends_with_its_lock_and_nothing_else_does() {
    let scene = Scene::new();
    scene.write("file", "content");
    let store = empty(Version::V2);
    scene.back_up(&scene.open(store.clone()));
    let hooked = HookedStore::new(store.clone());
    let hooks = hooked.hooks();
    hooks.after(Action::List, "index", 0, {
        let store = store.clone();
        async move {
            take_locks_away(store).await;
            // Until the lock would have been refreshed.
            tokio::time::sleep(Duration::from_secs(301)).await;
        }
    });
    let repository = scene.open(hooked);
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let paused = builder.enable_all().start_paused(true).build().expect("a runtime");
    let (options, cancel) = (reclaim::options(), Cancel::new());
    let monitor = Arc::new(Silent::default());
    let cleaned = windlass_engine::reclaim::run(&repository, &options, monitor, &cancel, |_| {});
    let error = paused.block_on(cleaned).expect_err("others may be at work");
    assert!(error.to_string().contains("lock was lost"), "{error}");
    assert_eq!(error.class(), Class::Retry);
    assert!(!cancel.is_cancelled());
    assert_eq!((hooks.left(), locks(&store)), (0, Vec::new()));
}
