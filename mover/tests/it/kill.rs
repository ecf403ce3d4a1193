//! A backup, or somebody who removes, that is ended without a word, at any moment: what is stored
//! stays whole, and the next one needs no help.
//!
//! Invariant: tree and moment of each round follow from its seed, which a failure names.

use std::{
    fs,
    os::unix::fs::symlink,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use windlass_testkit::compare::compare;

use crate::{
    place::{PASSWORD, Place, Said, files},
    restic::there_is_restic,
};

/// How often a backup is killed.
const ROUNDS: u64 = 20;
/// How often cleaning up is killed.
const CLEANED: u64 = 5;
/// Rounds after which the real restic reads everything.
const CHECKED: u64 = 5;

/// Something that tolerates nobody and changes nothing.
const ALONE: [&str; 3] = ["forget", "--keep-last", "10000"];

/// Numbers that are as good as random and the same each time (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    fn bytes(&mut self, len: u64) -> Vec<u8> {
        (0..len).map(|_byte| self.next(256) as u8).collect()
    }
}

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
                let large = 600_000 + numbers.next(1_500_000);
                fs::write(&path, numbers.bytes(large)).expect("written");
            }
            _ => {
                let small = numbers.next(20_000);
                fs::write(&path, numbers.bytes(small)).expect("written");
            }
        }
    }
}

fn check(place: &Place, seed: u64) {
    if !there_is_restic() {
        return;
    }
    let mut command = Command::new("restic");
    command.current_dir(place.dir.path()).env("RESTIC_PASSWORD", PASSWORD);
    command.args(["-r", "repo", "--no-cache", "check", "--read-data"]);
    let said = Said::of(&mut command);
    assert_eq!(said.code, Some(0), "seed {seed}: {said:?}");
    assert!(said.out.contains("no errors were found"), "seed {seed}: {said:?}");
}

#[test]
fn a_killed_backup_harms_nothing_and_the_next_one_needs_no_help() {
    let place = Place::with_repository();
    change(&place, &mut Numbers(u64::MAX));
    let began = Instant::now();
    place.done(&["backup", "src"]);
    let whole = began.elapsed();
    let mut killed = 0;
    for seed in 0..ROUNDS {
        let mut numbers = Numbers(seed);
        change(&place, &mut numbers);
        let before = place.snapshots().len();
        let mut command = place.command(&["backup", "src"]);
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
        std::thread::sleep(whole.mul_f64(numbers.next(1000) as f64 / 1000.0));
        child.kill().expect("killed");
        killed += u32::from(child.wait().expect("ends").code().is_none());
        // Whatever is listed is whole; what was cut off is no snapshot.
        assert!(place.snapshots().len() - before <= 1, "seed {seed}");
        // Whoever has to be alone is not kept out by the lock of the dead one either.
        let backup = &["backup", "src"][..];
        let nexts = if seed % 2 == 0 { &[backup][..] } else { &[&ALONE[..], backup] };
        for args in nexts.iter().copied() {
            let said = place.run(args);
            assert_eq!(said.code, Some(0), "seed {seed}: {said:?}");
            assert!(files(&place.path("repo/locks")).is_empty(), "seed {seed}: {said:?}");
        }
        check_restore(&place, &format!("seed {seed}"));
        if seed % CHECKED == CHECKED - 1 {
            check(&place, seed);
        }
    }
    assert!(killed > ROUNDS as u32 / 2, "only {killed} were killed while they ran");
    assert!(whole < Duration::from_secs(30), "{whole:?}");
}

/// What a restore of the newest snapshot gives is the source, now.
fn check_restore(place: &Place, told: &str) {
    place.done(&["restore", "latest:/src", "--target", "out"]);
    let mut differing = compare(&place.path("src"), &place.path("out")).expect("compared");
    differing.retain(|difference| difference.path.as_os_str() != "");
    assert_eq!(differing, [], "{told}");
    fs::remove_dir_all(place.path("out")).expect("removed");
}

#[test]
fn a_killed_forget_or_prune_harms_nothing_and_the_next_one_needs_no_help() {
    let place = Place::with_repository();
    let clean_up = ["forget", "--keep-last", "2", "--prune", "--max-unused", "0"];
    let grow = |numbers: &mut Numbers| {
        for _backup in 0..2 {
            change(&place, numbers);
            place.done(&["backup", "src"]);
        }
    };
    grow(&mut Numbers(7_000));
    grow(&mut Numbers(7_001));
    let began = Instant::now();
    place.done(&clean_up);
    let whole = began.elapsed();
    let mut killed = 0;
    for seed in 0..CLEANED {
        let mut numbers = Numbers(9_000 + seed);
        grow(&mut numbers);
        let told = format!("seed {seed}");
        let mut command = place.command(&clean_up);
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
        std::thread::sleep(whole.mul_f64((200 + numbers.next(800)) as f64 / 1000.0));
        child.kill().expect("killed");
        killed += u32::from(child.wait().expect("ends").code().is_none());
        // The lock of the dead one is in restic's way: it cannot know.
        if there_is_restic() {
            let mut command = Command::new("restic");
            command.current_dir(place.dir.path()).env("RESTIC_PASSWORD", PASSWORD);
            command.args(["-r", "repo", "--no-cache", "--no-lock", "check", "--read-data"]);
            let said = Said::of(&mut command);
            // Packs that no index names are what such a moment leaves, and no error.
            assert_eq!(said.code, Some(0), "{told}: {said:?}");
        }
        let left = place.snapshots().len();
        assert!((2..=4).contains(&left), "{told}: {left}");
        check_restore(&place, &told);
        // In turns somebody who has to be alone comes next, and a backup that must not rely on
        // what is half gone.
        if seed % 2 == 0 {
            place.done(&["backup", "src", "--force"]);
        }
        place.done(&clean_up);
        assert!(files(&place.path("repo/locks")).is_empty(), "{told}");
        check_restore(&place, &told);
    }
    let said =
        place.done(&["prune", "--dry-run", "--max-unused", "0", "--json"]).message("summary");
    assert_eq!(said["bytes"]["remove_total"], 0, "{said}");
    check(&place, CLEANED);
    assert!(killed > CLEANED as u32 / 2, "only {killed} were killed while they ran");
}
