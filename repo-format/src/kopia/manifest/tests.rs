//! Manifest contents, and what merging them keeps.

use std::io::Write as _;

use super::{Manifests, decode};
use crate::damage::Damage;

fn content(json: &str) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(json.as_bytes()).unwrap();
    gzip.finish().unwrap()
}

fn entry(id: &str, modified: &str, deleted: bool, data: &str) -> String {
    format!(
        r#"{{"entries":[{{"id":"{id}","labels":{{"type":"snapshot"}},"modified":"{modified}","deleted":{deleted},"data":{data}}}]}}"#
    )
}

fn merged(documents: &[&String]) -> Manifests {
    let mut manifests = Manifests::default();
    documents.iter().for_each(|json| manifests.add(decode(&content(json)).unwrap()));
    manifests
}

#[test]
fn the_newest_entry_of_an_id_wins_in_any_order_and_zone() {
    let old = entry("a", "2026-01-01T12:00:00Z", false, "1");
    let new = entry("a", "2026-01-01T12:00:00.5Z", false, "2");
    let newest = entry("a", "2026-01-01T10:00:01-02:00", false, "3");
    for documents in [[&old, &new, &newest], [&newest, &old, &new], [&new, &newest, &old]] {
        assert_eq!(merged(&documents).find("a").unwrap().data.get(), "3");
    }
}

#[test]
fn a_deletion_holds_whatever_is_added_after_it() {
    let alive = entry("a", "2026-01-01T12:00:00Z", false, "1");
    let gone = entry("a", "2026-01-02T12:00:00Z", true, "null");
    for documents in [[&alive, &gone], [&gone, &alive]] {
        let manifests = merged(&documents);
        assert!(manifests.find("a").is_none());
        assert_eq!(manifests.iter().count(), 0);
    }
}

#[test]
fn data_is_kept_byte_for_byte() {
    let data = r#"{"z": 1.50,  "a":[1e3, "\u003c"]}"#;
    let manifests = merged(&[&entry("a", "2026-01-01T12:00:00Z", false, data)]);
    assert_eq!(manifests.find("a").unwrap().data.get(), data);
}

#[test]
fn unknown_keys_and_empty_lists_are_fine() {
    assert!(decode(&content("{}\n")).unwrap().is_empty());
    assert!(decode(&content(r#"{"entries":null,"more":[1]}"#)).unwrap().is_empty());
}

#[test]
fn damaged_contents_are_refused_without_panic() {
    let whole = content(&entry("a", "2026-01-01T12:00:00Z", false, "1"));
    for len in 0..whole.len() {
        assert!(decode(&whole[..len]).is_err(), "cut at {len}");
    }
    for bit in 0..whole.len() * 8 {
        let mut altered = whole.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        drop(decode(&altered));
    }
    let bad_time = content(&entry("a", "yesterday", false, "1"));
    assert_eq!(decode(&bad_time).unwrap_err(), Damage::Invalid { what: "time of a manifest" });
    assert!(matches!(decode(&content("[")).unwrap_err(), Damage::Json { .. }));
}
