//! `copy`: snapshots from another repository into this one.
//!
//! Invariants: nothing is written to the source but a lock; the target is always locked.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;
use windlass_engine::{
    copy::{self, Options, Report, Step},
    model::root::RootId,
    monitor::{Counters, Monitor},
    protocol::Access,
    repository::Repository,
};

use super::snapshots;
use crate::{
    failure::{Failure, Outcome},
    output::{
        Output,
        progress::{self, Draw, Drawer},
    },
    session::Session,
    settings::source::SourceArgs,
    snapshot::{
        self, Snapshot,
        filter::{Filter, FilterArgs},
    },
    units,
};

/// Copy snapshots from another repository into this one
///
/// What this repository has already is not copied again, whichever tool copied it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these snapshots, by the start of their ids, or `latest`
    #[arg(value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    source: SourceArgs,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let filter = args.filter.filter(&session.settings)?;
    let source = session.open_source(&args.source).await?;
    let target = session.open().await?;
    let cuts = (source.identity().cuts, target.identity().cuts);
    if cuts.0.is_none() || cuts.0 != cuts.1 {
        session.output.warn(
            "the repositories cut files at different places: what is copied shares no data with \
             what is backed up here (see `init --copy-chunker-params`)",
        );
    }
    let presence = session.announce_writer(&target, Access::Shared).await?;
    let work = copy_all(&args, &filter, &source, &target, &presence, session);
    let copied = session.reading(&source, work).await;
    presence.release().await?;
    told(&session.output, &copied?);
    Ok(Outcome::Done)
}

async fn copy_all(
    args: &Args,
    filter: &Filter,
    source: &Repository,
    target: &Repository,
    presence: &windlass_engine::protocol::Presence,
    session: &Session,
) -> Result<Report, Failure> {
    let output = &session.output;
    let all = snapshot::list(source, output).await?;
    let chosen = snapshots::choose(all, &args.snapshots, filter)?;
    let roots = chosen.iter().map(|it| (it.id.clone(), it.root.clone())).collect();
    let options = Options { roots, pack_bytes: session.settings.pack_bytes };
    let teller = Arc::new(Teller {
        output: Arc::clone(output),
        counters: Counters::default(),
        found_bytes: Mutex::default(),
        snapshots: chosen,
    });
    let monitor = Arc::clone(&teller) as Arc<dyn Monitor>;
    let drawer = Drawer::start(output, Arc::clone(&teller) as Arc<dyn Draw>);
    let step = Arc::new(move |step: Step<'_>| teller.step(step));
    let copied =
        copy::run(source, target, &options, presence, monitor, &session.cancel, step).await;
    drop(drawer);
    Ok(copied?)
}

/// Says what happens, and shows how far it is.
#[derive(Debug)]
struct Teller {
    output: Arc<Output>,
    counters: Counters,
    found_bytes: Mutex<u64>,
    snapshots: Vec<Snapshot>,
}

#[derive(Serialize)]
struct StepJson<'a> {
    message_type: &'static str,
    source_snapshot_id: &'a str,
    snapshot_id: &'a str,
}

#[derive(Serialize)]
struct SummaryJson {
    message_type: &'static str,
    snapshots_copied: usize,
    snapshots_skipped: usize,
    blobs_added: u64,
    data_added_packed: u64,
}

impl Teller {
    fn step(&self, step: Step<'_>) {
        let output = &self.output;
        match step {
            Step::There { source, target } => {
                self.json("skipped", source, target);
                output.detail(&format!("\n{}", self.line(source)));
                output.detail(&format!(
                    "skipping source snapshot {}, was already copied to snapshot {}",
                    source.short(),
                    target.short()
                ));
            }
            Step::Began { source } => {
                output.line(&format!("\n{}", self.line(source)));
                output.line("  copy started, this may take a while...");
            }
            Step::Found { chunks, stored_bytes } => {
                *self.found_bytes.lock().unwrap_or_else(PoisonError::into_inner) += stored_bytes;
                let size = units::bytes(stored_bytes);
                output.detail(&format!("  copy {chunks} blobs with disk size {size}"));
            }
            Step::Stored { source, target } => {
                self.json("copied", source, target);
                output.line(&format!(
                    "snapshot {} saved, copied from source snapshot {}",
                    target.short(),
                    source.short()
                ));
            }
        }
    }

    fn json(&self, message_type: &'static str, source: &RootId, target: &RootId) {
        if self.output.is_json() {
            let (source_snapshot_id, snapshot_id) = (source.as_str(), target.as_str());
            self.output.json(&StepJson { message_type, source_snapshot_id, snapshot_id });
        }
    }

    fn line(&self, id: &RootId) -> String {
        let snapshot = self.snapshots.iter().find(|snapshot| snapshot.id == *id);
        snapshot.map_or_else(String::new, Snapshot::line)
    }
}

impl Monitor for Teller {
    fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Draw for Teller {
    fn draw(&self, output: &Output, elapsed: Duration) {
        let total = *self.found_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if total > 0 && !output.is_json() {
            output.status(&progress::line(self.counters.bytes_done.get(), Some(total), elapsed));
        }
    }
}

fn told(output: &Output, report: &Report) {
    if output.is_json() {
        output.json(&SummaryJson {
            message_type: "summary",
            snapshots_copied: report.copied.len(),
            snapshots_skipped: report.there.len(),
            blobs_added: report.chunks,
            data_added_packed: report.stored_bytes,
        });
    }
}
