//! An installation whose image is swapped, and swapped back: the history goes on, both ways.
//!
//! What the original does is done here with the real restic, with its arguments and in its order.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use crate::{
    place::{PASSWORD, Said, noise, skipped},
    pod::{Pod, check_kept},
    restic::there_is_restic,
};

/// The original's call of restic in the pod.
fn restic(pod: &Pod, args: &[&str]) -> Said {
    let mut command = Command::new("restic");
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("RESTIC_REPOSITORY", pod.path("repo")).env("RESTIC_PASSWORD", PASSWORD);
    command.env("RESTIC_CACHE_DIR", pod.path("cache")).env("TMPDIR", pod.path("tmp"));
    command.current_dir(pod.path("data")).args(args);
    Said::of(&mut command)
}

fn done(pod: &Pod, args: &[&str]) -> Said {
    let said = restic(pod, args);
    assert_eq!(said.code, Some(0), "{args:?}: {said:?}");
    said
}

/// What it does to back up.
fn original_backup(pod: &Pod) -> Value {
    if restic(pod, &["cat", "config"]).code != Some(0) {
        done(pod, &["init"]);
    }
    let said = done(pod, &["backup", "--json", "--host", "volsync", "--exclude=lost+found", "."]);
    done(pod, &["forget", "--host", "volsync", "--keep-last", "3"]);
    said.message("summary")
}

fn our_backup(pod: &Pod) -> (Said, Value) {
    let said = pod.done_with(&["backup"], &[("FORGET_OPTIONS", " --keep-last 3")]);
    (said, pod.result())
}

/// Only what the sample chose was read.
fn check_nothing_read(result: &Value) {
    let reasons = result["backup"]["read_for"].as_object().expect("reasons");
    assert!(reasons.keys().all(|reason| reason == "sampled"), "{result}");
    assert_eq!(
        result["backup"]["bytes_added"].as_u64().map(|bytes| bytes < 10_000),
        Some(true),
        "{result}"
    );
}

fn fill(pod: &Pod) {
    for number in 0..40 {
        let name = format!("data/d/{number}");
        pod.write(&name, &noise(number, 20_000));
    }
    fs::create_dir(pod.path("data/lost+found")).expect("made");
}

/// Gives every file another inode and ctime, as a clone of the volume has.
fn clone_volume(pod: &Pod) {
    fs::rename(pod.path("data"), pod.path("was")).expect("renamed");
    let mut copy = Command::new("cp");
    let copied = copy.args(["-a", "--"]).arg(pod.path("was")).arg(pod.path("data")).status();
    assert!(copied.expect("cp runs").success());
    fs::remove_dir_all(pod.path("was")).expect("removed");
}

fn same(pod: &Pod, left: &Path, right: &Path) {
    let mut differing = windlass_testkit::compare::compare(left, right).expect("compared");
    // Neither stores the volume's own directory, nor what is the file system's.
    differing.retain(|it| it.path.as_os_str() != "" && !it.path.starts_with("lost+found"));
    assert_eq!(differing, [], "{:?}", pod.place.dir);
}

#[test]
fn what_the_original_began_goes_on_and_back_again() {
    if !there_is_restic() {
        return;
    }
    let pod = Pod::new();
    fill(&pod);
    original_backup(&pod);
    original_backup(&pod);
    let theirs = pod.snapshots();

    // Swapped: the parent is found and nothing is read.
    let (said, result) = our_backup(&pod);
    check_kept(
        &said,
        &["repository ", "using parent snapshot ", "processed 42 files", "snapshot "],
    );
    assert!(!said.out.contains("Initialize"), "{said:?}");
    check_nothing_read(&result);
    assert_eq!(result["backup"]["files_unchanged"], 42);
    let all = pod.snapshots();
    assert_eq!(all.len(), 3, "one policy for the snapshots of both");
    assert_eq!((&all[0]["id"], &all[1]["id"]), (&theirs[0]["id"], &theirs[1]["id"]));
    for field in ["paths", "hostname", "excludes", "tags"] {
        assert_eq!(all[0][field], all[2][field], "{field}");
    }

    // And back: restic takes our snapshot for its parent and reads nothing either.
    let summary = original_backup(&pod);
    assert_eq!(summary["files_unmodified"], 42, "{summary}");
    assert_eq!((&summary["files_new"], &summary["files_changed"]), (&json!(0), &json!(0)));
    let parents: Vec<Value> = pod.snapshots().iter().map(|it| it["parent"].clone()).collect();
    assert_eq!(parents[2], all[2]["id"]);

    // Of a clone of the volume, which restic reads whole, we read nothing.
    for _run in 0..2 {
        clone_volume(&pod);
        let (_, result) = our_backup(&pod);
        check_nothing_read(&result);
        assert_eq!(result["backup"]["files_unchanged"], 42);
    }
    done(&pod, &["check", "--read-data"]);
    pod.place.done(&["check", "--read-data"]);
}

