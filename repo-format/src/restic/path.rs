//! Logical keys of the files in a repository.
//!
//! ```text
//! config
//! data/<64 hex>   index/<64 hex>   keys/<64 hex>   locks/<64 hex>   snapshots/<64 hex>
//! ```
//!
//! Checked against `internal/backend/layout/layout_default.go`. Invariant: a name that is not
//! exactly one of these is foreign and parses to `None`, so it is never touched.
//!
//! Not here: `data/<2 hex>/<64 hex>`, which is how some stores lay `data` out.

use core::fmt;

use super::{IndexId, KeyId, LockId, PackId, SnapshotId};

/// The key of the one file without an id.
pub const CONFIG: &str = "config";

/// What a file is, which its directory says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// The repository's version, id and polynomial.
    Config,
    /// A pack.
    Data,
    /// An index file.
    Index,
    /// A key file.
    Key,
    /// A lock file.
    Lock,
    /// A snapshot.
    Snapshot,
}

impl FileKind {
    /// All kinds whose files are named by an id.
    pub const NAMED: [Self; 5] = [Self::Data, Self::Index, Self::Key, Self::Lock, Self::Snapshot];

    /// The directory of files of this kind, without a slash; of `Config` its whole key.
    #[must_use]
    pub const fn directory(self) -> &'static str {
        match self {
            Self::Config => CONFIG,
            Self::Data => "data",
            Self::Index => "index",
            Self::Key => "keys",
            Self::Lock => "locks",
            Self::Snapshot => "snapshots",
        }
    }
}

/// One file of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileName {
    /// `config`
    Config,
    /// `data/…`
    Pack(PackId),
    /// `index/…`
    Index(IndexId),
    /// `keys/…`
    Key(KeyId),
    /// `locks/…`
    Lock(LockId),
    /// `snapshots/…`
    Snapshot(SnapshotId),
}

impl FileName {
    /// The file of `kind` named by `id`; of `Config` there is one whatever the id.
    #[must_use]
    pub const fn new(kind: FileKind, id: [u8; 32]) -> Self {
        match kind {
            FileKind::Config => Self::Config,
            FileKind::Data => Self::Pack(PackId(id)),
            FileKind::Index => Self::Index(IndexId(id)),
            FileKind::Key => Self::Key(KeyId(id)),
            FileKind::Lock => Self::Lock(LockId(id)),
            FileKind::Snapshot => Self::Snapshot(SnapshotId(id)),
        }
    }

    /// Reads a logical key; `None` for one that is not the format's.
    #[must_use]
    pub fn parse(key: &str) -> Option<Self> {
        if key == CONFIG {
            return Some(Self::Config);
        }
        let (directory, name) = key.split_once('/')?;
        let kind = FileKind::NAMED.into_iter().find(|kind| kind.directory() == directory)?;
        let mut id = [0; 32];
        crate::id::from_hex(name.as_bytes(), &mut id)?;
        Some(Self::new(kind, id))
    }

    /// What the file is.
    #[must_use]
    pub const fn kind(&self) -> FileKind {
        match self {
            Self::Config => FileKind::Config,
            Self::Pack(_) => FileKind::Data,
            Self::Index(_) => FileKind::Index,
            Self::Key(_) => FileKind::Key,
            Self::Lock(_) => FileKind::Lock,
            Self::Snapshot(_) => FileKind::Snapshot,
        }
    }

    /// The SHA-256 the file's bytes must have; none for `config`.
    #[must_use]
    pub const fn id(&self) -> Option<&[u8; 32]> {
        match self {
            Self::Config => None,
            Self::Pack(PackId(id))
            | Self::Index(IndexId(id))
            | Self::Key(KeyId(id))
            | Self::Lock(LockId(id))
            | Self::Snapshot(SnapshotId(id)) => Some(id),
        }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().directory())?;
        match self.id() {
            Some(id) => write!(f, "/{}", crate::id::to_hex(id)),
            None => Ok(()),
        }
    }
}

macro_rules! into_file_name {
    ($($id:ident $variant:ident),*) => {$(
        impl From<$id> for FileName {
            fn from(id: $id) -> Self {
                Self::$variant(id)
            }
        }
    )*};
}
into_file_name!(PackId Pack, IndexId Index, KeyId Key, LockId Lock, SnapshotId Snapshot);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_as_the_file_it_names() {
        let kinds = FileKind::NAMED.into_iter().chain([FileKind::Config]);
        for file in kinds.map(|kind| FileName::new(kind, [0xa7; 32])) {
            assert_eq!(FileName::parse(&file.to_string()), Some(file));
        }
        assert_eq!(FileName::from(KeyId([1; 32])).to_string(), format!("keys/{}", "01".repeat(32)));
    }

    #[test]
    fn foreign_names_are_nobodys() {
        let hex = "0f".repeat(32);
        for key in [
            String::new(),
            "data".into(),
            "config/".into(),
            "Config".into(),
            hex.clone(),
            format!("data/{}", &hex[1..]),
            format!("data/{hex}.par2"),
            format!("data/0f/{hex}"),
            format!("key/{hex}"),
            format!("index/{}", hex.to_uppercase()),
            format!("/index/{hex}"),
        ] {
            assert_eq!(FileName::parse(&key), None, "{key}");
        }
    }
}
