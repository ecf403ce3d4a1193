//! As much of the plan as is in memory at once.
//!
//! Invariants
//! - A window is given on when it holds [`Window::weight`] chunks and entries, whatever the
//!   snapshot's size; a file may lie in several.
//! - Existing files are compared before any of their chunks is asked for.

use std::{
    io,
    sync::{Arc, mpsc},
};

use rayon::prelude::*;

use super::{
    Overwrite, compare,
    file::{FileJob, Plan, Start},
    folder::Folder,
    plan::{Limits, Use, spans},
    special::Special,
    task::{Task, add},
    work::{Place, Work},
};
use crate::{
    model::{chunk::ChunkKey, pack::Location},
    monitor::{Action, ItemKind},
    source::{FileKind, Stat},
    target::{
        Metadata,
        fs::{
            self,
            metadata::{Before, Subject, apply, is_same},
        },
    },
};

/// What one chunk or entry of a window takes in memory, roughly, with names and metadata.
const ENTRY_BYTES: usize = 512;
const FEWEST: usize = 1024;
const MOST: usize = 16_384;
const MOST_REMOTE: usize = 65_536;
/// Entries without chunks that one worker does at a time.
const SHARE: usize = 64;

/// A regular file before it is known what of it is there. Its folder waits for it.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) folder: Arc<Folder>,
    pub(super) name: Box<[u8]>,
    pub(super) size_bytes: u64,
    pub(super) metadata: Metadata,
    pub(super) chunks: Vec<(ChunkKey, Location)>,
    /// What has the name now.
    pub(super) local: Option<Stat>,
}

/// What is planned and not yet given on.
pub(super) struct Window<'a> {
    task: &'a Task,
    out: mpsc::SyncSender<Work>,
    limits: Limits,
    most: usize,
    weight: usize,
    uses: Vec<Use<Place>>,
    existing: Vec<Candidate>,
    unwritten: Vec<Arc<FileJob>>,
    specials: Vec<Special>,
}

/// What has to be done with an existing file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Unchanged,
    /// Its metadata was put back, or would have been.
    Marked,
    /// These chunks are missing, of those that are kept.
    Write { start: Start, missing: Vec<usize> },
}

impl<'a> Window<'a> {
    pub(super) fn new(task: &'a Task, out: mpsc::SyncSender<Work>, limits: Limits) -> Self {
        let (room, most) = match task.store.capabilities().remote {
            // What two windows need of a pack is asked for twice.
            true => (task.in_flight / 2, MOST_REMOTE),
            false => (task.buffer_bytes / 4, MOST),
        };
        let most = (room / ENTRY_BYTES).clamp(FEWEST, most);
        Self {
            task,
            out,
            limits,
            most,
            weight: 0,
            uses: Vec::new(),
            existing: Vec::new(),
            unwritten: Vec::new(),
            specials: Vec::new(),
        }
    }

    /// Adds a file; one that exists is compared with the others of the window.
    pub(super) fn add_file(&mut self, candidate: Candidate) {
        if candidate.local.is_some() {
            self.weight += 1 + candidate.chunks.len();
            self.existing.push(candidate);
            self.give_on_if_full();
        } else {
            self.start(candidate, Start::Nothing, None);
        }
    }

    /// Adds a file of which it is known what there is. Of its chunks, `missing` are written; all
    /// without.
    pub(super) fn start(
        &mut self,
        candidate: Candidate,
        start: Start,
        missing: Option<Vec<usize>>,
    ) {
        let Candidate { folder, name, size_bytes, metadata, chunks, .. } = candidate;
        let written = missing.as_ref().map_or(chunks.len(), Vec::len);
        if self.task.options.dry_run {
            let action = match start {
                Start::Nothing | Start::Prepared => {
                    add(&self.task.done.files_restored, 1);
                    Action::Restored
                }
                Start::Replace | Start::Earlier { .. } => {
                    add(&self.task.done.files_updated, 1);
                    Action::Updated
                }
            };
            self.task.monitor.counters().files_done.add(1);
            let path = || folder.path_of(&name);
            self.task.item(path, action, ItemKind::File, size_bytes, size_bytes);
            return folder.child_done(self.task, true);
        }
        let proof = self.task.options.verify.then(|| lengths(&chunks).into());
        let file = FileJob::new(Plan {
            folder,
            name,
            size_bytes,
            metadata,
            start,
            chunks: written,
            proof,
        });
        if written == 0 {
            self.unwritten.push(file);
            self.weight += 1;
            return self.give_on_if_full();
        }
        let mut offset = 0;
        let mut missing = missing.map(|places| places.into_iter().peekable());
        for (place, (key, at)) in chunks.into_iter().enumerate() {
            let wanted = missing.as_mut().is_none_or(|rest| rest.next_if_eq(&place).is_some());
            if wanted {
                let to = Place { file: Arc::clone(&file), offset };
                self.uses.push(Use { key, at, to });
                self.weight += 1;
                // Also in the middle of a file: its rest joins the next window.
                self.give_on_if_full();
            }
            offset += u64::from(at.raw_bytes);
        }
    }

    /// Adds an entry without chunks.
    pub(super) fn add_special(&mut self, special: Special) {
        self.specials.push(special);
        self.weight += 1;
        self.give_on_if_full();
    }