#[test]
fn each_restores_what_the_other_backed_up() {
    if !there_is_restic() {
        return;
    }
    let pod = Pod::new();
    fill(&pod);
    let keep = pod.path("keep");
    let empty = |pod: &Pod| {
        let _not_there = fs::remove_dir_all(pod.path("data"));
        fs::create_dir(pod.path("data")).expect("made");
    };
    original_backup(&pod);
    fs::rename(pod.path("data"), &keep).expect("renamed");
    empty(&pod);
    let said = pod.done(&["restore"]);
    check_kept(&said, &["restoring snapshot "]);
    same(&pod, &keep, &pod.path("data"));

    pod.write("data/more", b"ours");
    fs::write(keep.join("more"), b"ours").expect("written");
    let times = fs::FileTimes::new()
        .set_modified(pod.path("data/more").metadata().expect("there").modified().expect("a time"));
    fs::File::options()
        .write(true)
        .open(keep.join("more"))
        .expect("open")
        .set_times(times)
        .expect("set");
    our_backup(&pod);
    let id = pod.snapshots().last().expect("one")["short_id"].as_str().expect("an id").to_owned();
    empty(&pod);
    let listed = done(&pod, &["snapshots"]);
    let row = listed.out.lines().find(|line| line.starts_with(&id)).expect("a row");
    assert!(row.contains("/data"), "the original looks for the path in this row: {row}");
    let mut words = vec!["restore", &id, "-t", ".", "--host", "volsync"];
    if done(&pod, &["restore", "--help"]).out.contains("--include-xattr") {
        words.extend(["--include-xattr", "user.*"]);
    } else {
        skipped("this restic restores all attributes");
    }
    done(&pod, &words);
    same(&pod, &keep, &pod.path("data"));
}

#[test]
fn a_lock_that_the_original_left_is_removed_when_told_so() {
    if !there_is_restic() {
        return;
    }
    let pod = Pod::new();
    original_backup(&pod);
    // Killed on a machine that is gone: nobody can tell but by its age.
    leave_lock(&pod, "2024-01-01T00:00:00Z");
    let said = pod.done(&["unlock", "backup", "prune"]);
    check_kept(&said, &["successfully removed 1 locks", "using parent snapshot ", "snapshot "]);
    // One that is old enough is in nobody's way without being told either.
    let file = leave_lock(&pod, "2024-01-01T00:00:00Z");
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    let lock = fs::File::options().write(true).open(file).expect("a lock");
    lock.set_modified(hour_ago).expect("set");
    pod.done(&["backup", "prune"]);
    assert!(fs::read_dir(pod.path("repo/locks")).expect("there").next().is_none());
}

/// An exclusive lock of another host.
fn leave_lock(pod: &Pod, time: &str) -> PathBuf {
    let json = format!(
        "{{\"time\":\"{time}\",\"exclusive\":true,\"hostname\":\"gone\",\"username\":\"root\",\
         \"pid\":1}}"
    );
    let mut forger = crate::forge::Forger::new(&pod.place);
    let name = forger.unpacked("locks", json.as_bytes());
    pod.path("repo/locks").join(name)
}
