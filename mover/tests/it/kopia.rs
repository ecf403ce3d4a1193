//! Looking into repositories that kopia wrote, with the commands for every format.

use std::{collections::BTreeMap, io::Read, path::PathBuf};

use serde_json::Value;
use windlass_fixtures::KOPIA_PASSWORD;

use crate::place::{Place, Said};

/// Fixtures with the snapshots in them whose source was recorded.
const RECORDED: [(&str, &str); 4] =
    [("default", "first"), ("default", "second"), ("zstd-128k", "pieces"), ("version-1", "small")];

/// What was saved of one entry.
#[derive(Debug, PartialEq, Eq)]
struct Saved {
    kind: String,
    mode: u32,
    size: u64,
    /// Of a link.
    target: Vec<u8>,
}

type Tree = BTreeMap<String, Saved>;

fn expected(name: &str, tag: &str) -> Tree {
    let path = windlass_fixtures::kopia(name).join(format!("expected/{tag}.jsonl"));
    let text = std::fs::read_to_string(path).expect("an expected file");
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    let entries = lines.map(|line: Value| {
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let digits = text("target").into_bytes();
        let byte = |pair: &[u8]| {
            u8::from_str_radix(str::from_utf8(pair).expect("ASCII"), 16).expect("hex")
        };
        let saved = Saved {
            kind: text("type"),
            mode: u32::from_str_radix(&text("mode"), 8).expect("octal"),
            size: line["size"].as_u64().unwrap_or(0),
            target: digits.chunks(2).map(byte).collect(),
        };
        (text("path"), saved)
    });
    entries.filter(|(path, _)| !path.is_empty()).collect()
}

struct Fixture {
    place: Place,
    repository: PathBuf,
}

impl Fixture {
    fn new(name: &str) -> Self {
        let repository = windlass_fixtures::kopia(name).join("repository");
        Self { place: Place::new(), repository }
    }

    fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = self.place.bare();
        command.arg("-r").arg(&self.repository).env("KOPIA_PASSWORD", KOPIA_PASSWORD).args(args);
        command
    }

    fn done(&self, args: &[&str]) -> Said {
        let said = Said::of(&mut self.command(args));
        assert_eq!(said.code, Some(0), "{args:?} {said:?}");
        said
    }

    fn bytes(&self, args: &[&str]) -> Vec<u8> {
        let output = self.command(args).output().expect("it starts");
        assert!(output.status.success(), "{args:?} {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn snapshot(&self, tag: &str) -> String {
        let tag = Value::from(format!("fixture:{tag}"));
        let all: Value =
            serde_json::from_str(&self.done(&["snapshots", "--json"]).out).expect("JSON");
        let mut rows = all.as_array().expect("a list").iter();
        let row = rows.find(|row| row["tags"].as_array().is_some_and(|tags| tags.contains(&tag)));
        row.expect("tagged")["id"].as_str().expect("an id").to_owned()
    }
}

#[test]
fn what_was_saved_is_listed_and_found() {
    for (name, tag) in RECORDED {
        let (fixture, expected) = (Fixture::new(name), expected(name, tag));
        let id = fixture.snapshot(tag);
        let listed = fixture.done(&["ls", "--json", &id]).messages();
        let mut nodes = BTreeMap::new();
        for node in listed.iter().filter(|node| node["message_type"] == "node") {
            let path = node["path"].as_str().expect("a path");
            nodes.insert(path.trim_start_matches('/').to_owned(), node.clone());
        }
        assert!(nodes.keys().eq(expected.keys()), "{name} {tag}: {:?}", nodes.keys());
        for (path, saved) in &expected {
            let kind = match saved.kind.as_str() {
                "d" => "dir",
                "s" => "symlink",
                _ => "file",
            };
            assert_eq!(nodes[path]["type"], kind, "{path:?}");
            if kind == "file" {
                assert_eq!(nodes[path]["size"].as_u64().unwrap_or(0), saved.size, "{path:?}");
            }
            let found = fixture.done(&["find", "--json", "--snapshot", &id, &pattern(path)]).out;
            let found: Value = serde_json::from_str(&found).expect("JSON");
            let matches = found[0]["matches"].as_array().expect("matches");
            let is_found = matches.iter().any(|it| it["path"] == format!("/{path}"));
            assert!(is_found, "{path:?} in {found}");
        }
        let stats = fixture.done(&["stats", "--json", &id]).messages();
        let bytes: u64 = expected.values().map(|saved| saved.size).sum();
        assert_eq!(stats[0]["total_size"].as_u64(), Some(bytes), "{name} {tag}");
        assert_eq!(stats[0]["total_file_count"].as_u64(), Some(expected.len() as u64));
    }
}

