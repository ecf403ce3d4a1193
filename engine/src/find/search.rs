//! Searching roots for paths or chunks.
//!
//! Invariants: a directory in which nothing was found is remembered and not read again in the next
//! root ([`MOST_BARREN`] of them), so that searching many roots of one source costs about as much
//! as searching one. With patterns that holds for a directory at one path, with chunks anywhere.

use std::{collections::HashSet, ops::ControlFlow};

use sha2::{Digest, Sha256};
use windlass_format::time::Timestamp;

use super::{Visitor, Walker};
use crate::{
    fault::Fault,
    filter::{Case, FilterError, PatternList},
    model::{
        chunk::ChunkKey,
        directory::{Entry, Kind},
    },
};

/// Directories that are remembered as holding nothing; 24 bytes each.
const MOST_BARREN: usize = 1 << 22;

/// What to look for among paths.
#[derive(Clone, Debug)]
pub struct Paths {
    patterns: Vec<PatternList>,
    /// An empty pattern matches everything.
    everything: bool,
    oldest: Option<Timestamp>,
    newest: Option<Timestamp>,
}

impl Paths {
    /// Entries whose path matches any of the patterns and that were changed within two moments.
    pub fn new<P: AsRef<[u8]>>(
        patterns: impl IntoIterator<Item = P>,
        case: Case,
        oldest: Option<Timestamp>,
        newest: Option<Timestamp>,
    ) -> Result<Self, FilterError> {
        let mut everything = false;
        let mut lists = Vec::new();
        for pattern in patterns {
            everything |= pattern.as_ref().is_empty();
            lists.push(PatternList::parse([pattern], case)?);
        }
        Ok(Self { patterns: lists, everything, oldest, newest })
    }

    fn matches(&self, path: &[u8], entry: &Entry) -> bool {
        let mtime = entry.mtime.instant();
        (self.everything || self.patterns.iter().any(|pattern| pattern.matches(path)))
            && self.oldest.is_none_or(|oldest| mtime >= oldest.instant())
            && self.newest.is_none_or(|newest| mtime <= newest.instant())
    }

    fn may_match_below(&self, path: &[u8]) -> bool {
        self.everything || self.patterns.iter().any(|list| list.match_with_below(path).below)
    }
}

/// What to look for among chunks.
#[derive(Clone, Debug, Default)]
pub struct Chunks {
    /// Whole keys.
    pub keys: HashSet<ChunkKey>,
    /// Beginnings of the keys of pieces of files.
    pub file_prefixes: Vec<Prefix>,
    /// Beginnings of the keys of directories.
    pub directory_prefixes: Vec<Prefix>,
}

/// The beginning of a key as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(Box<[u8]>);

impl Prefix {
    /// `None` for what no key begins with.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let is_tag = |byte: u8| byte.is_ascii_lowercase();
        let mut bytes = text.bytes();
        let first = bytes.next()?;
        let is_key = (first.is_ascii_hexdigit() || is_tag(first))
            && bytes.all(|byte| byte.is_ascii_hexdigit())
            && text.len() <= 65;
        is_key.then(|| Self(text.into_bytes().into()))
    }

    /// Whether the key begins so.
    #[must_use]
    pub fn begins(&self, key: &ChunkKey) -> bool {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let tag = key.tag().is_ascii_lowercase().then_some(key.tag());
        let digits = key.hash().iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let digits = digits.map(|digit| HEX[usize::from(digit)]);
        let mut written = tag.into_iter().chain(digits);
        self.0.iter().all(|byte| written.next() == Some(*byte))
    }
}

impl Chunks {
    fn has_file_chunk(&self, key: &ChunkKey) -> bool {
        self.keys.contains(key) || self.file_prefixes.iter().any(|prefix| prefix.begins(key))
    }

    fn has_directory(&self, key: &ChunkKey) -> bool {
        self.keys.contains(key) || self.directory_prefixes.iter().any(|prefix| prefix.begins(key))
    }
}

/// Receives what a search finds.
pub trait Finds {
    /// An entry with a path that was looked for.
    fn path(&mut self, path: &[u8], entry: &Entry) {
        let _not_asked_for = (path, entry);
    }

    /// A chunk that was looked for, in the file at `path` in directory `parent`.
    fn file_chunk(&mut self, key: &ChunkKey, path: &[u8], parent: &ChunkKey) {
        let _not_asked_for = (key, path, parent);
    }

    /// A directory that was looked for.
    fn directory(&mut self, key: &ChunkKey, path: &[u8]) {
        let _not_asked_for = (key, path);
    }

    /// A directory, or the list of a file's chunks, that cannot be read.
    fn problem(&mut self, path: &[u8], tree: Option<&ChunkKey>, fault: Fault);
}