    fn give_on_if_full(&mut self) {
        if self.weight >= self.most {
            self.give_on();
        }
    }

    /// Gives on what was planned so far.
    pub(super) fn give_on(&mut self) {
        self.weight = 0;
        let existing = std::mem::take(&mut self.existing);
        if !existing.is_empty() {
            let task = self.task;
            let verdicts: Vec<(Candidate, io::Result<Verdict>)> = task.pool.install(|| {
                let judge = |candidate: Candidate| {
                    let verdict = settle(task, &candidate);
                    (candidate, verdict)
                };
                existing.into_par_iter().map(judge).collect()
            });
            for (candidate, verdict) in verdicts {
                self.take(candidate, verdict);
            }
        }
        for work in share(std::mem::take(&mut self.specials)).map(Work::Specials) {
            self.send(work);
        }
        for work in share(std::mem::take(&mut self.unwritten)).map(Work::Files) {
            self.send(work);
        }
        for span in spans(std::mem::take(&mut self.uses), self.limits) {
            self.send(Work::Span(span));
        }
        self.weight = 0;
    }

    /// Goes on with an existing file as was found right.
    pub(super) fn take(&mut self, candidate: Candidate, verdict: io::Result<Verdict>) {
        let task = self.task;
        match verdict {
            Ok(Verdict::Write { start, missing }) => {
                self.start(candidate, start, Some(missing));
            }
            Ok(verdict) => {
                let action = if verdict == Verdict::Unchanged {
                    add(&task.done.files_unchanged, 1);
                    task.monitor.counters().files_unchanged.add(1);
                    Action::Unchanged
                } else {
                    add(&task.done.files_updated, 1);
                    Action::Updated
                };
                task.monitor.counters().files_done.add(1);
                let path = || candidate.folder.path_of(&candidate.name);
                task.item(path, action, ItemKind::File, candidate.size_bytes, 0);
                candidate.folder.child_done(task, true);
            }
            Err(error) => {
                if !task.is_stopped() {
                    task.target_failed(&candidate.folder.path_of(&candidate.name), error);
                }
                candidate.folder.child_done(task, false);
            }
        }
    }

    fn send(&self, work: Work) {
        if !self.task.is_stopped() {
            // Nobody listens any more only when the restore is over.
            let _over = self.out.send(work);
        }
    }
}

/// What has to be done with a file that has an entry of its name; puts metadata back where no
/// more than that is.
pub(super) fn settle(task: &Task, candidate: &Candidate) -> io::Result<Verdict> {
    let all = || (0..candidate.chunks.len()).collect();
    if candidate.local.is_none_or(|stat| stat.kind != FileKind::File) {
        return Ok(Verdict::Write { start: Start::Replace, missing: all() });
    }
    let dir = candidate.folder.dir(&task.handles)?;
    let (file, stat) = match dir.open_file(&candidate.name) {
        // What we may not read we may still replace.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Ok(Verdict::Write { start: Start::Replace, missing: all() });
        }
        opened => opened?,
    };
    let is_trusted = task.options.overwrite == Overwrite::IfChanged
        && (stat.size, stat.mtime) == (candidate.size_bytes, candidate.metadata.mtime);
    let chunks = lengths(&candidate.chunks);
    let missing = if is_trusted { Vec::new() } else { compare::missing(task, &file, &chunks)? };
    let is_whole = missing.is_empty() && stat.size == candidate.size_bytes;
    if is_whole {
        add(&task.done.bytes_reused, stat.size);
        task.monitor.counters().bytes_done.add(stat.size);
        let wants = |name: &[u8]| task.wants_xattr(name);
        let rules = task.rules(&wants);
        let subject = Subject::File(&file);
        if is_same(subject, &stat, &candidate.metadata, &rules)? {
            return Ok(Verdict::Unchanged);
        }
        // Other names would see the change too.
        if stat.links == 1 {
            if !task.options.dry_run {
                let metadata = &candidate.metadata;
                let left_out = apply(subject, metadata, Before::Unknown, &rules)?;
                add(&task.done.left_out, left_out);
            }
            return Ok(Verdict::Marked);
        }
    }
    let is_writable = stat.links == 1 && fs::open_file(&dir, &candidate.name).is_ok();
    if !is_writable {
        return Ok(Verdict::Write { start: Start::Replace, missing: all() });
    }
    let lacking: u64 =
        missing.iter().filter_map(|place| chunks.get(*place)).map(|(_, len)| u64::from(*len)).sum();
    let reused = candidate.size_bytes.saturating_sub(lacking);
    add(&task.done.bytes_reused, reused);
    task.monitor.counters().bytes_done.add(reused);
    Ok(Verdict::Write { start: Start::Earlier { is_linked: false }, missing })
}

fn lengths(chunks: &[(ChunkKey, Location)]) -> Vec<(ChunkKey, u32)> {
    chunks.iter().map(|(key, at)| (*key, at.raw_bytes)).collect()
}

fn share<T>(mut items: Vec<T>) -> impl Iterator<Item = Vec<T>> {
    std::iter::from_fn(move || {
        if items.is_empty() {
            return None;
        }
        let rest = items.split_off(items.len().min(SHARE));
        Some(std::mem::replace(&mut items, rest))
    })
}
