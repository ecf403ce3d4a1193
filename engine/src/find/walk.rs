//! The walk itself: depth first, with directories read ahead.
//!
//! Invariants: the stack is on the heap, so that no depth of directories ends the process; a
//! directory is asked for ahead only if the visitor wants to see into it.

use std::{collections::VecDeque, ops::ControlFlow, sync::Arc};

use windlass_format::damage::Damage;

use super::Walker;
use crate::{
    fault::Fault,
    model::{
        chunk::ChunkKey,
        directory::{Directory, Entry, Kind},
    },
    reader::ahead::{self, Ahead, Wanted},
};

/// Sees what is met on a walk. Paths start with a slash and have none at the end.
pub trait Visitor {
    /// An entry, before what is in it; `parent` is the directory it is in.
    fn entry(&mut self, path: &[u8], parent: &ChunkKey, entry: &Entry) -> ControlFlow<()>;

    /// Whether to see what is in a directory. May be asked more than once, and ahead of time.
    fn descends(&self, path: &[u8], tree: &ChunkKey) -> bool {
        let _everywhere = (path, tree);
        true
    }

    /// Everything in a directory was seen.
    fn leave(&mut self, path: &[u8], tree: &ChunkKey) -> ControlFlow<()> {
        let _nothing_to_do = (path, tree);
        ControlFlow::Continue(())
    }

    /// A directory was not descended into, because that was not wanted.
    fn passed_by(&mut self, path: &[u8], tree: &ChunkKey) -> ControlFlow<()> {
        let _nothing_to_do = (path, tree);
        ControlFlow::Continue(())
    }

    /// A directory that cannot be read.
    fn problem(&mut self, path: &[u8], tree: Option<&ChunkKey>, fault: Fault);
}

/// A directory under way.
struct Frame {
    key: ChunkKey,
    entries: Vec<Entry>,
    at: usize,
    /// First entry that was not looked at for reading ahead.
    asked: usize,
    ahead: VecDeque<(usize, Arc<Wanted>)>,
    path_len: usize,
}

impl Walker {
    /// Shows the visitor everything below a directory whose path is `path`; `/` for a top one.
    /// Ends early where the visitor says so, with an error only where it was cancelled.
    pub fn walk(
        &self,
        top: &ChunkKey,
        path: &[u8],
        visitor: &mut dyn Visitor,
    ) -> Result<(), Fault> {
        self.with_ahead(|ahead| self.walk_with(ahead, top, path, visitor).map(drop))
    }

    /// Runs `work` with threads that read ahead for it.
    pub(super) fn with_ahead<T>(&self, work: impl FnOnce(&Ahead) -> T) -> T {
        let (ahead, requests) = ahead::channel();
        std::thread::scope(|scope| {
            for _thread in 0..self.ahead_threads {
                scope.spawn(|| requests.serve(&self.reader, || self.cancel.is_cancelled()));
            }
            // The threads end when nobody can ask any more.
            let result = work(&ahead);
            drop(ahead);
            result
        })
    }

    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.cancel.is_cancelled() { Err(Fault::Cancelled) } else { Ok(()) }
    }

    pub(super) fn get(&self, ahead: &Ahead, wanted: &Wanted) -> Result<Directory, Fault> {
        self.check()?;
        ahead.get(&self.reader, wanted)
    }

    pub(super) fn walk_with(
        &self,
        ahead: &Ahead,
        top: &ChunkKey,
        path: &[u8],
        visitor: &mut dyn Visitor,
    ) -> Result<ControlFlow<()>, Fault> {
        let mut path = path.to_vec();
        let mut stack = Vec::new();
        let top_wanted = Wanted::new(*top);
        self.enter(ahead, &mut stack, &top_wanted, *top, &path, visitor)?;
        while let Some(frame) = stack.last_mut() {
            self.check()?;
            path.truncate(frame.path_len);
            let Some(entry) = frame.entries.get_mut(frame.at) else {
                let key = frame.key;
                stack.pop();
                if visitor.leave(&path, &key).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                continue;
            };
            push_name(&mut path, &entry.name);
            if visitor.entry(&path, &frame.key, entry).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            let tree = match &entry.kind {
                Kind::Directory { tree } => *tree,
                _ => {
                    frame.at += 1;
                    continue;
                }
            };
            let place = frame.at;
            frame.at += 1;
            let Some(tree) = tree else {
                visitor.problem(&path, None, without_tree(&path));
                continue;
            };
            if !visitor.descends(&path, &tree) {
                while frame.ahead.front().is_some_and(|(at, _)| *at <= place) {
                    frame.ahead.pop_front();
                }
                if visitor.passed_by(&path, &tree).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                continue;
            }
            let wanted = frame.wanted(place, tree);
            frame.ask(ahead, &mut path, visitor);
            self.enter(ahead, &mut stack, &wanted, tree, &path, visitor)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn enter(
        &self,
        ahead: &Ahead,
        stack: &mut Vec<Frame>,
        wanted: &Wanted,
        key: ChunkKey,
        path: &[u8],
        visitor: &mut dyn Visitor,
    ) -> Result<(), Fault> {
        match self.get(ahead, wanted) {
            Ok(directory) => {
                let mut frame = Frame {
                    key,
                    entries: directory.entries,
                    at: 0,
                    asked: 0,
                    ahead: VecDeque::new(),
                    path_len: path.len(),
                };
                frame.ask(ahead, &mut path.to_vec(), visitor);
                stack.push(frame);
                Ok(())
            }
            Err(Fault::Cancelled) => Err(Fault::Cancelled),
            Err(fault) => {
                visitor.problem(path, Some(&key), fault);
                Ok(())
            }
        }
    }
}

impl Frame {
    /// The request of the directory at `place`, made now where it was not made ahead.
    fn wanted(&mut self, place: usize, tree: ChunkKey) -> Arc<Wanted> {
        while let Some((at, wanted)) = self.ahead.pop_front() {
            if at == place {
                return wanted;
            }
        }
        Wanted::new(tree)
    }

    /// Asks for the next directories that will be descended into. Leaves `path` as it was.
    fn ask(&mut self, ahead: &Ahead, path: &mut Vec<u8>, visitor: &dyn Visitor) {
        let before = path.clone();
        self.asked = self.asked.max(self.at);
        while self.ahead.len() < ahead::DEPTH
            && let Some(entry) = self.entries.get(self.asked)
        {
            if let Kind::Directory { tree: Some(tree) } = &entry.kind {
                path.truncate(self.path_len);
                push_name(path, &entry.name);
                if visitor.descends(path, tree) {
                    let wanted = Wanted::new(*tree);
                    ahead.request(&wanted);
                    self.ahead.push_back((self.asked, wanted));
                }
            }
            self.asked += 1;
        }
        path.clone_from(&before);
    }
}

/// Appends a component to a path.
pub(super) fn push_name(path: &mut Vec<u8>, name: &[u8]) {
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

/// The fault of a directory whose entries were not saved.
pub(super) fn without_tree(path: &[u8]) -> Fault {
    let path = String::from_utf8_lossy(path);
    Fault::damaged(format!("directory {path}"), Damage::Invalid { what: "missing subtree" })
}
