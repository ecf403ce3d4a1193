//! `recover`: directories that no snapshot refers to, in a snapshot of their own.

use std::sync::Arc;

use serde::Serialize;
use windlass_engine::{
    model::{
        chunk::ChunkKey,
        root::{Root, RootId},
    },
    monitor::Silent,
    protocol::{Access, Presence},
    recover::{self, Options, Step},
    repository::Repository,
};

use super::{
    repair::rebuild,
    rewrite::{changing, refuse_no_lock},
};
use crate::{
    failure::{Failure, Outcome},
    session::{self, Session},
};

/// Put directories that no snapshot refers to into a new snapshot
///
/// For snapshots that were removed by mistake, as long as nobody pruned.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

#[derive(Serialize)]
struct SummaryJson {
    message_type: &'static str,
    unreferenced_roots: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot_id: Option<String>,
}

pub(crate) async fn run(_args: Args, session: &Session) -> Result<Outcome, Failure> {
    refuse_no_lock(false, session)?;
    let repository = session.open().await?;
    let work = async |presence: Option<&Presence>| match presence {
        Some(presence) => recovered(&repository, presence, session).await,
        None => Ok((0, None)),
    };
    let (found, stored) = changing(&repository, false, Access::Exclusive, session, work).await?;
    let output = &session.output;
    if output.is_json() {
        let snapshot_id = stored.map(|id| id.to_string());
        let message_type = "summary";
        output.json(&SummaryJson { message_type, unreferenced_roots: found, snapshot_id });
        return Ok(Outcome::Done);
    }
    match stored {
        Some(id) => output.result(&format!("saved new snapshot {}", id.short())),
        None => output.line("no snapshot to write."),
    }
    Ok(Outcome::Done)
}

async fn recovered(
    repository: &Repository,
    presence: &Presence,
    session: &Session,
) -> Result<(usize, Option<RootId>), Failure> {
    let output = &session.output;
    output.line("ensuring index is complete");
    rebuild(repository, false, presence, session).await?;
    let root = Root {
        time: session.environment.clock.now(),
        parent: None,
        tree: ChunkKey::full(0, [0; 32]),
        top: None,
        paths: vec!["/recover".into()],
        hostname: session::hostname(),
        username: session::username(),
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        excludes: Vec::new(),
        tags: vec!["recovered".into()],
        original: None,
        description: String::new(),
        program: format!("windlass {}", env!("CARGO_PKG_VERSION")),
        summary: None,
    };
    let options = Options { root, pack_bytes: session.settings.pack_bytes };
    let found = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let step = {
        let (output, found) = (Arc::clone(output), Arc::clone(&found));
        Arc::new(move |step: Step<'_>| match step {
            Step::Loading { directories } => output.line(&format!("load {directories} trees")),
            Step::Unreadable(key, fault) => {
                output.warn(&format!("unable to load tree {key}: {fault}"));
            }
            Step::Found(key) => output.detail(&format!("found root tree {key}")),
            Step::Counted { unreferenced } => {
                found.store(unreferenced, std::sync::atomic::Ordering::Relaxed);
                output.result(&format!("\nfound {unreferenced} unreferenced roots"));
            }
        })
    };
    let monitor = Arc::new(Silent::default());
    let stored =
        recover::run(repository, &options, presence, monitor, &session.cancel, step).await?;
    Ok((found.load(std::sync::atomic::Ordering::Relaxed), stored))
}
