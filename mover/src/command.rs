//! One file per verb.
//!
//! Invariants: a command that holds a lock sees to its own end when it is cancelled; every other
//! one is dropped where it stands.
//!
//! To add one: `command/NAME.rs` with `Args` (what is typed) and `run`, a variant in
//! [`crate::args::Command`], an arm here.

pub(crate) mod backup;
#[cfg(any(feature = "mount", feature = "serve"))]
mod browsing;
pub(crate) mod cache;
pub(crate) mod cat;
pub(crate) mod check;
pub(crate) mod copy;
pub(crate) mod diff;
pub(crate) mod dump;
pub(crate) mod find;
pub(crate) mod forget;
pub(crate) mod generate;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod list;
pub(crate) mod ls;
#[cfg(feature = "mount")]
pub(crate) mod mount;
pub(crate) mod prune;
mod reading;
pub(crate) mod recover;
pub(crate) mod repair;
pub(crate) mod restore;
pub(crate) mod rewrite;
#[cfg(feature = "serve")]
pub(crate) mod serve;
pub(crate) mod snapshots;
pub(crate) mod stats;
pub(crate) mod tag;
pub(crate) mod unlock;
pub(crate) mod version;

use crate::{
    args::Command,
    failure::{Failure, Outcome},
    session::Session,
};

/// Does what was asked for.
pub(crate) async fn run(command: Command, session: &Session) -> Result<Outcome, Failure> {
    match command {
        Command::Backup(args) => backup::run(*args, session).await,
        Command::Cache(args) => cache::run(args, session),
        Command::Cat(args) => cat::run(args, session).await,
        Command::Check(args) => check::run(args, session).await,
        Command::Copy(args) => copy::run(args, session).await,
        Command::Diff(args) => diff::run(args, session).await,
        Command::Dump(args) => dump::run(args, session).await,
        Command::Find(args) => find::run(*args, session).await,
        Command::Forget(args) => forget::run(*args, session).await,
        Command::Generate(args) => generate::run(args, session),
        Command::Completion(args) => generate::completion(args, session),
        Command::Init(args) => session.unless_cancelled(init::run(args, session)).await,
        Command::Key(args) => key::run(args, session).await,
        Command::List(args) => list::run(args, session).await,
        Command::Ls(args) => ls::run(*args, session).await,
        #[cfg(feature = "mount")]
        Command::Mount(args) => mount::run(args, session).await,
        Command::Prune(args) => prune::run(args, session).await,
        Command::Recover(args) => recover::run(args, session).await,
        Command::Repair(args) => repair::run(*args, session).await,
        Command::Restore(args) => restore::run(*args, session).await,
        Command::Rewrite(args) => rewrite::run(*args, session).await,
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(args, session).await,
        Command::Snapshots(args) => session.unless_cancelled(snapshots::run(args, session)).await,
        Command::Stats(args) => stats::run(args, session).await,
        Command::Tag(args) => tag::run(args, session).await,
        Command::Unlock(args) => session.unless_cancelled(unlock::run(args, session)).await,
        Command::Version => version::run(session),
    }
}
