//! Looking for damage: every level from the index down to each byte, and which files it hits.
//!
//! ```text
//!  roots → index segments → packs: there, size → directories and what they refer to
//!        → (chosen) packs read → files and directories that are not whole
//! ```
//!
//! Invariants
//! - Damage is a [`Finding`] and ends nothing; an error means that it could not be looked for.
//! - Nothing is written. Roots are listed before the index and packs after it, so that what others
//!   add meanwhile looks like nothing worse than a pack that no index names yet.
//! - A chunk counts as damaged only where no place it is known at is good.

mod affected;
mod finding;
mod packs;
mod select;
mod structure;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tokio::runtime::Handle;

pub use self::{
    finding::{Affected, Finding, Hint, PackError},
    select::Read,
};
use self::{packs::Packs, structure::Structure};
use crate::{
    cancel::Cancel,
    catalogue::{self, Catalogue, Row, RowSet},
    fault::Fault,
    index::Index,
    mark,
    model::{
        chunk::{ChunkKey, Role},
        pack::PackName,
        root::{Root, RootId},
    },
    monitor::{Event, Monitor, Phase},
    repository::Repository,
    store::Key,
};

/// What to look at.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How much of the data is read.
    pub read: Read,
    /// Look at these roots and what they need only.
    pub only: Option<Vec<RootId>>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// Damage.
    pub findings: Vec<Finding>,
    /// Untidiness.
    pub hints: Vec<Hint>,
    /// Packs to be salvaged.
    pub broken_packs: Vec<PackName>,
    /// Roots that cannot be read.
    pub broken_roots: Vec<RootId>,
    /// Files and directories that are not whole, up to a number.
    pub affected: Vec<Affected>,
    /// Whether there are more of them.
    pub more_affected: bool,
    /// Packs that were read.
    pub packs_read: u64,
    /// Whether the index is damaged, so that nothing below it was looked at.
    pub index_is_damaged: bool,
}

