//! The directories above the roots, made from templates.
//!
//! Invariants
//! - A root has a name of its own wherever it goes: where one is taken, `-1`, `-2` and so on are
//!   put behind it.
//! - `latest` beside names that are times leads to the newest of them.
//! - A layout never changes; another takes its place when the roots have changed. What was opened in
//!   the old one is read to its end there.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use windlass_format::time::Timestamp;

use super::template::{Spot, Template};
use crate::model::{
    chunk::ChunkKey,
    directory::Entry,
    root::{Root, RootId},
};

/// The name that leads to the newest root.
const LATEST: &str = "latest";

/// The directories and what is in them.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) top: Folder,
    roots: HashMap<RootId, Arc<Top>>,
}

/// A directory that is stored nowhere.
#[derive(Debug, Default)]
pub(super) struct Folder {
    /// In order of names.
    pub(super) names: BTreeMap<Box<str>, Place>,
    /// When the newest root in it was made.
    pub(super) newest: Option<Timestamp>,
    /// The next number to try behind a name that is taken.
    numbers: HashMap<Box<str>, u32>,
}

/// What has a name in such a directory.
#[derive(Debug)]
pub(super) enum Place {
    /// Another one.
    Folder(Folder),
    /// The top directory of a root.
    Root(Arc<Top>),
    /// A link to a path from the directory it is in, to a root.
    Link { target: Box<str>, time: Timestamp },
}

/// The top directory of a root.
#[derive(Debug)]
pub(super) struct Top {
    pub(super) id: RootId,
    pub(super) tree: ChunkKey,
    pub(super) time: Timestamp,
    /// What the format says of it.
    pub(super) entry: Option<Box<Entry>>,
}

impl Layout {
    /// Puts the roots, oldest first, where the templates say.
    pub(super) fn new(
        templates: &[Template],
        time_layout: &str,
        roots: impl IntoIterator<Item = (RootId, Root)>,
    ) -> Self {
        let mut layout = Self::default();
        for template in templates {
            layout.top.folder(&template.fixed(), None);
        }
        for (id, mut root) in roots {
            let (tree, time, entry) = (root.tree, root.time, root.top.take());
            let top = Arc::new(Top { id: id.clone(), tree, time, entry });
            for template in templates {
                for spot in template.spots(&id, &root, time_layout) {
                    layout.top.put(&spot, &top);
                }
            }
            layout.roots.insert(id, top);
        }
        layout
    }

    /// A root by its name.
    pub(super) fn root(&self, id: &RootId) -> Option<&Arc<Top>> {
        self.roots.get(id)
    }

    /// The directory at a path of names with slashes between them.
    pub(super) fn folder(&self, path: &str) -> Option<&Folder> {
        let mut names = path.split('/').filter(|name| !name.is_empty());
        names.try_fold(&self.top, |folder, name| match folder.names.get(name)? {
            Place::Folder(below) => Some(below),
            Place::Root(_) | Place::Link { .. } => None,
        })
    }
}

impl Folder {
    /// The directory at a path below this one, made where it is missing.
    fn folder(&mut self, path: &[String], time: Option<Timestamp>) -> &mut Self {
        self.newest = self.newest.max(time);
        let Some((name, rest)) = path.split_first() else { return self };
        // A root may have the name already; then the directory has the next one, once for all.
        let is_free = |name: &str| matches!(self.names.get(name), None | Some(Place::Folder(_)));
        let mut numbered: Box<str> = name.as_str().into();
        let mut number = 0_u64;
        while !is_free(&numbered) {
            number += 1;
            numbered = format!("{name}-{number}").into();
        }
        let place = self.names.entry(numbered).or_insert_with(|| Place::Folder(Self::default()));
        match place {
            Place::Folder(below) => below.folder(rest, time),
            Place::Root(_) | Place::Link { .. } => unreachable!("the name was free or a folder's"),
        }
    }

    fn put(&mut self, spot: &Spot, top: &Arc<Top>) {
        let above = self.folder(&spot.above, Some(top.time));
        let Some((name, between)) = spot.own.split_last() else { return };
        let folder = above.folder(between, Some(top.time));
        let name = match folder.names.contains_key(name.as_str()) {
            true => folder.free_name(name),
            false => name.as_str().into(),
        };
        let target = between.iter().map(|part| format!("{part}/")).collect::<String>() + &name;
        folder.names.insert(name, Place::Root(Arc::clone(top)));
        if spot.is_time {
            // They come oldest first, so that each one is the newest until then.
            match above.names.get(LATEST) {
                None | Some(Place::Link { .. }) => {
                    let link = Place::Link { target: target.into(), time: top.time };
                    above.names.insert(LATEST.into(), link);
                }
                Some(Place::Folder(_) | Place::Root(_)) => {}
            }
        }
    }

    fn free_name(&mut self, name: &str) -> Box<str> {
        let number = self.numbers.entry(name.into()).or_insert(0);
        loop {
            *number += 1;
            let numbered = format!("{name}-{number}").into_boxed_str();
            if !self.names.contains_key(&numbered) {
                return numbered;
            }
        }
    }
}
