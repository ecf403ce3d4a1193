//! What differs between two roots.
//!
//! Invariants
//! - Directories with equal keys are equal and are not compared. They are read only for the figures:
//!   a chunk is new only if no unchanged file has it either. That ends when no chunk is in doubt.
//! - Memory: the keys of the chunks in directories that differ.

use std::{collections::HashSet, ops::ControlFlow, sync::Arc};

use super::{
    Visitor, Walker,
    walk::{push_name, without_tree},
};
use crate::{
    dialect::Dialect,
    fault::Fault,
    model::{
        chunk::{ChunkKey, Role},
        directory::{Directory, Entry, Kind, Target},
    },
    reader::ahead::{Ahead, Wanted},
};

/// Pairs of directories asked for ahead.
const DEPTH: usize = 8;

/// How an entry differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is only in the second root.
    Added,
    /// It is only in the first root.
    Removed,
    /// It is in both.
    Changed {
        /// It is something else now.
        kind: bool,
        /// Both are files with different content.
        content: bool,
        /// Content differs and nothing else does: damage of the source, perhaps.
        silently: bool,
        /// Something else than content differs; told only where asked for.
        metadata: bool,
    },
}

/// Receives differences.
pub trait Differences {
    /// One entry differs; `path` has a slash at the end where it is a directory.
    fn change(&mut self, path: &[u8], change: Change);

    /// A directory that cannot be read.
    fn problem(&mut self, path: &[u8], fault: Fault);
}

/// The figures of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// Files only there.
    pub files: u64,
    /// Directories only there.
    pub dirs: u64,
    /// Other entries only there.
    pub others: u64,
    /// Chunks of files only there.
    pub data_chunks: u64,
    /// Chunks of metadata only there.
    pub meta_chunks: u64,
    /// Plain bytes of those chunks.
    pub bytes: u64,
}

/// The figures of a comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Files with different content.
    pub changed_files: u64,
    /// The second root.
    pub added: Side,
    /// The first root.
    pub removed: Side,
}

/// Compares two top directories.
pub fn run(
    dialect: &Dialect,
    walker: &Walker,
    [before, after]: [ChunkKey; 2],
    metadata: bool,
    differences: &mut dyn Differences,
) -> Result<Figures, Fault> {
    let comparison = Comparison {
        walker,
        dialect,
        metadata,
        differences,
        figures: Figures::default(),
        chunks: [HashSet::from([before]), HashSet::from([after])],
        equal: HashSet::new(),
        path: vec![b'/'],
    };
    walker.with_ahead(|ahead| comparison.run(ahead, before, after))
}

struct Comparison<'a> {
    walker: &'a Walker,
    dialect: &'a Dialect,
    metadata: bool,
    differences: &'a mut dyn Differences,
    figures: Figures,
    /// Chunks of what was compared, of each root.
    chunks: [HashSet<ChunkKey>; 2],
    /// Directories that are in both.
    equal: HashSet<ChunkKey>,
    path: Vec<u8>,
}

/// An entry of one or both directories.
#[derive(Default)]
struct Pair {
    before: Option<Entry>,
    after: Option<Entry>,
    wanted: Option<[Arc<Wanted>; 2]>,
}

/// Two directories under way.
struct Frame {
    pairs: Vec<Pair>,
    at: usize,
    /// First pair that was not looked at for reading ahead.
    asked: usize,
    /// Pairs asked for and not come to.
    waiting: usize,
    path_len: usize,
}

