//! Finding out what a location holds, opening it, creating it.
//!
//! Invariants
//! - The format is told by the one object that only it has; a store that cannot tell is an error,
//!   never "nothing there".
//! - Where both formats are, neither is opened and nothing is created.

use std::sync::Arc;

use bytes::Bytes;
use windlass_format::secret::Password;

pub use super::restic::{Cuts, InitOptions, OpenOptions};
use super::{Protocol, keys::OpenError, kopia, restic};
use crate::{
    clock::Clock,
    dialect::Dialect,
    entropy::Entropy,
    fault::Fault,
    store::{
        Failure, Key, Range, Store, StoreError,
        layout::Layout,
        place::{Names, Place},
    },
};

/// What tells a repository apart from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its id.
    pub id: String,
    /// Its format and version, in words.
    pub format: String,
    /// The key that opened it, where there are several.
    pub key: Option<String>,
    /// How it cuts files, where a new repository can be told to cut alike.
    pub cuts: Option<Cuts>,
}

/// An open repository's parts.
#[derive(Debug)]
pub struct Opened {
    /// Where its objects are.
    pub store: Store,
    /// Bytes.
    pub dialect: Dialect,
    /// Order.
    pub protocol: Protocol,
    /// What tells it apart.
    pub identity: Identity,
}

/// What the environment gives to an open repository.
#[derive(Clone, Debug)]
pub struct Means {
    /// The threads that compute.
    pub pool: Arc<rayon::ThreadPool>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Entropy,
}

/// Opens the repository at `place`, of whichever format it is.
pub async fn open(
    place: &Place,
    password: &Password,
    options: &OpenOptions,
    means: Means,
) -> Result<Opened, OpenError> {
    let store = place.with_layout(restic::layout());
    let Means { pool, clock, entropy } = means.clone();
    let known = restic::open_known(&store, password, options, &pool, clock, entropy).await;
    if let Some(opened) = known {
        return Ok(restic_parts(opened));
    }
    let key = restic::config_key();
    let (of_restic, of_kopia) = tokio::join!(found(&store, &key), find_kopia(place));
    let location = store.location();
    match (of_restic?, of_kopia) {
        (Ok(_), Ok(Some(_))) => Err(OpenError::Ambiguous { location }),
        // That kopia's could not be looked for does not keep anyone from restic's.
        (Ok(config), Ok(None) | Err(_)) => {
            open_restic(store, &config, password, options, means).await
        }
        (Err(_), Ok(Some((store, format)))) => open_kopia(store, &format, password, means).await,
        (Err(missing), Ok(None)) => {
            // More to say than that one object is missing comes with advice.
            let because = missing.advice().map(|_advice| missing.source.to_string());
            Err(OpenError::NoRepository { location, because })
        }
        (Err(_), Err(fault)) => Err(fault.into()),
    }
}

/// Creates a repository at `place`, which must hold none, and gives its id.
pub async fn init(
    place: &Place,
    password: &Password,
    options: &InitOptions,
    means: Means,
) -> Result<String, OpenError> {
    let store = place.with_layout(restic::layout());
    if find_kopia(place).await?.is_some() {
        let what = "a kopia repository is";
        return Err(OpenError::Exists { location: store.location(), what });
    }
    let Means { pool, clock, entropy } = means;
    let id = restic::init(&store, password, options, &pool, clock, entropy).await?;
    Ok(id.to_hex())
}

/// The store of a kopia repository at `place` and what its first object holds, if there is one.
async fn find_kopia(place: &Place) -> Result<Option<(Store, Bytes)>, Fault> {
    let plain = place.with_layout(Layout::Plain);
    let store = match place.names() {
        Names::Paths => place.with_layout(kopia::layout(&plain).await?),
        Names::Flat => plain,
        Names::Typed => return Ok(None),
    };
    let format = found(&store, &kopia::config_key()).await?;
    Ok(format.ok().map(|format| (store, format)))
}

/// The whole of a small object. That there is none is an answer; every other failure stays one.
async fn found(store: &Store, key: &Key) -> Result<Result<Bytes, StoreError>, Fault> {
    match store.read(key, Range::All).await {
        Err(error) if error.failure != Failure::NotFound => Err(error.into()),
        answer => Ok(answer),
    }
}

async fn open_restic(
    store: Store,
    config: &[u8],
    password: &Password,
    options: &OpenOptions,
    means: Means,
) -> Result<Opened, OpenError> {
    let Means { pool, clock, entropy } = means;
    let opened = restic::open(&store, config, password, options, &pool, clock, entropy).await?;
    Ok(restic_parts(opened))
}

fn restic_parts(opened: restic::Opened) -> Opened {
    Opened {
        store: opened.store,
        dialect: Dialect::Restic(opened.codec),
        protocol: Protocol::Restic(opened.protocol),
        identity: Identity {
            id: opened.config.id.to_hex(),
            format: format!("restic version {}", opened.config.version.number()),
            key: Some(opened.key.to_hex()),
            cuts: restic::cuts_of(&opened.config),
        },
    }
}

async fn open_kopia(
    store: Store,
    format: &[u8],
    password: &Password,
    means: Means,
) -> Result<Opened, OpenError> {
    let opened = kopia::open(&store, format, password, &means.pool).await?;
    Ok(Opened {
        store,
        dialect: Dialect::Kopia(opened.codec),
        protocol: Protocol::Kopia(opened.protocol),
        identity: Identity {
            id: opened.id,
            format: format!("kopia version {}", opened.version),
            key: None,
            cuts: None,
        },
    })
}
