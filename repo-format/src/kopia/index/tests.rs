//! Both layouts against an encoder of the test's own, and the merging rule.

use proptest::prelude::*;

use super::{Claim, Entry, Segment, is_forgotten, supersedes};
use crate::damage::Damage;
use crate::kopia::id::ContentId;

/// An entry with the name of its pack in place of the reference.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    content: ContentId,
    deleted: bool,
    seconds: u32,
    pack: String,
    offset: u32,
    packed_len: u32,
    raw_len: u32,
    compression: u32,
    format_version: u8,
}

fn key(content: &ContentId) -> Vec<u8> {
    [&[content.prefix().unwrap_or(0)], content.hash()].concat()
}

fn push_u24(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_be_bytes()[1..]);
}

fn encode_v1(entries: &[Named], key_len: u8) -> Vec<u8> {
    let mut out = vec![1, key_len, 0, 20];
    out.extend_from_slice(&(entries.len() as u32).to_be_bytes());
    let mut name_at = 8 + entries.len() * (usize::from(key_len) + 20);
    for entry in entries {
        out.extend_from_slice(&key(&entry.content));
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&entry.seconds.to_be_bytes());
        out.extend_from_slice(&[entry.format_version, entry.pack.len() as u8]);
        out.extend_from_slice(&(name_at as u32).to_be_bytes());
        let deleted = u32::from(entry.deleted) << 31;
        out.extend_from_slice(&(entry.offset | deleted).to_be_bytes());
        out.extend_from_slice(&entry.packed_len.to_be_bytes());
        name_at += entry.pack.len();
    }
    entries.iter().for_each(|entry| out.extend_from_slice(entry.pack.as_bytes()));
    out
}

fn encode_v2(entries: &[Named], key_len: u8, value_len: usize) -> Vec<u8> {
    let mut packs: Vec<&str> = entries.iter().map(|entry| entry.pack.as_str()).collect();
    packs.sort_unstable();
    packs.dedup();
    let mut formats: Vec<_> = entries.iter().map(|e| (e.compression, e.format_version)).collect();
    formats.sort_unstable();
    formats.dedup();
    let mut out = vec![2, key_len, 0, value_len as u8];
    out.extend_from_slice(&(entries.len() as u32).to_be_bytes());
    out.extend_from_slice(&(packs.len() as u32).to_be_bytes());
    out.push(formats.len() as u8);
    out.extend_from_slice(&0_u32.to_be_bytes());
    for entry in entries {
        let pack = packs.binary_search(&entry.pack.as_str()).unwrap();
        let format = formats.binary_search(&(entry.compression, entry.format_version)).unwrap();
        let mut value = Vec::new();
        value.extend_from_slice(&entry.seconds.to_be_bytes());
        value.extend_from_slice(&(entry.offset | u32::from(entry.deleted) << 31).to_be_bytes());
        push_u24(&mut value, entry.raw_len & 0xff_ffff);
        push_u24(&mut value, entry.packed_len & 0xff_ffff);
        value.extend_from_slice(&(pack as u16).to_be_bytes());
        let high = (entry.raw_len >> 24 << 4 | entry.packed_len >> 24) as u8;
        value.extend_from_slice(&[format as u8, (pack >> 16) as u8, high]);
        out.extend_from_slice(&key(&entry.content));
        out.extend_from_slice(&value[..value_len]);
        assert!(value[value_len..].iter().all(|byte| *byte == 0), "value too short for this data");
    }
    let names_at = out.len() + packs.len() * 5 + formats.len() * 6;
    let mut name_at = names_at as u32;
    for pack in &packs {
        out.push(pack.len() as u8);
        out.extend_from_slice(&name_at.to_be_bytes());
        name_at += pack.len() as u32;
    }
    for (compression, version) in formats {
        out.extend_from_slice(&compression.to_be_bytes());
        out.extend_from_slice(&[version, 0]);
    }
    packs.iter().for_each(|pack| out.extend_from_slice(pack.as_bytes()));
    out
}

fn decode(bytes: &[u8]) -> Result<Vec<Named>, Damage> {
    let segment = Segment::parse(bytes)?;
    let mut entries = Vec::new();
    segment.visit(|entry: Entry| {
        assert_eq!(entry.key_id, 0);
        entries.push(Named {
            content: entry.content,
            deleted: entry.deleted,
            seconds: u32::try_from(entry.seconds).unwrap(),
            pack: segment.pack_name(entry.pack)?.to_owned(),
            offset: entry.offset,
            packed_len: entry.packed_len,
            raw_len: entry.raw_len,
            compression: entry.compression,
            format_version: entry.format_version,
        });
        Ok::<_, Damage>(())
    })?;
    assert_eq!(entries.len(), segment.entry_count());
    Ok(entries)
}

