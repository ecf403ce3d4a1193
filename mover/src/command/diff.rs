//! `diff`: what changed between two snapshots.

use std::sync::Arc;

use serde::Serialize;
use windlass_engine::{
    fault::Fault,
    find::{
        Walker,
        diff::{self, Change, Differences, Figures, Side},
    },
    repository::Repository,
};

use super::reading;
use crate::{
    failure::{Failure, Outcome},
    output::{Output, node::lossy, quote::quoted},
    session::Session,
    snapshot::{self, filter::Filter},
    units,
};

/// Show what changed between two snapshots
#[derive(Debug, clap::Args)]
#[command(after_help = "Signs: + added, - removed, M content, T type, U metadata, ? content \
    although all metadata is the same.")]
pub(crate) struct Args {
    /// The start of the first snapshot's id; with :PATH for a directory of it
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    before: String,
    /// The start of the second snapshot's id; with :PATH for a directory of it
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    after: String,
    /// Show changes of metadata too
    #[arg(long)]
    metadata: bool,
}

#[derive(Serialize)]
struct ChangeJson<'a> {
    message_type: &'static str,
    path: String,
    modifier: &'a str,
}

#[derive(Serialize)]
struct SideJson {
    files: u64,
    dirs: u64,
    others: u64,
    data_blobs: u64,
    tree_blobs: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct StatisticsJson<'a> {
    message_type: &'static str,
    source_snapshot: &'a str,
    target_snapshot: &'a str,
    changed_files: u64,
    added: SideJson,
    removed: SideJson,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let repository = session.open().await?;
    let work = compared(args, &repository, session);
    let problems = session.reading(&repository, work).await?;
    reading::whole(problems)
}

async fn compared(args: Args, repository: &Repository, session: &Session) -> Result<u64, Failure> {
    let output = Arc::clone(&session.output);
    let filter = Filter::default();
    let (before, before_path) = snapshot::find(repository, &args.before, &filter, &output).await?;
    let (after, after_path) = snapshot::find(repository, &args.after, &filter, &output).await?;
    output.line(&format!("comparing snapshot {} to {}:\n", before.id.short(), after.id.short()));
    let walker = Walker::new(repository, &session.cancel).await?;
    let dialect = repository.dialect().clone();
    reading::blocking(move || {
        let find = |tree, path: Option<String>| {
            walker
                .find_directory(tree, path.unwrap_or_default().as_bytes())
                .map_err(reading::not_found)
        };
        let before = find(before.root.tree, before_path)?;
        let after = find(after.root.tree, after_path)?;
        let mut printer = Printer { output: Arc::clone(&output), problems: 0 };
        let figures = diff::run(&dialect, &walker, [before, after], args.metadata, &mut printer)?;
        print(&args, &figures, &output);
        Ok(printer.problems)
    })
    .await
}

struct Printer {
    output: Arc<Output>,
    problems: u64,
}

impl Differences for Printer {
    fn change(&mut self, path: &[u8], change: Change) {
        if self.output.verbosity() == 0 {
            return;
        }
        let modifier = modifier(change);
        if self.output.is_json() {
            let (message_type, path) = ("change", lossy(path));
            self.output.json(&ChangeJson { message_type, path, modifier: &modifier });
        } else {
            self.output.result(&format!("{modifier:<5}{}", quoted(path)));
        }
    }

    fn problem(&mut self, path: &[u8], fault: Fault) {
        self.problems += 1;
        reading::problem(&self.output, "diff", path, &fault);
    }
}

fn modifier(change: Change) -> String {
    match change {
        Change::Added => "+".into(),
        Change::Removed => "-".into(),
        Change::Changed { kind, content, silently, metadata } => {
            let letters = [(kind, 'T'), (content, 'M'), (silently, '?'), (metadata, 'U')];
            letters.iter().filter(|(is, _)| *is).map(|(_, letter)| letter).collect()
        }
    }
}

fn print(args: &Args, figures: &Figures, output: &Output) {
    let Figures { changed_files, added, removed } = figures;
    if output.is_json() {
        output.json(&StatisticsJson {
            message_type: "statistics",
            source_snapshot: &args.before,
            target_snapshot: &args.after,
            changed_files: *changed_files,
            added: SideJson::from(added),
            removed: SideJson::from(removed),
        });
        return;
    }
    let line = |name: &str, new: u64, gone: u64, rest: &str| {
        output.result(&format!("{name:<12} {new:5} new, {gone:5} removed{rest}"));
    };
    output.result("");
    line("Files:", added.files, removed.files, &format!(", {changed_files:5} changed"));
    line("Dirs:", added.dirs, removed.dirs, "");
    line("Others:", added.others, removed.others, "");
    line("Data Blobs:", added.data_chunks, removed.data_chunks, "");
    line("Tree Blobs:", added.meta_chunks, removed.meta_chunks, "");
    output.result(&format!("  Added:   {:<5}", units::bytes(added.bytes)));
    output.result(&format!("  Removed: {:<5}", units::bytes(removed.bytes)));
}

impl From<&Side> for SideJson {
    fn from(side: &Side) -> Self {
        Self {
            files: side.files,
            dirs: side.dirs,
            others: side.others,
            data_blobs: side.data_chunks,
            tree_blobs: side.meta_chunks,
            bytes: side.bytes,
        }
    }
}
