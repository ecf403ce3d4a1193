//! What was seen of files: their ids by name, and what this process changed that lists may not show
//! yet.
//!
//! Invariants: an id leads to a request, whose answer counts; nothing is said to be there or missing
//! by what is kept here.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use tokio::time::Instant;

use super::wire::File;
use crate::store::remote::Stat;

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) id: String,
    pub(super) stat: Stat,
}

#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    files: HashMap<String, Known>,
    /// Names of what was stored and was in no list yet, and since when.
    fresh: HashMap<String, Instant>,
    /// Ids of what was removed.
    gone: HashSet<String>,
    /// What was sent, and not yet looked at whether it is the only one of its name.
    unsure: HashMap<String, File>,
}

/// As many as are worth their memory; others are asked for by name.
const MOST_FILES: usize = 20_000;
/// No list is later than that.
const LATE: Duration = Duration::from_mins(10);

impl Known {
    pub(super) fn of(file: &File) -> Self {
        let stored_bytes = file.size.as_deref().and_then(|size| size.parse().ok()).unwrap_or(0);
        let modified = file.modified_time.parse::<Timestamp>().ok();
        let modified = modified.map_or(SystemTime::UNIX_EPOCH, SystemTime::from);
        Self { id: file.id.clone(), stat: Stat { stored_bytes, modified } }
    }
}

impl Seen {
    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, name: &str) -> Option<Known> {
        self.all().files.get(name).cloned()
    }

    /// A file came in an answer.
    pub(super) fn add(&self, name: &str, known: &Known) {
        let mut all = self.all();
        all.make_room();
        all.files.insert(name.to_owned(), known.clone());
    }

    /// A file was stored.
    pub(super) fn stored(&self, name: &str, known: &Known) {
        self.add(name, known);
        self.all().fresh.insert(name.to_owned(), Instant::now());
    }

    /// A file came in a list; false for what was removed.
    pub(super) fn listed(&self, name: &str, known: &Known) -> bool {
        let mut all = self.all();
        if all.gone.contains(&known.id) {
            return false;
        }
        match all.files.get(name) {
            // The oldest comes first.
            Some(first) if first.id != known.id => {}
            Some(_the_same) => drop(all.fresh.remove(name)),
            None => {
                all.make_room();
                all.files.insert(name.to_owned(), known.clone());
            }
        }
        true
    }

    pub(super) fn is_gone(&self, id: &str) -> bool {
        self.all().gone.contains(id)
    }

    /// What was stored, has a name that begins so, and was in no list yet.
    pub(super) fn unlisted(&self, prefix: &str) -> Vec<(String, Known)> {
        let all = self.all();
        let fresh = all.fresh.keys().filter(|name| name.starts_with(prefix));
        fresh.filter_map(|name| Some((name.clone(), all.files.get(name)?.clone()))).collect()
    }

    /// A file was sent. Until it is known to be the only one of its name, the next attempt need not
    /// send it again.
    pub(super) fn sent(&self, name: &str, file: &File) {
        self.all().unsure.insert(name.to_owned(), file.clone());
    }

    /// What was sent under this name by an attempt that did not come to its end.
    pub(super) fn unsure(&self, name: &str) -> Option<File> {
        self.all().unsure.get(name).cloned()
    }

    /// It is known what became of what was sent.
    pub(super) fn settled(&self, name: &str) {
        self.all().unsure.remove(name);
    }

    /// A file is not there any more, or not what it was.
    pub(super) fn lose(&self, name: &str) {
        let mut all = self.all();
        all.files.remove(name);
        all.fresh.remove(name);
    }

    /// A file was removed.
    pub(super) fn removed(&self, name: &str, id: &str) {
        self.lose(name);
        self.all().gone.insert(id.to_owned());
    }
}

impl All {
    fn make_room(&mut self) {
        if self.files.len() >= MOST_FILES {
            let Self { files, fresh, .. } = self;
            fresh.retain(|_, since| since.elapsed() < LATE);
            files.retain(|name, _| fresh.contains_key(name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(id: &str) -> Known {
        let stat = Stat { stored_bytes: 1, modified: SystemTime::UNIX_EPOCH };
        Known { id: id.to_owned(), stat }
    }

    #[test]
    fn what_was_stored_is_looked_after_until_a_list_shows_it() {
        let seen = Seen::default();
        seen.stored("keys/a", &known("1"));
        seen.stored("locks/b", &known("2"));
        assert_eq!(seen.unlisted("keys/"), [("keys/a".to_owned(), known("1"))]);
        assert!(seen.listed("keys/a", &known("other")), "of somebody else");
        assert_eq!(seen.unlisted("").len(), 2);
        assert!(seen.listed("keys/a", &known("1")));
        assert_eq!(seen.unlisted(""), [("locks/b".to_owned(), known("2"))]);
        seen.removed("locks/b", "2");
        assert_eq!(seen.unlisted(""), []);
        assert!(!seen.listed("locks/b", &known("2")), "a list may be late");
        assert!(seen.get("locks/b").is_none() && seen.is_gone("2"));
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_was_stored_stays() {
        let seen = Seen::default();
        seen.stored("ours", &known("1"));
        for number in 0..MOST_FILES {
            seen.add(&format!("data/{number}"), &known("x"));
        }
        assert!(seen.all().files.len() < MOST_FILES);
        assert!(seen.get("ours").is_some());
    }
}
