//! Repositories made to do harm, through the program: each is refused or told, nothing is written
//! outside the target, nothing in the repository changes, and it ends.

use std::fs;

use serde_json::json;
use windlass_engine::format::restic::{BlobId, pack::BlobKind, tree::NodeKind};

use crate::{
    forge::{Forger, change_key, directory, node},
    place::{Place, Said, bytes_of},
};

/// Runs commands that must leave the repository as it is, byte for byte, and without a lock.
fn untouched(place: &Place, args: &[&str]) -> Said {
    let before = bytes_of(&place.path("repo"));
    let said = place.run(args);
    assert!(bytes_of(&place.path("repo")) == before, "{args:?} changed the repository: {said:?}");
    said
}

#[test]
fn names_that_lead_out_are_left_out_and_named() {
    let place = Place::with_repository();
    fs::create_dir(place.path("room")).expect("a directory");
    let mut forger = Forger::new(&place);
    let inner = vec![forger.file("inner", b"inner", 5)];
    let inner = forger.tree(inner);
    let names = |at: &str| {
        let entries = fs::read_dir(place.path(at)).expect("a directory");
        entries.map(|it| it.expect("an entry").file_name()).collect::<Vec<_>>()
    };
    for name in ["../escaped", "/absolute", "..", "a/b", "."] {
        for bad in [forger.file(name, b"evil", 4), directory(name, inner)] {
            let mut nodes = vec![bad, forger.file("good", b"good", 4)];
            nodes.sort_by(|one, other| one.name.cmp(&other.name));
            let tree = forger.tree(nodes);
            let id = forger.snapshot(tree);
            let said = untouched(&place, &["restore", &id, "--target=room/out", "--delete"]);
            said.refused(1, &["error: /: ", "impossible name", "There was 1 error"]);
            assert_eq!(names("room"), ["out"], "{name}");
            assert_eq!(names("room/out"), ["good"], "{name}");
            // An archive does not carry it on.
            let said = untouched(&place, &["dump", &id, "/"]);
            assert!(!said.err.contains("panicked"), "{said:?}");
            assert!(!said.out.contains("evil") && !said.out.contains("inner"), "{name}");
        }
    }
    for args in [&["find", "inner"][..], &["stats"], &["ls", "latest"]] {
        let said = untouched(&place, args);
        assert!(!said.err.contains("panicked"), "{args:?} {said:?}");
    }
}

#[test]
fn a_directory_that_contains_itself_ends() {
    let place = Place::with_repository();
    let mut forger = Forger::new(&place);
    // No honest directory holds its own hash; the index says that this is it.
    let id = BlobId([7; 32]);
    let tree = windlass_engine::format::restic::tree::Tree { nodes: vec![directory("again", id)] };
    forger.lie(id, BlobKind::Tree, &tree.encode().expect("a tree"));
    let snapshot = forger.snapshot(id);
    for args in [
        &["restore", &snapshot, "--target=out"][..],
        &["ls", &snapshot],
        &["find", "again"],
        &["stats"],
        &["dump", &snapshot, "/"],
        &["diff", &snapshot, &snapshot],
    ] {
        let said = untouched(&place, args);
        assert!(!said.err.contains("panicked"), "{said:?}");
        // Two equal trees are not looked into.
        if args[0] != "diff" {
            said.refused(1, &["damaged"]);
            assert!(said.err.contains("0707070707"), "the object is not named: {said:?}");
        }
    }
}

#[test]
fn sizes_that_lie_make_no_room_and_are_told() {
    let place = Place::with_repository();
    let mut forger = Forger::new(&place);
    let mut files = vec![
        forger.file("huge", b"tiny", u64::MAX),
        forger.file("none", b"tiny", 0),
        forger.file("true", b"tiny", 4),
    ];
    let mut many = node("many", NodeKind::File);
    many.content = Some(vec![BlobId([9; 32]); 100_000]);
    many.size = u64::MAX / 2;
    files.insert(1, many);
    let tree = forger.tree(files);
    let id = forger.snapshot(tree);
    let said = untouched(&place, &["restore", &id, "--target=out"]);
    said.refused(1, &["/huge", "/none", "/many", "There were 3 errors"]);
    assert!(fs::read(place.path("out/many")).map_or(0, |bytes| bytes.len()) < 1 << 20);
    assert_eq!(fs::read(place.path("out/true")).expect("restored"), b"tiny");
    for args in [
        &["ls", "-l", &id][..],
        &["ls", &id, "--json"],
        &["ls", &id, "--ncdu"],
        &["ls", &id, "--sort=size", "--long", "--human-readable"],
        &["find", "huge", "--long"],
        &["stats"],
        &["stats", "--mode=files-by-contents"],
        &["diff", &id, &id],
    ] {
        assert_eq!(untouched(&place, args).code, Some(0), "{args:?}");
    }
    let said = untouched(&place, &["dump", &id, "/", "--target=dump.tar"]);
    assert!(!said.err.contains("panicked"), "{said:?}");
    assert!(fs::metadata(place.path("dump.tar")).map_or(0, |meta| meta.len()) < 1 << 20);
}

#[test]
fn directories_that_are_no_directories_are_named() {
    let place = Place::with_repository();
    let mut forger = Forger::new(&place);
    for text in [
        "",
        "[]",
        "{\"nodes\":null}",
        "{\"nodes\":[{\"name\":\"a\"}]}",
        "{\"nodes\":[{\"name\":\"b\",\"type\":\"file\"},{\"name\":\"a\",\"type\":\"file\"}]}",
        "{\"nodes\":[{\"name\":\"a\",\"type\":\"file\",\"size\":-1}]}",
        &format!("{{\"nodes\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000)),
    ] {
        let tree = forger.tree_text(text);
        let id = forger.snapshot(tree);
        let said = untouched(&place, &["restore", &id, "--target=out"]);
        assert!(!said.err.contains("panicked"), "{said:?}");
        if text != "{\"nodes\":null}" && !text.is_empty() {
            said.refused(1, &["damaged"]);
        }
    }
}

#[test]
fn absurd_scrypt_parameters_are_refused_at_once() {
    for (change, word) in [
        (json!({"N": 1_u64 << 40}), "scrypt memory"),
        (json!({"N": 0}), "scrypt parameters"),
        (json!({"N": 32_767}), "scrypt parameters"),
        (json!({"r": 1 << 24}), "scrypt memory"),
        (json!({"r": 0}), "scrypt parameters"),
        (json!({"p": 1 << 20}), "scrypt lanes"),
        (json!({"p": -1}), "key "),
        (json!({"salt": "AAAA"}), "salt"),
        (json!({"data": "A".repeat(1 << 20)}), "key "),
        (json!({"kdf": "rot13"}), "key derivation"),
    ] {
        let place = Place::with_repository();
        change_key(&place, |key| {
            for (name, value) in change.as_object().expect("an object") {
                key[name] = value.clone();
            }
        });
        let started = std::time::Instant::now();
        let said = untouched(&place, &["snapshots"]);
        said.refused(1, &["key ", word, "Next step: "]);
        assert!(started.elapsed() < std::time::Duration::from_secs(10), "{change}");
    }
}
