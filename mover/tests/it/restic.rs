//! Beside the real restic: its options exist here, and each reads what the other wrote.

use std::{collections::BTreeSet, fs, process::Command};

use crate::place::{PASSWORD, Place, Said, skipped};

/// Whether it can be had; under CI it has to.
pub(crate) fn there_is_restic() -> bool {
    let found = Command::new("restic").arg("version").output().is_ok();
    assert!(found || std::env::var_os("CI").is_none(), "restic is not on the PATH");
    if !found {
        skipped("restic is not on the PATH");
    }
    found
}

/// Whether restic is there and of the version whose options and output these tests expect. What a
/// distribution installs may be years older: it is skipped here, with a word, and still judges
/// every test of repositories.
pub(crate) fn there_is_restic_as_documented() -> bool {
    if !there_is_restic() {
        return false;
    }
    let version = Command::new("restic").arg("version").output().expect("a version").stdout;
    let version = String::from_utf8_lossy(&version).into_owned();
    let minor = version.strip_prefix("restic 0.").and_then(|rest| rest.split('.').next());
    let new_enough = minor.is_none_or(|minor| minor.parse().is_ok_and(|minor: u32| minor >= 19));
    if !new_enough {
        skipped(&format!("{} prints and takes less", version.trim()));
    }
    new_enough
}

/// The long options in a help text.
fn options(help: &str) -> BTreeSet<String> {
    let words = help.lines().filter_map(|line| line.trim_start().strip_prefix('-'));
    let long = words
        .filter_map(|line| line.split_once("--").map_or(line.strip_prefix('-'), |it| Some(it.1)));
    long.map(|name| {
        name.chars().take_while(|char| char.is_ascii_alphanumeric() || *char == '-').collect()
    })
    .collect()
}

#[test]
fn every_option_of_restic_is_known() {
    if !there_is_restic_as_documented() {
        return;
    }
    let place = Place::new();
    let commands = [
        "backup",
        "restore",
        "snapshots",
        "init",
        "key list",
        "key add",
        "key passwd",
        "key remove",
        "ls",
        "find",
        "cat",
        "dump",
        "mount",
        "diff",
        "stats",
        "version",
        "forget",
        "prune",
        "check",
        "copy",
        "rewrite",
        "repair index",
        "repair packs",
        "repair snapshots",
        "recover",
        "list",
        "tag",
        "unlock",
    ];
    for command in commands {
        let words: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let theirs = Command::new("restic").args(&words).output().expect("help");
        let theirs = options(&String::from_utf8_lossy(&theirs.stdout));
        assert!(theirs.contains("repo") && theirs.contains("password-file"), "{theirs:?}");
        let ours = options(&Said::of(place.bare().args(&words)).out);
        let missing: Vec<&String> = theirs.difference(&ours).collect();
        assert!(missing.is_empty(), "{command} lacks {missing:?}");
        // What is taken is documented, too.
        let page = include_str!("../../../docs/guide/restic.md");
        let untold: Vec<&String> =
            theirs.iter().filter(|name| !page.contains(&format!("`--{name}`"))).collect();
        assert!(untold.is_empty(), "the guide says nothing of {untold:?} of {command}");
    }
}

#[test]
fn each_reads_what_the_other_wrote() {
    if !there_is_restic() {
        return;
    }
    let place = Place::with_repository();
    place.done(&["backup", "src"]);
    let theirs = |args: &[&str]| {
        let mut command = Command::new("restic");
        command.current_dir(place.dir.path()).env("RESTIC_PASSWORD", PASSWORD);
        let said = Said::of(command.args(["-r", "repo", "--no-cache"]).args(args));
        assert_eq!(said.code, Some(0), "{args:?} {said:?}");
        said.out
    };
    theirs(&["check", "--read-data"]);
    theirs(&["restore", "latest", "--target", "theirs"]);
    assert_eq!(fs::read(place.path("theirs/src/a")).expect("restored"), b"first");
    place.write("src/new", b"new");
    theirs(&["backup", "src"]);
    assert_eq!(place.snapshots().len(), 2);
    place.done(&["restore", "latest", "-t", "ours"]);
    assert_eq!(fs::read(place.path("ours/src/new")).expect("restored"), b"new");
    let said = place.done(&["backup", "src", "--json"]).message("summary");
    assert_eq!((&said["files_unmodified"], &said["data_blobs"]), (&3.into(), &0.into()));
}

