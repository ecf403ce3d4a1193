//! The repository that is used where none was named.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::place::{Place, Said};

fn run(place: &Place, args: &[&str]) -> Said {
    Said::of(place.bare().args(args))
}

#[test]
fn it_is_created_by_the_first_backup_and_opened_by_its_key_file() {
    let place = Place::new();
    let key_file = place.path("home/.local/share/windlass/repository.key");
    let repository = place.path("home/.local/share/windlass/repository");
    for args in [
        &["snapshots"][..],
        &["restore", "latest", "-t", "out"],
        &["key", "list"],
        &["backup", "src", "--dry-run"],
    ] {
        run(&place, args).refused(1, &["does not exist yet", "windlass backup"]);
    }
    assert!(!place.path("home").exists(), "a command that reads created something");

    let first = run(&place, &["backup", "src"]);
    assert_eq!(first.code, Some(0), "{first:?}");
    assert!(first.out.contains("created restic repository "), "{first:?}");
    assert!(first.err.contains(&format!("Its key is in {}", key_file.display())), "{first:?}");
    assert!(first.err.contains("Copy this file to a safe place"), "{first:?}");
    let meta = fs::metadata(&key_file).expect("the key file");
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);

    let second = run(&place, &["backup", "."]);
    assert_eq!((second.code, second.err.as_str()), (Some(0), ""), "{second:?}");
    assert!(second.out.contains("using the default repository at "), "{second:?}");
    let restored = run(&place, &["restore", "latest", "-t", "out"]);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    assert_eq!(fs::read(place.path("out/src/a")).expect("restored"), b"first");
    // The repository lies below what was backed up, and is not part of it.
    assert!(place.path("out/home/.local/share/windlass").exists());
    assert!(!place.path("out/home/.local/share/windlass/repository").exists());

    run(&place, &["key", "passwd"]).refused(1, &["opened by its key file"]);
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o644)).expect("chmod");
    run(&place, &["snapshots"]).refused(1, &["can be read by others", "chmod 600"]);
    let aside = place.path("key");
    fs::rename(&key_file, &aside).expect("moved");
    run(&place, &["snapshots"]).refused(1, &["is gone", "put your copy of it back"]);
    run(&place, &["backup", "src"]).refused(1, &["is gone"]);
    // The copy opens it like any other repository.
    let location = repository.to_str().expect("UTF-8");
    let key = aside.to_str().expect("UTF-8");
    let said = run(&place, &["-r", location, "-p", key, "snapshots", "--json"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let list: Vec<serde_json::Value> = serde_json::from_str(&said.out).expect("an array");
    assert_eq!(list.len(), 2);
}

#[test]
fn json_names_the_key_file_too() {
    let place = Place::new();
    let message = run(&place, &["init", "--json"]).message("initialized");
    let key_file = message["key_file"].as_str().expect("a path");
    assert_eq!(fs::read_to_string(key_file).expect("the key").trim().len(), 64);
    assert_eq!(message["id"].as_str().map(str::len), Some(64));
    assert!(message["repository"].as_str().is_some_and(|path| path.ends_with("repository")));
}
