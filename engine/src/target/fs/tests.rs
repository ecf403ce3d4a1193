use std::{
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink},
    path::Path,
};

use super::{
    metadata::{Before, Rules, Subject, apply, is_same},
    *,
};
use crate::{model::directory::Xattr, target::Metadata};

fn scratch() -> (tempfile::TempDir, Dir) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let dir = Dir::open_root(directory.path()).expect("open it");
    (directory, dir)
}

/// The numbers of whoever runs the tests, who may always give files to themselves.
fn metadata(mode: u32) -> Metadata {
    Metadata {
        mode,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mtime: (-5, 123_456_789),
        atime: (1_700_000_000, 7),
        xattrs: Vec::new(),
    }
}

const RULES: Rules<'static> = Rules { privileged: true, wants_xattr: &|_| true };

struct Keeping {
    kept: &'static [u8],
    removed: Vec<Vec<u8>>,
    failed: usize,
    dry: bool,
}

impl Remover for Keeping {
    fn may_remove(&mut self, path: &[u8]) -> bool {
        path != self.kept
    }
    fn removed(&mut self, path: &[u8], _kind: FileKind) {
        self.removed.push(path.to_vec());
    }
    fn failed(&mut self, _path: &[u8], _error: io::Error) {
        self.failed += 1;
    }
    fn is_stopped(&self) -> bool {
        false
    }
    fn is_dry(&self) -> bool {
        self.dry
    }
}

fn remove(dir: &Dir, kept: &'static [u8], dry: bool) -> (bool, Vec<Vec<u8>>) {
    let mut remover = Keeping { kept, removed: Vec::new(), failed: 0, dry };
    let gone = remove_tree(dir, b"d", &mut b"/d".to_vec(), &mut remover);
    assert_eq!(remover.failed, 0);
    (gone, remover.removed)
}

fn small_tree(root: &Path) {
    std::fs::create_dir_all(root.join("d/e")).unwrap();
    std::fs::write(root.join("d/e/f"), "f").unwrap();
    std::fs::write(root.join("outside"), "precious").unwrap();
    std::fs::create_dir(root.join("elsewhere")).unwrap();
    std::fs::write(root.join("elsewhere/g"), "precious").unwrap();
    symlink("../elsewhere", root.join("d/link")).unwrap();
}

#[test]
fn names_that_lead_elsewhere_are_refused_everywhere() {
    let (_root, dir) = scratch();
    for name in [&b""[..], b".", b"..", b"a/b", b"/etc", b"a\0b"] {
        assert!(!is_safe_name(name));
        assert!(make_directory(&dir, name).is_err());
        assert!(create_file(&dir, name, false).is_err());
        assert!(make_symlink(&dir, name, b"t").is_err());
        assert!(make_node(&dir, name, FileKind::Fifo, 0).is_err());
        assert!(link(&dir, name, &dir, b"x").is_err());
        assert!(remove_entry(&dir, name).is_err());
    }
    assert!(is_safe_name(b"..."));
}

#[test]
fn creating_does_not_take_over_or_follow_what_is_there() {
    let (root, dir) = scratch();
    std::fs::write(root.path().join("precious"), "old").unwrap();
    symlink("precious", root.path().join("link")).unwrap();
    symlink("nowhere", root.path().join("dangling")).unwrap();
    for name in [&b"precious"[..], b"link", b"dangling"] {
        assert!(create_file(&dir, name, false).is_err());
    }
    assert!(open_file(&dir, b"link").is_err());
    assert!(!root.path().join("nowhere").exists());
    assert_eq!(std::fs::read(root.path().join("precious")).unwrap(), b"old");
}

#[test]
fn a_pipe_in_a_files_place_is_noticed_and_not_waited_for() {
    let (root, dir) = scratch();
    make_node(&dir, b"pipe", FileKind::Fifo, 0).unwrap();
    assert!(root.path().join("pipe").metadata().unwrap().file_type().is_fifo());
    assert!(open_file(&dir, b"pipe").is_err());
}

#[test]
fn what_is_created_is_for_its_owner_alone() {
    let (root, dir) = scratch();
    create_file(&dir, b"f", false).unwrap();
    make_directory(&dir, b"d").unwrap();
    let mode = |name: &str| root.path().join(name).metadata().unwrap().mode() & 0o7777;
    assert_eq!((mode("f") & 0o077, mode("d") & 0o077), (0, 0));
}

#[test]
fn removing_a_tree_follows_no_link() {
    let (root, dir) = scratch();
    small_tree(root.path());
    let (gone, mut removed) = remove(&dir, b"", false);
    removed.sort();
    assert!(gone);
    assert_eq!(removed, [&b"/d"[..], b"/d/e", b"/d/e/f", b"/d/link"]);
    assert!(!root.path().join("d").exists());
    assert_eq!(std::fs::read(root.path().join("elsewhere/g")).unwrap(), b"precious");
}

