//! What is still to be done for each directory and file, and who hears of it when it is done.
//!
//! A directory is finished when all its children are: the last one to finish carries the news up.
//!
//! Invariants
//! - `pending` counts the children still at work plus one for the walker, so a directory cannot
//!   finish before its listing is complete.
//! - A directory whose entries are all as in the parent backup keeps its old key and is never
//!   encoded ([`DirWork::altered`] stays false).
//! - News travels up in a loop, so a deep tree needs no deep stack.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use super::{
    sample::PathHash,
    seal::Added,
    telling::{Began, Listener, Told},
};
use crate::{
    model::{
        chunk::ChunkKey,
        directory::{Directory, Entry, Kind},
        object::Content,
    },
    monitor::{Action, ItemKind},
};

/// A directory on its way into the repository.
#[derive(Debug)]
pub(super) struct DirWork {
    up: Option<Up>,
    name: Box<[u8]>,
    path_hash: PathHash,
    /// The key of the same directory in the parent backup.
    pub(super) old: Option<ChunkKey>,
    slots: Mutex<Vec<Option<Entry>>>,
    pending: AtomicUsize,
    altered: AtomicBool,
    first_seen: bool,
    began: Began,
    account: Arc<Account>,
}

/// Where the directories of a backup are booked that keep their old key.
#[derive(Debug)]
pub(super) struct Account {
    /// How many did; the top itself is not counted.
    pub(super) kept: AtomicU64,
    pub(super) listener: Listener,
}

#[derive(Debug)]
struct Up {
    dir: Arc<DirWork>,
    slot: usize,
}

/// What a finished directory needs next.
#[derive(Debug)]
pub(super) enum Finished {
    /// Nothing: something else below an ancestor is still at work.
    Nothing,
    /// It has to be encoded and stored; its key then goes to [`DirWork::stored`].
    Encode(Arc<DirWork>),
    /// The top directory is done.
    Top(ChunkKey),
}

/// What becomes of a child's place in its directory.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A file's content is known.
    File(Entry),
    /// A directory's key is known.
    Tree(ChunkKey),
    /// It could not be read: leave it out.
    Omit,
}

impl DirWork {
    /// The top of a backup.
    pub(super) fn top(old: Option<ChunkKey>, account: &Arc<Account>) -> Arc<Self> {
        Arc::new(Self::new(None, Box::default(), old, account))
    }

    /// A directory whose entry is at `slot` of `up`.
    pub(super) fn below(
        up: &Arc<Self>,
        slot: usize,
        name: Box<[u8]>,
        old: Option<ChunkKey>,
    ) -> Arc<Self> {
        Arc::new(Self::new(Some(Up { dir: Arc::clone(up), slot }), name, old, &up.account))
    }

    fn new(up: Option<Up>, name: Box<[u8]>, old: Option<ChunkKey>, account: &Arc<Account>) -> Self {
        let path_hash = up.as_ref().map_or(PathHash::TOP, |up| up.dir.path_hash.below(&name));
        Self {
            up,
            name,
            path_hash,
            old,
            slots: Mutex::default(),
            pending: AtomicUsize::new(1),
            altered: AtomicBool::new(old.is_none()),
            first_seen: old.is_none(),
            began: account.listener.begin(),
            account: Arc::clone(account),
        }
    }

    /// Tells whoever listens that it is done.
    pub(super) fn tell(&self, action: Action, added: Added) {
        let (kind, began) = (ItemKind::Directory, self.began);
        let told = Told { action, kind, size_bytes: 0, added, began };
        self.account.listener.tell(|| self.path(), told);
    }

    /// Hands over the listing: entries in order, of which `children` are still to be worked on.
    pub(super) fn list(&self, entries: Vec<Option<Entry>>, children: usize) {
        *self.lock() = entries;
        self.pending.fetch_add(children, Ordering::Relaxed);
    }

    /// Says that it differs from the parent backup.
    pub(super) fn alter(&self) {
        self.altered.store(true, Ordering::Relaxed);
    }

    /// Whether it is the one above all targets, which stands for no directory of the source.
    pub(super) fn is_top(&self) -> bool {
        self.up.is_none()
    }

    /// Whether the parent backup has no such directory.
    pub(super) fn is_new(&self) -> bool {
        self.first_seen
    }

    /// Whether it differs from the parent backup, as far as is known.
    pub(super) fn is_altered(&self) -> bool {
        self.altered.load(Ordering::Relaxed)
    }

    /// The walker has handed over the listing and all children.
    pub(super) fn listed(self: &Arc<Self>) -> Finished {
        settle(Arc::clone(self), None)
    }

    /// The child at `slot` is done.
    pub(super) fn child_done(self: &Arc<Self>, slot: usize, outcome: Outcome) -> Finished {
        settle(Arc::clone(self), Some((slot, outcome)))
    }

    /// The directory was encoded and stored under `key`.
    pub(super) fn stored(&self, key: ChunkKey) -> Finished {
        match &self.up {
            None => Finished::Top(key),
            Some(up) => {
                if self.old != Some(key) {
                    up.dir.alter();
                }
                up.dir.child_done(up.slot, Outcome::Tree(key))
            }
        }
    }

    /// The directory itself could not be read: leave it out of the one above.
    pub(super) fn omit(&self) -> Finished {
        match &self.up {
            None => Finished::Nothing,
            Some(up) => up.dir.child_done(up.slot, Outcome::Omit),
        }
    }

