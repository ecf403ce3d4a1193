//! `tag`: other tags for snapshots.
//!
//! Invariants: a snapshot with its new tags is stored before the old one is removed; what fails for
//! one snapshot is told and does not keep the others from being changed.

use serde::Serialize;
use windlass_engine::{
    fault::Fault,
    protocol::{Access, Presence, amend::Amendment},
    repository::Repository,
};

use super::snapshots;
use crate::{
    failure::{Failure, Outcome},
    session::Session,
    snapshot::{
        self, Snapshot,
        filter::{Filter, FilterArgs, split_tags},
    },
};

/// Change the tags of snapshots
///
/// A snapshot gets a new id by it. `windlass-pin` keeps a snapshot from ever being forgotten.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these snapshots, by the start of their ids, or `latest`
    #[arg(value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Tags instead of those there are; empty for none
    #[arg(long, value_name = "TAG[,TAG,...]")]
    set: Vec<String>,
    /// Tags to add
    #[arg(long, value_name = "TAG[,TAG,...]")]
    add: Vec<String>,
    /// Tags to take away
    #[arg(long, value_name = "TAG[,TAG,...]")]
    remove: Vec<String>,
}

#[derive(Serialize)]
struct ChangedJson<'a> {
    message_type: &'static str,
    old_snapshot_id: &'a str,
    new_snapshot_id: &'a str,
}

#[derive(Serialize)]
struct SummaryJson {
    message_type: &'static str,
    changed_snapshots: usize,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let edits = !args.add.is_empty() || !args.remove.is_empty();
    if args.set.is_empty() && !edits {
        return Err(Failure::input("nothing to do!", "give --set, --add or --remove"));
    }
    if !args.set.is_empty() && edits {
        return Err(Failure::input(
            "--set and --add/--remove cannot be given at the same time",
            "give one or the other",
        ));
    }
    if session.settings.global.no_lock {
        return Err(Failure::input("--no-lock is for reading only", "leave it out"));
    }
    let filter = args.filter.filter(&session.settings)?;
    let repository = session.open().await?;
    let presence = session.announce(&repository, Access::Exclusive).await?;
    let changed = change_all(&args, &filter, &repository, &presence, session).await;
    presence.release().await?;
    let changed_snapshots = changed?;
    if session.output.is_json() {
        session.output.json(&SummaryJson { message_type: "summary", changed_snapshots });
    } else if changed_snapshots == 0 {
        session.output.line("no snapshots were modified");
    } else {
        session.output.line(&format!("modified {changed_snapshots} snapshots"));
    }
    Ok(Outcome::Done)
}

async fn change_all(
    args: &Args,
    filter: &Filter,
    repository: &Repository,
    presence: &Presence,
    session: &Session,
) -> Result<usize, Failure> {
    let output = &session.output;
    let all = snapshot::list(repository, output).await?;
    let mut changed = 0;
    for snapshot in snapshots::choose(all, &args.snapshots, filter)? {
        if session.cancel.is_cancelled() {
            return Err(Failure::Interrupted);
        }
        let Some(tags) = args.tags(&snapshot.root.tags) else { continue };
        match change(&snapshot, tags, repository, presence, session).await {
            Ok(new) => {
                changed += 1;
                let (old_snapshot_id, new_snapshot_id) = (snapshot.id.as_str(), new.as_str());
                let message_type = "changed";
                let told = ChangedJson { message_type, old_snapshot_id, new_snapshot_id };
                if output.is_json() {
                    output.json(&told);
                }
                output.detail(&format!(
                    "old snapshot ID: {old_snapshot_id} -> new snapshot ID: {new_snapshot_id}"
                ));
            }
            Err(Fault::LockLost) => return Err(Fault::LockLost.into()),
            Err(fault) => output.warn(&format!(
                "unable to modify the tags for snapshot ID {}, ignoring: {fault}",
                snapshot.id
            )),
        }
    }
    Ok(changed)
}

async fn change(
    snapshot: &Snapshot,
    tags: Vec<String>,
    repository: &Repository,
    presence: &Presence,
    session: &Session,
) -> Result<String, Fault> {
    let right = presence.delete_right()?;
    let protocol = repository.protocol();
    let amendment = Amendment { tags: Some(tags), ..Amendment::default() };
    let new = protocol.amend_root(presence, &snapshot.id, &amendment).await?;
    let mut removed = Ok(());
    let old = vec![snapshot.id.clone()];
    let retired = protocol.retire_roots(&right, old, &session.cancel, |_, result| removed = result);
    retired.await?;
    removed.map(|()| new.as_str().to_owned())
}

impl Args {
    /// The tags of a snapshot that has these; `None` where they stay the same.
    fn tags(&self, old: &[String]) -> Option<Vec<String>> {
        let flat = |lists: &[String]| -> Vec<String> {
            lists.iter().flat_map(|list| split_tags(list)).collect()
        };
        if !self.set.is_empty() {
            return Some(flat(&self.set));
        }
        let mut tags = old.to_vec();
        for tag in flat(&self.add) {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        let remove = flat(&self.remove);
        tags.retain(|tag| !remove.contains(tag));
        (tags != old).then_some(tags)
    }
}
