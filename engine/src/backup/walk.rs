//! The source threads of a backup: list, stat, compare, and read what has to be read.
//!
//! Invariants
//! - Directories are taken from a stack, newest first, so that few are open at a time whatever the
//!   size of the tree.
//! - A name that is gone when it is looked at is counted; one that cannot be read is named and left
//!   out; neither stops the run.
//! - An unreadable directory of the *parent backup* only costs speed: its files are read again.
//!
//! Not here: what a listing says of a file (`compare`), cutting (`read`).

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, PoisonError},
};

use super::{
    compare::{self, Policy, Reason, Verdict},
    read::Gather,
    run::{Figures, Run},
    targets::{Node, Targets},
    work::{DirWork, FileWork, Outcome},
};
use crate::{
    clock::Zone,
    fault::Fault,
    filter::{
        Filter,
        marker::{Header, Marked, Marker},
    },
    model::{
        chunk::ChunkKey,
        directory::{Directory, Entry, Kind, Target, Xattr},
        object::Content,
    },
    monitor::{Action, Event},
    owner::Owners,
    reader::Reader,
    source::{
        FileKind, Stat,
        fs::{Attributes, Dir, Names, xattrs_of_file},
    },
};

/// What a source thread needs besides the run.
pub(super) struct Walk {
    pub(super) run: Arc<Run>,
    pub(super) reader: Reader,
    pub(super) rules: Rules,
    pub(super) owners: Owners,
    pub(super) queue: Queue,
}

/// What decides about each item.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) policy: Policy,
    pub(super) filter: Filter,
    pub(super) one_file_system: bool,
    pub(super) with_atime: bool,
    pub(super) zone: Zone,
    /// Number of this run in the rotation of the sample.
    pub(super) turn: u64,
}

/// A directory that waits for its turn.
#[derive(Debug)]
pub(super) struct DirJob {
    pub(super) work: Arc<DirWork>,
    pub(super) at: At,
    /// The absolute path in the source.
    pub(super) path: Vec<u8>,
    /// The device of the target it belongs to.
    pub(super) device: u64,
    /// Whether it counts as empty: a mount point that is not to be crossed.
    pub(super) empty: bool,
}

/// How a directory is reached.
#[derive(Debug)]
pub(super) enum At {
    /// By its path: a target of the backup.
    Path(PathBuf),
    /// By name, in an open one.
    Child(Arc<Dir>, Box<[u8]>),
}

/// The stack of waiting directories.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    waiting: Vec<DirJob>,
    busy: usize,
}

impl Queue {
    pub(super) fn push(&self, jobs: impl IntoIterator<Item = DirJob>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).waiting.extend(jobs);
        self.changed.notify_all();
    }

    /// The next directory without waiting for one.
    fn try_pop(&self) -> Option<DirJob> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let job = state.waiting.pop()?;
        state.busy += 1;
        Some(job)
    }

    /// The next directory; `None` when none is left and none can come.
    fn pop(&self) -> Option<DirJob> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(job) = state.waiting.pop() {
                state.busy += 1;
                return Some(job);
            }
            if state.busy == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.busy -= 1;
        if state.busy == 0 && state.waiting.is_empty() {
            self.changed.notify_all();
        }
    }
}

/// A directory while it is being compared with the parent backup.
struct Listing<'a> {
    dir: &'a Arc<Dir>,
    /// Whether it only leads to targets: nobody asked for what may not be read of it.
    only_leads: bool,
    work: &'a Arc<DirWork>,
    slots: Vec<Option<Entry>>,
    to_read: Vec<ToRead>,
    below: Vec<DirJob>,
}

/// A file of a listed directory that has to be read.
struct ToRead {
    slot: usize,
    name: Box<[u8]>,
    old: Option<Entry>,
    reason: Reason,
}

