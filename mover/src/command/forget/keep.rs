//! What is to be kept, as it is typed.

use windlass_engine::retention::{Count, Period, Policy};

/// Rules of a policy.
#[derive(Debug, clap::Args)]
pub(crate) struct Keep {
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
}

impl Keep {
    /// The policy they make.
    pub(crate) fn policy(&self) -> Policy {
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
