//! Signals end a command soon, with its locks taken back.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::place::{Place, bytes_of, files, noise};

/// It takes less than a second; machines on which tests run are busy with others.
const MOST: Duration = Duration::from_secs(5);

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("sent");
}

/// Waits until the program catches SIGINT.
fn listening(child: &Child) {
    const INTERRUPT: u64 = 1 << 1;
    let status = format!("/proc/{}/status", child.id());
    for _attempt in 0..1000 {
        let text = std::fs::read_to_string(&status).expect("the system tells");
        let caught = text.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        if caught.is_some_and(|mask| mask & INTERRUPT != 0) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it does not listen for signals");
}

/// The exit code, and how long it took.
fn ended(child: &mut Child) -> (Option<i32>, Duration) {
    let started = Instant::now();
    let code = child.wait().expect("ends").code();
    (code, started.elapsed())
}

/// So large that a signal comes before the end of it.
fn add_large_file(place: &Place) {
    let mut file = File::create(place.path("src/large")).expect("a file");
    let mut state = 1_u64;
    let mut block = vec![0; 1 << 20];
    for _block in 0..256 {
        for bytes in block.chunks_exact_mut(8) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
            bytes.copy_from_slice(&(state ^ (state >> 29)).to_le_bytes());
        }
        file.write_all(&block).expect("written");
    }
}

#[test]
fn a_signal_during_a_backup_leaves_no_lock_and_no_snapshot() {
    let place = Place::with_repository();
    add_large_file(&place);
    for kind in [Signal::INT, Signal::TERM] {
        let (took, err) = interrupted(&place, &["backup", "src"], "no parent snapshot", kind);
        assert!(took < MOST, "{took:?}");
        assert!(files(&place.path("repo/snapshots")).is_empty(), "{err}");
    }
    place.done(&["backup", "src"]);
}

/// Starts it, waits for the line that tells that it is at work, and signals it.
fn interrupted(place: &Place, args: &[&str], start: &str, kind: Signal) -> (Duration, String) {
    let mut command = place.command(args);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    out.read_line(&mut line).expect("a line");
    assert!(line.starts_with(start), "{line}");
    signal(&child, kind);
    let (code, took) = ended(&mut child);
    let mut err = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut err).expect("read");
    assert_eq!(code, Some(130), "{err}");
    assert!(err.contains("interrupted") && !err.contains("panicked"), "{err}");
    assert!(files(&place.path("repo/locks")).is_empty(), "{err}");
    (took, err)
}

#[test]
fn a_signal_during_a_prune_leaves_no_lock_and_the_next_one_goes_on() {
    let place = Place::with_repository();
    place.write("src/gone", &noise(1, 3_000_000));
    place.done(&["backup", "src"]);
    place.write("src/gone", b"little");
    place.done(&["backup", "src"]);
    place.done(&["forget", "--keep-last", "1"]);
    for kind in [Signal::INT, Signal::TERM] {
        let (took, _) = interrupted(&place, &["prune"], "loading indexes", kind);
        assert!(took < MOST, "{took:?}");
        place.done(&["check", "--read-data"]);
    }
    place.done(&["prune"]);
    place.done(&["restore", "latest", "--target=out"]);
    assert_eq!(std::fs::read(place.path("out/src/gone")).expect("restored"), b"little");
}

#[test]
fn a_signal_during_a_restore_leaves_no_lock_and_the_next_one_goes_on() {
    let place = Place::with_repository();
    add_large_file(&place);
    place.done(&["backup", "src"]);
    let before = bytes_of(&place.path("repo"));
    for kind in [Signal::INT, Signal::TERM] {
        let args = ["restore", "latest", "--target=out"];
        let (took, _) = interrupted(&place, &args, "restoring snapshot", kind);
        assert!(took < MOST, "{took:?}");
        assert!(bytes_of(&place.path("repo")) == before);
    }
    place.done(&["restore", "latest", "--target=out"]);
    let [was, is] = ["src/large", "out/src/large"].map(|name| std::fs::read(place.path(name)));
    assert!(was.expect("was there") == is.expect("is there"));
}

#[test]
fn a_signal_ends_a_restore_from_a_store_that_does_not_answer() {
    let place = Place::with_repository();
    place.done(&["backup", "src"]);
    // Reading from a pipe that nobody writes to waits for ever.
    for pack in files(&place.path("repo/data")) {
        std::fs::remove_file(&pack).expect("removed");
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
        rustix::fs::mknodat(rustix::fs::CWD, &pack, kind, mode, 0).expect("a pipe");
    }
    let args = ["restore", "latest", "--target=out"];
    let (took, _) = interrupted(&place, &args, "restoring snapshot", Signal::TERM);
    assert!(took < MOST, "{took:?}");
}

#[test]
fn a_signal_ends_the_wait_for_a_password() {
    let place = Place::new();
    std::fs::create_dir(place.path("repo")).expect("a directory");
    let mut command = place.bare();
    let command = command.args(["-r", "repo", "snapshots"]).stdin(Stdio::piped());
    let mut child = command.stderr(Stdio::null()).spawn().expect("starts");
    // Waiting for the child would close its input, which is an answer as well.
    let _open_input = child.stdin.take();
    listening(&child);
    signal(&child, Signal::INT);
    let (code, took) = ended(&mut child);
    assert_eq!(code, Some(130));
    assert!(took < MOST, "{took:?}");
}
