//! A backup that is ended without a word, at any moment: what is stored stays whole, and the next
//! backup needs no help.
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
    place::{PASSWORD, Place, Said},
    restic::there_is_restic,
};

/// How often a backup is killed.
const ROUNDS: u64 = 20;
/// Rounds after which the real restic reads everything.
const CHECKED: u64 = 5;

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
    // Locks of those that were killed are in the way of an exclusive one alone.
    command.args(["-r", "repo", "--no-cache", "--no-lock", "check", "--read-data"]);
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
        let said = place.run(&["backup", "src"]);
        assert_eq!(said.code, Some(0), "seed {seed}: {said:?}");
        place.done(&["restore", "latest:/src", "--target", "out"]);
        let mut differing = compare(&place.path("src"), &place.path("out")).expect("compared");
        differing.retain(|difference| difference.path.as_os_str() != "");
        assert_eq!(differing, [], "seed {seed}");
        fs::remove_dir_all(place.path("out")).expect("removed");
        if seed % CHECKED == CHECKED - 1 {
            check(&place, seed);
        }
    }
    assert!(killed > ROUNDS as u32 / 2, "only {killed} were killed while they ran");
    assert!(whole < Duration::from_secs(30), "{whole:?}");
}
