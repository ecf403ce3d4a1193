//! `key`: passwords are listed, added, changed and removed.

use serde_json::Value;

use crate::place::{PASSWORD, Place, Said, files};

fn keys(place: &Place, password: &str) -> Vec<Value> {
    let said = Said::of(place.command(&["key", "list", "--json"]).env("RESTIC_PASSWORD", password));
    assert_eq!(said.code, Some(0), "{said:?}");
    serde_json::from_str(&said.out).expect("an array")
}

#[test]
fn passwords_come_and_go_but_never_the_last_one() {
    let place = Place::with_repository();
    place.write("second", b"second\n");
    place.write("third", b"third\n");
    let added = ["key", "add", "--new-password-file=second", "--user=me", "--host=here"];
    let said = place.done(&added);
    let id = said.out.trim_end().strip_prefix("saved new key with ID ").expect("an id").to_owned();
    assert_eq!(id.len(), 64);
    let listed = keys(&place, "second");
    let mine = listed.iter().find(|key| key["id"] == id.as_str()).expect("the new key");
    assert_eq!((&mine["userName"], &mine["hostName"]), (&"me".into(), &"here".into()));
    assert_eq!(mine["current"], true);
    assert!(mine["created"].as_str().is_some_and(|time| time.len() == 19));
    assert_eq!(listed.iter().filter(|key| key["current"] == true).count(), 1);

    let remove = |key: &str| {
        Said::of(place.command(&["key", "remove", key]).env("RESTIC_PASSWORD", "second"))
    };
    remove(&id[..8]).refused(1, &["the key in use cannot be removed"]);
    remove("").refused(1, &["an empty text names no key"]);
    remove("zz").refused(1, &["no key begins with zz"]);

    let args = ["key", "passwd", "--new-password-file=third"];
    let said = Said::of(place.command(&args).env("RESTIC_PASSWORD", "second"));
    assert_eq!(said.code, Some(0), "{said:?}");
    let said = Said::of(place.command(&["snapshots"]).env("RESTIC_PASSWORD", "second"));
    said.refused(12, &["wrong password or no key found"]);
    let first = keys(&place, PASSWORD);
    assert_eq!(first.len(), 2);
    let text = place.done(&["key", "list"]);
    assert!(text.out.starts_with(" ID "), "{text:?}");
    assert_eq!(text.out.lines().filter(|line| line.starts_with('*')).count(), 1);
    assert!(files(&place.path("repo/locks")).is_empty());
}
