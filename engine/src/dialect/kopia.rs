//! kopia's bytes behind the neutral nouns: reading.
//!
//! | neutral | kopia |
//! |---|---|
//! | tag 0 of a key | content without a prefix |
//! | tag `g`..`z` | the content's prefix letter |
//! | coding | compression header id, 0 for none |
//! | link list | indirect object |
//!
//! Invariants
//! - Entries come out ascending by name and no name twice, whatever order they are stored in.
//! - A directory that was cut into several chunks is reached by the key of its list alone; that the
//!   chunk is a list is told by its first bytes, see `is_links`.
//! - A file that is a snapshot of its own is read as a directory with that file in it: such a
//!   directory is in no pack, and has a key that no content has.
//! - What an entry does not store is empty, zero or `None`, never made up; but `atime` is `mtime`.
//!
//! Not here: writing. Objects compressed as a whole (`Z…`, by format version 1 with a compression
//! policy) are refused.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

use sha2::{Digest as _, Sha256};
use windlass_format::{
    damage::Damage,
    kopia::{
        cipher,
        content::{self, Sealed},
        crypter::Crypter,
        dir::{self, DirEntry, EntryKind},
        format::Format,
        id::{ContentId, ObjectId},
        object,
        refusal::Refusal,
    },
};

use crate::{
    fault::Fault,
    model::{
        chunk::{ChunkKey, Role},
        directory::{Directory, Entry, Kind, Target},
        object::Content,
        pack::{Coding, Location},
    },
};

/// How kopia begins every list of an indirect object.
const LINKS: &[u8] = br#"{"stream":"kopia:indirect","#;

/// The tag of keys that stand for no content: those of made-up directories.
const MADE_UP: u8 = 1;

/// How an open kopia repository reads bytes.
#[derive(Debug)]
pub struct Codec {
    crypter: Crypter,
    /// Files that are a snapshot of their own, each in a directory that is made up for it.
    alone: Mutex<HashMap<ChunkKey, Entry>>,
}

/// What one thread keeps between chunks.
#[derive(Debug, Default)]
pub struct Scratch {
    stored: Vec<u8>,
    content: content::Scratch,
}

impl Codec {
    /// A codec for a repository of that format.
    pub fn new(format: &Format) -> Result<Self, Refusal> {
        Ok(Self { crypter: Crypter::new(format)?, alone: Mutex::default() })
    }

    /// Hash and cipher.
    #[must_use]
    pub fn crypter(&self) -> &Crypter {
        &self.crypter
    }

    /// Makes up a directory that holds `file` alone, and gives the key to read it by.
    pub(crate) fn alone(&self, file: Entry) -> ChunkKey {
        // Equal files have equal directories, as everywhere.
        let key = ChunkKey::full(MADE_UP, Sha256::digest(format!("{file:?}")).into());
        self.alone.lock().unwrap_or_else(PoisonError::into_inner).insert(key, file);
        key
    }

    pub(super) fn made_up(&self, key: &ChunkKey) -> Option<Directory> {
        let alone = (key.tag() == MADE_UP)
            .then(|| self.alone.lock().unwrap_or_else(PoisonError::into_inner))?;
        alone.get(key).map(|file| Directory { entries: vec![file.clone()] })
    }

