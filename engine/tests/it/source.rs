//! Reading directories, names, attributes and holes of a real file system.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, MetadataExt, PermissionsExt, symlink},
    },
    path::Path,
};

use rustix::{
    fs::{CWD, Mode, Timespec, Timestamps, XattrFlags, lgetxattr, lsetxattr, mkfifoat, utimensat},
    io::Errno,
};
use windlass_engine::source::{
    FileKind, Stat,
    fs::{Dir, Names, next_data, stat_file},
};
use windlass_testkit::tree::{Options, grow};

fn scratch() -> (tempfile::TempDir, Dir) {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let dir = Dir::open_root(scratch.path()).expect("opened");
    (scratch, dir)
}

fn names(dir: &Dir) -> Vec<Vec<u8>> {
    let mut names = Names::new();
    dir.entries(&mut names).expect("listed");
    names.sort();
    names.iter().map(|name| name.bytes.to_vec()).collect()
}

fn errno<T>(result: io::Result<T>) -> Errno {
    match result {
        Ok(_) => panic!("expected an error"),
        Err(error) => Errno::from_io_error(&error).expect("the system's number"),
    }
}

#[test]
fn names_are_raw_bytes_in_byte_order() {
    let (scratch, dir) = scratch();
    let nasty: [&[u8]; 7] = [b"\n", b" ", b"-rf", b".hidden", b"a\xff\xfeb", b"\xc3\xa9", b"~"];
    for name in nasty {
        fs::write(scratch.path().join(OsStr::from_bytes(name)), name).expect("written");
    }
    let mut want: Vec<Vec<u8>> = nasty.iter().map(|name| name.to_vec()).collect();
    want.sort();
    assert_eq!(names(&dir), want);
    assert_eq!(names(&dir), want, "a second reading starts again");
    for name in nasty {
        let (file, stat) = dir.open_file(name).expect("opened");
        assert_eq!(stat.size, name.len() as u64);
        assert_eq!(io::read_to_string(file).unwrap_or_default().is_empty(), name.contains(&0xff));
    }
}

#[test]
fn a_nasty_tree_is_read_whole() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    grow(scratch.path(), &Options::default()).expect("grown");
    let root = Dir::open_root(scratch.path()).expect("opened");
    assert_eq!(read_whole(&root, scratch.path()), names_below(scratch.path()));
}

/// Reads everything through the engine and compares it with what paths give.
fn read_whole(dir: &Dir, path: &Path) -> usize {
    let mut names = Names::new();
    dir.entries(&mut names).expect("listed");
    let mut count = names.len();
    for name in names.iter() {
        let path = path.join(OsStr::from_bytes(name.bytes));
        let stat = dir.stat(name.bytes).expect("stat");
        check_stat(&stat, &path);
        for (attribute, value) in dir.xattrs(name.bytes).found {
            let mut want = vec![0; 65536];
            let len = lgetxattr(&path, attribute.as_slice(), &mut want[..]).expect("got");
            assert_eq!(value, want[..len]);
        }
        match stat.kind {
            FileKind::File => {
                let mut bytes = Vec::new();
                let (mut file, opened) = dir.open_file(name.bytes).expect("opened");
                assert_eq!((opened.size, opened.mtime), (stat.size, stat.mtime));
                file.read_to_end(&mut bytes).expect("read");
                assert!(bytes == fs::read(&path).expect("read"));
            }
            FileKind::Directory => {
                count += read_whole(&dir.open_child(name.bytes).expect("opened"), &path);
            }
            FileKind::Symlink => {
                let want = fs::read_link(&path).expect("a link").into_os_string();
                assert_eq!(dir.read_link(name.bytes).expect("read"), want.as_bytes());
            }
            _ => {}
        }
    }
    count
}

fn names_below(path: &Path) -> usize {
    let entries = fs::read_dir(path).expect("listed").map(|entry| entry.expect("an entry"));
    entries
        .map(|entry| {
            let is_dir = entry.file_type().expect("its type").is_dir();
            1 + if is_dir { names_below(&entry.path()) } else { 0 }
        })
        .sum()
}

#[test]
fn a_directory_larger_than_the_buffer_is_read_whole() {
    let (scratch, dir) = scratch();
    let mut want = Vec::new();
    for number in 0..1500 {
        let name = format!("{number:05}-{}", "x".repeat(150));
        File::create(scratch.path().join(&name)).expect("created");
        want.push(name.into_bytes());
    }
    assert_eq!(names(&dir), want);
}

