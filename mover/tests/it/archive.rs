//! Archives of everything a file system can hold, beside the ones that the real restic writes.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    io::Read,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::{PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    process::Command,
};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

use crate::{
    place::{PASSWORD, Place, Said},
    restic::there_is_restic_as_documented,
};

/// Read and write for the owner, read for user 1000, under a mask.
const ACCESS_LIST: [u8; 44] = [
    2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 232, 3, 0, 0, 4, 0, 4, 0, 255, 255,
    255, 255, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 4, 0, 255, 255, 255, 255,
];

fn mtime(path: &Path, seconds: i64, nanos: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("a time");
}

/// Names, targets, modes, times and attributes that plain headers cannot hold.
fn awkward(place: &Place) {
    let source = place.path("src");
    let write = |name: &[u8], content: &[u8]| -> PathBuf {
        let path = source.join(OsStr::from_bytes(name));
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(&path, content).expect("written");
        path
    };
    let long = "l".repeat(200);
    for name in [
        long.as_bytes(),
        [&[b'm'; 200][..], b"/", long.as_bytes(), b"/", &[b'x'; 100]].concat().as_slice(),
        "ümläut/日本語".as_bytes(),
        b"new\nline",
        b"back\\slash",
        b"..\\up",
        b" spaces ",
        b"-dash",
        b"C:drive",
        &[b'h'; 95],
        &[b'h'; 96],
        &[b'h'; 97],
    ] {
        write(name, name);
    }
    write(b"empty", b"");
    write(b"block", &[1; 512]);
    fs::hard_link(place.path("src/a"), place.path("src/z-linked")).expect("linked");
    symlink("a", source.join("link")).expect("a link");
    symlink("t".repeat(300), source.join("long-link")).expect("a link");
    symlink("zürich", source.join("named-link")).expect("a link");
    for (name, seconds, nanos) in
        [("t1901", -2_177_452_800, 0), ("t1969", -1, 250_000_000), ("t2300", 10_413_792_000, 1)]
    {
        mtime(&write(name.as_bytes(), b"t"), seconds, nanos);
    }
    for (name, mode) in [("setuid", 0o4755), ("setgid", 0o2751), ("none", 0)] {
        let path = write(name.as_bytes(), b"m");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    }
    fs::create_dir(source.join("sticky")).expect("made");
    fs::set_permissions(source.join("sticky"), fs::Permissions::from_mode(0o1777)).expect("a mode");
    // Not directly in a directory that is dumped: restic makes an empty file of it there.
    fs::create_dir(source.join("pipes")).expect("made");
    let pipe = source.join("pipes/fifo");
    rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).expect("a pipe");
    let attributed = write(b"attributed", b"x");
    let set = |name: &str, value: &[u8]| {
        rustix::fs::setxattr(&attributed, name, value, XattrFlags::empty()).is_ok()
    };
    if set("user.text", b"value") {
        assert!(set("user.binary", b"a\0b\n\xff=") && set("user.empty", b""));
        set("system.posix_acl_access", &ACCESS_LIST);
    }
    if rustix::process::geteuid().is_root() {
        let owned = write(b"owned", b"o");
        std::os::unix::fs::chown(&owned, Some(3_000_000), Some(2_147_483_647)).expect("given");
    }
}

/// What an archive says of one member.
#[derive(Debug, PartialEq, Eq)]
struct Member {
    kind: u8,
    mode: u32,
    owner: (u64, u64, String, String),
    target: Vec<u8>,
    attributes: BTreeMap<String, Vec<u8>>,
    content: Vec<u8>,
}

type Members = BTreeMap<Vec<u8>, (Member, i64)>;

const BLOCK: usize = 512;

/// Reads an archive by the letter of the format: what reads archives in passing knows no records
/// with line breaks in them.
fn members(tar: &[u8]) -> Members {
    let mut found = Members::new();
    let mut records = BTreeMap::new();
    let mut at = 0;
    while let Some(header) = tar.get(at..at + BLOCK).filter(|header| header[0] != 0) {
        let text = |from: usize, len: usize| {
            let field = &header[from..from + len];
            let end = field.iter().position(|byte| *byte == 0).unwrap_or(len);
            field[..end].to_vec()
        };
        let number = |from: usize, len: usize| {
            let digits = String::from_utf8(text(from, len)).expect("ASCII");
            u64::from_str_radix(digits.trim(), 8).unwrap_or_else(|_| panic!("octal: {digits:?}"))
        };
        let size = number(124, 12);
        at += BLOCK;
        let content = tar[at..at + size as usize].to_vec();
        at += content.len().next_multiple_of(BLOCK);
        let kind = header[156];
        if kind == b'x' {
            records = pax(&content);
            continue;
        }
        let record = |key: &str| records.get(key).cloned();
        let decimal = |key: &str| {
            record(key).map(|value| {
                String::from_utf8(value).expect("ASCII").parse::<f64>().expect("a number")
            })
        };
        let short = match text(345, 155).as_slice() {
            [] => text(0, 100),
            prefix => [prefix, b"/", &text(0, 100)].concat(),
        };
        let owner = |key: &str, from: usize| decimal(key).map_or(number(from, 8), |it| it as u64);
        let name = |key: &str, from: usize| {
            String::from_utf8(record(key).unwrap_or_else(|| text(from, 32))).expect("UTF-8")
        };
        let attributes =
            records.iter().filter(|(key, _)| key.starts_with("SCHILY.")).map(clone).collect();
        let member = Member {
            kind,
            mode: number(100, 8) as u32,
            owner: (owner("uid", 108), owner("gid", 116), name("uname", 265), name("gname", 297)),
            target: record("linkpath").unwrap_or_else(|| text(157, 100)),
            attributes,
            content,
        };
        let time = decimal("mtime").map_or_else(|| number(136, 12) as i64, |it| it.floor() as i64);
        let path = record("path").unwrap_or(short);
        assert!(found.insert(path, (member, time)).is_none(), "twice in one archive");
        records.clear();
    }
    found
}