    pub(crate) fn open_chunk(
        &self,
        key: &ChunkKey,
        at: &Location,
        stored: &[u8],
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<(), Damage> {
        let content = content_of(key)?;
        let Coding(compression) = at.coding;
        let sealed = Sealed { content, raw_len: at.raw_bytes, compression };
        scratch.stored.clear();
        scratch.stored.extend_from_slice(stored);
        let Scratch { stored, content } = scratch;
        out.extend_from_slice(content::open_unproved(&self.crypter, sealed, stored, content)?);
        Ok(())
    }

    pub(crate) fn prove(&self, chunks: &[(ChunkKey, &[u8])]) -> Result<(), usize> {
        let differs = chunks.iter().position(|(key, plain)| self.prove_one(key, plain).is_err());
        differs.map_or(Ok(()), Err)
    }

    pub(crate) fn prove_one(&self, key: &ChunkKey, plain: &[u8]) -> Result<(), Damage> {
        content::prove(&self.crypter, content_of(key)?, plain)
    }
}

/// What a chunk holds: directories and lists have prefixes of their own, other metadata too.
pub(super) fn role(key: &ChunkKey) -> Role {
    match key.tag() {
        0 => Role::File,
        b'x' => Role::Links,
        _ => Role::Directory,
    }
}

pub(super) fn uncompressed_bytes(raw_bytes: u32) -> u64 {
    u64::from(raw_bytes) + cipher::OVERHEAD as u64
}

/// The answer to everything that would write.
pub(crate) fn read_only() -> Fault {
    Fault::Unsupported { what: "writing to a kopia repository".into() }
}

/// The key of a content.
pub(crate) fn key_of(content: ContentId) -> Result<ChunkKey, Damage> {
    let too_long = Damage::Invalid { what: "content hash length" };
    ChunkKey::new(content.prefix().unwrap_or(0), content.hash()).ok_or(too_long)
}

fn content_of(key: &ChunkKey) -> Result<ContentId, Damage> {
    let prefix = (key.tag() != 0).then_some(key.tag());
    ContentId::new(prefix, key.hash()).ok_or(Damage::Invalid { what: "content id" })
}

/// The key at the bottom of an object, and how many lists are above its data.
fn part_of(object: ObjectId) -> Result<(ChunkKey, u8), Damage> {
    if object.is_compressed() {
        return Err(Damage::Unsupported { what: "object compressed as a whole" });
    }
    let depth = std::iter::successors(object.list(), ObjectId::list).count();
    let depth = u8::try_from(depth).map_err(|_over| Damage::Invalid { what: "object id" })?;
    Ok((key_of(object.content())?, depth))
}

/// The key of a directory, cut into chunks or not.
fn directory_key(object: ObjectId) -> Result<ChunkKey, Damage> {
    part_of(object).map(|(key, _told_by_the_chunk_itself)| key)
}

fn content_at(object: ObjectId) -> Result<Content, Damage> {
    Ok(match part_of(object)? {
        (key, 0) => Content::Chunks(vec![key]),
        (list, depth) => Content::Linked { list, depth },
    })
}

/// Whether a chunk that should hold a directory holds the list of its parts instead.
pub(super) fn is_links(bytes: &[u8]) -> bool {
    bytes.starts_with(LINKS)
}

pub(super) fn read_links(bytes: &[u8]) -> Result<Vec<(ChunkKey, u8)>, Damage> {
    object::decode_list(bytes)?.into_iter().map(|part| part_of(part.object)).collect()
}

pub(super) fn read_directory(bytes: &[u8]) -> Result<Directory, Damage> {
    let stored = dir::decode(bytes)?.entries;
    let mut entries = stored.into_iter().map(entry_of).collect::<Result<Vec<_>, _>>()?;
    // Stable, so that of equal names the one stored first keeps it.
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    if entries.is_sorted_by(|a, b| a.name < b.name) {
        return Ok(Directory { entries });
    }
    tell_apart(&mut entries);
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Directory { entries })
}

/// Gives a number to all but the first of each group of equal names. kopia replaces what is not
/// UTF-8 before it stores a name, so that two files may come to bear one name; neither is lost.
fn tell_apart(entries: &mut [Entry]) {
    let mut taken: BTreeSet<Box<[u8]>> = entries.iter().map(|entry| entry.name.clone()).collect();
    let mut last: Option<(Box<[u8]>, u32)> = None;
    for entry in entries {
        let mut number = match &last {
            Some((name, number)) if *name == entry.name => *number,
            _ => {
                last = Some((entry.name.clone(), 1));
                continue;
            }
        };
        let stored = entry.name.clone();
        while taken.contains(&entry.name) {
            number += 1;
            entry.name = [&*stored, format!(" ({number})").as_bytes()].concat().into();
        }
        taken.insert(entry.name.clone());
        last = Some((stored, number));
    }
}