    /// Takes the finished entries out, for encoding.
    pub(super) fn take_directory(&self) -> Directory {
        Directory { entries: std::mem::take(&mut *self.lock()).into_iter().flatten().collect() }
    }

    /// Its path in the backup, `/` in front of every component.
    pub(super) fn path(&self) -> Vec<u8> {
        let mut names = Vec::new();
        let mut here = self;
        while let Some(up) = &here.up {
            names.push(&*here.name);
            here = &up.dir;
        }
        let mut path = Vec::new();
        for name in names.into_iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        path
    }

    /// The hash of that path.
    pub(super) fn path_hash(&self) -> PathHash {
        self.path_hash
    }

    /// The path in the backup of an entry in it.
    pub(super) fn path_of(&self, name: &[u8]) -> Vec<u8> {
        let mut path = self.path();
        path.push(b'/');
        path.extend_from_slice(name);
        path
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<Entry>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle_slot(&self, slot: usize, outcome: Outcome) {
        let mut slots = self.lock();
        let place = &mut slots[slot];
        match outcome {
            Outcome::File(entry) => *place = Some(entry),
            Outcome::Omit => {
                *place = None;
                self.alter();
            }
            Outcome::Tree(key) => {
                if let Some(Entry { kind: Kind::Directory { tree }, .. }) = place {
                    *tree = Some(key);
                }
            }
        }
    }
}

/// Settles one child of `dir` and carries the news up as far as it goes.
fn settle(mut dir: Arc<DirWork>, child: Option<(usize, Outcome)>) -> Finished {
    let mut child = child;
    loop {
        if let Some((slot, outcome)) = child {
            dir.settle_slot(slot, outcome);
        }
        if dir.pending.fetch_sub(1, Ordering::AcqRel) != 1 {
            return Finished::Nothing;
        }
        let key = match dir.old {
            Some(key) if !dir.is_altered() => key,
            _ => return Finished::Encode(dir),
        };
        dir.lock().clear();
        let Some(up) = &dir.up else { return Finished::Top(key) };
        dir.account.kept.fetch_add(1, Ordering::Relaxed);
        dir.tell(Action::Unchanged, Added::default());
        child = Some((up.slot, Outcome::Tree(key)));
        dir = Arc::clone(&up.dir);
    }
}

/// A file whose content is on its way into the repository.
#[derive(Debug)]
pub(super) struct FileWork {
    pub(super) dir: Arc<DirWork>,
    slot: usize,
    began: Began,
    state: Mutex<FileState>,
    pending: AtomicUsize,
}

#[derive(Debug)]
struct FileState {
    entry: Option<Entry>,
    old: Option<Entry>,
    keys: Vec<ChunkKey>,
    added: Added,
    failed: bool,
}

impl FileWork {
    /// A file with fresh metadata in `entry`, that was `old` in the parent backup.
    pub(super) fn new(
        dir: &Arc<DirWork>,
        slot: usize,
        entry: Entry,
        old: Option<Entry>,
    ) -> Arc<Self> {
        Arc::new(Self {
            dir: Arc::clone(dir),
            slot,
            began: dir.account.listener.begin(),
            state: Mutex::new(FileState {
                entry: Some(entry),
                old,
                keys: Vec::new(),
                added: Added::default(),
                failed: false,
            }),
            pending: AtomicUsize::new(1),
        })
    }

    /// Announces one more chunk.
    pub(super) fn expect_chunk(&self) {
        self.pending.fetch_add(1, Ordering::Relaxed);
    }

    /// The key of the chunk at `position` is known, and what was new of it.
    pub(super) fn chunk_done(
        &self,
        position: usize,
        key: ChunkKey,
        added: Added,
    ) -> Option<FileDone> {
        {
            let mut state = self.lock();
            if state.keys.len() <= position {
                state.keys.resize(position + 1, key);
            }
            state.keys[position] = key;
            state.added += added;
        }
        self.one_done()
    }

    /// The reader is through with the file; `size_bytes` were read.
    pub(super) fn read_done(&self, size_bytes: u64) -> Option<FileDone> {
        if let Some(Entry { kind: Kind::File { size_bytes: size, .. }, .. }) =
            &mut self.lock().entry
        {
            *size = size_bytes;
        }
        self.one_done()
    }

    /// The file could not be read to its end.
    pub(super) fn read_failed(&self) -> Option<FileDone> {
        self.lock().failed = true;
        self.one_done()
    }

    fn lock(&self) -> MutexGuard<'_, FileState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn one_done(&self) -> Option<FileDone> {
        if self.pending.fetch_sub(1, Ordering::AcqRel) != 1 {
            return None;
        }
        let mut state = self.lock();
        let mut entry = state.entry.take()?;
        if let Kind::File { content, .. } = &mut entry.kind {
            *content = Content::Chunks(std::mem::take(&mut state.keys));
        }
        Some(FileDone {
            slot: self.slot,
            entry: (!state.failed).then_some(entry),
            old: state.old.take(),
            added: state.added,
            began: self.began,
        })
    }
}

/// A file whose last chunk is known.
#[derive(Debug)]
pub(super) struct FileDone {
    /// Its place in its directory.
    pub(super) slot: usize,
    /// The complete entry; `None` where reading failed.
    pub(super) entry: Option<Entry>,
    /// What the parent backup has.
    pub(super) old: Option<Entry>,
    /// What was new of its content.
    pub(super) added: Added,
    pub(super) began: Began,
}
