//! `rewrite`: snapshots without some of their files, or described otherwise.
//!
//! Invariants: a new snapshot is stored before the old one is removed; `--dry-run` writes nothing.

pub(super) mod told;

use std::{ffi::OsString, path::PathBuf, sync::Arc};

use windlass_engine::{
    filter::Selection,
    protocol::{Access, Presence, amend::Amendment},
    repository::Repository,
    rewrite::{self, Content, Options, Report},
};

use self::told::Teller;
use super::{backup::pattern_texts, snapshots};
use crate::{
    failure::{Failure, Outcome},
    session::Session,
    snapshot::{self, filter::FilterArgs},
    units,
};

/// Leave files out of snapshots, or change what is said about them
///
/// Makes new snapshots, tagged `rewrite`; with --forget they take the place of the old ones.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these snapshots, by the start of their ids, or `latest`
    #[arg(value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Leave out what matches a pattern
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
    /// Keep only what matches a pattern
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
    /// Remove the old snapshots once the new ones are stored
    #[arg(long)]
    forget: bool,
    /// Host of the new snapshots
    #[arg(long, value_name = "HOST")]
    new_host: Option<String>,
    /// Time of the new snapshots, like 2006-01-02 15:04:05
    #[arg(long, value_name = "TIME")]
    new_time: Option<String>,
    /// Count files and bytes where a snapshot says nothing of them
    #[arg(short, long)]
    snapshot_summary: bool,
    /// Change nothing, only tell what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let content = args.content(session)?;
    let amendment = args.amendment(session)?;
    if matches!(content, Content::Same) && amendment == Amendment::default() {
        return Err(Failure::input(
            "Nothing to do: no excludes/includes provided and no new metadata provided",
            "give a pattern, --new-host, --new-time or --snapshot-summary",
        ));
    }
    refuse_no_lock(args.dry_run, session)?;
    let filter = args.filter.filter(&session.settings)?;
    let repository = session.open().await?;
    let work = async |presence: Option<&Presence>| {
        let all = snapshot::list_every_one(&repository).await?;
        let chosen = snapshots::choose(all, &args.snapshots, &filter)?;
        let options = Options {
            roots: chosen.iter().map(|it| (it.id.clone(), it.root.clone())).collect(),
            content: content.clone(),
            amendment: amendment.clone(),
            mark: "rewrite".into(),
            forget: args.forget,
            pack_bytes: session.settings.pack_bytes,
        };
        let teller = Teller::new(session, chosen, &args.mode());
        rewritten(&repository, &options, presence, teller, session).await
    };
    let access = if args.forget { Access::Exclusive } else { Access::Shared };
    changing(&repository, args.dry_run, access, session, work).await?;
    Ok(Outcome::Done)
}

/// What lines are for.
pub(super) struct Mode {
    pub(super) dry_run: bool,
    pub(super) forget: bool,
    pub(super) amendment: Vec<String>,
}

/// `--no-lock` is for what is read only.
pub(super) fn refuse_no_lock(dry_run: bool, session: &Session) -> Result<(), Failure> {
    match session.settings.global.no_lock && !dry_run {
        true => Err(Failure::input("--no-lock is for reading only", "leave it out")),
        false => Ok(()),
    }
}

/// Does `work` under a lock, or as a reader that changes nothing.
pub(super) async fn changing<T>(
    repository: &Repository,
    dry_run: bool,
    access: Access,
    session: &Session,
    work: impl AsyncFn(Option<&Presence>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    if dry_run {
        return session.reading(repository, work(None)).await;
    }
    let presence = session.announce_writer(repository, access).await?;
    let worked = work(Some(&presence)).await;
    presence.release().await?;
    worked
}

/// Rewrites, and says what came of it.
pub(super) async fn rewritten(
    repository: &Repository,
    options: &Options,
    presence: Option<&Presence>,
    teller: Teller,
    session: &Session,
) -> Result<Report, Failure> {
    let teller = Arc::new(teller);
    let step = {
        let teller = Arc::clone(&teller);
        Arc::new(move |step: rewrite::Step<'_>| teller.step(&step))
    };
    let report = rewrite::run(repository, options, presence, &session.cancel, step).await?;
    teller.report(&report);
    Ok(report)
}

impl Args {
    fn content(&self, session: &Session) -> Result<Content, Failure> {
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
        if !include.is_empty() && !exclude.is_empty() {
            return Err(Failure::input(
                "exclude and include patterns are mutually exclusive",
                "give one kind only",
            ));
        }
        let selection = Selection::new(&include, &exclude)?;
        Ok(match selection.is_all() && !self.snapshot_summary {
            true => Content::Same,
            false => Content::Selected(selection),
        })
    }

    fn amendment(&self, session: &Session) -> Result<Amendment, Failure> {
        let time = match self.new_time.as_deref().filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => {
                let now = || session.environment.clock.now();
                Some(units::parse_time(text)?.unwrap_or_else(now))
            }
        };
        let hostname = self.new_host.clone().filter(|host| !host.is_empty());
        Ok(Amendment { hostname, time, ..Amendment::default() })
    }

    fn mode(&self) -> Mode {
        let time = self.new_time.iter().filter(|text| !text.is_empty());
        let time = time.map(|time| format!("set time to {time}"));
        let host = self.new_host.iter().filter(|text| !text.is_empty());
        let host = host.map(|host| format!("set hostname to {host}"));
        let amendment = time.chain(host).collect();
        Mode { dry_run: self.dry_run, forget: self.forget, amendment }
    }
}
