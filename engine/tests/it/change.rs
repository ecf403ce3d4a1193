//! What is read again, what is believed, and sources that do not hold still.

use std::{
    collections::BTreeMap,
    fs::{self, File, Permissions},
    num::NonZeroU32,
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt},
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use windlass_engine::{
    backup::{
        self, BackupError, Options, Report, SkipUnchanged,
        compare::{Policy, Reason},
        parent::ParentChoice,
    },
    cancel::Cancel,
    fault::Class,
    model::directory::Kind,
    monitor::{Counters, Event, Monitor, Phase, Silent},
    repository::Repository,
    restore,
    store::{Backend, memory::MemoryStore},
};
use windlass_format::restic::config::Version;

use super::{
    peer::Restic,
    scene::{Scene, differences, empty, empty_on_disk, noise},
};

fn clone_aware(sample_every: u32) -> Policy {
    Policy::CloneAware { sample_every: NonZeroU32::new(sample_every).expect("not zero") }
}

/// Files of some directories, two of them hard links, none younger than a minute.
fn source() -> Scene {
    let scene = Scene::new();
    for name in ["a/one", "a/two", "b/c/three", "b/c/four", "large"] {
        scene.write(name, noise(name.len() as u64, name.len() * 1000));
    }
    scene.write("links/first", "linked");
    fs::hard_link(scene.source().join("links/first"), scene.source().join("links/second"))
        .expect("linked");
    scene
}

const FILES: u64 = 7;

/// Puts a copy in the place of the source, as a clone of a volume would be.
fn clone(scene: &Scene) {
    let old = scene.path("old");
    fs::rename(scene.source(), &old).expect("renamed");
    let status = Command::new("cp").arg("-a").arg(&old).arg(scene.source()).status();
    assert!(status.expect("cp runs").success());
}

fn back_up_by(scene: &Scene, repository: &Repository, policy: Policy) -> Report {
    let options = Options { policy, ..scene.options() };
    let report = scene.try_back_up(repository, options).expect("backed up");
    assert_eq!(report.problems, []);
    report
}

fn read_for(report: &Report) -> Vec<(Reason, u64)> {
    report.read_for.iter().copied().filter(|(_, count)| *count > 0).collect()
}

/// Identity of every file with several links, as recorded.
fn identities(scene: &Scene, repository: &Repository, report: &Report) -> BTreeMap<Vec<u8>, u64> {
    let root = scene.root(repository, report);
    let mut found = BTreeMap::new();
    let walked = scene.walk(repository, &root, |_, directory| {
        let linked = directory
            .entries
            .iter()
            .filter(|entry| entry.links > 1 && matches!(entry.kind, Kind::File { .. }));
        found.extend(linked.map(|entry| (entry.name.to_vec(), entry.inode)));
    });
    walked.expect("readable");
    found
}

#[test]
fn each_policy_reads_of_a_clone_what_it_says() {
    let scene = source();
    let store = empty(Version::V2);
    let first = scene.back_up(&scene.open(store.clone()));
    assert_eq!(read_for(&first), [(Reason::New, FILES)]);
    clone(&scene);
    for (policy, expected, unmodified, trees_kept) in [
        (Policy::Strict, vec![(Reason::Ctime, FILES)], 0, false),
        (Policy::IgnoreCtime, vec![(Reason::Inode, FILES)], 0, false),
        (Policy::IgnoreInode, vec![], FILES, false),
        (clone_aware(1), vec![(Reason::Sampled, FILES)], 5, true),
    ] {
        let store = store.fork();
        let repository = scene.open(store.clone());
        let report = back_up_by(&scene, &repository, policy);
        assert_eq!(read_for(&report), expected, "{policy:?}");
        assert_eq!(report.summary.data_chunks, 0, "{policy:?}");
        assert_eq!(report.summary.files_unmodified, unmodified, "{policy:?}: {report:?}");
        assert_eq!(report.summary.total_files, FILES, "{policy:?}");
        let fresh = scene.open(store);
        let root = scene.root(&fresh, &report);
        // Directories without hard links are as they were but for inodes and ctimes.
        let path = "b/c";
        let old = scene.roots(&fresh).remove(0).1;
        let trees = [&old, &root].map(|root| subtree(&scene, &fresh, root, path));
        assert_eq!(trees[0] == trees[1], trees_kept, "{policy:?}");
        // Whatever was reused: who is linked with whom is what is true now.
        let inode = fs::metadata(scene.source().join("links/first")).expect("a status").ino();
        let expected = [b"first".to_vec(), b"second".to_vec()].map(|name| (name, inode));
        assert_eq!(identities(&scene, &fresh, &report), BTreeMap::from(expected), "{policy:?}");
        let target = format!("target {policy:?}");
        scene.check_restore(&fresh, &root, &target);
    }
}

