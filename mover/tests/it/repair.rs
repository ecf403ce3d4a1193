//! `repair` and `recover`, beside restic.

use std::fs;

use crate::{
    place::{PASSWORD, Place, Said, files, noise},
    restic::there_is_restic_as_documented,
    rewrite::{copy_of, restic, words},
};

/// A repository with two packs of data, one of which is damaged; its id.
fn damaged() -> (Place, String) {
    let place = Place::with_repository();
    place.write("src/large", &noise(1, 1_000_000));
    place.done(&["backup", "src", "--host=h"]);
    let before = files(&place.path("repo/data"));
    place.write("src/later", &noise(2, 2_000_000));
    place.done(&["backup", "src", "--host=h"]);
    let packs = files(&place.path("repo/data")).into_iter().filter(|path| !before.contains(path));
    let large = packs.max_by_key(|path| fs::metadata(path).expect("there").len()).expect("a pack");
    let mut bytes = fs::read(&large).expect("read");
    bytes[100] ^= 1;
    let name = large.file_name().expect("a name").to_string_lossy().into_owned();
    fs::write(&large, bytes).expect("written");
    (place, name)
}

#[test]
fn the_way_from_damage_to_a_whole_repository() {
    let (place, pack) = damaged();
    let said = place.run(&["check", "--read-data"]);
    said.refused(1, &[&pack]);
    // What lies where the copy is to be is not overwritten.
    place.write(&format!("pack-{pack}"), b"something else");
    place.run(&["repair", "packs", &pack]).refused(1, &["pack-", "exists"]);
    // The copy of a run that was killed is one, and half of one is written again.
    let damaged = files(&place.path("repo/data")).into_iter().find(|path| path.ends_with(&pack));
    let bytes = fs::read(damaged.expect("a pack")).expect("read");
    place.write(&format!("pack-{pack}"), &bytes);
    place.write(&format!("pack-{pack}.part"), b"half");
    let said = place.done(&["repair", "packs", &pack, "--json"]);
    assert_eq!(fs::read(place.path(&format!("pack-{pack}"))).expect("read"), bytes);
    let summary = said.message("summary");
    assert_eq!(summary["blobs_lost"].as_array().expect("a list").len(), 1, "{said:?}");
    assert_eq!(summary["packs_removed"][0], pack.as_str());
    assert!(place.path(&format!("pack-{pack}")).exists());
    place.run(&["repair", "packs", &pack]).refused(1, &["there is no pack"]);
    place.run(&["repair", "packs", "abc"]).refused(1, &["is no id of a pack"]);
    place.run(&["repair", "packs"]).refused(1, &["no ids specified"]);
    let said = place.done(&["repair", "snapshots", "--dry-run"]);
    assert!(said.out.contains("removed missing content") && said.out.contains("would modify 1"));
    let said = place.done(&["repair", "snapshots", "--forget"]);
    assert!(said.out.contains("modified 1 snapshots"), "{}", said.out);
    place.done(&["check", "--read-data"]);
    place.done(&["restore", "latest", "-t", "out"]);
    assert_eq!(fs::read(place.path("out/src/large")).expect("restored"), noise(1, 1_000_000));
    assert!(fs::metadata(place.path("out/src/later")).expect("there").len() < 2_000_000);
}

