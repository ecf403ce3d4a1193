//! Options and variables that scripts carry over from restic: taken, refused or told to have no
//! effect, and never passed over where they would change what is stored.

use std::{fs, path::Path, process::Command};

use serde_json::json;

use crate::{
    place::{PASSWORD, Place, Said, files},
    restic::there_is_restic_as_documented,
};

/// Words that have a harmless meaning on a repository in a directory.
const HARMLESS: [&[&str]; 25] = [
    &["--cache-dir=caches"],
    &["--no-cache"],
    &["--cleanup-cache"],
    &["--limit-upload=100000"],
    &["--limit-download=100000"],
    &["--limit-upload=0"],
    &["--insecure-tls"],
    &["--http-user-agent=me"],
    &["--stuck-request-timeout=5m0s"],
    &["--stuck-request-timeout=0"],
    &["-o", "s3.region=eu-central-1,s3.layout=default"],
    &["--option=local.connections=4"],
    &["--pack-size=0"],
    &["--pack-size=64"],
    &["--compression=max"],
    &["--no-extra-verify"],
    &["--retry-lock=1s"],
    &["--key-hint=00"],
    &["--tag="],
    &["--read-concurrency=0"],
    &["--hostname=old-name"],
    &["--group-by="],
    &["--verbose=2"],
    &["--json=false", "--no-extra-verify=true", "--insecure-tls=T"],
    &["--no-scan", "--with-atime", "-x", "--ignore-inode", "--ignore-ctime"],
];

/// restic on the repository of the place, its caches in the place too.
fn restic(place: &Place, args: &[&str]) -> Command {
    let mut command = Command::new("restic");
    command.current_dir(place.dir.path()).args(args);
    command.env("RESTIC_PASSWORD", PASSWORD).env("RESTIC_REPOSITORY", "repo");
    command.env("XDG_CACHE_HOME", place.path("caches"));
    command
}

#[test]
fn words_of_restic_scripts_are_taken() {
    let place = Place::with_repository();
    let is_judged = there_is_restic_as_documented();
    for words in HARMLESS {
        place.done(&[&["backup", "src"], words].concat());
    }
    if is_judged {
        // Each on its own would derive a key each time; what is given twice counts the last time.
        let args = [vec!["backup", "src"], HARMLESS.concat()].concat();
        let said = Said::of(&mut restic(&place, &args));
        assert_eq!(said.code, Some(0), "{said:?}");
    }
    for args in [
        &["snapshots", "--last"][..],
        &["snapshots", "--latest=0", "--cleanup-cache"],
        &["restore", "latest", "--target=out", "--limit-download=100000", "--sparse"],
        &["--version"],
    ] {
        place.done(args);
    }
    let said = place.done(&["backup", "src", "--limit-upload=1000"]);
    assert!(said.err.contains("--limit-upload and --limit-download have no effect"), "{said:?}");
    assert!(place.done(&["backup", "src", "--insecure-tls", "-q"]).err.is_empty());
}

#[test]
fn values_that_cannot_be_meant_are_refused_wherever_they_come_from() {
    let place = Place::with_repository();
    let is_judged = there_is_restic_as_documented();
    let refused = |args: &[&str], variables: &[(&str, &str)], word: &str, by_restic: bool| {
        let args = [&["backup", "src"], args].concat();
        let ours = Said::of(place.command(&args).envs(variables.to_vec()));
        ours.refused(1, &[word]);
        if is_judged && by_restic {
            let theirs = Said::of(restic(&place, &args).envs(variables.to_vec()));
            assert_eq!(theirs.code, Some(1), "{args:?} {variables:?} {theirs:?}");
        }
    };
    for (args, word) in [
        (&["-o", "=x"][..], "has no name"),
        (&["-o", "a=1", "-o", "a=2"], "more than once"),
        (&["-o", "local.connections=none"], "option local.connections is \"none\""),
        (&["-o", "local.speed=1"], "option local.speed is not known"),
        (&["--limit-upload=fast"], "--limit-upload"),
        (&["--stuck-request-timeout=5"], "cannot read the duration"),
        (&["--pack-size=129"], "packs of 129 MiB"),
        (&["--compression=much"], "--compression"),
        (&["--quiet", "--verbose"], "--verbose"),
    ] {
        refused(args, &[], word, true);
    }
    for (name, value) in [
        ("RESTIC_PACK_SIZE", "big"),
        ("RESTIC_COMPRESSION", "much"),
        ("RESTIC_READ_CONCURRENCY", "many"),
    ] {
        refused(&[], &[(name, value)], &format!("invalid value for {name}: {value:?}"), true);
    }
    for (value, word) in [("no-such-feature", "unknown feature"), ("s3-restore=maybe", "invalid")] {
        refused(&[], &[("RESTIC_FEATURES", value)], word, true);
    }
    // restic would store device numbers in another way.
    let feature = [("RESTIC_FEATURES", "device-id-for-hardlinks")];
    refused(&[], &feature, "device-id-for-hardlinks is not supported", false);
    // restic takes them for no.
    refused(&[], &[("RESTIC_IGNORE_CTIME", "perhaps")], "invalid value", false);
    assert!(place.snapshots().is_empty());
}