fn subtree(
    scene: &Scene,
    repository: &Repository,
    root: &windlass_engine::model::root::Root,
    path: &str,
) -> Option<windlass_engine::model::chunk::ChunkKey> {
    let reader = scene.runtime.block_on(repository.reader()).expect("an index");
    let mut tree = scene.source_tree(repository, root);
    for name in path.split('/') {
        let directory = reader.directory(&tree).expect("a directory");
        let entry = directory.entries.into_iter().find(|entry| *entry.name == *name.as_bytes())?;
        let Kind::Directory { tree: Some(below) } = entry.kind else { return None };
        tree = below;
    }
    Some(tree)
}

/// Overwrites a file without a trace but its ctime.
fn edit_silently(path: &Path, bytes: &[u8]) {
    let file = File::options().write(true).open(path).expect("opened");
    let mtime = file.metadata().expect("a status").modified().expect("a time");
    file.write_all_at(bytes, 0).expect("written");
    file.set_modified(mtime).expect("a time");
}

/// Backs up a clone that is mounted at another place each time, and then forgets all other roots.
fn back_up_clone(scene: &Scene, store: &MemoryStore, run: usize, options: Options) -> Report {
    let at = scene.path(&format!("clone {run}"));
    let status = Command::new("cp").arg("-a").arg(scene.source()).arg(&at).status();
    assert!(status.expect("cp runs").success());
    let options = Options {
        targets: vec![".".into()],
        base: at,
        tags: vec!["volume".into()],
        parent: ParentChoice::Identity("volume".into()),
        ..options
    };
    let repository = scene.open(store.clone());
    let report = scene.try_back_up(&repository, options).expect("backed up");
    assert_eq!(report.problems, []);
    let last = report.root.as_ref().or(report.parent.as_ref()).expect("a root").as_str();
    for key in store.contents().into_keys() {
        if key.as_str().strip_prefix("snapshots/").is_some_and(|name| name != last) {
            let removed = scene.runtime.block_on(Backend::delete(store, &key));
            removed.expect("removed");
        }
    }
    report
}

#[test]
fn in_one_round_of_the_sample_every_file_is_read_again_once() {
    const FILES: u64 = 150;
    const ROUND: usize = 8;
    let scene = Scene::new();
    let name = |number| format!("{}/{number}", number % 7);
    (0..FILES).for_each(|number| scene.write(&name(number), format!("{number:5} as it was")));
    let store = empty(Version::V2);
    let by = |skip_unchanged| Options {
        policy: clone_aware(ROUND as u32),
        skip_unchanged,
        ..scene.options()
    };
    let first = back_up_clone(&scene, &store, 0, by(SkipUnchanged::Never));
    assert_eq!(read_for(&first), [(Reason::New, FILES)]);
    (0..FILES).for_each(|number| {
        edit_silently(&scene.source().join(name(number)), format!("{number:5} AS").as_bytes());
    });
    // Whatever the first turn was, and again: nothing is left to be found then.
    for (round, changed) in [(0, FILES), (1, 0)] {
        let mut sums = (0, 0);
        for run in 0..ROUND {
            let report =
                back_up_clone(&scene, &store, 1 + round * ROUND + run, by(SkipUnchanged::Never));
            let reasons = read_for(&report);
            let [(Reason::Sampled, read)] = reasons[..] else { panic!("{reasons:?}") };
            assert!(read > 0 && read < FILES, "{read}");
            sums = (sums.0 + read, sums.1 + report.summary.files_changed);
        }
        assert_eq!(sums, (FILES, changed), "round {round}");
    }
    let repository = scene.open(store.clone());
    let root = scene.roots(&repository).remove(0).1;
    let mut options = restore::Options::new(scene.path("target"));
    options.sub_path = b"/".to_vec();
    let (monitor, cancel) = (Arc::new(Silent::default()), Cancel::new());
    let restored = restore::run(&repository, &root, options, monitor, &cancel);
    scene.runtime.block_on(restored).expect("restored");
    assert_eq!(differences(&scene.source(), &scene.path("target")), []);
    // Runs that leave no root count for nothing, and do not read the same share for ever.
    let turns: Vec<u64> = (0..12)
        .map(|run| {
            let report = back_up_clone(&scene, &store, 100 + run, by(SkipUnchanged::Always));
            assert_eq!(report.root, None);
            read_for(&report).iter().map(|(_, count)| count).sum()
        })
        .collect();
    assert!(turns.iter().any(|count| *count != turns[0]), "{turns:?}");
}

