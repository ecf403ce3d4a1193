//! `init`: create a repository.

use clap::ValueEnum;
use windlass_engine::{
    fault::Fault,
    format::{
        cut::fastcdc::{self, FastCdcParams},
        restic::config::{Chunker, Config, Version},
    },
    protocol::{object::ObjectKind, restic::InitOptions},
};

use super::reading;
use crate::{
    failure::{Failure, Outcome},
    session::{self, Session},
    settings::source::SourceArgs,
};

/// Create a repository
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Version of restic's format: 1, 2, stable or latest
    #[arg(long, value_name = "VERSION", default_value = "stable")]
    repository_version: String,
    /// Format of the repository
    #[arg(long, value_name = "FORMAT", default_value = "restic")]
    format: Format,
    /// How files are cut. fastcdc is faster; restic reads such a repository, but what restic adds
    /// to it shares no chunks of files with what windlass added
    #[arg(long, value_name = "CHUNKER", default_value = "rabin")]
    chunker: ChunkerArg,
    /// Cut files as another repository does, so that copies from there share its chunks
    #[arg(long, conflicts_with = "chunker")]
    copy_chunker_params: bool,
    #[command(flatten)]
    source: SourceArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Restic,
    Kopia,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ChunkerArg {
    Rabin,
    Fastcdc,
}

/// How a repository is created that nobody said anything about.
pub(crate) fn defaults() -> InitOptions {
    InitOptions {
        version: Version::V2,
        polynomial: None,
        fast_cdc: false,
        username: session::username(),
        hostname: session::hostname(),
    }
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let mut options = args.options()?;
    let chosen = session.settings.chosen()?;
    if args.copy_chunker_params {
        copy_chunker(&session.source(&args.source)?, &mut options).await?;
    }
    let created = session.create(&chosen, &options).await?;
    session.output.created(&created);
    if created.key_file.is_none() {
        session.output.password_advice();
    }
    Ok(Outcome::Done)
}

/// Takes over how the repository of `source` cuts files.
async fn copy_chunker(source: &Session, options: &mut InitOptions) -> Result<(), Failure> {
    let repository = source.open().await?;
    let object = repository.protocol().object(ObjectKind::Config, "").await;
    let damaged = |damage| Fault::damaged("config", damage);
    let config = Config::decode(&object.map_err(reading::no_object)?.bytes).map_err(damaged)?;
    let cuts_like_rustic = config.rustic_chunker().map_err(damaged)?.is_some();
    let ours = config.chunker().map_err(damaged)?;
    if cuts_like_rustic || ours.as_ref().is_some_and(|chunker| *chunker != fast_cdc()) {
        return Err(Failure::input(
            "the other repository cuts files in a way that cannot be copied",
            "leave --copy-chunker-params out: copies will not share chunks",
        ));
    }
    options.polynomial = Some(config.polynomial);
    options.fast_cdc = ours.is_some();
    Ok(())
}

/// What is recorded of the FastCDC chunker.
fn fast_cdc() -> Chunker {
    let params = FastCdcParams::default();
    Chunker {
        name: fastcdc::NAME.into(),
        min: params.min() as u64,
        avg: params.average() as u64,
        max: params.max() as u64,
    }
}

impl Args {
    fn options(&self) -> Result<InitOptions, Failure> {
        if self.format == Format::Kopia {
            return Err(Failure::input(
                "creating kopia repositories is not supported by this build yet",
                "create it with `kopia repository create`",
            ));
        }
        if self.source.is_given() && !self.copy_chunker_params {
            return Err(Failure::input(
                "another repository is needed for --copy-chunker-params only",
                "add it, or leave --from-repo out",
            ));
        }
        let version = match self.repository_version.as_str() {
            "1" => Version::V1,
            "2" | "stable" | "latest" | "" => Version::V2,
            other => {
                return Err(Failure::input(
                    format!("there is no repository version {other:?}"),
                    "use 1, 2, stable or latest",
                ));
            }
        };
        Ok(InitOptions { version, fast_cdc: self.chunker == ChunkerArg::Fastcdc, ..defaults() })
    }
}
