//! `check`: looking for damage.
//!
//! Invariants: damage is told as it is found, on standard error, and ends with code 1; what is
//! suggested then is told once, at the end.

mod immutability;
mod rolling;

use std::sync::Arc;

use serde::Serialize;
use windlass_engine::{
    check::{self, Finding, Hint, Options, Read, Report},
    monitor::{Counters, Event, Monitor, Phase},
    repository::Repository,
};

use self::rolling::Rolling;
use super::snapshots;
use crate::{
    failure::{Failure, Outcome},
    output::{
        Output,
        progress::{self, Draw, Drawer},
        quote::quoted,
    },
    session::Session,
    snapshot::{self, filter::FilterArgs},
    units,
};

/// Look for damage in a repository
///
/// Others may go on with backups meanwhile.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Look at these snapshots and what they need only
    #[arg(value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Read all data
    #[arg(long)]
    read_data: bool,
    /// Read a part of the data: n/t for the n-th of t parts, or at random x% of the packs or a size
    #[arg(long, value_name = "SUBSET", conflicts_with = "read_data")]
    read_data_subset: Option<String>,
    /// Read what is due so that everything is read once in this many days, however often this runs
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..=3650))]
    #[arg(conflicts_with_all = ["read_data", "read_data_subset", "snapshots", "hosts", "tags", "paths"])]
    rolling: Option<u16>,
    /// Tell what could be deleted by whoever has the credentials, and until when the rest is kept
    /// (S3 with object lock); nothing else is looked at
    #[arg(long, conflicts_with_all = ["read_data", "read_data_subset", "rolling", "snapshots"])]
    immutability: bool,
    /// And keep everything as long from now on as new objects: -o s3.object-lock-days
    #[arg(long, requires = "immutability")]
    renew: bool,
    /// Has no effect
    #[arg(long, hide_short_help = true)]
    check_unused: bool,
    /// Read snapshots, index and directories from the cache where they are there
    #[arg(long, hide_short_help = true)]
    with_cache: bool,
}

/// Prints what it is at.
#[derive(Debug)]
struct CheckMonitor {
    output: Arc<Output>,
    counters: Counters,
}

#[derive(Serialize)]
struct ErrorJson<'a> {
    message_type: &'static str,
    message: &'a str,
}

#[derive(Serialize)]
struct SummaryJson {
    message_type: &'static str,
    num_errors: usize,
    broken_packs: Option<Vec<String>>,
    suggest_repair_index: bool,
    suggest_prune: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    affected: Vec<AffectedJson>,
}

#[derive(Serialize)]
struct AffectedJson {
    snapshot: String,
    path: String,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    if args.immutability {
        return immutability::run(args.renew, session).await;
    }
    let read = args.read()?;
    let filter = args.filter.filter(&session.settings)?;
    let repository = match args.with_cache {
        true => session.open().await?,
        false => session.open_uncached().await?,
    };
    let rolling = match args.rolling {
        Some(days) => Some(Rolling::of(days, &repository, session)?),
        None => None,
    };
    let rolling = rolling.as_ref();
    session
        .reading(&repository, async {
            let read = rolling.map_or(read, Rolling::due);
            let mut options = Options { read, only: None };
            // A host from the environment is no reason to leave packs out.
            let is_filtered = !args.snapshots.is_empty() || !filter.is_empty();
            if is_filtered && rolling.is_none() {
                let all = snapshot::list(&repository, &session.output).await?;
                let chosen = snapshots::choose(all, &args.snapshots, &filter)?;
                options.only = Some(chosen.into_iter().map(|snapshot| snapshot.id).collect());
            }
            look(&options, rolling, &repository, session).await
        })
        .await
}

async fn look(
    options: &Options,
    rolling: Option<&Rolling>,
    repository: &Repository,
    session: &Session,
) -> Result<Outcome, Failure> {
    let output = &session.output;
    if let Some(rolling) = rolling {
        rolling.tell(session);
    }
    let monitor =
        Arc::new(CheckMonitor { output: Arc::clone(output), counters: Counters::default() });
    let drawer = Drawer::start(output, Arc::clone(&monitor) as Arc<dyn Draw>);
    let found = |finding: &Finding| error(output, &finding.to_string());
    let report = check::run(repository, options, monitor, &session.cancel, found).await;
    drop(drawer);
    let report = report?;
    tell(output, &report);
    // Damage was told; what could not be looked at for it is due again.
    if let Some(rolling) = rolling.filter(|_| !report.index_is_damaged) {
        output.line(&format!("read {} packs", report.packs_read));
        rolling.note(session);
    }
    match report.is_good() {
        true => {
            output.line("no errors were found");
            Ok(Outcome::Done)
        }
        false => Err(Failure::Damage { advice: advice(&report) }),
    }
}

