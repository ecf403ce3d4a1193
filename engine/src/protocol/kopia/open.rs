//! Finding and opening a kopia repository.
//!
//! Invariants
//! - A repository is opened only if every feature it requires is known and nobody is upgrading it.
//! - The one derivation from the password runs on the worker pool, never on the runtime.

use std::sync::Arc;

use windlass_format::{
    damage::Damage,
    id::to_hex,
    kopia::{
        format_blob::FormatBlob,
        id::BlobId,
        refusal::Refusal,
        shards::{self, Shards},
    },
    secret::Password,
};

use super::Protocol;
use crate::{
    dialect::kopia::Codec,
    fault::Fault,
    protocol::keys::OpenError,
    store::{Failure, Key, Range, Store, layout::Layout},
};

/// An open repository's parts.
#[derive(Debug)]
pub struct Opened {
    /// What tells it apart, in hex.
    pub id: String,
    /// The format's version.
    pub version: u8,
    /// Bytes.
    pub codec: Arc<Codec>,
    /// Order.
    pub protocol: Arc<Protocol>,
}

/// The object whose presence makes a location a repository of this format.
#[must_use]
pub fn config_key() -> Key {
    Key::new(BlobId::REPOSITORY)
}

/// Where objects lie in a directory, as the file says that `plain` has at its top.
pub async fn layout(plain: &Store) -> Result<Layout, Fault> {
    let shards = match plain.read(&Key::new(shards::FILE_NAME), Range::All).await {
        Ok(bytes) => {
            Shards::decode(&bytes).map_err(|damage| Fault::damaged(shards::FILE_NAME, damage))?
        }
        Err(error) if error.failure == Failure::NotFound => Shards::default(),
        Err(error) => return Err(error.into()),
    };
    let widths = |levels: &[u8]| levels.iter().map(|level| usize::from(*level)).collect();
    Ok(Layout::Leading {
        shards: widths(shards.levels()),
        overrides: shards
            .overrides()
            .map(|(prefix, levels)| (prefix.to_owned(), widths(levels)))
            .collect(),
        max_unsharded: shards.flat_len_max() as usize,
        suffix: shards::SUFFIX.to_owned(),
    })
}

/// Opens the repository in `store`, whose first object holds `bytes`.
pub async fn open(
    store: &Store,
    bytes: &[u8],
    password: &Password,
    pool: &Arc<rayon::ThreadPool>,
) -> Result<Opened, OpenError> {
    let blob = FormatBlob::decode(bytes).map_err(damaged)?;
    let id = to_hex(&blob.unique_id);
    let (password, pool) = (password.clone(), Arc::clone(pool));
    let opened = tokio::task::spawn_blocking(move || {
        pool.install(|| blob.open(&blob.derive_key(&password)?))
    });
    let format = match opened.await {
        Ok(Ok(format)) => format,
        Ok(Err(Refusal::Damage(Damage::BadTag { .. }))) => {
            return Err(OpenError::WrongPassword { location: store.location() });
        }
        Ok(Err(refusal)) => return Err(refused(refusal).into()),
        Err(_panic) => return Err(Fault::Bug("opening the format panicked").into()),
    };
    if let Some(lock) = format.upgrade_lock {
        return Err(OpenError::Upgrading { owner: lock.owner, message: lock.message });
    }
    let codec = Arc::new(Codec::new(&format).map_err(refused)?);
    let has_epochs = format.epochs.is_some();
    let protocol = Arc::new(Protocol::new(store.clone(), Arc::clone(&codec), has_epochs));
    Ok(Opened { id, version: format.version, codec, protocol })
}

fn damaged(damage: Damage) -> Fault {
    Fault::damaged(BlobId::REPOSITORY, damage)
}

fn refused(refusal: Refusal) -> Fault {
    let what = match refusal {
        Refusal::Damage(damage) => return damaged(damage),
        Refusal::Algorithm { kind, name } => format!("the {kind} algorithm {name:?}"),
        Refusal::Feature { name, message } if message.is_empty() => {
            format!("the feature {name:?}, which the repository requires,")
        }
        Refusal::Feature { name, message } => {
            format!("the feature {name:?}, which the repository requires ({message}),")
        }
        other => other.to_string(),
    };
    Fault::Unsupported { what }
}
