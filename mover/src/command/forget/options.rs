//! What `forget` is told.

use super::{Keep, Request};
use crate::{
    command::prune::Limited,
    failure::Failure,
    settings::Settings,
    snapshot::{filter::LongFilterArgs, group::GroupBy},
};

/// Remove snapshots, by a policy or by name
///
/// The data of removed snapshots stays in the repository until `prune`. Snapshots tagged
/// `windlass-pin` are never removed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Remove these snapshots, by the start of their ids, or `latest`
    #[arg(value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
    #[command(flatten)]
    keep: Keep,
    /// Allow that all snapshots go that the filter chooses, where no policy is given
    #[arg(long)]
    unsafe_allow_remove_all: bool,
    #[command(flatten)]
    filter: LongFilterArgs,
    /// Leave paths and reasons out
    #[arg(short, long)]
    pub(super) compact: bool,
    /// What the snapshots of a group have in common: host, paths and/or tags, separated by commas;
    /// the policy is for each group
    #[arg(short, long, value_name = "GROUP", default_value = "host,paths")]
    group_by: String,
    /// Remove nothing, only tell; takes no lock
    #[arg(short = 'n', long)]
    pub(super) dry_run: bool,
    /// Run `prune` if any snapshots were removed
    #[arg(long)]
    pub(super) prune: bool,
    #[command(flatten)]
    pub(super) limited: Limited,
    /// Tell for every snapshot what each rule says of it
    #[arg(long)]
    pub(super) explain: bool,
}

impl Args {
    /// What was asked for, where it makes sense.
    pub(super) fn request(&self, settings: &Settings) -> Result<Request, Failure> {
        if settings.global.no_lock && !self.dry_run {
            return Err(Failure::input(
                "--no-lock is only applicable in combination with --dry-run for forget command",
                "leave it out: a dry run takes no lock anyway",
            ));
        }
        let filter = self.filter.0.filter(settings)?;
        let policy = self.keep.policy();
        if self.snapshots.is_empty() {
            if policy.is_empty() && !self.unsafe_allow_remove_all {
                return Err(Failure::input(
                    "no policy was specified, no snapshots will be removed",
                    "give a policy with --keep-..., or the snapshots to remove",
                ));
            }
            if policy.is_empty() && filter.is_empty() {
                return Err(Failure::input(
                    "--unsafe-allow-remove-all is not allowed unless a snapshot filter option is \
                     specified",
                    "say with --host, --tag or --path which snapshots may all go",
                ));
            }
        } else {
            if !policy.is_empty() {
                return Err(Failure::input(
                    "snapshots to remove and a policy of what to keep were both given",
                    "give one of them",
                ));
            }
            if self.filter.0.is_typed() && self.snapshots.iter().all(|name| name != "latest") {
                return Err(Failure::input(
                    "explicit snapshot ids are given, which no filter applies to",
                    "give ids or a filter",
                ));
            }
        }
        let by = GroupBy::parse(&self.group_by)?;
        Ok(Request { names: self.snapshots.clone(), filter, policy, by })
    }
}
