//! Signals end a command soon, with its locks taken back.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::place::{Place, files};

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

#[test]
fn a_signal_during_a_backup_leaves_no_lock_and_no_snapshot() {
    let place = Place::with_repository();
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
    for kind in [Signal::INT, Signal::TERM] {
        let mut command = place.command(&["backup", "src"]);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        out.read_line(&mut line).expect("a line");
        assert!(line.starts_with("no parent snapshot found"), "{line}");
        signal(&child, kind);
        let (code, took) = ended(&mut child);
        let mut err = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut err).expect("read");
        assert_eq!(code, Some(130), "{err}");
        assert!(took < Duration::from_secs(10), "{took:?}");
        assert!(files(&place.path("repo/locks")).is_empty(), "{err}");
        assert!(files(&place.path("repo/snapshots")).is_empty());
    }
    place.done(&["backup", "src"]);
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
    assert!(took < Duration::from_secs(10), "{took:?}");
}
