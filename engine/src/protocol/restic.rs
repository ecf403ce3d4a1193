//! restic's order of reads and writes.
//!
//! Invariants
//! - Every object outside packs is named by the hash of its stored bytes; what is read is checked
//!   against its name before it is opened.
//! - An index is written only of packs that are stored; a snapshot only after its index.
//! - What replaced a vanished object is found: reading all of a kind ends with a listing of which
//!   nothing had vanished.

mod amend;
mod holders;
mod keys;
mod leftover;
mod load;
mod lock;
mod object;
mod open;
mod reclaim;
mod roots;

use std::{collections::HashSet, path::Path, sync::Arc};

use sha2::{Digest, Sha256};
use tokio::task::JoinSet;
use windlass_format::{
    damage::Damage,
    restic::{
        SnapshotId,
        compress::{Compressor, Decompressor, Level},
        envelope,
        index::IndexPack,
        path::{FileKind, FileName},
        snapshot::Snapshot,
        unpacked,
    },
    secret::Password,
};

use super::{
    AnnounceError, Announcement, ListedRoot, Patience, Presence, Published, Segments, Swept,
    keys::{ListedKey, OpenError, Owner},
};
use crate::{
    cancel::Cancel,
    clock::Clock,
    dialect::restic::{self as dialect, Codec},
    entropy::Entropy,
    fault::Fault,
    index::kept::{self, KeptAt, KeptKey},
    model::{
        pack::{PackInfo, PackName},
        root::{Root, RootId},
    },
    records::Aside,
    store::{Existing, Failure, Key, Listed, Range, Store, Stored, cache::CacheOptions},
};
pub use lock::{Lock, PendingLock};
pub use open::{
    Cuts, InitOptions, OpenOptions, Opened, config_key, cuts_of, init, layout, open, open_known,
};

/// Index files and roots read at once.
pub(super) const READ_AHEAD: usize = 8;

/// How often is listed again because what was listed vanished before it was read.
const MOST_LISTINGS: usize = 10;

/// What the key of a kept index is derived for.
const KEPT_INDEX: &str = "windlass 2026-11-21 index kept in a cache";

/// An open repository's order of reads and writes.
#[derive(Clone, Debug)]
pub struct Protocol {
    pub(super) store: Store,
    pub(super) codec: Arc<Codec>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Entropy,
    /// Where a large index may be kept.
    kept: Option<Arc<KeptAt>>,
}

impl Protocol {
    /// The order for a repository that was opened.
    #[must_use]
    pub fn new(store: Store, codec: Arc<Codec>, clock: Arc<dyn Clock>, entropy: Entropy) -> Self {
        Self { store, codec, clock, entropy, kept: None }
    }

    /// The same with a large index kept in this directory.
    #[must_use]
    pub(super) fn keeping_index_in(mut self, directory: &Path, cache: &CacheOptions) -> Self {
        let key = KeptKey(blake3::derive_key(KEPT_INDEX, &self.codec.key().to_json()));
        // The other half is for copies of objects.
        let most_bytes = cache.limit_bytes.map_or(u64::MAX, |limit| limit / 2);
        let (path, observer) = (kept::path_in(directory), cache.observer.clone());
        self.kept = Some(Arc::new(KeptAt { path, key, most_bytes, observer }));
        self
    }

    pub(super) fn aside(&self) -> Option<Aside> {
        let KeptAt { path, most_bytes, observer, .. } = self.kept.as_deref()?;
        let (directory, observer) = (path.parent()?.to_owned(), observer.clone());
        Some(Aside { directory, most_bytes: *most_bytes, observer })
    }

    pub(super) async fn lock(
        &self,
        announcement: &Announcement,
        patience: &mut Patience,
        cancel: &Cancel,
    ) -> Result<PendingLock, AnnounceError> {
        PendingLock::put(self, announcement, patience, cancel).await
    }

    pub(super) async fn settle(
        &self,
        lock: PendingLock,
        segments: &Segments,
        cancel: &Cancel,
    ) -> Result<Lock, AnnounceError> {
        lock.settle(self, self.still_there(segments), cancel).await
    }

    /// Whoever prunes removes the index files that name a pack before the pack: where all of
    /// `segments` are left, so is every pack they name.
    async fn still_there(&self, segments: &Segments) -> Result<(), AnnounceError> {
        if segments.0.is_empty() {
            return Ok(());
        }
        let mut left = HashSet::new();
        let mut collect = |row: Listed| {
            left.insert(row.key);
        };
        let listed = self.store.list(FileKind::Index.directory(), &mut collect).await;
        listed.map_err(Fault::from)?;
        match segments.0.iter().all(|segment| left.contains(segment)) {
            true => Ok(()),
            false => Err(AnnounceError::Overtaken),
        }
    }

