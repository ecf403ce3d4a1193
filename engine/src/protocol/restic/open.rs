//! Finding, creating and opening a restic repository.
//!
//! Invariants
//! - A repository is created only where no config, key or snapshot is; a store that cannot tell is
//!   an error, never "nothing there". A key that this password opens, with nothing else beside it,
//!   is what a creation left that was cut off a while ago: it is gone on with.
//! - The config is written last: what lacks one is no repository.

use std::{num::NonZeroUsize, sync::Arc};

use windlass_format::{
    cut::{
        Cutter,
        fastcdc::{self, FastCdcParams},
        rabin::Polynomial,
    },
    damage::Damage,
    restic::{
        KeyId, RepositoryId,
        compress::Level,
        config::{Chunker, Config, RusticChunker, Version},
        envelope::{self, MasterKey},
        path::{FileKind, FileName},
    },
    secret::Password,
};

use super::{Protocol, key_of, keys};
use crate::{
    clock::Clock,
    dialect::restic::Codec,
    entropy::Entropy,
    fault::Fault,
    protocol::keys::{OpenError, Owner},
    store::{
        Existing, Key, Store,
        cache::{CacheOptions, known::Known},
        layout::Layout,
    },
};

/// Whoever creates a repository is done with it this long after its key, or was cut off.
const CREATION_SECONDS: i64 = 60;

/// How a repository is opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// How much work compression may be.
    pub level: Level,
    /// Whether every new chunk is read back before it is stored.
    pub verify: bool,
    /// The key to try first: the start of its name.
    pub key_hint: Option<String>,
    /// Where copies of what is read often are kept, if anywhere.
    pub cache: Option<CacheOptions>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { level: Level::Auto, verify: true, key_hint: None, cache: None }
    }
}

/// How files are cut, so that two repositories find each other's chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cuts {
    /// What restic's chunker cuts with.
    pub polynomial: Polynomial,
    /// Whether FastCDC cuts instead, between the lengths a new repository gets.
    pub fast_cdc: bool,
}

/// How a repository is created.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// The format's version.
    pub version: Version,
    /// The polynomial of another repository, to share chunks with copies from there.
    pub polynomial: Option<Polynomial>,
    /// Cut with FastCDC instead of restic's chunker. restic reads such a repository and cuts what
    /// it adds its own way, so that nothing is shared between its chunks and ours.
    pub fast_cdc: bool,
    /// The user and host noted with the first key.
    pub username: String,
    /// See `username`.
    pub hostname: String,
}

/// An open repository's parts.
#[derive(Debug)]
pub struct Opened {
    /// What the config says.
    pub config: Config,
    /// The key that opened it.
    pub key: keys::KeyName,
    /// Bytes.
    pub codec: Arc<Codec>,
    /// Order.
    pub protocol: Arc<Protocol>,
    /// Where its objects are, with the cache before it.
    pub store: Store,
}

/// Where objects lie in a directory.
#[must_use]
pub fn layout() -> Layout {
    let mut dirs: Vec<String> =
        ["data", "index", "keys", "locks", "snapshots"].map(String::from).into();
    dirs.extend((0..=255_u8).map(|byte| format!("data/{byte:02x}")));
    Layout::Sharded { dirs }
}

/// The object whose presence makes a location a repository of this format.
#[must_use]
pub fn config_key() -> Key {
    key_of(FileName::Config)
}

/// Opens the repository in `store`, whose config file holds `sealed`.
pub async fn open(
    store: &Store,
    sealed: &[u8],
    password: &Password,
    options: &OpenOptions,
    pool: &Arc<rayon::ThreadPool>,
    clock: Arc<dyn Clock>,
    entropy: Entropy,
) -> Result<Opened, OpenError> {
    let unlocked = keys::unlock(store, password, options.key_hint.as_deref(), pool).await?;
    let keys::Unlocked { name: key, sealed: sealed_key, master } = unlocked;
    let config = read_config(&master, sealed)?;
    if let Some(cache) = options.cache.as_ref().filter(|cache| cache.objects) {
        let (repository, sealed_key) = (config.id.0, sealed_key.to_vec());
        let known = Known { repository, key: key.0, sealed_key, config: sealed.to_vec() };
        known.save(&cache.base, &store.location());
    }
    finish(store, options, (key, master, config), clock, entropy)
}