/// An entry as it is stored in a directory or as the root of a snapshot.
pub(crate) fn entry_of(stored: DirEntry) -> Result<Entry, Damage> {
    let mode = stored.permissions();
    let content = || stored.object.map_or(Ok(Content::EMPTY), content_at);
    let kind = match stored.kind {
        EntryKind::File => Kind::File { size_bytes: stored.size, content: content()? },
        EntryKind::Directory => {
            Kind::Directory { tree: stored.object.map(directory_key).transpose()? }
        }
        EntryKind::Symlink => Kind::Symlink { target: Target::Stored(content()?) },
        EntryKind::Unknown => Kind::Unknown,
    };
    let name = stored.name.into_bytes();
    let (uid, gid) = (stored.uid, stored.gid);
    Ok(Entry { uid, gid, ..Entry::plain(name, kind, mode, stored.mtime) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(json: &str) -> Vec<String> {
        let directory = read_directory(json.as_bytes()).expect("a directory");
        let name = |entry: &Entry| String::from_utf8_lossy(&entry.name).into_owned();
        directory.entries.iter().map(name).collect()
    }

    #[test]
    fn entries_come_out_by_name_whatever_their_kind() {
        let json = r#"{"stream":"kopia:directory","entries":[
            {"name":"m","type":"d","obj":"k00"},{"name":"z","type":"d","obj":"k01"},
            {"name":"a","type":"f","obj":"02"},{"name":"n","type":"s","obj":"03"}]}"#;
        assert_eq!(names(json), ["a", "m", "n", "z"]);
    }

    #[test]
    fn equal_names_are_told_apart_and_none_is_lost() {
        let json = r#"{"stream":"kopia:directory","entries":[
            {"name":"x","type":"f","obj":"00"},{"name":"x","type":"f","obj":"01"},
            {"name":"x (2)","type":"f","obj":"02"},{"name":"x","type":"f","obj":"03"},
            {"name":"y","type":"f","obj":"04"}]}"#;
        assert_eq!(names(json), ["x", "x (2)", "x (3)", "x (4)", "y"]);
        let directory = read_directory(json.as_bytes()).expect("a directory");
        let keys = directory.entries.iter().map(|entry| match &entry.kind {
            Kind::File { content: Content::Chunks(keys), .. } => keys[0].hash()[0],
            other => panic!("{other:?}"),
        });
        assert_eq!(keys.collect::<Vec<_>>(), [0, 2, 1, 3, 4]);
    }

    #[test]
    fn keys_and_content_ids_are_two_names_of_the_same() {
        for text in ["00ff", "k00ff", "z01", &"ab".repeat(32)] {
            let id = ContentId::parse(text).expect("an id");
            let key = key_of(id).expect("a key");
            assert_eq!((key.to_string(), content_of(&key)), (text.to_owned(), Ok(id)));
        }
        let part = |text| part_of(ObjectId::parse(text).expect("an object"));
        assert_eq!(part("IIx01").map(|(key, depth)| (key.to_string(), depth)), {
            Ok(("x01".to_owned(), 2))
        });
        assert_eq!(part("01").map(|(_, depth)| depth), Ok(0));
        let refused = Damage::Unsupported { what: "object compressed as a whole" };
        assert_eq!(part("Z01"), Err(refused));
    }

    #[test]
    fn special_bits_come_from_where_go_keeps_them() {
        let json = r#"{"stream":"kopia:directory","entries":[
            {"name":"a","type":"d","mode":"04000777","obj":"k00"},
            {"name":"b","type":"f","mode":"060000755","obj":"00"},
            {"name":"c","type":"f","obj":"00"}]}"#;
        let directory = read_directory(json.as_bytes()).expect("a directory");
        let modes: Vec<u32> = directory.entries.iter().map(|entry| entry.mode).collect();
        assert_eq!(modes, [0o1777, 0o6755, 0]);
    }

    #[test]
    fn a_list_is_told_from_a_directory_by_its_first_bytes() {
        assert!(is_links(br#"{"stream":"kopia:indirect","entries":[{"l":1,"o":"k00"}]}"#));
        assert!(!is_links(br#"{"stream":"kopia:directory","entries":[]}"#));
        assert!(!is_links(b""));
    }
}
