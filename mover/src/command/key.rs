//! `key`: the passwords that open a repository.

use std::path::PathBuf;

use serde::Serialize;
use windlass_engine::{
    format::secret::Password,
    protocol::{Access, keys::Owner, open::OpenOptions},
    repository::Repository,
};

use crate::{
    failure::{Failure, Outcome},
    output::{quote::quoted, table::Table},
    session::{self, Session},
    settings::{
        Chosen,
        password::{self, NewPassword},
    },
    units,
};

/// Manage the passwords of a repository
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Args {
    /// List the passwords by their keys
    List,
    /// Add a password
    Add(New),
    /// Change the password in use: adds a new one and removes the old one
    Passwd(New),
    /// Remove a password, by the start of its key's id
    Remove {
        /// The start of the key's id
        #[arg(value_name = "KEY")]
        key: String,
    },
}

/// A new password and whose it is.
#[derive(Debug, clap::Args)]
pub(crate) struct New {
    /// File to read the new password from
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
    /// Make the new password empty: anyone who gets at the repository can read it
    #[arg(long)]
    new_insecure_no_password: bool,
    /// User to note with the new key
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Host to note with the new key
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyJson<'a> {
    current: bool,
    id: &'a str,
    user_name: &'a str,
    host_name: &'a str,
    created: String,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    if let (Args::Passwd(_), Chosen::Default(default)) = (&args, session.settings.chosen()?) {
        return Err(Failure::input(
            "the default repository is opened by its key file, which would not fit any more",
            format!("add a password with `key add`, and name it with -r {}", default.location()),
        ));
    }
    if session.settings.global.no_lock && !matches!(args, Args::List) {
        return Err(Failure::input("--no-lock is for reading only", "leave it out"));
    }
    let repository = session.open().await?;
    match args {
        Args::List => list(&repository, session).await?,
        Args::Add(new) => {
            let password = new.password(session).await?;
            let presence = session.announce(&repository, Access::Shared).await?;
            let added = add(&repository, &new, &password, session).await;
            presence.release().await?;
            let (id, _reopened) = added?;
            told(session, "key_added", &id, &format!("saved new key with ID {id}"));
        }
        Args::Passwd(new) => {
            let password = new.password(session).await?;
            let presence = session.announce(&repository, Access::Exclusive).await?;
            let changed = change(&repository, &new, &password, session).await;
            presence.release().await?;
            let id = changed?;
            told(session, "key_added", &id, &format!("saved new key with ID {id}"));
        }
        Args::Remove { key } => {
            let presence = session.announce(&repository, Access::Exclusive).await?;
            let removed = remove(&repository, &key).await;
            presence.release().await?;
            let id = removed?;
            told(session, "key_removed", &id, &format!("removed key {id}"));
        }
    }
    Ok(Outcome::Done)
}

/// Says what happened to a key.
fn told(session: &Session, message_type: &str, id: &str, line: &str) {
    #[derive(Serialize)]
    struct Changed<'a> {
        message_type: &'a str,
        id: &'a str,
    }
    match session.output.is_json() {
        true => session.output.json(&Changed { message_type, id }),
        false => session.output.line(line),
    }
}

impl New {
    async fn password(&self, session: &Session) -> Result<Password, Failure> {
        let source = NewPassword {
            file: self.new_password_file.clone(),
            empty: self.new_insecure_no_password,
        };
        session.asking(move || password::new_password(&source)).await
    }
}

async fn list(repository: &Repository, session: &Session) -> Result<(), Failure> {
    let keys = repository.protocol().list_keys().await?;
    let current = repository.identity().key.as_deref();
    let rows = keys.iter().map(|key| KeyJson {
        current: current == Some(key.name.as_str()),
        id: &key.name,
        user_name: &key.owner.username,
        host_name: &key.owner.hostname,
        created: units::local_time(&key.owner.created),
    });
    let rows: Vec<KeyJson<'_>> = rows.collect();
    if session.output.is_json() {
        session.output.json(&rows);
        return Ok(());
    }
    let mut table = Table::new(&[" ID", "User", "Host", "Created"]);
    for key in rows {
        let mark = if key.current { "*" } else { " " };
        let id = format!("{mark}{}", key.id.get(..8).unwrap_or(key.id));
        let shown = |text: &str| quoted(text.as_bytes()).into_owned();
        table.row(vec![id, shown(key.user_name), shown(key.host_name), key.created]);
    }
    table.lines().iter().for_each(|line| session.output.result(line));
    Ok(())
}

/// Adds a key and proves that it opens the repository; if it does not, it is taken back.
async fn add(
    repository: &Repository,
    new: &New,
    password: &Password,
    session: &Session,
) -> Result<(String, Repository), Failure> {
    let owner = Owner {
        username: new.user.clone().unwrap_or_else(session::username),
        hostname: new.host.clone().unwrap_or_else(session::hostname),
        created: session.environment.clock.now(),
    };
    let protocol = repository.protocol();
    let id = protocol.add_key(password, &owner, repository.pool()).await?;
    match reopen(&id, password, session).await {
        Ok(reopened) => Ok((id, reopened)),
        Err(failure) => {
            protocol.remove_key(&id, in_use(repository)?).await?;
            Err(failure)
        }
    }
}

/// Adds a key, and then removes the one that was in use until now.
async fn change(
    repository: &Repository,
    new: &New,
    password: &Password,
    session: &Session,
) -> Result<String, Failure> {
    let (id, reopened) = add(repository, new, password, session).await?;
    reopened.protocol().remove_key(in_use(repository)?, &id).await?;
    Ok(id)
}

async fn remove(repository: &Repository, key: &str) -> Result<String, Failure> {
    if key.is_empty() {
        return Err(Failure::input("an empty text names no key", "`windlass key list` shows them"));
    }
    Ok(repository.protocol().remove_key(key, in_use(repository)?).await?)
}

async fn reopen(id: &str, password: &Password, session: &Session) -> Result<Repository, Failure> {
    let place = session.place(&session.settings.chosen()?)?;
    let options = OpenOptions { key_hint: Some(id.to_owned()), ..OpenOptions::default() };
    Ok(Repository::open(&place, password, &options, session.environment.clone()).await?)
}

fn in_use(repository: &Repository) -> Result<&str, Failure> {
    repository.identity().key.as_deref().ok_or_else(|| {
        Failure::input("this repository has one password only", "change it with its own tool")
    })
}
