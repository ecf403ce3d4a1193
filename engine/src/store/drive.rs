//! A folder in Google Drive: objects as files, directories as folders.
//!
//! Drive knows files by ids. Names are no more than something to search for, and several files may
//! have one.
//!
//! Invariants
//! - Of several files of one name the oldest is the object; whoever puts looks afterwards, and takes
//!   back what is not the oldest. A name is removed with all files that have it.
//! - "Not found" is said of an object only where the service lists the folders that it would be in,
//!   and of a directory only where the folder above lists none.
//! - What this process stored is in its own lists, what it removed is not, however late the service's
//!   lists are.
//!
//! Not here: documents of Google's own, which are foreign; several accounts.

mod folders;
mod login;
mod refusal;
mod seen;
mod upload;
mod wire;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use http::{HeaderValue, header::RANGE};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::OnceCell;

use self::{
    folders::{Folders, missing},
    seen::{Known, Seen},
    upload::{Goal, holds, upload},
    wire::{Ask, Call, FIELDS, File, Wire, quoted, within},
};
use super::{
    Existing, Failure, Range, StoreError,
    limit::Limiter,
    location,
    remote::{Page, PutRules, Remote, Row, Stat, Traits, could_hold},
    settings::StoreSettings,
    trace::Observer,
};
use crate::clock::Clock;

/// A folder.
pub struct Drive {
    name: String,
    wire: Wire,
    folders: Folders,
    seen: Seen,
    /// Whether the location has been seen.
    is_there: OnceCell<()>,
}

/// Requests at once.
const CONNECTIONS: usize = 5;
/// How often one file of a name may vanish before another while it is read.
const MOST_TWINS: usize = 4;
/// Folders that are listed at once.
const PARALLEL_FOLDERS: usize = 8;

/// A folder to be listed, or the rest of it. Some of them are where a listing goes on.
#[derive(Debug, Deserialize, Serialize)]
struct Pending {
    path: String,
    id: String,
    page: Option<String>,
}

/// What a part of one folder's list holds.
#[derive(Debug, Default)]
struct Found {
    rows: Vec<Row>,
    pending: Vec<Pending>,
}

impl Drive {
    /// Asks nothing of the service yet.
    pub fn new(
        location: &location::Drive,
        settings: &StoreSettings,
        limiter: &Arc<Limiter>,
        observer: &Observer,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let name = location.to_string();
        let wire = Wire::new(&name, settings, limiter, observer, clock)?;
        let folders = Folders::new(location);
        Ok(Self { name, wire, folders, seen: Seen::default(), is_there: OnceCell::new() })
    }

    /// Fails where the location is not there, or cannot be told to be.
    async fn exists(&self, action: &'static str) -> Result<(), StoreError> {
        let look = || async {
            let call = Call { action, object: &self.name };
            self.folders.check_root(&self.wire, call).await?;
            match self.folders.find(&self.wire, call, "").await? {
                Some(_folders) => Ok(()),
                None => Err(missing(call)),
            }
        };
        self.is_there.get_or_try_init(look).await.map(drop)
    }

    /// All files of a name in these folders, the oldest first.
    async fn twins(
        &self,
        call: Call<'_>,
        name: &str,
        folders: &[String],
    ) -> Result<Vec<File>, StoreError> {
        let (_directory, leaf) = split(name);
        let query = format!("name = {} and {}", quoted(leaf), within(folders));
        let mut files = self.wire.list_all(call, &query).await?;
        // The service may take other letters for the same.
        files
            .retain(|file| file.name == leaf && !file.is_foreign() && !self.seen.is_gone(&file.id));
        files.sort_by(|a, b| a.age().cmp(&b.age()));
        Ok(files)
    }

