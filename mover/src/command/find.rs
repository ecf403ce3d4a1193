//! `find`: paths, chunks, directories and packs in all snapshots.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use jiff::{civil, tz::TimeZone};
use serde::Serialize;
use windlass_engine::{
    fault::Fault,
    filter::Case,
    find::{
        Walker,
        search::{Chunks, Finds, Paths, Prefix, Search},
    },
    format::time::Timestamp,
    model::{chunk::ChunkKey, directory::Entry},
    repository::Repository,
};

use super::{reading, snapshots};
use crate::{
    failure::{Failure, Outcome},
    output::{
        Output,
        node::{self, MatchJson, lossy},
        quote::quoted,
    },
    session::Session,
    snapshot::{
        self, Snapshot,
        filter::{Filter, FilterArgs},
    },
    units,
};

/// Find files, directories or parts of the repository in snapshots
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to look for: patterns of paths, or the starts of ids
    #[arg(value_name = "PATTERN", required = true)]
    patterns: Vec<String>,
    /// Only what was changed at this time or after it
    #[arg(short = 'O', long, value_name = "TIME")]
    oldest: Option<String>,
    /// Only what was changed at this time or before it
    #[arg(short = 'N', long, value_name = "TIME")]
    newest: Option<String>,
    /// Only in this snapshot; may be given several times
    #[arg(short, long = "snapshot", value_name = "ID")]
    snapshots: Vec<String>,
    /// Look for chunks of files
    #[arg(long, conflicts_with_all = ["tree", "pack"])]
    blob: bool,
    /// Look for directories by their ids
    #[arg(long, conflicts_with = "pack")]
    tree: bool,
    /// Look for what is in packs
    #[arg(long)]
    pack: bool,
    /// Show the pack of what was found
    #[arg(long)]
    show_pack_id: bool,
    /// Upper and lower case are the same
    #[arg(short, long)]
    ignore_case: bool,
    /// Oldest snapshot first
    #[arg(short = 'R', long)]
    reverse: bool,
    /// Show mode, owner, size and time
    #[arg(short, long)]
    long: bool,
    /// Show sizes with units
    #[arg(long)]
    human_readable: bool,
    #[command(flatten)]
    filter: FilterArgs,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let oldest = args.oldest.as_deref().map(parse_time).transpose()?;
    let newest = args.newest.as_deref().map(parse_time).transpose()?;
    if let (Some(oldest), Some(newest)) = (&oldest, &newest)
        && oldest.instant() > newest.instant()
    {
        let advice = "swap the two";
        return Err(Failure::input("--oldest must specify a time before --newest", advice));
    }
    let case = if args.ignore_case { Case::Insensitive } else { Case::Sensitive };
    let paths = Paths::new(&args.patterns, case, oldest, newest)?;
    let filter = args.filter.filter(&session.settings)?;
    let repository = session.open().await?;
    let work = found(args, paths, &filter, &repository, session);
    let problems = session.reading(&repository, work).await?;
    reading::whole(problems)
}

async fn found(
    args: Args,
    paths: Paths,
    filter: &Filter,
    repository: &Repository,
    session: &Session,
) -> Result<u64, Failure> {
    let output = Arc::clone(&session.output);
    let all = snapshot::list(repository, &output).await?;
    let mut snapshots = snapshots::choose(all, &args.snapshots, filter)?;
    if !args.reverse {
        snapshots.reverse();
    }
    let walker = Walker::new(repository, &session.cancel).await?;
    let chunks = args.chunks(repository).await?;
    let packs = match args.show_pack_id {
        true => Some(packs_of(repository).await?),
        false => None,
    };
    reading::blocking(move || {
        let mut search = chunks.map_or_else(|| Search::paths(paths), Search::chunks);
        let mut finder = Finder {
            args,
            output,
            packs,
            snapshot: None,
            is_open: false,
            hits: 0,
            is_any: false,
            problems: 0,
            shown: BTreeSet::new(),
        };
        for snapshot in snapshots {
            let tree = snapshot.root.tree;
            finder.enter(snapshot);
            search.root(&walker, &tree, &mut finder)?;
        }
        finder.finish(&walker);
        Ok(finder.problems)
    })
    .await
}

