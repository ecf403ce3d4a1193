//! Counting what roots hold.
//!
//! Invariants
//! - A directory that was counted is not read again for another root, where that cannot change the
//!   figures: what is remembered is a key and two numbers for each directory, a key for each chunk
//!   counted once and 16 bytes for each content of a file.
//! - Hard links of a file are counted once in a root.

use std::{
    collections::{HashMap, HashSet},
    ops::ControlFlow,
};

use sha2::{Digest, Sha256};

use super::{Visitor, Walker};
use crate::{
    dialect::Dialect,
    fault::Fault,
    model::{
        chunk::ChunkKey,
        directory::{Entry, Kind},
        object::Content,
    },
    repository::Repository,
};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Entries, and the bytes of the files that a restore would write.
    RestoreSize,
    /// Files with different contents.
    FilesByContents,
    /// Chunks that files refer to, each once for each path.
    ChunksPerFile,
    /// Chunks as they are stored.
    RawData,
}

/// The figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Roots counted.
    pub roots: u64,
    /// Bytes: plain, or stored with [`Mode::RawData`].
    pub bytes: u64,
    /// Entries, or files with different contents.
    pub files: u64,
    /// Chunks.
    pub chunks: u64,
    /// What the stored chunks would take without compression, where the repository can compress.
    pub uncompressed_bytes: u64,
    /// Of [`Self::bytes`], those of compressed chunks.
    pub compressed_stored_bytes: u64,
    /// Of [`Self::uncompressed_bytes`], those of compressed chunks.
    pub compressed_raw_bytes: u64,
}

/// Counts roots one after the other.
#[derive(Debug)]
pub struct Counter {
    mode: Mode,
    dialect: Dialect,
    figures: Figures,
    /// Directories counted, with what is in them; no figures where hard links are.
    seen: HashMap<ChunkKey, Option<Sum>>,
    contents: HashSet<[u8; 16]>,
    chunks: HashSet<ChunkKey>,
    per_path: HashSet<[u8; 16]>,
    paths: HashSet<[u8; 16]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    files: u64,
    bytes: u64,
    has_links: bool,
}

/// Called with each problem.
pub type OnProblem<'a> = &'a mut dyn FnMut(&[u8], Fault);

impl Counter {
    /// Counts nothing so far.
    #[must_use]
    pub fn new(repository: &Repository, mode: Mode) -> Self {
        Self {
            mode,
            dialect: repository.dialect().clone(),
            figures: Figures::default(),
            seen: HashMap::new(),
            contents: HashSet::new(),
            chunks: HashSet::new(),
            per_path: HashSet::new(),
            paths: HashSet::new(),
        }
    }

    /// Counts one root.
    pub fn root(
        &mut self,
        walker: &Walker,
        top: &ChunkKey,
        problem: OnProblem<'_>,
    ) -> Result<(), Fault> {
        self.figures.roots += 1;
        let mut visit = Visit {
            counter: self,
            walker,
            problem,
            links: HashSet::new(),
            sums: vec![Level { key: *top, sum: Sum::default(), is_whole: true }],
        };
        if visit.counter.mode == Mode::RawData {
            visit.raw(top, b"/");
        }
        if visit.descends(b"/", top) {
            walker.walk(top, b"/", &mut visit)?;
        } else {
            visit.add_seen(top);
        }
        let sum = visit.sums.first().map(|level| level.sum).unwrap_or_default();
        if self.mode == Mode::RestoreSize {
            self.figures.files += sum.files;
            add(&mut self.figures.bytes, sum.bytes);
        }
        Ok(())
    }

    /// What was counted.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.figures
    }
}

/// Adds a size that an entry gives, which is whatever its writer liked.
fn add(sum: &mut u64, size_bytes: u64) {
    *sum = sum.saturating_add(size_bytes);
}

struct Level {
    key: ChunkKey,
    sum: Sum,
    is_whole: bool,
}

struct Visit<'a> {
    counter: &'a mut Counter,
    walker: &'a Walker,
    problem: OnProblem<'a>,
    /// Device and inode of the files with several names.
    links: HashSet<(u64, u64)>,
    sums: Vec<Level>,
}