impl Comparison<'_> {
    fn run(mut self, ahead: &Ahead, before: ChunkKey, after: ChunkKey) -> Result<Figures, Fault> {
        if before == after {
            return Ok(self.figures);
        }
        let mut stack = Vec::new();
        let top = [Wanted::new(before), Wanted::new(after)];
        stack.extend(self.enter(ahead, &top)?);
        while let Some(frame) = stack.last_mut() {
            self.walker.check()?;
            self.path.truncate(frame.path_len);
            let Some(pair) = frame.next(ahead) else {
                stack.pop();
                continue;
            };
            if let Some(wanted) = self.pair(ahead, pair)? {
                stack.extend(self.enter(ahead, &wanted)?);
            }
        }
        self.settle(ahead)?;
        Ok(self.figures)
    }

    fn enter(&mut self, ahead: &Ahead, wanted: &[Arc<Wanted>; 2]) -> Result<Option<Frame>, Fault> {
        let [before, after] = wanted.each_ref().map(|wanted| self.walker.get(ahead, wanted));
        let (before, after) = match (before, after) {
            (Ok(before), Ok(after)) => (before, after),
            (Err(Fault::Cancelled), _) | (_, Err(Fault::Cancelled)) => {
                return Err(Fault::Cancelled);
            }
            (Err(fault), _) | (_, Err(fault)) => {
                self.differences.problem(&self.path, fault);
                return Ok(None);
            }
        };
        let pairs = merged(before, after);
        let path_len = self.path.len();
        Ok(Some(Frame { pairs, at: 0, asked: 0, waiting: 0, path_len }))
    }

    /// Compares one pair; returns what to compare next where both are directories that differ.
    fn pair(&mut self, ahead: &Ahead, pair: Pair) -> Result<Option<[Arc<Wanted>; 2]>, Fault> {
        for (chunks, entry) in self.chunks.iter_mut().zip([&pair.before, &pair.after]) {
            if let Some(entry) = entry
                && let Err(fault) = add_chunks(self.walker, chunks, entry)
            {
                self.differences.problem(&self.path, fault);
            }
        }
        match (pair.before, pair.after) {
            (Some(before), Some(after)) => {
                self.both(&before, &after);
                Ok(match (directory(&before), directory(&after)) {
                    (Some(before), Some(after)) if before == after => {
                        self.equal.insert(before);
                        None
                    }
                    (Some(before), Some(after)) => {
                        Some(pair.wanted.unwrap_or_else(|| [before, after].map(Wanted::new)))
                    }
                    _ => None,
                })
            }
            (Some(entry), None) => self.single(ahead, &entry, Change::Removed).map(|()| None),
            (None, Some(entry)) => self.single(ahead, &entry, Change::Added).map(|()| None),
            (None, None) => Ok(None),
        }
    }

    fn both(&mut self, before: &Entry, after: &Entry) {
        let kind = std::mem::discriminant(&before.kind) != std::mem::discriminant(&after.kind);
        let content = match (&before.kind, &after.kind) {
            (Kind::File { content: before, .. }, Kind::File { content: after, .. }) => {
                before != after
            }
            _ => false,
        };
        let silently = content && same_but_content(before, after);
        let metadata = !content && self.metadata && !same(before, after);
        if content {
            self.figures.changed_files += 1;
        }
        push_name(&mut self.path, &after.name);
        if kind || content || metadata {
            let change = Change::Changed { kind, content, silently, metadata };
            tell(self.differences, &self.path, after, change);
        }
        if matches!(after.kind, Kind::Directory { tree: None }) {
            self.differences.problem(&self.path, without_tree(&self.path));
        }
    }

    fn single(&mut self, ahead: &Ahead, entry: &Entry, change: Change) -> Result<(), Fault> {
        push_name(&mut self.path, &entry.name);
        let [removed, added] = &mut self.chunks;
        let (side, chunks) = match change {
            Change::Removed => (&mut self.figures.removed, removed),
            _ => (&mut self.figures.added, added),
        };
        let mut all =
            All { walker: self.walker, change, side, chunks, differences: self.differences };
        all.tell(&self.path, entry);
        match &entry.kind {
            Kind::Directory { tree: Some(tree) } => {
                self.walker.walk_with(ahead, tree, &self.path, &mut all).map(drop)
            }
            Kind::Directory { tree: None } => {
                self.differences.problem(&self.path, without_tree(&self.path));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Counts the chunks that are in one root only.
    fn settle(&mut self, ahead: &Ahead) -> Result<(), Fault> {
        let [before, after] = std::mem::take(&mut self.chunks);
        let only = |one: &HashSet<ChunkKey>, other: &HashSet<ChunkKey>| -> HashSet<ChunkKey> {
            one.difference(other).copied().collect()
        };
        let mut common = Common {
            walker: self.walker,
            doubtful: [only(&before, &after), only(&after, &before)],
            seen: HashSet::new(),
            differences: self.differences,
        };
        drop((before, after));
        for tree in &self.equal {
            if common.is_settled() {
                break;
            }
            if common.seen.insert(*tree) {
                common.forget(tree);
                let _ended = self.walker.walk_with(ahead, tree, b"/", &mut common)?;
            }
        }
        let [removed, added] = common.doubtful;
        for (side, keys) in [(&mut self.figures.removed, removed), (&mut self.figures.added, added)]
        {
            for key in keys {
                match self.dialect.role(&key) {
                    Role::File => side.data_chunks += 1,
                    Role::Directory | Role::Links => side.meta_chunks += 1,
                }
                match self.walker.reader.location(&key) {
                    Some(at) => side.bytes += u64::from(at.raw_bytes),
                    None => self.differences.problem(b"/", Fault::Missing { key }),
                }
            }
        }
        Ok(())
    }
}

impl Frame {
    /// The next pair, with the directories to compare after it asked for.
    fn next(&mut self, ahead: &Ahead) -> Option<Pair> {
        let pair = std::mem::take(self.pairs.get_mut(self.at)?);
        self.at += 1;
        self.asked = self.asked.max(self.at);
        self.waiting -= usize::from(pair.wanted.is_some());
        while self.waiting < DEPTH
            && let Some(pair) = self.pairs.get_mut(self.asked)
        {
            self.asked += 1;
            let sides = [&pair.before, &pair.after].map(|entry| directory(entry.as_ref()?));
            if let [Some(before), Some(after)] = sides
                && before != after
            {
                let wanted = [before, after].map(Wanted::new);
                wanted.iter().for_each(|wanted| ahead.request(wanted));
                pair.wanted = Some(wanted);
                self.waiting += 1;
            }
        }
        Some(pair)
    }
}

/// Everything below a directory that is in one root only.
struct All<'a> {
    walker: &'a Walker,
    change: Change,
    side: &'a mut Side,
    chunks: &'a mut HashSet<ChunkKey>,
    differences: &'a mut dyn Differences,
}

impl All<'_> {
    fn tell(&mut self, path: &[u8], entry: &Entry) {
        match &entry.kind {
            Kind::File { .. } => self.side.files += 1,
            Kind::Directory { .. } => self.side.dirs += 1,
            _ => self.side.others += 1,
        }
        tell(self.differences, path, entry, self.change);
    }
}