impl Args {
    /// What to look for, where it is not paths.
    async fn chunks(&self, repository: &Repository) -> Result<Option<Chunks>, Failure> {
        if !(self.blob || self.tree || self.pack) {
            return Ok(None);
        }
        let mut chunks = Chunks::default();
        if self.pack {
            let mut left: Vec<&String> = self.patterns.iter().collect();
            let index = repository.index().await?;
            let names: HashMap<_, _> = packs_of(repository).await?;
            index.for_each(|key, at| {
                let name = names.get(&at.pack.0).map(String::as_str).unwrap_or_default();
                if self.patterns.iter().any(|pattern| name.starts_with(pattern.as_str())) {
                    chunks.keys.insert(*key);
                }
            });
            left.retain(|pattern| !names.values().any(|name| name.starts_with(pattern.as_str())));
            if !left.is_empty() {
                let message = format!("unable to find pack(s): {left:?}");
                return Err(Failure::input(message, "look at the ids"));
            }
            return Ok(Some(chunks));
        }
        for pattern in &self.patterns {
            let prefix = Prefix::parse(pattern).ok_or_else(|| {
                Failure::input(format!("no id begins with {pattern:?}"), "write it in hexadecimal")
            })?;
            match self.blob {
                true => chunks.file_prefixes.push(prefix),
                false => chunks.directory_prefixes.push(prefix),
            }
        }
        Ok(Some(chunks))
    }
}

/// The names of packs by number.
async fn packs_of(repository: &Repository) -> Result<HashMap<u32, String>, Failure> {
    let index = repository.index().await?;
    let names = index.pack_names().into_iter();
    Ok((0..).zip(names).map(|(number, name)| (number, name.to_string())).collect())
}

struct Finder {
    args: Args,
    output: Arc<Output>,
    packs: Option<HashMap<u32, String>>,
    snapshot: Option<Snapshot>,
    /// The current snapshot has a heading, or an object in the array.
    is_open: bool,
    hits: u64,
    is_any: bool,
    problems: u64,
    /// What was found, where its packs are asked for.
    shown: BTreeSet<ChunkKey>,
}

#[derive(Serialize)]
struct ObjectJson<'a> {
    object_type: &'a str,
    id: String,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_tree: Option<String>,
    snapshot: &'a str,
    time: String,
}

impl Finder {
    fn enter(&mut self, snapshot: Snapshot) {
        self.close();
        self.snapshot = Some(snapshot);
    }

    /// Ends what was printed of a snapshot.
    fn close(&mut self) {
        if std::mem::take(&mut self.is_open)
            && self.output.is_json()
            && let Some(snapshot) = &self.snapshot
        {
            let id = snapshot.id.as_str();
            let end = format!("],\"hits\":{},\"snapshot\":\"{id}\"}}", self.hits);
            self.output.raw(end.as_bytes());
        }
    }

    fn finish(&mut self, walker: &Walker) {
        self.close();
        if self.output.is_json() {
            self.output.raw(if self.is_any { b"]\n" } else { b"[]\n" });
        }
        let Some(packs) = &self.packs else { return };
        for key in &self.shown {
            let pack = walker.reader().location(key).and_then(|at| packs.get(&at.pack.0));
            let Some(pack) = pack else { continue };
            self.output.result(&format!("Object belongs to pack {pack}"));
            self.output.result(&format!(" ... Pack {pack}: {key}"));
        }
    }

    /// What comes before an object of the array.
    fn separator(&mut self) {
        let is_any = std::mem::replace(&mut self.is_any, true);
        self.output.raw(if is_any { b"," } else { b"[" });
    }

    fn object(&mut self, kind: &str, key: &ChunkKey, path: &[u8], parent: Option<&ChunkKey>) {
        let Some(Snapshot { id, root }) = self.snapshot.clone() else { return };
        if self.output.is_json() {
            self.separator();
            let json = serde_json::to_string(&ObjectJson {
                object_type: kind,
                id: key.to_string(),
                path: lossy(path),
                parent_tree: parent.map(ToString::to_string),
                snapshot: id.as_str(),
                time: units::rfc3339(&root.time),
            });
            self.output.raw(json.unwrap_or_default().as_bytes());
            return;
        }
        let output = &self.output;
        output.result(&format!("Found {kind} {key}"));
        match parent {
            Some(parent) => {
                output.result(&format!(" ... in file {}", quoted(path)));
                output.result(&format!("     (tree {parent})"));
            }
            None => output.result(&format!(" ... path {}", quoted(path))),
        }
        let time = units::local_time(&root.time);
        output.result(&format!(" ... in snapshot {} ({time})", id.short()));
    }
}

