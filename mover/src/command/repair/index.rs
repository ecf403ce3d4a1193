//! `repair index`: the index as the packs that are there say it.

use serde::Serialize;
use windlass_engine::{
    protocol::{Access, Presence},
    repair::index::{self, Options, Report, Step},
    repository::Repository,
};

use crate::{
    command::rewrite::{changing, refuse_no_lock},
    failure::{Failure, Outcome},
    output::Output,
    session::Session,
};

/// Build a new index from the packs
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Read the end of every pack, and believe nothing that the index says
    #[arg(long)]
    read_all_packs: bool,
}

#[derive(Serialize)]
struct SummaryJson {
    message_type: &'static str,
    invalid_indexes: u64,
    packs_added: u64,
    packs_missing: u64,
    packs_incomplete: Vec<String>,
    blobs_salvaged: u64,
    blobs_lost: Vec<String>,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    refuse_no_lock(false, session)?;
    let repository = session.open().await?;
    let work = async |presence: Option<&Presence>| match presence {
        Some(presence) => rebuild(&repository, args.read_all_packs, presence, session).await,
        None => Ok(Report::default()),
    };
    let report = changing(&repository, false, Access::Exclusive, session, work).await?;
    let output = &session.output;
    if output.is_json() {
        output.json(&SummaryJson {
            message_type: "summary",
            invalid_indexes: report.segments_invalid,
            packs_added: report.packs_added,
            packs_missing: report.packs_missing,
            packs_incomplete: report.packs_incomplete.iter().map(ToString::to_string).collect(),
            blobs_salvaged: report.chunks_salvaged,
            blobs_lost: report.chunks_lost.iter().map(ToString::to_string).collect(),
        });
    }
    for chunk in &report.chunks_lost {
        output.warn(&format!("chunk {chunk} cannot be read in any pack"));
    }
    output.line("done");
    Ok(Outcome::Done)
}

/// Rebuilds the index.
pub(in crate::command) async fn rebuild(
    repository: &Repository,
    read_all: bool,
    presence: &Presence,
    session: &Session,
) -> Result<Report, Failure> {
    let options = Options { read_all, only_named: false, pack_bytes: session.settings.pack_bytes };
    let mut step = |step: Step<'_>| tell(&session.output, &step, read_all);
    let cancel = &session.cancel;
    Ok(index::run(repository, &options, presence, cancel, &mut step).await?)
}

/// Puts what is missing into the index, and tells only that.
pub(super) async fn complete(
    repository: &Repository,
    presence: &Presence,
    session: &Session,
) -> Result<(), Failure> {
    let pack_bytes = session.settings.pack_bytes;
    let options = Options { read_all: false, only_named: false, pack_bytes };
    let mut step = |step: Step<'_>| match step {
        Step::Loading | Step::Listing | Step::Reading { .. } | Step::Rebuilding => {}
        step => tell(&session.output, &step, false),
    };
    index::run(repository, &options, presence, &session.cancel, &mut step).await?;
    Ok(())
}

fn tell(output: &Output, step: &Step<'_>, read_all: bool) {
    match step {
        Step::Loading if read_all => {}
        Step::Loading => output.line("loading indexes..."),
        Step::InvalidSegment(key, fault) => {
            let name = key.as_str().rsplit('/').next().unwrap_or_default();
            output.warn(&format!("removing invalid index {name}: {fault}"));
        }
        Step::Listing => output.line("getting pack files to read..."),
        Step::Added(pack) => output.warn(&format!("adding pack file to index {pack}")),
        Step::Reread { pack, listed_bytes, indexed_bytes } => output.warn(&format!(
            "reindexing pack file {pack} with unexpected size {listed_bytes} instead of \
             {indexed_bytes}"
        )),
        Step::NotFound(pack) => output.warn(&format!("removing not found pack file {pack}")),
        Step::Reading { .. } => output.line("reading pack files"),
        Step::Incomplete(pack, fault) => {
            output.warn(&format!("skipped incomplete pack file {pack}: {fault}"));
        }
        Step::Salvaged { chunks } => {
            output.line(&format!("moved {chunks} blobs out of incomplete pack files"));
        }
        Step::Rebuilding => output.line("rebuilding index"),
    }
}