impl Walk {
    /// Puts the targets on the stack, below the directories that lead to them.
    pub(super) fn start(&self, targets: &Targets, old: Option<ChunkKey>) {
        for (path, error) in &targets.missing {
            self.run.problem(path.as_os_str().as_bytes(), &io::Error::other(error.clone()));
        }
        let top = DirWork::top(old, &self.run.figures.dirs_unmodified);
        let mut gather = Gather::default();
        if targets.top.is_target {
            self.queue.push([DirJob {
                work: top,
                path: targets.top.path.as_os_str().as_bytes().to_vec(),
                device: device_of(&targets.top.path),
                at: At::Path(targets.top.path.clone()),
                empty: false,
            }]);
        } else {
            self.lead(&targets.top, &top, &mut gather);
        }
        gather.flush(&self.run);
    }

    /// A directory that only leads to targets.
    fn lead(&self, node: &Node, work: &Arc<DirWork>, gather: &mut Gather) {
        let mut old = self.old_entries(work);
        let old_count = old.len();
        let mut slots = Vec::new();
        let mut leading = Vec::new();
        let mut jobs = Vec::new();
        let mut files = Vec::new();
        for (name, child) in &node.below {
            let old_entry = old.take(name);
            let slot = slots.len();
            let parent = child.path.parent().unwrap_or(&child.path);
            let own_name = child.path.file_name().unwrap_or_default().as_bytes();
            let opened = Dir::open_place(parent).and_then(|dir| {
                // What leads to a target may be a link to a directory; the target itself may not.
                let stat = match child.is_target {
                    true => dir.stat(own_name)?,
                    false => Dir::open_place(&child.path)?.stat_self()?,
                };
                Ok((Arc::new(dir), stat))
            });
            let (dir, stat) = match opened {
                Ok(opened) => opened,
                Err(error) => {
                    // Asked for by name, so that it is gone is a problem, too.
                    self.run.problem(&child_path(work, name), &error);
                    continue;
                }
            };
            let is_skipped = child.is_found && self.is_ruled_out(child, &stat);
            if is_skipped {
                self.run.left_out(child.path.as_os_str().as_bytes());
            }
            if is_skipped || matches!(stat.kind, FileKind::Socket | FileKind::Other) {
                continue;
            }
            let device = match child.is_found {
                true => device_of(parent),
                false => stat.device,
            };
            let listing = Listing {
                dir: &dir,
                only_leads: !child.is_target,
                work,
                slots: Vec::new(),
                to_read: Vec::new(),
                below: Vec::new(),
            };
            if stat.kind == FileKind::File {
                let path = child.path.as_os_str().as_bytes();
                if let Verdict::Differs(reason) = self.judge_file(path, &stat, old_entry.as_ref()) {
                    slots.push(None);
                    files.push((slot, dir, own_name, old_entry, reason, stat));
                    continue;
                }
                self.run.count_file(stat.size);
                Figures::bump(&self.run.figures.files_unmodified);
            }
            let old_tree = match old_entry.as_ref().map(|old| &old.kind) {
                Some(Kind::Directory { tree }) => *tree,
                _ => None,
            };
            let Some(mut entry) = self.entry(&listing, own_name, &stat, old_entry) else {
                continue;
            };
            entry.name = name.as_slice().into();
            slots.push(Some(entry));
            if stat.kind == FileKind::Directory {
                let below = DirWork::below(work, slot, name.as_slice().into(), old_tree);
                if child.is_target {
                    jobs.push(DirJob {
                        work: below,
                        at: At::Path(child.path.clone()),
                        path: child.path.as_os_str().as_bytes().to_vec(),
                        device,
                        empty: self.rules.one_file_system && stat.device != device,
                    });
                } else {
                    leading.push((child, below));
                }
            }
        }
        if slots.len() != old_count {
            work.alter();
        }
        work.list(slots, files.len() + jobs.len() + leading.len());
        self.queue.push(jobs.into_iter().rev());
        for (slot, dir, own_name, old, reason, stat) in files {
            self.run.monitor.counters().files_found.add(1);
            self.run.monitor.counters().bytes_found.add(stat.size);
            let file = ToRead { slot, name: own_name.into(), old, reason };
            self.read(&dir, work, file, gather);
        }
        for (child, below) in leading {
            self.lead(child, &below, gather);
        }
        let finished = work.listed();
        self.run.pass_on(finished);
    }