#[test]
fn status_says_what_the_system_says() {
    let (scratch, dir) = scratch();
    let path = scratch.path();
    fs::write(path.join("file"), "12345").expect("written");
    fs::set_permissions(path.join("file"), fs::Permissions::from_mode(0o4751)).expect("set");
    fs::hard_link(path.join("file"), path.join("other name")).expect("linked");
    fs::create_dir(path.join("directory")).expect("made");
    symlink(OsStr::from_bytes(b"to \xff nowhere"), path.join("link")).expect("linked");
    mkfifoat(CWD, path.join("pipe"), Mode::RUSR).expect("made");
    let old = Timespec { tv_sec: -86_400 * 365 * 30, tv_nsec: 123_456_789 };
    let times = Timestamps { last_access: old, last_modification: old };
    utimensat(CWD, path.join("file"), &times, rustix::fs::AtFlags::empty()).expect("set");

    let mut listed = Names::new();
    dir.entries(&mut listed).expect("listed");
    assert_eq!(listed.len(), 5);
    for name in listed.iter() {
        let stat = dir.stat(name.bytes).expect("stat");
        check_stat(&stat, &path.join(OsStr::from_bytes(name.bytes)));
        assert_eq!(name.inode, stat.inode);
        assert!(name.kind.is_none_or(|kind| kind == stat.kind));
    }
    let stat = dir.stat(b"file").expect("stat");
    assert_eq!((stat.kind, stat.mode, stat.links), (FileKind::File, 0o4751, 2));
    assert_eq!(stat.mtime, (old.tv_sec, 123_456_789));
    assert_eq!(dir.stat(b"link").expect("stat").kind, FileKind::Symlink);
    assert_eq!(dir.stat(b"pipe").expect("stat").kind, FileKind::Fifo);
    assert_eq!(dir.read_link(b"link").expect("read"), b"to \xff nowhere");
    check_stat(&dir.stat_self().expect("stat"), path);
    check_stat(&Dir::open_root(Path::new("/dev")).expect("opened").stat(b"null").expect("stat"), {
        Path::new("/dev/null")
    });
}

fn check_stat(stat: &Stat, path: &Path) {
    let want = fs::symlink_metadata(path).expect("metadata");
    assert_eq!(stat.mode, want.mode() & 0o7777);
    assert_eq!((stat.uid, stat.gid), (want.uid(), want.gid()));
    assert_eq!((stat.size, stat.allocated), (want.size(), want.blocks() * 512));
    assert_eq!((stat.mtime.0, i64::from(stat.mtime.1)), (want.mtime(), want.mtime_nsec()));
    assert_eq!((stat.ctime.0, i64::from(stat.ctime.1)), (want.ctime(), want.ctime_nsec()));
    assert_eq!((stat.device, stat.inode, stat.rdev), (want.dev(), want.ino(), want.rdev()));
    assert_eq!(stat.links, want.nlink());
    assert_eq!(stat.kind == FileKind::Directory, want.is_dir());
}

#[test]
fn links_are_never_followed_below_the_root() {
    let (scratch, dir) = scratch();
    fs::create_dir(scratch.path().join("real")).expect("made");
    fs::write(scratch.path().join("real/file"), "x").expect("written");
    symlink("real", scratch.path().join("link")).expect("linked");
    symlink("real/file", scratch.path().join("file link")).expect("linked");
    assert_eq!(names(&dir.open_child(b"real").expect("opened")), [b"file"]);
    assert_eq!(errno(dir.open_child(b"link")), Errno::NOTDIR);
    assert_eq!(errno(dir.open_file(b"file link")), Errno::LOOP);
    assert_eq!(names(&Dir::open_root(&scratch.path().join("link")).expect("opened")), [b"file"]);
}

#[test]
fn what_is_not_a_file_is_not_opened_and_a_pipe_does_not_hang() {
    let (scratch, dir) = scratch();
    mkfifoat(CWD, scratch.path().join("pipe"), Mode::RUSR).expect("made");
    fs::create_dir(scratch.path().join("directory")).expect("made");
    assert_eq!(errno(dir.open_file(b"pipe")), Errno::INVAL);
    assert_eq!(errno(dir.open_file(b"directory")), Errno::INVAL);
    assert_eq!(errno(dir.open_child(b"pipe")), Errno::NOTDIR);
}