#[test]
fn restic_says_and_does_the_same() {
    if !there_is_restic_as_documented() {
        return;
    }
    let (place, pack) = damaged();
    let index = files(&place.path("repo/index")).swap_remove(0);
    fs::write(index, b"no index").expect("written");
    copy_of(&place, "theirs");
    let last = |said: &Said| words(&said.out).pop();
    let theirs = restic(&place, "theirs", &["repair", "index"]);
    let ours = place.done(&["repair", "index"]);
    assert_eq!((theirs.code, last(&ours)), (Some(0), last(&theirs)));
    let told = |said: &Said| {
        let mut lines = words(&said.err);
        lines.retain(|line| !line.starts_with("Load("));
        lines.iter_mut().for_each(|line| {
            if let Some((start, _why)) = line.split_once(':') {
                *line = start.to_owned();
            }
        });
        lines.sort();
        lines
    };
    assert_eq!(told(&ours), told(&theirs));
    let blobs = |repository: &str| {
        let said = restic(&place, repository, &["list", "blobs"]);
        let mut lines: Vec<String> = said.out.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(blobs("repo"), blobs("theirs"));
    restic(&place, "theirs", &["repair", "packs", &pack]);
    fs::remove_file(place.path(&format!("pack-{pack}"))).expect("removed");
    place.done(&["repair", "packs", &pack]);
    assert_eq!(blobs("repo"), blobs("theirs"));
    let theirs = restic(&place, "theirs", &["repair", "snapshots"]);
    let ours = place.done(&["repair", "snapshots"]);
    let of_both = |said: &Said| {
        let mut lines = words(&said.out);
        lines.retain(|line| !line.starts_with("repository ") && !line.starts_with("loading"));
        lines.sort();
        lines
    };
    assert_eq!(of_both(&ours), of_both(&theirs));
    assert_eq!(blobs("repo"), blobs("theirs"));
}

#[test]
fn an_unreadable_snapshot_goes_only_when_it_is_named() {
    let place = Place::with_repository();
    place.done(&["backup", "src", "--host=h"]);
    let snapshot = place.only_file("snapshots");
    let id = snapshot.file_name().expect("a name").to_string_lossy().into_owned();
    place.done(&["backup", "src", "--host=h", "--force"]);
    fs::write(&snapshot, b"no snapshot").expect("written");
    place.run(&["repair", "snapshots"]).refused(1, &["is unreadable", &id]);
    place.run(&["repair", "snapshots", &id[..8]]).refused(1, &["is unreadable"]);
    place.done(&["repair", "snapshots", "--forget", &id[..8], "-n"]);
    assert!(snapshot.exists());
    place.done(&["repair", "snapshots", "--forget", &id[..8]]);
    assert!(!snapshot.exists());
    place.done(&["repair", "snapshots", "--forget"]);
    assert_eq!(place.snapshots().len(), 1);
}

#[test]
fn no_snapshot_is_given_up_for_what_is_there_and_in_no_index() {
    let (place, _) = damaged();
    let before = place.snapshots();
    files(&place.path("repo/index")).iter().for_each(|path| fs::remove_file(path).expect("gone"));
    let said = place.done(&["repair", "snapshots", "--forget"]);
    assert!(said.err.contains("adding pack file to index"), "{said:?}");
    assert_eq!(place.snapshots(), before);
}

#[test]
fn what_was_forgotten_is_recovered() {
    let place = Place::with_repository();
    place.done(&["backup", "src", "--host=h"]);
    let said = place.done(&["recover"]);
    assert!(said.out.contains("found 0 unreferenced roots"), "{}", said.out);
    assert!(said.out.ends_with("no snapshot to write.\n"), "{}", said.out);
    let id = place.snapshots()[0]["id"].as_str().expect("an id").to_owned();
    let tree = place.snapshots()[0]["tree"].as_str().expect("an id")[..8].to_owned();
    place.done(&["forget", &id]);
    let said = place.done(&["recover", "--json"]);
    let summary = said.message("summary");
    assert_eq!(summary["unreferenced_roots"], 1);
    let snapshots = place.snapshots();
    assert_eq!((snapshots.len(), &snapshots[0]["id"]), (1, &summary["snapshot_id"]));
    assert_eq!(snapshots[0]["paths"], serde_json::json!(["/recover"]));
    assert_eq!(snapshots[0]["tags"], serde_json::json!(["recovered"]));
    place.done(&["restore", "latest", "-t", "out"]);
    let restored = place.path(&format!("out/{tree}/src/a"));
    assert_eq!(fs::read(restored).expect("restored"), b"first");
    if there_is_restic_as_documented() {
        let checked = restic(&place, "repo", &["check", "--read-data"]);
        assert_eq!(checked.code, Some(0), "{checked:?}");
    }
}

#[test]
fn what_is_lost_comes_back_from_files_or_another_repository() {
    let (place, pack) = damaged();
    copy_of(&place, "damaged");
    place.run(&["repair"]).refused(1, &["nothing to do!"]);
    let plan = place.done(&["repair", "--plan", "--read-data", "--heal-from=src", "--json"]);
    let summary = plan.message("summary");
    assert_eq!(summary["blobs_lost"].as_array().expect("a list").len(), 1, "{plan:?}");
    assert_eq!((&summary["healed"][0]["blobs"], &summary["plan"]), (&1.into(), &true.into()));
    assert_eq!(summary["packs_damaged"][0], pack.as_str());
    let path = summary["affected"][0]["path"].as_str().expect("a path").to_owned();
    assert!(path.ends_with("/src/later"), "{path}");
    place.run(&["check", "--read-data"]).refused(1, &[&pack]);
    let none = place.path("nothing");
    fs::create_dir(none).expect("a directory");
    let said = place.run(&["repair", "--read-data", "--heal-from=nothing"]);
    said.refused(1, &["repository contains errors"]);
    assert!(said.out.contains("0 of them were brought back from nothing"), "{said:?}");
    let said = place.done(&["repair", "--read-data", "--heal-from=src"]);
    assert!(said.out.contains("1 of them were brought back from src"), "{said:?}");
    place.done(&["check", "--read-data"]);
    place.done(&["restore", "latest", "-t", "out", "--verify"]);
    // And from the repository that is whole now into the one that is not.
    let mut command = place.command(&["repair", "--read-data", "--heal-from=repo"]);
    command.env("RESTIC_REPOSITORY", "damaged").env("RESTIC_FROM_PASSWORD", PASSWORD);
    assert_eq!(Said::of(&mut command).code, Some(0));
    let mut command = place.command(&["check", "--read-data"]);
    assert_eq!(Said::of(command.env("RESTIC_REPOSITORY", "damaged")).code, Some(0));
}
