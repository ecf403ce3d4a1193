//! Pods that are told to go, or that vanish: nothing is lost, nothing is uploaded twice, and the next
//! one needs no help.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::{
    place::{files, noise},
    pod::Pod,
};

/// How long a pod may take to go.
const MOST: Duration = Duration::from_secs(10);
/// How often a pod vanishes.
const ROUNDS: u64 = 6;

fn start(pod: &Pod, words: &[&str]) -> Child {
    let mut command = pod.mover(words);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("started")
}

/// The same where what it says is wanted.
fn start_all_told(pod: &Pod, words: &[&str]) -> Child {
    let mut command = pod.mover(words);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started")
}

/// Waits until so many packs are in the repository; what is being written has a longer name.
fn packs(pod: &Pod, count: usize) {
    const NAME_CHARS: usize = 64;
    let began = Instant::now();
    let is_pack = |path: &PathBuf| path.file_name().is_some_and(|name| name.len() == NAME_CHARS);
    while files(&pod.path("repo/data")).iter().filter(|path| is_pack(path)).count() < count {
        assert!(began.elapsed() < Duration::from_secs(60), "it stores nothing");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_pod_that_is_told_to_go_leaves_what_it_stored_and_no_lock() {
    const BYTES: usize = 240_000_000;
    let pod = Pod::new();
    let block = noise(5, 4_000_003);
    let mut large = Vec::with_capacity(BYTES);
    for turn in 0_u64.. {
        if large.len() >= BYTES {
            break;
        }
        // No two blocks are the same, or the second would be none.
        large.extend(block.iter().map(|byte| byte ^ (turn as u8).wrapping_mul(37)));
        large.extend_from_slice(&turn.to_le_bytes());
    }
    pod.write("data/large", &large);
    drop(large);
    pod.done(&["restore"]);
    let mut child = start(&pod, &["backup", "prune"]);
    packs(&pod, 3);
    kill_process(Pid::from_child(&child), Signal::TERM).expect("sent");
    let began = Instant::now();
    let code = child.wait().expect("ends").code();
    assert!(began.elapsed() < MOST, "{:?}", began.elapsed());
    assert_eq!(code, Some(143));
    let result = pod.result();
    assert_eq!((&result["outcome"], &result["exit_code"]), (&json!("stopped"), &json!(143)));
    let line = result["messages"][0].as_str().expect("a line");
    assert!(line.starts_with("ERROR: stopped by SIGTERM"), "{line}");
    assert!(files(&pod.path("repo/locks")).is_empty());
    assert!(files(&pod.path("repo/snapshots")).is_empty());
    assert_eq!(files(&pod.path("repo/index")).len(), 1, "what was stored is in an index");
    pod.place.done(&["check", "--read-data"]);
    let stored: u64 =
        files(&pod.path("repo/data")).iter().map(|it| fs::metadata(it).expect("there").len()).sum();

    pod.done(&["backup", "prune"]);
    let added = pod.result()["backup"]["bytes_added"].as_u64().expect("a number");
    assert!(added + stored / 2 < BYTES as u64, "{added} more although {stored} were there");
    pod.place.done(&["check", "--read-data"]);
}

#[test]
fn a_step_whose_lock_somebody_removes_is_done_again_and_nothing_else_is() {
    let pod = Pod::new();
    pod.done(&["restore"]);
    pod.write("data/large", &noise(7, 60_000_000));
    let child = start_all_told(&pod, &["backup"]);
    packs(&pod, 1);
    let locks = files(&pod.path("repo/locks"));
    assert_eq!(locks.len(), 1);
    fs::remove_file(&locks[0]).expect("removed");
    let ended = child.wait_with_output().expect("ends");
    let out = [ended.stdout, ended.stderr].concat();
    let out = String::from_utf8_lossy(&out);
    assert!(ended.status.success(), "{out}");
    assert!(out.contains("lock was lost") && out.contains("trying this step again"), "{out}");
    assert_eq!(out.matches("=== Starting backup ===").count(), 1, "{out}");
    assert_eq!(pod.snapshots().len(), 1);
    let added = pod.result()["backup"]["bytes_added"].as_u64().expect("a number");
    assert!(added < 30_000_000, "{added} bytes were stored again");
    pod.place.done(&["check", "--read-data"]);
}

#[test]
fn an_interrupted_restore_is_gone_on_with() {
    let pod = Pod::new();
    pod.write("data/large", &noise(6, 60_000_000));
    pod.done(&["backup"]);
    fs::remove_dir_all(pod.path("data")).expect("removed");
    fs::create_dir(pod.path("data")).expect("made");
    let mut child = start(&pod, &["restore"]);
    let mut out = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    assert!(out.any(|line| line.expect("a line").starts_with("restoring snapshot")));
    kill_process(Pid::from_child(&child), Signal::INT).expect("sent");
    let code = child.wait().expect("ends").code();
    // On a fast machine it may have been done.
    assert!(matches!(code, Some(130 | 0)), "{code:?}");
    assert!(files(&pod.path("repo/locks")).is_empty());
    pod.done(&["restore"]);
    assert!(fs::read(pod.path("data/large")).expect("restored") == noise(6, 60_000_000));
}

#[test]
fn a_pod_that_vanishes_at_any_moment_is_followed_by_one_that_needs_no_help() {
    let pod = Pod::new();
    pod.write("data/large", &noise(0, 8_000_000));
    let began = Instant::now();
    pod.done(&["backup", "prune"]);
    let mut whole = began.elapsed();
    let mut killed = 0;
    for round in 1..=ROUNDS {
        pod.write("data/large", &noise(round, 8_000_000));
        let mut child = start(&pod, &["backup", "prune"]);
        // From the start to the end, in steps that no other test keeps time with.
        std::thread::sleep(whole.mul_f64((round as f64 - 0.5) / ROUNDS as f64));
        child.kill().expect("killed");
        killed += u64::from(child.wait().expect("ends").code().is_none());
        let began = Instant::now();
        let said = pod.done(&["backup", "prune"]);
        // The machine may have had more to do before.
        whole = whole.min(began.elapsed());
        assert!(files(&pod.path("repo/locks")).is_empty(), "round {round}: {said:?}");
        assert_eq!(pod.snapshots().len(), 1, "round {round}: {said:?}");
        fs::remove_file(pod.path("data/large")).expect("removed");
        pod.done(&["restore"]);
        let restored = fs::read(pod.path("data/large")).expect("restored");
        assert!(restored == noise(round, 8_000_000), "round {round}");
    }
    assert!(killed > ROUNDS / 3, "only {killed} were killed while they ran");
    pod.place.done(&["check", "--read-data"]);
}
