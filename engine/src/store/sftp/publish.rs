//! Putting an object: a temporary file beside its final name, flushed, made read-only, renamed.
//!
//! Invariants
//! - What is not renamed is removed again, also when the caller gives up; what is left over after a
//!   lost connection is foreign to every listing.
//! - Without [`Existing::Replace`] an object that is there is not touched: the plain rename of the
//!   protocol refuses to replace.

use std::sync::Arc;

use futures_util::{StreamExt, stream::FuturesOrdered};
use russh_sftp::{
    client::error::Error,
    protocol::{OpenFlags, StatusCode},
};

use super::{
    Sftp, permissions, read_span,
    session::{Opened, Session},
    status, status_of,
};
use crate::{
    entropy::name_suffix,
    store::{Existing, Failure, StoreError, layout::TEMPORARY_MARK},
};

/// A file under a temporary name, removed when this is dropped.
struct Temporary {
    session: Arc<Session>,
    path: String,
}

/// What is on its way before the first of it is confirmed.
const WRITE_AHEAD_BYTES: usize = 4 << 20;

/// Writes an object whole.
pub(super) async fn put(
    sftp: &Sftp,
    name: &str,
    bytes: &[u8],
    existing: Existing,
) -> Result<(), StoreError> {
    let path = sftp.below(name);
    let session = sftp.connection.session("write").await?;
    let modes = sftp.modes(&session).await?;
    let (temporary, file) = sftp.temporary(&session, name, &path).await?;
    if let Err(error) = write_all(&session, file.handle(), bytes).await {
        return Err(sftp.write_failed(&session, name, &path, bytes.len(), error).await);
    }
    // Before it has its name, so that it is never seen with other permissions. Some servers have
    // none; the object is good all the same.
    let set = session.raw.fsetstat(file.handle(), permissions(modes.file));
    match session.wait(set).await {
        Ok(_) | Err(Error::Status(_)) => {}
        Err(error) => return Err(sftp.connection.failed(&session, "write", name, error).await),
    }
    if session.has.fsync {
        match session.wait(session.raw.fsync(file.handle())).await {
            Ok(_) => {}
            Err(error) if status_of(&error) == Some(StatusCode::OpUnsupported) => {}
            Err(error) => {
                return Err(sftp.write_failed(&session, name, &path, bytes.len(), error).await);
            }
        }
    }
    if let Err(error) = file.close().await {
        return Err(sftp.write_failed(&session, name, &path, bytes.len(), error).await);
    }
    match existing {
        Existing::Replace => sftp.replace(&session, name, temporary, &path).await,
        Existing::Keep => sftp.keep(&session, name, temporary, &path, bytes).await,
    }
}

impl Sftp {
    /// A new file beside `path`, in a directory that is created where only it is missing.
    async fn temporary(
        &self,
        session: &Arc<Session>,
        name: &str,
        path: &str,
    ) -> Result<(Temporary, Opened), StoreError> {
        let random = name_suffix()
            .map_err(|error| StoreError::new(Failure::Permanent, "write", name, error))?;
        let temporary = format!("{path}{TEMPORARY_MARK}{random:016x}");
        let flags = OpenFlags::CREATE | OpenFlags::EXCLUDE | OpenFlags::WRITE;
        let room = session.room().await;
        let open = || session.raw.open(temporary.as_str(), flags, permissions(0o600));
        let mut opened = session.wait(open()).await;
        if status(&opened) == Some(StatusCode::NoSuchFile) {
            self.root_exists(session, "write").await?;
            if let Some((directory, _name)) = name.rsplit_once('/') {
                let mode = self.modes(session).await?.directory;
                self.make_directories(session, "write", directory, mode).await?;
                opened = session.wait(open()).await;
            }
        }
        let file = self.checked(session, "write", name, opened).await?;
        let temporary = Temporary { session: Arc::clone(session), path: temporary };
        Ok((temporary, self.opened(session, "write", name, (file.handle, room))?))
    }

    /// A failed write, told apart from a full disk where the server can be asked.
    async fn write_failed(
        &self,
        session: &Arc<Session>,
        name: &str,
        path: &str,
        len: usize,
        error: Error,
    ) -> StoreError {
        if session.has.statvfs && status_of(&error) == Some(StatusCode::Failure) {
            let directory = path.rsplit_once('/').map_or(".", |(directory, _name)| directory);
            if let Ok(disk) = session.wait(session.raw.statvfs(directory)).await {
                let free = disk.fragment_size.saturating_mul(disk.blocks_avail);
                if disk.inodes_avail == 0 || free < len as u64 {
                    let why = "no space left on the server's disk";
                    return StoreError::new(Failure::NoSpace, "write", name, why);
                }
            }
        }
        self.connection.failed(session, "write", name, error).await
    }

