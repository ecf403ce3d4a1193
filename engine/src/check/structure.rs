//! Directories and what they refer to.
//!
//! Invariants: every directory is read and decoded once; a chunk of a file is looked up and not
//! read.

use std::{
    collections::HashSet,
    ops::ControlFlow,
    sync::{Mutex, PoisonError},
};

use super::{cancelled, finding::Finding};
use crate::{
    cancel::Cancel,
    catalogue::{Catalogue, RowSet},
    fault::Fault,
    mark::{self, Uses},
    model::{
        chunk::ChunkKey,
        directory::{Entry, Kind},
        root::{Root, RootId},
    },
    monitor::Monitor,
    reader::Reader,
};

/// What came of it.
pub(super) struct Structure {
    pub(super) findings: Vec<Finding>,
    /// Directories that cannot be read, and chunks that no index knows.
    pub(super) bad: HashSet<ChunkKey>,
    /// The row that stands for every chunk in use.
    pub(super) used: RowSet,
}

struct Seen<'a> {
    catalogue: &'a Catalogue,
    used: &'a RowSet,
    unknown: Mutex<HashSet<ChunkKey>>,
    findings: Mutex<Vec<Finding>>,
    bad: Mutex<HashSet<ChunkKey>>,
    monitor: &'a dyn Monitor,
}

pub(super) fn run(
    catalogue: &Catalogue,
    reader: &Reader,
    roots: &[(RootId, Root)],
    threads: usize,
    monitor: &dyn Monitor,
    cancel: &Cancel,
) -> Result<Structure, Fault> {
    let used = RowSet::new(catalogue.len());
    let seen = Seen {
        catalogue,
        used: &used,
        unknown: Mutex::default(),
        findings: Mutex::default(),
        bad: Mutex::default(),
        monitor,
    };
    mark::run(reader, roots, &seen, threads, cancel).map_err(cancelled)?;
    let Seen { findings, bad, .. } = seen;
    let mut findings = findings.into_inner().unwrap_or_else(PoisonError::into_inner);
    findings.sort_by_key(ToString::to_string);
    let bad = bad.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Structure { findings, bad, used })
}

impl Seen<'_> {
    fn find(&self, finding: Finding, bad: Option<ChunkKey>) {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).push(finding);
        self.bad.lock().unwrap_or_else(PoisonError::into_inner).extend(bad);
    }
}

impl Uses for Seen<'_> {
    fn directory(&self, key: &ChunkKey) -> Result<bool, Fault> {
        match self.catalogue.first(key)? {
            Some(row) => Ok(self.used.insert(row)),
            None => {
                let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
                if unknown.insert(*key) { Err(Fault::Missing { key: *key }) } else { Ok(false) }
            }
        }
    }

    fn entry(&self, directory: &ChunkKey, entry: &Entry, chunks: &[ChunkKey]) -> Result<(), Fault> {
        self.monitor.counters().files_done.add(1);
        let name = || String::from_utf8_lossy(&entry.name).into_owned();
        if matches!(entry.kind, Kind::Directory { tree: None }) {
            self.find(Finding::NoSubtree { directory: *directory, name: name() }, None);
        }
        for chunk in chunks {
            match self.catalogue.first(chunk)? {
                Some(row) => {
                    self.used.insert(row);
                }
                None => {
                    let (directory, chunk, name) = (*directory, *chunk, name());
                    self.find(Finding::ChunkMissing { directory, name, chunk }, Some(chunk));
                }
            }
        }
        Ok(())
    }

    fn problem(&self, root: &RootId, directory: &ChunkKey, fault: Fault) -> ControlFlow<Fault> {
        if let Fault::Cancelled | Fault::Aside(_) = fault {
            return ControlFlow::Break(fault);
        }
        let finding = Finding::Directory { root: root.clone(), directory: *directory, fault };
        self.find(finding, Some(*directory));
        ControlFlow::Continue(())
    }
}
