//! Sources that cannot be read, or that change while they are read.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::Write,
    os::unix::fs::PermissionsExt,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use serde_json::Value;

use crate::place::{Place, files};

#[test]
fn what_cannot_be_read_is_named_again_at_the_end() {
    let place = Place::with_repository();
    for at in 0..15 {
        place.write(&format!("src/hidden-{at:02}"), b"x");
        let path = place.path(&format!("src/hidden-{at:02}"));
        fs::set_permissions(path, Permissions::from_mode(0o000)).expect("chmod");
    }
    fs::create_dir(place.path("src/closed")).expect("a directory");
    let closed = Permissions::from_mode(0o000);
    fs::set_permissions(place.path("src/closed"), closed).expect("chmod");
    let run = |args: &[&str]| place.run_as_nobody(args);
    let said = run(&["backup", "src"]);
    said.refused(3, &["Warning: at least one source file could not be read"]);
    let lines: Vec<&str> = said.err.lines().collect();
    let title = lines.iter().position(|line| *line == "16 items could not be read:");
    let title = title.unwrap_or_else(|| panic!("no list: {said:?}"));
    let named: Vec<&&str> = lines[title + 1..].iter().filter(|it| it.starts_with("  ")).collect();
    assert_eq!(named.len(), 11, "{said:?}");
    assert!(named[..10].iter().all(|line| line.contains("/src/") && line.contains("denied")));
    assert_eq!(*named[10], "  and 6 more, which are named above");
    // The list comes after the figures, so that nobody has to look for it.
    assert_eq!(lines.last(), Some(&"Warning: at least one source file could not be read"));
    assert!(said.out.contains(" saved\n"), "{said:?}");

    let quiet = run(&["backup", "src", "-q"]);
    quiet.refused(3, &["/src/closed", "/src/hidden-14"]);
    assert_eq!((quiet.out.as_str(), quiet.err.matches("/src/closed").count()), ("", 1));
    let json = run(&["backup", "src", "--json"]);
    let messages: Vec<Value> =
        json.err.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(messages.iter().filter(|it| it["message_type"] == "error").count(), 16);
    assert_eq!(messages.len(), 17);
    for snapshot in place.snapshots() {
        assert_eq!(snapshot["summary"]["total_files_processed"], 2);
    }
}

const BACKUPS: usize = 3;

#[test]
fn files_that_change_while_they_are_read_are_kept_as_they_were_read() {
    let place = Place::with_repository();
    for name in ["grows", "shrinks"] {
        place.write(&format!("src/{name}"), &vec![1; 8 << 20]);
    }
    let done = AtomicBool::new(false);
    let changing = || !done.load(Ordering::Relaxed);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let file = OpenOptions::new().append(true).open(place.path("src/grows"));
            let mut file = file.expect("a file");
            while changing() {
                for _growth in 0..200 {
                    file.write_all(&[2; 70_000]).expect("written");
                    std::thread::sleep(Duration::from_millis(1));
                }
                file.set_len(8 << 20).expect("cut");
            }
        });
        threads.spawn(|| {
            let file = OpenOptions::new().write(true).open(place.path("src/shrinks"));
            let file = file.expect("a file");
            while changing() {
                file.set_len(1000).expect("cut");
                file.set_len(9 << 20).expect("grown");
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        threads.spawn(|| {
            while changing() {
                for at in 0..200 {
                    let path = place.path(&format!("src/comes-and-goes-{at}"));
                    fs::write(&path, vec![3; at * 100]).expect("written");
                    fs::remove_file(path).expect("removed");
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        for _backup in 0..BACKUPS {
            let said = place.run(&["backup", "src", "--force"]);
            assert!(matches!(said.code, Some(0 | 3)), "{said:?}");
            assert!(!said.err.contains("panicked"), "{said:?}");
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(files(&place.path("repo/locks")).is_empty());
    let snapshots = place.snapshots();
    assert_eq!(snapshots.len(), BACKUPS);
    for snapshot in snapshots {
        // What was noted of a file is what was read of it.
        let id = snapshot["id"].as_str().expect("an id");
        place.done(&["restore", id, "--target=out", "--delete", "--verify"]);
        for line in place.done(&["ls", id, "--json"]).messages() {
            if line["type"] == "file" {
                let path = line["path"].as_str().expect("a path");
                let restored = fs::metadata(place.path("out").join(&path[1..]));
                assert_eq!(line["size"], restored.expect("restored").len(), "{path}");
            }
        }
    }
}
