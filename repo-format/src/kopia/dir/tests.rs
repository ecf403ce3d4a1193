//! Directory objects: traps of the JSON, and documents that are not directories.

use proptest::prelude::*;

use super::{DirEntry, EntryKind, decode};
use crate::damage::Damage;
use crate::time::Timestamp;

fn one(fields: &str) -> Result<DirEntry, Damage> {
    let text = format!(r#"{{"stream":"kopia:directory","entries":[{{{fields}}}],"summary":null}}"#);
    Ok(decode(text.as_bytes())?.entries.remove(0))
}

#[test]
fn an_entry_with_everything_omitted_is_all_zeros() {
    let entry = one(r#""name":"a","type":"f","obj":"00ff""#).unwrap();
    assert_eq!((entry.kind, entry.go_mode, entry.size), (EntryKind::File, 0, 0));
    assert_eq!((entry.uid, entry.gid), (0, 0));
    assert_eq!(entry.mtime, Timestamp::utc(0, 0));
    assert_eq!(entry.object.unwrap().to_string(), "00ff");
    assert_eq!(one(r#""name":"a","type":"f","obj":"""#).unwrap().object, None);
}

#[test]
fn go_mode_bits_become_posix_permissions() {
    for (text, permissions) in [
        ("0644", 0o644),
        ("0", 0),
        ("04000777", 0o1777),
        ("040000755", 0o4755),
        ("020000755", 0o2755),
        ("064000777", 0o7777),
    ] {
        let entry = one(&format!(r#""name":"a","type":"d","mode":"{text}""#)).unwrap();
        assert_eq!(entry.permissions(), permissions, "{text}");
    }
    for bad in ["644", "0x1ff", "08", "+0", "0 ", "020000000000"] {
        let entry = one(&format!(r#""name":"a","mode":"{bad}""#));
        assert_eq!(entry, Err(Damage::Invalid { what: "mode in a directory" }), "{bad}");
    }
}

#[test]
fn values_out_of_domain_are_damage() {
    for fields in [
        r#""name":"a","obj":"xyz""#,
        r#""name":"a","size":-1"#,
        r#""name":"a","mtime":"2026-13-01T00:00:00Z""#,
        r#""name":"a","uid":4294967296"#,
        r#""name":1"#,
        r#""name":"a","summ":{"maxTime":"never"}"#,
    ] {
        assert!(one(fields).is_err(), "{fields}");
    }
    for text in ["", "{}", "[]", r#"{"stream":"kopia:indirect","entries":[]}"#] {
        assert!(decode(text.as_bytes()).is_err(), "{text}");
    }
    assert_eq!(one(r#""name":"a","type":"p""#).unwrap().kind, EntryKind::Unknown);
}

#[test]
fn an_empty_directory_has_no_entries_but_may_have_a_summary() {
    let text = r#"{"stream":"kopia:directory","entries":null,"summary":{"size":3,"files":1,
        "symlinks":2,"dirs":4,"maxTime":"2026-01-01T00:00:00Z","numFailed":5}}"#;
    let directory = decode(text.as_bytes()).unwrap();
    assert!(directory.entries.is_empty());
    let summary = directory.summary.unwrap();
    assert_eq!((summary.size, summary.files, summary.symlinks, summary.dirs), (3, 1, 2, 4));
    assert_eq!((summary.failed, summary.ignored), (5, 0));
}

proptest! {
    #[test]
    fn altered_directories_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut text = br#"{"stream":"kopia:directory","entries":[{"name":"a\u00e4","type":"f",
            "mode":"0644","size":12,"mtime":"2026-01-01T00:00:00.123Z","uid":1,"obj":"Ix00ff"}],
            "summary":{"size":3,"maxTime":"2026-01-01T00:00:00Z","numFailed":0}}"#.to_vec();
        prop_assert!(decode(&text).is_ok());
        let at = at.index(text.len());
        prop_assert!(decode(&text[..at]).is_err());
        text[at] = byte;
        drop(decode(&text));
    }
}
