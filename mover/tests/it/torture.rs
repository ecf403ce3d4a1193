//! Every command that writes, ended without a word at any moment: what could be restored can be
//! restored, the real restic finds nothing wrong, and the next run needs no help.
//!
//! Invariants: what a round does follows from its seed, which a failure names; the moment is the
//! seed's part of the time that the command takes on this machine.
//!
//! `cargo xtask torture` runs these for as long as one likes, with other seeds.

mod backup;
mod beside;
mod work;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use windlass_testkit::{compare::compare, rounds::Rounds};

use self::work::{Lack, Work, history};
use crate::place::{PASSWORD, Place, Said, files};

/// Numbers that are as good as random and the same each time (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    /// A moment within this time.
    fn moment(&mut self, whole: Duration) -> Duration {
        whole.mul_f64(self.next(1000) as f64 / 1000.0)
    }
}

/// Starts a command and ends it after this time; whether it was still at work.
fn kill_after(command: &mut Command, time: Duration) -> bool {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    std::thread::sleep(time);
    child.kill().expect("killed");
    child.wait().expect("ends").code().is_none()
}

/// Says how many of the rounds there were killed while they ran; some have to be.
fn tell(name: &str, killed: u64, rounds: u64) {
    let line = format!("torture: {name}: {killed} of {rounds} were killed while they ran");
    writeln!(std::io::stderr(), "{line}").expect("said");
    assert!(killed * 3 >= rounds, "{line}");
}

/// What lies below two directories is the same, but for what starts so.
fn check_same(was: &Path, is: &Path, but: &[&str], told: &str) {
    let mut differing = compare(was, is).expect("compared");
    differing.retain(|found| {
        let path = found.path.to_str().expect("UTF-8");
        !path.is_empty() && !but.iter().any(|but| path.starts_with(but))
    });
    assert_eq!(differing, [], "{told}");
}

/// The locks of a repository; what was not yet one when its writer was killed is none.
fn locks(repository: &Path) -> Vec<PathBuf> {
    let mut found = files(&repository.join("locks"));
    found.retain(|path| !path.to_string_lossy().contains("-tmp-"));
    found
}

fn copy_tree(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.expect("cp runs").success());
}

/// Kills each of these in turn, each at other moments.
fn kill_each(name: &'static str, works: &[Work]) {
    let whole: Vec<Duration> = works.iter().map(Work::measure).collect();
    let (mut killed, mut rounds) = (0, 0);
    Rounds::new(name, 2 * works.len() as u64).run(|seed| {
        let turn = (seed % works.len() as u64) as usize;
        killed += u64::from(works[turn].kill(seed, whole[turn]));
        rounds += 1;
    });
    tell(name, killed, rounds);
}

#[test]
fn a_killed_forget_or_prune_harms_nothing_and_the_next_one_needs_no_help() {
    let history = history();
    let clean = ["prune", "--max-unused=0"];
    let without_first = |place: &Place| {
        place.done(&["forget", "--keep-last=2"]);
    };
    let forgotten = Work::new("forget", &history, &["forget", "--keep-last=1"], |_| {});
    let both = ["forget", "--keep-last=1", "--prune", "--max-unused=0"];
    let both = Work::new("forget and prune", &history, &both, |_| {});
    let pruned = Work::new("prune", &history, &clean, without_first);
    kill_each(
        "killed forget and prune",
        &[
            Work { stays: vec!["s2"], after: vec!["s2"], bears_backups: false, ..forgotten },
            Work { stays: vec!["s1", "s2"], after: vec!["s1", "s2"], ..pruned },
            Work { stays: vec!["s2"], after: vec!["s2"], bears_backups: false, ..both },
        ],
    );
}

#[test]
fn a_killed_copy_rewrite_tag_or_recover_harms_nothing_and_the_next_one_needs_no_help() {
    let history = history();
    let copy = Work::new("copy", &history, &["copy", "--from-repo=repo"], |place| {
        let init = ["-r", "other", "init", "--copy-chunker-params", "--from-repo=repo"];
        let mut init = place.command(&init);
        let said = Said::of(init.env("RESTIC_FROM_PASSWORD", PASSWORD));
        assert_eq!(said.code, Some(0), "{said:?}");
    });
    let rewrite = ["rewrite", "--forget", "--exclude=secret"];
    let rewrite = Work::new("rewrite", &history, &rewrite, |_| {});
    let tag = Work::new("tag", &history, &["tag", "--add=more"], |_| {});
    let recover = Work::new("recover", &history, &["recover"], |place| {
        let newest = place.snapshots().pop().expect("a snapshot");
        place.done(&["forget", newest["id"].as_str().expect("an id")]);
    });
    kill_each(
        "killed copy, rewrite, tag and recover",
        &[
            Work { target: "other", stays: Vec::new(), ..copy },
            Work { takes_secrets: true, ..rewrite },
            tag,
            Work {
                stays: vec!["s0", "s1"],
                after: vec!["recovered", "s0", "s1"],
                // A backup would refer to what is to be recovered.
                bears_backups: false,
                ..recover
            },
        ],
    );
}

/// The file of at least so many bytes that was written last.
fn newest(directory: &Path, bytes: u64) -> PathBuf {
    let status = |path: &PathBuf| fs::metadata(path).expect("there");
    let large = files(directory).into_iter().filter(|path| status(path).len() >= bytes);
    large.max_by_key(|path| status(path).modified().expect("a time")).expect("a file")
}

/// What the newest snapshot has of its own.
const OF_NEWEST: &[&str] = &["changes", "d", "own-s2", "secret"];

#[test]
fn a_killed_repair_loses_nothing_that_could_be_read_and_the_next_one_needs_no_help() {
    let history = history();
    let pack = newest(&history.path("repo/data"), 1_000_000);
    let name = pack.file_name().expect("a name").to_str().expect("UTF-8").to_owned();
    let below = pack.strip_prefix(history.path("repo")).expect("below").to_owned();
    let index = Work::new("repair index", &history, &["repair", "index"], |place| {
        fs::remove_file(newest(&place.path("repo/index"), 0)).expect("removed");
    });
    let all = ["repair", "index", "--read-all-packs"];
    let all = Work::new("repair index --read-all-packs", &history, &all, |_| {});
    let packs = Work::new("repair packs", &history, &["repair", "packs", &name], |_| {});
    let snapshots = ["repair", "snapshots", "--forget"];
    let snapshots = Work::new("repair snapshots", &history, &snapshots, |place| {
        fs::remove_file(place.path("repo").join(&below)).expect("removed");
        place.done(&["repair", "index"]);
    });
    let heal = ["repair", "--read-data", "--heal-from=other"];
    let heal = Work::new("repair --heal-from", &history, &heal, |place| {
        copy_tree(&place.path("repo"), &place.path("other"));
        let pack = place.path("repo").join(&below);
        let mut bytes = fs::read(&pack).expect("read");
        bytes[1000] ^= 4;
        fs::write(&pack, bytes).expect("written");
    });
    let lack = |paths, for_good| Some(Lack { tag: "s2", paths, for_good });
    kill_each(
        "killed repair",
        &[
            Work { lack: lack(&[""], false), ..index },
            all,
            Work { over: Some("there is no pack"), ..packs },
            Work { lack: lack(OF_NEWEST, true), ..snapshots },
            Work { lack: lack(OF_NEWEST, false), ..heal },
        ],
    );
}