/// The chunks of the files in the only snapshot of a repository, as restic names them.
fn chunks_of(place: &Place, repository: &str) -> BTreeSet<String> {
    let restic = |words: &[&str]| {
        let mut command = Command::new("restic");
        command.current_dir(place.dir.path()).env("RESTIC_PASSWORD", PASSWORD);
        let said = Said::of(command.args(["--no-cache", "-r", repository]).args(words));
        assert_eq!(said.code, Some(0), "{said:?}");
        said.out
    };
    let blobs = restic(&["list", "blobs"]);
    blobs.lines().filter_map(|line| line.strip_prefix("data ")).map(str::to_owned).collect()
}

#[test]
fn a_repository_can_be_created_that_cuts_as_another_one_does() {
    if !there_is_restic() {
        return;
    }
    let place = Place::new();
    let mut seed = 1_u32;
    let noise = (0..9 << 20).map(|_| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    });
    place.write("src/large", &noise.collect::<Vec<u8>>());
    let restic = |words: &[&str]| {
        let mut command = Command::new("restic");
        command.current_dir(place.dir.path()).arg("--no-cache").args(words);
        command.env("RESTIC_PASSWORD", PASSWORD).env("RESTIC_FROM_PASSWORD", PASSWORD);
        let said = Said::of(&mut command);
        assert_eq!(said.code, Some(0), "{said:?}");
    };
    let ours = |words: &[&str]| {
        let mut command = place.bare();
        command.args(words).env("RESTIC_PASSWORD", PASSWORD);
        Said::of(command.env("WINDLASS_FROM_PASSWORD", PASSWORD))
    };
    let done =
        |words: &[&str]| assert_eq!(ours(words).code, Some(0), "{words:?}: {:?}", ours(words));
    let copied = ["--copy-chunker-params", "--from-repo"];
    restic(&["-r", "theirs", "init"]);
    done(&["-r", "ours from theirs", "init", copied[0], copied[1], "theirs"]);
    done(&["-r", "ours", "init"]);
    restic(&["-r", "theirs from ours", "init", copied[0], copied[1], "ours"]);
    for repository in ["theirs", "theirs from ours"] {
        restic(&["-r", repository, "backup", "src"]);
    }
    for repository in ["ours", "ours from theirs"] {
        done(&["-r", repository, "backup", "src"]);
    }
    let chunks = |repository| chunks_of(&place, repository);
    // How many there are is up to the polynomial, but no chunk is as long as the file.
    assert!(chunks("theirs").len() > 1, "{:?}", chunks("theirs"));
    assert_eq!(chunks("theirs"), chunks("ours from theirs"));
    assert_eq!(chunks("ours"), chunks("theirs from ours"));
    assert_ne!(chunks("ours"), chunks("theirs"));
    // The other chunker is copied too, by ours alone.
    done(&["-r", "fast", "init", "--chunker=fastcdc"]);
    done(&["-r", "as fast", "init", copied[0], "--from-repo=fast"]);
    for repository in ["fast", "as fast"] {
        done(&["-r", repository, "backup", "src"]);
    }
    assert_eq!(chunks("fast"), chunks("as fast"));
    assert_ne!(chunks("fast"), chunks("ours"));
    // What opens the one repository does not open the other.
    let wrong = Said::of(
        place
            .bare()
            .args(["-r", "never", "init", copied[0], "--from-repo=theirs"])
            .env("RESTIC_PASSWORD", PASSWORD)
            .env("RESTIC_FROM_PASSWORD", "wrong"),
    );
    wrong.refused(12, &["theirs"]);
    let none = place
        .bare()
        .args(["-r", "never", "init", copied[0], "--from-repo=theirs"])
        .env("RESTIC_PASSWORD", PASSWORD)
        .output();
    Said::from(none.expect("the program starts")).refused(1, &["no password was given"]);
    assert!(!place.path("never").exists());
}