/// Searches roots one after the other.
#[derive(Debug)]
pub struct Search {
    what: What,
    barren: HashSet<[u8; 16]>,
}

#[derive(Debug)]
enum What {
    Paths(Paths),
    Chunks(Chunks),
}

impl Search {
    /// For paths.
    #[must_use]
    pub fn paths(paths: Paths) -> Self {
        Self { what: What::Paths(paths), barren: HashSet::new() }
    }

    /// For chunks.
    #[must_use]
    pub fn chunks(chunks: Chunks) -> Self {
        Self { what: What::Chunks(chunks), barren: HashSet::new() }
    }

    /// Searches one root.
    pub fn root(
        &mut self,
        walker: &Walker,
        top: &ChunkKey,
        finds: &mut dyn Finds,
    ) -> Result<(), Fault> {
        if let What::Chunks(chunks) = &self.what
            && chunks.has_directory(top)
        {
            finds.directory(top, b"/");
        }
        let mut visit = Visit { search: self, walker, finds, found: 0, above: vec![0] };
        if visit.descends(b"/", top) {
            walker.walk(top, b"/", &mut visit)?;
        }
        Ok(())
    }

    fn place(&self, path: &[u8], tree: &ChunkKey) -> [u8; 16] {
        let mut digest = Sha256::new();
        digest.update([tree.tag()]);
        digest.update(tree.hash());
        if let What::Paths(_) = self.what {
            digest.update(path);
        }
        let digest: [u8; 32] = digest.finalize().into();
        std::array::from_fn(|at| digest[at])
    }
}

struct Visit<'a> {
    search: &'a mut Search,
    walker: &'a Walker,
    finds: &'a mut dyn Finds,
    /// Finds and problems so far.
    found: u64,
    /// The same when each directory on the way down was entered.
    above: Vec<u64>,
}

impl Visitor for Visit<'_> {
    fn entry(&mut self, path: &[u8], parent: &ChunkKey, entry: &Entry) -> ControlFlow<()> {
        match &self.search.what {
            What::Paths(paths) => {
                if paths.matches(path, entry) {
                    self.found += 1;
                    self.finds.path(path, entry);
                }
            }
            What::Chunks(chunks) => match &entry.kind {
                Kind::Directory { tree: Some(tree) } if chunks.has_directory(tree) => {
                    self.found += 1;
                    self.finds.directory(tree, path);
                }
                Kind::File { content, .. } => match self.walker.reader.every_chunk_of(content) {
                    Ok(keys) => {
                        for key in keys.iter().filter(|key| chunks.has_file_chunk(key)) {
                            self.found += 1;
                            self.finds.file_chunk(key, path, parent);
                        }
                    }
                    Err(fault) => {
                        self.found += 1;
                        self.finds.problem(path, None, fault);
                    }
                },
                _ => {}
            },
        }
        let enters = match &entry.kind {
            Kind::Directory { tree: Some(tree) } => self.descends(path, tree),
            _ => false,
        };
        if enters {
            // A find at the directory itself says nothing of what is in it, but of its parent.
            self.above.push(self.found);
        }
        ControlFlow::Continue(())
    }

    fn descends(&self, path: &[u8], tree: &ChunkKey) -> bool {
        let may = match &self.search.what {
            What::Paths(paths) => paths.may_match_below(path) || path == b"/",
            What::Chunks(_) => true,
        };
        may && !self.search.barren.contains(&self.search.place(path, tree))
    }

    fn leave(&mut self, path: &[u8], tree: &ChunkKey) -> ControlFlow<()> {
        let before = self.above.pop();
        if before == Some(self.found) && self.search.barren.len() < MOST_BARREN {
            let place = self.search.place(path, tree);
            self.search.barren.insert(place);
        }
        ControlFlow::Continue(())
    }

    fn problem(&mut self, path: &[u8], tree: Option<&ChunkKey>, fault: Fault) {
        if tree.is_some() {
            // Entered and not left.
            self.above.pop();
        }
        self.found += 1;
        self.finds.problem(path, tree, fault);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_begins_a_key_as_it_is_written() {
        let key = ChunkKey::full(0, [0xab; 32]);
        let tagged = ChunkKey::full(b'k', [0x01; 32]);
        for (text, key, begins) in [
            ("abab", key, true),
            ("ABA", key, true),
            ("abb", key, false),
            ("k0101", tagged, true),
            ("0101", tagged, false),
        ] {
            assert_eq!(Prefix::parse(text).expect("a prefix").begins(&key), begins, "{text}");
        }
        assert!(Prefix::parse(&key.to_string()).expect("a prefix").begins(&key));
        for text in ["", "xyz", "ab/", "é"] {
            assert_eq!(Prefix::parse(text), None, "{text}");
        }
    }
}
