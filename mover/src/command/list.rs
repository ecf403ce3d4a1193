//! `list`: the names of the objects of a repository.

use clap::ValueEnum;
use serde::Serialize;
use windlass_engine::{
    model::chunk::Role,
    protocol::{holders::Looker, object::ObjectKind},
    repository::Repository,
};

use super::reading;
use crate::{
    failure::{Failure, Outcome},
    session::{self, Session},
    units,
};

/// List the objects of a repository
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The kind of objects
    #[arg(value_name = "KIND")]
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Blobs,
    Packs,
    Index,
    Snapshots,
    Keys,
    Locks,
}

#[derive(Serialize)]
struct LockJson<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lock: Option<HolderJson<'a>>,
}

#[derive(Serialize)]
struct HolderJson<'a> {
    time: String,
    exclusive: bool,
    hostname: &'a str,
    username: &'a str,
    pid: i64,
    stale: bool,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let repository = session.open().await?;
    let kind = match args.kind {
        // A lock of one's own would be among them.
        Kind::Locks => return session.unless_cancelled(locks(&repository, session)).await,
        Kind::Blobs => {
            session.reading(&repository, blobs(&repository, session)).await?;
            return Ok(Outcome::Done);
        }
        Kind::Packs => ObjectKind::Pack,
        Kind::Index => ObjectKind::Index,
        Kind::Snapshots => ObjectKind::Root,
        Kind::Keys => ObjectKind::Key,
    };
    let listed =
        async { repository.protocol().list_objects(kind).await.map_err(reading::no_object) };
    let names = session.reading(&repository, listed).await?;
    if session.output.is_json() {
        session.output.json(&names);
    } else {
        names.iter().for_each(|name| session.output.result(name));
    }
    Ok(Outcome::Done)
}

/// The kind and id of every chunk that an index names, as often as it does.
async fn blobs(repository: &Repository, session: &Session) -> Result<(), Failure> {
    let index = repository.index().await?;
    index.for_each(|key, _place| {
        let kind = match repository.dialect().role(key) {
            Role::File => "data",
            Role::Directory | Role::Links => "tree",
        };
        session.output.result(&format!("{kind} {key}"));
    });
    Ok(())
}

/// The names of locks, and with `-v` who holds them.
async fn locks(repository: &Repository, session: &Session) -> Result<Outcome, Failure> {
    let output = &session.output;
    let hostname = session::hostname();
    let looker = Looker { hostname: &hostname, lineage: session.settings.lineage.as_deref() };
    let holders = repository.protocol().list_holders(looker).await?;
    if output.is_json() {
        let locks: Vec<LockJson<'_>> = holders
            .iter()
            .map(|(id, holder)| LockJson {
                id,
                error: holder.as_ref().err().map(ToString::to_string),
                lock: holder.as_ref().ok().map(|holder| HolderJson {
                    time: units::rfc3339(&holder.time),
                    exclusive: holder.exclusive,
                    hostname: &holder.hostname,
                    username: &holder.username,
                    pid: holder.pid,
                    stale: holder.stale.is_some(),
                }),
            })
            .collect();
        output.json(&locks);
        return Ok(Outcome::Done);
    }
    for (id, holder) in &holders {
        output.result(id);
        output.detail(&match holder {
            Ok(holder) => format!(
                "  {} by PID {} on {} as {} since {}{}",
                if holder.exclusive { "exclusive" } else { "shared" },
                holder.pid,
                holder.hostname,
                holder.username,
                units::local_time(&holder.time),
                holder.stale.map(|why| format!(", stale: {why}")).unwrap_or_default()
            ),
            Err(fault) => format!("  cannot be read: {fault}"),
        });
    }
    Ok(Outcome::Done)
}
