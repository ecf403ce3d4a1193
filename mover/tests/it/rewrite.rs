//! `rewrite`: what it makes of snapshots and says about it, beside restic.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::{
    place::{PASSWORD, Place, Said},
    restic::there_is_restic_as_documented,
};

fn place() -> Place {
    let place = Place::with_repository();
    place.write("src/secret.key", b"not for everybody");
    place.done(&["backup", "src", "--host=h", "--time=2024-01-01 10:00:00"]);
    fs::remove_file(place.path("src/secret.key")).expect("removed");
    place.done(&["backup", "src", "--host=h", "--time=2024-01-02 10:00:00"]);
    place
}

pub(crate) fn copy_of(place: &Place, name: &str) {
    let mut command = Command::new("cp");
    let copied = command.current_dir(place.dir.path()).args(["-r", "repo", name]).status();
    assert!(copied.expect("cp runs").success());
}

pub(crate) fn restic(place: &Place, repository: &str, args: &[&str]) -> Said {
    let mut command = Command::new("restic");
    command.current_dir(place.dir.path()).env("RESTIC_PASSWORD", PASSWORD).env("TZ", "UTC");
    Said::of(command.args(["-r", repository, "--no-cache"]).args(args))
}

/// Lines without ids, times and how far it is.
pub(crate) fn words(text: &str) -> Vec<String> {
    let is_id = |word: &&str| word.len() >= 8 && word.chars().all(|it| it.is_ascii_hexdigit());
    let word = |line: &str| {
        let words: Vec<&str> =
            line.split(' ').map(|word| if is_id(&word) { "ID" } else { word }).collect();
        let time = words.iter().position(|word| *word == "at").unwrap_or(words.len());
        words[..time].join(" ")
    };
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('['));
    lines.map(word).collect()
}

fn snapshots(place: &Place, repository: &str) -> Vec<Value> {
    let said = restic(place, repository, &["snapshots", "--json"]);
    let mut told: Vec<Value> = serde_json::from_str(&said.out).expect("an array");
    for snapshot in &mut told {
        let fields = snapshot.as_object_mut().expect("an object");
        assert!(fields.remove("id").is_some() && fields.remove("short_id").is_some());
    }
    // Those of one time are listed by their ids.
    told.sort_by_key(ToString::to_string);
    told
}

#[test]
fn restic_says_and_makes_the_same() {
    if !there_is_restic_as_documented() {
        return;
    }
    let place = place();
    let latest = place.snapshots()[0]["id"].as_str().expect("an id").to_owned();
    let cases: [&[&str]; 4] = [
        &["rewrite", "--exclude", "secret.key", "--dry-run", "--forget", "--new-host", "x"],
        &["rewrite", "--iexclude", "SECRET.*", "--forget", "-vv"],
        &["rewrite", "--include", "d", "--forget", &latest, "-vv"],
        &["rewrite", "--new-host", "other", "--new-time", "2020-05-06 07:08:09", &latest],
    ];
    for (number, case) in cases.into_iter().enumerate() {
        let (ours, theirs) = (format!("ours{number}"), format!("theirs{number}"));
        copy_of(&place, &ours);
        copy_of(&place, &theirs);
        let told = restic(&place, &theirs, case);
        let said = Said::of(place.command(case).env("RESTIC_REPOSITORY", &ours));
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{case:?}");
        assert_eq!(told.code, Some(0), "{told:?}");
        let of_both = |text: &str| -> Vec<String> {
            let lines = words(text).into_iter();
            // What restic says about itself, and the zone that its times have.
            let own =
                ["repository ", "create exclusive", "loading index", "setting ", "would set time"];
            lines.filter(|line| own.iter().all(|start| !line.starts_with(start))).collect()
        };
        let mut expected = of_both(&told.out);
        let mut found = of_both(&said.out);
        // Several new snapshots are stored together here.
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{case:?}");
        assert_eq!(snapshots(&place, &ours), snapshots(&place, &theirs), "{case:?}");
    }
}

#[test]
fn what_cannot_be_meant_is_refused_and_json_tells_what_was_done() {
    let place = place();
    place.run(&["rewrite"]).refused(1, &["Nothing to do: no excludes/includes provided"]);
    let both = ["rewrite", "--exclude", "a", "--include", "b"];
    place.run(&both).refused(1, &["exclude and include patterns are mutually exclusive"]);
    place.run(&["rewrite", "--new-time", "soon"]).refused(1, &["cannot read the time"]);
    place
        .run(&["rewrite", "--exclude", "a", "--no-lock"])
        .refused(1, &["--no-lock is for reading"]);
    let before = place.snapshots();
    let dry = place.done(&["rewrite", "--exclude=secret.key", "--forget", "-n", "--json"]);
    assert_eq!(dry.message("would_change")["old_snapshot_id"], before[0]["id"]);
    assert_eq!(place.snapshots(), before);
    let said = place.done(&["rewrite", "--exclude=secret.key", "--forget", "--json"]);
    assert_eq!(said.message("changed")["old_snapshot_id"], before[0]["id"]);
    assert_eq!(said.message("removed")["old_snapshot_id"], before[0]["id"]);
    assert_eq!(said.message("summary")["changed_snapshots"], 1);
    let after = place.snapshots();
    assert_eq!((after.len(), &after[0]["id"]), (2, &said.message("changed")["new_snapshot_id"]));
    place.done(&["restore", after[0]["id"].as_str().expect("an id"), "-t", "out"]);
    assert!(!Path::new(&place.path("out/src/secret.key")).exists());
    assert_eq!(fs::read(place.path("out/src/a")).expect("restored"), b"first");
}
