//! The restic repository format, versions 1 and 2.
//!
//! Reading order: [`path`] names files, [`config`] and [`key`] open a repository, [`envelope`]
//! seals, [`compress`] and [`unpacked`] wrap what is stored outside packs, [`pack`] and [`index`]
//! say where a blob is, [`tree`] and [`name`] describe directories, [`snapshot`] and [`lock`] are
//! what they say. Checked against restic 0.19.1-dev (`a80be147`); what rustic adds is read too.
//!
//! Not here: the order in which files are written, and sharding of `data` into directories.

pub mod compress;
pub mod config;
pub mod envelope;
pub mod index;
pub mod key;
pub mod lock;
pub mod name;
pub mod pack;
pub mod path;
pub mod snapshot;
pub mod tree;
pub mod unpacked;

crate::define_id! {
    /// SHA-256 of the plaintext of a blob, data or tree.
    BlobId: 32;
    /// SHA-256 of a whole pack file, its name below `data`.
    PackId: 32;
    /// SHA-256 of a stored index file, its name below `index`.
    IndexId: 32;
    /// SHA-256 of a stored snapshot file, its name below `snapshots`.
    SnapshotId: 32;
    /// SHA-256 of a key file, its name below `keys`.
    KeyId: 32;
    /// SHA-256 of a stored lock file, its name below `locks`.
    LockId: 32;
    /// The random number in `config` that tells repositories apart.
    RepositoryId: 32;
}
