//! `cache`: which caches there are, and which go.

use std::{
    fs::{self, File},
    time::{Duration, SystemTime},
};

use crate::{
    place::{PASSWORD, Place},
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
