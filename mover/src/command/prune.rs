//! `prune`: removing what no snapshot refers to.
//!
//! Invariants: what is going to happen is told before it does; others are kept out for the end only,
//! which the engine sees to.

mod options;
mod told;

use std::{sync::Arc, time::Instant};

use windlass_engine::{model::root::RootId, protocol::Access, reclaim, repository::Repository};

use self::told::{PruneMonitor, forecast, report};
use crate::{
    failure::{Failure, Outcome},
    output::progress::{Draw, Drawer},
    session::Session,
};
pub(crate) use options::{Args, Limited};

pub(crate) async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    args.check(session)?;
    let repository = session.open().await?;
    args.check_recovery(&repository)?;
    clean_up(&args, Vec::new(), &repository, session).await?;
    Ok(Outcome::Done)
}

/// Cleans up as if the snapshots `without` were gone.
pub(crate) async fn clean_up(
    args: &Args,
    without: Vec<RootId>,
    repository: &Repository,
    session: &Session,
) -> Result<reclaim::Report, Failure> {
    let announcement = session.announcement(Access::Shared);
    let options = args.options(without, announcement, session)?;
    let output = &session.output;
    let monitor = Arc::new(PruneMonitor::new(Arc::clone(output)));
    let drawn: Arc<dyn Draw> = Arc::clone(&monitor) as Arc<dyn Draw>;
    let drawer = Drawer::start(output, drawn);
    let started = Instant::now();
    let watched = Arc::clone(&monitor);
    let result = reclaim::run(repository, &options, monitor, &session.cancel, |told| {
        watched.planned(told);
        forecast(output, told, options.dry_run);
    });
    let result = result.await;
    drop(drawer);
    let done = result?;
    report(output, &done, options.dry_run, started.elapsed());
    Ok(done)
}
