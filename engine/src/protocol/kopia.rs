//! kopia's order of reads.
//!
//! Invariants
//! - Roots lie in contents that only the index finds, so listing them reads the index; the next
//!   `load_index` takes over what was read, at least as new as those roots.
//! - An index object that vanishes between listing and reading was replaced by a newer one: the
//!   listing is taken again, never read with a hole.
//! - Nothing is written, so nothing is announced: kopia's readers leave no mark either.
//!
//! Not here: everything that writes.

mod open;
mod roots;
mod view;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;
use windlass_format::kopia::{
    epoch,
    id::{BlobId, ContentId},
    manifest::{self, Manifest, Manifests},
};

use self::view::View;
use super::{
    ListedRoot,
    object::{self, ObjectError, ObjectKind, RawObject},
};
use crate::{
    dialect::kopia::{Codec, Scratch, key_of},
    fault::Fault,
    index::Index,
    model::{pack::Location, root::RootId},
    store::{Failure, Key, Range, Store},
};
pub use open::{Opened, config_key, layout, open};

/// Index objects and manifests read at once.
const READ_AHEAD: usize = 8;

/// Times that the index is listed before a vanishing object is an error.
const LISTINGS: usize = 4;

/// An open repository's order of reads.
#[derive(Debug)]
pub struct Protocol {
    store: Store,
    codec: Arc<Codec>,
    has_epochs: bool,
    /// What the last listing of roots read, until it is taken over.
    seen: Mutex<Option<View>>,
}

impl Protocol {
    pub(super) fn new(store: Store, codec: Arc<Codec>, has_epochs: bool) -> Self {
        Self { store, codec, has_epochs, seen: Mutex::new(None) }
    }

    pub(super) async fn list_roots(&self) -> Result<Vec<ListedRoot>, Fault> {
        let view = self.read_view().await?;
        let mut roots = Vec::new();
        let mut manifests = Manifests::default();
        let mut contents = view.with_prefix(manifest::PREFIX).into_iter();
        let mut reads = JoinSet::new();
        loop {
            while reads.len() < READ_AHEAD
                && let Some((id, places)) = contents.next()
            {
                let (store, codec) = (self.store.clone(), Arc::clone(&self.codec));
                reads.spawn(async move { (id, read_manifests(&store, &codec, id, places).await) });
            }
            let Some(read) = reads.join_next().await else { break };
            match read.map_err(|_panic| Fault::Bug("reading a manifest panicked"))? {
                (_, Ok(found)) => manifests.add(found),
                (id, Err(fault)) => roots.push((RootId::new(id.to_string()), Err(fault))),
            }
        }
        roots.extend(roots::roots_of(&manifests, &self.codec));
        roots.sort_by_key(|(id, root)| {
            (root.as_ref().ok().map(|root| root.time.instant()), id.clone())
        });
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(view);
        Ok(roots)
    }

    /// Most things lie in contents here, not in objects of their own.
    pub(super) async fn object(
        &self,
        kind: ObjectKind,
        prefix: &str,
    ) -> Result<RawObject, ObjectError> {
        let key = match kind {
            ObjectKind::Config => config_key(),
            ObjectKind::Pack => object::one(&self.store, prefix, prefix).await?,
            ObjectKind::Index => return Err(ObjectError::NoSuchKind("index files with text")),
            ObjectKind::Root => return Err(ObjectError::NoSuchKind("snapshot files")),
            ObjectKind::Key => return Err(ObjectError::NoSuchKind("key files")),
            ObjectKind::MasterKey => return Err(ObjectError::NoSuchKind("a master key file")),
            ObjectKind::Lock => return Err(ObjectError::NoSuchKind("lock files")),
        };
        Ok(RawObject { bytes: object::read(&self.store, &key).await?, differs: None })
    }