/// The last name of a path as a pattern that matches it.
fn pattern(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    let special = |char| matches!(char, '*' | '?' | '[' | ']' | '\\' | '!');
    name.chars().map(|char| if special(char) { '?' } else { char }).collect()
}

#[test]
fn what_was_saved_is_dumped() {
    for (name, tag) in RECORDED {
        let (fixture, expected) = (Fixture::new(name), expected(name, tag));
        let id = fixture.snapshot(tag);
        let archive = fixture.bytes(&["dump", &id, "/"]);
        let mut found = Tree::new();
        let mut contents = BTreeMap::new();
        for entry in tar::Archive::new(archive.as_slice()).entries().expect("an archive") {
            let mut entry = entry.expect("a member");
            let path = String::from_utf8(entry.path_bytes().into_owned()).expect("UTF-8");
            let path = path.trim_end_matches('/').to_owned();
            let header = entry.header();
            let kind = match header.entry_type() {
                tar::EntryType::Directory => "d",
                tar::EntryType::Symlink => "s",
                _ => "f",
            };
            let saved = Saved {
                kind: kind.to_owned(),
                mode: header.mode().expect("a mode"),
                size: entry.size(),
                target: entry.link_name_bytes().unwrap_or_default().into_owned(),
            };
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("content");
            contents.insert(path.clone(), content);
            assert_eq!(found.insert(path, saved), None);
        }
        for (path, saved) in &expected {
            let mut member = found.remove(path).unwrap_or_else(|| panic!("no {path:?}"));
            // A link has the mode its system gives to links.
            member.mode = if saved.kind == "s" { saved.mode } else { member.mode };
            assert_eq!(&member, saved, "{name} {tag} {path:?}");
            if saved.kind == "f" {
                let alone = fixture.bytes(&["dump", &id, &format!("/{path}")]);
                assert!(alone == contents[path], "{name} {tag} {path:?}");
            }
        }
        assert_eq!(found, Tree::new());
    }
}

#[test]
fn what_differs_between_two_snapshots_is_told() {
    let fixture = Fixture::new("default");
    let (before, after) = (expected("default", "first"), expected("default", "second"));
    let ids = ["first", "second"].map(|tag| fixture.snapshot(tag));
    let told = fixture.done(&["diff", "--json", &ids[0], &ids[1]]).messages();
    let of = |modifier: &str| -> Vec<String> {
        let rows = told.iter().filter(|it| it["message_type"] == "change");
        let rows = rows.filter(|it| it["modifier"] == modifier);
        let path = |it: &Value| it["path"].as_str().expect("a path").trim_matches('/').to_owned();
        let mut paths: Vec<String> = rows.map(path).collect();
        paths.sort();
        paths
    };
    let only = |one: &Tree, other: &Tree| -> Vec<String> {
        one.keys().filter(|path| !other.contains_key(*path)).cloned().collect()
    };
    assert_eq!(of("+"), only(&after, &before));
    assert_eq!(of("-"), only(&before, &after));
    assert!(!of("+").is_empty());
    let same = fixture.done(&["diff", "--json", &ids[0], &ids[0]]).messages();
    assert!(same.iter().all(|it| it["message_type"] != "change"), "{same:?}");
}

#[test]
fn what_kopia_keeps_otherwise_is_said_and_nothing_is_written() {
    let fixture = Fixture::new("default");
    let config = fixture.done(&["cat", "config"]).out;
    let config: Value = serde_json::from_str(&config).expect("JSON");
    assert_eq!(config["tool"], "https://github.com/kopia/kopia", "{config}");
    for args in [&["cat", "masterkey"][..], &["list-nothing"], &["cat", "lock", "00"]] {
        let said = Said::of(&mut fixture.command(args));
        assert!(said.code != Some(0) && !said.err.contains("panicked"), "{args:?} {said:?}");
    }
    let said = Said::of(&mut fixture.command(&["backup", "src"]));
    said.refused(1, &["kopia"]);
}
