//! What `prune` is told.

use std::time::Duration;

use windlass_engine::{
    model::root::RootId,
    protocol::Announcement,
    reclaim::{Limits, MaxUnused, Options},
    repository::Repository,
};

use crate::{args::Compression, failure::Failure, session::Session, settings::Settings, units};

/// Remove data that no snapshot refers to
///
/// Backups may go on meanwhile: others are kept out for the last step only, in which nothing is
/// moved.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    limited: Limited,
    /// Change nothing, only tell what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// UNSAFE: recover a repository on a full disk, by its id; try `--max-repack-size 0` first
    #[arg(long, value_name = "REPOSITORY-ID")]
    unsafe_recover_no_free_space: Option<String>,
}

/// How far to go.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Limited {
    /// Unused data that may stay: a size, a share in % or `unlimited` [default: 5%]
    #[arg(long, value_name = "LIMIT")]
    max_unused: Option<String>,
    /// Stop after rewriting this much data
    #[arg(long, value_name = "SIZE")]
    max_repack_size: Option<String>,
    /// Begin to rewrite no further pack after this time, like 10m or 2h; what was done counts
    #[arg(long, value_name = "DURATION")]
    max_time: Option<String>,
    /// Rewrite only packs of directories
    #[arg(long)]
    repack_cacheable_only: bool,
    /// Has no effect: small packs are joined anyway
    #[arg(long, hide_short_help = true)]
    repack_small: bool,
    /// Rewrite data that is not compressed
    #[arg(long)]
    repack_uncompressed: bool,
    /// Join packs below this size
    #[arg(long, value_name = "SIZE")]
    repack_smaller_than: Option<String>,
}

impl Args {
    /// As part of another command.
    pub(crate) fn within(limited: Limited, dry_run: bool) -> Self {
        Self { limited, dry_run, unsafe_recover_no_free_space: None }
    }

    /// Fails where what was asked for contradicts itself.
    pub(crate) fn check(&self, session: &Session) -> Result<(), Failure> {
        let settings = &session.settings;
        if settings.global.no_lock && !self.dry_run {
            return Err(Failure::input(
                "--no-lock is only applicable in combination with --dry-run for prune command",
                "leave it out",
            ));
        }
        if self.limited.repack_uncompressed && settings.compression == Compression::Off {
            return Err(Failure::input(
                "disabled compression and `--repack-uncompressed` are mutually exclusive",
                "leave one of them out",
            ));
        }
        self.limited.limits(settings).map(drop)
    }

    /// Fails where the unsafe way was asked for and not for this repository.
    pub(super) fn check_recovery(&self, repository: &Repository) -> Result<(), Failure> {
        match &self.unsafe_recover_no_free_space {
            Some(id) if *id != repository.identity().id => Err(Failure::input(
                format!(
                    "must pass id '{}' to --unsafe-recover-no-free-space",
                    repository.identity().id
                ),
                "read in the manual what can be lost before",
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn options(
        &self,
        without: Vec<RootId>,
        announcement: Announcement,
        session: &Session,
    ) -> Result<Options, Failure> {
        let settings = &session.settings;
        let mut limits = self.limited.limits(settings)?;
        let recover = self.unsafe_recover_no_free_space.is_some();
        if recover {
            limits.max_repack_bytes = Some(0);
        }
        Ok(Options {
            limits,
            most_time: self.limited.most_time()?,
            dry_run: self.dry_run,
            without,
            pack_bytes: settings.pack_bytes,
            announcement,
            unannounced: settings.global.no_lock,
            recover_space: recover,
        })
    }
}

impl Limited {
    fn most_time(&self) -> Result<Option<Duration>, Failure> {
        self.max_time.as_deref().map(units::parse_duration).transpose()
    }

    fn limits(&self, settings: &Settings) -> Result<Limits, Failure> {
        let size = |text: &Option<String>| text.as_deref().map(units::parse_size).transpose();
        self.most_time()?;
        let small_pack_bytes = size(&self.repack_smaller_than)?;
        if small_pack_bytes == Some(0) {
            return Err(Failure::input(
                "--repack-smaller-than must be larger than zero",
                "give a size, or leave it out",
            ));
        }
        if small_pack_bytes.is_some_and(|bytes| bytes > settings.pack_bytes) {
            return Err(Failure::input(
                "repack-smaller-than exceeds repository packsize",
                "packs of that size are full; see --pack-size",
            ));
        }
        Ok(Limits {
            max_unused: self.max_unused.as_deref().map_or(Ok(MaxUnused::Percent(5.0)), unused)?,
            max_repack_bytes: size(&self.max_repack_size)?,
            small_pack_bytes,
            meta_only: self.repack_cacheable_only,
            uncompressed: self.repack_uncompressed,
        })
    }
}

fn unused(text: &str) -> Result<MaxUnused, Failure> {
    let text = text.trim();
    if text == "unlimited" {
        return Ok(MaxUnused::Unlimited);
    }
    let Some(share) = text.strip_suffix('%') else {
        return units::parse_size(text).map(MaxUnused::Bytes);
    };
    match share.parse::<f64>() {
        Ok(share) if (0.0..100.0).contains(&share) => Ok(MaxUnused::Percent(share)),
        _ => Err(Failure::input(
            format!("invalid percentage {text:?} passed for --max-unused"),
            "give a share from 0% to below 100%",
        )),
    }
}
