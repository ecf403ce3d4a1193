//! Windlass and restic on one repository: each reads, checks and goes on with what the other wrote.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{FileExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use windlass_engine::{
    backup::{Options, parent::ParentChoice},
    protocol::restic::OpenOptions,
    repository::{Place, Repository},
};
use windlass_format::restic::{compress::Level, config::Version};
use windlass_testkit::tree;

use super::{
    peer::Restic,
    scene::{Scene, differences, empty_on_disk, environment, noise, password},
};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Everything a file system can hold that has broken backup tools before.
fn nasty(scene: &Scene, restic: &Restic) {
    let source = scene.source();
    let options = tree::Options { seed: 3, entries: 150, depth: 5, max_file_bytes: 100_000 };
    tree::grow(&source.join("grown"), &options).expect("a tree");
    if restic.version < (0, 16) {
        // It cannot tell such targets apart.
        drop_targets_that_are_not_utf8(&source);
    }
    for (name, len) in [
        ("none", 0),
        ("one", 1),
        ("min-1", 512 * KIB - 1),
        ("min", 512 * KIB),
        ("min+1", 512 * KIB + 1),
        ("max", 8 * MIB),
        ("max+1", 8 * MIB + 1),
    ] {
        scene.write(&format!("sizes/{name}"), noise(len as u64, len));
    }
    scene.write("sizes/random", noise(1, 20 * MIB));
    scene.write("sizes/zeros", vec![0; 20 * MIB]);
    let words = b"a line of text that is repeated, and a number: ";
    let mut text = Vec::new();
    for number in 0.. {
        text.extend_from_slice(words);
        text.extend_from_slice(format!("{number}\n").as_bytes());
        if text.len() > 20 * MIB {
            break;
        }
    }
    scene.write("sizes/text", text);
    for (name, len, at) in [
        ("all", 3 * MIB + 17, &[][..]),
        ("ends", 9 * MIB, &[0, 9 * MIB - 5]),
        ("middle", 12 * MIB, &[5 * MIB + 3]),
        ("many", 30 * MIB, &[MIB, 4 * MIB - 1, 9 * MIB + 4096, 21 * MIB]),
        ("short", 700 * KIB, &[600 * KIB]),
    ] {
        fs::create_dir_all(source.join("sparse")).expect("made");
        let file = File::create(source.join("sparse").join(name)).expect("made");
        file.set_len(len as u64).expect("a hole");
        for (seed, at) in at.iter().enumerate() {
            file.write_all_at(&noise(seed as u64, 5), *at as u64).expect("written");
        }
    }
    scene.write("links/one", "linked");
    for name in ["links/two", "links/three", "links/below"] {
        fs::hard_link(source.join("links/one"), source.join(name)).expect("linked");
    }
    symlink("nowhere", source.join("links/soft")).expect("linked");
    for (name, mode) in [("setuid", 0o4755), ("setgid", 0o2711), ("sticky", 0o1600)] {
        scene.write(&format!("modes/{name}"), name);
        let path = source.join("modes").join(name);
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
    }
    let mut times = vec![("before 1970", 1_000_000_000), ("summer", 0)];
    if std::env::var_os("TZ").is_none() {
        // Local mean time was odd seconds away from Greenwich, which restic loses.
        times.push(("old", 1_900_000_000));
    }
    for (name, seconds) in times {
        scene.write(&format!("times/{name}"), name);
        let time = match seconds {
            0 => SystemTime::UNIX_EPOCH + Duration::new(1_720_000_000, 120_000_000),
            before => SystemTime::UNIX_EPOCH - Duration::new(before, 999_999_999),
        };
        let file = File::options().write(true).open(source.join("times").join(name));
        file.expect("opened").set_modified(time).expect("a time");
    }
    for (attribute, value) in [("user.z", &b"last"[..]), ("user.a", b""), ("user.m", b"\0\xff\n")] {
        let flags = rustix::fs::XattrFlags::empty();
        let file = source.join("sizes/one");
        // Not every file system has them.
        let _unsupported = rustix::fs::lsetxattr(&file, attribute, value, flags);
    }
    fs::create_dir(source.join("hollow")).expect("made");
}

fn drop_targets_that_are_not_utf8(directory: &Path) {
    for entry in fs::read_dir(directory).expect("a listing") {
        let path = entry.expect("an entry").path();
        let Ok(target) = fs::read_link(&path) else {
            if path.is_dir() {
                drop_targets_that_are_not_utf8(&path);
            }
            continue;
        };
        if target.to_str().is_none() {
            fs::remove_file(&path).expect("removed");
        }
    }
}

fn open(scene: &Scene, at: &Path, level: Level) -> Repository {
    let options = OpenOptions { level, ..OpenOptions::default() };
    let (place, password) = (Place::local(at), password());
    let opened = Repository::open(&place, &password, &options, environment());
    scene.runtime.block_on(opened).expect("opened")
}

fn below(target: &Path, source: &Path) -> PathBuf {
    target.join(source.strip_prefix("/").expect("absolute"))
}

