//! `repair`: making a damaged repository whole again.

mod heal;
mod index;
mod packs;
mod snapshots;

use crate::{
    failure::{Failure, Outcome},
    session::Session,
};
pub(super) use index::rebuild;

/// Make a damaged repository whole again, as far as what is left allows
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    heal: heal::HealArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Part {
    Index(index::Args),
    Packs(packs::Args),
    Snapshots(snapshots::Args),
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    match args.part {
        Some(Part::Index(args)) => index::run(args, session).await,
        Some(Part::Packs(args)) => packs::run(args, session).await,
        Some(Part::Snapshots(args)) => snapshots::run(args, session).await,
        None => heal::run(args.heal, session).await,
    }
}