fn entry(len_max: u32) -> impl Strategy<Value = Named> {
    let prefix = prop_oneof![Just(None), (b'g'..=b'z').prop_map(Some)];
    let place = ("[pq][0-9a-f]{8}", 0..1_u32 << 30, 28..len_max, 0..len_max);
    (prefix, any::<[u8; 16]>(), any::<bool>(), any::<u32>(), place, 0..3_u8).prop_map(
        |(prefix, hash, deleted, seconds, (pack, offset, packed_len, raw_len), format)| Named {
            content: ContentId::new(prefix, &hash).unwrap(),
            deleted,
            seconds,
            pack,
            offset,
            packed_len,
            raw_len,
            compression: 0x1100 + u32::from(format),
            format_version: format,
        },
    )
}

proptest! {
    #[test]
    fn layout_one_round_trips(mut entries in prop::collection::vec(entry(1 << 28), 0..20)) {
        for entry in &mut entries {
            entry.raw_len = entry.packed_len - 28;
            entry.compression = 0;
        }
        prop_assert_eq!(decode(&encode_v1(&entries, 17)), Ok(entries));
    }

    #[test]
    fn layout_two_round_trips(
        entries in prop::collection::vec(entry(1 << 28), 0..20),
        padding in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let bytes = [encode_v2(&entries, 17, 19), padding].concat();
        prop_assert_eq!(decode(&bytes), Ok(entries));
    }

    #[test]
    fn layout_two_round_trips_without_optional_bytes(
        mut entries in prop::collection::vec(entry(1 << 24), 0..20),
    ) {
        for entry in &mut entries {
            (entry.compression, entry.format_version) = (0, 3);
        }
        for value_len in 16..19 {
            prop_assert_eq!(decode(&encode_v2(&entries, 17, value_len)), Ok(entries.clone()));
        }
    }

    #[test]
    fn cut_off_or_altered_indexes_never_panic(
        entries in prop::collection::vec(entry(1 << 24), 1..6),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        for bytes in [encode_v1(&entries, 17), encode_v2(&entries, 17, 19)] {
            let cut = &bytes[..at.index(bytes.len())];
            prop_assert!(decode(cut).is_err());
            let mut altered = bytes.clone();
            altered[at.index(bytes.len())] ^= 1 << bit;
            let _ = decode_quietly(&altered);
        }
    }

    #[test]
    fn any_bytes_are_an_index_or_damage(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for version in [1, 2] {
            if let Some(first) = bytes.first_mut() {
                *first = version;
            }
            let _ = decode_quietly(&bytes);
        }
    }

    #[test]
    fn the_merging_rule_is_a_strict_order(a in claim(), b in claim(), c in claim()) {
        let (a, b, c) = (borrow(&a), borrow(&b), borrow(&c));
        prop_assert_eq!(a != b, supersedes(a, b) || supersedes(b, a));
        prop_assert!(!(supersedes(a, b) && supersedes(b, a)));
        if supersedes(a, b) && supersedes(b, c) {
            prop_assert!(supersedes(a, c));
        }
    }
}

/// Decodes what may hold times beyond 32 bits.
fn decode_quietly(bytes: &[u8]) -> Result<usize, Damage> {
    let segment = Segment::parse(bytes)?;
    let mut names = 0;
    segment.visit(|entry| {
        names += segment.pack_name(entry.pack)?.len();
        Ok::<_, Damage>(())
    })?;
    Ok(names)
}

fn claim() -> impl Strategy<Value = (i64, bool, &'static str)> {
    (0..3_i64, any::<bool>(), prop::sample::select(vec!["p1", "p2", "q1"]))
}

fn borrow(claim: &(i64, bool, &'static str)) -> Claim<'static> {
    Claim { seconds: claim.0, deleted: claim.1, pack: claim.2 }
}

#[test]
fn newer_wins_then_the_living_then_the_larger_pack_name() {
    let claim = |seconds, deleted, pack| Claim { seconds, deleted, pack };
    assert!(supersedes(claim(2, true, "a"), claim(1, false, "b")));
    assert!(supersedes(claim(1, false, "a"), claim(1, true, "b")));
    assert!(supersedes(claim(1, true, "b"), claim(1, true, "a")));
    assert!(!supersedes(claim(1, true, "b"), claim(1, true, "b")));
}

#[test]
fn only_deletions_up_to_the_watermark_are_forgotten() {
    assert!(is_forgotten(5, true, Some(5)));
    assert!(!is_forgotten(6, true, Some(5)));
    assert!(!is_forgotten(5, false, Some(5)));
    assert!(!is_forgotten(5, true, None));
}

#[test]
fn an_index_without_entries_may_have_the_key_size_of_none() {
    assert_eq!(decode(&[1, 255, 0, 20, 0, 0, 0, 0]), Ok(vec![]));
    let damage = Damage::Invalid { what: "index key size" };
    assert_eq!(decode(&[1, 255, 0, 20, 0, 0, 0, 1]), Err(damage));
    assert_eq!(decode(&[1, 1, 0, 20, 0, 0, 0, 0]), Err(damage));
    assert_eq!(decode(&[3, 17, 0, 20, 0, 0, 0, 0]), {
        Err(Damage::Unsupported { what: "index version" })
    });
}