impl Args {
    fn read(&self) -> Result<Read, Failure> {
        let Some(subset) = &self.read_data_subset else {
            return Ok(if self.read_data { Read::All } else { Read::Nothing });
        };
        let wrong = |why: &str| {
            let advice = "write n/t with n from 1 to t and t up to 256, a share like 5% or a size";
            Failure::input(format!("--read-data-subset {subset:?}: {why}"), advice)
        };
        if let Some((number, of)) = subset.split_once('/') {
            let number = number.parse().map_err(|_| wrong("n is no number"))?;
            let of: u16 = of.parse().map_err(|_| wrong("t is no number"))?;
            if number == 0 || number > of || of > 256 {
                return Err(wrong("n has to be from 1 to t, and t at most 256"));
            }
            return Ok(Read::Part { number, of });
        }
        if let Some(share) = subset.strip_suffix('%') {
            let share: f64 = share.parse().map_err(|_| wrong("the share is no number"))?;
            if !(share > 0.0 && share <= 100.0) {
                return Err(wrong("the share has to be above 0% and at most 100%"));
            }
            return Ok(Read::Share(share));
        }
        match units::parse_size(subset)? {
            0 => Err(wrong("that is no data at all")),
            bytes => Ok(Read::Bytes(bytes)),
        }
    }
}

impl Monitor for CheckMonitor {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Phase(Phase::Index) => self.output.line("load indexes"),
            Event::Phase(Phase::Scan) => self.output.line("check snapshots, trees and blobs"),
            Event::Phase(Phase::Verify) => self.output.line("read data"),
            Event::Note(text) => self.output.detail(text),
            _ => {}
        }
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Draw for CheckMonitor {
    fn draw(&self, output: &Output, elapsed: std::time::Duration) {
        let bytes = self.counters.bytes_done.get();
        if bytes > 0 && !output.is_json() {
            output.status(&progress::line(bytes, None, elapsed));
        }
    }
}

fn error(output: &Output, message: &str) {
    if output.is_json() {
        output.json_error(&ErrorJson { message_type: "error", message });
    } else {
        output.warn(message);
    }
}

/// What is beside the findings.
fn tell(output: &Output, report: &Report) {
    let orphans = |hint: &&Hint| matches!(hint, Hint::Orphan(_));
    let named_twice = report.hints.iter().any(|hint| matches!(hint, Hint::NamedTwice(_)));
    let mixed = report.hints.iter().any(|hint| matches!(hint, Hint::Mixed(_)));
    let orphan_count = report.hints.iter().filter(orphans).count();
    if output.is_json() {
        let affected = report.affected.iter().map(|it| AffectedJson {
            snapshot: it.root.to_string(),
            path: String::from_utf8_lossy(&it.path).into_owned(),
        });
        let broken = report.broken_packs.iter().map(ToString::to_string).collect::<Vec<_>>();
        output.json(&SummaryJson {
            message_type: "summary",
            num_errors: report.findings.len(),
            broken_packs: (!broken.is_empty()).then_some(broken),
            suggest_repair_index: named_twice || report.index_is_damaged,
            suggest_prune: mixed || orphan_count > 0,
            affected: affected.collect(),
        });
        return;
    }
    for hint in report.hints.iter().filter(|hint| !orphans(hint)) {
        output.line(&hint.to_string());
    }
    report.hints.iter().filter(orphans).for_each(|hint| output.detail(&hint.to_string()));
    if named_twice {
        output.line("Packs that are named twice do no harm; `repair index` tidies up.");
    }
    if mixed {
        output.line("Packs of both kinds do no harm; `prune` tidies up.");
    }
    if orphan_count > 0 && report.is_good() {
        output.line(&format!(
            "{orphan_count} packs are named by no index: left over, or just being written. `prune` \
             removes what is left over."
        ));
    }
    if !report.affected.is_empty() {
        output.warn("\nNot whole are:");
        for affected in &report.affected {
            let path = quoted(&affected.path);
            output.warn(&format!("  {} {path}", affected.root.short()));
        }
        if report.more_affected {
            output.warn("  and more");
        }
    }
}

/// What to do about it.
fn advice(report: &Report) -> String {
    if report.index_is_damaged {
        return "run `windlass repair index`, then check again".into();
    }
    let mut steps = Vec::new();
    if !report.broken_packs.is_empty() {
        let packs: Vec<String> = report.broken_packs.iter().map(ToString::to_string).collect();
        steps.push(format!("windlass repair packs {}", packs.join(" ")));
    }
    if !report.affected.is_empty() || !report.broken_roots.is_empty() {
        let roots: Vec<&str> = report.broken_roots.iter().map(|root| root.as_str()).collect();
        steps.push(format!("windlass repair snapshots --forget {}", roots.join(" ")));
    }
    let copy = "make a copy of the repository first, and look for the cause: disk, memory, network";
    match steps.is_empty() {
        true => copy.into(),
        false => format!("{copy}; then\n{}", steps.join("\n")),
    }
}
