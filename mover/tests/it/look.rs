//! `ls`, `find`, `diff`, `stats`, `cat` and `dump`, beside the real restic on one repository.

use std::{fs, process::Command};

use serde_json::Value;

use crate::{
    place::{PASSWORD, Place, Said},
    restic::there_is_restic_as_documented,
};

/// Two snapshots between which something of every kind changed.
fn changed(place: &Place) -> [String; 2] {
    for directory in ["src/eq", "src/gone/deep", "src/empty"] {
        fs::create_dir_all(place.path(directory)).expect("a directory");
    }
    place.write("src/eq/same.md", b"same");
    place.write("src/gone/deep/x", b"gone");
    fs::hard_link(place.path("src/a"), place.path("src/link")).expect("a link");
    std::os::unix::fs::symlink("a", place.path("src/turned")).expect("a link");
    place.done(&["backup", "src", "--host=h"]);
    place.write("src/a", b"other");
    fs::remove_dir_all(place.path("src/gone")).expect("removed");
    fs::remove_file(place.path("src/turned")).expect("removed");
    place.write("src/turned", b"a file now");
    fs::create_dir(place.path("src/new")).expect("a directory");
    place.write("src/new/f.md", b"new");
    place.done(&["backup", "src", "--host=h", "--tag=t"]);
    let ids: Vec<String> =
        place.snapshots().iter().map(|it| it["id"].as_str().expect("an id").to_owned()).collect();
    ids.try_into().expect("two snapshots")
}

fn values(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).map(rounded).collect()
}

/// Whole numbers may be written with a fraction of zero.
fn rounded(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        for field in fields.values_mut() {
            if let Some(number) = field.as_f64().filter(|number| number.fract() == 0.0) {
                *field = number.into();
            }
        }
    }
    value
}

#[test]
fn everything_is_told_as_restic_tells_it() {
    if !there_is_restic_as_documented() {
        return;
    }
    let place = Place::with_repository();
    let [before, after] = changed(&place);
    let theirs = |args: &[&str]| {
        let mut command = Command::new("restic");
        command.current_dir(place.dir.path()).env("RESTIC_PASSWORD", PASSWORD).env("TZ", "UTC");
        Said::of(command.args(["-r", "repo", "--no-cache", "--no-lock"]).args(args))
    };
    let tree = theirs(&["cat", "snapshot", &before]).out;
    let tree: Value = serde_json::from_str(&tree).expect("JSON");
    let tree = tree["tree"].as_str().expect("a tree");
    let part = format!("{before}:/src");
    let index = fs::read_dir(place.path("repo/index")).expect("a directory");
    let index = index.map(|it| it.expect("an entry").file_name().into_string().expect("a name"));
    let index: Vec<String> = index.collect();
    for args in [
        &["ls", "--json", "latest"][..],
        &["ls", "--json", &before, "/src/gone"],
        &["ls", "--json", &before, "/src/gone", "--recursive"],
        &["ls", "--json", &before, "--sort=size", "--reverse"],
        &["ls", "--json", &part, "--sort=extension"],
        &["diff", "--json", &before, &after],
        &["diff", "--json", "--metadata", &after, &before],
        &["stats", "--json"],
        &["stats", "--json", "--mode=files-by-contents"],
        &["stats", "--json", "--mode=blobs-per-file"],
        &["stats", "--json", "--mode=raw-data"],
        &["stats", "--json", "--mode=raw-data", "latest"],
        &["find", "--json", "*.md", "/src/gone"],
        &["find", "--json", "-R", "-i", "A"],
        &["find", "--json", "nothing"],
        &["find", "--json", "--tree", tree],
    ] {
        let (ours, theirs) = (place.run(args), theirs(args));
        assert_eq!(ours.code, theirs.code, "{args:?} {ours:?}");
        assert_eq!(values(&ours.out), values(&theirs.out), "{args:?}");
    }
    for args in [
        &["diff", "-q", &before, &after][..],
        &["diff", &part, &after],
        &["find", "-l", "a", "--snapshot", &before],
        &["find", "--tree", tree],
        &["cat", "config"],
        &["cat", "masterkey"],
        &["cat", "snapshot", &before],
        &["cat", "index", &index[0]],
        &["cat", "blob", tree],
        &["cat", "tree", &part],
        &["ls", "--ncdu", &after],
        &["dump", &after, "/src/d/b"],
        &["dump", &after, "/src/missing"],
    ] {
        let (ours, theirs) = (place.run(args), theirs(args));
        assert_eq!((ours.code, ours.out), (theirs.code, theirs.out), "{args:?}");
    }
}

