//! What is opened, what is refused, and what cannot be done with what was opened.

use std::{fs, path::Path, sync::Arc, time::Duration};

use tempfile::TempDir;
use windlass_engine::{
    backup,
    cancel::Cancel,
    fault::{Class, Fault},
    monitor,
    protocol::{
        Access, AnnounceError, Announcement, Presence, keys::OpenError, listener::Listener,
        open::InitOptions,
    },
    repository::{Environment, Place, Repository},
};
use windlass_fixtures::KOPIA_PASSWORD;
use windlass_format::{restic::config::Version, secret::Password};

use super::{Open, copy_of, fixture};

fn refusal(path: &Path, password: &str) -> OpenError {
    Open::at(path, password).err().expect("a refusal")
}

#[test]
fn a_repository_says_what_it_is() {
    let open = Open::fixture("default");
    let identity = open.repository.identity();
    assert_eq!((identity.format.as_str(), identity.key.as_ref()), ("kopia version 3", None));
    assert_eq!(identity.id.len(), 64);
}

#[test]
fn another_password_is_a_wrong_password() {
    for name in ["default", "version-1"] {
        let error = refusal(&fixture(name), "guess");
        assert!(matches!(error, OpenError::WrongPassword { .. }), "{error}");
        assert_eq!(error.class(), Class::WrongPassword);
    }
}

#[test]
fn an_empty_or_missing_location_holds_no_repository() {
    let empty = TempDir::new().expect("a directory");
    for path in [empty.path(), &empty.path().join("missing")] {
        let error = refusal(path, KOPIA_PASSWORD);
        assert!(matches!(error, OpenError::NoRepository { .. }), "{error}");
    }
    // Where others keep `.shards`, nothing of kopia's need be.
    fs::write(empty.path().join(".shards"), br#"{"default":[1],"maxNonShardedLength":20}"#)
        .expect("a file");
    let error = refusal(empty.path(), KOPIA_PASSWORD);
    assert!(matches!(error, OpenError::NoRepository { .. }), "{error}");
}

#[test]
fn two_repositories_in_one_location_are_both_left_alone() {
    let copy = copy_of("default");
    fs::write(copy.path().join("config"), b"restic's").expect("a file");
    let error = refusal(copy.path(), KOPIA_PASSWORD);
    assert!(matches!(error, OpenError::Ambiguous { .. }), "{error}");
    assert_eq!(error.class(), Class::WrongInput);
}

#[test]
fn no_repository_is_created_over_one_of_kopias() {
    let copy = copy_of("default");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let options = InitOptions {
        version: Version::V2,
        polynomial: None,
        fast_cdc: false,
        username: "u".into(),
        hostname: "h".into(),
    };
    let error = runtime
        .block_on(Repository::init(
            &Place::local(copy.path()),
            &Password::new("p"),
            &options,
            &Environment::system(),
        ))
        .expect_err("a refusal");
    assert!(matches!(error, OpenError::Exists { .. }), "{error}");
    assert!(!copy.path().join("keys").exists(), "nothing was written");
}

#[test]
fn a_repository_that_requires_an_unknown_feature_is_refused_by_its_name() {
    let error = refusal(&fixture("future-feature"), KOPIA_PASSWORD);
    assert_eq!(error.class(), Class::Unsupported);
    assert!(error.to_string().contains("from-the-future"), "{error}");
}

#[test]
fn a_repository_that_is_being_upgraded_is_refused() {
    let error = refusal(&fixture("upgrading"), KOPIA_PASSWORD);
    assert!(
        matches!(&error, OpenError::Upgrading { owner, .. } if owner == "other@elsewhere"),
        "{error}"
    );
    assert_eq!(error.class(), Class::Busy);
}

#[test]
fn directories_are_found_however_wide_shards_are() {
    let flat = TempDir::new().expect("a directory");
    let mut pending = vec![fixture("default")];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).expect("a listing") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|ending| ending == "f") {
                let below = path.strip_prefix(fixture("default")).expect("below");
                let name = below.to_str().expect("ASCII").replace('/', "");
                fs::copy(&path, flat.path().join(name)).expect("a copy");
            }
        }
    }
    let shards = br#"{"default":[],"maxNonShardedLength":20}"#;
    fs::write(flat.path().join(".shards"), shards).expect("a file");
    let open = Open::at(flat.path(), KOPIA_PASSWORD).expect("a repository");
    let read = open.read(&open.tagged("first")).expect("a whole snapshot");
    super::assert_same(&read, &super::expected("default", "first"));
}

#[test]
fn damaged_shards_are_named() {
    let copy = copy_of("default");
    fs::write(copy.path().join(".shards"), b"{").expect("a file");
    let error = refusal(copy.path(), KOPIA_PASSWORD);
    assert_eq!(error.class(), Class::Damaged);
    assert!(error.to_string().contains(".shards"), "{error}");
}

#[test]
fn reading_needs_no_announcement_and_writing_is_refused() {
    let copy = copy_of("default");
    let before = listing(copy.path());
    let open = Open::at(copy.path(), KOPIA_PASSWORD).expect("a repository");
    let announce = |access| {
        let announcement = Announcement {
            access,
            hostname: "h".into(),
            username: "u".into(),
            patience: Duration::ZERO,
            lineage: None,
            listener: Listener::default(),
        };
        open.runtime.block_on(open.repository.protocol().announce(&announcement, &Cancel::new()))
    };
    let presence = announce(Access::Shared).expect("reading is always welcome");
    assert!(matches!(presence, Presence::Silent));
    open.runtime.block_on(presence.release()).expect("nothing to take back");
    let error = announce(Access::Exclusive).expect_err("a refusal");
    assert!(matches!(error, AnnounceError::Fault(Fault::Unsupported { .. })));
    assert!(matches!(open.repository.dialect().encoder(), Err(Fault::Unsupported { .. })));
    let keys = open.runtime.block_on(open.repository.protocol().list_keys());
    assert_eq!(keys.expect_err("a refusal").class(), Class::Unsupported);
    assert_eq!(listing(copy.path()), before);
}

#[test]
fn a_backup_to_kopia_is_refused_and_writes_nothing() {
    let copy = copy_of("default");
    let before = listing(copy.path());
    let open = Open::at(copy.path(), KOPIA_PASSWORD).expect("a repository");
    let source = TempDir::new().expect("a directory");
    fs::write(source.path().join("file"), b"content").expect("a file");
    let options = backup::Options::new(vec![source.path().to_owned()], "h".into());
    let (monitor, cancel) = (Arc::new(monitor::Silent::default()), Cancel::new());
    let run = backup::run(&open.repository, options, monitor, &cancel);
    let error = open.runtime.block_on(run).expect_err("a refusal");
    assert_eq!(error.class(), Class::Unsupported, "{error}");
    assert_eq!(listing(copy.path()), before);
}

fn listing(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![path.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).expect("a listing") {
            let path = entry.expect("an entry").path();
            found.push(path.display().to_string());
            if path.is_dir() {
                pending.push(path);
            }
        }
    }
    found.sort();
    found
}
