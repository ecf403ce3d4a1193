//! Bringing lost data back: from another repository or from files, and nothing but what was lost.

use std::{path::PathBuf, sync::Arc};

use windlass_engine::{
    cancel::Cancel,
    check::Read,
    copy,
    fault::Class,
    model::{chunk::ChunkKey, directory::Kind, object::Content},
    monitor::{Monitor, Silent},
    protocol::Access,
    repair::heal::{self, HealError, Options, Remedy, Report},
    repository::{Place, Repository},
    store::{Backend, Failure, Key, memory::MemoryStore},
};
use windlass_format::restic::config::Version;
use windlass_testkit::{
    faulty::{Fault as Broken, FaultyStore},
    recording::{Action, Call, RecordingStore, replay},
};

use super::{
    peer::Restic,
    scene::{Scene, announcement, empty, empty_on_disk, locks, noise},
};

fn try_heal(
    scene: &Scene,
    repository: &Repository,
    remedies: &[Remedy<'_>],
    plan: bool,
) -> Result<Report, HealError> {
    let options = Options { read: Read::All, pack_bytes: 1 << 20 };
    let monitor = Arc::new(Silent::default()) as Arc<dyn Monitor>;
    let cancel = Cancel::new();
    scene.runtime.block_on(async {
        if plan {
            return heal::run(repository, &options, remedies, None, &monitor, &cancel).await;
        }
        let announcement = announcement(Access::Exclusive);
        let announced = repository.protocol().announce(&announcement, &cancel).await;
        let presence = announced.expect("announced");
        let healed =
            heal::run(repository, &options, remedies, Some(&presence), &monitor, &cancel).await;
        presence.release().await.expect("released");
        healed
    })
}

/// Two backups, and a copy of both in another repository.
fn history(scene: &Scene) -> (MemoryStore, MemoryStore) {
    let store = empty(Version::V2);
    let repository = scene.open(store.clone());
    let small = windlass_engine::backup::Options { pack_bytes: 1 << 20, ..scene.options() };
    scene.write("large", noise(1, 3_000_000));
    scene.write("d/e/deep", noise(2, 50_000));
    scene.try_back_up(&repository, small.clone()).expect("backed up");
    scene.write("d/later", noise(3, 1_400_000));
    scene.try_back_up(&repository, small).expect("backed up");
    let other = empty(Version::V2);
    let target = scene.open(other.clone());
    let options = copy::Options { roots: scene.roots(&repository), pack_bytes: 1 << 20 };
    let cancel = Cancel::new();
    scene.runtime.block_on(async {
        let announced = target.protocol().announce(&announcement(Access::Shared), &cancel).await;
        let presence = announced.expect("announced");
        let monitor = Arc::new(Silent::default());
        let step = Arc::new(|_: copy::Step<'_>| {});
        let copied = copy::run(&repository, &target, &options, &presence, monitor, &cancel, step);
        copied.await.expect("copied");
        presence.release().await.expect("released");
    });
    (store, other)
}

/// A chunk of the file or directory of this name, and its pack and place.
fn find(scene: &Scene, store: &MemoryStore, name: &[u8]) -> (ChunkKey, Key, usize) {
    let repository = scene.open(store.clone());
    let mut found = None;
    for (_, root) in scene.roots(&repository) {
        let walked = scene.walk(&repository, &root, |_, directory| {
            for entry in directory.entries.iter().filter(|entry| *entry.name == *name) {
                match &entry.kind {
                    Kind::File { content: Content::Chunks(chunks), .. } => {
                        found = chunks.first().copied();
                    }
                    Kind::Directory { tree } => found = *tree,
                    _ => {}
                }
            }
        });
        walked.expect("whole");
    }
    let key = found.expect("there");
    let index = scene.runtime.block_on(repository.index()).expect("an index");
    let place = index.find(&key).expect("indexed");
    let pack = repository.dialect().pack_key(&index.pack_name(place.pack).expect("a name"));
    (key, pack, place.offset as usize)
}

fn flip(store: &MemoryStore, (_, pack, offset): &(ChunkKey, Key, usize)) {
    let mut bytes = store.contents()[pack].to_vec();
    bytes[offset + 20] ^= 1;
    store.overwrite(pack, bytes);
}

fn delete(scene: &Scene, store: &MemoryStore, key: &Key) {
    scene.runtime.block_on(store.delete(key)).expect("deleted");
}

/// The repository with a damaged piece, a lost pack of pieces and a damaged directory.
fn damaged(scene: &Scene, store: &MemoryStore) -> MemoryStore {
    let damaged = store.fork();
    let (piece, directory) = (find(scene, store, b"large"), find(scene, store, b"e"));
    let later = find(scene, store, b"later");
    flip(&damaged, &piece);
    flip(&damaged, &directory);
    if later.1 != piece.1 {
        delete(scene, &damaged, &later.1);
    }
    damaged
}

#[test]
fn another_repository_brings_everything_back() {
    let scene = Scene::new();
    let (store, other) = history(&scene);
    let broken = damaged(&scene, &store);
    let other = scene.open(other);
    let before = broken.contents();
    let plan = try_heal(&scene, &scene.open(broken.clone()), &[Remedy::Repository(&other)], true);
    let plan = plan.expect("planned");
    assert!(plan.lost.len() >= 3 && !plan.affected.is_empty(), "{plan:?}");
    assert_eq!((plan.still_lost.len(), plan.found[0] as usize), (0, plan.lost.len()));
    assert_eq!(broken.contents(), before, "a plan writes nothing");
    let repository = scene.open(broken.clone());
    let report = try_heal(&scene, &repository, &[Remedy::Repository(&other)], false);
    let report = report.expect("healed");
    assert_eq!((report.still_lost.len(), report.packs_left.len()), (0, 0), "{report:?}");
    assert!(!report.packs_removed.is_empty());
    let fresh = scene.open(broken.clone());
    scene.check_whole(&fresh);
    let newest = scene.roots(&fresh).pop().expect("a root").1;
    scene.check_restore(&fresh, &newest, "target");
    assert_eq!(locks(&broken), [""; 0]);
    let again = try_heal(&scene, &scene.open(broken), &[], true).expect("looked");
    assert!(again.findings.is_empty() && again.lost.is_empty(), "{again:?}");
}

#[test]
fn files_bring_pieces_back_and_only_those_that_are_the_same() {
    let scene = Scene::new();
    let (store, other) = history(&scene);
    let broken = store.fork();
    let piece = find(&scene, &store, b"large");
    flip(&broken, &piece);
    // A directory that is named, a file of another name elsewhere, and one that was changed.
    let elsewhere = scene.path("elsewhere");
    std::fs::create_dir_all(elsewhere.join("x")).expect("made");
    std::fs::copy(scene.source().join("large"), elsewhere.join("x/moved")).expect("copied");
    let changed = scene.path("changed");
    std::fs::create_dir(&changed).expect("made");
    std::fs::write(changed.join("large"), noise(9, 3_000_000)).expect("written");
    let source = scene.source();
    for (path, healed) in [(&source, true), (&elsewhere, true), (&changed, false)] {
        let store = broken.fork();
        let report = try_heal(&scene, &scene.open(store.clone()), &[Remedy::Files(path)], false);
        let report = report.expect("looked");
        assert_eq!(report.lost.iter().copied().collect::<Vec<_>>(), [piece.0]);
        assert_eq!(report.still_lost.is_empty(), healed, "{path:?}");
        assert_eq!(report.packs_left.is_empty(), healed);
        if healed {
            scene.check_whole(&scene.open(store));
        } else {
            assert_eq!(store.contents(), broken.contents());
        }
    }
    // What the one has not, the other may have: directories are in repositories only.
    let broken = damaged(&scene, &store);
    let other = scene.open(other);
    let remedies = [Remedy::Files(&source), Remedy::Repository(&other)];
    let report = try_heal(&scene, &scene.open(broken.clone()), &remedies, false).expect("healed");
    assert!(report.found[0] >= 1 && report.found[1] >= 1, "{report:?}");
    scene.check_whole(&scene.open(broken));
}

#[test]
fn what_is_lost_everywhere_stays_and_is_told() {
    let scene = Scene::new();
    let (store, other) = history(&scene);
    let (broken, other_broken) = (store.fork(), other.fork());
    let (piece, there) = (find(&scene, &store, b"large"), find(&scene, &other, b"large"));
    flip(&broken, &piece);
    flip(&other_broken, &there);
    let remedy = scene.open(other_broken);
    let nowhere: PathBuf = scene.path("nowhere");
    let remedies = [Remedy::Repository(&remedy), Remedy::Files(&nowhere)];
    let report = try_heal(&scene, &scene.open(broken.clone()), &remedies, false).expect("looked");
    assert_eq!(report.still_lost.iter().copied().collect::<Vec<_>>(), [piece.0]);
    assert_eq!(report.packs_left.len(), 1);
    assert!(report.affected.iter().all(|it| it.path.ends_with(b"/large")), "{report:?}");
    let index = broken.contents().into_keys().find(|key| key.as_str().starts_with("index/"));
    broken.overwrite(&index.expect("an index"), &b"no index"[..]);
    let error = try_heal(&scene, &scene.open(broken), &remedies, true).expect_err("no index");
    assert!(matches!(error, HealError::DamagedIndex), "{error}");
}

#[test]
fn what_cannot_be_reached_is_not_lost() {
    let scene = Scene::new();
    let (store, other) = history(&scene);
    let broken = damaged(&scene, &store);
    let remedy = scene.open(other.clone());
    let faulty = FaultyStore::new(broken.fork());
    faulty.faults().always(Action::Read, "data/", Broken::Fail(Failure::Transient));
    let error = try_heal(&scene, &scene.open(faulty), &[Remedy::Repository(&remedy)], false);
    assert_eq!(error.expect_err("unreachable").class(), Class::Retry);
    let faulty = FaultyStore::new(other);
    let faults = faulty.faults();
    let remedy = scene.open(faulty);
    faults.always(Action::Read, "data/", Broken::Fail(Failure::Transient));
    let error =
        try_heal(&scene, &scene.open(broken.clone()), &[Remedy::Repository(&remedy)], false);
    assert_eq!(error.expect_err("unreachable").class(), Class::Retry);
    assert_eq!(locks(&broken), [""; 0]);
}

#[test]
fn a_crash_at_any_change_is_gone_on_from() {
    let scene = Scene::new();
    let (store, other) = history(&scene);
    let broken = damaged(&scene, &store);
    let other = scene.open(other);
    let recording = RecordingStore::new(broken.fork());
    let log = recording.log();
    let remedies = [Remedy::Repository(&other)];
    try_heal(&scene, &scene.open(recording), &remedies, false).expect("healed");
    let changes: Vec<Call> =
        log.changes().into_iter().filter(|call| !call.object.starts_with("locks/")).collect();
    assert!(changes.len() > 6, "{changes:?}");
    for cut in 0..=changes.len() {
        let crashed = broken.fork();
        scene.runtime.block_on(replay(&changes[..cut], &crashed)).expect("replayed");
        let report = try_heal(&scene, &scene.open(crashed.clone()), &remedies, false);
        let report = report.unwrap_or_else(|error| panic!("after {cut}: {error}"));
        assert!(report.still_lost.is_empty() && report.packs_left.is_empty(), "after {cut}");
        scene.check_whole(&scene.open(crashed.clone()));
        let again = try_heal(&scene, &scene.open(crashed), &[], true).expect("looked");
        assert!(again.findings.is_empty(), "after {cut}: {again:?}");
    }
}

#[test]
fn restic_finds_nothing_wrong_with_what_was_healed() {
    let scene = Scene::new();
    let (store, other) = history(&scene);
    let broken = damaged(&scene, &store);
    let at = scene.path("repository");
    empty_on_disk(&at, Version::V2);
    let Some(restic) = Restic::at(&at) else { return };
    for (key, bytes) in broken.contents() {
        let path = match key.as_str().strip_prefix("data/") {
            Some(pack) => at.join("data").join(&pack[..2]).join(pack),
            None => at.join(key.as_str()),
        };
        std::fs::write(path, bytes).expect("written");
    }
    let repository = scene.try_open_at(&Place::local(&at)).expect("opened");
    let remedy = scene.open(other);
    try_heal(&scene, &repository, &[Remedy::Repository(&remedy)], false).expect("healed");
    restic.check();
}