fn clone((key, value): (&String, &Vec<u8>)) -> (String, Vec<u8>) {
    (key.clone(), value.clone())
}

/// Records: their length in decimal, a space, key, `=`, value, line break.
fn pax(mut records: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    while !records.is_empty() {
        let space = records.iter().position(|byte| *byte == b' ').expect("a space");
        let len = str::from_utf8(&records[..space]).expect("ASCII").parse().expect("a length");
        let (record, rest) = records.split_at(len);
        let record = record[space + 1..].strip_suffix(b"\n").expect("a line break");
        let equals = record.iter().position(|byte| *byte == b'=').expect("an equals sign");
        let key = String::from_utf8(record[..equals].to_vec()).expect("UTF-8");
        found.insert(key, record[equals + 1..].to_vec());
        records = rest;
    }
    found
}

fn theirs(place: &Place, args: &[&str]) -> Vec<u8> {
    let mut command = Command::new("restic");
    command.current_dir(place.dir.path()).env("RESTIC_PASSWORD", PASSWORD);
    let output = command.args(["-r", "repo", "--no-cache", "--no-lock"]).args(args).output();
    let output = output.expect("restic runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn ours(place: &Place, args: &[&str]) -> Vec<u8> {
    let output = place.command(args).output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn members_of_a_tar_are_those_that_restic_writes() {
    if !there_is_restic_as_documented() {
        return;
    }
    let place = Place::with_repository();
    awkward(&place);
    place.done(&["backup", "src"]);
    for args in
        [&["dump", "latest", "/"][..], &["dump", "latest", "/src"], &["dump", "latest:/src", "/"]]
    {
        let (ours, theirs) = (members(&ours(&place, args)), members(&theirs(&place, args)));
        let names = |members: &Members| members.keys().map(|it| lossy(it)).collect::<Vec<_>>();
        assert_eq!(names(&ours), names(&theirs), "{args:?}");
        for (path, (ours, our_time)) in &ours {
            let (theirs, their_time) = &theirs[path];
            assert_eq!(ours, theirs, "{args:?} {}", lossy(path));
            // restic keeps whole seconds, the nearest.
            assert!((our_time - their_time).abs() <= 1, "{} {our_time} {their_time}", lossy(path));
        }
        assert!(ours.len() > 30, "{}", ours.len());
    }
}

#[test]
fn names_that_are_no_text_keep_their_bytes_in_a_tar() {
    let place = Place::with_repository();
    let name = OsStr::from_bytes(b"src/not\xfftext");
    fs::write(place.dir.path().join(name), "x").expect("written");
    let target = OsStr::from_bytes(b"to\xfe");
    symlink(target, place.path("src/raw-link")).expect("a link");
    place.done(&["backup", "src"]);
    let members = members(&ours(&place, &["dump", "latest", "/"]));
    assert_eq!(members[name.as_bytes()].0.content, b"x");
    assert_eq!(members[b"src/raw-link".as_slice()].0.target, target.as_bytes());
    // And by its own name.
    let path = std::ffi::OsString::from_vec([b"/", name.as_bytes()].concat());
    let args = [OsStr::new("dump"), OsStr::new("latest"), &path];
    assert_eq!(Said::of(place.command(&args).stdin(std::process::Stdio::null())).out, "x");
}

#[test]
fn members_of_a_zip_are_those_that_restic_writes() {
    if !there_is_restic_as_documented() {
        return;
    }
    let place = Place::with_repository();
    awkward(&place);
    // Would lead out of the directory where a program of Windows unpacks it.
    fs::remove_file(place.path("src/..\\up")).expect("removed");
    place.done(&["backup", "src"]);
    let args = ["dump", "latest", "/", "--archive=zip"];
    let files = [("ours.zip", ours(&place, &args)), ("theirs.zip", theirs(&place, &args))];
    let [ours, theirs] = files.map(|(name, bytes)| {
        fs::write(place.path(name), bytes).expect("written");
        let file = File::open(place.path(name)).expect("a file");
        let mut archive = zip::ZipArchive::new(file).expect("an archive");
        let mut found = BTreeMap::new();
        for at in 0..archive.len() {
            let mut entry = archive.by_index(at).expect("a member");
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("content");
            found.insert(entry.name_raw().to_vec(), (entry.unix_mode(), content));
        }
        found
    });
    for (path, member) in &theirs {
        assert_eq!(ours.get(path), Some(member), "{}", lossy(path));
    }
    assert_eq!(ours.len(), theirs.len());
}

fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
