//! One file per verb.
//!
//! Invariants: a command that holds a lock sees to its own end when it is cancelled; every other
//! one is dropped where it stands.
//!
//! To add one: `command/NAME.rs` with `Args` (what is typed) and `run`, a variant in
//! [`crate::args::Command`], an arm here.

pub(crate) mod backup;
pub(crate) mod cat;
pub(crate) mod diff;
pub(crate) mod dump;
pub(crate) mod find;
pub(crate) mod generate;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod ls;
mod reading;
pub(crate) mod restore;
pub(crate) mod snapshots;
pub(crate) mod stats;
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
        Command::Cat(args) => cat::run(args, session).await,
        Command::Diff(args) => diff::run(args, session).await,
        Command::Dump(args) => dump::run(args, session).await,
        Command::Find(args) => find::run(*args, session).await,
        Command::Generate(args) => generate::run(args, session),
        Command::Completion(args) => generate::completion(args, session),
        Command::Init(args) => unless_cancelled(session, init::run(args, session)).await,
        Command::Key(args) => key::run(args, session).await,
        Command::Ls(args) => ls::run(*args, session).await,
        Command::Restore(args) => restore::run(*args, session).await,
        Command::Snapshots(args) => unless_cancelled(session, snapshots::run(args, session)).await,
        Command::Stats(args) => stats::run(args, session).await,
        Command::Version => version::run(session),
    }
}

/// For commands that hold nothing that has to be given back.
async fn unless_cancelled(
    session: &Session,
    command: impl Future<Output = Result<Outcome, Failure>>,
) -> Result<Outcome, Failure> {
    tokio::select! {
        result = command => result,
        () = session.cancel.cancelled() => Err(Failure::Interrupted),
    }
}