    /// Whether a rule leaves out what nobody asked for by name.
    fn is_ruled_out(&self, found: &Node, stat: &Stat) -> bool {
        let (path, filter) = (found.path.as_os_str().as_bytes(), &self.rules.filter);
        let too_large = stat.kind == FileKind::File && filter.file_too_large(stat.size);
        filter.path_excluded(path) || (too_large && !filter.is_target(path))
    }

    /// Works until no directory is left.
    pub(super) fn source_thread(&self) {
        let mut gather = Gather::default();
        let mut names = Names::new();
        loop {
            let Some(job) = self.queue.try_pop().or_else(|| {
                // Others may wait for what is gathered here.
                gather.flush(&self.run);
                self.queue.pop()
            }) else {
                break;
            };
            if !self.run.cancel.is_cancelled() {
                // The run ends with it, and what it leaves half done goes nowhere; the other
                // threads must not wait for this one.
                let visit = AssertUnwindSafe(|| self.visit(job, &mut gather, &mut names));
                if catch_unwind(visit).is_err() {
                    self.run.fail(Fault::Bug("a source thread panicked"));
                }
            }
            self.queue.done();
        }
        gather.flush(&self.run);
    }

    /// Lists a directory, compares it, queues those below and reads what has to be read.
    fn visit(&self, job: DirJob, gather: &mut Gather, names: &mut Names) {
        let dir = match open_and_list(&job, names) {
            Ok(dir) => Arc::new(dir),
            Err(error) => {
                match job.at {
                    At::Path(_) => self.run.problem(&job.work.path(), &error),
                    At::Child(..) => self.skipped(job.work.path(), &error),
                }
                let finished = job.work.omit();
                self.run.pass_on(finished);
                return;
            }
        };
        let mut old = self.old_entries(&job.work);
        let old_count = old.len();
        let mut listing = Listing {
            dir: &dir,
            only_leads: false,
            work: &job.work,
            slots: Vec::with_capacity(names.len()),
            to_read: Vec::new(),
            below: Vec::new(),
        };
        let marked = self.marked(&dir, names);
        let mut path = job.path;
        let path_len = path.len();
        for name in names.iter() {
            path.truncate(path_len);
            if path.last() != Some(&b'/') {
                path.push(b'/');
            }
            path.extend_from_slice(name.bytes);
            let filter = &self.rules.filter;
            let marked_out = marked.excludes(name.bytes) && !filter.is_target(&path);
            if marked_out || filter.path_excluded(&path) {
                self.run.left_out(&path);
                continue;
            }
            let old_entry = old.take(name.bytes);
            self.compare(&mut listing, name.bytes, &path, old_entry, job.device);
        }
        let Listing { slots, to_read, below, .. } = listing;
        if slots.len() != old_count {
            job.work.alter();
        }
        let files = slots.len() - below.len();
        self.run.monitor.counters().files_found.add(files as u64);
        job.work.list(slots, to_read.len() + below.len());
        // Newest first: in reverse, so that they are taken in the order of their names.
        self.queue.push(below.into_iter().rev());
        for file in to_read {
            if self.run.cancel.is_cancelled() {
                return;
            }
            self.read(&dir, &job.work, file, gather);
        }
        let finished = job.work.listed();
        self.run.pass_on(finished);
    }