    pub(super) async fn list_roots(&self) -> Result<Vec<ListedRoot>, Fault> {
        let mut roots = Vec::new();
        self.read_all(FileKind::Snapshot, |name, json| {
            let id = RootId::new(
                name.id().map(|id| windlass_format::id::to_hex(id)).unwrap_or_default(),
            );
            let root = json.and_then(|json| {
                let snapshot = Snapshot::decode(&json)
                    .map_err(|damage| Fault::damaged(format!("snapshot {id}"), damage))?;
                Ok(roots::root_of(snapshot))
            });
            roots.push((id, root));
        })
        .await?;
        roots.sort_by_key(|(id, root)| {
            (root.as_ref().ok().map(|root| root.time.instant()), id.clone())
        });
        Ok(roots)
    }

    /// Roots and index files, asked for at once where copies of roots are near. Whoever makes a
    /// root publishes its index before: of roots that were copied before the question, every index
    /// file was there to be listed. After any other root the index is to be listed anew.
    pub(super) async fn list_roots_and_segments(
        &self,
    ) -> Result<(Vec<ListedRoot>, Option<Segments>), Fault> {
        let copies = self.store.copies(FileKind::Snapshot.directory()).await;
        if copies.is_empty() {
            return Ok((self.list_roots().await?, None));
        }
        let (roots, names) = tokio::join!(self.list_roots(), self.names(FileKind::Index));
        let (roots, names) = (roots?, names?);
        for (id, _root) in &roots {
            if !copies.contains(&self.root_key(id)?) {
                return Ok((roots, None));
            }
        }
        let segments = Segments(names.into_iter().map(key_of).collect());
        Ok((roots, Some(segments)))
    }

    pub(super) async fn list_keys(&self) -> Result<Vec<ListedKey>, OpenError> {
        keys::list(&self.store).await
    }

    pub(super) async fn add_key(
        &self,
        password: &Password,
        owner: &Owner,
        pool: &Arc<rayon::ThreadPool>,
    ) -> Result<String, OpenError> {
        let key = self.codec.key();
        let name = keys::add(&self.store, password, key, owner, pool, &self.entropy).await?;
        Ok(name.to_hex())
    }

    pub(super) async fn remove_key(&self, prefix: &str, in_use: &str) -> Result<String, OpenError> {
        Ok(keys::remove(&self.store, prefix, in_use).await?.to_hex())
    }

    pub(super) async fn sweep(&self) -> Result<Swept, Fault> {
        Ok(leftover::sweep(&self.store).await?)
    }

    pub(super) async fn publish(
        &self,
        presence: &Presence,
        packs: Vec<Stored<PackInfo>>,
    ) -> Result<Published, Fault> {
        let count = packs.len();
        self.write_segments(presence, packs.into_iter().map(|pack| Ok(pack.into_inner()))).await?;
        Ok(Published::of(count))
    }

    pub(super) async fn commit_root(&self, root: &Root) -> Result<RootId, Fault> {
        let json = roots::snapshot_of(root)?.encode();
        let stored = self.put(FileKind::Snapshot, &json).await?;
        Ok(RootId::new(windlass_format::id::to_hex(&stored.into_inner())))
    }

    /// Where a root is stored.
    pub(super) fn root_key(&self, root: &RootId) -> Result<Key, Fault> {
        SnapshotId::from_hex(root.as_str().as_bytes())
            .map(|id| key_of(FileName::Snapshot(id)))
            .ok_or(Fault::Bug("a root of this format is named by a hash"))
    }

    /// Seals a document and stores it under its hash.
    pub(super) async fn put(&self, kind: FileKind, json: &[u8]) -> Result<Stored<[u8; 32]>, Fault> {
        let (id, sealed) = self.seal(kind, json)?;
        let key = key_of(FileName::new(kind, id));
        Ok(self.store.put(&key, &sealed, Existing::Keep, id).await?)
    }

    /// A sealed document and the hash that names it.
    pub(super) fn seal(&self, kind: FileKind, json: &[u8]) -> Result<([u8; 32], Vec<u8>), Fault> {
        let what = kind.directory();
        let damaged = |damage| Fault::damaged(format!("a new object in {what}"), damage);
        let mut packed = Vec::new();
        let mut sealed = Vec::new();
        let mut compressor = Compressor::new(Level::Auto).map_err(damaged)?;
        unpacked::encode(self.codec.version(), &mut compressor, json, &mut packed)
            .map_err(damaged)?;
        let nonce = self.entropy.bytes()?;
        envelope::seal(self.codec.key(), &nonce, &packed, &mut sealed);
        // Read back before it is stored, as every chunk is.
        let mut decompressor = Decompressor::new().map_err(damaged)?;
        let (mut opened, mut plain) = (Vec::new(), Vec::new());
        let read_back = envelope::open(self.codec.key(), what, &sealed, &mut opened)
            .and_then(|()| unpacked::decode(&mut decompressor, what, &opened, &mut plain));
        if read_back.is_err() || plain != json {
            return Err(Fault::VerifyFailed { what: format!("an object for {what}") });
        }
        Ok((Sha256::digest(&sealed).into(), sealed))
    }