impl Visitor for All<'_> {
    fn entry(&mut self, path: &[u8], _parent: &ChunkKey, entry: &Entry) -> ControlFlow<()> {
        self.tell(path, entry);
        if let Err(fault) = add_chunks(self.walker, self.chunks, entry) {
            self.differences.problem(path, fault);
        }
        ControlFlow::Continue(())
    }

    fn problem(&mut self, path: &[u8], _tree: Option<&ChunkKey>, fault: Fault) {
        self.differences.problem(path, fault);
    }
}

/// What is in both roots: its chunks are in doubt no longer.
struct Common<'a> {
    walker: &'a Walker,
    doubtful: [HashSet<ChunkKey>; 2],
    seen: HashSet<ChunkKey>,
    differences: &'a mut dyn Differences,
}

impl Common<'_> {
    fn is_settled(&self) -> bool {
        self.doubtful.iter().all(HashSet::is_empty)
    }

    fn forget(&mut self, key: &ChunkKey) {
        for keys in &mut self.doubtful {
            keys.remove(key);
        }
    }
}

impl Visitor for Common<'_> {
    fn entry(&mut self, path: &[u8], _parent: &ChunkKey, entry: &Entry) -> ControlFlow<()> {
        match &entry.kind {
            Kind::Directory { tree: Some(tree) } => self.forget(tree),
            Kind::File { content, .. } => match self.walker.reader.every_chunk_of(content) {
                Ok(keys) => keys.iter().for_each(|key| self.forget(key)),
                Err(fault) => self.differences.problem(path, fault),
            },
            _ => {}
        }
        if self.is_settled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn descends(&self, _path: &[u8], tree: &ChunkKey) -> bool {
        !self.seen.contains(tree)
    }

    fn leave(&mut self, _path: &[u8], tree: &ChunkKey) -> ControlFlow<()> {
        self.seen.insert(*tree);
        ControlFlow::Continue(())
    }

    fn problem(&mut self, path: &[u8], _tree: Option<&ChunkKey>, fault: Fault) {
        self.differences.problem(path, fault);
    }
}

fn tell(differences: &mut dyn Differences, path: &[u8], entry: &Entry, change: Change) {
    if matches!(entry.kind, Kind::Directory { .. }) {
        differences.change(&[path, b"/"].concat(), change);
    } else {
        differences.change(path, change);
    }
}

fn directory(entry: &Entry) -> Option<ChunkKey> {
    match &entry.kind {
        Kind::Directory { tree } => *tree,
        _ => None,
    }
}

fn add_chunks(walker: &Walker, chunks: &mut HashSet<ChunkKey>, entry: &Entry) -> Result<(), Fault> {
    match &entry.kind {
        Kind::File { content, .. } => chunks.extend(walker.reader.every_chunk_of(content)?),
        Kind::Directory { tree } => chunks.extend(*tree),
        Kind::Symlink { target: Target::Stored(content) } => {
            chunks.extend(walker.reader.every_chunk_of(content)?);
        }
        _ => {}
    }
    Ok(())
}

/// The entries of both, by name.
fn merged(before: Directory, after: Directory) -> Vec<Pair> {
    let mut pairs = Vec::with_capacity(before.entries.len().max(after.entries.len()));
    let mut before = before.entries.into_iter().peekable();
    let mut after = after.entries.into_iter().peekable();
    loop {
        let (take_before, take_after) = match (before.peek(), after.peek()) {
            (None, None) => return pairs,
            (Some(_), None) => (true, false),
            (None, Some(_)) => (false, true),
            (Some(one), Some(other)) => (one.name <= other.name, other.name <= one.name),
        };
        pairs.push(Pair {
            before: before.next_if(|_entry| take_before),
            after: after.next_if(|_entry| take_after),
            wanted: None,
        });
    }
}

fn same(one: &Entry, other: &Entry) -> bool {
    let instants = |entry: &Entry| {
        (entry.mtime.instant(), entry.atime.instant(), entry.ctime.map(|time| time.instant()))
    };
    // Moments are compared as such; the zone they were written in is not part of the entry.
    let aligned = Entry { mtime: one.mtime, atime: one.atime, ctime: one.ctime, ..other.clone() };
    instants(one) == instants(other) && *one == aligned
}

fn same_but_content(one: &Entry, other: &Entry) -> bool {
    let mut other = other.clone();
    if let (Kind::File { content: from, .. }, Kind::File { content: to, .. }) =
        (&one.kind, &mut other.kind)
    {
        to.clone_from(from);
    }
    same(one, &other)
}