#[test]
fn the_cache_is_not_backed_up_unless_there_is_none() {
    let place = Place::with_repository();
    let kept = |name: &str, args: &[&str], variables: &[(&str, &str)]| {
        let args = [&["backup", "."], args].concat();
        let said = Said::of(place.command(&args).envs(variables.to_vec()));
        assert_eq!(said.code, Some(0), "{said:?}");
        let listed = place.done(&["ls", "latest"]).out;
        assert!(listed.lines().any(|line| line == "/src/a"), "{listed}");
        listed.lines().any(|line| line.ends_with(&format!("/{name}/x")))
    };
    for name in ["home/.cache/restic", "cache", "xdg/restic"] {
        fs::create_dir_all(place.path(name)).expect("a directory");
        place.write(&format!("{name}/x"), b"x");
    }
    assert!(!kept("home/.cache/restic", &[], &[]));
    assert!(kept("home/.cache/restic", &["--no-cache"], &[]));
    assert!(kept("cache", &[], &[]));
    assert!(!kept("cache", &["--cache-dir=cache"], &[]));
    assert!(kept("home/.cache/restic", &["--cache-dir=cache"], &[]));
    assert!(!kept("cache", &[], &[("RESTIC_CACHE_DIR", "cache")]));
    let xdg = place.path("xdg");
    let xdg = [("XDG_CACHE_HOME", xdg.to_str().expect("UTF-8"))];
    assert!(!kept("xdg/restic", &[], &xdg));
}

#[test]
fn chunker_parameters_are_copied_from_another_repository() {
    let place = Place::with_repository();
    let config = |repository: &str, password: &str| {
        let said = Said::of(
            place.command(&["cat", "config", "-r", repository]).env("RESTIC_PASSWORD", password),
        );
        let config: serde_json::Value = serde_json::from_str(&said.out).expect("a config");
        assert_ne!(config["chunker_polynomial"], json!(null));
        (config["chunker_polynomial"].clone(), config["windlass_chunker"].clone())
    };
    let init = |args: &[&str], variables: &[(&str, &str)]| {
        let args = [&["init", "--copy-chunker-params"], args].concat();
        Said::of(place.bare().args(args).env("RESTIC_PASSWORD", "new").envs(variables.to_vec()))
    };
    place.write("password", PASSWORD.as_bytes());
    let said = init(&["-r", "a", "--from-repo=repo", "--from-password-file=password"], &[]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(config("a", "new"), config("repo", PASSWORD));
    let of_variables = [("RESTIC_FROM_REPOSITORY", "repo"), ("RESTIC_FROM_PASSWORD", PASSWORD)];
    let said = init(&["-r", "b"], &of_variables);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(config("b", "new"), config("repo", PASSWORD));

    // The password of the new repository does not count for the other one.
    init(&["-r", "c", "--from-repo=repo"], &[]).refused(1, &["no password was given"]);
    let wrong = [("RESTIC_FROM_PASSWORD", "wrong")];
    init(&["-r", "c", "--from-repo=repo"], &wrong).refused(12, &["wrong password"]);
    init(&["-r", "c", "--from-repo=gone"], &wrong).refused(10, &["repository does not exist"]);
    init(&["-r", "c"], &wrong).refused(1, &["--from-repo"]);
    let args = ["init", "-r", "c", "--from-repo=repo"];
    place.run(&args).refused(1, &["give --copy-chunker-params"]);
    assert!(!Path::new(&place.path("c")).exists());

    let said = Said::of(
        place.command(&["init", "-r", "fast", "--chunker=fastcdc"]).env("RESTIC_PASSWORD", "fast"),
    );
    assert_eq!(said.code, Some(0), "{said:?}");
    let fast = [("RESTIC_FROM_REPOSITORY", "fast"), ("RESTIC_FROM_PASSWORD", "fast")];
    assert_eq!(init(&["-r", "d"], &fast).code, Some(0));
    assert_eq!(config("d", "new"), config("fast", "fast"));
    assert!(files(&place.path("repo/locks")).is_empty());
}
