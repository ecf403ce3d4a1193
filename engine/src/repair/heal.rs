//! What is lost, what could bring it back, and bringing it back.
//!
//! ```text
//!  check → every doubtful chunk tried in every place → those that some root needs and none gives
//!        → from another repository, by key │ from files, cut and hashed as they were
//!        → stored → (again: a directory that came back shows what is below it)
//!        → index without packs that are gone → damaged packs salvaged and removed
//! ```
//!
//! Invariants
//! - Only what hashes to the key that is needed is stored.
//! - Without a presence nothing is written: the same is done, and told as what could be done.
//! - A damaged pack goes when nothing that a root needs is still lost in it.

mod assess;
mod files;

use std::{
    collections::{BTreeSet, HashSet},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::runtime::Handle;

use self::assess::Assessment;
use super::{
    index::{self, Step},
    listed,
    packs::{self, PacksError},
};
use crate::{
    cancel::Cancel,
    check::{Affected, Finding, Read},
    deposit::{self, Chunk, Deposit, Landed, Terms},
    dialect::Dialect,
    fault::{Class, Fault},
    model::{
        chunk::{ChunkKey, Role},
        pack::PackName,
    },
    monitor::Monitor,
    protocol::Presence,
    reader::Reader,
    repository::Repository,
};

/// Rounds after which is given up that a directory which came back shows still more that is lost.
const MOST_ROUNDS: usize = 64;

/// Where lost data may be found.
#[derive(Clone, Copy, Debug)]
pub enum Remedy<'a> {
    /// Another repository that names chunks as this one does.
    Repository(&'a Repository),
    /// Files in this directory, or this file.
    Files(&'a Path),
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// How much of the data is read to look for damage. Packs of a wrong size always are.
    pub read: Read,
    /// Size of new packs.
    pub pack_bytes: u64,
}

/// What came of it, or would come of it.
#[derive(Debug, Default)]
pub struct Report {
    /// What is wrong with the repository.
    pub findings: Vec<Finding>,
    /// Chunks that roots need and that no place gave, pieces of files and directories.
    pub lost: BTreeSet<ChunkKey>,
    /// How many of them each remedy has.
    pub found: Vec<u64>,
    /// Those that none has.
    pub still_lost: BTreeSet<ChunkKey>,
    /// Files and directories that were not whole, up to a number.
    pub affected: Vec<Affected>,
    /// Whether there are more.
    pub more_affected: bool,
    /// Damaged packs that were salvaged and are gone.
    pub packs_removed: Vec<PackName>,
    /// Damaged packs that are left.
    pub packs_left: Vec<PackName>,
}

/// Why it did not come to its end. What was stored until then stays.
#[derive(Debug, thiserror::Error)]
pub enum HealError {
    /// Nobody can tell what is there.
    #[error("the index is damaged")]
    DamagedIndex,
    /// A remedy cannot be one.
    #[error("a repository of another format has no data of this one")]
    OtherFormat,
    /// Damaged packs could not be dealt with.
    #[error(transparent)]
    Packs(#[from] PacksError),
    /// It could not be done.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl HealError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::DamagedIndex => Class::Damaged,
            Self::OtherFormat => Class::WrongInput,
            Self::Packs(error) => error.class(),
            Self::Fault(fault) => fault.class(),
        }
    }

    /// What a person can do next.
    #[must_use]
    pub fn advice(&self) -> &str {
        match self {
            Self::DamagedIndex => "run `repair index` first",
            Self::OtherFormat => "name a repository that was copied from or to this one",
            Self::Packs(error) => error.advice(),
            Self::Fault(fault) => fault.advice(),
        }
    }
}

/// Looks for damage and brings back what it can; only tells where there is no presence, which has
/// to be an exclusive one.
pub async fn run(
    repository: &Repository,
    options: &Options,
    remedies: &[Remedy<'_>],
    presence: Option<&Presence>,
    monitor: &Arc<dyn Monitor>,
    cancel: &Cancel,
) -> Result<Report, HealError> {
    if let Some(presence) = presence {
        presence.delete_right()?;
    }
    for remedy in remedies {
        if let Remedy::Repository(other) = remedy
            && !repository.dialect().names_chunks_as(other.dialect())
        {
            return Err(HealError::OtherFormat);
        }
    }
    let mut report = Report { found: vec![0; remedies.len()], ..Report::default() };
    let mut broken = BTreeSet::new();
    for round in 0..MOST_ROUNDS {
        let Assessment { check, lost } =
            assess::run(repository, options.read, monitor, cancel).await?;
        broken.extend(check.broken_packs);
        if round == 0 {
            report.findings = check.findings;
            report.affected = check.affected;
            report.more_affected = check.more_affected;
        }
        report.lost.extend(lost.iter().copied());
        report.still_lost = lost;
        let mut better = false;
        for (remedy, found) in remedies.iter().zip(&mut report.found) {
            if report.still_lost.is_empty() {
                break;
            }
            let wanted = report.still_lost.clone();
            let saved = apply(
                repository,
                *remedy,
                wanted,
                &report.affected,
                options.pack_bytes,
                presence,
                cancel,
            )
            .await?;
            *found += saved.len() as u64;
            // What is below a directory that came back was not looked at yet.
            better |= saved.iter().any(|it| repository.dialect().role(it) != Role::File);
            report.still_lost.retain(|chunk| !saved.contains(chunk));
        }
        repository.forget_index().await;
        if !better || presence.is_none() {
            break;
        }
    }
    report.packs_left = broken.into_iter().collect();
    if let Some(presence) = presence
        && !report.packs_left.is_empty()
    {
        tidy(repository, options, presence, cancel, &mut report).await?;
    }
    Ok(report)
}

/// Takes what is damaged out of the way of what was brought back.
async fn tidy(
    repository: &Repository,
    options: &Options,
    presence: &Presence,
    cancel: &Cancel,
    report: &mut Report,
) -> Result<(), HealError> {
    let in_broken = super::known(repository, cancel).await?.catalogue;
    let mut holding = HashSet::new();
    for chunk in &report.still_lost {
        holding.extend(in_broken.names_of(chunk)?.cloned());
    }
    let holds_lost = |pack: &PackName| holding.contains(pack);
    let there = listed(repository, &in_broken).await?;
    let (left, go): (Vec<_>, Vec<_>) =
        std::mem::take(&mut report.packs_left).into_iter().partition(holds_lost);
    report.packs_left = left;
    let packs: Vec<PackName> = go.into_iter().filter(|pack| there.contains_key(pack)).collect();
    if !packs.is_empty() {
        let salvage = packs::Options { packs, pack_bytes: options.pack_bytes };
        let done = packs::run(repository, &salvage, presence, cancel).await?;
        report.packs_removed = done.removed;
        report.packs_left.extend(done.kept);
        report.packs_left.extend(done.left.into_iter().map(|(pack, _)| pack));
    }
    let anew = index::Options {
        read_all: false,
        // What an earlier run took out of the index stays out of it.
        only_named: true,
        pack_bytes: options.pack_bytes,
    };
    index::run(repository, &anew, presence, cancel, &mut |_: Step<'_>| {}).await?;
    Ok(())
}

/// Stores what a remedy has of the chunks that are wanted, and gives their keys.
async fn apply(
    repository: &Repository,
    remedy: Remedy<'_>,
    wanted: BTreeSet<ChunkKey>,
    affected: &[Affected],
    pack_bytes: u64,
    presence: Option<&Presence>,
    cancel: &Cancel,
) -> Result<HashSet<ChunkKey>, HealError> {
    let dialect = repository.dialect().clone();
    let terms = Terms { presence, pack_bytes, threads: 1, cancel };
    let saved: Arc<Mutex<HashSet<ChunkKey>>> = Arc::default();
    let keeper = Keeper { dialect: dialect.clone(), saved: Arc::clone(&saved) };
    let end = async |(): (), _landed: Landed| Ok::<(), Fault>(());
    match remedy {
        Remedy::Repository(other) => {
            let index = other.index().await?;
            let (store, of_other) = (other.store().clone(), other.dialect().clone());
            let reader = Reader::new(store, of_other, index, Handle::current());
            let work = move |deposit: &Deposit<()>| {
                let mut plain = Vec::new();
                for chunk in &wanted {
                    if deposit.stop.is_cancelled() {
                        return Err(Fault::Cancelled);
                    }
                    if reader.location(chunk).is_none() {
                        continue;
                    }
                    plain.clear();
                    match reader.chunk(chunk, &mut plain) {
                        Ok(()) => keeper.keep(chunk, &plain, deposit)?,
                        // Damaged there as well.
                        Err(fault) if super::is_lost(&fault) => {}
                        Err(fault) => return Err(fault),
                    }
                }
                deposit.end_batch(())
            };
            deposit::run(repository, terms, work, end).await?;
        }
        Remedy::Files(path) => {
            let of_files =
                wanted.into_iter().filter(|chunk| dialect.role(chunk) == Role::File).collect();
            let search = files::Search {
                path: path.to_owned(),
                wanted: of_files,
                first: affected.iter().map(|it| it.path.clone()).collect(),
                encoder: dialect.encoder()?,
            };
            let work = move |deposit: &Deposit<()>| {
                let mut found = |chunk: &ChunkKey, plain: &[u8]| keeper.keep(chunk, plain, deposit);
                search.run(&deposit.stop, &mut found)?;
                deposit.end_batch(())
            };
            deposit::run(repository, terms, work, end).await?;
        }
    }
    let saved = std::mem::take(&mut *saved.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(saved)
}

/// Stores each chunk once.
struct Keeper {
    dialect: Dialect,
    saved: Arc<Mutex<HashSet<ChunkKey>>>,
}

impl Keeper {
    fn keep(&self, chunk: &ChunkKey, plain: &[u8], deposit: &Deposit<()>) -> Result<(), Fault> {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        if saved.contains(chunk) {
            return Ok(());
        }
        let (_added, wrong) =
            deposit.store(self.dialect.role(chunk), &[Chunk::new(*chunk, plain)])?;
        if wrong.is_empty() {
            saved.insert(*chunk);
        }
        Ok(())
    }
}
