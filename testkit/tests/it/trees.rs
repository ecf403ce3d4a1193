//! Random trees and their comparison.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink},
    path::Path,
};

use rustix::fs::{XattrFlags, lsetxattr};
use windlass_testkit::{
    compare::{Aspect, Difference, compare},
    tree::{Options, grow},
};

/// Two equal trees, of which the second is changed.
fn check_change(change: impl FnOnce(&Path), want: &[(&str, Aspect)]) {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let (left, right) = (scratch.path().join("left"), scratch.path().join("right"));
    for root in [&left, &right] {
        fs::create_dir_all(root.join("directory")).expect("made");
        fs::write(root.join("directory/file"), vec![7; 600_000]).expect("written");
        fs::hard_link(root.join("directory/file"), root.join("other name")).expect("linked");
        symlink("target", root.join("link")).expect("linked");
    }
    change(&right);
    let found: Vec<(String, Aspect)> = compare(&left, &right)
        .expect("compared")
        .into_iter()
        .filter(|difference| difference.aspect != Aspect::Mtime)
        .map(|Difference { path, aspect, .. }| (path.display().to_string(), aspect))
        .collect();
    let want: Vec<_> = want.iter().map(|(path, aspect)| ((*path).to_owned(), *aspect)).collect();
    assert_eq!(found, want);
}

#[test]
fn a_seed_always_grows_the_same_tree() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let tree = |name: &str, seed| {
        let root = scratch.path().join(name);
        grow(&root, &Options { seed, ..Options::default() }).expect("grown");
        root
    };
    let (left, right, other) = (tree("left", 5), tree("right", 5), tree("other", 6));
    let differences = compare(&left, &right).expect("compared");
    assert_eq!(differences, [], "{}", differences.first().expect("one"));
    assert!(compare(&left, &other).expect("compared").len() > 100);
}

#[test]
fn a_grown_tree_has_everything_that_is_hard() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    grow(scratch.path(), &Options { entries: 400, ..Options::default() }).expect("grown");
    let (mut links, mut pipes, mut hard, mut old, mut raw, mut sparse) = (0, 0, 0, 0, 0, 0);
    let mut pending = vec![scratch.path().to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).expect("listed") {
            let entry = entry.expect("an entry");
            let status = entry.metadata().expect("its status");
            links += usize::from(status.is_symlink());
            pipes += usize::from(status.file_type().is_fifo());
            hard += usize::from(status.is_file() && status.nlink() > 1);
            old += usize::from(status.mtime() < 0);
            raw += usize::from(entry.file_name().to_str().is_none());
            sparse += usize::from(status.is_file() && status.blocks() * 512 + 4096 < status.len());
            if status.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    let counts = [links, pipes, hard, old, raw, sparse];
    assert!(counts.iter().all(|count| *count > 2), "{counts:?}");
}

#[test]
fn equal_trees_have_no_difference() {
    check_change(|_| (), &[]);
}

#[test]
fn the_last_byte_and_the_size_are_compared() {
    let both = [("directory/file", Aspect::Content), ("other name", Aspect::Content)];
    check_change(
        |root| {
            let mut bytes = vec![7; 600_000];
            bytes[599_999] = 8;
            fs::write(root.join("other name"), bytes).expect("written");
        },
        &both,
    );
    check_change(|root| fs::write(root.join("other name"), "short").expect("written"), &both);
}

#[test]
fn missing_and_surplus_names_are_differences() {
    check_change(
        |root| {
            fs::remove_file(root.join("link")).expect("removed");
            fs::write(root.join("new"), "").expect("written");
        },
        &[("link", Aspect::Presence), ("new", Aspect::Presence)],
    );
}

#[test]
fn kinds_targets_modes_and_attributes_are_compared() {
    check_change(
        |root| {
            fs::remove_file(root.join("link")).expect("removed");
            fs::create_dir(root.join("link")).expect("made");
        },
        &[("link", Aspect::Kind)],
    );
    check_change(
        |root| {
            fs::remove_file(root.join("link")).expect("removed");
            symlink("elsewhere", root.join("link")).expect("linked");
        },
        &[("link", Aspect::Target)],
    );
    check_change(
        |root| {
            let mode = fs::Permissions::from_mode(0o1700);
            fs::set_permissions(root.join("directory"), mode).expect("set");
        },
        &[("directory", Aspect::Mode)],
    );
    let scratch = tempfile::tempdir().expect("a temporary directory");
    if lsetxattr(scratch.path(), "user.a", b"1", XattrFlags::empty()).is_ok() {
        check_change(
            |root| {
                let path = root.join("directory");
                lsetxattr(path, "user.a", b"", XattrFlags::empty()).expect("set");
            },
            &[("directory", Aspect::Xattrs)],
        );
    }
}

#[test]
fn a_copy_in_place_of_a_hard_link_is_a_difference() {
    check_change(
        |root| {
            fs::remove_file(root.join("other name")).expect("removed");
            fs::copy(root.join("directory/file"), root.join("other name")).expect("copied");
        },
        &[("directory/file", Aspect::HardLinks), ("other name", Aspect::HardLinks)],
    );
}

#[test]
fn times_are_compared_to_the_nanosecond() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let (left, right) = (scratch.path().join("left"), scratch.path().join("right"));
    for (root, nanos) in [(&left, 1), (&right, 2)] {
        let file = fs::File::create(root).expect("created");
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(nanos);
        file.set_modified(time).expect("set");
    }
    let found = compare(&left, &right).expect("compared");
    assert_eq!(found.iter().map(|found| found.aspect).collect::<Vec<_>>(), [Aspect::Mtime]);
}
