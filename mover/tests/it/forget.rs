//! `forget`: policies, names, pins, and what is said about it.

use std::{fs, io::Write, process::Command};

use serde_json::Value;

use crate::{
    place::{PASSWORD, Place, Said, files},
    restic::there_is_restic_as_documented,
};

/// A snapshot a day, from the first of January on, with these tags.
fn history(place: &Place, tags: &[&str]) {
    for (day, tag) in tags.iter().enumerate() {
        let time = format!("--time=2024-01-{:02} 12:00:00", day + 1);
        place.done(&["backup", "src", "--host=h", &time, "--tag", tag]);
    }
}

/// The days of the month of the snapshots that there are.
fn days(place: &Place) -> Vec<String> {
    let day = |it: &Value| it["time"].as_str().expect("a time")[8..10].to_owned();
    place.snapshots().iter().map(day).collect()
}

#[test]
fn a_policy_removes_what_no_rule_keeps_and_says_so() {
    let place = Place::with_repository();
    history(&place, &["", "", "", "", ""]);
    let said = place.done(&["forget", "--keep-last", "2", "--dry-run"]);
    for words in [
        "Applying Policy: keep 2 latest snapshots",
        "snapshots for (host [h], paths [",
        "keep 2 snapshots:",
        "remove 3 snapshots:",
        "last snapshot",
        "Would have removed the following snapshots:",
    ] {
        assert!(said.out.contains(words), "{words:?} is not in {}", said.out);
    }
    assert_eq!(days(&place).len(), 5);
    place.done(&["forget", "--keep-last", "2"]);
    assert_eq!(days(&place), ["04", "05"]);
    assert_eq!(files(&place.path("repo/locks")).len(), 0);
    place.done(&["forget", "--keep-last", "2"]);
    assert_eq!(days(&place), ["04", "05"]);
}

#[test]
fn every_decision_is_explained() {
    let place = Place::with_repository();
    history(&place, &["", "x", "", ""]);
    let policy = ["--keep-weekly", "1", "--keep-within", "1d", "--keep-tag", "x"];
    let said = place.done(&[&["forget", "-n", "--explain"][..], &policy].concat());
    let newest = &place.snapshots()[3]["short_id"];
    let newest = newest.as_str().expect("an id");
    for words in [
        "  weekly snapshot: keeps it",
        "  weekly snapshot: has kept as many as it should, all of them newer",
        "  within 1d: is for snapshots after 2024-01-03 12:00:00",
        "  has tags [x]: it does not have them",
        "  has tags [x]: keeps it",
    ] {
        assert!(said.out.contains(words), "{words:?} is not in {}", said.out);
    }
    let said = place.done(&["forget", "-n", "--explain", "--keep-monthly", "3"]);
    let words = format!("  monthly snapshot: has kept {newest} of the same period");
    assert!(said.out.contains(&words), "{}", said.out);
    assert!(said.out.contains("keeps it as the oldest, having some left"), "{}", said.out);
    let said = place.done(&["forget", "-n", "--explain", "--json", "--keep-last", "1"]);
    let groups: Value = serde_json::from_str(&said.out).expect("JSON");
    let rules = &groups[0]["explanations"][1]["rules"][0];
    assert_eq!((&rules["rule"], &rules["keep"]), (&"last snapshot".into(), &false.into()));
}

#[test]
fn what_is_pinned_stays() {
    let place = Place::with_repository();
    history(&place, &["windlass-pin", "", "windlass-pin,other", ""]);
    place.done(&["forget", "--keep-last", "1"]);
    assert_eq!(days(&place), ["01", "03", "04"]);
    let pinned = place.snapshots()[0]["id"].as_str().expect("an id").to_owned();
    place.run(&["forget", &pinned]).refused(1, &["is pinned by its tag windlass-pin"]);
    // A pin does not make a policy out of one that keeps nothing.
    let said = place.run(&["forget", "--keep-tag", "nobody"]);
    said.refused(1, &["refusing to delete last snapshot of snapshot group \"host h, path ["]);
    place.done(&["forget", "--unsafe-allow-remove-all", "--host", "h"]);
    assert_eq!(days(&place), ["01", "03"]);
}

