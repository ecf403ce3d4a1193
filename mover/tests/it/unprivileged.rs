//! Restores by someone who may not give files away, backups by someone who may not read all.

use std::{
    ffi::CString,
    fs::{self, Permissions},
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, chown, symlink},
    },
    path::Path,
    process::Command,
};

use crate::{
    place::{NOBODY, PASSWORD, Place, Said, skipped},
    restic::there_is_restic,
};

/// What root can make and nobody else can make again: owners, devices, attributes of the system.
fn foreign(place: &Place, with_device: bool) {
    chown(place.path("src/a"), Some(1234), Some(1235)).expect("chown");
    chown(place.path("src/d"), Some(1234), Some(1235)).expect("chown");
    fs::set_permissions(place.path("src/a"), Permissions::from_mode(0o4755)).expect("chmod");
    symlink("a", place.path("src/link")).expect("a link");
    if with_device {
        let path = CString::new(place.path("src/null").as_os_str().as_bytes()).expect("a path");
        let (kind, mode) = (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0x103).expect("a device");
    }
}

#[test]
fn files_arrive_and_what_was_not_possible_is_said_once() {
    if !rustix::process::geteuid().is_root() {
        skipped("only root can back up what belongs to several users");
        return;
    }
    for with_device in [false, true] {
        let place = Place::with_repository();
        foreign(&place, with_device);
        place.done(&["backup", "src"]);
        let said = place.run_as_nobody(&["restore", "latest", "--target=out"]);
        // Owners can be done without; what is not there at all is missing.
        match with_device {
            false => assert_eq!(said.code, Some(0), "{said:?}"),
            true => said.refused(1, &["/src/null: Operation not permitted", "There was 1 error"]),
        }
        for name in ["a", "d/b"] {
            let [was, is] = ["src", "out/src"].map(|top| fs::read(place.path(top).join(name)));
            assert_eq!(was.expect("was there"), is.expect("is there"), "{name}");
        }
        assert_eq!(fs::read_link(place.path("out/src/link")).expect("a link").as_os_str(), "a");
        let meta = fs::metadata(place.path("out/src/a")).expect("restored");
        assert_eq!((meta.uid(), meta.gid()), (NOBODY, NOBODY));
        assert_eq!(meta.permissions().mode() & 0o777, 0o755);
        assert_eq!(meta.mtime(), fs::metadata(place.path("src/a")).expect("there").mtime());
        let told = said.out.lines().chain(said.err.lines());
        let told: Vec<&str> = told.filter(|line| line.contains("left out for lack of")).collect();
        assert_eq!(told.len(), 1, "{said:?}");
        assert!(!place.path("out/src/null").exists());

        if there_is_restic() {
            let mut restic = Command::new("restic");
            restic.current_dir(place.dir.path()).env("RESTIC_PASSWORD", PASSWORD);
            restic.args(["-r", "repo", "--no-cache", "--no-lock", "restore", "latest"]);
            restic.args(["--target", "theirs"]);
            let theirs = Said::of(place.as_nobody(&mut restic));
            assert_eq!(said.code, theirs.code, "{theirs:?}");
        }
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_kept() {
    if !rustix::process::geteuid().is_root() {
        skipped("only root can make what others may not read");
        return;
    }
    let place = Place::with_repository();
    fs::create_dir(place.path("src/closed")).expect("made");
    place.write("src/closed/in", b"x");
    mode(&place.path("src/closed"), 0o700);
    place.write("src/secret", b"x");
    mode(&place.path("src/secret"), 0o600);
    let said = place.run_as_nobody(&["backup", "src"]);
    said.refused(3, &["src/closed", "src/secret"]);
    let listed = place.run_as_nobody(&["ls", "latest"]).out;
    assert!(listed.contains("/src/d/b"), "{listed}");
    assert!(!listed.contains("secret") && !listed.contains("/in"), "{listed}");
}

#[test]
fn attributes_that_may_not_be_read_on_the_way_to_a_target_are_kept_by_who_may_read_them() {
    if !rustix::process::geteuid().is_root() {
        skipped("only root can make what others may not read");
        return;
    }
    let place = Place::with_repository();
    let way = place.path("src");
    let flags = rustix::fs::XattrFlags::empty();
    if rustix::fs::setxattr(&way, "user.note", b"kept", flags).is_err() {
        skipped("the file system of temporary files has no attributes");
        return;
    }
    mode(&way, 0o711);
    let target = place.path("src/d");
    let target = target.to_str().expect("UTF-8");
    // Nobody asked for what is above the target, so this is no problem.
    let said = place.run_as_nobody(&["backup", "--host=h", target]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let above = format!("latest:{}", place.dir.path().display());
    let is_kept = || place.done(&["cat", "tree", &above]).out.contains("user.note");
    assert!(!is_kept());
    // An equal ctime does not prove that nothing is missing there.
    place.done(&["backup", "--host=h", target]);
    assert!(is_kept(), "the attribute is lost for good");
}
