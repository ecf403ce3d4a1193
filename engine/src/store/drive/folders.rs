//! Directories as folders: which folders a path leads to.
//!
//! Invariants
//! - Drive has several folders of one name side by side. All of them are the directory; what is made
//!   goes into the oldest.
//! - What is known of folders proves presence, never absence: before a directory is said to be
//!   missing, the service is asked anew.
//! - The folder that a location names is absent for nobody: the service says the same where it is
//!   only not shared.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use serde_json::json;

use super::wire::{Ask, Call, FIELDS, FOLDER, File, Wire, quoted, within};
use crate::store::{Failure, StoreError, location};

/// What is known of them.
#[derive(Debug)]
pub(super) struct Folders {
    root: String,
    /// From the root to the location.
    base: Vec<String>,
    /// By path from the root, the oldest first.
    known: Mutex<HashMap<String, Vec<String>>>,
    /// One is made at a time, else there would be several of one name.
    making: tokio::sync::Mutex<()>,
}

/// Folders that are made at once.
const PARALLEL: usize = 5;

impl Folders {
    pub(super) fn new(location: &location::Drive) -> Self {
        let base = location.path.split('/').filter(|name| !name.is_empty());
        Self {
            root: location.folder.clone(),
            base: base.map(str::to_owned).collect(),
            known: Mutex::default(),
            making: tokio::sync::Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Vec<String>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names from the root to a directory below the location.
    fn way<'a>(&'a self, directory: &'a str) -> Vec<&'a str> {
        let below = directory.split('/').filter(|name| !name.is_empty());
        self.base.iter().map(String::as_str).chain(below).collect()
    }

    /// Fails where the folder that the location names cannot be used.
    pub(super) async fn check_root(&self, wire: &Wire, call: Call<'_>) -> Result<(), StoreError> {
        let url = wire.files(&self.root, &[("fields", FIELDS)]);
        let refused =
            |failure, why: String| StoreError::new(failure, call.action, call.object, why);
        let root: File = match wire.told(call, Ask::get(url)).await {
            Err(error) if error.failure == Failure::NotFound => {
                let why = format!("the service shows this account no folder {}", self.root);
                let whom = wire.account().unwrap_or("the account that logs in");
                return Err(refused(Failure::Denied, why).advising(format!(
                    "share the folder with {whom}, or look at its id in the location"
                )));
            }
            answer => answer?,
        };
        if !root.is_folder() {
            let why = format!("{} is a file and no folder", self.root);
            return Err(refused(Failure::Permanent, why)
                .advising("use the last part of the folder's address in a browser"));
        }
        if root.trashed {
            let why = format!("the folder {} is in the trash", self.root);
            return Err(refused(Failure::Permanent, why).advising("take it out of there"));
        }
        Ok(())
    }

    /// What it means that a folder is not found that was there: perhaps that nobody may see it any
    /// more, and never that what was in it is gone.
    pub(super) async fn lost(&self, wire: &Wire, call: Call<'_>, error: StoreError) -> StoreError {
        if error.failure != Failure::NotFound {
            return error;
        }
        if let Err(error) = self.check_root(wire, call).await {
            return error;
        }
        let why = "a folder is gone that was there a moment ago";
        StoreError::new(Failure::Permanent, call.action, call.object, why).advising("run it again")
    }

    /// The folders of a directory below the location, as far as they are known.
    pub(super) fn remembered(&self, directory: &str) -> Option<Vec<String>> {
        match &self.way(directory)[..] {
            [] => Some(vec![self.root.clone()]),
            way => self.known().get(&way.join("/")).cloned(),
        }
    }

    /// The folders of a directory below the location, as the service has them now.
    pub(super) async fn find(
        &self,
        wire: &Wire,
        call: Call<'_>,
        directory: &str,
    ) -> Result<Option<Vec<String>>, StoreError> {
        let (mut ids, mut path) = (vec![self.root.clone()], String::new());
        for name in self.way(directory) {
            let mut below = self.below(wire, call, &ids, &path).await?;
            path = joined(&path, name);
            match below.remove(name) {
                Some(found) => ids = found,
                None => {
                    self.known().remove(&path);
                    return Ok(None);
                }
            }
        }
        Ok(Some(ids))
    }

    /// The folders in these, which are at `path`, by name.
    async fn below(
        &self,
        wire: &Wire,
        call: Call<'_>,
        ids: &[String],
        path: &str,
    ) -> Result<BTreeMap<String, Vec<String>>, StoreError> {
        let query = format!("{} and mimeType = {}", within(ids), quoted(FOLDER));
        let mut files = match wire.list_all(call, &query).await {
            Err(error) => return Err(self.lost(wire, call, error).await),
            files => files?,
        };
        files.sort_by(|a, b| a.age().cmp(&b.age()));
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for file in files.into_iter().filter(File::is_folder) {
            found.entry(file.name).or_default().push(file.id);
        }
        let mut known = self.known();
        for (name, ids) in &found {
            known.insert(joined(path, name), ids.clone());
        }
        drop(known);
        Ok(found)
    }

    /// The folders of a directory, which is made where it is missing. The location itself is not.
    pub(super) async fn make(
        &self,
        wire: &Wire,
        call: Call<'_>,
        directory: &str,
    ) -> Result<Vec<String>, StoreError> {
        if let Some(ids) = self.remembered(directory) {
            return Ok(ids);
        }
        let _one_at_a_time = self.making.lock().await;
        if let Some(ids) = self.remembered(directory) {
            return Ok(ids);
        }
        let Some(mut ids) = self.find(wire, call, "").await? else {
            return Err(missing(call));
        };
        let mut path = String::new();
        for name in directory.split('/').filter(|name| !name.is_empty()) {
            let mut below = self.below(wire, call, &ids, &self.way(&path).join("/")).await?;
            path = joined(&path, name);
            ids = match below.remove(name) {
                Some(found) => found,
                None => vec![self.add(wire, call, &ids[0], &path).await?],
            };
        }
        Ok(ids)
    }

    /// Makes the location and these directories in it, as far as they are missing.
    pub(super) async fn create(
        &self,
        wire: &Wire,
        call: Call<'_>,
        directories: &[String],
    ) -> Result<(), StoreError> {
        let _one_at_a_time = self.making.lock().await;
        let (mut ids, mut path) = (vec![self.root.clone()], String::new());
        for name in &self.base {
            let mut below = self.below(wire, call, &ids, &path).await?;
            path = joined(&path, name);
            ids = match below.remove(name) {
                Some(found) => found,
                None => vec![self.add_at(wire, call, &ids[0], &path).await?],
            };
        }
        // Parents are listed before what is in them, and are few.
        let (children, parents): (Vec<_>, Vec<_>) =
            directories.iter().map(String::as_str).partition(|path| path.contains('/'));
        self.fill(wire, call, "", &parents).await?;
        for parent in &parents {
            let below = |path: &&str| path.rsplit_once('/').is_some_and(|(at, _)| at == *parent);
            let children: Vec<_> = children.iter().copied().filter(below).collect();
            if !children.is_empty() {
                self.fill(wire, call, parent, &children).await?;
            }
        }
        Ok(())
    }

    /// Makes those of these directories that are missing in `parent`.
    async fn fill(
        &self,
        wire: &Wire,
        call: Call<'_>,
        parent: &str,
        directories: &[&str],
    ) -> Result<(), StoreError> {
        let ids = self.remembered(parent).ok_or_else(|| missing(call))?;
        let there = self.below(wire, call, &ids, &self.way(parent).join("/")).await?;
        let name = |path: &str| path.rsplit_once('/').map_or(path, |(_at, name)| name).to_owned();
        let mut wanted = directories.iter().filter(|path| !there.contains_key(&name(path)));
        let mut made = FuturesUnordered::new();
        loop {
            while made.len() < PARALLEL
                && let Some(path) = wanted.next()
            {
                made.push(self.add(wire, call, &ids[0], path));
            }
            let Some(result) = made.next().await else { return Ok(()) };
            result?;
        }
    }

    /// Makes one below the location.
    async fn add(
        &self,
        wire: &Wire,
        call: Call<'_>,
        parent: &str,
        directory: &str,
    ) -> Result<String, StoreError> {
        self.add_at(wire, call, parent, &self.way(directory).join("/")).await
    }

    /// Makes one at a path from the root.
    async fn add_at(
        &self,
        wire: &Wire,
        call: Call<'_>,
        parent: &str,
        path: &str,
    ) -> Result<String, StoreError> {
        let name = path.rsplit_once('/').map_or(path, |(_at, name)| name);
        let body = json!({ "name": name, "mimeType": FOLDER, "parents": [parent] });
        let ask = Ask::post(wire.files("", &[("fields", FIELDS)])).json(&body);
        let made: File = wire.told(call, ask).await?;
        self.known().insert(path.to_owned(), vec![made.id.clone()]);
        Ok(made.id)
    }

    /// Lets go of what is known of a directory that has turned out otherwise.
    pub(super) fn forget(&self, directory: &str) {
        let path = self.way(directory).join("/");
        self.known().retain(|known, _| !(path.starts_with(known) || known.starts_with(&path)));
    }
}

/// The location is not there, although the folder is that it begins with.
pub(super) fn missing(call: Call<'_>) -> StoreError {
    let why = "there is no such directory in the folder";
    StoreError::new(Failure::NotFound, call.action, call.object, why)
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}
