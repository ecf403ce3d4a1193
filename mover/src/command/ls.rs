//! `ls`: what is in a snapshot.

use std::{cmp::Ordering, ops::ControlFlow, sync::Arc};

use clap::ValueEnum;
use serde::Serialize;
use windlass_engine::{
    fault::Fault,
    filter::Selection,
    find::{Visitor, Walker},
    model::{
        chunk::ChunkKey,
        directory::{Entry, Kind},
    },
    repository::Repository,
};

use super::reading;
use crate::{
    failure::{Failure, Outcome},
    output::{
        Output,
        node::{self, NodeJson},
        quote::quoted,
    },
    session::Session,
    snapshot::{
        self, Snapshot,
        filter::{Filter, FilterArgs},
        json::SnapshotJson,
    },
    units,
};

/// List what is in a snapshot
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The start of the snapshot's id, or `latest`; with :PATH for a directory of it
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    snapshot: String,
    /// Only what is in these absolute directories
    #[arg(value_name = "DIRECTORY")]
    directories: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Show mode, owner, size and time
    #[arg(short, long)]
    long: bool,
    /// With DIRECTORY: also what is further below
    #[arg(long)]
    recursive: bool,
    /// Show sizes with units
    #[arg(long)]
    human_readable: bool,
    /// Print what `ncdu -f -` reads
    #[arg(long)]
    ncdu: bool,
    /// Order of the list
    #[arg(short, long, value_name = "KEY", default_value = "name")]
    sort: SortKey,
    /// Turn the order round
    #[arg(long)]
    reverse: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SortKey {
    Name,
    Size,
    #[value(alias = "mtime")]
    Time,
    Atime,
    Ctime,
    Extension,
}

#[derive(Serialize)]
struct Header<'a> {
    #[serde(flatten)]
    snapshot: SnapshotJson<'a>,
    message_type: &'static str,
    struct_type: &'static str,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let refuse = |what: &str| Err(Failure::input(what, "leave one of them out"));
    if args.ncdu && session.output.is_json() {
        return refuse("--json and --ncdu cannot be used together");
    }
    if args.ncdu && (args.reverse || args.sort != SortKey::Name) {
        return refuse("--ncdu has its own order");
    }
    let selection = Selection::within(&args.directories, args.recursive)?;
    let filter = args.filter.filter(&session.settings)?;
    let repository = session.open().await?;
    let work = listed(args, selection, &filter, &repository, session);
    let problems = session.reading(&repository, work).await?;
    reading::whole(problems)
}

async fn listed(
    args: Args,
    selection: Selection,
    filter: &Filter,
    repository: &Repository,
    session: &Session,
) -> Result<u64, Failure> {
    let output = Arc::clone(&session.output);
    let (mut snapshot, path) = snapshot::find(repository, &args.snapshot, filter, &output).await?;
    let walker = Walker::new(repository, &session.cancel).await?;
    reading::blocking(move || {
        let path = path.unwrap_or_default().into_bytes();
        snapshot.root.tree =
            walker.find_directory(snapshot.root.tree, &path).map_err(reading::not_found)?;
        let top = snapshot.root.tree;
        header(&args, &snapshot, &output);
        let form = Form::of(&args, &output);
        let mut list = List { args, selection, output, form, kept: Vec::new(), problems: 0 };
        walker.walk(&top, b"/", &mut list)?;
        list.finish();
        Ok(list.problems)
    })
    .await
}