/// restic takes over a repository that Windlass wrote.
fn check_ours(scene: &Scene, restic: &Restic, at: &Path, level: Level) {
    let source = scene.source();
    let repository = open(scene, at, level);
    let report = scene.back_up(&repository);
    let ours = report.root.expect("a root");
    restic.check();

    let target = scene.path("theirs");
    restic.good(&["restore", ours.as_str(), "--target", target.to_str().expect("UTF-8")]);
    assert_eq!(differences(&source, &below(&target, &source)), []);
    fs::remove_dir_all(&target).expect("removed");

    let (summary, theirs) = restic.back_up(&source);
    let figure = |name: &str| *summary.get(name).unwrap_or_else(|| panic!("no {name}"));
    assert_eq!(figure("data_blobs"), 0, "{summary:?}");
    assert_eq!(figure("files_new") + figure("files_changed"), 0, "{summary:?}");
    assert_eq!(figure("files_unmodified"), report.summary.total_files, "{summary:?}");
    assert_eq!(figure("total_bytes_processed"), report.summary.total_bytes, "{summary:?}");
    // The directories that lead to the source may have changed meanwhile.
    let leading = source.iter().count() as u64;
    assert!(figure("dirs_changed") + figure("dirs_new") <= leading, "{summary:?}");
    assert_eq!(restic.diff(ours.as_str(), &theirs, &source), [""; 0]);

    if restic.version >= (0, 15) {
        // Every tree is encoded again, and may not come out differently.
        let (excluded, name) = ("--exclude", source.join("sizes/one"));
        let name = name.to_str().expect("UTF-8");
        let told = restic.good(&["rewrite", "--forget", excluded, name, ours.as_str()]);
        assert!(told.contains("modified 1 snapshots"), "{told}");
    }
    restic.good(&["forget", "--keep-last", "1", "--prune"]);
    restic.check();

    let repository = open(scene, at, level);
    let again = scene.back_up(&repository);
    assert_eq!(again.summary.files_unmodified, report.summary.total_files, "{again:?}");
    assert_eq!(again.summary.data_chunks, 0, "{again:?}");
    scene.check_restore(&repository, &scene.root(&repository, &again), "ours");
    fs::remove_dir_all(scene.path("ours")).expect("removed");
    restic.check();
}

#[test]
fn restic_checks_restores_rewrites_and_goes_on_with_what_windlass_wrote() {
    let scene = Scene::new();
    let Some(restic) = Restic::at(&scene.path("")) else { return };
    nasty(&scene, &restic);
    for (version, level) in [
        (Version::V2, Level::Auto),
        (Version::V1, Level::Auto),
        (Version::V2, Level::Off),
        (Version::V2, Level::Max),
    ] {
        let at = scene.path("repository");
        empty_on_disk(&at, version);
        check_ours(&scene, &Restic::at(&at).expect("it was there"), &at, level);
        fs::remove_dir_all(&at).expect("removed");
    }
}

/// Windlass takes over a repository that restic wrote.
fn check_theirs(scene: &Scene, version: &str) {
    let at = scene.path(&format!("theirs-v{version}"));
    let restic = Restic::at(&at).expect("it was there");
    let source = scene.source();
    restic.good(&["init", "--repository-version", version]);
    let (summary, theirs) = restic.back_up(&source);

    let repository = open(scene, &at, Level::Auto);
    let roots = scene.roots(&repository);
    scene.check_restore(&repository, &roots[0].1, "ours");
    fs::remove_dir_all(scene.path("ours")).expect("removed");

    // With their snapshot as parent, and from nothing.
    for parent in [ParentChoice::default(), ParentChoice::None] {
        let from_nothing = parent == ParentChoice::None;
        let options = Options { parent, ..scene.options() };
        let report = scene.try_back_up(&repository, options).expect("backed up");
        assert_eq!(report.problems, []);
        assert_eq!(report.parent.is_none(), from_nothing);
        let expected = if from_nothing { 0 } else { report.summary.total_files };
        assert_eq!(report.summary.files_unmodified, expected, "{report:?}");
        assert_eq!(report.summary.total_files, summary["total_files_processed"]);
        assert_eq!(report.summary.total_bytes, summary["total_bytes_processed"]);
        assert_eq!(report.summary.data_chunks, 0, "{report:?}");
        let ours = report.root.clone().expect("a root");
        assert_eq!(restic.diff(&theirs, ours.as_str(), &source), [""; 0]);
        let root = scene.root(&repository, &report);
        let tree = scene.source_tree(&repository, &root);
        let expected = restic.tree_id(&theirs, &source);
        assert!(tree.to_string().contains(&expected), "{tree} is not {expected}");
    }
    restic.check();
}

#[test]
fn windlass_restores_and_goes_on_byte_for_byte_with_what_restic_wrote() {
    let scene = Scene::new();
    let Some(restic) = Restic::at(&scene.path("")) else { return };
    nasty(&scene, &restic);
    ["1", "2"].into_iter().for_each(|version| check_theirs(&scene, version));
}

#[test]
fn the_local_time_zone_is_written_as_restic_writes_it() {
    let scene = Scene::new();
    if Restic::at(&scene.path("")).is_none() {
        return;
    }
    const ZONE: &str = "America/St_Johns";
    if !Path::new("/usr/share/zoneinfo").join(ZONE).exists() {
        assert!(std::env::var_os("WINDLASS_REQUIRE_PEERS").is_none(), "no time zones here");
        return;
    }
    // A process has one zone, so another one does it.
    let test = "interop::windlass_restores_and_goes_on_byte_for_byte_with_what_restic_wrote";
    let itself = std::env::current_exe().expect("this program");
    let output = Command::new(itself).args(["--exact", test]).env("TZ", ZONE).output();
    let output = output.expect("it runs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}
