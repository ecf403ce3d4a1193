//! The walk over the snapshot: creates directories, decides about every entry, fills windows.
//!
//! Invariants
//! - Nothing a snapshot says leads out of the target: names are one component, links are never
//!   followed, a directory within itself and absurd depth are refused.
//! - A directory is entered depth first, so that few are unfinished at a time.
//! - Directories that are not selected are made only when something in them is restored.

use std::{collections::HashSet, io, sync::Arc};

use rustix::io::Errno;

use super::{
    Overwrite,
    file::Start,
    folder::{Folder, Known, Origin, bequeaths},
    links::{First, GroupKey, Links},
    mirror,
    special::{Special, What},
    task::{Task, add},
    window::{Candidate, Verdict, Window, settle},
};
use crate::{
    fault::Fault,
    filter::selection::Choice,
    model::{
        chunk::ChunkKey,
        directory::{Directory, Entry, Kind, Target},
        object::Content,
        pack::Location,
    },
    monitor::{Action, ItemKind},
    reader::ahead::{self, Ahead, Wanted},
    source::{FileKind, Stat, fs::Dir},
    target::fs::{self, is_safe_name},
};

/// Levels of directories that are followed; no file system has paths that deep.
pub const MOST_LEVELS: usize = 4096;
/// The longest target a symbolic link can have.
const MOST_LINK_BYTES: u64 = 4095;

/// What is wrong with an entry of the snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEntry {
    /// Its name would lead elsewhere.
    #[error("the snapshot has an entry with the impossible name {0:?}, left out")]
    Name(String),
    /// It contains itself.
    #[error("the directory contains itself, left out")]
    Cycle,
    /// It is too deep.
    #[error("more than {MOST_LEVELS} levels of directories, left out")]
    TooDeep,
    /// Its entries could not be read when it was backed up.
    #[error("the snapshot has no entries for this directory")]
    NoTree,
    /// Its size is not that of its chunks.
    #[error("the snapshot says {recorded} bytes and has {stored}")]
    Size {
        /// As recorded.
        recorded: u64,
        /// Of all chunks.
        stored: u64,
    },
    /// Its target is longer than any link's.
    #[error("the target of the symbolic link is too long, left out")]
    LinkTarget,
    /// A directory with something in it has the name.
    #[error("a directory that is not empty has this name; it is replaced only when mirroring")]
    DirectoryInTheWay,
}

/// Walks over one snapshot.
pub(super) struct Walker<'a> {
    task: &'a Task,
    ahead: Ahead,
    window: Window<'a>,
    links: Links,
    pending: Vec<Pending>,
}

/// A directory to be entered.
struct Pending {
    folder: Arc<Folder>,
    tree: Arc<Wanted>,
}

/// Where an entry goes.
struct Spot<'a> {
    folder: &'a Arc<Folder>,
    /// `None` where there is no such directory yet.
    dir: Option<&'a Dir>,
    choice: Choice,
    local: Option<Stat>,
}

impl<'a> Walker<'a> {
    pub(super) fn new(task: &'a Task, ahead: Ahead, window: Window<'a>) -> Self {
        Self { task, ahead, window, links: Links::default(), pending: Vec::new() }
    }

    /// Plans everything below `top`, whose entries are `directory`'s.
    pub(super) fn run(mut self, top: &Arc<Folder>, directory: Directory) {
        self.enter(top, Ok(directory));
        while let Some(Pending { folder, tree }) = self.pending.pop() {
            if self.task.is_stopped() {
                return;
            }
            let directory = self.ahead.get(&self.task.reader, &tree);
            self.enter(&folder, directory);
        }
        self.window.give_on();
    }

    fn enter(&mut self, folder: &Arc<Folder>, directory: Result<Directory, Fault>) {
        match directory {
            Ok(directory) => {
                if let Err(error) = self.entries(folder, directory) {
                    self.task.target_failed(&folder.path(), error);
                }
            }
            Err(fault) => self.task.read_failed(&folder.path(), fault),
        }
        folder.child_done(self.task, false);
    }

