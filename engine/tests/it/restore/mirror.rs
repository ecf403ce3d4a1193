//! Removing what the snapshot does not have.

use std::{fs, os::unix::fs::symlink};

use windlass_engine::{
    filter::{PatternTexts, Selection},
    restore::{Options, RestoreError},
};

use super::Stage;

fn mirrored(stage: &Stage) -> Options {
    let mut options = stage.options();
    options.delete = true;
    options
}

fn excluding(patterns: &[&str]) -> Selection {
    let sensitive = patterns.iter().map(|pattern| pattern.as_bytes().to_vec()).collect();
    let exclude = PatternTexts { sensitive, ..PatternTexts::default() };
    Selection::new(&PatternTexts::default(), &exclude).expect("legal patterns")
}

fn add(stage: &Stage, name: &str) {
    let path = stage.target(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, name).unwrap();
}

#[test]
fn extras_go_and_links_are_not_followed() {
    let stage = Stage::new();
    stage.write("kept/file", "x");
    let root = stage.back_up();
    stage.restore_well(&root, stage.options());
    add(&stage, "kept/extra");
    add(&stage, "deep/er/extra");
    fs::create_dir(stage.path("elsewhere")).unwrap();
    fs::write(stage.path("elsewhere/precious"), "x").unwrap();
    symlink("../elsewhere", stage.target("link")).unwrap();
    let report = stage.restore_well(&root, mirrored(&stage));
    assert_eq!(stage.differences(), []);
    assert_eq!(report.deleted, 5);
    assert!(stage.path("elsewhere/precious").exists());
}

#[test]
fn without_mirroring_extras_stay() {
    let stage = Stage::new();
    stage.write("file", "x");
    let root = stage.back_up();
    add(&stage, "extra");
    stage.restore_well(&root, stage.options());
    assert!(stage.target("extra").exists());
}

#[test]
fn what_is_not_selected_stays_with_the_way_there() {
    let stage = Stage::new();
    stage.write("file", "x");
    let root = stage.back_up();
    stage.restore_well(&root, stage.options());
    for name in ["extra", "dir/extra", "dir/a.keep", "b.keep"] {
        add(&stage, name);
    }
    let mut options = mirrored(&stage);
    options.selection = excluding(&["*.keep"]);
    stage.restore_well(&root, options);
    assert!(stage.target("dir/a.keep").exists() && stage.target("b.keep").exists());
    assert!(!stage.target("dir/extra").exists() && !stage.target("extra").exists());
}

#[test]
fn lost_and_found_stays_at_the_top_only() {
    let stage = Stage::new();
    stage.write("dir/file", "x");
    let root = stage.back_up();
    stage.restore_well(&root, stage.options());
    add(&stage, "lost+found/inode");
    add(&stage, "dir/lost+found/inode");
    stage.restore_well(&root, mirrored(&stage));
    assert!(stage.target("lost+found/inode").exists());
    assert!(!stage.target("dir/lost+found").exists());
}

#[test]
fn an_empty_snapshot_deletes_only_on_demand() {
    let stage = Stage::new();
    fs::create_dir_all(stage.path("source")).unwrap();
    let root = stage.back_up();
    add(&stage, "precious");
    let refused = stage.restore(&root, mirrored(&stage));
    assert!(matches!(refused, Err(RestoreError::SuspiciousDelete { .. })), "{refused:?}");
    assert!(stage.target("precious").exists());
    let mut options = mirrored(&stage);
    options.allow_suspicious_delete = true;
    stage.restore_well(&root, options);
    assert!(!stage.target("precious").exists());
}

#[test]
fn a_snapshot_of_something_else_deletes_only_on_demand() {
    let stage = Stage::new();
    stage.write("unrelated", "x");
    let root = stage.back_up();
    for name in ["a", "b", "c", "d"] {
        add(&stage, name);
    }
    let refused = stage.restore(&root, mirrored(&stage));
    assert!(matches!(refused, Err(RestoreError::SuspiciousDelete { .. })), "{refused:?}");
    assert!(stage.target("a").exists() && !stage.target("unrelated").exists());
}

#[test]
fn the_whole_system_is_never_mirrored_onto() {
    let stage = Stage::new();
    stage.write("file", "x");
    let root = stage.back_up();
    let mut options = mirrored(&stage);
    (options.target, options.dry_run) = ("/tmp/..".into(), true);
    let refused = stage.restore(&root, options);
    assert!(matches!(refused, Err(RestoreError::DeleteFromRoot)), "{refused:?}");
}

#[test]
fn what_a_file_system_mounted_below_the_target_keeps_for_itself_stays() {
    let stage = Stage::new();
    stage.write("volume/file", "x");
    let root = stage.back_up();
    fs::create_dir_all(stage.target("volume")).unwrap();
    // Only root may mount.
    let at = stage.target("volume");
    let flags = rustix::mount::MountFlags::empty();
    if rustix::mount::mount("none", &at, "tmpfs", flags, Some(c"size=1m")).is_err() {
        return;
    }
    for name in ["volume/lost+found/1", "volume/extra", "lost+found/2", "other/lost+found/3"] {
        add(&stage, name);
    }
    let report = stage.restore(&root, mirrored(&stage));
    let kept = ["volume/lost+found/1", "volume/extra", "lost+found/2", "other/lost+found/3"]
        .map(|name| stage.target(name).exists());
    rustix::mount::unmount(&at, rustix::mount::UnmountFlags::DETACH).unwrap();
    assert_eq!(report.unwrap().problems, []);
    assert_eq!(kept, [true, false, true, false]);
}