#[test]
fn archives_hold_what_the_snapshot_holds() {
    let place = Place::with_repository();
    let [before, _] = changed(&place);
    place.done(&["dump", &before, "/", "--target", "all.tar"]);
    let mut archive = tar::Archive::new(fs::File::open(place.path("all.tar")).expect("a file"));
    let mut names = Vec::new();
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").into_owned();
        if path.ends_with("d/b") {
            let mut content = Vec::new();
            std::io::copy(&mut entry, &mut content).expect("read");
            assert!(content == [7; 100_000], "the content differs");
        }
        if path.ends_with("turned") {
            let target = entry.link_name().expect("a link").expect("a target").into_owned();
            assert_eq!(target.to_str(), Some("a"));
        }
        names.push(path.to_str().expect("UTF-8").to_owned());
    }
    let expected = [
        "src/",
        "src/a",
        "src/d/",
        "src/d/b",
        "src/empty/",
        "src/eq/",
        "src/eq/same.md",
        "src/gone/",
        "src/gone/deep/",
        "src/gone/deep/x",
        "src/link",
        "src/turned",
    ];
    assert_eq!(names, expected);

    place.done(&["dump", &format!("{before}:src"), "/", "-a", "zip", "-t", "all.zip"]);
    let file = fs::File::open(place.path("all.zip")).expect("a file");
    let mut archive = zip::ZipArchive::new(file).expect("an archive");
    let mut content = Vec::new();
    let mut entry = archive.by_name("d/b").expect("an entry");
    std::io::copy(&mut entry, &mut content).expect("read");
    assert!(content == [7; 100_000], "the content differs");
    drop(entry);
    assert_eq!(archive.len(), expected.len() - 1);
}

#[test]
fn a_damaged_directory_is_named_and_the_rest_goes_on() {
    let place = Place::with_repository();
    changed(&place);
    // Both snapshots share this directory; its pack is that of the first one.
    let tree = place.done(&["cat", "tree", "latest:/src"]).out;
    let tree: Value = serde_json::from_str(&tree).expect("JSON");
    let nodes = tree["nodes"].as_array().expect("nodes");
    let node = nodes.iter().find(|node| node["name"] == "eq").expect("a node");
    let id = node["subtree"].as_str().expect("an id");
    let said = place.done(&["find", "--tree", id, "--show-pack-id"]).out;
    let pack = said.lines().find_map(|line| line.strip_prefix("Object belongs to pack "));
    let pack = pack.expect("a pack");
    let path = place.path("repo/data").join(&pack[..2]).join(pack);
    let mut bytes = fs::read(&path).expect("a pack");
    bytes[offset(&place, id) + 20] ^= 1;
    fs::remove_file(&path).expect("removed");
    fs::write(&path, bytes).expect("written");
    let said = place.run(&["ls", "latest"]);
    said.refused(1, &["/src/eq", "There was 1 error"]);
    assert!(said.out.contains("/src/turned"), "the rest is missing: {said:?}");
    let stats = place.run(&["stats", "--json", "latest"]);
    stats.refused(1, &["/src/eq"]);
    let rest = ["", "a", "d", "d/b", "empty", "eq", "link", "new", "new/f.md", "turned"];
    assert_eq!(stats.messages()[0]["total_file_count"], rest.len(), "{stats:?}");
}

/// Where in its pack a chunk begins.
fn offset(place: &Place, id: &str) -> usize {
    for entry in fs::read_dir(place.path("repo/index")).expect("a directory") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        let index: Value =
            serde_json::from_str(&place.done(&["cat", "index", &name]).out).expect("JSON");
        let packs = index["packs"].as_array().expect("packs").iter();
        let blobs = packs.flat_map(|pack| pack["blobs"].as_array().expect("blobs"));
        let found = blobs.into_iter().find(|blob| blob["id"] == id);
        if let Some(blob) = found {
            return blob["offset"].as_u64().expect("a number") as usize;
        }
    }
    panic!("{id} is in no index");
}
