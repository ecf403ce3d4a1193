//! Several at work on one repository at once: ours with ours, and ours with restic.

use std::{sync::Arc, time::Duration};

use windlass_engine::{
    backup::{self, Options},
    cancel::Cancel,
    fault::Class,
    monitor::Silent,
    protocol::{Access, Announcement, listener::Listener},
    repository::Place,
};
use windlass_format::restic::config::Version;

use super::{
    peer::Restic,
    scene::{HOST, Scene, empty, empty_on_disk, locks, noise},
};

#[test]
fn backups_at_the_same_time_do_not_rely_on_each_other() {
    let scene = Scene::new();
    for number in 0..5 {
        scene.write(&format!("noise{number}"), noise(number, 900_000));
    }
    for one_handle in [true, false] {
        let store = empty(Version::V2);
        let first = Arc::new(scene.open(store.clone()));
        let second =
            if one_handle { Arc::clone(&first) } else { Arc::new(scene.open(store.clone())) };
        let options = || Options { pack_bytes: 1 << 20, ..scene.options() };
        let cancel = Cancel::new();
        let quiet = || Arc::new(Silent::default());
        scene.runtime.block_on(async {
            // One is told to stop, and what it had in hand is nobody else's.
            let stopped = Cancel::new();
            let (first, second, third) = tokio::join!(
                backup::run(&first, options(), quiet(), &cancel),
                backup::run(&second, options(), quiet(), &cancel),
                async {
                    let stopping = async {
                        tokio::time::sleep(Duration::from_millis(260)).await;
                        stopped.cancel();
                    };
                    tokio::join!(backup::run(&first, options(), quiet(), &stopped), stopping).0
                },
            );
            first.expect("backed up");
            second.expect("backed up");
            if let Err(error) = third {
                assert_eq!(error.class(), Class::Cancelled, "{error}");
            }
        });
        let fresh = scene.open(store.clone());
        assert!(scene.roots(&fresh).len() >= 2);
        scene.check_whole(&fresh);
        let (_, newest) = scene.roots(&fresh).pop().expect("a root");
        scene.check_restore(&fresh, &newest, if one_handle { "one" } else { "two" });
        assert_eq!(locks(&store), [""; 0]);
    }
}

#[test]
fn whoever_deletes_is_alone() {
    let scene = Scene::new();
    scene.write("file", "content");
    let store = empty(Version::V2);
    let repository = scene.open(store.clone());
    for (held, wanted, both) in [
        (Access::Shared, Access::Shared, true),
        (Access::Shared, Access::Exclusive, false),
        (Access::Exclusive, Access::Shared, false),
        (Access::Exclusive, Access::Exclusive, false),
    ] {
        let held_by_other = scene.announce(&repository, held);
        let announcement = Announcement {
            access: wanted,
            hostname: HOST.into(),
            username: String::new(),
            patience: Duration::ZERO,
            lineage: None,
            listener: Listener::default(),
        };
        let cancel = Cancel::new();
        let result = scene.runtime.block_on(repository.protocol().announce(&announcement, &cancel));
        match result {
            Ok(presence) => {
                assert!(both, "{held:?} and {wanted:?}");
                scene.runtime.block_on(presence.release()).expect("released");
            }
            Err(error) => {
                assert!(!both && error.class() == Class::Busy, "{error}");
                assert!(error.to_string().contains("another host"), "{error}");
            }
        }
        assert_eq!(locks(&store).len(), 1, "only the other's is left");
        if held == Access::Exclusive {
            let error = scene.try_back_up(&repository, scene.options()).expect_err("locked");
            assert_eq!(error.class(), Class::Busy, "{error}");
        }
        scene.runtime.block_on(held_by_other.release()).expect("released");
    }
    assert_eq!(locks(&store), [""; 0]);
}

#[test]
fn restic_and_windlass_see_each_others_locks() {
    let scene = Scene::new();
    scene.write("file", "content");
    let at = scene.path("repository");
    let Some(restic) = Restic::at(&at) else { return };
    empty_on_disk(&at, Version::V2);
    let repository = scene.try_open_at(&Place::local(&at)).expect("opened");
    scene.back_up(&repository);

    let shared = scene.announce(&repository, Access::Shared);
    let refused = restic.run(&["forget", "--keep-last", "1", "--prune"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains("locked"), "{told}");
    assert!(told.contains("another host") && told.contains("somebody"), "{told}");
    restic.back_up(&scene.source());
    scene.runtime.block_on(shared.release()).expect("released");

    let exclusive = scene.announce(&repository, Access::Exclusive);
    let source = scene.source();
    let refused = restic.run(&["backup", source.to_str().expect("UTF-8")]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains("exclusively"), "{told}");
    scene.runtime.block_on(exclusive.release()).expect("released");
    restic.good(&["forget", "--keep-last", "1", "--prune"]);
    restic.check();
    scene.back_up(&repository);
    scene.check_whole(&scene.try_open_at(&Place::local(&at)).expect("opened"));
}
