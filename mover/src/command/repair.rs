//! `repair`: making a damaged repository whole again.

mod index;
mod packs;
mod snapshots;

use crate::{
    failure::{Failure, Outcome},
    session::Session,
};
pub(super) use index::rebuild;

/// Make a damaged repository whole again, as far as what is left allows
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Args {
    Index(index::Args),
    Packs(packs::Args),
    Snapshots(snapshots::Args),
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    match args {
        Args::Index(args) => index::run(args, session).await,
        Args::Packs(args) => packs::run(args, session).await,
        Args::Snapshots(args) => snapshots::run(args, session).await,
    }
}