    /// Reads all documents of a kind, several at once, and hands each on with its plaintext, once.
    pub(super) async fn read_all(
        &self,
        kind: FileKind,
        each: impl FnMut(FileName, Result<Vec<u8>, Fault>),
    ) -> Result<(), Fault> {
        self.read_others(kind, None, HashSet::new(), each).await.map(drop)
    }

    /// The names of all documents of a kind.
    async fn names(&self, kind: FileKind) -> Result<Vec<FileName>, Fault> {
        let mut names = Vec::new();
        let mut collect = |row: Listed| names.extend(FileName::parse(row.key.as_str()));
        self.store.list(kind.directory(), &mut collect).await?;
        Ok(names)
    }

    /// [`read_all`](Self::read_all) but those that are known already; gives those that are there.
    /// What is `listed` is not asked for again, unless some of it has vanished.
    ///
    /// Whoever replaces one stores the new before removing the old: where one vanishes between
    /// listing and reading, its successor may be missing from the listing, so it is listed again.
    async fn read_others(
        &self,
        kind: FileKind,
        mut listed: Option<Vec<FileName>>,
        mut known: HashSet<FileName>,
        mut each: impl FnMut(FileName, Result<Vec<u8>, Fault>),
    ) -> Result<HashSet<FileName>, Fault> {
        let mut missed = HashSet::new();
        for _listing in 0..MOST_LISTINGS {
            let mut names = match listed.take() {
                Some(names) => names,
                None => self.names(kind).await?,
            };
            let listed = names.iter().copied().collect();
            names.retain(|name| known.insert(*name));
            names.sort_unstable();
            let mut vanished = self.read_those_left(names, &mut each).await?;
            if vanished.is_empty() {
                return Ok(listed);
            }
            // Gone is what is not listed any more, or is not there a second time.
            vanished.retain(|name| missed.insert(*name));
            known.retain(|name| !vanished.contains(name));
        }
        Err(Fault::Unsettled { what: kind.directory() })
    }

    /// Reads documents; those that were not there any more.
    async fn read_those_left(
        &self,
        names: Vec<FileName>,
        each: &mut impl FnMut(FileName, Result<Vec<u8>, Fault>),
    ) -> Result<Vec<FileName>, Fault> {
        let mut vanished = Vec::new();
        let mut reads = JoinSet::new();
        let mut names = names.into_iter();
        loop {
            while reads.len() < READ_AHEAD
                && let Some(name) = names.next()
            {
                let (store, codec) = (self.store.clone(), Arc::clone(&self.codec));
                reads.spawn(async move { (name, read_document(&store, &codec, name).await) });
            }
            let Some(read) = reads.join_next().await else { return Ok(vanished) };
            let (name, json) = read.map_err(|_panic| Fault::Bug("reading an object panicked"))?;
            match json {
                Err(Fault::Store(error)) if error.failure == Failure::NotFound => {
                    vanished.push(name);
                }
                json => each(name, json),
            }
        }
    }
}

/// The plaintext of a sealed object outside packs, proved to be what its name says. What came out
/// wrong is read again: it may have been a copy, or have been spoilt on the way, and some decide by
/// it what to give up.
pub(super) async fn read_document(
    store: &Store,
    codec: &Codec,
    name: FileName,
) -> Result<Vec<u8>, Fault> {
    match open_document(store, codec, name).await {
        Err(Fault::Damaged { .. }) => {
            store.doubt(&key_of(name));
            open_document(store, codec, name).await
        }
        read => read,
    }
}

async fn open_document(store: &Store, codec: &Codec, name: FileName) -> Result<Vec<u8>, Fault> {
    let sealed = store.read(&key_of(name), Range::All).await?;
    let what = name.kind().directory();
    let damaged = |damage| Fault::damaged(name.to_string(), damage);
    if let Some(id) = name.id()
        && *id != <[u8; 32]>::from(Sha256::digest(&sealed))
    {
        return Err(damaged(Damage::BadHash { what }));
    }
    let mut opened = Vec::new();
    envelope::open(codec.key(), what, &sealed, &mut opened).map_err(damaged)?;
    let mut decompressor = Decompressor::new().map_err(damaged)?;
    let mut json = Vec::new();
    unpacked::decode(&mut decompressor, what, &opened, &mut json).map_err(damaged)?;
    Ok(json)
}

/// Whether an object is of those that a repository consists of.
pub(super) fn outlasts(key: &Key) -> bool {
    FileName::parse(key.as_str()).is_some_and(|name| name.kind() != FileKind::Lock)
}

/// The key of a file in the store.
pub(super) fn key_of(name: FileName) -> Key {
    Key::new(name.to_string())
}

fn index_pack(info: PackInfo) -> Result<IndexPack, Fault> {
    let PackName::Hash(id) = info.name else {
        return Err(Fault::Bug("a pack of this format is named by its hash"));
    };
    Ok(IndexPack {
        id: windlass_format::restic::PackId(id),
        blobs: info.chunks.iter().map(dialect::pack_entry).collect(),
        to_delete: false,
        time: None,
        size: None,
    })
}
