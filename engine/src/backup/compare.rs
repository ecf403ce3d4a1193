//! Whether a file is as it was in the parent backup, by what a listing says of it.
//!
//! Invariants
//! - An equal ctime proves metadata and extended attributes unchanged: they are not read again. An
//!   entry whose attributes could not all be read is kept without a ctime, which equals none.
//! - Identity (inode, device, link count) of a file with several links is always taken afresh, so
//!   that a node reused from the parent cannot join a false group of hard links on restore.
//! - [`Policy::CloneAware`] trusts size and mtime, and reads a rotating share of the trusted files
//!   again: with `sample_every` n, each backup reads the next n-th of them (`sample`).

use std::num::NonZeroU32;

use windlass_format::time::Timestamp;

use crate::{
    model::directory::{Entry, Kind},
    source::{FileKind, Stat},
};

/// What has to be equal for a file to count as unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Policy {
    /// Size, mtime, ctime and inode.
    #[default]
    Strict,
    /// Size and mtime.
    IgnoreInode,
    /// Size, mtime and inode.
    IgnoreCtime,
    /// Size and mtime, with a rotating sample read again: for sources that are clones of volumes,
    /// where every ctime and inode is new each time.
    CloneAware {
        /// One file in this many is read again although it looks unchanged; after so many
        /// backups each was.
        sample_every: NonZeroU32,
    },
}

/// Why a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The parent backup does not have it.
    New,
    /// It was something else before.
    Kind,
    /// Its size differs.
    Size,
    /// Its mtime differs.
    Mtime,
    /// Its ctime differs.
    Ctime,
    /// Its inode differs.
    Inode,
    /// Chunks that the parent backup refers to are in no index.
    MissingChunks,
    /// It looks unchanged and its turn in the sample has come.
    Sampled,
}

impl Reason {
    /// All reasons, in the order in which reports list them.
    pub const ALL: [Self; 8] = [
        Self::New,
        Self::Kind,
        Self::Size,
        Self::Mtime,
        Self::Ctime,
        Self::Inode,
        Self::MissingChunks,
        Self::Sampled,
    ];

    /// A word for reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Kind => "kind",
            Self::Size => "size",
            Self::Mtime => "mtime",
            Self::Ctime => "ctime",
            Self::Inode => "inode",
            Self::MissingChunks => "missing-chunks",
            Self::Sampled => "sampled",
        }
    }
}

/// What a comparison says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The content is as it was.
    Same {
        /// Whether metadata is proven to be as it was, too.
        metadata_proven: bool,
    },
    /// The content has to be read.
    Differs(Reason),
}

/// Compares a listed item with the parent backup's entry of the same name.
pub(super) fn judge(policy: Policy, old: &Entry, stat: &Stat) -> Verdict {
    if !same_kind(old, stat) {
        return Verdict::Differs(Reason::Kind);
    }
    if let Kind::File { size_bytes, .. } = old.kind
        && size_bytes != stat.size
    {
        return Verdict::Differs(Reason::Size);
    }
    if old.mtime.instant() != stat.mtime {
        return Verdict::Differs(Reason::Mtime);
    }
    let same_ctime = old.ctime.as_ref().map(Timestamp::instant) == Some(stat.ctime);
    let same_inode = old.inode == stat.inode;
    let (needs_ctime, needs_inode) = match policy {
        Policy::Strict => (true, true),
        Policy::IgnoreCtime => (false, true),
        Policy::IgnoreInode | Policy::CloneAware { .. } => (false, false),
    };
    if needs_ctime && !same_ctime {
        return Verdict::Differs(Reason::Ctime);
    }
    if needs_inode && !same_inode {
        return Verdict::Differs(Reason::Inode);
    }
    Verdict::Same { metadata_proven: same_ctime }
}

fn same_kind(old: &Entry, stat: &Stat) -> bool {
    matches!(
        (&old.kind, stat.kind),
        (Kind::File { .. }, FileKind::File)
            | (Kind::Directory { .. }, FileKind::Directory)
            | (Kind::Symlink { .. }, FileKind::Symlink)
            | (Kind::BlockDevice { .. }, FileKind::BlockDevice)
            | (Kind::CharDevice { .. }, FileKind::CharDevice)
            | (Kind::Fifo, FileKind::Fifo)
    )
}

/// Gives a reused entry the identity the source has now, where identity matters: see the module's
/// invariants. Says whether that changed the entry.
pub(super) fn refresh_identity(entry: &mut Entry, stat: &Stat) -> bool {
    let several = stat.links > 1 || entry.links > 1;
    if !several || matches!(entry.kind, Kind::Directory { .. } | Kind::Fifo) {
        return false;
    }
    let fresh = (stat.inode, stat.device, stat.links);
    let differs = (entry.inode, entry.device, entry.links) != fresh;
    (entry.inode, entry.device, entry.links) = fresh;
    differs
}

