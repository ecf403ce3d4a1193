//! `repair --plan` and `repair --heal-from`: what is lost, and bringing it back.
//!
//! Invariants: `--plan` changes nothing; what is named to bring data back is only read.

use std::{path::PathBuf, sync::Arc};

use serde::Serialize;
use windlass_engine::{
    check::Read,
    monitor::{Monitor, Silent},
    protocol::{Access, Presence},
    repair::heal::{self, Options, Remedy, Report},
    repository::Repository,
};

use crate::{
    command::rewrite::{changing, refuse_no_lock},
    failure::{Failure, Outcome},
    location::{self, Location},
    output::{Output, quote::quoted},
    session::Session,
    settings::source::SourceArgs,
};

/// Lines about files that are not whole; JSON has all that were kept.
const MOST_LINES: usize = 100;

/// What the damage comes to.
#[derive(Debug, clap::Args)]
pub(super) struct HealArgs {
    /// Tell what is lost, and what could bring it back; change nothing
    #[arg(long)]
    plan: bool,
    /// Bring lost data back from another repository, or from files in a directory; may be given
    /// several times
    #[arg(long, value_name = "REPOSITORY|PATH")]
    heal_from: Vec<String>,
    /// Read all data to find what is damaged, not only what check finds without
    #[arg(long)]
    read_data: bool,
    #[command(flatten)]
    source: SourceArgs,
}

/// What may bring data back.
enum Source {
    Repository(Box<Repository>),
    Files(PathBuf),
}

#[derive(Serialize)]
struct SummaryJson<'a> {
    message_type: &'static str,
    plan: bool,
    num_errors: usize,
    blobs_lost: Vec<String>,
    affected: Vec<AffectedJson>,
    healed: Vec<HealedJson<'a>>,
    blobs_still_lost: Vec<String>,
    packs_removed: Vec<String>,
    packs_damaged: Vec<String>,
}

#[derive(Serialize)]
struct AffectedJson {
    snapshot: String,
    path: String,
}

#[derive(Serialize)]
struct HealedJson<'a> {
    from: &'a str,
    blobs: u64,
}

pub(super) async fn run(args: HealArgs, session: &Session) -> Result<Outcome, Failure> {
    let mut names = args.heal_from.clone();
    names.extend(args.source.from_repo.clone());
    if !args.plan && names.is_empty() {
        return Err(Failure::input(
            "nothing to do!",
            "give --plan, --heal-from, or one of index, packs and snapshots",
        ));
    }
    refuse_no_lock(args.plan, session)?;
    let repository = session.open().await?;
    let mut sources = Vec::new();
    for name in &names {
        sources.push(source(name, &args, session).await?);
    }
    let mut readers = Vec::new();
    for source in &sources {
        if let Source::Repository(other) = source {
            readers.push(session.announce(other, Access::Shared).await?);
        }
    }
    let read = if args.read_data { Read::All } else { Read::Nothing };
    let options = Options { read, pack_bytes: session.settings.pack_bytes };
    let work = async |presence: Option<&Presence>| {
        let remedies: Vec<Remedy<'_>> = sources
            .iter()
            .map(|source| match source {
                Source::Repository(other) => Remedy::Repository(other),
                Source::Files(path) => Remedy::Files(path),
            })
            .collect();
        let monitor = Arc::new(Silent::default()) as Arc<dyn Monitor>;
        let cancel = &session.cancel;
        Ok(heal::run(&repository, &options, &remedies, presence, &monitor, cancel).await?)
    };
    let healed = changing(&repository, args.plan, Access::Exclusive, session, work).await;
    for reader in readers {
        reader.release().await?;
    }
    let report = healed?;
    tell(&session.output, &report, &names, args.plan);
    match args.plan || report.still_lost.is_empty() {
        true => Ok(Outcome::Done),
        false => Err(Failure::Damage {
            advice: "name another repository or directory, or take what is lost out of the \
                     snapshots with `repair snapshots --forget`"
                .into(),
        }),
    }
}

/// What a name stands for: a directory that holds no repository is one of files.
async fn source(name: &str, args: &HealArgs, session: &Session) -> Result<Source, Failure> {
    if let Location::Local(path) = &location::parse(name)?
        && path.exists()
        && !path.join("config").is_file()
    {
        let whole = std::path::absolute(path);
        return Ok(Source::Files(whole.map_err(|error| Failure::io(format!("{name:?}"), error))?));
    }
    let source = SourceArgs {
        from_repo: Some(name.to_owned()),
        from_repository_file: None,
        ..args.source.clone()
    };
    Ok(Source::Repository(Box::new(session.open_source(&source).await?)))
}

fn tell(output: &Output, report: &Report, names: &[String], plan: bool) {
    if output.is_json() {
        let texts = |packs: &[windlass_engine::model::pack::PackName]| {
            packs.iter().map(ToString::to_string).collect()
        };
        let affected = report.affected.iter().map(|it| AffectedJson {
            snapshot: it.root.to_string(),
            path: String::from_utf8_lossy(&it.path).into_owned(),
        });
        let healed = names.iter().zip(&report.found);
        output.json(&SummaryJson {
            message_type: "summary",
            plan,
            num_errors: report.findings.len(),
            blobs_lost: report.lost.iter().map(ToString::to_string).collect(),
            affected: affected.collect(),
            healed: healed.map(|(from, blobs)| HealedJson { from, blobs: *blobs }).collect(),
            blobs_still_lost: report.still_lost.iter().map(ToString::to_string).collect(),
            packs_removed: texts(&report.packs_removed),
            packs_damaged: texts(&report.packs_left),
        });
        return;
    }
    report.findings.iter().for_each(|finding| output.warn(&finding.to_string()));
    if report.findings.is_empty() {
        output.result("no errors were found");
        return;
    }
    for it in report.affected.iter().take(MOST_LINES) {
        output.result(&format!("not whole: {}:{}", it.root.short(), quoted(&it.path)));
    }
    if report.more_affected || report.affected.len() > MOST_LINES {
        output.result("and more");
    }
    output.result(&format!("{} blobs that snapshots need are lost", report.lost.len()));
    let word = if plan { "could be brought back" } else { "were brought back" };
    for (name, found) in names.iter().zip(&report.found) {
        output.result(&format!("{found} of them {word} from {name}"));
    }
    if !names.is_empty() {
        output.result(&format!("{} are still lost", report.still_lost.len()));
    }
    for pack in &report.packs_removed {
        output.line(&format!("removed damaged pack {pack}, what was good in it is in new ones"));
    }
    for pack in &report.packs_left {
        output.result(&format!("damaged pack: {pack}"));
    }
}
