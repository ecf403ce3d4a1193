//! Restores by someone who may not give files away.

use std::{
    ffi::CString,
    fs::{self, Permissions},
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, chown, symlink},
    },
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