    pub(super) async fn load_index(&self, index: &Arc<Index>) -> Result<(), Fault> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).take();
        let view = match seen {
            Some(view) => view,
            None => self.read_view().await?,
        };
        let index = Arc::clone(index);
        let filled = tokio::task::spawn_blocking(move || view.fill(&index)).await;
        filled
            .map_err(|_panic| Fault::Bug("filling the index panicked"))?
            .map_err(|damage| Fault::damaged("index", damage))
    }

    /// Reads the whole index as it is now.
    async fn read_view(&self) -> Result<View, Fault> {
        let mut listings = 1;
        loop {
            match self.try_read_view().await {
                Err(Fault::Store(error))
                    if error.failure == Failure::NotFound && listings < LISTINGS =>
                {
                    listings += 1;
                }
                result => return result,
            }
        }
    }

    async fn try_read_view(&self) -> Result<View, Fault> {
        let prefix = if self.has_epochs { epoch::PREFIX } else { epoch::LEGACY_PREFIX };
        let mut names = Vec::new();
        self.store.list(prefix, &mut |row| names.extend(BlobId::parse(row.key.as_str()))).await?;
        let set = match self.has_epochs {
            true => epoch::read_set(&names),
            false => epoch::read_set_without_epochs(&names),
        };
        let set = set.map_err(|damage| Fault::damaged("index", damage))?;
        let view = Arc::new(Mutex::new(View::default()));
        let mut blobs = set.blobs.into_iter();
        let mut reads = JoinSet::new();
        loop {
            while reads.len() < READ_AHEAD
                && let Some(blob) = blobs.next()
            {
                let (store, codec) = (self.store.clone(), Arc::clone(&self.codec));
                let view = Arc::clone(&view);
                reads.spawn(async move { add_segment(&store, codec, blob, view).await });
            }
            let Some(read) = reads.join_next().await else { break };
            read.map_err(|_panic| Fault::Bug("reading an index object panicked"))??;
        }
        let mut view = std::mem::take(&mut *view.lock().unwrap_or_else(PoisonError::into_inner));
        view.forget(set.deletion_watermark);
        Ok(view)
    }
}

/// Reads one index object and merges it.
async fn add_segment(
    store: &Store,
    codec: Arc<Codec>,
    blob: BlobId,
    view: Arc<Mutex<View>>,
) -> Result<(), Fault> {
    let mut stored = store.read(&Key::new(blob.as_str()), Range::All).await?.to_vec();
    let merged = tokio::task::spawn_blocking(move || {
        let damaged = |damage| Fault::damaged(format!("index {blob}"), damage);
        let plain = codec.crypter().open_blob(&blob, &mut stored).map_err(damaged)?;
        view.lock().unwrap_or_else(PoisonError::into_inner).add(plain).map_err(damaged)
    });
    merged.await.map_err(|_panic| Fault::Bug("merging an index object panicked"))?
}

/// Reads one content with manifests, from the first of its places that gives it.
async fn read_manifests(
    store: &Store,
    codec: &Codec,
    id: ContentId,
    places: Vec<(Key, Location)>,
) -> Result<Vec<Manifest>, Fault> {
    let mut result = Err(Fault::Bug("a content has no place"));
    for (pack, at) in places {
        result = read_manifests_at(store, codec, id, &pack, &at).await;
        if result.is_ok() {
            break;
        }
    }
    result
}

async fn read_manifests_at(
    store: &Store,
    codec: &Codec,
    id: ContentId,
    pack: &Key,
    at: &Location,
) -> Result<Vec<Manifest>, Fault> {
    let damaged = |damage| Fault::damaged(format!("manifests {id} in pack {pack}"), damage);
    let range = Range::At { start: at.offset.into(), len: at.stored_bytes.into() };
    let stored = store.read(pack, range).await?;
    let key = key_of(id).map_err(damaged)?;
    let mut plain = Vec::new();
    codec
        .open_chunk(&key, at, &stored, &mut Scratch::default(), &mut plain)
        .and_then(|()| codec.prove_one(&key, &plain))
        .and_then(|()| manifest::decode(&plain))
        .map_err(damaged)
}

/// Whether an object is of those that a repository consists of: packs, index objects, and the two
/// that say what it is. Sessions, logs and what maintenance notes go with their makers.
pub(super) fn outlasts(key: &Key) -> bool {
    let name = key.as_str();
    name == "kopia.repository" || name == "kopia.blobcfg" || name.starts_with(['p', 'q', 'n', 'x'])
}
