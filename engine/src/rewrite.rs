//! Roots made anew: with something left out, mended where they are broken, or described otherwise.
//!
//! ```text
//!  roots → index → each directory, bottom up: what is kept of it → encoded where it changed → packs
//!        → published → new root → (asked for) old root removed
//! ```
//!
//! Invariants
//! - A root of which nothing changes is left alone.
//! - The new root is committed after all it refers to is published, and the old one is removed after
//!   the new one is stored.
//! - Leaving out refuses a directory that it cannot write as it was read: nothing gets lost that
//!   nobody asked to lose. Mending leaves whole directories as they are.
//! - Mending replaces what is damaged, gone or named by no index. What cannot be read for another
//!   reason ends it. What it refers to in its place is whole, or stored anew.
//! - A pinned root of which nothing is left stays.
//!
//! Not here: removing what nobody refers to any more (`reclaim`).

mod directory;

use std::sync::{Arc, Mutex, PoisonError};

pub use self::directory::{Kept, Noted};
use self::directory::{Mend, Reviser, Rule};
use crate::{
    cancel::Cancel,
    deposit::{self, Deposit, Landed, Terms},
    fault::{Class, Fault},
    filter::Selection,
    model::root::{Root, RootId},
    protocol::{
        Presence,
        amend::{Amendment, Revision},
    },
    repository::Repository,
    retention::PIN,
};

/// Roots that are committed together at most.
const MOST_TOGETHER: usize = 100;

/// What becomes of the content.
#[derive(Clone, Debug)]
pub enum Content {
    /// It stays.
    Same,
    /// What the selection takes stays, and is counted.
    Selected(Selection),
    /// What is damaged is left out.
    Mended,
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// These roots, in this order.
    pub roots: Vec<(RootId, Root)>,
    /// What becomes of their content.
    pub content: Content,
    /// What becomes of their description; makes every root a changed one.
    pub amendment: Amendment,
    /// A tag for changed roots that do not take the place of the old ones.
    pub mark: String,
    /// Remove the old ones. Takes an exclusive presence.
    pub forget: bool,
    /// Size of new packs.
    pub pack_bytes: u64,
}

