//! Temporary files of killed writers go, and no others.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant, SystemTime},
};

use windlass_engine::{
    cancel::Cancel,
    protocol::{Access, Announcement, listener::Listener},
    repository::{Place, Repository},
};
use windlass_format::restic::config::Version;

use super::{
    peer::Restic,
    scene::{HOST, Scene, empty_on_disk, noise},
};

const HOUR: Duration = Duration::from_hours(1);

/// A repository on disk with a file in the source.
fn scene() -> (Scene, PathBuf, Repository) {
    let scene = Scene::new();
    scene.write("file", "content");
    let at = scene.path("repository");
    empty_on_disk(&at, Version::V2);
    let repository = scene.try_open_at(&Place::local(&at)).expect("opened");
    (scene, at, repository)
}

/// Makes a file look as if nobody had written to it for so long.
fn age(path: &Path, by: Duration) {
    let file = File::options().append(true).open(path).expect("opened");
    file.set_modified(SystemTime::now() - by).expect("a time");
}

fn leave(at: &Path, name: &str, old: Duration) -> PathBuf {
    let path = at.join(name);
    fs::write(&path, "half a pack").expect("written");
    age(&path, old);
    path
}

#[test]
fn a_backup_removes_what_killed_writers_left_a_day_ago() {
    let (scene, at, repository) = scene();
    let id = "4f2a".repeat(16);
    let old = [
        leave(&at, &format!("data/4f/{id}-tmp-0123456789abcdef"), 25 * HOUR),
        leave(&at, &format!("data/4f/{id}-tmp-3141592653"), 1000 * HOUR),
        leave(&at, "data/draft-tmp-00000000000000aa", 25 * HOUR),
        leave(&at, "config-tmp-1", 25 * HOUR),
    ];
    let young = leave(&at, "data/draft-tmp-00000000000000bb", 23 * HOUR);
    let foreign = [
        leave(&at, &format!("data/4f/{id}-tmp-note"), 1000 * HOUR),
        leave(&at, "data/notes-tmp-12", 1000 * HOUR),
        leave(&at, "README-tmp-12", 1000 * HOUR),
    ];
    let all = || old.iter().chain([&young]).chain(&foreign);

    // Somebody else is at work: nothing is touched.
    let announcement = Announcement {
        access: Access::Shared,
        hostname: "elsewhere".into(),
        username: "somebody".into(),
        patience: Duration::ZERO,
        lineage: None,
        listener: Listener::default(),
    };
    let other = scene.try_open_at(&Place::local(&at)).expect("opened");
    let cancel = Cancel::new();
    let other = scene.runtime.block_on(other.protocol().announce(&announcement, &cancel));
    scene.back_up(&repository);
    assert!(all().all(|path| path.is_file()));

    // Their lock is still there, but they cannot be.
    let other = other.expect("shared");
    for lock in fs::read_dir(at.join("locks")).expect("a listing") {
        age(&lock.expect("an entry").path(), 2 * HOUR);
    }
    scene.back_up(&repository);
    assert!(old.iter().all(|path| !path.exists()));
    assert!(young.is_file() && foreign.iter().all(|path| path.is_file()));
    scene.runtime.block_on(other.release()).expect("released");
    scene.check_whole(&repository);
}

#[test]
fn what_cannot_be_removed_costs_no_backup() {
    let (scene, at, repository) = scene();
    let id = "4f2a".repeat(16);
    // A directory has the name: it is no such file, and stays.
    let path = at.join(format!("data/4f/{id}-tmp-1"));
    fs::create_dir(&path).expect("made");
    fs::remove_dir(at.join("data/aa")).expect("removed");
    fs::write(at.join("data/aa"), "no directory").expect("written");
    scene.back_up(&repository);
    assert!(path.is_dir());
}

#[test]
fn what_a_killed_restic_leaves_is_removed_and_a_living_one_keeps_it() {
    let (scene, at, repository) = scene();
    let Some(restic) = Restic::at(&at) else { return };
    scene.write("large", noise(3, 6 << 20));
    let mut living = Command::new("restic")
        .args(["--no-cache", "--limit-upload=200", "-r"])
        .arg(&at)
        .args(["backup", "--host", HOST])
        .arg(scene.source())
        .env("RESTIC_PASSWORD", "secret")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("restic runs");
    let temporary = || {
        let shards = fs::read_dir(at.join("data")).expect("a listing");
        let files = shards.flat_map(|shard| fs::read_dir(shard.expect("an entry").path()));
        let mut paths = files.flatten().map(|file| file.expect("an entry").path());
        // Not the pack of trees, which is done as soon as it is begun.
        let is_large = |path: &PathBuf| fs::metadata(path).is_ok_and(|it| it.len() > 100_000);
        let is_temporary = |path: &PathBuf| path.to_string_lossy().contains("-tmp-");
        paths.find(|path| is_temporary(path) && is_large(path))
    };
    let began = Instant::now();
    let path = loop {
        if let Some(path) = temporary() {
            break path;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "restic writes nothing");
        std::thread::sleep(Duration::from_millis(10));
    };
    // It writes on and on; that it has not for a day is made up.
    age(&path, 25 * HOUR);
    fs::remove_file(scene.source().join("large")).expect("removed");
    scene.back_up(&repository);
    assert!(path.is_file());
    living.kill().expect("killed");
    living.wait().expect("waited");
    age(&path, 25 * HOUR);
    for lock in fs::read_dir(at.join("locks")).expect("a listing") {
        let path = lock.expect("an entry").path();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&path, mode).expect("a mode");
        age(&path, 2 * HOUR);
    }
    scene.back_up(&repository);
    assert!(!path.exists(), "{}", path.display());
    restic.good(&["unlock"]);
    restic.check();
}
