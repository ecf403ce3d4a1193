//! What `forget` is told.

use windlass_engine::retention::{Count, Period, Policy};

use super::Request;
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
    /// Keep the last N snapshots; `unlimited` for all
    #[arg(short = 'l', long, value_name = "N", value_parser = count)]
    keep_last: Option<Count>,
    /// Keep the newest snapshot of each of the last N hours that have any
    #[arg(short = 'H', long, value_name = "N", value_parser = count)]
    keep_hourly: Option<Count>,
    /// Keep the newest snapshot of each of the last N days that have any
    #[arg(short = 'd', long, value_name = "N", value_parser = count)]
    keep_daily: Option<Count>,
    /// Keep the newest snapshot of each of the last N weeks that have any
    #[arg(short = 'w', long, value_name = "N", value_parser = count)]
    keep_weekly: Option<Count>,
    /// Keep the newest snapshot of each of the last N months that have any
    #[arg(short = 'm', long, value_name = "N", value_parser = count)]
    keep_monthly: Option<Count>,
    /// Keep the newest snapshot of each of the last N years that have any
    #[arg(short = 'y', long, value_name = "N", value_parser = count)]
    keep_yearly: Option<Count>,
    /// Keep all snapshots made this long before the newest, like 1y5m7d2h
    #[arg(long, value_name = "PERIOD")]
    keep_within: Option<Period>,
    /// Keep one snapshot an hour made this long before the newest
    #[arg(long, value_name = "PERIOD")]
    keep_within_hourly: Option<Period>,
    /// Keep one snapshot a day made this long before the newest
    #[arg(long, value_name = "PERIOD")]
    keep_within_daily: Option<Period>,
    /// Keep one snapshot a week made this long before the newest
    #[arg(long, value_name = "PERIOD")]
    keep_within_weekly: Option<Period>,
    /// Keep one snapshot a month made this long before the newest
    #[arg(long, value_name = "PERIOD")]
    keep_within_monthly: Option<Period>,
    /// Keep one snapshot a year made this long before the newest
    #[arg(long, value_name = "PERIOD")]
    keep_within_yearly: Option<Period>,
    /// Keep all snapshots with all of these tags, may be given several times; empty for those
    /// without any
    #[arg(long = "keep-tag", value_name = "TAG[,TAG,...]")]
    keep_tags: Vec<String>,
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
        let policy = self.policy();
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

    fn policy(&self) -> Policy {
        let list = |tags: &String| tags.split(',').map(|tag| tag.trim().to_owned()).collect();
        Policy {
            last: self.keep_last.unwrap_or_default(),
            hourly: self.keep_hourly.unwrap_or_default(),
            daily: self.keep_daily.unwrap_or_default(),
            weekly: self.keep_weekly.unwrap_or_default(),
            monthly: self.keep_monthly.unwrap_or_default(),
            yearly: self.keep_yearly.unwrap_or_default(),
            within: self.keep_within.unwrap_or_default(),
            within_hourly: self.keep_within_hourly.unwrap_or_default(),
            within_daily: self.keep_within_daily.unwrap_or_default(),
            within_weekly: self.keep_within_weekly.unwrap_or_default(),
            within_monthly: self.keep_within_monthly.unwrap_or_default(),
            within_yearly: self.keep_within_yearly.unwrap_or_default(),
            tags: self.keep_tags.iter().map(list).collect(),
        }
    }
}

fn count(text: &str) -> Result<Count, String> {
    match text {
        "unlimited" => Ok(Count::All),
        _ if text.starts_with('-') => {
            Err("negative values not allowed, use 'unlimited' instead".into())
        }
        _ => text.parse().map(Count::Of).map_err(|error| format!("{error}")),
    }
}