    fn entries(&mut self, folder: &Arc<Folder>, directory: Directory) -> io::Result<()> {
        let task = self.task;
        let mut dir = match folder.is_new() && (task.options.dry_run || !folder.is_made()) {
            true => None,
            false => Some(folder.dir(&task.handles)?),
        };
        let mut path = folder.path();
        if task.options.delete
            && !folder.is_new()
            && let Some(dir) = &dir
        {
            let is_top = match folder.up() {
                Some(up) => up.dir(&task.handles)?.stat_self()?.device != dir.stat_self()?.device,
                None => true,
            };
            mirror::remove_extras(task, dir, &path, &names(&directory), is_top)?;
        }
        let first_below = self.pending.len();
        let selects = !task.options.selection.is_all();
        let length = path.len();
        for entry in directory.entries {
            if task.is_stopped() {
                return Ok(());
            }
            if !is_safe_name(&entry.name) {
                let name = String::from_utf8_lossy(&entry.name).into_owned();
                task.problem(&path, &BadEntry::Name(name));
                continue;
            }
            let is_dir = matches!(entry.kind, Kind::Directory { .. });
            let mut choice = Choice { selected: true, descend: is_dir };
            if selects {
                path.push(b'/');
                path.extend_from_slice(&entry.name);
                choice = task.options.selection.choose(&path, is_dir);
                path.truncate(length);
            }
            if !choice.selected && !choice.descend {
                continue;
            }
            if choice.selected && dir.is_none() && !task.options.dry_run {
                self.make(folder)?;
                dir = Some(folder.dir(&task.handles)?);
            }
            let local = match &dir {
                Some(dir) if !folder.is_new() => match dir.stat(&entry.name) {
                    Ok(stat) => Some(stat),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                    Err(error) => {
                        task.target_failed(&folder.path_of(&entry.name), error);
                        continue;
                    }
                },
                _ => None,
            };
            self.entry(entry, &Spot { folder, dir: dir.as_deref(), choice, local });
        }
        // The first directory is entered first.
        if let Some(below) = self.pending.get_mut(first_below..) {
            below.iter().take(ahead::DEPTH).for_each(|next| self.ahead.request(&next.tree));
            below.reverse();
        }
        Ok(())
    }

