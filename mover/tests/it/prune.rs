//! `prune`, and `forget --prune`: what is planned is what restic would plan.

use std::{fs, process::Command};

use serde_json::Value;

use crate::{
    place::{PASSWORD, Place, Said, files, noise},
    restic::{there_is_restic, there_is_restic_as_documented},
};

/// Three snapshots that share some of what they hold.
fn history(place: &Place) {
    place.write("src/shared", &noise(1, 3_000_000));
    for number in 0..3 {
        place.write("src/changing", &noise(10 + number, 5_000_000));
        place.write(&format!("src/d/{number}"), &noise(20 + number, 300_000));
        place.done(&["backup", "src", "--host=h"]);
    }
}

fn restic(place: &Place, args: &[&str]) -> Said {
    let mut command = Command::new("restic");
    command.current_dir(place.dir.path()).env("RESTIC_PASSWORD", PASSWORD).env("TZ", "UTC");
    Said::of(command.args(["-r", "repo", "--no-cache"]).args(args))
}

fn repository_bytes(place: &Place) -> u64 {
    let files = files(&place.path("repo/data"));
    files.iter().map(|file| fs::metadata(file).expect("there").len()).sum()
}

#[test]
fn space_comes_back_and_what_is_left_is_whole() {
    let place = Place::with_repository();
    history(&place);
    let before = repository_bytes(&place);
    let said = place.done(&["forget", "--keep-last", "1", "--prune", "--max-unused", "0"]);
    assert!(said.out.contains("total prune:"), "{}", said.out);
    assert!(said.out.ends_with("done\n"), "{}", said.out);
    let after = repository_bytes(&place);
    assert!(after + 9_900_000 < before, "{before} {after}");
    place.done(&["restore", "latest", "-t", "out"]);
    let restored = place.path("out/src/changing");
    assert_eq!(fs::read(restored).expect("restored"), noise(12, 5_000_000));
    assert_eq!(files(&place.path("repo/locks")).len(), 0);
    if there_is_restic() {
        let said = restic(&place, &["check", "--read-data"]);
        assert!(said.code == Some(0) && said.out.contains("no errors were found"), "{said:?}");
    }
}

#[test]
fn a_dry_run_changes_nothing_and_counts_what_would_be_forgotten() {
    let place = Place::with_repository();
    history(&place);
    let before = files(&place.path("repo"));
    let said = place.done(&["forget", "--keep-last", "1", "--prune", "--dry-run", "--json"]);
    let is_summary = |line: &&str| line.starts_with("{\"message_type\":\"summary\"");
    let line = said.out.lines().find(is_summary).expect("a summary");
    let summary: Value = serde_json::from_str(line).expect("JSON");
    assert!(summary["bytes"]["unused"].as_u64().expect("a number") > 9_900_000, "{summary}");
    place.done(&["prune", "--dry-run", "--no-lock"]);
    assert_eq!(files(&place.path("repo")), before);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let place = Place::with_repository();
    for (args, words) in [
        (&["--max-unused=100%"][..], "invalid percentage"),
        (&["--max-unused=-1%"], "invalid percentage"),
        (&["--max-unused=much"], "cannot read the size"),
        (&["--max-repack-size=x"], "cannot read the size"),
        (&["--max-time=soon"], "cannot read the duration"),
        (&["--repack-smaller-than", "17M"], "exceeds repository packsize"),
        (&["--repack-uncompressed", "--compression", "off"], "mutually exclusive"),
        (&["--no-lock"], "--dry-run"),
        (&["--unsafe-recover-no-free-space", "yes"], "must pass id"),
    ] {
        place.run(&[&["prune"], args].concat()).refused(1, &[words]);
    }
}

#[test]
fn the_plan_is_that_of_restic() {
    if !there_is_restic_as_documented() {
        return;
    }
    let place = Place::with_repository();
    history(&place);
    place.write("src/text", "words and words ".repeat(100_000).as_bytes());
    let said = restic(&place, &["backup", "src", "--host=h", "--compression=off"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let name = "ab".repeat(32);
    place.write(&format!("repo/data/ab/{name}"), &[1; 1000]);
    let oldest = place.snapshots()[0]["id"].as_str().expect("an id").to_owned();
    place.done(&["forget", &oldest]);
    for limits in [
        &[][..],
        &["--max-unused=0"],
        &["--max-unused=50%"],
        &["--max-unused=unlimited"],
        &["--max-unused=1M"],
        &["--max-unused=0", "--max-repack-size=1M"],
        &["--max-unused=0", "--repack-cacheable-only"],
        &["--repack-uncompressed"],
        &["--repack-smaller-than=16M"],
    ] {
        let args = [&["prune", "--dry-run", "--json"], limits].concat();
        let summary = |said: Said| -> Value {
            assert_eq!(said.code, Some(0), "{args:?} {said:?}");
            let line = said.out.lines().find(|line| line.contains("\"summary\""));
            serde_json::from_str(line.expect("a summary")).expect("JSON")
        };
        let theirs = summary(restic(&place, &args));
        assert_eq!(summary(place.run(&args)), theirs, "{limits:?}");
    }
}
