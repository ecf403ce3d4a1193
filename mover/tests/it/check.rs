//! `check`: good repositories, damaged ones, and what is said of them.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::{
    place::{PASSWORD, Place, Said, files, noise},
    restic::there_is_restic_as_documented,
};

fn restic(place: &Place, args: &[&str]) -> Said {
    let mut command = Command::new("restic");
    command.current_dir(place.dir.path()).env("RESTIC_PASSWORD", PASSWORD);
    Said::of(command.args(["-r", "repo", "--no-cache"]).args(args))
}

/// Writes a file that may be read-only anew.
fn overwrite(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).expect("removed");
    fs::write(path, bytes).expect("written");
}

fn with_snapshots() -> Place {
    let place = Place::with_repository();
    place.write("src/noise", &noise(1, 60_000));
    place.done(&["backup", "src", "--tag", "first"]);
    place.write("src/e", &[3; 50_000]);
    place.done(&["backup", "src", "--tag", "second"]);
    place
}

/// The packs, largest first: the one with the noise in it is the largest.
fn packs(place: &Place) -> Vec<std::path::PathBuf> {
    let mut packs = files(&place.path("repo/data"));
    packs.sort_by_key(|pack| std::cmp::Reverse(fs::metadata(pack).expect("there").len()));
    packs
}

#[test]
fn a_good_repository_is_good_at_every_level() {
    let place = with_snapshots();
    for args in [
        &["check"][..],
        &["check", "--read-data"],
        &["check", "--read-data-subset", "1/2"],
        &["check", "--read-data-subset", "50%"],
        &["check", "--read-data-subset", "1K"],
        &["check", "--no-lock"],
        &["check", "latest", "--read-data"],
        &["check", "--tag", "first"],
    ] {
        let said = place.done(args);
        assert!(said.out.ends_with("no errors were found\n"), "{said:?}");
        assert_eq!(said.err, "", "{args:?}");
    }
    let said = place.done(&["check", "--json"]).message("summary");
    assert_eq!((&said["num_errors"], &said["broken_packs"]), (&0.into(), &Value::Null));
    assert_eq!(files(&place.path("repo/locks")).len(), 0);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let place = Place::with_repository();
    for subset in ["0/5", "6/5", "1/257", "x/5", "1/x", "0%", "101%", "x%", "0", "some"] {
        place.run(&["check", "--read-data-subset", subset]).refused(1, &[subset]);
    }
    place.run(&["check", "--read-data", "--read-data-subset=1/2"]).refused(1, &["cannot be used"]);
}

#[test]
fn a_flipped_bit_is_found_and_the_file_is_named() {
    let place = with_snapshots();
    let pack = packs(&place).swap_remove(0);
    let mut bytes = fs::read(&pack).expect("read");
    bytes[40] ^= 1;
    overwrite(&pack, &bytes);
    // Only reading finds it.
    place.done(&["check"]);
    let name = pack.file_name().expect("a name").to_str().expect("UTF-8");
    let said = place.run(&["check", "--read-data"]);
    said.refused(1, &["repository contains errors", name, "Not whole are:", "repair packs"]);
    let snapshots = place.snapshots();
    for snapshot in &snapshots {
        let id = snapshot["short_id"].as_str().expect("an id");
        assert!(said.err.contains(&format!("  {id} ")), "{id} is not in {}", said.err);
    }
    let json = place.run(&["check", "--read-data", "--json"]).message("summary");
    assert_eq!(json["broken_packs"][0], name);
    let affected = json["affected"].as_array().expect("files");
    assert!(affected.iter().any(|it| it["path"].as_str().expect("a path").contains("/src/")));
    if there_is_restic_as_documented() {
        let theirs = restic(&place, &["check", "--read-data", "--json"]);
        assert_eq!(theirs.code, Some(1));
        assert_eq!(theirs.message("summary")["broken_packs"], json["broken_packs"]);
    }
}

