//! `dump`: a file as it is, or a directory as an archive.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, ErrorKind, IsTerminal},
    os::{fd::AsFd, unix::ffi::OsStrExt},
    path::PathBuf,
    sync::Arc,
};

use clap::ValueEnum;
use windlass_engine::{
    dump::{DumpError, Dumper, Format},
    find::Found,
    model::directory::Kind,
    repository::Repository,
};

use super::reading;
use crate::{
    failure::{Failure, Outcome},
    output::Output,
    session::Session,
    snapshot::{
        self,
        filter::{Filter, FilterArgs},
    },
};

/// Print a file of a snapshot, or a directory as an archive
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The start of the snapshot's id, or `latest`; with :PATH for a directory of it
    #[arg(value_name = "SNAPSHOT[:PATH]")]
    snapshot: String,
    /// The file or directory; `/` for all
    #[arg(value_name = "FILE")]
    file: OsString,
    #[command(flatten)]
    filter: FilterArgs,
    /// How directories are written
    #[arg(short, long, value_name = "FORMAT", default_value = "tar")]
    archive: Archive,
    /// File to write to instead of standard output
    #[arg(short, long, value_name = "FILE")]
    target: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Archive {
    Tar,
    Zip,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let filter = args.filter.filter(&session.settings)?;
    let repository = session.open().await?;
    let work = dumped(args, &filter, &repository, session);
    let problems = session.reading(&repository, work).await?;
    reading::whole(problems)
}

async fn dumped(
    args: Args,
    filter: &Filter,
    repository: &Repository,
    session: &Session,
) -> Result<u64, Failure> {
    let output = Arc::clone(&session.output);
    let (snapshot, top) = snapshot::find(repository, &args.snapshot, filter, &output).await?;
    let dumper = Dumper::new(repository, &session.cancel).await?;
    reading::blocking(move || {
        let walker = dumper.walker();
        let top = top.unwrap_or_default();
        let tree = walker.find_directory(snapshot.root.tree, top.as_bytes());
        let tree = tree.map_err(reading::not_found)?;
        let path = absolute(args.file.as_bytes());
        let found = walker.find(tree, &path).map_err(reading::not_found)?;
        if let Found::Entry(entry) = &found
            && let Kind::File { .. } = entry.kind
        {
            let mut out = open(&args, &output, false)?;
            return ended(dumper.file(entry, &mut out).map(drop)).map(|()| 0);
        }
        let Some(directory) = found.directory() else {
            let message = format!("{:?} is neither a file nor a directory", args.file);
            return Err(Failure::input(message, "dump the directory it is in"));
        };
        let mut out = open(&args, &output, true)?;
        let mut problems = 0;
        let mut refused = |path: &[u8], why: &windlass_engine::dump::Refused| {
            problems += 1;
            reading::problem(&output, "dump", path, why);
        };
        let format = match args.archive {
            Archive::Tar => Format::Tar,
            Archive::Zip => Format::Zip,
        };
        ended(dumper.archive(format, &directory, &path, &mut out, &mut refused))?;
        Ok(problems)
    })
    .await
}

/// Where it goes. Not through the buffer of messages: what is dumped is gigabytes, and a write that
/// fails has to end it.
fn open(args: &Args, output: &Output, is_archive: bool) -> Result<File, Failure> {
    if let Some(target) = &args.target {
        return File::create(target)
            .map_err(|error| Failure::io(format!("{}", target.display()), error));
    }
    let stdout = io::stdout();
    if is_archive && stdout.is_terminal() {
        return Err(Failure::input(
            "stdout is the terminal, please redirect output",
            "or give a file with --target",
        ));
    }
    output.flush();
    let stdout = stdout.as_fd().try_clone_to_owned();
    stdout.map(File::from).map_err(|error| Failure::io("standard output", error))
}

/// Who goes away while reading wanted no more.
fn ended(result: Result<(), DumpError>) -> Result<(), Failure> {
    match result {
        Err(DumpError::Write(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(reading::dump_failed),
    }
}

/// The path with one slash in front and none behind, without `.` and `..`.
fn absolute(path: &[u8]) -> Vec<u8> {
    let mut names: Vec<&[u8]> = Vec::new();
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    [b"/", names.join(&b'/').as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_absolute() {
        for (path, expected) in
            [("", "/"), ("/", "/"), ("a//b/", "/a/b"), ("/a/./b/../c", "/a/c"), ("../..", "/")]
        {
            assert_eq!(absolute(path.as_bytes()), expected.as_bytes());
        }
    }
}
