//! Removing what the snapshot does not have.
//!
//! Invariants
//! - Only what the selection takes goes, with one decision for every entry.
//! - `lost+found` at the target's top, and at the top of what is mounted below it, stays: it is the
//!   file system's own.
//! - It is called for directories that were read whole, and for no other.

use std::{collections::HashSet, io};

use super::{
    Options,
    task::{Task, add},
};
use crate::{
    monitor::{Action, ItemKind},
    source::{
        FileKind,
        fs::{Dir, Names},
    },
    target::fs::{Remover, remove_directory, remove_tree},
};

const LOST_AND_FOUND: &[u8] = b"lost+found";
/// So many names at the target's top, and none of them in the snapshot: that is no coincidence.
const STRANGERS: usize = 4;

/// Removes from `dir`, whose path is `path`, what is not among `names`. `is_top` where it is the
/// target or something is mounted there.
pub(super) fn remove_extras(
    task: &Task,
    dir: &Dir,
    path: &[u8],
    names: &HashSet<&[u8]>,
    is_top: bool,
) -> io::Result<()> {
    let mut local = Names::new();
    dir.entries(&mut local)?;
    let mut sweeper = Sweeper { task };
    for name in local.iter().map(|name| name.bytes) {
        if names.contains(name) || (is_top && name == LOST_AND_FOUND) {
            continue;
        }
        let mut extra = path.to_vec();
        extra.push(b'/');
        extra.extend_from_slice(name);
        remove_tree(dir, name, &mut extra, &mut sweeper);
    }
    Ok(())
}

/// Removes a directory that something else is to replace: an empty one, and when mirroring any.
/// Whether it is gone.
pub(super) fn replace_directory(
    task: &Task,
    dir: &Dir,
    name: &[u8],
    path: &mut Vec<u8>,
) -> io::Result<bool> {
    if task.options.delete {
        return Ok(remove_tree(dir, name, path, &mut Sweeper { task }));
    }
    let mut local = Names::new();
    dir.open_child(name)?.entries(&mut local)?;
    if !local.is_empty() {
        return Ok(false);
    }
    if !task.options.dry_run {
        remove_directory(dir, name)?;
    }
    Ok(true)
}

/// Why a snapshot with these names at its top must not be mirrored to `dir`, if so.
pub(super) fn suspicion(
    options: &Options,
    dir: &Dir,
    names: &HashSet<&[u8]>,
) -> io::Result<Option<&'static str>> {
    let mut local = Names::new();
    dir.entries(&mut local)?;
    let extras = |name: &[u8]| {
        let path = [b"/", name].concat();
        name != LOST_AND_FOUND && options.selection.is_selected(&path)
    };
    let local: Vec<&[u8]> =
        local.iter().map(|name| name.bytes).filter(|name| extras(name)).collect();
    Ok(if local.is_empty() {
        None
    } else if names.is_empty() {
        Some("the snapshot is empty and the target is not")
    } else if local.len() >= STRANGERS && !local.iter().any(|name| names.contains(name)) {
        Some("nothing in the target is in the snapshot")
    } else {
        None
    })
}

struct Sweeper<'a> {
    task: &'a Task,
}

impl Remover for Sweeper<'_> {
    fn may_remove(&mut self, path: &[u8]) -> bool {
        self.task.options.selection.is_selected(path)
    }

    fn removed(&mut self, path: &[u8], kind: FileKind) {
        add(&self.task.done.deleted, 1);
        self.task.monitor.counters().files_deleted.add(1);
        let kind = match kind {
            FileKind::File => ItemKind::File,
            FileKind::Directory => ItemKind::Directory,
            _ => ItemKind::Other,
        };
        self.task.item(|| path.to_vec(), Action::Deleted, kind, 0, 0);
    }

    fn failed(&mut self, path: &[u8], error: io::Error) {
        self.task.target_failed(path, error);
    }

    fn is_stopped(&self) -> bool {
        self.task.is_stopped()
    }

    fn is_dry(&self) -> bool {
        self.task.options.dry_run
    }
}