/// Opens the repository that `store` held the last time, with the key that opened it then; nothing
/// where anything is not as it was, which says nothing about the store.
pub async fn open_known(
    store: &Store,
    password: &Password,
    options: &OpenOptions,
    pool: &Arc<rayon::ThreadPool>,
    clock: Arc<dyn Clock>,
    entropy: Entropy,
) -> Option<Opened> {
    let cache = options.cache.as_ref().filter(|cache| cache.objects)?;
    let location = store.location();
    let known = Known::load(&cache.base, &location)?;
    let key = KeyId(known.key);
    if options.key_hint.as_ref().is_some_and(|hint| !key.to_hex().starts_with(hint)) {
        return None;
    }
    let opened = async {
        let copy = &known.sealed_key;
        let master = keys::unlock_copy(store, key, copy, password, pool).await?;
        let config = read_config(&master, &known.config).ok()?;
        let is_the_same = config.id.0 == known.repository;
        is_the_same.then_some((key, master, config))
    };
    let Some(parts) = opened.await else {
        Known::drop(&cache.base, &location);
        return None;
    };
    finish(store, options, parts, clock, entropy).ok()
}

fn finish(
    store: &Store,
    options: &OpenOptions,
    (key, master, config): (keys::KeyName, MasterKey, Config),
    clock: Arc<dyn Clock>,
    entropy: Entropy,
) -> Result<Opened, OpenError> {
    let cutter = cutter_of(&config)?;
    let codec = Arc::new(Codec::new(master, config.version, options.level, cutter, options.verify));
    let (store, directory) = match &options.cache {
        Some(cache) => cache.over(store.clone(), &config.id.to_hex()),
        None => (store.clone(), None),
    };
    let mut protocol = Protocol::new(store.clone(), Arc::clone(&codec), clock, entropy);
    if let (Some(directory), Some(cache)) = (directory, &options.cache) {
        protocol = protocol.keeping_index_in(&directory, cache);
    }
    let protocol = Arc::new(protocol);
    Ok(Opened { config, key, codec, protocol, store })
}

/// Creates a repository in `store`, which holds none.
pub async fn init(
    store: &Store,
    password: &Password,
    options: &InitOptions,
    pool: &Arc<rayon::ThreadPool>,
    clock: Arc<dyn Clock>,
    entropy: Entropy,
) -> Result<RepositoryId, OpenError> {
    store.create().await.map_err(Fault::from)?;
    let in_the_way = |what| OpenError::Exists { location: store.location(), what };
    if store.exists(&config_key()).await.map_err(Fault::from)? {
        return Err(in_the_way("a config"));
    }
    let others = [
        (FileKind::Snapshot, "snapshots"),
        (FileKind::Index, "index files"),
        (FileKind::Data, "packs"),
    ];
    for (kind, what) in others {
        if !store.listing(kind.directory()).await.map_err(Fault::from)?.is_empty() {
            return Err(in_the_way(what));
        }
    }
    let half_made = match keys::list(store).await?.iter().map(|key| key.owner.created).max() {
        None => None,
        Some(newest) if clock.now().seconds - newest.seconds < CREATION_SECONDS => {
            return Err(in_the_way("keys"));
        }
        Some(_) => Some(match keys::unlock(store, password, None, pool).await {
            Ok(unlocked) => unlocked.master,
            Err(OpenError::Fault(fault)) => return Err(fault.into()),
            Err(_other_password) => return Err(in_the_way("keys")),
        }),
    };
    let polynomial = match options.polynomial {
        Some(polynomial) => polynomial,
        None => random_polynomial(&entropy)?,
    };
    let id = RepositoryId(entropy.bytes().map_err(Fault::from)?);
    let mut config = Config { version: options.version, id, polynomial, extra: Vec::new() };
    if options.fast_cdc {
        config.set_chunker(Some(&fast_cdc_of_new()));
    }
    let master = match half_made {
        Some(master) => master,
        None => {
            let owner = Owner {
                username: options.username.clone(),
                hostname: options.hostname.clone(),
                created: clock.now(),
            };
            let random = entropy.bytes().map_err(Fault::from)?;
            let master = MasterKey::generate(&random);
            keys::add(store, password, &master, &owner, pool, &entropy).await?;
            master
        }
    };
    let mut sealed = Vec::new();
    let nonce = entropy.bytes().map_err(Fault::from)?;
    envelope::seal(&master, &nonce, &config.encode(), &mut sealed);
    if read_config(&master, &sealed)? != config {
        return Err(Fault::VerifyFailed { what: "the config".into() }.into());
    }
    let stored =
        store.put(&config_key(), &sealed, Existing::Keep, id).await.map_err(Fault::from)?;
    Ok(stored.into_inner())
}