#[test]
fn what_is_missing_or_cut_short_is_found_without_reading() {
    let place = with_snapshots();
    let pack = packs(&place).swap_remove(0);
    let name = pack.file_name().expect("a name").to_str().expect("UTF-8");
    let bytes = fs::read(&pack).expect("read");
    overwrite(&pack, &bytes[..bytes.len() - 1]);
    let said = place.run(&["check"]);
    said.refused(1, &[name, "unexpected file size", "repository contains errors"]);
    fs::remove_file(&pack).expect("removed");
    place.run(&["check"]).refused(1, &[name, "does not exist", "Not whole are:"]);
    fs::write(&pack, &bytes).expect("written");
    place.done(&["check", "--read-data"]);

    let garbage = place.path(&format!("repo/data/cd/{}", "cd".repeat(32)));
    fs::write(&garbage, b"left over").expect("written");
    let said = place.done(&["check"]);
    assert!(said.out.contains("1 packs are named by no index"), "{said:?}");
    assert_eq!(place.done(&["check", "--json"]).message("summary")["suggest_prune"], true);
    fs::remove_file(garbage).expect("removed");

    let index = files(&place.path("repo/index")).swap_remove(0);
    let whole = fs::read(&index).expect("read");
    overwrite(&index, &whole[..whole.len() - 5]);
    place.run(&["check"]).refused(1, &["repair index"]);
    fs::remove_file(&index).expect("removed");
    place.run(&["check"]).refused(1, &["repository contains errors", "is in no index"]);
    fs::write(&index, &whole).expect("written");

    let snapshot = files(&place.path("repo/snapshots")).swap_remove(0);
    let whole = fs::read(&snapshot).expect("read");
    overwrite(&snapshot, &whole[1..]);
    let id = snapshot.file_name().expect("a name").to_str().expect("UTF-8");
    place.run(&["check"]).refused(1, &[id, "repair snapshots --forget"]);
}

#[test]
fn a_rolling_check_reads_what_became_due_since_the_last_one() {
    let place = with_snapshots();
    let count = packs(&place).len();
    let everything = format!("read {count} packs");
    let noted = || files(&place.path("home/.cache/restic/windlass-check"));
    // A day has gone by since the check that nobody knows of.
    let said = place.done(&["check", "--rolling", "1"]);
    assert!(said.out.contains(&everything) && said.out.contains("the share of a day"), "{said:?}");
    assert_eq!(noted().len(), 1);
    // In ten years nothing becomes due within a minute.
    let said = place.done(&["check", "--rolling", "3650"]);
    assert!(said.out.contains("read 0 packs") && said.out.contains("in the 0 hours"), "{said:?}");
    // What was noted is lost, in different ways.
    for garbage in ["", "{}", "{\"checked_until\":99999999999}", "no JSON"] {
        fs::write(&noted()[0], garbage).expect("written");
        let said = place.done(&["check", "--rolling", "1"]);
        assert!(said.out.contains(&everything), "{garbage}: {said:?}");
        assert!(said.err.contains("says nothing of the last check"), "{garbage}: {said:?}");
        assert_eq!(noted().len(), 1);
        let said = place.done(&["check", "--rolling", "3650"]);
        assert!(said.out.contains("read 0 packs") && said.err.is_empty(), "{said:?}");
    }
    // It came to its end a day ago, and finds what it reads damaged.
    fs::remove_file(&noted()[0]).expect("removed");
    let pack = packs(&place).swap_remove(0);
    let mut bytes = fs::read(&pack).expect("read");
    bytes[40] ^= 1;
    overwrite(&pack, &bytes);
    let name = pack.file_name().expect("a name").to_str().expect("UTF-8");
    let said = place.run(&["check", "--rolling", "1"]);
    said.refused(1, &["repository contains errors", name, "Not whole are:"]);
    assert_eq!(noted().len(), 1);
    let said = place.run(&["check", "--rolling", "1", "--no-cache"]);
    said.refused(1, &["no cache directory", name]);
    for args in [
        &["--rolling=0"][..],
        &["--rolling=3651"],
        &["--rolling=1", "--read-data"],
        &["--rolling=1", "latest"],
        &["--rolling=1", "--tag=first"],
    ] {
        place.run(&[&["check"], args].concat()).refused(1, &["--rolling"]);
    }
}
