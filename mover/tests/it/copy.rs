//! `copy`: from one repository into another, as restic does it and beside it.

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::Value;

use crate::{
    place::{PASSWORD, Place, Said, files, noise},
    restic::{there_is_restic, there_is_restic_as_documented},
};

const OTHER_PASSWORD: &str = "battery staple";

/// A place with a repository of two snapshots, and an empty one beside it.
fn place() -> Place {
    let place = Place::with_repository();
    place.write("src/large", &noise(1, 3_000_000));
    place.done(&["backup", "src", "--host=h", "--tag=first"]);
    place.write("src/new", &noise(2, 200_000));
    place.done(&["backup", "src", "--host=h"]);
    let said = Said::of(&mut other(&place, &["init", "--copy-chunker-params"]));
    assert_eq!(said.code, Some(0), "{said:?}");
    place
}

/// The program on the second repository, with the first as its source.
fn other(place: &Place, args: &[&str]) -> Command {
    let mut command = place.bare();
    command.env("RESTIC_REPOSITORY", "other").env("RESTIC_PASSWORD", OTHER_PASSWORD);
    command.env("RESTIC_FROM_REPOSITORY", "repo").env("RESTIC_FROM_PASSWORD", PASSWORD);
    command.args(args);
    command
}

fn done(place: &Place, args: &[&str]) -> Said {
    let said = Said::of(&mut other(place, args));
    assert_eq!(said.code, Some(0), "{said:?}");
    said
}

fn restic(place: &Place, repository: &str, args: &[&str]) -> Said {
    let mut command = Command::new("restic");
    command.current_dir(place.dir.path()).env("TZ", "UTC");
    let password = if repository == "repo" { PASSWORD } else { OTHER_PASSWORD };
    command.env("RESTIC_PASSWORD", password).env("RESTIC_FROM_PASSWORD", PASSWORD);
    let said = Said::of(command.args(["-r", repository, "--no-cache"]).args(args));
    assert_eq!(said.code, Some(0), "{args:?} {said:?}");
    said
}

#[test]
fn snapshots_are_copied_once_and_are_whole() {
    let place = place();
    let said = done(&place, &["copy"]);
    assert_eq!(said.out.matches(" saved, copied from source snapshot ").count(), 2, "{}", said.out);
    assert_eq!(said.err, "", "both cut alike");
    let again = done(&place, &["copy", "-v"]);
    assert_eq!(again.out.matches(", was already copied to snapshot ").count(), 2, "{}", again.out);
    let json = done(&place, &["copy", "--json"]);
    let summary = json.message("summary");
    let (copied, skipped) = (&summary["snapshots_copied"], &summary["snapshots_skipped"]);
    assert_eq!((copied, skipped), (&0.into(), &2.into()));
    done(&place, &["restore", "latest", "-t", "out"]);
    for name in ["a", "d/b", "large", "new"] {
        let restored = fs::read(place.path("out/src").join(name)).expect("restored");
        assert_eq!(restored, fs::read(place.path("src").join(name)).expect("there"));
    }
    assert!(
        files(&place.path("other/locks")).is_empty() && files(&place.path("repo/locks")).is_empty()
    );
    if there_is_restic() {
        let checked = restic(&place, "other", &["check", "--read-data"]);
        assert!(checked.out.contains("no errors were found"), "{checked:?}");
    }
}

#[test]
fn chosen_snapshots_are_copied_and_told_in_json() {
    let place = place();
    let said = done(&place, &["copy", "--tag=first", "--json"]);
    let [copied, summary] = &said.messages()[..] else { panic!("{said:?}") };
    assert_eq!(copied["message_type"], "copied");
    assert_eq!(summary["snapshots_copied"], 1);
    let theirs = place.snapshots();
    assert_eq!(copied["source_snapshot_id"], theirs[0]["id"]);
    let listed: Vec<Value> =
        serde_json::from_str(&done(&place, &["snapshots", "--json"]).out).expect("an array");
    assert_eq!(listed.len(), 1);
    assert_eq!(copied["snapshot_id"], listed[0]["id"]);
    assert_eq!(listed[0]["original"], theirs[0]["id"]);
    done(&place, &["copy", theirs[1]["id"].as_str().expect("an id")]);
    let said = Said::of(&mut other(&place, &["copy", "nothing"]));
    said.refused(1, &["no matching ID found"]);
}

#[test]
fn restic_copies_the_same_and_says_the_same() {
    if !there_is_restic_as_documented() {
        return;
    }
    let place = place();
    let from = ["--from-repo", "repo"];
    restic(&place, "theirs", &["init", "--copy-chunker-params", from[0], from[1]]);
    let theirs = restic(&place, "theirs", &["copy", from[0], from[1]]);
    let ours = done(&place, &["copy"]);
    // The lines but for ids and how a time is written.
    let words = |said: &Said| -> Vec<String> {
        let word = |line: &str| {
            let is_id =
                |word: &str| word.len() == 8 && word.chars().all(|it| it.is_ascii_hexdigit());
            let words = line.split(' ').map(|word| if is_id(word) { "ID" } else { word });
            let words: Vec<&str> = words.collect();
            let time = words.iter().position(|word| *word == "at").unwrap_or(words.len());
            words[..time].join(" ")
        };
        let lines = said.out.lines().filter(|line| !line.starts_with('['));
        let told = |line: &String| !line.is_empty() && !line.contains("packs copied");
        lines.map(word).filter(told).collect()
    };
    assert_eq!(words(&ours), words(&theirs));
    let fields = |repository: &str| -> Vec<Value> {
        let told = restic(&place, repository, &["snapshots", "--json"]).out;
        let mut told: Vec<Value> = serde_json::from_str(&told).expect("an array");
        for snapshot in &mut told {
            let fields = snapshot.as_object_mut().expect("an object");
            assert!(fields.remove("id").is_some() && fields.remove("short_id").is_some());
        }
        told
    };
    assert_eq!(fields("other"), fields("theirs"));
    let chunks = |repository: &str| -> BTreeSet<String> {
        let told = restic(&place, repository, &["list", "blobs"]).out;
        told.lines().map(str::to_owned).collect()
    };
    assert_eq!(chunks("other"), chunks("theirs"));
    // Each takes what the other copied for copied.
    let nothing = restic(&place, "other", &["copy", from[0], from[1]]);
    assert!(!nothing.out.contains(" saved"), "{nothing:?}");
}

#[test]
fn other_cuts_are_warned_of_and_a_missing_source_is_an_error() {
    let place = Place::with_repository();
    place.done(&["backup", "src"]);
    let plain = |args: &[&str]| {
        let mut command = other(&place, args);
        command.env_remove("RESTIC_FROM_REPOSITORY");
        Said::of(&mut command)
    };
    assert_eq!(plain(&["init"]).code, Some(0));
    let said = plain(&["copy", "--from-repo", "repo"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.err.contains("cut files at different places"), "{said:?}");
    plain(&["copy"]).refused(1, &["no source repository was given"]);
    plain(&["copy", "--from-repo", "nowhere"]).refused(10, &[]);
}