impl Report {
    /// Whether nothing is damaged.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Looks. Each finding is told as it is made, in the report and to `found`.
pub async fn run(
    repository: &Repository,
    options: &Options,
    monitor: Arc<dyn Monitor>,
    cancel: &Cancel,
    mut found: impl FnMut(&Finding),
) -> Result<Report, Fault> {
    let mut report = Report::default();
    let mut tell = |report: &mut Report, finding: Finding| {
        found(&finding);
        report.findings.push(finding);
    };
    let mut roots = Vec::new();
    for (id, root) in repository.protocol().list_roots().await? {
        if options.only.as_ref().is_some_and(|only| !only.contains(&id)) {
            continue;
        }
        match root {
            Ok(root) => roots.push((id, root)),
            Err(fault) => {
                report.broken_roots.push(id.clone());
                tell(&mut report, Finding::Root { root: id, fault });
            }
        }
    }
    monitor.event(Event::Phase(Phase::Index));
    let mut damaged = Vec::new();
    let unreadable = |_: &Key, fault| {
        damaged.push(fault);
        Ok(())
    };
    let catalogue = Arc::new(catalogue::load_readable(repository, cancel, unreadable).await?);
    report.index_is_damaged = !damaged.is_empty();
    damaged.into_iter().for_each(|fault| tell(&mut report, Finding::Segment(fault)));
    let directories = Arc::new(Index::over(Arc::clone(&catalogue)));
    look_at_index(&catalogue, repository, &mut report, &mut tell)?;
    if report.index_is_damaged {
        return Ok(report);
    }
    let listed = look_at_packs(&catalogue, repository, &mut report, &mut tell).await?;
    monitor.event(Event::Phase(Phase::Scan));
    let threads = repository.environment().resources.cpus.max(2);
    let reader = repository.reader_of(Arc::clone(&directories));
    let roots: Arc<Vec<(RootId, Root)>> = Arc::new(roots);
    let structure = blocking({
        let (catalogue, roots, reader) =
            (Arc::clone(&catalogue), Arc::clone(&roots), reader.clone());
        let (monitor, cancel) = (Arc::clone(&monitor), cancel.clone());
        move || structure::run(&catalogue, &reader, &roots, threads, &*monitor, &cancel)
    })
    .await?;
    let Structure { findings, mut bad, used } = structure;
    findings.into_iter().for_each(|finding| tell(&mut report, finding));
    let readable = selected(repository, options, &catalogue, &used, &listed)?;
    if options.read != Read::Nothing {
        monitor.event(Event::Phase(Phase::Verify));
        let wanted: HashMap<&PackName, usize> =
            catalogue.packs.iter().enumerate().map(|(at, pack)| (&pack.name, at)).collect();
        let packs: Vec<(usize, u64)> =
            readable.iter().map(|(name, bytes)| (wanted[name], *bytes)).collect();
        report.packs_read = packs.len() as u64;
        let damages = blocking({
            let (store, dialect) = (repository.store().clone(), repository.dialect().clone());
            let (catalogue, runtime) = (Arc::clone(&catalogue), Handle::current());
            let (monitor, cancel) = (Arc::clone(&monitor), cancel.clone());
            move || {
                let packs_reader = Packs {
                    store: &store,
                    dialect: &dialect,
                    catalogue: &catalogue,
                    runtime: &runtime,
                    monitor: &*monitor,
                    cancel: &cancel,
                };
                packs_reader.read_all(&packs, threads)
            }
        })
        .await?;
        for finding in damages.findings {
            if let Finding::Pack { pack, .. } = &finding {
                report.broken_packs.push(pack.clone());
            }
            tell(&mut report, finding);
        }
        bad.extend(lost_chunks(&catalogue, &damages.chunks)?);
    }
    // What is in a pack that is not there any more is lost, too.
    bad.extend(in_missing_packs(&catalogue, &listed)?);
    report.broken_packs.sort();
    report.broken_packs.dedup();
    if !bad.is_empty() {
        let cancel = cancel.clone();
        let (affected, more) =
            blocking(move || affected::run(&reader, &roots, &bad, &cancel)).await?;
        report.affected = affected;
        report.more_affected = more;
    }
    Ok(report)
}

/// What the segments say of the same pack.
fn look_at_index(
    catalogue: &Catalogue,
    repository: &Repository,
    report: &mut Report,
    tell: &mut impl FnMut(&mut Report, Finding),
) -> Result<(), Fault> {
    for (number, pack) in catalogue.packs.iter().enumerate() {
        let rows = catalogue.rows_of(number)?;
        if pack.times > 1 && pack.fewest_chunks < rows.len() {
            report.broken_packs.push(pack.name.clone());
            tell(report, Finding::Contradiction(pack.name.clone()));
        } else if pack.times > 1 {
            report.hints.push(Hint::NamedTwice(pack.name.clone()));
        }
        let is_file = |(_, row): &(usize, Row)| repository.dialect().role(&row.key()) == Role::File;
        if rows.iter().any(is_file) && !rows.iter().all(is_file) {
            report.hints.push(Hint::Mixed(pack.name.clone()));
        }
    }
    Ok(())
}

/// Whether packs are there and as long as they should be; their sizes.
async fn look_at_packs(
    catalogue: &Catalogue,
    repository: &Repository,
    report: &mut Report,
    tell: &mut impl FnMut(&mut Report, Finding),
) -> Result<Vec<Option<u64>>, Fault> {
    let numbers: HashMap<&PackName, usize> =
        catalogue.packs.iter().enumerate().map(|(at, pack)| (&pack.name, at)).collect();
    let mut listed = vec![None; catalogue.packs.len()];
    for (name, bytes) in repository.protocol().list_packs().await? {
        match numbers.get(&name) {
            Some(number) => listed[*number] = Some(bytes),
            None => report.hints.push(Hint::Orphan(name)),
        }
    }
    for (number, pack) in catalogue.packs.iter().enumerate() {
        let (_, indexed_bytes) = catalogue.indexed(number, repository.dialect())?;
        match listed[number] {
            None => {
                report.broken_packs.push(pack.name.clone());
                tell(report, Finding::PackMissing(pack.name.clone()));
            }
            Some(listed_bytes) if listed_bytes != indexed_bytes => {
                report.broken_packs.push(pack.name.clone());
                let pack = pack.name.clone();
                tell(report, Finding::PackSize { pack, listed_bytes, indexed_bytes });
            }
            Some(_) => {}
        }
    }
    Ok(listed)
}

/// The packs that are to be read.
fn selected(
    repository: &Repository,
    options: &Options,
    catalogue: &Catalogue,
    used: &RowSet,
    listed: &[Option<u64>],
) -> Result<Vec<(PackName, u64)>, Fault> {
    let mut wanted = vec![options.only.is_none(); catalogue.packs.len()];
    if options.only.is_some() {
        let in_use = (0..catalogue.len()).filter(|at| used.contains(*at));
        in_use.for_each(|at| wanted[catalogue.pack_of(at)] = true);
        catalogue.each_repeated(|places| {
            if used.contains(places[0]) {
                places.iter().for_each(|at| wanted[catalogue.pack_of(*at)] = true);
            }
            Ok(())
        })?;
    }
    let there = catalogue.packs.iter().zip(listed).zip(wanted);
    let there = there.filter(|(_, wanted)| *wanted);
    let packs = there.filter_map(|((pack, bytes), _)| Some((pack.name.clone(), (*bytes)?)));
    options.read.select(packs.collect(), &repository.environment().entropy)
}

/// Chunks of which every place that is known was found to be damaged.
fn lost_chunks(
    catalogue: &Catalogue,
    damaged: &[(ChunkKey, usize)],
) -> Result<Vec<ChunkKey>, Fault> {
    let places: HashSet<(ChunkKey, usize)> = damaged.iter().copied().collect();
    let mut lost = Vec::new();
    for (key, _) in damaged {
        let mut known = catalogue.places(key)?.into_iter();
        if known.all(|at| places.contains(&(*key, catalogue.pack_of(at)))) {
            lost.push(*key);
        }
    }
    Ok(lost)
}

/// Chunks all of whose packs are missing.
fn in_missing_packs(catalogue: &Catalogue, listed: &[Option<u64>]) -> Result<Vec<ChunkKey>, Fault> {
    let mut lost = Vec::new();
    for pack in (0..catalogue.packs.len()).filter(|pack| listed[*pack].is_none()) {
        for (_, row) in catalogue.rows_of(pack)? {
            let mut places = catalogue.places(&row.key())?.into_iter();
            if places.all(|at| listed[catalogue.pack_of(at)].is_none()) {
                lost.push(row.key());
            }
        }
    }
    Ok(lost)
}

/// Runs what blocks on a thread that may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let result = tokio::task::spawn_blocking(work).await;
    result.unwrap_or(Err(Fault::Bug("checking panicked")))
}

/// The end of a walk that was not to end: it was cancelled.
fn cancelled(ended: mark::Ended) -> Fault {
    ended.fault
}
