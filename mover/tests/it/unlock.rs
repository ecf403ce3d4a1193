//! `unlock` and `list`: locks that nobody holds go, those of others stay.

use std::{
    fs,
    io::Write,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    place::{PASSWORD, Place, files, noise, skipped},
    restic::there_is_restic,
};

/// A backup that hangs on its input, as another process; holds a lock until it is killed. It has
/// stored a pack, which nobody does before the lock has settled.
fn hanging(place: &Place) -> Child {
    hanging_as(place, place.command(&HANGING))
}

const HANGING: [&str; 6] = ["backup", "--stdin", "--stdin-filename", "x", "--pack-size", "4"];

fn hanging_as(place: &Place, mut command: Command) -> Child {
    let packs = files(&place.path("repo/data")).len();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("started");
    let input = child.stdin.as_mut().expect("a pipe");
    input.write_all(&noise(9, 12 << 20)).expect("it reads");
    let began = Instant::now();
    while files(&place.path("repo/data")).len() == packs {
        assert!(began.elapsed() < Duration::from_secs(60), "it stores nothing");
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(files(&place.path("repo/locks")).len(), 1);
    child
}

fn locks(place: &Place) -> Vec<Value> {
    let said = place.done(&["list", "locks", "--json"]);
    serde_json::from_str(&said.out).expect("an array")
}

#[test]
fn a_lock_of_a_killed_process_goes_and_one_of_a_live_one_stays() {
    let place = Place::with_repository();
    place.done(&["backup", "src"]);
    let mut child = hanging(&place);
    let held = locks(&place);
    assert_eq!(held.len(), 1);
    assert_eq!(
        (&held[0]["lock"]["stale"], &held[0]["lock"]["exclusive"]),
        (&false.into(), &false.into())
    );
    assert_eq!(held[0]["lock"]["pid"], child.id());
    assert_eq!(place.done(&["unlock"]).out, "");
    assert_eq!(locks(&place).len(), 1);
    child.kill().expect("killed");
    child.wait().expect("ended");
    let said = place.done(&["-v", "list", "locks"]);
    assert!(said.out.contains("stale: that process is gone"), "{said:?}");
    assert!(place.done(&["unlock"]).out.contains("successfully removed 1 locks"));
    assert_eq!(files(&place.path("repo/locks")).len(), 0);
    place.done(&["forget", "--keep-last", "1"]);
}

#[test]
fn the_lock_of_a_killed_process_is_in_nobodys_way_and_that_of_a_live_one_is_waited_for() {
    let place = Place::with_repository();
    place.done(&["backup", "src"]);
    let mut child = hanging(&place);
    let waiting = ["forget", "--keep-last", "1", "--retry-lock", "1s"];
    let said = place.run(&waiting);
    said.refused(11, &["waiting: repository is already locked for reading", "0:01 at most"]);
    assert_eq!(locks(&place).len(), 1);
    child.kill().expect("killed");
    // Nobody has asked yet how it ended.
    let said = place.done(&waiting);
    assert!(said.err.contains("removed a lock that nobody holds"), "{said:?}");
    assert!(said.err.contains("that process is gone"), "{said:?}");
    assert_eq!(files(&place.path("repo/locks")).len(), 0);
    child.wait().expect("ended");
}

#[test]
fn the_next_one_of_a_name_follows_one_that_was_killed_elsewhere() {
    let place = Place::with_repository();
    place.done(&["backup", "src"]);
    // As in another container: whose numbers of processes are others, and tell nothing here.
    let program = place.command(&HANGING);
    let mut elsewhere = Command::new("unshare");
    elsewhere.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
    if !elsewhere.arg("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        skipped("no namespaces for processes here");
        return;
    }
    let mut elsewhere = Command::new("unshare");
    elsewhere.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
    elsewhere.arg(program.get_program()).args(program.get_args());
    elsewhere.current_dir(place.dir.path()).env_clear().env("PATH", env!("PATH"));
    elsewhere.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    elsewhere.env("WINDLASS_LINEAGE", "nightly");
    let mut child = hanging_as(&place, elsewhere);
    child.kill().expect("killed");
    child.wait().expect("ended");
    let lock = place.only_file("locks");
    let bytes = fs::read(&lock).expect("a lock");
    for args in [
        &["forget", "--keep-last", "1"][..],
        &["forget", "--keep-last", "1", "--lineage", "weekly"],
    ] {
        place.run(args).refused(11, &["repository is already locked"]);
    }
    let said = place.done(&["forget", "--keep-last", "1", "--lineage", "nightly"]);
    assert!(said.err.contains("this is the next one of that name"), "{said:?}");
    assert_eq!(files(&place.path("repo/locks")).len(), 0);
    // As if it had not been there.
    fs::write(&lock, bytes).expect("written");
    for args in [&["unlock"][..], &["unlock", "--lineage", "weekly"]] {
        assert_eq!(place.done(args).out, "");
    }
    let said = place.done(&["unlock", "--lineage", "nightly"]);
    assert!(said.out.contains("successfully removed 1 locks"), "{said:?}");
}

#[test]
fn all_locks_go_when_told_so_broken_ones_too() {
    let place = Place::with_repository();
    let mut child = hanging(&place);
    let broken = place.path("repo/locks").join("ab".repeat(32));
    fs::write(&broken, b"broken").expect("written");
    let empty = place.path("repo/locks").join("cd".repeat(32));
    fs::write(&empty, b"").expect("written");
    place.done(&["unlock"]);
    assert_eq!(files(&place.path("repo/locks")).len(), 3);
    let said = place.done(&["unlock", "--remove-all"]);
    assert!(said.out.contains("successfully removed 3 locks"), "{said:?}");
    assert_eq!(files(&place.path("repo/locks")).len(), 0);
    child.kill().expect("killed");
    child.wait().expect("ended");
}

#[test]
fn names_are_those_that_restic_lists() {
    if !there_is_restic() {
        return;
    }
    let place = Place::with_repository();
    place.done(&["backup", "src"]);
    for kind in ["blobs", "packs", "index", "snapshots", "keys", "locks"] {
        let mut command = Command::new("restic");
        command.current_dir(place.dir.path()).env("RESTIC_PASSWORD", PASSWORD);
        command.args(["-r", "repo", "--no-cache", "-q", "list", kind]);
        let theirs = String::from_utf8(command.output().expect("runs").stdout).expect("UTF-8");
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&place.done(&["-q", "list", kind]).out), sorted(&theirs), "{kind}");
    }
}
