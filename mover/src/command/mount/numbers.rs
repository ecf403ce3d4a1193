//! The numbers of inodes that the kernel knows, and what each stands for.
//!
//! Invariants
//! - A name has the same number whenever it is asked for, so that programs recognise a file; names
//!   of one file in one snapshot share theirs, as long as they have the same content.
//! - No two things that differ have one number: where the hash of one is taken, it has the next.
//! - Only what the kernel knows takes room here, and little of it: nothing that was read.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
};

use windlass_engine::browse::{Attributes, Node};

/// The number of the top directory.
pub(super) const TOP: u64 = 1;

/// What has numbers.
#[derive(Debug)]
pub(super) struct Numbers(Mutex<HashMap<u64, Entry>>);

/// What a number stands for.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) node: Node,
    pub(super) parent: u64,
    /// The number of the top directory of the snapshot it is in, 0 above snapshots.
    pub(super) root: u64,
}

#[derive(Debug)]
struct Entry {
    known: Known,
    /// How often the kernel was told of it.
    told: u64,
}

impl Numbers {
    pub(super) fn new(top: Node) -> Self {
        let known = Known { node: top, parent: TOP, root: 0 };
        Self(Mutex::new(HashMap::from([(TOP, Entry { known, told: 1 })])))
    }

    pub(super) fn get(&self, number: u64) -> Option<Known> {
        self.lock().get(&number).map(|entry| entry.known.clone())
    }

    /// Gives a name its number. `is_same` tells whether two names are of one file.
    pub(super) fn enter(
        &self,
        parent: (u64, &Known),
        name: &[u8],
        node: Node,
        attributes: &Attributes,
        is_same: impl Fn(&Node, &Node) -> bool,
    ) -> u64 {
        let own = by_name(parent.0, name);
        let mut number = by_file(parent.1.root, attributes).unwrap_or(own);
        loop {
            let other = {
                let mut table = self.lock();
                match table.get_mut(&number) {
                    None => {
                        let is_top = parent.1.root == 0 && node.is_stored();
                        let root = if is_top { number } else { parent.1.root };
                        let known = Known { node, parent: parent.0, root };
                        table.insert(number, Entry { known, told: 1 });
                        return number;
                    }
                    Some(entry) if entry.known.node == node => {
                        entry.told += 1;
                        return number;
                    }
                    Some(entry) => entry.known.node.clone(),
                }
            };
            // Not while the table is held: it may read a directory.
            let is_own = Some(number) != by_file(parent.1.root, attributes);
            if is_own {
                number = next(number);
            } else if !is_same(&other, &node) {
                number = own;
            } else if let Some(entry) = self.lock().get_mut(&number)
                && entry.known.node == other
            {
                entry.told += 1;
                return number;
            }
        }
    }

    /// The kernel has let go of it that often.
    pub(super) fn forget(&self, number: u64, times: u64) {
        let mut table = self.lock();
        if let Some(entry) = table.get_mut(&number) {
            entry.told = entry.told.saturating_sub(times);
            if entry.told == 0 && number != TOP {
                table.remove(&number);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number that a name most probably has, for lists.
pub(super) fn probable(parent: (u64, &Known), name: &[u8], attributes: &Attributes) -> u64 {
    by_file(parent.1.root, attributes).unwrap_or_else(|| by_name(parent.0, name))
}

/// Of a file with several names, in one snapshot.
fn by_file(root: u64, attributes: &Attributes) -> Option<u64> {
    let identity = attributes.identity.filter(|_| root != 0)?;
    Some(hash(&("file", root, identity)))
}

fn by_name(parent: u64, name: &[u8]) -> u64 {
    hash(&("name", parent, name))
}

fn hash(of: &impl Hash) -> u64 {
    // Its keys are fixed: numbers stay from mount to mount.
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    usable(hasher.finish())
}

fn next(number: u64) -> u64 {
    usable(number.wrapping_add(1))
}

/// 0 is nothing and 1 the top.
fn usable(number: u64) -> u64 {
    if number <= TOP { number + 2 } else { number }
}