/// Whether an item made afresh, content and subtree aside, is what the parent backup has, so that
/// its entry can stay.
pub(super) fn same_item(policy: Policy, old: &Entry, fresh: &Entry) -> bool {
    let same_particulars = match (&old.kind, &fresh.kind) {
        (Kind::File { size_bytes: a, .. }, Kind::File { size_bytes: b, .. }) => a == b,
        (Kind::Directory { .. }, Kind::Directory { .. }) => true,
        (a, b) => a == b,
    };
    same_particulars && same_metadata(policy, old, fresh)
}

/// Whether a file that was read again is what the parent backup has, so that its entry can stay.
pub(super) fn same_after_reading(policy: Policy, old: &Entry, fresh: &Entry) -> bool {
    old.kind == fresh.kind && same_metadata(policy, old, fresh)
}

/// Whether all metadata is equal, whatever zone the times were written in; under
/// [`Policy::CloneAware`] but for what a clone of a volume changes by itself: inode, device, ctime.
fn same_metadata(policy: Policy, old: &Entry, fresh: &Entry) -> bool {
    let ctime = |entry: &Entry| entry.ctime.as_ref().map(Timestamp::instant);
    let same_hidden = match policy {
        Policy::CloneAware { .. } => old.links <= 1 && fresh.links <= 1,
        Policy::Strict | Policy::IgnoreInode | Policy::IgnoreCtime => {
            ctime(old) == ctime(fresh)
                && (old.inode, old.device, old.links) == (fresh.inode, fresh.device, fresh.links)
        }
    };
    same_hidden && same_visible(old, fresh)
}

fn same_visible(old: &Entry, fresh: &Entry) -> bool {
    old.mode == fresh.mode
        && (old.uid, old.gid) == (fresh.uid, fresh.gid)
        && (&old.user, &old.group) == (&fresh.user, &fresh.group)
        && old.mtime.same_instant(&fresh.mtime)
        && old.xattrs == fresh.xattrs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::object::Content;

    fn old() -> Entry {
        Entry {
            name: Box::from(&b"f"[..]),
            kind: Kind::File { size_bytes: 5, content: Content::EMPTY },
            mode: 0o644,
            mtime: Timestamp::utc(100, 1),
            atime: Timestamp::utc(100, 1),
            ctime: Some(Timestamp::utc(200, 2)),
            uid: 0,
            gid: 0,
            user: Box::default(),
            group: Box::default(),
            inode: 7,
            device: 3,
            links: 1,
            xattrs: Vec::new(),
            residue: None,
        }
    }

    fn now() -> Stat {
        Stat {
            kind: FileKind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 5,
            allocated: 8,
            mtime: (100, 1),
            atime: (100, 1),
            ctime: (200, 2),
            inode: 7,
            device: 3,
            rdev: 0,
            links: 1,
        }
    }

    const CLONE: Policy = Policy::CloneAware { sample_every: NonZeroU32::new(50).unwrap() };

    #[test]
    fn each_policy_looks_at_what_it_says() {
        use Policy::{IgnoreCtime, IgnoreInode, Strict};
        let differs = Verdict::Differs;
        let same = |metadata_proven| Verdict::Same { metadata_proven };
        let ctime = Stat { ctime: (200, 3), ..now() };
        let inode = Stat { inode: 8, ..now() };
        for (stat, expected) in [
            (now(), [same(true); 4]),
            (Stat { size: 6, ..now() }, [differs(Reason::Size); 4]),
            (Stat { mtime: (100, 2), ..now() }, [differs(Reason::Mtime); 4]),
            (Stat { kind: FileKind::Fifo, ..now() }, [differs(Reason::Kind); 4]),
            (ctime, [differs(Reason::Ctime), same(false), same(false), same(false)]),
            (inode, [differs(Reason::Inode), same(true), differs(Reason::Inode), same(true)]),
        ] {
            let verdicts = [Strict, IgnoreInode, IgnoreCtime, CLONE]
                .map(|policy| judge(policy, &old(), &stat));
            assert_eq!(verdicts, expected, "{stat:?}");
        }
    }

    #[test]
    fn identity_of_a_file_with_several_links_is_fresh() {
        let mut entry = old();
        assert!(!refresh_identity(&mut entry, &Stat { inode: 9, ..now() }));
        assert_eq!(entry.inode, 7);
        assert!(refresh_identity(&mut entry, &Stat { inode: 9, links: 2, ..now() }));
        assert_eq!((entry.inode, entry.links), (9, 2));
        assert!(refresh_identity(&mut entry, &Stat { inode: 11, ..now() }), "link count fell to 1");
        assert_eq!((entry.inode, entry.links), (11, 1));
    }
}
