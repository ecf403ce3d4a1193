//! `snapshots`: tables, groups and JSON.

use serde_json::{Value, json};

use crate::place::Place;

#[test]
fn snapshots_are_filtered_grouped_and_printed() {
    let place = Place::with_repository();
    let at = |time: &str, host: &str, tags: &str, path: &str| {
        let (time, host) = (format!("--time={time} 01:02:03"), format!("--host={host}"));
        place.done(&["backup", path, &time, &host, "--tag", tags]);
    };
    at("2020-01-01", "a", "x,y", "src");
    at("2020-01-02", "a", "x", "src");
    at("2020-01-03", "b", "", "src/d");
    let days = |args: &[&str]| -> Vec<String> {
        let said = place.done(&[&["snapshots", "--json"], args].concat());
        let list: Vec<Value> = serde_json::from_str(&said.out).expect("an array");
        list.iter().map(|it| it["time"].as_str().expect("a time")[8..10].to_owned()).collect()
    };
    assert_eq!(days(&[]), ["01", "02", "03"]);
    assert_eq!(days(&["--host", "a"]), ["01", "02"]);
    assert_eq!(days(&["--tag", "x,y"]), ["01"]);
    assert_eq!(days(&["--tag", "y", "--tag", ""]), ["01", "03"]);
    assert_eq!(days(&["--path", "src/d"]), ["03"]);
    assert_eq!(days(&["--latest", "1"]), ["02", "03"]);
    assert_eq!(days(&["latest"]), ["03"]);
    assert_eq!(days(&["latest", "--host", "a"]), ["02"]);

    let first = &place.snapshots()[0];
    let id = first["id"].as_str().expect("an id");
    assert_eq!(first["short_id"], id[..8]);
    assert_eq!(first["tags"], json!(["x", "y"]));
    assert_eq!(first["summary"]["total_files_processed"], 2);
    for absent in ["parent", "excludes", "original", "description"] {
        assert_eq!(first.get(absent), None);
    }
    assert_eq!(days(&[&id[..12]]), ["01"]);
    place.run(&["snapshots", "0123456789abcdef0"]).refused(1, &["no matching ID found"]);
    assert_eq!(days(&["--latest", "0"]), ["01", "02", "03"]);
    assert_eq!(days(&["--last"]), ["02", "03"]);

    let said = place.done(&["snapshots", "--json", "--group-by", "host"]);
    let groups: Vec<Value> = serde_json::from_str(&said.out).expect("an array");
    assert_eq!(groups[0]["group_key"], json!({"hostname": "a", "paths": null, "tags": null}));
    assert_eq!(groups[0]["snapshots"].as_array().map(Vec::len), Some(2));

    let text = place.done(&["snapshots", "--host", "a"]).out;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("ID        Time                 Host        Tags        Paths"));
    assert_eq!(lines[1], "-".repeat(lines[1].len()));
    let row: Vec<&str> = lines[2].split_whitespace().collect();
    assert_eq!(row[..5], [&id[..8], "2020-01-01", "01:02:03", "a", "x,y"]);
    assert!(lines[2].ends_with("97.661 KiB"), "{text}");
    assert_eq!(lines[lines.len() - 1], "2 snapshots");
    let text = place.done(&["snapshots", "--compact", "--group-by", "host,tags"]).out;
    assert!(text.contains("snapshots for (host [a], tags [x, y]):\n"), "{text}");
}
