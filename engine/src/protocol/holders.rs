//! Who announced to be at work, and clearing away after those who are not any more.
//!
//! Invariants
//! - Only those are cleared away without being told to that stand for nobody, see [`Stale`]; one of
//!   a process that is known to be alive never is.
//! - Whoever announces itself clears away without being asked, and takes less for an answer: that
//!   the number of a process is not in use here is no proof, it may be one of another namespace.
//! - One that cannot be read is left alone, unless all are to go.

use std::fmt;

use windlass_format::time::Timestamp;

use super::Protocol;
use crate::{dialect::kopia::read_only, fault::Fault};

/// Someone who announced to be at work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// When it was announced or last refreshed.
    pub time: Timestamp,
    /// Whether nobody else is tolerated.
    pub exclusive: bool,
    /// On which host.
    pub hostname: String,
    /// By whom.
    pub username: String,
    /// By which process.
    pub pid: i64,
    /// Why nobody can be there any more.
    pub stale: Option<Stale>,
}

/// Why an announcement stands for nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// It was not refreshed for half an hour.
    Old,
    /// It was made on this host by a process that is gone.
    Gone,
    /// Its holder is one that there are never two of, and this is the next one.
    Succeeded,
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Old => "not refreshed for half an hour",
            Self::Gone => "that process is gone",
            Self::Succeeded => "this is the next one of that name",
        })
    }
}

/// Who looks at them: some stand for nobody by that.
#[derive(Clone, Copy, Debug)]
pub struct Looker<'a> {
    /// The name of this host.
    pub hostname: &'a str,
    /// A name that is given to one at a time, if this is one of it.
    pub lineage: Option<&'a str>,
}

/// Which announcements to clear away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those that stand for nobody.
    Stale,
    /// All, whoever is at work.
    All,
}

/// An announcement by its name, or why it cannot be read.
pub type ListedHolder = (String, Result<Holder, Fault>);

impl Protocol {
    /// Everyone who announced to be at work.
    pub async fn list_holders(&self, looker: Looker<'_>) -> Result<Vec<ListedHolder>, Fault> {
        match self {
            Self::Restic(protocol) => protocol.list_holders(looker).await,
            Self::Kopia(_) => Ok(Vec::new()),
        }
    }

    /// Clears announcements away, and gives the names of those that are gone.
    pub async fn evict(&self, which: Which, looker: Looker<'_>) -> Result<Vec<String>, Fault> {
        match self {
            Self::Restic(protocol) => protocol.evict(which, looker).await,
            Self::Kopia(_) => Err(read_only()),
        }
    }
}
