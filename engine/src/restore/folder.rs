//! A directory on its way into the target.
//!
//! Its metadata is put back when all that is in it is done: the last child to be done carries the
//! news up.
//!
//! Invariants
//! - `pending` counts the children still at work plus one for the walker, so that a directory
//!   cannot be done before all its entries are known.
//! - News travels up in a loop, so a deep tree needs no deep stack.
//! - Only directories with work left are in memory.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use rustix::io::Errno;

use super::{
    handles::{Handles, Slot},
    task::{Task, add},
};
use crate::{
    model::chunk::ChunkKey,
    monitor::{Action, ItemKind},
    source::fs::{Attributes, Dir},
    target::{
        Metadata,
        fs::metadata::{Before, Subject, apply, is_same, set_directory_mode},
    },
};

/// A directory of the target.
#[derive(Debug)]
pub(super) struct Folder {
    up: Option<Arc<Self>>,
    known: Known,
    /// How deep below the target.
    pub(super) level: usize,
    touched: AtomicBool,
    pending: AtomicUsize,
    /// Whether it exists.
    made: AtomicBool,
    open: Open,
}

#[derive(Debug)]
enum Open {
    /// The target itself; `None` where a dry run found none.
    Top(Option<Arc<Dir>>),
    Below(Arc<Slot<Dir>>),
}

/// What is known of a directory when it is entered.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) name: Box<[u8]>,
    /// What it is made from, to notice a directory that contains itself.
    pub(super) tree: Option<ChunkKey>,
    pub(super) origin: Origin,
    /// Whether it is made only when something in it is restored.
    pub(super) is_put_off: bool,
    /// Whether what is created in it inherits attributes.
    pub(super) bequeaths: bool,
    /// What is put back in the end, where anything is known.
    pub(super) metadata: Option<Metadata>,
    /// Whether it is put back even if nothing in it was restored.
    pub(super) selected: bool,
}

/// What a directory was before this restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// This restore made it, or would have.
    Made,
    /// It was there.
    Found,
    /// It was there with this mode, which did not let us in.
    Widened(u32),
}

impl Folder {
    /// The target itself; `metadata` is what is put back on it, `selected` whether that is so even
    /// if nothing in it was restored.
    pub(super) fn top(
        dir: Option<Dir>,
        tree: ChunkKey,
        metadata: Option<Metadata>,
        selected: bool,
    ) -> Arc<Self> {
        let origin = if dir.is_some() { Origin::Found } else { Origin::Made };
        let known = Known {
            name: Box::default(),
            tree: Some(tree),
            origin,
            is_put_off: false,
            bequeaths: dir.as_ref().is_some_and(bequeaths),
            metadata,
            selected,
        };
        Self::new(None, 0, known, Open::Top(dir.map(Arc::new)))
    }

    /// A directory in `up`, which waits for it.
    pub(super) fn below(up: &Arc<Self>, known: Known) -> Arc<Self> {
        up.expect_child();
        Self::new(Some(Arc::clone(up)), up.level + 1, known, Open::Below(Arc::default()))
    }

    fn new(up: Option<Arc<Self>>, level: usize, known: Known, open: Open) -> Arc<Self> {
        let (touched, pending) = (AtomicBool::new(false), AtomicUsize::new(1));
        let made = AtomicBool::new(!known.is_put_off);
        Arc::new(Self { up, known, level, touched, pending, made, open })
    }

    /// The directory it lies in; none for the target itself.
    pub(super) fn up(&self) -> Option<&Arc<Self>> {
        self.up.as_ref()
    }

    /// Its name.
    pub(super) fn name(&self) -> &[u8] {
        &self.known.name
    }

    /// Whether it exists by now.
    pub(super) fn is_made(&self) -> bool {
        self.made.load(Ordering::Acquire)
    }

    /// It exists by now.
    pub(super) fn made(&self) {
        self.made.store(true, Ordering::Release);
    }

    /// Something in it was restored.
    pub(super) fn touch(&self) {
        self.touched.store(true, Ordering::Relaxed);
    }

    /// Whether nothing was here before.
    pub(super) fn is_new(&self) -> bool {
        self.known.origin == Origin::Made
    }

