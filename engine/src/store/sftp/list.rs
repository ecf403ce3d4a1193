//! Listing a directory behind SSH: every directory that can hold the prefix, several at once.
//!
//! Invariants: the location itself must be there; what vanishes below it was deleted meanwhile.

use std::sync::Arc;

use futures_util::{StreamExt, stream::FuturesUnordered};
use russh_sftp::{
    client::error::Error,
    protocol::{File, StatusCode},
};

use super::{
    PARALLEL_DIRECTORIES, Sftp, TYPE_BITS, TYPE_DIRECTORY, TYPE_FILE, TYPE_LINK, object,
    session::Session, status_of,
};
use crate::store::{
    StoreError,
    remote::{Row, could_hold},
};

/// What one directory holds.
#[derive(Debug, Default)]
struct Found {
    rows: Vec<Row>,
    directories: Vec<String>,
}

/// Every file whose path starts with `prefix`.
pub(super) async fn list(
    sftp: &Sftp,
    session: &Arc<Session>,
    prefix: &str,
) -> Result<Vec<Row>, StoreError> {
    let mut rows = Vec::new();
    let mut pending = vec![String::new()];
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < PARALLEL_DIRECTORIES
            && let Some(path) = pending.pop()
        {
            running.push(directory(sftp, session, prefix, path));
        }
        let Some(found) = running.next().await else { return Ok(rows) };
        let found = found?;
        rows.extend(found.rows);
        pending.extend(found.directories);
    }
}

async fn directory(
    sftp: &Sftp,
    session: &Arc<Session>,
    prefix: &str,
    path: String,
) -> Result<Found, StoreError> {
    let full = sftp.below(&path);
    let failed = |error| sftp.connection.failed(session, "list", &full, error);
    let room = session.room().await;
    let opened = match session.wait(session.raw.opendir(full.as_str())).await {
        Ok(opened) => sftp.opened(session, "list", &full, (opened.handle, room))?,
        Err(error) if !path.is_empty() && status_of(&error) == Some(StatusCode::NoSuchFile) => {
            sftp.root_exists(session, "list").await?;
            return Ok(Found::default());
        }
        Err(error) => return Err(failed(error).await),
    };
    let mut found = Found::default();
    loop {
        let names = match session.wait(session.raw.readdir(opened.handle())).await {
            Ok(names) => names,
            Err(error) if status_of(&error) == Some(StatusCode::Eof) => return Ok(found),
            Err(error) => return Err(failed(error).await),
        };
        for file in names.files {
            sort_in(sftp, session, prefix, &path, file, &mut found).await?;
        }
    }
}

/// Takes an entry of the directory at `path` for an object, a directory to look into, or neither.
async fn sort_in(
    sftp: &Sftp,
    session: &Arc<Session>,
    prefix: &str,
    path: &str,
    file: File,
    found: &mut Found,
) -> Result<(), StoreError> {
    if matches!(file.filename.as_str(), "." | "..") {
        return Ok(());
    }
    let name = match path {
        "" => file.filename,
        path => format!("{path}/{}", file.filename),
    };
    let (may_be, may_hold) = (name.starts_with(prefix), could_hold(&name, prefix));
    if !may_be && !may_hold {
        return Ok(());
    }
    let mut attributes = file.attrs;
    let kind = |mode: Option<u32>| mode.map(|mode| mode & TYPE_BITS);
    let is_told = match kind(attributes.permissions) {
        None | Some(0 | TYPE_LINK) => false,
        Some(TYPE_FILE) => attributes.size.is_some(),
        Some(_) => true,
    };
    if !is_told {
        let full = sftp.below(&name);
        match session.wait(session.raw.stat(full.as_str())).await {
            Ok(found) => attributes = found.attrs,
            Err(Error::Status(status)) if status.status_code == StatusCode::NoSuchFile => {
                return Ok(());
            }
            Err(error) => return Err(sftp.connection.failed(session, "list", &full, error).await),
        }
    }
    match kind(attributes.permissions) {
        Some(TYPE_DIRECTORY) if may_hold => found.directories.push(name),
        Some(TYPE_FILE) | None if may_be => {
            let found_object = object("list", &name, &attributes)?;
            let (stored_bytes, modified) = (found_object.stored_bytes, found_object.modified);
            found.rows.push(Row { name, stored_bytes, modified });
        }
        _ => {}
    }
    Ok(())
}
