//! `cache`: what is kept on this machine of which repository.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use serde::Serialize;
use windlass_engine::store::cache::base::{self, CacheDirectory};

use crate::{
    failure::{Failure, Outcome},
    output::{Output, table::Table},
    session::Session,
    units,
};

/// List local caches, and remove those that were not used for a long time
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Remove the old ones
    #[arg(long)]
    cleanup: bool,
    /// Days without use after which a cache is old
    #[arg(long, value_name = "DAYS", default_value_t = OLD_DAYS, hide_default_value = true)]
    max_age: u32,
    /// Do not look how large they are
    #[arg(long)]
    no_size: bool,
}

/// Digits of a repository's id that tell it apart from the few others of a machine.
const DIGITS: usize = 10;
/// Days after which a cache is old, where nothing else is said.
const OLD_DAYS: u32 = 30;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Serialize)]
struct CacheJson<'a> {
    message_type: &'static str,
    id: &'a str,
    path: String,
    days_unused: u64,
    old: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

pub(crate) fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let Some(directory) = session.settings.cache_directory()? else {
        return Err(Failure::input(
            "there is no cache directory to look at",
            "leave --no-cache out, or name the directory with --cache-dir",
        ));
    };
    let failed = |error| Failure::io(format!("reading {}", directory.display()), error);
    let caches = base::caches(&directory).map_err(failed)?;
    let output = &session.output;
    let is_old = |cache: &CacheDirectory| is_older(cache, args.max_age);
    if args.cleanup || session.settings.global.cleanup_cache {
        let old: Vec<_> = caches.iter().filter(|cache| is_old(cache)).collect();
        match old.len() {
            0 => output.line("no old cache dirs found"),
            count => output.line(&format!("remove {count} old cache directories")),
        }
        remove(&old)?;
        return Ok(Outcome::Done);
    }
    if caches.is_empty() && !output.is_json() {
        output.result(&format!("no cache dirs found, basedir is {}", directory.display()));
        return Ok(Outcome::Done);
    }
    let mut headings = vec!["Repo ID", "Last Used", "Old"];
    headings.extend((!args.no_size).then_some("Size"));
    let mut table = Table::new(&headings);
    for cache in caches.iter().rev() {
        let (days_unused, old) = (age(cache).as_secs() / DAY.as_secs(), is_old(cache));
        let bytes = match args.no_size {
            true => None,
            false => Some(cache.bytes().map_err(failed)?),
        };
        if output.is_json() {
            let (id, path) = (cache.repository.as_str(), cache.path.display().to_string());
            let message_type = "cache";
            output.json(&CacheJson { message_type, id, path, days_unused, old, bytes });
            continue;
        }
        let id = cache.repository.chars().take(DIGITS).collect();
        let old = if old { "yes" } else { "" }.to_owned();
        let mut row = vec![id, format!("{days_unused} days ago"), old];
        row.extend(bytes.map(|bytes| format!("{:>11}", units::bytes(bytes))));
        table.row(row);
    }
    if !output.is_json() {
        table.lines().iter().for_each(|line| output.result(line));
        output.result(&format!("{} cache dirs in {}", caches.len(), directory.display()));
    }
    Ok(Outcome::Done)
}

fn age(cache: &CacheDirectory) -> Duration {
    SystemTime::now().duration_since(cache.used).unwrap_or_default()
}

fn is_older(cache: &CacheDirectory, days: u32) -> bool {
    age(cache) > DAY.saturating_mul(days)
}

fn remove(caches: &[&CacheDirectory]) -> Result<(), Failure> {
    caches.iter().try_for_each(|cache| {
        cache
            .remove()
            .map_err(|error| Failure::io(format!("removing {}", cache.path.display()), error))
    })
}

/// Removes the caches that are old by themselves, before another command uses one.
pub(crate) fn remove_old(directory: &Path, output: &Output) -> Result<(), Failure> {
    let failed = |error| Failure::io(format!("reading {}", directory.display()), error);
    let caches = base::caches(directory).map_err(failed)?;
    let old: Vec<_> = caches.iter().filter(|cache| is_older(cache, OLD_DAYS)).collect();
    if !old.is_empty() {
        let (count, at) = (old.len(), directory.display());
        output.line(&format!("removing {count} old cache dirs from {at}"));
    }
    remove(&old)
}
