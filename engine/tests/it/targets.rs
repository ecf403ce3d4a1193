//! What is backed up is named as restic names it, whichever way it was asked for.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use windlass_engine::{
    backup::Options,
    filter::{Filter, FilterOptions},
    repository::Place,
};
use windlass_format::restic::config::Version;

use super::{
    peer::Restic,
    scene::{HOST, Scene, empty_on_disk},
};

/// Backs up `targets`, as typed in the directory `base`, with both, and compares.
fn check_same(scene: &Scene, restic: &Restic, place: &Place, base: &Path, targets: &[&str]) {
    check_same_but_for(scene, restic, place, base, targets, &FilterOptions::default());
}

/// The same without what marker files leave out.
fn check_same_but_for(
    scene: &Scene,
    restic: &Restic,
    place: &Place,
    base: &Path,
    targets: &[&str],
    filter: &FilterOptions,
) {
    let repository = scene.try_open_at(place).expect("opened");
    let options = Options {
        targets: targets.iter().map(PathBuf::from).collect(),
        base: base.to_owned(),
        filter: Filter::new(filter).expect("a filter"),
        ..scene.options()
    };
    let report = scene.try_back_up(&repository, options).expect("backed up");
    assert_eq!(report.problems, [], "{targets:?}");
    let ours = report.root.clone().expect("a root");

    let mut words = vec!["backup", "--json", "--force", "--host", HOST];
    for name in &filter.exclude_if_present {
        words.extend(["--exclude-if-present", str::from_utf8(name).expect("UTF-8")]);
    }
    words.extend(filter.exclude_caches.then_some("--exclude-caches"));
    words.extend(targets);
    let told = restic.good_in(base, &words);
    let summary = told.lines().find(|line| line.contains("\"summary\"")).expect("a summary");
    let summary: serde_json::Value = serde_json::from_str(summary).expect("JSON");
    let theirs = summary["snapshot_id"].as_str().expect("an id");
    let files = summary["total_files_processed"].as_u64();
    assert_eq!(files, Some(report.summary.total_files), "{targets:?}");

    let list = |id: &str| restic.good(&["ls", "--no-lock", id]);
    let names = |id: &str| -> Vec<String> {
        list(id).lines().filter(|line| line.starts_with('/')).map(str::to_owned).collect()
    };
    assert_eq!(names(ours.as_str()), names(theirs), "{targets:?}");
    let told = restic.good(&["diff", "--no-lock", ours.as_str(), theirs]);
    let content: Vec<_> = told.lines().filter(|line| line.contains("    /")).collect();
    assert_eq!(content, [""; 0], "{targets:?}");
    let paths = |id: &str| {
        let json: serde_json::Value =
            serde_json::from_str(&restic.good(&["cat", "--no-lock", "snapshot", id]))
                .expect("JSON");
        let paths = json["paths"].as_array().expect("paths").iter();
        let mut paths: Vec<_> =
            paths.map(|path| path.as_str().expect("UTF-8").to_owned()).collect();
        // restic keeps the order in which they were given, and what was given twice.
        paths.sort();
        paths.dedup();
        paths
    };
    assert_eq!(paths(ours.as_str()), paths(theirs), "{targets:?}");
}

#[test]
fn targets_are_named_as_restic_names_them() {
    let scene = Scene::new();
    let at = scene.path("repository");
    let Some(restic) = Restic::at(&at) else { return };
    empty_on_disk(&at, Version::V2);
    for name in ["x/same/one", "y/same/two", "z/same/three", "same/four", "file", "x/file"] {
        scene.write(name, name);
    }
    symlink("x", scene.source().join("link")).expect("linked");
    symlink("file", scene.source().join("y/filelink")).expect("linked");
    let place = Place::local(&at);
    let base = scene.source();
    let full = |name: &str| base.join(name).to_str().expect("UTF-8").to_owned();
    let (x, x_same, y) = (full("x"), full("x/same"), full("y/"));
    for targets in [
        &["."][..],
        &["x"],
        &["x", "y"],
        &["file"],
        &["file", "x/file"],
        &["x", "x/same"],
        &["x/same", "x"],
        &["link"],
        &["link/same"],
        &["y/filelink", "file"],
        &["./x/../y"],
        &["x/same/"],
        &[&x],
        &[&x, &y],
        &[&x_same, &y],
        &[&x, "y"],
        &["x", "./x"],
    ] {
        check_same(&scene, &restic, &place, &base, targets);
    }
    let below = scene.source().join("x");
    for targets in [
        &["../y"][..],
        &[".."],
        &["../same", "same"],
        &["same", "../y/same"],
        &[".", "../y"],
        &["../y", "."],
        &[".", "same"],
        &[".", "../same"],
        &["file", "../file"],
        &["../file", "file"],
    ] {
        check_same(&scene, &restic, &place, &below, targets);
    }
    restic.check();
    let _nothing_of_it_was_followed = fs::read_link(scene.source().join("link")).expect("a link");
}

