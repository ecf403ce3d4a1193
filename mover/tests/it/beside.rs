//! Cleaning up while others back up: ours and the real restic, in one repository.

use std::{
    fs,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use windlass_testkit::compare::compare;

use crate::{
    place::{PASSWORD, Place, Said, files, noise},
    restic::there_is_restic,
};

/// Backups of each of the two.
const BACKUPS: u64 = 4;

/// Some of what the last backup had stays, some goes, some comes back.
fn change(place: &Place, directory: &str, number: u64) {
    fs::create_dir_all(place.path(directory)).expect("made");
    let seed = |of: u64| directory.len() as u64 * 1000 + of;
    place.write(&format!("{directory}/stays"), &noise(seed(0), 1_500_000));
    place.write(&format!("{directory}/changes"), &noise(seed(1 + number), 2_500_000));
    place.write(&format!("{directory}/returns"), &noise(seed(90 + number % 2), 900_000));
    place.write(&format!("{directory}/small"), number.to_string().as_bytes());
}

fn restic(place: &Place, args: &[&str]) -> Said {
    let mut command = Command::new("restic");
    command.current_dir(place.dir.path()).env("RESTIC_PASSWORD", PASSWORD);
    Said::of(command.args(["-r", "repo", "--no-cache"]).args(args))
}

#[test]
fn prune_and_backups_of_both_go_on_beside_each_other() {
    if !there_is_restic() {
        return;
    }
    let place = Place::with_repository();
    let working = AtomicUsize::new(2);
    let cleaned = thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..BACKUPS {
                change(&place, "ours", number);
                place.done(&["backup", "ours", "--pack-size", "4", "--retry-lock", "2m"]);
            }
            working.fetch_sub(1, Ordering::AcqRel);
        });
        scope.spawn(|| {
            for number in 0..BACKUPS {
                change(&place, "restics", number);
                // Older versions cannot wait for a lock.
                let backed_up = (0..200).any(|_attempt| {
                    let said = restic(&place, &["backup", "restics"]);
                    assert!(said.code == Some(0) || said.err.contains("locked"), "{said:?}");
                    said.code == Some(0)
                });
                assert!(backed_up, "it is always locked");
            }
            working.fetch_sub(1, Ordering::AcqRel);
        });
        let mut cleaned = 0;
        loop {
            let last = working.load(Ordering::Acquire) == 0;
            let clean_up = [
                "forget",
                "--keep-last",
                "1",
                "--group-by",
                "paths",
                "--prune",
                "--max-unused",
                "0",
                "--retry-lock",
                "2m",
            ];
            let said = place.run(&clean_up);
            // One that rewrote the index is told apart from damage: it is to be run again.
            assert!(said.code == Some(0), "{said:?}");
            cleaned += 1;
            if last {
                return cleaned;
            }
        }
    });
    assert!(cleaned > 1, "it never ran beside the others");
    assert!(files(&place.path("repo/locks")).is_empty());
    let said = restic(&place, &["check", "--read-data"]);
    assert!(said.code == Some(0) && said.out.contains("no errors were found"), "{said:?}");
    let snapshots = place.snapshots();
    assert_eq!(snapshots.len(), 2, "{snapshots:?}");
    for snapshot in &snapshots {
        let path = snapshot["paths"][0].as_str().expect("a path");
        let directory = path.rsplit('/').next().expect("a name");
        let id = snapshot["id"].as_str().expect("an id");
        let target = format!("restored-{directory}");
        place.done(&["restore", &format!("{id}:/{directory}"), "--target", &target]);
        let mut differing =
            compare(&place.path(directory), &place.path(&target)).expect("compared");
        differing.retain(|difference| difference.path.as_os_str() != "");
        assert_eq!(differing, [], "{directory}");
    }
}
