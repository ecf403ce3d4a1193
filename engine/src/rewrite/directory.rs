//! What is kept of a directory and of all below it.
//!
//! Invariants
//! - A directory of which nothing changed keeps its key and is not stored.
//! - The stack is on the heap: how deep a tree is does not matter.
//! - What came of a directory is remembered, so that what many roots share is looked at once.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use windlass_format::damage::Damage;

use super::Step;
use crate::{
    cancel::Cancel,
    deposit::{Chunk, Deposit},
    dialect::Encoder,
    fault::{Class, Fault},
    filter::Selection,
    index::{Claim, Index},
    model::{
        chunk::{ChunkKey, Role},
        directory::{Directory, Entry, Kind},
        object::Content,
        pack::Location,
    },
    reader::Reader,
};

/// Directories that are remembered; more are looked at again.
const MOST_REMEMBERED: usize = 1 << 20;

/// What is kept of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its new key, or the old one.
    pub tree: ChunkKey,
    /// Files in it and below.
    pub files: u64,
    /// Bytes of those files.
    pub bytes: u64,
}

/// What is told of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// It is left out.
    Excluded,
    /// A file is taken.
    Included,
    /// A directory is taken although nothing in it is.
    IncludedDirectory,
    /// Parts of a file are gone.
    ContentRemoved,
    /// A file's size is not what its parts add up to.
    SizeFixed,
    /// It is nothing that a directory can hold.
    InvalidRemoved,
    /// A directory cannot be read, and is empty now.
    DirectoryReplaced,
    /// The top directory cannot be read.
    Unreadable,
}

/// What decides.
pub(super) enum Rule {
    /// What is taken.
    Select(Selection),
    /// What is broken.
    Mend(Mend),
}

/// What there is.
pub(super) struct Mend {
    pub(super) index: Arc<Index>,
    /// Whether a pack is in the store, by its number.
    pub(super) there: Vec<bool>,
}

/// Makes directories anew.
pub(super) struct Reviser<'a> {
    rule: Rule,
    reader: Reader,
    encoder: Encoder,
    index: Arc<Index>,
    deposit: &'a dyn Keeps,
    told: &'a (dyn Fn(Step<'_>) + Send + Sync),
    dry_run: bool,
    remembered: HashMap<(ChunkKey, Box<[u8]>), Option<Kept>>,
    /// New directories that are there, or on their way.
    made: HashSet<ChunkKey>,
    stored_bytes: u64,
}

/// Where new directories go.
pub(super) trait Keeps {
    fn stop(&self) -> &Cancel;
    fn key_of(&self, plain: &[u8]) -> Result<ChunkKey, Fault>;
    fn keep(&self, key: ChunkKey, plain: &[u8]) -> Result<u64, Fault>;
}

impl<B> Keeps for Deposit<B> {
    fn stop(&self) -> &Cancel {
        &self.stop
    }

    fn key_of(&self, plain: &[u8]) -> Result<ChunkKey, Fault> {
        self.key_of(Role::Directory, plain)
    }

    fn keep(&self, key: ChunkKey, plain: &[u8]) -> Result<u64, Fault> {
        Ok(self.store(Role::Directory, &[Chunk::new(key, plain)])?.0.stored_bytes)
    }
}

/// A directory on its way.
struct Frame {
    key: Option<ChunkKey>,
    path_bytes: usize,
    left: std::vec::IntoIter<Entry>,
    kept: Vec<Entry>,
    changed: bool,
    files: u64,
    bytes: u64,
    /// The entry in the directory above.
    entry: Option<Entry>,
}

impl Frame {
    /// Takes over what is kept of a directory in it.
    fn settle(&mut self, entry: Entry, kept: Option<Kept>) {
        let Some(kept) = kept else {
            self.changed = true;
            return;
        };
        let tree = Some(kept.tree);
        self.changed |= entry.kind != Kind::Directory { tree };
        self.files += kept.files;
        self.bytes += kept.bytes;
        self.kept.push(Entry { kind: Kind::Directory { tree }, ..entry });
    }
}

