//! What happens to what is in the target already.

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use windlass_engine::{
    filter::{PatternTexts, Selection},
    monitor::Action,
    restore::{Overwrite, Report},
};
use windlass_testkit::tree::{Options as TreeOptions, grow};

use super::{Notes, Stage, noise};

fn set_mtime(path: &Path, mtime: SystemTime) {
    File::options().write(true).open(path).unwrap().set_modified(mtime).unwrap();
}

#[test]
fn over_a_whole_tree_nothing_is_fetched_or_written() {
    let stage = Stage::new();
    grow(&stage.path("source"), &TreeOptions { entries: 300, ..TreeOptions::default() }).unwrap();
    let root = stage.back_up();
    let first = stage.restore_well(&root, stage.options());
    let report = stage.restore_well(&root, stage.options());
    assert_eq!((report.bytes_fetched, report.bytes_written), (0, 0));
    assert_eq!((report.files_restored, report.files_updated), (0, 0));
    assert_eq!((report.dirs_restored, report.others_restored), (0, 0));
    assert!(report.files_unchanged >= first.files_restored);
    assert_eq!(stage.differences(), []);
}

#[test]
fn over_a_spoiled_tree_all_comes_back() {
    for seed in 10..14 {
        let stage = Stage::new();
        let options = TreeOptions { seed, entries: 300, ..TreeOptions::default() };
        grow(&stage.path("source"), &options).unwrap();
        let root = stage.back_up();
        // Another tree with many of the same names, of other kinds and with other content.
        let options = TreeOptions { seed: seed + 1, entries: 300, ..TreeOptions::default() };
        grow(&stage.path("target"), &options).unwrap();
        let mut options = stage.options();
        (options.delete, options.allow_suspicious_delete) = (true, true);
        stage.restore_well(&root, options);
        assert_eq!(stage.differences(), [], "seed {seed}");
    }
}

#[test]
fn only_the_chunks_that_differ_are_fetched() {
    let stage = Stage::new();
    stage.write("large", noise(1, 30 << 20));
    let root = stage.back_up();
    stage.restore_well(&root, stage.options());
    let file = File::options().write(true).open(stage.target("large")).unwrap();
    file.write_all_at(b"spoiled", 12 << 20).unwrap();
    file.set_len(31 << 20).unwrap();
    drop(file);
    let mut options = stage.options();
    options.verify = true;
    let report = stage.restore_well(&root, options);
    assert_eq!(stage.differences(), []);
    assert!(report.bytes_fetched <= 9 << 20, "{}", report.bytes_fetched);
    assert_eq!(report.bytes_written + report.bytes_reused, 30 << 20);
    assert_eq!(report.files_updated, 1);
}

#[test]
fn a_file_of_another_name_is_replaced_and_not_written_through() {
    let stage = Stage::new();
    stage.write("file", "from the backup");
    let root = stage.back_up();
    fs::create_dir(stage.path("target")).unwrap();
    fs::write(stage.path("outside"), "precious content").unwrap();
    fs::hard_link(stage.path("outside"), stage.target("file")).unwrap();
    stage.restore_well(&root, stage.options());
    assert_eq!(stage.differences(), []);
    assert_eq!(fs::read(stage.path("outside")).unwrap(), b"precious content");
}

#[test]
fn a_file_of_another_name_keeps_its_metadata_even_if_the_content_is_equal() {
    let stage = Stage::new();
    stage.write("file", "the same");
    let root = stage.back_up();
    fs::create_dir(stage.path("target")).unwrap();
    fs::write(stage.path("outside"), "the same").unwrap();
    fs::set_permissions(stage.path("outside"), PermissionsExt::from_mode(0o4711)).unwrap();
    fs::hard_link(stage.path("outside"), stage.target("file")).unwrap();
    stage.restore_well(&root, stage.options());
    assert_eq!(stage.differences(), []);
    assert_eq!(stage.path("outside").metadata().unwrap().mode() & 0o7777, 0o4711);
}

#[test]
fn links_in_the_target_lead_nowhere() {
    let stage = Stage::new();
    for name in ["dir/file", "file", "link/inner"] {
        stage.write(name, name);
    }
    let root = stage.back_up();
    fs::create_dir_all(stage.path("elsewhere/dir")).unwrap();
    fs::write(stage.path("elsewhere/file"), "precious").unwrap();
    fs::create_dir(stage.path("target")).unwrap();
    symlink("../elsewhere/dir", stage.target("dir")).unwrap();
    symlink("../elsewhere/file", stage.target("file")).unwrap();
    symlink("/nonexistent", stage.target("link")).unwrap();
    stage.restore_well(&root, stage.options());
    assert_eq!(stage.differences(), []);
    assert_eq!(fs::read(stage.path("elsewhere/file")).unwrap(), b"precious");
    assert_eq!(fs::read_dir(stage.path("elsewhere/dir")).unwrap().count(), 0);
}

#[test]
fn the_way_to_the_target_may_lead_over_links() {
    let stage = Stage::new();
    stage.write("file", "x");
    let root = stage.back_up();
    fs::create_dir(stage.path("real")).unwrap();
    symlink("real", stage.path("target")).unwrap();
    stage.restore_well(&root, stage.options());
    assert_eq!(fs::read(stage.path("real/file")).unwrap(), b"x");
}

