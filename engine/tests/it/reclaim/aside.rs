//! Where there is too much for memory, what is known of places of chunks lies in files: a disk that
//! fails under them ends what needs them, and nothing is removed.

use std::{fs, path::Path, sync::Arc};

use windlass_engine::{
    cancel::Cancel,
    check,
    fault::{Class, Fault},
    monitor::Silent,
    reclaim::{Options, ReclaimError},
    store::{Backend, memory::MemoryStore},
};
use windlass_testkit::{
    hooked::{HookedStore, Hooks},
    recording::Action,
};

use super::{Scene, clean, forgotten, keys, locks, options, try_clean};

/// Cuts all files of this process that lay below a directory and have no name; how many.
fn cut_files(below: &Path) -> usize {
    let open = fs::read_dir("/proc/self/fd").expect("listed").filter_map(|entry| {
        let descriptor = entry.ok()?.path();
        let file = fs::read_link(&descriptor).ok()?;
        let is_meant = file.starts_with(below) && file.to_str()?.ends_with(" (deleted)");
        is_meant.then_some(descriptor)
    });
    let cut = open.map(|path| fs::File::options().write(true).open(path)?.set_len(0));
    cut.collect::<Result<Vec<()>, _>>().expect("cut").len()
}

/// The store, with files that are cut after a call.
fn cut_after(
    scene: &Scene,
    store: &MemoryStore,
    (action, prefix, nth): (Action, &str, usize),
) -> (impl Backend + 'static, Hooks) {
    let hooked = HookedStore::new(store.clone());
    let (hooks, cache) = (hooked.hooks(), scene.cache());
    hooks.after(action, prefix, nth, async move {
        assert!(cut_files(&cache) >= 2);
    });
    (hooked, hooks)
}

#[test]
fn a_disk_that_fails_ends_it_before_anything_is_removed() {
    let scene = Scene::putting_aside();
    let base = forgotten(&scene, &[0, 2]);
    for (moment, recover_space) in [
        // While roots are walked, when all is planned, while chunks are moved, and at the end.
        ((Action::Read, "data/", 0), false),
        ((Action::List, "data", 0), false),
        ((Action::Write, "data/", 0), false),
        ((Action::Write, "locks/", 1), false),
        ((Action::Write, "locks/", 1), true),
    ] {
        let told = format!("{moment:?} {recover_space}");
        let store = base.fork();
        let (hooked, hooks) = cut_after(&scene, &store, moment);
        let before = store.contents();
        let options = Options { recover_space, ..options() };
        let result = try_clean(&scene, &scene.open(hooked), &options, |_| {});
        let Err(ReclaimError::Fault(fault @ Fault::Aside(_))) = result else {
            panic!("{told}: {result:?}");
        };
        assert_eq!(fault.class(), Class::Retry);
        assert_eq!(hooks.left(), 0, "{told}");
        let after = store.contents();
        assert!(before.iter().all(|(key, bytes)| after.get(key) == Some(bytes)), "{told}");
        assert_eq!(locks(&store), [""; 0], "{told}");
        clean(&scene, &scene.open(store.clone()), &super::options());
        scene.check_whole(&scene.open(store.clone()));
        assert!(keys(&store, "data/").len() < before.len());
    }
}

#[test]
fn a_disk_that_fails_is_no_damage_of_the_repository() {
    let scene = Scene::putting_aside();
    let base = forgotten(&scene, &[]);
    // While directories are walked, and when packs are to be read.
    for moment in [(Action::Read, "data/", 0), (Action::List, "data", 0)] {
        let (hooked, hooks) = cut_after(&scene, &base, moment);
        let repository = scene.open(hooked);
        let options = check::Options { read: check::Read::All, only: None };
        let (monitor, cancel) = (Arc::new(Silent::default()), Cancel::new());
        let mut found = Vec::new();
        let checked = check::run(&repository, &options, monitor, &cancel, |finding| {
            found.push(finding.to_string());
        });
        let result = scene.runtime.block_on(checked);
        assert!(matches!(result, Err(Fault::Aside(_))), "{moment:?}: {result:?}");
        assert_eq!(found, [""; 0], "{moment:?}");
        assert_eq!(hooks.left(), 0, "{moment:?}");
    }
}
