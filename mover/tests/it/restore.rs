//! `restore`: what comes back, and what is refused.

use std::fs;

use serde_json::Value;

use crate::place::Place;

#[test]
fn a_snapshot_comes_back_whole_or_in_part() {
    let place = Place::with_repository();
    place.done(&["backup", "src", "--host=a"]);
    let said = place.done(&["restore", "latest", "--target", "out", "--verify"]);
    let start = "restoring snapshot ";
    assert!(said.out.lines().any(|line| line.starts_with(start) && line.ends_with(" to out")));
    assert!(said.out.contains("Summary: Restored 4 files/dirs (97.661 KiB) in 0:0"), "{said:?}");
    assert!(said.out.contains("finished verifying 2 files in out"), "{said:?}");
    for name in ["a", "d/b"] {
        let [was, is] = ["src", "out/src"].map(|top| fs::read(place.path(top).join(name)));
        assert_eq!(was.expect("was there"), is.expect("is there"));
    }
    let again = place.done(&["restore", "latest", "-t", "out", "--json", "-vv"]);
    let summary = again.message("summary");
    assert_eq!(
        (&summary["files_skipped"], &summary["bytes_skipped"]),
        (&2.into(), &100_005.into())
    );
    let items: Vec<Value> =
        again.messages().into_iter().filter(|it| it["message_type"] == "verbose_status").collect();
    let of = |item: &str| items.iter().find(|it| it["item"].as_str() == Some(item));
    assert_eq!(of("/src/a").expect("told")["action"], "unchanged");
    assert_eq!(of("/src/a").expect("told")["size"], 5);

    place.done(&["restore", "latest:/src/d", "-t", "part"]);
    assert!(place.path("part/b").exists());
    place.done(&["restore", "latest", "-t", "some", "--include=/src/a", "--host=a"]);
    assert!(place.path("some/src/a").exists() && !place.path("some/src/d").exists());
    place.done(&["restore", "latest", "-t", "most", "--iexclude=A"]);
    assert!(!place.path("most/src/a").exists() && place.path("most/src/d/b").exists());
    place.done(&["restore", "latest", "-t", "none", "--dry-run"]);
    assert!(!place.path("none").exists());

    place.write("out/src/extra", b"x");
    place.write("out/src/a", b"other");
    place.done(&["restore", "latest", "-t", "out", "--overwrite=never"]);
    assert_eq!(fs::read(place.path("out/src/a")).expect("is there"), b"other");
    let said = place.done(&["restore", "latest", "-t", "out", "--delete"]);
    assert!(said.out.contains("deleted 1 files/dirs"), "{said:?}");
    assert!(!place.path("out/src/extra").exists());
    assert_eq!(fs::read(place.path("out/src/a")).expect("is there"), b"first");
}

#[test]
fn what_cannot_be_restored_is_refused() {
    let place = Place::with_repository();
    place.run(&["restore", "latest", "-t", "out"]).refused(1, &["no snapshot found"]);
    place.done(&["backup", "src"]);
    for (args, words) in [
        (&["restore", "latest"][..], "--target"),
        (&["restore", "latest", "-t", ""], "--target"),
        (&["restore", "latest", "-t", "out", "-i", "a", "-e", "b"], "cannot be used together"),
        (&["restore", "latest", "-t", "out", "--dry-run", "--verify"], "--verify"),
        (&["restore", "ffffffffffff", "-t", "out"], "no matching ID found"),
        (&["restore", "latest", "-t", "out", "--host=other"], "no snapshot found"),
        (&["restore", "latest:/no/such", "-t", "out"], "no directory"),
        (&["restore", "latest", "-t", "/", "--delete"], "refusing to delete"),
        (&["restore", "latest", "-t", "out", "--overwrite=maybe"], "maybe"),
    ] {
        place.run(args).refused(1, &[words]);
    }
    assert!(!place.path("out").exists());
    place.write("file", b"x");
    place.run(&["restore", "latest", "-t", "file"]).refused(1, &["file", "Next step: "]);
}
