//! Which earlier backup a new one is compared with.

use windlass_format::time::Timestamp;

use super::{BackupError, Options};
use crate::{
    model::root::{Root, RootId},
    protocol::Segments,
    repository::Repository,
};

/// How the backup to compare with is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParentChoice {
    /// The newest one with equal values of these, and not newer than the new one.
    Newest {
        /// Of the same host.
        host: bool,
        /// Of exactly the same paths.
        paths: bool,
        /// With exactly the same tags.
        tags: bool,
    },
    /// The newest one that carries this tag: the source's own identity, whatever host and path it
    /// is seen under today.
    Identity(String),
    /// This one, by its name or the beginning of it.
    Explicit(String),
    /// None: everything is read.
    None,
}

impl Default for ParentChoice {
    fn default() -> Self {
        Self::Newest { host: true, paths: true, tags: false }
    }
}

/// Finds the backup to compare with, and what the index is to be read from where that is known by
/// then.
pub(super) async fn find(
    repository: &Repository,
    options: &Options,
    paths: &[String],
    started: Timestamp,
) -> Result<(Option<(RootId, Root)>, Option<Segments>), BackupError> {
    if options.parent == ParentChoice::None {
        return Ok((None, None));
    }
    let not_after = options.time.unwrap_or(started).instant();
    // One that cannot be read is no parent; `check` is the place to complain about it.
    let (roots, segments) = repository.protocol().list_roots_and_segments().await?;
    let mut roots = roots.into_iter().filter_map(|(id, root)| Some((id, root.ok()?)));
    let tags = sorted(&options.tags);
    let matches = |root: &Root| match &options.parent {
        ParentChoice::Newest { host, paths: by_paths, tags: by_tags } => {
            root.time.instant() <= not_after
                && (!host || root.hostname == options.hostname)
                && (!by_paths || sorted(&root.paths) == sorted(paths))
                && (!by_tags || sorted(&root.tags) == tags)
        }
        ParentChoice::Identity(tag) => root.time.instant() <= not_after && root.tags.contains(tag),
        ParentChoice::Explicit(_) | ParentChoice::None => false,
    };
    if let ParentChoice::Explicit(name) = &options.parent {
        let mut named = roots.filter(|(id, _)| id.as_str().starts_with(name.as_str()));
        return match (named.next(), named.next()) {
            (Some(root), None) => Ok((Some(root), segments)),
            _ => Err(BackupError::NoSuchParent { id: name.clone() }),
        };
    }
    let newest = roots.by_ref().filter(|(_, root)| matches(root));
    Ok((newest.max_by_key(|(id, root)| (root.time.instant(), id.clone())), segments))
}

fn sorted(texts: &[String]) -> Vec<&str> {
    let mut texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    texts.sort_unstable();
    texts
}
