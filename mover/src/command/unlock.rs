//! `unlock`: clearing away locks that nobody holds.

use windlass_engine::{
    protocol::holders::{Looker, Which},
    repository::Repository,
};

use crate::{
    failure::{Failure, Outcome},
    session::{self, Session},
};

/// Remove locks that nobody holds any more
///
/// Those are locks that were not refreshed for half an hour, locks of this host whose process is
/// gone, and with --lineage those of that name.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Remove all locks: make sure before that nobody is at work
    #[arg(long)]
    remove_all: bool,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let repository = session.open().await?;
    clear(if args.remove_all { Which::All } else { Which::Stale }, &repository, session).await?;
    Ok(Outcome::Done)
}

/// Clears locks away and tells how many.
pub(crate) async fn clear(
    which: Which,
    repository: &Repository,
    session: &Session,
) -> Result<(), Failure> {
    let hostname = session::hostname();
    let looker = Looker { hostname: &hostname, lineage: session.settings.lineage.as_deref() };
    let gone = repository.protocol().evict(which, looker).await?;
    if !gone.is_empty() {
        session.output.line(&format!("successfully removed {} locks", gone.len()));
    }
    Ok(())
}