    /// The markers that hold in this directory.
    fn marked(&self, dir: &Dir, names: &Names) -> Marked<'_> {
        let mut marked = Marked::default();
        for marker in self.rules.filter.markers() {
            let there = if marker.is_listed() {
                names.iter().any(|name| name.bytes == marker.name())
            } else {
                dir.stat(marker.name()).is_ok()
            };
            if there && marker.matches(&read_head(dir, marker)) == Header::Matches {
                marked.add(marker);
            }
        }
        marked
    }

    /// The entries of the same directory in the parent backup.
    fn old_entries(&self, work: &DirWork) -> OldEntries {
        let Some(key) = work.old else { return OldEntries::new(Directory::default()) };
        match self.reader.directory(&key) {
            Ok(directory) => OldEntries::new(directory),
            Err(fault) => {
                let path = work.path();
                let path = String::from_utf8_lossy(&path);
                let note = format!(
                    "parent backup of {path}/ cannot be read, reading its files again: {fault}"
                );
                self.run.monitor.event(Event::Note(&note));
                work.alter();
                OldEntries::new(Directory::default())
            }
        }
    }

    /// Decides what one name needs, by what its directory says of it.
    fn compare(
        &self,
        listing: &mut Listing<'_>,
        name: &[u8],
        path: &[u8],
        old: Option<Entry>,
        device: u64,
    ) {
        let stat = match listing.dir.stat(name) {
            Ok(stat) => stat,
            Err(error) => {
                self.skipped(child_path(listing.work, name), &error);
                return;
            }
        };
        let slot = listing.slots.len();
        match stat.kind {
            FileKind::Directory => {
                let old_tree = match old.as_ref().map(|old| &old.kind) {
                    Some(Kind::Directory { tree }) => *tree,
                    _ => None,
                };
                let Some(entry) = self.entry(listing, name, &stat, old) else { return };
                listing.slots.push(Some(entry));
                listing.below.push(DirJob {
                    work: DirWork::below(listing.work, slot, name.into(), old_tree),
                    at: At::Child(Arc::clone(listing.dir), name.into()),
                    path: path.to_vec(),
                    device,
                    empty: self.rules.one_file_system && stat.device != device,
                });
            }
            FileKind::File => {
                let filter = &self.rules.filter;
                if filter.file_too_large(stat.size) && !filter.is_target(path) {
                    self.run.left_out(path);
                    return;
                }
                self.run.monitor.counters().bytes_found.add(stat.size);
                match self.judge_file(path, &stat, old.as_ref()) {
                    Verdict::Same { .. } => {
                        let Some(entry) = self.entry(listing, name, &stat, old) else { return };
                        self.run.count_file(stat.size);
                        Figures::bump(&self.run.figures.files_unmodified);
                        self.run.item(listing.work, &entry, Action::Unchanged, stat.size);
                        listing.slots.push(Some(entry));
                    }
                    Verdict::Differs(reason) => {
                        listing.slots.push(None);
                        listing.to_read.push(ToRead { slot, name: name.into(), old, reason });
                    }
                }
            }
            FileKind::Socket | FileKind::Other => {}
            FileKind::Symlink | FileKind::BlockDevice | FileKind::CharDevice | FileKind::Fifo => {
                let is_new = old.is_none();
                if let Some(entry) = self.entry(listing, name, &stat, old) {
                    let action = if is_new { Action::New } else { Action::Unchanged };
                    self.run.item(listing.work, &entry, action, 0);
                    listing.slots.push(Some(entry));
                }
            }
        }
    }

    /// Whether a file's content is as in the parent backup, and all of it still there.
    fn judge_file(&self, path: &[u8], stat: &Stat, old: Option<&Entry>) -> Verdict {
        let Some(old) = old else { return Verdict::Differs(Reason::New) };
        let verdict = compare::judge(self.rules.policy, old, stat);
        if let Verdict::Same { .. } = verdict {
            if let Kind::File { content: Content::Chunks(keys), .. } = &old.kind
                && keys.iter().any(|key| self.run.index.find(key).is_none())
            {
                return Verdict::Differs(Reason::MissingChunks);
            }
            if let Policy::CloneAware { sample_every } = self.rules.policy
                && compare::in_sample(hash_of(path), self.rules.turn, sample_every)
            {
                return Verdict::Differs(Reason::Sampled);
            }
        }
        verdict
    }

    /// The entry of an item whose content, if it has any, is as in the parent backup: the old one
    /// where nothing says otherwise, else a fresh one with the old content.
    fn entry(
        &self,
        listing: &Listing<'_>,
        name: &[u8],
        stat: &Stat,
        old: Option<Entry>,
    ) -> Option<Entry> {
        let Some(mut old) = old else {
            listing.work.alter();
            return self.fresh_or_skip(listing, name, stat);
        };
        let verdict = compare::judge(self.rules.policy, &old, stat);
        let proven = matches!(verdict, Verdict::Same { metadata_proven: true });
        if proven && !self.rules.with_atime {
            if compare::refresh_identity(&mut old, stat) {
                listing.work.alter();
            }
            return Some(old);
        }
        let mut fresh = self.fresh_or_skip(listing, name, stat)?;
        let clone = matches!(self.rules.policy, Policy::CloneAware { .. });
        let same = compare::same_item(&old, &fresh)
            && if clone {
                compare::same_but_for_clone(&old, &fresh)
            } else {
                compare::same_metadata(&old, &fresh)
            };
        if same && !self.rules.with_atime {
            return Some(old);
        }
        listing.work.alter();
        if let (Kind::File { content, .. }, Kind::File { content: old, .. }) =
            (&mut fresh.kind, old.kind)
        {
            *content = old;
        }
        Some(fresh)
    }

    fn fresh_or_skip(&self, listing: &Listing<'_>, name: &[u8], stat: &Stat) -> Option<Entry> {
        match self.fresh(listing.dir, name, stat) {
            Ok((entry, xattr_error)) => {
                let is_expected = |error: &io::Error| {
                    listing.only_leads && error.kind() == io::ErrorKind::PermissionDenied
                };
                if let Some(error) = xattr_error.filter(|error| !is_expected(error)) {
                    self.run.problem(&child_path(listing.work, name), &error);
                }
                Some(entry)
            }
            Err(error) => {
                self.skipped(child_path(listing.work, name), &error);
                None
            }
        }
    }

    /// An entry with everything the source says now, and content still empty. Attributes that
    /// cannot be read do not cost the item itself.
    pub(super) fn fresh(
        &self,
        dir: &Dir,
        name: &[u8],
        stat: &Stat,
    ) -> io::Result<(Entry, Option<io::Error>)> {
        let kind = match stat.kind {
            FileKind::File => Kind::File { size_bytes: stat.size, content: Content::EMPTY },
            FileKind::Directory => Kind::Directory { tree: None },
            FileKind::Symlink => {
                Kind::Symlink { target: Target::Inline(dir.read_link(name)?.into()) }
            }
            FileKind::BlockDevice => Kind::BlockDevice { rdev: stat.rdev },
            FileKind::CharDevice => Kind::CharDevice { rdev: stat.rdev },
            FileKind::Fifo => Kind::Fifo,
            FileKind::Socket => Kind::Socket,
            FileKind::Other => Kind::Unknown,
        };
        let attributes = dir.xattrs(name);
        if let Some(gone) =
            attributes.error.as_ref().filter(|it| it.kind() == io::ErrorKind::NotFound)
        {
            return Err(gone.kind().into());
        }
        Ok(self.with_xattrs(name, stat, kind, attributes))
    }

    fn with_xattrs(
        &self,
        name: &[u8],
        stat: &Stat,
        kind: Kind,
        attributes: Attributes,
    ) -> (Entry, Option<io::Error>) {
        let Attributes { found, error } = attributes;
        let xattrs = found
            .into_iter()
            .map(|(name, value)| Xattr { name: name.into(), value: value.into() })
            .collect();
        let mut entry = self.entry_of(name, stat, kind, xattrs);
        if error.is_some() {
            // An equal ctime would prove to the next backup that nothing is missing here.
            entry.ctime = None;
        }
        (entry, error)
    }

    /// An entry from its parts.
    pub(super) fn entry_of(
        &self,
        name: &[u8],
        stat: &Stat,
        kind: Kind,
        xattrs: Vec<Xattr>,
    ) -> Entry {
        let time = |moment| self.rules.zone.timestamp(moment);
        let links =
            if matches!(kind, Kind::Directory { .. } | Kind::Fifo) { 0 } else { stat.links };
        Entry {
            name: name.into(),
            kind,
            mode: stat.mode,
            mtime: time(stat.mtime),
            atime: time(if self.rules.with_atime { stat.atime } else { stat.mtime }),
            ctime: Some(time(stat.ctime)),
            uid: stat.uid,
            gid: stat.gid,
            user: self.owners.user(stat.uid),
            group: self.owners.group(stat.gid),
            inode: stat.inode,
            device: stat.device,
            links,
            xattrs,
            residue: None,
        }
    }

    /// Reads one file into batches.
    fn read(&self, dir: &Arc<Dir>, work: &Arc<DirWork>, file: ToRead, gather: &mut Gather) {
        let (mut opened, stat) = match dir.open_file(&file.name) {
            Ok(opened) => opened,
            Err(error) => {
                self.skipped(child_path(work, &file.name), &error);
                let finished = work.child_done(file.slot, Outcome::Omit);
                self.run.pass_on(finished);
                return;
            }
        };
        let kind = Kind::File { size_bytes: stat.size, content: Content::EMPTY };
        let xattrs = xattrs_of_file(&opened);
        let (entry, xattr_error) = self.with_xattrs(&file.name, &stat, kind, xattrs);
        if let Some(error) = xattr_error {
            self.run.problem(&child_path(work, &file.name), &error);
        }
        self.run.figures.count_reason(file.reason);
        let file_work = FileWork::new(work, file.slot, entry, file.old);
        let current = self.run.reading(|| child_path(work, &file.name));
        let read = gather.read_file(&self.run, &mut opened, &stat, &file_work);
        self.run.read(current);
        let done = match read {
            Ok(size_bytes) => file_work.read_done(size_bytes),
            Err(error) => {
                if !self.run.cancel.is_cancelled() {
                    self.run.problem(&child_path(work, &file.name), &error);
                }
                file_work.read_failed()
            }
        };
        self.run.pass_on_file(done.map(|done| (Arc::clone(work), done)));
    }

    /// Books an item that cannot be backed up: gone meanwhile, or unreadable.
    pub(super) fn skipped(&self, path: Vec<u8>, error: &io::Error) {
        if error.kind() == io::ErrorKind::NotFound {
            Figures::bump(&self.run.figures.vanished);
        } else {
            self.run.problem(&path, error);
        }
    }
}