impl<'a> Reviser<'a> {
    pub(super) fn new(
        rule: Rule,
        reader: Reader,
        encoder: Encoder,
        index: Arc<Index>,
        deposit: &'a dyn Keeps,
        told: &'a (dyn Fn(Step<'_>) + Send + Sync),
        dry_run: bool,
    ) -> Self {
        let (remembered, made, stored_bytes) = (HashMap::new(), HashSet::new(), 0);
        Self {
            rule,
            reader,
            encoder,
            index,
            deposit,
            told,
            dry_run,
            remembered,
            made,
            stored_bytes,
        }
    }

    /// What was stored so far.
    pub(super) fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }

    /// Whether files and bytes are counted.
    pub(super) fn counts(&self) -> bool {
        matches!(self.rule, Rule::Select(_))
    }

    /// Whether what is taken was named, and not what is left out.
    pub(super) fn takes_only_some(&self) -> bool {
        matches!(&self.rule, Rule::Select(selection) if selection.is_include())
    }

    /// What is kept of a tree; nothing where nothing is left of it.
    pub(super) fn revise(&mut self, tree: &ChunkKey) -> Result<Option<Kept>, Fault> {
        let mut path = b"/".to_vec();
        if let Some(kept) = self.remembered.get(&self.memory_key(*tree, &path)) {
            return Ok(*kept);
        }
        let Some(top) = self.open(Some(*tree), None, &path)? else { return Ok(None) };
        let mut stack = vec![top];
        loop {
            if self.deposit.stop().is_cancelled() {
                return Err(Fault::Cancelled);
            }
            let frame = stack.last_mut().ok_or(Fault::Bug("a tree without a top"))?;
            path.truncate(frame.path_bytes);
            let Some(entry) = frame.left.next() else {
                let Some(mut frame) = stack.pop() else { continue };
                let entry = frame.entry.take();
                let kept = self.close(frame, &path)?;
                match (stack.last_mut(), entry) {
                    (Some(above), Some(entry)) => above.settle(entry, kept),
                    _ => return Ok(kept),
                }
                continue;
            };
            push(&mut path, &entry.name);
            let Some(entry) = self.choose(entry, &path, frame) else { continue };
            let Kind::Directory { tree } = entry.kind else {
                frame.kept.push(entry);
                continue;
            };
            let known = tree.and_then(|tree| self.remembered.get(&self.memory_key(tree, &path)));
            match known {
                Some(kept) => frame.settle(entry, *kept),
                None => stack.extend(self.open(tree, Some(entry), &path)?),
            }
        }
    }

    /// An entry as far as it is kept, without what is below it.
    fn choose(&self, mut entry: Entry, path: &[u8], frame: &mut Frame) -> Option<Entry> {
        let is_dir = matches!(entry.kind, Kind::Directory { .. });
        match &self.rule {
            Rule::Select(selection) => {
                let choice = selection.choose(path, is_dir);
                if !(choice.selected || choice.descend) {
                    if !selection.is_include() {
                        self.note(path, Noted::Excluded);
                    }
                    frame.changed = true;
                    return None;
                }
                if selection.is_include() && !is_dir {
                    self.note(path, Noted::Included);
                }
            }
            Rule::Mend(_) if entry.kind == Kind::Unknown => {
                self.note(path, Noted::InvalidRemoved);
                frame.changed = true;
                return None;
            }
            Rule::Mend(mend) => {
                if let Some(noted) = mend.file(&mut entry) {
                    self.note(path, noted);
                    frame.changed = true;
                }
            }
        }
        if let Kind::File { size_bytes, .. } = &entry.kind {
            frame.files += 1;
            frame.bytes = frame.bytes.saturating_add(*size_bytes);
        }
        Some(entry)
    }

    /// Begins a directory; nothing where it is the top one and cannot be read.
    fn open(
        &self,
        key: Option<ChunkKey>,
        entry: Option<Entry>,
        path: &[u8],
    ) -> Result<Option<Frame>, Fault> {
        let read = match key {
            Some(key) => self.reader.directory(&key),
            None => {
                let what = Damage::Invalid { what: "missing subtree" };
                Err(Fault::damaged(format!("directory {}", String::from_utf8_lossy(path)), what))
            }
        };
        let (directory, changed) = match read {
            Ok(directory) => {
                if let (Rule::Select(_), Some(key)) = (&self.rule, key) {
                    self.check_stable(&key, &directory, path)?;
                }
                (directory, false)
            }
            // Only what is not there or not what it should be is given up.
            Err(fault) if self.mends() && fault.class() == Class::Damaged => {
                if entry.is_none() {
                    self.note(path, Noted::Unreadable);
                    return Ok(None);
                }
                self.note(path, Noted::DirectoryReplaced);
                (Directory::default(), true)
            }
            Err(fault) => return Err(fault),
        };
        Ok(Some(Frame {
            key,
            path_bytes: path.len(),
            kept: Vec::with_capacity(directory.entries.len()),
            left: directory.entries.into_iter(),
            changed,
            files: 0,
            bytes: 0,
            entry,
        }))
    }

    fn close(&mut self, frame: Frame, path: &[u8]) -> Result<Option<Kept>, Fault> {
        let Frame { key, kept, changed, files, bytes, .. } = frame;
        let result = match (&self.rule, key) {
            (Rule::Select(selection), _) if kept.is_empty() && selection.is_include() => {
                let named = selection.is_selected(path);
                if named {
                    self.note(path, Noted::IncludedDirectory);
                }
                named
            }
            _ => true,
        };
        let kept = match (result, key) {
            (false, _) => None,
            (true, Some(tree)) if !changed => Some(Kept { tree, files, bytes }),
            (true, _) => Some(Kept { tree: self.store(kept)?, files, bytes }),
        };
        if let Some(key) = key
            && self.remembered.len() < MOST_REMEMBERED
        {
            self.remembered.insert(self.memory_key(key, path), kept);
        }
        Ok(kept)
    }

    /// Stores a directory, unless it is there.
    fn store(&mut self, entries: Vec<Entry>) -> Result<ChunkKey, Fault> {
        let mut plain = Vec::new();
        self.encoder.write_directory(&Directory { entries }, &mut plain)?;
        let key = self.deposit.key_of(&plain)?;
        if !self.dry_run && self.made.insert(key) && !self.is_there(&key)? {
            self.stored_bytes += self.deposit.keep(key, &plain)?;
        }
        Ok(key)
    }

    /// Whether a new directory need not be stored. The index may know it in a place that is among
    /// what is to be mended.
    fn is_there(&self, key: &ChunkKey) -> Result<bool, Fault> {
        let is_known = self.index.claim(key) == Claim::Known;
        if !is_known || !self.mends() {
            return Ok(is_known);
        }
        match self.reader.directory(key) {
            Ok(_) => Ok(true),
            Err(fault) if fault.class() == Class::Damaged => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Fails where a directory would be another one if it was written as it was read.
    fn check_stable(
        &self,
        key: &ChunkKey,
        directory: &Directory,
        path: &[u8],
    ) -> Result<(), Fault> {
        let mut plain = Vec::new();
        self.encoder.write_directory(directory, &mut plain)?;
        if self.deposit.key_of(&plain)? == *key {
            return Ok(());
        }
        let path = String::from_utf8_lossy(path);
        Err(Fault::Unsupported {
            what: format!("something in the directory {path} that would get lost"),
        })
    }

    fn mends(&self) -> bool {
        matches!(self.rule, Rule::Mend(_))
    }

    /// What is kept may depend on where it is.
    fn memory_key(&self, tree: ChunkKey, path: &[u8]) -> (ChunkKey, Box<[u8]>) {
        let path = if self.mends() { Box::default() } else { Box::from(path) };
        (tree, path)
    }

    fn note(&self, path: &[u8], what: Noted) {
        (self.told)(Step::Noted { path, what });
    }
}

impl Mend {
    /// Takes out of a file what is not there, and says whether something was wrong with it.
    fn file(&self, entry: &mut Entry) -> Option<Noted> {
        let Kind::File { size_bytes, content: Content::Chunks(chunks) } = &mut entry.kind else {
            return None;
        };
        let before = chunks.len();
        let mut bytes = 0_u64;
        chunks.retain(|chunk| match self.place(chunk) {
            Some(raw_bytes) => {
                bytes += u64::from(raw_bytes);
                true
            }
            None => false,
        });
        let wrong = bytes != *size_bytes;
        *size_bytes = bytes;
        match (chunks.len() < before, wrong) {
            (true, _) => Some(Noted::ContentRemoved),
            (false, true) => Some(Noted::SizeFixed),
            (false, false) => None,
        }
    }

    /// The length of a chunk, where a pack that is there has it.
    fn place(&self, chunk: &ChunkKey) -> Option<u32> {
        let there =
            |place: &Location| self.there.get(place.pack.0 as usize).is_some_and(|there| *there);
        let first = self.index.find(chunk)?;
        let further = || self.index.further(chunk).into_iter().find(there);
        Some(first).filter(there).or_else(further).map(|place| place.raw_bytes)
    }
}

/// Appends a component to a path.
fn push(path: &mut Vec<u8>, name: &[u8]) {
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}
