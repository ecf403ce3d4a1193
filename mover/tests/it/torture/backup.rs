//! Backups into one repository, killed one after the other: what is stored stays whole, and the next
//! one needs no help.

use std::{
    fs,
    os::unix::fs::symlink,
    time::{Duration, Instant},
};

use windlass_testkit::rounds::Rounds;

use super::{Numbers, check_same, kill_after, locks, tell};
use crate::{
    place::{Place, noise},
    restic::there_is_restic,
    rewrite::restic,
};

/// How often a backup is killed.
const ROUNDS: u64 = 20;

/// Rounds after which the real restic reads everything, and what is old goes.
const CHECKED: u64 = 5;

/// Something that tolerates nobody.
const ALONE: [&str; 2] = ["tag", "--add=seen"];

/// Writes some files anew, removes some, and turns some into something else.
fn change(place: &Place, numbers: &mut Numbers) {
    for _file in 0..12 {
        let name = format!("src/{}/{}", numbers.next(4), numbers.next(12));
        let path = place.path(&name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        // Not through a link, whose target is another of these files.
        let _may_not_be_there = fs::remove_file(&path);
        match numbers.next(8) {
            0 => {}
            1 => symlink(numbers.next(12).to_string(), &path).expect("a link"),
            2 => {
                let bytes = 600_000 + numbers.next(1_500_000) as usize;
                fs::write(&path, noise(numbers.next(u64::MAX), bytes)).expect("written");
            }
            _ => {
                let bytes = numbers.next(20_000) as usize;
                fs::write(&path, noise(numbers.next(u64::MAX), bytes)).expect("written");
            }
        }
    }
}

fn check(place: &Place, seed: u64) {
    if !there_is_restic() {
        return;
    }
    let said = restic(place, "repo", &["check", "--read-data"]);
    assert_eq!(said.code, Some(0), "seed {seed}: {said:?}");
    assert!(said.out.contains("no errors were found"), "seed {seed}: {said:?}");
}

#[test]
fn a_killed_backup_harms_nothing_and_the_next_one_needs_no_help() {
    let place = Place::with_cheap_repository();
    change(&place, &mut Numbers(u64::MAX));
    let began = Instant::now();
    place.done(&["backup", "src"]);
    let whole = began.elapsed();
    let (mut killed, mut rounds) = (0, 0);
    Rounds::new("killed backup", ROUNDS).run(|seed| {
        let mut numbers = Numbers(seed);
        change(&place, &mut numbers);
        let before = place.snapshots().len();
        let moment = numbers.moment(whole);
        killed += u64::from(kill_after(&mut place.command(&["backup", "src"]), moment));
        rounds += 1;
        // Whatever is listed is whole; what was cut off is no snapshot.
        assert!(place.snapshots().len() - before <= 1, "seed {seed}");
        // Whoever has to be alone is not kept out by the lock of the dead one either.
        let backup = &["backup", "src"][..];
        let nexts = if seed % 2 == 0 { &[backup][..] } else { &[&ALONE[..], backup] };
        for args in nexts.iter().copied() {
            let said = place.run(args);
            assert_eq!(said.code, Some(0), "seed {seed}: {said:?}");
        }
        let locks = locks(&place.path("repo"));
        assert!(locks.is_empty(), "seed {seed}: {locks:?}");
        // What a restore of the newest snapshot gives is the source, now.
        place.done(&["restore", "latest:/src", "--target", "out"]);
        check_same(&place.path("src"), &place.path("out"), &[], &format!("seed {seed}"));
        fs::remove_dir_all(place.path("out")).expect("removed");
        if rounds % CHECKED == 0 {
            check(&place, seed);
            place.done(&["forget", "--keep-last", "10", "--prune"]);
        }
    });
    check(&place, rounds);
    tell("killed backup", killed, rounds);
    assert!(whole < Duration::from_secs(30), "{whole:?}");
}
