//! `tag`: tags come and go, the rest of a snapshot stays.

use std::process::Command;

use serde_json::{Value, json};

use crate::{
    place::{PASSWORD, Place, Said, files},
    restic::there_is_restic,
};

fn tags(place: &Place) -> Vec<Value> {
    place.snapshots().iter().map(|it| it.get("tags").cloned().unwrap_or(json!([]))).collect()
}

#[test]
fn tags_are_set_added_and_removed() {
    let place = Place::with_repository();
    place.done(&["backup", "src", "--tag", "a,b"]);
    place.done(&["backup", "src"]);
    let first = place.snapshots()[0].clone();
    place.done(&["tag", "--add", "c,a", "--remove", "b", first["id"].as_str().expect("an id")]);
    assert_eq!(tags(&place), [json!(["a", "c"]), json!([])]);
    let changed = place.snapshots()[0].clone();
    assert_eq!(changed["original"], first["id"]);
    for key in ["time", "tree", "paths", "hostname", "summary", "program_version"] {
        assert_eq!(changed[key], first[key], "{key}");
    }
    let said = place.done(&["tag", "--set", "x", "--json"]);
    assert_eq!(said.message("summary")["changed_snapshots"], 2);
    // The name it had first is the one that is remembered.
    assert_eq!(place.snapshots()[0]["original"], first["id"]);
    place.done(&["tag", "--set", "", "--tag", "x", "--host", "nobody"]);
    assert_eq!(tags(&place), [json!(["x"]), json!(["x"])]);
    place.done(&["tag", "--set", "", "latest"]);
    assert_eq!(tags(&place), [json!(["x"]), json!([])]);
    assert!(place.done(&["tag", "--add", "x", "--tag", "x"]).out.contains("no snapshots were"));
    place.run(&["tag"]).refused(1, &["nothing to do!"]);
    place.run(&["tag", "--set", "a", "--add", "b"]).refused(1, &["at the same time"]);
    assert_eq!(files(&place.path("repo/snapshots")).len(), 2);
    assert_eq!(files(&place.path("repo/locks")).len(), 0);
}

#[test]
fn restic_and_what_is_pinned_agree_on_the_result() {
    let place = Place::with_repository();
    place.done(&["backup", "src", "--time", "2024-01-01 00:00:00"]);
    place.done(&["tag", "--add", "windlass-pin"]);
    place.done(&["backup", "src"]);
    place.done(&["forget", "--keep-last", "1"]);
    assert_eq!(tags(&place), [json!(["windlass-pin"]), json!([])]);
    place.done(&["tag", "--remove", "windlass-pin"]);
    if there_is_restic() {
        let mut command = Command::new("restic");
        command.current_dir(place.dir.path()).env("RESTIC_PASSWORD", PASSWORD);
        let said = Said::of(command.args(["-r", "repo", "--no-cache", "check"]));
        assert_eq!(said.code, Some(0), "{said:?}");
    }
    place.done(&["forget", "--keep-last", "1"]);
    assert_eq!(tags(&place).len(), 1);
}