    /// All files that have the name of an object, as the service finds them now, the oldest first.
    async fn files(&self, call: Call<'_>, name: &str) -> Result<Vec<File>, StoreError> {
        self.exists(call.action).await?;
        let (directory, _leaf) = split(name);
        let mut looked_in = None;
        if let Some(folders) = self.folders.remembered(directory) {
            match self.twins(call, name, &folders).await {
                Ok(files) if !files.is_empty() => return Ok(files),
                Ok(_none) => looked_in = Some(folders),
                // A folder of those may be gone, and another in its place.
                Err(error) if error.failure == Failure::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let files = match self.folders.find(&self.wire, call, directory).await? {
            None => Vec::new(),
            Some(folders) if Some(&folders) == looked_in.as_ref() => Vec::new(),
            Some(folders) => match self.twins(call, name, &folders).await {
                Err(error) => return Err(self.folders.lost(&self.wire, call, error).await),
                files => files?,
            },
        };
        match self.seen.get(name) {
            // The service's search may be behind of what was stored.
            Some(known) if files.is_empty() => {
                Ok(self.by_id(call, &known.id).await?.into_iter().collect())
            }
            _ => Ok(files),
        }
    }

    /// A file that was seen, if it is still there.
    async fn by_id(&self, call: Call<'_>, id: &str) -> Result<Option<File>, StoreError> {
        let ask = Ask::get(self.wire.files(id, &[("fields", FIELDS)]));
        match self.wire.told::<File>(call, ask).await {
            Ok(file) => Ok(Some(file).filter(|file| !file.trashed)),
            Err(error) if error.failure == Failure::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The object of a name.
    async fn find(&self, call: Call<'_>, name: &str) -> Result<Known, StoreError> {
        match self.files(call, name).await?.first() {
            Some(file) => {
                let known = Known::of(file);
                self.seen.add(name, &known);
                Ok(known)
            }
            None => {
                self.seen.lose(name);
                Err(absent(call))
            }
        }
    }

    /// Bytes of a file.
    async fn bytes(
        &self,
        call: Call<'_>,
        known: &Known,
        range: Range,
    ) -> Result<Bytes, StoreError> {
        let size = known.stat.stored_bytes;
        let url = self.wire.files(&known.id, &[("alt", "media")]);
        let (start, end) = match range {
            Range::All => return Ok(self.wire.ask(call, Ask::get(url)).await?.1),
            Range::At { start, len } => (start, start.saturating_add(len)),
            Range::Last { .. } => match range.within(size) {
                Some((start, end)) if start < end => (start, end),
                _ => return Ok(Bytes::new()),
            },
        };
        let wanted = HeaderValue::try_from(format!("bytes={start}-{}", end - 1));
        let wanted = wanted.map_err(|error| {
            StoreError::new(Failure::Permanent, call.action, call.object, error)
        })?;
        let (_head, bytes) = self.wire.ask(call, Ask::get(url).with(RANGE, wanted)).await?;
        if bytes.len() as u64 > end - start {
            let why = "the service answered with more bytes than were asked for";
            return Err(StoreError::new(Failure::Permanent, call.action, call.object, why));
        }
        Ok(bytes)
    }

    /// A part of a folder's list.
    async fn part(&self, prefix: &str, pending: Pending) -> Result<Found, StoreError> {
        let Pending { path, id, page } = pending;
        let call =
            Call { action: "list", object: if path.is_empty() { &self.name } else { &path } };
        let query = within(std::slice::from_ref(&id));
        let mut part = match self.wire.list(call, &query, page.as_deref()).await {
            Err(error) => return Err(self.folders.lost(&self.wire, call, error).await),
            part => part?,
        };
        part.files.sort_by(|a, b| a.age().cmp(&b.age()));
        let mut found = Found::default();
        for file in part.files {
            let name = match path.as_str() {
                "" => file.name.clone(),
                path => format!("{path}/{}", file.name),
            };
            if file.is_folder() {
                if could_hold(&name, prefix) {
                    found.pending.push(Pending { path: name, id: file.id, page: None });
                }
            } else if name.starts_with(prefix) && !file.is_foreign() {
                let known = Known::of(&file);
                if self.seen.listed(&name, &known) {
                    let Stat { stored_bytes, modified } = known.stat;
                    found.rows.push(Row { name, stored_bytes, modified });
                }
            }
        }
        if let Some(page) = part.next_page_token {
            found.pending.push(Pending { path, id, page: Some(page) });
        }
        Ok(found)
    }

    /// Where a listing begins: the folders of the deepest directory that the prefix names whole.
    async fn beginning(&self, prefix: &str) -> Result<Vec<Pending>, StoreError> {
        self.exists("list").await?;
        let call = Call { action: "list", object: &self.name };
        let (directory, _leaf) = split(prefix);
        let folders = self.folders.find(&self.wire, call, directory).await?;
        if folders.is_none() && directory.is_empty() {
            return Err(missing(call));
        }
        let pending = |id| Pending { path: directory.to_owned(), id, page: None };
        Ok(folders.unwrap_or_default().into_iter().map(pending).collect())
    }

    /// What was stored and is there, although the service's lists do not show it yet.
    async fn unlisted(&self, prefix: &str) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::new();
        for (name, known) in self.seen.unlisted(prefix) {
            let call = Call { action: "list", object: &name };
            match self.by_id(call, &known.id).await? {
                Some(_file) => {
                    let Stat { stored_bytes, modified } = known.stat;
                    rows.push(Row { name, stored_bytes, modified });
                }
                None => self.seen.lose(&name),
            }
        }
        Ok(rows)
    }

    /// Stores a new file and makes sure that it is the only one of its name.
    async fn add(&self, call: Call<'_>, name: &str, bytes: &Bytes) -> Result<(), StoreError> {
        let ours = self.send(call, name, bytes).await?;
        let (directory, _leaf) = split(name);
        let folders = self.folders.make(&self.wire, call, directory).await?;
        let twins = match self.twins(call, name, &folders).await {
            Err(error) => return Err(self.folders.lost(&self.wire, call, error).await),
            twins => twins?,
        };
        let Some(first) = twins.first().filter(|first| first.age() < ours.age()) else {
            self.seen.settled(name);
            self.seen.stored(name, &Known::of(&ours));
            return Ok(());
        };
        let taken_back = match self.remove(call, &ours.id).await {
            Err(error) if error.failure == Failure::NotFound => Ok(()),
            result => result,
        };
        let is_stored = holds(first, bytes);
        match taken_back {
            Err(error) if error.failure.may_pass() || !is_stored => return Err(error),
            // Where it may not be removed, two files of one content are no harm.
            _ => self.seen.settled(name),
        }
        if is_stored {
            self.seen.add(name, &Known::of(first));
            return Ok(());
        }
        let why = "an object with other content has this name";
        Err(StoreError::new(Failure::Permanent, call.action, call.object, why))
    }

    /// Sends a new file, unless an attempt before has done so.
    async fn send(&self, call: Call<'_>, name: &str, bytes: &Bytes) -> Result<File, StoreError> {
        if let Some(sent) = self.seen.unsure(name).filter(|sent| holds(sent, bytes))
            && let Some(sent) = self.by_id(call, &sent.id).await?
        {
            return Ok(sent);
        }
        let (directory, leaf) = split(name);
        let folders = self.folders.make(&self.wire, call, directory).await?;
        let goal = Goal::New { name: leaf, folder: &folders[0] };
        let sent = match upload(&self.wire, call, goal, bytes).await {
            // The folder is gone that there was.
            Err(error) if error.failure == Failure::NotFound => {
                self.folders.forget(directory);
                let folders = self.folders.make(&self.wire, call, directory).await?;
                let goal = Goal::New { name: leaf, folder: &folders[0] };
                match upload(&self.wire, call, goal, bytes).await {
                    Err(error) => return Err(self.folders.lost(&self.wire, call, error).await),
                    sent => sent?,
                }
            }
            sent => sent?,
        };
        self.seen.sent(name, &sent);
        Ok(sent)
    }

    /// Removes a file for good, or into the trash where no more is allowed.
    async fn remove(&self, call: Call<'_>, id: &str) -> Result<(), StoreError> {
        let url = self.wire.files(id, &[]);
        match self.wire.ask(call, Ask::delete(url.clone())).await {
            Ok(_nothing) => Ok(()),
            Err(error) if error.failure == Failure::Denied => {
                let trash = Ask::patch(url).json(&json!({ "trashed": true }));
                // The first refusal says more.
                self.wire.ask(call, trash).await.map(drop).map_err(|_also_refused| error)
            }
            Err(error) => Err(error),
        }
    }
}

/// The directory and the last part of a name.
fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('/').unwrap_or(("", name))
}

fn absent(call: Call<'_>) -> StoreError {
    let why = "the service does not have it";
    StoreError::new(Failure::NotFound, call.action, call.object, why)
}

impl fmt::Debug for Drive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Drive({})", self.name)
    }
}

