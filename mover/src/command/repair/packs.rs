//! `repair packs`: what is good in damaged packs into new ones.
//!
//! Invariants: a copy of each pack lies in the current directory before anything is changed, under
//! its name only when it is whole; one that is there and says something else is not overwritten.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use serde::Serialize;
use windlass_engine::{
    model::pack::PackName,
    protocol::{
        Access, Presence,
        object::{ObjectError, ObjectKind},
    },
    repair::packs::{self, Options, Report},
    repository::Repository,
};

use crate::{
    command::rewrite::{changing, refuse_no_lock},
    failure::{Failure, Outcome},
    output::Output,
    session::Session,
};

/// Digits of a whole id.
const WHOLE: usize = 64;

/// Save what is good in damaged packs, and remove them
///
/// A copy of each is left in the current directory.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Ids of the packs, as `check --read-data` names them
    #[arg(value_name = "PACK")]
    packs: Vec<String>,
}

#[derive(Serialize)]
struct SummaryJson {
    message_type: &'static str,
    blobs_saved: u64,
    blobs_lost: Vec<String>,
    packs_removed: Vec<String>,
    packs_kept: Vec<String>,
}

pub(super) async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let ids: Vec<PackName> =
        args.packs.iter().map(|text| pack(text)).collect::<Result<_, Failure>>()?;
    if ids.is_empty() {
        return Err(Failure::input("no ids specified", "`check --read-data` names damaged packs"));
    }
    refuse_no_lock(false, session)?;
    let repository = session.open().await?;
    let work = async |presence: Option<&Presence>| match presence {
        Some(presence) => {
            save_copies(&repository, &ids, session).await?;
            session.output.line("salvaging intact data from specified pack files");
            let options = Options { packs: ids.clone(), pack_bytes: session.settings.pack_bytes };
            Ok(packs::run(&repository, &options, presence, &session.cancel).await?)
        }
        None => Ok(Report::default()),
    };
    let report = changing(&repository, false, Access::Exclusive, session, work).await?;
    tell(&session.output, &report);
    match report.left.is_empty() {
        true => Ok(Outcome::Done),
        false => Ok(Outcome::Partial("failed to remove one or more packs")),
    }
}

fn pack(text: &str) -> Result<PackName, Failure> {
    let mut id = [0; 32];
    let digits = text.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok().filter(|_| pair.len() == 2)
    });
    let whole = text.len() == WHOLE && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    id.iter_mut().zip(digits).for_each(|(byte, digit)| *byte = digit.unwrap_or_default());
    match whole {
        true => Ok(PackName::Hash(id)),
        false => Err(Failure::input(
            format!("{text:?} is no id of a pack"),
            "write all 64 digits, as `check --read-data` does",
        )),
    }
}

async fn save_copies(
    repository: &Repository,
    ids: &[PackName],
    session: &Session,
) -> Result<(), Failure> {
    session.output.line("saving backup copies of pack files to current folder");
    for id in ids {
        let name = id.to_string();
        let bytes = match repository.protocol().object(ObjectKind::Pack, &name).await {
            Ok(object) => object.bytes,
            Err(ObjectError::NotFound { .. }) => {
                let line = format!("will remove packfile {name}: it is not in the repository");
                session.output.warn(&line);
                continue;
            }
            Err(error) => return Err(crate::command::reading::no_object(error)),
        };
        let file = format!("pack-{name}");
        let failed = |error| Failure::io(format!("writing {file}"), error);
        save_copy(Path::new(&file), &bytes).map_err(failed)?;
    }
    Ok(())
}

/// Writes a file whole or not at all. One that is there is good where a run left it that did not
/// come to its end, and is somebody else's otherwise.
fn save_copy(file: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::read(file) {
        Ok(there) if there == bytes => return Ok(()),
        Ok(_something_else) => return Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let unfinished = file.with_added_extension("part");
    let mut copy = File::create(&unfinished)?;
    copy.write_all(bytes)?;
    copy.sync_all()?;
    fs::rename(&unfinished, file)?;
    File::open(".")?.sync_all()
}

fn tell(output: &Output, report: &Report) {
    for (pack, chunk, fault) in &report.unread {
        output.warn(&format!("failed to load blob {chunk} of pack {pack}: {fault}"));
    }
    for pack in &report.kept {
        output.warn(&format!(
            "pack {pack} stays in the repository, outside the index: not all of it could be read"
        ));
    }
    for (pack, fault) in &report.left {
        output.warn(&format!("failed to delete pack file {pack}: {fault}"));
    }
    if output.is_json() {
        let names = |packs: &[PackName]| packs.iter().map(ToString::to_string).collect();
        output.json(&SummaryJson {
            message_type: "summary",
            blobs_saved: report.chunks_saved,
            blobs_lost: report.lost.iter().map(ToString::to_string).collect(),
            packs_removed: names(&report.removed),
            packs_kept: names(&report.kept),
        });
        return;
    }
    output.line(&format!("saved {} blobs in new pack files", report.chunks_saved));
    if !report.lost.is_empty() {
        output.warn(&format!(
            "\n{} blobs are lost: `repair snapshots --forget` takes them out of all snapshots",
            report.lost.len()
        ));
    }
}
