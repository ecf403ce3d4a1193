//! Repositories written by the real tools, restored here and, where it is on PATH, by their own.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use windlass_engine::{
    cancel::Cancel,
    monitor::Silent,
    protocol::restic::OpenOptions,
    repository::{Place, Repository},
    restore::{self, Options, Report},
};
use windlass_fixtures::{RESTIC, RESTIC_PASSWORD, restic};
use windlass_format::secret::Password;
use windlass_testkit::compare::{Aspect, compare};

use super::environment;
use crate::scene::runtime;

/// Restores every snapshot of a fixture into `room`, each under its name.
fn restore_all(fixture: &str, room: &Path) -> Vec<(String, Report)> {
    runtime().block_on(async {
        let place = Place::local(restic(fixture));
        let (password, options) =
            (Password::new(RESTIC_PASSWORD.as_bytes()), OpenOptions::default());
        let repository = Repository::open(&place, &password, &options, environment())
            .await
            .expect("a fixture opens");
        let mut done = Vec::new();
        for (id, root) in repository.protocol().list_roots().await.expect("listed") {
            let mut options = Options::new(room.join(id.as_str()));
            options.verify = true;
            let (monitor, cancel) = (Arc::new(Silent::default()), Cancel::new());
            let root = root.expect("a readable snapshot");
            let report = restore::run(&repository, &root, options, monitor, &cancel).await;
            done.push((id.as_str().to_owned(), report.expect("restored")));
        }
        done
    })
}

#[test]
fn every_recorded_snapshot_comes_back_whole() {
    for fixture in RESTIC {
        let room = tempfile::tempdir().unwrap();
        let done = restore_all(fixture, room.path());
        assert!(!done.is_empty(), "{fixture}");
        for (id, report) in done {
            assert_eq!(report.problems, [], "{fixture} {id}");
            assert!(report.files_restored > 0, "{fixture} {id}");
        }
    }
}

#[test]
fn restic_restores_the_same() {
    if Command::new("restic").arg("version").stdout(Stdio::null()).status().is_err() {
        return;
    }
    let as_root = rustix::process::geteuid().is_root();
    // restic cannot read the years that rustic writes in one directory there.
    for fixture in RESTIC.into_iter().filter(|fixture| *fixture != "rustic") {
        let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (id, _) in restore_all(fixture, ours.path()) {
            let status = Command::new("restic")
                .args(["--no-lock", "--no-cache", "-q", "restore", &id, "--target"])
                .arg(theirs.path().join(&id))
                .arg("-r")
                .arg(restic(fixture))
                .env("RESTIC_PASSWORD", RESTIC_PASSWORD)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap();
            assert!(status.success() || !as_root, "{fixture} {id}");
        }
        let entries = |path: &Path| -> BTreeSet<_> {
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect()
        };
        assert_eq!(entries(ours.path()), entries(theirs.path()));
        let mut found = compare(ours.path(), theirs.path()).unwrap();
        // Neither puts metadata on the targets themselves.
        found.retain(|difference| difference.path.components().count() > 1);
        // restic reckons in nanoseconds, which do not reach that far.
        found.retain(|difference| {
            !(difference.path.ends_with("year10000") && difference.aspect == Aspect::Mtime)
        });
        // Old versions of restic read no target that is not UTF-8 and put something else there.
        found.retain(|difference| {
            !(difference.aspect == Aspect::Target && difference.detail.contains('\u{fffd}'))
        });
        assert_eq!(found, [], "{fixture}");
    }
}
