//! `restore`: a snapshot, or a part of one, into a directory.

use std::{ffi::OsString, path::PathBuf, sync::Arc, time::Instant};

use clap::ValueEnum;
use windlass_engine::{
    cancel::Cancel,
    filter::Selection,
    monitor::Monitor,
    repository::Repository,
    restore::{self, Options, Outcome as Ending, Overwrite, Ownership, Report},
};

use super::{backup::pattern_texts, reading};
use crate::{
    failure::{Failure, Outcome},
    output::{
        progress::{Draw, Drawer},
        quote::quoted,
        restore::RestoreMonitor,
    },
    session::Session,
    snapshot::{
        self, Snapshot,
        filter::{Filter, FilterArgs},
    },
    units,
};

/// Restore a snapshot, or a part of one, into a directory
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The start of the snapshot's id, or `latest`; with :PATH for a directory of it
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    snapshot: String,
    #[command(flatten)]
    filter: FilterArgs,
    /// Directory to restore into
    #[arg(short, long, value_name = "DIRECTORY")]
    target: PathBuf,
    /// Restore only what matches a pattern
    #[arg(short, long, value_name = "PATTERN")]
    include: Vec<OsString>,
    /// The same without regard to case
    #[arg(long, value_name = "PATTERN")]
    iinclude: Vec<OsString>,
    /// Read include patterns from a file
    #[arg(long, value_name = "FILE")]
    include_file: Vec<PathBuf>,
    /// The same without regard to case
    #[arg(long, value_name = "FILE")]
    iinclude_file: Vec<PathBuf>,
    /// Do not restore what matches a pattern
    #[arg(short, long, value_name = "PATTERN")]
    exclude: Vec<OsString>,
    /// The same without regard to case
    #[arg(long, value_name = "PATTERN")]
    iexclude: Vec<OsString>,
    /// Read exclude patterns from a file
    #[arg(long, value_name = "FILE")]
    exclude_file: Vec<PathBuf>,
    /// The same without regard to case
    #[arg(long, value_name = "FILE")]
    iexclude_file: Vec<PathBuf>,
    /// Restore only extended attributes that match a pattern
    #[arg(long, value_name = "PATTERN")]
    include_xattr: Vec<OsString>,
    /// Do not restore extended attributes that match a pattern
    #[arg(long, value_name = "PATTERN")]
    exclude_xattr: Vec<OsString>,
    /// What happens to files that are there already
    #[arg(long, value_name = "BEHAVIOUR", default_value = "always")]
    overwrite: OverwriteArg,
    /// Remove from the target what the snapshot does not have
    #[arg(long)]
    delete: bool,
    /// Remove even where the snapshot is empty or shares nothing with the target
    #[arg(long, requires = "delete")]
    allow_suspicious_delete: bool,
    /// Make holes of long runs of zeros (the default)
    #[arg(long, overrides_with = "no_sparse")]
    sparse: bool,
    /// Write zeros as they are
    #[arg(long, overrides_with = "sparse")]
    no_sparse: bool,
    /// Read back and compare what was restored
    #[arg(long, conflicts_with = "dry_run")]
    verify: bool,
    /// Write nothing, show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Restore owners by name; names that are not known here become root, or with =number the
    /// recorded number
    #[arg(long, value_name = "UNKNOWN", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "root")]
    ownership_by_name: Option<UnknownName>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OverwriteArg {
    Always,
    IfChanged,
    IfNewer,
    Never,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum UnknownName {
    #[value(alias = "true")]
    Root,
    Number,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let options = args.options(session)?;
    let filter = args.filter.filter(&session.settings)?;
    let repository = session.open().await?;
    let work = async |cancel: &Cancel| {
        restored(&args, options.clone(), &filter, &repository, session, cancel).await
    };
    let report = session.reading_early(&repository, work).await?;
    check(&report)?;
    Ok(Outcome::Done)
}

async fn restored(
    args: &Args,
    options: Options,
    filter: &Filter,
    repository: &Repository,
    session: &Session,
    cancel: &Cancel,
) -> Result<Report, Failure> {
    let found = snapshot::find(repository, &args.snapshot, filter, &session.output).await?;
    let (snapshot, sub_path) = found;
    let sub_path = sub_path.unwrap_or_default().into_bytes();
    let target = options.target.display().to_string();
    let options = Options { sub_path, ..options };
    write(&snapshot, options, &target, repository, session, cancel).await
}

/// Restores a snapshot and tells of it; the target is called `shown`.
pub(crate) async fn write(
    snapshot: &Snapshot,
    options: Options,
    shown: &str,
    repository: &Repository,
    session: &Session,
    cancel: &Cancel,
) -> Result<Report, Failure> {
    let output = &session.output;
    let Snapshot { id, root } = snapshot;
    output.line(&format!(
        "restoring snapshot {} of [{}] at {} by {}@{} to {shown}",
        id.short(),
        quoted(root.paths.join(" ").as_bytes()),
        units::local_time(&root.time),
        quoted(root.username.as_bytes()),
        quoted(root.hostname.as_bytes()),
    ));
    let is_all = options.sub_path.is_empty() && options.selection.is_all();
    let total = root.summary.filter(|_| is_all).map(|summary| summary.total_bytes);
    let verify = options.verify;
    let monitor = Arc::new(RestoreMonitor::new(Arc::clone(output), total));
    let started = Instant::now();
    let drawer = Drawer::start(output, Arc::clone(&monitor) as Arc<dyn Draw>);
    let told = Arc::clone(&monitor) as Arc<dyn Monitor>;
    let result = restore::run(repository, root, options, told, cancel).await;
    drop(drawer);
    let report = result?;
    monitor.report(&report, started.elapsed());
    if verify && report.outcome() == Ending::Success {
        let files = report.files_restored + report.files_updated + report.files_unchanged;
        output.line(&format!("finished verifying {files} files in {shown}"));
    }
    Ok(report)
}

/// Fails where something could not be restored.
pub(crate) fn check(report: &Report) -> Result<(), Failure> {
    match report.outcome() {
        Ending::Success => Ok(()),
        Ending::Partial => Err(reading::errors(
            report.problem_count,
            "what is named above is missing or not as it was, everything else is restored",
        )),
    }
}

impl Args {
    fn options(&self, session: &Session) -> Result<Options, Failure> {
        let variables = &session.settings.variables;
        let include = pattern_texts(
            (&self.include, &self.include_file),
            (&self.iinclude, &self.iinclude_file),
            variables,
        )?;
        let exclude = pattern_texts(
            (&self.exclude, &self.exclude_file),
            (&self.iexclude, &self.iexclude_file),
            variables,
        )?;
        let xattrs = |texts: &[OsString]| pattern_texts((texts, &[]), (&[], &[]), variables);
        Ok(Options {
            selection: Selection::new(&include, &exclude)?,
            xattrs: Selection::new(&xattrs(&self.include_xattr)?, &xattrs(&self.exclude_xattr)?)?,
            overwrite: match self.overwrite {
                OverwriteArg::Always => Overwrite::Always,
                OverwriteArg::IfChanged => Overwrite::IfChanged,
                OverwriteArg::IfNewer => Overwrite::IfNewer,
                OverwriteArg::Never => Overwrite::Never,
            },
            delete: self.delete,
            allow_suspicious_delete: self.allow_suspicious_delete,
            sparse: !self.no_sparse,
            dry_run: self.dry_run,
            verify: self.verify,
            ownership: match self.ownership_by_name {
                None => Ownership::ByNumber,
                Some(UnknownName::Root) => Ownership::ByNameOrRoot,
                Some(UnknownName::Number) => Ownership::ByNameOrNumber,
            },
            ..Options::new(&self.target)
        })
    }
}
