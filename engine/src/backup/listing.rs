//! One directory of the source while it is compared with the parent backup.
//!
//! Invariants
//! - Names are asked for and added in ascending order, as both formats keep them.
//! - Every name that is added has a slot of its own, which what is still to be done about it fills.

use std::{iter::Peekable, sync::Arc, vec};

use super::{compare::Reason, item::Item, queue::DirJob, work::DirWork};
use crate::{
    model::{
        chunk::ChunkKey,
        directory::{Directory, Entry},
    },
    source::fs::Dir,
};

/// What is found out about a directory, name by name.
pub(super) struct Listing<'a> {
    pub(super) work: &'a Arc<DirWork>,
    old: OldEntries,
    slots: Vec<Option<Entry>>,
    to_read: Vec<ToRead>,
    pub(super) below: Vec<DirJob>,
}

/// A file that has to be read.
#[derive(Debug)]
pub(super) struct ToRead {
    pub(super) slot: usize,
    /// The directory it is in.
    pub(super) dir: Arc<Dir>,
    /// Its name in the backup.
    pub(super) name: Box<[u8]>,
    /// Its name in `dir`, where that is another one.
    pub(super) own_name: Option<Box<[u8]>>,
    /// What the parent backup has.
    pub(super) old: Option<Entry>,
    pub(super) reason: Reason,
}

/// Entries of the parent backup, taken out in ascending order of names.
struct OldEntries {
    entries: Peekable<vec::IntoIter<Entry>>,
    count: usize,
}

impl<'a> Listing<'a> {
    /// A directory of about `expected` names, that was `old` in the parent backup.
    pub(super) fn new(work: &'a Arc<DirWork>, old: Directory, expected: usize) -> Self {
        Self {
            work,
            old: OldEntries::new(old),
            slots: Vec::with_capacity(expected),
            to_read: Vec::new(),
            below: Vec::new(),
        }
    }

    /// What the parent backup has under this name.
    pub(super) fn take_old(&mut self, name: &[u8]) -> Option<Entry> {
        self.old.take(name)
    }

    /// Adds an entry that is complete.
    pub(super) fn add(&mut self, entry: Entry) {
        self.slots.push(Some(entry));
    }

    /// Adds a file that has to be read.
    pub(super) fn add_to_read(&mut self, item: &Item<'_>, old: Option<Entry>, reason: Reason) {
        self.to_read.push(ToRead {
            slot: self.slots.len(),
            dir: Arc::clone(item.dir),
            name: item.name.into(),
            own_name: (item.own_name != item.name).then(|| item.own_name.into()),
            old,
            reason,
        });
        self.slots.push(None);
    }

    /// Adds a directory; what comes back is to be queued with what is below it.
    pub(super) fn add_directory(&mut self, entry: Entry, old: Option<ChunkKey>) -> Arc<DirWork> {
        let work = DirWork::below(self.work, self.slots.len(), entry.name.clone(), old);
        self.slots.push(Some(entry));
        work
    }

    /// Hands all names over to the directory's work. What is left has to be queued and read.
    pub(super) fn close(self) -> (Vec<DirJob>, Vec<ToRead>, usize) {
        let Self { work, old, slots, to_read, below } = self;
        if slots.len() != old.count {
            work.alter();
        }
        let others = slots.len() - below.len();
        work.list(slots, to_read.len() + below.len());
        (below, to_read, others)
    }
}

impl ToRead {
    /// Its name in the directory it is in.
    pub(super) fn own_name(&self) -> &[u8] {
        self.own_name.as_deref().unwrap_or(&self.name)
    }
}

impl OldEntries {
    fn new(directory: Directory) -> Self {
        let count = directory.entries.len();
        Self { entries: directory.entries.into_iter().peekable(), count }
    }

    /// The entry of that name; names must be asked for in ascending order.
    fn take(&mut self, name: &[u8]) -> Option<Entry> {
        while self.entries.next_if(|entry| *entry.name < *name).is_some() {}
        self.entries.next_if(|entry| *entry.name == *name)
    }
}
