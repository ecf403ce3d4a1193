//! Who owns what is restored: by the recorded numbers, or by names as this system numbers them.
//!
//! Invariant: what is given to root for want of a better owner runs as nobody's program: it loses
//! setuid and setgid.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use nix::unistd::{Group, User};

use super::Ownership;
use crate::{
    model::directory::{Entry, Kind},
    target::Metadata,
};

const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;

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
        let (uid, gid) = (or(user, metadata.uid), or(group, metadata.gid));
        let is_program = !matches!(entry.kind, Kind::Directory { .. });
        if user.is_none() && uid != metadata.uid {
            metadata.mode &= !SET_UID;
        }
        if group.is_none() && gid != metadata.gid && is_program {
            metadata.mode &= !SET_GID;
        }
        (metadata.uid, metadata.gid) = (uid, gid);
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

#[cfg(test)]
mod tests {
    use windlass_format::time::Timestamp;

    use super::*;

    fn mapped(ownership: Ownership, kind: Kind, user: &str, uid: u32) -> (u32, u32) {
        let time = Timestamp::utc(0, 0);
        let mut entry = Entry {
            uid,
            gid: uid,
            user: user.into(),
            group: user.into(),
            links: 1,
            ..Entry::plain(*b"file", kind, 0o6755, time)
        };
        let mut metadata = Metadata::of(&mut entry, |_| true);
        Owners::default().map(ownership, &entry, &mut metadata);
        (metadata.uid, metadata.mode)
    }

    #[test]
    fn a_program_of_somebody_unknown_does_not_become_one_of_root() {
        use Ownership::{ByNameOrNumber, ByNameOrRoot, ByNumber};
        let unknown = "nobody has this name here";
        assert_eq!(mapped(ByNameOrRoot, Kind::Fifo, unknown, 1234), (0, 0o755));
        let directory = Kind::Directory { tree: None };
        assert_eq!(mapped(ByNameOrRoot, directory, unknown, 1234), (0, 0o2755));
        assert_eq!(mapped(ByNameOrRoot, Kind::Fifo, "root", 1234), (0, 0o6755));
        assert_eq!(mapped(ByNameOrRoot, Kind::Fifo, "", 0), (0, 0o6755));
        assert_eq!(mapped(ByNameOrNumber, Kind::Fifo, unknown, 1234), (1234, 0o6755));
        assert_eq!(mapped(ByNumber, Kind::Fifo, unknown, 1234), (1234, 0o6755));
    }
}
