//! Cleaning up while others back up: ours and the real restic, in one repository.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use windlass_testkit::rounds::Rounds;

use super::{Numbers, check_same, copy_tree};
use crate::{
    place::{Place, files, noise},
    restic::there_is_restic,
    rewrite::restic,
};

/// Backups of each of the two.
const BACKUPS: u64 = 4;

/// What is kept of each.
const KEPT: usize = 2;

/// The source of one of the two, as it is for a backup; a copy of it stays. Some of what the last
/// backup had stays, some goes, some comes back.
struct Source<'a> {
    place: &'a Place,
    name: &'static str,
    numbers: Numbers,
}

impl Source<'_> {
    /// The tag of the backup.
    fn change(&mut self, number: u64) -> String {
        let Self { place, name, numbers } = self;
        fs::create_dir_all(place.path(name)).expect("made");
        let seed = |of: u64| name.len() as u64 * 1000 + of;
        place.write(&format!("{name}/stays"), &noise(seed(0), 1_500_000));
        place.write(&format!("{name}/changes"), &noise(numbers.next(u64::MAX), 2_500_000));
        place.write(&format!("{name}/returns"), &noise(seed(90 + number % 2), 900_000));
        place.write(&format!("{name}/small"), number.to_string().as_bytes());
        let tag = format!("{name}-{number}");
        copy_tree(&place.path(name), &self.truth(&tag));
        thread::sleep(Duration::from_millis(self.numbers.next(400)));
        tag
    }

    fn truth(&self, tag: &str) -> PathBuf {
        self.place.path(&format!("truth-{tag}"))
    }
}

#[test]
fn prune_and_backups_of_both_go_on_beside_each_other() {
    if !there_is_restic() {
        return;
    }
    Rounds::new("prune beside backups", 1).run(round);
}

fn round(seed: u64) {
    let place = Place::with_cheap_repository();
    let source = |name, seed| Source { place: &place, name, numbers: Numbers(seed) };
    let working = AtomicUsize::new(2);
    let cleaned = thread::scope(|scope| {
        scope.spawn(|| {
            let mut source = source("ours", seed);
            for number in 0..BACKUPS {
                let tag = source.change(number);
                let wait = "--retry-lock=2m";
                place.done(&["backup", "ours", "--pack-size=4", wait, "--tag", &tag]);
            }
            working.fetch_sub(1, Ordering::AcqRel);
        });
        scope.spawn(|| {
            let mut source = source("restics", seed + 1);
            for number in 0..BACKUPS {
                let tag = source.change(number);
                // Older versions cannot wait for a lock.
                let backed_up = (0..200).any(|_attempt| {
                    let said = restic(&place, "repo", &["backup", "restics", "--tag", &tag]);
                    let locked = said.err.contains("locked");
                    assert!(said.code == Some(0) || locked, "seed {seed}: {said:?}");
                    said.code == Some(0)
                });
                assert!(backed_up, "seed {seed}: it is always locked");
            }
            working.fetch_sub(1, Ordering::AcqRel);
        });
        let mut cleaned = 0;
        loop {
            let last = working.load(Ordering::Acquire) == 0;
            let keep = format!("--keep-last={KEPT}");
            let forget = ["forget", &keep, "--group-by=paths"];
            let prune = ["--prune", "--max-unused=0", "--retry-lock=2m"];
            let said = place.run(&[&forget[..], &prune].concat());
            assert!(said.code == Some(0), "seed {seed}: {said:?}");
            cleaned += 1;
            if last {
                return cleaned;
            }
        }
    });
    assert!(cleaned > 1, "seed {seed}: it never ran beside the others");
    assert!(files(&place.path("repo/locks")).is_empty());
    let said = restic(&place, "repo", &["check", "--read-data"]);
    let good = said.code == Some(0) && said.out.contains("no errors were found");
    assert!(good, "seed {seed}: {said:?}");
    let snapshots = place.snapshots();
    assert_eq!(snapshots.len(), 2 * KEPT, "seed {seed}: {snapshots:?}");
    for snapshot in &snapshots {
        let tag = snapshot["tags"][0].as_str().expect("a tag");
        let id = snapshot["id"].as_str().expect("an id");
        let (name, _) = tag.split_once('-').expect("a name");
        let target = format!("restored-{tag}");
        place.done(&["restore", &format!("{id}:/{name}"), "--target", &target]);
        let truth = source("", 0).truth(tag);
        check_same(&truth, &place.path(&target), &[], &format!("seed {seed}, {tag}"));
    }
}