    /// What something just created in it may have of attributes.
    pub(super) fn newborn(&self) -> Before {
        if self.known.bequeaths { Before::Unknown } else { Before::Nothing }
    }

    /// Whether what is created in it inherits attributes.
    pub(super) fn bequeaths(&self) -> bool {
        self.known.bequeaths
    }

    /// Whether `tree` is this directory or one that it lies in.
    pub(super) fn is_within(&self, tree: &ChunkKey) -> bool {
        let mut at = Some(self);
        while let Some(folder) = at {
            if folder.known.tree.as_ref() == Some(tree) {
                return true;
            }
            at = folder.up.as_deref();
        }
        false
    }

    /// Its descriptor.
    pub(super) fn dir(&self, handles: &Handles) -> io::Result<Arc<Dir>> {
        match &self.open {
            Open::Top(dir) => dir.clone().ok_or_else(|| Errno::NOENT.into()),
            Open::Below(slot) => handles.get(slot, || {
                let up = self.up.as_ref().ok_or(Errno::NOENT)?;
                up.dir(handles)?.open_child(&self.known.name)
            }),
        }
    }

    /// Its path below the target, empty for the target itself.
    pub(super) fn path(&self) -> Vec<u8> {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut at = self;
        while let Some(up) = &at.up {
            names.push(&at.known.name);
            at = up;
        }
        let mut path = Vec::new();
        for name in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        path
    }

    /// The path of an entry in it.
    pub(super) fn path_of(&self, name: &[u8]) -> Vec<u8> {
        let mut path = self.path();
        path.push(b'/');
        path.extend_from_slice(name);
        path
    }

    /// One more child to wait for.
    pub(super) fn expect_child(&self) {
        self.pending.fetch_add(1, Ordering::Relaxed);
    }

    /// A child is done; with `touched` it was restored, so that the directories that lead to it
    /// get their metadata too.
    pub(super) fn child_done(&self, task: &Task, touched: bool) {
        let mut at = self;
        let mut touched = touched;
        loop {
            if touched {
                at.touched.store(true, Ordering::Relaxed);
            }
            if at.pending.fetch_sub(1, Ordering::AcqRel) != 1 {
                return;
            }
            touched = at.touched.load(Ordering::Relaxed);
            at.finish(task, touched);
            let Some(up) = &at.up else { return };
            at = up;
        }
    }

    fn finish(&self, task: &Task, touched: bool) {
        let Some(metadata) = &self.known.metadata else { return };
        if task.options.dry_run || task.is_stopped() || !self.is_made() {
            return;
        }
        let done = self.dir(&task.handles).and_then(|dir| {
            if self.known.selected || touched {
                self.put_back(task, &dir, metadata)
            } else if let Origin::Widened(mode) = self.known.origin {
                set_directory_mode(&dir, mode)
            } else {
                Ok(())
            }
        });
        if let Open::Below(slot) = &self.open {
            slot.close();
        }
        if let Err(error) = done {
            task.target_failed(&self.path(), error);
        }
    }

    fn put_back(&self, task: &Task, dir: &Dir, metadata: &Metadata) -> io::Result<()> {
        let wants = |name: &[u8]| task.wants_xattr(name);
        let rules = task.rules(&wants);
        let subject = Subject::Directory(dir);
        if self.is_new() {
            // What it inherits itself is known from the one above.
            let before = self.newborn();
            add(&task.done.left_out, apply(subject, metadata, before, &rules)?);
            return Ok(());
        }
        let action = if is_same(subject, &dir.stat_self()?, metadata, &rules)? {
            Action::Unchanged
        } else {
            add(&task.done.left_out, apply(subject, metadata, Before::Unknown, &rules)?);
            Action::Updated
        };
        // The target itself is no item of the snapshot.
        if self.up.is_some() {
            task.item(|| self.path(), action, ItemKind::Directory, 0, 0);
        }
        Ok(())
    }
}

/// Whether what is created in `dir` gets an access list without being asked.
pub(super) fn bequeaths(dir: &Dir) -> bool {
    // Where that cannot be told it may be so.
    let Attributes { found, error } = dir.xattrs_self();
    error.is_some() || found.iter().any(|(name, _)| name == b"system.posix_acl_default")
}