#[test]
fn a_silent_edit_is_found_by_what_looks_and_only_by_that() {
    let scene = source();
    let store = empty(Version::V2);
    scene.back_up(&scene.open(store.clone()));
    edit_silently(&scene.source().join("a/two"), b"EDITED");
    for (policy, found) in [
        (Policy::Strict, true),
        (clone_aware(1), true),
        (Policy::IgnoreCtime, false),
        (Policy::IgnoreInode, false),
    ] {
        let store = store.fork();
        let repository = scene.open(store.clone());
        let report = back_up_by(&scene, &repository, policy);
        assert_eq!(report.summary.data_chunks, u64::from(found), "{policy:?}");
        let fresh = scene.open(store);
        let (root, name) = (scene.root(&fresh, &report), format!("target {policy:?}"));
        scene.try_restore(&fresh, &root, &name).expect("restored");
        let same = differences(&scene.source(), &scene.path(&name)).is_empty();
        assert_eq!(same, found, "{policy:?}");
    }
}

#[test]
fn unchanged_directories_are_not_stored_again() {
    let scene = source();
    let repository = scene.open(empty(Version::V2));
    let first = scene.back_up(&repository);
    let second = scene.back_up(&repository);
    // Those above the source are others' and may change.
    let leading = scene.source().iter().count() as u64;
    assert!(second.summary.meta_chunks < leading, "{second:?}");
    assert_eq!(second.summary.files_unmodified, FILES);
    let tree = |report| scene.source_tree(&repository, &scene.root(&repository, report));
    assert_eq!(tree(&first), tree(&second));
    // Only what leads to a change is new.
    scene.write("b/c/three", "changed");
    let third = scene.back_up(&repository);
    assert!(third.summary.meta_chunks <= 2 + leading, "{third:?}");
    assert_eq!((third.summary.files_changed, third.summary.files_unmodified), (1, FILES - 1));
    let old = scene.root(&repository, &first);
    let new = scene.root(&repository, &third);
    let [old, new] = [&old, &new].map(|root| subtree(&scene, &repository, root, "a"));
    assert!(old.is_some() && old == new);
}

/// Links change partners while names, sizes and times stay.
fn rotate_links(scene: &Scene) {
    let at = |name: &str| scene.source().join(name);
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    if !at("b").exists() {
        for (one, two, content) in [("a", "b", "aaaa"), ("c", "d", "cccc")] {
            scene.write(one, content);
            fs::hard_link(at(one), at(two)).expect("linked");
            let file = File::options().write(true).open(at(one)).expect("opened");
            file.set_modified(time).expect("a time");
        }
        return;
    }
    fs::rename(at("a"), at("tmp")).expect("renamed");
    fs::rename(at("c"), at("a")).expect("renamed");
    fs::rename(at("tmp"), at("c")).expect("renamed");
    // And one file leaves its group for a copy of its own.
    let status = Command::new("cp").args(["-a"]).arg(at("d")).arg(at("copy")).status();
    assert!(status.expect("cp runs").success());
    fs::rename(at("copy"), at("d")).expect("renamed");
}

#[test]
fn a_reused_entry_never_joins_a_false_group_of_hard_links() {
    let scene = Scene::new();
    rotate_links(&scene);
    let at = scene.path("repository");
    empty_on_disk(&at, Version::V2);
    let place = windlass_engine::repository::Place::local(&at);
    let repository = scene.try_open_at(&place).expect("opened");
    scene.back_up(&repository);
    rotate_links(&scene);
    let report = scene.back_up(&repository);
    let root = scene.root(&repository, &report);
    scene.check_restore(&repository, &root, "ours");
    let Some(restic) = Restic::at(&at) else { return };
    let (target, id) = (scene.path("theirs"), report.root.expect("a root"));
    restic.good(&["restore", id.as_str(), "--target", target.to_str().expect("UTF-8")]);
    let below = target.join(scene.source().strip_prefix("/").expect("absolute"));
    assert_eq!(differences(&scene.source(), &below), []);
    restic.check();
}

