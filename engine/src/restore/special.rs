//! What has no chunks: symbolic links, devices, FIFOs.

use std::{io, sync::Arc};

use super::{
    folder::Folder,
    task::{Task, add},
};
use crate::{
    monitor::{Action, ItemKind},
    source::{FileKind, Stat, fs::Dir},
    target::{
        Metadata,
        fs::{
            self,
            metadata::{Before, Subject, apply, is_same},
        },
    },
};

/// An entry without chunks on its way into the target. Its folder waits for it.
#[derive(Debug)]
pub(super) struct Special {
    pub(super) folder: Arc<Folder>,
    pub(super) name: Box<[u8]>,
    pub(super) what: What,
    pub(super) metadata: Metadata,
    /// What has the name now.
    pub(super) local: Option<Stat>,
}

/// What it is.
#[derive(Debug)]
pub(super) enum What {
    Symlink { target: Box<[u8]> },
    Node { kind: FileKind, rdev: u64 },
}

impl Special {
    /// Creates it, or brings it up to date, and tells the folder.
    pub(super) fn restore(&self, task: &Task) {
        let done = self.settle(task);
        let is_done = done.is_ok();
        match done {
            Ok(action) => {
                add(&task.done.others_restored, u64::from(action != Action::Unchanged));
                task.monitor.counters().files_done.add(1);
                task.item(|| self.folder.path_of(&self.name), action, ItemKind::Other, 0, 0);
            }
            Err(error) => task.target_failed(&self.folder.path_of(&self.name), error),
        }
        self.folder.child_done(task, is_done);
    }

    fn settle(&self, task: &Task) -> io::Result<Action> {
        let wants = |name: &[u8]| task.wants_xattr(name);
        let rules = task.rules(&wants);
        if self.folder.is_new() && task.options.dry_run {
            return Ok(Action::Restored);
        }
        let dir = self.folder.dir(&task.handles)?;
        if let Some(stat) = &self.local {
            if self.is_there(&dir, stat)? {
                if is_same(self.subject(&dir), stat, &self.metadata, &rules)? {
                    return Ok(Action::Unchanged);
                }
                // Other names would see the change too.
                if stat.links == 1 {
                    if !task.options.dry_run {
                        let subject = self.subject(&dir);
                        let left_out = apply(subject, &self.metadata, Before::Unknown, &rules)?;
                        add(&task.done.left_out, left_out);
                    }
                    return Ok(Action::Updated);
                }
            }
            if !task.options.dry_run {
                fs::remove_entry(&dir, &self.name)?;
            }
        }
        let action = if self.local.is_some() { Action::Updated } else { Action::Restored };
        if task.options.dry_run {
            return Ok(action);
        }
        match &self.what {
            What::Symlink { target } => fs::make_symlink(&dir, &self.name, target)?,
            What::Node { kind, rdev } => fs::make_node(&dir, &self.name, *kind, *rdev)?,
        }
        let before = self.folder.newborn();
        add(&task.done.left_out, apply(self.subject(&dir), &self.metadata, before, &rules)?);
        Ok(action)
    }

    fn subject<'a>(&'a self, dir: &'a Dir) -> Subject<'a> {
        match self.what {
            What::Symlink { .. } => Subject::Symlink(dir, &self.name),
            What::Node { .. } => Subject::Node(dir, &self.name),
        }
    }

    /// Whether what has the name is this already, but for metadata.
    fn is_there(&self, dir: &Dir, stat: &Stat) -> io::Result<bool> {
        Ok(match &self.what {
            What::Symlink { target } => {
                stat.kind == FileKind::Symlink && dir.read_link(&self.name)?[..] == target[..]
            }
            What::Node { kind, rdev } => {
                stat.kind == *kind && (*kind == FileKind::Fifo || stat.rdev == *rdev)
            }
        })
    }
}