#[async_trait]
impl Remote for Drive {
    fn location(&self) -> String {
        self.name.clone()
    }

    fn traits(&self) -> Traits {
        Traits { connections: CONNECTIONS, flaky: false, limits_itself: true }
    }

    async fn create(&self, directories: &[String]) -> Result<(), StoreError> {
        let call = Call { action: "create", object: &self.name };
        self.folders.check_root(&self.wire, call).await?;
        self.folders.create(&self.wire, call, directories).await
    }

    async fn page(&self, prefix: &str, next: Option<String>) -> Result<Page, StoreError> {
        let mut pending = match next {
            None => self.beginning(prefix).await?,
            Some(rest) => serde_json::from_str(&rest).map_err(|error| {
                StoreError::new(Failure::Permanent, "list", self.name.as_str(), error)
            })?,
        };
        let later = pending.split_off(pending.len().min(PARALLEL_FOLDERS));
        let mut rows = Vec::new();
        let mut running: FuturesUnordered<_> =
            pending.into_iter().map(|folder| self.part(prefix, folder)).collect();
        let mut rest = later;
        while let Some(found) = running.next().await {
            let found = found?;
            rows.extend(found.rows);
            rest.extend(found.pending);
        }
        if rest.is_empty() {
            rows.extend(self.unlisted(prefix).await?);
            return Ok(Page { rows, next: None });
        }
        let next = serde_json::to_string(&rest).map_err(|error| {
            StoreError::new(Failure::Permanent, "list", self.name.as_str(), error)
        })?;
        Ok(Page { rows, next: Some(next) })
    }

