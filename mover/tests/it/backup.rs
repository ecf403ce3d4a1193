//! `backup`: what it takes, what it says, how it ends.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::json;

use crate::place::Place;

fn has_line(text: &str, start: &str, end: &str) -> bool {
    text.lines().any(|line| line.starts_with(start) && line.ends_with(end))
}

#[test]
fn lines_are_those_that_scripts_look_for() {
    let place = Place::with_repository();
    let first = place.done(&["backup", "src"]);
    assert!(first.err.is_empty(), "{first:?}");
    assert!(first.out.contains("no parent snapshot found, will read all files\n"), "{first:?}");
    assert!(
        first.out.contains("\nFiles:           2 new,     0 changed,     0 unmodified\n"),
        "{first:?}"
    );
    assert!(has_line(&first.out, "Added to the repository: ", " stored)"), "{first:?}");
    assert!(has_line(&first.out, "processed 2 files, 97.661 KiB in 0:0", ""), "{first:?}");
    assert!(has_line(&first.out, "snapshot ", " saved"), "{first:?}");
    let saved = first.out.lines().find_map(|line| line.strip_prefix("snapshot ")).expect("saved");
    let id = saved.strip_suffix(" saved").expect("saved");

    place.write("src/a", b"second");
    let second = place.done(&["backup", "src", "-v"]);
    assert!(second.out.contains(&format!("using parent snapshot {id}\n")), "{second:?}");
    assert!(second.out.contains("0 new,     1 changed,     1 unmodified\n"), "{second:?}");
    assert!(has_line(&second.out, "repository ", "(version 2, compression level auto)"));
    assert!(!second.out.contains("unchanged /src"), "{second:?}");

    let quiet = place.done(&["-q", "backup", "src"]);
    assert_eq!((quiet.out.as_str(), quiet.err.as_str()), ("", ""));
    let all = place.done(&["backup", "src", "-vv"]);
    assert!(all.out.contains("unchanged /src/d/b\n"), "{all:?}");
    assert!(all.out.contains("unchanged /src/d/\n"), "{all:?}");
    place.write("src/d/new", b"12345");
    let more = place.done(&["backup", "src", "-vv"]);
    assert!(has_line(&more.out, "new       /src/d/new, saved in 0.", "s (5 B added, 37 B stored)"));
    assert!(has_line(&more.out, "modified  /src/d/, saved in ", " metadata)"), "{more:?}");
    assert_eq!(place.snapshots().len(), 5);
}

