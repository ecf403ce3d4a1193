//! Names of users and groups by number, each looked up once.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use nix::unistd::{Gid, Group, Uid, User};

/// Names that were looked up.
#[derive(Debug, Default)]
pub struct Owners {
    users: Mutex<HashMap<u32, Box<str>>>,
    groups: Mutex<HashMap<u32, Box<str>>>,
}

impl Owners {
    /// The name of a user, empty where the system knows none.
    pub fn user(&self, uid: u32) -> Box<str> {
        cached(&self.users, uid, || {
            User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name)
        })
    }

    /// The name of a group, empty where the system knows none.
    pub fn group(&self, gid: u32) -> Box<str> {
        cached(&self.groups, gid, || {
            Group::from_gid(Gid::from_raw(gid)).ok().flatten().map(|group| group.name)
        })
    }
}

fn cached(
    names: &Mutex<HashMap<u32, Box<str>>>,
    number: u32,
    look_up: impl FnOnce() -> Option<String>,
) -> Box<str> {
    let known = names.lock().unwrap_or_else(PoisonError::into_inner).get(&number).cloned();
    known.unwrap_or_else(|| {
        let name: Box<str> = look_up().unwrap_or_default().into();
        names.lock().unwrap_or_else(PoisonError::into_inner).insert(number, name.clone());
        name
    })
}
