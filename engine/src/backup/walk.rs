//! The source threads of a backup: list, look at each name, and read what has to be read.
//!
//! Invariants
//! - A name that is gone when it is looked at is counted; one that cannot be read is named and left
//!   out; neither stops the run. One that was asked for is always named.
//! - An unreadable directory of the *parent backup* only costs speed: its files are read again.
//!
//! Not here: what a name needs (`item`), what a listing says of a file (`compare`), cutting
//! (`read`).

use std::{
    ffi::OsStr,
    io::{self, Read},
    os::unix::ffi::{OsStrExt, OsStringExt},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    compare::Policy,
    item::Item,
    listing::{Listing, ToRead},
    queue::{At, DirJob, Queue},
    read::Gather,
    run::Run,
    sample::Sample,
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
        directory::{Directory, Kind},
        object::Content,
    },
    monitor::Event,
    owner::Owners,
    reader::Reader,
    source::{
        FileKind, Stat,
        fs::{Dir, Names, xattrs_of_file},
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
    /// What is read again although it looks unchanged.
    pub(super) sample: Option<Sample>,
}

/// A directory that targets are in.
struct Above<'a> {
    path: PathBuf,
    dir: Arc<Dir>,
    device: u64,
    marked: Marked<'a>,
}

impl Walk {
    /// Puts the targets on the stack, below the directories that lead to them.
    pub(super) fn start(&self, targets: Targets, old: Option<ChunkKey>) {
        for (path, error) in targets.missing {
            self.run.problem(path.as_os_str().as_bytes(), &io::Error::other(error));
        }
        let Node { path, is_target, below, .. } = targets.top;
        self.queue.push([DirJob {
            work: DirWork::top(old, &self.run.account),
            device: device_of(&path),
            path: path.into_os_string().into_vec(),
            at: if is_target { At::Target } else { At::Leading(below) },
            empty: false,
        }]);
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

    /// Looks at each name of a directory, queues the directories below and reads what has to be
    /// read.
    fn visit(&self, job: DirJob, gather: &mut Gather, names: &mut Names) {
        let work = Arc::clone(&job.work);
        let is_target = matches!(job.at, At::Target);
        let listing = match job.at {
            At::Leading(nodes) => Ok(self.list_targets(&work, nodes)),
            At::Target | At::Child(..) => self.list(&work, job, names),
        };
        let listing = match listing {
            Ok(listing) => listing,
            Err(error) => {
                match is_target {
                    // Asked for by name, so that it is gone is a problem, too.
                    true => self.run.problem(&work.path(), &error),
                    false => self.skipped(&work.path(), &error),
                }
                let finished = work.omit();
                self.run.pass_on(finished);
                return;
            }
        };
        let (below, to_read, others) = listing.close();
        self.run.monitor.counters().files_found.add(others as u64);
        // Newest first: in reverse, so that they are taken in the order of their names.
        self.queue.push(below.into_iter().rev());
        for file in to_read {
            if self.run.cancel.is_cancelled() {
                return;
            }
            self.read(&work, file, gather);
        }
        let finished = work.listed();
        self.run.pass_on(finished);
    }

    /// The names in a directory of the source.
    fn list<'a>(
        &self,
        work: &'a Arc<DirWork>,
        job: DirJob,
        names: &mut Names,
    ) -> io::Result<Listing<'a>> {
        let dir = Arc::new(open_and_list(&job, names)?);
        let mut listing = Listing::new(work, self.old_directory(work), names.len());
        let marked = self.marked(&dir, Some(names));
        let filter = &self.rules.filter;
        let mut path = job.path;
        if path.last() != Some(&b'/') {
            path.push(b'/');
        }
        let path_len = path.len();
        for name in names.iter() {
            let name = name.bytes;
            path.truncate(path_len);
            path.extend_from_slice(name);
            let marked_out = marked.excludes(name) && !filter.is_target(&path);
            if marked_out || filter.path_excluded(&path) {
                self.run.left_out(&path);
                continue;
            }
            let stat = match dir.stat(name) {
                Ok(stat) => stat,
                Err(error) => {
                    self.skipped(&work.path_of(name), &error);
                    continue;
                }
            };
            if self.is_too_large(&path, &stat) {
                self.run.left_out(&path);
                continue;
            }
            let item = Item { dir: &dir, own_name: name, name, stat, only_leads: false };
            if let Some(work) = self.compare(&mut listing, &item) {
                listing.below.push(DirJob {
                    work,
                    at: At::Child(Arc::clone(&dir), name.into()),
                    path: path.clone(),
                    device: job.device,
                    empty: self.rules.one_file_system && stat.device != job.device,
                });
            }
        }
        Ok(listing)
    }

    /// The names in a directory that only leads to targets.
    fn list_targets<'a>(
        &self,
        work: &'a Arc<DirWork>,
        nodes: impl IntoIterator<Item = (Vec<u8>, Node)>,
    ) -> Listing<'a> {
        let mut listing = Listing::new(work, self.old_directory(work), 0);
        let mut last: Option<Above<'_>> = None;
        for (name, node) in nodes {
            let parent = node.path.parent().unwrap_or(&node.path);
            let own_name = node.path.file_name().unwrap_or_default().as_bytes();
            let path = node.path.as_os_str().as_bytes();
            // Entries of one directory come together.
            let above = match last.take().filter(|above| above.path == parent) {
                Some(above) => Ok(above),
                None => self.above(parent),
            };
            let opened = above.and_then(|above| {
                let above = last.insert(above);
                // What leads to a target may be a link to a directory; the target itself may not.
                let stat = match node.is_target {
                    true => above.dir.stat(own_name)?,
                    false => Dir::open_place(&node.path)?.stat_self()?,
                };
                Ok((&*above, stat))
            });
            let (above, stat) = match opened {
                Ok(opened) => opened,
                Err(error) => {
                    // Asked for by name, so that it is gone is a problem, too.
                    self.run.problem(&work.path_of(&name), &error);
                    continue;
                }
            };
            if node.is_found && self.is_ruled_out(above, own_name, path, &stat) {
                self.run.left_out(path);
                continue;
            }
            let only_leads = !node.is_target;
            let item = Item { dir: &above.dir, own_name, name: &name, stat, only_leads };
            let Some(work) = self.compare(&mut listing, &item) else { continue };
            let device = if node.is_found { above.device } else { stat.device };
            let (path, empty) =
                (path.to_vec(), self.rules.one_file_system && stat.device != device);
            let at = if node.is_target { At::Target } else { At::Leading(node.below) };
            listing.below.push(DirJob { work, at, path, device, empty });
        }
        listing
    }

    /// Opens the directory above a target.
    fn above(&self, path: &Path) -> io::Result<Above<'_>> {
        let dir = Dir::open_place(path)?;
        let (device, marked) = (dir.stat_self()?.device, self.marked(&dir, None));
        Ok(Above { path: path.to_owned(), dir: Arc::new(dir), device, marked })
    }

    /// Whether a rule leaves out what nobody asked for by name: an entry of a target that has none.
    fn is_ruled_out(&self, above: &Above<'_>, name: &[u8], path: &[u8], stat: &Stat) -> bool {
        let filter = &self.rules.filter;
        (above.marked.excludes(name) && !filter.is_target(path))
            || filter.path_excluded(path)
            || self.is_too_large(path, stat)
    }

    /// Whether a file's size leaves it out.
    fn is_too_large(&self, path: &[u8], stat: &Stat) -> bool {
        let filter = &self.rules.filter;
        stat.kind == FileKind::File && filter.file_too_large(stat.size) && !filter.is_target(path)
    }

    /// The markers that hold in this directory, whose names may be known.
    fn marked(&self, dir: &Dir, names: Option<&Names>) -> Marked<'_> {
        let mut marked = Marked::default();
        for marker in self.rules.filter.markers() {
            let is_there = match names.filter(|_names| marker.is_listed()) {
                Some(names) => names.iter().any(|name| name.bytes == marker.name()),
                None => dir.stat(marker.name()).is_ok(),
            };
            if is_there && marker.matches(&read_head(dir, marker)) == Header::Matches {
                marked.add(marker);
            }
        }
        marked
    }

    /// The same directory in the parent backup.
    fn old_directory(&self, work: &DirWork) -> Directory {
        let Some(key) = work.old else { return Directory::default() };
        self.reader.directory(&key).unwrap_or_else(|fault| {
            let path = work.path();
            let path = String::from_utf8_lossy(&path);
            let note = format!(
                "parent backup of {path}/ cannot be read, reading its files again: {fault}"
            );
            self.run.monitor.event(Event::Note(&note));
            work.alter();
            Directory::default()
        })
    }

    /// Reads one file into batches.
    fn read(&self, work: &Arc<DirWork>, file: ToRead, gather: &mut Gather) {
        let (mut opened, stat) = match file.dir.open_file(file.own_name()) {
            Ok(opened) => opened,
            Err(error) => {
                self.skipped(&work.path_of(&file.name), &error);
                let finished = work.child_done(file.slot, Outcome::Omit);
                self.run.pass_on(finished);
                return;
            }
        };
        let kind = Kind::File { size_bytes: stat.size, content: Content::EMPTY };
        let xattrs = xattrs_of_file(&opened);
        let (entry, xattr_error) = self.with_xattrs(&file.name, &stat, kind, xattrs);
        if let Some(error) = xattr_error {
            self.run.problem(&work.path_of(&file.name), &error);
        }
        self.run.figures.count_reason(file.reason);
        let file_work = FileWork::new(work, file.slot, entry, file.old);
        let current = self.run.reading(|| work.path_of(&file.name));
        let read = gather.read_file(&self.run, &mut opened, &stat, &file_work);
        self.run.read(current);
        let done = match read {
            Ok(size_bytes) => file_work.read_done(size_bytes),
            Err(error) => {
                if !self.run.cancel.is_cancelled() {
                    self.run.problem(&work.path_of(&file.name), &error);
                }
                file_work.read_failed()
            }
        };
        self.run.pass_on_file(done.map(|done| (Arc::clone(work), done)));
    }
}

fn open_and_list(job: &DirJob, names: &mut Names) -> io::Result<Dir> {
    let dir = match &job.at {
        At::Child(parent, name) => parent.open_child(name)?,
        At::Target | At::Leading(_) => Dir::open_root(Path::new(OsStr::from_bytes(&job.path)))?,
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
