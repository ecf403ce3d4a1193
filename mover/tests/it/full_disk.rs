//! No room: for the repository, for what is restored, and for files of more than a limit.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::place::{PASSWORD, Place, Said, bytes_of, files, skipped};

/// A disk that is small enough to be full.
struct TinyDisk(PathBuf);

impl TinyDisk {
    /// Only root may make one.
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir_all(at).expect("a directory");
        let flags = MountFlags::empty();
        let mounted = mount("none", at, "tmpfs", flags, Some(c"size=6m"));
        if mounted.is_err() {
            skipped("only root may mount a disk that is small enough to fill");
        }
        mounted.is_ok().then(|| Self(at.to_owned()))
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        unmount(&self.0, UnmountFlags::DETACH).expect("unmounted");
    }
}

/// Bytes that do not compress.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(|| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 32) as u8
    });
    words.take(len).collect()
}

fn add_noise(place: &Place) {
    place.write("src/large", &noise(1, 12 << 20));
    for at in 0..20 {
        place.write(&format!("src/small-{at:02}"), &noise(100 + at, 30_000));
    }
}

#[test]
fn a_repository_without_room_keeps_what_it_has() {
    let place = Place::new();
    let Some(_disk) = TinyDisk::mount(&place.path("repo")) else { return };
    place.done(&["init"]);
    place.done(&["backup", "src"]);
    let before = bytes_of(&place.path("repo"));
    add_noise(&place);
    let said = place.run(&["backup", "src"]);
    said.refused(1, &["Fatal: ", "No space left on device", "Next step: free some room"]);
    keeps(&place, &before);
    // What can be read without room can be read, and the lock that cannot be made is told.
    place.done(&["restore", "latest", "--target=out"]);
    assert_eq!(fs::read(place.path("out/src/a")).expect("restored"), b"first");
    assert_eq!(place.snapshots().len(), 1);
}

/// Everything that was in the repository still is, and no lock.
fn keeps(place: &Place, before: &[(PathBuf, Vec<u8>)]) {
    let after = bytes_of(&place.path("repo"));
    for old in before {
        assert!(after.contains(old), "{} is not what it was", old.0.display());
    }
    assert!(files(&place.path("repo/locks")).is_empty());
    let drafts = files(&place.path("repo")).into_iter();
    let drafts: Vec<PathBuf> =
        drafts.filter(|path| path.to_string_lossy().contains("-tmp-")).collect();
    assert!(drafts.is_empty(), "{drafts:?}");
}

#[test]
fn a_target_without_room_ends_the_restore() {
    let place = Place::with_repository();
    add_noise(&place);
    place.done(&["backup", "src"]);
    let before = bytes_of(&place.path("repo"));
    let Some(_disk) = TinyDisk::mount(&place.path("out")) else { return };
    let said = place.run(&["restore", "latest", "--target=out"]);
    said.refused(1, &["Fatal: ", "/src/", "No space left on device", "Next step: free some room"]);
    assert!(bytes_of(&place.path("repo")) == before);
}

/// The program with files of no more than `kib` KiB, which needs no privilege.
fn limited(place: &Place, kib: u32, args: &[&str]) -> Said {
    let mut command = Command::new("sh");
    let script = format!("ulimit -f {} && exec \"$0\" \"$@\"", kib * 2);
    command.args(["-c", &script, env!("CARGO_BIN_EXE_windlass")]).args(args);
    command.env_clear().current_dir(place.dir.path());
    command.env("RESTIC_REPOSITORY", "repo").env("RESTIC_PASSWORD", PASSWORD);
    command.env("HOME", place.path("home")).env("TZ", "UTC");
    Said::of(&mut command)
}

#[test]
fn a_limit_on_files_is_an_error_and_no_end_by_signal() {
    let place = Place::with_repository();
    place.done(&["backup", "src"]);
    add_noise(&place);
    let before = bytes_of(&place.path("repo"));
    let said = limited(&place, 2048, &["backup", "src"]);
    said.refused(1, &["Fatal: ", "File too large", "Next step: "]);
    keeps(&place, &before);

    place.done(&["backup", "src"]);
    let before = bytes_of(&place.path("repo"));
    let said = limited(&place, 2048, &["restore", "latest", "--target=out"]);
    said.refused(1, &["/src/large", "File too large"]);
    assert!(bytes_of(&place.path("repo")) == before);
    assert_eq!(fs::read(place.path("out/src/a")).expect("restored"), b"first");
    assert_eq!(fs::read(place.path("out/src/small-07")).expect("restored"), noise(107, 30_000));
}
