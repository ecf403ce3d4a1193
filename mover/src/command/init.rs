//! `init`: create a repository.

use clap::ValueEnum;
use windlass_engine::{
    format::restic::config::Version, protocol::open::InitOptions, repository::Repository,
};

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
    chunker: Chunker,
    /// Cut files as the source repository does, so that both share chunks
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
enum Chunker {
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
    let options = args.options()?;
    let chosen = session.settings.chosen()?;
    let options = match args.copy_chunker_params {
        true => cut_like(&session.open_source(&args.source).await?, options)?,
        false => options,
    };
    let created = session.create(&chosen, &options).await?;
    session.output.created(&created);
    if args.copy_chunker_params {
        session.output.line("it cuts files as the source repository does");
    }
    if created.key_file.is_none() {
        session.output.password_advice();
    }
    Ok(Outcome::Done)
}

/// The options with which a new repository cuts files as `source` does.
fn cut_like(source: &Repository, options: InitOptions) -> Result<InitOptions, Failure> {
    let cuts = source.identity().cuts.ok_or_else(|| {
        Failure::input(
            format!(
                "a new repository cannot cut files as the {} repository at {} does",
                source.identity().format,
                source.store().location()
            ),
            "leave --copy-chunker-params out: the two repositories will share no chunks of files",
        )
    })?;
    Ok(InitOptions { polynomial: Some(cuts.polynomial), fast_cdc: cuts.fast_cdc, ..options })
}

impl Args {
    fn options(&self) -> Result<InitOptions, Failure> {
        if self.format == Format::Kopia {
            return Err(Failure::input(
                "creating kopia repositories is not supported by this build yet",
                "create it with `kopia repository create`",
            ));
        }
        if self.source.names_one() && !self.copy_chunker_params {
            return Err(Failure::input(
                "a source repository is only for copying how it cuts files",
                "give --copy-chunker-params too",
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
        Ok(InitOptions { version, fast_cdc: self.chunker == Chunker::Fastcdc, ..defaults() })
    }
}