/// Does something once, when the first item or a phase is told.
struct Meddler<F> {
    counters: Counters,
    phase: Option<Phase>,
    deed: Mutex<Option<F>>,
}

impl<F: FnOnce() + Send> Monitor for Meddler<F> {
    fn event(&self, event: Event<'_>) {
        let is_due = match event {
            Event::Item { .. } => self.phase.is_none(),
            Event::Phase(phase) => self.phase == Some(phase),
            _ => false,
        };
        if is_due && let Some(deed) = self.deed.lock().expect("whole").take() {
            deed();
        }
    }

    fn wants_items(&self) -> bool {
        true
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

fn back_up_meddled(
    scene: &Scene,
    repository: &Repository,
    phase: Option<Phase>,
    deed: impl FnOnce() + Send + 'static,
) -> Result<Report, BackupError> {
    let deed = Mutex::new(Some(deed));
    let monitor = Arc::new(Meddler { counters: Counters::default(), phase, deed });
    let options = Options { source_threads: 1, ..scene.options() };
    let cancel = Cancel::new();
    let run = backup::run(repository, options, monitor.clone(), &cancel);
    let result = scene.runtime.block_on(run);
    assert!(monitor.deed.lock().expect("whole").is_none(), "nothing was done");
    result
}

#[test]
fn what_vanishes_between_listing_and_looking_is_counted_and_left_out() {
    let scene = Scene::new();
    for name in ["a", "gone", "late", "stays"] {
        scene.write(name, name);
    }
    scene.write("dir/below", "gone too");
    let repository = scene.open(empty(Version::V2));
    scene.back_up(&repository);
    // It has to be read, and is not there any more when its turn comes.
    scene.write("late", "changed");
    let source = scene.source();
    let report = back_up_meddled(&scene, &repository, None, move || {
        fs::remove_file(source.join("gone")).expect("removed");
        fs::remove_dir_all(source.join("dir")).expect("removed");
        fs::remove_file(source.join("late")).expect("removed");
    });
    let report = report.expect("backed up");
    assert_eq!((report.problem_count, report.vanished), (0, 3), "{report:?}");
    let root = scene.root(&repository, &report);
    scene.check_restore(&repository, &root, "target");
    assert_eq!(fs::read_dir(scene.path("target")).expect("a listing").count(), 2);
}

#[test]
fn a_source_that_disappears_is_no_success() {
    let scene = source();
    let repository = scene.open(empty(Version::V2));
    scene.back_up(&repository);
    let source = scene.source();
    let result = back_up_meddled(&scene, &repository, Some(Phase::Transfer), move || {
        fs::rename(&source, source.with_file_name("elsewhere")).expect("renamed");
    });
    match result {
        Ok(report) => {
            assert!(report.is_partial(), "{report:?}");
            assert!(report.problems[0].path.ends_with(b"/source"), "{report:?}");
        }
        Err(error) => assert_eq!(error.class(), Class::WrongInput, "{error}"),
    }
    // Gone from the start.
    let error = scene.try_back_up(&repository, scene.options()).expect_err("nothing there");
    let path = scene.source().display().to_string();
    assert!(matches!(&error, BackupError::NoSource { path: named, .. } if *named == path));
    // One of two.
    let options =
        Options { targets: vec![scene.path("elsewhere"), scene.source()], ..scene.options() };
    let report = scene.try_back_up(&repository, options).expect("backed up");
    assert_eq!((report.problem_count, report.summary.total_files), (1, FILES));
    assert_eq!(report.problems[0].path, path.as_bytes());
}

#[test]
fn a_file_that_grows_and_shrinks_while_it_is_read_is_saved_as_a_whole_of_some_moment() {
    let scene = Scene::new();
    scene.write("steady", noise(1, 300_000));
    scene.write("restless", noise(2, 12 << 20));
    let repository = scene.open(empty(Version::V2));
    let path = scene.source().join("restless");
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let (stop, path) = (&stop, &path);
        threads.spawn(move || {
            let file = File::options().write(true).open(path).expect("opened");
            for turn in 0_u64.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                file.set_len([12 << 20, 300, 700_000, 0, 30 << 20][(turn % 5) as usize])
                    .expect("cut");
                file.write_all_at(&noise(turn, 5000), turn % 7 * 1_000_000).expect("written");
            }
        });
        for _run in 0..6 {
            let report = scene.back_up(&repository);
            let root = scene.root(&repository, &report);
            let reader = scene.runtime.block_on(repository.reader()).expect("an index");
            let walked = scene.walk(&repository, &root, |_, directory| {
                for entry in &directory.entries {
                    let Kind::File { size_bytes, content } = &entry.kind else { continue };
                    let mut plain = Vec::new();
                    for key in reader.chunks_of(content).expect("chunks") {
                        reader.chunk(&key, &mut plain).expect("a chunk");
                    }
                    assert_eq!(plain.len() as u64, *size_bytes, "{entry:?}");
                }
            });
            walked.expect("readable");
        }
        stop.store(true, Ordering::Relaxed);
    });
    // Once it holds still, it is read again.
    let report = scene.back_up(&repository);
    scene.check_restore(&repository, &scene.root(&repository, &report), "target");
}

