//! Snapshots that belong together.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Snapshot;
use crate::failure::Failure;

/// What snapshots of a group have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupBy {
    pub(crate) host: bool,
    pub(crate) paths: bool,
    pub(crate) tags: bool,
}

/// The values that snapshots of one group have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct GroupKey {
    pub(crate) hostname: String,
    pub(crate) paths: Option<Vec<String>>,
    pub(crate) tags: Option<Vec<String>>,
}

impl GroupBy {
    /// Reads `host,paths,tags`.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let mut by = Self::default();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word {
                "host" | "hosts" => by.host = true,
                "path" | "paths" => by.paths = true,
                "tag" | "tags" => by.tags = true,
                _ => {
                    return Err(Failure::input(
                        format!("cannot group by {word:?}"),
                        "use host, paths and tags, separated by commas",
                    ));
                }
            }
        }
        Ok(by)
    }

    /// Whether everything is one group.
    pub(crate) fn is_none(self) -> bool {
        self == Self::default()
    }

    fn key(self, snapshot: &Snapshot) -> GroupKey {
        let sorted = |texts: &Vec<String>| {
            let mut texts = texts.clone();
            texts.sort_unstable();
            texts
        };
        let root = &snapshot.root;
        GroupKey {
            hostname: if self.host { root.hostname.clone() } else { String::new() },
            paths: self.paths.then(|| sorted(&root.paths)),
            tags: self.tags.then(|| sorted(&root.tags)).filter(|tags| !tags.is_empty()),
        }
    }

    /// The groups, each in the order of `snapshots`.
    pub(crate) fn groups(self, snapshots: Vec<Snapshot>) -> BTreeMap<GroupKey, Vec<Snapshot>> {
        let mut groups: BTreeMap<GroupKey, Vec<Snapshot>> = BTreeMap::new();
        for snapshot in snapshots {
            groups.entry(self.key(&snapshot)).or_default().push(snapshot);
        }
        groups
    }
}

impl GroupKey {
    /// `host a, path [/b /c]`, for a sentence.
    pub(crate) fn name(&self) -> String {
        let mut parts = Vec::new();
        if !self.hostname.is_empty() {
            parts.push(format!("host {}", self.hostname));
        }
        for (word, list) in [("path", &self.paths), ("tags", &self.tags)] {
            if let Some(list) = list.as_ref().filter(|list| !list.is_empty()) {
                parts.push(format!("{word} [{}]", list.join(" ")));
            }
        }
        parts.join(", ")
    }

    /// `host [a], paths [/b]`, for a heading.
    pub(crate) fn heading(&self, by: GroupBy) -> String {
        let list = |texts: &Option<Vec<String>>| texts.as_deref().unwrap_or_default().join(", ");
        let mut parts = Vec::new();
        if by.host {
            parts.push(format!("host [{}]", self.hostname));
        }
        if by.tags {
            parts.push(format!("tags [{}]", list(&self.tags)));
        }
        if by.paths {
            parts.push(format!("paths [{}]", list(&self.paths)));
        }
        parts.join(", ")
    }
}