#[test]
fn removing_keeps_what_it_is_told_to_and_the_way_there() {
    let (root, dir) = scratch();
    small_tree(root.path());
    let (gone, removed) = remove(&dir, b"/d/e/f", false);
    assert!(!gone);
    assert_eq!(removed, [b"/d/link"]);
    assert!(root.path().join("d/e/f").exists());
}

#[test]
fn a_dry_removal_names_everything_and_touches_nothing() {
    let (root, dir) = scratch();
    small_tree(root.path());
    let (_, removed) = remove(&dir, b"", true);
    assert!(removed.len() > 1);
    assert!(root.path().join("d/e/f").exists());
}

#[test]
fn all_metadata_comes_back_on_each_kind() {
    let (root, dir) = scratch();
    let file = create_file(&dir, b"file", false).unwrap();
    make_directory(&dir, b"dir").unwrap();
    make_symlink(&dir, b"link", b"nowhere").unwrap();
    make_node(&dir, b"pipe", FileKind::Fifo, 0).unwrap();
    let child = dir.open_child(b"dir").unwrap();
    let subjects = [
        (&b"file"[..], Subject::File(&file), 0o4751),
        (b"dir", Subject::Directory(&child), 0o3505),
        (b"link", Subject::Symlink(&dir, b"link"), 0o777),
        (b"pipe", Subject::Node(&dir, b"pipe"), 0o622),
    ];
    for (name, subject, mode) in subjects {
        let wanted = metadata(mode);
        let before = dir.stat(name).unwrap();
        assert!(!is_same(subject, &before, &wanted, &RULES).unwrap());
        assert_eq!(apply(subject, &wanted, Before::Nothing, &RULES).unwrap(), 0);
        let stat = dir.stat(name).unwrap();
        assert_eq!((stat.mode, stat.mtime), (mode, wanted.mtime), "{name:?}");
        assert!(is_same(subject, &stat, &wanted, &RULES).unwrap());
    }
    // The directory can be removed by whoever runs this.
    std::fs::set_permissions(root.path().join("dir"), PermissionsExt::from_mode(0o700)).unwrap();
}

#[test]
fn attributes_are_set_changed_and_removed_as_far_as_they_are_wanted() {
    let (_root, dir) = scratch();
    let file = create_file(&dir, b"file", false).unwrap();
    let set = |name: &[u8], value: &[u8]| {
        rustix::fs::fsetxattr(&file, name, value, rustix::fs::XattrFlags::empty())
    };
    if set(b"user.extra", b"1").is_err() {
        // This file system has no such attributes; others prove it.
        return;
    }
    set(b"user.changed", b"old").unwrap();
    set(b"user.not_ours", b"2").unwrap();
    let xattr = |name: &[u8], value: &[u8]| Xattr { name: name.into(), value: value.into() };
    let mut wanted = metadata(0o600);
    wanted.xattrs = vec![xattr(b"user.changed", b"new"), xattr(b"user.empty", b"")];
    let rules = Rules { privileged: true, wants_xattr: &|name| name != b"user.not_ours" };
    apply(Subject::File(&file), &wanted, Before::Unknown, &rules).unwrap();
    let mut found = dir.xattrs(b"file").found;
    found.retain(|(name, _)| name.starts_with(b"user."));
    found.sort();
    let expected: [(&[u8], &[u8]); 3] =
        [(b"user.changed", b"new"), (b"user.empty", b""), (b"user.not_ours", b"2")];
    let found: Vec<_> = found.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    assert_eq!(found, expected);
    let stat = dir.stat(b"file").unwrap();
    assert!(is_same(Subject::File(&file), &stat, &wanted, &rules).unwrap());
    wanted.xattrs[0].value = b"newer".as_slice().into();
    assert!(!is_same(Subject::File(&file), &stat, &wanted, &rules).unwrap());
}

#[test]
fn an_owner_that_cannot_be_put_back_takes_setuid_along() {
    let (_root, dir) = scratch();
    let file = create_file(&dir, b"file", false).unwrap();
    let mut wanted = metadata(0o4755);
    wanted.uid = u32::MAX;
    assert!(apply(Subject::File(&file), &wanted, Before::Nothing, &RULES).is_err());
    assert_eq!(dir.stat(b"file").unwrap().mode, 0o755);
}

#[test]
fn the_system_root_is_recognised_by_what_it_is() {
    let (_root, dir) = scratch();
    assert!(!is_system_root(&dir).unwrap());
    assert!(is_system_root(&Dir::open_root(Path::new("/tmp/..")).unwrap()).unwrap());
}
