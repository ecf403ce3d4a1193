//! Who owns what is restored: by the recorded numbers, or by names as this system numbers them.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use nix::unistd::{Group, User};

use super::Ownership;
use crate::{model::directory::Entry, target::Metadata};

/// Names that were looked up, each once.
#[derive(Debug, Default)]
pub(super) struct Owners {
    users: Mutex<HashMap<Box<str>, Option<u32>>>,
    groups: Mutex<HashMap<Box<str>, Option<u32>>>,
}

impl Owners {
    /// Puts the numbers of this system into `metadata` where that is asked for.
    pub(super) fn map(&self, ownership: Ownership, entry: &Entry, metadata: &mut Metadata) {
        if ownership == Ownership::ByNumber {
            return;
        }
        let user = number(&self.users, &entry.user, |name| {
            User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
        });
        let group = number(&self.groups, &entry.group, |name| {
            Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
        });
        let or = |found: Option<u32>, recorded: u32| match ownership {
            Ownership::ByNameOrRoot => found.unwrap_or(0),
            Ownership::ByNumber | Ownership::ByNameOrNumber => found.unwrap_or(recorded),
        };
        metadata.uid = or(user, metadata.uid);
        metadata.gid = or(group, metadata.gid);
    }
}

fn number(
    known: &Mutex<HashMap<Box<str>, Option<u32>>>,
    name: &str,
    look_up: impl FnOnce(&str) -> Option<u32>,
) -> Option<u32> {
    if name.is_empty() {
        return None;
    }
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = known.get(name) {
        return *found;
    }
    let found = look_up(name);
    known.insert(name.into(), found);
    found
}
