//! The mover for restic repositories: `/mover-restic/entry.sh`.
//!
//! Invariants
//! - The repository is opened once and by all steps; its key is derived once.
//! - One is created only where the store says that none is there.
//! - What expires is decided after a complete backup, and only then.
//!
//! Not here: what each step does (`backup`, `expiry`, `restore`, `opening`), how runs end (`ending`).

mod backup;
mod choice;
mod expiry;
mod keep;
mod opening;
mod restore;
mod retry;
mod shrink;

use windlass_engine::{protocol::holders::Which, repository::Repository};

use self::{choice::Wish, keep::Expiry};
use super::{
    container::Container,
    ending::{Ending, Halt},
    result::Ledger,
};
use crate::{
    command::{prune, unlock},
    session::Session,
    settings::environment::Variables,
};

/// Variables without which nothing is done, in the order in which they are missed.
pub(super) const MANDATORY: [&str; 5] =
    ["PRIVILEGED_MOVER", "RESTIC_CACHE_DIR", "RESTIC_PASSWORD", "RESTIC_REPOSITORY", "DATA_DIR"];

/// The host that every snapshot is noted under.
const HOST: &str = "volsync";

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Unlock,
    Backup,
    Prune,
    Restore,
}

/// What is asked for.
#[derive(Debug)]
pub(super) struct Request {
    steps: Vec<Step>,
    /// What is to expire after a backup, if anything.
    expiry: Option<Expiry>,
    wish: Wish,
}

/// What the steps share.
struct Work<'a> {
    container: &'a Container,
    session: &'a Session,
    ledger: &'a Ledger,
    repository: Option<Repository>,
}

impl Request {
    /// Reads arguments and variables; those that no step looks at may say anything.
    pub(super) fn of(words: &[String], variables: &Variables) -> Result<Self, Halt> {
        let steps: Result<Vec<Step>, Halt> = words.iter().map(|word| Step::of(word)).collect();
        let steps = steps?;
        let expiry = match steps.contains(&Step::Backup) {
            true => keep::parse(&variables.plain("FORGET_OPTIONS")?.unwrap_or_default())?,
            false => None,
        };
        let wish = match steps.contains(&Step::Restore) {
            true => Wish::of(variables)?,
            false => Wish::default(),
        };
        Ok(Self { steps, expiry, wish })
    }
}

impl Step {
    fn of(word: &str) -> Result<Self, Halt> {
        match word {
            "unlock" => Ok(Self::Unlock),
            "backup" => Ok(Self::Backup),
            "prune" => Ok(Self::Prune),
            "restore" => Ok(Self::Restore),
            _ => Err(Halt::misused(2, &format!("unknown operation: {word}"))),
        }
    }
}

/// Does one step after the other.
pub(super) async fn run(
    request: Request,
    container: &Container,
    session: &Session,
    ledger: &Ledger,
) -> Result<Ending, Halt> {
    let mut work = Work { container, session, ledger, repository: None };
    work.look_at_cache();
    let mut ending = Ending::Done;
    for step in request.steps {
        match step {
            Step::Unlock => work.unlock().await?,
            Step::Backup => {
                if work.has_no_content()? {
                    return Ok(Ending::EmptyVolume);
                }
                work.open_or_create().await?;
                let saved = work.back_up().await?;
                if let Some(expiry) = &request.expiry {
                    work.expire(expiry, &saved).await?;
                }
            }
            Step::Prune => work.prune().await?,
            Step::Restore => {
                work.look_at_target()?;
                work.open_or_create().await?;
                if !work.restore(&request.wish).await? {
                    ending = Ending::NothingRestored;
                }
            }
        }
    }
    Ok(ending)
}

impl Work<'_> {
    async fn unlock(&mut self) -> Result<(), Halt> {
        const FAILED: &str = "failure unlocking repository";
        self.session.output.line("=== Starting unlock ===");
        let failed = |failure| Halt::because(&failure, 3, FAILED);
        match self.open().await {
            Ok(()) => {}
            Err(failure) if opening::is_absent(&failure) => {
                self.session.output.line("No repo, ignoring unlock error");
                return Ok(());
            }
            Err(failure) => return Err(failed(failure)),
        }
        let cleared = unlock::clear(Which::Stale, self.repository()?, self.session);
        self.session.unless_cancelled(cleared).await.map_err(failed)
    }

    async fn prune(&mut self) -> Result<(), Halt> {
        self.session.output.line("=== Starting prune ===");
        self.open().await?;
        let (repository, session) = (self.repository()?, self.session);
        let phase = self.ledger.phase("prune");
        let pruned = retry::steadily(session, async || {
            prune::clean_up(&prune::Args::default(), Vec::new(), repository, session).await
        });
        let report = pruned.await?;
        drop(phase);
        self.ledger.note(|told| told.packs_removed = Some(report.packs_removed));
        Ok(())
    }
}