fn random_polynomial(entropy: &Entropy) -> Result<Polynomial, Fault> {
    let mut failure = None;
    let polynomial = Polynomial::random(|| {
        entropy.bytes().map(u64::from_le_bytes).unwrap_or_else(|error| {
            failure.get_or_insert(error);
            // Any irreducible one ends the search; the failure is what the caller gets.
            0x3D_A335_8B4D_C173
        })
    });
    failure.map_or(Ok(polynomial), |error| Err(error.into()))
}

fn read_config(master: &MasterKey, sealed: &[u8]) -> Result<Config, Fault> {
    let damaged = |damage| Fault::damaged("config", damage);
    let mut json = Vec::new();
    envelope::open(master, "config", sealed, &mut json).map_err(damaged)?;
    Config::decode(&json).map_err(damaged)
}

/// How a new repository has to cut to cut like this one; nothing where none can.
#[must_use]
pub fn cuts_of(config: &Config) -> Option<Cuts> {
    let polynomial = config.polynomial;
    let fast_cdc = match (config.chunker().ok()?, config.rustic_chunker().ok()?) {
        (Some(chunker), _) if chunker == fast_cdc_of_new() => true,
        (None, None | Some(RusticChunker::Rabin)) => false,
        _ => return None,
    };
    Some(Cuts { polynomial, fast_cdc })
}

/// The record of FastCDC in a new repository.
fn fast_cdc_of_new() -> Chunker {
    let params = FastCdcParams::default();
    Chunker {
        name: fastcdc::NAME.into(),
        min: params.min() as u64,
        avg: params.average() as u64,
        max: params.max() as u64,
    }
}

/// How this repository cuts files: restic's way, ours or rustic's.
fn cutter_of(config: &Config) -> Result<Cutter, Fault> {
    let damaged = |damage| Fault::damaged("config", damage);
    let limit = |value: u64| {
        usize::try_from(value)
            .ok()
            .filter(|bytes| *bytes <= 64 << 20)
            .ok_or_else(|| damaged(Damage::OverLimit { what: "chunk size", max: 64 << 20 }))
    };
    if let Some(chunker) = config.chunker().map_err(damaged)? {
        if chunker.name != fastcdc::NAME {
            return Err(Fault::Unsupported { what: format!("chunker {}", chunker.name) });
        }
        let (min, average, max) = (limit(chunker.min)?, limit(chunker.avg)?, limit(chunker.max)?);
        let params = FastCdcParams::new(min, average, max).map_err(damaged)?;
        return Ok(Cutter::fast_cdc(params));
    }
    match config.rustic_chunker().map_err(damaged)? {
        Some(RusticChunker::FixedSize) => {
            let size = config.rustic_number("chunk_size").map_err(damaged)?.unwrap_or(1 << 20);
            let empty = || damaged(Damage::Invalid { what: "chunk size of zero" });
            Ok(Cutter::Fixed(NonZeroUsize::new(limit(size)?).ok_or_else(empty)?))
        }
        // Other sizes only cost deduplication between the tools, never data.
        Some(RusticChunker::Rabin) | None => Ok(Cutter::rabin(config.polynomial)),
    }
}