#[test]
fn names_go_without_a_policy_and_nothing_goes_without_either() {
    let place = Place::with_repository();
    history(&place, &["", "", ""]);
    let id = place.snapshots()[1]["id"].as_str().expect("an id")[..10].to_owned();
    place.run(&["forget"]).refused(1, &["no policy was specified, no snapshots will be removed"]);
    place.run(&["forget", "--keep-last", "0"]).refused(1, &["no policy was specified"]);
    place
        .run(&["forget", "--unsafe-allow-remove-all"])
        .refused(1, &["not allowed unless a snapshot filter option is specified"]);
    place.run(&["forget", &id, "--keep-last", "1"]).refused(1, &["were both given"]);
    place.run(&["forget", &id, "--host", "h"]).refused(1, &["explicit snapshot ids are given"]);
    place.run(&["forget", "--keep-last", "-1"]).refused(1, &[]);
    place.run(&["forget", "--keep-last=-1"]).refused(1, &["use 'unlimited' instead"]);
    place.run(&["forget", "--keep-within=-1d"]).refused(1, &["negative"]);
    place.run(&["forget", "--keep-last=1", "--no-lock"]).refused(1, &["--dry-run"]);
    place.run(&["forget", "0123456789"]).refused(1, &["no matching ID found"]);
    assert_eq!(days(&place).len(), 3);
    place.done(&["forget", &id]);
    assert_eq!(days(&place), ["01", "03"]);
    place.done(&["forget", "latest"]);
    assert_eq!(days(&place), ["01"]);
}

#[test]
fn a_snapshot_that_cannot_be_read_keeps_a_policy_from_being_applied() {
    let place = Place::with_repository();
    history(&place, &["", "", ""]);
    let id = place.snapshots()[0]["id"].as_str().expect("an id").to_owned();
    let broken = place.path("repo/snapshots").join(&id);
    let whole = fs::read(&broken).expect("read");
    fs::remove_file(&broken).expect("removed");
    fs::write(&broken, &whole[1..]).expect("written");
    let said = place.run(&["forget", "--keep-last", "1"]);
    said.refused(1, &["could not read snapshot", &id[..8], "nothing was removed"]);
    assert_eq!(files(&place.path("repo/snapshots")).len(), 3);
    assert_eq!(files(&place.path("repo/locks")).len(), 0);
}

#[test]
fn what_cannot_be_removed_is_told_and_the_rest_goes() {
    let place = Place::with_repository();
    history(&place, &["", "", ""]);
    let id = place.snapshots()[0]["id"].as_str().expect("an id").to_owned();
    let path = place.path("repo/snapshots").join(&id);
    let kept = fs::read(&path).expect("read");
    // Not even root removes an immutable file; not every file system has them.
    let status = Command::new("chattr").arg("+i").arg(&path).status();
    if !status.is_ok_and(|status| status.success()) {
        writeln!(std::io::stderr(), "skipped: no immutable files here").expect("said");
        return;
    }
    let said = place.run(&["forget", "--keep-last", "1"]);
    Command::new("chattr").arg("-i").arg(&path).status().expect("changed back");
    said.refused(3, &["unable to remove snapshots/", "failed to remove one or more snapshots"]);
    assert_eq!(days(&place), ["01", "03"]);
    assert_eq!(fs::read(&path).expect("read"), kept);
}

#[test]
fn json_and_text_are_those_of_restic() {
    if !there_is_restic_as_documented() {
        return;
    }
    let place = Place::with_repository();
    history(&place, &["a,b", "", "b", "", "a"]);
    let theirs = |args: &[&str]| {
        let mut command = Command::new("restic");
        command.current_dir(place.dir.path()).env("RESTIC_PASSWORD", PASSWORD).env("TZ", "UTC");
        let said = Said::of(command.args(["-r", "repo", "--no-cache"]).args(args));
        assert_eq!(said.code, Some(0), "{args:?} {said:?}");
        said.out
    };
    for policy in [
        &["--keep-last", "2"][..],
        &["--keep-daily", "1", "--keep-tag", "a,b"],
        &["--keep-monthly", "3", "--keep-within", "2d", "--group-by", "host,tags"],
        &["--keep-yearly", "9", "--keep-within-daily", "1d12h", "--group-by", ""],
    ] {
        let args = [&["forget", "--dry-run", "--json"], policy].concat();
        let sorted = |text: &str| {
            let line = text.lines().find(|line| line.starts_with('[')).expect("groups");
            let mut groups: Vec<Value> = serde_json::from_str(line).expect("an array");
            groups.sort_by_key(|group| group["tags"].to_string());
            groups
        };
        assert_eq!(sorted(&place.done(&args).out), sorted(&theirs(&args)), "{policy:?}");
    }
    let args = ["forget", "--dry-run", "--keep-last=1", "--keep-within=2d", "--keep-tag=a"];
    let (ours, theirs) = (place.done(&args).out, theirs(&args));
    let lines = |text: &str| -> Vec<String> {
        let interesting = |line: &&str| {
            ["Applying", "keep ", "remove ", "2024-"].iter().any(|word| line.contains(word))
        };
        let squeeze = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        text.lines().filter(interesting).map(squeeze).collect()
    };
    assert_eq!(lines(&ours), lines(&theirs));
}
