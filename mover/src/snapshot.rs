//! Which snapshots a command is about, and how they are printed.
//!
//! Invariants: `latest` is the newest one that the filter lets through; the start of an id has to
//! name exactly one.

pub(crate) mod filter;
pub(crate) mod group;
pub(crate) mod json;

use windlass_engine::{
    model::root::{Root, RootId},
    repository::Repository,
};

use crate::{
    failure::Failure,
    output::{Output, quote::quoted},
    units,
};
use filter::Filter;

/// A snapshot of a repository.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) id: RootId,
    pub(crate) root: Root,
}

impl Snapshot {
    /// What it is, in a line.
    pub(crate) fn line(&self) -> String {
        let Self { id, root } = self;
        let paths: Vec<_> = root.paths.iter().map(|path| quoted(path.as_bytes())).collect();
        let by = format!("{}@{}", root.username, root.hostname);
        format!(
            "snapshot {} of [{}] at {} by {}",
            id.short(),
            paths.join(" "),
            units::local_time(&root.time),
            quoted(by.as_bytes())
        )
    }
}

/// All snapshots, oldest first. One that cannot be read is reported and left out.
pub(crate) async fn list(
    repository: &Repository,
    output: &Output,
) -> Result<Vec<Snapshot>, Failure> {
    let listed = repository.protocol().list_roots().await?;
    let readable = listed.into_iter().filter_map(|(id, root)| match root {
        Ok(root) => Some(Snapshot { id, root }),
        Err(fault) => {
            output.warn(&format!("could not read snapshot {}: {fault}", id.short()));
            None
        }
    });
    let mut snapshots: Vec<Snapshot> = readable.collect();
    snapshots.sort_by_key(|snapshot| snapshot.root.time.instant());
    Ok(snapshots)
}

/// All snapshots, oldest first. One that cannot be read is an error, for whoever decides by all.
pub(crate) async fn list_every_one(repository: &Repository) -> Result<Vec<Snapshot>, Failure> {
    let listed = repository.protocol().list_roots().await?;
    let every_one = listed.into_iter().map(|(id, root)| match root {
        Ok(root) => Ok(Snapshot { id, root }),
        Err(fault) => Err(Failure::UnreadableSnapshot { id, fault }),
    });
    every_one.collect()
}

/// Finds one snapshot and what is asked for in it: `ID`, `latest`, either with `:PATH`.
pub(crate) async fn find(
    repository: &Repository,
    name: &str,
    filter: &Filter,
    output: &Output,
) -> Result<(Snapshot, Option<String>), Failure> {
    let (name, path) = match name.split_once(':') {
        Some((name, path)) => (name, Some(path.to_owned())),
        None => (name, None),
    };
    let snapshots = list(repository, output).await?;
    Ok((choose(snapshots, name, filter)?, path))
}

/// The one snapshot that `name` stands for.
pub(crate) fn choose(
    mut snapshots: Vec<Snapshot>,
    name: &str,
    filter: &Filter,
) -> Result<Snapshot, Failure> {
    const ADVICE: &str = "`windlass snapshots` lists those there are";
    if name == "latest" {
        snapshots.retain(|snapshot| filter.matches(&snapshot.root));
        return snapshots.pop().ok_or_else(|| Failure::input("no snapshot found", ADVICE));
    }
    if name.is_empty() {
        return Err(Failure::input("an empty text names no snapshot", ADVICE));
    }
    snapshots.retain(|snapshot| snapshot.id.as_str().starts_with(name));
    match snapshots.len() {
        0 => Err(Failure::input(format!("no matching ID found for prefix {name:?}"), ADVICE)),
        1 => snapshots.pop().ok_or_else(|| Failure::input("no snapshot found", ADVICE)),
        _ => Err(Failure::input(
            format!("multiple IDs with prefix {name:?} found"),
            "write more of the id",
        )),
    }
}
