//! One name of the source: what it needs, and the entry it gets.
//!
//! Invariants
//! - An entry of the parent backup is taken over where nothing says otherwise; else it is made anew
//!   from what the source says now.
//! - Attributes that cannot be read do not cost the item itself.
//!
//! Not here: what counts as unchanged (`compare`), reading (`read`).

use std::{io, sync::Arc};

use super::{
    compare::{self, Reason, Verdict},
    listing::Listing,
    run::Figures,
    walk::Walk,
    work::DirWork,
};
use crate::{
    model::{
        directory::{Entry, Kind, Target, Xattr},
        object::Content,
    },
    monitor::Action,
    source::{
        FileKind, Stat,
        fs::{Attributes, Dir},
    },
};

/// A name of the source with its status.
#[derive(Debug)]
pub(super) struct Item<'a> {
    /// The directory it is in.
    pub(super) dir: &'a Arc<Dir>,
    /// Its name there.
    pub(super) own_name: &'a [u8],
    /// Its name in the backup: another one where two targets would share it.
    pub(super) name: &'a [u8],
    pub(super) stat: Stat,
    /// Whether it only leads to targets: nobody asked for what may not be read of it.
    pub(super) only_leads: bool,
}

impl Walk {
    /// Decides what an item needs, by what its directory says of it. A directory that is added
    /// comes back and is to be queued.
    pub(super) fn compare(
        &self,
        listing: &mut Listing<'_>,
        item: &Item<'_>,
    ) -> Option<Arc<DirWork>> {
        let old = listing.take_old(item.name);
        match item.stat.kind {
            FileKind::Directory => {
                let old_tree = match old.as_ref().map(|old| &old.kind) {
                    Some(Kind::Directory { tree }) => *tree,
                    _ => None,
                };
                let entry = self.entry(listing.work, item, old)?;
                return Some(listing.add_directory(entry, old_tree));
            }
            FileKind::File => {
                self.run.monitor.counters().bytes_found.add(item.stat.size);
                match self.judge_file(listing.work, item, old.as_ref()) {
                    Verdict::Differs(reason) => listing.add_to_read(item, old, reason),
                    Verdict::Same { .. } => {
                        let entry = self.entry(listing.work, item, old)?;
                        self.run.count_file(item.stat.size);
                        Figures::bump(&self.run.figures.files_unmodified);
                        self.run.item(listing.work, &entry, Action::Unchanged, item.stat.size);
                        listing.add(entry);
                    }
                }
            }
            FileKind::Symlink | FileKind::BlockDevice | FileKind::CharDevice | FileKind::Fifo => {
                let action = if old.is_none() { Action::New } else { Action::Unchanged };
                let entry = self.entry(listing.work, item, old)?;
                self.run.item(listing.work, &entry, action, 0);
                listing.add(entry);
            }
            FileKind::Socket | FileKind::Other => {}
        }
        None
    }

    /// Whether a file's content is as in the parent backup, and all of it still there.
    fn judge_file(&self, work: &DirWork, item: &Item<'_>, old: Option<&Entry>) -> Verdict {
        let Some(old) = old else { return Verdict::Differs(Reason::New) };
        let verdict = compare::judge(self.rules.policy, old, &item.stat);
        if let Verdict::Same { .. } = verdict {
            if let Kind::File { content: Content::Chunks(keys), .. } = &old.kind
                && keys.iter().any(|key| self.run.index.find(key).is_none())
            {
                return Verdict::Differs(Reason::MissingChunks);
            }
            if let Some(sample) = &self.rules.sample
                && sample.has(work.path_hash().below(item.name))
            {
                return Verdict::Differs(Reason::Sampled);
            }
        }
        verdict
    }