    /// Makes a directory that was put off until something in it is restored, and those above it.
    fn make(&self, folder: &Arc<Folder>) -> io::Result<()> {
        if folder.is_made() {
            return Ok(());
        }
        if let Some(up) = folder.up() {
            self.make(up)?;
            let dir = up.dir(&self.task.handles)?;
            match fs::make_directory(&dir, folder.name()) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    // Something of another kind: what was a directory is none to be made.
                    fs::remove_entry(&dir, folder.name())?;
                    fs::make_directory(&dir, folder.name())?;
                }
                made => made?,
            }
            self.count_directory(folder.up(), folder.name());
        }
        folder.made();
        Ok(())
    }

    fn count_directory(&self, up: Option<&Arc<Folder>>, name: &[u8]) {
        add(&self.task.done.dirs_restored, 1);
        let path = || up.map_or_else(Vec::new, |up| up.path_of(name));
        self.task.item(path, Action::Restored, ItemKind::Directory, 0, 0);
    }

    fn entry(&mut self, mut entry: Entry, spot: &Spot<'_>) {
        let done = match &entry.kind {
            Kind::Directory { tree } => {
                let tree = *tree;
                self.directory(entry, tree, spot)
            }
            Kind::Socket | Kind::Unknown => {
                self.skip(&entry, spot);
                Ok(())
            }
            _ if !self.may_overwrite(&entry, spot) => {
                self.skip(&entry, spot);
                Ok(())
            }
            _ => self.clear_the_way(&entry, spot).map(|is_clear| {
                if is_clear {
                    self.content(&mut entry, spot);
                }
            }),
        };
        if let Err((name, error)) = done {
            self.task.target_failed(&spot.folder.path_of(&name), error);
        }
    }

    fn skip(&self, entry: &Entry, spot: &Spot<'_>) {
        add(&self.task.done.skipped, 1);
        let path = || spot.folder.path_of(&entry.name);
        let size_bytes = match entry.kind {
            Kind::File { size_bytes, .. } => size_bytes,
            _ => 0,
        };
        self.task.item(path, Action::Skipped, ItemKind::from(&entry.kind), size_bytes, 0);
    }

    fn may_overwrite(&self, entry: &Entry, spot: &Spot<'_>) -> bool {
        let Some(local) = &spot.local else { return true };
        match self.task.options.overwrite {
            Overwrite::Always | Overwrite::IfChanged => true,
            Overwrite::IfNewer => entry.mtime.instant() > local.mtime,
            Overwrite::Never => false,
        }
    }

    /// Removes a directory where something else is to be; whether the way is clear.
    fn clear_the_way(
        &self,
        entry: &Entry,
        spot: &Spot<'_>,
    ) -> Result<bool, (Box<[u8]>, io::Error)> {
        let (Some(local), Some(dir)) = (&spot.local, spot.dir) else { return Ok(true) };
        if local.kind != FileKind::Directory {
            return Ok(true);
        }
        let cleared = mirror::replace_directory(
            self.task,
            dir,
            &entry.name,
            &mut spot.folder.path_of(&entry.name),
        );
        match cleared {
            Ok(true) => Ok(true),
            Ok(false) => {
                let path = spot.folder.path_of(&entry.name);
                self.task.problem(&path, &BadEntry::DirectoryInTheWay);
                Ok(false)
            }
            Err(error) => Err((entry.name.clone(), error)),
        }
    }

    fn directory(
        &mut self,
        mut entry: Entry,
        tree: Option<ChunkKey>,
        spot: &Spot<'_>,
    ) -> Result<(), (Box<[u8]>, io::Error)> {
        let task = self.task;
        let up = spot.folder;
        let refuse = |why: BadEntry| task.problem(&up.path_of(&entry.name), &why);
        if up.level >= MOST_LEVELS {
            refuse(BadEntry::TooDeep);
            return Ok(());
        }
        if tree.is_some_and(|tree| up.is_within(&tree)) {
            refuse(BadEntry::Cycle);
            return Ok(());
        }
        if tree.is_none() {
            refuse(BadEntry::NoTree);
        }
        let found = spot.local.filter(|stat| stat.kind == FileKind::Directory);
        if found.is_none() && !self.may_overwrite(&entry, spot) {
            self.skip(&entry, spot);
            return Ok(());
        }
        let prepared = self.prepare_directory(&entry, spot, found.as_ref());
        let (origin, bequeaths) = prepared.map_err(|error| (entry.name.clone(), error))?;
        let is_put_off = origin == Origin::Made && !spot.choice.selected;
        if origin == Origin::Made && !is_put_off {
            self.count_directory(Some(up), &entry.name);
        }
        let metadata = task.metadata(&mut entry);
        let folder = Folder::below(
            up,
            Known {
                name: entry.name,
                tree,
                origin,
                is_put_off,
                bequeaths,
                metadata: Some(metadata),
                selected: spot.choice.selected,
            },
        );
        match tree {
            Some(tree) if spot.choice.descend => {
                self.pending.push(Pending { folder, tree: Wanted::new(tree) });
            }
            _ => folder.child_done(task, false),
        }
        Ok(())
    }

    /// Makes a directory, or opens the one that is there to this process.
    fn prepare_directory(
        &self,
        entry: &Entry,
        spot: &Spot<'_>,
        found: Option<&Stat>,
    ) -> io::Result<(Origin, bool)> {
        let task = self.task;
        let is_dry = task.options.dry_run;
        let inherits = spot.folder.bequeaths();
        let Some(stat) = found else {
            if let Some(dir) = spot.dir.filter(|_| !is_dry && spot.choice.selected) {
                if spot.local.is_some() {
                    fs::remove_entry(dir, &entry.name)?;
                }
                fs::make_directory(dir, &entry.name)?;
            }
            return Ok((Origin::Made, inherits));
        };
        let dir = spot.dir.ok_or(Errno::NOENT)?;
        let is_closed = stat.mode & 0o700 != 0o700 && !task.privileged;
        if is_closed && !is_dry {
            fs::metadata::widen_directory(dir, &entry.name, stat.mode)?;
        }
        let inherits = bequeaths(&dir.open_child(&entry.name)?);
        let origin = if is_closed { Origin::Widened(stat.mode) } else { Origin::Found };
        Ok((origin, inherits))
    }

    /// A file, link or device: everything that is not a directory.
    fn content(&mut self, entry: &mut Entry, spot: &Spot<'_>) {
        let group = GroupKey::of(entry);
        if let Some(first) = group.and_then(|group| self.links.first(group))
            && self.link(entry, &first, spot)
        {
            return;
        }
        let made = match &mut entry.kind {
            Kind::File { size_bytes, content } => {
                let (size_bytes, content) =
                    (*size_bytes, std::mem::replace(content, Content::EMPTY));
                self.file(entry, size_bytes, &content, group.is_some(), spot)
            }
            Kind::Symlink { target } => {
                let target = std::mem::replace(target, Target::Inline(Box::default()));
                self.task.reader.target(&target, MOST_LINK_BYTES).map(|target| match target {
                    Some(target) => {
                        self.special(entry, What::Symlink { target }, group.is_some(), spot)
                    }
                    None => {
                        let path = spot.folder.path_of(&entry.name);
                        self.task.problem(&path, &BadEntry::LinkTarget);
                        false
                    }
                })
            }
            kind => {
                let what = match kind {
                    Kind::BlockDevice { rdev } => {
                        What::Node { kind: FileKind::BlockDevice, rdev: *rdev }
                    }
                    Kind::CharDevice { rdev } => {
                        What::Node { kind: FileKind::CharDevice, rdev: *rdev }
                    }
                    _ => What::Node { kind: FileKind::Fifo, rdev: 0 },
                };
                Ok(self.special(entry, what, group.is_some(), spot))
            }
        };
        match (made, group) {
            (Ok(true), Some(group)) => {
                let folder = Arc::clone(spot.folder);
                let first = First { folder, name: entry.name.clone() };
                self.links.lead(group, entry.links, first);
            }
            (Err(fault), _) => self.task.read_failed(&spot.folder.path_of(&entry.name), fault),
            _ => {}
        }
    }

    /// Plans a file; whether it could be.
    fn file(
        &mut self,
        entry: &mut Entry,
        size_bytes: u64,
        content: &Content,
        is_grouped: bool,
        spot: &Spot<'_>,
    ) -> Result<bool, Fault> {
        let task = self.task;
        let keys = task.reader.chunks_of(content)?;
        let mut chunks: Vec<(ChunkKey, Location)> = Vec::with_capacity(keys.len());
        let mut stored = 0u64;
        for key in keys {
            let at = task.index.find(&key).ok_or(Fault::Missing { key })?;
            stored = stored.saturating_add(at.raw_bytes.into());
            chunks.push((key, at));
        }
        if stored != size_bytes {
            let wrong = BadEntry::Size { recorded: size_bytes, stored };
            task.problem(&spot.folder.path_of(&entry.name), &wrong);
        }
        let counters = task.monitor.counters();
        counters.files_found.add(1);
        counters.bytes_found.add(stored);
        let metadata = task.metadata(entry);
        spot.folder.expect_child();
        let candidate = Candidate {
            folder: Arc::clone(spot.folder),
            name: entry.name.clone(),
            size_bytes: stored,
            metadata,
            chunks,
            local: spot.local,
        };
        if is_grouped && !task.options.dry_run {
            self.prepare_first(candidate, spot);
        } else {
            self.window.add_file(candidate);
        }
        Ok(true)
    }

    /// Brings the first file of a group into being at once, so that others can be linked to it.
    fn prepare_first(&mut self, candidate: Candidate, spot: &Spot<'_>) {
        let Some(dir) = spot.dir else { return };
        let verdict = match &candidate.local {
            Some(_) => settle(self.task, &candidate),
            None => Ok(Verdict::Write { start: Start::Nothing, missing: Vec::new() }),
        };
        let prepared = match verdict {
            Ok(Verdict::Write { start: start @ (Start::Replace | Start::Nothing), .. }) => {
                let cleared = match start {
                    Start::Replace => fs::remove_entry(dir, &candidate.name),
                    _ => Ok(()),
                };
                cleared.and_then(|()| fs::create_file(dir, &candidate.name, false)).map(drop)
            }
            Ok(Verdict::Write { missing, .. }) => {
                let start = Start::Earlier { is_linked: true };
                return self.window.start(candidate, start, Some(missing));
            }
            other => return self.window.take(candidate, other),
        };
        match prepared {
            Ok(()) => self.window.start(candidate, Start::Prepared, None),
            Err(error) => self.window.take(candidate, Err(error)),
        }
    }

    /// Plans an entry without chunks; one that others are linked to is made at once.
    fn special(
        &mut self,
        entry: &mut Entry,
        what: What,
        is_grouped: bool,
        spot: &Spot<'_>,
    ) -> bool {
        let metadata = self.task.metadata(entry);
        spot.folder.expect_child();
        self.task.monitor.counters().files_found.add(1);
        let special = Special {
            folder: Arc::clone(spot.folder),
            name: entry.name.clone(),
            what,
            metadata,
            local: spot.local,
        };
        if is_grouped {
            special.restore(self.task);
        } else {
            self.window.add_special(special);
        }
        true
    }

    /// Gives the file that `first` names another name; `false` where it has to be made anew.
    fn link(&mut self, entry: &Entry, first: &First, spot: &Spot<'_>) -> bool {
        let task = self.task;
        let action = if task.options.dry_run {
            Ok(if spot.local.is_some() { Action::Updated } else { Action::Restored })
        } else {
            first.folder.dir(&task.handles).and_then(|from| {
                let stat = from.stat(&first.name)?;
                let dir = spot.dir.ok_or(Errno::NOENT)?;
                let Some(local) = &spot.local else {
                    fs::link(&from, &first.name, dir, &entry.name)?;
                    return Ok(Action::Restored);
                };
                if (local.device, local.inode) == (stat.device, stat.inode) {
                    return Ok(Action::Unchanged);
                }
                fs::remove_entry(dir, &entry.name)?;
                fs::link(&from, &first.name, dir, &entry.name)?;
                Ok(Action::Updated)
            })
        };
        // Too many links, another file system, a first one that could not be made: a file of its
        // own has the same content.
        let Ok(action) = action else { return false };
        let figure = match action {
            Action::Unchanged => &task.done.files_unchanged,
            Action::Updated => &task.done.files_updated,
            _ => &task.done.files_restored,
        };
        add(figure, 1);
        let kind = ItemKind::from(&entry.kind);
        task.item(|| spot.folder.path_of(&entry.name), action, kind, 0, 0);
        spot.folder.touch();
        true
    }
}

/// The names of a directory of the snapshot.
pub(super) fn names(directory: &Directory) -> HashSet<&[u8]> {
    directory.entries.iter().map(|entry| &*entry.name).collect()
}
