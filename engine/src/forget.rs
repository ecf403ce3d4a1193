//! Removing roots: what a policy lets go of in a group, and letting go of it.
//!
//! Invariants
//! - A policy that keeps none of a group is refused; a pin does not count for it.
//! - A pinned root is never removed, by its name neither.
//! - A root that cannot be removed does not keep the others from being removed.
//!
//! Not here: which roots form a group. Whoever groups them has read every one, because one that
//! cannot be read might be what a rule would have kept. What becomes of chunks nobody refers to any
//! more is `reclaim`'s.

use windlass_format::time::Timestamp;

use crate::{
    cancel::Cancel,
    clock::Zone,
    fault::{Class, Fault},
    model::root::{Root, RootId},
    protocol::remove::DeleteRight,
    repository::Repository,
    retention::{self, Candidate, Decision, PIN, Policy},
};

/// Why nothing is removed.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    /// The policy keeps none of a group.
    #[error("refusing to delete last snapshot of snapshot group \"{group}\"")]
    EmptiesGroup {
        /// What its roots have in common.
        group: String,
    },
    /// A root that is to be removed by its name is pinned.
    #[error("snapshot {} is pinned by its tag {PIN}", id.short())]
    Pinned {
        /// Which one.
        id: RootId,
    },
    /// It could not be done.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl ForgetError {
    /// What to do about it.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::EmptiesGroup { .. } | Self::Pinned { .. } => Class::WrongInput,
            Self::Fault(fault) => fault.class(),
        }
    }

    /// What a person can do next.
    #[must_use]
    pub fn advice(&self) -> &str {
        match self {
            Self::EmptiesGroup { .. } => {
                "look at the policy with --dry-run --explain; nothing was removed"
            }
            Self::Pinned { .. } => "take the tag away first; nothing was removed",
            Self::Fault(fault) => fault.advice(),
        }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// Roots that are gone.
    pub removed: Vec<RootId>,
    /// Roots that are still there, and why.
    pub failed: Vec<(RootId, Fault)>,
}

/// Decides about the roots of one group, newest first. Without any rule, all but the pinned go.
pub fn decide(
    policy: &Policy,
    group: &str,
    roots: &[&Root],
    now: &Timestamp,
    zone: &Zone,
) -> Result<Vec<Decision>, ForgetError> {
    let candidates: Vec<Candidate<'_>> =
        roots.iter().map(|root| Candidate { time: root.time, tags: &root.tags }).collect();
    let decisions = retention::decide(policy, &candidates, now, zone);
    let empties = !decisions.iter().any(Decision::is_kept_by_rule);
    if !policy.is_empty() && !roots.is_empty() && empties {
        return Err(ForgetError::EmptiesGroup { group: group.to_owned() });
    }
    Ok(decisions)
}

/// Fails where one of these is pinned.
pub fn check_pins<'a>(
    roots: impl IntoIterator<Item = (&'a RootId, &'a Root)>,
) -> Result<(), ForgetError> {
    let pinned = |(id, root): (&'a RootId, &Root)| {
        root.tags.iter().any(|tag| tag == PIN).then(|| id.clone())
    };
    match roots.into_iter().find_map(pinned) {
        Some(id) => Err(ForgetError::Pinned { id }),
        None => Ok(()),
    }
}

/// Removes roots; `each` hears of every one.
pub async fn run(
    repository: &Repository,
    right: &DeleteRight<'_>,
    roots: Vec<RootId>,
    cancel: &Cancel,
    mut each: impl FnMut(&RootId, Result<(), &Fault>) + Send,
) -> Result<Report, ForgetError> {
    let mut report = Report::default();
    let book = |id: RootId, result: Result<(), Fault>| match result {
        Ok(()) => {
            each(&id, Ok(()));
            report.removed.push(id);
        }
        Err(fault) => {
            each(&id, Err(&fault));
            report.failed.push((id, fault));
        }
    };
    repository.protocol().retire_roots(right, roots, cancel, book).await?;
    Ok(report)
}