/// Entries of the parent backup, taken out in ascending order of names.
pub(super) struct OldEntries {
    entries: std::iter::Peekable<std::vec::IntoIter<Entry>>,
    count: usize,
}

impl OldEntries {
    fn new(directory: Directory) -> Self {
        let count = directory.entries.len();
        Self { entries: directory.entries.into_iter().peekable(), count }
    }

    fn len(&self) -> usize {
        self.count
    }

    /// The entry of that name; names must be asked for in ascending order.
    pub(super) fn take(&mut self, name: &[u8]) -> Option<Entry> {
        while self.entries.next_if(|entry| *entry.name < *name).is_some() {}
        self.entries.next_if(|entry| *entry.name == *name)
    }
}

fn child_path(work: &DirWork, name: &[u8]) -> Vec<u8> {
    let mut path = work.path();
    path.push(b'/');
    path.extend_from_slice(name);
    path
}

fn hash_of(path: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

fn open_and_list(job: &DirJob, names: &mut Names) -> io::Result<Dir> {
    let dir = match &job.at {
        At::Path(path) => Dir::open_root(path)?,
        At::Child(parent, name) => parent.open_child(name)?,
    };
    if job.empty {
        *names = Names::new();
    } else {
        dir.entries(names)?;
        names.sort();
    }
    Ok(dir)
}

/// As many bytes of a marker file as its rule looks at.
fn read_head(dir: &Dir, marker: &Marker) -> Vec<u8> {
    let mut head = Vec::new();
    let _unreadable_is_no_match = dir
        .open_file(marker.name())
        .and_then(|(file, _stat)| file.take(marker.header_bytes() as u64).read_to_end(&mut head));
    head
}

fn device_of(path: &Path) -> u64 {
    Dir::open_place(path).and_then(|dir| dir.stat_self()).map_or(0, |stat| stat.device)
}
