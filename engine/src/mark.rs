//! Everything below roots, each directory once, by several threads.
//!
//! Invariants
//! - Every directory is read once, whatever the number of roots it is in.
//! - What cannot be read is told with the root that needs it, and never passed over: whoever is told
//!   decides whether that is the end.

use std::{
    ops::ControlFlow,
    sync::{Condvar, Mutex, PoisonError},
};

use crate::{
    cancel::Cancel,
    fault::Fault,
    model::{
        chunk::ChunkKey,
        directory::{Entry, Kind},
        root::{Root, RootId},
    },
    reader::Reader,
};

/// Sees what is in use.
pub(crate) trait Uses: Sync {
    /// A directory is in use; whether it has to be looked into. An error where nothing knows it.
    fn directory(&self, key: &ChunkKey) -> Result<bool, Fault>;

    /// An entry of a directory is in use, and these chunks with it.
    fn entry(&self, directory: &ChunkKey, entry: &Entry, chunks: &[ChunkKey]) -> Result<(), Fault>;

    /// A directory of a root cannot be looked into, or not to its end. Ends it by breaking.
    fn problem(&self, root: &RootId, directory: &ChunkKey, fault: Fault) -> ControlFlow<Fault>;
}

struct Queue {
    waiting: Vec<(ChunkKey, usize)>,
    busy: usize,
    ended: Option<(usize, Fault)>,
}

/// Why it ended early: what, and for which root.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) root: RootId,
    pub(crate) fault: Fault,
}

/// Shows `uses` everything below `roots`. Blocks.
pub(crate) fn run(
    reader: &Reader,
    roots: &[(RootId, Root)],
    uses: &dyn Uses,
    threads: usize,
    cancel: &Cancel,
) -> Result<(), Ended> {
    let waiting = roots.iter().enumerate().map(|(at, (_, root))| (root.tree, at)).rev().collect();
    let marking = Marking {
        queue: Mutex::new(Queue { waiting, busy: 0, ended: None }),
        changed: Condvar::new(),
        reader,
        roots,
        uses,
        cancel,
    };
    std::thread::scope(|scope| {
        for _thread in 0..threads.max(1) {
            scope.spawn(|| marking.work());
        }
    });
    let queue = marking.queue.into_inner().unwrap_or_else(PoisonError::into_inner);
    match queue.ended {
        Some((at, fault)) => Err(Ended { root: roots[at].0.clone(), fault }),
        None => Ok(()),
    }
}

struct Marking<'a> {
    queue: Mutex<Queue>,
    changed: Condvar,
    reader: &'a Reader,
    roots: &'a [(RootId, Root)],
    uses: &'a dyn Uses,
    cancel: &'a Cancel,
}

impl Marking<'_> {
    fn work(&self) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if queue.ended.is_some() {
                return;
            }
            let Some((key, root)) = queue.waiting.pop() else {
                if queue.busy == 0 {
                    self.changed.notify_all();
                    return;
                }
                queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            queue.busy += 1;
            drop(queue);
            let mut below = Vec::new();
            let ended = match self.cancel.is_cancelled() {
                true => ControlFlow::Break(Fault::Cancelled),
                false => match self.look_into(&key, &mut below) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(fault) => self.uses.problem(&self.roots[root].0, &key, fault),
                },
            };
            queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.busy -= 1;
            queue.waiting.extend(below.into_iter().map(|key| (key, root)));
            if let ControlFlow::Break(fault) = ended {
                queue.ended.get_or_insert((root, fault));
            }
            self.changed.notify_all();
        }
    }

    fn look_into(&self, key: &ChunkKey, below: &mut Vec<ChunkKey>) -> Result<(), Fault> {
        if !self.uses.directory(key)? {
            return Ok(());
        }
        for entry in self.reader.directory(key)?.entries {
            let chunks = match &entry.kind {
                Kind::File { content, .. } => self.reader.every_chunk_of(content)?,
                _ => Vec::new(),
            };
            self.uses.entry(key, &entry, &chunks)?;
            if let Kind::Directory { tree: Some(tree) } = entry.kind {
                below.push(tree);
            }
        }
        Ok(())
    }
}