/// What happens, for whoever watches.
#[derive(Debug)]
pub enum Step<'a> {
    /// A root is looked at.
    Began(&'a RootId),
    /// Something about a path in it.
    Noted {
        /// The path.
        path: &'a [u8],
        /// What.
        what: Noted,
    },
    /// A root is to get a successor.
    Changed(&'a RootId),
    /// Nothing is left of a root, or its top directory cannot be read.
    Emptied(&'a RootId),
    /// The successor of a root is stored.
    Stored {
        /// The old one.
        old: &'a RootId,
        /// The new one.
        new: &'a RootId,
    },
    /// A root is gone.
    Removed(&'a RootId),
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Roots with a successor, and its name; none in a dry run.
    pub changed: Vec<(RootId, Option<RootId>)>,
    /// Roots of which nothing is left; removed, if that was asked for.
    pub emptied: Vec<RootId>,
}

/// Why it did not come to its end. Roots that were told as stored stay.
#[derive(Debug, thiserror::Error)]
pub enum RewriteError {
    /// A root cannot be rewritten.
    #[error("unable to rewrite snapshot ID {:?}", root.short())]
    Root {
        /// Which one.
        root: RootId,
        /// Why.
        #[source]
        fault: Fault,
    },
    /// It could not be done.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl RewriteError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Root { fault, .. } | Self::Fault(fault) => fault.class(),
        }
    }

    /// What a person can do next.
    #[must_use]
    pub fn advice(&self) -> &str {
        match self {
            Self::Root { fault, .. } | Self::Fault(fault) => fault.advice(),
        }
    }
}

/// What is to become of a root.
enum Fate {
    Successor(RootId, Revision),
    Gone(RootId),
}

/// Rewrites. Without a presence it is only told what would be done.
pub async fn run(
    repository: &Repository,
    options: &Options,
    presence: Option<&Presence>,
    cancel: &Cancel,
    step: Arc<dyn Fn(Step<'_>) + Send + Sync>,
) -> Result<Report, RewriteError> {
    let right = match presence {
        Some(presence) if options.forget => Some(presence.delete_right()?),
        _ => None,
    };
    let index = repository.index_to_write(None).await?.index;
    let reader = repository.reader_of(Arc::clone(&index));
    let rule = match &options.content {
        Content::Same => None,
        Content::Selected(selection) => Some(Rule::Select(selection.clone())),
        Content::Mended => {
            let numbers = index.pack_names();
            let there = repository.protocol().find_packs(numbers.iter().cloned()).await?;
            let there = numbers.iter().map(|name| there.contains_key(name)).collect();
            Some(Rule::Mend(Mend { index: Arc::clone(&index), there }))
        }
    };
    let amended = options.amendment != Amendment::default();
    let (roots, told) = (options.roots.clone(), Arc::clone(&step));
    let (encoder, pack_bytes) = (repository.dialect().encoder()?, options.pack_bytes);
    let dry_run = presence.is_none();
    let work = move |deposit: &Deposit<Vec<Fate>>| {
        let mut reviser =
            rule.map(|rule| Reviser::new(rule, reader, encoder, index, deposit, &*told, dry_run));
        let mut fates = Vec::new();
        let mut stored = 0;
        for (id, root) in roots {
            told(Step::Began(&id));
            let fate = fate_of(&id, &root, reviser.as_mut(), amended, &*told);
            let failed = |fault| match fault {
                Fault::Cancelled => RewriteError::Fault(fault),
                fault => RewriteError::Root { root: id.clone(), fault },
            };
            match fate.map_err(failed) {
                Ok(fate) => fates.extend(fate),
                Err(error) => {
                    // What was done before is not to be done again.
                    deposit.end_batch(fates)?;
                    return Err(error);
                }
            }
            let now = reviser.as_ref().map_or(0, Reviser::stored_bytes);
            if fates.len() >= MOST_TOGETHER || now - stored >= pack_bytes {
                stored = now;
                deposit.end_batch(std::mem::take(&mut fates))?;
            }
        }
        Ok::<(), RewriteError>(deposit.end_batch(fates)?)
    };
    let report = Mutex::new(Report::default());
    let book = |change: &dyn Fn(&mut Report)| {
        change(&mut report.lock().unwrap_or_else(PoisonError::into_inner));
    };
    let mut amendment = options.amendment.clone();
    if !options.forget {
        amendment.add_tag = Some(options.mark.clone());
    }
    let protocol = repository.protocol();
    let end = async |fates: Vec<Fate>, Landed { mut published, .. }: Landed| {
        let mut gone = Vec::new();
        for fate in fates {
            match (fate, presence) {
                (Fate::Successor(old, _), None) => book(&|it| it.changed.push((old.clone(), None))),
                (Fate::Successor(old, revision), Some(presence)) => {
                    let told = std::mem::take(&mut published);
                    let how = (&amendment, &revision);
                    let new = protocol.revise_root(presence, told, &old, how).await?;
                    step(Step::Stored { old: &old, new: &new });
                    book(&|it| it.changed.push((old.clone(), Some(new.clone()))));
                    gone.extend((new != old).then_some(old));
                }
                (Fate::Gone(old), _) => {
                    book(&|it| it.emptied.push(old.clone()));
                    gone.push(old);
                }
            }
        }
        let Some(right) = &right else { return Ok(()) };
        let mut failed = Ok(());
        let each = |old: RootId, result: Result<(), Fault>| match result {
            Ok(()) => step(Step::Removed(&old)),
            Err(fault) => failed = Err(fault),
        };
        protocol.retire_roots(right, gone, cancel, each).await?;
        failed
    };
    let terms = Terms { presence, pack_bytes, threads: 1, cancel };
    let done = deposit::run(repository, terms, work, end).await;
    repository.forget_index().await;
    done?;
    Ok(report.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn fate_of(
    id: &RootId,
    root: &Root,
    reviser: Option<&mut Reviser<'_>>,
    amended: bool,
    told: &(dyn Fn(Step<'_>) + Send + Sync),
) -> Result<Option<Fate>, Fault> {
    let Some(reviser) = reviser else {
        told(Step::Changed(id));
        let revision = Revision { tree: root.tree, totals: None };
        return Ok(amended.then(|| Fate::Successor(id.clone(), revision)));
    };
    let Some(kept) = reviser.revise(&root.tree)? else {
        // Where nothing of a selection is in it, it is left alone.
        if reviser.takes_only_some() {
            return Ok(None);
        }
        told(Step::Emptied(id));
        if root.tags.iter().any(|tag| tag == PIN) {
            return Ok(None);
        }
        return Ok(Some(Fate::Gone(id.clone())));
    };
    let counted = reviser.counts().then_some((kept.files, kept.bytes));
    let known = root.summary.map(|summary| (summary.total_files, summary.total_bytes));
    let same_totals = counted.is_none() || counted == known;
    if kept.tree == root.tree && !amended && same_totals {
        return Ok(None);
    }
    told(Step::Changed(id));
    let revision = Revision { tree: kept.tree, totals: counted };
    Ok(Some(Fate::Successor(id.clone(), revision)))
}