    /// The entry of an item whose content, if it has any, is as in the parent backup: the old one
    /// where nothing says otherwise, else a fresh one with the old content.
    fn entry(&self, work: &DirWork, item: &Item<'_>, old: Option<Entry>) -> Option<Entry> {
        let Some(mut old) = old else {
            work.alter();
            return self.fresh_or_skip(work, item);
        };
        let verdict = compare::judge(self.rules.policy, &old, &item.stat);
        let proven = matches!(verdict, Verdict::Same { metadata_proven: true });
        if proven && !self.rules.with_atime {
            if compare::refresh_identity(&mut old, &item.stat) {
                work.alter();
            }
            return Some(old);
        }
        let mut fresh = self.fresh_or_skip(work, item)?;
        if !self.rules.with_atime && compare::same_item(self.rules.policy, &old, &fresh) {
            return Some(old);
        }
        work.alter();
        if let (Kind::File { content, .. }, Kind::File { content: old, .. }) =
            (&mut fresh.kind, old.kind)
        {
            *content = old;
        }
        Some(fresh)
    }

    fn fresh_or_skip(&self, work: &DirWork, item: &Item<'_>) -> Option<Entry> {
        match self.fresh(item) {
            Ok((entry, xattr_error)) => {
                let is_expected = |error: &io::Error| {
                    item.only_leads && error.kind() == io::ErrorKind::PermissionDenied
                };
                if let Some(error) = xattr_error.filter(|error| !is_expected(error)) {
                    self.run.problem(&work.path_of(item.name), &error);
                }
                Some(entry)
            }
            Err(error) => {
                self.skipped(&work.path_of(item.name), &error);
                None
            }
        }
    }

    /// An entry with everything the source says now, and content still empty; with it why its
    /// attributes are missing, where they could not be read.
    pub(super) fn fresh(&self, item: &Item<'_>) -> io::Result<(Entry, Option<io::Error>)> {
        let (dir, stat) = (item.dir, &item.stat);
        let kind = match stat.kind {
            FileKind::File => Kind::File { size_bytes: stat.size, content: Content::EMPTY },
            FileKind::Directory => Kind::Directory { tree: None },
            FileKind::Symlink => {
                Kind::Symlink { target: Target::Inline(dir.read_link(item.own_name)?.into()) }
            }
            FileKind::BlockDevice => Kind::BlockDevice { rdev: stat.rdev },
            FileKind::CharDevice => Kind::CharDevice { rdev: stat.rdev },
            FileKind::Fifo => Kind::Fifo,
            FileKind::Socket => Kind::Socket,
            FileKind::Other => Kind::Unknown,
        };
        let attributes = dir.xattrs(item.own_name);
        if let Some(gone) =
            attributes.error.as_ref().filter(|it| it.kind() == io::ErrorKind::NotFound)
        {
            return Err(gone.kind().into());
        }
        Ok(self.with_xattrs(item.name, stat, kind, attributes))
    }

    /// An entry with these attributes, and why some are missing.
    pub(super) fn with_xattrs(
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
        let time = |moment| self.rules.zone.timestamp(moment);
        let links =
            if matches!(kind, Kind::Directory { .. } | Kind::Fifo) { 0 } else { stat.links };
        let entry = Entry {
            name: name.into(),
            kind,
            mode: stat.mode,
            mtime: time(stat.mtime),
            atime: time(if self.rules.with_atime { stat.atime } else { stat.mtime }),
            // An equal ctime would prove to the next backup that no attribute is missing here.
            ctime: error.is_none().then(|| time(stat.ctime)),
            uid: stat.uid,
            gid: stat.gid,
            user: self.owners.user(stat.uid),
            group: self.owners.group(stat.gid),
            inode: stat.inode,
            device: stat.device,
            links,
            xattrs,
            residue: None,
        };
        (entry, error)
    }

    /// Books an item that cannot be backed up: gone meanwhile, or unreadable.
    pub(super) fn skipped(&self, path: &[u8], error: &io::Error) {
        if error.kind() == io::ErrorKind::NotFound {
            Figures::bump(&self.run.figures.vanished);
        } else {
            self.run.problem(path, error);
        }
    }
}
