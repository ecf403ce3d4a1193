//! Backups of standard input and of what commands print.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::place::{Place, Said, files};

fn fed(command: &mut Command, input: &[u8]) -> Said {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // It may refuse the input without reading it.
    let _refused = stdin.write_all(input);
    drop(stdin);
    Said::from(child.wait_with_output().expect("ends"))
}

#[test]
fn a_stream_becomes_one_file() {
    let place = Place::with_repository();
    let input: Vec<u8> = (0..3_000_000_u32).map(|at| (at ^ (at >> 8)) as u8).collect();
    let said = fed(&mut place.command(&["backup", "--stdin", "--stdin-filename=db/dump"]), &input);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(place.snapshots()[0]["paths"], serde_json::json!(["/db/dump"]));
    place.done(&["restore", "latest", "-t", "out"]);
    assert!(fs::read(place.path("out/db/dump")).expect("restored") == input);

    let args = ["backup", "--stdin-from-command", "--", "sh", "-c", "echo made; echo said >&2"];
    let said = place.done(&args);
    assert!(said.err.contains("said"), "{said:?}");
    place.done(&["restore", "latest", "-t", "out"]);
    assert_eq!(fs::read(place.path("out/stdin")).expect("restored"), b"made\n");
}

#[test]
fn what_breaks_off_is_no_backup() {
    let place = Place::with_repository();
    let failing = ["backup", "--stdin-from-command", "--", "sh", "-c", "echo half; exit 3"];
    place.run(&failing).refused(1, &["command failed: exit status: 3"]);
    let missing = ["backup", "--stdin-from-command", "no-such-program"];
    place.run(&missing).refused(1, &["running no-such-program"]);
    place.run(&["backup", "--stdin-from-command"]).refused(1, &["no command was specified"]);
    fed(&mut place.command(&["backup", "--stdin"]), b"").refused(1, &["no data was read"]);
    place.run(&["backup", "--stdin", "src"]).refused(1, &["files/dirs were listed"]);
    let list = ["backup", "--stdin", "--files-from=x"];
    place.run(&list).refused(1, &["cannot be used together"]);
    let mut unnamed = place.bare();
    unnamed.args(["-r", "repo", "backup", "--stdin"]);
    fed(&mut unnamed, b"data").refused(1, &["cannot read both password and data from stdin"]);
    assert!(place.snapshots().is_empty());
    assert!(files(&place.path("repo/locks")).is_empty());
}

#[test]
fn a_signal_ends_the_wait_for_a_command() {
    let place = Place::with_repository();
    let script = "echo $$ > pid; echo started; exec sleep 600";
    let args = ["backup", "--stdin-from-command", "--", "sh", "-c", script];
    let mut child =
        place.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    let started = Instant::now();
    while fs::read(place.path("pid")).map_or(0, |pid| pid.len()) == 0 {
        assert!(started.elapsed() < Duration::from_secs(60), "the command was not started");
        std::thread::sleep(Duration::from_millis(20));
    }
    let signalled = Instant::now();
    kill_process(Pid::from_child(&child), Signal::TERM).expect("sent");
    assert_eq!(child.wait().expect("ends").code(), Some(130));
    assert!(signalled.elapsed() < Duration::from_secs(10));
    let pid = fs::read_to_string(place.path("pid")).expect("a number");
    assert!(!std::path::Path::new("/proc").join(pid.trim()).exists(), "the command goes on");
    assert!(files(&place.path("repo/locks")).is_empty() && place.snapshots().is_empty());
}
