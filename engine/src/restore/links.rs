//! Names that are one file.
//!
//! Invariants
//! - Only entries that recorded more than one link, with inode and device, join a group: the inode
//!   of an entry that was taken over from an older backup may belong to another file by now.
//! - A group is forgotten when all the links it recorded were seen, so that what is kept is bounded
//!   by the groups that reach out of the restored part.

use std::{collections::HashMap, mem::Discriminant, sync::Arc};

use super::folder::Folder;
use crate::model::directory::{Entry, Kind};

/// The groups seen so far.
#[derive(Debug, Default)]
pub(super) struct Links(HashMap<GroupKey, Group>);

/// What tells a group from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct GroupKey {
    device: u64,
    inode: u64,
    kind: Discriminant<Kind>,
}

#[derive(Debug)]
struct Group {
    first: First,
    unseen: u64,
}

/// The name that the others are linked to.
#[derive(Clone, Debug)]
pub(super) struct First {
    pub(super) folder: Arc<Folder>,
    pub(super) name: Box<[u8]>,
}

impl GroupKey {
    /// The group of `entry`, if it has one.
    pub(super) fn of(entry: &Entry) -> Option<Self> {
        let is_grouped = entry.links > 1
            && entry.inode != 0
            && !matches!(entry.kind, Kind::Directory { .. } | Kind::Socket | Kind::Unknown);
        let kind = std::mem::discriminant(&entry.kind);
        is_grouped.then_some(Self { device: entry.device, inode: entry.inode, kind })
    }
}

impl Links {
    /// The first name of a group, once there is one.
    pub(super) fn first(&mut self, key: GroupKey) -> Option<First> {
        let group = self.0.get_mut(&key)?;
        group.unseen = group.unseen.saturating_sub(1);
        let first = group.first.clone();
        if group.unseen == 0 {
            self.0.remove(&key);
        }
        Some(first)
    }

    /// Makes a name the first of its group, which has `links` names.
    pub(super) fn lead(&mut self, key: GroupKey, links: u64, first: First) {
        self.0.insert(key, Group { first, unseen: links.saturating_sub(1) });
    }
}