#[test]
fn a_file_that_cannot_be_read_to_its_end_is_named_and_left_out() {
    let scene = Scene::new();
    scene.write("good", "good");
    let repository = scene.open(empty(Version::V2));
    // Reading its first byte, where nothing is mapped, fails for everyone.
    let bad = Path::new("/proc/self/mem");
    let options = Options { targets: vec![bad.into(), scene.source()], ..scene.options() };
    let report = scene.try_back_up(&repository, options).expect("backed up");
    assert_eq!((report.problem_count, report.summary.total_files), (1, 1), "{report:?}");
    assert!(report.is_partial() && report.root.is_some());
    assert_eq!(report.problems[0].path, b"/proc/self/mem");
    let root = scene.root(&repository, &report);
    scene.check_restore(&repository, &root, "target");
    // Nothing else: then there is no backup.
    let options = Options { targets: vec![bad.into()], ..scene.options() };
    let roots = scene.roots(&repository).len();
    match scene.try_back_up(&repository, options) {
        Ok(report) => assert!(report.is_partial(), "{report:?}"),
        Err(error) => {
            assert!(matches!(error, BackupError::Empty), "{error:?}");
            assert_eq!(scene.roots(&repository).len(), roots);
        }
    }
}

#[test]
fn files_and_directories_without_permission_are_named_and_left_out() {
    if rustix::process::geteuid().is_root() {
        // Nothing is denied to root, so somebody else does it.
        let test = "change::files_and_directories_without_permission_are_named_and_left_out";
        let itself = std::env::current_exe().expect("this program");
        let room = tempfile::tempdir().expect("a directory");
        let copy = room.path().join("tests");
        fs::set_permissions(room.path(), Permissions::from_mode(0o777)).expect("a mode");
        fs::hard_link(&itself, &copy)
            .or_else(|_| fs::copy(&itself, &copy).map(drop))
            .expect("copied");
        let output = Command::new("setpriv")
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .arg(copy)
            .args(["--exact", test])
            .env("TMPDIR", room.path())
            .current_dir("/")
            .output();
        // Only some systems have the program; for others than root the test needs none.
        if let Ok(output) = output {
            let told = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && told.contains("1 passed"), "{output:?}");
        }
        return;
    }
    let scene = source();
    let repository = scene.open(empty(Version::V2));
    scene.back_up(&repository);
    let mode = |name: &str, mode| {
        let path = scene.source().join(name);
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
    };
    mode("a/two", 0);
    mode("b/c", 0);
    let report = scene.try_back_up(&repository, scene.options());
    mode("b/c", 0o755);
    let report = report.expect("backed up");
    let mut named: Vec<_> = report.problems.iter().map(|problem| problem.path.clone()).collect();
    named.sort();
    let expected = ["a/two", "b/c"]
        .map(|name| scene.source().join(name).into_os_string().into_encoded_bytes());
    assert_eq!(named, expected, "{report:?}");
    assert!(report.is_partial() && report.root.is_some());
    let root = scene.root(&repository, &report);
    scene.try_restore(&repository, &root, "target").expect("restored");
    fs::remove_file(scene.source().join("a/two")).expect("removed");
    fs::remove_dir_all(scene.source().join("b/c")).expect("removed");
    let mut found = differences(&scene.source(), &scene.path("target"));
    found.retain(|difference| difference.aspect != windlass_testkit::compare::Aspect::Mtime);
    assert_eq!(found, []);
}