#[test]
fn json_has_the_fields_of_restic() {
    let place = Place::with_repository();
    let said = place.done(&["backup", "src", "--json", "-vv", "--tag", "x,y", "--tag", "z"]);
    let item = said.messages().into_iter().find(|it| it["item"] == "/src/a").expect("an item");
    assert_eq!((&item["message_type"], &item["action"]), (&json!("verbose_status"), &json!("new")));
    for field in ["duration", "data_size", "data_size_in_repo", "metadata_size", "total_files"] {
        assert!(item[field].is_number(), "{field}");
    }
    assert_eq!(item["data_size"], 5);
    assert!(item["data_size_in_repo"].as_u64() > Some(5), "{item}");
    let above = said.messages().into_iter().find(|it| it["item"] == "/src/").expect("an item");
    assert_eq!((&above["data_size"], &above["data_size_in_repo"]), (&json!(0), &json!(0)));
    assert!(above["metadata_size"].as_u64() > above["metadata_size_in_repo"].as_u64(), "{above}");
    assert!(above["duration"].as_f64() > Some(0.0), "{above}");
    let summary = said.message("summary");
    let expected = [
        ("files_new", 2),
        ("files_changed", 0),
        ("files_unmodified", 0),
        ("total_files_processed", 2),
        ("total_bytes_processed", 100_005),
    ];
    for (field, value) in expected {
        assert_eq!(summary[field], value, "{field}");
    }
    for field in [
        "dirs_new",
        "dirs_changed",
        "dirs_unmodified",
        "data_blobs",
        "tree_blobs",
        "data_added",
        "data_added_packed",
        "total_duration",
    ] {
        assert!(summary[field].is_number(), "{field}");
    }
    for field in ["backup_start", "backup_end"] {
        assert!(summary[field].is_string(), "{field}");
    }
    let snapshot = &place.snapshots()[0];
    assert_eq!(summary["snapshot_id"], snapshot["id"]);
    assert_eq!(snapshot["tags"], json!(["x", "y", "z"]));

    let dry = place.done(&["backup", "src", "--json", "--dry-run"]).message("summary");
    assert_eq!((&dry["dry_run"], &dry["snapshot_id"]), (&json!(true), &json!(null)));
    let same = place.done(&["backup", "src", "--json", "--skip-if-unchanged"]).message("summary");
    assert_eq!(same["snapshot_id"], json!(null));
    assert_eq!(place.snapshots().len(), 1);
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_kept() {
    let place = Place::with_repository();
    let said = place.run(&["backup", "src", "missing"]);
    said.refused(3, &["missing", "Warning: at least one source file could not be read"]);
    let snapshots = place.snapshots();
    assert_eq!(snapshots.len(), 1);
    assert_eq!(snapshots[0]["summary"]["total_files_processed"], 2);

    let said = place.run(&["backup", "src", "missing", "--json"]);
    assert_eq!(said.code, Some(3));
    said.message("summary");
    let errors: Vec<serde_json::Value> =
        said.err.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(errors[0]["message_type"], "error");
    assert_eq!(errors[0]["during"], "archival");
    assert!(errors[0]["item"].as_str().is_some_and(|item| item.ends_with("missing")));
    assert!(errors[0]["error"]["message"].is_string());
    assert_eq!((&errors[1]["message_type"], &errors[1]["code"]), (&json!("exit_error"), &json!(3)));

    place.run(&["backup", "missing"]).refused(1, &["Fatal: ", "missing", "Next step: "]);
    // Root reads everything; for everybody else a file without permissions is one more problem.
    if !rustix::process::geteuid().is_root() {
        let hidden = fs::Permissions::from_mode(0o000);
        fs::set_permissions(place.path("src/a"), hidden).expect("chmod");
        place.run(&["backup", "src"]).refused(3, &["src/a"]);
    }
}

#[test]
fn options_reach_the_snapshot() {
    let place = Place::with_repository();
    place.write("src/skip.tmp", b"x");
    place.write("src/SKIP.BAK", b"x");
    place.write("src/large", &[1; 5000]);
    place.write("excludes", b"# a comment\n$WHAT\n");
    place.write("list", b"src/*\n# none\n");
    fs::create_dir(place.path("src/cache")).expect("a directory");
    place.write("src/cache/CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55\n");
    place.write("src/cache/x", b"x");
    let args = [
        "backup",
        "--files-from=list",
        "--exclude-file=excludes",
        "--iexclude=*.bak",
        "--exclude-larger-than=4k",
        "--exclude-caches",
        "--host=elsewhere",
        "--time=2012-11-01 22:08:41",
        "--identity=volume-7",
        "--read-concurrency=3",
        "--with-atime",
        "-x",
    ];
    let said = crate::place::Said::of(place.command(&args).env("WHAT", "d"));
    assert_eq!(said.code, Some(0), "{said:?}");
    let snapshot = &place.snapshots()[0];
    assert_eq!(snapshot["hostname"], "elsewhere");
    assert_eq!(snapshot["time"], "2012-11-01T22:08:41Z");
    assert_eq!(snapshot["tags"], json!(["volume-7"]));
    assert_eq!(snapshot["excludes"], json!(["d"]));
    // The targets themselves are never left out, by their names: `src/*` names them all.
    place.done(&["restore", "latest", "--target", "out"]);
    assert!(place.path("out/src/cache/CACHEDIR.TAG").exists());
    assert!(!place.path("out/src/cache/x").exists());

    let args = ["backup", "src", "--exclude=*.tmp", "--iexclude=*.bak", "--exclude-larger-than=4k"];
    place.done(&args);
    place.done(&["restore", "latest", "--target", "out2"]);
    for (name, kept) in [("a", true), ("skip.tmp", false), ("SKIP.BAK", false), ("large", false)] {
        assert_eq!(place.path("out2/src").join(name).exists(), kept, "{name}");
    }

    // The same source at another place is found again by its identity.
    fs::rename(place.path("src"), place.path("clone")).expect("a new place");
    let args = ["backup", "clone", "--identity=volume-7", "--change-detection=clone-aware:1"];
    let said = place.done(&args);
    assert!(said.out.contains("using parent snapshot"), "{said:?}");
}

#[test]
fn lists_of_paths_are_taken_as_they_are() {
    let place = Place::with_repository();
    place.write("src/*", b"a star");
    place.write("verbatim", b"src/*\n");
    place.write("raw", b"src/a\0");
    place.done(&["backup", "--files-from-verbatim=verbatim", "--files-from-raw=raw"]);
    assert_eq!(place.snapshots()[0]["summary"]["total_files_processed"], 2);
    place.write("raw", b"src/a");
    place.run(&["backup", "--files-from-raw=raw"]).refused(1, &["does not end with a zero byte"]);
    place.write("list", b"nothing-like-this*\n");
    place.run(&["backup", "--files-from=list"]).refused(1, &["does not match any files"]);
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_opened() {
    let place = Place::new();
    for (args, words) in [
        (vec!["backup"], "nothing to backup, please specify source files/dirs"),
        (vec!["backup", ""], "an empty text is no path"),
        (vec!["backup", "src", "--exclude=["], "malformed pattern"),
        (vec!["backup", "src", "--exclude-larger-than=1X"], "cannot read the size"),
        (vec!["backup", "src", "--time=soon"], "cannot read the time"),
        (vec!["backup", "src", "--group-by=moon"], "cannot group by"),
        (vec!["backup", "src", "--change-detection=guess"], "no way to detect changes"),
        (vec!["backup", "src", "--change-detection=clone-aware:0"], "no way to detect changes"),
        (vec!["backup", "src", "--read-concurrency=2000"], "cannot be read at the same time"),
        (vec!["backup", "src", "--no-lock"], "--no-lock is for reading"),
        (vec!["backup", "src", "--pack-size=1"], "packs of 1 MiB"),
        (vec!["backup", "src", "--retry-lock=soon"], "cannot read the duration"),
        (vec!["backup", "src", "--no-such-option"], "--no-such-option"),
        (vec!["backup", "--files-from=gone"], "reading gone"),
        (vec!["no-such-command"], "no-such-command"),
    ] {
        place.run(&args).refused(1, &[words]);
    }
    assert!(!place.path("repo").exists());
}

#[test]
fn names_of_files_cannot_write_to_the_terminal() {
    let place = Place::with_repository();
    place.write("src/\x1b[2Jx\nsnapshot 12345678 saved", b"x");
    let said = place.done(&["backup", "src", "-vv"]);
    assert!(!said.out.contains('\x1b') && said.out.contains("\\u{1b}[2Jx\\nsnapshot"), "{said:?}");
    assert_eq!(said.out.lines().filter(|line| line.ends_with(" saved")).count(), 1);
}

#[test]
fn a_deep_tree_needs_no_high_limit_of_open_files() {
    const LEVELS: usize = 60;
    let place = Place::with_repository();
    let mut path = place.path("src");
    for _level in 0..LEVELS {
        for name in ["v", "w", "x", "y", "z"] {
            fs::create_dir(path.join(name)).expect("made");
            fs::write(path.join(name).join("file"), name).expect("written");
        }
        path.push("v");
    }
    let own = place.command::<&str>(&[]);
    let mut limited = std::process::Command::new("sh");
    limited.arg("-c").arg("ulimit -Sn 48; exec \"$0\" backup src").arg(own.get_program());
    limited.current_dir(place.dir.path()).env_clear();
    for (name, value) in own.get_envs() {
        limited.envs(value.map(|value| (name, value)));
    }
    let said = crate::place::Said::of(&mut limited);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("302 new"), "{said:?}");
}