impl Visit<'_> {
    fn restore_size(&mut self, entry: &Entry) {
        let Some(level) = self.sums.last_mut() else { return };
        level.sum.files += 1;
        let Kind::File { size_bytes, .. } = &entry.kind else { return };
        if entry.links == 1 {
            add(&mut level.sum.bytes, *size_bytes);
            return;
        }
        level.sum.has_links |= entry.inode != 0;
        let is_first = self.links.insert((entry.device, entry.inode));
        if is_first || entry.inode == 0 {
            add(&mut level.sum.bytes, *size_bytes);
        }
    }

    fn by_contents(&mut self, path: &[u8], entry: &Entry) {
        const EMPTY: Content = Content::EMPTY;
        let (content, size_bytes) = match &entry.kind {
            Kind::File { content, size_bytes } => (content, *size_bytes),
            // Everything without content counts together as one empty file.
            _ => (&EMPTY, 0),
        };
        if !self.counter.contents.insert(identity(content)) {
            return;
        }
        let figures = &mut self.counter.figures;
        if self.counter.mode == Mode::FilesByContents {
            add(&mut figures.bytes, size_bytes);
            figures.files += 1;
            return;
        }
        let keys = match self.walker.reader.chunks_of(content) {
            Ok(keys) => keys,
            Err(fault) => return (self.problem)(path, fault),
        };
        if !keys.is_empty() && self.counter.paths.insert(short_hash(&[path])) {
            figures.files += 1;
        }
        for key in keys {
            if !self.counter.per_path.insert(short_hash(&[&[key.tag()], key.hash(), path])) {
                continue;
            }
            match self.walker.reader.location(&key) {
                Some(at) => {
                    add(&mut figures.bytes, u64::from(at.raw_bytes));
                    figures.chunks += 1;
                }
                None => (self.problem)(path, Fault::Missing { key }),
            }
        }
    }

    fn raw(&mut self, key: &ChunkKey, path: &[u8]) {
        let is_stored = self.counter.dialect.made_up_directory(key).is_none();
        if !is_stored || !self.counter.chunks.insert(*key) {
            return;
        }
        let Some(at) = self.walker.reader.location(key) else {
            return (self.problem)(path, Fault::Missing { key: *key });
        };
        let figures = &mut self.counter.figures;
        let stored = u64::from(at.stored_bytes);
        figures.chunks += 1;
        add(&mut figures.bytes, stored);
        if let Some(uncompressed) = self.counter.dialect.uncompressed_bytes(at.raw_bytes) {
            figures.uncompressed_bytes += uncompressed;
            if at.coding.0 != 0 {
                figures.compressed_stored_bytes += stored;
                figures.compressed_raw_bytes += uncompressed;
            }
        }
    }

    /// Adds the figures of a directory that is not read again.
    fn add_seen(&mut self, tree: &ChunkKey) {
        let seen = self.counter.seen.get(tree).copied().flatten();
        if let (Some(sum), Some(level)) = (seen, self.sums.last_mut()) {
            level.sum.files += sum.files;
            add(&mut level.sum.bytes, sum.bytes);
        }
    }
}

impl Visitor for Visit<'_> {
    fn entry(&mut self, path: &[u8], _parent: &ChunkKey, entry: &Entry) -> ControlFlow<()> {
        match self.counter.mode {
            Mode::RestoreSize => self.restore_size(entry),
            Mode::FilesByContents | Mode::ChunksPerFile => self.by_contents(path, entry),
            Mode::RawData => match &entry.kind {
                Kind::Directory { tree: Some(tree) } => self.raw(tree, path),
                Kind::File { content, .. } => match self.walker.reader.every_chunk_of(content) {
                    Ok(keys) => keys.iter().for_each(|key| self.raw(key, path)),
                    Err(fault) => (self.problem)(path, fault),
                },
                _ => {}
            },
        }
        if let Kind::Directory { tree: Some(tree) } = &entry.kind
            && self.descends(path, tree)
        {
            self.sums.push(Level { key: *tree, sum: Sum::default(), is_whole: true });
        }
        ControlFlow::Continue(())
    }

    fn descends(&self, _path: &[u8], tree: &ChunkKey) -> bool {
        match self.counter.seen.get(tree) {
            None => true,
            // Which of the links is the first one is different in each root.
            Some(sum) => self.counter.mode == Mode::RestoreSize && sum.is_none(),
        }
    }

    fn passed_by(&mut self, _path: &[u8], tree: &ChunkKey) -> ControlFlow<()> {
        self.add_seen(tree);
        ControlFlow::Continue(())
    }

    fn leave(&mut self, path: &[u8], _tree: &ChunkKey) -> ControlFlow<()> {
        if path == b"/" {
            if let Some(level) = self.sums.first()
                && level.is_whole
            {
                let sum = (!level.sum.has_links).then_some(level.sum);
                self.counter.seen.insert(level.key, sum);
            }
            return ControlFlow::Continue(());
        }
        let Some(level) = self.sums.pop() else { return ControlFlow::Continue(()) };
        if level.is_whole {
            let sum = (!level.sum.has_links).then_some(level.sum);
            self.counter.seen.insert(level.key, sum);
        }
        if let Some(above) = self.sums.last_mut() {
            above.sum.files += level.sum.files;
            add(&mut above.sum.bytes, level.sum.bytes);
            above.sum.has_links |= level.sum.has_links;
            above.is_whole &= level.is_whole;
        }
        ControlFlow::Continue(())
    }

    fn problem(&mut self, path: &[u8], tree: Option<&ChunkKey>, fault: Fault) {
        if tree.is_some() && path != b"/" {
            // Entered and not left.
            self.sums.pop();
        }
        if let Some(level) = self.sums.last_mut() {
            level.is_whole = false;
        }
        (self.problem)(path, fault);
    }
}

fn identity(content: &Content) -> [u8; 16] {
    match content {
        Content::Chunks(keys) => {
            let parts: Vec<&[u8]> = keys.iter().map(ChunkKey::hash).collect();
            short_hash(&parts)
        }
        Content::Linked { list, depth } => short_hash(&[&[list.tag(), *depth], list.hash()]),
    }
}

fn short_hash(parts: &[&[u8]]) -> [u8; 16] {
    let mut digest = Sha256::new();
    parts.iter().for_each(|part| digest.update(part));
    let digest: [u8; 32] = digest.finalize().into();
    std::array::from_fn(|at| digest[at])
}