    async fn replace(
        &self,
        session: &Arc<Session>,
        name: &str,
        temporary: Temporary,
        path: &str,
    ) -> Result<(), StoreError> {
        let renamed = if session.has.posix_rename {
            session.replace(&temporary.path, path).await
        } else {
            // There is a moment without the object, which a server without that extension cannot spare us.
            match session.wait(session.raw.remove(path)).await {
                Ok(_) => {}
                Err(error) if status_of(&error) == Some(StatusCode::NoSuchFile) => {}
                Err(error) => {
                    return Err(self.connection.failed(session, "write", name, error).await);
                }
            }
            session.wait(session.raw.rename(temporary.path.as_str(), path)).await.map(drop)
        };
        self.checked(session, "write", name, renamed).await?;
        temporary.renamed();
        Ok(())
    }

    async fn keep(
        &self,
        session: &Arc<Session>,
        name: &str,
        temporary: Temporary,
        path: &str,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let renamed = session.wait(session.raw.rename(temporary.path.as_str(), path)).await;
        let Err(error) = renamed else {
            temporary.renamed();
            return Ok(());
        };
        // Why a server refuses it does not say. One that knows no links cannot rename this way.
        match session.wait(session.raw.lstat(path)).await {
            Ok(_) => match self.holds(session, path, bytes).await {
                Ok(true) => {
                    temporary.discard().await;
                    Ok(())
                }
                Ok(false) => {
                    let why = "an object with other content has this name";
                    Err(StoreError::new(Failure::Permanent, "write", name, why))
                }
                Err(error) => Err(self.connection.failed(session, "write", name, error).await),
            },
            Err(Error::Status(missing))
                if missing.status_code == StatusCode::NoSuchFile
                    && status_of(&error) == Some(StatusCode::Failure)
                    && session.has.posix_rename =>
            {
                let renamed = session.replace(&temporary.path, path).await;
                self.checked(session, "write", name, renamed).await?;
                temporary.renamed();
                Ok(())
            }
            _ => self.checked(session, "write", name, Err(error)).await,
        }
    }

    /// Whether the file at `path` holds exactly `bytes`.
    async fn holds(&self, session: &Arc<Session>, path: &str, bytes: &[u8]) -> Result<bool, Error> {
        let nothing_asked = russh_sftp::protocol::FileAttributes::empty();
        let room = session.room().await;
        let opened = session.wait(session.raw.open(path, OpenFlags::READ, nothing_asked)).await?;
        let file = session.opened(opened.handle, room);
        // One byte more, which must not be there.
        let there = read_span(session, file.handle(), 0, bytes.len() as u64 + 1).await?;
        Ok(there == bytes)
    }
}

async fn write_all(session: &Arc<Session>, handle: &str, bytes: &[u8]) -> Result<(), Error> {
    let step = session.write_bytes;
    let mut pieces = bytes.chunks(step).zip((0_u64..).step_by(step));
    let mut sent = FuturesOrdered::new();
    loop {
        while sent.len() < (WRITE_AHEAD_BYTES / step).max(2)
            && let Some((piece, at)) = pieces.next()
        {
            sent.push_back(session.wait(session.raw.write(handle, at, piece.to_vec())));
        }
        match sent.next().await {
            Some(confirmed) => drop(confirmed?),
            None => return Ok(()),
        }
    }
}

impl Temporary {
    /// Removes it now. Where that fails it stays, foreign to every listing.
    async fn discard(mut self) {
        let path = std::mem::take(&mut self.path);
        drop(self.session.wait(self.session.raw.remove(path)).await);
    }

    /// The name is gone; there is nothing to remove.
    fn renamed(mut self) {
        self.path.clear();
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.path);
        let runtime = tokio::runtime::Handle::try_current();
        if let (false, Ok(runtime)) = (path.is_empty(), runtime) {
            let session = Arc::clone(&self.session);
            runtime.spawn(async move { drop(session.raw.remove(path).await) });
        }
    }
}