    async fn stat(&self, name: &str) -> Result<Stat, StoreError> {
        Ok(self.find(Call { action: "stat", object: name }, name).await?.stat)
    }

    async fn read(&self, name: &str, range: Range) -> Result<Bytes, StoreError> {
        let call = Call { action: "read", object: name };
        // One that was found may have been a twin of what is still there.
        for _ in 0..MOST_TWINS {
            let known = match self.seen.get(name) {
                Some(known) => known,
                None => self.find(call, name).await?,
            };
            match self.bytes(call, &known, range).await {
                Err(error) if error.failure == Failure::NotFound => self.seen.lose(name),
                answer => return answer,
            }
        }
        let why = "the service lists the object and does not have it";
        Err(StoreError::new(Failure::Transient, call.action, call.object, why))
    }

    async fn put(&self, name: &str, bytes: Bytes, rules: PutRules) -> Result<(), StoreError> {
        let call = Call { action: "write", object: name };
        self.exists(call.action).await?;
        if rules.existing == Existing::Replace
            && let Some(first) = self.files(call, name).await?.first()
        {
            let file = upload(&self.wire, call, Goal::Known(&first.id), &bytes).await?;
            self.seen.add(name, &Known::of(&file));
            return Ok(());
        }
        self.add(call, name, &bytes).await
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        let call = Call { action: "delete", object: name };
        let files = self.files(call, name).await?;
        let mut were_there = false;
        for file in files {
            match self.remove(call, &file.id).await {
                Ok(()) => were_there = true,
                Err(error) if error.failure == Failure::NotFound => {}
                Err(error) => return Err(error),
            }
            self.seen.removed(name, &file.id);
        }
        if were_there { Ok(()) } else { Err(absent(call)) }
    }
}