#[test]
fn markers_hold_in_a_directory_without_a_name_whoever_is_beside_it() {
    let scene = Scene::new();
    let at = scene.path("repository");
    let Some(restic) = Restic::at(&at) else { return };
    empty_on_disk(&at, Version::V2);
    for name in ["marked/file", "marked/below/file", "cache/file", "plain/file", "plain/below/x"] {
        scene.write(name, name);
    }
    scene.write("marked/.nobackup", "");
    scene.write("plain/below/.nobackup", "");
    scene.write("cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n");
    let place = Place::local(&at);
    let filter = FilterOptions {
        exclude_caches: true,
        exclude_if_present: vec![b".nobackup".to_vec()],
        ..FilterOptions::default()
    };
    for (base, targets) in [
        ("marked", &["."][..]),
        ("marked", &[".", "../plain"]),
        ("marked", &["../plain", "."]),
        ("cache", &[".", "../marked", "../plain"]),
        ("plain", &[".", "../cache"]),
        ("", &[".", "plain"]),
    ] {
        let base = scene.source().join(base);
        check_same_but_for(&scene, &restic, &place, &base, targets, &filter);
    }
    restic.check();
}

#[test]
fn access_times_are_kept_where_they_are_asked_for() {
    let scene = Scene::new();
    let at = scene.path("repository");
    let Some(restic) = Restic::at(&at) else { return };
    empty_on_disk(&at, Version::V2);
    scene.write("file", "content");
    let touched = Command::new("touch")
        .args(["-a", "-d", "2001-02-03T04:05:06.789Z"])
        .arg(scene.source().join("file"))
        .status();
    assert!(touched.expect("touch runs").success());
    let repository = scene.try_open_at(&Place::local(&at)).expect("opened");
    let options = Options { with_atime: true, ..scene.options() };
    let report = scene.try_back_up(&repository, options).expect("backed up");
    let root = scene.root(&repository, &report);
    let mut seen = Vec::new();
    let walked = scene.walk(&repository, &root, |_, directory| {
        let files = directory.entries.iter().filter(|entry| *entry.name == *b"file");
        seen.extend(files.map(|entry| entry.atime.instant()));
    });
    walked.expect("readable");
    assert_eq!(seen, [(981_173_106, 789_000_000)]);
    restic.check();
}

#[test]
fn a_target_without_a_name_of_its_own_hides_no_other_one() {
    let scene = Scene::new();
    for name in ["here/one", "here/two.tmp", "here/below/three", "there/four"] {
        scene.write(name, name);
    }
    let socket = std::os::unix::net::UnixListener::bind(scene.source().join("here/socket"));
    let _kept_open = socket.expect("bound");
    let repository = scene.open(super::scene::empty(Version::V2));
    let there = scene.source().join("there");
    for targets in [[".".into(), there.clone()], [there.clone(), ".".into()]] {
        let base = scene.source().join("here");
        let options = Options { targets: targets.into(), base, ..scene.options() };
        let report = scene.try_back_up(&repository, options).expect("backed up");
        assert_eq!((report.problem_count, report.summary.total_files), (0, 4), "{report:?}");
        let root = scene.root(&repository, &report);
        let reader = scene.runtime.block_on(repository.reader()).expect("an index");
        let top = reader.directory(&root.tree).expect("a directory");
        let names: Vec<_> =
            top.entries.iter().map(|entry| String::from_utf8_lossy(&entry.name)).collect();
        let above = there.iter().nth(1).and_then(|name| name.to_str()).expect("UTF-8");
        let mut expected = vec!["below", "one", "two.tmp", above];
        expected.sort_unstable();
        assert_eq!(names, expected);
        assert_eq!(root.paths.len(), 2);
    }
}