impl Finds for Finder {
    fn path(&mut self, path: &[u8], entry: &Entry) {
        let is_first = !std::mem::replace(&mut self.is_open, true);
        if self.output.is_json() {
            if is_first {
                self.separator();
                self.output.raw(b"{\"matches\":[");
                self.hits = 0;
            } else {
                self.output.raw(b",");
            }
            let json = serde_json::to_string(&MatchJson::new(path, entry)).unwrap_or_default();
            self.output.raw(json.as_bytes());
            self.hits += 1;
            return;
        }
        if is_first && let Some(Snapshot { id, root }) = &self.snapshot {
            if std::mem::replace(&mut self.is_any, true) {
                self.output.line("");
            }
            let time = units::local_time(&root.time);
            self.output
                .line(&format!("Found matching entries in snapshot {} from {time}", id.short()));
        }
        let Args { long, human_readable, .. } = self.args;
        self.output.result(&node::line(path, entry, long, human_readable));
    }

    fn file_chunk(&mut self, key: &ChunkKey, path: &[u8], parent: &ChunkKey) {
        self.object("blob", key, path, Some(parent));
        self.shown.insert(*key);
    }

    fn directory(&mut self, key: &ChunkKey, path: &[u8]) {
        self.object("tree", key, path, None);
        self.shown.insert(*key);
    }

    fn problem(&mut self, path: &[u8], _tree: Option<&ChunkKey>, fault: Fault) {
        self.problems += 1;
        let path = match &self.snapshot {
            Some(snapshot) => [snapshot.id.short().as_bytes(), b":", path].concat(),
            None => path.to_vec(),
        };
        reading::problem(&self.output, "find", &path, &fault);
    }
}

/// A day, a minute or a second, local or with its zone.
fn parse_time(text: &str) -> Result<Timestamp, Failure> {
    const LOCAL: [&str; 6] = [
        "%Y-%m-%d %H:%M:%S",
        "%Y-%m-%d %H:%M",
        "%Y-%m-%d",
        "%d.%m.%Y %H:%M:%S",
        "%d.%m.%Y %H:%M",
        "%d.%m.%Y",
    ];
    const ZONED: [&str; 2] = ["%Y-%m-%d %H:%M:%S %z", "%d.%m.%Y %H:%M:%S %z"];
    if let Some(time) = Timestamp::parse_rfc3339(text) {
        return Ok(time);
    }
    let with_zone = ZONED.iter().find_map(|form| jiff::Timestamp::strptime(form, text).ok());
    if let Some(time) = with_zone {
        return Ok(Timestamp::utc(time.as_second(), 0));
    }
    let local = LOCAL.iter().find_map(|form| {
        let with_time = civil::DateTime::strptime(form, text).ok();
        let day = || Some(civil::Date::strptime(form, text).ok()?.at(0, 0, 0, 0));
        with_time.or_else(day)?.to_zoned(TimeZone::system()).ok()
    });
    local.map(|time| Timestamp::utc(time.timestamp().as_second(), 0)).ok_or_else(|| {
        Failure::input(
            format!("unable to parse time: {text:?}"),
            "write it like 2006-01-02, 2006-01-02 15:04 or 2006-01-02 15:04:05",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_days_minutes_or_seconds() {
        let seconds = |text: &str| parse_time(text).expect(text).seconds;
        assert_eq!(seconds("2020-01-02 03:04:05 +0000"), 1_577_934_245);
        assert_eq!(seconds("2020-01-02T03:04:05Z"), 1_577_934_245);
        assert_eq!(seconds("02.01.2020 03:04"), seconds("2020-01-02 03:04:00"));
        assert_eq!(seconds("2020-01-02"), seconds("02.01.2020 00:00:00"));
        for text in ["", "yesterday", "2020-13-01", "2020-01-02 25:00"] {
            parse_time(text).expect_err(text);
        }
    }
}
