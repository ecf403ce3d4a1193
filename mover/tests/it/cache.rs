//! `cache`: which caches there are, and which go.

use std::{
    fs::{self, File},
    time::{Duration, SystemTime},
};

use windlass_testkit::s3::{KEY_ID, S3Server, SECRET_KEY};

use crate::{
    place::{PASSWORD, Place, Said, files},
    restic::there_is_restic,
};

/// A cache that was last used so many days ago.
fn cached(place: &Place, name: &str, days: u64) {
    let path = place.path("caches").join(name);
    fs::create_dir_all(path.join("index/00")).expect("made");
    fs::write(path.join("version"), "1").expect("written");
    fs::write(path.join("index/00/some"), [0; 2000]).expect("written");
    let then = SystemTime::now() - Duration::from_secs(days * 86_400);
    File::open(path).expect("opened").set_modified(then).expect("set");
}

#[test]
fn caches_are_listed_and_the_old_ones_go() {
    let place = Place::new();
    let none = place.done(&["cache", "--cache-dir", "caches"]);
    assert_eq!(none.out, "no cache dirs found, basedir is caches\n");
    let (young, old) = ("ab".repeat(32), "cd".repeat(32));
    cached(&place, &young, 3);
    cached(&place, &old, 31);
    fs::create_dir(place.path("caches/something")).expect("made");
    let listed = place.done(&["cache", "--cache-dir", "caches"]);
    let lines: Vec<_> = listed.out.lines().collect();
    assert_eq!(lines[2], "cdcdcdcdcd  31 days ago  yes    1.954 KiB", "{}", listed.out);
    assert_eq!(lines[3], "ababababab  3 days ago          1.954 KiB", "{}", listed.out);
    assert_eq!(lines[5], "2 cache dirs in caches");
    if there_is_restic() {
        let mut restic = std::process::Command::new("restic");
        restic.current_dir(place.dir.path()).env("RESTIC_PASSWORD", PASSWORD);
        let said = restic.args(["cache", "--cache-dir", "caches"]).output().expect("restic runs");
        let restics = String::from_utf8(said.stdout).expect("UTF-8");
        let rows = |text: &str| text.lines().skip(2).take(2).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(rows(&restics), rows(&listed.out), "{restics}");
    }
    let json = place.done(&["cache", "--cache-dir", "caches", "--json", "--no-size"]).messages();
    assert_eq!(json[0]["id"], old.as_str());
    assert_eq!(json[0]["old"], true);
    assert_eq!(json[1]["days_unused"], 3);
    place.done(&["cache", "--cache-dir", "caches", "--cleanup", "--max-age", "32"]);
    assert!(place.path("caches").join(&old).exists());
    place.done(&["cache", "--cache-dir", "caches", "--cleanup"]);
    assert!(!place.path("caches").join(&old).exists());
    assert!(place.path("caches").join(&young).exists());
    assert!(place.path("caches/something").exists());
    place.run(&["cache", "--no-cache"]).refused(1, &["no cache directory"]);
}

#[test]
fn what_a_server_was_asked_for_once_is_not_asked_for_again() {
    let place = Place::new();
    fs::create_dir_all(place.path("src/b")).expect("made");
    for name in ["a", "b/c", "b/d"] {
        place.write(&format!("src/{name}"), name.as_bytes());
    }
    let server = S3Server::start();
    server.make("backups");
    let repository = format!("s3:http://{}/backups/repo", server.address());
    let command = |args: &[&str]| {
        let mut command =
            place.command(&[&["-r", &repository, "--cache-dir", "caches"], args].concat());
        command.env("AWS_ACCESS_KEY_ID", KEY_ID).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        command.env("AWS_DEFAULT_REGION", "us-east-1");
        let said = Said::of(&mut command);
        assert_eq!(said.code, Some(0), "{said:?}");
        said
    };
    command(&["init"]);
    command(&["backup", "src"]);
    let again = command(&["-vvv", "backup", "src"]);
    let read: Vec<_> = again.err.lines().filter(|line| line.starts_with("GET ")).collect();
    let read_of = |kind: &str| read.iter().filter(|line| line.contains(kind)).count();
    assert_eq!(read_of("/keys/"), 1, "{read:#?}");
    for kind in ["/config", "/snapshots/", "/index/", "/data/"] {
        let kind = format!("repo{kind}");
        let read = read.iter().filter(|line| line.contains(&kind) && !line.contains("/repo/?"));
        assert_eq!(read.collect::<Vec<_>>(), Vec::<&&str>::new(), "{kind}");
    }
    assert!(!files(&place.path("caches")).is_empty());

    // Without it, and for looking for damage, the server is asked.
    let fresh = command(&["-vvv", "--no-cache", "snapshots"]);
    assert!(fresh.err.contains("/repo/snapshots/"), "{}", fresh.err);
    let check = command(&["-vvv", "check"]);
    assert!(check.err.contains("/repo/data/"), "{}", check.err);
    let check = command(&["-vvv", "check", "--with-cache"]);
    let read =
        check.err.lines().find(|line| line.starts_with("GET") && line.contains("/repo/index/"));
    assert_eq!(read, None);

    // A directory has none of its own.
    place.done(&["--cache-dir", "others", "init", "-r", "near"]);
    place.done(&["--cache-dir", "others", "-r", "near", "backup", "src"]);
    assert!(!place.path("others").exists());
}
