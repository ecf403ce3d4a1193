//! A directory behind WebDAV, through one library.
//!
//! Invariants
//! - An object is put under a temporary name and renamed: nobody sees half of it. The rename does
//!   not replace an object unless it is meant to.
//! - "Not found" is absence only below a location that is there.
//! - Requests go over this store's own transport; the library never tries again by itself.
//!
//! Not here: what the library's requests look like.

mod refusal;
mod wire;

use std::{fmt::Display, sync::Arc, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use http::{HeaderValue, StatusCode, Uri};
use opendal_core::{Error, ErrorKind, HttpTransporter, Metadata, OperationContext, Operator};
use opendal_service_webdav::Webdav;
use percent_encoding::percent_decode_str;
use tokio::{runtime::Handle, sync::OnceCell};
use url::Url;

use self::{refusal::failed, wire::Wire};
use super::{
    Existing, Failure, Range, StoreError,
    http::{authorization, seen},
    layout::TEMPORARY_MARK,
    limit::Limiter,
    location,
    remote::{Page, PutRules, Remote, Row, Stat, Traits, could_hold},
    settings::StoreSettings,
    trace::Observer,
};
use crate::entropy::name_suffix;

/// A directory on a server.
#[derive(Debug)]
pub struct WebDav {
    name: String,
    url: Url,
    /// The location below its host; ends with a slash unless it is empty.
    root: String,
    operator: Operator,
    wire: Wire,
    /// Whether the location has been seen. Some servers make it with the first file in it.
    is_there: OnceCell<()>,
}

/// Requests at once.
const CONNECTIONS: usize = 5;
/// Directories that are made or listed at once.
const PARALLEL_DIRECTORIES: usize = 8;
/// The top of a host, which is there if the host is.
const TOP: &str = "/";

impl WebDav {
    /// The directory at `location`.
    pub fn new(
        location: &location::WebDav,
        settings: &StoreSettings,
        limiter: &Arc<Limiter>,
        observer: &Observer,
    ) -> Result<Self, StoreError> {
        let name = location.to_string();
        let refused = |why: &dyn Display| {
            StoreError::new(Failure::Permanent, "open", name.as_str(), why.to_string())
        };
        let login = location.login.as_ref().or(settings.webdav.login.as_ref());
        let login = login.map(authorization).transpose().map_err(|why| refused(&why))?;
        let wire = Wire::new(settings, login, limiter, observer)
            .map_err(|error| error.on("open", name.as_str()))?;
        let url = location.url.clone();
        // The library takes its own root for granted, so that is the host and not the location.
        let origin = url.join(TOP).map_err(|error| refused(&error))?;
        let root = percent_decode_str(url.path()).decode_utf8_lossy();
        let root = root.trim_start_matches('/').to_owned();
        let builder = Webdav::default()
            .endpoint(origin.as_str().trim_end_matches('/'))
            // Directories are made when one is missing, not looked for before each object.
            .disable_create_dir(true);
        let operator = Operator::new(builder).map_err(|error| refused(&error))?;
        let transport = HttpTransporter::new(wire.clone());
        let operator =
            operator.with_context(OperationContext::new().with_http_transport(transport));
        Ok(Self { name, url, root, operator, wire, is_there: OnceCell::new() })
    }

    /// A path below the location, as the library knows it.
    fn below(&self, path: &str) -> String {
        match format!("{}{path}", self.root) {
            top if top.is_empty() => TOP.to_owned(),
            path => path,
        }
    }

    /// Asks the server once.
    async fn ask<T>(
        &self,
        action: &'static str,
        name: &str,
        call: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, StoreError> {
        let (answer, seen) = seen(call).await;
        answer.map_err(|error| failed(action, name, error, seen))
    }

    /// An answer about an object; where the whole location is missing the error says so.
    async fn about<T: Send>(
        &self,
        action: &'static str,
        name: &str,
        call: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, StoreError> {
        match self.ask(action, name, call).await {
            Err(error) if error.failure == Failure::NotFound => {
                self.root_exists(action).await?;
                Err(error)
            }
            result => result,
        }
    }

    /// Fails where the location itself is not there.
    async fn root_exists(&self, action: &'static str) -> Result<(), StoreError> {
        self.ask(action, &self.name, self.operator.stat(&self.below(""))).await.map(drop)
    }

    async fn directory(&self, prefix: &str, path: String) -> Result<Found, StoreError> {
        let slash = if path.is_empty() { "" } else { "/" };
        let asked = self.below(&format!("{path}{slash}"));
        let entries = self.ask("list", &path, self.operator.list(&asked)).await?;
        let mut found = Found::default();
        for entry in entries {
            let (below, metadata) = entry.into_parts();
            let below = below.trim_start_matches('/').strip_prefix(&self.root);
            let Some(name) = below.map(|name| name.trim_matches('/')) else { continue };
            // A directory is listed as part of itself.
            if name.is_empty() || name == path {
                continue;
            }
            if metadata.is_dir() {
                if could_hold(name, prefix) {
                    found.directories.push(name.to_owned());
                }
            } else if name.starts_with(prefix) {
                let Stat { stored_bytes, modified } = object(&metadata);
                found.rows.push(Row { name: name.to_owned(), stored_bytes, modified });
            }
        }
        Ok(found)
    }

    /// Writes a file under a temporary name.
    async fn write(&self, temporary: &str, bytes: &Bytes) -> Result<(), StoreError> {
        let path = self.below(temporary);
        let write = || self.operator.write(&path, bytes.clone());
        let error = match self.ask("write", temporary, write()).await {
            Ok(_written) => return Ok(()),
            Err(error) => error,
        };
        // Servers have several words for a directory that is missing.
        if !matches!(error.failure, Failure::NotFound | Failure::Permanent) {
            return Err(error);
        }
        self.root_exists("write").await?;
        let Some((directory, _name)) = temporary.rsplit_once('/') else { return Err(error) };
        let directory = self.below(&format!("{directory}/"));
        if self.ask("write", &directory, self.operator.create_dir(&directory)).await.is_err() {
            // The first refusal says more.
            return Err(error);
        }
        self.ask("write", temporary, write()).await.map(drop)
    }

    /// Renames a file; false where something has that name already and is kept.
    async fn rename(&self, from: &str, to: &str, existing: Existing) -> Result<bool, StoreError> {
        let at = |name: &str| {
            self.url.join(name).map_err(|error| {
                StoreError::new(Failure::Permanent, "write", name, error.to_string())
            })
        };
        let unusable = |error: &dyn Display| {
            StoreError::new(Failure::Permanent, "write", to, error.to_string())
        };
        let source: Uri = at(from)?.as_str().parse().map_err(|error| unusable(&error))?;
        let target = HeaderValue::try_from(at(to)?.as_str()).map_err(|error| unusable(&error))?;
        let overwrite = if existing == Existing::Keep { "F" } else { "T" };
        let call = async {
            match self.wire.rename(source, target, overwrite).await? {
                status if status.is_success() => Ok(true),
                StatusCode::PRECONDITION_FAILED if existing == Existing::Keep => Ok(false),
                _ => Err(Error::new(ErrorKind::Unexpected, "not renamed")),
            }
        };
        self.about("write", to, call).await
    }
}

/// What one directory holds.
#[derive(Debug, Default)]
struct Found {
    rows: Vec<Row>,
    directories: Vec<String>,
}

/// A file under a temporary name, removed when this is dropped.
struct Temporary {
    operator: Operator,
    name: Option<String>,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let (Some(name), Ok(runtime)) = (self.name.take(), Handle::try_current()) {
            let operator = self.operator.clone();
            // What stays is foreign to every listing.
            runtime.spawn(async move { drop(operator.delete(&name).await) });
        }
    }
}

fn object(metadata: &Metadata) -> Stat {
    let modified = metadata.last_modified().map_or(SystemTime::UNIX_EPOCH, SystemTime::from);
    Stat { stored_bytes: metadata.content_length(), modified }
}

#[async_trait]
impl Remote for WebDav {
    fn location(&self) -> String {
        self.name.clone()
    }

    fn traits(&self) -> Traits {
        Traits { connections: CONNECTIONS, flaky: false, limits_itself: true }
    }

    async fn create(&self, directories: &[String]) -> Result<(), StoreError> {
        self.ask("create", &self.name, self.operator.create_dir(&self.below(""))).await?;
        // Parents are listed before what is in them, and are few.
        let (children, parents): (Vec<_>, Vec<_>) =
            directories.iter().partition(|directory| directory.contains('/'));
        for level in [parents, children] {
            let mut level = level.into_iter().map(|directory| format!("{directory}/"));
            let mut made = FuturesUnordered::new();
            loop {
                while made.len() < PARALLEL_DIRECTORIES
                    && let Some(path) = level.next()
                {
                    made.push(async move {
                        let full = self.below(&path);
                        self.ask("create", &path, self.operator.create_dir(&full)).await
                    });
                }
                let Some(result) = made.next().await else { break };
                result?;
            }
        }
        Ok(())
    }

    async fn page(&self, prefix: &str, _only_one: Option<String>) -> Result<Page, StoreError> {
        // The library takes a missing directory for an empty one.
        self.root_exists("list").await?;
        let mut rows = Vec::new();
        let mut pending = vec![String::new()];
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < PARALLEL_DIRECTORIES
                && let Some(path) = pending.pop()
            {
                running.push(self.directory(prefix, path));
            }
            let Some(found) = running.next().await else { return Ok(Page { rows, next: None }) };
            let found = found?;
            rows.extend(found.rows);
            pending.extend(found.directories);
        }
    }

    async fn stat(&self, name: &str) -> Result<Stat, StoreError> {
        let metadata = self.about("stat", name, self.operator.stat(&self.below(name))).await?;
        if metadata.is_dir() {
            return Err(StoreError::new(Failure::Permanent, "stat", name, "not a file"));
        }
        Ok(object(&metadata))
    }

    async fn read(&self, name: &str, range: Range) -> Result<Bytes, StoreError> {
        let path = self.below(name);
        let (start, end) = match range {
            Range::All => {
                let read = self.about("read", name, self.operator.read(&path)).await?;
                return Ok(read.to_bytes());
            }
            Range::At { start, len } => (start, start.saturating_add(len)),
            Range::Last { .. } => match range.within(self.stat(name).await?.stored_bytes) {
                Some((start, end)) if start < end => (start, end),
                _ => return Ok(Bytes::new()),
            },
        };
        let call = async { self.operator.read_with(&path).range(start..end).await };
        let read = match self.about("read", name, call).await {
            Ok(read) => read.to_bytes(),
            // The library has no word for an object that is too short.
            Err(error) if error.failure == Failure::Permanent => {
                return match self.stat(name).await.map(|stat| stat.stored_bytes) {
                    Ok(size) if range.within(size).is_none() => {
                        let why = format!("the object has {size} bytes, too few for {range:?}");
                        Err(StoreError::new(Failure::Short, "read", name, why))
                    }
                    _ => Err(error),
                };
            }
            Err(error) => return Err(error),
        };
        if read.len() as u64 > end - start {
            let why = "the server answered with more bytes than were asked for";
            return Err(StoreError::new(Failure::Permanent, "read", name, why));
        }
        Ok(read)
    }

    async fn put(&self, name: &str, bytes: Bytes, rules: PutRules) -> Result<(), StoreError> {
        self.is_there.get_or_try_init(|| self.root_exists("write")).await?;
        let random = name_suffix()
            .map_err(|error| StoreError::new(Failure::Permanent, "write", name, error))?;
        let path = format!("{name}{TEMPORARY_MARK}{random:016x}");
        let mut temporary =
            Temporary { operator: self.operator.clone(), name: Some(self.below(&path)) };
        self.write(&path, &bytes).await?;
        if self.rename(&path, name, rules.existing).await? {
            temporary.name = None;
            return Ok(());
        }
        if self.read(name, Range::All).await? == bytes {
            return Ok(());
        }
        let why = "an object with other content has this name";
        Err(StoreError::new(Failure::Permanent, "write", name, why))
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.about("delete", name, self.operator.delete(&self.below(name))).await
    }
}