#[test]
fn a_full_directory_in_the_way_goes_only_when_mirroring() {
    let stage = Stage::new();
    stage.write("name", "a file");
    let root = stage.back_up();
    fs::create_dir_all(stage.target("name/inner")).unwrap();
    let report = stage.restore(&root, stage.options()).unwrap();
    assert_eq!(report.problem_count, 1);
    assert!(stage.target("name/inner").is_dir());
    let mut options = stage.options();
    options.delete = true;
    stage.restore_well(&root, options);
    assert_eq!(stage.differences(), []);
}

/// Restores over files that are older, newer, touched and missing, and tells what became of them.
fn check_policy(overwrite: Overwrite, expected: [(&str, Action); 4], content: [&str; 4]) -> Report {
    let stage = Stage::new();
    for name in ["missing", "newer", "older", "retimed"] {
        stage.write(name, "backup");
        let hour = Duration::from_secs(3600);
        set_mtime(&stage.path("source").join(name), SystemTime::now() - hour);
    }
    let root = stage.back_up();
    stage.restore_well(&root, stage.options());
    fs::remove_file(stage.target("missing")).unwrap();
    let hours = |hours: u64| Duration::from_secs(3600 * hours);
    fs::write(stage.target("newer"), "locals").unwrap();
    set_mtime(&stage.target("newer"), SystemTime::now());
    fs::write(stage.target("older"), "locals").unwrap();
    set_mtime(&stage.target("older"), SystemTime::now() - hours(2));
    let mtime = stage.target("retimed").metadata().unwrap().modified().unwrap();
    fs::write(stage.target("retimed"), "locals").unwrap();
    set_mtime(&stage.target("retimed"), mtime);
    let notes = Arc::new(Notes::default());
    let mut options = stage.options();
    options.overwrite = overwrite;
    let report = stage.watch(&root, options, notes.clone()).unwrap();
    assert_eq!(report.problem_count, 0);
    let expected = expected.map(|(name, action)| (format!("/{name}"), action));
    assert_eq!(notes.sorted(), expected);
    let names = ["missing", "newer", "older", "retimed"];
    let found = names.map(|name| fs::read_to_string(stage.target(name)).unwrap());
    assert_eq!(found, content);
    report
}

#[test]
fn always_overwrites_what_differs() {
    let updated = |name| (name, Action::Updated);
    check_policy(
        Overwrite::Always,
        [("missing", Action::Restored), updated("newer"), updated("older"), updated("retimed")],
        ["backup"; 4],
    );
}

#[test]
fn if_changed_trusts_time_and_size() {
    let (updated, unchanged) = (Action::Updated, Action::Unchanged);
    let expected = [
        ("missing", Action::Restored),
        ("newer", updated),
        ("older", updated),
        ("retimed", unchanged),
    ];
    check_policy(Overwrite::IfChanged, expected, ["backup", "backup", "backup", "locals"]);
}

#[test]
fn if_newer_keeps_what_is_as_new() {
    let (updated, skipped) = (Action::Updated, Action::Skipped);
    let expected = [
        ("missing", Action::Restored),
        ("newer", skipped),
        ("older", updated),
        ("retimed", skipped),
    ];
    let report =
        check_policy(Overwrite::IfNewer, expected, ["backup", "locals", "backup", "locals"]);
    assert_eq!(report.skipped, 2);
}

#[test]
fn never_keeps_everything_that_is_there() {
    let skipped = |name| (name, Action::Skipped);
    check_policy(
        Overwrite::Never,
        [("missing", Action::Restored), skipped("newer"), skipped("older"), skipped("retimed")],
        ["backup", "locals", "locals", "locals"],
    );
}

#[test]
fn hard_links_that_are_there_stay_one_file() {
    let stage = Stage::new();
    stage.write("a", "shared");
    fs::hard_link(stage.path("source/a"), stage.path("source/b")).unwrap();
    fs::hard_link(stage.path("source/a"), stage.path("source/c")).unwrap();
    let root = stage.back_up();
    stage.restore_well(&root, stage.options());
    assert_eq!(stage.differences(), []);
    let inode = stage.target("a").metadata().unwrap().ino();
    let report = stage.restore_well(&root, stage.options());
    assert_eq!((stage.differences(), report.files_unchanged), (vec![], 3));
    assert_eq!(stage.target("a").metadata().unwrap().ino(), inode);
    // One of them became a file of its own, with other content.
    fs::remove_file(stage.target("a")).unwrap();
    fs::write(stage.target("a"), "else").unwrap();
    stage.restore_well(&root, stage.options());
    assert_eq!(stage.differences(), []);
}

#[test]
fn a_file_in_the_place_of_an_unselected_directory_goes_only_when_needed() {
    let stage = Stage::new();
    stage.write("way/file", "x");
    let root = stage.back_up();
    fs::create_dir(stage.path("target")).unwrap();
    fs::write(stage.target("way"), "a file").unwrap();
    for (pattern, stays) in [("/way/other", true), ("/way/file", false)] {
        let include = PatternTexts { sensitive: vec![pattern.into()], ..PatternTexts::default() };
        let mut options = stage.options();
        options.selection = Selection::new(&include, &PatternTexts::default()).unwrap();
        stage.restore_well(&root, options);
        assert_eq!(stage.target("way").is_file(), stays);
    }
    assert_eq!(stage.differences(), []);
}
