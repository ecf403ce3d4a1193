//! Repositories that are not there, not ours to open, locked or damaged.

use std::{fs, path::Path};

use serde_json::{Value, json};
use windlass_engine::{
    cancel::Cancel,
    format::secret::Password,
    protocol::{Access, Announcement, listener::Listener, restic::OpenOptions},
    repository::{Environment, Place as At, Repository},
};

use crate::place::{PASSWORD, Place, Said, files};

#[test]
fn a_missing_repository_is_exit_code_10() {
    let place = Place::new();
    let said = place.run(&["snapshots"]);
    said.refused(10, &["Fatal: repository does not exist: unable to open config file at "]);
    let question = "\nIs there a repository at the following location?\nrepo\n";
    assert!(said.err.ends_with(question), "{said:?}");
    let said = place.run(&["backup", "src", "--json"]);
    let error: Value = serde_json::from_str(&said.err).expect("one JSON message");
    assert_eq!((&error["message_type"], &error["code"]), (&json!("exit_error"), &json!(10)));
    assert!(said.out.is_empty() && said.code == Some(10), "{said:?}");
    assert!(!place.path("repo").exists());
    fs::create_dir(place.path("repo")).expect("an empty directory");
    place.run(&["snapshots"]).refused(10, &["Fatal: repository does not exist"]);
}

#[test]
fn a_wrong_password_is_exit_code_12() {
    let place = Place::with_repository();
    let said = Said::of(place.command(&["snapshots"]).env("RESTIC_PASSWORD", "wrong"));
    said.refused(12, &["Fatal: wrong password or no key found\n", "Next step: "]);
}

#[test]
fn an_existing_repository_is_not_written_over() {
    let place = Place::with_repository();
    let before = files(&place.path("repo"));
    place.run(&["init"]).refused(1, &["Fatal: ", "already"]);
    assert_eq!(files(&place.path("repo")), before);
}

#[test]
fn places_and_formats_of_other_builds_are_named() {
    let place = Place::new();
    place.run(&["-r", "s3:host", "init"]).refused(1, &["s3: bucket name not found"]);
    place.run(&["-r", "foo:bar", "init"]).refused(1, &["invalid backend", "`local:`"]);
    place.run(&["init", "--format=kopia"]).refused(1, &["kopia repositories is not supported"]);
    place.run(&["init", "--repository-version=3"]).refused(1, &["no repository version"]);
    let no_source = ["init", "--copy-chunker-params"];
    place.run(&no_source).refused(1, &["no source repository", "--from-repo"]);
    place.run(&["init", "--from-repo=x"]).refused(1, &["give --copy-chunker-params"]);
    let both = ["-r", "repo", "--repository-file=list", "snapshots"];
    place.run(&both).refused(1, &["mutually exclusive"]);
    assert!(!place.path("repo").exists());
}

#[test]
fn a_locked_repository_is_exit_code_11() {
    let place = Place::with_repository();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let presence = runtime.block_on(async {
        let (at, password) = (At::local(place.path("repo")), Password::new(PASSWORD));
        let environment = Environment::system();
        let options = OpenOptions::default();
        let repository = Repository::open(&at, &password, &options, environment).await;
        let announcement = Announcement {
            access: Access::Exclusive,
            hostname: "elsewhere".into(),
            username: "somebody".into(),
            patience: std::time::Duration::ZERO,
            lineage: None,
            listener: Listener::default(),
        };
        let repository = repository.expect("opens");
        repository.protocol().announce(&announcement, &Cancel::new()).await.expect("a lock")
    });
    let said = place.run(&["backup", "src"]);
    said.refused(11, &["Fatal: repository is already locked", "elsewhere", "--retry-lock"]);
    place.run(&["restore", "latest", "-t", "out"]).refused(11, &["already locked"]);
    // Listing needs no lock, and a restore that was told so neither.
    assert!(place.snapshots().is_empty());
    place.run(&["restore", "latest", "-t", "out", "--no-lock"]).refused(1, &["no snapshot found"]);
    runtime.block_on(presence.release()).expect("released");
    place.done(&["backup", "src"]);
    assert!(files(&place.path("repo/locks")).is_empty());
}

/// Changes one stored file, runs a command, and puts the file back.
fn with_damage(place: &Place, file: &Path, damage: impl Fn(&mut Vec<u8>), args: &[&str]) -> Said {
    let whole = fs::read(file).expect("a stored file");
    let mode = fs::metadata(file).expect("a stored file").permissions();
    let mut bytes = whole.clone();
    damage(&mut bytes);
    let replace = |bytes: &[u8]| {
        fs::remove_file(file).expect("removed");
        fs::write(file, bytes).expect("written");
        fs::set_permissions(file, mode.clone()).expect("chmod");
    };
    replace(&bytes);
    // What an earlier restore left there would not be read from the repository again.
    let _none_yet = fs::remove_dir_all(place.path("out"));
    let before = files(&place.path("repo"));
    let said = place.run(args);
    assert_eq!(files(&place.path("repo")), before, "something was written: {said:?}");
    replace(&whole);
    said
}

fn cut(bytes: &mut Vec<u8>) {
    bytes.truncate(bytes.len() / 2);
}

fn flip(bytes: &mut Vec<u8>) {
    let middle = bytes.len() / 2;
    let changed = bytes[middle] ^ 1;
    bytes.splice(middle..=middle, [changed]);
}

#[test]
fn damage_is_named_and_nothing_is_written() {
    let place = Place::with_repository();
    place.done(&["backup", "src"]);
    let config = place.path("repo/config");
    let key = place.only_file("keys");
    let index = place.only_file("index");
    let snapshot = place.only_file("snapshots");
    let snapshot_name = snapshot.file_name().expect("a name").to_string_lossy()[..8].to_owned();
    let packs = files(&place.path("repo/data"));
    let restore = ["restore", "latest", "-t", "out", "--no-lock"];
    for damage in [cut, flip] {
        with_damage(&place, &config, damage, &["snapshots"])
            .refused(1, &["config is damaged", "Next step: "]);
        with_damage(&place, &key, damage, &["snapshots"])
            .refused(1, &["key ", "is damaged", "Next step: "]);
        let said = with_damage(&place, &snapshot, damage, &["snapshots"]);
        assert!(said.err.contains(&snapshot_name) && said.err.contains("damaged"), "{said:?}");
        with_damage(&place, &snapshot, damage, &restore).refused(1, &[&snapshot_name]);
        with_damage(&place, &index, damage, &restore)
            .refused(1, &["index", "damaged", "Next step: "]);
    }
    // The first chunk of each pack; the end of a pack is for rebuilding indexes only.
    let flip_first = |bytes: &mut Vec<u8>| bytes[20] ^= 1;
    let cut_first = |bytes: &mut Vec<u8>| bytes.truncate(20);
    for pack in &packs {
        with_damage(&place, pack, flip_first, &restore).refused(1, &["damaged", "Next step: "]);
        with_damage(&place, pack, cut_first, &restore).refused(1, &["Next step: "]);
    }
    let said = with_damage(&place, &config, Vec::clear, &["snapshots"]);
    said.refused(1, &["config is damaged"]);
    place.done(&["restore", "latest", "-t", "whole"]);
}