#[test]
fn what_vanished_is_told_from_what_is_forbidden() {
    let (scratch, dir) = scratch();
    assert_eq!(errno(dir.stat(b"gone")), Errno::NOENT);
    assert_eq!(errno(dir.open_file(b"gone")), Errno::NOENT);
    assert_eq!(errno(dir.open_child(b"gone")), Errno::NOENT);
    assert_eq!(errno(dir.xattrs(b"gone").error.map_or(Ok(()), Err)), Errno::NOENT);
    assert_eq!(errno(dir.read_link(b"gone")), Errno::NOENT);
    if !rustix::process::geteuid().is_root() {
        fs::write(scratch.path().join("secret"), "x").expect("written");
        let none = fs::Permissions::from_mode(0o000);
        fs::set_permissions(scratch.path().join("secret"), none).expect("set");
        assert_eq!(errno(dir.open_file(b"secret")), Errno::ACCESS);
    }
}

#[test]
fn attributes_come_whole_and_in_listing_order() {
    let (scratch, dir) = scratch();
    let path = scratch.path().join("file");
    fs::write(&path, "x").expect("written");
    symlink("file", scratch.path().join("link")).expect("linked");
    fs::create_dir(scratch.path().join("directory")).expect("made");
    assert_eq!(dir.xattrs(b"file").found, []);
    let set =
        |path: &Path, name: &str, value: &[u8]| lsetxattr(path, name, value, XattrFlags::empty());
    let large = vec![b'v'; 3000];
    if set(&path, "user.b", b"first") == Err(Errno::OPNOTSUPP) {
        return;
    }
    set(&path, "user.a", &[]).expect("set");
    set(&path, "user.large", &large).expect("set");
    set(&scratch.path().join("directory"), "user.d", b"\0\xff").expect("set");

    let mut found = dir.xattrs(b"file").found;
    let (opened, _) = dir.open_file(b"file").expect("opened");
    let mut order = vec![0; 4096];
    let len = rustix::fs::flistxattr(&opened, &mut order[..]).expect("listed");
    let order: Vec<&[u8]> = order[..len].split(|byte| *byte == 0).collect();
    let listed: Vec<&[u8]> = found.iter().map(|(name, _)| name.as_slice()).collect();
    assert_eq!(listed, order[..order.len() - 1]);
    found.sort();
    let want = [(b"user.a".to_vec(), vec![]), (b"user.b".to_vec(), b"first".to_vec())];
    assert_eq!(found[..2], want);
    assert_eq!(found[2], (b"user.large".to_vec(), large));
    assert_eq!(dir.xattrs(b"link").found, [], "those of the link, not of its target");
    let want = [(b"user.d".to_vec(), b"\0\xff".to_vec())];
    assert_eq!(dir.xattrs(b"directory").found, want);
    let child = dir.open_child(b"directory").expect("opened");
    assert_eq!(child.xattrs_self().found, want);
}

#[test]
fn data_is_found_between_holes() {
    const MIB: u64 = 1 << 20;
    let (scratch, dir) = scratch();
    let file = File::create(scratch.path().join("sparse")).expect("created");
    file.set_len(10 * MIB).expect("grown");
    file.write_all_at(&[1; 4096], 2 * MIB).expect("written");
    file.write_all_at(&[2; 4096], 7 * MIB).expect("written");
    file.sync_all().expect("synced");
    let (file, stat) = dir.open_file(b"sparse").expect("opened");
    assert_eq!(stat_file(&file).expect("stat").size, 10 * MIB);

    let mut covered = vec![false; usize::try_from(10 * MIB).expect("small")];
    let mut from = 0;
    while let Some(data) = next_data(&file, from, stat.size).expect("sought") {
        assert!(data.start >= from && data.end > data.start && data.end <= stat.size);
        for at in data.clone() {
            covered[usize::try_from(at).expect("small")] = true;
        }
        from = data.end;
    }
    for at in [2 * MIB, 2 * MIB + 4095, 7 * MIB, 7 * MIB + 4095] {
        assert!(covered[usize::try_from(at).expect("small")], "{at}");
    }
    if stat.may_have_holes() {
        assert!(covered.iter().filter(|covered| **covered).count() < 5 << 20);
    }
    assert_eq!(next_data(&file, 10 * MIB, stat.size).expect("sought"), None);
    fs::write(scratch.path().join("empty"), "").expect("written");
    let (empty, _) = dir.open_file(b"empty").expect("opened");
    assert_eq!(next_data(&empty, 0, 0).expect("sought"), None);
}