fn header(args: &Args, snapshot: &Snapshot, output: &Output) {
    if output.is_json() {
        let snapshot = SnapshotJson::from(snapshot);
        output.json(&Header { snapshot, message_type: "snapshot", struct_type: "snapshot" });
    } else if args.ncdu {
        let mut about = serde_json::to_value(SnapshotJson::from(snapshot)).unwrap_or_default();
        if let Some(fields) = about.as_object_mut() {
            // As the snapshot is stored: without its name.
            fields.shift_remove("id");
            fields.shift_remove("short_id");
        }
        output.raw(format!("[1, 2, {about}, [{{\"name\":\"/\"}}").as_bytes());
    } else {
        let Snapshot { id, root } = snapshot;
        output.line(&format!(
            "snapshot {} of [{}] at {} by {}@{} filtered by [{}]:",
            id.short(),
            quoted(root.paths.join(" ").as_bytes()),
            units::local_time(&root.time),
            quoted(root.username.as_bytes()),
            quoted(root.hostname.as_bytes()),
            args.directories.join(" ")
        ));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Json,
    Ncdu {
        depth: usize,
    },
    /// Kept until the end, then sorted.
    Kept,
}

impl Form {
    fn of(args: &Args, output: &Output) -> Self {
        if args.reverse || args.sort != SortKey::Name {
            Self::Kept
        } else if args.ncdu {
            Self::Ncdu { depth: 1 }
        } else if output.is_json() {
            Self::Json
        } else {
            Self::Text
        }
    }
}

struct List {
    args: Args,
    selection: Selection,
    output: Arc<Output>,
    form: Form,
    kept: Vec<(Vec<u8>, Entry)>,
    problems: u64,
}

impl List {
    fn print(&self, path: &[u8], entry: &Entry) {
        if self.output.is_json() {
            self.output.json(&NodeJson::new(path, entry));
        } else {
            let Args { long, human_readable, .. } = self.args;
            self.output.result(&node::line(path, entry, long, human_readable));
        }
    }

    fn finish(&mut self) {
        if let Form::Ncdu { .. } = self.form {
            self.output.raw(b"\n]\n]\n");
        }
        let mut kept = std::mem::take(&mut self.kept);
        if self.args.sort != SortKey::Name {
            kept.sort_by(|one, other| compare(self.args.sort, one, other));
        }
        if self.args.reverse {
            kept.reverse();
        }
        kept.iter().for_each(|(path, entry)| self.print(path, entry));
    }

    fn leave_ncdu(&mut self) {
        if let Form::Ncdu { depth } = &mut self.form {
            *depth -= 1;
            self.output.raw(format!("\n{}]", "  ".repeat(*depth)).as_bytes());
        }
    }
}

impl Visitor for List {
    fn entry(&mut self, path: &[u8], _parent: &ChunkKey, entry: &Entry) -> ControlFlow<()> {
        let is_dir = matches!(entry.kind, Kind::Directory { .. });
        let choice = self.selection.choose(path, is_dir);
        match &mut self.form {
            Form::Ncdu { depth } if choice.selected || choice.descend => {
                let json = serde_json::to_string(&NcduNode::new(entry)).unwrap_or_default();
                let indent = "  ".repeat(*depth);
                let text = match is_dir {
                    true => format!(",\n{indent}[\n{indent}  {json}"),
                    false => format!(",\n{indent}{json}"),
                };
                *depth += usize::from(is_dir);
                self.output.raw(text.as_bytes());
                if is_dir && !choice.descend {
                    self.leave_ncdu();
                }
            }
            Form::Ncdu { .. } => {}
            Form::Kept if choice.selected => {
                let kind = match &entry.kind {
                    Kind::File { size_bytes, .. } => Kind::File {
                        size_bytes: *size_bytes,
                        content: windlass_engine::model::object::Content::EMPTY,
                    },
                    kind => kind.clone(),
                };
                // Chunks and attributes are not printed; a large list should stay affordable.
                let entry = Entry { kind, xattrs: Vec::new(), residue: None, ..entry.clone() };
                self.kept.push((path.to_vec(), entry));
            }
            Form::Text | Form::Json if choice.selected => self.print(path, entry),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn descends(&self, path: &[u8], _tree: &ChunkKey) -> bool {
        self.selection.choose(path, true).descend
    }

    fn leave(&mut self, path: &[u8], _tree: &ChunkKey) -> ControlFlow<()> {
        if path != b"/" {
            self.leave_ncdu();
        }
        ControlFlow::Continue(())
    }

    fn problem(&mut self, path: &[u8], _tree: Option<&ChunkKey>, fault: Fault) {
        self.problems += 1;
        if path != b"/" {
            self.leave_ncdu();
        }
        reading::problem(&self.output, "ls", path, &fault);
    }
}

fn compare(by: SortKey, one: &(Vec<u8>, Entry), other: &(Vec<u8>, Entry)) -> Ordering {
    let ((path, entry), (other_path, other)) = (one, other);
    let order = match by {
        SortKey::Name => Ordering::Equal,
        SortKey::Size => node::size(entry).unwrap_or(0).cmp(&node::size(other).unwrap_or(0)),
        SortKey::Time => entry.mtime.instant().cmp(&other.mtime.instant()),
        SortKey::Atime => entry.atime.instant().cmp(&other.atime.instant()),
        SortKey::Ctime => {
            let instant = |entry: &Entry| entry.ctime.map(|time| time.instant());
            instant(entry).cmp(&instant(other))
        }
        SortKey::Extension => extension(path).cmp(extension(other_path)),
    };
    order.then_with(|| path.cmp(other_path))
}

/// From the last dot of the last component on, as Go has it.
fn extension(path: &[u8]) -> &[u8] {
    let dot = path.iter().rposition(|byte| matches!(byte, b'.' | b'/'));
    match dot.and_then(|dot| path.get(dot..)) {
        Some(extension @ [b'.', ..]) => extension,
        _ => b"",
    }
}

/// An entry as ncdu reads it.
#[derive(Serialize)]
struct NcduNode {
    name: String,
    asize: u64,
    dsize: u64,
    dev: u64,
    ino: u64,
    nlink: u64,
    notreg: bool,
    uid: u32,
    gid: u32,
    mode: u32,
    mtime: i64,
}

impl NcduNode {
    fn new(entry: &Entry) -> Self {
        let asize = node::size(entry).unwrap_or(0);
        Self {
            name: node::lossy(&entry.name),
            asize,
            dsize: asize.div_ceil(512).saturating_mul(512),
            dev: entry.device,
            ino: entry.inode,
            nlink: entry.links,
            notreg: !matches!(entry.kind, Kind::File { .. } | Kind::Directory { .. }),
            uid: entry.uid,
            gid: entry.gid,
            mode: entry.mode & 0o7777,
            // ncdu knows no time before 1970.
            mtime: entry.mtime.seconds.max(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_is_of_the_last_component() {
        for (path, expected) in
            [("/a.b/c", ""), ("/a/c.tar.gz", ".gz"), ("/.hidden", ".hidden"), ("/a.", ".")]
        {
            assert_eq!(extension(path.as_bytes()), expected.as_bytes(), "{path}");
        }
    }
}
